//! Arbitrary memories for the tests of this room.

use crate::mail::{
    BaseName, Fingerprint, FlagChange, Flags, Keyword, MailboxName, ModSeq, ObjectId, SpecialUse, SystemFlag, Uid,
    UidSet, UidValidity,
};
use crate::sync::guard::Counted;
use crate::sync::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not zero")
}

pub(super) fn name(text: impl AsRef<[u8]>) -> BaseName {
    BaseName::new(text.as_ref()).expect("a name")
}

pub(super) fn epoch(number: u32) -> UidValidity {
    UidValidity::new(number).expect("not zero")
}

/// A pair as it is after an ordinary fetch.
pub(super) fn ordinary_pair(number: u32) -> Pair {
    let text = format!("{}.M123456P4711Q{number}Rdeadbeef.host.example.org", 1_700_000_000 + number);
    let print = Fingerprint { message_id: Some([7; 8]), size: 4321, header: [number as u8; 16], body: [9; 16] };
    let object = ObjectId::new(&format!("M{number}"));
    Pair { object, ..Pair::agreed(name(text), Flags::parse("\\Seen"), Some(print)) }
}

/// UIDs of three chunks, names of which several fall to several messages: collisions are the point.
pub(super) fn uids() -> impl Strategy<Value = Uid> {
    prop_oneof![1u32..8, 30u32..36, Just(u32::MAX)].prop_map(uid)
}

pub(super) fn names() -> impl Strategy<Value = BaseName> {
    prop_oneof![
        8 => (0u8..6).prop_map(|n| name(format!("{n}.M1P2Q3.host"))),
        1 => prop::collection::vec(1u8..=255, 1..40).prop_filter_map("a name", |bytes| BaseName::new(&bytes)),
    ]
}

pub(super) fn flags() -> impl Strategy<Value = Flags> {
    (prop::sample::subsequence(SystemFlag::ALL.to_vec(), 0..=5), prop::collection::vec("[A-Za-z$]{1,9}", 0..3))
        .prop_map(|(system, words)| {
            let mut flags = Flags::new();
            system.into_iter().for_each(|flag| flags.insert(flag));
            words.iter().filter_map(|word| Keyword::new(word)).for_each(|keyword| flags.insert_keyword(keyword));
            flags
        })
}

fn prints() -> impl Strategy<Value = Fingerprint> {
    any::<(Option<[u8; 8]>, u64, [u8; 16], [u8; 16])>().prop_map(|(message_id, size, header, body)| Fingerprint {
        message_id,
        size,
        header,
        body,
    })
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Remote), Just(Side::Local)]
}

fn quarantines() -> impl Strategy<Value = Quarantine> {
    (".{0,30}", any::<u32>(), any::<u64>()).prop_map(|(reason, attempts, due)| Quarantine { reason, attempts, due })
}

pub(super) fn pairs() -> impl Strategy<Value = Pair> {
    let words = prop::sample::select(vec![Word::Waiting, Word::Approved, Word::Rejected]);
    let hold = (sides(), any::<u32>(), words).prop_map(|(gone, set, word)| Hold { gone, set, word });
    let removing = prop_oneof![Just(Removing::Copied), Just(Removing::Marked)];
    let optional = (
        prop::option::of(flags()),
        prop::option::of(flags()),
        prop::option::of(prints()),
        prop::option::of(hold),
        prop::option::of(removing),
        prop::option::of(quarantines()),
        prop::option::of((flags(), flags()).prop_map(|(remote, local)| Box::new(Lacks { remote, local }))),
        any::<bool>(),
        prop::option::of("[a-z]{1,3}").prop_map(|told| told.and_then(|told| ObjectId::new(&told))),
    );
    (names(), flags(), optional).prop_map(
        |(name, agreed, (remote, local, print, hold, removing, trouble, lacks, guessed, object))| Pair {
            name,
            agreed,
            remote,
            local,
            print,
            hold,
            removing,
            trouble,
            lacks,
            guessed,
            object,
        },
    )
}

pub(super) fn lones() -> impl Strategy<Value = Lone> {
    let why = prop_oneof![
        Just(Why::Pending),
        quarantines().prop_map(Why::Quarantined),
        Just(Why::Kept),
        Just(Why::Superseded),
        any::<(Option<u64>, Option<i64>)>().prop_map(|(octets, date)| Why::Filtered(Measure { octets, date })),
        any::<u32>().prop_map(|set| Why::Missing(Hold { gone: Side::Remote, set, word: Word::Waiting })),
    ];
    (flags(), why).prop_map(|(flags, why)| Lone { flags, why })
}

pub(super) fn knowns() -> impl Strategy<Value = Known> {
    prop_oneof![3 => pairs().prop_map(Known::Pair), 1 => lones().prop_map(Known::Lone)]
}

pub(super) fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (uids(), prop::option::weighted(0.8, knowns())).prop_map(|(uid, known)| Change::Uid(uid, known)),
        1 => (names(), prop::option::weighted(0.8, lones())).prop_map(|(name, lone)| Change::Local(name, lone)),
    ]
}

pub(super) fn mailbox_names() -> impl Strategy<Value = MailboxName> {
    ".{1,20}".prop_filter_map("a mailbox name", |text| MailboxName::encode(&text))
}

pub(super) fn mailboxes() -> impl Strategy<Value = MailboxRecord> {
    let checkpoint =
        (1u32.., any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(validity, modseq, next, messages)| Checkpoint {
            uid_validity: epoch(validity),
            highest_mod_seq: ModSeq::new(modseq),
            uid_next: Uid::new(next),
            messages,
        });
    let question = any::<(u32, u32, u32)>().prop_map(|(paired, there, here)| Question {
        paired,
        there,
        here,
        word: Word::Rejected,
    });
    let adopting = prop::option::of(question).prop_map(|question| Adopting { cause: Cause::NewEpoch, question });
    let role = prop_oneof![Just(SpecialUse::Trash), Just(SpecialUse::All), Just(SpecialUse::Sent)];
    let rest = (
        prop::option::of("[a-z/]{1,20}"),
        prop::option::of(role),
        any::<u32>(),
        prop::option::of(checkpoint),
        any::<bool>(),
        prop::option::of(adopting),
    );
    (0u32..4, mailbox_names(), rest).prop_map(|(id, name, (path, role, validity, checkpoint, parked, adopting))| {
        MailboxRecord {
            id: MailboxId(id),
            name,
            path,
            role,
            uid_validity: UidValidity::new(validity),
            checkpoint,
            listed: Some(validity.into()),
            active: parked.then_some(validity.into()),
            parked: parked.then_some(Parked::GoneFromServer),
            identity: parked.then(|| format!("F{id}")),
            inode: Some(u64::from(validity)),
            hold: parked.then_some(Hold { gone: Side::Local, set: validity, word: Word::Waiting }),
            adopting,
        }
    })
}

pub(super) fn guards() -> impl Strategy<Value = GuardMemory> {
    let counted =
        (any::<u64>(), any::<u32>(), sides(), any::<u32>(), any::<u32>()).prop_map(|(at, mailbox, gone, count, of)| {
            let uids = UidSet::range(Uid::MIN, Uid::new(count).unwrap_or(Uid::MIN));
            Counted { at, mailbox: MailboxId(mailbox), gone, count, of, uid_validity: epoch(count.max(1)), uids }
        });
    (prop::collection::vec(counted, 0..4), any::<u32>())
        .prop_map(|(counted, last_set)| GuardMemory { counted, last_set })
}

pub(super) fn uploads() -> impl Strategy<Value = Uploads> {
    prop::option::of(quarantines()).prop_map(|paused| Uploads { paused })
}

fn origins() -> impl Strategy<Value = Origin> {
    (any::<u32>(), mailbox_names(), 1u32.., uids()).prop_map(|(id, mailbox_name, validity, uid)| Origin {
        mailbox: MailboxId(id),
        mailbox_name,
        uid_validity: epoch(validity),
        uid,
    })
}

pub(super) fn actions() -> impl Strategy<Value = Action> {
    let moved = || (origins(), names(), names(), flags(), prints());
    let change = || prop::option::of((flags(), flags()).prop_map(|(add, remove)| FlagChange { add, remove }));
    let route = prop_oneof![any::<u32>().prop_map(|id| Route::Trash(MailboxId(id))), Just(Route::Expunge)];
    prop_oneof![
        (uids(), names(), flags()).prop_map(|(uid, name, flags)| Action::Fetch { uid, name, flags }),
        (names(), flags(), prop::option::of(prints())).prop_map(|(name, flags, print)| Action::Append {
            name,
            flags,
            print
        }),
        (uids(), names(), change(), flags(), change(), flags()).prop_map(|(uid, name, remote, seen, local, merged)| {
            Action::SetFlags { uid, name, remote, local: local.map(|change| (seen, change)), merged }
        }),
        (uids(), names(), route, any::<bool>()).prop_map(|(uid, name, route, inferred)| Action::DeleteRemote {
            uid,
            name,
            route,
            inferred
        }),
        (prop::option::of(uids()), names(), any::<bool>()).prop_map(|(uid, name, inferred)| Action::DeleteLocal {
            uid,
            name,
            inferred
        }),
        (names(), flags(), prop::option::of(prints()), any::<u64>()).prop_map(|(name, flags, print, number)| {
            Action::Restore {
                name,
                flags,
                print,
                from: Source::Retention { mailbox: MailboxId(4) },
                stays: false,
                number,
            }
        }),
        (prop::option::of(uids()), names(), any::<u64>()).prop_map(|(uid, name, number)| Action::Withdraw {
            uid,
            name,
            number
        }),
        moved().prop_map(|(origin, _, name, agreed, print)| Action::CopyRemote { origin, name, agreed, print }),
        (moved(), any::<bool>()).prop_map(|((origin, was, name, agreed, print), guessed)| Action::MoveRemote {
            origin,
            was,
            name,
            agreed,
            print,
            guessed
        }),
        (uids(), moved(), any::<bool>()).prop_map(|(uid, (origin, was, name, agreed, print), guessed)| {
            Action::MoveLocal { uid, origin, was, name, agreed, print, guessed }
        }),
    ]
}

pub(super) fn works() -> impl Strategy<Value = Work> {
    let from = prop::collection::btree_map(
        any::<u32>().prop_map(MailboxId),
        (1u32.., uids()).prop_map(|(validity, uid)| (epoch(validity), uid)),
        0..3,
    );
    let mailbox_action = prop_oneof![
        (any::<u32>(), mailbox_names(), ".{0,9}").prop_map(|(id, name, path)| MailboxAction::CreateLocal {
            mailbox: MailboxId(id),
            name,
            path,
        }),
        (any::<u32>(), mailbox_names(), prop::option::of(".{0,9}"))
            .prop_map(|(id, name, path)| { MailboxAction::CreateRemote { mailbox: MailboxId(id), name, path } }),
    ];
    prop_oneof![
        3 => (0u32..3, 1u32.., prop::collection::vec(actions(), 0..6), from).prop_map(
            |(id, validity, actions, from): (_, _, _, BTreeMap<_, _>)| Work::Messages {
                mailbox: MailboxId(id),
                uid_validity: epoch(validity),
                actions,
                from,
            }
        ),
        1 => prop::collection::vec(mailbox_action, 0..3).prop_map(Work::Mailboxes),
    ]
}
