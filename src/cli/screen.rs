//! The full-screen view of a daemon, as lines: what is shown where, for a terminal of any size.

use super::output::{Output, Style};
use super::status::{ahead, count, describe, doing, harmless};
use crate::supervisor::{AccountView, Condition, Happened, What, in_one_line};
use crate::worker::status::{AccountStatus, MailboxStatus};
use indicatif::HumanBytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// All that is known when the view is drawn.
#[derive(Default)]
pub(super) struct Scene {
    /// The daemon, for the first line.
    pub title: String,
    /// The accounts, as the daemon has them.
    pub views: Vec<AccountView>,
    /// What the last passes left, by account.
    pub statuses: BTreeMap<String, AccountStatus>,
    /// What happened last, oldest first.
    pub happened: VecDeque<Happened>,
    /// Seconds since 1970.
    pub now: u64,
}

/// So many events are remembered.
pub(super) const EVENTS: usize = 100;

impl Scene {
    /// Draws it into a terminal of this size: exactly as many lines as that has, none longer.
    pub(super) fn draw(&self, (width, height): (usize, usize), output: &Output) -> Vec<String> {
        let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(self.now)).to_string();
        let time = time.get(11..19).unwrap_or_default().to_owned() + " UTC";
        let rate: u64 = self.views.iter().filter_map(|view| view.progress.as_ref()).map(|progress| progress.rate).sum();
        let rate = if rate > 0 { format!("{}/s  ", HumanBytes(rate)) } else { String::new() };
        let mut lines = vec![
            Line::of(Style::Strong, two_ends(&self.title, &format!("{rate}{time}"), width)),
            Line::plain(in_one_line(&self.views)),
            Line::plain(String::new()),
        ];
        // The lines below are shared: accounts first, then mailboxes, and what is left is for what happened.
        let room = height.saturating_sub(lines.len() + 1);
        let accounts = self.accounts(width);
        let mailboxes = self.mailboxes(width);
        let for_events = (self.happened.len() + 2).min(room / 4);
        let for_accounts = accounts
            .len()
            .min((room - for_events).max(1))
            .min((room * 2 / 3).max(room.saturating_sub(mailboxes.len() + 1 + for_events)));
        lines.extend(fit(accounts, for_accounts, "account"));
        let left = room.saturating_sub(for_accounts + for_events);
        if left > 2 && mailboxes.len() > 1 {
            lines.push(Line::plain(String::new()));
            lines.extend(fit(mailboxes, left - 1, "mailbox"));
        }
        let left = height.saturating_sub(lines.len() + 1);
        if left > 2 && !self.happened.is_empty() {
            lines.push(Line::plain(String::new()));
            lines.push(Line::of(Style::Strong, "LATELY".to_owned()));
            let skipped = self.happened.len().saturating_sub(left - 2);
            lines.extend(self.happened.iter().skip(skipped).map(|happened| self.event(happened)));
        }
        lines.truncate(height.saturating_sub(1));
        lines.resize_with(height.saturating_sub(1), || Line::plain(String::new()));
        lines.push(Line::of(Style::Faint, "q ends this view; the daemon goes on".to_owned()));
        lines.into_iter().map(|line| line.painted(width, output)).collect()
    }

    /// A heading, and a line an account; those that need somebody come first, then those where something goes on.
    fn accounts(&self, width: usize) -> Vec<Line> {
        let mut views: Vec<&AccountView> = self.views.iter().collect();
        views.sort_by_key(|view| (urgency(view.condition), view.account.clone()));
        let name = views.iter().map(|view| view.account.chars().count()).max().unwrap_or(0).min(width / 4).max(7);
        let mut lines = vec![Line::of(
            Style::Strong,
            format!("{:name$}  {:<16}  {:>8}  {:>7}  NOW", "ACCOUNT", "STATE", "MESSAGES", "WAITING"),
        )];
        for view in views {
            let status = self.statuses.get(&view.account);
            let messages = status.map_or(0, |status| status.mailboxes.iter().map(|mailbox| mailbox.messages).sum());
            let (style, state) = state(view);
            let waiting = match status.map_or(0, |status| status.mailboxes.iter().map(waiting).sum::<u64>()) {
                0 => String::new(),
                waiting => waiting.to_string(),
            };
            let now = match (&view.progress, &view.reason) {
                (Some(progress), _) => doing(progress),
                (None, Some(reason)) => {
                    let next = view.next.map_or_else(String::new, |next| format!("{}: ", ahead(0, next)));
                    format!("{next}{}", harmless(reason))
                }
                (None, None) => {
                    let next = view.next.map_or_else(String::new, |next| format!("next look {}", ahead(0, next)));
                    let why = view.not_live.as_ref().map_or_else(String::new, |why| format!("; {}", harmless(why)));
                    next + &why
                }
            };
            let text = format!("{:name$}  {state:<16}  {messages:>8}  {waiting:>7}  {now}", cut(&view.account, name));
            lines.push(Line::of(style, text));
        }
        lines
    }

    /// A heading, and a line for each mailbox; those with something to tell come first, then the largest.
    fn mailboxes(&self, width: usize) -> Vec<Line> {
        let shown = self.views.iter().filter_map(|view| self.statuses.get(&view.account));
        let mut all: Vec<(&str, &MailboxStatus)> = shown
            .flat_map(|status| status.mailboxes.iter().map(|mailbox| (status.account.as_str(), mailbox)))
            .collect();
        all.sort_by_key(|(account, mailbox)| {
            let quiet = waiting(mailbox) == 0 && !mailbox.parked && mailbox.question.is_none();
            (quiet, std::cmp::Reverse(mailbox.messages), account.to_owned(), mailbox.name.clone())
        });
        let place =
            |account: &str, mailbox: &MailboxStatus| format!("{}/{}", harmless(account), harmless(&mailbox.name));
        let widest = all.iter().map(|(account, mailbox)| place(account, mailbox).chars().count()).max().unwrap_or(0);
        let name = widest.min(width / 2).max(7);
        let mut lines = vec![Line::of(
            Style::Strong,
            format!("{:name$}  {:>9}  {:>6}  {:>6}", "MAILBOX", "MESSAGES", "HELD", "FAILED"),
        )];
        for (account, mailbox) in all {
            let held: u64 = mailbox.held.iter().map(|set| set.deletions).sum();
            let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
            let (held, failed) = (number(held), number(mailbox.quarantined.len() as u64));
            let remark = match (mailbox.parked, mailbox.question.is_some()) {
                (true, _) => "  parked",
                (_, true) => "  asks whether both sides belong together",
                _ => "",
            };
            let style =
                if waiting(mailbox) > 0 || mailbox.question.is_some() { Style::Attention } else { Style::Faint };
            let place = cut(&place(account, mailbox), name);
            lines.push(Line::of(
                style,
                format!("{place:name$}  {:>9}  {held:>6}  {failed:>6}{remark}", mailbox.messages),
            ));
        }
        lines
    }

    fn event(&self, happened: &Happened) -> Line {
        let style = match happened.what {
            What::Failed | What::ReloadFailed => Style::Bad,
            What::Missed | What::Paused => Style::Attention,
            _ => Style::Faint,
        };
        let who = happened.account.as_deref().unwrap_or("all");
        let ago = super::status::age(self.now, happened.at);
        Line::of(style, format!("{ago:>9}  {who}: {}", harmless(&happened.text)))
    }
}

/// What waits for a person, or for another try.
fn waiting(mailbox: &MailboxStatus) -> u64 {
    mailbox.held.iter().map(|set| set.deletions).sum::<u64>() + mailbox.quarantined.len() as u64
}

fn urgency(condition: Condition) -> u8 {
    match condition {
        Condition::NeedsLogin | Condition::NeedsAttention | Condition::Stuck => 0,
        Condition::DiskFull | Condition::LocalUnavailable => 1,
        Condition::Held => 2,
        Condition::Waiting => 3,
        Condition::Syncing => 4,
        Condition::Queued => 5,
        Condition::Paused => 6,
        Condition::Live | Condition::Idle => 7,
    }
}

fn state(view: &AccountView) -> (Style, String) {
    use crate::worker::State;
    let (style, words) = match view.condition {
        Condition::Live => (Style::Good, "live"),
        Condition::Idle => (Style::Good, "up to date"),
        Condition::Queued => (Style::Faint, "queued"),
        Condition::Syncing => (Style::Good, "synchronising"),
        Condition::Waiting => (Style::Attention, "trying again"),
        Condition::NeedsLogin => (Style::Bad, "login refused"),
        Condition::Held => (Style::Attention, "waits for you"),
        Condition::LocalUnavailable => (Style::Bad, "no Maildir"),
        Condition::DiskFull => (Style::Bad, "disk full"),
        Condition::NeedsAttention => (describe(State::Failed).0, "needs attention"),
        Condition::Paused => (Style::Attention, "paused"),
        Condition::Stuck => (Style::Bad, "stuck"),
    };
    (style, words.to_owned())
}

/// A line in one style, not yet cut.
struct Line {
    style: Option<Style>,
    text: String,
}

impl Line {
    fn plain(text: String) -> Self {
        Self { style: None, text }
    }

    fn of(style: Style, text: String) -> Self {
        Self { style: Some(style), text }
    }

    fn painted(self, width: usize, output: &Output) -> String {
        let text = cut(self.text.trim_end(), width);
        match self.style {
            Some(style) if !text.is_empty() => output.paint(style, &text),
            _ => text,
        }
    }
}

/// The first of the lines, and how many more there are.
fn fit(mut lines: Vec<Line>, room: usize, noun: &str) -> Vec<Line> {
    if lines.len() > room && room > 0 {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(Line::of(Style::Faint, format!("and {} more", count(more as u64, noun))));
    }
    lines.truncate(room);
    lines
}

fn two_ends(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(right.chars().count() + 1);
    format!("{:room$} {right}", cut(left, room))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    let dots = "..".chars().take(width).collect::<String>();
    format!("{kept}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Manner;
    use crate::supervisor::{Doing, Progress};

    fn view(account: &str, condition: Condition) -> AccountView {
        AccountView {
            account: account.into(),
            condition,
            reason: None,
            not_live: None,
            next: Some(240),
            failures: 0,
            progress: None,
            counters: Default::default(),
        }
    }

    fn mailbox(name: &str, messages: u64) -> MailboxStatus {
        let text = format!(
            r#"{{"name":"{name}","local":null,"messages":{messages},"held":[],"quarantined":[],"parked":false}}"#
        );
        serde_json::from_str(&text).expect("a mailbox")
    }

    fn scene(accounts: usize) -> Scene {
        let mut scene = Scene { title: "mailtwin 0.1.0, process 7".into(), now: 1_700_000_000, ..Scene::default() };
        for number in 0..accounts {
            let name = format!("account{number}");
            let mut view = view(&name, Condition::Idle);
            if number == 1 {
                view.condition = Condition::Syncing;
                view.progress = Some(Progress {
                    doing: Doing::Transferring,
                    done: 340,
                    total: 1200,
                    octets: 3 << 20,
                    rate: 1 << 20,
                    ..Progress::default()
                });
            }
            if number == 2 {
                view.condition = Condition::NeedsLogin;
                view.reason = Some("the server refused the login: [AUTHENTICATIONFAILED] no".into());
            }
            scene.views.push(view);
            let mailboxes = vec![mailbox("INBOX", 1000 + number as u64), mailbox("Lists", 20)];
            let status = AccountStatus { mailboxes, ..AccountStatus::never_synced(&name) };
            scene.statuses.insert(name, status);
        }
        for number in 0..10 {
            let text = format!("{number} fetched");
            let what = What::Ended;
            scene.happened.push_back(Happened {
                at: 1_700_000_000 - 10 + number,
                account: Some("account0".into()),
                what,
                text,
            });
        }
        scene
    }

    fn drawn(accounts: usize, size: (usize, usize)) -> Vec<String> {
        scene(accounts).draw(size, &Output::of_process(Manner::default()))
    }

    #[test]
    fn it_has_as_many_lines_as_the_terminal_and_none_is_longer() {
        for accounts in [0, 1, 3, 40, 1000] {
            for size in [(80, 24), (200, 50), (20, 5), (40, 3), (1, 1), (300, 100)] {
                let lines = drawn(accounts, size);
                assert_eq!(lines.len(), size.1.max(1), "{accounts} accounts, {size:?}");
                assert!(lines.iter().all(|line| line.chars().count() <= size.0), "{size:?}: {lines:#?}");
            }
        }
    }

    #[test]
    fn who_needs_somebody_comes_first_and_what_happens_now_is_told() {
        let lines = drawn(3, (80, 24));
        assert!(lines[0].starts_with("mailtwin 0.1.0, process 7") && lines[0].ends_with("1.00 MiB/s  22:13:20 UTC"));
        assert_eq!(lines[1], "3 accounts: 1 up to date, 1 synchronising, 1 with a refused login");
        let names: Vec<&str> = lines[4..7].iter().map(|line| line.split(' ').next().expect("a word")).collect();
        assert_eq!(names, ["account2", "account1", "account0"], "{lines:#?}");
        assert!(lines[5].contains("340 of 1200, 3.00 MiB"), "{lines:#?}");
        assert!(lines[6].contains("next look in 4m"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("account0/INBOX")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("account0: 9 fetched")), "{lines:#?}");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let lines = drawn(1000, (80, 24));
        let more = lines.iter().find(|line| line.contains("more")).expect("a line");
        assert!(
            more.starts_with("and 9") && more.contains(" more account") || more.contains("accounts more"),
            "{more}"
        );
    }
}
