//! The memory of one account, durable: what was agreed, and what was begun.
//!
//! Blocking; a worker calls it from `spawn_blocking`. Two commits change it: [`Store::begin`] before the first action of
//! a batch, [`Store::settle`] after the last. Each is atomic and on the disk when it returns; a failed one leaves open
//! which of the two states the disk has, so the store then refuses everything until it is opened again.
//! The layout on the disk is told in `docs/state-format.md`.

mod database;
mod draft;
mod error;
mod keys;
mod ledger;
mod lock;
mod open;
mod picture;
mod record;
mod witness;

pub use error::Error;
pub use lock::Lock;
pub use open::Health;
pub use record::{FORMAT, Sum as Seal};

use crate::step;
use crate::sync::maildrop::{Ledger, Turn};
use crate::sync::{
    Batch, BatchId, Change, GuardMemory, MailboxId, MailboxRecord, Picture, Quiet, Removals, Uploads, Work,
};
use database::Database;
use draft::{Draft, Ready};
use keys::Key;
use lock::Use;
use picture::{Names, Pieces};
use record::{Header, Record, Sum};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use witness::Witness;

/// The state of one account, open and locked.
///
/// It may be shared between threads; calls take turns. Dropping it closes it: everything that was committed is on the
/// disk already.
pub struct Store {
    // In this order: the database is closed before the lock is let go.
    database: Database,
    memory: Mutex<Memory>,
    dir: PathBuf,
    _lock: Use,
}

/// What is kept of the database while it is open.
struct Memory {
    header: Header,
    /// The first number that no new mailbox was promised.
    next_mailbox: u32,
    /// The number that the next removal gets.
    next_removal: u64,
    seals: BTreeMap<MailboxId, Sum>,
    /// The names of those mailboxes whose picture was read or changed.
    names: BTreeMap<MailboxId, Names>,
    /// A commit failed.
    unusable: bool,
    /// What the file beside the database says.
    witness: Witness,
}

/// What came of a batch, or of a look that found nothing to do but to remember.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The batches that are done; one that is not open is passed over.
    pub closed: Vec<BatchId>,
    /// Mailboxes whose picture, and ledger, is dropped before anything below is taken in: a new epoch, or a damaged picture.
    pub forgotten_pictures: Vec<MailboxId>,
    /// What is remembered from now on, in order, as [`Picture::apply`] takes it.
    pub changes: Vec<(MailboxId, Vec<Change>)>,
    /// What is known of the messages of drops from now on, in order.
    pub entries: Vec<(MailboxId, Vec<Turn>)>,
    /// What is remembered of these mailboxes as a whole.
    pub mailboxes: Vec<MailboxRecord>,
    /// Mailboxes of which nothing is remembered any more, their pictures included.
    pub forgotten_mailboxes: Vec<MailboxId>,
    /// The memory of the guard.
    pub guard: Option<GuardMemory>,
    /// What was removed or brought back; it is numbered on from the newest.
    pub removals: Vec<Removals>,
    /// The numbers of removals that are taken back.
    pub undone: Vec<u64>,
    /// Records of removals that are dropped, by the number of their first message.
    pub dropped_removals: Vec<u64>,
    /// Whether uploads wait.
    pub uploads: Option<Uploads>,
    /// The pause that the server asked for.
    pub quiet: Option<Quiet>,
    /// The generation is raised to this one, if it is lower: that of a Maildir which is ahead of a database rolled back.
    pub generation: u64,
}

impl Store {
    /// Opens the state of the account whose directory is `dir`, and makes it if there is none.
    ///
    /// A database that cannot be read is set aside as `db.damaged-1` (or `-2` ...) and an empty one takes its place;
    /// [`Health`] tells. An empty one means that nothing is remembered, never that something was deleted.
    ///
    /// # Errors
    /// [`Error::Locked`] if a process, this one included, has it open; [`Error::Newer`] if a newer mailtwin wrote it;
    /// [`Error::Io`] if the disk refuses. Nothing was changed then.
    pub fn open(dir: &Path) -> Result<(Self, Health), Error> {
        open::open(dir, None)
    }

    /// As [`open`](Self::open), under a lock of that directory which is held already, and stays so.
    ///
    /// # Errors
    /// [`Error::Locked`] if a state is open under it; else those of [`open`](Self::open).
    pub fn open_under(dir: &Path, lock: &Arc<Lock>) -> Result<(Self, Health), Error> {
        open::open(dir, Some(lock))
    }

    /// Moves the database of the account whose directory is `dir` out of the way, and returns where it is now.
    ///
    /// For a caller that met [`Error::Damaged`] while reading, and has dropped the store. The next open makes an empty
    /// one. `None` if there is no database.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open, [`Error::Io`] if the disk refuses.
    pub fn set_aside(dir: &Path) -> Result<Option<PathBuf>, Error> {
        let _lock = Lock::take(dir)?;
        open::set_aside(dir)
    }

    /// The random bytes that were made with this database, and tell it from every other.
    pub fn identity(&self) -> [u8; 16] {
        self.memory().header.identity
    }

    /// How often [`Store::begin`] has committed.
    pub fn generation(&self) -> u64 {
        self.memory().header.generation
    }

    /// Reserves the number of a new mailbox. One that no later commit mentions is handed out again after a crash.
    pub fn next_mailbox_id(&self) -> MailboxId {
        let mut memory = self.memory();
        let id = MailboxId(memory.next_mailbox);
        memory.next_mailbox = memory.next_mailbox.checked_add(1).expect("nobody makes four billion mailboxes");
        id
    }

    /// What is remembered of every mailbox as a whole, by number.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn mailboxes(&self) -> Result<Vec<MailboxRecord>, Error> {
        let _memory = self.usable()?;
        self.all(Key::Mailbox(MailboxId(0)))
    }

    /// The batches that were begun and not settled, oldest first.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn batches(&self) -> Result<Vec<Batch>, Error> {
        let _memory = self.usable()?;
        self.all(Key::Batch(BatchId(0)))
    }

    /// The memory of the guard.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn guard(&self) -> Result<GuardMemory, Error> {
        let _memory = self.usable()?;
        Ok(self.all(Key::Guard)?.pop().unwrap_or_default())
    }

    /// What was removed and brought back, oldest first, with the number of the first message of each record.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn removals(&self) -> Result<Vec<(u64, Removals)>, Error> {
        let _memory = self.usable()?;
        self.numbered_removals()
    }

    /// Whether uploads wait.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn uploads(&self) -> Result<Uploads, Error> {
        let _memory = self.usable()?;
        Ok(self.all(Key::Uploads)?.pop().unwrap_or_default())
    }

    /// The pause that the server asked for last.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn quiet(&self) -> Result<Quiet, Error> {
        let _memory = self.usable()?;
        Ok(self.all(Key::Quiet)?.pop().unwrap_or_default())
    }

    /// The picture of a mailbox; an empty one if nothing is remembered.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a part of it is lost, or is not what was stored; [`Error::Io`].
    pub fn picture(&self, mailbox: MailboxId) -> Result<Picture, Error> {
        let mut memory = self.usable()?;
        let (picture, names) = picture::read(&self.database, mailbox, memory.seal(mailbox))?;
        memory.names.insert(mailbox, names);
        Ok(picture)
    }

    /// The ledger of a drop. What is lost of it is noticed when the picture of its mailbox is read, and with it.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn ledger(&self, mailbox: MailboxId) -> Result<Ledger, Error> {
        let _memory = self.usable()?;
        ledger::read(&self.database, mailbox)
    }

    /// What the picture of a mailbox adds up to: with the same seal it is the same picture.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn seal(&self, mailbox: MailboxId) -> Result<Seal, Error> {
        Ok(self.usable()?.seal(mailbox))
    }

    /// Stores that this work is about to begin, in one commit, and returns it as numbered batches.
    ///
    /// The batches have one new generation in common. Nothing is written if there is no work.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses, [`Error::TooLarge`], [`Error::Damaged`]; no action may be taken then.
    pub fn begin(&self, work: Vec<Work>) -> Result<Vec<Batch>, Error> {
        let mut memory = self.usable()?;
        if work.is_empty() {
            return Ok(Vec::new());
        }
        let mut draft = Draft::new(&self.database, memory.next_header());
        draft.header.generation += 1;
        let mut batches = Vec::new();
        for work in work {
            draft.header.last_batch += 1;
            let batch = Batch { id: BatchId(draft.header.last_batch), generation: draft.header.generation, work };
            draft.put(Key::Batch(batch.id), &batch)?;
            batches.push(batch);
        }
        if let Some(ready) = draft.finish()? {
            self.commit(&mut memory, ready, "store.begin")?;
        }
        Ok(batches)
    }

    /// Stores what came to pass, in one commit. Nothing is written if nothing is new.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses, [`Error::TooLarge`], [`Error::Damaged`]. The batches are open still, as far as
    /// is known.
    pub fn settle(&self, settlement: Settlement) -> Result<(), Error> {
        let Settlement {
            closed,
            mut forgotten_pictures,
            changes,
            entries,
            mailboxes,
            forgotten_mailboxes,
            guard,
            removals,
            undone,
            dropped_removals,
            uploads,
            quiet,
            generation,
        } = settlement;
        forgotten_pictures.extend(&forgotten_mailboxes);
        let mut memory = self.usable()?;
        let mut draft = Draft::new(&self.database, memory.next_header());
        draft.header.generation = draft.header.generation.max(generation);
        for batch in closed {
            draft.remove(Key::Batch(batch))?;
        }
        // By mailbox, so that each piece is read and written once; the last word on a record counts.
        let mut pictures: BTreeMap<MailboxId, Vec<Change>> = BTreeMap::new();
        for (mailbox, changes) in changes {
            pictures.entry(mailbox).or_default().extend(changes);
        }
        for mailbox in &forgotten_pictures {
            draft.remove_picture(*mailbox)?;
            pictures.entry(*mailbox).or_default();
        }
        let mut names = BTreeMap::new();
        for (mailbox, changes) in pictures {
            let blank = forgotten_pictures.contains(&mailbox);
            let seal = memory.seal(mailbox);
            draft.break_seal(mailbox, seal);
            let known = match memory.names.remove(&mailbox) {
                _ if blank => Names::new(),
                Some(names) => names,
                None => picture::read_names(&self.database, mailbox, seal)?,
            };
            let mut pieces = Pieces::new(&self.database, mailbox, known, blank);
            for change in changes {
                pieces.apply(change)?;
            }
            names.insert(mailbox, pieces.write(&mut draft)?);
        }
        let mut turns: BTreeMap<MailboxId, Vec<Turn>> = BTreeMap::new();
        for (mailbox, entries) in entries {
            turns.entry(mailbox).or_default().extend(entries);
        }
        for (mailbox, turns) in turns {
            draft.break_seal(mailbox, memory.seal(mailbox));
            let blank = forgotten_pictures.contains(&mailbox);
            ledger::write(&self.database, &mut draft, mailbox, turns, blank)?;
        }
        let mailboxes: BTreeMap<_, _> = mailboxes.into_iter().map(|mailbox| (mailbox.id, mailbox)).collect();
        for (id, mailbox) in mailboxes {
            draft.put(Key::Mailbox(id), &mailbox)?;
        }
        for mailbox in forgotten_mailboxes {
            draft.remove(Key::Mailbox(mailbox))?;
        }
        if let Some(guard) = guard {
            draft.put(Key::Guard, &guard)?;
        }
        if let Some(uploads) = uploads {
            draft.put(Key::Uploads, &uploads)?;
        }
        if let Some(quiet) = quiet {
            draft.put(Key::Quiet, &quiet)?;
        }
        let mut next_removal = memory.next_removal;
        for removals in removals.into_iter().filter(|removals| !removals.messages.is_empty()) {
            draft.put(Key::Removals(next_removal), &removals)?;
            next_removal += removals.messages.len() as u64;
        }
        if !undone.is_empty() || !dropped_removals.is_empty() {
            self.revise_removals(&mut draft, &undone, &dropped_removals)?;
        }
        if let Some(ready) = draft.finish()? {
            self.commit(&mut memory, ready, "store.settle")?;
        }
        memory.next_removal = next_removal;
        memory.names.append(&mut names);
        Ok(())
    }

    /// The octets that the database occupies on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn size_on_disk(&self) -> Result<u64, Error> {
        self.database.size_on_disk()
    }

    /// Closes the store, notes how far it came, so that the next open can tell if something was lost, and tells whether
    /// that went well.
    ///
    /// # Errors
    /// [`Error::Io`]; what was committed is on the disk all the same. [`Error::Unusable`] after a failed commit.
    pub fn close(self) -> Result<(), Error> {
        let mut memory = self.usable()?;
        self.database.flush()?;
        let commits = memory.header.commits;
        memory.witness.update(&self.dir, commits)
    }

    fn numbered_removals(&self) -> Result<Vec<(u64, Removals)>, Error> {
        let records = self.database.records(&Key::Removals(0).stem()[..1]);
        let numbered = records.filter_map(|record| match record {
            Ok(Record { key: Key::Removals(first), .. }) => Some(record.and_then(|r| Ok((first, decode(&r)?)))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        numbered.collect()
    }

    /// Marks removals as taken back, and drops records.
    fn revise_removals(&self, draft: &mut Draft<'_>, undone: &[u64], dropped: &[u64]) -> Result<(), Error> {
        for (first, mut removals) in self.numbered_removals()? {
            if dropped.contains(&first) {
                draft.remove(Key::Removals(first))?;
                continue;
            }
            let mut revised = false;
            for (message, number) in removals.messages.iter_mut().zip(first..) {
                revised |= undone.contains(&number) && !std::mem::replace(&mut message.undone, true);
            }
            if revised {
                draft.put(Key::Removals(first), &removals)?;
            }
        }
        Ok(())
    }

    /// Forgets everything: the database goes, and what was set aside of earlier ones. The directory and its lock stay.
    ///
    /// # Errors
    /// [`Error::Io`]; what is gone then is gone, and the rest can be forgotten by opening it again.
    pub fn destroy(self) -> Result<(), Error> {
        let Self { database, dir, _lock, .. } = self;
        drop(database);
        step::reach("store.destroy");
        open::remove_all(&dir)
    }

    /// Every record of the kind of `example`.
    fn all<T: DeserializeOwned>(&self, example: Key) -> Result<Vec<T>, Error> {
        self.database.records(&example.stem()[..1]).map(|record| decode(&record?)).collect()
    }

    fn commit(&self, memory: &mut Memory, ready: Ready, site: &'static str) -> Result<(), Error> {
        step::reach(site);
        // Until it is known to be on the disk, nobody may build on what memory says.
        memory.unusable = true;
        self.database.commit(ready.batch)?;
        memory.unusable = false;
        memory.header = ready.header;
        memory.seals.extend(ready.seals);
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic in the middle of a call leaves at worst a set of names missing, which is read again.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, Memory>, Error> {
        let memory = self.memory();
        if memory.unusable { Err(Error::Unusable) } else { Ok(memory) }
    }
}

impl Memory {
    fn new(header: Header) -> Self {
        let next_mailbox = header.next_mailbox;
        let (seals, names) = (BTreeMap::new(), BTreeMap::new());
        Self { header, next_mailbox, next_removal: 1, seals, names, unusable: false, witness: Witness::Absent }
    }

    fn seal(&self, mailbox: MailboxId) -> Sum {
        self.seals.get(&mailbox).copied().unwrap_or_default()
    }

    fn next_header(&self) -> Header {
        Header { commits: self.header.commits + 1, next_mailbox: self.next_mailbox, ..self.header.clone() }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

fn decode<T: DeserializeOwned>(record: &Record) -> Result<T, Error> {
    record::decode(&record.payload).map_err(|flaw| Error::damaged(format!("of {:?}, {flaw}", record.key)))
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
