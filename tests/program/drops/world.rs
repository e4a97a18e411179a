//! An account of the program, and the drop that it is for.

use crate::support::server::pop3::{Pop3, Profile};
use crate::support::server::{self, PASSWORD, Server};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The account, its home, and its server.
pub struct World {
    pub home: tempfile::TempDir,
    pub server: Server,
    pub pop3: Pop3,
}

/// A run of the program.
pub struct Ran {
    pub code: Option<i32>,
    pub said: String,
    /// The steps that it took.
    pub steps: Vec<String>,
}

impl World {
    /// A drop with so many messages, and an account with these further lines of configuration.
    pub fn new(messages: usize, profile: Profile, more: &str) -> Self {
        let server = Server::start(server::Profile::full());
        server.account("ann");
        (1..=messages).for_each(|n| deliver(&server, n));
        let pop3 = server.pop3(profile);
        let world = Self { home: tempfile::tempdir().expect("a directory"), server, pop3 };
        world.configure(more);
        world
    }

    /// Writes the configuration anew.
    pub fn configure(&self, more: &str) {
        self.configure_as("pop3", self.pop3.port(), more);
    }

    pub fn configure_as(&self, kind: &str, port: u16, more: &str) {
        let text = format!(
            "[account.old]\ntype = \"{kind}\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nuser = \"ann\"\n\
             password = \"{}\"\nmaildir = \"{}\"\n{more}\n",
            PASSWORD,
            self.home.path().join("mail").display(),
        );
        let file = self.home.path().join("daemon.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    }

    /// Begins with an empty Maildir and no state.
    pub fn begin_anew(&self) {
        for part in ["mail", ".local"] {
            let _ = std::fs::remove_dir_all(self.home.path().join(part));
        }
    }

    pub fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/mailtwin/old")
    }

    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let steps = self.home.path().join("steps");
        let _ = std::fs::remove_file(&steps);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("--config").arg(self.home.path().join("daemon.toml")).args(arguments);
        command.env_clear().env("HOME", self.home.path()).env("MAILTWIN_STEPS", &steps).stdin(Stdio::null());
        let output: Output = command.envs(variables.iter().copied()).output().expect("the program runs");
        self.server.wait_until_alone();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let steps = std::fs::read_to_string(&steps).unwrap_or_default();
        let name = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
        Ran { code: output.status.code(), said, steps: steps.lines().map(name).collect() }
    }

    /// A run of `sync` that has to go well; what it said.
    pub fn sync(&self) -> String {
        let ran = self.run(&["sync"], &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        ran.said
    }

    /// The same, so many seconds later.
    pub fn sync_after(&self, seconds: u64) -> String {
        let ran = self.run(&["sync"], &[("MAILTWIN_CLOCK_AHEAD", &seconds.to_string())]);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        ran.said
    }

    /// The messages of a mailbox of the Maildir, each by its text, sorted.
    pub fn here_in(&self, mailbox: &str) -> Vec<String> {
        let mut texts: Vec<String> = self.files(mailbox).iter().map(|path| read(path)).collect();
        texts.sort();
        texts
    }

    pub fn here(&self) -> Vec<String> {
        self.here_in("INBOX")
    }

    /// The files of a mailbox.
    pub fn files(&self, mailbox: &str) -> Vec<PathBuf> {
        let folder = self.home.path().join("mail").join(mailbox);
        let parts = ["new", "cur"].into_iter().filter_map(|part| std::fs::read_dir(folder.join(part)).ok());
        parts.flatten().map(|entry| entry.expect("an entry").path()).collect()
    }

    /// The messages of the drop, sorted, with the line ends that they have here.
    pub fn there(&self) -> Vec<String> {
        let all = self.server.snapshot("ann").remove("INBOX").unwrap_or_default();
        let text = |body: Vec<u8>| String::from_utf8_lossy(&body).replace("\r\n", "\n");
        let mut texts: Vec<String> = all.into_iter().map(|(.., body)| text(body)).collect();
        texts.sort();
        texts
    }

    /// The file with this text goes.
    pub fn delete_here(&self, text: &str) {
        let path = self.files("INBOX").into_iter().find(|path| read(path) == text).expect("it is here");
        std::fs::remove_file(path).expect("removed");
    }

    /// The commands since a mark that begin so.
    pub fn commands(&self, mark: usize, verb: &str) -> usize {
        self.pop3.commands_since(mark).iter().filter(|command| command.starts_with(verb)).count()
    }
}

fn read(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned()
}

/// A message comes to the drop.
pub fn deliver(server: &Server, n: usize) {
    server.deliver("ann", "INBOX", text(n).replace('\n', "\r\n"), &[]);
}

/// The text of the n-th message, as it is here.
pub fn text(n: usize) -> String {
    format!("Message-ID: <{n}@x>\nSubject: {n}\n\n.dot {n}\n")
}

/// The texts of these messages, sorted.
pub fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut all: Vec<String> = numbers.into_iter().map(text).collect();
    all.sort();
    all
}
