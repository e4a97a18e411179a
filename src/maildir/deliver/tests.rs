//! Deliveries, held against crashes, planted links and another reader.

use super::*;
use crate::mail::fingerprint;
use crate::maildir::folder::tests::{inbox, marker};
use crate::maildir::{NameGenerator, Owner, Removal, Removed, Retention, RootMarker, remove};
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt as _, symlink};

pub fn base(text: &str) -> BaseName {
    BaseName::new(text.as_bytes()).expect("a name")
}

fn date(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

pub fn stage(folder: &Folder, name: &str, text: &str) -> Staged {
    let mut delivery = Delivery::begin(folder, &base(name)).expect("begun");
    delivery.write(text.as_bytes()).expect("written");
    delivery.finish(date(1_000_000_000)).expect("staged")
}

/// A message in the folder, as the worker puts it there.
pub fn deliver(folder: &Folder, name: &str, flags: &str, text: &str) -> ScannedFile {
    let flags = Flags::parse(flags);
    let arrival = Arrival {
        staged: stage(folder, name, text),
        base: base(name),
        subdir: place(&folder.letters(), &flags, None),
        flags,
    };
    publish(folder, vec![arrival]).remove(0).expect("published")
}

#[test]
fn a_message_arrives_with_its_date_its_flags_and_its_line_ends() {
    let (tmp, _, folder) = inbox();
    let text = "A: b\r\n\r\nbody\r\n";
    let seen = deliver(&folder, "1.a", "\\Seen \\Flagged work", text);
    let unseen = deliver(&folder, "2.b", "", text);
    assert_eq!((seen.subdir, &*seen.file_name), (Subdir::Cur, &b"1.a:2,FS"[..]));
    assert_eq!((unseen.subdir, &*unseen.file_name), (Subdir::New, &b"2.b"[..]));
    let meta = std::fs::metadata(tmp.path().join("INBOX/cur/1.a:2,FS")).expect("there");
    assert_eq!((meta.mtime(), meta.mode() & 0o777, meta.ino()), (1_000_000_000, 0o600, seen.inode));
    assert_eq!(std::fs::read(tmp.path().join("INBOX/new/2.b")).expect("read"), b"A: b\n\nbody\n");
    assert_eq!(std::fs::read_dir(tmp.path().join("INBOX/tmp")).expect("listed").count(), 0);
    let scan = folder.scan().expect("scanned");
    assert_eq!((&scan.files[&base("1.a")], &scan.files[&base("2.b")]), (&seen, &unseen));
}

#[test]
fn what_is_published_is_what_another_reader_lists() {
    let (tmp, _, folder) = inbox();
    let mut names = NameGenerator::new(1_700_000_000, 1, 2, "host", 3);
    let all = ["", "\\Seen", "\\Answered \\Draft", "\\Deleted \\Flagged $Forwarded", "\\Seen work"];
    let arrivals: Vec<Arrival> = (0..40)
        .map(|n| {
            let (base, flags) = (names.next(), Flags::parse(all[n % all.len()]));
            let mut delivery = Delivery::begin(&folder, &base).expect("begun");
            delivery.write(format!("Subject: {n}\r\n\r\n").as_bytes()).expect("written");
            Arrival {
                staged: delivery.finish(date(5)).expect("staged"),
                base,
                subdir: place(&folder.letters(), &flags, None),
                flags,
            }
        })
        .collect();
    let bases: Vec<String> = arrivals.iter().map(|a| a.base.to_string()).collect();
    assert!(publish(&folder, arrivals).iter().all(Result::is_ok));
    let oracle = maildir::Maildir::from(tmp.path().join("INBOX"));
    let mut listed: Vec<(String, String)> = oracle
        .list_new()
        .chain(oracle.list_cur())
        .map(|m| m.map(|m| (m.id().to_owned(), m.flags().to_owned())).expect("a message"))
        .collect();
    let letters = ["", "S", "DR", "FPT", "S"];
    let mut expected: Vec<(String, String)> =
        bases.into_iter().enumerate().map(|(n, b)| (b, letters[n % letters.len()].to_owned())).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!((oracle.count_new(), oracle.count_cur()), (8, 32));
}

#[test]
fn an_abandoned_message_leaves_nothing_and_a_crashed_one_is_replaced() {
    let (tmp, _, folder) = inbox();
    let left = || std::fs::read_dir(tmp.path().join("INBOX/tmp")).expect("listed").count();
    let mut half = Delivery::begin(&folder, &base("1.a")).expect("begun");
    half.write(b"half a mess").expect("written");
    assert_eq!(left(), 1);
    drop(half);
    drop(stage(&folder, "1.a", "whole"));
    assert_eq!(left(), 0);
    std::fs::write(tmp.path().join("INBOX/tmp/1.a"), "what a crash left, longer than the message").expect("written");
    deliver(&folder, "1.a", "", "whole\r\n");
    assert_eq!(std::fs::read(tmp.path().join("INBOX/new/1.a")).expect("read"), b"whole\n");
    assert_eq!(folder.scan().expect("scanned").files.len(), 1);
}

#[test]
fn a_taken_name_is_never_overwritten_and_stops_no_other() {
    let (tmp, _, folder) = inbox();
    deliver(&folder, "1.a", "", "first\n");
    let arrival = |name: &str| Arrival {
        staged: stage(&folder, &format!("{name}.tmp"), "second\n"),
        base: base(name),
        flags: Flags::new(),
        subdir: Subdir::New,
    };
    let results = publish(&folder, vec![arrival("1.a"), arrival("2.b")]);
    assert!(matches!(&results[..], [Err(Error::Exists { .. }), Ok(_)]), "{results:?}");
    assert_eq!(std::fs::read(tmp.path().join("INBOX/new/1.a")).expect("read"), b"first\n");
    assert_eq!(std::fs::read_dir(tmp.path().join("INBOX/tmp")).expect("listed").count(), 0);
}

#[test]
fn a_planted_link_is_replaced_and_not_written_through() {
    let (tmp, _, folder) = inbox();
    let victim = tmp.path().join("victim");
    std::fs::write(&victim, "precious").expect("written");
    symlink(&victim, tmp.path().join("INBOX/tmp/1.a")).expect("made");
    symlink(&victim, tmp.path().join("INBOX/new/2.b")).expect("made");
    deliver(&folder, "1.a", "", "text\n");
    let arrival = Arrival {
        staged: stage(&folder, "2.b", "text\n"),
        base: base("2.b"),
        flags: Flags::new(),
        subdir: Subdir::New,
    };
    assert!(matches!(publish(&folder, vec![arrival]).remove(0), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read(&victim).expect("read"), b"precious");
}

#[test]
fn new_is_for_what_nobody_has_seen_or_put_away() {
    let none = Flags::new();
    let letters = Letters::new(crate::maildir::Keywords::Database);
    assert_eq!(place(&letters, &none, None), Subdir::New);
    assert_eq!(place(&letters, &Flags::parse("work"), Some(SpecialUse::Flagged)), Subdir::New);
    assert_eq!(place(&letters, &Flags::parse("\\Flagged"), None), Subdir::Cur);
    for role in [SpecialUse::Sent, SpecialUse::Drafts, SpecialUse::Trash, SpecialUse::Archive, SpecialUse::Junk] {
        assert_eq!(place(&letters, &none, Some(role)), Subdir::Cur);
    }
}

#[test]
fn only_our_own_old_drafts_are_swept() {
    let (tmp, _, folder) = inbox();
    let ours = NameGenerator::new(1, 2, 3, "host", 4).next();
    for name in [ours.to_string(), "1.M1P2.other".into(), NameGenerator::new(1, 2, 3, "other", 4).next().to_string()] {
        std::fs::write(tmp.path().join("INBOX/tmp").join(name), "x").expect("written");
    }
    let hours = |h: u64| SystemTime::now() + Duration::from_secs(h * 3600);
    assert_eq!(sweep_tmp(&folder, "host", hours(35)).expect("swept"), 0);
    assert_eq!(sweep_tmp(&folder, "host", hours(37)).expect("swept"), 1);
    assert_eq!(std::fs::read_dir(tmp.path().join("INBOX/tmp")).expect("listed").count(), 2);
}

#[test]
fn a_date_before_1970_is_kept() {
    let (tmp, _, folder) = inbox();
    let mut delivery = Delivery::begin(&folder, &base("1.a")).expect("begun");
    delivery.write(b"x").expect("written");
    let staged = delivery.finish(UNIX_EPOCH - Duration::from_secs(86_400)).expect("staged");
    assert_eq!(std::fs::metadata(tmp.path().join("INBOX/tmp/1.a")).expect("there").mtime(), -86_400);
    assert_eq!(staged.size, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_a_message_is_cut_it_is_stored_the_same(text in "[a:\r\n]{0,60}", cuts in prop::collection::vec(1usize..9, 1..9)) {
        let (tmp, _, folder) = inbox();
        let mut delivery = Delivery::begin(&folder, &base("1.a")).expect("begun");
        let (mut rest, mut sizes) = (text.as_bytes(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(*sizes.next().expect("a cycle")));
            delivery.write(part).expect("written");
            rest = after;
        }
        let staged = delivery.finish(date(1)).expect("staged");
        prop_assert_eq!(staged.fingerprint, fingerprint::of(text.as_bytes()));
        prop_assert_eq!(staged.size, text.len() as u64);
        let stored = std::fs::read(tmp.path().join("INBOX/tmp/1.a")).expect("read");
        prop_assert_eq!(fingerprint::of(&stored), staged.fingerprint);
        prop_assert_eq!(stored, text.replace("\r\n", "\n").into_bytes());
    }
}

/// The mask belongs to the process, so the test runs itself again in one of its own.
#[test]
fn what_we_make_is_private_even_without_a_umask() {
    const CHILD: &str = "MAILTWIN_TEST_WITHOUT_UMASK";
    let this = "maildir::deliver::tests::what_we_make_is_private_even_without_a_umask";
    if std::env::var_os(CHILD).is_none() {
        let program = std::env::current_exe().expect("a test program");
        let status = std::process::Command::new("sh")
            .args(["-c", "umask 000; exec \"$0\" --exact \"$1\""])
            .arg(program)
            .arg(this)
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.expect("it starts").success());
        return;
    }
    let (tmp, root, folder) = inbox();
    let area = Retention::open(tmp.path(), "work").expect("open");
    let owner = Owner { account: "a".into(), state: marker(1).state };
    root.write_marker(&RootMarker { owner, place: "/state".into(), generation: 1 }).expect("written");
    deliver(&folder, "1.a", "\\Seen", "x\n");
    let known = deliver(&folder, "2.b", "", "x\n");
    assert_eq!(remove(&folder, &[Removal { base: base("2.b"), known }], &area, 1, date(1)), [Ok(Removed::Done)]);
    let _open = Delivery::begin(&folder, &base("3.c")).expect("begun");
    let (mut dirs, mut seen) = (vec![tmp.path().to_owned()], 0);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("listed") {
            let path = entry.expect("an entry").path();
            let meta = std::fs::symlink_metadata(&path).expect("there");
            let expected = if meta.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(meta.mode() & 0o7777, expected, "{}", path.display());
            seen += 1;
            dirs.extend(meta.is_dir().then_some(path));
        }
    }
    assert_eq!(seen, 11);
}
