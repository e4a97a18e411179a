//! A real Dovecot serves the Maildir that mailtwin keeps: both see the same mailboxes and the same mail, whoever changes them.

use crate::scenarios::Host as _;
use crate::scenarios::dovecot::Client;
use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use std::process::Command;

/// The account on the server, and the one whose Maildir is the twin.
const THERE: &str = "there";
const HERE: &str = "here";

fn run(configuration: &Path) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_mailtwin"))
        .arg("--config")
        .arg(configuration)
        .arg("sync")
        .env_clear()
        .env("HOME", configuration.parent().expect("a directory"))
        .env("SSL_CERT_FILE", "/dev/null")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(0), "{:?}: {said}", ran.status);
    said
}

/// Makes everything beneath belong to this user: Dovecot runs as another one than the tests do.
fn give(path: &Path, (uid, gid): (u32, u32)) {
    lchown(path, Some(uid), Some(gid)).expect("the owner can be changed");
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).expect("listed").flatten().for_each(|entry| give(&entry.path(), (uid, gid)));
    }
}

/// The flags and the text of a message.
type Message = (Vec<String>, Vec<u8>);

/// Every mailbox with its messages.
fn seen(dovecot: &Dovecot, user: &str) -> BTreeMap<String, Vec<Message>> {
    let mut all = BTreeMap::new();
    for (mailbox, messages) in Client::login(dovecot, user).list() {
        let message = |(_, flags, bytes): (u32, Vec<String>, Vec<u8>)| {
            let mut flags: Vec<String> = flags.into_iter().filter(|flag| flag != "\\Recent").collect();
            flags.sort();
            (flags, bytes)
        };
        let mut messages: Vec<_> = messages.into_iter().map(message).collect();
        messages.sort();
        all.insert(mailbox, messages);
    }
    all
}

fn message(n: u32) -> String {
    format!("Message-ID: <{n}@example.org>\r\nSubject: {n}\r\n\r\nthe text of {n}\r\n")
}

#[test]
fn a_dovecot_that_serves_the_same_maildir_sees_the_same_mailboxes_and_mail() {
    let extra = "mail_location = maildir:~/Maildir:UTF-8\n".to_owned();
    let dovecot = Dovecot::with(&Settings { special_use: vec![], extra, ..Settings::default() });
    let mut there = Client::login(&dovecot, THERE);
    for (n, mailbox) in ["INBOX", "Lists/rust", "Lists", "Entw&APw-rfe", "Sent Items"].into_iter().enumerate() {
        if mailbox != "INBOX" {
            there.create(mailbox);
        }
        there.ask(&format!("SELECT \"{mailbox}\""));
        for n in [2 * n, 2 * n + 1] {
            let text = message(u32::try_from(n).expect("small"));
            there.ask(&format!("APPEND \"{mailbox}\" (\\Seen) {{{}+}}\r\n{text}", text.len()));
        }
    }
    let stage = tempfile::tempdir().expect("a directory");
    let (configuration, maildir) = (stage.path().join("daemon.toml"), dovecot.user_maildir(HERE));
    let home = maildir.parent().expect("a home");
    std::fs::create_dir_all(home).expect("made");
    let text = format!(
        "state-dir = {:?}\n[account.work]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"{THERE}\"\n\
         password = \"{PASSWORD}\"\nmaildir = {maildir:?}\nlayout = \"maildir++\"\n",
        stage.path().join("state"),
        dovecot.imap_port,
    );
    std::fs::write(&configuration, text).expect("written");
    std::fs::set_permissions(&configuration, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
    let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let theirs = dovecot.user_maildir(THERE).metadata().map(|m| (m.uid(), m.gid())).expect("it is there");

    run(&configuration);
    for marker in ["mailtwin-root", "mailtwin-folder", ".Lists.rust/mailtwin-folder", ".Entwürfe/mailtwin-folder"] {
        assert!(maildir.join(marker).is_file(), "{marker}");
    }
    give(home, theirs);
    let expected = seen(&dovecot, THERE);
    assert_eq!(expected.values().map(Vec::len).collect::<Vec<_>>(), [2; 5], "{expected:?}");
    assert_eq!(seen(&dovecot, HERE), expected);

    // Whoever reads here by IMAP makes, renames and marks: it comes to the server, and nothing is sent twice.
    let mut here = Client::login(&dovecot, HERE);
    here.ask("RENAME \"Sent Items\" Sent");
    here.ask("CREATE Lists/new");
    here.ask("SELECT Lists/rust");
    here.ask("STORE 1 +FLAGS (\\Flagged)");
    here.ask("LOGOUT");
    give(home, us);
    let said = run(&configuration);
    assert!(!said.contains("fetched") && !said.contains("uploaded"), "{said}");
    give(home, theirs);
    let after = seen(&dovecot, THERE);
    assert_eq!(after, seen(&dovecot, HERE));
    assert!(after.contains_key("Lists/new") && !after.contains_key("Sent Items"), "{after:?}");
    assert_eq!(after["Sent"], expected["Sent Items"]);

    // And the other way.
    there.ask("RENAME Lists Groups");
    there.ask("LOGOUT");
    give(home, us);
    let said = run(&configuration);
    assert!(!said.contains("fetched") && !said.contains("uploaded"), "{said}");
    give(home, theirs);
    assert_eq!(seen(&dovecot, HERE), seen(&dovecot, THERE));
    assert!(maildir.join(".Groups.rust/cur").is_dir() && !maildir.join(".Lists.rust").exists());
}
