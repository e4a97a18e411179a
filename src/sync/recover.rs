//! What came to pass of batches that were begun and never settled.
//!
//! A crash leaves a journal that says what was about to be done. Most actions need no recovery: the next plan sees by
//! itself that a flag is set or a message gone. Three do, for without their memory mail would be doubled: a fetched file
//! (its name was planned), an uploaded message (found by its looks among the UIDs from the recorded UIDNEXT), and a copy
//! in the Trash. All open batches of a mailbox are looked at together, else one could claim another's upload.

use crate::mail::{BaseName, Fingerprint, Uid, UidValidity};
use crate::sync::picture::{Change, Known, MailboxId, Pair, Picture, Removing};
use crate::sync::plan::{Action, Batch, Route, Work};
use crate::sync::view::{LocalView, RemoteView};
use std::collections::{BTreeMap, BTreeSet};

/// How a message on the server looks by its header and size, without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The digest of its header, as in [`Fingerprint`].
    pub header: [u8; 16],
    /// Its size, as in [`Fingerprint`].
    pub size: u64,
}

impl Trace {
    /// Tells whether a message with this trace can be the one with that fingerprint.
    pub fn fits(&self, print: &Fingerprint) -> bool {
        self.header == print.header && self.size == print.size
    }
}

/// What has to be asked of the server before [`recover`] can judge: for each mailbox, its epoch then and the first UID
/// from which on the traces are needed. A mailbox with another epoch by now has no traces.
pub fn questions(batches: &[Batch]) -> BTreeMap<MailboxId, (UidValidity, Uid)> {
    let mut asked: BTreeMap<MailboxId, (UidValidity, Uid)> = BTreeMap::new();
    for batch in batches {
        if let Work::Messages { from, .. } = &batch.work {
            for (mailbox, (epoch, uid)) in from {
                let first = asked.entry(*mailbox).or_insert((*epoch, *uid));
                first.1 = first.1.min(*uid);
            }
        }
    }
    asked
}

/// Works out what the open batches of one mailbox did.
///
/// `traces` holds the messages from [`questions`] on, of this mailbox and of the Trash. `remote` and `locals` are complete
/// pictures taken after the crash; the Maildirs of all mailboxes are asked for, since a reader may have moved a file on
/// before anybody remembered it.
pub fn recover(
    batches: &[Batch],
    mailbox: MailboxId,
    picture: &Picture,
    remote: &RemoteView,
    locals: &BTreeMap<MailboxId, LocalView>,
    traces: &BTreeMap<MailboxId, BTreeMap<Uid, Trace>>,
) -> Vec<Change> {
    let is_here = |name: &BaseName| locals.values().any(|local| local.get(name).is_some());
    let mut changes = Vec::new();
    let mut claimed: BTreeSet<(MailboxId, Uid)> = BTreeSet::new();
    for batch in batches {
        let Work::Messages { mailbox: of, actions, from, .. } = &batch.work else { continue };
        if *of != mailbox {
            continue;
        }
        for action in actions {
            let mut find = |place: MailboxId, print: &Fingerprint, accept: &dyn Fn(Uid) -> bool| -> Option<Uid> {
                let (_, first) = from.get(&place)?;
                let candidates = traces.get(&place)?.range(first..);
                let found = candidates
                    .filter(|(uid, trace)| trace.fits(print) && accept(**uid) && !claimed.contains(&(place, **uid)))
                    .map(|(uid, _)| *uid)
                    .next()?;
                claimed.insert((place, found));
                Some(found)
            };
            match action {
                Action::Fetch { uid, name, flags } => {
                    if is_here(name) && !is_pair(picture, *uid, name) {
                        let pair = Pair::agreed(name.clone(), flags.clone(), None);
                        changes.push(Change::Uid(*uid, Some(Known::Pair(pair))));
                    }
                }
                Action::Append { name, flags, print: Some(print) } => {
                    // A file that is gone from all mailboxes is no reason to delete what may be somebody else's copy:
                    // the message lives, and is fetched as new.
                    let unknown = |uid: Uid| remote.get(uid).is_some() && picture.uid(uid).is_none();
                    if picture.partner(name).is_none()
                        && is_here(name)
                        && let Some(uid) = find(mailbox, print, &unknown)
                    {
                        let pair = Pair::agreed(name.clone(), flags.clone(), Some(*print));
                        changes.push(Change::Local(name.clone(), None));
                        changes.push(Change::Uid(uid, Some(Known::Pair(pair))));
                    }
                }
                Action::DeleteRemote { uid, route: Route::Trash(trash), .. } => {
                    // A copy without its removal: only the removal is still to be done.
                    if let Some(pair) = picture.pair(*uid)
                        && remote.get(*uid).is_some()
                        && let Some(print) = &pair.print
                        && find(*trash, print, &|_| true).is_some()
                    {
                        let copied = Pair { removing: Some(Removing::Copied), ..pair.clone() };
                        changes.push(Change::Uid(*uid, Some(Known::Pair(copied))));
                    }
                }
                Action::Append { print: None, .. }
                | Action::SetFlags { .. }
                | Action::DeleteRemote { route: Route::Expunge, .. }
                | Action::DeleteLocal { .. } => {}
            }
        }
    }
    changes
}

fn is_pair(picture: &Picture, uid: Uid, name: &BaseName) -> bool {
    picture.pair(uid).is_some_and(|pair| pair.name == *name)
}
