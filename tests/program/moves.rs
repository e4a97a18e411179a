//! Moves and copies on a real Dovecot, with bodies of a megabyte and through a relay that counts: nothing is sent twice
//! that the other side has. And the real NeoMutt, which moves by writing a new file and deleting the old one.

#![cfg(feature = "steps")]
// What went over the wire is meant to be read.
#![allow(clippy::print_stdout)]

use crate::scenarios::Stage;
use crate::scenarios::dovecot::{Client, wait_until_alone};
use crate::scenarios::stage::Ran;
use crate::support::dovecot::{Dovecot, PASSWORD};
use crate::support::relay::Relay;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// A message each way may cost so many octets.
const ALLOWED: usize = 2048;

/// An account with mail in INBOX and an empty Archive, mirrored.
struct Account<'d> {
    dovecot: &'d Dovecot,
    user: &'static str,
    relay: Relay,
    stage: Stage,
    count: usize,
}

impl<'d> Account<'d> {
    fn new(dovecot: &'d Dovecot, user: &'static str, count: usize, size: usize) -> Self {
        let relay = Relay::to(dovecot.imap_port);
        let stage = Stage::new(relay.port, user, PASSWORD, "");
        for n in 0..count {
            let line = format!("line of message {n}, of sixty-four octets in all, CRLF included. \r\n");
            let head = format!(
                "From: ada@example.org\r\nTo: me@example.org\r\nSubject: message {n}\r\nDate: Tue, 14 Nov 2023 22:13:20 \
                 +0000\r\nMessage-ID: <m{n}@example.org>\r\n\r\n"
            );
            dovecot.deliver(user, "INBOX", (head + &line.repeat(size / line.len())).as_bytes());
        }
        let account = Self { dovecot, user, relay, stage, count };
        account.client().ask("CREATE Archive");
        account.sync();
        account.relay.take();
        assert_eq!(account.files("INBOX").len(), count);
        account
    }

    fn client(&self) -> Client<'d> {
        Client::login(self.dovecot, self.user)
    }

    fn folder(&self, mailbox: &str) -> PathBuf {
        self.stage.maildir().join(mailbox)
    }

    /// The files of a mailbox by their names, with their inodes.
    fn files(&self, mailbox: &str) -> BTreeMap<PathBuf, u64> {
        let parts = ["new", "cur"].map(|part| self.folder(mailbox).join(part));
        let entries = parts.iter().flat_map(|part| fs::read_dir(part).expect("a directory").flatten());
        entries.map(|e| (e.path(), e.metadata().expect("it is there").ino())).collect()
    }

    /// How many messages the server has in a mailbox.
    fn there(&self, mailbox: &str) -> usize {
        let status = self.client().ask(&format!("STATUS {mailbox} (MESSAGES)"));
        let number = status[0].0.rsplit("MESSAGES ").next().and_then(|rest| rest.trim_end_matches(')').parse().ok());
        number.expect("a number")
    }

    fn sync(&self) -> Ran {
        let ran = self.stage.run("sync", None);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        wait_until_alone(self.dovecot, self.user);
        ran
    }

    /// Checks what a run said to the server, and that the next one has nothing to do.
    fn cost_little(&self, what: &str, ran: &Ran, verb: &str) {
        let (said, told) = self.relay.take();
        let (up, down) = (said.len(), told.len());
        println!("{what}: {} messages, {up} octets up, {down} down", self.count);
        assert!(said.contains(verb), "{what}: {said}");
        assert!(!said.contains("APPEND") && !said.contains("BODY.PEEK[]"), "{what}: {said}");
        assert!(up.max(down) < ALLOWED * self.count, "{what}: {up} up, {down} down");
        let stored = ran.steps.iter().filter(|site| *site == "maildir.publish" || *site == "maildir.retention").count();
        assert_eq!(stored, 0, "{what}");
        let ran = self.sync();
        let (said, ..) = self.relay.take();
        let commits: Vec<_> = ran.steps.iter().filter(|site| site.starts_with("store.")).collect();
        assert!(commits.is_empty(), "{what}, and once more: {commits:?}\n{said}");
    }
}

fn base(path: &Path) -> String {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    name.split(":2,").next().unwrap_or_default().to_owned()
}

#[test]
fn a_move_costs_no_body_whichever_way_it_was_made() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "mover", 12, 1 << 20);

    // As readers do that keep the base name.
    for file in account.files("INBOX").into_keys() {
        let name = format!("{}:2,S", base(&file));
        fs::rename(file, account.folder("Archive").join("cur").join(name)).expect("moved");
    }
    account.cost_little("moved here, same name", &account.sync(), "UID MOVE");
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [0, 12, 0]);

    // As those that give a new one.
    for (n, file) in account.files("Archive").into_keys().enumerate() {
        fs::rename(file, account.folder("INBOX").join("cur").join(format!("1700000001.{n}.reader:2,S")))
            .expect("moved");
    }
    account.cost_little("moved here, new name", &account.sync(), "UID MOVE");
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [12, 0, 0]);

    // A new name where it lies is nothing to the server.
    for (n, file) in account.files("INBOX").into_keys().enumerate() {
        fs::rename(file, account.folder("INBOX").join("cur").join(format!("1700000002.{n}.reader:2,S")))
            .expect("moved");
    }
    account.sync();
    let (said, ..) = account.relay.take();
    assert!(!["UID MOVE", "UID COPY", "APPEND", "UID STORE", "BODY"].iter().any(|verb| said.contains(verb)), "{said}");

    // On the server: the files keep their names and their inodes.
    let before: BTreeSet<(String, u64)> =
        account.files("INBOX").into_iter().map(|(path, inode)| (base(&path), inode)).collect();
    let mut client = account.client();
    client.ask("SELECT INBOX");
    client.ask("UID MOVE 1:* Archive");
    drop(client);
    account.cost_little("moved there", &account.sync(), "HEADER.FIELDS");
    let after = account.files("Archive").into_iter().map(|(path, inode)| (base(&path), inode)).collect();
    assert_eq!(before, after);
    assert!(account.files("INBOX").is_empty());

    // Copies: a file of its own, and a hard link.
    for (n, file) in account.files("Archive").into_keys().enumerate() {
        let copy = account.folder("INBOX").join("cur").join(format!("1700000003.{n}.reader:2,S"));
        if n % 2 == 0 { fs::copy(&file, &copy).map(drop) } else { fs::hard_link(&file, &copy) }.expect("copied");
    }
    account.cost_little("copied here", &account.sync(), "UID COPY");
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [12, 12, 0]);
}

#[test]
fn what_the_server_knows_by_its_guid_is_renamed_here_whatever_became_of_its_date() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "guid", 3, 10_000);
    // There and back: what the server calls a message goes along with the move.
    for (from, to) in [("INBOX", "Archive"), ("Archive", "INBOX")] {
        for file in account.files(from).into_keys() {
            fs::File::open(file).expect("there").set_modified(SystemTime::now()).expect("touched");
        }
        let before: BTreeSet<u64> = account.files(from).into_values().collect();
        let mut client = account.client();
        client.ask(&format!("SELECT {from}"));
        client.ask(&format!("UID MOVE 1:* {to}"));
        drop(client);
        account.cost_little(&format!("moved there, from {from}"), &account.sync(), "X-GUID");
        assert_eq!(account.files(to).into_values().collect::<BTreeSet<u64>>(), before);
    }
}

#[test]
fn a_rewritten_copy_whose_original_is_deleted_a_moment_later_is_one_move() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "saver", 3, 1 << 20);
    let originals: Vec<PathBuf> = account.files("INBOX").into_keys().collect();
    for (n, file) in originals.iter().enumerate() {
        let text = String::from_utf8(fs::read(file).expect("readable")).expect("text");
        let text = text.replacen("\n\n", "\nStatus: RO\nContent-Length: 1048576\n\n", 1);
        fs::write(account.folder("Archive").join("cur").join(format!("1700000001.R{n}.reader:2,S")), text)
            .expect("saved");
    }
    // The clock as it is: the copies are young.
    account.stage.backdate();
    let mut command = account.stage.command("sync");
    command.env("MAILTWIN_CLOCK_AHEAD", "0");
    let child = command.spawn().expect("it starts");
    std::thread::sleep(Duration::from_secs(3));
    originals.iter().for_each(|file| fs::remove_file(file).expect("removed"));
    let ran = account.stage.end(child);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("looking again in"), "{}", ran.said);
    wait_until_alone(&dovecot, "saver");
    let (said, ..) = account.relay.take();
    assert!(said.contains("UID MOVE") && !said.contains("UID COPY") && !said.contains("APPEND"), "{said}");
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [0, 3, 0]);
}

#[test]
fn a_part_of_an_account_is_enough_to_see_a_move() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "part", 2, 1000);
    let files: Vec<PathBuf> = account.files("INBOX").into_keys().collect();
    fs::create_dir_all(account.folder("Elsewhere").join("cur")).expect("made");
    fs::create_dir_all(account.folder("Elsewhere").join("new")).expect("made");
    fs::create_dir_all(account.folder("Elsewhere").join("tmp")).expect("made");
    for (file, to) in files.iter().zip(["Archive", "Elsewhere"]) {
        fs::rename(file, account.folder(to).join("cur").join(format!("{}:2,", base(file)))).expect("moved");
    }
    // What nobody asked for stays as it is.
    fs::write(account.folder("Archive/cur/1700000009.x.reader:2,"), "Subject: later\n\nx\n").expect("written");
    let ran = account.stage.run("sync work/INBOX", None);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    wait_until_alone(&dovecot, "part");
    let (said, ..) = account.relay.take();
    assert!(said.contains("UID MOVE") && !said.contains("APPEND Trash"), "{said}");
    assert_eq!([account.there("INBOX"), account.there("Elsewhere"), account.there("Trash")], [0, 1, 0]);
    account.sync();
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [0, 2, 0]);

    // On the server, and asked for the mailbox that it left.
    let mut client = account.client();
    client.ask("SELECT Elsewhere");
    client.ask("UID MOVE 1:* INBOX");
    drop(client);
    let before: Vec<u64> = account.files("Elsewhere").into_values().collect();
    let ran = account.stage.run("sync work/Elsewhere", None);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(account.files("INBOX").into_values().collect::<Vec<_>>(), before);
}

/// Lets NeoMutt do something in a terminal of its own.
fn neomutt(account: &Account<'_>, keys: &str) {
    let home = account.stage.maildir().parent().expect("it lies in a directory").to_owned();
    let folder = account.stage.maildir();
    let settings = format!(
        "set folder=\"{0}\"\nset mbox_type=Maildir\nset spoolfile=+INBOX\nset sort=subject\nset delete=yes\nset quit=yes\n\
         set confirmappend=no\nset move=no\nmailboxes +INBOX +Archive\npush \"{keys}\"\n",
        folder.display()
    );
    fs::write(home.join("muttrc"), settings).expect("written");
    let line = format!("neomutt -n -F {}", home.join("muttrc").display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("HOME", &home).env("LC_ALL", "C.UTF-8");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("script(1) is there");
    for _ in 0..400 {
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert!(status.success(), "NeoMutt failed: {status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("NeoMutt waits for something");
}

/// Installs NeoMutt where it is missing (Debian).
fn install() {
    let there = || Path::new("/usr/bin/neomutt").exists();
    if there() {
        return;
    }
    let told = [&["update"][..], &["install", "-y", "--no-install-recommends", "neomutt"]]
        .map(crate::support::dovecot::apt_get);
    assert!(there(), "this test needs NeoMutt: run `apt-get install neomutt` as root, then try again\n{told:?}");
}

#[test]
fn what_neomutt_saves_to_another_mailbox_is_moved_there() {
    install();
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "neomutt", 4, 100_000);
    neomutt(&account, "<save-message><kill-line>=Archive<enter><save-message><kill-line>=Archive<enter><quit>");
    let (inbox, archive) = (account.files("INBOX"), account.files("Archive"));
    assert_eq!((inbox.len(), archive.len()), (2, 2), "{archive:?}");
    let saved = fs::read_to_string(archive.keys().next().expect("two")).expect("text");
    assert!(saved.contains("Content-Length:"), "NeoMutt writes no header of its own any more: {saved}");
    let ran = account.sync();
    let (said, told) = account.relay.take();
    println!("saved by NeoMutt: 2 messages, {} octets up, {} down", said.len(), told.len());
    assert!(said.contains("UID MOVE") && !said.contains("APPEND"), "{said}\n{}", ran.said);
    assert_eq!([account.there("INBOX"), account.there("Archive"), account.there("Trash")], [2, 2, 0]);
}

#[test]
fn what_neomutt_reads_flags_and_deletes_is_read_flagged_and_in_the_trash_there() {
    install();
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot, "reader", 4, 1_000);
    let keys = "<first-entry><display-message><exit><next-entry><flag-message><first-entry><next-entry><next-entry>\
                <delete-message><quit>";
    neomutt(&account, keys);
    assert_eq!(account.files("INBOX").len(), 3);
    account.sync();
    let mut client = account.client();
    client.ask("SELECT INBOX");
    for (criterion, found) in
        [("SEEN SUBJECT \"message 0\"", 1), ("FLAGGED", 1), ("FLAGGED SUBJECT \"message 1\"", 1), ("ALL", 3)]
    {
        let answer = client.ask(&format!("SEARCH {criterion}"));
        let numbers = answer.iter().find_map(|(line, _)| line.strip_prefix("* SEARCH")).unwrap_or_default();
        assert_eq!(numbers.split_whitespace().count(), found, "{criterion}: {numbers}");
    }
    assert_eq!([account.there("INBOX"), account.there("Trash")], [3, 1]);
    assert_eq!(account.files("INBOX").len(), 3);
}
