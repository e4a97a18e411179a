//! What is timed: an edit on one side, a while of quiet, and the run that carries it over.

use crate::corpus::{self, Session};
use crate::link::Link;
use crate::support::dovecot::Dovecot;
use crate::tools::Account;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// A case. Their order is that of a run, since each goes on from where the one before it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    Pull,
    Unchanged,
    ChangesThere,
    FlagsHere,
    Uploads,
    Deletions,
    Moves,
}

/// What a run took.
#[derive(Clone, Copy)]
pub struct Figures {
    pub seconds: f64,
    pub turns: u64,
    pub peak_kb: u64,
}

/// Files that lie still for less are looked at twice by who takes care.
const QUIET: Duration = Duration::from_secs(5);

impl Case {
    pub const ALL: [Self; 7] =
        [Self::Pull, Self::Unchanged, Self::ChangesThere, Self::FlagsHere, Self::Uploads, Self::Deletions, Self::Moves];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "initial pull",
            Self::Unchanged => "unchanged",
            Self::ChangesThere => "100 new and 300 flag changes there",
            Self::FlagsHere => "1,000 flag changes here",
            Self::Uploads => "2,000 uploads",
            Self::Deletions => "800 deletions here",
            Self::Moves => "600 moves here",
        }
    }
}

/// Makes the edit of a case, waits, and runs.
pub fn run(case: Case, account: &Account, dovecot: &Dovecot, link: &Link, messages: usize) -> Figures {
    edit(case, account, dovecot, messages);
    if case != Case::Pull {
        sleep(QUIET);
    }
    link.turns();
    let (took, peak_kb) = account.synchronise();
    Figures { seconds: took.as_secs_f64(), turns: link.turns(), peak_kb }
}

fn edit(case: Case, account: &Account, dovecot: &Dovecot, messages: usize) {
    // A smaller corpus has smaller edits.
    let share = |count: usize| (count * messages / 16_000).max(1);
    match case {
        Case::Pull | Case::Unchanged => {}
        Case::ChangesThere => change_there(account, dovecot, share(100), share(300)),
        Case::FlagsHere => {
            for file in files(account).into_iter().step_by(3).take(share(1000)) {
                let name = name_of(&file);
                let (base, letters) = name.split_once(":2,").unwrap_or((&name, ""));
                let mut letters: Vec<char> = letters.chars().chain(['F']).collect();
                letters.sort_unstable();
                letters.dedup();
                let folder = file.parent().and_then(|part| part.parent()).expect("a folder");
                let letters: String = letters.into_iter().collect();
                fs::rename(&file, folder.join("cur").join(format!("{base}:2,{letters}"))).expect("renamed");
            }
        }
        Case::Uploads => {
            for number in 0..share(2000) {
                let folder = account.maildir().join(corpus::mailbox(number % 8));
                let name = format!("1710000000.M{number}P1.reader:2,S");
                fs::write(folder.join("tmp").join(&name), corpus::message(1_000_000 + number)).expect("written");
                fs::rename(folder.join("tmp").join(&name), folder.join("cur").join(&name)).expect("renamed");
            }
        }
        Case::Deletions => {
            files(account)
                .into_iter()
                .step_by(5)
                .take(share(800))
                .for_each(|file| fs::remove_file(file).expect("removed"));
        }
        Case::Moves => {
            for (number, file) in files(account).into_iter().step_by(7).take(share(600)).enumerate() {
                let name = name_of(&file);
                let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
                // As mail readers move: another directory, another name.
                let target = account.maildir().join(corpus::mailbox(number % 5 + 20)).join("cur");
                fs::rename(&file, target.join(format!("1720000000.M{number}P1.reader:2,{letters}"))).expect("moved");
            }
        }
    }
}

fn change_there(account: &Account, dovecot: &Dovecot, new: usize, flags: usize) {
    let mut session = Session::open(dovecot, &account.user);
    for number in 0..new {
        session.append(&corpus::mailbox(number % 4), &corpus::message(2_000_000 + number));
    }
    for number in 0..10 {
        session.run(&format!("SELECT {}", corpus::mailbox(number)));
        session.run(&format!("STORE 1:{} +FLAGS.SILENT (\\Answered)", (flags / 10).max(1)));
    }
}

/// Every message of the Maildir that is in no special mailbox, in an order that both programs share.
fn files(account: &Account) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for number in 0..29 {
        for part in ["new", "cur"] {
            let directory = account.maildir().join(corpus::mailbox(number)).join(part);
            let mut files: Vec<PathBuf> =
                fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            found.extend(files);
        }
    }
    found
}

fn name_of(file: &std::path::Path) -> String {
    file.file_name().expect("a name").to_string_lossy().into_owned()
}

impl Figures {
    /// The median of each figure.
    pub fn median(all: &[Self]) -> Self {
        let mut seconds: Vec<f64> = all.iter().map(|f| f.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let middle = |numbers: fn(&Self) -> u64| {
            let mut numbers: Vec<u64> = all.iter().map(numbers).collect();
            numbers.sort_unstable();
            numbers[numbers.len() / 2]
        };
        Self { seconds: seconds[seconds.len() / 2], turns: middle(|f| f.turns), peak_kb: middle(|f| f.peak_kb) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.2} s {:5} turns {:6} kB", self.seconds, self.turns, self.peak_kb)
    }
}
