//! Pictures in pieces: what has a UID in chunks of UIDs, what has none in buckets of names.
//!
//! A change of a few messages reads and rewrites their pieces only. The one thing that reaches further is that a name
//! belongs to one message: who claims it may live in any chunk, so an index of names is kept while the store is open.

use crate::mail::{BaseName, Uid};
use crate::store::database::Database;
use crate::store::draft::Draft;
use crate::store::error::Error;
use crate::store::keys::{self, Key};
use crate::store::record::{self, Record, Sum};
use crate::sync::{Change, Known, Lone, MailboxId, Picture};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Where the names of a mailbox's pairs are to be found: the number that stands for a name, and the UID.
///
/// Two names may have the same number, so what it points at is looked at.
pub(super) type Names = BTreeSet<(u64, Uid)>;

/// Reads the picture of a mailbox, piece by piece, and holds it against its seal.
pub(super) fn read(database: &Database, mailbox: MailboxId, seal: Sum) -> Result<(Picture, Names), Error> {
    let mut picture = Picture::new();
    let mut names = Names::new();
    walk(database, mailbox, seal, |change| {
        if let Change::Uid(uid, Some(Known::Pair(pair))) = &change {
            names.insert((keys::hash(&pair.name), *uid));
        }
        picture.apply(change);
    })?;
    Ok((picture, names))
}

/// Reads the names of a mailbox's pairs alone.
pub(super) fn read_names(database: &Database, mailbox: MailboxId, seal: Sum) -> Result<Names, Error> {
    let mut names = Names::new();
    walk(database, mailbox, seal, |change| {
        if let Change::Uid(uid, Some(Known::Pair(pair))) = &change {
            names.insert((keys::hash(&pair.name), *uid));
        }
    })?;
    Ok(names)
}

fn walk(database: &Database, mailbox: MailboxId, seal: Sum, mut see: impl FnMut(Change)) -> Result<(), Error> {
    let mut sum = Sum::default();
    for record in database.records(&Key::picture(mailbox)) {
        let record = record?;
        sum.add_all(record.sum);
        match record.key {
            Key::Names(..) => decode::<BaseName, Lone>(&record)?
                .into_iter()
                .for_each(|(name, lone)| see(Change::Local(name, Some(lone)))),
            // The ledger of a drop lies here as well, and is read by itself.
            Key::Entries(..) => {}
            _ => decode::<Uid, Known>(&record)?.into_iter().for_each(|(uid, known)| see(Change::Uid(uid, Some(known)))),
        }
    }
    if sum == seal {
        Ok(())
    } else {
        Err(Error::damaged(format!("parts of the picture of mailbox {mailbox} are lost")))
    }
}

/// Pieces of one mailbox's picture that are about to change.
pub(super) struct Pieces<'d> {
    database: &'d Database,
    mailbox: MailboxId,
    uids: BTreeMap<Key, BTreeMap<Uid, Known>>,
    lone: BTreeMap<Key, BTreeMap<BaseName, Lone>>,
    names: Names,
    /// Nothing is stored of it: what the database still shows is dropped by the same commit.
    blank: bool,
}

impl<'d> Pieces<'d> {
    /// Begins to change the picture of a mailbox whose names are `names`, or a blank one.
    pub(super) fn new(database: &'d Database, mailbox: MailboxId, names: Names, blank: bool) -> Self {
        Self { database, mailbox, uids: BTreeMap::new(), lone: BTreeMap::new(), names, blank }
    }

    /// Takes a change in, as [`Picture::apply`] does.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Uid(uid, known) => {
                if let Some(Known::Pair(pair)) = &known {
                    self.free(&pair.name, Some(uid))?;
                    self.bucket(&pair.name)?.remove(&pair.name);
                }
                if let Some(Known::Pair(old)) = self.chunk(uid)?.remove(&uid) {
                    self.names.remove(&(keys::hash(&old.name), uid));
                }
                if let Some(Known::Pair(pair)) = &known {
                    self.names.insert((keys::hash(&pair.name), uid));
                }
                if let Some(known) = known {
                    self.chunk(uid)?.insert(uid, known);
                }
            }
            Change::Local(name, Some(lone)) => {
                self.free(&name, None)?;
                self.bucket(&name)?.insert(name, lone);
            }
            Change::Local(name, None) => {
                self.bucket(&name)?.remove(&name);
            }
        }
        Ok(())
    }

    /// Writes the pieces into a commit, and returns the names as they are then.
    pub(super) fn write(self, draft: &mut Draft<'_>) -> Result<Names, Error> {
        for (key, chunk) in &self.uids {
            if chunk.is_empty() { draft.remove(*key)? } else { draft.put(*key, chunk)? }
        }
        for (key, bucket) in &self.lone {
            if bucket.is_empty() { draft.remove(*key)? } else { draft.put(*key, bucket)? }
        }
        Ok(self.names)
    }

    /// Takes a name from the pair that has it, unless that is the pair of `except`.
    fn free(&mut self, name: &BaseName, except: Option<Uid>) -> Result<(), Error> {
        let number = keys::hash(name);
        let claims: Vec<Uid> = self.names.range((number, Uid::MIN)..=(number, Uid::MAX)).map(|(_, uid)| *uid).collect();
        for uid in claims.into_iter().filter(|uid| Some(*uid) != except) {
            let chunk = self.chunk(uid)?;
            if matches!(chunk.get(&uid), Some(Known::Pair(pair)) if pair.name == *name) {
                chunk.remove(&uid);
                self.names.remove(&(number, uid));
            }
        }
        Ok(())
    }

    fn chunk(&mut self, uid: Uid) -> Result<&mut BTreeMap<Uid, Known>, Error> {
        piece(self.database, &mut self.uids, Key::of_uid(self.mailbox, uid), self.blank)
    }

    fn bucket(&mut self, name: &BaseName) -> Result<&mut BTreeMap<BaseName, Lone>, Error> {
        piece(self.database, &mut self.lone, Key::of_name(self.mailbox, name), self.blank)
    }
}

/// A piece that was read before, else as it is stored.
pub(super) fn piece<'p, K, V>(
    database: &Database,
    pieces: &'p mut BTreeMap<Key, BTreeMap<K, V>>,
    key: Key,
    blank: bool,
) -> Result<&'p mut BTreeMap<K, V>, Error>
where
    K: Ord + serde::de::DeserializeOwned,
    V: serde::de::DeserializeOwned,
{
    match pieces.entry(key) {
        Entry::Occupied(piece) => Ok(piece.into_mut()),
        Entry::Vacant(place) => {
            let stored = if blank { None } else { database.records(&key.stem()).next() };
            Ok(place.insert(match stored {
                None => BTreeMap::new(),
                Some(record) => decode(&record?)?,
            }))
        }
    }
}

pub(super) fn decode<K, V>(record: &Record) -> Result<BTreeMap<K, V>, Error>
where
    K: Ord + serde::de::DeserializeOwned,
    V: serde::de::DeserializeOwned,
{
    record::decode(&record.payload).map_err(|flaw| Error::damaged(format!("of {:?}, {flaw}", record.key)))
}
