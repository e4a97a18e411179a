//! What the daemon costs that listens for a thousand accounts.
//!
//! `cargo bench --bench many -- [--accounts N] [--minutes N]`
//!
//! Each account is a user of one Dovecot, over TLS, with a few messages. When all are live, memory and processor time are
//! measured while nothing happens; then a message comes to twenty accounts at random, and has to arrive.

// The table is meant to be read.
#![allow(clippy::print_stdout, clippy::expect_used)]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::dovecot::{Dovecot, PASSWORD, Settings};
use support::processes::{self, of_daemon};

/// What the server needs to have so many sessions.
const ROOM: &str = "service imap {\n process_limit = 4000\n}\nservice imap-login {\n service_count = 0\n client_limit = 8000\n \
                    process_limit = 8\n}\nservice auth {\n client_limit = 20000\n}\nservice anvil {\n client_limit = 20000\n}\n";
/// Longer than it takes.
const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that come.
const ARRIVALS: usize = 20;

/// The daemon, ended when this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &str| {
        let place = words.iter().position(|known| known == word)?;
        words.get(place + 1)?.parse::<u64>().ok()
    };
    let (accounts, minutes) = (number("--accounts").unwrap_or(1_000) as usize, number("--minutes").unwrap_or(1));
    let dovecot = Dovecot::with(&Settings { extra: ROOM.to_owned(), ..Settings::default() });
    let home = tempfile::Builder::new().prefix("many").tempdir_in("/var/tmp").expect("a directory");
    let place = home.path();
    let mut text = format!("state-dir = \"{}/state\"\n", place.display());
    for account in 0..accounts {
        (0..3).for_each(|n| drop(dovecot.deliver(&user(account), "INBOX", message(n).as_bytes())));
        write!(
            text,
            "[account.{0}]\nhost = \"localhost\"\nport = {1}\ntls-ca = \"{2}\"\nuser = \"{0}\"\n\
             password.file = \"{3}/secret\"\nmaildir = \"{3}/mail/{0}\"\n",
            user(account),
            dovecot.imaps_port,
            dovecot.ca_pem_path().display(),
            place.display(),
        )
        .expect("it is memory");
    }
    for (name, text) in [("configuration", text.as_str()), ("secret", PASSWORD)] {
        fs::write(place.join(name), text).expect("written");
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o600)).expect("private");
    }
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("-c").arg(place.join("configuration")).env("RUNTIME_DIRECTORY", place.join("run"));
        // As the units have it.
        command.env("MALLOC_MMAP_THRESHOLD_", "131072");
        command
    };
    let log = fs::File::create(place.join("log")).expect("made");
    let began = Instant::now();
    let daemon =
        Daemon(program().arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it runs"));
    let process = daemon.0.id();
    until("that all are live", place, || {
        sleep(Duration::from_secs(2));
        let said = program().args(["status", "--json"]).output().expect("it runs").stdout;
        let status: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        let all = status["accounts"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|account| account["daemon"]["condition"] == "live").count() == accounts
    });
    println!("{accounts} accounts were live after {:.0} s", began.elapsed().as_secs_f64());
    // The connections of the first passes are kept for a minute.
    sleep(Duration::from_secs(75));
    let (before, at) = (processor(process), Instant::now());
    sleep(Duration::from_secs(60 * minutes));
    let share = (processor(process) - before).as_secs_f64() / at.elapsed().as_secs_f64();
    let (now, peak) = (of_all(process, processes::memory), of_all(process, processes::peak));
    println!("| memory {} MB, at most {} MB | processor {:.2} % of one core |", now / 1000, peak / 1000, share * 100.0);
    let mut took = Vec::new();
    for n in 0..ARRIVALS {
        let account = user(fastrand::usize(..accounts));
        let inbox = place.join("mail").join(&account).join("INBOX");
        let (before, began) = (count(&inbox), Instant::now());
        dovecot.deliver(&account, "INBOX", message(100 + n).as_bytes());
        until("a message", place, || {
            sleep(Duration::from_millis(5));
            count(&inbox) > before
        });
        took.push(began.elapsed());
    }
    took.sort();
    println!(
        "| {ARRIVALS} messages to accounts at random | median {:.1} s | longest {:.1} s |",
        took[ARRIVALS / 2].as_secs_f64(),
        took[ARRIVALS - 1].as_secs_f64()
    );
}

fn user(number: usize) -> String {
    format!("user{number}")
}

fn message(number: usize) -> String {
    format!("Message-ID: <{number}@many.example>\nSubject: {number}\n\n{}\n", "text ".repeat(50))
}

fn count(folder: &Path) -> usize {
    ["new", "cur"].iter().filter_map(|part| fs::read_dir(folder.join(part)).ok()).map(Iterator::count).sum()
}

fn until(what: &str, place: &Path, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        let log = || fs::read_to_string(place.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "never {what}\n{}", log());
    }
}

/// The processor time that the processes of a daemon have had (proc_pid_stat(5)).
fn processor(monitor: u32) -> Duration {
    let of = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process of ours");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>()
    };
    // Linux shows hundredths of seconds on every machine that it runs on.
    Duration::from_millis(of_daemon(monitor).into_iter().map(of).sum::<u64>() * 10)
}

/// In kB, of all its processes.
fn of_all(monitor: u32, what: impl Fn(u32) -> u64) -> u64 {
    of_daemon(monitor).into_iter().map(what).sum()
}
