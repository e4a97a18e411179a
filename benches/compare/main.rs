//! mailtwin and mbsync, side by side: the same Dovecot, the same mail, the same link, one after the other.
//!
//! `cargo bench --bench compare -- [--runs N] [--link near|far|both] [--messages N] [--cases WORD,WORD...]`
//!
//! Each run gives each of the two an account of its own, a copy of one corpus, and takes it through all cases in order;
//! afterwards both sides of every account are compared message by message. `docs/performance.md` tells what the figures
//! mean.

// The table is meant to be read.
#![allow(clippy::print_stdout, clippy::expect_used)]

mod cases;
mod corpus;
mod link;
mod measure;
mod message;
mod sides;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tools;

use cases::{Case, Figures};
use link::{Link, Quality};
use std::collections::BTreeMap;
use support::dovecot::{Dovecot, Settings, apt_get};
use tools::Tool;

/// What the command line asks for.
struct Wish {
    runs: usize,
    links: Vec<(&'static str, Quality)>,
    messages: usize,
    cases: Vec<String>,
}

const NEAR: Quality = Quality { round_trip_ms: 0, bits_per_second: 0 };
const FAR: Quality = Quality { round_trip_ms: 80, bits_per_second: 50_000_000 };

fn main() {
    let wish = read_wish(std::env::args().skip(1));
    if std::process::Command::new("mbsync").arg("--version").output().is_err() {
        println!("{}", apt_get(&["update"]));
        println!("{}", apt_get(&["install", "-y", "--no-install-recommends", "isync"]));
    }
    for (name, quality) in &wish.links {
        // Near, mbsync would compress although nothing is gained by it: there the server does not offer it.
        let imap_plugins = if quality.round_trip_ms == 0 { "zlib" } else { "zlib imap_zlib" }.to_owned();
        // What every message costs the server with `mail_fsync` is left out, for both alike; so are its limits.
        let dovecot = Dovecot::with(&Settings { imap_plugins, ..Settings::default() });
        corpus::make(&dovecot, wish.messages);
        println!("\n{name}: round trip {} ms, {} Mbit/s", quality.round_trip_ms, quality.bits_per_second / 1_000_000);
        compare(&dovecot, name, *quality, &wish);
    }
}

/// Runs everything over one link and prints its table.
fn compare(dovecot: &Dovecot, name: &str, quality: Quality, wish: &Wish) {
    let link = Link::open(dovecot.imaps_port, quality);
    let mut figures: BTreeMap<(Case, Tool), Vec<Figures>> = BTreeMap::new();
    for run in 0..wish.runs {
        // Who goes first has the colder caches: they take turns.
        let order = if run % 2 == 0 { [Tool::Mailtwin, Tool::Mbsync] } else { [Tool::Mbsync, Tool::Mailtwin] };
        for tool in order {
            let user = format!("{}{name}{run}", tool.name());
            corpus::give(dovecot, &user);
            let account = tools::Account::new(tool, dovecot, &user, link.port);
            for case in Case::ALL {
                let is_wanted = wish.cases.is_empty() || wish.cases.iter().any(|word| case.name().contains(word));
                if case == Case::Pull || is_wanted {
                    let found = cases::run(case, &account, dovecot, &link, wish.messages);
                    println!("  run {run}, {:8}, {:45} {found}", tool.name(), case.name());
                    figures.entry((case, tool)).or_default().push(found);
                }
            }
            sides::compare(&account, dovecot);
        }
    }
    println!(
        "\n| {name} | mailtwin | mbsync | ratio | mailtwin: turns | mbsync: turns | mailtwin: peak | mbsync: peak |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for case in Case::ALL {
        let (Some(ours), Some(theirs)) = (figures.get(&(case, Tool::Mailtwin)), figures.get(&(case, Tool::Mbsync)))
        else {
            continue;
        };
        let (ours, theirs) = (Figures::median(ours), Figures::median(theirs));
        println!(
            "| {} | {:.2} s | {:.2} s | {:.2} | {} | {} | {} MB | {} MB |",
            case.name(),
            ours.seconds,
            theirs.seconds,
            ours.seconds / theirs.seconds,
            ours.turns,
            theirs.turns,
            ours.peak_kb / 1000,
            theirs.peak_kb / 1000,
        );
    }
}

fn read_wish(arguments: impl Iterator<Item = String>) -> Wish {
    let mut wish = Wish { runs: 5, links: vec![("near", NEAR), ("far", FAR)], messages: 16_000, cases: Vec::new() };
    // Cargo adds a word of its own.
    let mut arguments = arguments.filter(|word| word != "--bench");
    while let Some(word) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--runs" => wish.runs = value.parse().expect("a number of runs"),
            "--messages" => wish.messages = value.parse().expect("a number of messages"),
            "--cases" => wish.cases = value.split(',').map(str::to_owned).collect(),
            "--link" => wish.links.retain(|(name, _)| value == "both" || *name == value),
            other => panic!("{other} is none of --runs, --link, --messages, --cases"),
        }
    }
    wish
}
