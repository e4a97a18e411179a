//! The store is killed at random moments, and before each commit; nothing that it acknowledged may be lost.
//!
//! The test starts itself again as a child that commits without end. What the store holds after n commits is known, so
//! the parent can tell from what it finds how many there were, and whether each is whole or absent.

use mailtwin::mail::{BaseName, Flags, MailboxName, Uid, UidValidity};
use mailtwin::store::{Health, Settlement, Store};
use mailtwin::sync::{
    Action, Batch, BatchId, Change, GuardMemory, Known, Lone, MailboxId, MailboxRecord, Pair, Picture, Why, Work,
};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const CHILD: &str = "MAILTWIN_TEST_STORE";
const BOXES: [MailboxId; 2] = [MailboxId(1), MailboxId(2)];

/// Everything that a store shows.
#[derive(Clone, Default, PartialEq, Debug)]
struct Content {
    generation: u64,
    batches: Vec<Batch>,
    mailboxes: BTreeMap<MailboxId, MailboxRecord>,
    guard: GuardMemory,
    pictures: BTreeMap<MailboxId, Picture>,
}

impl Content {
    fn read(store: &Store) -> Self {
        Self {
            generation: store.generation(),
            batches: store.batches().expect("reads"),
            mailboxes: store.mailboxes().expect("reads").into_iter().map(|mailbox| (mailbox.id, mailbox)).collect(),
            guard: store.guard().expect("reads"),
            pictures: BOXES.into_iter().map(|id| (id, store.picture(id).expect("reads"))).collect(),
        }
    }

    /// The number of commits: each generation is begun and settled in turn.
    fn commits(&self) -> u64 {
        2 * self.generation - u64::from(!self.batches.is_empty())
    }

    /// What follows from the next commit.
    fn advance(&mut self) {
        if self.batches.is_empty() {
            self.generation += 1;
            let (g, works) = (self.generation, works(self.generation));
            let first = 2 * (g - 1) + 1;
            let batches = (first..).zip(works).map(|(id, work)| Batch { id: BatchId(id), generation: g, work });
            self.batches = batches.collect();
        } else {
            let Settlement { forgotten_pictures, changes, mailboxes, guard, .. } = settlement(self.generation);
            self.batches.clear();
            for mailbox in forgotten_pictures {
                self.pictures.insert(mailbox, Picture::new());
            }
            for (mailbox, changes) in changes {
                let picture = self.pictures.entry(mailbox).or_default();
                changes.into_iter().for_each(|change| picture.apply(change));
            }
            self.mailboxes.extend(mailboxes.into_iter().map(|mailbox| (mailbox.id, mailbox)));
            self.guard = guard.unwrap_or_default();
        }
    }
}

fn uid(number: u64) -> Uid {
    Uid::new(number as u32).expect("not zero")
}

fn name(number: u64) -> BaseName {
    BaseName::new(format!("17{number:08}.M1P2Q{number}R3.host").as_bytes()).expect("a name")
}

/// Two batches; some of them take many parts.
fn works(g: u64) -> Vec<Work> {
    let work = |mailbox, count| Work::Messages {
        mailbox,
        uid_validity: UidValidity::new(1).expect("not zero"),
        actions: (1..=count).map(|n| Action::Fetch { uid: uid(n), name: name(n), flags: Flags::new() }).collect(),
        from: BTreeMap::new(),
    };
    vec![work(BOXES[0], 1 + g * 37 % 300), work(BOXES[1], 1)]
}

/// Changes in many chunks of both mailboxes, now and then all of them.
fn settlement(g: u64) -> Settlement {
    let change = |n: u64| {
        let at = 1 + (g * 131 + n * 53) % 3000;
        match (g + n) % 7 {
            0 => Change::Uid(uid(at), None),
            1 => Change::Local(name(at), Some(Lone { flags: Flags::parse("\\Draft"), why: Why::Pending })),
            _ => Change::Uid(uid(at), Some(Known::Pair(Pair::agreed(name(at + g % 3), Flags::parse("\\Seen"), None)))),
        }
    };
    let record = MailboxRecord::new(BOXES[0], MailboxName::inbox(), Some(format!("INBOX {g}")));
    Settlement {
        closed: vec![BatchId(2 * g - 1), BatchId(2 * g)],
        forgotten_pictures: if g.is_multiple_of(13) { vec![BOXES[1]] } else { Vec::new() },
        changes: BOXES.into_iter().map(|id| (id, (0..60 + g % 100).map(change).collect())).collect(),
        mailboxes: vec![record],
        forgotten_mailboxes: vec![],
        uploads: None,
        guard: Some(GuardMemory { last_set: g as u32, ..GuardMemory::default() }),
        ..Settlement::default()
    }
}

/// Not a test of its own: the child. It commits, and says so after each commit, until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut out = std::io::stdout();
    let (store, _) = Store::open(Path::new(&dir)).expect("opens");
    let mut content = Content::read(&store);
    loop {
        // A leading line feed keeps the line apart from what the test harness prints. A parent that is gone ends it.
        if writeln!(out, "\nack {}", content.commits()).and_then(|()| out.flush()).is_err() {
            return;
        }
        if content.batches.is_empty() {
            store.begin(works(content.generation + 1)).expect("begins");
        } else {
            store.settle(settlement(content.generation)).expect("settles");
        }
        content.advance();
    }
}

fn spawn(dir: &Path, settings: &[(&str, &str)]) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().expect("has a name"));
    command.args(["--exact", "store_kill::child", "--nocapture", "--test-threads=1"]).env(CHILD, dir);
    command.envs(settings.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    let out = BufReader::new(child.stdout.take().expect("is piped"));
    (child, out)
}

fn acknowledged(line: &str) -> Option<u64> {
    line.trim().strip_prefix("ack ")?.parse().ok()
}

/// Reads lines until the child acknowledged `count` times more; returns the last number.
fn read_acknowledgements(out: &mut BufReader<ChildStdout>, count: u64) -> Option<u64> {
    let mut last = None;
    let mut seen = 0;
    let mut line = String::new();
    while seen < count {
        line.clear();
        if out.read_line(&mut line).expect("reads") == 0 {
            break;
        }
        if let Some(number) = acknowledged(&line) {
            (last, seen) = (Some(number), seen + 1);
        }
    }
    last
}

#[test]
fn a_killed_store_loses_nothing_that_it_acknowledged_and_halves_no_commit() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("account");
    let mut random = fastrand::Rng::new();
    let mut model = Content { pictures: BOXES.map(|id| (id, Picture::new())).into(), ..Content::default() };
    let mut kills_beside = 0;
    for round in 0..40 {
        let (mut child, mut out) = spawn(&dir, &[]);
        // Half of them die by their work, half by the clock: then also while they open.
        let mut last = if round % 2 == 0 {
            let last = read_acknowledgements(&mut out, random.u64(5..40));
            std::thread::sleep(Duration::from_micros(random.u64(0..4000)));
            last
        } else {
            std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
            None
        };
        child.kill().expect("dies");
        child.wait().expect("is dead");
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("reads");
        // A line that was cut is no acknowledgement.
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        last = whole.lines().filter_map(acknowledged).next_back().or(last);

        let (store, health) = Store::open(&dir).expect("opens after a kill");
        assert!(!matches!(health, Health::SetAside(_)), "round {round}: {health:?}");
        let found = Content::read(&store);
        if let Some(last) = last {
            assert!(found.commits() >= last, "round {round}: {last} acknowledged, {} found", found.commits());
            assert!(found.commits() <= last + 1, "round {round}: {last} acknowledged, {} found", found.commits());
            kills_beside += u64::from(found.commits() > last);
        }
        assert!(found.commits() >= model.commits(), "round {round}: older than before");
        while model.commits() < found.commits() {
            model.advance();
        }
        assert!(found == model, "round {round}: after {} commits it is not what was committed", found.commits());
        store.close().expect("closes");
    }
    assert!(model.commits() >= 80, "only {} commits", model.commits());
    let note = format!("{} commits, {kills_beside} kills between a commit and its word\n", model.commits());
    std::io::stdout().write_all(note.as_bytes()).expect("out");
}

#[test]
fn a_second_process_is_told_who_the_first_is() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("account");
    let (mut child, mut out) = spawn(&dir, &[]);
    assert!(read_acknowledgements(&mut out, 1).is_some());
    let refused = Store::open(&dir).err().map(|error| error.to_string());
    child.kill().expect("dies");
    child.wait().expect("is dead");
    let expected = format!("process {} (", child.id());
    assert!(refused.as_ref().is_some_and(|text| text.starts_with(&expected)), "{refused:?}");
    Store::open(&dir).expect("is free");
}

#[test]
fn an_open_store_takes_little_memory() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut child, mut out) = spawn(&root.path().join("account"), &[]);
    assert!(read_acknowledgements(&mut out, 1).is_some());
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("reads");
    child.kill().expect("dies");
    child.wait().expect("is dead");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak: u64 = peak.expect("Linux tells the peak");
    assert!(peak < 16_000, "{peak} kB; the database library touches its unused counters, 21 MB, without its feature");
}

#[cfg(feature = "steps")]
#[test]
fn an_abort_before_each_commit_leaves_the_commits_before_it() {
    let mut sites = Vec::new();
    for step in 1..=12u64 {
        let root = tempfile::tempdir().expect("a directory");
        let (dir, trace) = (root.path().join("account"), root.path().join("steps"));
        let (at, path) = (step.to_string(), trace.to_str().expect("is text"));
        let (mut child, mut out) = spawn(&dir, &[("MAILTWIN_KILL_AT", &at), ("MAILTWIN_STEPS", path)]);
        let last = read_acknowledgements(&mut out, u64::MAX);
        assert!(!child.wait().expect("is dead").success());
        let steps = std::fs::read_to_string(&trace).expect("reads");
        sites = steps.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
        assert_eq!(sites.len() as u64, step);

        let (store, health) = Store::open(&dir).expect("opens");
        let found = Content::read(&store);
        // The first step makes the database; the second is the first begin.
        assert_eq!((health == Health::New, last), (step == 1, step.checked_sub(2)));
        let mut model = Content { pictures: BOXES.map(|id| (id, Picture::new())).into(), ..Content::default() };
        (0..last.unwrap_or(0)).for_each(|_| model.advance());
        assert!(found == model, "before step {step}");
    }
    let expected = ["store.create", "store.begin", "store.settle", "store.begin", "store.settle"];
    assert_eq!(sites[..5], expected);
}
