//! Which mailbox of the server is the one that is remembered, whatever it is called now.
//!
//! The server's own identifier decides where there is one (MAILBOXID, RFC 8474; X-GUID of Dovecot). Else the name does, and
//! for a name that is gone the same UIDVALIDITY with nearly all of the UIDs. A mailbox that is not proven to be the old
//! one is another one.

use crate::mail::{MailboxName, UidValidity};
use crate::sync::mailbox::MailboxRecord;
use crate::sync::picture::MailboxId;
use crate::sync::table::Listed;
use std::collections::{BTreeMap, BTreeSet};

/// Of the UIDs that are remembered so many percent have to be there.
const SHARE: u64 = 90;

/// Where a remembered mailbox is on the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum There {
    /// Where it was.
    Same,
    /// Under another name.
    Renamed(MailboxName),
    /// It is gone, and another mailbox has its name.
    Another,
    /// It is gone.
    Gone,
}

/// Tells whether a mailbox in which so many of the remembered UIDs are is the one that is remembered.
pub fn is_proven(remembered: u64, found: u64) -> bool {
    remembered > 0 && found.saturating_mul(100) >= remembered.saturating_mul(SHARE)
}

/// The mailboxes that only their UIDs can tell apart: which remembered one might be which of the listed.
pub fn questions(records: &[MailboxRecord], listed: &[Listed]) -> Vec<(MailboxId, MailboxName)> {
    let mut asked = Vec::new();
    for record in records.iter().filter(|r| r.path.is_some() && !r.name.is_inbox()) {
        if stands_fast(record, listed) || told(record, listed).is_some() {
            continue;
        }
        for candidate in listed.iter().filter(|l| l.name != record.name && !l.name.is_inbox()) {
            let same_epoch = record.uid_validity.is_some() && candidate.uid_validity == record.uid_validity;
            let may_be = record.identity.is_none() || candidate.identity.is_none();
            let is_others = records.iter().any(|other| other.name == candidate.name && stands_fast(other, listed));
            if same_epoch && may_be && !is_others {
                asked.push((record.id, candidate.name.clone()));
            }
        }
    }
    asked
}

/// Finds every remembered mailbox. `proven` holds those of the [`questions`] to which the UIDs said yes.
pub fn identify(
    records: &[MailboxRecord],
    listed: &[Listed],
    proven: &BTreeSet<(MailboxId, MailboxName)>,
) -> BTreeMap<MailboxId, There> {
    let mut found: BTreeMap<MailboxId, There> = BTreeMap::new();
    for record in records {
        let there = there(record, listed, proven);
        found.insert(record.id, there);
    }
    // What two claim nobody gets, and what has its owner stays with it.
    let mut claims: BTreeMap<MailboxName, u32> = BTreeMap::new();
    for record in records {
        match &found[&record.id] {
            There::Same => *claims.entry(record.name.clone()).or_default() += 1,
            There::Renamed(name) => *claims.entry(name.clone()).or_default() += 1,
            There::Another | There::Gone => {}
        }
    }
    for there in found.values_mut() {
        if matches!(there, There::Renamed(name) if claims[name] > 1) {
            *there = There::Gone;
        }
    }
    found
}

fn there(record: &MailboxRecord, listed: &[Listed], proven: &BTreeSet<(MailboxId, MailboxName)>) -> There {
    let by_name = listed.iter().find(|l| l.name == record.name);
    if record.name.is_inbox() {
        // It is what its name says, and is never renamed.
        return if by_name.is_some() { There::Same } else { There::Gone };
    }
    if let Some(told) = told(record, listed) {
        return told;
    }
    let mut renamed = proven.iter().filter(|(id, _)| *id == record.id).map(|(_, name)| name);
    match (renamed.next(), renamed.next(), by_name) {
        (Some(name), None, _) => There::Renamed(name.clone()),
        // Under the same name, and perhaps with another epoch: what that means is not told here.
        (_, _, Some(_)) => There::Same,
        (_, _, None) => There::Gone,
    }
}

/// What the identifiers tell, if they tell all.
fn told(record: &MailboxRecord, listed: &[Listed]) -> Option<There> {
    let identity = record.identity.as_ref()?;
    if let Some(found) = listed.iter().find(|l| l.identity.as_ref() == Some(identity)) {
        return Some(if found.name == record.name { There::Same } else { There::Renamed(found.name.clone()) });
    }
    match listed.iter().find(|l| l.name == record.name) {
        Some(Listed { identity: Some(_), .. }) => Some(There::Another),
        Some(Listed { identity: None, .. }) => None,
        None => listed.iter().all(|l| l.identity.is_some()).then_some(There::Gone),
    }
}

/// Whether the mailbox is listed under its name and nothing speaks against its being the same.
fn stands_fast(record: &MailboxRecord, listed: &[Listed]) -> bool {
    let Some(named) = listed.iter().find(|l| l.name == record.name) else { return false };
    fits(record, named.identity.as_deref(), named.uid_validity)
}

/// Tells whether nothing speaks against a mailbox being the one that is remembered: its identifier, else its epoch.
pub fn fits(record: &MailboxRecord, identity: Option<&str>, epoch: Option<UidValidity>) -> bool {
    match (record.identity.as_deref(), identity) {
        (Some(was), Some(is)) => was == is,
        _ => record.uid_validity.is_none() || epoch.is_none() || record.uid_validity == epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::table::tests::{listed, name, record};

    fn told_as(text: &str, identity: Option<&str>, epoch: u32) -> Listed {
        Listed { identity: identity.map(str::to_owned), uid_validity: UidValidity::new(epoch), ..listed(text) }
    }

    fn remembered(id: u32, text: &str, identity: Option<&str>, epoch: u32) -> MailboxRecord {
        MailboxRecord {
            identity: identity.map(str::to_owned),
            uid_validity: UidValidity::new(epoch),
            ..record(id, text)
        }
    }

    fn found(records: &[MailboxRecord], listed: &[Listed], proven: &[(u32, &str)]) -> Vec<There> {
        let proven = proven.iter().map(|(id, text)| (MailboxId(*id), name(text))).collect();
        identify(records, listed, &proven).into_values().collect()
    }

    #[test]
    fn an_identifier_finds_a_mailbox_under_any_name() {
        let records = [remembered(1, "A", Some("F1"), 7), remembered(2, "B", Some("F2"), 8)];
        let swapped = [told_as("A", Some("F2"), 8), told_as("B", Some("F1"), 7)];
        assert_eq!(found(&records, &swapped, &[]), [There::Renamed(name("B")), There::Renamed(name("A"))]);
        assert_eq!(questions(&records, &swapped), []);
    }

    #[test]
    fn a_mailbox_made_anew_under_the_old_name_is_another() {
        let records = [remembered(1, "A", Some("F1"), 7)];
        assert_eq!(found(&records, &[told_as("A", Some("F9"), 9)], &[]), [There::Another]);
        assert_eq!(found(&records, &[told_as("C", Some("F9"), 9)], &[]), [There::Gone]);
        // Without an identifier another epoch may be a mailbox that was numbered anew: that is judged elsewhere.
        assert_eq!(found(&[remembered(1, "A", None, 7)], &[told_as("A", None, 9)], &[]), [There::Same]);
    }

    #[test]
    fn without_identifiers_epoch_and_uids_find_it() {
        let records = [remembered(1, "A", None, 7), remembered(2, "B", None, 8)];
        let renamed = [told_as("B", None, 8), told_as("C", None, 7), told_as("D", None, 9)];
        assert_eq!(questions(&records, &renamed), [(MailboxId(1), name("C"))]);
        assert_eq!(found(&records, &renamed, &[]), [There::Gone, There::Same]);
        assert_eq!(found(&records, &renamed, &[(1, "C")]), [There::Renamed(name("C")), There::Same]);
        let swapped = [told_as("A", None, 8), told_as("B", None, 7)];
        assert_eq!(questions(&records, &swapped), [(MailboxId(1), name("B")), (MailboxId(2), name("A"))]);
        let both = [(1, "B"), (2, "A")];
        assert_eq!(found(&records, &swapped, &both), [There::Renamed(name("B")), There::Renamed(name("A"))]);
    }

    #[test]
    fn what_two_could_be_is_neither() {
        let records = [remembered(1, "A", None, 7), remembered(2, "B", None, 7)];
        let renamed = [told_as("C", None, 7), told_as("D", None, 7)];
        assert_eq!(questions(&records, &renamed).len(), 4);
        assert_eq!(found(&records, &renamed, &[(1, "C"), (2, "C")]), [There::Gone, There::Gone]);
        assert_eq!(found(&records, &renamed, &[(1, "C"), (1, "D")]), [There::Gone, There::Gone]);
    }

    #[test]
    fn the_inbox_is_what_its_name_says() {
        let records = [remembered(1, "INBOX", Some("F1"), 7)];
        let moved = [told_as("INBOX", Some("F9"), 9), told_as("Old", Some("F1"), 7)];
        assert_eq!(found(&records, &moved, &[]), [There::Same]);
    }

    #[test]
    fn nine_in_ten_uids_prove_it_and_none_prove_nothing() {
        assert!(is_proven(10, 9) && is_proven(1, 1) && is_proven(1000, 901));
        assert!(!is_proven(10, 8) && !is_proven(0, 0) && !is_proven(u64::MAX, 5));
    }
}
