use super::samples::{self, name, ordinary_pair, uid};
use super::*;
use crate::mail::{Flags, MailboxName, Uidl};
use crate::sync::maildrop::{Entry, Ledger, Name};
use crate::sync::{Deed, Known, Lone, Place, RemovedMessage, Why};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;
use tempfile::TempDir;

mod damage;

const HERE: MailboxId = MailboxId(1);

fn directory() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("state").join("account");
    (root, dir)
}

fn open(dir: &Path) -> Store {
    Store::open(dir).expect("opens").0
}

fn health(dir: &Path) -> Health {
    Store::open(dir).expect("opens").1
}

fn remembered(number: u32) -> Change {
    Change::Uid(uid(number), Some(Known::Pair(ordinary_pair(number))))
}

fn changed(changes: Vec<Change>) -> Settlement {
    Settlement { changes: vec![(HERE, changes)], ..Settlement::default() }
}

fn work(count: u32) -> Work {
    Work::Messages {
        mailbox: HERE,
        uid_validity: samples::epoch(1),
        actions: (1..=count)
            .map(|n| crate::sync::Action::Fetch { uid: uid(n), name: ordinary_pair(n).name, flags: Flags::new() })
            .collect(),
        from: BTreeMap::new(),
    }
}

fn picture_of(changes: impl IntoIterator<Item = Change>) -> Picture {
    let mut picture = Picture::new();
    changes.into_iter().for_each(|change| picture.apply(change));
    picture
}

#[test]
fn a_new_state_is_private_and_has_an_identity_that_stays() {
    let (_root, dir) = directory();
    let (store, found) = Store::open(&dir).expect("opens");
    assert_eq!(found, Health::New);
    for made in [dir.as_path(), dir.parent().expect("a parent")] {
        assert_eq!(made.metadata().expect("is there").permissions().mode() & 0o777, 0o700);
    }
    let identity = store.identity();
    assert_ne!(identity, [0; 16]);
    store.close().expect("closes");
    let (store, found) = Store::open(&dir).expect("opens");
    assert_eq!((found, store.identity()), (Health::Clean, identity));
    let (_root, other) = directory();
    assert_ne!(open(&other).identity(), identity);
}

#[test]
fn what_was_begun_and_settled_is_there_after_a_restart() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let id = store.next_mailbox_id();
    assert_eq!((id, store.next_mailbox_id()), (MailboxId(1), MailboxId(2)));
    let begun = store.begin(vec![work(2), work(700)]).expect("begins");
    assert_eq!(begun.iter().map(|b| (b.id.0, b.generation)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    let record = MailboxRecord::new(id, MailboxName::inbox(), Some("INBOX".into()));
    let guard = GuardMemory { last_set: 7, ..GuardMemory::default() };
    let settlement = Settlement {
        closed: vec![BatchId(1)],
        mailboxes: vec![record.clone()],
        guard: Some(guard.clone()),
        ..changed(vec![remembered(1), remembered(2)])
    };
    store.settle(settlement).expect("settles");
    drop(store);

    let store = open(&dir);
    assert_eq!(store.generation(), 1);
    assert_eq!(store.batches().expect("reads"), begun[1..]);
    assert_eq!(store.mailboxes().expect("reads"), [record]);
    assert_eq!(store.guard().expect("reads"), guard);
    assert_eq!(store.picture(HERE).expect("reads"), picture_of([remembered(1), remembered(2)]));
    assert_eq!(store.picture(MailboxId(9)).expect("reads"), Picture::new());
    assert_eq!(store.next_mailbox_id(), MailboxId(3));
    assert_eq!(store.begin(vec![work(1)]).expect("begins")[0].id, BatchId(3));
    assert!(store.size_on_disk().expect("tells") > 0);
}

#[test]
fn what_is_new_to_nobody_is_not_written() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let settlement = changed((1..100).map(remembered).collect());
    store.settle(settlement.clone()).expect("settles");
    let log = || std::fs::read(dir.join("db/db")).expect("the log");
    let before = (log(), dir.join("db/db").metadata().and_then(|m| m.modified()).expect("a time"));
    assert!(store.begin(Vec::new()).expect("nothing").is_empty());
    store.settle(Settlement::default()).expect("nothing");
    store.settle(settlement).expect("nothing new");
    store.settle(changed(vec![Change::Uid(uid(5000), None), Change::Local(name("x"), None)])).expect("nothing new");
    store.settle(Settlement { closed: vec![BatchId(9)], ..Settlement::default() }).expect("nothing to close");
    assert!(before == (log(), dir.join("db/db").metadata().and_then(|m| m.modified()).expect("a time")));
}

#[test]
fn a_change_of_one_message_rewrites_one_chunk() {
    let (_root, dir) = directory();
    let store = open(&dir);
    store.settle(changed((1..=10_000).map(remembered).collect())).expect("settles");
    let memory = store.memory();
    let mut draft = Draft::new(&store.database, memory.next_header());
    draft.break_seal(HERE, memory.seal(HERE));
    let mut pieces = Pieces::new(&store.database, HERE, memory.names[&HERE].clone(), false);
    let mut pair = ordinary_pair(5000);
    pair.agreed = Flags::parse("\\Flagged");
    pieces.apply(Change::Uid(uid(5000), Some(Known::Pair(pair)))).expect("applies");
    pieces.write(&mut draft).expect("writes");
    let ready = draft.finish().expect("is ready").expect("is something");
    // The chunk in one part, its seal, the header.
    assert_eq!(format!("{:?}", ready.batch).matches("Some(").count(), 3);
}

#[test]
fn a_mailbox_with_the_longest_names_and_reasons_stays_in_the_log() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let reason = "r".repeat(3000);
    let long = |n: u32| {
        let mut pair = ordinary_pair(n);
        pair.name = name(format!("{n:05}{}", "n".repeat(250)));
        pair.trouble = Some(crate::sync::Quarantine { reason: reason.clone(), attempts: n, due: 1 });
        Change::Uid(uid(n), Some(Known::Pair(pair)))
    };
    for round in 0..6 {
        let numbers = (1..400).filter(|n| round == 0 || n % round == 0);
        store.settle(changed(numbers.map(|n| long(n + round)).collect())).expect("settles without spilling");
        store.settle(changed((100..300).map(|n| Change::Uid(uid(n), None)).collect())).expect("settles");
    }
    let before = store.picture(HERE).expect("reads");
    drop(store);
    let (store, found) = Store::open(&dir).expect("opens");
    assert_eq!(found, Health::Clean);
    assert_eq!(store.picture(HERE).expect("reads"), before);
}

#[test]
fn a_forgotten_picture_is_gone_before_the_new_one_is_taken_in() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let other = MailboxId(2);
    store.settle(changed((1..=300).map(remembered).collect())).expect("settles");
    store.settle(Settlement { changes: vec![(other, vec![remembered(9)])], ..Settlement::default() }).expect("settles");
    let new = vec![remembered(7), remembered(1000)];
    store.settle(Settlement { forgotten_pictures: vec![HERE], ..changed(new.clone()) }).expect("settles");
    drop(store);
    let store = open(&dir);
    assert_eq!(store.picture(HERE).expect("reads"), picture_of(new));
    assert_eq!(store.picture(other).expect("reads"), picture_of([remembered(9)]));
    store.settle(Settlement { forgotten_pictures: vec![HERE, other], ..Settlement::default() }).expect("settles");
    drop(store);
    let store = open(&dir);
    assert!(store.picture(HERE).expect("reads").is_empty() && store.picture(other).expect("reads").is_empty());
}

#[test]
fn the_ledger_of_a_drop_is_kept_beside_its_picture_and_goes_with_it() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let entry = |n: u32| Entry::new(Name::Unique(Uidl::new(format!("u{n}")).expect("a unique-id")), Some(n.into()));
    let turns = |all: std::ops::RangeInclusive<u32>| all.map(|n| (uid(n), Some(entry(n)))).collect();
    let entries = vec![(HERE, turns(1..=100)), (HERE, vec![(uid(7), None)])];
    store.settle(Settlement { entries, ..changed(vec![remembered(1)]) }).expect("settled");
    store.settle(Settlement { entries: vec![(HERE, turns(40..=40))], ..Settlement::default() }).expect("settled");
    drop(store);
    let store = open(&dir);
    let mut expected = Ledger::default();
    (1..=100).filter(|n| *n != 7).for_each(|n| expected.apply((uid(n), Some(entry(n)))));
    assert_eq!(store.ledger(HERE).expect("whole"), expected);
    assert_eq!(store.picture(HERE).expect("whole"), picture_of([remembered(1)]));
    let again =
        Settlement { forgotten_pictures: vec![HERE], entries: vec![(HERE, turns(3..=3))], ..Settlement::default() };
    store.settle(again).expect("settled");
    assert_eq!(store.ledger(HERE).expect("whole").entries().map(|(uid, _)| uid.get()).collect::<Vec<_>>(), [3]);
    assert!(store.picture(HERE).expect("whole").is_empty());
    store.settle(Settlement { forgotten_mailboxes: vec![HERE], ..Settlement::default() }).expect("settled");
    assert!(store.ledger(HERE).expect("whole").is_empty());
    drop(store);
    assert_eq!(health(&dir), Health::Clean);
}

#[test]
fn a_second_open_is_told_that_the_first_is_there() {
    let (_root, dir) = directory();
    let store = open(&dir);
    assert!(matches!(Store::open(&dir), Err(Error::Locked { holder }) if holder.starts_with("process ")));
    assert!(matches!(Store::set_aside(&dir), Err(Error::Locked { .. })));
    drop(store);
    assert_eq!(health(&dir), Health::Clean);
}

#[test]
fn a_store_is_closed_and_opened_again_a_hundred_times() {
    let (_root, dir) = directory();
    for round in 0..100u32 {
        let (store, found) = Store::open(&dir).expect("opens");
        assert_eq!(found, if round == 0 { Health::New } else { Health::Clean });
        assert_eq!(store.generation(), u64::from(round));
        store.begin(vec![work(3)]).expect("begins");
        store.settle(changed(vec![remembered(round + 1)])).expect("settles");
    }
    assert_eq!(open(&dir).picture(HERE).expect("reads").pairs().count(), 100);
}

#[test]
fn threads_share_a_store() {
    let (_root, dir) = directory();
    let store = open(&dir);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..10 {
                    let begun = store.begin(vec![work(1)]).expect("begins");
                    let closed = begun.iter().map(|batch| batch.id).collect();
                    let number = thread * 100 + n + 1;
                    store.settle(Settlement { closed, ..changed(vec![remembered(number)]) }).expect("settles");
                }
            });
        }
    });
    assert_eq!(store.generation(), 40);
    assert_eq!((store.batches().expect("reads").len(), store.picture(HERE).expect("reads").pairs().count()), (0, 40));
}

#[test]
fn debug_shows_no_mail() {
    let (_root, dir) = directory();
    assert_eq!(format!("{:?}", open(&dir)), "Store { generation: 0, .. }");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The one thing that the pieces must get right: they are the picture.
    #[test]
    fn what_is_stored_is_what_the_picture_would_be(
        settlements in prop::collection::vec(
            (prop::collection::vec((1u32..3, samples::changes()), 0..12), any::<(bool, bool)>()), 1..6),
    ) {
        let (_root, dir) = directory();
        let mut store = open(&dir);
        let mut model: BTreeMap<MailboxId, Picture> = BTreeMap::new();
        for (changes, (forget, reopen)) in settlements {
            if reopen {
                drop(store);
                store = open(&dir);
            }
            let forgotten_pictures = if forget { vec![HERE] } else { Vec::new() };
            if forget {
                model.remove(&HERE);
            }
            let mut settlement = Settlement { forgotten_pictures, ..Settlement::default() };
            for (mailbox, change) in changes {
                let mailbox = MailboxId(mailbox);
                model.entry(mailbox).or_default().apply(change.clone());
                settlement.changes.push((mailbox, vec![change]));
            }
            store.settle(settlement).expect("settles");
            for mailbox in [HERE, MailboxId(2)] {
                let expected = model.get(&mailbox).cloned().unwrap_or_default();
                prop_assert_eq!(store.picture(mailbox).expect("reads"), expected);
            }
        }
    }
}

/// Not a claim but a measure: `cargo test --lib store::tests::measure -- --ignored --nocapture`.
#[test]
#[ignore = "a measure for people"]
fn measure() {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let (_root, dir) = directory();
    let store = open(&dir);
    let start = Instant::now();
    for block in 0..200u32 {
        store.settle(changed((1..=500).map(|n| remembered(block * 500 + n)).collect())).expect("settles");
    }
    writeln!(out, "filled with 100,000 in {:?}, {} octets", start.elapsed(), store.size_on_disk().expect("tells"))
        .expect("out");
    let waiting = |n: u32| Change::Local(ordinary_pair(n).name, Some(Lone { flags: Flags::new(), why: Why::Pending }));
    let start = Instant::now();
    store
        .settle(Settlement {
            changes: vec![(MailboxId(2), (1..=20_000).map(waiting).collect())],
            ..Settlement::default()
        })
        .expect("settles");
    writeln!(out, "20,000 local ones in {:?}", start.elapsed()).expect("out");
    let start = Instant::now();
    for round in 0..100u32 {
        let begun = store.begin(vec![work(5)]).expect("begins");
        let mut pair = ordinary_pair(round * 900 + 1);
        pair.agreed = Flags::parse("\\Flagged");
        let change = Change::Uid(uid(round * 900 + 1), Some(Known::Pair(pair)));
        let closed = begun.iter().map(|batch| batch.id).collect();
        store.settle(Settlement { closed, ..changed(vec![change]) }).expect("settles");
    }
    writeln!(out, "begin and settle: {:?} each", start.elapsed() / 100).expect("out");
    drop(store);
    for _ in 0..3 {
        let start = Instant::now();
        let store = open(&dir);
        let opened = start.elapsed();
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
        let count = store.picture(HERE).expect("reads").pairs().count();
        writeln!(out, "opened in {opened:?}, read {count} by {:?}; before reading {rss}", start.elapsed())
            .expect("out");
    }
}

fn removals(names: &[&str]) -> Removals {
    let message = |text: &&str| RemovedMessage {
        uid: None,
        name: name(text),
        flags: Flags::new(),
        print: None,
        place: Place::Retention,
        undone: false,
    };
    Removals {
        at: 1_000,
        mailbox: HERE,
        name: MailboxName::inbox(),
        uid_validity: samples::epoch(1),
        deed: Deed::RemovedHere,
        messages: names.iter().map(message).collect(),
    }
}

#[test]
fn removals_are_numbered_on_marked_and_dropped() {
    let (_root, dir) = directory();
    let store = open(&dir);
    let settle = |store: &Store, removals: Vec<Removals>, undone: Vec<u64>, dropped_removals: Vec<u64>| {
        store.settle(Settlement { removals, undone, dropped_removals, ..Settlement::default() }).expect("settles");
    };
    settle(&store, vec![removals(&["a", "b"]), removals(&[]), removals(&["c"])], vec![], vec![]);
    drop(store);
    let store = open(&dir);
    settle(&store, vec![removals(&["d"])], vec![2, 77], vec![]);
    let mut undone = removals(&["a", "b"]);
    undone.messages[1].undone = true;
    let expected = vec![(1, undone), (3, removals(&["c"])), (4, removals(&["d"]))];
    assert_eq!(store.removals().expect("reads"), expected);
    settle(&store, vec![], vec![4], vec![1, 4]);
    assert_eq!(store.removals().expect("reads"), expected[1..2]);
    drop(store);
    // What was dropped at the end frees its number, and nothing else.
    let store = open(&dir);
    settle(&store, vec![removals(&["e"])], vec![], vec![]);
    assert_eq!(store.removals().expect("reads").iter().map(|(first, _)| *first).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_long_record_of_removals_is_read_as_it_was_written() {
    let (_root, dir) = directory();
    let names: Vec<String> = (0..2_000).map(|n| format!("1700000000.M{n}P1Q1.host")).collect();
    let long = removals(&names.iter().map(String::as_str).collect::<Vec<_>>());
    open(&dir).settle(Settlement { removals: vec![long.clone()], ..Settlement::default() }).expect("settles");
    assert_eq!(open(&dir).removals().expect("reads"), [(1, long)]);
}
