//! Two devices on one account of a real Dovecot: each has a state and a Maildir of its own, and edits as it likes, while the
//! other does too. They converge, lose and double nothing, and then let each other be. And a Dovecot that loses what it
//! knows of its mailboxes while it runs.
//!
//! The edits are drawn; the seed is printed, and taken from `SEED` if that is set. With `MINUTES` it goes on for longer.

#![cfg(feature = "steps")]
#![allow(clippy::print_stdout)]

use crate::scenarios::Stage;
use crate::scenarios::dovecot::{Client, start, wait_until_alone};
use crate::scenarios::stage::Ran;
use crate::scenarios::{Host as _, tree};
use crate::support::dovecot::{Dovecot, PASSWORD};
use crate::support::relay::Relay;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A guard that lets go what is drawn: it is not the subject here.
const UNGUARDED: &str = "guard = { deletions = 9999, percent = 100, emptied = 9999, per-10-minutes = 9999 }";
const TRASH: &str = "Papierkorb";

/// What the server's keywords are called.
const KEYWORDS: [&str; 3] = ["work", "later", "blue"];

/// A message as somebody sees it: where, its text, its flags and keywords.
type Message = (String, String, BTreeSet<String>);

struct Device {
    number: u32,
    stage: Stage,
    relay: Relay,
    created: u32,
    /// What it deleted, by its number: before the first pass that saw it, nobody else heard of it.
    deleted: BTreeSet<u32>,
}

impl Device {
    fn new(dovecot: &Dovecot, user: &str, number: u32) -> Self {
        let relay = Relay::to(dovecot.imap_port);
        Self {
            number,
            stage: Stage::new(relay.port, user, PASSWORD, UNGUARDED),
            relay,
            created: 0,
            deleted: BTreeSet::new(),
        }
    }

    fn mailboxes(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.stage.maildir()).expect("listed").flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> =
            entries.filter(|path| path.join("cur").is_dir() && !path.ends_with(TRASH)).collect();
        found.sort();
        found
    }

    /// Every message file of a mailbox, by its whole name.
    fn files(mailbox: &Path) -> Vec<PathBuf> {
        let parts = ["new", "cur"].map(|part| mailbox.join(part));
        let mut found: Vec<PathBuf> =
            parts.iter().flat_map(|part| fs::read_dir(part).expect("listed").flatten()).map(|e| e.path()).collect();
        found.sort();
        found
    }

    /// What the letters of a mailbox mean.
    fn letters(mailbox: &Path) -> BTreeMap<char, String> {
        let table = fs::read_to_string(mailbox.join("dovecot-keywords")).unwrap_or_default();
        let words = table.lines().filter_map(|line| line.split_once(' '));
        let letter = |number: &str| char::from(b'a' + number.parse::<u8>().expect("a number"));
        let keywords = words.map(|(number, word)| (letter(number), word.to_owned()));
        keywords.chain([('S', "\\Seen".to_owned()), ('F', "\\Flagged".to_owned())]).collect()
    }

    /// Whether this device alone moves and deletes the message: where both do, it may rightly end in two places.
    fn owns(&self, file: &Path) -> bool {
        let text = fs::read_to_string(file).expect("text");
        text.contains(&format!("Subject: device {}", self.number))
    }

    /// One edit, as a reader would make it.
    fn edit(&mut self, random: &mut fastrand::Rng) {
        let mailboxes = self.mailboxes();
        let mailbox = mailboxes[random.usize(..mailboxes.len())].clone();
        let files = Self::files(&mailbox);
        let kind = random.u32(0..20);
        if kind == 0 {
            let made = self.stage.maildir().join(format!("Box{}{}", self.number, self.created));
            self.created += 1;
            ["", "cur", "new", "tmp"].iter().for_each(|part| fs::create_dir_all(made.join(part)).expect("made"));
            return;
        }
        if kind < 7 || files.is_empty() {
            let (device, n) = (self.number, self.created);
            self.created += 1;
            let text = format!(
                "Message-ID: <{device}.{n}@example.org>\nSubject: device {device}, message {n}\n\n{}\n",
                "a line\n".repeat(random.usize(0..20))
            );
            let name = format!("1700000000.D{device}N{n}.host");
            fs::write(mailbox.join("tmp").join(&name), text).expect("written");
            fs::rename(mailbox.join("tmp").join(&name), mailbox.join("new").join(&name)).expect("delivered");
            return;
        }
        let file = &files[random.usize(..files.len())];
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let (base, letters) = name.split_once(":2,").unwrap_or((&name, ""));
        if kind < 14 || !self.owns(file) {
            let known: Vec<char> = Self::letters(&mailbox).into_keys().collect();
            let letter = known[random.usize(..known.len())];
            let mut letters: BTreeSet<char> = letters.chars().collect();
            if !letters.remove(&letter) {
                letters.insert(letter);
            }
            let letters: String = letters.into_iter().collect();
            fs::rename(file, mailbox.join("cur").join(format!("{base}:2,{letters}"))).expect("renamed");
        } else if kind < 18 {
            // The letters of keywords mean something else there.
            let letters = letters.replace(|letter: char| letter.is_ascii_lowercase(), "");
            let to = mailboxes[random.usize(..mailboxes.len())].join("cur");
            fs::rename(file, to.join(format!("{base}:2,{letters}"))).expect("moved");
        } else {
            let text = fs::read_to_string(file).expect("text");
            let number = text.split("message ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            self.deleted.insert(number.expect("it has one"));
            fs::remove_file(file).expect("removed");
        }
    }

    fn messages(&self) -> Vec<Message> {
        let mut found = Vec::new();
        let trash = self.stage.maildir().join(TRASH);
        for mailbox in self.mailboxes().into_iter().chain(trash.is_dir().then_some(trash)) {
            let name = mailbox.file_name().expect("a name").to_string_lossy().into_owned();
            let known = Self::letters(&mailbox);
            for file in Self::files(&mailbox) {
                let text = fs::read_to_string(&file).expect("text");
                let path = file.to_string_lossy().into_owned();
                let letters = path.split_once(":2,").map_or("", |(_, letters)| letters);
                let said = letters.chars().map(|letter| known.get(&letter).cloned().unwrap_or(letter.to_string()));
                found.push((name.clone(), text, said.collect()));
            }
        }
        found.sort();
        found
    }

    fn sync(&self) -> Ran {
        self.stage.run("sync", None)
    }
}

fn on_server(client: &mut Client<'_>) -> Vec<Message> {
    let mut found = Vec::new();
    for (mailbox, messages) in client.list() {
        for (_, flags, body) in messages {
            let text = String::from_utf8(body).expect("text").replace("\r\n", "\n");
            found.push((mailbox.clone(), text, flags.into_iter().filter(|flag| flag != "\\Recent").collect()));
        }
    }
    found.sort();
    found
}

/// What may change something on the server.
fn mutating(said: &str) -> Vec<&str> {
    let verbs =
        [" APPEND ", " STORE ", " COPY ", " MOVE ", "EXPUNGE", " CREATE ", " DELETE ", " RENAME ", " SUBSCRIBE "];
    said.lines().filter(|line| verbs.iter().any(|verb| line.to_uppercase().contains(verb))).collect()
}

#[test]
fn two_devices_converge_lose_and_double_nothing_and_then_are_quiet() {
    let drawn = || fastrand::u64(..1 << 40);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(drawn);
    println!("SEED={seed}");
    let minutes: u64 = std::env::var("MINUTES").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut random = fastrand::Rng::with_seed(seed);
    let (dovecot, user) = (start(), "pair");
    Client::login(&dovecot, user).ask("CREATE Archive");
    let mut devices = [1, 2].map(|number| Device::new(&dovecot, user, number));
    devices.iter().for_each(|device| assert_eq!(device.sync().code, Some(0)));
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < 8 || began.elapsed() < Duration::from_secs(60 * minutes) {
        rounds += 1;
        for device in &mut devices {
            (0..random.usize(1..8)).for_each(|_| device.edit(&mut random));
        }
        let mut other = Client::login(&dovecot, user);
        other.ask("SELECT INBOX");
        let sign = if random.bool() { '+' } else { '-' };
        let (message, word) = (random.u32(1..6), KEYWORDS[random.usize(..3)]);
        other.ask(&format!("UID STORE {message},* {sign}FLAGS ({word})"));
        drop(other);
        if random.bool() {
            // At the same time.
            devices.iter().for_each(|device| device.stage.backdate());
            let runs = devices.each_ref().map(|device| device.stage.command("sync").spawn().expect("it starts"));
            for (device, run) in devices.iter().zip(runs) {
                let ran = device.stage.end(run);
                assert!(matches!(ran.code, Some(0 | 1)), "round {rounds}: {:?} {}", ran.code, ran.said);
            }
        } else {
            let ran = devices[random.usize(0..2)].sync();
            assert_eq!(ran.code, Some(0), "round {rounds}: {}", ran.said);
        }
    }
    // Now nobody edits. Each hears of the other after one pass of both.
    let mut told = String::new();
    for _ in 0..3 {
        for device in &devices {
            let ran = device.sync();
            told += &format!("device {}: {:?} {}\n", device.number, ran.code, ran.said);
        }
    }
    wait_until_alone(&dovecot, user);
    let there = on_server(&mut Client::login(&dovecot, user));
    for device in &devices {
        assert_eq!(device.messages(), there, "device {} and the server\n{told}", device.number);
    }
    let mut copies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    there.iter().for_each(|(mailbox, text, ..)| copies.entry(text).or_default().push(mailbox));
    let doubled: Vec<_> = copies.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    for device in &devices {
        for n in (0..device.created).filter(|n| !device.deleted.contains(n)) {
            let number = format!("Subject: device {}, message {n}\n", device.number);
            let made = devices[0].stage.maildir().join(format!("Box{}{n}", device.number)).is_dir();
            assert!(made || there.iter().any(|(_, text, ..)| text.contains(&number)), "{number} is lost");
        }
    }
    for device in &devices {
        let before = device.relay.said().len();
        let ran = device.sync();
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        let said = device.relay.said()[before..].to_owned();
        assert_eq!(mutating(&said), Vec::<&str>::new(), "device {} is not quiet", device.number);
        let stored: Vec<_> = ran.steps.iter().filter(|site| site.starts_with("store.")).collect();
        assert!(stored.is_empty(), "device {}: {stored:?}", device.number);
    }
}

/// Removes what Dovecot keeps beside the mail of the INBOX.
fn remove_beside(dovecot: &Dovecot, user: &str, prefix: &str) {
    let mut removed = 0;
    for entry in fs::read_dir(dovecot.user_maildir(user)).expect("listed").flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().is_file() {
            fs::remove_file(entry.path()).expect("removed");
            removed += 1;
        }
    }
    assert!(removed > 0, "there is no {prefix}");
}

/// How many messages the INBOX of a stage holds, and how many of them are flagged.
fn inbox(stage: &Stage) -> (usize, usize) {
    let files = Device::files(&stage.maildir().join("INBOX"));
    let flagged = files.iter().filter(|file| file.to_string_lossy().contains(":2,F"));
    (files.len(), flagged.count())
}

#[test]
fn a_dovecot_that_loses_its_index_or_its_uids_loses_no_message_and_transfers_none() {
    let (dovecot, user) = (start(), "index");
    let stage = Stage::new(dovecot.imap_port, user, PASSWORD, "");
    for n in 0..30 {
        let body = String::from_utf8(tree::body(&n.to_string())).expect("text").replace('\n', "\r\n");
        dovecot.deliver(user, "INBOX", body.as_bytes());
    }
    let mut client = Client::login(&dovecot, user);
    client.ask("SELECT INBOX");
    // A high mod-sequence, that it may fall.
    (0..9).for_each(|_| drop([client.ask("STORE 1:30 +FLAGS (\\Seen)"), client.ask("STORE 1:30 -FLAGS (\\Seen)")]));
    client.ask("CLOSE");
    assert_eq!(stage.run("sync", None).code, Some(0));
    assert_eq!(inbox(&stage), (30, 0));
    let number = |item: &str| -> u64 {
        let answer = Client::login(&dovecot, user).ask(&format!("STATUS INBOX ({item})"));
        let told = answer[0].0.rsplit(' ').next().and_then(|last| last.trim_end_matches(')').parse().ok());
        told.expect("a number")
    };
    for (lost, flagged) in [("dovecot.index", 1), ("dovecot", 2)] {
        let before = ["HIGHESTMODSEQ", "UIDVALIDITY"].map(number);
        // A new UIDVALIDITY is the time in seconds.
        std::thread::sleep(Duration::from_millis(1_100));
        // While a session is open.
        remove_beside(&dovecot, user, lost);
        let mut other = Client::login(&dovecot, user);
        other.ask("SELECT INBOX");
        other.ask(&format!("STORE {flagged} +FLAGS (\\Flagged)"));
        let after = ["HIGHESTMODSEQ", "UIDVALIDITY"].map(number);
        let is_so =
            if lost == "dovecot" { after[1] != before[1] } else { after[0] < before[0] && after[1] == before[1] };
        assert!(is_so, "{lost}: {before:?}, then {after:?}");
        let ran = stage.run("sync", None);
        assert_eq!(ran.code, Some(0), "{lost}: {}", ran.said);
        assert_eq!(inbox(&stage), (30, flagged), "{lost}: {}", ran.said);
        assert!(!ran.said.contains("fetched") && !ran.said.contains("uploaded"), "{lost}: {}", ran.said);
        assert_eq!(number("MESSAGES"), 30, "{lost}");
        let again = stage.run("sync", None);
        assert!(again.said.contains("nothing to do") || again.steps.iter().all(|site| !site.starts_with("store.")));
    }
}
