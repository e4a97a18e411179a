//! What a look at a large mailbox costs on a real Dovecot whose QRESYNC is left unused, counted at a relay.

use crate::support::dovecot::{Dovecot, PASSWORD};
use crate::support::relay::Relay;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

const MESSAGES: usize = 5_000;

/// Says these commands as another client; each has to be OK.
fn other_client(port: u16, commands: &[&str]) {
    let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("Dovecot listens"));
    let login = format!("LOGIN ann {PASSWORD}");
    let mut line = String::new();
    stream.read_line(&mut line).expect("a greeting");
    for command in [login.as_str()].iter().chain(commands) {
        write!(stream.get_mut(), "t {command}\r\n").expect("sent");
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).expect("an answer") > 0, "{command}: the connection closed");
            if let Some(done) = line.strip_prefix("t ") {
                assert!(done.starts_with("OK"), "{command}: {done}");
                break;
            }
        }
    }
}

fn sync(configuration: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
    let ran = command.arg("--config").arg(configuration).arg("sync").env("SSL_CERT_FILE", "/dev/null").output();
    let ran = ran.expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

fn fetches(told: &str) -> Vec<&str> {
    told.lines().filter(|line| line.starts_with("* ") && line.contains(" FETCH (")).collect()
}

#[test]
fn without_qresync_an_unchanged_mailbox_costs_no_listing_and_a_changed_flag_one_line() {
    let dovecot = Dovecot::start();
    for n in 0..MESSAGES {
        dovecot.deliver("ann", "INBOX", format!("Message-ID: <{n}@example.org>\n\nthe text of {n}\n").as_bytes());
    }
    let relay = Relay::to(dovecot.imap_port);
    let home = tempfile::tempdir().expect("a directory");
    let configuration = home.path().join("daemon.toml");
    let text = format!(
        "state-dir = {:?}\n[account.work]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"ann\"\n\
         password = {PASSWORD:?}\nmaildir = {:?}\ndisable-extensions = [\"QRESYNC\"]\n",
        home.path().join("state"),
        relay.port,
        home.path().join("mail"),
    );
    std::fs::write(&configuration, text).expect("written");
    std::fs::set_permissions(&configuration, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
    sync(&configuration);
    sync(&configuration);
    relay.take();

    sync(&configuration);
    let (asked, told) = relay.take();
    assert!(!asked.contains("FETCH") && !asked.contains("SEARCH"), "{asked}");
    assert!(told.len() < 8_000, "{} octets for nothing new", told.len());

    other_client(dovecot.imap_port, &["SELECT INBOX", "UID STORE 77 +FLAGS (\\Flagged)", "LOGOUT"]);
    sync(&configuration);
    let (asked, told) = relay.take();
    // Each look is told of it once: the one that finds it, and the one that sees that it was all.
    let lines = fetches(&told);
    assert!((1..=2).contains(&lines.len()) && lines.iter().all(|line| line.contains("UID 77 ")), "{lines:?}");
    assert!(asked.contains("CHANGEDSINCE") && !asked.contains("SEARCH"), "{asked}");
    let names: Vec<String> = std::fs::read_dir(home.path().join("mail/INBOX/cur"))
        .expect("listed")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].ends_with(":2,F"), "{names:?}");

    let gone = ["SELECT INBOX", "UID STORE 99 +FLAGS (\\Deleted)", "UID EXPUNGE 99", "LOGOUT"];
    other_client(dovecot.imap_port, &gone);
    sync(&configuration);
    let (asked, told) = relay.take();
    assert_eq!(fetches(&told), Vec::<&str>::new());
    assert!(asked.contains("UID SEARCH RETURN (ALL COUNT) ALL"), "{asked}");
    assert!(told.len() < 16_000, "{} octets for one message that is gone", told.len());
    let here = std::fs::read_dir(home.path().join("mail/INBOX/new")).expect("listed").count();
    assert_eq!(here, MESSAGES - 2);
}
