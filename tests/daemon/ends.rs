//! How a daemon ends, and begins again.

use super::process::Daemon;
use crate::support::bench::{Bench, USER, message};
use crate::support::dovecot::{self, Dovecot};
use crate::support::server::{Act, Profile, When};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The promise, and a margin for a machine that does many things at once, as it shows by another run of the program.
fn soon(bench: &Bench) -> Duration {
    let began = Instant::now();
    Daemon::run(bench, &["--version"]).is(0, "mailtwin");
    Duration::from_secs(3) + 20 * began.elapsed()
}

#[test]
fn it_ends_within_three_seconds_whatever_it_is_waiting_for() {
    for verb in ["GREETING", "AUTHENTICATE", "LIST", "SELECT", "UID FETCH"] {
        let bench = Bench::new(Profile::full());
        bench.fill(20);
        bench.server.rule(When::verb(verb), Act::Blackhole);
        let daemon = Daemon::start(&bench);
        daemon.until("that it waits", || bench.server.rule_counts() == [1]);
        let (took, code) = daemon.end();
        assert!(took <= soon(&bench), "{verb}: {took:?}");
        assert_eq!(code, Some(0), "{verb}");
        bench.server.clear_rules();
        bench.server.disconnect_all();
        bench.sync().is(0, "20 fetched");
        bench.converged("INBOX", 20);
    }
}

#[test]
fn who_waits_for_work_that_will_not_be_done_is_told() {
    let bench = Bench::new(Profile::full());
    bench.fill(3);
    bench.server.rule(When::verb("LIST"), Act::Blackhole);
    let daemon = Daemon::start(&bench);
    daemon.until("that it is at work", || bench.server.rule_counts() == [1]);
    let mut waiting = Daemon::command(&bench, &["sync"]).spawn().expect("it starts");
    let mut said = BufReader::new(waiting.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("waiting until that is done") {
        line.clear();
        assert!(said.read_line(&mut line).expect("text") > 0, "it ended");
    }
    let (took, _) = daemon.end();
    assert!(took <= soon(&bench), "{took:?}");
    said.read_to_string(&mut line).expect("text");
    assert_eq!(waiting.wait().expect("it ends").code(), Some(75), "{line}");
    assert!(line.contains("the daemon is ending"), "{line}");
}

#[test]
fn a_second_daemon_is_told_of_the_first_and_does_nothing() {
    let bench = Bench::mirrored(Profile::full(), 1);
    let daemon = Daemon::start(&bench);
    let ran = daemon.ask(&["run"]);
    ran.is(75, &format!("process {} (", daemon.child.id())).says("is the daemon of the state in");
    daemon.ask(&["wait-synced"]).is(0, "");
    let (_, code) = daemon.end();
    assert_eq!(code, Some(0));
    assert!(!bench.path("run/control.sock").exists() && fs::read_link(bench.state().join("control.sock")).is_err());
}

#[test]
fn a_daemon_that_was_killed_is_followed_by_another() {
    let bench = Bench::mirrored(Profile::full(), 2);
    let daemon = Daemon::start(&bench);
    drop(daemon);
    assert!(bench.path("run/control.sock").exists(), "it was killed");
    bench.server.deliver(USER, "INBOX", message(7), &[]);
    Daemon::run(&bench, &["sync"]).is(0, "1 fetched");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
}

#[test]
fn an_account_on_which_another_process_works_is_waited_for() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    bench.configure("every = \"1s\"");
    bench.server.rule(When::verb("LIST").nth(1), Act::Delay(2_000));
    let once = bench.command(&["sync"]).spawn().expect("it starts");
    while bench.server.rule_counts() != [1] {
        std::thread::sleep(Duration::from_millis(5));
    }
    let daemon = Daemon::start(&bench);
    daemon.until("who is at work", || daemon.ask(&["status"]).out.contains("holds the state of this account"));
    assert!(daemon.log().contains("holds the state of this account"), "{}", daemon.log());
    bench.finish(once).is(0, "2 fetched");
    daemon.ask(&["wait-synced"]).is(0, "");
}

/// Letters come in on the server and here while the daemon is stopped and started, again and again; in the end every one is
/// on both sides, once.
#[test]
fn stopped_and_started_under_load_nothing_is_lost_and_nothing_doubled() {
    let dovecot = Dovecot::start();
    let bench = Bench::new(Profile::full());
    fs::write(bench.path("secret"), dovecot::PASSWORD).expect("written");
    let stops: usize = std::env::var("STOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    bench.configure_at(dovecot.imap_port, "every = \"1s\"\nallow-plaintext = true");
    let seed = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut dice = fastrand::Rng::with_seed(seed);
    dovecot.deliver(USER, "INBOX", message(0).as_bytes());
    {
        let daemon = Daemon::start(&bench);
        daemon.until("the first letter", || bench.count("INBOX") == 1);
    }
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 1;
            while !over.load(Ordering::Relaxed) {
                dovecot.deliver(USER, "INBOX", message(number).as_bytes());
                let text = message(number + 1).replace("\r\n", "\n");
                let name = format!("1700000000.M{number}P1.here");
                let inbox = bench.maildir().join("INBOX");
                fs::write(inbox.join("tmp").join(&name), text).expect("written");
                fs::rename(inbox.join("tmp").join(&name), inbox.join("new").join(&name)).expect("moved");
                number += 2;
                std::thread::sleep(Duration::from_millis(10));
            }
            number
        });
        for turn in 0..stops {
            let daemon = Daemon::start(&bench);
            std::thread::sleep(Duration::from_millis(dice.u64(5..500)));
            if turn % 4 == 3 {
                drop(daemon);
            } else {
                let (took, code) = daemon.end();
                assert!(took <= soon(&bench) && code == Some(0), "SEED={seed}: {took:?} {code:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    });
    let daemon = Daemon::start(&bench);
    let expected: BTreeSet<String> = (0..written).map(|number| format!("Text {number}.")).collect();
    let texts = |all: Vec<String>| -> Vec<String> {
        let mut texts: Vec<String> =
            all.iter().filter_map(|text| text.trim_end().rsplit('\n').next()).map(ToOwned::to_owned).collect();
        texts.sort();
        texts
    };
    let mut sorted: Vec<String> = expected.into_iter().collect();
    sorted.sort();
    let there = || {
        let mut all = Vec::new();
        for part in ["new", "cur"] {
            let entries = fs::read_dir(dovecot.user_maildir(USER).join(part)).expect("listed").flatten();
            all.extend(
                entries
                    .filter_map(|entry| fs::read_to_string(entry.path()).ok())
                    .map(|text| text.replace("\r\n", "\n")),
            );
        }
        texts(all)
    };
    daemon.until(&format!("the same on both sides (SEED={seed})"), || {
        texts(bench.texts_here("INBOX")).len() >= sorted.len() && there().len() >= sorted.len()
    });
    daemon.ask(&["wait-synced"]).is(0, "");
    assert!(texts(bench.texts_here("INBOX")) == sorted, "SEED={seed}: here");
    assert!(there() == sorted, "SEED={seed}: there");
}
