//! Life: writers on both sides, faults on the way, the daemon stopped and begun again, and at the end everything is there once.
//!
//! `SOAK=3600 cargo nextest run --features steps --test daemon soak` lives for an hour; without it, for a while.

// What it went through is meant to be read.
#![allow(clippy::print_stdout)]

use super::process::Daemon;
use crate::support::bench::{Bench, USER, message};
use crate::support::processes::{memory, of_daemon};
use crate::support::server::{Act, Profile, StoreMode, When};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nothing of what happens here is an accident that a person has to confirm.
const CALM: &str = "every = \"3s\"\ndelete = \"expunge\"\n\
                    guard = { deletions = 100000, percent = 100, emptied = 100000, per-10-minutes = 100000 }";
const VERBS: [&str; 9] =
    ["GREETING", "AUTHENTICATE", "LIST", "SELECT", "UID FETCH", "UID STORE", "APPEND", "UID EXPUNGE", "IDLE"];

/// For how long, if nobody says so.
const A_WHILE: u64 = 20;

fn how_long() -> Duration {
    Duration::from_secs(std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(A_WHILE))
}

/// The world around the daemon, and what it did.
struct World<'b> {
    bench: &'b Bench,
    dice: fastrand::Rng,
    made: usize,
    /// What was deleted on a side: by which moment of the transfer that was, nobody can say, so it may have come back.
    deleted: Vec<String>,
}

impl World<'_> {
    fn files(&self) -> Vec<PathBuf> {
        let folder = self.bench.maildir().join("INBOX");
        let parts = ["new", "cur"].into_iter().filter_map(|part| fs::read_dir(folder.join(part)).ok());
        parts.flatten().flatten().map(|entry| entry.path()).collect()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.dice.usize(..all.len())].clone())
    }

    /// One thing happens, on the one side or the other, or on the way.
    fn happen(&mut self, deletes: bool) {
        let (server, inbox) = (&self.bench.server, self.bench.maildir().join("INBOX"));
        match self.dice.usize(..if deletes { 10 } else { 6 }) {
            0 | 1 => {
                let uids: Vec<u32> = server.snapshot(USER)["INBOX"].iter().map(|(uid, ..)| *uid).collect();
                let mode = if self.dice.bool() { StoreMode::Add } else { StoreMode::Remove };
                if let Some(uid) = self.one_of(&uids) {
                    self.bench.server.store(USER, "INBOX", &[uid], mode, &["\\Flagged"]);
                }
            }
            2 | 3 => {
                if let Some(file) = self.one_of(&self.files()) {
                    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
                    let base = name.split(":2,").next().unwrap_or_default();
                    let letters = ["", "S", "F", "FS"][self.dice.usize(..4)];
                    // The daemon may have been faster.
                    let _ = fs::rename(&file, inbox.join("cur").join(format!("{base}:2,{letters}")));
                }
            }
            4 => self.fault(),
            5 => self.bench.server.clear_rules(),
            6 | 7 => {
                self.made += 1;
                self.bench.server.deliver(USER, "INBOX", message(self.made), &[]);
            }
            8 => {
                self.made += 1;
                let (draft, name) = (inbox.join("tmp"), format!("1700000000.M{}P9.here", self.made));
                if draft.is_dir() {
                    fs::write(draft.join(&name), message(self.made).replace("\r\n", "\n")).expect("written");
                    fs::rename(draft.join(&name), inbox.join("new").join(&name)).expect("moved");
                } else {
                    self.made -= 1;
                }
            }
            _ => self.delete(),
        }
    }

    fn delete(&mut self) {
        if self.dice.bool() {
            let all: Vec<(u32, String)> =
                self.bench.server.snapshot(USER)["INBOX"].iter().map(|(uid, _, body)| (*uid, text(body))).collect();
            if let Some((uid, text)) = self.one_of(&all) {
                self.bench.server.expunge(USER, "INBOX", &[uid]);
                self.deleted.push(text);
            }
        } else if let Some(file) = self.one_of(&self.files())
            && let Ok(body) = fs::read(&file)
            && fs::remove_file(&file).is_ok()
        {
            self.deleted.push(text(&body));
        }
    }

    fn fault(&mut self) {
        let act = match self.dice.usize(..8) {
            0 => Act::Drop,
            1 => Act::EffectThenDrop,
            2 => Act::Blackhole,
            3 => Act::Delay(self.dice.u64(1..400)),
            4 => Act::CutAfterBytes(self.dice.usize(..200)),
            5 => Act::CutSessionAfter(self.dice.usize(..2_000)),
            // Without a code a login would be refused for good.
            6 => Act::No("UNAVAILABLE", "not now"),
            _ => return self.bench.server.sever_all(),
        };
        let verb = VERBS[self.dice.usize(..VERBS.len())];
        self.bench.server.rule(When::verb(verb).nth(1), act);
    }

    /// How often there is each message, there and here.
    fn both(&self) -> [BTreeMap<String, usize>; 2] {
        let mut both = [BTreeMap::new(), BTreeMap::new()];
        for (.., body) in &self.bench.server.snapshot(USER)["INBOX"] {
            *both[0].entry(text(body)).or_default() += 1;
        }
        for body in self.files().iter().filter_map(|file| fs::read(file).ok()) {
            *both[1].entry(text(&body)).or_default() += 1;
        }
        both
    }

    /// The flags of both sides agree: of each message, whether it is marked as read and as flagged.
    fn flags_agree(&self) -> bool {
        let there = self.bench.server.snapshot(USER).remove("INBOX").unwrap_or_default();
        let there: BTreeMap<String, (bool, bool)> = there
            .iter()
            .map(|(_, flags, body)| (text(body), (flags.contains("\\Seen"), flags.contains("\\Flagged"))))
            .collect();
        let here: BTreeMap<String, (bool, bool)> = self
            .files()
            .iter()
            .filter_map(|file| {
                let name = file.file_name()?.to_string_lossy().into_owned();
                let letters = name.split_once(":2,").map_or("", |(_, letters)| letters).to_owned();
                Some((text(&fs::read(file).ok()?), (letters.contains('S'), letters.contains('F'))))
            })
            .collect();
        there == here
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace("\r\n", "\n")
}

#[test]
fn nothing_is_lost_or_doubled_whatever_happens_on_both_sides_and_between() {
    let bench = Bench::new(Profile::full());
    bench.configure(CALM);
    let seed = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut world = World { bench: &bench, dice: fastrand::Rng::with_seed(seed), made: 0, deleted: Vec::new() };
    let until = Instant::now() + how_long();
    let (mut starts, mut daemon) = (1, Daemon::start(&bench));
    while Instant::now() < until {
        let next = Instant::now() + Duration::from_millis(world.dice.u64(200..2_000));
        while Instant::now() < next {
            world.happen(true);
            std::thread::sleep(Duration::from_millis(world.dice.u64(1..40)));
        }
        match world.dice.usize(..3) {
            0 => drop(daemon.end()),
            // Killed.
            1 => drop(daemon),
            _ => continue,
        }
        starts += 1;
        daemon = Daemon::start(&bench);
    }
    bench.server.clear_rules();
    bench.server.sever_all();
    // After many failures it would wait for minutes.
    daemon.signal(Signal::USR1);
    daemon.until("that both sides are the same", || {
        let [there, here] = world.both();
        there == here && world.flags_agree()
    });
    let [there, here] = world.both();
    assert_eq!(there, here);
    assert!(here.values().all(|count| *count == 1), "SEED={seed}: something is there twice: {here:?}");
    for number in 1..=world.made {
        let made = text(message(number).as_bytes());
        assert!(
            here.contains_key(&made) || world.deleted.contains(&made),
            "SEED={seed}: message {number} is lost\n{}",
            daemon.log()
        );
    }
    println!("{} messages made, {} deleted, {starts} starts", world.made, world.deleted.len());
}

/// What the processes of a daemon have open, and how much memory they have in use, in kB.
fn burden(monitor: u32) -> (usize, u64) {
    let open = |process: &u32| fs::read_dir(format!("/proc/{process}/fd")).expect("a process of ours").count();
    let processes = of_daemon(monitor);
    (processes.iter().map(open).sum(), processes.iter().map(|process| memory(*process)).sum())
}

#[test]
fn a_long_life_keeps_neither_files_open_nor_memory() {
    let bench = Bench::new(Profile::full());
    bench.configure(CALM);
    bench.fill(200);
    let daemon = Daemon::start(&bench);
    let mut world = World { bench: &bench, dice: fastrand::Rng::with_seed(5), made: 0, deleted: Vec::new() };
    daemon.until("the first look", || bench.count("INBOX") == 200);
    let at_rest = |world: &World<'_>| {
        bench.server.clear_rules();
        bench.server.sever_all();
        // After many failures it would wait for minutes.
        daemon.signal(Signal::USR1);
        daemon.until("that both sides are the same", || world.flags_agree());
        daemon.until("that it listens", || daemon.ask(&["status"]).out.contains("live"));
        // What is kept open for a moment is closed, and what is left is what it lives with.
        let mut burdens: Vec<(usize, u64)> = Vec::new();
        daemon.until("that it rests", || {
            std::thread::sleep(Duration::from_millis(200));
            bench.server.sessions() <= 2
        });
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            burdens.push(burden(daemon.child.id()));
        }
        burdens.into_iter().min().expect("some")
    };
    let live = |world: &mut World<'_>, time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            world.happen(false);
            std::thread::sleep(Duration::from_millis(world.dice.u64(1..40)));
        }
    };
    live(&mut world, how_long() / 2);
    let (files, memory) = at_rest(&world);
    live(&mut world, how_long() / 2);
    let (files_later, memory_later) = at_rest(&world);
    println!("open files {files}, then {files_later}; memory {memory} kB, then {memory_later} kB");
    assert!(files_later <= files, "{files} open files, then {files_later}");
    // What it needs varies by some pieces at first; over an hour nothing may grow.
    if how_long() >= Duration::from_secs(600) {
        assert!(memory_later <= memory + memory / 20, "{memory} kB, then {memory_later} kB");
    }
}
