//! The same dialogue with the test server and with a real Dovecot gives the same answers, human text aside.

use super::dialogue::Dialogue;
use crate::support::dovecot::{Dovecot, Settings};
use crate::support::server::pop3::Profile;
use crate::support::server::{self, Server};

const MAIL: [&str; 4] = [
    "Subject: 1\r\n\r\none\r\n",
    ".\r\n..\r\n\r\n.two\r\n...\r\n",
    "Subject: 3\r\n\r\na\r\nb\r\nc\r\nno end",
    "Subject: 4\r\n\r\n\r\r\nx\r.\r\n",
];

const SCRIPT: [&str; 44] = [
    "NOOP",
    "STAT",
    "USER ann",
    "PASS wrong",
    "USER ann",
    "PASS testpass",
    "NOOP",
    "STAT",
    "LIST",
    "LIST 1",
    "LIST 3",
    "LIST 5",
    "LIST 0",
    "LIST x",
    "UIDL",
    "UIDL 2",
    "UIDL 9",
    "TOP 1 0",
    "TOP 3 2",
    "TOP 3 99",
    "TOP 3",
    "TOP 9 0",
    "RETR 1",
    "RETR 2",
    "RETR 3",
    "RETR 4",
    "RETR",
    "RETR 5",
    "DELE 2",
    "DELE 2",
    "RETR 2",
    "TOP 2 0",
    "UIDL",
    "UIDL 2",
    "LIST",
    "STAT",
    "RSET",
    "STAT",
    "LIST 2",
    "DELE 1",
    "DELE 9",
    "NONSENSE",
    "STAT",
    "QUIT",
];

/// Says all of it and gives the answers, of which only the first line has words that a server chooses.
fn play(port: u16, script: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut client = Dialogue::connect(port);
    let answers = script.iter().map(|said| ((*said).to_owned(), plain(said, client.ask(said)))).collect();
    // A message that begins with a dot is sent with that dot alone, so the answers are counted wrongly from there on, and
    // the one to QUIT, with which the deletions are done, comes after the last that was asked for.
    client.rest();
    answers
}

fn plain(said: &str, mut answer: Vec<String>) -> Vec<String> {
    let told = said == "STAT" || said.starts_with("UIDL ") || said.starts_with("LIST ");
    if !told || answer[0].starts_with("-ERR") {
        let code =
            answer[0].split_once(" [").and_then(|(_, rest)| rest.split_once(']')).map(|(code, _)| format!(" [{code}]"));
        answer[0] = answer[0].split(' ').next().unwrap_or_default().to_owned() + &code.unwrap_or_default();
    }
    if said.starts_with("UIDL") {
        // The other half is the UIDVALIDITY.
        answer.iter_mut().filter(|line| line.len() > 16).for_each(|line| line.truncate(line.len() - 8));
    }
    answer
}

#[test]
fn the_same_dialogue_gives_the_same_answers_as_dovecot() {
    let dovecot = Dovecot::with(&Settings { pop3: true, ..Settings::default() });
    let ours = Server::start(server::Profile::full());
    let pop3 = ours.pop3(Profile::full());
    ours.account("ann");
    for mail in MAIL {
        dovecot.deliver("ann", "INBOX", mail.as_bytes());
        ours.deliver("ann", "INBOX", mail, &[]);
    }
    let (here, there) = (play(pop3.port(), &SCRIPT), play(dovecot.pop3_port, &SCRIPT));
    for (ours, theirs) in here.iter().zip(&there) {
        assert_eq!(ours, theirs, "ours, then Dovecot's");
    }
    // One is gone by the QUIT.
    let after = ["USER ann", "PASS testpass", "STAT", "UIDL", "QUIT"];
    assert_eq!(play(pop3.port(), &after), play(dovecot.pop3_port, &after));
    let capa = |port: u16| Dialogue::login(port, "ann").ask("CAPA");
    let theirs = capa(dovecot.pop3_port);
    for line in capa(pop3.port()) {
        let known = theirs.iter().any(|their| their.starts_with(&line));
        assert!(known, "{line} is not among {theirs:?}");
    }
}
