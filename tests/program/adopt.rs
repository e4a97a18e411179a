//! Taking over what others filled, on real servers: Maildirs of mbsync and OfflineIMAP, and two devices that adopt one
//! account at the same time.

use crate::support::dovecot::{Dovecot, PASSWORD};
use crate::support::program::need;
use crate::support::relay::Relay;
use crate::support::server::{Act, Profile, Server, When};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const MBSYNC: &str = "/usr/bin/mbsync";
const OFFLINEIMAP: &str = "/usr/bin/offlineimap";

/// A device: a home with a configuration, a state and a Maildir.
struct Device {
    home: tempfile::TempDir,
}

impl Device {
    fn new(port: u16, user: &str) -> Self {
        let device = Self { home: tempfile::tempdir().expect("a directory") };
        device.write(
            "daemon.toml",
            &format!(
                "state-dir = {:?}\n[account.work]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nuser = {user:?}\n\
                 password = {PASSWORD:?}\nmaildir = {:?}\n",
                device.path("state"),
                device.path("Mail"),
            ),
        );
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).expect("private");
    }

    fn add(&self, mailbox: &str, file: &str, text: &str) {
        let folder = self.path("Mail").join(mailbox);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part)).expect("made");
        }
        fs::write(folder.join(file), text.replace("\r\n", "\n")).expect("written");
    }

    fn start(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("--config").arg(self.path("daemon.toml")).args(words);
        command.env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }

    /// Runs `mailtwin sync` to its end, which has to be good, and gives what it said.
    #[track_caller]
    fn sync(&self) -> String {
        finish(self.start(&["sync"]))
    }

    fn run(&self, program: &str, words: &str) {
        let mut command = Command::new(program);
        command.args(words.split(' ')).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        let done = command.output().expect("it starts");
        assert!(done.status.success(), "{program}: {}", said(&done));
    }

    /// The number of messages in each mailbox.
    fn counts(&self) -> BTreeMap<String, usize> {
        let count = |folder: &Path| {
            let files = |part| fs::read_dir(folder.join(part)).map_or(0, Iterator::count);
            files("cur") + files("new")
        };
        ["INBOX", "Work"].map(|name| (name.to_owned(), count(&self.path("Mail").join(name)))).into()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[track_caller]
fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{:?}: {}", output.status, said(&output));
    said(&output)
}

/// A letter as it comes: with a long header, now and then without a Message-ID.
fn letter(n: usize) -> String {
    let id =
        if n.is_multiple_of(10) { String::new() } else { format!("Message-ID: <{n}.abcdef@mail.example.org>\r\n") };
    format!(
        "Received: from a.example.org by b.example.org; Mon, 1 Jan 2024 10:00:00 +0000\r\nFrom: a@example.org\r\n{id}\
         Subject: number {n}\r\n\r\n{}",
        "a line of text\r\n".repeat(n % 40 + 20)
    )
}

/// An account with mail in two mailboxes, some of it twice.
fn account(dovecot: &Dovecot, user: &str) {
    for n in 0..100 {
        dovecot.deliver(user, "INBOX", letter(n).as_bytes());
    }
    for n in [3, 3, 200, 201, 210] {
        dovecot.deliver(user, "Work", letter(n).as_bytes());
    }
}

/// The first sync recognises everything, with little asked and nothing transferred; the second has nothing to do.
fn is_taken_over(device: &Device, relay: &Relay, program: &str, messages: u64) {
    let foretold = finish(device.start(&["sync", "--dry-run"]));
    let words = format!("work: {messages} messages on both sides already would be recognised");
    assert!(foretold.contains(&words) && !foretold.contains("nothing to do"), "{foretold}");
    let (before, down, up) = (device.counts(), relay.octets_down(), relay.said().len());
    let told = device.sync();
    assert!(told.contains(&format!("{messages} recognised\n")), "{told}");
    assert!(told.contains(&format!("was kept by {program}, which must not run on it any more")), "{told}");
    let commands = relay.said()[up..].to_owned();
    for verb in ["BODY.PEEK[]", " APPEND ", "EXPUNGE", " MOVE ", " COPY "] {
        assert!(!commands.contains(verb), "{verb}: {commands}");
    }
    let (down, up) = ((relay.octets_down() - down) / messages, commands.len() as u64 / messages);
    assert!(down <= 300 && up <= 300, "{down} octets a message came, {up} were sent");
    assert_eq!(device.counts(), before);
    let told = device.sync();
    assert!(told.contains("nothing to do"), "{told}");
}

#[test]
fn a_maildir_of_mbsync_is_taken_over_without_a_transfer() {
    need(MBSYNC, "isync");
    let dovecot = Dovecot::start();
    account(&dovecot, "ann");
    let relay = Relay::to(dovecot.imap_port);
    let device = Device::new(relay.port, "ann");
    // What mbsync uploads has its field on the server; what it fetches, here.
    for n in 300..310 {
        device.add("INBOX", &format!("cur/{n}.a.host:2,S"), &letter(n));
    }
    let home = device.home.path().display();
    device.write(
        "mbsyncrc",
        &format!(
            "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser ann\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n\
             IMAPStore far\nAccount a\n\nMaildirStore near\nPath {home}/Mail/\nInbox {home}/Mail/INBOX\n\
             SubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX Work\nCreate Near\nSyncState *\n",
            dovecot.imap_port
        ),
    );
    device.run(MBSYNC, "-c mbsyncrc -a");
    assert_eq!(device.counts(), BTreeMap::from([("INBOX".to_owned(), 110), ("Work".to_owned(), 5)]));
    is_taken_over(&device, &relay, "mbsync", 115);
}

#[test]
fn a_maildir_of_offlineimap_is_taken_over_without_a_transfer() {
    need(OFFLINEIMAP, "offlineimap3");
    let dovecot = Dovecot::start();
    account(&dovecot, "bob");
    let relay = Relay::to(dovecot.imap_port);
    let device = Device::new(relay.port, "bob");
    let home = device.home.path().display();
    device.write(
        "offlineimaprc",
        &format!(
            "[general]\naccounts = a\nmetadata = {home}/metadata\n\n[Account a]\nlocalrepository = near\n\
             remoterepository = far\n\n[Repository near]\ntype = Maildir\nlocalfolders = {home}/Mail\n\n\
             [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {}\nremoteuser = bob\n\
             remotepass = {PASSWORD}\nssl = no\nstarttls = no\nauth_mechanisms = LOGIN\n\
             folderfilter = lambda name: name in ['INBOX', 'Work']\n",
            dovecot.imap_port
        ),
    );
    device.run(OFFLINEIMAP, "-c offlineimaprc -o -u quiet");
    assert_eq!(device.counts(), BTreeMap::from([("INBOX".to_owned(), 100), ("Work".to_owned(), 5)]));
    is_taken_over(&device, &relay, "OfflineIMAP", 105);
}

/// An account of the test server with the first of `letters` letters.
fn server_with(letters: usize) -> Server {
    let server = Server::start(Profile::full());
    server.account("me");
    for n in 0..letters {
        server.deliver("me", "INBOX", letter(n), &[]);
    }
    server
}

/// A device whose INBOX has so many letters.
fn device_with(server: &Server, letters: usize) -> Device {
    let device = Device::new(server.port(), "me");
    for n in 0..letters {
        device.add("INBOX", &format!("cur/{n}.a.host:2,S"), &letter(n));
    }
    device
}

#[test]
fn two_devices_that_adopt_an_account_at_once_double_nothing() {
    let server = server_with(20);
    let (one, two) = (device_with(&server, 40), device_with(&server, 40));
    // Both have listed before either uploads: the second to ask for Message-IDs waits until the first is done.
    server.rule(When::verb("UID FETCH").containing("MESSAGE-ID").nth(2), Act::Delay(3_000));
    let told: Vec<String> = [one.start(&["sync"]), two.start(&["sync"])].map(finish).into();
    assert!(told.iter().any(|told| told.contains("20 recognised, 20 uploaded")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("40 recognised") && !told.contains("uploaded")), "{told:?}");
    assert_eq!(server.snapshot("me")["INBOX"].len(), 40);
    for device in [&one, &two] {
        let _ = device.sync();
        assert_eq!(device.counts()["INBOX"], 40);
    }
    let mark = server.mark();
    for device in [&one, &two] {
        let told = device.sync();
        assert!(told.contains("nothing to do"), "{told}");
    }
    assert_eq!(server.mutating_commands_since(mark), Vec::<String>::new());
}
