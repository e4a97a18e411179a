//! A daemon that hears: what changes on one side is on the other although nobody looks for it for an hour.

use super::process::Daemon;
use crate::scenarios::Host as _;
use crate::scenarios::dovecot::Client;
use crate::support::bench::{Bench, USER, message};
use crate::support::dovecot::{self, Dovecot, Settings};
use crate::support::server::{Act, Profile, StoreMode, When};
use std::fs;
use std::path::Path;

const RARELY: &str = "every = \"1h\"";

fn bench(more: &str) -> Bench {
    let bench = Bench::new(Profile::full());
    bench.configure(&format!("{RARELY}\n{more}"));
    bench
}

/// Delivers a message here as other programs do.
fn deliver(bench: &Bench, folder: &str, number: usize) {
    let (folder, name) = (bench.maildir().join(folder), format!("1700000000.M{number}P9.here"));
    fs::write(folder.join("tmp").join(&name), message(number).replace("\r\n", "\n")).expect("written");
    fs::rename(folder.join("tmp").join(&name), folder.join("new").join(&name)).expect("moved");
}

/// The names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Gives the one message of a directory these flags.
fn flag(from: &Path, to: &Path, flags: &str) {
    let name = names(from).pop().expect("a message");
    let base = name.split(":2,").next().unwrap_or_default();
    fs::rename(from.join(&name), to.join(format!("{base}:2,{flags}"))).expect("renamed");
}

fn count(bench: &Bench, words: &str) -> usize {
    bench.server.commands().iter().filter(|text| text.contains(words)).count()
}

#[test]
fn what_changes_on_either_side_is_on_the_other_at_once() {
    let bench = bench("");
    bench.fill(1);
    let mut daemon = Daemon::start(&bench);
    daemon.until("the first", || bench.count("INBOX") == 1);
    daemon.hears("1 account: 1 live");
    let uid = bench.server.deliver(USER, "INBOX", message(1), &[]);
    daemon.until("what is new there", || bench.count("INBOX") == 2);
    deliver(&bench, "INBOX", 2);
    daemon.until("what is new here", || bench.there("INBOX") == Some(3));
    bench.server.store(USER, "INBOX", &[uid], StoreMode::Add, &["\\Flagged"]);
    let cur = bench.maildir().join("INBOX/cur");
    daemon.until("the mark from there", || names(&cur).iter().any(|name| name.ends_with(":2,F")));
    flag(&cur, &cur, "FS");
    daemon.until("the mark from here", || {
        bench.server.snapshot(USER)["INBOX"].iter().any(|(number, flags, _)| *number == uid && flags.contains("\\Seen"))
    });
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(bench.maildir().join("Lists").join(part)).expect("made");
    }
    deliver(&bench, "Lists", 3);
    daemon.until("the new mailbox", || bench.there("Lists") == Some(1));
    deliver(&bench, "Lists", 4);
    daemon.until("what is new in it", || bench.there("Lists") == Some(2));
    daemon.ask(&["wait-synced"]).is(0, "");
    drop(daemon);
    bench.converged("INBOX", 3);
    bench.converged("Lists", 2);
}

#[test]
fn its_own_changes_do_not_keep_it_busy() {
    let bench = bench("");
    bench.fill(5);
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.until("mail", || bench.count("INBOX") == 5);
    daemon.ask(&["wait-synced"]).is(0, "");
    deliver(&bench, "INBOX", 7);
    daemon.until("more mail", || bench.there("INBOX") == Some(6));
    // The changes that it made itself are looked at once more at most; then it is quiet.
    let before = std::cell::Cell::new(0);
    daemon.until("quiet", || {
        std::thread::sleep(std::time::Duration::from_millis(1200));
        before.replace(count(&bench, "LIST")) == before.get()
    });
    // Its first look, when it begins to listen, for the mail, and for what it did and heard of itself; one each for listening.
    assert!((2..=10).contains(&before.get()), "{:?}", bench.server.commands());
    assert_eq!(count(&bench, "IDLE"), 1);
}

#[test]
fn looks_that_follow_soon_cost_no_login() {
    let bench = bench("");
    bench.fill(1);
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.ask(&["wait-synced"]).is(0, "");
    let logins = || count(&bench, "AUTHENTICATE") + count(&bench, "LOGIN");
    let before = logins();
    for number in 1..=3 {
        bench.server.deliver(USER, "INBOX", message(number), &[]);
        daemon.until("what is new there", || bench.count("INBOX") == 2 * number);
        deliver(&bench, "INBOX", 10 + number);
        daemon.until("what is new here", || bench.there("INBOX") == Some(1 + 2 * number));
        daemon.ask(&["wait-synced"]).is(0, "");
    }
    assert_eq!((before, logins()), (2, 2), "{:?}", bench.server.commands());
    // One that the server ended meanwhile is made again.
    bench.server.disconnect_all();
    deliver(&bench, "INBOX", 20);
    daemon.until("what is new here", || bench.there("INBOX") == Some(8));
    daemon.ask(&["wait-synced"]).is(0, "");
    drop(daemon);
    bench.converged("INBOX", 8);
}

#[test]
fn a_connection_that_listens_is_made_again_when_it_breaks() {
    let bench = bench("");
    bench.fill(1);
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.ask(&["wait-synced"]).is(0, "");
    bench.server.disconnect_all();
    bench.server.deliver(USER, "INBOX", message(1), &[]);
    daemon.until("what came meanwhile", || bench.count("INBOX") == 2);
    daemon.until("that it listens again", || count(&bench, "IDLE") == 2);
    bench.server.deliver(USER, "INBOX", message(2), &[]);
    daemon.until("what came then", || bench.count("INBOX") == 3);
}

#[test]
fn a_machine_that_is_somewhere_else_makes_its_connections_anew() {
    let bench = bench("");
    bench.fill(1);
    let network = bench.home.path().join("network");
    fs::write(&network, "192.0.2.7").expect("written");
    // The server never hears of the first connection that listens, and does not say so.
    bench.server.rule(When::verb("IDLE").nth(1), Act::Blackhole);
    let daemon = Daemon::start_with(&bench, |command| {
        command.env("MAILTWIN_NETWORK", &network);
    });
    daemon.until("the first", || bench.count("INBOX") == 1);
    daemon.until("that it listens", || count(&bench, "IDLE") == 1);
    // No way at all is no other way.
    fs::write(&network, "").expect("written");
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(count(&bench, "IDLE"), 1);
    fs::write(&network, "198.51.100.7").expect("written");
    daemon.until("that it listens again", || count(&bench, "IDLE") == 2);
    assert!(daemon.log().contains("every connection is made anew"), "{}", daemon.log());
    bench.server.deliver(USER, "INBOX", message(1), &[]);
    daemon.until("what came then", || bench.count("INBOX") == 2);
}

#[test]
fn who_asks_for_a_look_now_has_it_listened_again_at_once() {
    let bench = bench("");
    let account = bench.account("work", bench.server.port(), &bench.maildir()).replace("\"5s\"", "\"10m\"");
    bench.write_configuration(&format!("state-dir = {:?}\n{account}{RARELY}\n", bench.state()));
    // The first connection that is to listen gets no answer for ten minutes.
    bench.server.rule(When::verb("EXAMINE").nth(1), Act::Blackhole);
    let daemon = Daemon::start(&bench);
    daemon.until("that it is to listen", || count(&bench, "EXAMINE") == 1);
    daemon.ask(&["wait-synced"]).is(0, "");
    daemon.signal(rustix::process::Signal::USR1);
    daemon.until("that it listens", || daemon.ask(&["status"]).out.contains("live"));
    bench.server.disconnect_all();
    bench.server.rule(When::verb("EXAMINE").nth(1), Act::Blackhole);
    daemon.until("that it is to listen again", || count(&bench, "EXAMINE") == 3);
    daemon.ask(&["sync"]).is(0, "");
    daemon.until("that it listens again", || daemon.ask(&["status"]).out.contains("live"));
}

#[test]
fn who_may_have_one_connection_or_a_server_that_cannot_tell_is_not_listened_to() {
    for more in ["connections = 1", "disable-extensions = [\"IDLE\"]"] {
        let bench = bench(more);
        let daemon = Daemon::start(&bench);
        daemon.ask(&["wait-synced"]).is(0, "");
        deliver(&bench, "INBOX", 1);
        daemon.until("what is new here", || bench.there("INBOX") == Some(1));
        daemon.ask(&["wait-synced"]).is(0, "");
        daemon.ask(&["status"]).is(0, "; next look in ");
        assert_eq!(count(&bench, "IDLE"), 0, "{more}");
    }
}

#[test]
fn who_does_not_want_it_is_looked_at_every_so_often_only() {
    let bench = bench("live = false");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    deliver(&bench, "INBOX", 1);
    bench.server.deliver(USER, "INBOX", message(2), &[]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!((bench.there("INBOX"), bench.count("INBOX"), count(&bench, "IDLE")), (Some(1), 1, 0));
    bench.configure(RARELY);
    daemon.ask(&["reload"]).is(0, "");
    daemon.until("both", || (bench.there("INBOX"), bench.count("INBOX")) == (Some(2), 2));
    daemon.until("that it listens", || count(&bench, "IDLE") == 1);
    daemon.ask(&["pause"]).is(0, "Paused");
    // What went on then has ended, and with it what it would have seen.
    daemon.until("that it is paused", || daemon.ask(&["status"]).out.contains("; paused"));
    bench.server.wait_until_alone();
    deliver(&bench, "INBOX", 3);
    std::thread::sleep(std::time::Duration::from_millis(1000));
    assert_eq!(bench.there("INBOX"), Some(2));
}

#[test]
fn with_dovecot_too() {
    let dovecot = Dovecot::with(&Settings { separator: '.', ..Settings::default() });
    let bench = bench("");
    fs::write(bench.path("secret"), dovecot::PASSWORD).expect("written");
    bench.configure_at(dovecot.imap_port, RARELY);
    dovecot.deliver(USER, "INBOX", message(0).as_bytes());
    dovecot.deliver(USER, "Lists.rust", message(9).as_bytes());
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.until("the first", || bench.count("INBOX") == 1);
    let inbox = bench.maildir().join("INBOX");
    flag(&inbox.join("new"), &inbox.join("cur"), "S");
    let there = dovecot.user_maildir(USER).join("cur");
    daemon.until("the mark from here", || names(&there).iter().any(|name| name.ends_with(":2,S")));
    dovecot.deliver(USER, "INBOX", message(1).as_bytes());
    daemon.until("what is new there", || bench.count("INBOX") == 2);
    // A mailbox whose levels are divided otherwise there is named by what stirs in it, too.
    daemon.ask(&["wait-synced"]).is(0, "");
    let lists = bench.maildir().join("Lists/rust");
    flag(&lists.join("new"), &lists.join("cur"), "F");
    let there = dovecot.user_maildir(USER).join(".Lists.rust/cur");
    daemon.until("the mark from there", || names(&there).iter().any(|name| name.ends_with(":2,F")));
}

#[test]
fn a_server_that_tells_of_all_mailboxes_is_heard_in_all() {
    let dovecot = Dovecot::start();
    let bench = bench("");
    fs::write(bench.path("secret"), dovecot::PASSWORD).expect("written");
    bench.configure_at(dovecot.imap_port, RARELY);
    let mut other = Client::login(&dovecot, USER);
    other.create("Lists");
    other.deliver("Lists", message(0).as_bytes(), &[]);
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.until("the first", || bench.count("Lists") == 1);
    daemon.ask(&["wait-synced"]).is(0, "");
    let flagged = |folder: &str| names(&bench.maildir().join(folder).join("cur")).iter().any(|n| n.ends_with(":2,F"));
    other.mark("Lists", 1, &["\\Flagged".to_owned()]);
    daemon.until("a mark beside the INBOX", || flagged("Lists"));
    other.create("Later");
    daemon.until("a new mailbox", || bench.maildir().join("Later").is_dir());
    other.relocate("Lists", 1, "Later");
    daemon.until("what moved there", || bench.count("Later") == 1 && bench.count("Lists") == 0);
    assert!(flagged("Later"), "a move keeps the file");
}

#[test]
fn a_server_that_tells_of_the_inbox_alone_is_asked_for_the_rest() {
    let bench = bench("");
    bench.fill(1);
    bench.server.create(USER, "Lists");
    let mut daemon = Daemon::start_with(&bench, |command| {
        command.env("MAILTWIN_ROUND", "200");
    });
    daemon.hears("1 account: 1 live");
    daemon.until("the first", || bench.count("INBOX") == 1);
    daemon.ask(&["wait-synced"]).is(0, "");
    bench.server.deliver(USER, "Lists", message(1), &[]);
    daemon.until("what is new in another", || bench.count("Lists") == 1);
    bench.server.create(USER, "Later");
    daemon.until("a new mailbox", || bench.maildir().join("Later").is_dir());
    bench.server.deliver(USER, "Later", message(2), &[]);
    daemon.until("what is new in it", || bench.count("Later") == 1);
}

#[test]
fn what_stirs_in_one_mailbox_costs_nothing_for_the_others() {
    let bench = bench("");
    bench.server.create(USER, "Lists");
    bench.fill(1);
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.until("the first", || bench.count("INBOX") == 1);
    daemon.ask(&["wait-synced"]).is(0, "");
    let mark = bench.server.mark();
    bench.server.deliver(USER, "INBOX", message(1), &[]);
    daemon.until("what is new there", || bench.count("INBOX") == 2);
    daemon.ask(&["wait-synced"]).is(0, "");
    let said = bench.server.commands_since(mark);
    assert!(said.iter().any(|command| command.contains("STATUS \"INBOX\"")), "{said:?}");
    assert!(!said.iter().any(|command| command.contains("LIST ")), "{said:?}");
}

#[test]
fn a_mailbox_that_took_the_name_of_another_a_moment_ago_is_not_taken_for_it() {
    // What tells them apart: the identifier, or the UIDVALIDITY.
    let profiles = [Profile { one_uid_validity: true, ..Profile::full() }, Profile::full().without(&["OBJECTID"])];
    for (n, profile) in profiles.into_iter().enumerate() {
        let bench = Bench::new(profile);
        bench.configure(RARELY);
        bench.server.create(USER, "Lists");
        bench.server.deliver(USER, "Lists", message(1), &[]);
        let mut daemon = Daemon::start(&bench);
        daemon.hears("1 account: 1 live");
        daemon.until("the first", || bench.count("Lists") == 1);
        daemon.ask(&["wait-synced"]).is(0, "");
        bench.server.rename(USER, "Lists", "Old");
        bench.server.create(USER, "Lists");
        bench.server.deliver(USER, "Lists", message(2), &[]);
        // Nobody tells of these; what stirs here names the one mailbox, and its session has listed all a moment ago.
        let (lists, mark) = (bench.maildir().join("Lists"), bench.server.mark());
        flag(&lists.join("new"), &lists.join("cur"), "F");
        daemon.until("a look at it", || {
            bench.server.commands_since(mark).iter().any(|command| command.contains("STATUS \"Lists\""))
        });
        daemon.until("each in its place", || {
            let is_flagged =
                |folder: &str| names(&bench.maildir().join(folder).join("cur")).iter().any(|n| n.ends_with(":2,F"));
            let _ = daemon.ask(&["sync"]);
            is_flagged("Old") && bench.count("Lists") == 1
        });
        assert_eq!((bench.there("Old"), bench.there("Lists")), (Some(1), Some(1)), "{n}");
    }
}

#[test]
fn mailboxes_that_are_used_are_listened_to_as_far_as_connections_reach() {
    let bench = Bench::new(Profile::full().without(&["LIST-STATUS"]));
    bench.configure(&format!("{RARELY}\nconnections = 4"));
    for name in ["Lists", "Rare"] {
        bench.server.create(USER, name);
        bench.server.deliver(USER, name, message(1), &[]);
    }
    let daemon = Daemon::start(&bench);
    daemon.until("the first", || bench.count("Lists") == 1 && bench.count("Rare") == 1);
    daemon.ask(&["wait-synced"]).is(0, "");
    daemon.until("that it listens", || count(&bench, "IDLE") == 1);
    // What the first pass brings says nothing of what is used.
    assert_eq!(
        count(&bench, "EXAMINE \"Lists\"") + count(&bench, "EXAMINE \"Rare\""),
        0,
        "{:?}",
        bench.server.commands()
    );
    bench.server.deliver(USER, "Lists", message(2), &[]);
    daemon.ask(&["sync"]).is(0, "1 fetched");
    daemon.until("that it listens to what is used", || {
        count(&bench, "EXAMINE \"Lists\"") == 1 && count(&bench, "IDLE") == 2
    });
    bench.server.deliver(USER, "Lists", message(3), &[]);
    daemon.until("what is new in it", || bench.count("Lists") == 3);
    // There is no place for another: that one is found by the next look at all.
    bench.server.deliver(USER, "Rare", message(4), &[]);
    daemon.ask(&["sync"]).is(0, "1 fetched");
    daemon.ask(&["metrics"]).is(0, "mailtwin_connections{account=\"work\"} 3");
    assert_eq!(count(&bench, "EXAMINE \"Rare\""), 0);
    // A connection that ends is made anew, and what came meanwhile is found.
    bench.server.disconnect_all();
    daemon.until("that it listens again", || count(&bench, "EXAMINE \"Lists\"") == 2);
    bench.server.deliver(USER, "Lists", message(5), &[]);
    daemon.until("what is new in it", || bench.count("Lists") == 4);
}

#[test]
fn why_changes_are_not_noticed_at_once_stands_in_the_status() {
    let bench = bench("");
    bench.fill(1);
    // The connection that listens is the only one that changes nothing.
    bench.server.rule(When::verb("EXAMINE"), Act::No("UNAVAILABLE", "not now"));
    let daemon = Daemon::start(&bench);
    daemon.until("the first", || bench.count("INBOX") == 1);
    let why = "  what is new on the server is not noticed at once: ";
    daemon.until("why", || daemon.ask(&["status"]).out.contains(why));
    let said = daemon.ask(&["status", "--json"]).out;
    assert!(said.contains("\"not_live\""), "{said}");
    bench.server.clear_rules();
    daemon.until("that it listens", || {
        let said = daemon.ask(&["status"]).out;
        said.contains("; live") && !said.contains("not noticed at once")
    });
}
