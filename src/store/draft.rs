//! A commit in the making: what is to be written, and what the sums are afterwards.
//!
//! The sums are a small tree: the header's vouches for every small record, among them one seal a mailbox, and a seal
//! vouches for that mailbox's picture. They change with each part that is written or removed, so that a part which the
//! database lost, or brought back from the past, is noticed when it is read.

use crate::store::database::Database;
use crate::store::error::Error;
use crate::store::keys::Key;
use crate::store::record::{self, Flaw, Header, Sum};
use crate::sync::MailboxId;
use serde::Serialize;
use std::collections::BTreeMap;

/// A commit in the making. A record is put, or removed, at most once in it.
pub(super) struct Draft<'d> {
    database: &'d Database,
    /// The header that is written with it.
    pub(super) header: Header,
    seals: BTreeMap<MailboxId, Sum>,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A commit that is ready to be written.
pub(super) struct Ready {
    /// What sled writes.
    pub(super) batch: sled::Batch,
    /// The header afterwards.
    pub(super) header: Header,
    /// The seals that changed.
    pub(super) seals: BTreeMap<MailboxId, Sum>,
}

impl<'d> Draft<'d> {
    /// Begins a commit that changes nothing yet.
    pub(super) fn new(database: &'d Database, header: Header) -> Self {
        Self { database, header, seals: BTreeMap::new(), writes: BTreeMap::new() }
    }

    /// Makes the seal of a mailbox known, which is needed before its picture changes.
    pub(super) fn break_seal(&mut self, mailbox: MailboxId, seal: Sum) {
        self.seals.entry(mailbox).or_insert(seal);
    }

    /// Stores a record in the place of what was there; what is there already is not written again.
    pub(super) fn put(&mut self, key: Key, content: &impl Serialize) -> Result<(), Error> {
        let parts = record::encode(key, content).map_err(|flaw| match flaw {
            Flaw::TooLarge => Error::TooLarge,
            flaw => Error::damaged(format!("of a record to be stored, {flaw}")),
        })?;
        let mut old = self.old(key)?;
        for part in parts {
            match old.remove(&part.key) {
                Some(value) if value == part.value => continue,
                Some(value) => self.count(key, &part.key, &value, Sum::remove)?,
                None => {}
            }
            self.count(key, &part.key, &part.value, Sum::add)?;
            self.writes.insert(part.key, Some(part.value));
        }
        self.drop_parts(key, old)
    }

    /// Removes a record, if it is there.
    pub(super) fn remove(&mut self, key: Key) -> Result<(), Error> {
        let old = self.old(key)?;
        self.drop_parts(key, old)
    }

    /// Removes the picture of a mailbox as a whole, also one that cannot be read any more.
    pub(super) fn remove_picture(&mut self, mailbox: MailboxId) -> Result<(), Error> {
        for entry in self.database.entries(&Key::picture(mailbox)) {
            self.writes.insert(entry?.0.to_vec(), None);
        }
        self.seals.insert(mailbox, Sum::default());
        Ok(())
    }

    /// Closes the draft; `None` if nothing would change.
    pub(super) fn finish(mut self) -> Result<Option<Ready>, Error> {
        for (mailbox, seal) in std::mem::take(&mut self.seals) {
            if seal == Sum::default() {
                self.remove(Key::Seal(mailbox))?;
            } else {
                self.put(Key::Seal(mailbox), &seal)?;
            }
            self.seals.insert(mailbox, seal);
        }
        if self.writes.is_empty() {
            return Ok(None);
        }
        let header = self.header.clone();
        self.put(Key::Header, &header)?;
        let mut batch = sled::Batch::default();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(Some(Ready { batch, header, seals: self.seals }))
    }

    /// The parts of a record as they will be found if nothing else is written.
    fn old(&self, key: Key) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let mut old = BTreeMap::new();
        for entry in self.database.entries(&key.stem()) {
            let (part, value) = entry?;
            if !matches!(self.writes.get(&*part), Some(None)) {
                old.insert(part.to_vec(), value.to_vec());
            }
        }
        Ok(old)
    }

    fn drop_parts(&mut self, key: Key, old: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Error> {
        for (part, value) in old {
            self.count(key, &part, &value, Sum::remove)?;
            self.writes.insert(part, None);
        }
        Ok(())
    }

    /// Counts a part in or out of the sum that vouches for it.
    fn count(&mut self, key: Key, part: &[u8], value: &[u8], counting: fn(&mut Sum, u64)) -> Result<(), Error> {
        let checksum = self.database.checksum(part, value)?;
        match key.in_picture() {
            Some(mailbox) => counting(self.seals.entry(mailbox).or_default(), checksum),
            None if key == Key::Header => {}
            None => counting(&mut self.header.sum, checksum),
        }
        Ok(())
    }
}
