//! Hooks of a daemon: told what came, what changed and what is wrong, and a real notmuch that finds it by them.

use super::process::Daemon;
use crate::support::bench::{Bench, USER, message};
use crate::support::program::need;
use crate::support::server::{Act, Profile, StoreMode, When};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A hook that keeps what it is told, a line for each run.
fn keeper(bench: &Bench, name: &str) -> String {
    let (script, log) = (bench.path(name), bench.path(&format!("{name}.log")));
    fs::write(&script, format!("#!/bin/sh\ncat >> '{}'\n", log.display())).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("set");
    script.display().to_string()
}

/// What it was told, entry by entry.
fn told(bench: &Bench, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(bench.path(&format!("{name}.log"))).unwrap_or_default();
    let lists = text.lines().filter(|line| line.ends_with(']')).map(|line| serde_json::from_str(line).expect("JSON"));
    lists.flat_map(|list: Vec<Value>| list).collect()
}

fn is_told(bench: &Bench, name: &str, event: &str) -> bool {
    told(bench, name).iter().any(|entry| entry["event"] == event)
}

#[test]
fn a_hook_hears_what_came_what_changed_and_what_went() {
    let bench = Bench::new(Profile::full());
    let (new, change) = (keeper(&bench, "new"), keeper(&bench, "change"));
    bench.configure(&format!("every = \"1h\"\non-new = [\"{new}\"]\non-change = [\"{change}\"]"));
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.ask(&["wait-synced"]).is(0, "");
    let mail = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nSubject: $(reboot) `x`\r\n\r\nhi\r\n";
    let uid = bench.server.deliver(USER, "INBOX", mail, &[]);
    daemon.until("new mail", || is_told(&bench, "new", "new") && is_told(&bench, "change", "new"));
    let entry = told(&bench, "new").remove(0);
    assert_eq!(
        (&entry["account"], &entry["mailbox"], &entry["uid"], &entry["from"], &entry["subject"]),
        (&"work".into(), &"INBOX".into(), &uid.into(), &"Jürgen <j@example.org>".into(), &"$(reboot) `x`".into())
    );
    let file = entry["file"].as_str().expect("a file").to_owned();
    assert_eq!(fs::read_to_string(file).expect("it is there"), mail.replace("\r\n", "\n"));
    bench.server.store(USER, "INBOX", &[uid], StoreMode::Add, &["\\Flagged"]);
    daemon.until("a mark", || is_told(&bench, "change", "changed"));
    bench.server.expunge(USER, "INBOX", &[uid]);
    daemon.until("a deletion", || is_told(&bench, "change", "gone"));
    assert_eq!(told(&bench, "new").len(), 1, "{:?}", told(&bench, "new"));
}

#[test]
fn a_hook_that_fails_or_is_missing_is_told_in_the_log_and_mail_goes_on() {
    let bench = Bench::new(Profile::full());
    let error = keeper(&bench, "error");
    let failing = "on-new = [\"sh\", \"-c\", \"echo broken >&2; exit 4\"]\non-change = [\"/nowhere/at/all\"]";
    bench.configure(&format!("every = \"1h\"\n{failing}\non-error = [\"{error}\"]"));
    bench.fill(2);
    bench.run(&["check"]).is(1, "there is no program for on-change (/nowhere/at/all)");
    let daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 2);
    daemon.until("why", || {
        let log = daemon.log();
        log.contains("the hook on-new (sh) failed: exit status: 4: broken") && log.contains("could not be started")
    });
    assert!(told(&bench, "error").is_empty());
    bench.server.rule(When::verb("LIST"), Act::No("UNAVAILABLE", "not now"));
    daemon.signal(rustix::process::Signal::USR1);
    daemon.until("what is wrong", || is_told(&bench, "error", "error"));
    assert!(told(&bench, "error")[0]["reason"].as_str().is_some_and(|reason| reason.contains("not now")));
}

#[test]
fn after_a_sync_the_hooks_run_once() {
    let bench = Bench::new(Profile::full());
    let new = keeper(&bench, "new");
    bench.configure(&format!("on-new = [\"{new}\"]"));
    bench.fill(30);
    bench.sync().is(0, "30 fetched");
    assert_eq!(told(&bench, "new").len(), 30);
    bench.run(&["sync", "--dry-run"]).is(0, "");
    bench.sync().is(0, "");
    assert_eq!(fs::read_to_string(bench.path("new.log")).expect("told").lines().count(), 1);
}

#[test]
fn notmuch_finds_what_came_by_its_hook() {
    need("/usr/bin/notmuch", "notmuch");
    let bench = Bench::new(Profile::full());
    let settings = bench.path("notmuch-config");
    let mail = bench.maildir();
    let text = format!(
        "[database]\npath={}\n[user]\nname=me\nprimary_email=me@example.org\n[new]\ntags=new;\n[maildir]\nsynchronize_flags=true\n",
        mail.display()
    );
    fs::write(&settings, text).expect("written");
    let notmuch = |words: &[&str]| {
        let ran = Command::new("notmuch").args(words).env("NOTMUCH_CONFIG", &settings).output().expect("it runs");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    let hook = format!("[\"env\", \"NOTMUCH_CONFIG={}\", \"notmuch\", \"new\", \"--quiet\"]", settings.display());
    bench.configure(&format!("every = \"1h\"\non-change = {hook}"));
    bench.fill(3);
    let daemon = Daemon::start(&bench);
    daemon.until("what is there", || notmuch(&["count", "*"]) == "3");
    let uid = bench.server.deliver(USER, "INBOX", message(9), &[]);
    daemon.until("what is new", || notmuch(&["count", "*"]) == "4");
    bench.server.store(USER, "INBOX", &[uid], StoreMode::Add, &["\\Flagged"]);
    daemon.until("a mark", || notmuch(&["count", "tag:flagged"]) == "1");
    bench.server.expunge(USER, "INBOX", &[uid]);
    daemon.until("a deletion", || notmuch(&["count", "*"]) == "3");
    assert!(Path::new(&mail).join(".notmuch").is_dir());
}
