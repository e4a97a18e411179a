//! What an action came to, and what is remembered because of it.
//!
//! OK is not confirmation: an outcome says only what was seen. What is not known stays open in the journal, for
//! [`recover`](crate::sync::recover()) to find out.

use crate::mail::{BaseName, Fingerprint, Flags, Uid};
use crate::sync::picture::{Change, Known, Lone, Pair, Picture, Quarantine, Removing, Why};
use crate::sync::plan::Action;
use crate::sync::restore::{restored, withdrawn};

/// What an action came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The message is in the Maildir, durably.
    Fetched(Fingerprint),
    /// The message is on the server, under this UID.
    Appended(Uid, Option<Fingerprint>),
    /// Which side was seen with the wanted flags; a side that had nothing to change counts.
    FlagsSet {
        /// The server.
        remote: bool,
        /// The Maildir.
        local: bool,
    },
    /// The message was seen to be gone.
    Removed,
    /// The message is back: on the server under this UID, or here.
    Restored(Option<Uid>),
    /// Half of the removal was seen.
    Half(Removing),
    /// The message was moved, and is known there under this UID; how far its removal from where it was came, if it was
    /// not seen to be gone from there.
    Moved(Uid, Option<Removing>),
    /// A precondition did not hold any more; nothing was done, the next look decides.
    Moot,
    /// It cannot be done now; the reason, as an escaped clause.
    Failed(String),
    /// The server stored the message and did not say under which UID. It must be found again, and never be sent twice.
    Stored,
    /// Nobody knows.
    Unknown,
}

/// What is remembered because of an outcome. `picture` holds the notes of the plan already.
pub fn settle(picture: &Picture, action: &Action, outcome: &Outcome, now: u64) -> Vec<Change> {
    match (action, outcome) {
        (_, Outcome::Moot | Outcome::Unknown) => vec![],
        (Action::Fetch { uid, name, flags }, Outcome::Fetched(print)) => {
            // What a stub looks like says nothing of its message.
            let print = Some(*print).filter(|_| !name.is_stub());
            let mut changes = vec![pair(*uid, Pair::agreed(name.clone(), flags.clone(), print))];
            changes.extend(superseded(picture, *uid, name));
            changes
        }
        // Its stub is still here; the next look takes that away.
        (Action::Fetch { uid, .. }, Outcome::Removed) if picture.pair(*uid).is_some() => vec![],
        (Action::Fetch { uid, .. }, Outcome::Removed) => vec![Change::Uid(*uid, None)],
        (Action::Fetch { uid, .. }, Outcome::Failed(reason)) if picture.pair(*uid).is_some() => {
            trouble(picture, *uid, reason, now)
        }
        (Action::Fetch { uid, flags, .. }, Outcome::Failed(reason)) => {
            let before = match picture.uid(*uid) {
                Some(Known::Lone(Lone { why: Why::Quarantined(quarantine), .. })) => Some(quarantine),
                _ => None,
            };
            let why = Why::Quarantined(Quarantine::after(before, reason, now));
            vec![Change::Uid(*uid, Some(Known::Lone(Lone { flags: flags.clone(), why })))]
        }
        (Action::Append { name, flags, print }, Outcome::Appended(uid, seen)) => {
            vec![
                Change::Local(name.clone(), None),
                pair(*uid, Pair::agreed(name.clone(), flags.clone(), seen.or(*print))),
            ]
        }
        (Action::Append { name, flags, .. }, Outcome::Stored) => {
            // Recovery finds it, as a rule in the same pass, and makes the pair. If it does not, this stays.
            let reason =
                "the server took it, and cannot be seen to have it; it is not sent again by itself: if it is missing \
                          there, copy the file to a new name, which is uploaded, and delete this one"
                    .to_owned();
            let why = Why::Quarantined(Quarantine { reason, attempts: 1, due: u64::MAX });
            vec![Change::Local(name.clone(), Some(Lone { flags: flags.clone(), why }))]
        }
        (Action::Append { name, .. }, Outcome::Removed) => vec![Change::Local(name.clone(), None)],
        (Action::Append { name, flags, .. }, Outcome::Failed(reason)) => {
            let before = match picture.local(name).map(|lone| &lone.why) {
                Some(Why::Quarantined(quarantine)) => Some(quarantine),
                _ => None,
            };
            let why = Why::Quarantined(Quarantine::after(before, reason, now));
            vec![Change::Local(name.clone(), Some(Lone { flags: flags.clone(), why }))]
        }
        (Action::SetFlags { uid, remote, local, merged, .. }, Outcome::FlagsSet { remote: there, local: here }) => {
            let Some(old) = picture.pair(*uid) else { return vec![] };
            let shown = |seen: &Option<Flags>| seen.clone().unwrap_or_else(|| old.agreed.clone());
            let after_there = match remote {
                Some(change) if *there => change.apply(&shown(&old.remote)),
                _ => shown(&old.remote),
            };
            let after_here = match local {
                Some((_, change)) if *here => change.apply(&shown(&old.local)),
                _ => shown(&old.local),
            };
            let done = (remote.is_none() || *there) && (local.is_none() || *here);
            let agreed = if done { merged.clone() } else { old.agreed.clone() };
            let differing = |flags: Flags| (flags != agreed).then_some(flags);
            vec![pair(
                *uid,
                Pair {
                    remote: differing(after_there),
                    local: differing(after_here),
                    hold: None,
                    removing: None,
                    trouble: None,
                    agreed: agreed.clone(),
                    ..old.clone()
                },
            )]
        }
        (Action::DeleteRemote { uid, .. } | Action::DeleteLocal { uid: Some(uid), .. }, Outcome::Removed) => {
            vec![Change::Uid(*uid, None)]
        }
        (Action::DeleteLocal { uid: None, name, .. }, Outcome::Removed) => vec![Change::Local(name.clone(), None)],
        (Action::DeleteRemote { uid, .. }, Outcome::Half(removing)) => match picture.pair(*uid) {
            Some(old) => vec![pair(*uid, Pair { removing: Some(*removing), ..old.clone() })],
            None => vec![],
        },
        (
            Action::SetFlags { uid, .. }
            | Action::DeleteRemote { uid, .. }
            | Action::DeleteLocal { uid: Some(uid), .. },
            Outcome::Failed(reason),
        ) => trouble(picture, *uid, reason, now),
        (Action::DeleteLocal { uid: None, name, .. }, Outcome::Failed(reason)) => match picture.local(name) {
            Some(lone) => {
                let why = Why::Quarantined(Quarantine::after(None, reason, now));
                vec![Change::Local(name.clone(), Some(Lone { flags: lone.flags.clone(), why }))]
            }
            None => vec![],
        },
        (Action::Restore { name, flags, stays, .. }, Outcome::Restored(uid)) => {
            vec![restored(name, flags, *stays, *uid)]
        }
        (Action::Withdraw { uid, name, .. }, Outcome::Removed) => withdrawn(picture, *uid, name).into_iter().collect(),
        // Who asked for it is told the reason; nothing is remembered of it, and it is not tried again by itself.
        (Action::Restore { .. } | Action::Withdraw { .. }, _) | (_, Outcome::Restored(_)) => vec![],
        (
            Action::CopyRemote { name, agreed, print, .. } | Action::MoveRemote { name, agreed, print, .. },
            Outcome::Appended(uid, _) | Outcome::Moved(uid, _),
        ) => {
            vec![Change::Local(name.clone(), None), pair(*uid, moved(action, name, agreed, print))]
        }
        (Action::MoveLocal { name, agreed, print, .. }, Outcome::Moved(uid, _)) => {
            vec![pair(*uid, moved(action, name, agreed, print))]
        }
        // An outcome that is not one of this action: nothing was seen of it.
        (
            Action::CopyRemote { .. } | Action::MoveRemote { .. },
            Outcome::Fetched(_)
            | Outcome::Stored
            | Outcome::FlagsSet { .. }
            | Outcome::Removed
            | Outcome::Half(_)
            | Outcome::Failed(_),
        )
        | (
            Action::MoveLocal { .. },
            Outcome::Fetched(_)
            | Outcome::Appended(..)
            | Outcome::Stored
            | Outcome::FlagsSet { .. }
            | Outcome::Removed
            | Outcome::Half(_)
            | Outcome::Failed(_),
        )
        | (
            Action::Fetch { .. }
            | Action::Append { .. }
            | Action::SetFlags { .. }
            | Action::DeleteRemote { .. }
            | Action::DeleteLocal { .. },
            Outcome::Moved(..),
        )
        | (
            Action::Fetch { .. },
            Outcome::Appended(..) | Outcome::Stored | Outcome::FlagsSet { .. } | Outcome::Half(_),
        )
        | (Action::Append { .. }, Outcome::Fetched(_) | Outcome::FlagsSet { .. } | Outcome::Half(_))
        | (
            Action::SetFlags { .. },
            Outcome::Fetched(_) | Outcome::Appended(..) | Outcome::Stored | Outcome::Removed | Outcome::Half(_),
        )
        | (
            Action::DeleteRemote { .. },
            Outcome::Fetched(_) | Outcome::Appended(..) | Outcome::Stored | Outcome::FlagsSet { .. },
        )
        | (
            Action::DeleteLocal { .. },
            Outcome::Fetched(_) | Outcome::Appended(..) | Outcome::Stored | Outcome::FlagsSet { .. } | Outcome::Half(_),
        ) => vec![],
    }
}

/// The pair that is made of what was moved or copied: it is as certain as the one that it was.
pub(super) fn moved(action: &Action, name: &BaseName, agreed: &Flags, print: &Fingerprint) -> Pair {
    let guessed = matches!(action, Action::MoveRemote { guessed: true, .. } | Action::MoveLocal { guessed: true, .. });
    Pair { guessed, ..Pair::agreed(name.clone(), agreed.clone(), Some(*print)) }
}

/// What is remembered of a pair after an action on it failed.
fn trouble(picture: &Picture, uid: Uid, reason: &str, now: u64) -> Vec<Change> {
    let failed =
        |old: &Pair| Pair { trouble: Some(Quarantine::after(old.trouble.as_ref(), reason, now)), ..old.clone() };
    picture.pair(uid).map(|old| pair(uid, failed(old))).into_iter().collect()
}

/// The stub that a message had until it came as a whole, under another name: it has to go.
pub(super) fn superseded(picture: &Picture, uid: Uid, name: &BaseName) -> Option<Change> {
    let old = picture.pair(uid).filter(|old| old.name.is_stub() && old.name != *name)?;
    Some(Change::Local(old.name.clone(), Some(Lone { flags: old.agreed.clone(), why: Why::Superseded })))
}

/// What is remembered, in the mailbox that a message was moved from, because of an outcome; `picture` is that mailbox's.
pub fn settle_origin(picture: &Picture, action: &Action, outcome: &Outcome) -> Vec<Change> {
    match (action, outcome) {
        (Action::MoveRemote { origin, .. } | Action::MoveLocal { origin, .. }, Outcome::Moved(_, left)) => {
            gone_from(picture, origin.uid, *left)
        }
        _ => vec![],
    }
}

/// A message that is known elsewhere by now is forgotten where it was, or its removal is still to be done there.
pub(super) fn gone_from(picture: &Picture, uid: Uid, left: Option<Removing>) -> Vec<Change> {
    match (picture.pair(uid), left) {
        (None, _) => vec![],
        (Some(_), None) => vec![Change::Uid(uid, None)],
        (Some(old), Some(_)) => vec![pair(uid, Pair { removing: left, hold: None, ..old.clone() })],
    }
}

fn pair(uid: Uid, pair: Pair) -> Change {
    Change::Uid(uid, Some(Known::Pair(pair)))
}

impl Quarantine {
    /// What follows a failure: the next try comes after 5 minutes, then twice as long each time, at most a day.
    pub(super) fn after(before: Option<&Self>, reason: &str, now: u64) -> Self {
        let attempts = before.map_or(1, |q| q.attempts.saturating_add(1));
        let wait = (300u64 << (attempts - 1).min(10)).min(86_400);
        Self { reason: reason.to_owned(), attempts, due: now + wait }
    }
}
