//! The arrows of the house: which room may import which, which files are pure, which crates live where.
//!
//! It reads the sources as tokens, not as text, so that a comment or a string breaks nothing, and `use` trees are
//! followed: `use crate::{mail::Uid, store}` is two imports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may import whom. A room may also import itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("step", &[]),
    ("monitor", &[]),
    ("sync", &["mail"]),
    ("remote", &["mail", "sync", "step", "monitor"]),
    ("maildir", &["mail", "sync", "step", "monitor"]),
    ("store", &["mail", "sync", "step"]),
    ("worker", &["mail", "sync", "remote", "maildir", "store"]),
    ("hooks", &["mail", "monitor", "maildir", "worker"]),
    ("supervisor", &["mail", "sync", "monitor", "remote", "maildir", "store", "worker", "hooks"]),
    ("control", &["mail", "sync", "monitor", "remote", "maildir", "store", "worker", "hooks", "supervisor"]),
    ("config", &["mail", "sync", "monitor", "remote", "maildir", "hooks"]),
    (
        "cli",
        &[
            "mail",
            "sync",
            "monitor",
            "remote",
            "maildir",
            "store",
            "worker",
            "hooks",
            "supervisor",
            "control",
            "config",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Rooms and files without IO, async, clock, randomness and logging, as beginnings of paths below `src`.
const PURE: &[&str] = &[
    "mail/",
    "sync/",
    "remote/quirks",
    "remote/pop3/capability",
    "remote/pop3/command",
    "remote/pop3/framer",
    "remote/pop3/listing",
    "remote/pop3/reply",
    "maildir/name",
    "maildir/layout",
    "maildir/mapping",
    "store/keys",
    "store/record",
    "supervisor/schedule",
    "supervisor/backoff",
    "supervisor/status",
    "control/protocol",
    "hooks/batch",
];

/// What a pure file does not name, as beginnings of paths.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime",
    "tokio",
    "sled",
    "tracing",
    "rand",
    "fastrand",
    "rustix",
    "async",
    "await",
];

/// The crates that live in one room.
const GUESTS: &[(&str, &str)] = &[
    ("sled", "store"),
    ("toml", "config"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("indicatif", "cli"),
    ("anyhow", "cli"),
    ("tracing_subscriber", "cli"),
    ("tracing_journald", "cli"),
    ("listenfd", "control"),
    ("async_imap", "remote"),
    ("imap_proto", "remote"),
    ("tokio_rustls", "remote"),
    ("mail_parser", "mail"),
    ("landlock", "monitor"),
];

/// The macros that print.
const PRINTING: &[&str] = &["println", "eprintln", "print", "eprint", "dbg"];

#[test]
fn the_house_is_built_as_it_was_drawn() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&sources, &mut files);
    assert!(files.len() > 10, "the sources were not found");
    let broken: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(&sources).expect("a source").to_string_lossy().into_owned();
            faults(&name, &text)
        })
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
}

/// The sentences that a file breaks. `name` is its path below `src`.
fn faults(name: &str, text: &str) -> Vec<String> {
    let room = name.split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == room) else {
        return vec![format!("src/{name}: there is no room `{room}` in the house: draw its arrows first")];
    };
    let mut faults = BTreeSet::new();
    for Mention { line, path, prints } in mentions(name, text) {
        let place = format!("src/{name}:{line}");
        let segments: Vec<&str> = path.split("::").collect();
        let imported = match segments[..] {
            ["crate" | "mailtwin", other, ..] if room != "lib" => Some(other),
            _ => None,
        };
        let is_other_room = |other: &&str| *other != room && ARROWS.iter().any(|(known, _)| known == other);
        if let Some(other) = imported.filter(is_other_room).filter(|other| !allowed.contains(other)) {
            let may = if allowed.is_empty() { "no other room".to_owned() } else { allowed.join(", ") };
            faults.insert(format!("{place}: `{room}` may import {may}; here it imports `{other}`"));
        }
        let pure = PURE.iter().any(|pure| name.starts_with(pure));
        let begins = |impure: &&&str| path == **impure || path.starts_with(&format!("{impure}::"));
        if let Some(impure) = IMPURE.iter().find(begins).filter(|_| pure) {
            faults.insert(format!("{place}: this file is pure: it does not know `{impure}`"));
        }
        if let Some((guest, home)) = GUESTS.iter().find(|(guest, home)| segments[0] == *guest && room != *home) {
            faults.insert(format!("{place}: the crate `{guest}` lives in `{home}` only"));
        }
        if prints && room != "cli" {
            faults.insert(format!("{place}: printing is for `cli` only"));
        }
    }
    faults.into_iter().collect()
}

/// A path that a source names, use trees taken apart.
struct Mention {
    line: usize,
    path: String,
    /// It is a printing macro, outside of tests.
    prints: bool,
}

fn mentions(name: &str, text: &str) -> Vec<Mention> {
    let tokens = tokens(text);
    let mut mentions = Vec::new();
    // For each open brace: whether a module begins there, and whether it is one of tests.
    let mut braces: Vec<Brace> = Vec::new();
    let is_test_file = name.ends_with("/tests.rs") || name.contains("/tests/");
    let mut i = 0;
    while i < tokens.len() {
        let Token { line, text } = &tokens[i];
        match text.as_str() {
            "{" => braces.push(brace(&tokens[..i])),
            "}" => drop(braces.pop()),
            _ if is_word(text) && !follows_path(&tokens[..i], text) => {
                let mut found = Vec::new();
                let after = tree(&tokens, i, String::new(), &mut found);
                let depth = name.split('/').count() - usize::from(name.ends_with("/mod.rs"));
                let depth = depth + braces.iter().filter(|brace| brace.is_module).count();
                let is_macro = tokens.get(i + 1).is_some_and(|next| next.text == "!");
                let in_tests = is_test_file || braces.iter().any(|brace| brace.is_tests);
                let prints = is_macro && PRINTING.contains(&text.as_str()) && !in_tests;
                mentions.extend(found.into_iter().map(|path| Mention {
                    line: *line,
                    path: climb(&path, depth),
                    prints,
                }));
                i = after;
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    mentions
}

struct Brace {
    is_module: bool,
    is_tests: bool,
}

/// Judges an opening brace by what stands before it.
fn brace(before: &[Token]) -> Brace {
    let words: Vec<&str> = before.iter().rev().take(9).map(|token| token.text.as_str()).collect();
    let is_module = words.get(1) == Some(&"mod");
    // `#[cfg(test)] mod name`, read backwards.
    let is_tests = is_module && words[2..].starts_with(&["]", ")", "test", "(", "cfg"]);
    Brace { is_module, is_tests }
}

/// Replaces `super::` steps that lead to the root of the crate by `crate::`.
fn climb(path: &str, depth: usize) -> String {
    let steps = path.split("::").take_while(|segment| *segment == "super").count();
    if steps == 0 || steps < depth {
        return path.to_owned();
    }
    let rest: Vec<&str> = path.split("::").skip(steps).collect();
    format!("crate::{}", rest.join("::"))
}

/// Reads a path, and the tree of paths where it opens a brace after `::`; returns where it ends.
fn tree(tokens: &[Token], start: usize, prefix: String, found: &mut Vec<String>) -> usize {
    let mut path = prefix;
    let mut i = start;
    while let Some(token) = tokens.get(i) {
        if is_word(&token.text) || token.text == "*" {
            if !path.is_empty() {
                path.push_str("::");
            }
            path.push_str(&token.text);
            i += 1;
        }
        if tokens.get(i).is_none_or(|token| token.text != "::") {
            break;
        }
        match tokens.get(i + 1).map(|token| token.text.as_str()) {
            Some("{") => return branches(tokens, i + 2, &path, found),
            Some(next) if is_word(next) || next == "*" => i += 1,
            // A turbofish: the path ends here.
            _ => {
                i += 1;
                break;
            }
        }
    }
    found.push(path);
    i.max(start + 1)
}

fn branches(tokens: &[Token], start: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut i = start;
    while let Some(token) = tokens.get(i) {
        match token.text.as_str() {
            "}" => return i + 1,
            "as" => i += 2,
            text if is_word(text) => i = tree(tokens, i, prefix.to_owned(), found),
            _ => i += 1,
        }
    }
    i
}

/// Tells whether a word is a field, a method, or the rest of a path; `.await` is a word of its own.
fn follows_path(before: &[Token], word: &str) -> bool {
    let previous = before.last().map(|token| token.text.as_str());
    let is_root = before.len() < 2 || !is_word(&before[before.len() - 2].text);
    match previous {
        Some(".") => word != "await",
        // `::maildir` names a crate, which is no room of ours.
        Some("::") => !is_root || word == "maildir",
        _ => false,
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Takes a source apart into words, `::` and single characters; comments, strings and numbers are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let rest = &chars[i..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['r', '"', ..] | ['r', '#', '"' | '#', ..] => raw_string(&rest[1..]) + 1,
            ['b', '"', ..] => string(&rest[1..]) + 1,
            ['b', 'r', '"' | '#', ..] => raw_string(&rest[2..]) + 2,
            ['\'', '\\', ..] => 3 + rest[3..].iter().take_while(|c| **c != '\'').count() + 1,
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => {
                tokens.push(Token { line, text: "::".to_owned() });
                2
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let length = word.chars().count();
                if is_word(&word) {
                    tokens.push(Token { line, text: word });
                }
                length
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(Token { line, text: c.to_string() });
                }
                1
            }
            [] => 1,
        };
        let end = (i + length).min(chars.len());
        line += chars[i..end].iter().filter(|c| **c == '\n').count();
        i = end;
    }
    tokens
}

fn block_comment(rest: &[char]) -> usize {
    let (mut i, mut depth) = (2, 1);
    while i < rest.len() && depth > 0 {
        match rest[i..] {
            ['/', '*', ..] => (i, depth) = (i + 2, depth + 1),
            ['*', '/', ..] => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
    }
    i
}

fn string(rest: &[char]) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != '"' {
        i += if rest[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// A raw string from its first `#` or quote; a raw identifier is one word longer, and harmless.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return hashes;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[hashes + 1..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    hashes + 1 + length + end.len()
}

/// Samples that break a sentence, each with the end of the sentence that must be told.
const BAD: &[(&str, &str, &str)] = &[
    ("mail/a.rs", "use crate::sync::View;", "`mail` may import no other room; here it imports `sync`"),
    ("sync/mod.rs", "fn f() { crate::store::open(); }", "here it imports `store`"),
    (
        "remote/imap/a.rs",
        "use crate::{mail::Uid, maildir};",
        "`remote` may import mail, sync, step, monitor; here it imports `maildir`",
    ),
    ("remote/imap/a.rs", "use crate::{mail::{Uid, escape}, store as s};", "here it imports `store`"),
    ("remote/imap/a.rs", "use super::super::super::store::X;", "here it imports `store`"),
    ("remote/mod.rs", "use super::store::X;", "here it imports `store`"),
    ("remote/a.rs", "mod x { use super::super::super::store; }", "here it imports `store`"),
    ("worker/a.rs", "use crate::config::Config;", "here it imports `config`"),
    ("worker/a.rs", "use crate::step;", "here it imports `step`"),
    ("main.rs", "use mailtwin::store;", "`main` may import cli; here it imports `store`"),
    ("cellar/mod.rs", "", "there is no room `cellar` in the house: draw its arrows first"),
    ("mail/a.rs", "use std::{fmt, io::Write as _};", "this file is pure: it does not know `std::io`"),
    ("sync/a.rs", "fn now() -> u64 { std::time::SystemTime::now() }", "it does not know `std::time::SystemTime`"),
    ("sync/a.rs", "use std::time::{Duration, Instant};", "it does not know `std::time::Instant`"),
    ("sync/a.rs", "async fn f() {}", "it does not know `async`"),
    ("sync/a.rs", "fn f() { x().await }", "it does not know `await`"),
    ("sync/a.rs", "fn f() { tracing::info!(\"x\") }", "it does not know `tracing`"),
    ("maildir/name.rs", "fn f() -> u32 { fastrand::u32(..) }", "it does not know `fastrand`"),
    ("store/record.rs", "#[cfg(test)] mod tests { use std::fs; }", "it does not know `std::fs`"),
    ("worker/a.rs", "use sled::Db;", "the crate `sled` lives in `store` only"),
    ("cli/a.rs", "fn f(x: &toml::Value) {}", "the crate `toml` lives in `config` only"),
    ("store/a.rs", "fn f() { println!(\"x\") }", "printing is for `cli` only"),
    ("store/a.rs", "mod tests { fn f() { eprintln!() } }", "printing is for `cli` only"),
];

/// Samples that break nothing.
const GOOD: &[(&str, &str)] = &[
    ("mail/a.rs", "// use crate::sync;\n/* use crate::store; /* std::fs */ */ /// crate::cli\nuse crate::mail::Uid;"),
    (
        "mail/a.rs",
        "const A: &str = \"use crate::sync\"; const B: &str = r#\"std::fs \"sled\" \"#; const C: char = '\"';",
    ),
    ("mail/a.rs", "fn f<'a>(x: &'a str) { let c = '\\''; let d = b\"tokio\\\"\"; }"),
    ("mail/a.rs", "#[cfg(test)] mod tests { use super::*; use proptest::prelude::*; }"),
    ("sync/a.rs", "use std::time::Duration; fn f(x: X) { x.rand(); x.io.fs(); x.tokio; }"),
    ("remote/a.rs", "use crate::{mail::Uid, step}; use super::imap; mod x { use super::super::imap; }"),
    ("store/a.rs", "#[cfg(test)] mod tests { fn f() { println!(\"x\") } }"),
    ("cli/a.rs", "fn f() { println!(); crate::config::load(); }"),
    ("maildir/scan.rs", "use std::fs; use ::maildir::Maildir; fn f() { Vec::<u8>::new(); }"),
    ("lib.rs", "pub mod store; pub mod cli;"),
];

#[test]
fn a_broken_sentence_is_found() {
    for (name, text, sentence) in BAD {
        let found = faults(name, text);
        assert!(found.len() == 1 && found[0].ends_with(sentence), "{name}: {text}\nfound {found:?}");
    }
}

#[test]
fn what_is_allowed_breaks_nothing() {
    for (name, text) in GOOD {
        assert_eq!(faults(name, text), Vec::<String>::new(), "{name}: {text}");
    }
}

#[test]
fn the_arrows_lead_downward_only() {
    for (room, allowed) in ARROWS {
        for lower in *allowed {
            let (_, back) = ARROWS.iter().find(|(known, _)| known == lower).expect("a room that exists");
            assert!(!back.contains(room), "{room} and {lower} import each other");
        }
    }
}
