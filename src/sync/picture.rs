//! What is remembered of one mailbox: the last complete picture of both sides, message by message.
//!
//! Not only pairs: a message that is on one side for a reason (it failed, a policy keeps it) is remembered as well, for
//! a delta will never name it again. What follows from a picture is decided elsewhere; this file only keeps it.

use crate::mail::{BaseName, Fingerprint, Flags, ObjectId, Uid};
use crate::sync::lacks::Lacks;
use crate::sync::limits::Measure;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The number under which a mailbox is known here; it survives renames on both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MailboxId(pub u32);

/// One of the two sides of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The server.
    Remote,
    /// The Maildir.
    Local,
}

/// A message that is, or was, on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Its name in the Maildir.
    pub name: BaseName,
    /// The flags last agreed on.
    pub agreed: Flags,
    /// The flags last seen on the server, where they still differ from the agreed ones.
    pub remote: Option<Flags>,
    /// The flags last seen in the Maildir, where they still differ from the agreed ones.
    pub local: Option<Flags>,
    /// What the message looks like, once its bytes passed through our hands.
    pub print: Option<Fingerprint>,
    /// Its deletion on one side waits for a person.
    pub hold: Option<Hold>,
    /// Its removal from the server is half done.
    pub removing: Option<Removing>,
    /// The last action on it failed.
    pub trouble: Option<Quarantine>,
    /// Keywords that are agreed on, and that a side could not store.
    pub lacks: Option<Box<Lacks>>,
    /// Nothing certain speaks for it: when it is deleted here, the message is never expunged on the server.
    pub guessed: bool,
    /// Which message the server says that it is, where it told that when the message was fetched or looked at.
    pub object: Option<ObjectId>,
}

/// A deletion that the guard holds back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// The side from which the message vanished.
    pub gone: Side,
    /// The number of the set that a person approves or rejects as a whole.
    pub set: u32,
    /// What a person said to it.
    pub word: Word,
}

/// What a person said to a deletion that is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Word {
    /// Nothing as yet.
    Waiting,
    /// The next pass deletes.
    Approved,
    /// The next pass puts the message back, unless it came back by itself.
    Rejected,
}

/// How far a removal from the server came that takes more than one command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Removing {
    /// The copy in the Trash is there; the original is not yet expunged.
    Copied,
    /// `\Deleted` is set by us, for want of UIDPLUS; EXPUNGE waits for its turn.
    Marked,
}

/// A failure that is retried later, so that one bad message does not stop the others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quarantine {
    /// What went wrong, escaped, as a clause.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, in seconds since 1970.
    pub due: u64,
}

/// Why a message is remembered on one side only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Why {
    /// It is to be transferred in the next pass.
    Pending,
    /// Its transfer failed.
    Quarantined(Quarantine),
    /// A policy keeps it here.
    Kept,
    /// A limit of size or age leaves it there, or its stub was deleted here.
    Filtered(Measure),
    /// Its removal waits for a person: a mirror does not keep what was added here.
    Held(Hold),
    /// It is a stub whose whole message has come.
    Superseded,
    /// It was on both sides, and the server lacks it since it numbered its messages anew: a person decides whether it is
    /// deleted here or uploaded.
    Missing(Hold),
}

/// A message that is remembered on one side only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lone {
    /// The flags last seen.
    pub flags: Flags,
    /// The reason.
    pub why: Why,
}

/// What is known of a UID.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Known {
    /// It has, or had, a partner in the Maildir.
    Pair(Pair),
    /// It has none, for a reason.
    Lone(Lone),
}

/// One step from a picture to the next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// What is known of a UID from now on; `None`: nothing.
    Uid(Uid, Option<Known>),
    /// What is known of a local message without partner from now on; `None`: nothing.
    Local(BaseName, Option<Lone>),
}

/// What is remembered of one mailbox in one epoch.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Picture {
    uids: BTreeMap<Uid, Known>,
    names: BTreeMap<BaseName, Uid>,
    lone_local: BTreeMap<BaseName, Lone>,
}

impl Picture {
    /// A mailbox of which nothing is remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a change in. A name belongs to one message only: the later claim takes it from the earlier.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Uid(uid, known) => {
                if let Some(Known::Pair(old)) = self.uids.remove(&uid) {
                    self.names.remove(&old.name);
                }
                if let Some(Known::Pair(pair)) = &known {
                    if let Some(other) = self.names.insert(pair.name.clone(), uid) {
                        self.uids.remove(&other);
                    }
                    self.lone_local.remove(&pair.name);
                }
                if let Some(known) = known {
                    self.uids.insert(uid, known);
                }
            }
            Change::Local(name, Some(lone)) => {
                if let Some(uid) = self.names.remove(&name) {
                    self.uids.remove(&uid);
                }
                self.lone_local.insert(name, lone);
            }
            Change::Local(name, None) => {
                self.lone_local.remove(&name);
            }
        }
    }

    /// Tells whether the change is one no more.
    pub fn holds(&self, change: &Change) -> bool {
        match change {
            Change::Uid(uid, known) => self.uid(*uid) == known.as_ref(),
            Change::Local(name, lone) => self.local(name) == lone.as_ref(),
        }
    }

    /// Everything that has a UID, ascending.
    pub fn uids(&self) -> impl Iterator<Item = (Uid, &Known)> + '_ {
        self.uids.iter().map(|(uid, known)| (*uid, known))
    }

    /// Everything that is remembered in the Maildir only.
    pub fn lone_local(&self) -> impl Iterator<Item = (&BaseName, &Lone)> + '_ {
        self.lone_local.iter()
    }

    /// Every pair, by UID.
    pub fn pairs(&self) -> impl Iterator<Item = (Uid, &Pair)> + '_ {
        self.uids().filter_map(|(uid, known)| match known {
            Known::Pair(pair) => Some((uid, pair)),
            Known::Lone(_) => None,
        })
    }

    /// What is known of a UID.
    pub fn uid(&self, uid: Uid) -> Option<&Known> {
        self.uids.get(&uid)
    }

    /// The pair of a UID.
    pub fn pair(&self, uid: Uid) -> Option<&Pair> {
        match self.uids.get(&uid)? {
            Known::Pair(pair) => Some(pair),
            Known::Lone(_) => None,
        }
    }

    /// The UID that a local name is paired with.
    pub fn partner(&self, name: &BaseName) -> Option<Uid> {
        self.names.get(name).copied()
    }

    /// What is known of a local message without partner.
    pub fn local(&self, name: &BaseName) -> Option<&Lone> {
        self.lone_local.get(name)
    }

    /// Tells whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.lone_local.is_empty()
    }

    /// What the server held when it was last looked at: every UID that had not vanished, with its flags then.
    pub fn remote_side(&self) -> impl Iterator<Item = (Uid, Cow<'_, Flags>)> + '_ {
        self.uids().filter_map(|(uid, known)| match known {
            Known::Pair(Pair { hold: Some(Hold { gone: Side::Remote, .. }), .. }) => None,
            Known::Pair(pair) => {
                let said = pair.remote.as_ref().unwrap_or(&pair.agreed);
                let shown = pair.lacking(Side::Remote).map(|lacking| said.difference(lacking));
                Some((uid, shown.map_or(Cow::Borrowed(said), Cow::Owned)))
            }
            Known::Lone(lone) => Some((uid, Cow::Borrowed(&lone.flags))),
        })
    }

    /// The names that the Maildir held when it was last looked at.
    pub fn local_side(&self) -> impl Iterator<Item = &BaseName> + '_ {
        let paired = self.pairs().filter(|(_, p)| !matches!(p.hold, Some(Hold { gone: Side::Local, .. })));
        paired.map(|(_, pair)| &pair.name).chain(self.lone_local.keys())
    }

    /// Tells whether it consists of whole messages on which both sides agree, and nothing waits for anything.
    pub fn is_plain(&self) -> bool {
        let is_agreed = |pair: &Pair| {
            let Pair { name, remote, local, hold, removing, trouble, .. } = pair;
            let differs = remote.is_some() || local.is_some();
            !(differs || hold.is_some() || removing.is_some() || trouble.is_some() || name.is_stub())
        };
        self.lone_local.is_empty()
            && self.uids.values().all(|known| matches!(known, Known::Pair(pair) if is_agreed(pair)))
    }

    /// Tells whether nothing in it waits, for time or for a person. What was left on one side for good may be there.
    pub fn is_at_rest(&self) -> bool {
        let is_left = |lone: &Lone| matches!(lone.why, Why::Kept | Why::Filtered(_));
        self.lone_local.values().all(is_left)
            && self.uids.values().all(|known| match known {
                Known::Lone(lone) => is_left(lone),
                Known::Pair(pair) => pair.hold.is_none() && pair.removing.is_none() && pair.trouble.is_none(),
            })
    }

    /// Tells whether something waits that no delta will name: the mailbox is then never "unchanged".
    pub fn has_due(&self, now: u64) -> bool {
        let lone_due = |lone: &Lone| match &lone.why {
            Why::Pending | Why::Superseded => true,
            Why::Quarantined(quarantine) => quarantine.due <= now,
            Why::Held(hold) | Why::Missing(hold) => hold.word != Word::Waiting,
            Why::Kept | Why::Filtered(_) => false,
        };
        self.lone_local.values().any(lone_due)
            || self.uids.values().any(|known| match known {
                Known::Lone(lone) => lone_due(lone),
                Known::Pair(pair) => {
                    let waiting = pair.hold.is_some_and(|h| h.word == Word::Waiting);
                    let retry = pair.trouble.as_ref().is_none_or(|t| t.due <= now);
                    let unanswered = pair.remote.is_some() || pair.local.is_some();
                    let decided = pair.hold.is_some() && !waiting;
                    !waiting && retry && (unanswered || decided || pair.removing.is_some() || pair.trouble.is_some())
                }
            })
    }
}

impl Pair {
    /// A pair on whose flags both sides agree.
    pub fn agreed(name: BaseName, flags: Flags, print: Option<Fingerprint>) -> Self {
        Self {
            name,
            agreed: flags,
            remote: None,
            local: None,
            print,
            hold: None,
            removing: None,
            trouble: None,
            lacks: None,
            guessed: false,
            object: None,
        }
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
