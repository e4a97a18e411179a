//! A server with labels, as Gmail is one: what goes over the wire, and what lies on the disk.

use crate::support::server::{PASSWORD, Profile, Server};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

const USER: &str = "ann";

fn run(home: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
    let ran = command.arg("--config").arg(home.join("daemon.toml")).args(words).env("SSL_CERT_FILE", "/dev/null");
    let ran = ran.output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

fn configure(home: &Path, server: &Server, lines: &str) {
    let text = format!(
        "state-dir = {:?}\n[account.work]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = {USER:?}\n\
         password = {PASSWORD:?}\nmaildir = {:?}\n{lines}\n",
        home.join("state"),
        server.port(),
        home.join("mail"),
    );
    std::fs::write(home.join("daemon.toml"), text).expect("written");
    std::fs::set_permissions(home.join("daemon.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("private");
}

/// The inodes of a mailbox's files, by their text.
fn inodes(home: &Path, mailbox: &str) -> BTreeMap<String, u64> {
    let parts = ["new", "cur"].map(|part| home.join("mail").join(mailbox).join(part));
    let files = parts.iter().flat_map(|part| std::fs::read_dir(part).into_iter().flatten().flatten());
    files
        .map(|file| {
            let text = std::fs::read_to_string(file.path()).expect("readable");
            (text, file.metadata().expect("it is there").ino())
        })
        .collect()
}

fn gmail() -> Server {
    let server = Server::start(Profile::gmail());
    server.account(USER);
    server.create_with_role(USER, "[Gmail]/All Mail", "\\All");
    server.create_with_role(USER, "[Gmail]/Important", "\\Important");
    server.create_with_role(USER, "[Gmail]/Bin", "\\Trash");
    server.create(USER, "Work");
    for (text, mailboxes) in [("one", &["INBOX", "Work"][..]), ("two", &["Work"]), ("three", &["INBOX"])] {
        for mailbox in mailboxes.iter().chain(&["[Gmail]/All Mail"]) {
            server.deliver(USER, mailbox, format!("Message-ID: <{text}@example.org>\r\n\r\n{text}\r\n"), &[]);
        }
    }
    server
}

#[test]
fn a_body_with_several_labels_is_fetched_once_and_lies_there_once() {
    let (server, home) = (gmail(), tempfile::tempdir().expect("a directory"));
    configure(home.path(), &server, "");
    run(home.path(), &["sync"]);
    let (inbox, work) = (inodes(home.path(), "INBOX"), inodes(home.path(), "Work"));
    assert_eq!((inbox.len(), work.len()), (2, 2));
    let shared: Vec<&String> =
        inbox.iter().filter(|(text, ino)| work.get(*text) == Some(ino)).map(|(t, _)| t).collect();
    assert!(shared.len() == 1 && shared[0].ends_with("one\n"), "{shared:?}");
    let asked: Vec<String> = server.commands().into_iter().filter(|text| text.contains("BODY.PEEK[]")).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].starts_with("UID FETCH 2 "), "the other message of Work alone: {asked:?}");
    assert!(!home.path().join("mail/[Gmail]/All Mail").exists());

    // They are messages of their own: flags of the one are not those of the other.
    server.store(USER, "Work", &[1], crate::support::server::StoreMode::Add, &["\\Flagged"]);
    run(home.path(), &["sync"]);
    assert!(home.path().join("mail/Work/cur").read_dir().expect("listed").count() == 1);
    assert!(home.path().join("mail/INBOX/cur").read_dir().expect("listed").count() == 0);
}

#[test]
fn what_shows_all_mail_is_mirrored_where_the_configuration_names_it() {
    let (server, home) = (gmail(), tempfile::tempdir().expect("a directory"));
    configure(home.path(), &server, "mailboxes = [\"*\", \"[Gmail]/All Mail\"]");
    run(home.path(), &["sync"]);
    assert_eq!(inodes(home.path(), "[Gmail]/All Mail").len(), 3);
    assert!(!home.path().join("mail/[Gmail]/Important").exists());
}

#[test]
fn status_check_and_folders_tell_of_it() {
    let (server, home) = (gmail(), tempfile::tempdir().expect("a directory"));
    configure(home.path(), &server, "");
    run(home.path(), &["sync"]);
    for words in [&["status"][..], &["check"]] {
        let told = run(home.path(), words);
        assert!(told.contains("Gmail: each label is a mailbox"), "{words:?}: {told}");
    }
    let folders = run(home.path(), &["folders", "work", "--json"]);
    let folders: serde_json::Value = serde_json::from_str(&folders).expect("JSON");
    let state = |name: &str| {
        let folders = folders["folders"].as_array().expect("a list");
        folders.iter().find(|folder| folder["mailbox"] == name).map(|folder| folder["state"].clone())
    };
    assert_eq!(state("[Gmail]/All Mail").expect("listed"), "unwanted");
    assert_eq!(state("Work").expect("listed"), "mirrored");
}

#[test]
fn labels_are_mailboxes_like_any_other_where_the_owner_says_so() {
    let (server, home) = (gmail(), tempfile::tempdir().expect("a directory"));
    configure(home.path(), &server, "quirks = { labels = false }");
    run(home.path(), &["sync"]);
    assert_eq!(inodes(home.path(), "[Gmail]/All Mail").len() + inodes(home.path(), "All Mail").len(), 3);
    assert!(run(home.path(), &["status"]).contains("`quirks` says that labels are mailboxes like any other"));
}
