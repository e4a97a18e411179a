//! Claims that a reviewer put to the whole program, against the server of the tests.

use crate::support::server::{Act, Profile, Server, When};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An account of the program and its server.
struct World {
    home: tempfile::TempDir,
    server: Server,
}

impl World {
    fn new(profile: Profile) -> Self {
        Self::with(profile, "")
    }

    /// The same with more lines of configuration.
    fn with(profile: Profile, more: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let server = Server::start(profile);
        server.account("ann");
        let configuration = format!(
            "[account.work]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"ann\"\npassword = \"{}\"\n\
             maildir = \"{}\"\n{more}",
            server.port(),
            crate::support::server::PASSWORD,
            home.path().join("mail").display(),
        );
        let file = home.path().join("daemon.toml");
        std::fs::write(&file, configuration).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        Self { home, server }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("--config").arg(self.home.path().join("daemon.toml")).args(arguments);
        command.env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command.output().expect("the program runs")
    }

    /// A run of `sync`; its exit code and what it said.
    fn sync(&self) -> (i32, String) {
        let output = self.run(&["sync"]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    fn settled(&self) {
        let (code, text) = self.sync();
        assert_eq!(code, 0, "{text}");
    }

    fn folder(&self, mailbox: &str) -> PathBuf {
        self.home.path().join("mail").join(mailbox)
    }

    /// Every file of a mailbox: its path and text.
    fn files(&self, mailbox: &str) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        for part in ["new", "cur"] {
            let Ok(entries) = std::fs::read_dir(self.folder(mailbox).join(part)) else { continue };
            for entry in entries {
                let path = entry.expect("an entry").path();
                let text = std::fs::read(&path).expect("read");
                files.insert(path, String::from_utf8_lossy(&text).into_owned());
            }
        }
        files
    }

    fn texts_here(&self, mailbox: &str) -> Vec<String> {
        let mut texts: Vec<String> = self.files(mailbox).into_values().collect();
        texts.sort();
        texts
    }

    fn texts_there(&self, mailbox: &str) -> Vec<String> {
        let found = self.server.snapshot("ann").remove(mailbox).unwrap_or_default();
        let mut texts: Vec<String> =
            found.into_iter().map(|(_, _, body)| String::from_utf8_lossy(&body).replace("\r\n", "\n")).collect();
        texts.sort();
        texts
    }

    fn drop_here(&self, mailbox: &str, name: &str, text: &str) {
        write(&self.folder(mailbox).join("cur").join(name), text);
    }

    fn retained(&self) -> usize {
        let area = self.home.path().join(".local/state/mailtwin/retention/work");
        std::fs::read_dir(area).map_or(0, Iterator::count)
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

fn mail(number: usize) -> String {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n")
}

fn lf(text: &str) -> String {
    text.replace("\r\n", "\n")
}

#[test]
fn a_mailbox_numbered_anew_during_its_first_pass_is_noticed() {
    let world = World::new(Profile::full());
    world.server.create("ann", "Work");
    (1..=3).for_each(|n| {
        world.server.deliver("ann", "INBOX", mail(n), &[]);
    });
    world.server.deliver("ann", "Work", mail(9), &[]);
    // INBOX is fetched and settled; the connection breaks before anything is looked at again.
    world.server.rule(When::verb("UID FETCH").mailbox("Work").containing("BODY.PEEK"), Act::Drop);
    let (code, text) = world.sync();
    assert_eq!((code, world.texts_here("INBOX").len()), (75, 3), "{text}");
    world.server.clear_rules();
    // Meanwhile the mailbox is another one: one new message, which has the number of an old one.
    world.server.expunge("ann", "INBOX", &[1, 2, 3]);
    world.server.deliver("ann", "INBOX", mail(4), &[]);
    world.server.bump_uidvalidity("ann", "INBOX");
    let (_, text) = world.sync();
    let here = world.texts_here("INBOX");
    assert!((1..=3).all(|n| here.contains(&lf(&mail(n)))), "nothing may go: {here:?}\n{text}");
}

#[test]
fn an_upload_that_cannot_be_found_again_is_not_sent_again_and_again() {
    let world = World::new(Profile::plain());
    world.settled();
    // CR CR LF counts as one line end in the fingerprint and as three octets on the server.
    world.drop_here("INBOX", "1.a:2,S", "Message-ID: <1@x>\nSubject: 1\n\nbody\r\r\nmore\n");
    (0..3).for_each(|_| drop(world.sync()));
    assert_eq!(world.texts_there("INBOX").len(), 1, "sent once; here {}", world.texts_here("INBOX").len());
    assert_eq!(world.texts_here("INBOX").len(), 1);
}

#[test]
fn a_folder_of_a_user_named_like_junk_is_not_expunged_from() {
    let world = World::new(Profile::plain());
    world.server.create("ann", "Projects");
    world.server.create("ann", "Projects/Trash");
    world.server.create("ann", "Trash");
    world.server.deliver("ann", "Projects/Trash", mail(1), &[]);
    world.settled();
    let file = world.files("Projects/Trash").into_keys().next().expect("fetched");
    std::fs::remove_file(file).expect("removed");
    world.sync();
    world.sync();
    assert_eq!(
        world.texts_there("Trash"),
        [lf(&mail(1))],
        "deleted mail goes to the Trash; kept: {}",
        world.retained()
    );
}

#[test]
fn two_files_of_one_name_do_not_stop_the_account() {
    let world = World::new(Profile::full());
    world.server.create("ann", "Work");
    world.server.deliver("ann", "INBOX", mail(1), &[]);
    world.settled();
    let file = world.files("INBOX").into_keys().next().expect("fetched");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    std::fs::hard_link(&file, world.folder("INBOX").join("cur").join(format!("{name}:2,S"))).expect("linked");
    world.server.store("ann", "INBOX", &[1], crate::support::server::StoreMode::Add, &["\\Seen"]);
    let work = world.server.deliver("ann", "Work", mail(2), &[]);
    world.settled();
    world.server.store("ann", "Work", &[work], crate::support::server::StoreMode::Add, &["\\Flagged"]);
    let (code, text) = world.sync();
    let flagged = world.files("Work").into_keys().any(|path| path.to_string_lossy().ends_with(":2,F"));
    assert!(flagged && code == 0, "{code}: {text}");
}

#[test]
fn messages_rejected_and_restored_are_there_once() {
    let world = World::new(Profile::full());
    (1..=8).for_each(|n| {
        world.server.deliver("ann", "INBOX", mail(n), &[]);
    });
    world.settled();
    let files = world.files("INBOX");
    files.keys().for_each(|path| std::fs::remove_file(path).expect("removed"));
    let (_, text) = world.sync();
    assert_eq!(world.texts_there("INBOX").len(), 8, "held: {text}");
    let rejected = world.run(&["reject", "work"]);
    assert_eq!(rejected.status.code(), Some(0), "{}", String::from_utf8_lossy(&rejected.stderr));
    // And the user brings the files back as well, from a backup.
    files.iter().for_each(|(path, text)| write(path, text));
    world.sync();
    assert_eq!((world.texts_here("INBOX").len(), world.texts_there("INBOX").len()), (8, 8));
}

#[test]
fn a_mailbox_that_was_deleted_and_made_again_is_not_silently_left_out() {
    let world = World::new(Profile::full());
    world.server.create("ann", "Work");
    world.server.deliver("ann", "Work", mail(1), &[]);
    world.settled();
    world.server.delete("ann", "Work");
    world.sync();
    world.server.create("ann", "Work");
    world.server.deliver("ann", "Work", mail(2), &[]);
    let (code, text) = world.sync();
    let arrived = world.texts_here("Work").contains(&lf(&mail(2)));
    assert!(arrived || code != 0, "new mail does not come, and nothing fails: {text}");
}

#[test]
fn a_mailbox_is_known_again_where_its_identifier_is_garbage_beside_counters() {
    let world = World::new(Profile { freed_identities: true, ..Profile::full() });
    world.server.create("ann", "Work");
    world.server.deliver("ann", "Work", mail(1), &[]);
    world.settled();
    world.server.rename("ann", "Work", "Done");
    let mark = world.server.mark();
    let (code, text) = world.sync();
    assert_eq!((code, world.texts_here("Done")), (0, [lf(&mail(1))].into()), "{text}");
    let said = world.server.commands_since(mark);
    assert!(!said.iter().any(|command| command.contains("BODY")), "it is not fetched again: {said:?}");
}

#[test]
fn without_uidplus_many_deletions_are_carried_out() {
    let world = World::with(Profile::plain(), "guard = { deletions = 5000, per-10-minutes = 5000, percent = 100 }\n");
    world.server.create("ann", "Trash");
    (1..=505).for_each(|n| {
        world.server.deliver("ann", "INBOX", mail(n), &[]);
    });
    world.settled();
    for path in world.files("INBOX").into_keys().take(502) {
        std::fs::remove_file(path).expect("removed");
    }
    for _ in 0..3 {
        world.sync();
    }
    let (code, text) = world.sync();
    assert_eq!(world.texts_there("INBOX").len(), 3, "{code}: {text}");
}

#[test]
fn one_message_that_cannot_be_moved_does_not_keep_the_others() {
    let world = World::new(Profile::full());
    world.server.create_with_role("ann", "Trash", "\\Trash");
    (1..=5).for_each(|n| {
        world.server.deliver("ann", "INBOX", mail(n), &[]);
    });
    world.settled();
    for path in world.files("INBOX").into_keys().take(4) {
        std::fs::remove_file(path).expect("removed");
    }
    // A server that moves all or nothing, and cannot move the first.
    let sets = ["UID MOVE 1 ", "UID MOVE 1:", "UID MOVE 1,"];
    for set in sets {
        world.server.rule(When::verb("UID MOVE").containing(set), Act::No("", "it cannot be read"));
    }
    world.sync();
    let moved = world.texts_there("Trash").len();
    assert!(moved >= 3, "{moved} moved");
}

#[test]
fn what_cannot_be_kept_is_not_expunged_and_stops_nobody_else() {
    let world = World::with(Profile::full(), "delete = \"expunge\"\n");
    (1..=4).for_each(|n| {
        world.server.deliver("ann", "INBOX", mail(n), &[]);
    });
    world.settled();
    for path in world.files("INBOX").into_keys().take(3) {
        std::fs::remove_file(path).expect("removed");
    }
    world.server.rule(When::verb("UID FETCH").containing("BODY.PEEK"), Act::RefuseUid(1));
    let (_, text) = world.sync();
    assert!(!text.contains("error:"), "{text}");
    assert!(world.texts_there("INBOX").contains(&lf(&mail(1))), "{text}");
    assert_eq!(world.texts_there("INBOX").len(), 2, "{text}");
    assert_eq!(world.retained(), 2);
}

/// A message is uploaded, the connection breaks before the answer; how often it is there in the end.
fn uploads_of(text: &str) -> (usize, usize) {
    let world = World::new(Profile::full());
    world.settled();
    world.drop_here("INBOX", "1.a:2,S", text);
    world.server.rule(When::verb("APPEND").nth(1), Act::EffectThenDrop);
    (0..3).for_each(|_| drop(world.sync()));
    (world.texts_here("INBOX").len(), world.texts_there("INBOX").len())
}

#[test]
fn an_upload_whose_answer_was_lost_is_found_whatever_its_header_is() {
    for text in [
        "Message-ID: <1@x>\nSubject: 1\nStatus: RO\n\nbody\n",
        "Message-ID: <1@x>\nX-TUID: abcdefghijkl\n folded\n\nno line end",
        "Subject: no body\n",
        "no header at all",
        "\nbody only\n",
        "Subject: crlf\r\n\r\nbody\r\n",
    ] {
        assert_eq!(uploads_of(text), (1, 1), "{text:?}");
    }
}

#[test]
fn an_upload_with_odd_line_ends_whose_answer_was_lost_is_found() {
    assert_eq!(uploads_of("Message-ID: <1@x>\nSubject: 1\n\nbody\r\r\nmore\n"), (1, 1));
}
