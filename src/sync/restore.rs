//! Bringing back what was removed: what follows for the memory, and what came of it after a crash.
//!
//! A restored message is remembered as pending on the side on which it is back. The other side gets it by the ordinary
//! table, as a new message with the flags that are remembered.

use crate::mail::{BaseName, Fingerprint, Flags, Uid, UidValidity};
use crate::sync::picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Side, Why, Word};
use crate::sync::plan::{Action, Batch, Work};
use crate::sync::recover::{Likeness, Trace};
use crate::sync::view::{LocalView, RemoteView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The number of a set of deletions that `undo` has ordered; those of the guard begin with 1.
pub const BY_UNDO: u32 = 0;

/// From where a message comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// From the retention area, as a file.
    Retention {
        /// The mailbox that it was in: it may have been deleted since, and made again under another number.
        mailbox: MailboxId,
    },
    /// From a mailbox of the server, the Trash.
    Trash {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its epoch.
        uid_validity: UidValidity,
        /// The message there.
        uid: Uid,
    },
}

/// A message that a crash did not keep from coming back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CameBack<'b> {
    /// The action that did it.
    pub action: &'b Action,
    /// Its UID, if it came back on the server.
    pub uid: Option<Uid>,
    /// What is remembered of it.
    pub change: Change,
}

/// What is remembered of a message that was brought back: on the server if it has a UID, else here.
pub fn restored(name: &BaseName, flags: &Flags, stays: bool, uid: Option<Uid>) -> Change {
    let why = if stays { Why::Kept } else { Why::Pending };
    let lone = Lone { flags: flags.clone(), why };
    match uid {
        Some(uid) => Change::Uid(uid, Some(Known::Lone(lone))),
        None => Change::Local(name.clone(), Some(lone)),
    }
}

/// What is remembered of a message that was restored and is taken away again: its deletion on the server is ordered, if it
/// is there.
pub fn withdrawn(picture: &Picture, uid: Option<Uid>, name: &BaseName) -> Option<Change> {
    match uid {
        Some(uid) => ordered(picture, uid, Side::Local),
        None => picture.local(name).map(|_| Change::Local(name.clone(), None)),
    }
}

/// What is remembered in the Trash of a message that was moved back from there: its file is to go as well, and that is no
/// deletion for the guard to count.
pub fn left_trash(picture: &Picture, uid: Uid) -> Option<Change> {
    ordered(picture, uid, Side::Remote)
}

fn ordered(picture: &Picture, uid: Uid, gone: Side) -> Option<Change> {
    let hold = Some(Hold { gone, set: BY_UNDO, word: Word::Approved });
    let pair = picture.pair(uid)?;
    Some(Change::Uid(uid, Some(Known::Pair(Pair { hold, ..pair.clone() }))))
}

/// Works out what the open batches of one mailbox brought back, from complete pictures taken after the crash.
///
/// `taken` are UIDs that other actions of these batches claim already.
pub fn came_back<'b>(
    batches: &'b [Batch],
    mailbox: MailboxId,
    picture: &Picture,
    remote: &RemoteView,
    local: &LocalView,
    traces: &BTreeMap<MailboxId, BTreeMap<Uid, Trace>>,
    taken: &BTreeSet<Uid>,
) -> Vec<CameBack<'b>> {
    let mut found = Vec::new();
    let mut sought = Vec::new();
    for batch in batches {
        let Work::Messages { mailbox: of, actions, from, .. } = &batch.work else { continue };
        if *of != mailbox {
            continue;
        }
        for action in actions {
            match action {
                Action::Restore { name, flags, from: Source::Retention { .. }, stays, .. }
                    if local.get(name).is_some() && !is_known(picture, name) =>
                {
                    let change = restored(name, flags, *stays, None);
                    found.push(CameBack { action, uid: None, change });
                }
                Action::Restore { print: Some(print), from: Source::Trash { .. }, .. } => {
                    if let Some((_, first)) = from.get(&mailbox) {
                        sought.push((action, *print, *first));
                    }
                }
                Action::Withdraw { uid, name, .. } => {
                    if local.get(name).is_none()
                        && let Some(change) = withdrawn(picture, *uid, name)
                    {
                        found.push(CameBack { action, uid: None, change });
                    }
                }
                _ => {}
            }
        }
    }
    let is_new = |uid: Uid| remote.get(uid).is_some() && !matches!(picture.uid(uid), Some(Known::Pair(_)));
    let there = traces.get(&mailbox).into_iter().flatten();
    let there = there.filter(|(uid, _)| is_new(**uid)).map(|(uid, trace)| (*uid, *trace)).collect();
    let wanted: Vec<_> = sought.iter().zip(0..).map(|((_, print, first), n)| (n, *print, *first)).collect();
    let places = find_print(&wanted, &there, taken);
    for ((action, ..), number) in sought.into_iter().zip(0..) {
        if let (Action::Restore { name, flags, .. }, Some(uid)) = (action, places.get(&number)) {
            let uid = Some(*uid);
            found.push(CameBack { action, uid, change: restored(name, flags, false, uid) });
        }
    }
    found
}

fn is_known(picture: &Picture, name: &BaseName) -> bool {
    picture.partner(name).is_some() || picture.local(name).is_some()
}

/// Finds messages by their looks: the closest first, each place for one only. A message is looked for from a UID on; what is
/// looked for is told by a number.
pub fn find_print(
    wanted: &[(u64, Fingerprint, Uid)],
    there: &BTreeMap<Uid, Trace>,
    taken: &BTreeSet<Uid>,
) -> BTreeMap<u64, Uid> {
    let mut claimed = taken.clone();
    let mut found = BTreeMap::new();
    for likeness in [Likeness::Exact, Likeness::Header, Likeness::MessageId] {
        for (number, print, first) in wanted {
            if found.contains_key(number) {
                continue;
            }
            let fits = |(uid, trace): &(&Uid, &Trace)| trace.fits(print, likeness) && !claimed.contains(uid);
            if let Some((uid, _)) = there.range(*first..).find(fits) {
                claimed.insert(*uid);
                found.insert(*number, *uid);
            }
        }
    }
    found
}

/// What the open batches took out of a mailbox, a Trash, to bring it back elsewhere.
pub fn left(batches: &[Batch], trash: MailboxId, picture: &Picture, remote: &RemoteView) -> Vec<Change> {
    let actions = batches.iter().flat_map(|batch| match &batch.work {
        Work::Messages { actions, .. } => actions.as_slice(),
        Work::Mailboxes(_) => &[],
    });
    let from_here = actions.filter_map(|action| match action {
        Action::Restore { from: Source::Trash { mailbox, uid, .. }, .. } if *mailbox == trash => Some(*uid),
        _ => None,
    });
    from_here.filter(|uid| remote.get(*uid).is_none()).filter_map(|uid| left_trash(picture, uid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::fingerprint;
    use crate::sync::plan::BatchId;

    const INBOX: MailboxId = MailboxId(1);
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

    fn batch(actions: Vec<Action>) -> Vec<Batch> {
        let from = BTreeMap::from([(INBOX, (epoch(), uid(10)))]);
        let work = Work::Messages { mailbox: INBOX, uid_validity: epoch(), actions, from };
        vec![Batch { id: BatchId(1), generation: 1, work }]
    }

    fn restore(from: Source) -> Action {
        let (flags, print) = (Flags::parse("\\Seen"), Some(fingerprint::of(b"Message-ID: <a>\r\n\r\na\r\n")));
        Action::Restore { name: name("a"), flags, print, from, stays: false, number: 3 }
    }

    fn server(uids: &[u32]) -> RemoteView {
        let shown = uids.iter().map(|n| (uid(*n), Flags::new())).collect();
        RemoteView::listed(shown, uids.len().try_into().expect("few")).expect("it adds up")
    }

    fn maildir(names: &[&str]) -> LocalView {
        LocalView::of_new(names.iter().map(|text| (name(text), Flags::new())).collect())
    }

    #[test]
    fn a_file_that_came_back_is_known_and_one_that_did_not_is_not() {
        let batches = batch(vec![restore(Source::Retention { mailbox: INBOX })]);
        let back = |names: &[&str]| {
            let (picture, none, traces) = (Picture::new(), BTreeSet::new(), BTreeMap::new());
            came_back(&batches, INBOX, &picture, &server(&[]), &maildir(names), &traces, &none).len()
        };
        assert_eq!((back(&["a"]), back(&["b"])), (1, 0));
    }

    #[test]
    fn a_message_that_came_back_is_found_by_its_looks_and_only_among_the_new() {
        let batches = batch(vec![restore(Source::Trash { mailbox: TRASH, uid_validity: epoch(), uid: uid(5) })]);
        let print = fingerprint::of(b"Message-ID: <a>\r\n\r\na\r\n");
        let trace = Trace { message_id: print.message_id, header: print.header, size: print.size };
        let at = |place: u32, taken: &[u32]| {
            let traces = BTreeMap::from([(INBOX, BTreeMap::from([(uid(place), trace)]))]);
            let taken = taken.iter().map(|n| uid(*n)).collect();
            let remote = server(&[place]);
            came_back(&batches, INBOX, &Picture::new(), &remote, &maildir(&[]), &traces, &taken).len()
        };
        assert_eq!((at(10, &[]), at(9, &[]), at(10, &[10])), (1, 0, 0));
        let mut trash = Picture::new();
        trash.apply(Change::Uid(uid(5), Some(Known::Pair(Pair::agreed(name("t"), Flags::new(), None)))));
        assert_eq!(left(&batches, TRASH, &trash, &server(&[5])), []);
        let changes = left(&batches, TRASH, &trash, &server(&[]));
        let [Change::Uid(_, Some(Known::Pair(pair)))] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(pair.hold, Some(Hold { gone: Side::Remote, set: BY_UNDO, word: Word::Approved }));
    }
}
