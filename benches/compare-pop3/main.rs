//! mailtwin beside mpop, getmail and fetchmail: the same Dovecot, the same drop, the same link, one after the other.
//!
//! `cargo bench --bench compare-pop3 -- [--runs N] [--messages N] [--peers mpop|all] [--cases WORD,WORD...]`
//!
//! In each run each program fetches a drop of its own, a copy of one corpus, and looks again when that has been at rest; afterwards every message is
//! compared with the server's. The last case is a drop of 100,000 messages, beside a client that asks for the list of
//! unique-ids and does nothing else. `docs/performance.md` tells what the figures mean.

// The table is meant to be read.
#![allow(clippy::print_stdout, clippy::expect_used)]

#[path = "../compare/link.rs"]
mod link;
#[path = "../compare/measure.rs"]
mod measure;
#[path = "../compare/message.rs"]
mod message;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tools;

use link::{Link, Quality};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use support::dovecot::{Dovecot, PASSWORD, Settings, apt_get};
use tools::{Account, Tool};

/// The user whose drop is copied to all others.
const ORIGINAL: &str = "corpus";
/// Messages of the drop on the far link.
const FAR_MESSAGES: usize = 300;
/// Messages of the large drop.
const MANY: usize = 100_000;
const NEAR: Quality = Quality { round_trip_ms: 0, bits_per_second: 0 };
const FAR: Quality = Quality { round_trip_ms: 100, bits_per_second: 0 };

/// What the command line asks for.
struct Wish {
    runs: usize,
    messages: usize,
    tools: Vec<Tool>,
    cases: Vec<String>,
}

/// What one run of one program took.
#[derive(Clone, Copy)]
struct Figures {
    seconds: f64,
    turns: u64,
    peak_kb: u64,
}

fn main() {
    let wish = read_wish(std::env::args().skip(1));
    let missing: Vec<&str> = wish.tools.iter().filter_map(|tool| tool.missing_package()).collect();
    if !missing.is_empty() {
        println!("{}", apt_get(&["update"]));
        println!("{}", apt_get(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat()));
    }
    for (name, quality, messages) in [("near", NEAR, wish.messages), ("far", FAR, FAR_MESSAGES)] {
        if wish.wants(name) {
            compare(name, quality, messages, &wish);
        }
    }
    if wish.wants("many") {
        many(&wish);
    }
}

/// A server with POP3, and nothing that one login after the other has to wait for.
fn server() -> Dovecot {
    Dovecot::with(&Settings { pop3: true, ..Settings::default() })
}

/// Fetches one drop by all programs, over one link, and prints the table.
fn compare(name: &str, quality: Quality, messages: usize, wish: &Wish) {
    let dovecot = server();
    (0..messages).for_each(|number| drop(dovecot.deliver(ORIGINAL, "INBOX", &message::message(number))));
    println!("\n{name}: {messages} messages, round trip {} ms", quality.round_trip_ms);
    let link = Link::open(dovecot.pop3s_port, quality);
    let mut figures: BTreeMap<(&str, Tool), Vec<Figures>> = BTreeMap::new();
    for run in 0..wish.runs {
        let mut order = wish.tools.clone();
        // Who goes first has the colder caches: they take turns.
        let turn = run % order.len();
        order.rotate_left(turn);
        for tool in order {
            let user = format!("{}{name}{run}", tool.name());
            dovecot.copy_user(ORIGINAL, &user);
            // The server has looked at the drop before: what it does for that is no program's.
            uidl(&dovecot, &user);
            let account = Account::new(tool, &dovecot, &user, link.port);
            for case in ["first fetch", "unchanged"] {
                if case == "unchanged" {
                    account.rest();
                }
                link.turns();
                let (took, peak_kb) = account.fetch();
                let found = Figures { seconds: took.as_secs_f64(), turns: link.turns(), peak_kb };
                println!(
                    "  run {run}, {:9}, {case:12} {:8.2} s {:5} turns {:7} kB",
                    tool.name(),
                    found.seconds,
                    found.turns,
                    peak_kb
                );
                figures.entry((case, tool)).or_default().push(found);
            }
            let (count, altered) = account.altered(&dovecot);
            assert_eq!(count, messages, "{user}: {count} messages are here");
            assert!(altered == 0 || tool != Tool::Mailtwin, "{user}: {altered} messages were altered");
            if altered > 0 {
                println!("  {} altered the bytes of {altered} of {count} messages", tool.name());
            }
        }
    }
    println!("\n| {name} | program | time | mailtwin's share of it | turns | peak |\n|---|---|---|---|---|---|");
    for case in ["first fetch", "unchanged"] {
        let median = |tool: Tool| figures.get(&(case, tool)).map(|figures| median(figures));
        let Some(ours) = median(Tool::Mailtwin) else { continue };
        for tool in &wish.tools {
            let Some(found) = median(*tool) else { continue };
            println!(
                "| {case} | {} | {:.2} s | {:.2} | {} | {} MB |",
                tool.name(),
                found.seconds,
                ours.seconds / found.seconds,
                found.turns,
                found.peak_kb / 1000
            );
        }
    }
}

/// An unchanged look at a drop of many messages, beside a bare list of its unique-ids.
fn many(wish: &Wish) {
    let dovecot = server();
    let folder = dovecot.user_maildir("many").join("new");
    drop(dovecot.deliver("many", "INBOX", b"Subject: the first\n\nhello\n"));
    for number in 1..MANY {
        let text = format!("Message-ID: <{number}@example.org>\nSubject: {number}\n\n{number}\n");
        std::fs::write(folder.join(format!("1700000000.M{number}P1.bench,S={}", text.len())), text).expect("written");
    }
    println!("\nmany: {MANY} messages, of which none is fetched");
    let account = Account::of_many(&dovecot, "many");
    uidl(&dovecot, "many");
    account.fetch();
    account.rest();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for run in 0..wish.runs {
        let seconds = uidl(&dovecot, "many").as_secs_f64();
        bare.push(Figures { seconds, turns: 0, peak_kb: 0 });
        let (took, peak_kb) = account.fetch();
        ours.push(Figures { seconds: took.as_secs_f64(), turns: 0, peak_kb });
        println!("  run {run}, bare {seconds:.2} s, mailtwin {:.2} s, {peak_kb} kB", took.as_secs_f64());
    }
    let (bare, ours) = (median(&bare), median(&ours));
    println!(
        "\n| unchanged, {MANY} messages | a bare UIDL | mailtwin | more than that | peak |\n|---|---|---|---|---|"
    );
    let more = ours.seconds - bare.seconds;
    println!("| | {:.2} s | {:.2} s | {more:.2} s | {} MB |", bare.seconds, ours.seconds, ours.peak_kb / 1000);
}

fn median(figures: &[Figures]) -> Figures {
    let middle = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Figures {
        seconds: middle(figures.iter().map(|f| f.seconds).collect()),
        turns: middle(figures.iter().map(|f| f.turns as f64).collect()) as u64,
        peak_kb: middle(figures.iter().map(|f| f.peak_kb as f64).collect()) as u64,
    }
}

/// A session that lists the unique-ids, without TLS; how long it took.
fn uidl(dovecot: &Dovecot, user: &str) -> Duration {
    let began = Instant::now();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dovecot.pop3_port)).expect("the server listens");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("a greeting");
    for command in [&format!("USER {user}"), &format!("PASS {PASSWORD}"), "UIDL", "QUIT"] {
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("the server reads");
        line.clear();
        stream.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("+OK"), "{command}: {line}");
        while command == "UIDL" && line != ".\r\n" {
            line.clear();
            stream.read_line(&mut line).expect("the list");
        }
    }
    began.elapsed()
}

impl Wish {
    fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|word| word == case)
    }
}

fn read_wish(arguments: impl Iterator<Item = String>) -> Wish {
    let mut wish = Wish { runs: 5, messages: 5_000, tools: vec![Tool::Mailtwin, Tool::Mpop], cases: Vec::new() };
    // Cargo adds a word of its own.
    let mut arguments = arguments.filter(|word| word != "--bench");
    while let Some(word) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match (word.as_str(), value.as_str()) {
            ("--runs", _) => wish.runs = value.parse().expect("a number of runs"),
            ("--messages", _) => wish.messages = value.parse().expect("a number of messages"),
            ("--peers", "all") => wish.tools.extend([Tool::Getmail, Tool::Fetchmail]),
            ("--peers", "mpop") => {}
            ("--cases", _) => wish.cases = value.split(',').map(str::to_owned).collect(),
            (other, _) => {
                panic!("{other} is none of --runs, --messages, --peers (mpop, all), --cases (near, far, many)")
            }
        }
    }
    wish
}
