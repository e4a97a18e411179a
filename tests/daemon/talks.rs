//! What goes through the daemon: the same words, the same codes, the same mail as without it.

use super::process::Daemon;
use crate::support::bench::{Bench, Ran, USER, message};
use crate::support::server::{Profile, StoreMode};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

/// Does the same to two accounts, one of them under a daemon that would never look by itself, and compares.
struct Twins {
    alone: Bench,
    under: Bench,
}

impl Twins {
    fn new() -> Self {
        let bench = || {
            let bench = Bench::new(Profile::full());
            bench.configure("every = \"1day\"\nlive = false");
            bench
        };
        Self { alone: bench(), under: bench() }
    }

    fn both(&self, act: impl Fn(&Bench)) {
        act(&self.alone);
        act(&self.under);
    }

    /// Runs the program on both, and holds that they end and say the same.
    #[track_caller]
    fn run(&self, daemon: &Daemon<'_>, arguments: &[&str]) -> Ran {
        let alone = Daemon::run(&self.alone, arguments);
        let under = daemon.ask(arguments);
        let neutral = |text: &str, bench: &Bench| {
            let text = text.replace(&bench.home.path().to_string_lossy().into_owned(), "HOME");
            let text = text.replace(&format!(":{} ", bench.server.port()), ":PORT ");
            // Names of files and the like are drawn anew in each.
            let lines = text.lines().map(|line| line.split(" as 1").next().unwrap_or_default().to_owned());
            lines.filter(|line| !line.contains("\"name\"")).collect::<Vec<_>>()
        };
        assert_eq!(alone.code, under.code, "{arguments:?}\n{}\n{}", alone.err, under.err);
        assert_eq!(neutral(&alone.out, &self.alone), neutral(&under.out, &self.under), "{arguments:?}");
        assert_eq!(neutral(&alone.err, &self.alone), neutral(&under.err, &self.under), "{arguments:?}");
        under
    }
}

#[test]
fn a_run_through_the_daemon_is_the_same_as_one_without() {
    let twins = Twins::new();
    let daemon = Daemon::start(&twins.under);
    daemon.ask(&["wait-synced"]).is(0, "");
    Daemon::run(&twins.alone, &["sync"]).is(0, "");
    twins.both(|bench| bench.fill(30));
    twins.run(&daemon, &["sync", "--dry-run"]).is(0, "fetch");
    twins.run(&daemon, &["sync"]).is(0, "30 fetched");
    twins.run(&daemon, &["sync"]).is(0, "nothing to do");
    twins.run(&daemon, &["sync", "work/INBOX", "--json"]).is(0, "");
    twins.run(&daemon, &["sync", "wrok"]).is(2, "Did you mean `work`?");
    twins.both(|bench| {
        bench.server.store(USER, "INBOX", &[1, 2], StoreMode::Add, &["\\Seen"]);
        bench.server.expunge(USER, "INBOX", &[3]);
        bench.settle();
    });
    twins.run(&daemon, &["sync", "-q", "--json"]).is(0, "\"removed_here\": 1");
    // All of it is gone: that is held, and a person decides.
    twins.both(|bench| bench.empty("INBOX"));
    twins.run(&daemon, &["sync"]).is(3, "29 deletions held");
    assert_eq!(twins.under.there("INBOX"), Some(29));
    twins.run(&daemon, &["sync"]).is(3, "");
    assert_eq!(twins.under.count("INBOX"), 0);
}

#[test]
fn a_decision_through_the_daemon_is_carried_out_by_it() {
    for (decision, there, here) in [("approve", 0, 0), ("reject", 8, 8)] {
        let bench = Bench::mirrored(Profile::full(), 8);
        bench.empty("INBOX");
        bench.configure("every = \"1day\"\nlive = false");
        let daemon = Daemon::start(&bench);
        daemon.ask(&["wait-synced"]).is(3, "");
        daemon.ask(&[decision, "work", "--set", "99"]).is(0, "nothing is held there");
        daemon.ask(&[decision, "work"]).is(0, "8 deletions").says("the daemon");
        daemon.until("the decision", || bench.there("INBOX") == Some(there) && bench.count("INBOX") == here);
        daemon.ask(&["wait-synced"]).is(0, "");
    }
}

#[test]
fn an_undo_through_the_daemon_brings_back_what_was_deleted() {
    let bench = Bench::mirrored(Profile::full(), 6);
    bench.configure("every = \"1day\"\nlive = false");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    bench.server.expunge(USER, "INBOX", &[2, 3]);
    bench.settle();
    daemon.ask(&["sync"]).is(0, "2 removed here");
    assert_eq!(bench.count("INBOX"), 4);
    daemon.ask(&["undo", "work"]).is(0, "number 1").says("Nothing was done as yet");
    daemon.ask(&["undo", "work", "--yes"]).is(0, "2 removals undone");
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (6, Some(6)));
}

#[test]
fn commands_that_open_the_state_themselves_borrow_the_account() {
    let bench = Bench::mirrored(Profile::full(), 4);
    bench.configure("every = \"1s\"");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    for _ in 0..3 {
        daemon.ask(&["verify"]).is(0, "all the same");
        daemon.ask(&["folders", "work"]).is(0, "INBOX");
        daemon.ask(&["explain", "work/INBOX:1"]).is(0, "");
        daemon.ask(&["check"]).is(0, "");
    }
    // What takes the account away from the daemon is not done behind its back.
    daemon.ask(&["forget", "work", "--yes"]).is(75, "holds the state of this account");
    bench.server.deliver(USER, "INBOX", message(7), &[]);
    daemon.until("mail after all that", || bench.count("INBOX") == 5);
}

#[test]
fn who_went_away_with_an_account_that_was_lent_does_not_keep_it() {
    let bench = Bench::mirrored(Profile::full(), 1);
    bench.configure("every = \"1day\"\nlive = false");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let stream = UnixStream::connect(bench.path("run/control.sock")).expect("connected");
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).expect("a greeting");
    assert!(line.contains(&format!("\"pid\":{}", daemon.child.id())), "{line}");
    lines
        .get_mut()
        .write_all(b"{\"protocol\":1,\"request\":\"work\",\"account\":\"work\",\"work\":\"lend\"}\n")
        .expect("written");
    line.clear();
    lines.read_line(&mut line).expect("an answer");
    assert_eq!(line.trim(), r#"{"reply":"update","value":{"update":"done","value":{"answer":"lent"}}}"#);
    daemon.ask(&["status"]).is(0, "lent to another command");
    let waiting = Daemon::command(&bench, &["sync"]).spawn().expect("it starts");
    drop(lines);
    bench.finish(waiting).is(0, "nothing to do");
}

#[test]
fn what_happens_is_told_to_who_listens() {
    let bench = Bench::mirrored(Profile::full(), 1);
    bench.configure("every = \"1day\"\nlive = false");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let mut listener = Daemon::command(&bench, &["events", "--json"]).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(listener.stdout.take().expect("piped")).lines();
    let mut watcher = Daemon::command(&bench, &["status", "--watch"]).stderr(Stdio::null()).spawn().expect("it starts");
    let mut views = BufReader::new(watcher.stdout.take().expect("piped")).lines();
    assert!(views.next().expect("a line").expect("text").starts_with("work: next look in "));
    bench.server.deliver(USER, "INBOX", message(3), &[]);
    // Who listens is there a moment after it was started: one run after the other is told, from then on.
    let told = std::thread::spawn(move || lines.next().expect("a line").expect("text"));
    while !told.is_finished() {
        daemon.ask(&["sync"]).is(0, "");
    }
    let event: serde_json::Value = serde_json::from_str(&told.join().expect("no panic")).expect("JSON");
    assert_eq!(event["account"], "work");
    assert!(event["at"].as_u64().is_some_and(|at| at > 1_700_000_000) && event["what"].is_string(), "{event}");
    assert!(views.next().expect("a line").expect("text").starts_with("work: "));
    for child in [&mut listener, &mut watcher] {
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

#[test]
fn the_status_as_json_has_what_the_daemon_knows() {
    let bench = Bench::mirrored(Profile::full(), 2);
    bench.configure("live = false");
    let without: serde_json::Value =
        serde_json::from_str(&Daemon::run(&bench, &["status", "--json"]).out).expect("JSON");
    assert!(without["daemon"].is_null() && without["accounts"][0]["daemon"].is_null());
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let with: serde_json::Value = serde_json::from_str(&daemon.ask(&["status", "--json"]).out).expect("JSON");
    assert_eq!(with["daemon"]["pid"], daemon.child.id());
    assert_eq!(with["accounts"][0]["daemon"]["condition"], "idle");
    assert_eq!(with["accounts"][0]["mailboxes"][0]["messages"], 2);
}

#[test]
fn without_a_daemon_what_needs_one_says_so() {
    let bench = Bench::new(Profile::full());
    for command in ["pause", "resume", "reload", "wait-synced", "events"] {
        Daemon::run(&bench, &[command]).is(1, "no daemon runs for the state in").says("mailtwin run");
    }
    Daemon::run(&bench, &["status", "--watch"]).is(1, "no daemon runs");
}

#[test]
fn a_socket_of_the_service_manager_is_served() {
    let bench = Bench::mirrored(Profile::full(), 1);
    fs::create_dir(bench.path("activated")).expect("made");
    let path = bench.path("activated/control.sock");
    let socket = UnixListener::bind(&path).expect("bound");
    // systemd hands it over as descriptor 3; so does this shell, which gets it as its standard input.
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
    let mut daemon = Daemon::begin(&bench, |command| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).arg(command.get_program()).args(command.get_args()).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(OwnedFd::from(socket)).stdout(Stdio::null());
        shell.stderr(fs::File::options().append(true).open(bench.path("daemon.log")).expect("a log"));
        *command = shell;
    });
    daemon.hears("READY=1");
    daemon.ask(&["wait-synced"]).is(0, "");
    assert!(!bench.path("run/control.sock").exists());
    let (_, code) = daemon.end();
    assert_eq!(code, Some(0));
    assert!(path.exists(), "the socket is the service manager's");
}

#[test]
fn what_is_counted_is_told_on_the_socket_and_on_a_port_of_loopback() {
    let bench = Bench::new(Profile::full());
    bench.configure("every = \"1h\"");
    bench.fill(3);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let text = fs::read_to_string(bench.path("daemon.toml")).expect("written");
    bench.write_configuration(&format!("metrics = \"127.0.0.1:{port}\"\n{text}"));
    let mut daemon = Daemon::start(&bench);
    daemon.hears("1 account: 1 live");
    daemon.ask(&["wait-synced"]).is(0, "");
    let told = daemon.ask(&["metrics"]);
    told.is(0, "");
    for line in [
        "mailtwin_account_up{account=\"work\"} 1",
        "mailtwin_messages_total{account=\"work\",done=\"fetched\"} 3",
        "mailtwin_connections{account=\"work\"} 2",
        "mailtwin_lag_seconds{account=\"work\"} 0",
    ] {
        assert!(told.out.lines().any(|told| told == line), "{line}\n{}", told.out);
    }
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it is open");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    let scraped = get("/metrics");
    assert!(
        scraped.starts_with("HTTP/1.1 200 OK\r\n") && scraped.contains("\nmailtwin_passes_total{account="),
        "{scraped}"
    );
    assert!(get("/").starts_with("HTTP/1.1 404"));
    bench.write_configuration(&text);
    daemon.ask(&["reload"]).is(78, "`metrics` changed, which needs a restart");
    bench.write_configuration(&format!("metrics = \"0.0.0.0:{port}\"\n{text}"));
    bench.run(&["status"]).is(78, "an address of this machine alone");
}
