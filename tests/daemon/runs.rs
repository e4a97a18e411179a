//! A daemon at work: what it keeps the same, and what it does when something is wrong.

use super::process::Daemon;
use crate::support::bench::{Bench, USER, message};
use crate::support::processes::{of_daemon, worker};
use crate::support::server::{Act, PASSWORD, Profile, StoreMode, When};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;

/// Often, and only so: what is noticed at once is another matter.
const OFTEN: &str = "every = \"1s\"\nlive = false";

fn bench() -> Bench {
    let bench = Bench::new(Profile::full());
    bench.configure(OFTEN);
    bench
}

/// The number of logins that a server has seen.
fn logins(bench: &Bench) -> usize {
    let is_login = |text: &&String| text.contains("AUTHENTICATE") || text.contains("LOGIN ");
    bench.server.commands().iter().filter(is_login).count()
}

#[test]
fn it_is_ready_before_any_server_was_reached_and_says_in_words_how_things_are() {
    let bench = Bench::new(Profile::full());
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    bench.configure_at(nobody, OFTEN);
    let mut daemon = Daemon::begin(&bench, |_| {});
    let ready = daemon.hears("READY=1");
    assert!(ready.contains("STATUS=1 account"), "{ready}");
    daemon.hears("STATUS=1 account: 1 trying again later");
    daemon.ask(&["status"]).is(0, "failed for now, will be tried again").says("; next try ");
    let (_, code) = daemon.end();
    assert_eq!(code, Some(0));
}

#[test]
fn new_mail_of_either_side_is_on_the_other_without_anybody_asking() {
    let bench = bench();
    bench.fill(3);
    let mut daemon = Daemon::start(&bench);
    daemon.until("the first three", || bench.count("INBOX") == 3);
    bench.server.deliver(USER, "INBOX", message(3), &[]);
    daemon.until("the fourth", || bench.count("INBOX") == 4);
    let text = message(9).replace("\r\n", "\n");
    fs::write(bench.maildir().join("INBOX/cur/1700000000.M9P9.here:2,S"), text).expect("written");
    daemon.until("the fifth", || bench.there("INBOX") == Some(5));
    daemon.hears("STATUS=1 account: 1 up to date");
    daemon.ask(&["wait-synced"]).is(0, "");
    drop(daemon);
    bench.converged("INBOX", 5);
}

#[test]
fn a_refused_password_is_tried_once_and_again_when_the_secret_has_changed() {
    let bench = bench();
    bench.fill(1);
    // The daemon looks at the secret once a minute at most: it is told to look by a reload here.
    fs::write(bench.path("secret"), "wrong").expect("written");
    let mut daemon = Daemon::start(&bench);
    daemon.hears("with a refused login");
    daemon.signal(Signal::USR1);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(logins(&bench), 1, "{}", daemon.log());
    daemon.ask(&["wait-synced"]).is(77, "");
    daemon.ask(&["status"]).is(0, "not tried again before");
    fs::write(bench.path("secret"), PASSWORD).expect("written");
    daemon.ask(&["sync"]).is(0, "1 fetched");
    daemon.ask(&["wait-synced"]).is(0, "");
    assert_eq!(bench.count("INBOX"), 1);
}

#[test]
fn the_trouble_of_one_account_is_not_the_others() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let well = bench.account("well", bench.server.port(), &bench.maildir());
    let ill = bench.account("ill", nobody, &bench.path("Ill"));
    fs::write(bench.path("file"), "no directory").expect("written");
    let odd = bench.account("odd", bench.server.port(), &bench.path("file"));
    bench.write_configuration(&format!("state-dir = {:?}\n{well}{OFTEN}\n{ill}{OFTEN}\n{odd}{OFTEN}\n", bench.state()));
    let daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 2);
    bench.server.deliver(USER, "INBOX", message(7), &[]);
    daemon.until("more mail", || bench.count("INBOX") == 3);
    let ran = daemon.ask(&["wait-synced", "well", "--timeout", "30s"]);
    ran.is(0, "");
    let ran = daemon.ask(&["status"]);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("well: ok")).count(), 1, "{}", ran.out);
    ran.says("ill: failed for now").says("odd: ");
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let bench = bench();
    bench.fill(1);
    let daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 1);
    bench.server.rule(When::verb("LIST").nth(1), Act::Drop);
    bench.server.deliver(USER, "INBOX", message(5), &[]);
    daemon.until("more mail, although the connection broke", || bench.count("INBOX") == 2);
}

#[test]
fn a_reload_takes_in_what_changed_and_refuses_what_is_wrong() {
    let bench = bench();
    bench.fill(1);
    bench.server.create(USER, "Lists");
    bench.server.deliver(USER, "Lists", message(50), &[]);
    bench.configure(&format!("{OFTEN}\nmailboxes = [\"INBOX\"]"));
    let mut daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 1);
    bench.configure("evry = \"1s\"");
    daemon.signal(Signal::HUP);
    daemon.hears("RELOADING=1");
    daemon.hears("READY=1");
    daemon.ask(&["reload"]).is(78, "unknown key `evry`");
    assert!(!bench.maildir().join("Lists").exists());
    bench.server.deliver(USER, "INBOX", message(2), &[]);
    daemon.until("mail under the old configuration", || bench.count("INBOX") == 2);
    bench.configure(OFTEN);
    daemon.ask(&["reload"]).is(0, "read its configuration again");
    daemon.until("the mailbox that is new in it", || bench.count("Lists") == 1);
    assert!(daemon.log().contains("0 added, 1 changed, 0 removed, 0 as before"), "{}", daemon.log());
}

#[test]
fn an_account_that_changes_or_goes_with_a_reload_does_not_disturb_the_others() {
    let bench = Bench::new(Profile::full());
    bench.fill(1);
    let (state, mine, other) = two_accounts(&bench);
    bench.write_configuration(&format!("{state}{mine}{other}"));
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let before = logins(&bench);
    bench.write_configuration(&format!(
        "{state}{mine}{}",
        other.replace("live = false", "live = false\ndelete = \"never\"")
    ));
    daemon.ask(&["reload"]).is(0, "read its configuration again");
    daemon.until("the one that changed", || logins(&bench) > before);
    daemon.ask(&["wait-synced"]).is(0, "");
    assert_eq!(logins(&bench) - before, 1, "only the one that changed was looked at");
    bench.write_configuration(&format!("{state}{other}"));
    daemon.ask(&["reload"]).is(0, "read its configuration again");
    // Its lock is free again: somebody else may work on it.
    bench.write_configuration(&format!("{state}{mine}{other}"));
    daemon.ask(&["sync", "mine"]).is(1, "the daemon knows no account mine");
}

/// The state and two accounts, of which one has mail.
pub fn two_accounts(bench: &Bench) -> (String, String, String) {
    bench.server.account("other");
    bench.server.deliver("other", "INBOX", message(8), &[]);
    let mine = bench.account("mine", bench.server.port(), &bench.maildir());
    let other = bench.account("other", bench.server.port(), &bench.path("Other"));
    let other = other.replace(&format!("user = \"{USER}\""), "user = \"other\"");
    let quiet = |account: String| format!("{account}every = \"1h\"\nlive = false\n");
    (format!("state-dir = {:?}\n", bench.state()), quiet(mine), quiet(other))
}

#[test]
fn paused_accounts_are_left_alone_until_they_are_resumed() {
    let bench = bench();
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    daemon.ask(&["pause"]).is(0, "Paused");
    daemon.until("that it is paused", || daemon.ask(&["status"]).out.contains("; paused"));
    bench.fill(1);
    let before = logins(&bench);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(logins(&bench), before);
    daemon.ask(&["sync"]).is(0, "1 fetched");
    bench.server.deliver(USER, "INBOX", message(1), &[]);
    daemon.ask(&["resume"]).is(0, "Resumed");
    daemon.until("more mail", || bench.count("INBOX") == 2);
    daemon.ask(&["pause", "nobody"]).is(2, "there is no account");
}

#[test]
fn a_maildir_that_is_away_is_waited_for() {
    let bench = bench();
    bench.fill(3);
    let daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 3);
    daemon.ask(&["wait-synced"]).is(0, "");
    fs::rename(bench.maildir(), bench.path("Away")).expect("moved");
    daemon.until("that it is missed", || daemon.ask(&["status"]).out.contains("the Maildir is not available"));
    daemon.ask(&["wait-synced"]).is(1, "");
    assert_eq!(bench.there("INBOX"), Some(3));
    fs::rename(bench.path("Away"), bench.maildir()).expect("moved back");
    daemon.until("that it is back", || daemon.ask(&["status"]).out.contains("work: ok"));
    assert_eq!(bench.there("INBOX"), Some(3));
}

#[cfg(feature = "steps")]
#[test]
fn a_worker_that_panics_is_begun_again_and_nothing_is_lost() {
    let bench = bench();
    bench.fill(20);
    // In the login, in commits, in files, in commands: a number of the list falls on each kind of step in some run.
    let numbers = ["2", "9", "14", "21", "30", "33", "52", "71", "90"].join(",");
    let daemon = Daemon::start_with(&bench, |command| {
        // Where the daemon may write.
        command.env("MAILTWIN_PANIC_AT", &numbers).env("MAILTWIN_STEPS", bench.state().join("steps"));
    });
    // By itself it would wait longer each time.
    daemon.until("the last of the panics", || {
        bench.server.deliver(USER, "INBOX", message(100 + bench.there("INBOX").unwrap_or(0)), &[]);
        let _ = daemon.ask(&["sync"]);
        fs::read_to_string(bench.state().join("steps")).is_ok_and(|steps| steps.lines().count() > 90)
    });
    daemon.ask(&["sync"]).is(0, "");
    daemon.until("that all is well", || bench.there("INBOX") == Some(bench.count("INBOX")));
    assert!(daemon.log().contains("a part of mailtwin stopped unexpectedly"), "{}", daemon.log());
    let (_, code) = daemon.end();
    assert_eq!(code, Some(0));
    let all = bench.there("INBOX").expect("an INBOX");
    bench.converged("INBOX", all);
}

#[test]
fn a_secret_that_is_missing_is_told_before_all_is_ready_and_its_account_goes_on_when_it_comes() {
    let bench = bench();
    bench.fill(1);
    fs::rename(bench.path("secret"), bench.path("away")).expect("moved");
    // Which returns when the service manager is told READY: what was told before that is in the log.
    let daemon = Daemon::start(&bench);
    let log = daemon.log();
    assert!(log.contains("secret\" cannot be read"), "{log}");
    fs::rename(bench.path("away"), bench.path("secret")).expect("moved back");
    daemon.until("mail", || bench.count("INBOX") == 1);
}

#[test]
fn the_watchdog_hears_that_all_is_well() {
    let bench = bench();
    let mut daemon = Daemon::start_with(&bench, |command| {
        command.env("WATCHDOG_USEC", "600000");
    });
    for _ in 0..3 {
        daemon.hears("WATCHDOG=1");
    }
}

#[test]
fn where_flags_are_not_told_they_are_listed_by_time_the_newest_always_and_all_when_somebody_asks() {
    let bench = Bench::new(Profile::no_condstore());
    bench.configure("every = \"1s\"\nflags-every = \"1day\"");
    bench.fill(2);
    bench.server.create(USER, "Lists");
    let there = bench.server.deliver(USER, "Lists", message(7), &[]);
    let daemon = Daemon::start(&bench);
    daemon.until("the mail", || bench.count("INBOX") == 2 && bench.count("Lists") == 1);
    let flagged = |mailbox: &str| {
        let entries = fs::read_dir(bench.maildir().join(mailbox).join("cur")).expect("a directory").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with('F')).count()
    };
    // The first passes list everything.
    daemon.until("rest", || {
        let mark = bench.server.mark();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        !bench.server.commands_since(mark).iter().any(|command| command.contains("1:* (UID FLAGS)"))
    });
    let mark = bench.server.mark();
    bench.server.store(USER, "Lists", &[there], StoreMode::Add, &["\\Flagged"]);
    bench.server.store(USER, "INBOX", &[1], StoreMode::Add, &["\\Flagged"]);
    daemon.until("the flag in INBOX", || flagged("INBOX") == 1);
    assert_eq!(flagged("Lists"), 0);
    let said = bench.server.commands_since(mark);
    assert!(!said.iter().any(|command| command.contains("SELECT") && command.contains("Lists")), "{said:?}");
    daemon.ask(&["sync"]).is(0, "1 with other flags");
    assert_eq!(flagged("Lists"), 1);
}

#[test]
fn it_gives_up_what_it_never_needs() {
    let bench = Bench::mirrored(Profile::full(), 1);
    let daemon = Daemon::start(&bench);
    for process in of_daemon(daemon.child.id()) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).expect("a process of ours");
        assert!(read("status").contains("NoNewPrivs:\t1"));
        let limits = read("limits");
        let limit = |name: &str| -> Vec<String> {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
            line.split_whitespace().take(2).map(str::to_owned).collect()
        };
        assert_eq!(limit("Max core file size"), ["0", "0"]);
        let files = limit("Max open files");
        let raised = process == worker(daemon.child.id());
        assert!(files[0] == files[1] || !raised, "{files:?}");
        assert_eq!(read("comm").trim(), "mailtwin");
    }
}
