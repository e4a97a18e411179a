//! A server that is far away, on a real Dovecot behind a link with a round trip: what bulk work does about it.

#![cfg(feature = "steps")]

use crate::scenarios::Stage;
use crate::scenarios::dovecot::wait_until_alone;
use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use crate::support::relay::Relay;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const MESSAGES: usize = 120;
/// What is said can be read on the way.
const READABLE: &str = "disable-extensions = [\"COMPRESS=DEFLATE\"]\n";

fn message(number: usize) -> String {
    let line = "a line that is compressed as text is, and comes back as it was\r\n";
    format!("Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\n{}", line.repeat(100))
}

/// The bodies of all messages in a Maildir, line ends as on the wire.
fn bodies(folder: &Path) -> BTreeSet<String> {
    let files = ["new", "cur"].into_iter().flat_map(|part| fs::read_dir(folder.join(part)).expect("a directory"));
    let read = |path| fs::read_to_string(path).expect("a message").replace("\r\n", "\n").replace('\n', "\r\n");
    files.map(|entry| read(entry.expect("an entry").path())).collect()
}

#[test]
fn much_mail_goes_compressed_both_ways_and_arrives_as_it_was() {
    let dovecot = Dovecot::start();
    let relay = Relay::slow(dovecot.imap_port, Duration::from_millis(5));
    let stage = Stage::new(relay.port, "far", PASSWORD, "");
    let mut all: BTreeSet<String> = (0..MESSAGES).map(message).collect();
    for number in 0..MESSAGES {
        dovecot.deliver("far", "INBOX", message(number).as_bytes());
    }
    let size: usize = all.iter().map(String::len).sum();
    let ran = stage.run("sync", None);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(relay.said().contains("COMPRESS DEFLATE"), "{}", relay.said());
    assert!(relay.octets_down() * 4 < size as u64, "{} octets for {size}", relay.octets_down());
    assert!(bodies(&stage.maildir().join("INBOX")) == all);

    wait_until_alone(&dovecot, "far");
    for number in MESSAGES..2 * MESSAGES {
        let file = stage.maildir().join("INBOX/cur").join(format!("{number}.here:2,S"));
        fs::write(file, message(number).replace("\r\n", "\n")).expect("written");
        all.insert(message(number));
    }
    let before = relay.said().len();
    let ran = stage.run("sync", None);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!((relay.said().len() - before) * 4 < size, "{} octets for {size}", relay.said().len() - before);
    assert!(bodies(&dovecot.user_maildir("far")) == all);
}

#[test]
fn an_owner_may_do_without_compression() {
    let dovecot = Dovecot::start();
    let relay = Relay::slow(dovecot.imap_port, Duration::from_millis(5));
    let stage = Stage::new(relay.port, "plain", PASSWORD, READABLE);
    for number in 0..MESSAGES {
        dovecot.deliver("plain", "INBOX", message(number).as_bytes());
    }
    assert_eq!(stage.run("sync", None).code, Some(0));
    assert!(!relay.said().contains("COMPRESS"));
    assert_eq!(bodies(&stage.maildir().join("INBOX")).len(), MESSAGES);
}

#[test]
fn several_connections_bring_each_message_once_and_a_server_that_allows_one_is_content() {
    let limited = "protocol imap {\n  mail_max_userip_connections = 1\n}\n".to_owned();
    for (extra, allowed) in [(String::new(), 2), (limited, 1)] {
        let dovecot = Dovecot::with(&Settings { extra, ..Settings::default() });
        let relay = Relay::slow(dovecot.imap_port, Duration::from_millis(5));
        let stage = Stage::new(relay.port, "wide", PASSWORD, READABLE);
        let all: BTreeSet<String> = (0..MESSAGES).map(message).collect();
        for number in 0..MESSAGES {
            dovecot.deliver("wide", "INBOX", message(number).as_bytes());
        }
        // A flight has at most two messages then.
        let ran = stage.run("MAILTWIN_GROUP=1 sync", None);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(bodies(&stage.maildir().join("INBOX")) == all, "{allowed}");
        let fetching = relay.connections_saying("BODY.PEEK[]");
        assert!(
            if allowed == 1 { fetching == 1 } else { fetching > 1 && fetching <= allowed },
            "{fetching} of {allowed}"
        );
        wait_until_alone(&dovecot, "wide");
        let before = relay.said().len();
        let ran = stage.run("sync", None);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(!relay.said()[before..].contains("FETCH"), "{}", &relay.said()[before..]);
    }
}
