//! The two programs: their configurations, and running them with their time and memory taken.

use crate::measure::measure;
use crate::support::dovecot::{Dovecot, PASSWORD};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Mailtwin,
    Mbsync,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mailtwin => "mailtwin",
            Self::Mbsync => "mbsync",
        }
    }
}

/// An account that one of them synchronises.
pub struct Account {
    pub tool: Tool,
    pub user: String,
    home: tempfile::TempDir,
}

impl Account {
    pub fn new(tool: Tool, dovecot: &Dovecot, user: &str, port: u16) -> Self {
        // On a disk, not in memory: what is written has to be durable, for both.
        let home = tempfile::Builder::new().prefix("compare").tempdir_in("/var/tmp").expect("a directory");
        let (place, ca) = (home.path().display(), dovecot.ca_pem_path());
        let ca = ca.display();
        let text = match tool {
            // Deleted is expunged, as mbsync does it, and nothing is kept that mbsync does not keep.
            Tool::Mailtwin => format!(
                "state-dir = \"{place}/state\"\n[account.work]\nhost = \"localhost\"\nport = {port}\ntls-ca = \"{ca}\"\n\
                 user = \"{user}\"\npassword.file = \"{place}/secret\"\nmaildir = \"{place}/mail\"\n\
                 delete = \"expunge\"\nkeep-deleted = \"0s\"\n\
                 guard = {{ deletions = 100000, percent = 100, emptied = 100000, per-10-minutes = 100000 }}\n"
            ),
            Tool::Mbsync => format!(
                "IMAPAccount a\nHost localhost\nPort {port}\nUser {user}\nPassCmd \"cat {place}/secret\"\nSSLType IMAPS\n\
                 CertificateFile {ca}\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nSubFolders Verbatim\n\
                 Path {place}/mail/\nInbox {place}/mail/INBOX\n\nChannel c\nFar :far:\nNear :near:\nPatterns *\n\
                 Create Both\nExpunge Both\nSyncState *\n"
            ),
        };
        fs::create_dir(home.path().join("mail")).expect("made");
        for (name, text) in [("configuration", text.as_str()), ("secret", PASSWORD)] {
            fs::write(home.path().join(name), text).expect("written");
            fs::set_permissions(home.path().join(name), fs::Permissions::from_mode(0o600)).expect("private");
        }
        if tool == Tool::Mailtwin {
            // It makes its Maildir itself.
            fs::remove_dir(home.path().join("mail")).expect("empty");
        }
        Self { tool, user: user.to_owned(), home }
    }

    pub fn maildir(&self) -> PathBuf {
        self.home.path().join("mail")
    }

    /// Synchronises once; tells how long it took, and the most memory that it used, in kB.
    pub fn synchronise(&self) -> (Duration, u64) {
        let configuration = self.home.path().join("configuration");
        let said = self.home.path().join("said");
        let mut command = match self.tool {
            Tool::Mailtwin => Command::new(env!("CARGO_BIN_EXE_mailtwin")),
            Tool::Mbsync => Command::new("mbsync"),
        };
        command.arg("-c").arg(&configuration);
        match self.tool {
            Tool::Mailtwin => command.arg("sync"),
            Tool::Mbsync => command.arg("-a"),
        };
        command.env("HOME", self.home.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&said).expect("created"));
        let (status, took, peak) = measure(command);
        let said = fs::read_to_string(said).unwrap_or_default();
        assert!(status.success(), "{} failed: {said}", self.tool.name());
        (took, peak)
    }
}
