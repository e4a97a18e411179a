//! Opening the state of an account, whatever the last crash left.
//!
//! The surprise is sled's snapshot, a mere cache over its log: a kill while it is written leaves a file that makes every
//! later open fail. And a log that was emptied opens without complaint as an empty database, so a small file beside it,
//! `format`, remembers what there was.

use crate::mail::escape;
use crate::step;
use crate::store::database::{Database, error_is_held};
use crate::store::draft::Draft;
use crate::store::error::Error;
use crate::store::keys::{Key, PICTURES};
use crate::store::lock::Lock;
use crate::store::record::{FORMAT, Header, Sum};
use crate::store::witness::{Witness, sync_dir};
use crate::store::{Memory, Store, decode};
use crate::sync::{Batch, GuardMemory, MailboxRecord, Quiet, Removals, Uploads};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How a database was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// There was none, and an empty one was made.
    New,
    /// It was closed, or the process was killed at a harmless moment.
    Clean,
    /// Something beside the records had to be put right; the records are sound.
    Repaired {
        /// What was done, as a clause.
        what: String,
    },
    /// It could not be read, lies there now, and an empty one was made.
    SetAside(PathBuf),
}

/// Opens the state in `dir`; see [`Store::open`] and [`Store::open_under`].
pub(super) fn open(dir: &Path, held: Option<&Arc<Lock>>) -> Result<(Store, Health), Error> {
    let lock = match held {
        Some(lock) => lock.enter()?,
        None => Arc::new(Lock::hold(dir)?).enter()?,
    };
    let db = dir.join("db");
    let mut witness = Witness::read(dir)?;
    if let Witness::Newer(found) = witness {
        return Err(Error::Newer { dir: dir.to_path_buf(), found, known: FORMAT.into() });
    }
    if !exists(&db)? {
        // A directory that was moved away by hand, or by us just before a crash.
        Witness::remove(dir)?;
        witness = Witness::Absent;
    }
    let unfinished = move_aside(&db, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
    if witness == Witness::Absent && !holds_something(&db.join("db"))? {
        // Killed while it was made: half a `conf` would be taken for damage.
        move_aside(&db, |name| name == "conf")?;
    }

    let (database, memory, health) = match attempt(dir, witness) {
        Ok((database, memory, true)) => (database, memory, Health::New),
        Ok((database, memory, false)) if unfinished > 0 => {
            (database, memory, Health::Repaired { what: "an unfinished snapshot was removed".to_owned() })
        }
        Ok((database, memory, false)) => (database, memory, Health::Clean),
        Err(Error::Damaged { what }) => repair(dir, witness, &what)?,
        Err(error) => return Err(error),
    };
    witness.update(dir, memory.header.commits)?;
    remove_aside(&db)?;
    let memory = Mutex::new(Memory { witness, ..memory });
    Ok((Store { database, memory, dir: dir.to_path_buf(), _lock: lock }, health))
}

/// Moves the database in `dir` out of the way, under the first free name.
pub(super) fn set_aside(dir: &Path) -> Result<Option<PathBuf>, Error> {
    let db = dir.join("db");
    if !exists(&db)? {
        return Ok(None);
    }
    let mut number = 1;
    let aside = loop {
        let path = dir.join(format!("db.damaged-{number}"));
        if !exists(&path)? {
            break path;
        }
        number += 1;
    };
    fs::rename(&db, &aside).map_err(Error::io("move", &db))?;
    Witness::remove(dir)?;
    sync_dir(dir)?;
    Ok(Some(aside))
}

/// Removes the database in `dir`, and those that were set aside. Moved away first: half of one would be taken for damage.
pub(super) fn remove_all(dir: &Path) -> Result<(), Error> {
    set_aside(dir)?;
    for name in names(dir)?.iter().filter(|name| name.starts_with("db.damaged-")) {
        let path = dir.join(name);
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    sync_dir(dir)
}

/// Opens once more without what sled can make anew; if that fails too, opens an empty database.
fn repair(dir: &Path, witness: Witness, what: &str) -> Result<(Database, Memory, Health), Error> {
    let db = dir.join("db");
    let moved = move_aside(&db, |name| name.starts_with("snap.") || name == "conf")?;
    if moved > 0 {
        match attempt(dir, witness) {
            // Still empty: then there was nothing before, or it is the log that is lost, which `attempt` tells.
            Ok((database, memory, _)) => {
                let what = format!("{what}; without its snapshot it could be read");
                return Ok((database, memory, Health::Repaired { what }));
            }
            // A panic may leave threads behind that hold the old file for ever.
            Err(error) if error.is_damage() || error_is_held(&error) => {}
            Err(error) => return Err(error),
        }
    }
    tracing::warn!("the state database in {} is set aside: {what}", escape(dir.to_string_lossy().as_bytes()));
    let aside = set_aside(dir)?;
    let (database, memory, _) = attempt(dir, Witness::Absent)?;
    Ok((database, memory, aside.map_or(Health::New, Health::SetAside)))
}

/// Opens the database and reads every small record; tells whether it was made just now.
fn attempt(dir: &Path, witness: Witness) -> Result<(Database, Memory, bool), Error> {
    let database = Database::open(&dir.join("db"))?;
    if let Some(memory) = load(&database)? {
        return match witness {
            Witness::Saw(commits) if memory.header.commits < commits => {
                Err(Error::damaged(format!("of {commits} commits it has lost the last")))
            }
            _ => Ok((database, memory, false)),
        };
    }
    if witness != Witness::Absent {
        return Err(Error::damaged("all its records are gone"));
    }
    let memory = make(&database)?;
    for dir in [Some(&*dir.join("db")), Some(dir), dir.parent()].into_iter().flatten() {
        // The empty parent of a relative name is the directory that one is in.
        sync_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
    }
    Ok((database, memory, true))
}

/// Reads every small record and holds them against the header; `None` if there is no record at all.
fn load(database: &Database) -> Result<Option<Memory>, Error> {
    let mut header = None;
    let mut sum = Sum::default();
    let mut seals = BTreeMap::new();
    let mut next_removal = 1;
    for record in database.records_before(&PICTURES) {
        let record = record?;
        match record.key {
            Key::Header => {
                header = Some(decode::<Header>(&record)?);
                continue;
            }
            Key::Guard => drop(decode::<GuardMemory>(&record)?),
            Key::Removals(first) => {
                let count = decode::<Removals>(&record)?.messages.len() as u64;
                next_removal = next_removal.max(first.saturating_add(count));
            }
            Key::Uploads => drop(decode::<Uploads>(&record)?),
            Key::Quiet => drop(decode::<Quiet>(&record)?),
            Key::Mailbox(_) => drop(decode::<MailboxRecord>(&record)?),
            Key::Batch(_) => drop(decode::<Batch>(&record)?),
            Key::Seal(mailbox) => drop(seals.insert(mailbox, decode(&record)?)),
            Key::Uids(..) | Key::Names(..) | Key::Entries(..) => {
                return Err(Error::damaged("its records are out of order"));
            }
        }
        sum.add_all(record.sum);
    }
    let Some(header) = header else {
        return match database.entries(&[]).next() {
            None => Ok(None),
            Some(Ok(_)) => Err(Error::damaged("its first record is lost")),
            Some(Err(error)) => Err(error),
        };
    };
    if sum != header.sum {
        return Err(Error::damaged("some of its records are lost, or from another time"));
    }
    Ok(Some(Memory { seals, next_removal, ..Memory::new(header) }))
}

/// Stores the first record.
fn make(database: &Database) -> Result<Memory, Error> {
    let mut identity = [0; 16];
    let source = Path::new("/dev/urandom");
    File::open(source).and_then(|mut file| file.read_exact(&mut identity)).map_err(Error::io("read", source))?;
    let header = Header { identity, commits: 0, generation: 0, last_batch: 0, next_mailbox: 1, sum: Sum::default() };
    let mut draft = Draft::new(database, header.clone());
    draft.put(Key::Header, &header)?;
    if let Some(ready) = draft.finish()? {
        step::reach("store.create");
        database.commit(ready.batch)?;
    }
    Ok(Memory::new(header))
}

/// Renames files of the database so that sled does not see them, and counts them.
fn move_aside(db: &Path, which: impl Fn(&str) -> bool) -> Result<u32, Error> {
    let mut moved = 0;
    for name in names(db)? {
        if which(&name) {
            let from = db.join(&name);
            fs::rename(&from, db.join(format!("{ASIDE}{name}"))).map_err(Error::io("move", &from))?;
            moved += 1;
        }
    }
    Ok(moved)
}

/// Removes what was moved aside from a database that opened without it.
fn remove_aside(db: &Path) -> Result<(), Error> {
    for name in names(db)?.iter().filter(|name| name.starts_with(ASIDE)) {
        let path = db.join(name);
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// How the name of a file begins that was moved aside.
const ASIDE: &str = "aside.";

/// The files of a directory; none if there is none. A name that is no UTF-8 is none of sled's.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io("read", dir))?.file_name().into_string());
    }
    Ok(names)
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(Error::io("look at", path))
}

fn holds_something(path: &Path) -> Result<bool, Error> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}
