//! Every cell of the table of mailboxes, as golden text: remembered x server x Maildir x what the owner wants.
//!
//! The golden file is for people to read. The mailbox is `A` on both sides unless a cell says otherwise; `new` is what
//! else follows.

use mailtwin::mail::MailboxName;
use mailtwin::sync::{
    Directory, Hold, Listed, MailboxId, MailboxRecord, MailboxVerdict, Mailboxes, Parked, Side, Sides, Standing, Word,
    identify, judge,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

fn name(text: &str) -> MailboxName {
    MailboxName::encode(text).expect("a name")
}

fn records() -> Vec<(&'static str, Vec<MailboxRecord>)> {
    let record = MailboxRecord {
        identity: Some("F1".into()),
        inode: Some(1),
        ..MailboxRecord::new(MailboxId(1), name("A"), Some("A".into()))
    };
    let parked = |parked| vec![MailboxRecord { parked: Some(parked), ..record.clone() }];
    let hold = |word| vec![MailboxRecord { hold: Some(Hold { gone: Side::Local, set: 1, word }), ..record.clone() }];
    vec![
        ("nothing", vec![]),
        ("mirrored", vec![record.clone()]),
        ("parked, gone from the server", parked(Parked::GoneFromServer)),
        ("parked, unsubscribed", parked(Parked::Unsubscribed)),
        ("asked about", hold(Word::Waiting)),
        ("approved", hold(Word::Approved)),
        ("rejected", hold(Word::Rejected)),
    ]
}

fn servers() -> Vec<(&'static str, Vec<Listed>)> {
    let listed = |text: &str, identity: &str| Listed {
        name: name(text),
        role: None,
        place: Ok(text.to_owned()),
        identity: Some(identity.to_owned()),
        uid_validity: None,
        standing: Standing::Wanted,
    };
    let stands = |standing| vec![Listed { standing, ..listed("A", "F1") }];
    vec![
        ("nothing", vec![]),
        ("A", vec![listed("A", "F1")]),
        ("A, not wanted", stands(Standing::Unwanted)),
        ("A, not subscribed", stands(Standing::Unsubscribed)),
        ("renamed B", vec![listed("B", "F1")]),
        ("renamed B, a new A", vec![listed("A", "F2"), listed("B", "F1")]),
        ("a new A", vec![listed("A", "F2")]),
    ]
}

type Here = (&'static str, Vec<(&'static str, Option<u32>, u64)>, bool);

fn maildirs() -> Vec<Here> {
    vec![
        ("nothing", vec![], false),
        ("A", vec![("A", Some(1), 1)], false),
        ("A without marker", vec![("A", None, 1)], false),
        ("A without cur", vec![], true),
        ("renamed C", vec![("C", Some(1), 1)], false),
        ("renamed B", vec![("B", Some(1), 1)], false),
        ("A and a copy", vec![("A", Some(1), 1), ("C", Some(1), 9)], false),
        ("a copy in its place", vec![("A", Some(1), 9), ("C", Some(1), 1)], false),
    ]
}

fn told(verdict: &MailboxVerdict) -> String {
    let creates = |copy: bool| if copy { "make there, as a copy" } else { "make there" };
    match verdict {
        MailboxVerdict::Mirror(_) => "mirror".into(),
        MailboxVerdict::CreateLocal { name, .. } => format!("make {name} here"),
        MailboxVerdict::CreateRemote { name, copy_of, .. } => format!("{}: {name}", creates(copy_of.is_some())),
        MailboxVerdict::Meet { name, .. } => format!("meet {name}"),
        MailboxVerdict::RenameLocal { from, to, overruled, .. } => {
            format!("move {from} to {to} here{}", if *overruled { ", overruled" } else { "" })
        }
        MailboxVerdict::RenameRemote { from, to, .. } => format!("rename {from} to {to} there"),
        MailboxVerdict::Park(_) => "park".into(),
        MailboxVerdict::Empty(_) => "empty here (guarded)".into(),
        MailboxVerdict::Forget(_) => "forget".into(),
        MailboxVerdict::Unsubscribed(_) => "park, unsubscribed".into(),
        MailboxVerdict::Unpark(_) => "mirror again".into(),
        MailboxVerdict::Parked(_) => "stay parked".into(),
        MailboxVerdict::BackOnServer(_, here) => format!("back there{}", if *here { "" } else { ", not here" }),
        MailboxVerdict::GoneHere { .. } => "ask".into(),
        MailboxVerdict::DeleteRemote { approved, .. } => {
            format!("delete there{}", if *approved { "" } else { " if empty, else ask" })
        }
        MailboxVerdict::Restore { .. } => "fetch anew".into(),
        MailboxVerdict::Unavailable { .. } => "unavailable".into(),
        MailboxVerdict::LeftOut { what, failed, .. } => {
            format!("leave out {what}{}", if *failed { ", and say what is wrong" } else { "" })
        }
    }
}

/// Judges one cell.
fn cell(
    records: &[MailboxRecord],
    listed: &[Listed],
    here: &Here,
    create: Sides,
    delete: Sides,
) -> Vec<MailboxVerdict> {
    let (_, found, broken) = here;
    let directories: BTreeMap<String, Directory> = found
        .iter()
        .map(|(path, marker, inode)| {
            let marker = marker.map(MailboxId);
            ((*path).to_owned(), Directory { marker, inode: *inode, name: Ok(name(path)), is_wanted: true })
        })
        .collect();
    let broken = broken.then(|| ("A".to_owned(), "it has lost its directory cur".to_owned())).into_iter().collect();
    let there = identify(records, listed, &BTreeSet::new());
    let wanted = records.iter().map(|record| record.id).collect();
    judge(&Mailboxes {
        records,
        listed,
        directories: &directories,
        broken: &broken,
        there: &there,
        wanted: &wanted,
        create,
        delete,
    })
}

#[test]
fn every_cell_of_the_table_of_mailboxes_is_as_written() {
    let (mut table, mut cells) = (String::new(), 0);
    let wishes =
        [("make both, delete none", Sides::BOTH, Sides::NONE), ("make none, delete both", Sides::NONE, Sides::BOTH)];
    for (wish, create, delete) in wishes {
        for (remembered, records) in records() {
            writeln!(table, "{wish}: {remembered}").expect("a string");
            for (there, listed) in servers() {
                for here in maildirs() {
                    let verdicts = cell(&records, &listed, &here, create, delete);
                    let told: Vec<String> = verdicts.iter().map(told).collect();
                    let told = if told.is_empty() { "rest".to_owned() } else { told.join("; ") };
                    writeln!(table, "    server {there:18}  Maildir {:19}  {told}", here.0).expect("a string");
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 2 * 7 * 7 * 8);
    insta::assert_snapshot!(table);
}

#[test]
fn nothing_is_deleted_but_what_the_owner_or_a_person_said() {
    for (_, records) in records() {
        let approved = records.iter().any(|record| record.hold.is_some_and(|hold| hold.word == Word::Approved));
        for (there, listed) in servers() {
            for here in maildirs() {
                for (remote, local) in [(false, false), (true, false), (false, true), (true, true)] {
                    for verdict in cell(&records, &listed, &here, Sides::BOTH, Sides { remote, local }) {
                        let what = format!("{there}, {}: {verdict:?}", here.0);
                        match verdict {
                            MailboxVerdict::DeleteRemote { approved: said, .. } => {
                                assert!(remote || approved, "{what}");
                                assert!(!said || approved, "{what}");
                                // Nothing that could be its directory is anywhere.
                                assert!(here.1.is_empty() && !here.2, "{what}");
                            }
                            MailboxVerdict::Empty(_) => {
                                assert!(local && !listed.iter().any(|l| l.identity.as_deref() == Some("F1")), "{what}");
                            }
                            MailboxVerdict::Forget(_) => {
                                assert!(!here.1.iter().any(|(_, marker, _)| *marker == Some(1)), "{what}");
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
}
