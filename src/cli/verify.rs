//! `mailtwin verify`: are the server, the Maildir and what is remembered the same?

use super::daemon::Daemon;
use super::job::{failure, job, wait};
use super::repair::repair;
use super::status::count;
use super::sync::summarise;
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::Config;
use crate::sync::audit::{Audit, Difference};
use crate::worker::{Error, Mode, Verified, VerifiedMailbox, verify};
use serde::Serialize;

const AFTER_HELP: &str = "\
Examples:
  mailtwin verify                 every account
  mailtwin verify work            one account
  mailtwin verify work/INBOX      one mailbox
  mailtwin verify work --json     the same for a program: the schema is in docs/configuration.md
  mailtwin verify work --repair   tell what a repair would do where something differs, and ask

Lists every mailbox in full, on both sides, and holds both against what is remembered. Nothing is changed; `mailtwin sync` \
brings the sides together. The exit code is 1 if there is a difference that is not meant to be.

Where what is remembered is in doubt, `--repair` has the mailboxes that differ compared anew by what their messages look like, \
as if they met for the first time: what is on both sides is recognised, what one side lacks is carried over, and what looks \
deleted is held until `mailtwin approve` or `mailtwin reject`. A repair deletes nothing.";

/// Hold the server, the Maildir and the memory against each other.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct VerifyArguments {
    /// Accounts, or mailboxes of accounts; without any, every account.
    #[arg(value_name = "ACCOUNT[/MAILBOX]")]
    pub(super) selections: Vec<Selection>,
    /// Have what differs compared anew, and carry over what one side lacks; nothing is deleted.
    #[arg(long)]
    pub(super) repair: bool,
    /// Repair without asking.
    #[arg(short, long, requires = "repair")]
    pub(super) yes: bool,
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report {
    version: u32,
    accounts: Vec<AccountReport>,
}

#[derive(Serialize)]
struct AccountReport {
    account: String,
    /// Nothing differs that is not meant to.
    ok: bool,
    mailboxes: Vec<MailboxReport>,
    /// Mailboxes that are on one side only, as sentences.
    one_sided: Vec<String>,
    /// Mailboxes that could not be looked at.
    left_out: Vec<crate::worker::LeftOut>,
    open_batches: usize,
    /// How the repair went; none if there was none.
    repaired: Option<crate::worker::Report>,
    /// Why the account could not be looked at, or repaired.
    error: Option<String>,
}

#[derive(Serialize)]
struct MailboxReport {
    mailbox: String,
    there: u64,
    here: u64,
    agreed: u64,
    differences: Vec<DifferenceReport>,
}

#[derive(Serialize)]
struct DifferenceReport {
    /// In words.
    what: String,
    /// It is meant to be so.
    meant: bool,
}

pub(super) fn run(arguments: &VerifyArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let (mut exits, mut accounts) = (Vec::new(), Vec::new());
    let selected = Selected::all(&arguments.selections, config)?;
    let daemon = Daemon::find(config, output)?;
    for Selected { account, mailboxes } in selected {
        let _loan = Daemon::lend(daemon.as_ref(), account)?;
        let only: Vec<String> = mailboxes.into_iter().collect();
        let name = account.name.as_str();
        let job = job(account, config);
        match wait(verify(&job, &only))? {
            Ok(verified) => {
                if !output.is_json() {
                    tell(name, &verified, output);
                }
                let exit = if is_ok(&verified) { Exit::Done } else { Exit::Failed };
                let repaired = match arguments.repair {
                    true => repair((account, &job), &verified, arguments.yes, output)?,
                    false => None,
                };
                let mut told = report(name, verified);
                match repaired {
                    None => exits.push(exit),
                    Some(Ok(report)) => {
                        exits.push(summarise(name, &report, Mode::Execute, output));
                        told.repaired = Some(report);
                    }
                    Some(Err(trouble)) => {
                        told.error = Some(trouble.what.clone());
                        let failure = failure(account, trouble);
                        output.failure(&failure);
                        exits.push(failure.exit);
                    }
                }
                accounts.push(told);
            }
            Err(error) => {
                let failure = failure(account, &error);
                output.failure(&failure);
                exits.push(failure.exit);
                let error = Some(Error::chain(&error));
                accounts.push(AccountReport { error, ok: false, ..report(name, Verified::default()) });
            }
        }
    }
    if output.is_json() {
        output.json(&Report { version: 1, accounts });
    }
    Ok(Exit::gravest(exits))
}

fn is_ok(verified: &Verified) -> bool {
    let failed = verified.left_out.iter().any(|left| left.failed);
    let differs = verified.mailboxes.iter().any(|mailbox| !mailbox.audit.is_ok());
    !failed && verified.one_sided.is_empty() && verified.open_batches == 0 && !differs
}

fn tell(account: &str, verified: &Verified, output: &Output) {
    for VerifiedMailbox { name: mailbox, audit, .. } in &verified.mailboxes {
        let Audit { there, here, agreed, differences } = audit;
        let all = differences.is_empty();
        let verdict = if all { "all the same".to_owned() } else { count(differences.len() as u64, "difference") };
        let verdict = output.paint(if all { Style::Good } else { Style::Attention }, &verdict);
        output.report(format!("{account}/{mailbox}: {there} there, {here} here, {agreed} agreed: {verdict}"));
        for difference in differences {
            let meant = if difference.is_meant() { ", as it should be" } else { "" };
            output.report(format!("  {difference}{meant}"));
        }
    }
    for action in &verified.one_sided {
        output.report(format!("{account}: one side lacks a mailbox; the next sync would {action}"));
    }
    for left in &verified.left_out {
        output.report(format!("{account}/{}: not looked at: {}", left.mailbox, left.reason));
    }
    if verified.open_batches > 0 {
        let plans = count(verified.open_batches as u64, "plan");
        output.report(format!("{account}: a run was interrupted, and left {plans} open; run `mailtwin sync`"));
    }
}

fn report(account: &str, verified: Verified) -> AccountReport {
    let ok = is_ok(&verified);
    let told =
        |difference: &Difference| DifferenceReport { what: difference.to_string(), meant: difference.is_meant() };
    let mailbox = |VerifiedMailbox { name, audit, .. }| MailboxReport {
        mailbox: name,
        there: audit.there,
        here: audit.here,
        agreed: audit.agreed,
        differences: audit.differences.iter().map(told).collect(),
    };
    AccountReport {
        account: account.to_owned(),
        ok,
        mailboxes: verified.mailboxes.into_iter().map(mailbox).collect(),
        one_sided: verified.one_sided.iter().map(ToString::to_string).collect(),
        left_out: verified.left_out,
        open_batches: verified.open_batches,
        repaired: None,
        error: None,
    }
}
