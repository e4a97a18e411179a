//! `mailtwin check`: proves that a configuration will work, before it is relied on.

use super::daemon::Daemon;
use super::job::{exit, failure, job, wait};
use super::status::count;
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::{Account, Config};
use crate::mail::escape;
use crate::worker::{Check, Finding, Proven, check};
use serde::Serialize;
use std::path::Path;

const AFTER_HELP: &str = "\
Examples:
  mailtwin check          every account
  mailtwin check work     one account
  mailtwin check --json   for a program: the schema is in docs/configuration.md

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

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report {
    version: u32,
    configuration: String,
    accounts: Vec<Checked>,
}

/// What was proven of one account.
#[derive(Serialize)]
struct Checked {
    account: String,
    /// No check failed.
    ok: bool,
    checks: Vec<Line>,
}

/// One finding, in words.
#[derive(Serialize)]
struct Line {
    check: Check,
    result: Outcome,
    what: String,
    notes: Vec<String>,
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Ok,
    Advice,
    Failed,
    Skipped,
}

pub(super) fn run(arguments: &CheckArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let configuration = escape(config.path.as_os_str().as_encoded_bytes());
    let mut exits = vec![Exit::Done];
    let mut accounts = Vec::new();
    if !output.is_json() {
        let accounts = count(config.accounts.len(), "account");
        let ok = output.paint(Style::Good, "ok     ");
        output.report(format!("{ok} configuration: {configuration} is right, and has {accounts}"));
    }
    let selected = Selected::all(&arguments.accounts, config)?;
    let daemon = Daemon::find(config, output)?;
    for Selected { account, .. } in selected {
        let _loan = Daemon::lend(daemon.as_ref(), account)?;
        let mut found = wait(check(&job(account, config)))?;
        found.extend(hooks(account));
        let (ends, checks): (Vec<Exit>, Vec<Line>) = found.into_iter().map(|f| line(account, f)).unzip();
        exits.extend(ends);
        if !output.is_json() {
            output.report(output.paint(Style::Strong, account.name.as_str()));
            checks.iter().flat_map(|line| shown(line, output)).for_each(|line| output.report(line));
        }
        let ok = checks.iter().all(|line| line.result != Outcome::Failed);
        accounts.push(Checked { account: account.name.to_string(), ok, checks });
    }
    if output.is_json() {
        output.json(&Report { version: 1, configuration, accounts });
    }
    Ok(Exit::gravest(exits))
}

/// Whether the hooks of an account can be started, if it has any.
fn hooks(account: &Account) -> Option<Finding> {
    let (missing, there): (Vec<_>, Vec<_>) = account.hooks.all().partition(|(_, command)| !is_program(&command[0]));
    let told = |hooks: &[(&str, &[String])]| {
        let told: Vec<String> = hooks.iter().map(|(key, command)| format!("{key} ({})", escape(&command[0]))).collect();
        told.join(", ")
    };
    let (proven, what) = if missing.is_empty() {
        (Proven::Ok, format!("{} can be started", told(&there)))
    } else {
        let remedy = "install the program, or give its full path; a service has a PATH of its own";
        (Proven::Failed(remedy.to_owned()), format!("there is no program for {}", told(&missing)))
    };
    account.hooks.all().next().map(|_| Finding { check: Check::Hooks, proven, what, notes: Vec::new() })
}

/// Whether a program is found, as it would be when it is started.
fn is_program(name: &str) -> bool {
    let is_executable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if name.contains('/') {
        return is_executable(Path::new(name));
    }
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|at| is_executable(&at.join(name))))
}

fn line(account: &Account, finding: Finding) -> (Exit, Line) {
    let Finding { check, proven, what, notes } = finding;
    let (exit, result, remedy) = match proven {
        Proven::Ok => (Exit::Done, Outcome::Ok, None),
        Proven::Advice(remedy) => (Exit::Done, Outcome::Advice, Some(remedy)),
        Proven::Skipped => (Exit::Done, Outcome::Skipped, None),
        Proven::Failed(remedy) => (Exit::Failed, Outcome::Failed, Some(remedy)),
        Proven::Error(error) => (exit(error.state()), Outcome::Failed, failure(account, *error).remedy),
    };
    (exit, Line { check, result, what, notes, remedy })
}

/// The lines about one finding.
fn shown(line: &Line, output: &Output) -> Vec<String> {
    let (style, word) = match line.result {
        Outcome::Ok => (Style::Good, "ok     "),
        Outcome::Advice => (Style::Attention, "advice "),
        Outcome::Failed => (Style::Bad, "failed "),
        Outcome::Skipped => (Style::Faint, "skipped"),
    };
    let subject = match line.check {
        Check::State => "state directory",
        Check::Secret => "secret",
        Check::Connection => "connection",
        Check::Login => "login",
        Check::Server => "server",
        Check::Mailboxes => "mailboxes",
        Check::Maildir => "Maildir",
        Check::Limits => "limits",
        Check::Hooks => "hooks",
    };
    let mut lines = vec![format!("  {} {subject}: {}", output.paint(style, word), line.what)];
    lines.extend(line.notes.iter().map(|note| format!("            {note}")));
    lines.extend(line.remedy.iter().map(|remedy| format!("          {} {remedy}", output.paint(Style::Strong, "->"))));
    lines
}
