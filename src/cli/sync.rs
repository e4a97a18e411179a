//! `mailtwin sync`: every named account, once.

use super::daemon::Daemon;
use super::job::{failure, job, wait};
use super::status::count;
use super::{Exit, Failure, Output, Progress, Selected, Selection, Style};
use crate::config::{Account, Config};
use crate::hooks::Once;
use crate::supervisor::{Answer, Work};
use crate::sync::Side;
use crate::worker::{Event, LeftOut, Mode, Report, Trouble, run as run_pass};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

const AFTER_HELP: &str = "\
Examples:
  mailtwin sync                    every account
  mailtwin sync work               one account
  mailtwin sync work/INBOX home    one mailbox of one account, and another account
  mailtwin sync --dry-run          show what would be done, change nothing
  mailtwin sync --dry-run --json   the same for a program

While a daemon runs it does the work, and this shows it; ending this ends nothing of that.

A Maildir that another program filled is taken over: what is on both sides is recognised, and not transferred. Let the \
other program not run on it any more.

Where much would be deleted at once, the deletions are held, the rest goes on, and the exit code is 3: \
`mailtwin status` shows them, `mailtwin approve` and `mailtwin reject` decide. So it is with a mailbox whose two sides \
have hardly a message in common.";

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

/// More files than this take a while to be read.
const MANY: usize = 1000;

/// The form of `--json`.
#[derive(Serialize)]
struct Synced {
    account: String,
    dry_run: bool,
    /// How it went; none if it failed.
    report: Option<Report>,
    /// Why it failed.
    error: Option<String>,
}

pub(super) fn run(arguments: &SyncArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let mode = if arguments.dry_run { Mode::DryRun } else { Mode::Execute };
    let mut exits = Vec::new();
    let mut told = Vec::new();
    let selected = Selected::all(&arguments.selections, config)?;
    let daemon = Daemon::find(config, output)?;
    for Selected { account, mailboxes } in selected {
        let only: Vec<String> = mailboxes.into_iter().collect();
        let name = account.name.as_str();
        let done = wait(watch(account, output, async |events| match &daemon {
            Some(daemon) => {
                let work = Work::Sync { mailboxes: only, dry_run: arguments.dry_run };
                match daemon.work(name, work, events).await? {
                    Answer::Synced(report) => Ok(report),
                    _ => Err(Trouble::of_another_answer()),
                }
            }
            None => run_pass(&job(account, config), &only, mode, events).await.map_err(Trouble::from),
        }))?;
        exits.push(match &done {
            Ok(report) => summarise(account.name.as_str(), report, mode, output),
            Err(error) => {
                let failure = failure(account, error.clone());
                output.failure(&failure);
                failure.exit
            }
        });
        told.push(Synced {
            account: account.name.to_string(),
            dry_run: arguments.dry_run,
            error: done.as_ref().err().map(|trouble| trouble.what.clone()),
            report: done.ok(),
        });
    }
    if output.is_json() {
        output.json(&told);
    }
    Ok(Exit::gravest(exits))
}

/// Runs a pass, shows its progress, and runs the hooks of the account if it did anything here.
pub(super) async fn watch<T>(
    account: &Account,
    output: &Output,
    pass: impl AsyncFnOnce(UnboundedSender<Event>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let pass = pass(sender);
    let mut pass = std::pin::pin!(pass);
    let (mut shown, mut pairing): (Option<Progress>, Option<Progress>) = (None, None);
    let (mut done, mut total, mut moved) = (0, 0, 0);
    let (mut hooks, account) = (Once::new(account.name.as_str(), &account.hooks), account.name.as_str());
    loop {
        let event = tokio::select! {
            biased;
            Some(event) = events.recv() => event,
            report = &mut pass => {
                drop((shown, pairing));
                hooks.run().await;
                return report;
            }
        };
        match event {
            Event::LoggedIn { peer } => tracing::info!(account = %account, "logged in at {peer}."),
            Event::CanListen => {}
            Event::Touched(messages) => hooks.touched(&messages),
            Event::LeavingAlone(pause) => {
                let pause = humantime::format_duration(pause);
                output.note(format!("{account}: the server asked to be left alone; waiting for {pause}"));
            }
            Event::LookingAgain(after) if after >= Duration::from_secs(1) => {
                let after = humantime::format_duration(Duration::from_secs(after.as_millis().div_ceil(1000) as u64));
                output.note(format!("{account}: files are missing in the Maildir; looking again in {after}"));
            }
            Event::LookingAgain(_) => {}
            Event::WaitingForMoves(after) => {
                let after = humantime::format_duration(after);
                output
                    .note(format!("{account}: messages were copied a moment ago, or moved; looking again in {after}"));
            }
            Event::Pairing { done, total } if total > MANY => {
                let label = format!("{account}, comparing");
                pairing.get_or_insert_with(|| output.progress(&label)).set(done as u64, total as u64, 0);
                if done == total {
                    pairing = None;
                }
            }
            Event::Pairing { .. } => {}
            Event::Planned { fetch, append, other } => {
                total = done + (fetch + append + other) as u64;
                if total > done {
                    shown.get_or_insert_with(|| output.progress(account)).set(done, total, moved);
                }
            }
            Event::Done { messages, octets } => {
                done += messages as u64;
                moved += octets;
                if let Some(progress) = &shown {
                    progress.set(done, total.max(done), moved);
                }
            }
        }
    }
}

/// Tells how a pass went.
pub(super) fn summarise(account: &str, report: &Report, mode: Mode, output: &Output) -> Exit {
    if !output.is_json() {
        match mode {
            Mode::DryRun => plan_lines(account, report).iter().for_each(|line| output.report(line)),
            Mode::Execute => output.note(format!("{account}: {}", report.summary(account))),
        }
    }
    report.notices.iter().for_each(|notice| output.note(format!("  {notice}")));
    for LeftOut { mailbox, reason, failed } in &report.left_out {
        let style = if *failed { Style::Attention } else { Style::Faint };
        output.note(format!("  {}: {reason}", output.paint_error(style, mailbox)));
    }
    if report.left_out.iter().any(|left| left.failed) {
        Exit::Failed
    } else if report.held > 0 || report.asked > 0 {
        Exit::Held
    } else {
        Exit::Done
    }
}

/// The plan of a dry run, as lines.
fn plan_lines(account: &str, report: &Report) -> Vec<String> {
    let plan = &report.plan;
    let mut lines: Vec<String> = plan.mailboxes.iter().map(|action| format!("{account}: {action}")).collect();
    if report.recognised > 0 {
        let messages = count(report.recognised, "message");
        lines.push(format!("{account}: {messages} on both sides already would be recognised, and not transferred"));
    }
    for planned in &plan.messages {
        lines.extend(planned.actions.iter().map(|action| format!("{account}/{}: {action}", planned.mailbox)));
    }
    for held in &plan.held {
        let place = match held.gone {
            Side::Local => "on the server",
            Side::Remote => "here",
        };
        let deletions = count(held.count, "deletion");
        lines.push(format!("{account}/{}: {deletions} {place} would be held", held.mailbox));
    }
    if lines.is_empty() {
        lines.push(format!("{account}: nothing to do"));
    }
    lines
}
