//! Mailboxes at rest, with the real program on a real Dovecot: they are not looked at, and whatever stirs on either side is
//! seen all the same.

#![cfg(feature = "steps")]

use crate::scenarios::Stage;
use crate::scenarios::dovecot::{Client, wait_until_alone};
use crate::scenarios::stage::Ran;
use crate::support::dovecot::{Dovecot, PASSWORD};
use crate::support::program::need;
use crate::support::relay::Relay;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const USER: &str = "sleeper";

struct Account<'d> {
    dovecot: &'d Dovecot,
    relay: Relay,
    stage: Stage,
}

impl<'d> Account<'d> {
    /// An account with a message in INBOX and one in Archive, which is at rest.
    fn new(dovecot: &'d Dovecot) -> Self {
        let relay = Relay::to(dovecot.imap_port);
        let stage = Stage::new(relay.port, USER, PASSWORD, "delete = \"expunge\"\n");
        let account = Self { dovecot, relay, stage };
        Client::login(dovecot, USER).ask("CREATE Archive");
        for mailbox in ["INBOX", "Archive"] {
            dovecot.deliver(USER, mailbox, format!("Message-ID: <{mailbox}@x>\r\n\r\nin {mailbox}\r\n").as_bytes());
        }
        account.sync();
        account.rest();
        account
    }

    fn sync(&self) -> Ran {
        // As it is: setting times back, as other tests do, is a change.
        let ran = self.stage.end(self.stage.command("sync").spawn().expect("the program starts"));
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        wait_until_alone(self.dovecot, USER);
        ran
    }

    /// Lets the times of directories become old enough to be relied on, and has them noted.
    fn rest(&self) {
        std::thread::sleep(Duration::from_millis(2_200));
        self.sync();
    }

    fn folder(&self, mailbox: &str) -> PathBuf {
        self.stage.maildir().join(mailbox)
    }

    fn file(&self, mailbox: &str) -> PathBuf {
        let files = ["new", "cur"]
            .into_iter()
            .flat_map(|part| fs::read_dir(self.folder(mailbox).join(part)).expect("it can be listed"));
        files.map(|entry| entry.expect("an entry").path()).next().expect("a message")
    }

    /// The folders of which a run lists a directory.
    fn listed(&self) -> Vec<&'static str> {
        need("/usr/bin/strace", "strace");
        let trace = self.stage.maildir().with_file_name("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-e", "trace=getdents64", "-o"]).arg(&trace);
        let program = self.stage.command("sync");
        command.arg(program.get_program()).args(program.get_args()).env_clear();
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", "/usr/bin:/bin");
        let ran = self.stage.end(command.spawn().expect("strace starts"));
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        wait_until_alone(self.dovecot, USER);
        let text = fs::read_to_string(trace).expect("a trace");
        let is_listed = |folder: &&str| text.contains(&format!("/{folder}/cur>"));
        ["INBOX", "Archive"].into_iter().filter(is_listed).collect()
    }

    fn flags_there(&self, mailbox: &str) -> String {
        let mut client = Client::login(self.dovecot, USER);
        client.ask(&format!("EXAMINE {mailbox}"));
        client.ask("FETCH 1:* (FLAGS)").into_iter().map(|(line, _)| line).collect()
    }
}

#[test]
fn what_is_at_rest_is_not_looked_at_and_whatever_stirs_is_seen() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot);
    assert_eq!(account.listed(), Vec::<&str>::new(), "nothing stirred");
    let status = fs::read_to_string(account.stage.state().join("status/work.json")).expect("a status");
    assert!(status.contains("\"name\": \"Archive\"") || status.contains("\"name\":\"Archive\""), "{status}");

    // Here: the flag of one message.
    let file = account.file("Archive");
    let base = file.file_name().expect("a name").to_string_lossy().split(":2,").next().expect("a part").to_owned();
    fs::rename(file, account.folder("Archive").join("cur").join(format!("{base}:2,F"))).expect("renamed");
    assert_eq!(account.listed(), ["Archive"], "only where something stirred");
    assert!(account.flags_there("Archive").contains("\\Flagged"));

    // There: a message, and then its end.
    account.rest();
    dovecot.deliver(USER, "INBOX", b"Message-ID: <new@x>\r\n\r\nnew\r\n");
    account.sync();
    assert_eq!(fs::read_dir(account.folder("INBOX/new")).expect("a directory").count(), 2);
    account.rest();
    let mut client = Client::login(&dovecot, USER);
    client.ask("SELECT INBOX");
    client.ask("STORE 1 +FLAGS (\\Deleted)");
    client.ask("EXPUNGE");
    drop(client);
    account.sync();
    assert_eq!(fs::read_dir(account.folder("INBOX/new")).expect("a directory").count(), 1);

    // What letters mean.
    account.rest();
    fs::write(account.folder("Archive/dovecot-keywords"), "0 work\n").expect("written");
    assert_eq!(account.listed(), ["Archive"]);

    // A copy of what rests elsewhere is no upload.
    account.rest();
    let before = account.relay.said().len();
    fs::copy(account.file("Archive"), account.folder("INBOX/cur/9.copy:2,S")).expect("copied");
    account.sync();
    let said = account.relay.said()[before..].to_owned();
    assert!(said.contains("UID COPY") && !said.contains("APPEND"), "{said}");
}

#[test]
fn what_is_noted_of_rest_is_believed_only_where_it_fits() {
    let dovecot = Dovecot::start();
    let account = Account::new(&dovecot);
    let noted = account.stage.state().join("work/rest");
    let old = fs::read(&noted).expect("it is noted");
    for other in [&b""[..], b"no JSON", b"{\"rules\":\"\",\"mailboxes\":{}}"] {
        fs::write(&noted, other).expect("written");
        assert_eq!(account.listed(), ["INBOX", "Archive"]);
    }

    // The note of an older picture, which had a flag less, under the newer state.
    let mut client = Client::login(&dovecot, USER);
    client.ask("SELECT Archive");
    client.ask("STORE 1 +FLAGS (\\Answered)");
    drop(client);
    account.sync();
    account.rest();
    fs::write(&noted, old).expect("written");
    assert_eq!(account.listed(), ["Archive"]);

    // A lost state is no rest.
    account.rest();
    let kept = fs::read(&noted).expect("it is noted");
    fs::remove_dir_all(account.stage.state().join("work/db")).expect("removed");
    fs::write(&noted, kept).expect("written");
    assert_eq!(account.listed(), ["INBOX", "Archive"]);
}
