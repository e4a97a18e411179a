//! Keywords with the real programs: a Dovecot as the server, another Dovecot that serves our Maildir, and notmuch.

#![cfg(feature = "steps")]

use crate::scenarios::dovecot::{Client, start};
use crate::scenarios::stage::{Ran, Stage};
use crate::scenarios::{Host as _, tree};
use crate::support::dovecot::{Dovecot, PASSWORD, Settings, apt_get, give_away_all};
use crate::support::server::{self, Server, StoreMode};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The flags of every message, with `$Forwarded` and keywords only.
fn keywords(client: &mut Client<'_>) -> Vec<BTreeSet<String>> {
    client.ask("SELECT INBOX");
    let mut found = Vec::new();
    for (line, _) in client.ask("UID FETCH 1:* (FLAGS)") {
        let Some((_, flags)) = line.split_once("FLAGS (") else { continue };
        if line.contains(" FETCH (") {
            let words = flags.split(')').next().unwrap_or_default().split(' ');
            found.push(words.filter(|word| !word.is_empty() && !word.starts_with('\\')).map(str::to_owned).collect());
        }
    }
    found
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A stage whose INBOX another Dovecot serves as its own.
struct Shared {
    stage: Stage,
    reader: Dovecot,
}

impl Shared {
    fn new(dovecot: &Dovecot, user: &str) -> Self {
        let stage = Stage::new(dovecot.imap_port, user, PASSWORD, "");
        let inbox = stage.maildir().join("INBOX");
        let extra = format!("mail_location = maildir:{}\n", inbox.display());
        let reader = Dovecot::with(&Settings { special_use: vec![], extra, ..Settings::default() });
        Self { stage, reader }
    }

    fn sync(&self) -> Ran {
        let ran = self.stage.run("sync", None);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        // The reader is another user where the tests run as root; only the root has to be ours.
        let maildir = self.stage.maildir();
        for place in [maildir.parent().expect("a directory"), &maildir] {
            fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        give_away_all(&maildir.join("INBOX"));
        ran
    }

    fn table(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.maildir().join("INBOX/dovecot-keywords")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_dovecot_that_serves_the_same_maildir_shows_and_sets_the_same_keywords() {
    let dovecot = start();
    let mut server = Client::login(&dovecot, "shared");
    for name in ["a", "b"] {
        let body = String::from_utf8(tree::body(name)).expect("text").replace('\n', "\r\n");
        server.deliver("INBOX", body.as_bytes(), &[]);
    }
    server.ask("SELECT INBOX");
    server.ask("UID STORE 1 +FLAGS (Work $Forwarded \\Seen)");
    let shared = Shared::new(&dovecot, "shared");
    shared.sync();

    let mut reader = Client::login(&shared.reader, "anybody");
    assert_eq!(keywords(&mut reader), [words(&["$Forwarded", "Work"]), words(&[])]);
    // What is set through it reaches the server, and what is cleared too.
    reader.ask("UID STORE 1 -FLAGS (Work)");
    reader.ask("UID STORE 2 +FLAGS (later WORK)");
    shared.sync();
    assert_eq!(keywords(&mut server), [words(&["$Forwarded"]), words(&["Work", "later"])]);
    // A keyword that is new on the server is seen by a Dovecot that has been running all the time.
    server.ask("UID STORE 1 +FLAGS (third)");
    shared.sync();
    assert_eq!(keywords(&mut reader), [words(&["$Forwarded", "third"]), words(&["Work", "later"])]);
    // Its letter and the `P` go together.
    server.ask("UID STORE 1 -FLAGS ($Forwarded)");
    shared.sync();
    assert_eq!(keywords(&mut reader), [words(&["third"]), words(&["Work", "later"])]);
    assert!(letters(&shared.stage.maildir()).iter().all(|letters| !letters.contains('P')));

    // More than there are letters: the rest lives in the state alone.
    let many: Vec<String> = (0..30).map(|number| format!("k{number:02}")).collect();
    server.ask(&format!("UID STORE 2 +FLAGS ({})", many.join(" ")));
    shared.sync();
    assert_eq!(shared.table().len(), 26, "{:?}", shared.table());
    let shown = keywords(&mut reader).remove(1);
    let lettered: Vec<&String> = many.iter().filter(|word| shown.contains(*word)).collect();
    assert_eq!((lettered.len(), shown.len()), (22, 24));
    let steps = shared.sync().steps;
    let written: Vec<&String> = steps.iter().filter(|site| !site.starts_with("imap.")).collect();
    assert!(written.is_empty(), "keywords without a letter are no reason to do something: {written:?}");
    reader.ask(&format!("UID STORE 2 -FLAGS ({})", lettered[0]));
    reader.ask("UID STORE 2 +FLAGS (\\Flagged)");
    shared.sync();
    let expected: BTreeSet<String> =
        many.iter().filter(|word| *word != lettered[0]).cloned().chain(words(&["Work", "later"])).collect();
    assert_eq!(keywords(&mut server).remove(1), expected);
}

#[test]
fn notmuch_accepts_every_name_with_letters_and_flags_go_both_ways() {
    if !Path::new("/usr/bin/notmuch").exists() {
        apt_get(&["update"]);
        apt_get(&["install", "-y", "--no-install-recommends", "notmuch"]);
    }
    let server = Server::start(server::Profile::full());
    server.account("ann");
    let stage = Stage::new(server.port(), "ann", server::PASSWORD, "");
    let many: Vec<String> = (0..26).map(|number| format!("k{number}")).collect();
    let all: Vec<&str> = many.iter().map(String::as_str).collect();
    for (name, flags) in [
        ("a", &["work", "\\Seen"][..]),
        ("b", &["$Forwarded", "later", "\\Answered"]),
        ("c", &[]),
        ("d", &all),
        ("e", &["\\Flagged", "\\Draft", "\\Deleted", "\\Seen", "\\Answered", "$Forwarded", "work"]),
    ] {
        let body = String::from_utf8(tree::body(name)).expect("text").replace('\n', "\r\n");
        server.deliver("ann", "INBOX", body.as_bytes(), flags);
    }
    assert_eq!(stage.run("sync", None).code, Some(0));
    let settings = stage.maildir().with_file_name("notmuch.conf");
    let text = format!(
        "[database]\npath={}\n[new]\nignore=mailtwin-root;mailtwin-folder;dovecot-keywords\n\
         [maildir]\nsynchronize_flags=true\n[user]\nname=me\nprimary_email=me@example.org\n",
        stage.maildir().display()
    );
    fs::write(&settings, text).expect("written");
    let notmuch = |words: &str| {
        let mut command = Command::new("notmuch");
        command.env("NOTMUCH_CONFIG", &settings).args(words.split(' '));
        let output = command.output().expect("notmuch can be installed, and runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words}: {said}");
        said
    };
    let said = notmuch("new");
    assert!(said.contains("Added 5 new messages") && !said.contains("non-mail"), "{said}");
    // Its renames keep the letters that it does not know, and are changed flags to us.
    let before = letters(&stage.maildir());
    notmuch("tag -unread +flagged -- *");
    let after = letters(&stage.maildir());
    assert_eq!(before.len(), 5);
    assert!(after.iter().all(|letters| letters.contains('F') && letters.contains('S')), "{after:?}");
    let lower = |all: &[String]| {
        let mut kept: Vec<String> =
            all.iter().map(|letters| letters.chars().filter(char::is_ascii_lowercase).collect()).collect();
        kept.sort();
        kept
    };
    assert_eq!(lower(&before), lower(&after));
    assert_eq!(stage.run("sync", None).code, Some(0));
    let flags: Vec<String> = server.snapshot("ann").remove("INBOX").expect("there").into_iter().map(|m| m.1).collect();
    assert!(flags.iter().all(|flags| flags.contains("\\Flagged") && flags.contains("\\Seen")), "{flags:?}");
    assert!(flags[0].contains("work") && flags[1].contains("later") && flags[3].contains("k25"), "{flags:?}");
    // And back: what changed on the server is a tag after the next look.
    server.store("ann", "INBOX", &[3], StoreMode::Add, &["\\Answered"]);
    server.store("ann", "INBOX", &[3, 4], StoreMode::Remove, &["\\Flagged", "\\Seen"]);
    assert_eq!(stage.run("sync", None).code, Some(0));
    let before = letters(&stage.maildir());
    let said = notmuch("new");
    assert!(!said.contains("Added") && !said.contains("Removed"), "a rename is no new message: {said}");
    let count = |query: &str| notmuch(&format!("count {query}")).trim().to_owned();
    assert_eq!(["tag:replied", "tag:unread", "tag:flagged"].map(count), ["3", "2", "3"]);
    assert_eq!(letters(&stage.maildir()), before, "reading them, it renames nothing");
}

/// The letters of every message in the INBOX.
fn letters(maildir: &Path) -> Vec<String> {
    let entries = ["new", "cur"].map(|part| fs::read_dir(maildir.join("INBOX").join(part)).expect("there"));
    let names = entries.into_iter().flatten().map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| {
            name.to_string_lossy().split_once(":2,").map_or_else(String::new, |(_, letters)| letters.to_owned())
        })
        .collect()
}

#[test]
fn while_the_table_is_locked_mail_comes_without_letters_and_gets_them_later() {
    let server = Server::start(server::Profile::full());
    server.account("ann");
    let stage = Stage::new(server.port(), "ann", server::PASSWORD, "");
    let body = |name: &str| String::from_utf8(tree::body(name)).expect("text").replace('\n', "\r\n");
    server.deliver("ann", "INBOX", body("a").as_bytes(), &["first"]);
    assert_eq!(stage.run("sync", None).code, Some(0));
    let lock: PathBuf = stage.maildir().join("INBOX/dovecot-uidlist.lock");
    fs::write(&lock, "1:elsewhere").expect("written");
    server.deliver("ann", "INBOX", body("b").as_bytes(), &["first", "second"]);
    server.store("ann", "INBOX", &[1], StoreMode::Add, &["third"]);
    let ran = stage.run("sync", None);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("dovecot-uidlist.lock; the next run tries again"), "{}", ran.said);
    let mut seen = letters(&stage.maildir());
    seen.sort();
    assert_eq!(seen, ["a", "a"]);
    // Somebody else's lock is not touched, and nothing is taken for removed.
    assert!(lock.exists());
    assert_eq!(stage.run("sync", None).code, Some(0));
    let flags = |server: &Server| -> Vec<String> {
        server.snapshot("ann").remove("INBOX").expect("there").into_iter().map(|message| message.1).collect()
    };
    assert_eq!(flags(&server), ["first third", "first second"]);
    fs::remove_file(&lock).expect("removed");
    assert_eq!(stage.run("sync", None).code, Some(0));
    let mut seen = letters(&stage.maildir());
    seen.sort();
    assert!(seen == ["ab", "ac"], "{seen:?}");
    assert_eq!(flags(&server), ["first third", "first second"]);
}

#[test]
fn a_table_that_is_lost_strips_no_keyword_and_is_made_anew() {
    let server = Server::start(server::Profile::full());
    server.account("ann");
    let stage = Stage::new(server.port(), "ann", server::PASSWORD, "");
    for name in ["a", "b"] {
        let body = String::from_utf8(tree::body(name)).expect("text").replace('\n', "\r\n");
        server.deliver("ann", "INBOX", body.as_bytes(), &["work", name]);
    }
    assert_eq!(stage.run("sync", None).code, Some(0));
    fs::remove_file(stage.maildir().join("INBOX/dovecot-keywords")).expect("it is there");
    assert_eq!(stage.run("sync", None).code, Some(0));
    let found = server.snapshot("ann").remove("INBOX").expect("there");
    assert_eq!(found.into_iter().map(|message| message.1).collect::<Vec<_>>(), ["a work", "b work"]);
    // Letters that nobody explains any more are not given to another keyword.
    let text = fs::read_to_string(stage.maildir().join("INBOX/dovecot-keywords")).expect("it is made anew");
    let mut numbers: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["3", "4", "5"], "{text}");
}
