//! `mailtwin approve` and `mailtwin reject`: a person decides about deletions that are held.

use super::{Exit, Failure, Output, Selected, Selection};
use crate::config::Config;

const AFTER_APPROVE: &str = "\
Examples:
  mailtwin status                   shows what is held, as numbered sets
  mailtwin approve work             everything that is held in the account
  mailtwin approve work/Lists       what is held in one mailbox
  mailtwin approve work --set 3     that set only

What is held later is not approved with it.";

const AFTER_REJECT: &str = "\
Examples:
  mailtwin status                   shows what is held, as numbered sets
  mailtwin reject work              everything that is held in the account
  mailtwin reject work/Lists        what is held in one mailbox
  mailtwin reject work --set 3      that set only

The messages that were missing on one side are put back there.";

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
    pub(super) set: Option<u64>,
}

pub(super) fn approve(arguments: &ApproveArguments, config: &Config, _output: &Output) -> Result<Exit, Failure> {
    Selected::one(&arguments.held.selection, config)?;
    Err(Failure::not_built("approve"))
}

pub(super) fn reject(arguments: &RejectArguments, config: &Config, _output: &Output) -> Result<Exit, Failure> {
    Selected::one(&arguments.held.selection, config)?;
    Err(Failure::not_built("reject"))
}
