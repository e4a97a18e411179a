//! `mailtwin folders`: the map between the server's mailboxes and the Maildir's directories.

use super::{Exit, Failure, Output, Selected, Selection};
use crate::config::Config;

const AFTER_HELP: &str = "\
Examples:
  mailtwin folders work           the map of one account
  mailtwin folders work --json    the same for a program

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

pub(super) fn run(arguments: &FoldersArguments, config: &Config, _output: &Output) -> Result<Exit, Failure> {
    Selected::one(&arguments.account, config)?;
    Err(Failure::not_built("folders"))
}
