//! What a crash, a full disk or a failing one may leave behind: it opens, and never as an empty database called clean.

use super::*;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};

/// Something that happens to the state in a directory.
type Damage = fn(&Path);

/// Something that happens to a database behind the store's back.
type Meddling = fn(&Database) -> sled::Batch;

/// A state with 3,000 messages, two generations and a batch that is open.
fn filled() -> (TempDir, PathBuf) {
    let (root, dir) = directory();
    let store = open(&dir);
    for block in 0..6u32 {
        store.settle(changed((1..=500).map(|n| remembered(block * 500 + n)).collect())).expect("settles");
    }
    store.begin(vec![work(3)]).expect("begins");
    store.begin(vec![work(30)]).expect("begins");
    store.close().expect("closes");
    // The second open writes the snapshot.
    open(&dir).close().expect("closes");
    assert!(snapshot(&dir).exists());
    (root, dir)
}

fn files(dir: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning))).collect()
}

fn snapshot(dir: &Path) -> PathBuf {
    files(&dir.join("db"), "snap.").pop().expect("a snapshot")
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("opens");
    file.seek(SeekFrom::Start(at)).expect("seeks");
    file.write_all(bytes).expect("writes");
}

/// What a caller does: opens, reads everything, and on damage sets aside. Returns the health, and whether everything
/// was there.
fn use_it(dir: &Path) -> (Health, bool) {
    let (store, health) = Store::open(dir).expect("opens");
    let whole = store.generation() == 2
        && store.batches().expect("was read at the open").len() == 2
        && match store.picture(HERE) {
            Ok(picture) => picture.pairs().count() == 3000,
            Err(error) => {
                assert!(error.is_damage(), "{error}");
                drop(store);
                let aside = Store::set_aside(dir).expect("sets aside").expect("there was one");
                assert!(aside.join("db").exists());
                return (Health::SetAside(aside), false);
            }
        };
    drop(store);
    (health, whole)
}

fn assert_kept(dir: &Path, case: &str) {
    let (health, whole) = use_it(dir);
    assert!(whole && matches!(health, Health::Clean | Health::Repaired { .. }), "{case}: {health:?}, whole: {whole}");
    assert_eq!(use_it(dir), (Health::Clean, true), "{case}");
    assert!(files(&dir.join("db"), "aside.").is_empty(), "{case}");
}

#[test]
fn damage_beside_the_log_loses_nothing() {
    let cases: [(&str, Damage); 9] = [
        ("an unfinished snapshot", |dir| {
            fs::write(dir.join("db/snap.00000000FFFFFFFF.generating"), b"half").expect("writes");
        }),
        ("an empty unfinished snapshot", |dir| {
            fs::write(dir.join("db/snap.00000000FFFFFFFF.generating"), b"").expect("writes");
        }),
        ("an emptied snapshot", |dir| fs::write(snapshot(dir), b"").expect("writes")),
        ("half a snapshot", |dir| {
            let bytes = fs::read(snapshot(dir)).expect("reads");
            fs::write(snapshot(dir), &bytes[..bytes.len() / 2]).expect("writes");
        }),
        ("a zeroed snapshot", |dir| {
            let length = fs::read(snapshot(dir)).expect("reads").len();
            fs::write(snapshot(dir), vec![0; length]).expect("writes");
        }),
        ("no snapshot", |dir| fs::remove_file(snapshot(dir)).expect("removes")),
        ("an emptied conf", |dir| fs::write(dir.join("db/conf"), b"").expect("writes")),
        ("a garbled conf", |dir| fs::write(dir.join("db/conf"), b"\x00\xffnonsense, and long").expect("writes")),
        ("a garbled format file", |dir| fs::write(dir.join("format"), b"\0\0\0\0\0\0").expect("writes")),
    ];
    for (case, damage) in cases {
        let (_root, dir) = filled();
        damage(&dir);
        assert_kept(&dir, case);
    }
}

#[test]
fn a_leftover_snapshot_is_told_as_a_repair() {
    let (_root, dir) = filled();
    fs::write(dir.join("db/snap.00000000FFFFFFFF.generating"), b"half").expect("writes");
    assert_eq!(health(&dir), Health::Repaired { what: "an unfinished snapshot was removed".into() });
}

#[test]
fn a_log_that_was_cut_or_zeroed_is_read_whole_or_set_aside() {
    let (_root, dir) = filled();
    let length = fs::metadata(dir.join("db/db")).expect("is there").len();
    drop(_root);
    let cuts = [0, 1, 4096, length / 3, length / 2, length - 65_536, length - 4096, length - 1];
    let zeros = (0..length).step_by(usize::try_from(length / 12).expect("small"));
    let damages = cuts.map(|cut| (cut, true)).into_iter().chain(zeros.map(|at| (at, false)));
    for (at, cut) in damages {
        for without_snapshot in [false, true] {
            let case = format!(
                "{} at {at} of {length}, snapshot gone: {without_snapshot}",
                if cut { "cut" } else { "zeroed" }
            );
            let (_root, dir) = filled();
            if without_snapshot {
                fs::remove_file(snapshot(&dir)).expect("removes");
            }
            let log = dir.join("db/db");
            if cut {
                OpenOptions::new().write(true).open(&log).and_then(|file| file.set_len(at)).expect("cuts");
            } else {
                overwrite(&log, at, &vec![0; 4096.min(usize::try_from(length - at).expect("small"))]);
            }
            let (health, whole) = use_it(&dir);
            match &health {
                Health::SetAside(aside) => assert!(aside.join("db").exists(), "{case}"),
                Health::Clean | Health::Repaired { .. } => assert!(whole, "{case}: {health:?}, but not whole"),
                Health::New => panic!("{case}: called new"),
            }
            // And what is there now works.
            let store = open(&dir);
            store.begin(vec![work(1)]).expect("begins");
            store.settle(changed(vec![remembered(9000)])).expect("settles");
            drop(store);
            assert_eq!(super::health(&dir), Health::Clean, "{case}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_log_is_read_whole_or_set_aside() {
    let mut random = fastrand::Rng::new();
    for _ in 0..60 {
        let (_root, dir) = filled();
        let log = dir.join("db/db");
        let mut bytes = fs::read(&log).expect("reads");
        let (at, bit) = (random.usize(..bytes.len()), random.u8(..8));
        bytes[at] ^= 1 << bit;
        fs::write(&log, bytes).expect("writes");
        let (health, whole) = use_it(&dir);
        assert!(whole || matches!(health, Health::SetAside(_)), "bit {bit} of {at}: {health:?}, but not whole");
        drop(open(&dir));
    }
}

#[test]
fn a_lost_log_is_never_called_clean_or_new() {
    for without_snapshot in [false, true] {
        let (_root, dir) = filled();
        if without_snapshot {
            fs::remove_file(snapshot(&dir)).expect("removes");
        }
        fs::remove_file(dir.join("db/db")).expect("removes");
        assert_eq!(health(&dir), Health::SetAside(dir.join("db.damaged-1")));
    }
}

#[test]
fn a_database_that_was_moved_away_by_hand_is_made_anew() {
    let (_root, dir) = filled();
    fs::remove_dir_all(dir.join("db")).expect("removes");
    assert_eq!(health(&dir), Health::New);
    assert_eq!(health(&dir), Health::Clean);
}

#[test]
fn a_kill_before_the_first_commit_leaves_nothing_that_hurts() {
    let leftovers: [&[(&str, &[u8])]; 4] = [
        &[],
        &[("conf", b"segment_size: 524288\nuse_com")],
        &[("conf", b""), ("db", b"")],
        &[("conf", b"garbage longer than eight"), ("db", b""), ("snap.0000000000000000.generating", b"x")],
    ];
    for files in leftovers {
        let (_root, dir) = directory();
        fs::create_dir_all(dir.join("db/blobs")).expect("makes");
        for (name, bytes) in files {
            fs::write(dir.join("db").join(name), bytes).expect("writes");
        }
        assert_eq!(health(&dir), Health::New, "{files:?}");
        assert_eq!(health(&dir), Health::Clean, "{files:?}");
    }
    // Made by sled, before our first record.
    let (_root, dir) = directory();
    fs::create_dir_all(&dir).expect("makes");
    drop(Database::open(&dir.join("db")).expect("opens"));
    assert_eq!(health(&dir), Health::New);
    // After our first record, before the format file.
    fs::remove_file(dir.join("format")).expect("removes");
    assert_eq!(health(&dir), Health::Clean);
    assert!(dir.join("format").exists());
}

#[test]
fn databases_set_aside_do_not_overwrite_one_another() {
    let (_root, dir) = filled();
    for number in 1..=3 {
        let aside = dir.join(format!("db.damaged-{number}"));
        assert_eq!(Store::set_aside(&dir).expect("sets aside"), Some(aside));
        assert_eq!(Store::set_aside(&dir).expect("nothing there"), None);
        assert_eq!(health(&dir), Health::New);
    }
}

#[test]
fn the_state_of_a_newer_program_is_refused_untouched() {
    let (_root, dir) = filled();
    fs::write(dir.join("format"), "mailtwin state, format 2\nand more").expect("writes");
    let before = fs::read(dir.join("db/db")).expect("reads");
    let error = Store::open(&dir).expect_err("refused");
    assert!(matches!(error, Error::Newer { found: 2, known: 1, .. }));
    let text = error.to_string();
    assert!(text.contains("was written by a newer mailtwin (format 2; this one reads up to format 1)"), "{text}");
    assert!(before == fs::read(dir.join("db/db")).expect("reads"));
}

/// Changes the database behind the store's back.
fn behind(dir: &Path, change: Meddling) {
    let database = Database::open(&dir.join("db")).expect("opens");
    database.commit(change(&database)).expect("commits");
}

#[test]
fn a_record_of_a_newer_program_is_refused_and_one_of_no_program_is_damage() {
    fn with_version(version: u8) -> sled::Batch {
        let mut part = record::encode(Key::Guard, &GuardMemory::default()).expect("encodes").remove(0);
        part.value[0] = version;
        let checksum = record::checksum(&part.key, &part.value);
        part.value[1..9].copy_from_slice(&checksum);
        let mut batch = sled::Batch::default();
        batch.insert(part.key, part.value);
        batch
    }
    let (_root, dir) = filled();
    behind(&dir, |_| with_version(2));
    assert!(matches!(Store::open(&dir), Err(Error::Newer { dir: told, found: 2, known: 1 }) if told == dir));
    assert!(!dir.join("db.damaged-1").exists());
    behind(&dir, |_| with_version(0));
    assert_eq!(health(&dir), Health::SetAside(dir.join("db.damaged-1")));
}

fn entry(database: &Database, key: Key) -> (sled::IVec, sled::IVec) {
    database.entries(&key.stem()).next().expect("is there").expect("reads")
}

#[test]
fn a_lost_old_or_altered_chunk_is_found_when_the_picture_is_read() {
    let cases: [(&str, Meddling); 3] = [
        ("parts of the picture of mailbox 1 are lost", |database| {
            let mut batch = sled::Batch::default();
            batch.remove(entry(database, Key::of_uid(HERE, uid(100))).0);
            batch
        }),
        ("parts of the picture of mailbox 1 are lost", |_| {
            let mut batch = sled::Batch::default();
            let chunk = BTreeMap::from([(uid(100), Known::Pair(ordinary_pair(100)))]);
            for part in record::encode(Key::of_uid(HERE, uid(100)), &chunk).expect("encodes") {
                batch.insert(part.key, part.value);
            }
            batch
        }),
        ("its checksum does not fit", |database| {
            let (key, mut value) = entry(database, Key::of_uid(HERE, uid(100)));
            value[20] ^= 4;
            let mut batch = sled::Batch::default();
            batch.insert(key, value);
            batch
        }),
    ];
    for (what, change) in cases {
        let (_root, dir) = filled();
        behind(&dir, change);
        let (store, found) = Store::open(&dir).expect("opens");
        assert_eq!(found, Health::Clean);
        let error = store.picture(HERE).expect_err("is damaged").to_string();
        assert!(error.starts_with("the state database is damaged: ") && error.contains(what), "{error}");
        assert!(store.settle(changed(vec![remembered(101)])).expect_err("is damaged").is_damage());
        // The rest can be saved: that picture alone is dropped.
        store.settle(Settlement { forgotten_pictures: vec![HERE], ..changed(vec![remembered(1)]) }).expect("settles");
        assert_eq!(store.picture(HERE).expect("reads"), picture_of([remembered(1)]));
        assert_eq!(store.batches().expect("reads").len(), 2);
    }
}

#[test]
fn a_lost_old_or_altered_small_record_sets_the_database_aside() {
    let cases: [Meddling; 5] = [
        |database| {
            let mut batch = sled::Batch::default();
            batch.remove(entry(database, Key::Header).0);
            batch
        },
        |database| {
            let mut batch = sled::Batch::default();
            batch.remove(entry(database, Key::Batch(BatchId(1))).0);
            batch
        },
        |_| {
            let mut batch = sled::Batch::default();
            for part in record::encode(Key::Guard, &GuardMemory::default()).expect("encodes") {
                batch.insert(part.key, part.value);
            }
            batch
        },
        |database| {
            let (key, mut value) = entry(database, Key::Seal(HERE));
            value[12] ^= 1;
            let mut batch = sled::Batch::default();
            batch.insert(key, value);
            batch
        },
        |_| {
            let mut batch = sled::Batch::default();
            batch.insert(&b"\x60stranger"[..], &b"in the house"[..]);
            batch.remove(Key::Header.part(0));
            batch
        },
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let (_root, dir) = filled();
        behind(&dir, change);
        assert_eq!(health(&dir), Health::SetAside(dir.join("db.damaged-1")), "case {number}");
        assert_eq!(health(&dir), Health::Clean);
    }
}

#[test]
fn after_a_failed_commit_the_store_refuses_everything() {
    let (_root, dir) = filled();
    let store = open(&dir);
    // What spills is not synced by sled, and so it is a failure.
    fs::write(dir.join("db/blobs/1"), b"").expect("writes");
    assert!(matches!(store.begin(vec![work(1)]), Err(Error::Spilled)));
    fs::remove_file(dir.join("db/blobs/1")).expect("removes");
    assert!(matches!(store.begin(vec![work(1)]), Err(Error::Unusable)));
    assert!(matches!(store.settle(changed(vec![remembered(1)])), Err(Error::Unusable)));
    assert!(matches!(store.picture(HERE), Err(Error::Unusable)));
    drop(store);
    assert_eq!(health(&dir), Health::Clean);
}
