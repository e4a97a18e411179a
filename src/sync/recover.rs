//! What came to pass of batches that were begun and never settled.
//!
//! A crash leaves a journal that says what was about to be done. Most actions need no recovery: the next plan sees by
//! itself that a flag is set or a message gone. Four do, for without their memory mail would be doubled: a fetched file
//! (its name was planned), an uploaded or copied message (found by its looks among the UIDs from the recorded UIDNEXT), a
//! copy in the Trash, and a move, on either side. All open batches of a mailbox are looked at together, else one could claim another's upload.

use crate::mail::{BaseName, Fingerprint, Uid, UidValidity};
use crate::sync::lacks::settled;
use crate::sync::picture::{Change, Known, MailboxId, Pair, Picture, Removing};
use crate::sync::plan::{Action, Batch, Origin, Route, Work};
use crate::sync::settle::{gone_from, moved, superseded};
use crate::sync::view::{LocalView, RemoteView};
use std::collections::{BTreeMap, BTreeSet};

/// How a message on the server looks by its header and size, without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The digest of its Message-ID, as in [`Fingerprint`].
    pub message_id: Option<[u8; 8]>,
    /// The digest of its header, as in [`Fingerprint`].
    pub header: [u8; 16],
    /// Its size, as in [`Fingerprint`].
    pub size: u64,
}

/// How closely a trace has to fit. Servers count line ends in their own way and rewrite headers, so that what fits exactly
/// is looked for first, over all that is sought, and then what fits less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Likeness {
    /// The same header and size.
    Exact,
    /// The same header, with a Message-ID in it.
    Header,
    /// The same Message-ID.
    MessageId,
}

impl Trace {
    /// Tells whether a message with this trace can be the one with that fingerprint.
    pub(super) fn fits(&self, print: &Fingerprint, likeness: Likeness) -> bool {
        match likeness {
            Likeness::Exact => self.header == print.header && self.size == print.size,
            Likeness::Header => self.header == print.header && print.message_id.is_some(),
            Likeness::MessageId => self.message_id == print.message_id && print.message_id.is_some(),
        }
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
/// `traces` holds the messages from [`questions`] on, of this mailbox and of the Trash. `remotes` and `locals` are complete
/// pictures taken after the crash; the Maildirs of all mailboxes are asked for, since a reader may have moved a file on
/// before anybody remembered it, and the mailboxes from which a batch moves messages have to be among `pictures` and
/// `remotes`. What follows may concern those too.
pub fn recover(
    batches: &[Batch],
    mailbox: MailboxId,
    pictures: &BTreeMap<MailboxId, Picture>,
    remotes: &BTreeMap<MailboxId, RemoteView>,
    locals: &BTreeMap<MailboxId, LocalView>,
    traces: &BTreeMap<MailboxId, BTreeMap<Uid, Trace>>,
) -> Vec<(MailboxId, Change)> {
    let (Some(picture), Some(remote)) = (pictures.get(&mailbox), remotes.get(&mailbox)) else { return Vec::new() };
    let is_in = |mailbox: MailboxId, name: &BaseName| locals.get(&mailbox).is_some_and(|l| l.get(name).is_some());
    // Where a message was moved from: what is still to be done there.
    let is_there = |origin: &Origin| remotes.get(&origin.mailbox).is_some_and(|r| r.get(origin.uid).is_some());
    let origin_of = |origin: &Origin| -> Vec<(MailboxId, Change)> {
        let left = is_there(origin).then_some(Removing::Copied);
        let left = pictures.get(&origin.mailbox).map(|picture| gone_from(picture, origin.uid, left));
        left.into_iter().flatten().map(|change| (origin.mailbox, change)).collect()
    };
    let is_here = |name: &BaseName| locals.values().any(|local| local.get(name).is_some());
    let mut changes: Vec<(MailboxId, Change)> = Vec::new();
    let mut sought: Vec<Sought<'_>> = Vec::new();
    for batch in batches {
        let Work::Messages { mailbox: of, actions, from, .. } = &batch.work else { continue };
        if *of != mailbox {
            continue;
        }
        for action in actions {
            match action {
                Action::Fetch { uid, name, flags } => {
                    if is_here(name) && !is_pair(picture, *uid, name) {
                        let here = locals.get(&mailbox).and_then(|local| local.get(name));
                        let pair = settled(None, Pair::agreed(name.clone(), flags.clone(), None), None, here);
                        changes.push((mailbox, Change::Uid(*uid, Some(Known::Pair(pair)))));
                        changes.extend(superseded(picture, *uid, name).map(|change| (mailbox, change)));
                    }
                }
                Action::MoveLocal { uid, origin, was, name, agreed, print, .. } => {
                    // Where it was and is no more, the file was renamed, and if it is not here a reader has moved it on.
                    let renamed = is_in(mailbox, name) || (!is_in(origin.mailbox, was) && is_here(name));
                    if renamed && !is_pair(picture, *uid, name) {
                        let pair = moved(action, name, agreed, print);
                        let here = locals.get(&mailbox).and_then(|local| local.get(name));
                        let pair = settled(None, pair, remote.get(*uid), here);
                        changes.push((mailbox, Change::Uid(*uid, Some(Known::Pair(pair)))));
                        if !is_in(origin.mailbox, was) {
                            changes.extend(origin_of(origin));
                        }
                    }
                }
                Action::CopyRemote { name, print, .. }
                | Action::MoveRemote { name, print, .. }
                | Action::Append { name, print: Some(print), .. } => {
                    // A file that is gone from all mailboxes is no reason to delete what may be somebody else's copy:
                    // the message lives, and is fetched as new.
                    if picture.partner(name).is_none()
                        && is_here(name)
                        && let Some((_, first)) = from.get(&mailbox)
                    {
                        sought.push(Sought {
                            action,
                            of: mailbox,
                            place: mailbox,
                            first: *first,
                            print: *print,
                            found: None,
                        });
                    }
                }
                Action::Append { print: None, .. } | Action::SetFlags { .. } | Action::DeleteLocal { .. } => {}
                // What went to the Trash is sought below, over all mailboxes.
                Action::DeleteRemote { .. } => {}
                // They have a recovery of their own, in `restore`.
                Action::Restore { .. } | Action::Withdraw { .. } => {}
            }
        }
    }
    sought.extend(sent_to_trash(batches, pictures, remotes));
    let is_new = |uid: Uid| remote.get(uid).is_some() && picture.uid(uid).is_none();
    let mut claimed: BTreeSet<(MailboxId, Uid)> = BTreeSet::new();
    for likeness in [Likeness::Exact, Likeness::Header, Likeness::MessageId] {
        for one in sought.iter_mut().filter(|one| one.found.is_none()) {
            let Some(there) = traces.get(&one.place) else { continue };
            let free = |uid: Uid| !claimed.contains(&(one.place, uid)) && (one.place != mailbox || is_new(uid));
            let found = there.range(one.first..).find(|(uid, trace)| trace.fits(&one.print, likeness) && free(**uid));
            one.found = found.map(|(uid, _)| (*uid, likeness));
            claimed.extend(one.found.map(|(uid, _)| (one.place, uid)));
        }
    }
    for Sought { action, found, print, .. } in sought.into_iter().filter(|one| one.of == mailbox) {
        match (action, found) {
            (Action::Append { name, flags, .. }, Some((uid, likeness))) => {
                // Where only the Message-ID fits, it may be another version that somebody else uploaded.
                let guessed = likeness == Likeness::MessageId;
                let pair = Pair { guessed, ..Pair::agreed(name.clone(), flags.clone(), Some(print)) };
                let pair = settled(None, pair, remote.get(uid), None);
                changes.push((mailbox, Change::Local(name.clone(), None)));
                changes.push((mailbox, Change::Uid(uid, Some(Known::Pair(pair)))));
            }
            (
                Action::CopyRemote { name, agreed, .. } | Action::MoveRemote { name, agreed, .. },
                Some((uid, likeness)),
            ) => {
                let here = locals.get(&mailbox).and_then(|local| local.get(name));
                let mut pair = moved(action, name, agreed, &print);
                pair.guessed |= likeness == Likeness::MessageId;
                let pair = settled(None, pair, None, here);
                changes.push((mailbox, Change::Local(name.clone(), None)));
                changes.push((mailbox, Change::Uid(uid, Some(Known::Pair(pair)))));
                // Where only the Message-ID fits, it may be another message that came meanwhile: the original is then
                // not expunged as one that has a copy, but deleted like any other whose file is gone.
                if let Action::MoveRemote { origin, .. } = action
                    && (likeness != Likeness::MessageId || !is_there(origin))
                {
                    changes.extend(origin_of(origin));
                }
            }
            // Where only the Message-ID fits it may be another message in the Trash, such as the copy that the sender kept:
            // then it goes to the Trash as if nothing had been begun.
            (Action::DeleteRemote { uid, .. }, Some((_, likeness))) if likeness != Likeness::MessageId => {
                if let Some(pair) = picture.pair(*uid).filter(|_| remote.get(*uid).is_some()) {
                    let copied = Pair { removing: Some(Removing::Copied), ..pair.clone() };
                    changes.push((mailbox, Change::Uid(*uid, Some(Known::Pair(copied)))));
                }
            }
            _ => {}
        }
    }
    changes
}

/// Something that a batch may have put on the server.
struct Sought<'a> {
    action: &'a Action,
    /// The mailbox on whose messages its batch works.
    of: MailboxId,
    /// The mailbox in which it would be.
    place: MailboxId,
    /// The first UID that it could have.
    first: Uid,
    print: Fingerprint,
    found: Option<(Uid, Likeness)>,
}

/// What batches of any mailbox may have put into the Trash. Messages that are alike may have been deleted in several
/// mailboxes: those that are gone from theirs come first, so that their copies are not taken for those of the others.
fn sent_to_trash<'a>(
    batches: &'a [Batch],
    pictures: &BTreeMap<MailboxId, Picture>,
    remotes: &BTreeMap<MailboxId, RemoteView>,
) -> Vec<Sought<'a>> {
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for batch in batches {
        let Work::Messages { mailbox: of, actions, from, .. } = &batch.work else { continue };
        for action in actions {
            if let Action::DeleteRemote { uid, route: Route::Trash(trash), .. } = action
                && let Some(print) = pictures.get(of).and_then(|picture| picture.pair(*uid)).and_then(|pair| pair.print)
                && let Some((_, first)) = from.get(trash)
            {
                let is_gone = remotes.get(of).is_some_and(|remote| remote.get(*uid).is_none());
                let one = Sought { action, of: *of, place: *trash, first: *first, print, found: None };
                if is_gone { gone.push(one) } else { left.push(one) }
            }
        }
    }
    gone.append(&mut left);
    gone
}

fn is_pair(picture: &Picture, uid: Uid, name: &BaseName) -> bool {
    picture.pair(uid).is_some_and(|pair| pair.name == *name)
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
