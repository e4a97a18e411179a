//! `mailtwin check`: proves that a configuration will work, before it is relied on.

use super::{Exit, Failure, Output, Selected, Selection};
use crate::config::Config;

const AFTER_HELP: &str = "\
Examples:
  mailtwin check          every account
  mailtwin check work     one account

For each account: that its password can be had, the server reached, its certificate trusted, the login accepted; what \
the server can do; that the Maildir can be written. Each failure comes with its remedy. No mail is touched.";

/// Prove that the configuration will work.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CheckArguments {
    /// Accounts; without any, every account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) accounts: Vec<Selection>,
}

pub(super) fn run(arguments: &CheckArguments, config: &Config, _output: &Output) -> Result<Exit, Failure> {
    Selected::all(&arguments.accounts, config)?;
    Err(Failure::not_built("check"))
}
