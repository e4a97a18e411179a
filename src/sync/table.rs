//! The table of mailboxes: what follows for each from the records, the server's LIST and the Maildir.
//!
//! A mailbox that is on one side only and was never agreed is made on the other. One that is gone from the server is
//! parked: its mail stays here, is not synchronised, and is not uploaded again. One whose directory is gone is asked about,
//! never deleted on the server.

use crate::mail::{MailboxName, SpecialUse};
use crate::sync::mailbox::MailboxRecord;
use crate::sync::picture::MailboxId;
use std::collections::{BTreeMap, BTreeSet};

/// A mailbox that the server lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// Its role, told by the server or by its usual name.
    pub role: Option<SpecialUse>,
    /// Where it belongs beneath the root, or why it has no place there, as a clause.
    pub place: Result<String, String>,
}

/// A directory of the Maildir that can hold mail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// The number of the mailbox that its marker names.
    pub marker: Option<MailboxId>,
    /// The name that it would get on the server, or why it cannot get one, as a clause.
    pub name: Result<MailboxName, String>,
}

/// What is to be done with a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailboxVerdict {
    /// It is on both sides, as agreed.
    Mirror(MailboxId),
    /// It is on the server only: its Maildir is made.
    CreateLocal {
        /// Its name.
        name: MailboxName,
        /// Its role.
        role: Option<SpecialUse>,
        /// The path that it gets.
        path: String,
    },
    /// It is in the Maildir only: it is made on the server.
    CreateRemote {
        /// The name that it gets.
        name: MailboxName,
        /// Its path.
        path: String,
    },
    /// It is on both sides, and was never agreed.
    Meet {
        /// Its name.
        name: MailboxName,
        /// Its role.
        role: Option<SpecialUse>,
        /// Its path.
        path: String,
    },
    /// The server does not list it any more.
    GoneFromServer(MailboxId),
    /// It was parked before.
    Parked(MailboxId),
    /// It was parked before, and the server lists a mailbox of that name again; whether its directory is still there.
    BackOnServer(MailboxId, bool),
    /// Its directory is gone, or is no Maildir any more: nothing is done, and a person is told.
    GoneHere(MailboxId),
    /// It is left out, with the reason as a clause.
    LeftOut {
        /// What it is called, escaped.
        what: String,
        /// Why.
        reason: String,
    },
}

/// Judges every mailbox. `listed` and `directories` hold what the configuration wants, and come from a LIST and a walk
/// that were complete.
pub fn judge(
    records: &[MailboxRecord],
    listed: &[Listed],
    directories: &BTreeMap<String, Directory>,
) -> Vec<MailboxVerdict> {
    let mut verdicts = Vec::new();
    let mut names: BTreeSet<&MailboxName> = BTreeSet::new();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for record in records {
        // A Trash that was not mirrored has no place here as yet; if it is wanted now, it is like any other.
        let Some(path) = &record.path else { continue };
        names.insert(&record.name);
        paths.insert(path.to_lowercase());
        let there = listed.iter().any(|l| l.name == record.name);
        let here = directories.get(path).is_some_and(|d| d.marker == Some(record.id));
        verdicts.push(match (record.parked, there, here) {
            (Some(_), false, _) => MailboxVerdict::Parked(record.id),
            (Some(_), true, here) => MailboxVerdict::BackOnServer(record.id, here),
            (None, false, _) => MailboxVerdict::GoneFromServer(record.id),
            (None, true, false) => MailboxVerdict::GoneHere(record.id),
            (None, true, true) => MailboxVerdict::Mirror(record.id),
        });
    }
    for mailbox in listed.iter().filter(|l| !names.contains(&l.name)) {
        let what = mailbox.name.to_string();
        verdicts.push(match &mailbox.place {
            Err(reason) => MailboxVerdict::LeftOut { what, reason: reason.clone() },
            // Two names that a file system without case would melt into one get no second Maildir.
            Ok(path) if !paths.insert(path.to_lowercase()) => {
                MailboxVerdict::LeftOut { what, reason: "another mailbox has its place in the Maildir".into() }
            }
            Ok(path) => {
                let (name, role, path) = (mailbox.name.clone(), mailbox.role, path.clone());
                if directories.contains_key(&path) {
                    MailboxVerdict::Meet { name, role, path }
                } else {
                    MailboxVerdict::CreateLocal { name, role, path }
                }
            }
        });
    }
    let taken: BTreeSet<String> = paths;
    for (path, directory) in directories.iter().filter(|(path, _)| !taken.contains(&path.to_lowercase())) {
        let left_out = |reason: String| MailboxVerdict::LeftOut { what: crate::mail::escape(path), reason };
        verdicts.push(match &directory.name {
            Err(reason) => left_out(reason.clone()),
            Ok(_) if directory.marker.is_some() => {
                left_out("it carries the marker of another mailbox (a copy of its directory?)".into())
            }
            Ok(name) => MailboxVerdict::CreateRemote { name: name.clone(), path: path.clone() },
        });
    }
    verdicts
}

/// The mailbox to which deleted messages go: the one with the role, else one with a usual name.
pub fn find_trash(listed: &[Listed]) -> Option<&Listed> {
    listed.iter().find(|l| l.role == Some(SpecialUse::Trash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::mailbox::Parked;

    fn name(text: &str) -> MailboxName {
        MailboxName::encode(text).expect("a name")
    }

    fn listed(text: &str) -> Listed {
        Listed { name: name(text), role: None, place: Ok(text.to_owned()) }
    }

    fn record(id: u32, text: &str) -> MailboxRecord {
        MailboxRecord {
            id: MailboxId(id),
            name: name(text),
            path: Some(text.into()),
            role: None,
            uid_validity: None,
            checkpoint: None,
            listed: None,
            parked: None,
        }
    }

    fn directory(text: &str, marker: Option<u32>) -> (String, Directory) {
        (text.to_owned(), Directory { marker: marker.map(MailboxId), name: Ok(name(text)) })
    }

    #[test]
    fn a_mailbox_on_one_side_is_made_on_the_other() {
        let directories = BTreeMap::from([directory("Here", None)]);
        assert_eq!(
            judge(&[], &[listed("There")], &directories),
            [
                MailboxVerdict::CreateLocal { name: name("There"), role: None, path: "There".into() },
                MailboxVerdict::CreateRemote { name: name("Here"), path: "Here".into() }
            ]
        );
    }

    #[test]
    fn a_mailbox_that_is_gone_from_the_server_is_not_uploaded_again() {
        let directories = BTreeMap::from([directory("Old", Some(1))]);
        assert_eq!(judge(&[record(1, "Old")], &[], &directories), [MailboxVerdict::GoneFromServer(MailboxId(1))]);
        let parked = MailboxRecord { parked: Some(Parked::GoneFromServer), ..record(1, "Old") };
        let judged = |listed: &[Listed]| judge(std::slice::from_ref(&parked), listed, &directories);
        assert_eq!(judged(&[]), [MailboxVerdict::Parked(MailboxId(1))]);
        assert_eq!(judged(&[listed("Old")]), [MailboxVerdict::BackOnServer(MailboxId(1), true)]);
    }

    #[test]
    fn a_directory_that_is_gone_is_asked_about() {
        let seen = judge(&[record(1, "A")], &[listed("A")], &BTreeMap::new());
        assert_eq!(seen, [MailboxVerdict::GoneHere(MailboxId(1))]);
        let replaced = BTreeMap::from([directory("A", None)]);
        assert_eq!(judge(&[record(1, "A")], &[listed("A")], &replaced), [MailboxVerdict::GoneHere(MailboxId(1))]);
    }

    #[test]
    fn a_copied_directory_and_a_name_without_place_are_left_out() {
        let directories = BTreeMap::from([directory("A", Some(1)), directory("Copy of A", Some(1))]);
        let hostile = Listed { place: Err("its name leads out of the Maildir".into()), ..listed("..") };
        let seen = judge(&[record(1, "A")], &[listed("A"), hostile], &directories);
        assert_eq!(seen[0], MailboxVerdict::Mirror(MailboxId(1)));
        assert!(matches!(&seen[1], MailboxVerdict::LeftOut { what, .. } if what == ".."));
        assert!(matches!(&seen[2], MailboxVerdict::LeftOut { what, .. } if what == "Copy of A"));
    }

    #[test]
    fn two_names_that_differ_in_case_get_one_maildir() {
        let seen = judge(&[], &[listed("Work"), listed("work")], &BTreeMap::new());
        assert!(matches!((&seen[0], &seen[1]), (MailboxVerdict::CreateLocal { .. }, MailboxVerdict::LeftOut { .. })));
    }
}
