//! The daemon as two processes: the one that works may touch little, and its monitor does the rest for it.

use super::process::Daemon;
use super::runs::two_accounts;
use crate::support::bench::{Bench, USER, copy, message};
use crate::support::processes::{gone, worker};
use crate::support::server::{PASSWORD, Profile};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// It may touch no Maildir but those that it began with, so it begins anew, and nobody around it notices.
#[test]
fn a_reload_with_another_maildir_begins_the_daemon_anew() {
    let bench = Bench::new(Profile::full());
    bench.fill(1);
    let (state, mine, other) = two_accounts(&bench);
    bench.write_configuration(&format!("{state}{mine}"));
    let mut daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    daemon.ask(&["pause", "mine"]).is(0, "Paused");
    let greeting = |daemon: &Daemon| {
        let status = daemon.ask(&["status", "--json"]).out;
        serde_json::from_str::<serde_json::Value>(&status).expect("JSON")["daemon"]["pid"].clone()
    };
    let before = (greeting(&daemon), worker(daemon.child.id()));
    bench.write_configuration(&format!("{state}{mine}{other}"));
    let landlock = !daemon.log().contains("cannot confine");
    daemon.ask(&["reload"]).is(0, if landlock { "began anew, with the configuration as it is now" } else { "" });
    daemon.hears("RELOADING=1");
    daemon.hears("READY=1");
    let mail = || fs::read_dir(bench.path("Other/INBOX/new")).is_ok_and(|d| d.count() == 1);
    daemon.until("mail of the new account", mail);
    assert_eq!(greeting(&daemon), before.0, "to all others it is the same process");
    assert_eq!(worker(daemon.child.id()) != before.1, landlock);
    assert!(daemon.ask(&["status"]).out.contains("; paused"), "what a person said stays said");
    // It is told to begin anew by a signal as well, and hears signals afterwards.
    bench.write_configuration(&format!("{state}{other}"));
    daemon.signal(Signal::HUP);
    daemon.until("the end of the other", || daemon.log().contains("0 added, 0 changed, 1 removed, 1 as before"));
    let (_, code) = daemon.end();
    assert_eq!(code, Some(0));
}

/// As when a disk is mounted: the directory of that name is another one.
#[test]
fn a_maildir_that_comes_back_as_another_directory_is_reached_again() {
    let bench = Bench::new(Profile::full());
    bench.fill(3);
    bench.configure("every = \"1s\"");
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let away = bench.path("Away");
    fs::rename(bench.maildir(), &away).expect("moved");
    daemon.until("that it is missed", || daemon.ask(&["status"]).out.contains("the Maildir is not available"));
    bench.server.deliver(USER, "INBOX", message(7), &[]);
    copy(&away, &bench.path("Copy"));
    fs::rename(bench.path("Copy"), bench.maildir()).expect("moved");
    daemon.until("mail in it", || bench.count("INBOX") == 4);
    daemon.ask(&["wait-synced"]).is(0, "");
    drop(daemon);
    bench.converged("INBOX", 4);
}

/// Nobody could begin with a configuration that is wrong: the daemon that there is goes on.
#[test]
fn it_does_not_begin_anew_into_a_configuration_that_is_wrong() {
    let bench = Bench::new(Profile::full());
    bench.fill(1);
    bench.configure("every = \"1s\"");
    let mut daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    let away = bench.path("Away");
    fs::rename(bench.maildir(), &away).expect("moved");
    copy(&away, &bench.path("Copy"));
    bench.configure("evry = \"1s\"");
    fs::rename(bench.path("Copy"), bench.maildir()).expect("moved");
    bench.server.deliver(USER, "INBOX", message(7), &[]);
    let landlock = !daemon.log().contains("cannot confine");
    if landlock {
        daemon.until("a word of it", || daemon.log().contains("and none can: the configuration cannot be used"));
    }
    assert!(daemon.child.try_wait().expect("a child of ours").is_none(), "it goes on");
    bench.configure("every = \"1s\"\n# mended");
    daemon.ask(&["reload"]).is(0, "");
    daemon.until("mail", || bench.count("INBOX") == 2);
}

/// A root that is missing although the account is known, as after a first login that failed, is made by the monitor.
#[test]
fn a_maildir_that_is_not_there_yet_is_made_and_reached() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    bench.configure("every = \"1s\"");
    fs::create_dir_all(bench.state().join("work")).expect("made");
    let daemon = Daemon::start(&bench);
    daemon.until("mail", || bench.count("INBOX") == 2);
    daemon.ask(&["wait-synced"]).is(0, "");
}

#[test]
fn commands_of_the_configuration_are_started_and_no_others() {
    let bench = Bench::new(Profile::full());
    bench.fill(1);
    let (script, tunnel) = (bench.path("secret.sh"), bench.path("tunnel.py"));
    fs::write(&script, format!("echo asked >> '{}'; echo {PASSWORD}", bench.path("asked").display())).expect("written");
    fs::write(&tunnel, TUNNEL).expect("written");
    let file = format!("password.file = {:?}", bench.path("secret"));
    let command = format!("password.command = [\"sh\", {script:?}]");
    let text = |more: &str| {
        let account = bench.account("work", bench.server.port(), &bench.maildir()).replace(&file, &command);
        format!("state-dir = {:?}\n{account}every = \"1s\"\nlive = false\n{more}", bench.state())
    };
    bench.write_configuration(&text(""));
    let daemon = Daemon::start(&bench);
    daemon.ask(&["wait-synced"]).is(0, "");
    assert_eq!(bench.count("INBOX"), 1);
    assert!(bench.path("asked").exists());
    // What the configuration names later is started later.
    let port = bench.server.port();
    let target = format!("host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n");
    let through = format!("tunnel = [\"python3\", {tunnel:?}, \"{port}\"]\n");
    bench.write_configuration(&text("").replace(&target, &through));
    daemon.ask(&["reload"]).is(0, "read its configuration again");
    bench.server.deliver(USER, "INBOX", message(8), &[]);
    daemon.until("mail through the tunnel", || bench.count("INBOX") == 2);
    assert!(bench.path("tunnel.py.used").exists());
    // One that fails is told of as ever.
    bench.write_configuration(&text("").replace("\"sh\"", "\"/nowhere/sh\""));
    daemon.ask(&["reload"]).is(0, "read its configuration again");
    daemon.until("that it is missing", || daemon.ask(&["status"]).out.contains("could not be started (No such file"));
}

const TUNNEL: &str = "
import os, socket, sys, threading
open(sys.argv[0] + '.used', 'w').close()
server = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
def up():
    while chunk := os.read(0, 65536):
        server.sendall(chunk)
    server.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while chunk := server.recv(65536):
    os.write(1, chunk)
";

#[test]
fn a_credential_of_the_service_manager_is_read() {
    let bench = Bench::new(Profile::full());
    bench.fill(1);
    let account = bench.account("work", bench.server.port(), &bench.maildir());
    let file = format!("password.file = {:?}", bench.path("secret"));
    let account = account.replace(&file, "password.credential = \"work\"");
    assert!(account.contains("credential"), "{account}");
    bench.write_configuration(&format!("state-dir = {:?}\n{account}", bench.state()));
    let directory = bench.path("credentials");
    fs::create_dir(&directory).expect("made");
    fs::rename(bench.path("secret"), directory.join("work")).expect("moved");
    let daemon = Daemon::start_with(&bench, |command| {
        command.env("CREDENTIALS_DIRECTORY", &directory);
    });
    daemon.until("mail", || bench.count("INBOX") == 1);
}

#[test]
fn the_two_end_together() {
    let bench = Bench::mirrored(Profile::full(), 1);
    let daemon = Daemon::start(&bench);
    let working = worker(daemon.child.id());
    drop(daemon);
    gone(working);
    let mut daemon = Daemon::start(&bench);
    let working = Pid::from_raw(worker(daemon.child.id()).cast_signed()).expect("a process");
    kill_process(working, Signal::KILL).expect("killed");
    assert_eq!(daemon.child.wait().expect("it ends").code(), Some(1));
    assert!(daemon.log().contains("the process that works was ended by signal 9"), "{}", daemon.log());
    // Told by itself, it ends well.
    let mut daemon = Daemon::start(&bench);
    let working = Pid::from_raw(worker(daemon.child.id()).cast_signed()).expect("a process");
    kill_process(working, Signal::TERM).expect("told");
    assert_eq!(daemon.child.wait().expect("it ends").code(), Some(0));
    // Nobody else starts it so.
    Daemon::run(&bench, &["run", "--confined"]).is(2, "there is no monitor at the standard input");
}
