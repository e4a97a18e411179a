//! `mailtwin relocate`: a Maildir gets another state to keep it.

use super::job::{failure, job};
use super::{Exit, Failure, Output, Selected, Selection, ask};
use crate::config::Config;
use crate::mail::escape;
use crate::worker::{claimant, take_over};
use serde::Serialize;

const AFTER_HELP: &str = "\
Examples:
  mailtwin relocate work           tell whose the Maildir is, and ask
  mailtwin relocate work --yes     do it without a question

A Maildir is kept by one state, and its marker says by which: two that keep the same one would undo each other's work. Where \
the state was moved to another `state-dir` on purpose, or left behind with another user or machine, this gives the Maildir to \
the state that the configuration names. No mail is touched; the next `mailtwin sync` compares both sides and transfers what is \
missing. A Maildir that was moved together with its configuration needs none of this: set `maildir`, that is all.";

/// Give the Maildir of an account to the state of this configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RelocateArguments {
    /// The account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) account: Selection,
    /// Do it without asking.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    account: &'a str,
    /// Where the state lies that keeps the Maildir; null: it is the one of this configuration, or nobody's.
    from: Option<String>,
    /// Where the state of this configuration lies.
    to: String,
    /// Whether it was done.
    done: bool,
}

pub(super) fn run(arguments: &RelocateArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let Selected { account, mailboxes } = Selected::one(&arguments.account, config)?;
    if !mailboxes.is_empty() {
        return Err(Failure::new(Exit::Usage, "a Maildir has one state for all of its mailboxes"));
    }
    let name = account.name.as_str();
    let job = job(account, config);
    let failed = |error| failure(account, &error);
    let from = claimant(&job).map_err(failed)?.map(escape);
    let (maildir, to) =
        (escape(job.maildir.as_os_str().as_encoded_bytes()), escape(job.state().as_os_str().as_encoded_bytes()));
    let is_meant = match &from {
        None => false,
        Some(from) => {
            if !output.is_json() {
                output.report(format!("{name}: {maildir} is kept by the state in {from}"));
                output.report(format!("  From then on it is kept by the state in {to}, and refused to the other one."));
            }
            ask::is_meant(arguments.yes, output, &format!("Relocate {name}?"))?
        }
    };
    if is_meant {
        take_over(&job).map_err(failed)?;
        output.note(format!("{name}: done; the next `mailtwin sync` compares both sides"));
    } else if from.is_some() {
        output.note(format!("Nothing was done. To do it: mailtwin relocate {name} --yes"));
    } else {
        output.note(format!("{name}: no other state keeps {maildir}, so there is nothing to do"));
    }
    if output.is_json() {
        output.json(&Report { version: 1, account: name, from, to, done: is_meant });
    }
    Ok(Exit::Done)
}
