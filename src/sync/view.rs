//! A complete picture of one side: the only thing from which absence may be inferred.
//!
//! A view of the server has two constructors. [`RemoteView::listed`] takes a full listing, which has to number as many
//! messages as the server says that there are; [`RemoteView::after`] takes the remembered picture and a delta, which is
//! believed only if it adds up. Servers answer an empty delta with OK when their index was rebuilt, send VANISHED for
//! messages that are there, and cut listings short: each of these is a [`Doubt`], and leads to a full listing or to
//! nothing, never to a deletion.

use crate::mail::{BaseName, Flags, ModSeq, Uid, UidSet, UidValidity};
use crate::sync::mailbox::Checkpoint;
use crate::sync::picture::Picture;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Everything that the server holds in one mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteView {
    messages: BTreeMap<Uid, Flags>,
}

/// Everything that the Maildir holds of one mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalView {
    messages: BTreeMap<BaseName, Flags>,
}

/// The numbers of a SELECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// The epoch.
    pub uid_validity: UidValidity,
    /// How many messages there are (EXISTS).
    pub exists: u32,
    /// The highest mod-sequence, where the server keeps them.
    pub highest_mod_seq: Option<ModSeq>,
}

/// What changed since a checkpoint, as QRESYNC tells it (RFC 7162, section 3.2.5).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Delta {
    /// New messages, and those whose flags changed.
    pub changed: BTreeMap<Uid, Flags>,
    /// UIDs that are gone; it may name UIDs that we never knew, four billion of them.
    pub vanished: UidSet,
}

/// Why what a server said is not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Doubt {
    /// Another UIDVALIDITY: the remembered UIDs mean nothing any more.
    #[error("the mailbox has a new UIDVALIDITY ({was} before, {is} now)")]
    Epoch {
        /// The remembered one.
        was: UidValidity,
        /// The one that the server tells.
        is: UidValidity,
    },
    /// HIGHESTMODSEQ fell, or is no longer told: the server rebuilt its index.
    #[error("the server rebuilt its index (its HIGHESTMODSEQ went back)")]
    ModSeqWentBack,
    /// The messages do not number what the server says.
    #[error("the server says that there are {exists} messages, and told of {counted}")]
    DoesNotAddUp {
        /// EXISTS.
        exists: u32,
        /// What the listing or the delta amounts to.
        counted: u64,
    },
}

impl RemoteView {
    /// Takes a full listing, if it numbers as many messages as the server says that there are.
    ///
    /// The caller vouches that the command's tagged OK was seen.
    pub fn listed(messages: BTreeMap<Uid, Flags>, exists: u32) -> Result<Self, Doubt> {
        let counted = messages.len() as u64;
        if counted != u64::from(exists) {
            return Err(Doubt::DoesNotAddUp { exists, counted });
        }
        Ok(Self { messages })
    }

    /// Folds a delta into what is remembered, if it adds up: known - vanished + new = EXISTS.
    pub fn after(picture: &Picture, checkpoint: &Checkpoint, numbers: &Numbers, delta: &Delta) -> Result<Self, Doubt> {
        if numbers.uid_validity != checkpoint.uid_validity {
            return Err(Doubt::Epoch { was: checkpoint.uid_validity, is: numbers.uid_validity });
        }
        if numbers.highest_mod_seq < checkpoint.highest_mod_seq {
            return Err(Doubt::ModSeqWentBack);
        }
        let known = picture.remote_side().filter(|(uid, _)| !delta.vanished.contains(*uid));
        let mut messages: BTreeMap<Uid, Flags> = known.map(|(uid, flags)| (uid, flags.clone())).collect();
        let changed = delta.changed.iter().filter(|(uid, _)| !delta.vanished.contains(**uid));
        messages.extend(changed.map(|(uid, flags)| (*uid, flags.clone())));
        Self::listed(messages, numbers.exists)
    }

    /// Every message, by UID.
    pub fn messages(&self) -> &BTreeMap<Uid, Flags> {
        &self.messages
    }

    /// The flags of a message, if it is there.
    pub fn get(&self, uid: Uid) -> Option<&Flags> {
        self.messages.get(&uid)
    }

    /// The messages that are remembered on the server and that this view does not show: to be confirmed by a SEARCH
    /// before anything follows from it.
    pub fn missing<'a>(&'a self, picture: &'a Picture) -> impl Iterator<Item = Uid> + 'a {
        picture.remote_side().map(|(uid, _)| uid).filter(|uid| !self.messages.contains_key(uid))
    }
}

/// One scan of the Maildir of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// Every message that was seen.
    pub messages: BTreeMap<BaseName, Flags>,
    /// When it was taken, in milliseconds since 1970.
    pub taken: u64,
    /// When the directories last changed, in milliseconds since 1970.
    pub changed: u64,
}

/// How long nothing may have vanished before a deletion is inferred from it, in milliseconds.
pub const QUIET: u64 = 5_000;

/// What the looks at a Maildir amount to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A complete picture.
    Settled(LocalView),
    /// Something vanished, and another look is due after this many milliseconds.
    LookAgain(u64),
}

impl LocalView {
    /// Judges two looks at a Maildir, the second of which may be missing as yet.
    ///
    /// A scan races with the renames of a mail reader and can miss a file. What is remembered counts as absent only if
    /// two looks agree on it, and if nothing has changed there for [`QUIET`] before the second.
    pub fn judge(picture: &Picture, first: &Look, second: Option<&Look>) -> Seen {
        let absent = |look: &Look| -> BTreeSet<BaseName> {
            picture.local_side().filter(|name| !look.messages.contains_key(*name)).cloned().collect()
        };
        let missing = absent(first);
        if missing.is_empty() {
            return Seen::Settled(Self { messages: first.messages.clone() });
        }
        let calm = |at: u64, since: u64| (since + QUIET).saturating_sub(at).min(QUIET);
        let Some(second) = second else {
            return Seen::LookAgain(calm(first.taken, first.changed));
        };
        let missing_still = absent(second);
        let since = if missing == missing_still { second.changed.min(first.taken) } else { second.taken };
        match calm(second.taken, since) {
            0 => Seen::Settled(Self { messages: second.messages.clone() }),
            _ if missing_still.is_empty() => Seen::Settled(Self { messages: second.messages.clone() }),
            wait => Seen::LookAgain(wait),
        }
    }

    /// Takes the messages of a Maildir that was made a moment ago, or of which nothing is remembered.
    pub fn of_new(messages: BTreeMap<BaseName, Flags>) -> Self {
        Self { messages }
    }

    /// Every message, by base name.
    pub fn messages(&self) -> &BTreeMap<BaseName, Flags> {
        &self.messages
    }

    /// The flags of a message, if it is there.
    pub fn get(&self, name: &BaseName) -> Option<&Flags> {
        self.messages.get(name)
    }
}
