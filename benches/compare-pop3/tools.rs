//! The programs: their configurations, and running them with their time and memory taken.

use crate::measure::measure;
use crate::support::dovecot::{Dovecot, PASSWORD};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Mailtwin,
    Mpop,
    Getmail,
    Fetchmail,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mailtwin => "mailtwin",
            Self::Mpop => "mpop",
            Self::Getmail => "getmail",
            Self::Fetchmail => "fetchmail",
        }
    }

    /// The Debian package to install, if the program is not there.
    pub fn missing_package(self) -> Option<&'static str> {
        let package = match self {
            Self::Mailtwin => return None,
            Self::Mpop => "mpop",
            Self::Getmail => "getmail6",
            Self::Fetchmail => "fetchmail",
        };
        Command::new(self.name()).arg("--version").output().is_err().then_some(package)
    }
}

/// An account that one of them fetches.
pub struct Account {
    tool: Tool,
    user: String,
    home: tempfile::TempDir,
}

impl Account {
    /// An account whose messages stay on the server.
    pub fn new(tool: Tool, dovecot: &Dovecot, user: &str, port: u16) -> Self {
        let account = Self::bare(tool, user);
        let (place, ca) = (account.home.path().display().to_string(), dovecot.ca_pem_path());
        let ca = ca.display();
        let text = match tool {
            Tool::Mailtwin => format!(
                "state-dir = \"{place}/state\"\n[account.old]\ntype = \"pop3\"\nhost = \"localhost\"\nport = {port}\n\
                 tls-ca = \"{ca}\"\nuser = \"{user}\"\npassword.file = \"{place}/secret\"\nmaildir = \"{place}/mail\"\n"
            ),
            Tool::Mpop => format!(
                "account old\nhost localhost\nport {port}\ntls on\ntls_starttls off\ntls_trust_file {ca}\nuser {user}\n\
                 passwordeval cat {place}/secret\nkeep on\nreceived_header off\nuidls_file {place}/uidls\n\
                 delivery maildir {place}/mail/INBOX\n"
            ),
            Tool::Getmail => format!(
                "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {port}\nusername = {user}\n\
                 password = {PASSWORD}\nca_certs = {ca}\n[destination]\ntype = Maildir\npath = {place}/mail/INBOX/\n\
                 [options]\ndelete = false\nread_all = false\nverbose = 0\ndelivered_to = false\nreceived = false\n"
            ),
            Tool::Fetchmail => {
                let script = format!(
                    "#!/bin/sh\nname=$(mktemp {place}/mail/INBOX/tmp/XXXXXXXXXX) && cat > \"$name\" && sync \"$name\" && \
                     mv \"$name\" {place}/mail/INBOX/new/\n"
                );
                fs::write(account.home.path().join("deliver"), script).expect("written");
                format!(
                    "set no syslog\npoll localhost protocol pop3 service {port} uidl user \"{user}\" password \
                     \"{PASSWORD}\" ssl sslcertfile \"{ca}\" keep no rewrite mda \"/bin/sh {place}/deliver\"\n"
                )
            }
        };
        account.write("configuration", &text);
        if tool != Tool::Mailtwin {
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(account.inbox().join(part)).expect("made");
            }
        }
        account
    }

    /// An account of ours that leaves alone what is in its drop at the first look; near, and without TLS.
    pub fn of_many(dovecot: &Dovecot, user: &str) -> Self {
        let account = Self::bare(Tool::Mailtwin, user);
        let place = account.home.path().display();
        let text = format!(
            "state-dir = \"{place}/state\"\n[account.old]\ntype = \"pop3\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             user = \"{user}\"\npassword.file = \"{place}/secret\"\nmaildir = \"{place}/mail\"\ninitial = \"none\"\n",
            dovecot.pop3_port
        );
        account.write("configuration", &text);
        account
    }

    fn bare(tool: Tool, user: &str) -> Self {
        // On a disk, not in memory: what is written has to be durable, for all.
        let home = tempfile::Builder::new().prefix("compare").tempdir_in("/var/tmp").expect("a directory");
        let account = Self { tool, user: user.to_owned(), home };
        account.write("secret", PASSWORD);
        account
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.home.path().join(name);
        fs::write(&file, text).expect("written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("private");
    }

    fn inbox(&self) -> PathBuf {
        self.home.path().join("mail/INBOX")
    }

    /// Fetches once; tells how long it took, and the most memory that it used, in kB.
    pub fn fetch(&self) -> (Duration, u64) {
        let (configuration, said) = (self.home.path().join("configuration"), self.home.path().join("said"));
        let with = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        let mut command = match self.tool {
            Tool::Mailtwin => with(env!("CARGO_BIN_EXE_mailtwin"), &["-c"]),
            Tool::Mpop => with("mpop", &["-Q", "-C"]),
            // It refuses to deliver as root.
            Tool::Getmail if rustix::process::geteuid().is_root() => {
                chown_all(self.home.path());
                let as_nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "getmail"];
                let place = self.home.path().display().to_string();
                with("setpriv", &[&as_nobody[..], &["-q", "--getmaildir", &place, "--rcfile"]].concat())
            }
            Tool::Getmail => {
                with("getmail", &["-q", "--getmaildir", &self.home.path().display().to_string(), "--rcfile"])
            }
            Tool::Fetchmail => with("fetchmail", &["-s", "-f"]),
        };
        command.arg(&configuration);
        match self.tool {
            Tool::Mailtwin => drop(command.arg("sync")),
            Tool::Mpop => drop(command.arg("old")),
            Tool::Fetchmail => drop(command.args(["-i"]).arg(self.home.path().join("uidls"))),
            Tool::Getmail => {}
        }
        command.env("HOME", self.home.path()).env("FETCHMAILHOME", self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said).expect("created"));
        let (status, took, peak) = measure(command);
        // Nothing to fetch is no error, whatever fetchmail calls it.
        let is_well = status.success() || self.tool == Tool::Fetchmail && status.code() == Some(1);
        assert!(is_well, "{} failed: {}", self.tool.name(), fs::read_to_string(said).unwrap_or_default());
        (took, peak)
    }

    /// What polls have long been used to: some quiet, and a look that found nothing.
    pub fn rest(&self) {
        std::thread::sleep(Duration::from_secs(5));
        self.fetch();
    }

    /// How many messages are here, and how many of them are not what the server has, byte for byte but for the line ends.
    pub fn altered(&self, dovecot: &Dovecot) -> (usize, usize) {
        let theirs = texts(&dovecot.user_maildir(&self.user));
        let mut left = theirs;
        let (mut count, mut altered) = (0, 0);
        for (text, times) in texts(&self.inbox()) {
            let known = left.remove(&text).unwrap_or(0);
            count += times;
            altered += times.saturating_sub(known);
        }
        (count, altered)
    }
}

/// Gives everything there to nobody.
fn chown_all(place: &Path) {
    let changed = Command::new("chown").args(["-R", "nobody:nogroup"]).arg(place).status().expect("chown runs");
    assert!(changed.success());
}

fn texts(folder: &Path) -> BTreeMap<[u8; 32], usize> {
    let mut found = BTreeMap::new();
    for part in ["new", "cur"] {
        for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            let text = fs::read(entry.path()).expect("a message");
            *found.entry(*blake3::hash(&text).as_bytes()).or_default() += 1;
        }
    }
    found
}
