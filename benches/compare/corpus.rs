//! The mail: 33 mailboxes, messages of 7 kB on average, the same in each run.

pub use crate::message::message;

use crate::support::dovecot::{Dovecot, PASSWORD};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};

/// The user whose mail is copied to all others.
const ORIGINAL: &str = "corpus";
/// Mailboxes besides those that each user has anyway.
const MAILBOXES: usize = 28;

/// The name of one of the mailboxes.
pub fn mailbox(number: usize) -> String {
    match number % (MAILBOXES + 1) {
        0 => "INBOX".to_owned(),
        n => format!("Box{n:02}"),
    }
}

/// Makes the original, half of it read, and has the server look at all of it once.
pub fn make(dovecot: &Dovecot, messages: usize) {
    for number in 0..messages {
        dovecot.deliver(ORIGINAL, &mailbox(number), &message(number));
    }
    let mut session = Session::open(dovecot, ORIGINAL);
    for number in 0..=MAILBOXES {
        session.run(&format!("SELECT {}", mailbox(number)));
        session.run(&format!("STORE 1:{} +FLAGS.SILENT (\\Seen)", (messages / (MAILBOXES + 1) / 2).max(1)));
        session.run("FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)");
    }
    println!("{messages} messages in 33 mailboxes");
}

/// Gives a user a copy of it.
pub fn give(dovecot: &Dovecot, user: &str) {
    dovecot.copy_user(ORIGINAL, user);
}

/// A session without TLS, for what another client does.
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    pub fn open(dovecot: &Dovecot, user: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dovecot.imap_port)).expect("the server listens");
        let mut session = Self { stream: BufReader::new(stream) };
        session.stream.read_line(&mut String::new()).expect("a greeting");
        session.run(&format!("LOGIN {user} {PASSWORD}"));
        session
    }

    /// Runs a command, which has to succeed.
    pub fn run(&mut self, command: &str) {
        self.say(&format!("a {command}"));
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).expect("an answer");
            if line.starts_with(b"a ") {
                assert!(line.starts_with(b"a OK"), "{command}: {}", String::from_utf8_lossy(&line));
                return;
            }
        }
    }

    /// Appends a message.
    pub fn append(&mut self, mailbox: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text).replace('\n', "\r\n");
        self.run(&format!("APPEND {mailbox} {{{}+}}\r\n{text}", text.len()));
    }

    fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the server reads");
    }
}
