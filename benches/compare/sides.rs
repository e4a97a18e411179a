//! Both sides of an account, message by message.

use crate::support::dovecot::Dovecot;
use crate::tools::Account;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How often there is a message with this text and these letters.
type Mailbox = BTreeMap<([u8; 32], String), usize>;

/// Every mailbox.
type Side = BTreeMap<String, Mailbox>;

/// Panics unless the server and the Maildir hold the same messages with the same flags.
pub fn compare(account: &Account, dovecot: &Dovecot) {
    let server_root = dovecot.user_maildir(&account.user);
    let mut server = Side::from([("INBOX".to_owned(), read(&server_root))]);
    for name in names(&server_root) {
        if let Some(mailbox) = name.strip_prefix('.') {
            server.insert(mailbox.to_owned(), read(&server_root.join(&name)));
        }
    }
    let here = account.maildir();
    let maildir: Side = names(&here)
        .into_iter()
        .filter(|name| here.join(name).join("cur").is_dir())
        .map(|name| (name.clone(), read(&here.join(&name))))
        .collect();
    for (mailbox, messages) in &server {
        let ours = maildir.get(mailbox);
        let differ = ours != Some(messages);
        assert!(!differ, "{}: {mailbox} is not the same on both sides: {}", account.user, difference(messages, ours));
    }
    assert_eq!(server.keys().collect::<Vec<_>>(), maildir.keys().collect::<Vec<_>>(), "{}", account.user);
}

fn difference(server: &Mailbox, maildir: Option<&Mailbox>) -> String {
    let Some(maildir) = maildir else { return "it is missing here".to_owned() };
    let lacking = |a: &Mailbox, b: &Mailbox| a.iter().filter(|(key, count)| b.get(*key) != Some(count)).count();
    format!("{} only there, {} only here", lacking(server, maildir), lacking(maildir, server))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries.filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok()).collect()
}

fn read(folder: &Path) -> Mailbox {
    let mut found = Mailbox::new();
    for part in ["new", "cur"] {
        for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
            let text = fs::read(entry.path()).expect("a message");
            *found.entry((*blake3::hash(&plain(&text)).as_bytes(), letters.to_owned())).or_default() += 1;
        }
    }
    found
}

/// The text without what a program wrote into it for itself, and without its line ends' kind.
fn plain(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"X-TUID: "));
    let mut plain = Vec::with_capacity(text.len());
    for line in lines {
        plain.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        plain.push(b'\n');
    }
    plain
}
