//! What the world may know of the daemon: how each account fares, what goes on, and what happened.
//!
//! It is the form in which clients get it, so fields are only ever added. Every text in it is escaped already.

use super::metrics::Counters;
use crate::worker;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an account fares under the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Both sides are the same, and both tell at once when something changes.
    Live,
    /// Both sides were the same at the last look.
    Idle,
    /// It waits for a place among those that are being synchronised.
    Queued,
    /// Something goes on.
    Syncing,
    /// It failed, and is tried again by itself.
    Waiting,
    /// The server refused the login; it is tried again when the secret or the configuration has changed.
    NeedsLogin,
    /// Something waits for a person: deletions, or whether two sides belong together.
    Held,
    /// The Maildir is not there.
    LocalUnavailable,
    /// There is no room on the disk.
    DiskFull,
    /// A person has to do something.
    NeedsAttention,
    /// A person wants it left alone.
    Paused,
    /// What goes on did not end when it was given up.
    Stuck,
}

/// What is known of an account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub account: String,
    /// How it fares.
    pub condition: Condition,
    /// Why, if something is wrong; a clause.
    pub reason: Option<String>,
    /// Why it is not noticed at once when something changes, if it is to be; a clause.
    #[serde(default)]
    pub not_live: Option<String>,
    /// In how many seconds it is looked at next by itself.
    pub next: Option<u64>,
    /// How often it has failed in a row.
    pub failures: u32,
    /// What goes on.
    pub progress: Option<Progress>,
    /// What was counted.
    #[serde(default)]
    pub counters: Counters,
}

/// How far it is with what goes on.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub doing: Doing,
    /// For how many seconds it has been going on.
    pub seconds: f64,
    /// Messages that are done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// Octets of messages moved.
    pub octets: u64,
    /// Octets that came from the server, all of them.
    pub received: u64,
    /// Octets that went to it.
    pub sent: u64,
    /// Octets a second, both ways, of late.
    pub rate: u64,
}

/// What is being done in an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// A connection is made.
    #[default]
    Connecting,
    /// The server asked to be left alone for a while.
    LeavingAlone,
    /// Both sides are looked at.
    Looking,
    /// Files are read, to find out which messages they are.
    Pairing,
    /// Something vanished, or was moved: it is looked at again in a moment.
    LookingAgain,
    /// Messages are transferred, moved, flagged, removed.
    Transferring,
    /// Somebody else works on the account, with the daemon's leave.
    Lent,
}

impl Progress {
    /// Takes in what a worker tells.
    pub fn take(&mut self, event: &worker::Event) {
        match *event {
            worker::Event::LoggedIn { .. } => self.doing = Doing::Looking,
            worker::Event::CanListen | worker::Event::Touched(_) => {}
            worker::Event::LeavingAlone(_) => self.doing = Doing::LeavingAlone,
            worker::Event::LookingAgain(_) | worker::Event::WaitingForMoves(_) => self.doing = Doing::LookingAgain,
            worker::Event::Pairing { done, total } => {
                self.doing = if done < total { Doing::Pairing } else { Doing::Looking };
                (self.done, self.total) = if done < total { (done as u64, total as u64) } else { (0, 0) };
            }
            worker::Event::Planned { fetch, append, other } => {
                let planned = (fetch + append + other) as u64;
                self.doing = if planned > 0 { Doing::Transferring } else { Doing::Looking };
                self.total = self.done + planned;
            }
            worker::Event::Done { messages, octets } => {
                self.done += messages as u64;
                self.total = self.total.max(self.done);
                self.octets += octets;
            }
        }
    }

    /// Takes in how long it has been going on, and what the connection counted.
    pub fn measure(&mut self, elapsed: Duration, received: u64, sent: u64) {
        let (seconds, moved) = (elapsed.as_secs_f64(), (received + sent).saturating_sub(self.received + self.sent));
        let lately = seconds - self.seconds;
        if lately > 0.05 {
            // Half of it is what was: a rate that jumps cannot be read.
            let rate = moved as f64 / lately;
            self.rate = if self.rate == 0 { rate as u64 } else { ((self.rate as f64 + rate) / 2.0) as u64 };
            (self.seconds, self.received, self.sent) = (seconds, received, sent);
        }
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Happened {
    /// When, in seconds since 1970.
    pub at: u64,
    /// In which account; none: it concerns all.
    pub account: Option<String>,
    /// What, for programs.
    pub what: What,
    /// What, for people; a clause.
    pub text: String,
}

/// The kinds of what happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A pass began, or something that a person asked for.
    Began,
    /// It ended as it should; the text tells what was done.
    Ended,
    /// It failed; the text tells why.
    Failed,
    /// A person paused the account,
    Paused,
    /// or lets it go on.
    Resumed,
    /// The configuration was read again.
    Reloaded,
    /// The configuration could not be used; the old one stays.
    ReloadFailed,
    /// The daemon ends.
    Stopping,
    /// So much happened that something could not be told; the text tells how much.
    Missed,
}

/// All accounts in one line: for `systemctl status`, and for whoever has one line.
pub fn in_one_line(accounts: &[AccountView]) -> String {
    let is = |wanted: &[Condition]| accounts.iter().filter(|view| wanted.contains(&view.condition)).count();
    let parts = [
        (is(&[Condition::Live]), "live"),
        (is(&[Condition::Idle]), "up to date"),
        (is(&[Condition::Syncing]), "synchronising"),
        (is(&[Condition::Queued]), "queued"),
        (is(&[Condition::Held]), "waiting for a decision"),
        (is(&[Condition::Waiting]), "trying again later"),
        (is(&[Condition::NeedsLogin]), "with a refused login"),
        (is(&[Condition::LocalUnavailable]), "without a Maildir"),
        (is(&[Condition::DiskFull]), "without room on the disk"),
        (is(&[Condition::NeedsAttention]), "needing attention"),
        (is(&[Condition::Paused]), "paused"),
        (is(&[Condition::Stuck]), "stuck"),
    ];
    let told: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let accounts = if accounts.len() == 1 { "1 account".to_owned() } else { format!("{} accounts", accounts.len()) };
    if told.is_empty() { accounts } else { format!("{accounts}: {}", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(account: &str, condition: Condition) -> AccountView {
        AccountView {
            account: account.into(),
            condition,
            reason: None,
            not_live: None,
            next: None,
            failures: 0,
            progress: None,
            counters: Counters::default(),
        }
    }

    #[test]
    fn one_line_counts_what_there_is() {
        let all = [view("a", Condition::Idle), view("b", Condition::Idle), view("c", Condition::NeedsLogin)];
        assert_eq!(in_one_line(&all), "3 accounts: 2 up to date, 1 with a refused login");
        assert_eq!(in_one_line(&all[..1]), "1 account: 1 up to date");
        assert_eq!(in_one_line(&[]), "0 accounts");
    }

    #[test]
    fn progress_follows_a_pass_to_its_end() {
        let mut progress = Progress::default();
        assert_eq!(progress.doing, Doing::Connecting);
        progress.take(&worker::Event::LoggedIn { peer: "x".into() });
        progress.take(&worker::Event::Planned { fetch: 3, append: 1, other: 0 });
        assert_eq!((progress.doing, progress.total), (Doing::Transferring, 4));
        progress.take(&worker::Event::Done { messages: 4, octets: 1000 });
        progress.take(&worker::Event::Planned { fetch: 0, append: 0, other: 2 });
        assert_eq!((progress.done, progress.total, progress.octets), (4, 6, 1000));
        progress.take(&worker::Event::Planned { fetch: 0, append: 0, other: 0 });
        assert_eq!(progress.doing, Doing::Looking);
    }

    #[test]
    fn a_rate_is_of_late() {
        let mut progress = Progress::default();
        progress.measure(Duration::from_secs(1), 900, 100);
        assert_eq!(progress.rate, 1000);
        progress.measure(Duration::from_secs(2), 900, 100);
        progress.measure(Duration::from_secs(3), 900, 100);
        assert_eq!(progress.rate, 250);
        progress.measure(Duration::from_secs(3), 5000, 100);
        assert_eq!(progress.rate, 250, "no time has passed");
    }
}
