//! A home with a configuration, a test server, and runs of the program that are looked through afterwards.

use super::server::{PASSWORD, Profile, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The user of the server.
pub const USER: &str = "me";
/// How long a run may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a run may have in memory at most, in KiB: far below what hostile servers send.
pub const MEMORY: u64 = 80 << 10;

/// A home, a server, and what lies between.
pub struct Bench {
    pub server: Server,
    pub home: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    /// The most memory that it was seen to have, in KiB.
    pub peak: u64,
}

impl Ran {
    /// Holds the exit code and the words of standard error.
    #[track_caller]
    pub fn is(&self, code: i32, words: &str) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self.says(words)
    }

    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.err.contains(words) || self.out.contains(words), "no {words:?} in\n{}\n{}", self.out, self.err);
        self
    }
}

impl Bench {
    /// A server of this kind, an account `work` at it, and a password file.
    pub fn new(profile: Profile) -> Self {
        let server = Server::start(profile);
        server.account(USER);
        let bench = Self { server, home: tempfile::tempdir().expect("a directory") };
        fs::write(bench.path("secret"), format!("{PASSWORD}\n")).expect("written");
        fs::set_permissions(bench.path("secret"), PermissionsExt::from_mode(0o600)).expect("private");
        bench.configure("");
        bench
    }

    /// The same, with so many messages in INBOX, mirrored once.
    pub fn mirrored(profile: Profile, messages: usize) -> Self {
        let bench = Self::new(profile);
        bench.fill(messages);
        bench.sync().is(0, "");
        bench.settle();
        bench
    }

    pub fn fill(&self, messages: usize) {
        for n in 0..messages {
            self.server.deliver(USER, "INBOX", message(n), &[]);
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn maildir(&self) -> PathBuf {
        self.path("Mail")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes the configuration, with more lines for the account.
    pub fn configure(&self, more: &str) {
        self.configure_at(self.server.port(), more);
    }

    pub fn configure_at(&self, port: u16, more: &str) {
        let text = format!("{}{more}\n", self.account("work", port, &self.maildir()));
        self.write_configuration(&format!("state-dir = {:?}\n{text}", self.state()));
    }

    pub fn account(&self, name: &str, port: u16, maildir: &Path) -> String {
        let secret = self.path("secret");
        format!(
            "[account.{name}]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nuser = \"{USER}\"\n\
             password.file = {secret:?}\nmaildir = {maildir:?}\ntimeout = \"5s\"\n"
        )
    }

    pub fn write_configuration(&self, text: &str) {
        fs::write(self.path("daemon.toml"), text).expect("written");
        fs::set_permissions(self.path("daemon.toml"), PermissionsExt::from_mode(0o600)).expect("private");
    }

    pub fn sync(&self) -> Ran {
        self.run(&["sync"])
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.finish(self.spawn(self.command(arguments)))
    }

    /// The program, with nothing of our environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        self.prepare(&mut command, arguments);
        command
    }

    /// Gives the program's arguments to a command that runs it.
    pub fn prepare(&self, command: &mut Command, arguments: &[&str]) {
        command.arg("-vv").arg("--config").arg(self.path("daemon.toml")).args(arguments);
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    pub fn spawn(&self, mut command: Command) -> Child {
        command.spawn().expect("the program runs")
    }

    /// Waits for the end, and looks through everything that the run left behind.
    #[track_caller]
    pub fn finish(&self, mut child: Child) -> Ran {
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let read = |mut from: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                bytes
            })
        };
        let (out, err) = (read(Box::new(out)), read(Box::new(err)));
        let deadline = Instant::now() + PATIENCE;
        let mut peak = 0;
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let status = loop {
            peak = peak.max(memory(&process).unwrap_or(0));
            for shown in ["cmdline", "environ"] {
                self.holds_no_secret(&fs::read(process.join(shown)).unwrap_or_default(), shown);
            }
            if let Some(status) = child.try_wait().expect("a child of ours") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it hangs: {}", String::from_utf8_lossy(&err.join().expect("read")));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let (out, err) = (out.join().expect("read"), err.join().expect("read"));
        for (name, bytes) in [("standard output", &out), ("standard error", &err)] {
            self.holds_no_secret(bytes, name);
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            let obeyed = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!text.contains(obeyed), "{name} has what a terminal obeys: {text:?}");
        }
        for (path, bytes) in files(&self.state()).into_iter().chain(files(&self.maildir())) {
            self.holds_no_secret(&bytes, &path);
            self.holds_no_secret(path.as_bytes(), "a file name");
        }
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: status.code(), out: text(out), err: text(err), peak }
    }

    #[track_caller]
    fn holds_no_secret(&self, bytes: &[u8], place: &str) {
        let plain = PASSWORD.as_bytes();
        let whole = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        for secret in [plain, STANDARD.encode(plain).as_bytes(), whole.as_bytes()] {
            assert!(memchr::memmem::find(bytes, secret).is_none(), "the password is in {place}");
        }
    }

    /// Makes the directories of messages look as if nothing had changed for long: else a deletion waits for seconds.
    pub fn settle(&self) {
        let past = Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
        let times = Timestamps { last_access: past, last_modification: past };
        for directory in directories(&self.maildir()) {
            utimensat(CWD, &directory, &times, AtFlags::empty()).expect("the times can be set");
        }
    }

    /// The messages in a folder: file names without flags, and what is in them.
    pub fn messages(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for part in ["new", "cur"] {
            for (name, bytes) in files(&self.maildir().join(folder).join(part)) {
                let name = name.rsplit('/').next().unwrap_or_default();
                found.insert(name.split(":2,").next().unwrap_or_default().to_owned(), bytes);
            }
        }
        found
    }

    pub fn count(&self, folder: &str) -> usize {
        self.messages(folder).len()
    }

    /// What is in the messages of a folder, sorted, with LF.
    pub fn texts_here(&self, folder: &str) -> Vec<String> {
        let mut texts: Vec<String> = self.messages(folder).into_values().map(text).collect();
        texts.sort();
        texts
    }

    /// What is in the messages of a mailbox of the server, sorted, with LF.
    pub fn texts_there(&self, mailbox: &str) -> Vec<String> {
        let contents = self.server.snapshot(USER).remove(mailbox).unwrap_or_default();
        let mut texts: Vec<String> = contents.into_iter().map(|(_, _, body)| text(body)).collect();
        texts.sort();
        texts
    }

    /// The number of messages in a mailbox of the server; none if there is no such mailbox.
    pub fn there(&self, mailbox: &str) -> Option<usize> {
        self.server.snapshot(USER).get(mailbox).map(Vec::len)
    }

    /// Removes every message from a folder.
    pub fn empty(&self, folder: &str) {
        for part in ["new", "cur"] {
            for entry in fs::read_dir(self.maildir().join(folder).join(part)).expect("listed").flatten() {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
        self.settle();
    }

    /// Holds that both sides have the same texts in a mailbox, so many of them, and that a further run changes nothing.
    #[track_caller]
    pub fn converged(&self, mailbox: &str, messages: usize) {
        let (here, there) = (self.texts_here(mailbox), self.texts_there(mailbox));
        assert_eq!((here.len(), there.len()), (messages, messages), "here and there");
        assert!(here == there, "the texts differ");
        let mark = self.server.mark();
        self.sync().is(0, "nothing to do");
        assert_eq!(self.server.mutating_commands_since(mark), Vec::<String>::new());
    }
}

/// A message that is told from others by its number.
pub fn message(n: usize) -> String {
    format!("From: a@example.org\r\nMessage-ID: <{n}@example.org>\r\nSubject: number {n}\r\n\r\nText {n}.\r\n")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

fn memory(process: &Path) -> Option<u64> {
    let text = fs::read_to_string(process.join("status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}

/// Every file beneath a directory, by its path.
pub fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        } else {
            let mut bytes = Vec::new();
            let _ = fs::File::open(entry.path()).and_then(|mut file| file.read_to_end(&mut bytes));
            found.insert(entry.path().to_string_lossy().into_owned(), bytes);
        }
    }
    found
}

fn directories(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_path_buf()];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(directories(&entry.path()));
        }
    }
    found
}

/// Copies a directory with all that is in it, times left aside.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    fs::set_permissions(to, fs::metadata(from).expect("there").permissions()).expect("set");
    for entry in fs::read_dir(from).expect("listed").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}
