//! `mailtwin approve` and `mailtwin reject`: a person decides about deletions that are held.

use super::daemon::Daemon;
use super::job::{failure, job};
use super::status::count;
use super::{Exit, Failure, Output, Selected, Selection};
use crate::config::Config;
use crate::supervisor::{Answer, Work};
use crate::worker::{Decided, Decision, Trouble, decide};
use serde::Serialize;

const AFTER_APPROVE: &str = "\
Examples:
  mailtwin status                   shows what is held, as numbered sets
  mailtwin approve work             everything that is held in the account
  mailtwin approve work/Lists       what is held in one mailbox
  mailtwin approve work --set 3     that set only

Also where it is asked whether the two sides of a mailbox belong together. What is held later is not approved with it.";

const AFTER_REJECT: &str = "\
Examples:
  mailtwin status                   shows what is held, as numbered sets
  mailtwin reject work              everything that is held in the account
  mailtwin reject work/Lists        what is held in one mailbox
  mailtwin reject work --set 3      that set only

The messages that were missing on one side are put back there. A mailbox whose two sides do not belong together is left \
alone.";

/// Let held deletions go.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_APPROVE)]
pub(super) struct ApproveArguments {
    #[command(flatten)]
    pub(super) held: Held,
}

/// Put back what was about to be deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_REJECT)]
pub(super) struct RejectArguments {
    #[command(flatten)]
    pub(super) held: Held,
}

/// Which of the held deletions are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Held {
    /// The account, or one of its mailboxes.
    #[arg(value_name = "ACCOUNT[/MAILBOX]")]
    pub(super) selection: Selection,
    /// Only the set with this number.
    #[arg(long, value_name = "NUMBER")]
    pub(super) set: Option<u32>,
}

/// The form of `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    /// Held deletions.
    Deletions { mailbox: String, set: u32, deletions: u32 },
    /// Whether two sides belong together.
    Adoption { mailbox: String },
}

pub(super) fn approve(arguments: &ApproveArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    decide_on(&arguments.held, Decision::Approve, config, output)
}

pub(super) fn reject(arguments: &RejectArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    decide_on(&arguments.held, Decision::Reject, config, output)
}

fn decide_on(held: &Held, decision: Decision, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let Selected { account, mailboxes } = Selected::one(&held.selection, config)?;
    let wanted = |name: &str| mailboxes.is_empty() || mailboxes.contains(name);
    let daemon = Daemon::find(config, output)?;
    let decided = match &daemon {
        Some(daemon) => {
            let work = Work::Decide { decision, mailbox: held.selection.mailbox.clone(), set: held.set };
            match daemon.work_now(account.name.as_str(), work) {
                Ok(Answer::Decided(decided)) => Ok(decided),
                Ok(_) => Err(Trouble::of_another_answer()),
                Err(trouble) => Err(trouble),
            }
        }
        None => decide(&job(account, config), decision, &wanted, held.set).map_err(Trouble::from),
    };
    let decided = decided.map_err(|trouble| failure(account, trouble))?;
    let who = if daemon.is_some() { "the daemon" } else { "the next `mailtwin sync`" };
    let (done, next) = match decision {
        Decision::Approve => ("approved", format!("{who} deletes them")),
        Decision::Reject => ("rejected", format!("{who} puts the messages back")),
    };
    if output.is_json() {
        let deletions = decided.deletions.into_iter();
        let deletions = deletions.map(|(mailbox, set, deletions)| Told::Deletions { mailbox, set, deletions });
        let adoptions = decided.adoptions.into_iter().map(|mailbox| Told::Adoption { mailbox });
        output.json(&deletions.chain(adoptions).collect::<Vec<_>>());
    } else if decided == Decided::default() {
        output.note(format!("{}: nothing is held there", account.name));
    } else {
        for (mailbox, set, deletions) in decided.deletions {
            let deletions = count(deletions, "deletion");
            output.note(format!("{}/{mailbox}: set {set}, {deletions} {done}; {next}", account.name));
        }
        for mailbox in decided.adoptions {
            let next = match decision {
                Decision::Approve => format!("both sides belong together; {who} carries over what one lacks"),
                Decision::Reject => "the sides do not belong together; both are left alone".to_owned(),
            };
            output.note(format!("{}/{mailbox}: {next}", account.name));
        }
    }
    Ok(Exit::Done)
}
