//! `mailtwin sync`: every named account, once.

use super::{Exit, Failure, Output, Selected, Selection};
use crate::config::Config;

const AFTER_HELP: &str = "\
Examples:
  mailtwin sync                    every account
  mailtwin sync work               one account
  mailtwin sync work/INBOX home    one mailbox of one account, and another account
  mailtwin sync --dry-run          show what would be done, change nothing
  mailtwin sync --dry-run --json   the same for a program

Where much would be deleted at once, the deletions are held, the rest goes on, and the exit code is 3: \
`mailtwin status` shows them, `mailtwin approve` and `mailtwin reject` decide.";

/// Synchronise, once.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SyncArguments {
    /// Accounts, or mailboxes of accounts; without any, every account.
    #[arg(value_name = "ACCOUNT[/MAILBOX]")]
    pub(super) selections: Vec<Selection>,
    /// Show the plan that the next run would execute, and change nothing.
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

pub(super) fn run(arguments: &SyncArguments, config: &Config, _output: &Output) -> Result<Exit, Failure> {
    Selected::all(&arguments.selections, config)?;
    Err(Failure::not_built(if arguments.dry_run { "sync --dry-run" } else { "sync" }))
}
