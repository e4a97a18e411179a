//! On a real directory: what stirs a mailbox, what stirs all, and what stirs none.

use super::*;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A Maildir with the mailboxes INBOX and `Lists/rust`, watched.
struct Bench {
    dir: TempDir,
    watch: Watch,
}

fn make(path: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).expect("made");
    }
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().expect("a directory"), watch: Watch::new().expect("inotify") };
        make(&bench.path("INBOX"));
        make(&bench.path("Lists/rust"));
        assert_eq!(bench.cover(), Ok(true));
        bench
    }

    fn cover(&self) -> Result<bool, Blind> {
        let names = [("INBOX", "INBOX"), ("Lists/rust", "Lists.rust")].map(|(path, name)| (path.into(), name.into()));
        self.watch.cover("work", self.dir.path(), Layout::Nested, &names.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), "x").expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// What has stirred until now: the kernel tells it before the call returns that caused it.
    fn told(&self) -> Vec<Option<String>> {
        let mut stirred = BTreeSet::new();
        while !self.watch.read(&mut stirred).expect("read") {}
        assert!(stirred.iter().all(|stirred| stirred.whose == "work"));
        stirred.into_iter().map(|stirred| stirred.mailbox).collect()
    }
}

fn named(name: &str) -> Vec<Option<String>> {
    vec![Some(name.to_owned())]
}

#[tokio::test]
async fn messages_that_come_go_or_are_renamed_stir_their_mailbox() {
    let bench = Bench::new();
    bench.write("INBOX/tmp/1.a.here");
    assert_eq!(bench.told(), []);
    bench.rename("INBOX/tmp/1.a.here", "INBOX/new/1.a.here");
    assert_eq!(bench.told(), named("INBOX"));
    bench.rename("INBOX/new/1.a.here", "INBOX/cur/1.a.here:2,S");
    assert_eq!(bench.told(), named("INBOX"));
    bench.rename("INBOX/cur/1.a.here:2,S", "INBOX/cur/1.a.here:2,FS");
    assert_eq!(bench.told(), named("INBOX"));
    bench.rename("INBOX/cur/1.a.here:2,FS", "Lists/rust/cur/1.a.here:2,FS");
    assert_eq!(bench.told(), [named("INBOX"), named("Lists.rust")].concat());
    fs::remove_file(bench.path("Lists/rust/cur/1.a.here:2,FS")).expect("removed");
    assert_eq!(bench.told(), named("Lists.rust"));
    // Nor does who reads, or keeps files of his own beside the messages.
    bench.write("INBOX/cur/.index");
    bench.write("INBOX/dovecot-keywords");
    let _ = fs::read_dir(bench.path("INBOX/cur")).expect("listed").count();
    assert_eq!(bench.told(), []);
}

#[tokio::test]
async fn directories_that_come_and_go_stir_the_whole() {
    let bench = Bench::new();
    make(&bench.path("Lists/new one"));
    assert_eq!(bench.told(), [None]);
    assert_eq!(bench.cover(), Ok(true), "the new one");
    assert_eq!(bench.cover(), Ok(false), "nothing is new");
    bench.write("Lists/new one/new/2.b.here");
    assert_eq!(bench.told(), [None], "it has no name yet");
    bench.rename("Lists/rust", "Lists/crab");
    assert_eq!(bench.told(), [None]);
    fs::remove_dir_all(bench.path("INBOX")).expect("removed");
    assert_eq!(bench.told(), [None]);
    // The numbers of what is gone are given back.
    assert_eq!(bench.cover(), Ok(false));
    assert_eq!(bench.watch.places().len(), 2 + 2 * 3);
    bench.watch.uncover("work");
    bench.write("Lists/new one/new/3.c.here");
    assert_eq!(bench.told(), []);
}

#[tokio::test]
async fn what_two_accounts_share_is_told_to_both_until_one_of_them_is_gone() {
    let bench = Bench::new();
    let inbox = bench.path("INBOX");
    let cover = |whose| bench.watch.cover(whose, &inbox, Layout::MaildirPlusPlus, &BTreeMap::new());
    assert_eq!(cover("other"), Ok(true));
    bench.write("INBOX/new/1.a.here");
    let mut stirred = BTreeSet::new();
    bench.watch.read(&mut stirred).expect("read");
    assert_eq!(stirred.iter().map(|stirred| stirred.whose.as_str()).collect::<Vec<_>>(), ["other", "work"]);
    bench.watch.uncover("other");
    bench.write("INBOX/new/2.b.here");
    assert_eq!(bench.told(), named("INBOX"));
}

#[tokio::test]
async fn a_lost_count_stirs_everything() {
    let bench = Bench::new();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("the limit");
    let limit: usize = limit.trim().parse().expect("a number");
    let names = ["INBOX/cur/1.a.here:2,", "INBOX/cur/1.a.here:2,S"];
    bench.write(names[0]);
    // Each is two events, and two in a row that are the same would be one.
    for n in 0..limit / 2 + 10 {
        bench.rename(names[n % 2], names[(n + 1) % 2]);
    }
    assert_eq!(bench.told(), [None, Some("INBOX".to_owned())]);
}

#[tokio::test]
async fn a_maildir_that_is_not_there_is_watched_once_it_is() {
    let (dir, watch) = (tempfile::tempdir().expect("a directory"), Watch::new().expect("inotify"));
    let root = dir.path().join("Mail");
    let cover = || watch.cover("work", &root, Layout::Nested, &BTreeMap::new());
    assert_eq!(cover(), Ok(false));
    make(&root.join("INBOX"));
    assert_eq!(cover(), Ok(true));
    fs::rename(&root, dir.path().join("Away")).expect("moved");
    let stirred = tokio::time::timeout(Duration::from_secs(60), watch.stirred()).await.expect("in time").expect("told");
    assert_eq!(stirred.len(), 1);
    assert_eq!(cover(), Ok(false));
    assert!(watch.places().is_empty());
}
