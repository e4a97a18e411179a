//! How soon the daemon brings what changes, both ways, beside a bare client that waits in IDLE.
//!
//! `cargo bench --bench live -- [--messages N] [--round-trip MS] [--cyrus DIR]`
//!
//! The server is a Dovecot, or the Cyrus IMAP below a directory.
//!
//! Messages come one by one at random gaps. To the Maildir: from the moment at which the bare client is told, since a server
//! may hold news back for everybody, until another process sees the file; a second bare client shows what of that is the
//! server's doing. To the server: from the moment at which the file
//! is there until another client sees the message.

// The table is meant to be read.
#![allow(clippy::print_stdout, clippy::expect_used)]

mod cyrus;
// Its turns are not asked for.
#[allow(dead_code)]
#[path = "../compare/link.rs"]
mod link;
#[path = "../../tests/support/mod.rs"]
mod support;

use cyrus::Cyrus;
use link::{Link, Quality};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::dovecot::{Dovecot, PASSWORD};

const USER: &str = "ann";
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(1);

/// A client that says lines and reads lines.
struct Client {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Client {
    fn login(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
        stream.set_nodelay(true).expect("set");
        let mut client = Self { stream: BufReader::new(stream), tag: 0 };
        client.line();
        client.ask(&format!("LOGIN {USER} {PASSWORD}"));
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line
    }

    /// Says it, and gives the lines until it is answered.
    fn ask(&mut self, command: &str) -> Vec<String> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        write!(self.stream.get_mut(), "{tag}{command}\r\n").expect("sent");
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with(&tag) {
                assert!(line.contains(" OK"), "{command}: {line}");
                return lines;
            }
            lines.push(line);
        }
    }

    fn append(&mut self, number: usize) {
        let text = message(number);
        self.tag += 1;
        write!(self.stream.get_mut(), "t{} APPEND INBOX {{{}+}}\r\n{text}\r\n", self.tag, text.len()).expect("sent");
        let tag = format!("t{} ", self.tag);
        while !self.line().starts_with(&tag) {}
    }
}

fn message(number: usize) -> String {
    format!(
        "From: a@example.org\r\nSubject: {number}\r\nMessage-ID: <{number}@live.example>\r\n\r\n{}\r\n",
        "text ".repeat(200)
    )
}

/// The moments at which a client that waits in IDLE is told of new messages.
fn waiter(port: u16) -> Receiver<Instant> {
    let (told, moments) = channel();
    std::thread::spawn(move || {
        let mut client = Client::login(port);
        client.ask("SELECT INBOX");
        write!(client.stream.get_mut(), "i IDLE\r\n").expect("sent");
        loop {
            if client.line().contains("EXISTS") && told.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    moments
}

/// The server, ended when this is dropped.
enum Server {
    Dovecot(Dovecot),
    Cyrus(Cyrus),
}

impl Server {
    /// The ports without TLS, and with TLS from the first byte.
    fn ports(&self) -> (u16, u16) {
        match self {
            Self::Dovecot(dovecot) => (dovecot.imap_port, dovecot.imaps_port),
            Self::Cyrus(cyrus) => (cyrus.imap_port, cyrus.imaps_port),
        }
    }

    fn ca_pem_path(&self) -> PathBuf {
        match self {
            Self::Dovecot(dovecot) => dovecot.ca_pem_path(),
            Self::Cyrus(cyrus) => cyrus.ca_pem_path(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dovecot(_) => "Dovecot",
            Self::Cyrus(_) => "Cyrus IMAP",
        }
    }
}

/// The daemon, ended when this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(place: &Path, server: &Server, port: u16) -> Daemon {
    let (shown, ca) = (place.display(), server.ca_pem_path());
    let text = format!(
        "state-dir = \"{shown}/state\"\n[account.work]\nhost = \"localhost\"\nport = {port}\ntls-ca = \"{}\"\n\
         user = \"{USER}\"\npassword.file = \"{shown}/secret\"\nmaildir = \"{shown}/mail\"\nevery = \"1h\"\n",
        ca.display()
    );
    for (name, text) in [("configuration", text.as_str()), ("secret", PASSWORD)] {
        fs::write(place.join(name), text).expect("written");
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o600)).expect("private");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
    command.arg("-c").arg(place.join("configuration")).arg("run").env("RUNTIME_DIRECTORY", place.join("run"));
    let log = fs::File::create(place.join("log")).expect("made");
    Daemon(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it runs"))
}

fn count(maildir: &Path) -> usize {
    ["new", "cur"].iter().filter_map(|part| fs::read_dir(maildir.join(part)).ok()).map(Iterator::count).sum()
}

/// Waits until something is so, and gives the moment.
fn until(what: &str, place: &Path, mut is_so: impl FnMut() -> bool) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        let log = || fs::read_to_string(place.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "never {what}\n{}", log());
        sleep(LOOK);
    }
    Instant::now()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |word: &str| words.get(words.iter().position(|known| known == word)? + 1);
    let number = |word: &str| after(word)?.parse::<u64>().ok();
    let messages = number("--messages").unwrap_or(200) as usize;
    let round_trip_ms = number("--round-trip").unwrap_or(0);
    let server = match after("--cyrus") {
        Some(root) => Server::Cyrus(Cyrus::start(Path::new(root), USER, PASSWORD)),
        None => Server::Dovecot(Dovecot::start()),
    };
    let (imap_port, imaps_port) = server.ports();
    // Without one the daemon's own socket speaks with the server: a relay acknowledges for it, in its own time.
    let link = (round_trip_ms > 0).then(|| Link::open(imaps_port, Quality { round_trip_ms, bits_per_second: 0 }));
    let port = link.as_ref().map_or(imaps_port, |link| link.port);
    let home = tempfile::Builder::new().prefix("live").tempdir_in("/var/tmp").expect("a directory");
    let maildir = home.path().join("mail/INBOX");
    let mut writer = Client::login(imap_port);
    writer.append(0);
    let _daemon = daemon(home.path(), &server, port);
    until("the first message", home.path(), || count(&maildir) == 1);
    let (told, other) = (waiter(imap_port), waiter(imap_port));
    sleep(Duration::from_secs(2));

    println!("{}, {messages} messages each way, round trip {round_trip_ms} ms", server.name());
    let (mut to_maildir, mut between) = (Vec::new(), Vec::new());
    for n in 1..=messages {
        sleep(Duration::from_millis(fastrand::u64(20..400)));
        while told.try_recv().is_ok() || other.try_recv().is_ok() {}
        writer.append(n);
        let seen = until("a message", home.path(), || count(&maildir) == n + 1);
        // It may have been faster than the bare client.
        let heard = told.recv_timeout(PATIENCE).expect("the bare client is told");
        to_maildir.push(seen.saturating_duration_since(heard));
        let other = other.recv_timeout(PATIENCE).expect("the other bare client is told");
        between.push(other.saturating_duration_since(heard));
    }
    report("another bare IDLE, after a bare IDLE was told", between);
    report("to the Maildir, after a bare IDLE was told", to_maildir);

    let mut looker = Client::login(imap_port);
    looker.ask("SELECT INBOX");
    let mut to_server = Vec::new();
    for n in 1..=messages {
        sleep(Duration::from_millis(fastrand::u64(20..400)));
        let name = format!("17{n:08}.M{n}P1.live");
        let (written, shown): (PathBuf, PathBuf) = (maildir.join("tmp").join(&name), maildir.join("new").join(&name));
        fs::write(&written, message(100_000 + n).replace("\r\n", "\n")).expect("written");
        fs::rename(&written, &shown).expect("shown");
        let began = Instant::now();
        let exists = format!("* {} EXISTS", messages + 1 + n);
        let seen =
            until("a message there", home.path(), || looker.ask("NOOP").iter().any(|line| line.contains(&exists)));
        to_server.push(seen.duration_since(began));
    }
    report("to the server", to_server);
    assert_eq!(count(&maildir), 2 * messages + 1, "lost or doubled here");
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    println!("| {what} | median {:.0} ms | 99th percentile {:.0} ms | longest {:.0} ms |", at(50), at(99), at(100));
}
