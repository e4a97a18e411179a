//! `mailtwin folders`: the map between the server's mailboxes and the Maildir's directories.

use super::daemon::Daemon;
use super::job::{failure, job, wait};
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::Config;
use crate::worker::{FolderState, MappedFolder, folders};
use serde::Serialize;

const AFTER_HELP: &str = "\
Examples:
  mailtwin folders work           the map of one account
  mailtwin folders work --json    the same for a program: the schema is in docs/configuration.md

Shows each mailbox of the server, its role, how much is in it, its directory, and whether `mailboxes` in the \
configuration includes it.";

/// Show the mailboxes of an account and their directories.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct FoldersArguments {
    /// The account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) account: Selection,
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report {
    version: u32,
    account: String,
    folders: Vec<MappedFolder>,
}

pub(super) fn run(arguments: &FoldersArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let account = Selected::one(&arguments.account, config)?.account;
    let daemon = Daemon::find(config, output)?;
    let _loan = Daemon::lend(daemon.as_ref(), account)?;
    let folders = wait(folders(&job(account, config)))?.map_err(|error| failure(account, &error))?;
    if output.is_json() {
        output.json(&Report { version: 1, account: account.name.to_string(), folders });
    } else {
        table(&folders, output).iter().for_each(|line| output.report(line));
    }
    Ok(Exit::Done)
}

/// A longer name sticks out; it does not make every line longer than a terminal.
const WIDEST: usize = 40;

fn table(folders: &[MappedFolder], output: &Output) -> Vec<String> {
    let head = ["MAILBOX", "ROLE", "THERE", "HERE", "DIRECTORY", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(folders.iter().map(row)).collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count().min(WIDEST)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cell = |(i, text): (usize, &String)| {
            let space = " ".repeat(widths[i].saturating_sub(text.chars().count()));
            // Numbers stand under each other.
            if i == 2 || i == 3 { format!("{space}{text}") } else { format!("{text}{space}") }
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let style = |i: usize| match i.checked_sub(1).map(|i| folders[i].state) {
        None => Some(Style::Strong),
        Some(FolderState::Mirrored) => None,
        Some(FolderState::NewThere | FolderState::NewHere | FolderState::NewOnBoth | FolderState::Renamed) => {
            Some(Style::Good)
        }
        Some(FolderState::Unwanted | FolderState::Parked) => Some(Style::Faint),
        Some(FolderState::LeftOut | FolderState::Held | FolderState::Deleted) => Some(Style::Attention),
    };
    let painted = |(i, row)| style(i).map_or_else(|| line(row), |style| output.paint(style, &line(row)));
    rows.iter().enumerate().map(painted).collect()
}

fn row(folder: &MappedFolder) -> [String; 6] {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let reason = folder.reason.as_deref().unwrap_or_default();
    let state = match folder.state {
        FolderState::Mirrored => String::new(),
        FolderState::NewThere => "new: its directory will be made".to_owned(),
        FolderState::NewHere if reason.is_empty() => "new: it will be made on the server".to_owned(),
        FolderState::NewHere => format!("new: it will be made on the server; {reason}"),
        FolderState::NewOnBoth => "new: both sides will be compared".to_owned(),
        FolderState::Renamed => format!("renamed: {reason}"),
        FolderState::Deleted => format!("deleted: {reason}"),
        FolderState::Held => format!("held: {reason}"),
        FolderState::Unwanted if reason.is_empty() => "not in `mailboxes`".to_owned(),
        FolderState::Unwanted => format!("left out: {reason}"),
        FolderState::Parked => format!("parked: {reason}"),
        FolderState::LeftOut => format!("left out: {reason}"),
    };
    let role = folder.role.map(|role| format!("{role:?}").to_lowercase()).unwrap_or_default();
    let there = number(folder.messages_there.map(u64::from));
    [dash(&folder.mailbox), role, there, number(folder.messages_here), dash(&folder.path), state]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Manner;
    use crate::mail::SpecialUse;

    #[test]
    fn the_map_is_aligned_whatever_the_names_are() {
        let inbox = MappedFolder {
            mailbox: Some("INBOX".into()),
            path: Some("INBOX".into()),
            role: None,
            messages_there: Some(12_345),
            messages_here: Some(7),
            state: FolderState::Mirrored,
            reason: None,
        };
        let folders = [
            inbox.clone(),
            MappedFolder {
                mailbox: Some("Müll".into()),
                path: None,
                role: Some(SpecialUse::Junk),
                messages_there: None,
                messages_here: None,
                state: FolderState::LeftOut,
                reason: Some("the name is too long".into()),
            },
        ];
        assert_eq!(
            table(&folders, &Output::of_process(Manner::default())).join("\n"),
            "MAILBOX  ROLE  THERE  HERE  DIRECTORY\n\
             INBOX          12345     7  INBOX\n\
             Müll     junk      -     -  -          left out: the name is too long"
        );
    }
}
