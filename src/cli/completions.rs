//! `mailtwin completions`: what a shell needs to complete our command line.

use super::{Exit, Failure, Output};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Examples:
  mailtwin completions bash > ~/.local/share/bash-completion/completions/mailtwin
  mailtwin completions zsh > ~/.zfunc/_mailtwin        (a directory in your fpath)
  mailtwin completions fish > ~/.config/fish/completions/mailtwin.fish";

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "mailtwin", &mut script);
    output.bytes(&script);
    Ok(Exit::Done)
}
