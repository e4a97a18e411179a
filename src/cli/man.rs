//! `mailtwin man`: the manual, made of the same words as the help.

use super::{Exit, Failure, Output};
use crate::mail::escape;
use clap_mangen::Man;
use std::io;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  mailtwin man | man -l -                            read it
  mailtwin man --out ~/.local/share/man/man1         install it, with a page for each command";

/// Print the manual page.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ManArguments {
    /// Write the pages of all commands to this directory instead, which is made if need be.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &ManArguments, output: &Output) -> Result<Exit, Failure> {
    let Some(directory) = &arguments.out else {
        let mut page = Vec::new();
        let rendered = Man::new(super::command()).render(&mut page);
        rendered.map_err(|error| Failure::new(Exit::Failed, format!("the manual page cannot be made: {error}")))?;
        output.bytes(&page);
        return Ok(Exit::Done);
    };
    let shown = escape(directory.as_os_str().as_encoded_bytes());
    write_pages(directory).map_err(|error| {
        Failure::new(Exit::Failed, format!("the manual pages cannot be written to {shown}: {error}"))
            .remedy("Name a directory that you may write to.")
    })?;
    output.note(format!("The manual pages are in {shown}."));
    Ok(Exit::Done)
}

fn write_pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(super::command(), directory)
}
