//! What we took away, and what we brought back: the memory that `undo` reads.
//!
//! A batch that removed messages is settled together with a record of them, so that a removal and its record are on the
//! disk in one commit. Bodies are not in it: they lie in the retention area, or in the server's Trash.

use crate::mail::{BaseName, Fingerprint, Flags, MailboxName, SystemFlag, Uid, UidValidity};
use crate::sync::picture::{Known, MailboxId, Pair, Picture, Removing, Side};
use crate::sync::plan::{Action, Batch, Route, Work};
use crate::sync::restore::BY_UNDO;
use crate::sync::settle::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Messages of one mailbox that one batch removed, or brought back. They are numbered through over all records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removals {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The mailbox that they left, or came back to.
    pub mailbox: MailboxId,
    /// Its name on the server then; it may be gone when somebody wants them back.
    pub name: MailboxName,
    /// Its epoch then.
    pub uid_validity: UidValidity,
    /// What was done with them.
    pub deed: Deed,
    /// The messages; the n-th has the number of the record plus n.
    pub messages: Vec<RemovedMessage>,
}

/// What was done with messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// They were taken from the server, for they were deleted here.
    RemovedThere,
    /// They were taken from the Maildir, for they were deleted on the server.
    RemovedHere,
    /// `undo` brought them back.
    Restored,
}

/// One message that was removed, or brought back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemovedMessage {
    /// The UID that it had on the server, if it was there.
    pub uid: Option<Uid>,
    /// The name that it had in the Maildir.
    pub name: BaseName,
    /// The flags that it had.
    pub flags: Flags,
    /// What it looks like, if that is known.
    pub print: Option<Fingerprint>,
    /// Where it is since.
    pub place: Place,
    /// `undo` has taken this back.
    pub undone: bool,
}

/// Where a message is that was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Its body is in the retention area, with its date.
    Retention,
    /// It was moved to this mailbox of the server.
    Trash {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its epoch then.
        uid_validity: UidValidity,
        /// The first UID that the message can have there.
        from: Uid,
        /// The UID that the server told.
        uid: Option<Uid>,
    },
    /// Nothing was kept of it: it was expunged from the Trash or Junk.
    Nowhere,
    /// It is back in its mailbox.
    Mailbox,
}

/// What the record of a removal depends on besides the batch.
#[derive(Clone, Debug)]
pub struct Keeping<'a> {
    /// What is expunged is kept first: the mailbox is no Trash and no Junk.
    pub expunged: bool,
    /// For each mailbox that is added to, its epoch and the first UID that something new can have.
    pub from: &'a BTreeMap<MailboxId, (UidValidity, Uid)>,
    /// Where messages went, as the server told.
    pub went: &'a BTreeMap<Uid, Uid>,
}

/// What is to be recorded of an action that came to this; `picture` is what was remembered before it.
///
/// A removal that takes several steps is recorded at the first, for only that one knows where the message went. Until the
/// last, its UID is still remembered: [`is_in_force`] tells.
pub fn record(
    picture: &Picture,
    action: &Action,
    outcome: &Outcome,
    keeping: &Keeping<'_>,
) -> Option<(Deed, RemovedMessage)> {
    match (action, outcome) {
        (Action::DeleteRemote { uid, name, route, .. }, Outcome::Removed | Outcome::Half(_)) => {
            let pair = picture.pair(*uid);
            if pair.is_some_and(|pair| pair.removing.is_some()) {
                return None;
            }
            let flags = match picture.uid(*uid) {
                Some(Known::Pair(pair)) => unmarked(pair),
                Some(Known::Lone(lone)) => lone.flags.clone(),
                None => Flags::new(),
            };
            let place = match route {
                Route::Trash(trash) => {
                    let (uid_validity, from) = *keeping.from.get(trash)?;
                    let uid = keeping.went.get(uid).copied();
                    Place::Trash { mailbox: *trash, uid_validity, from, uid }
                }
                Route::Expunge if keeping.expunged => Place::Retention,
                Route::Expunge => Place::Nowhere,
            };
            let print = pair.and_then(|pair| pair.print);
            let message = RemovedMessage { uid: Some(*uid), name: name.clone(), flags, print, place, undone: false };
            Some((Deed::RemovedThere, message))
        }
        // A stub is no message, and cannot come back.
        (Action::DeleteLocal { name, .. }, Outcome::Removed) if name.is_stub() => None,
        (Action::DeleteLocal { uid, name, .. }, Outcome::Removed) => {
            let pair = uid.and_then(|uid| picture.pair(uid));
            if pair.is_some_and(is_put_back) {
                return None;
            }
            let flags = match (pair, picture.local(name)) {
                (Some(pair), _) => pair.local.clone().unwrap_or_else(|| pair.agreed.clone()),
                (None, Some(lone)) => lone.flags.clone(),
                (None, None) => Flags::new(),
            };
            let print = pair.and_then(|pair| pair.print);
            let message =
                RemovedMessage { uid: *uid, name: name.clone(), flags, print, place: Place::Retention, undone: false };
            Some((Deed::RemovedHere, message))
        }
        (Action::Restore { name, flags, print, .. }, Outcome::Restored(uid)) => {
            let (name, flags) = (name.clone(), flags.clone());
            let message =
                RemovedMessage { uid: *uid, name, flags, print: *print, place: Place::Mailbox, undone: false };
            Some((Deed::Restored, message))
        }
        _ => None,
    }
}

/// What is to be recorded of batches that a crash interrupted: removals that were done and not settled. `remote` and
/// `local` tell whether a message is still there; `copied` are the UIDs whose copy in the Trash was found.
pub fn interrupted(
    batches: &[Batch],
    mailbox: MailboxId,
    picture: &Picture,
    remote: &dyn Fn(Uid) -> bool,
    local: &dyn Fn(&BaseName) -> bool,
    copied: &[Uid],
    keeps_expunged: bool,
) -> Vec<(Deed, RemovedMessage)> {
    let nothing = BTreeMap::new();
    let mut found = Vec::new();
    for batch in batches {
        let Work::Messages { mailbox: of, actions, from, .. } = &batch.work else { continue };
        if *of != mailbox {
            continue;
        }
        let keeping = Keeping { expunged: keeps_expunged, from, went: &nothing };
        for action in actions {
            let outcome = match action {
                Action::DeleteRemote { uid, .. } if copied.contains(uid) => Outcome::Half(Removing::Copied),
                Action::DeleteRemote { uid, .. } if picture.pair(*uid).is_some() && !remote(*uid) => Outcome::Removed,
                Action::DeleteLocal { uid: Some(uid), name, .. } if picture.pair(*uid).is_some() && !local(name) => {
                    Outcome::Removed
                }
                // It may have come a moment before, and nothing is remembered of it but the plan.
                Action::DeleteLocal { uid: None, name, .. } if !local(name) => Outcome::Removed,
                _ => continue,
            };
            found.extend(record(picture, action, &outcome, &keeping));
        }
    }
    found
}

/// Gathers what was recorded of one mailbox, by what was done.
pub fn gather(
    at: u64,
    (mailbox, name, uid_validity): (MailboxId, &MailboxName, UidValidity),
    found: Vec<(Deed, RemovedMessage)>,
) -> Vec<Removals> {
    let mut by_deed: BTreeMap<Deed, Vec<RemovedMessage>> = BTreeMap::new();
    for (deed, message) in found {
        by_deed.entry(deed).or_default().push(message);
    }
    let removals = |(deed, messages)| Removals { at, mailbox, name: name.clone(), uid_validity, deed, messages };
    by_deed.into_iter().map(removals).collect()
}

/// Tells whether the removal came to its end, from the picture of the same epoch: of one that takes several steps, and of one whose message was put back, the
/// UID is remembered.
pub fn is_in_force(picture: &Picture, deed: Deed, message: &RemovedMessage) -> bool {
    deed != Deed::RemovedThere || message.uid.is_none_or(|uid| picture.uid(uid).is_none())
}

/// The flags that a message of the server has to come back with. A `\Deleted` that was never agreed may be our own mark, from
/// before a crash.
fn unmarked(pair: &Pair) -> Flags {
    let mut flags = pair.remote.clone().unwrap_or_else(|| pair.agreed.clone());
    if !pair.agreed.contains(SystemFlag::Deleted) {
        flags.remove(SystemFlag::Deleted);
    }
    flags
}

/// It left this mailbox, a Trash, because `undo` put it back where it came from: nothing was lost by that.
fn is_put_back(pair: &Pair) -> bool {
    pair.hold.is_some_and(|hold| hold.set == BY_UNDO && hold.gone == Side::Remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::picture::{Change, Hold, Word};
    use crate::sync::plan::BatchId;

    const TRASH: MailboxId = MailboxId(2);

    fn uid(number: u32) -> Uid {
        Uid::new(number).expect("not zero")
    }

    fn name(text: &str) -> BaseName {
        BaseName::new(text.as_bytes()).expect("a name")
    }

    fn epoch() -> UidValidity {
        UidValidity::new(7).expect("not zero")
    }

    fn picture(removing: Option<Removing>, hold: Option<Hold>) -> Picture {
        let mut picture = Picture::new();
        let pair = Pair { removing, hold, ..Pair::agreed(name("a"), Flags::parse("\\Seen work"), None) };
        picture.apply(Change::Uid(uid(1), Some(Known::Pair(pair))));
        picture
    }

    fn deletion(route: Route) -> Action {
        Action::DeleteRemote { uid: uid(1), name: name("a"), route, inferred: true }
    }

    fn place(picture: &Picture, action: &Action, outcome: &Outcome, expunged: bool) -> Option<Place> {
        let from = BTreeMap::from([(TRASH, (epoch(), uid(40)))]);
        let went = BTreeMap::from([(uid(1), uid(44))]);
        let keeping = Keeping { expunged, from: &from, went: &went };
        record(picture, action, outcome, &keeping).map(|(_, message)| {
            assert_eq!((message.uid, message.flags), (Some(uid(1)), Flags::parse("\\Seen work")));
            message.place
        })
    }

    #[test]
    fn a_removal_is_recorded_with_the_place_where_the_message_is() {
        let (fresh, trash) = (picture(None, None), deletion(Route::Trash(TRASH)));
        let in_trash = Place::Trash { mailbox: TRASH, uid_validity: epoch(), from: uid(40), uid: Some(uid(44)) };
        assert_eq!(place(&fresh, &trash, &Outcome::Removed, true), Some(in_trash));
        assert_eq!(place(&fresh, &deletion(Route::Expunge), &Outcome::Removed, true), Some(Place::Retention));
        assert_eq!(place(&fresh, &deletion(Route::Expunge), &Outcome::Removed, false), Some(Place::Nowhere));
        let here = Action::DeleteLocal { uid: Some(uid(1)), name: name("a"), inferred: true };
        assert_eq!(place(&fresh, &here, &Outcome::Removed, true), Some(Place::Retention));
        for outcome in [Outcome::Moot, Outcome::Unknown, Outcome::Failed("no".into())] {
            assert_eq!(place(&fresh, &trash, &outcome, true), None);
        }
    }

    #[test]
    fn a_removal_in_steps_is_recorded_once_and_in_force_at_its_end() {
        let (fresh, trash) = (picture(None, None), deletion(Route::Trash(TRASH)));
        assert!(place(&fresh, &trash, &Outcome::Half(Removing::Marked), true).is_some());
        let marked = picture(Some(Removing::Marked), None);
        assert_eq!(place(&marked, &deletion(Route::Expunge), &Outcome::Removed, true), None);
        let message = RemovedMessage {
            uid: Some(uid(1)),
            name: name("a"),
            flags: Flags::new(),
            print: None,
            place: Place::Retention,
            undone: false,
        };
        assert!(!is_in_force(&marked, Deed::RemovedThere, &message));
        assert!(is_in_force(&Picture::new(), Deed::RemovedThere, &message));
    }

    #[test]
    fn a_mark_of_our_own_does_not_come_back_with_the_message() {
        let mut picture = picture(None, None);
        let pair = picture.pair(uid(1)).expect("a pair").clone();
        let marked = Pair { remote: Some(Flags::parse("\\Seen \\Deleted work")), ..pair };
        picture.apply(Change::Uid(uid(1), Some(Known::Pair(marked))));
        assert_eq!(place(&picture, &deletion(Route::Expunge), &Outcome::Removed, true), Some(Place::Retention));
    }

    #[test]
    fn what_leaves_the_trash_because_it_was_put_back_is_no_removal() {
        let hold = Hold { gone: Side::Remote, set: BY_UNDO, word: Word::Approved };
        let here = Action::DeleteLocal { uid: Some(uid(1)), name: name("a"), inferred: false };
        assert_eq!(place(&picture(None, Some(hold)), &here, &Outcome::Removed, true), None);
    }

    #[test]
    fn what_a_mirror_took_away_is_recorded_after_a_crash_although_nothing_was_remembered_of_it() {
        let actions = vec![Action::DeleteLocal { uid: None, name: name("g"), inferred: true }];
        let work = Work::Messages { mailbox: MailboxId(1), uid_validity: epoch(), actions, from: BTreeMap::new() };
        let batches = [Batch { id: BatchId(1), generation: 1, work }];
        let count =
            |local: bool| interrupted(&batches, MailboxId(1), &Picture::new(), &|_| true, &|_| local, &[], true).len();
        assert_eq!([count(true), count(false)], [0, 1]);
    }

    #[test]
    fn after_a_crash_what_is_gone_is_recorded_and_what_is_there_is_not() {
        let actions = vec![
            deletion(Route::Trash(TRASH)),
            Action::DeleteLocal { uid: Some(uid(1)), name: name("a"), inferred: true },
        ];
        let from = BTreeMap::from([(TRASH, (epoch(), uid(40)))]);
        let work = Work::Messages { mailbox: MailboxId(1), uid_validity: epoch(), actions, from };
        let batches = [Batch { id: BatchId(1), generation: 1, work }];
        let count = |remote: bool, local: bool, copied: &[Uid]| {
            let picture = picture(None, None);
            interrupted(&batches, MailboxId(1), &picture, &|_| remote, &|_| local, copied, true).len()
        };
        assert_eq!(
            [count(true, true, &[]), count(false, true, &[]), count(false, false, &[]), count(true, true, &[uid(1)])],
            [0, 1, 2, 1]
        );
    }
}
