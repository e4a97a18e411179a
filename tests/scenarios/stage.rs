//! The Maildir, the state and the program under test, in a directory of their own.
//!
//! The mail is old: the times of `new` and `cur` are set back before every run, and the program's clock is a minute ahead,
//! so that no run waits for files to stop vanishing, or for a copy to become a move.

use super::table::{MAILDIR_RETURNS, STATE_LOST};
use super::tree::{Edit, Mail, Names, Tree, body, edits};
use mailtwin::store::{Health, Store};
use mailtwin::sync::{Batch, GuardMemory, MailboxRecord, Picture};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    directory: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// None: it was killed.
    pub code: Option<i32>,
    pub steps: Vec<String>,
    pub said: String,
}

impl Default for Ran {
    /// Nothing was to be done, and that went well.
    fn default() -> Self {
        Self { code: Some(0), steps: Vec::new(), said: String::new() }
    }
}

/// A copy of the Maildir and the state.
pub struct Saved(PathBuf);

/// All that the state remembers.
#[derive(PartialEq, Debug)]
pub struct Memory {
    pub generation: u64,
    pub mailboxes: Vec<MailboxRecord>,
    pub pictures: Vec<Picture>,
    pub batches: Vec<Batch>,
    pub guard: GuardMemory,
}

/// What tells whether somebody touched a file: inode and time of change.
pub type Touches = BTreeMap<PathBuf, (u64, i64, i64)>;

impl Stage {
    /// Makes one for an account `work` on this port of loopback; `account` holds more lines of its table.
    pub fn new(port: u16, user: &str, password: &str, account: &str) -> Self {
        // Memory where there is some: the sweep makes and removes a million files.
        let place = [Path::new("/dev/shm"), &std::env::temp_dir()]
            .into_iter()
            .find_map(|place| tempfile::Builder::new().prefix("mailtwin-stage").tempdir_in(place).ok());
        let directory = place.expect("a temporary directory");
        let stage = Self { directory };
        let configuration = format!(
            "state-dir = {:?}\n[account.work]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nuser = {user:?}\n\
             password = {password:?}\nmaildir = {:?}\n{account}\n",
            stage.state(),
            stage.maildir(),
        );
        let file = stage.path("daemon.toml");
        fs::write(&file, configuration).expect("the configuration can be written");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, private).expect("it can be made private");
        stage
    }

    pub fn maildir(&self) -> PathBuf {
        self.path("mail")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program with these words, in an environment of its own.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("--config").arg(self.path("daemon.toml")).args(words.split_whitespace());
        command.env_clear().env("HOME", self.directory.path()).env("MAILTWIN_STEPS", self.path("steps"));
        // There are ten thousand runs: no authorities are read, since nothing is encrypted here.
        command.env("SSL_CERT_FILE", "/dev/null");
        // The mail is old: nobody waits whether a copy becomes a move.
        command.env("MAILTWIN_CLOCK_AHEAD", "60");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(self.path("said")).expect("a file for what it says"));
        command
    }

    /// Runs the program to its end, or kills it before a step. Words like `NAME=value` in front are its environment.
    pub fn run(&self, words: &str, kill_at: Option<usize>) -> Ran {
        let (environment, words): (Vec<&str>, Vec<&str>) =
            words.split_whitespace().partition(|word| word.contains('='));
        let mut command = self.command(&words.join(" "));
        command.envs(environment.iter().filter_map(|word| word.split_once('=')));
        if let Some(step) = kill_at {
            command.env("MAILTWIN_KILL_AT", step.to_string());
        }
        let _ = fs::remove_file(self.path("steps"));
        self.backdate();
        let child = command.spawn().expect("the program starts");
        self.end(child)
    }

    /// Waits for the end of a run.
    pub fn end(&self, mut child: Child) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it hangs; it said:\n{}\nits last steps: {:?}", self.said(), self.steps().iter().rev().take(9));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        if let Some(signal) = status.signal() {
            assert!([6, 9].contains(&signal), "it died of signal {signal}; it said:\n{}", self.said());
        }
        Ran { code: status.code(), steps: self.steps(), said: self.said() }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    fn steps(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("steps")).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, site)| site.to_owned()).collect()
    }

    /// Sets the times of `new` and `cur` back by a minute.
    pub fn backdate(&self) {
        let old =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() - 60;
        let time = Timespec { tv_sec: old.cast_signed(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        for folder in self.folders().into_values() {
            for part in ["new", "cur"] {
                let _ = utimensat(CWD, folder.join(part), &times, AtFlags::empty());
            }
        }
    }

    /// The mailboxes of the Maildir and their directories.
    fn folders(&self) -> BTreeMap<String, PathBuf> {
        let mut folders = BTreeMap::new();
        let mut open = vec![(String::new(), self.maildir())];
        while let Some((name, path)) = open.pop() {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                let part = entry.file_name().to_string_lossy().into_owned();
                if !entry.path().is_dir() || ["cur", "new", "tmp"].contains(&&*part) || part.starts_with('.') {
                    continue;
                }
                let below = if name.is_empty() { part } else { format!("{name}/{part}") };
                if entry.path().join("cur").is_dir() {
                    folders.insert(below.clone(), entry.path());
                }
                open.push((below, entry.path()));
            }
        }
        folders
    }

    /// Every message of the Maildir, by mailbox, with its file.
    fn files(&self, names: &Names) -> BTreeMap<String, Vec<(Mail, PathBuf)>> {
        let mut files: BTreeMap<String, Vec<(Mail, PathBuf)>> = BTreeMap::new();
        for (mailbox, folder) in self.folders() {
            let found = files.entry(mailbox).or_default();
            let table = table(&folder);
            for part in ["new", "cur"] {
                for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    let letters = file.split_once(":2,").map_or("", |(_, letters)| letters);
                    let bytes = fs::read(entry.path()).expect("a message can be read");
                    found.push((Mail::of_letters(&names.name(&bytes), letters, &table), entry.path()));
                }
            }
            found.sort();
        }
        files
    }

    pub fn tree(&self, names: &Names) -> Tree {
        let files = self.files(names).into_iter();
        Tree(files.map(|(mailbox, files)| (mailbox, files.into_iter().map(|(mail, _)| mail).collect())).collect())
    }

    /// Does with the Maildir what a mail reader does to come from one state to the other.
    pub fn edit(&self, before: &Tree, after: &Tree, names: &Names) {
        let mut files = self.files(names);
        let mut take = |mailbox: &str, was: &Mail| -> PathBuf {
            let files = files.get_mut(mailbox).expect("the mailbox is there");
            let at = files.iter().position(|(mail, _)| mail == was);
            files.remove(at.unwrap_or_else(|| panic!("{was:?} is not in {mailbox}"))).1
        };
        for edit in edits(before, after) {
            match edit {
                Edit::MakeMailbox(mailbox) => {
                    for part in ["cur", "new", "tmp"] {
                        fs::create_dir_all(self.maildir().join(mailbox).join(part)).expect("mkdir");
                    }
                }
                Edit::RemoveMailbox(mailbox) => {
                    fs::remove_dir_all(self.maildir().join(mailbox)).expect("the mailbox can be removed");
                }
                Edit::Add { mailbox, mail } => {
                    static COUNT: AtomicU32 = AtomicU32::new(0);
                    let count = COUNT.fetch_add(1, Ordering::Relaxed);
                    let base = format!("1700000000.M{count}P{}Q{count}.reader", std::process::id());
                    fs::write(self.place(mailbox, &base, mail), body(&mail.name)).expect("a message can be written");
                }
                Edit::Mark { mailbox, was, mail } => {
                    let old = take(mailbox, was);
                    fs::rename(&old, self.place(mailbox, &base_of(&old), mail)).expect("a message can be renamed");
                }
                Edit::Remove { mailbox, mail } => fs::remove_file(take(mailbox, mail)).expect("it can be removed"),
                Edit::Move { from, was, to, mail } => {
                    let old = take(from, was);
                    fs::rename(&old, self.place(to, &base_of(&old), mail)).expect("a message can be moved");
                }
            }
        }
    }

    /// Where a reader puts the message: whatever it has seen is in `cur`.
    fn place(&self, mailbox: &str, base: &str, mail: &Mail) -> PathBuf {
        let folder = self.maildir().join(mailbox);
        if mail.letters.is_empty() && mail.keywords.is_empty() {
            return folder.join("new").join(base);
        }
        let keywords = mail.keywords.iter().filter_map(|keyword| letter(&folder, keyword));
        folder.join("cur").join(format!("{base}:2,{}{}", mail.letters, keywords.collect::<String>()))
    }

    /// Renames the directory of a mailbox.
    pub fn rename(&self, from: &str, to: &str) {
        let (from, to) = (self.maildir().join(from), self.maildir().join(to));
        fs::create_dir_all(to.parent().expect("it is beneath the root")).expect("mkdir");
        fs::rename(from, to).expect("a directory can be renamed");
    }

    /// Copies the directory of a mailbox, its marker included.
    pub fn duplicate(&self, from: &str, to: &str) {
        copy(&self.maildir().join(from), &self.maildir().join(to));
    }

    /// Inode and time of change of everything in the Maildir.
    pub fn touches(&self) -> Touches {
        let mut touches = Touches::new();
        let mut open = vec![self.maildir()];
        while let Some(path) = open.pop() {
            if let Ok(found) = path.symlink_metadata() {
                touches.insert(path.clone(), (found.ino(), found.ctime(), found.ctime_nsec()));
            }
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        touches
    }

    /// All that is remembered, read from a copy, since reading opens the database for writing.
    pub fn memory(&self) -> Memory {
        let copied = self.path("read");
        let _ = fs::remove_dir_all(&copied);
        copy(&self.state().join("work"), &copied);
        let (store, health) = Store::open(&copied).expect("the state can be opened");
        assert!(matches!(health, Health::Clean | Health::Repaired { .. }), "the state is damaged: {health:?}");
        let mailboxes = store.mailboxes().expect("readable");
        let picture = |mailbox: &MailboxRecord| store.picture(mailbox.id).expect("readable");
        Memory {
            generation: store.generation(),
            pictures: mailboxes.iter().map(picture).collect(),
            mailboxes,
            batches: store.batches().expect("readable"),
            guard: store.guard().expect("readable"),
        }
    }

    /// Copies the Maildir and the state.
    pub fn save(&self, name: &str) -> Saved {
        let to = self.path(name);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).expect("mkdir");
        for part in ["mail", "state"] {
            copy(&self.path(part), &to.join(part));
        }
        Saved(to)
    }

    /// Brings messages back that the copy has and the Maildir has not, under their old names.
    pub fn bring_back(&self, saved: &Saved) {
        let copied = saved.0.join("mail");
        for folder in self.folders().into_values() {
            let within = folder.strip_prefix(self.maildir()).expect("it is in the Maildir").to_owned();
            for part in ["new", "cur"] {
                let there = copied.join(&within).join(part);
                for entry in fs::read_dir(&there).into_iter().flatten().flatten() {
                    let back = folder.join(part).join(entry.file_name());
                    if !back.exists() {
                        copy(&entry.path(), &back);
                    }
                }
            }
        }
    }

    /// Does what the name of the mishap says; `agreed` is the copy that returns.
    pub fn mishap(&self, mishap: &str, agreed: &Saved) {
        let part = if mishap == MAILDIR_RETURNS { "mail" } else { "state" };
        let _ = fs::remove_dir_all(self.path(part));
        if mishap != STATE_LOST {
            copy(&agreed.0.join(part), &self.path(part));
        }
    }

    /// Puts the copy in the place of what is there.
    pub fn restore(&self, saved: &Saved) {
        for part in ["mail", "state"] {
            let _ = fs::remove_dir_all(self.path(part));
            copy(&saved.0.join(part), &self.path(part));
        }
    }
}

/// The keywords of a folder by their letters.
fn table(folder: &Path) -> BTreeMap<char, String> {
    let text = fs::read_to_string(folder.join("dovecot-keywords")).unwrap_or_default();
    let entries = text.lines().filter_map(|line| line.split_once(' '));
    let letter = |number: &str| char::from(b'a' + number.parse::<u8>().expect("a number"));
    entries.map(|(number, keyword)| (letter(number), keyword.to_owned())).collect()
}

/// The letter of a keyword in a folder; a reader that knows of the table gives it the next one.
fn letter(folder: &Path, keyword: &str) -> Option<char> {
    let table = table(folder);
    let known = table.iter().find(|(_, known)| known.eq_ignore_ascii_case(keyword)).map(|(letter, _)| *letter);
    known.or_else(|| {
        let number = u8::try_from(table.len()).expect("a few").checked_rem(26).filter(|_| table.len() < 26)?;
        let file = folder.join("dovecot-keywords");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, format!("{before}{number} {keyword}\n")).expect("the table can be written");
        Some(char::from(b'a' + number))
    })
}

fn base_of(file: &Path) -> String {
    let name = file.file_name().expect("a file has a name").to_string_lossy();
    name.split(":2,").next().unwrap_or_default().to_owned()
}

/// Copies a directory with the times and modes of what is in it; what is not there is not copied.
fn copy(from: &Path, to: &Path) {
    let Ok(found) = from.symlink_metadata() else { return };
    if found.is_dir() {
        fs::create_dir(to).expect("mkdir");
        for entry in fs::read_dir(from).expect("it can be listed").flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("it can be copied");
    }
    fs::set_permissions(to, found.permissions()).expect("modes can be set");
    let time = |sec: i64, nsec: i64| Timespec { tv_sec: sec, tv_nsec: nsec };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times can be set");
}
