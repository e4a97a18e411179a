//! Bringing messages into a folder: streamed into `tmp`, then made visible in one step.
//!
//! A message is visible only when it is whole and on the disk. Many are made durable together: their files in parallel,
//! each directory once.

use crate::mail::{BaseName, Fingerprint, Fingerprinter, Flags, SpecialUse, Storable};
use crate::maildir::dir::Dir;
use crate::maildir::lines::ToLf;
use crate::maildir::scan::{ScannedFile, Subdir};
use crate::maildir::{Error, Folder, Letters, name};
use rustix::fs::{FileType, Timespec, Timestamps};
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A message on its way into `tmp`. Dropped before it is published, it is gone without a trace.
#[derive(Debug)]
pub struct Delivery {
    draft: Draft,
    lines: ToLf,
    buffer: Vec<u8>,
    fingerprinter: Fingerprinter,
    octets: u64,
}

/// A whole message in `tmp`, not yet durable. It holds one open file: the caller bounds how many there are.
#[derive(Debug)]
pub struct Staged {
    draft: Draft,
    /// What the message is.
    pub fingerprint: Fingerprint,
    /// Its octets as they came.
    pub size: u64,
}

/// What is to become of a staged message.
#[derive(Debug)]
pub struct Arrival {
    /// The message.
    pub staged: Staged,
    /// The name that the plan gave it.
    pub base: BaseName,
    /// Its flags; those without a letter are left out.
    pub flags: Flags,
    /// Where it goes, as [`place`] says; with flags it goes to `cur` in any case.
    pub subdir: Subdir,
}

/// A file in `tmp` that goes away unless it is published.
#[derive(Debug)]
struct Draft {
    folder: Folder,
    name: BaseName,
    file: File,
    published: bool,
}

const BUFFER: usize = 64 * 1024;
/// More do not make a disk faster.
const SYNC_THREADS: usize = 4;
/// A file in `tmp` that is older was left by a crash (the Maildir specification).
const STALE: Duration = Duration::from_secs(36 * 3600);

impl Delivery {
    /// Begins a message under the name that the plan gave it. What a crash left in `tmp` under that name is removed.
    pub fn begin(folder: &Folder, name: &BaseName) -> Result<Self, Error> {
        let tmp = &folder.dirs.tmp;
        let file = match tmp.create("maildir.draft", name.as_bytes()) {
            Err(Error::Exists { .. }) => {
                tmp.unlink("maildir.draft-sweep", name.as_bytes())?;
                tmp.create("maildir.draft", name.as_bytes())?
            }
            file => file?,
        };
        Ok(Self {
            draft: Draft { folder: folder.clone(), name: name.clone(), file, published: false },
            lines: ToLf::default(),
            buffer: Vec::new(),
            fingerprinter: Fingerprinter::default(),
            octets: 0,
        })
    }

    /// Takes the next bytes of the message as they came over the wire, cut anywhere.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.octets += bytes.len() as u64;
        for part in bytes.chunks(BUFFER) {
            self.fingerprinter.update(part);
            self.lines.push(part, &mut self.buffer);
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The octets that were taken until now, as they came.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Ends the message; its file gets the time `internal_date`.
    pub fn finish(mut self, internal_date: SystemTime) -> Result<Staged, Error> {
        self.lines.finish(&mut self.buffer);
        self.flush()?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            last_modification: timespec(internal_date),
        };
        rustix::fs::futimens(&self.draft.file, &times).map_err(|e| Error::new("dating a message", "", e))?;
        Ok(Staged { draft: self.draft, fingerprint: self.fingerprinter.finish(), size: self.octets })
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.draft.file.write_all(&self.buffer).map_err(|e| Error::io("writing a message", &e))?;
        self.buffer.clear();
        Ok(())
    }
}

impl Staged {
    /// Where the draft lies, its name there, and the file.
    pub(super) fn draft_file(&self) -> (&Folder, &BaseName, &File) {
        (&self.draft.folder, &self.draft.name, &self.draft.file)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept later.
            let _ = self.folder.dirs.tmp.unlink("maildir.draft-drop", self.name.as_bytes());
        }
    }
}

/// Makes staged messages durable and visible, and answers for each in order.
///
/// [`Error::Exists`]: the name is taken in that directory and nothing was overwritten. When a directory cannot be made
/// durable, none that went there is reported as done, although it may be visible.
pub fn publish(folder: &Folder, arrivals: Vec<Arrival>) -> Vec<Result<ScannedFile, Error>> {
    let synced = sync_all(&arrivals);
    let mut results: Vec<Result<ScannedFile, Error>> =
        arrivals.into_iter().zip(synced).map(|(arrival, synced)| synced.and_then(|()| show(folder, arrival))).collect();
    for subdir in [Subdir::New, Subdir::Cur] {
        let is_there = |r: &Result<ScannedFile, Error>| r.as_ref().is_ok_and(|f| f.subdir == subdir);
        if !results.iter().any(is_there) {
            continue;
        }
        if let Err(error) = folder.subdir(subdir).sync() {
            results.iter_mut().filter(|r| is_there(r)).for_each(|r| *r = Err(error.clone()));
        }
    }
    results
}

/// Makes the files durable, some at a time.
fn sync_all(arrivals: &[Arrival]) -> Vec<Result<(), Error>> {
    let sync = |a: &Arrival| a.staged.draft.file.sync_all().map_err(|e| Error::io("making a message durable", &e));
    let share = arrivals.len().div_ceil(SYNC_THREADS).max(1);
    if arrivals.len() <= 1 {
        return arrivals.iter().map(sync).collect();
    }
    std::thread::scope(|threads| {
        let shares: Vec<_> = arrivals
            .chunks(share)
            .map(|part| threads.spawn(move || part.iter().map(sync).collect::<Vec<_>>()))
            .collect();
        shares.into_iter().flat_map(|share| share.join().expect("a sync does not panic")).collect()
    })
}

fn show(folder: &Folder, mut arrival: Arrival) -> Result<ScannedFile, Error> {
    let letters = folder.letters();
    let flags = lettered(&letters, &arrival.flags);
    let subdir = if flags.is_empty() { arrival.subdir } else { Subdir::Cur };
    let file_name = match subdir {
        Subdir::New => arrival.base.as_bytes().to_vec(),
        Subdir::Cur => letters.name(&arrival.base, &flags),
    };
    let stat = rustix::fs::fstat(&arrival.staged.draft.file).map_err(|e| Error::new("looking at a message", "", e))?;
    let draft = &mut arrival.staged.draft;
    draft.folder.dirs.tmp.rename("maildir.publish", draft.name.as_bytes(), folder.subdir(subdir), &file_name)?;
    draft.published = true;
    Ok(ScannedFile { subdir, file_name: file_name.into(), flags, inode: stat.st_ino })
}

/// Makes a second message of a file that is durable, as a hard link, and makes the link durable; returns the flags that its
/// name shows. `None`: the file is not there any more, or cannot be linked; nothing was made.
///
/// [`Error::Exists`]: the name is taken, and nothing was overwritten.
pub fn link_message(
    from: &Folder,
    base: &BaseName,
    to: &Folder,
    name: &BaseName,
    flags: &Flags,
    subdir: Subdir,
) -> Result<Option<Flags>, Error> {
    let Some(file) = from.find(base)? else { return Ok(None) };
    let letters = to.letters();
    let flags = lettered(&letters, flags);
    let subdir = if flags.is_empty() { subdir } else { Subdir::Cur };
    let file_name = match subdir {
        Subdir::New => name.as_bytes().to_vec(),
        Subdir::Cur => letters.name(name, &flags),
    };
    match from.subdir(file.subdir).link("maildir.link", &file.file_name, to.subdir(subdir), &file_name) {
        Ok(()) => to.subdir(subdir).sync().map(|()| Some(flags)),
        Err(rustix::io::Errno::EXIST) => Err(Error::Exists { name: name.to_string() }),
        Err(
            rustix::io::Errno::NOENT | rustix::io::Errno::XDEV | rustix::io::Errno::MLINK | rustix::io::Errno::PERM,
        ) => Ok(None),
        Err(error) => Err(Error::new("linking a message", &file_name, error)),
    }
}

/// Where a message that arrives for the first time belongs: `new` is for what nobody has seen and nobody here wrote or
/// put away.
pub fn place(letters: &Letters, flags: &Flags, role: Option<SpecialUse>) -> Subdir {
    use SpecialUse::{Archive, Drafts, Junk, Sent, Trash};
    let put_away = matches!(role, Some(Archive | Drafts | Junk | Sent | Trash));
    if put_away || !lettered(letters, flags).is_empty() { Subdir::Cur } else { Subdir::New }
}

/// Those of the flags that have a letter.
fn lettered(letters: &Letters, flags: &Flags) -> Flags {
    Storable { any_keyword: false, ..letters.storable() }.part_of(flags)
}

/// Removes what crashes of ours on the machine `host` left in `tmp` more than 36 hours before `now`, and says how many.
pub fn sweep_tmp(folder: &Folder, host: &str, now: SystemTime) -> Result<usize, Error> {
    let tmp: &Dir = &folder.dirs.tmp;
    let mut swept = 0;
    for entry in tmp.list()?.entries {
        let ours = BaseName::new(&entry.name).is_some_and(|base| name::is_ours(&base, host));
        if !ours || entry.kind != FileType::RegularFile {
            continue;
        }
        let Some(stat) = tmp.stat(&entry.name)? else { continue };
        // The modification time is the message's date; the change time is when the file was written.
        let written = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
        if now.duration_since(written).is_ok_and(|age| age > STALE) {
            tmp.unlink("maildir.draft-sweep", &entry.name)?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn timespec(time: SystemTime) -> Timespec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
        // Before 1970: to the second below.
        Err(before) => {
            let secs = before.duration().as_secs() + u64::from(before.duration().subsec_nanos() > 0);
            Timespec { tv_sec: -i64::try_from(secs).unwrap_or(i64::MAX), tv_nsec: 0 }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
