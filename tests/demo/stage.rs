//! What the demonstration stands on: its own directory, and the terminal that it speaks to.

use std::error::Error;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a piece of text looks.
#[derive(Clone, Copy)]
pub enum Ink {
    Strong,
    Faint,
    Command,
    Differs,
}

/// The directory of this run, and how to speak.
pub struct Stage {
    home: PathBuf,
    colour: bool,
    step: bool,
    chapter: u32,
}

impl Stage {
    /// Makes a new directory, which is left to look at.
    pub fn new(step: bool) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("mailtwin-demo-").tempdir()?.keep();
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self { home, colour, step: step && io::stdin().is_terminal(), chapter: 0 })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn configuration(&self) -> PathBuf {
        self.home.join("daemon.toml")
    }

    pub fn maildir(&self) -> PathBuf {
        self.home.join("Mail")
    }

    pub fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Command => "1;36",
            Ink::Differs => "33",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Begins a chapter, at the reader's word where that is wanted.
    pub fn chapter(&mut self, title: &str) -> io::Result<()> {
        if self.step {
            print!("\n{}", self.ink(Ink::Faint, "[Enter] "));
            io::stdout().flush()?;
            io::stdin().lock().read_line(&mut String::new())?;
        }
        self.chapter += 1;
        println!("\n{}\n", self.ink(Ink::Strong, &format!("{}. {title}", self.chapter)));
        Ok(())
    }

    /// Runs mailtwin with these arguments, its output where ours goes, and sees to it that it ends as told.
    pub fn mailtwin(&self, arguments: &[&str], code: i32) -> Result<(), Box<dyn Error>> {
        let shown = format!("mailtwin {}", arguments.join(" "));
        println!("{}", self.ink(Ink::Command, &format!("$ {shown}")));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["mailtwin", "--config"]).arg(self.configuration()).args(arguments);
        let ended = command.status()?;
        if ended.code() != Some(code) {
            return Err(format!("`{shown}` was to end with exit code {code}, and there was {ended}").into());
        }
        if code != 0 {
            println!("{}", self.ink(Ink::Faint, &format!("(exit code {code})")));
        }
        Ok(())
    }
}
