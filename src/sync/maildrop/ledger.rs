//! The numbers that messages of a drop have here, and what is known of each.

use crate::mail::{Fingerprint, Uid, Uidl};
use crate::sync::maildrop::Looks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// By what a message is found again in a later session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Name {
    /// By its unique-id, which no other message of the drop has.
    Unique(Uidl),
    /// By its looks, for want of such an id: the n-th message that looks so, from 0.
    Alike(Looks, u32),
}

/// What is known of a message of a drop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// By what it is found again.
    pub name: Name,
    /// Its size in octets as it is listed; an estimate.
    pub octets: Option<u64>,
    /// When it was durable here as a whole, in seconds since 1970; none if it never was.
    pub fetched: Option<u64>,
    /// What it looks like, once its bytes passed through our hands.
    pub print: Option<Fingerprint>,
    /// Since when it is not listed, in seconds since 1970; none if it was when we last looked.
    pub vanished: Option<u64>,
}

/// All messages of a drop that are known.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ledger {
    entries: BTreeMap<Uid, Entry>,
    names: BTreeMap<Name, Uid>,
}

/// One step from a ledger to the next: what is known of a number from now on; `None`: nothing.
pub type Turn = (Uid, Option<Entry>);

impl Ledger {
    /// Takes a change in. A name belongs to one message only: the later claim takes it from the earlier.
    pub fn apply(&mut self, (uid, entry): Turn) {
        if let Some(old) = self.entries.remove(&uid)
            && self.names.get(&old.name) == Some(&uid)
        {
            self.names.remove(&old.name);
        }
        let Some(entry) = entry else { return };
        if let Some(other) = self.names.insert(entry.name.clone(), uid) {
            self.entries.remove(&other);
        }
        self.entries.insert(uid, entry);
    }

    /// What is known of a number.
    pub fn get(&self, uid: Uid) -> Option<&Entry> {
        self.entries.get(&uid)
    }

    /// The number of the message with this name.
    pub fn find(&self, name: &Name) -> Option<Uid> {
        self.names.get(name).copied()
    }

    /// Everything, by number.
    pub fn entries(&self) -> impl Iterator<Item = (Uid, &Entry)> + '_ {
        self.entries.iter().map(|(uid, entry)| (*uid, entry))
    }

    /// Tells whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number that the next new message gets: above all that are known, and not below `floor`.
    pub fn next(&self, floor: Option<Uid>) -> Option<Uid> {
        let after_last = match self.entries.keys().next_back() {
            Some(last) => last.next()?,
            None => Uid::MIN,
        };
        Some(floor.map_or(after_last, |floor| floor.max(after_last)))
    }
}

impl Entry {
    /// A message that was listed for the first time.
    pub fn new(name: Name, octets: Option<u64>) -> Self {
        Self { name, octets, fetched: None, print: None, vanished: None }
    }

    /// Tells whether what came was about as much as was announced: what is cut short is not the message.
    pub(super) fn came_whole(&self) -> bool {
        match (self.octets, &self.print) {
            (Some(listed), Some(print)) => print.size.saturating_add(listed / 10).saturating_add(1024) >= listed,
            _ => true,
        }
    }
}
