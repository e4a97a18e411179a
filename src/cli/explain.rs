//! `mailtwin explain`: what is known of one message, and why.

use super::daemon::Daemon;
use super::job::{failure, job, wait};
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::{Account, Config};
use crate::mail::{Uid, escape};
use crate::sync::Deed;
use crate::worker::{Explained, Question, explain};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const AFTER_HELP: &str = "\
Examples:
  mailtwin explain ~/Mail/work/INBOX/cur/1700000000.M1P2Q3.host:2,S     a file of a Maildir
  mailtwin explain ~/.local/state/mailtwin/retention/work/...           a body that was kept of a deleted message
  mailtwin explain work/INBOX:4711                                      the message with this UID

Tells what is remembered of the message, what the Maildir and the server show now, what the next run would do about it, and \
whether it was removed or brought back. Nothing is changed.";

/// Tell what is known of one message, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ExplainArguments {
    /// A file, or a UID in a mailbox.
    #[arg(value_name = "FILE|ACCOUNT/MAILBOX:UID")]
    pub(super) what: PathBuf,
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    account: &'a str,
    #[serde(flatten)]
    explained: &'a Explained,
}

pub(super) fn run(arguments: &ExplainArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let (account, question) = question(&arguments.what, config)?;
    let daemon = Daemon::find(config, output)?;
    let _loan = Daemon::lend(daemon.as_ref(), account)?;
    let explained = wait(explain(&job(account, config), &question))?.map_err(|error| failure(account, &error))?;
    if output.is_json() {
        output.json(&Report { version: 1, account: account.name.as_str(), explained: &explained });
    } else {
        lines(account.name.as_str(), &explained, output).iter().for_each(|line| output.report(line));
    }
    Ok(Exit::Done)
}

/// What is meant: a file that is there, else a UID.
fn question<'c>(what: &Path, config: &'c Config) -> Result<(&'c Account, Question), Failure> {
    if what.symlink_metadata().is_err()
        && let Some((place, uid)) = what.to_str().and_then(|text| text.rsplit_once(':'))
        && let Some(uid) = uid.parse().ok().and_then(Uid::new)
        && let Ok(Selection { account, mailbox: Some(mailbox) }) = place.parse()
    {
        let selection = Selection { account, mailbox: None };
        return Ok((Selected::one(&selection, config)?.account, Question::Uid(mailbox, uid)));
    }
    let path = std::path::absolute(what).unwrap_or_else(|_| what.to_owned());
    let real = path.parent().and_then(|parent| parent.canonicalize().ok()).unwrap_or_else(|| path.clone());
    let holds = |dir: &Path| dir.canonicalize().is_ok_and(|dir| real.starts_with(dir));
    let is_of = |account: &&Account| {
        holds(&account.maildir) || holds(&config.state_dir.join("retention").join(account.name.as_str()))
    };
    match config.accounts.values().find(is_of) {
        Some(account) => Ok((account, Question::File(path))),
        None => {
            let shown = escape(what.as_os_str().as_encoded_bytes());
            let failure = Failure::new(Exit::Usage, format!("`{shown}` is in no Maildir of the configuration"));
            Err(failure.remedy("Name a file of one, or a UID as ACCOUNT/MAILBOX:UID, such as work/INBOX:4711."))
        }
    }
}

fn lines(account: &str, explained: &Explained, output: &Output) -> Vec<String> {
    let Explained { mailbox, uid, name, remembered, here, there, next, history } = explained;
    let what = match (uid, name) {
        (Some(uid), _) => format!("UID {uid}"),
        (None, Some(name)) => name.clone(),
        (None, None) => "a message".to_owned(),
    };
    let mut lines = vec![output.paint(Style::Strong, &format!("{account}/{mailbox}: {what}"))];
    let mut part = |head: &str, told: &[String]| {
        for (number, line) in told.iter().enumerate() {
            lines.push(format!("  {:12}{line}", if number == 0 { head } else { "" }));
        }
    };
    part("remembered", remembered);
    part("here", std::slice::from_ref(here));
    part("there", std::slice::from_ref(there));
    let nothing = ["nothing: it is as it should be".to_owned()];
    part("next", if next.is_empty() { &nothing } else { next });
    let past: Vec<String> = history
        .iter()
        .map(|past| {
            let deed = match past.deed {
                Deed::RemovedThere => "it was deleted here, so removed from the server",
                Deed::RemovedHere => "it was deleted on the server, so removed here",
                Deed::Restored => "undo brought it back",
            };
            let undone = if past.undone { "; taken back since" } else { "" };
            format!("{} ago: {deed}; {} (number {}{undone})", ago(past.at), past.place, past.number)
        })
        .collect();
    part("history", &past);
    lines
}

/// How long something is ago, in words.
fn ago(at: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    humantime::format_duration(Duration::from_secs(super::undo::coarse(now.saturating_sub(at)))).to_string()
}
