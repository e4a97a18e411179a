//! What is known of an account, as a file that other programs may read: `<state-dir>/status/ACCOUNT.json`.
//!
//! It is a report, not a memory: nothing is decided by what stands in it, and it may be deleted at any time. Every
//! text in it is escaped already, so that it can go to a terminal as it is.

use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The version of the form that this program writes. Fields may be added within a version; a higher one is refused.
pub const VERSION: u32 = 1;

/// The most that is read of a status file.
const MAX_SIZE: u64 = 64 << 20;

/// All that is shown of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// The version of this form.
    pub version: u32,
    /// The account's name.
    pub account: String,
    /// How it fares.
    pub state: State,
    /// When a pass last ended without an error, in seconds since 1970.
    pub last_success: Option<u64>,
    /// What went wrong last, if nothing went right since.
    pub last_error: Option<String>,
    /// What the server can do: `A`, `B` or `C`, as far as it was seen.
    pub tier: Option<String>,
    /// What is odd about the server, and allowed for.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// Why nothing is uploaded for now: the server is full.
    #[serde(default)]
    pub uploads: Option<Waiting>,
    /// What the last pass had to leave out.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// The mailboxes, by remote name.
    pub mailboxes: Vec<MailboxStatus>,
}

/// A mailbox, or a name that cannot be one, that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// Why something waits as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, in seconds since 1970.
    pub retry_at: u64,
}

/// How an account fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No pass has ended yet.
    NeverSynced,
    /// The last pass did all that there was to do.
    Ok,
    /// The last pass did all but what waits for a person: deletions, or whether two sides belong together.
    Held,
    /// The last pass failed, and will fail again until somebody does something.
    Failed,
    /// The server refused the login.
    NeedsLogin,
    /// The Maildir is missing, empty where it should not be, or cannot be written.
    LocalUnavailable,
    /// There is no room on the disk.
    DiskFull,
    /// The last pass failed for a reason that may pass by itself, such as the network.
    Temporary,
}

/// What is shown of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxStatus {
    /// The remote name, decoded.
    pub name: String,
    /// The directory below the Maildir, if there is one.
    pub local: Option<String>,
    /// How many messages both sides have.
    pub messages: u64,
    /// The deletions that wait for `approve` or `reject`.
    pub held: Vec<HeldSet>,
    /// How many messages a limit leaves on the server.
    #[serde(default)]
    pub filtered: u64,
    /// How many are here as stubs.
    #[serde(default)]
    pub stubs: u64,
    /// What cannot be synchronised for now.
    pub quarantined: Vec<Quarantined>,
    /// The mailbox is gone on the server, or not subscribed to; the local one is kept and not synchronised.
    pub parked: bool,
    /// Whether both sides belong together is asked, and nothing is done until somebody answers.
    #[serde(default)]
    pub question: Option<Question>,
}

/// A question whether two sides belong together, since so little is on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// How many messages are on both sides.
    pub paired: u32,
    /// How many the server has.
    pub there: u32,
    /// How many the Maildir has.
    pub here: u32,
    /// Somebody said that they do not.
    pub rejected: bool,
}

/// Deletions that wait for a person, as a set with a number: approving it approves nothing that came later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSet {
    /// The number of the set.
    pub number: u64,
    /// How many deletions are in it.
    pub deletions: u64,
    /// Where the messages would be deleted.
    pub side: Side,
    /// The whole mailbox would be deleted.
    #[serde(default)]
    pub whole: bool,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The server's.
    Remote,
    /// The Maildir's.
    Local,
}

/// A message or a name that cannot be synchronised for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What it is: a UID, a file name, a mailbox name.
    pub what: String,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, in seconds since 1970.
    pub retry_at: Option<u64>,
}

impl MailboxStatus {
    /// Tells whether something waits for a person.
    pub(super) fn waits(&self) -> bool {
        !self.held.is_empty() || self.question.is_some_and(|question| !question.rejected)
    }
}

impl AccountStatus {
    /// The status of an account of which nothing is known yet.
    pub fn never_synced(account: &str) -> Self {
        Self {
            version: VERSION,
            account: account.to_owned(),
            state: State::NeverSynced,
            last_success: None,
            last_error: None,
            tier: None,
            quirks: Vec::new(),
            uploads: None,
            left_out: Vec::new(),
            mailboxes: Vec::new(),
        }
    }

    /// Reads the status of an account; without a file it was never synchronised.
    ///
    /// # Errors
    /// The file cannot be read, is damaged ([`io::ErrorKind::InvalidData`]) or was written by a newer version.
    pub fn load(state_dir: &Path, account: &str) -> io::Result<Self> {
        let mut file = match File::open(path(state_dir, account)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::never_synced(account)),
            opened => opened?.take(MAX_SIZE),
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let version: Version = serde_json::from_str(&text).map_err(invalid)?;
        if version.version > VERSION {
            return Err(invalid("it was written by a newer version of mailtwin"));
        }
        serde_json::from_str(&text).map_err(invalid)
    }

    /// Replaces the status file by rename: a reader sees the old one or the new one, whole. Mode 0600.
    ///
    /// # Errors
    /// Those of the file system; the old file is still there then.
    pub fn save(&self, state_dir: &Path) -> io::Result<()> {
        let path = path(state_dir, &self.account);
        let directory = state_dir.join("status");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let temporary = directory.join(format!(".{}.{}", self.account, std::process::id()));
        let mut text = serde_json::to_string_pretty(self).map_err(invalid)?;
        text.push('\n');
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is the one to tell; a file that stays behind is overwritten next time.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Removes the status file of an account, if there is one.
pub(super) fn remove(state_dir: &Path, account: &str) -> io::Result<()> {
    match fs::remove_file(path(state_dir, account)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The field that every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn path(state_dir: &Path, account: &str) -> PathBuf {
    state_dir.join("status").join(format!("{account}.json"))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn some_status() -> AccountStatus {
        AccountStatus {
            state: State::Held,
            last_success: Some(1_700_000_000),
            mailboxes: vec![MailboxStatus {
                name: "INBOX".into(),
                local: Some("INBOX".into()),
                messages: 3,
                filtered: 2,
                stubs: 1,
                held: vec![HeldSet { number: 1, deletions: 60, side: Side::Remote, whole: false }],
                quarantined: vec![Quarantined {
                    what: "UID 7".into(),
                    reason: "the server said NO".into(),
                    attempts: 2,
                    retry_at: None,
                }],
                parked: false,
                question: None,
            }],
            ..AccountStatus::never_synced("work")
        }
    }

    #[test]
    fn a_status_is_read_as_it_was_written_and_is_private() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(AccountStatus::load(state.path(), "work").expect("none"), AccountStatus::never_synced("work"));
        some_status().save(state.path()).expect("saved");
        some_status().save(state.path()).expect("saved again");
        assert_eq!(AccountStatus::load(state.path(), "work").expect("loaded"), some_status());
        let files: Vec<_> = fs::read_dir(state.path().join("status")).expect("listed").flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_or_newer_file_is_an_error_and_never_a_healthy_account() {
        let state = tempfile::tempdir().expect("a directory");
        fs::create_dir(state.path().join("status")).expect("mkdir");
        for (text, words) in
            [("{", "EOF"), ("{\"version\":9,\"news\":1}", "newer version"), ("{\"version\":1}", "missing")]
        {
            fs::write(state.path().join("status/work.json"), text).expect("written");
            let error = AccountStatus::load(state.path(), "work").expect_err(text);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
