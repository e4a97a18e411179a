//! `mailtwin status`: how the accounts fare, from their status files, and from the daemon if it runs; no server is asked.

use super::daemon::Daemon;
use super::watch::{Watched, watch};
use super::{Exit, Failure, Output, Selected, Selection, Style};
use crate::config::Config;
use crate::control::Hello;
use crate::mail::escape;
use crate::supervisor::{AccountView, Condition, Doing, Progress};
pub(super) use crate::worker::count;
use crate::worker::status::{
    AccountStatus, HeldSet, LeftOut, MailboxStatus, Quarantined, Question, Side, State, Waiting,
};
use indicatif::HumanBytes;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const AFTER_HELP: &str = "\
Examples:
  mailtwin status              every account
  mailtwin status work         one account
  mailtwin status --watch      what the daemon does, as it happens; q ends it
  mailtwin status --json       for a program: the schema is in docs/configuration.md

No server is asked: this is what the last runs left behind, and what the daemon does, if it runs.";

/// Show how the accounts fare.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StatusArguments {
    /// Accounts; without any, every account.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<Selection>,
    /// Show it again and again, as it changes: on a terminal as a screen, else as lines.
    #[arg(short, long)]
    watch: bool,
}

/// The form of `--json`.
#[derive(Serialize)]
struct Report {
    version: u32,
    /// The daemon, if it runs.
    daemon: Option<Hello>,
    accounts: Vec<Shown>,
}

/// An account, as the last pass left it, and as the daemon has it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: AccountStatus,
    daemon: Option<AccountView>,
}

pub(super) fn run(arguments: &StatusArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let selected = Selected::all(&arguments.accounts, config)?;
    if arguments.watch {
        // Whoever names none sees those, too, that a reload brings.
        let names = selected.into_iter().map(|selected| selected.account.name.to_string());
        return watch(&Watched((!arguments.accounts.is_empty()).then(|| names.collect())), config, output);
    }
    let mut accounts = Vec::new();
    let mut exit = Exit::Done;
    let daemon = Daemon::find(config, output)?;
    let views = daemon.as_ref().map(Daemon::views).transpose()?.unwrap_or_default();
    for Selected { account, .. } in selected {
        match AccountStatus::load(&config.state_dir, account.name.as_str()) {
            Ok(status) => {
                let daemon = views.iter().find(|view| view.account == status.account).cloned();
                accounts.push(Shown { status, daemon });
            }
            Err(error) => {
                exit = Exit::Failed;
                let reason = escape(error.to_string());
                output.failure(
                    &Failure::new(exit, format!("the status of {} cannot be read: {reason}", account.name))
                        .meaning("No mail is affected: the next run writes it anew."),
                );
            }
        }
    }
    if output.is_json() {
        let daemon = daemon.map(|daemon| daemon.hello().clone());
        output.json(&Report { version: crate::worker::status::VERSION, daemon, accounts });
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let lines = accounts.iter().flat_map(|Shown { status, daemon }| lines(status, daemon.as_ref(), now, output));
        lines.for_each(|line| output.report(line));
    }
    Ok(exit)
}

/// The lines about one account.
fn lines(status: &AccountStatus, view: Option<&AccountView>, now: u64, output: &Output) -> Vec<String> {
    let (style, state) = describe(status.state);
    let mut first =
        format!("{}: {}", output.paint(Style::Strong, &harmless(&status.account)), output.paint(style, state));
    if let Some(at) = status.last_success {
        first.push_str(&format!(", last success {}", age(now, at)));
    }
    if let Some(tier) = &status.tier {
        first.push_str(&format!(", tier {}", harmless(tier)));
    }
    let messages: u64 = status.mailboxes.iter().map(|mailbox| mailbox.messages).sum();
    if !status.mailboxes.is_empty() {
        first.push_str(&format!(", {} in {}", count(messages, "message"), count(status.mailboxes.len(), "mailbox")));
    }
    if let Some(view) = view {
        let (style, words) = present(view);
        first.push_str(&format!("; {}", output.paint(style, &words)));
    }
    let mut lines = vec![first];
    // What was left out is told in full; the error is the first of it.
    let error = status.last_error.iter().filter(|_| status.left_out.is_empty());
    lines.extend(error.map(|error| format!("  {}", harmless(error))));
    // What the daemon met before a pass could begin, and left no trace in the file.
    let reason = view.filter(|view| view.condition != Condition::Held).and_then(|view| view.reason.as_ref());
    let is_told = |reason: &&String| status.last_error.as_ref() == Some(*reason) || !status.left_out.is_empty();
    lines.extend(reason.filter(|reason| !is_told(reason)).map(|reason| format!("  {}", harmless(reason))));
    // Else it is told already why nothing is heard.
    let is_well = |view: &&AccountView| view.reason.is_none();
    let not_live = view.filter(is_well).and_then(|view| view.not_live.as_ref());
    lines.extend(not_live.map(|why| format!("  {}", harmless(why))));
    lines.extend(
        status.left_out.iter().map(|LeftOut { name, reason }| format!("  {}: {}", harmless(name), harmless(reason))),
    );
    lines.extend(status.quirks.iter().map(|quirk| format!("  {}", harmless(quirk))));
    lines.extend(status.uploads.iter().map(|waiting| uploads_line(waiting, now)));
    lines.extend(status.mailboxes.iter().flat_map(|mailbox| mailbox_lines(&status.account, mailbox, now)));
    lines
}

/// The line about uploads that wait as a whole.
fn uploads_line(waiting: &Waiting, now: u64) -> String {
    let Waiting { reason, attempts, retry_at } = waiting;
    let (reason, tries) = (harmless(reason), count(u64::from(*attempts), "attempt"));
    format!("  uploads wait: {reason} ({tries}, next {}); make room on the server", ahead(now, *retry_at))
}

/// The lines about one mailbox: only what somebody should know.
fn mailbox_lines(account: &str, mailbox: &MailboxStatus, now: u64) -> Vec<String> {
    let name = harmless(&mailbox.name);
    let argument = quote(&format!("{}/{name}", harmless(account)));
    let mut lines = Vec::new();
    if mailbox.parked {
        lines.push(format!("  {name}: gone on the server, or not subscribed to; kept here and not synchronised"));
    }
    let left = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", count(number, "message")));
    let left =
        [left(mailbox.filtered, "left on the server by a limit"), left(mailbox.stubs, "here as the header alone")];
    let left: Vec<String> = left.into_iter().flatten().collect();
    if !left.is_empty() {
        lines.push(format!("  {name}: {}", left.join(", ")));
    }
    if let Some(Question { paired, there, here, rejected }) = &mailbox.question {
        lines.push(format!(
            "  {name}: of {there} messages on the server and {here} here {paired} belong together; it is left alone{}",
            if *rejected { "" } else { " until you decide" }
        ));
        lines.push(format!("    they belong together:  mailtwin approve {argument}"));
        if !*rejected {
            lines.push(format!("    they do not:           mailtwin reject {argument}"));
        }
    }
    for HeldSet { number, deletions, side, whole } in &mailbox.held {
        let place = match side {
            Side::Remote => "on the server",
            Side::Local => "here",
        };
        if *whole {
            let inbox = name == "INBOX";
            let asked = if inbox { "is it to be fetched anew?" } else { "is the mailbox to be deleted on the server?" };
            lines.push(format!("  {name}: held set {number}: its directory is gone; {asked}"));
            if !inbox {
                lines.push(format!("    let it go:   mailtwin approve {argument} --set {number}"));
            }
            lines.push(format!("    fetch anew:  mailtwin reject {argument} --set {number}"));
            continue;
        }
        lines.push(format!("  {name}: held set {number}: {} {place}", count(*deletions, "deletion")));
        lines.push(format!("    let them go: mailtwin approve {argument} --set {number}"));
        lines.push(format!("    put back:    mailtwin reject {argument} --set {number}"));
    }
    for Quarantined { what, reason, attempts, retry_at } in &mailbox.quarantined {
        let (what, reason, tries) = (harmless(what), harmless(reason), count(u64::from(*attempts), "attempt"));
        let next = retry_at.map(|at| format!(", next {}", ahead(now, at))).unwrap_or_default();
        lines.push(format!("  {name}: {what} is not synchronised: {reason} ({tries}{next})"));
    }
    lines
}

pub(super) fn describe(state: State) -> (Style, &'static str) {
    match state {
        State::NeverSynced => (Style::Faint, "never synchronised"),
        State::Ok => (Style::Good, "ok"),
        State::Held => (Style::Attention, "ok, but something waits for you"),
        State::Failed => (Style::Bad, "failed"),
        State::NeedsLogin => (Style::Bad, "the login was refused"),
        State::DiskFull => (Style::Bad, "there is no room on the disk"),
        State::LocalUnavailable => (Style::Bad, "the Maildir is not available"),
        State::Temporary => (Style::Attention, "failed for now, will be tried again"),
    }
}

/// What the daemon does with an account, or waits for, in a few words.
pub(super) fn present(view: &AccountView) -> (Style, String) {
    let next = |what: &str| view.next.map_or_else(String::new, |next| format!("{what} {}", ahead(0, next)));
    match (view.condition, &view.progress) {
        (Condition::Live, _) => (Style::Good, "live".to_owned()),
        (Condition::Syncing, Some(progress)) => (Style::Good, doing(progress)),
        (Condition::Syncing, None) => (Style::Good, "synchronising".to_owned()),
        (Condition::Queued, _) => (Style::Faint, "waits for its turn".to_owned()),
        (Condition::Waiting, _) => {
            (Style::Attention, format!("{} ({})", next("next try"), count(u64::from(view.failures), "failure")))
        }
        (Condition::NeedsLogin, _) => {
            (Style::Bad, "not tried again before the secret or the configuration has changed".to_owned())
        }
        (Condition::Paused, _) => (Style::Attention, "paused".to_owned()),
        (Condition::Stuck, _) => (Style::Bad, "stuck: what goes on there does not end; look at its disk".to_owned()),
        (Condition::Idle | Condition::Held, _) => (Style::Faint, next("next look")),
        (Condition::LocalUnavailable | Condition::DiskFull | Condition::NeedsAttention, _) => {
            (Style::Faint, next("next try"))
        }
    }
}

/// What is being done, and how far it is.
pub(super) fn doing(progress: &Progress) -> String {
    let Progress { doing, done, total, octets, rate, .. } = progress;
    let far = || format!("{done} of {total}");
    match doing {
        Doing::Connecting => "connecting".to_owned(),
        Doing::LeavingAlone => "waiting, as the server asked".to_owned(),
        Doing::Looking => "looking".to_owned(),
        Doing::Pairing => format!("comparing {}", far()),
        Doing::LookingAgain => "looking again in a moment".to_owned(),
        Doing::Transferring => format!("{}, {}, {}/s", far(), HumanBytes(*octets), HumanBytes(*rate)),
        Doing::Lent => "lent to another command".to_owned(),
    }
}

/// A text of the status file. It is escaped already, unless somebody else wrote the file; then it is now.
pub(super) fn harmless(text: &str) -> String {
    let without_escapes = text.replace('\\', "/");
    if escape(&without_escapes) == without_escapes { text.to_owned() } else { escape(text) }
}

/// A word for a shell: a mailbox's name is a stranger's text, and this line is made to be copied.
fn quote(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

pub(super) fn age(now: u64, at: u64) -> String {
    match now.saturating_sub(at) {
        0..5 => "just now".to_owned(),
        seconds => format!("{} ago", coarse(seconds)),
    }
}

pub(super) fn ahead(now: u64, at: u64) -> String {
    match at.saturating_sub(now) {
        0 => "with the next run".to_owned(),
        seconds => format!("in {}", coarse(seconds)),
    }
}

/// A duration with its largest unit only.
fn coarse(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Manner;

    fn shown(status: &AccountStatus) -> String {
        lines(status, None, 1_700_000_000, &Output::of_process(Manner::default())).join("\n")
    }

    fn mailbox(name: &str) -> MailboxStatus {
        MailboxStatus {
            name: name.into(),
            local: None,
            messages: 2,
            filtered: 0,
            stubs: 0,
            held: vec![],
            quarantined: vec![],
            parked: false,
            question: None,
        }
    }

    #[test]
    fn a_healthy_account_is_one_line() {
        let status = AccountStatus {
            state: State::Ok,
            last_success: Some(1_700_000_000 - 7300),
            tier: Some("A".into()),
            mailboxes: vec![mailbox("INBOX"), mailbox("Sent")],
            ..AccountStatus::never_synced("work")
        };
        assert_eq!(shown(&status), "work: ok, last success 2h ago, tier A, 4 messages in 2 mailboxes");
        assert_eq!(shown(&AccountStatus::never_synced("home")), "home: never synchronised");
    }

    #[test]
    fn what_the_daemon_does_stands_behind_what_the_last_pass_left() {
        let view = |condition, next, progress| AccountView {
            account: "work".into(),
            condition,
            reason: None,
            not_live: None,
            next,
            failures: 2,
            progress,
            counters: Default::default(),
        };
        let moving =
            Progress { doing: Doing::Transferring, done: 3, total: 9, octets: 2048, rate: 1024, ..Progress::default() };
        for (view, words) in [
            (view(Condition::Idle, Some(200), None), "next look in 3m"),
            (view(Condition::Waiting, Some(20), None), "next try in 20s (2 failures)"),
            (view(Condition::Syncing, None, Some(moving)), "3 of 9, 2.00 KiB, 1.00 KiB/s"),
            (view(Condition::Paused, None, None), "paused"),
        ] {
            let status = AccountStatus { state: State::Ok, ..AccountStatus::never_synced("work") };
            let shown = lines(&status, Some(&view), 1_700_000_000, &Output::of_process(Manner::default()));
            assert_eq!(shown, [format!("work: ok; {words}")]);
        }
        let blind = AccountView {
            not_live: Some("changes in its Maildir are not noticed at once: it lies afar".into()),
            ..view(Condition::Idle, Some(200), None)
        };
        let status = AccountStatus { state: State::Ok, ..AccountStatus::never_synced("work") };
        let shown = lines(&status, Some(&blind), 1_700_000_000, &Output::of_process(Manner::default()));
        let why = "  changes in its Maildir are not noticed at once: it lies afar";
        assert_eq!(shown, ["work: ok; next look in 3m", why]);
    }

    #[test]
    fn what_waits_and_what_is_left_out_is_shown_with_the_next_try() {
        let full = Waiting { reason: "the server is full".into(), attempts: 3, retry_at: 1_700_001_200 };
        let left = |name: &str| LeftOut { name: name.into(), reason: "its name cannot be used".into() };
        let status = AccountStatus {
            state: State::Failed,
            last_error: Some("A: its name cannot be used".into()),
            uploads: Some(full),
            left_out: vec![left("A"), left("B\x1b")],
            ..AccountStatus::never_synced("work")
        };
        assert_eq!(
            shown(&status),
            "work: failed\n\
             \x20 A: its name cannot be used\n\
             \x20 B\\x1b: its name cannot be used\n\
             \x20 uploads wait: the server is full (3 attempts, next in 20m); make room on the server"
        );
    }

    #[test]
    fn a_hostile_name_is_no_command_when_it_is_copied() {
        assert_eq!(quote("work/a'; rm -rf ~; '"), r"'work/a'\''; rm -rf ~; '\'''");
        assert_eq!(harmless(r"a\x1bb"), r"a\x1bb");
        assert_eq!(harmless("a\x1bb"), r"a\x1bb");
    }

    #[test]
    fn what_waits_for_a_person_is_shown_with_the_command_that_decides() {
        let held = HeldSet { number: 3, deletions: 60, side: Side::Remote, whole: false };
        let bad = Quarantined {
            what: "UID 7".into(),
            reason: "NO \x1b[2J".into(),
            attempts: 1,
            retry_at: Some(1_700_000_060),
        };
        let status = AccountStatus {
            state: State::Held,
            mailboxes: vec![
                MailboxStatus { held: vec![held], quarantined: vec![bad], ..mailbox("Lists/rust") },
                MailboxStatus { parked: true, ..mailbox("Old") },
                MailboxStatus { filtered: 1, stubs: 2, ..mailbox("Big") },
            ],
            ..AccountStatus::never_synced("work")
        };
        assert_eq!(
            shown(&status),
            "work: ok, but something waits for you, 6 messages in 3 mailboxes\n\
             \x20 Lists/rust: held set 3: 60 deletions on the server\n\
             \x20   let them go: mailtwin approve work/Lists/rust --set 3\n\
             \x20   put back:    mailtwin reject work/Lists/rust --set 3\n\
             \x20 Lists/rust: UID 7 is not synchronised: NO \\x1b[2J (1 attempt, next in 1m)\n\
             \x20 Old: gone on the server, or not subscribed to; kept here and not synchronised\n\
             \x20 Big: 1 message left on the server by a limit, 2 messages here as the header alone"
        );
    }
}
