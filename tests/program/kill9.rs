//! `kill -9` at random moments of a large pull and a large push, on a real Dovecot, until it is done: exactly the same
//! mail on both sides, nothing lost, nothing doubled.
//!
//! `SEED=n` repeats the moments of a run, as far as a clock can; `MESSAGES=n` and `KILLS=n` make it larger.

#![cfg(feature = "steps")]
// What was killed, and where, is meant to be read.
#![allow(clippy::print_stdout)]

use crate::scenarios::dovecot::{Client, start, wait_until_alone};
use crate::scenarios::tree::{Names, Tree, body};
use crate::scenarios::{Host as _, Stage};
use crate::support::dovecot::{Dovecot, PASSWORD};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A run of one direction, killed again and again.
struct Ordeal<'d> {
    dovecot: &'d Dovecot,
    user: &'static str,
    stage: Stage,
    names: Names,
    all: Tree,
    dice: fastrand::Rng,
}

impl<'d> Ordeal<'d> {
    fn new(dovecot: &'d Dovecot, user: &'static str, seed: u64) -> Self {
        let mut all = Tree::default();
        all.add("INBOX", &format!("m1..m{}", number("MESSAGES", 2000)));
        // Small batches, so that every moment falls between some.
        let stage = Stage::new(dovecot.imap_port, user, PASSWORD, "");
        let names = Names::of(all.names());
        Self { dovecot, user, stage, names, all, dice: fastrand::Rng::with_seed(seed) }
    }

    fn run(&self, kill_after: Option<Duration>) -> bool {
        self.stage.backdate();
        let mut child = self.stage.command("sync").env("MAILTWIN_GROUP", "100").spawn().expect("the program starts");
        if let Some(after) = kill_after {
            let until = Instant::now() + after;
            while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_micros(300));
            }
            // `Child::kill` is SIGKILL; it does nothing to one that has ended.
            let _ = child.kill();
        }
        let ran = self.stage.end(child);
        wait_until_alone(self.dovecot, self.user);
        assert!(ran.code.is_none_or(|code| code == 0), "it failed: {}", ran.said);
        ran.code.is_some()
    }

    /// Kills it as often as asked for, each time a little further on, then lets it finish.
    fn endure(&mut self, from: &dyn Fn(&Self)) {
        let wanted = number("KILLS", 50);
        let (mut kills, mut rounds) = (0, 0);
        let mut longest = Duration::from_millis(400);
        while kills < wanted {
            let after = Duration::from_micros(self.dice.u64(1_000..u64::try_from(longest.as_micros()).expect("small")));
            if self.run(Some(after)) {
                // Done before all kills are spent: it is checked, and begins anew with what is left of them.
                self.is_whole();
                rounds += 1;
                from(self);
                longest = longest.mul_f32(0.8).max(Duration::from_millis(60));
            } else {
                kills += 1;
            }
        }
        assert!(self.run(None), "it was not killed");
        self.is_whole();
        println!("{}: {kills} kills, done {} times", self.user, rounds + 1);
    }

    fn is_whole(&self) {
        let server = Client::login(self.dovecot, self.user).tree(&self.names);
        assert!(server.0["INBOX"] == self.all.0["INBOX"], "the server: {}", difference(&server, &self.all));
        let maildir = self.stage.tree(&self.names);
        assert!(maildir.0["INBOX"] == self.all.0["INBOX"], "the Maildir: {}", difference(&maildir, &self.all));
    }

    /// Everything is gone from both sides and forgotten.
    fn wipe(&self) {
        let mut client = Client::login(self.dovecot, self.user);
        client.ask("SELECT INBOX");
        client.ask("STORE 1:* +FLAGS (\\Deleted)");
        client.ask("EXPUNGE");
        let _ = std::fs::remove_dir_all(self.stage.maildir());
        let _ = std::fs::remove_dir_all(self.stage.state());
    }
}

fn difference(found: &Tree, wanted: &Tree) -> String {
    let count = |tree: &Tree| {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        tree.0["INBOX"].iter().for_each(|mail| *counts.entry(mail.name.clone()).or_default() += 1);
        counts
    };
    let (found, wanted) = (count(found), count(wanted));
    let lost: Vec<_> = wanted.keys().filter(|name| !found.contains_key(*name)).collect();
    let doubled: Vec<_> = found.iter().filter(|(name, n)| wanted.get(*name) != Some(n)).collect();
    format!("lost {lost:?}, doubled or unknown {doubled:?}")
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let seed = number("SEED", now);
    println!("SEED={seed}");
    seed
}

#[test]
fn a_large_pull_survives_being_killed_fifty_times() {
    let dovecot = start();
    let mut ordeal = Ordeal::new(&dovecot, "pull", seed());
    let fill = |ordeal: &Ordeal<'_>| {
        for mail in &ordeal.all.0["INBOX"] {
            let text = String::from_utf8_lossy(&body(&mail.name)).replace('\n', "\r\n");
            ordeal.dovecot.deliver(ordeal.user, "INBOX", text.as_bytes());
        }
    };
    fill(&ordeal);
    ordeal.endure(&|ordeal| {
        ordeal.wipe();
        fill(ordeal);
    });
}

#[test]
fn a_large_push_survives_being_killed_fifty_times() {
    let dovecot = start();
    let mut ordeal = Ordeal::new(&dovecot, "push", seed());
    let fill = |ordeal: &Ordeal<'_>| {
        assert!(ordeal.run(None));
        ordeal.stage.edit(&ordeal.stage.tree(&ordeal.names), &ordeal.all, &ordeal.names);
    };
    fill(&ordeal);
    ordeal.endure(&|ordeal| {
        ordeal.wipe();
        fill(ordeal);
    });
}
