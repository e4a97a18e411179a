//! Looking at a folder without missing what is there.
//!
//! Readers rename files while we look. A listing in one system call is a snapshot; `new`, then `cur`, then `new` again
//! sees a file that moves either way at least once. Only what is missing from such a scan may be missing at all.

use crate::mail::{BaseName, Flags};
use crate::maildir::dir::{Listing, kind};
use crate::maildir::{Error, FileName, Folder, Letters, Unavailable, keywords};
use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where in a folder a message lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Subdir {
    /// Not yet seen by any reader.
    New,
    /// Everything else.
    Cur,
}

impl Subdir {
    /// What the directory is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// A message file as a scan saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScannedFile {
    /// Where it lies.
    pub subdir: Subdir,
    /// Its whole name.
    pub file_name: Box<[u8]>,
    /// What its letters say, as far as the folder's table explains them.
    pub flags: Flags,
    /// Its number on the device, the same under another name.
    pub inode: u64,
}

/// The times by which an unchanged folder is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FolderTimes {
    new: DirTimes,
    cur: DirTimes,
    /// The file that tells what letters mean, if there is one.
    keywords: Option<DirTimes>,
    /// When these were read, in nanoseconds since 1970.
    read_at: i64,
}

/// Inode, and times in nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct DirTimes {
    inode: u64,
    modified: i64,
    changed: i64,
}

/// What a folder holds.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Every message.
    pub files: BTreeMap<BaseName, ScannedFile>,
    /// Further files with the base name of a message in `files`: real copies, not one file seen twice.
    pub duplicates: Vec<(BaseName, ScannedFile)>,
    /// The times from just before the scan, to be remembered for [`Folder::unchanged_since`].
    pub times: FolderTimes,
    /// When a file last came, went or was renamed, as of the end of the scan.
    pub newest_change: SystemTime,
    /// Nothing that was there can be missing. If not, the scan proves no absence.
    pub atomic: bool,
    /// What lies there and is no message: directories, links, pipes. Their names as they stand.
    pub skipped: Vec<Box<[u8]>>,
    /// What the letters meant.
    pub letters: Arc<Letters>,
}

/// A directory changed this shortly before it was looked at may change again with the same time.
const DISTRUST: Duration = Duration::from_secs(2);

impl Folder {
    /// Lists every message. A directory that is missing or was exchanged is an error, never empty.
    pub fn scan(&self) -> Result<Scan, Error> {
        let times = self.times()?;
        let mut seen = Seen::default();
        let mut atomic = !self.is_on_network()?;
        for subdir in [Subdir::New, Subdir::Cur, Subdir::New] {
            let listing = self.subdir(subdir).list()?;
            atomic &= listing.atomic;
            seen.take(subdir, listing);
        }
        let (mut files, mut duplicates) = seen.settle(self)?;
        let newest = self.times()?.newest_change();
        // Read after the names: who sets a letter explains it first.
        let letters = self.read_letters(&seen.used)?;
        if letters.explains_more(&seen.used) {
            let every = files.values_mut().chain(duplicates.iter_mut().map(|(_, file)| file));
            every.for_each(|file| file.flags = file.flags_by(&letters));
        }
        Ok(Scan {
            files,
            duplicates,
            times,
            newest_change: newest,
            atomic,
            skipped: seen.skipped.into_iter().collect(),
            letters,
        })
    }

    /// The times of `new`, `cur` and `dovecot-keywords` now. Fails if either is no longer the directory that was opened.
    pub fn times(&self) -> Result<FolderTimes, Error> {
        let now = nanos(SystemTime::now());
        let (new, cur) = (self.dir_times(Subdir::New)?, self.dir_times(Subdir::Cur)?);
        let keywords = self.dirs.folder.stat(keywords::FILE)?.map(|stat| DirTimes::of(&stat));
        Ok(FolderTimes { new, cur, keywords, read_at: now })
    }

    /// Tells whether the folder certainly holds what it held when `times` were read by a scan. No means: scan.
    pub fn unchanged_since(&self, times: &FolderTimes) -> Result<bool, Error> {
        let now = self.times()?;
        let is_same = (now.new, now.cur, now.keywords) == (times.new, times.cur, times.keywords);
        Ok(is_same && times.are_trusted())
    }

    fn dir_times(&self, subdir: Subdir) -> Result<DirTimes, Error> {
        let missing = || Error::from(Unavailable::SubdirMissing(subdir.name()));
        let stat = self.dirs.folder.stat(subdir.name().as_bytes())?.ok_or_else(missing)?;
        let own = self.subdir(subdir).own_stat()?;
        if (stat.st_dev, stat.st_ino) != (own.st_dev, own.st_ino) {
            return Err(missing());
        }
        Ok(DirTimes::of(&stat))
    }

    /// Finds a message by its base name, wherever a reader moved it; `None` if it is in no directory.
    pub(super) fn find(&self, base: &BaseName) -> Result<Option<ScannedFile>, Error> {
        Ok(self.scan()?.files.remove(base))
    }
}

impl DirTimes {
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
            changed: timestamp(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl FolderTimes {
    /// When a file last came, went or was renamed.
    pub fn newest_change(&self) -> SystemTime {
        let newest = self.new.modified.max(self.cur.modified);
        let span = Duration::from_nanos(newest.unsigned_abs());
        if newest < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
    }

    fn are_trusted(&self) -> bool {
        let all = [Some(self.new), Some(self.cur), self.keywords].into_iter().flatten();
        let newest = all.map(|t| t.modified.max(t.changed)).fold(i64::MIN, i64::max);
        newest.saturating_add(DISTRUST.as_nanos() as i64) < self.read_at
    }
}

fn nanos(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

fn timestamp(secs: i64, nanos: impl TryInto<i64>) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos.try_into().unwrap_or(0))
}

/// Everything that the listings showed, file by file and in order.
#[derive(Default)]
struct Seen {
    files: BTreeMap<BaseName, Vec<ScannedFile>>,
    skipped: BTreeSet<Box<[u8]>>,
    /// Letters without a standard meaning.
    used: BTreeSet<u8>,
}

impl ScannedFile {
    fn flags_by(&self, letters: &Letters) -> Flags {
        FileName::parse(&self.file_name).map(|name| letters.flags(&name)).unwrap_or_default()
    }
}

impl Seen {
    fn take(&mut self, subdir: Subdir, listing: Listing) {
        for entry in listing.entries {
            if entry.name.starts_with(b".") {
                continue;
            }
            let name = FileName::parse(&entry.name).filter(|_| entry.kind == FileType::RegularFile);
            let Some(name) = name else {
                self.skipped.insert(entry.name);
                continue;
            };
            self.used.extend(name.letters().filter(u8::is_ascii_lowercase));
            let file = ScannedFile { subdir, file_name: entry.name, flags: name.flags, inode: entry.inode };
            let sightings = self.files.entry(name.base).or_default();
            sightings.retain(|other| *other != file);
            sightings.push(file);
        }
    }

    /// Decides what a base name that was seen in several places is: one file that moved, or several.
    fn settle(&mut self, folder: &Folder) -> Result<Settled, Error> {
        let mut files = BTreeMap::new();
        let mut duplicates = Vec::new();
        for (base, mut sightings) in std::mem::take(&mut self.files) {
            if sightings.len() > 1 {
                let mut there = Vec::new();
                for file in &sightings {
                    let is_it = |stat: Stat| stat.st_ino == file.inode && kind(&stat) == FileType::RegularFile;
                    if folder.subdir(file.subdir).stat(&file.file_name)?.is_some_and(is_it) {
                        there.push(file.clone());
                    }
                }
                if there.is_empty() {
                    // It moved on; the last sighting is the nearest.
                    sightings.drain(..sightings.len() - 1);
                } else {
                    there.sort_by(|a, b| (a.inode, a.subdir, &a.file_name).cmp(&(b.inode, b.subdir, &b.file_name)));
                    sightings = there;
                }
            }
            let mut sightings = sightings.into_iter();
            if let Some(file) = sightings.next() {
                duplicates.extend(sightings.map(|other| (base.clone(), other)));
                files.insert(base, file);
            }
        }
        Ok((files, duplicates))
    }
}

type Settled = (BTreeMap<BaseName, ScannedFile>, Vec<(BaseName, ScannedFile)>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::folder::tests::inbox;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    fn touch(dir: &Path, name: &str) {
        std::fs::write(dir.join("INBOX").join(name), "x").expect("written");
    }

    fn names(scan: &Scan) -> Vec<String> {
        scan.files.values().map(|f| format!("{}/{}", f.subdir.name(), String::from_utf8_lossy(&f.file_name))).collect()
    }

    #[test]
    fn a_scan_lists_messages_and_nothing_else() {
        let (tmp, _, folder) = inbox();
        for name in ["new/1.a", "new/2.b:2,F", "cur/3.c", "cur/4.d:2,aS", "tmp/5.e", "cur/.hidden", "new/.#x"] {
            touch(tmp.path(), name);
        }
        std::fs::create_dir(tmp.path().join("INBOX/cur/6.f")).expect("made");
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("INBOX/new/7.g")).expect("made");
        let scan = folder.scan().expect("scanned");
        assert_eq!(names(&scan), ["new/1.a", "new/2.b:2,F", "cur/3.c", "cur/4.d:2,aS"]);
        assert_eq!(scan.skipped.iter().map(|n| n.to_vec()).collect::<Vec<_>>(), [b"6.f".to_vec(), b"7.g".to_vec()]);
        assert!(scan.atomic && scan.duplicates.is_empty());
        let base = BaseName::new(b"4.d").expect("a name");
        assert_eq!(scan.files[&base].flags, Flags::parse("\\Seen"));
    }

    #[test]
    fn copies_with_one_base_name_are_reported_and_a_link_is_one_of_them() {
        let (tmp, _, folder) = inbox();
        touch(tmp.path(), "new/1.a");
        touch(tmp.path(), "cur/1.a:2,S");
        let cur = tmp.path().join("INBOX/cur");
        std::fs::hard_link(cur.join("1.a:2,S"), cur.join("1.a:2,FS")).expect("linked");
        let scan = folder.scan().expect("scanned");
        assert_eq!((scan.files.len(), scan.duplicates.len()), (1, 2));
        assert_eq!(names(&scan), names(&folder.scan().expect("scanned")));
    }

    #[test]
    fn a_missing_or_exchanged_directory_is_an_error_and_never_empty() {
        for part in ["cur", "new"] {
            let (tmp, _, folder) = inbox();
            touch(tmp.path(), "cur/1.a:2,");
            let dir = tmp.path().join("INBOX").join(part);
            let missing = |folder: &Folder| match folder.scan() {
                Err(Error::Unavailable(reason)) => assert_eq!(reason, Unavailable::SubdirMissing(part)),
                other => panic!("{other:?}"),
            };
            std::fs::rename(&dir, tmp.path().join("elsewhere")).expect("moved");
            missing(&folder);
            std::fs::create_dir(&dir).expect("made");
            missing(&folder);
        }
    }

    #[test]
    fn an_unchanged_folder_is_trusted_only_after_two_seconds() {
        let (tmp, _, folder) = inbox();
        touch(tmp.path(), "cur/1.a:2,");
        let mut times = folder.scan().expect("scanned").times;
        assert!(!folder.unchanged_since(&times).expect("compared"), "changed just now");
        times.read_at += 3_000_000_000;
        assert!(folder.unchanged_since(&times).expect("compared"));
        std::fs::write(tmp.path().join("INBOX/dovecot-keywords"), "0 work\n").expect("written");
        assert!(!folder.unchanged_since(&times).expect("compared"), "letters have a meaning now");
        times = FolderTimes { read_at: times.read_at, ..folder.times().expect("read") };
        assert!(folder.unchanged_since(&times).expect("compared"));
        touch(tmp.path(), "cur/2.b:2,");
        assert!(!folder.unchanged_since(&times).expect("compared"));
        // A reader that sets the time back changes the ctime all the same.
        let times = FolderTimes { read_at: i64::MAX, ..folder.times().expect("read") };
        std::fs::remove_file(tmp.path().join("INBOX/cur/2.b:2,")).expect("removed");
        let cur = std::fs::File::open(tmp.path().join("INBOX/cur")).expect("open");
        let old = UNIX_EPOCH + Duration::from_nanos(times.cur.modified as u64);
        cur.set_modified(old).expect("set");
        assert_eq!(folder.times().expect("read").cur.modified, times.cur.modified);
        assert!(!folder.unchanged_since(&times).expect("compared"));
    }

    #[test]
    fn the_newest_change_is_the_later_of_both_directories() {
        let (tmp, _, folder) = inbox();
        let set = |part: &str, secs| {
            let dir = std::fs::File::open(tmp.path().join("INBOX").join(part)).expect("open");
            dir.set_modified(UNIX_EPOCH + Duration::from_secs(secs)).expect("set");
        };
        set("cur", 1000);
        set("new", 2000);
        assert_eq!(folder.scan().expect("scanned").newest_change, UNIX_EPOCH + Duration::from_secs(2000));
    }

    #[test]
    fn a_listing_in_several_pieces_is_known_to_be_no_snapshot() {
        let (tmp, _, folder) = inbox();
        (0..200).for_each(|n| touch(tmp.path(), &format!("cur/{n}.x:2,")));
        let (entries, calls, used) = folder.dirs.cur.list_with(2048).expect("listed");
        assert_eq!(entries.len(), 200);
        assert!(calls > 1 && used >= 200 * 24);
        assert_eq!(folder.dirs.cur.list_with(1 << 20).expect("listed").1, 1);
    }

    #[test]
    fn no_file_is_missed_while_readers_rename() {
        const FILES: usize = 1500;
        let (tmp, _, folder) = inbox();
        (0..FILES).for_each(|n| touch(tmp.path(), &format!("new/{n}.x")));
        let (stop, renames) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut misses = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let dir = tmp.path().join("INBOX");
                let mut states = vec![0; FILES];
                let mut random = fastrand::Rng::with_seed(1);
                // Every way that a reader moves a file: into cur, another flag, back to new.
                let name = |n: usize, state| match state {
                    0 => format!("new/{n}.x"),
                    1 => format!("cur/{n}.x:2,"),
                    _ => format!("cur/{n}.x:2,S"),
                };
                // In turn, and at the pace of a fast reader: no file moves twice during one scan.
                for n in (0..FILES).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    std::thread::sleep(Duration::from_micros(50));
                    let next = (states[n] + random.usize(1..3)) % 3;
                    std::fs::rename(dir.join(name(n, states[n])), dir.join(name(n, next))).expect("renamed");
                    states[n] = next;
                    renames.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mut scans = 0;
            while scans < 300 || renames.load(Ordering::Relaxed) < 30_000 {
                let scan = folder.scan().expect("scanned");
                misses += usize::from(scan.files.len() != FILES || !scan.atomic || !scan.duplicates.is_empty());
                scans += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(misses, 0);
    }
}
