//! Connections that are refused, silent or cut, and logins that fail.

use crate::support::bench::{Bench, USER, message};
use crate::support::server::{Act, Profile, When};
use std::io::Write as _;
use std::net::TcpListener;

#[test]
fn a_wrong_password_is_tried_once_and_is_exit_77() {
    let bench = Bench::mirrored(Profile::full(), 2);
    std::fs::write(bench.path("secret"), "another\n").expect("written");
    let mark = bench.server.mark();
    bench
        .sync()
        .is(77, "the server refused the login: [AUTHENTICATIONFAILED] Authentication failed.")
        .says("tried once");
    let commands = bench.server.commands_since(mark);
    let tries = commands.iter().filter(|c| c.starts_with("AUTHENTICATE") || c.starts_with("LOGIN ")).count();
    assert_eq!(tries, 1, "{commands:?}");
    bench.run(&["status"]).is(0, "the login was refused");
    bench.run(&["check"]).is(77, "failed  login:").says("skipped mailboxes: there is no login");
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (2, Some(2)));
}

#[test]
fn a_secret_that_cannot_be_had_is_told_and_nobody_is_asked() {
    let bench = Bench::new(Profile::full());
    std::fs::remove_file(bench.path("secret")).expect("removed");
    bench.sync().is(1, "the password could not be read").says("cannot be read");
    assert!(!bench.server.commands().iter().any(|c| c.starts_with("AUTH")));
    bench.run(&["check"]).is(1, "failed  secret:").says("ok      connection:").says("skipped login:");
}

#[test]
fn a_refused_port_is_exit_75_and_the_next_run_completes() {
    let bench = Bench::mirrored(Profile::full(), 2);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    bench.configure_at(port, "");
    bench.sync().is(75, "cannot be reached").says("the next run tries again");
    bench.run(&["check"]).is(75, "failed  connection:");
    bench.configure("");
    bench.converged("INBOX", 2);
}

#[test]
fn a_name_without_address_is_exit_75() {
    let bench = Bench::new(Profile::full());
    let text = bench.account("work", 143, &bench.maildir()).replace("127.0.0.1", "nowhere.invalid");
    bench.write_configuration(&format!(
        "state-dir = {:?}\n{}",
        bench.state(),
        text.replace("\"none\"", "\"starttls\"")
    ));
    bench.sync().is(75, "nowhere.invalid");
}

#[test]
fn silence_ends_with_the_time_limit_wherever_it_begins() {
    for verb in ["GREETING", "AUTHENTICATE", "LIST", "SELECT", "UID FETCH", "APPEND"] {
        let bench = Bench::mirrored(Profile::full(), 2);
        bench.configure("timeout = \"1s\"");
        let text = std::fs::read_to_string(bench.path("daemon.toml")).expect("read").replace("timeout = \"5s\"\n", "");
        bench.write_configuration(&text);
        bench.fill(1);
        std::fs::write(bench.maildir().join("INBOX/cur/1700000009.M1.here:2,S"), message(9)).expect("written");
        bench.server.rule(When::verb(verb).nth(1), Act::Blackhole);
        bench.sync().is(75, "work: ");
        bench.server.clear_rules();
        bench.sync().is(0, "");
        bench.converged("INBOX", 4);
    }
}

#[test]
fn bye_is_exit_75_at_any_time_and_what_was_done_stays_done() {
    for verb in ["GREETING", "AUTHENTICATE", "ENABLE", "LIST", "SELECT", "UID FETCH", "UID SEARCH", "APPEND"] {
        let bench = Bench::mirrored(Profile::full(), 2);
        bench.fill(2);
        std::fs::write(bench.maildir().join("INBOX/cur/1700000009.M1.here:2,S"), message(9)).expect("written");
        bench.server.rule(When::verb(verb).nth(1), Act::Bye("closing for repairs"));
        let ran = bench.sync();
        // What is not asked in this pass cannot be refused.
        if bench.server.rule_counts() != [0] {
            ran.is(75, "closing for repairs");
        }
        bench.server.clear_rules();
        bench.sync().is(0, "");
        bench.converged("INBOX", 5);
    }
}

#[test]
fn a_connection_cut_in_the_middle_of_a_body_leaves_no_half_message() {
    for at in [200, 2_000, 20_000, 60_000] {
        let bench = Bench::new(Profile::full());
        let body = format!("{}{}\r\n", message(0), "0123456789abcdef\r\n".repeat(1_000));
        for _ in 0..4 {
            bench.server.deliver(USER, "INBOX", &body, &[]);
        }
        bench.server.rule(When::verb("UID FETCH").containing("BODY").nth(1), Act::CutAfterBytes(at));
        bench.sync().is(75, "work: ");
        let whole = body.replace("\r\n", "\n").into_bytes();
        assert!(bench.messages("INBOX").values().all(|text| *text == whole), "a message was cut at {at}");
        bench.server.clear_rules();
        bench.sync().is(0, "");
        bench.converged("INBOX", 4);
    }
}

#[test]
fn what_does_not_speak_imap_is_told_apart_and_nothing_is_sent_to_it() {
    for (greeting, code) in [
        (&b"220 smtp.example.org ESMTP\r\n"[..], 75),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 75),
        (b"+OK POP3 ready\r\n", 75),
        (b"* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n", 1),
        (b"* NO not now\r\n", 75),
        (b"\r\n\r\n\r\n", 75),
        (b"", 75),
    ] {
        let bench = Bench::new(Profile::full());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        bench.configure_at(listener.local_addr().expect("bound").port(), "");
        let peer = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let _ = client.write_all(greeting);
            let _ = client.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            let _ = std::io::Read::read_to_end(&mut client, &mut said);
            said
        });
        let ran = bench.sync();
        assert_eq!(ran.code, Some(code), "{greeting:?}: {}", ran.err);
        let said = String::from_utf8_lossy(&peer.join().expect("it ended")).into_owned();
        assert!(!said.contains("LOGIN") && !said.contains("AUTHENTICATE"), "{said}");
        assert!(!bench.maildir().exists(), "a Maildir was made for a server that was never met");
    }
}

fn throttled(bench: &Bench, words: &'static str) {
    bench.server.rule(When::verb("SELECT"), Act::No("", words));
    bench.sync().is(75, "throttled");
    bench.server.clear_rules();
}

#[test]
fn a_pause_that_the_server_asked_for_is_kept_by_the_next_run() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    throttled(&bench, "Request is throttled. Suggested Backoff Time: 1100 milliseconds");
    bench.sync().is(0, "the server asked to be left alone; waiting for ").says("2 fetched");
    bench.fill(1);
    throttled(&bench, "Request is throttled. Suggested Backoff Time: 3600000 milliseconds");
    let mark = bench.server.mark();
    bench.sync().is(75, "the server asked to be left alone for ").says("It was not asked for anything");
    assert_eq!(bench.server.commands_since(mark), Vec::<String>::new());
    if cfg!(feature = "steps") {
        let mut later = bench.command(&["sync"]);
        later.env("MAILTWIN_CLOCK_AHEAD", "3700");
        bench.finish(bench.spawn(later)).is(0, "1 fetched");
    }
}
