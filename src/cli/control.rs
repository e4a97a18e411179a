//! `mailtwin pause`, `resume`, `reload`, `wait-synced`, `events`: what only a running daemon can be told or asked.

use super::daemon::{self, Daemon};
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::Config;
use crate::control::{Reply, Request};
use crate::supervisor::{AccountView, Condition, Happened, What};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Have the daemon leave accounts alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin pause              every account, until `mailtwin resume` or the end of the daemon
  mailtwin pause work         one account

What a person asks for, as with `mailtwin sync work`, is done all the same.")]
pub(super) struct PauseArguments {
    /// Accounts; without any, every account.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<Selection>,
}

/// Have the daemon go on with accounts that were paused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin resume             every account; each is looked at at once
  mailtwin resume work        one account")]
pub(super) struct ResumeArguments {
    /// Accounts; without any, every account.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<Selection>,
}

/// Have the daemon read its configuration again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin reload             after a change of the configuration; SIGHUP does the same

Accounts that did not change go on undisturbed. A configuration that is wrong is refused, and the old one stays in force.")]
pub(super) struct ReloadArguments {}

/// Wait until accounts are synchronised.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin wait-synced                         until every account has been looked at and nothing goes on
  mailtwin wait-synced work --timeout 2m       one account, and not for ever

Exit codes: 0 it is so; 3 it is so, but something waits for you; 75 it was not so in time; else that of the account that \
cannot become so by itself.")]
pub(super) struct WaitArguments {
    /// Accounts; without any, every account.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<Selection>,
    /// Do not wait longer.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

/// Print what the daemon has counted, as Prometheus reads it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin metrics             once
  mailtwin metrics > /var/lib/prometheus/node-exporter/mailtwin.prom

With `metrics = \"127.0.0.1:9723\"` in the configuration the daemon serves the same at http://127.0.0.1:9723/metrics.")]
pub(super) struct MetricsArguments {}

pub(super) fn metrics(
    MetricsArguments {}: &MetricsArguments,
    config: &Config,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut conversation = Daemon::need(config, output)?.ask(&Request::Metrics)?;
    match conversation.reply_within(None) {
        Ok(Some(Reply::Metrics(text))) => {
            text.lines().for_each(|line| output.report(line));
            Ok(Exit::Done)
        }
        Ok(_) => Err(Failure::new(Exit::Temporary, "the daemon ended")),
        Err(error) => Err(daemon::failure(&error)),
    }
}

/// Tell what happens in the daemon, as it happens.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mailtwin events              a line for each event, until Ctrl-C
  mailtwin events --json       one JSON text a line: docs/daemon.md")]
pub(super) struct EventsArguments {}

pub(super) fn pause(arguments: &PauseArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let accounts = names(&arguments.accounts, config)?;
    Daemon::need(config, output)?.order(&Request::Pause { accounts })?;
    output.note("Paused; `mailtwin resume` ends that.");
    Ok(Exit::Done)
}

pub(super) fn resume(arguments: &ResumeArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let accounts = names(&arguments.accounts, config)?;
    Daemon::need(config, output)?.order(&Request::Resume { accounts })?;
    output.note("Resumed.");
    Ok(Exit::Done)
}

pub(super) fn reload(ReloadArguments {}: &ReloadArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let daemon = Daemon::need(config, output)?;
    match daemon.ask(&Request::Reload)?.reply().map_err(|error| daemon::failure(&error))? {
        Some(Reply::Done) => output.note("The daemon has read its configuration again."),
        Some(Reply::Anew) => {
            // It answers as soon as it has read it.
            daemon.views()?;
            output.note("The daemon began anew, with the configuration as it is now, to reach other Maildirs.");
        }
        Some(Reply::Refused(reason)) => {
            let meaning = "The daemon goes on with the configuration that it had.";
            return Err(Failure::new(Exit::Configuration, reason).meaning(meaning));
        }
        _ => return Err(daemon::gone()),
    }
    Ok(Exit::Done)
}

pub(super) fn wait_synced(arguments: &WaitArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let accounts: BTreeSet<String> = names(&arguments.accounts, config)?.into_iter().collect();
    let until = arguments.timeout.map(|timeout| Instant::now() + timeout);
    let mut conversation = Daemon::need(config, output)?.follow(Request::Status { watch: true })?;
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let views = match conversation.reply_within(left) {
            Ok(Some(Reply::Status(views))) => views,
            Ok(_) => return Err(Failure::new(Exit::Temporary, "the daemon ended")),
            Err(error) if left.is_some() && error.is_timeout() => {
                return Err(Failure::new(
                    Exit::Temporary,
                    "not synchronised in time; `mailtwin status` shows what it waits for",
                ));
            }
            Err(error) => return Err(daemon::failure(&error)),
        };
        let meant = views.iter().filter(|view| accounts.is_empty() || accounts.contains(&view.account));
        let exits: Vec<Option<Exit>> = meant.map(settled).collect();
        if let Some(exits) = exits.into_iter().collect::<Option<Vec<Exit>>>() {
            return Ok(Exit::gravest(exits));
        }
    }
}

/// How an account ended, if it does not change any more by itself, or soon.
fn settled(view: &AccountView) -> Option<Exit> {
    match view.condition {
        Condition::Live | Condition::Idle => Some(Exit::Done),
        Condition::Held => Some(Exit::Held),
        Condition::NeedsLogin => Some(Exit::LoginRefused),
        Condition::LocalUnavailable | Condition::DiskFull | Condition::NeedsAttention => Some(Exit::Failed),
        Condition::Queued | Condition::Syncing | Condition::Waiting | Condition::Paused | Condition::Stuck => None,
    }
}

pub(super) fn events(EventsArguments {}: &EventsArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let mut conversation = Daemon::need(config, output)?.follow(Request::Events)?;
    while let Some(reply) = conversation.reply().map_err(|error| daemon::failure(&error))? {
        let Reply::Event(happened) = reply else { continue };
        if output.is_json() {
            output.json_line(&happened);
        } else {
            output.report(line(&happened, output));
        }
        if output.is_deaf() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn line(happened: &Happened, output: &Output) -> String {
    let at = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(happened.at));
    let who = happened.account.as_deref().unwrap_or("all");
    let style = match happened.what {
        What::Failed | What::ReloadFailed => Style::Bad,
        What::Missed | What::Paused => Style::Attention,
        What::Began => Style::Faint,
        What::Ended | What::Resumed | What::Reloaded | What::Stopping => Style::Good,
    };
    format!("{at} {}: {}", output.paint(Style::Strong, who), output.paint(style, &happened.text))
}

/// The names of accounts; a mailbox of one makes no sense here.
fn names(selections: &[Selection], config: &Config) -> Result<Vec<String>, Failure> {
    if let Some(Selection { account, .. }) = selections.iter().find(|selection| selection.mailbox.is_some()) {
        let failure = Failure::new(Exit::Usage, "this is said of accounts as a whole, not of their mailboxes");
        return Err(failure.remedy(format!("Write {}.", crate::mail::escape(account))));
    }
    if selections.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Selected::all(selections, config)?.into_iter().map(|selected| selected.account.name.to_string()).collect())
}
