use super::*;
use crate::mail::{BaseName, Flags, MailboxName, ModSeq, SpecialUse, Uid, UidSet, Uidl};
use crate::store::samples::{self, epoch, name, uid};
use crate::sync::guard::Counted;
use crate::sync::maildrop::{Entry, Looks, Name};
use crate::sync::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;

fn assemble(parts: &[Part]) -> Result<Vec<Record>, Flaw> {
    let mut assembler = Assembler::default();
    let mut records = Vec::new();
    for part in parts {
        records.extend(assembler.push(&part.key, &part.value)?);
    }
    assembler.finish()?;
    Ok(records)
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(key: Key, content: &T) {
    let parts = encode(key, content).expect("encodes");
    assert!(parts.iter().all(|part| part.value.len() <= MAX_VALUE));
    let records = assemble(&parts).expect("assembles");
    assert_eq!((records.len(), records[0].key), (1, key));
    assert_eq!(decode::<T>(&records[0].payload).as_ref(), Ok(content));
}

fn chunk() -> impl Strategy<Value = BTreeMap<Uid, Known>> {
    prop::collection::btree_map(samples::uids(), samples::knowns(), 0..8)
}

fn bucket() -> impl Strategy<Value = BTreeMap<BaseName, Lone>> {
    prop::collection::btree_map(samples::names(), samples::lones(), 0..8)
}

proptest! {
    #[test]
    fn every_record_survives(
        chunk in chunk(), bucket in bucket(), mailbox in samples::mailboxes(), guard in samples::guards(),
        uploads in samples::uploads(),
        work in samples::works(), id: u64, generation: u64, identity: [u8; 16],
    ) {
        let here = MailboxId(3);
        survives(Key::Uids(here, 5), &chunk);
        survives(Key::Names(here, 5), &bucket);
        survives(Key::Mailbox(here), &mailbox);
        survives(Key::Guard, &guard);
        survives(Key::Uploads, &uploads);
        survives(Key::Quiet, &Quiet { since: id, until: generation, reason: here.to_string() });
        survives(Key::Batch(BatchId(id)), &Batch { id: BatchId(id), generation, work });
        let sum = Sum { count: here.0, checksums: id };
        survives(Key::Seal(here), &sum);
        survives(Key::Header, &Header { identity, commits: id, generation, last_batch: id, next_mailbox: 1, sum });
    }

    #[test]
    fn a_payload_of_any_length_survives_in_parts_that_fit(length in 0usize..40_000) {
        let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
        survives(Key::Guard, &content);
    }

    #[test]
    fn a_flipped_bit_is_never_read(bucket in bucket(), chunk in chunk(), at: prop::sample::Index) {
        for parts in [encode(Key::Names(MailboxId(1), 2), &bucket), encode(Key::Uids(MailboxId(1), 2), &chunk)] {
            let mut part = parts.expect("encodes").remove(0);
            let bits = (part.key.len() + part.value.len()) * 8;
            let bit = at.index(bits);
            let (byte, bit) = (bit / 8, 1 << (bit % 8));
            let keys = part.key.len();
            if byte < keys { part.key[byte] ^= bit } else { part.value[byte - keys] ^= bit }
            prop_assert!(assemble(&[part]).is_err());
        }
    }

    #[test]
    fn random_bytes_are_never_read_and_never_panic(
        key in prop::collection::vec(any::<u8>(), 0..16), value in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let read = assemble(&[Part { key, value: value.clone() }]);
        prop_assert!(read.is_err());
        // Behind a checksum that fits they may be anything, but no panic and no endless allocation.
        let _ = decode::<BTreeMap<Uid, Known>>(&value);
        let _ = decode::<BTreeMap<BaseName, Lone>>(&value);
        let _ = decode::<MailboxRecord>(&value);
        let _ = decode::<GuardMemory>(&value);
        let _ = decode::<Uploads>(&value);
        let _ = decode::<Quiet>(&value);
        let _ = decode::<Batch>(&value);
        let _ = decode::<Header>(&value);
    }

    #[test]
    fn a_cut_or_lengthened_payload_is_never_read(chunk in chunk(), cut in 1usize..50) {
        let payload = postcard::to_stdvec(&chunk).expect("encodes");
        let short = &payload[..payload.len().saturating_sub(cut)];
        prop_assert!(short.is_empty() || decode::<BTreeMap<Uid, Known>>(short).is_err());
        prop_assert!(decode::<BTreeMap<Uid, Known>>(&[payload, vec![0]].concat()).is_err());
    }
}

#[test]
fn parts_that_are_missing_doubled_or_swapped_are_never_read() {
    let parts = encode(Key::Guard, &vec![7u8; 3 * MAX_VALUE]).expect("encodes");
    assert_eq!(parts.len(), 4);
    assert!(assemble(&parts).is_ok());
    for broken in
        [&parts[..3], &parts[1..], &[parts[0].clone(), parts[2].clone()], &[parts[0].clone(), parts[0].clone()]]
    {
        assert_eq!(assemble(broken), Err(Flaw::Parts));
    }
    let moved = Part { key: parts[1].key.clone(), value: parts[2].value.clone() };
    assert_eq!(assemble(&[parts[0].clone(), moved]), Err(Flaw::Checksum));
}

#[test]
fn an_unknown_version_is_told_from_damage() {
    let mut part = encode(Key::Guard, &GuardMemory::default()).expect("encodes").remove(0);
    part.value[0] = FORMAT + 1;
    assert_eq!(assemble(&[part.clone()]), Err(Flaw::Checksum));
    let checksum = checksum(&part.key, &part.value);
    part.value[1..9].copy_from_slice(&checksum);
    assert_eq!(assemble(&[part]), Err(Flaw::Version(FORMAT + 1)));
}

/// If this fails, the format changed: raise `FORMAT`, write the way from the old one, and tell it in the docs.
#[test]
fn the_bytes_of_format_1_stay_what_they_are() {
    let here = MailboxId(3);
    let quarantine = Quarantine { reason: "refused".into(), attempts: 2, due: 1_700_000_000 };
    let mut pair = samples::ordinary_pair(5);
    pair.remote = Some(Flags::parse("\\Flagged $Forwarded"));
    pair.hold = Some(Hold { gone: Side::Local, set: 4, word: Word::Approved });
    pair.removing = Some(Removing::Marked);
    pair.trouble = Some(quarantine.clone());
    pair.lacks = Lacks { remote: Flags::new(), local: Flags::parse("$Forwarded") }.some();
    let lone = |why| Lone { flags: Flags::parse("\\Draft"), why };
    let measure = Measure { octets: Some(70_000), date: Some(1_700_000_000) };
    let chunk = BTreeMap::from([(uid(65), Known::Pair(pair)), (uid(66), Known::Lone(lone(Why::Filtered(measure))))]);
    let bucket = BTreeMap::from([
        (name("a"), lone(Why::Pending)),
        (name("b"), lone(Why::Quarantined(quarantine))),
        (name("c"), lone(Why::Kept)),
        (name("e"), lone(Why::Superseded)),
    ]);
    let mailbox = MailboxRecord {
        id: here,
        name: MailboxName::new("Deleted Items").expect("a name"),
        path: Some("Deleted Items".into()),
        role: Some(SpecialUse::Trash),
        uid_validity: Some(epoch(77)),
        checkpoint: Some(Checkpoint {
            uid_validity: epoch(77),
            highest_mod_seq: ModSeq::new(1 << 40),
            uid_next: Some(uid(67)),
            messages: 2,
        }),
        listed: Some(1_700_000_000),
        active: None,
        parked: Some(Parked::GoneFromServer),
        identity: Some("F2f1a".into()),
        inode: Some(1_234_567),
        hold: Some(Hold { gone: Side::Local, set: 4, word: Word::Waiting }),
        adopting: Some(Adopting { cause: Cause::RolledBack, question: None }),
    };
    let guard = GuardMemory {
        counted: vec![Counted {
            at: 1_700_000_000,
            mailbox: here,
            gone: Side::Remote,
            count: 60,
            of: 100,
            uid_validity: epoch(77),
            uids: UidSet::range(Uid::MIN, Uid::new(60).expect("not zero")),
        }],
        last_set: 4,
    };
    let flags = || Flags::parse("\\Seen");
    let change = |from: &str, to: &str| crate::mail::FlagChange::between(&Flags::parse(from), &Flags::parse(to));
    let print = || samples::ordinary_pair(1).print.expect("it has one");
    let elsewhere = MailboxName::inbox();
    let origin =
        || Origin { mailbox: MailboxId(9), mailbox_name: elsewhere.clone(), uid_validity: epoch(78), uid: uid(71) };
    let messages = Work::Messages {
        mailbox: here,
        uid_validity: epoch(77),
        actions: vec![
            Action::Fetch { uid: uid(65), name: name("f"), flags: flags() },
            Action::Append { name: name("a"), flags: flags(), print: samples::ordinary_pair(1).print },
            Action::SetFlags {
                uid: uid(66),
                name: name("s"),
                remote: change("\\Seen", "work"),
                local: change("", "\\Seen").map(|change| (Flags::new(), change)),
                merged: flags(),
            },
            Action::DeleteRemote { uid: uid(67), name: name("r"), route: Route::Trash(MailboxId(9)), inferred: true },
            Action::DeleteRemote { uid: uid(68), name: name("e"), route: Route::Expunge, inferred: false },
            Action::DeleteLocal { uid: None, name: name("l"), inferred: true },
            Action::Restore {
                name: name("b"),
                flags: flags(),
                print: samples::ordinary_pair(2).print,
                from: Source::Trash { mailbox: MailboxId(9), uid_validity: epoch(78), uid: uid(70) },
                stays: false,
                number: 12,
            },
            Action::Withdraw { uid: Some(uid(71)), name: name("w"), number: 13 },
            Action::CopyRemote { origin: origin(), name: name("c"), agreed: flags(), print: print() },
            Action::MoveRemote {
                origin: origin(),
                was: name("w"),
                name: name("m"),
                agreed: flags(),
                print: print(),
                guessed: true,
            },
            Action::MoveLocal {
                uid: uid(70),
                origin: origin(),
                was: name("w"),
                name: name("n"),
                agreed: flags(),
                print: print(),
                guessed: false,
            },
        ],
        from: BTreeMap::from([(here, (epoch(77), uid(69)))]),
    };
    let boxes = Work::Mailboxes(vec![
        MailboxAction::CreateLocal { mailbox: here, name: MailboxName::inbox(), path: "INBOX".into() },
        MailboxAction::CreateRemote { mailbox: here, name: MailboxName::inbox(), path: None },
    ]);
    let batch = |work| Batch { id: BatchId(258), generation: 1000, work };
    let header = Header {
        identity: [0xab; 16],
        commits: 2020,
        generation: 1000,
        last_batch: 258,
        next_mailbox: 4,
        sum: Sum { count: 5, checksums: 0x0123_4567_89ab_cdef },
    };
    let removed = |number, place| RemovedMessage {
        uid: Some(uid(number)),
        name: name("g"),
        flags: flags(),
        print: samples::ordinary_pair(3).print,
        place,
        undone: number == 72,
    };
    let trash = Place::Trash { mailbox: MailboxId(9), uid_validity: epoch(78), from: uid(70), uid: Some(uid(74)) };
    let removals = Removals {
        at: 1_700_000_000,
        mailbox: here,
        name: MailboxName::new("Lists/old").expect("a name"),
        uid_validity: epoch(77),
        deed: Deed::RemovedThere,
        messages: vec![removed(72, trash), removed(73, Place::Retention), removed(74, Place::Nowhere)],
    };
    let mut text = String::new();
    let mut show = |key: Key, parts: Result<Vec<Part>, Flaw>| {
        for Part { key: bytes, value } in parts.expect("encodes") {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            text += &format!("{key:?}\n  {}\n  {}\n", hex(&bytes), hex(&value));
        }
    };
    show(Key::Header, encode(Key::Header, &header));
    show(Key::Guard, encode(Key::Guard, &guard));
    show(Key::Removals(12), encode(Key::Removals(12), &removals));
    let uploads = Uploads::default().refused("full", 1_700_000_000);
    show(Key::Uploads, encode(Key::Uploads, &uploads));
    let quiet = Quiet { since: 1_700_000_000, until: 1_700_000_030, reason: "throttled".into() };
    show(Key::Quiet, encode(Key::Quiet, &quiet));
    show(Key::Mailbox(here), encode(Key::Mailbox(here), &mailbox));
    show(Key::Batch(BatchId(258)), encode(Key::Batch(BatchId(258)), &batch(messages)));
    show(Key::Batch(BatchId(259)), encode(Key::Batch(BatchId(259)), &batch(boxes)));
    show(Key::Seal(here), encode(Key::Seal(here), &Sum { count: 2, checksums: 300 }));
    show(Key::of_uid(here, uid(65)), encode(Key::of_uid(here, uid(65)), &chunk));
    show(Key::of_name(here, &name("a")), encode(Key::of_name(here, &name("a")), &bucket));
    let looks = Looks { message_id: Some([7; 8]), header: [8; 16], size: Some(300) };
    let unique = Entry {
        fetched: Some(1_700_000_000),
        print: samples::ordinary_pair(3).print,
        ..Entry::new(Name::Unique(Uidl::new("000000016b035fcf").expect("a unique-id")), Some(4300))
    };
    let alike = Entry { vanished: Some(1_700_000_009), ..Entry::new(Name::Alike(looks, 1), None) };
    let entries = BTreeMap::from([(uid(65), unique), (uid(66), alike)]);
    show(Key::of_entry(here, uid(65)), encode(Key::of_entry(here, uid(65)), &entries));
    insta::assert_snapshot!(text);
}
