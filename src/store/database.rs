//! sled, made durable and made to tell: the only file that knows it, but for the repair in `open`.
//!
//! Three surprises. `flush` alone is no fsync, so a commit ends with our own. A damaged database may panic instead of
//! returning an error, so every call is caught. And after its handle is dropped, threads of sled hold its file for a
//! moment longer, so an open waits for them.

use crate::mail::escape;
use crate::store::error::Error;
use crate::store::record::{self, Assembler, FORMAT, Flaw, Record};
use sled::IVec;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What sled may keep in memory, in bytes; bursts of writes exceed it several times.
const CACHE: u64 = 1 << 20;

/// How long an open waits for the threads of an earlier one.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open database.
pub(super) struct Database {
    db: sled::Db,
    dir: PathBuf,
    log: File,
}

impl Database {
    /// Opens, or makes, the database in `dir`. Whether it is sound is known only once it was read.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None);
        let deadline = Instant::now() + PATIENCE;
        let db = loop {
            match calmly(dir, || config.open()) {
                Err(error) if error_is_held(&error) && Instant::now() < deadline => sleep(Duration::from_millis(2)),
                opened => break opened?,
            }
        };
        let log_path = dir.join("db");
        let log = File::open(&log_path).map_err(Error::io("open", &log_path))?;
        Ok(Self { db, dir: dir.to_path_buf(), log })
    }

    /// The records whose keys begin with `prefix`, by key.
    pub(super) fn records(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        assemble(self.walk(self.db.scan_prefix(prefix)))
    }

    /// The records whose keys lie before `end`, by key.
    pub(super) fn records_before(&self, end: &[u8]) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        assemble(self.walk(self.db.range(..end)))
    }

    /// The stored keys and values whose keys begin with `prefix`, by key, unchecked.
    pub(super) fn entries(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(IVec, IVec), Error>> + use<> {
        self.walk(self.db.scan_prefix(prefix))
    }

    /// The checksum of a stored part.
    pub(super) fn checksum(&self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        record::check(key, value).map(|(checksum, ..)| checksum).map_err(|flaw| flawed(&self.dir, key, flaw))
    }

    /// Writes a batch, whole or not at all, and returns when it is on the disk.
    pub(super) fn commit(&self, batch: sled::Batch) -> Result<(), Error> {
        calmly(&self.dir, || self.db.apply_batch(batch))?;
        self.flush()?;
        let blobs = self.dir.join("blobs");
        let mut spilled = std::fs::read_dir(&blobs).map_err(Error::io("read", &blobs))?;
        if spilled.next().is_some() { Err(Error::Spilled) } else { Ok(()) }
    }

    /// Brings everything to the disk.
    pub(super) fn flush(&self) -> Result<(), Error> {
        calmly(&self.dir, || self.db.flush())?;
        self.log.sync_data().map_err(Error::io("sync", &self.dir.join("db")))
    }

    /// The octets that the database occupies.
    pub(super) fn size_on_disk(&self) -> Result<u64, Error> {
        calmly(&self.dir, || self.db.size_on_disk())
    }

    fn walk(&self, iter: sled::Iter) -> Entries {
        Entries { iter, dir: self.dir.clone() }
    }
}

/// Stored keys and values, each of which may be a failure.
struct Entries {
    iter: sled::Iter,
    dir: PathBuf,
}

impl Iterator for Entries {
    type Item = Result<(IVec, IVec), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        calmly(&self.dir, || self.iter.next().transpose()).transpose()
    }
}

fn assemble(entries: Entries) -> impl Iterator<Item = Result<Record, Error>> {
    let mut assembler = Some(Assembler::default());
    let mut entries = entries;
    std::iter::from_fn(move || {
        let assembling = assembler.as_mut()?;
        let step = loop {
            match entries.next() {
                Some(Err(error)) => break Some(Err(error)),
                Some(Ok((key, value))) => match assembling.push(&key, &value) {
                    Ok(None) => {}
                    Ok(Some(record)) => break Some(Ok(record)),
                    Err(flaw) => break Some(Err(flawed(&entries.dir, &key, flaw))),
                },
                None => {
                    let end = assembler.take()?.finish();
                    return end.err().map(|flaw| Err(Error::damaged(format!("of the last record read, {flaw}"))));
                }
            }
        };
        if matches!(step, Some(Err(_))) {
            assembler = None;
        }
        step
    })
}

/// What a flaw of a stored part means for the caller.
fn flawed(dir: &Path, key: &[u8], flaw: Flaw) -> Error {
    match flaw {
        // Its checksum fits, so it is no damage; `format` should have told, but a copy may have left that behind.
        Flaw::Version(version) if version > FORMAT => {
            Error::Newer { dir: dir.parent().unwrap_or(dir).to_path_buf(), found: version.into(), known: FORMAT.into() }
        }
        flaw => {
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            Error::damaged(format!("of the record {key}, {flaw}"))
        }
    }
}

/// Tells whether sled found its file locked; as we hold the account's lock, that is an earlier handle of ours.
pub(super) fn error_is_held(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
}

/// Calls sled, and turns its errors and its panics into ours.
fn calmly<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(dir, error)),
        Err(_) => Err(Error::damaged("reading it made the database library panic")),
    }
}

fn translate(dir: &Path, error: sled::Error) -> Error {
    let io = |source| Error::Io { doing: "use the state database in", path: dir.to_path_buf(), source };
    match error {
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            io(io::Error::new(io::ErrorKind::WouldBlock, source))
        }
        // What a sound file does not answer; every other failure is the disk's and may pass.
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) =>
        {
            Error::damaged(format!("the database library met {}", escape(source.to_string())))
        }
        // What sled has passed on once already is a debugging text; its kind says it better.
        sled::Error::Io(source) if source.raw_os_error().is_none() && source.kind() != io::ErrorKind::Other => {
            io(source.kind().into())
        }
        sled::Error::Io(source) => io(source),
        sled::Error::Corruption { .. } => Error::damaged("its files do not check out"),
        other => Error::damaged(format!("the database library says: {}", escape(other.to_string()))),
    }
}
