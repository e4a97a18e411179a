//! The file `dovecot-keywords` of a folder: read at each look, and added to under Dovecot's own lock.
//!
//! A Dovecot that serves the same Maildir reads the file anew when its time, in seconds, has moved on; it never takes an
//! entry away, and neither do we. The lock is the one of its list of UIDs, a file that is made with `O_EXCL`.

use crate::mail::Keyword;
use crate::maildir::Error;
use crate::maildir::dir::Dir;
use crate::maildir::letters::Table;
use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid};
use rustix::process::{Pid, test_kill_process};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const FILE: &[u8] = b"dovecot-keywords";
/// Where Dovecot, too, writes the next table; only who has the lock may touch it.
const DRAFT: &[u8] = b"dovecot-keywords.lock";
const LOCK: &[u8] = b"dovecot-uidlist.lock";
/// Twenty-six lines of at most 255 bytes, and as much that nobody understands.
const MAX_TABLE: u64 = 64 << 10;
/// A lock that nobody has touched for so long was left behind; Dovecot takes it away after as long.
const STALE: Duration = Duration::from_secs(120);
/// So long a lock is waited for: Dovecot holds it for milliseconds, except in its longest rebuilds.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What came of adding to a table.
#[derive(Debug)]
pub(super) enum Added {
    /// This is what the table says now.
    Table(Table),
    /// Somebody holds the lock, or no file can be made there; nothing was changed. The reason, as a clause.
    Later(String),
}

/// Reads the table of a folder; an empty one if there is none. `None`: what lies there is no table, and is left alone.
pub(super) fn read(folder: &Dir) -> Result<Option<Table>, Error> {
    Ok(read_text(folder)?.map(|text| Table::parse(&text)))
}

fn read_text(folder: &Dir) -> Result<Option<Vec<u8>>, Error> {
    let file = match folder.open_file(FILE) {
        Err(error) if error.is_missing() => return Ok(Some(Vec::new())),
        Err(Error::Hostile { .. }) => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_TABLE + 1).read_to_end(&mut text).map_err(|e| Error::io("reading dovecot-keywords", &e))?;
    Ok((text.len() as u64 <= MAX_TABLE).then_some(text))
}

/// Gives letters to those keywords that have none, as far as there are any besides the `stray` ones. The table is durable
/// before this returns.
pub(super) fn add(
    folder: &Dir,
    keywords: &[Keyword],
    stray: &BTreeSet<u8>,
    patience: Duration,
) -> Result<Added, Error> {
    let lock = match Lock::take(folder, patience) {
        Err(error @ (Error::DiskFull { .. } | Error::Unavailable(_))) => return Err(error),
        Err(error) => return Ok(Added::Later(format!("dovecot-uidlist.lock cannot be made: {error}"))),
        Ok(None) => return Ok(Added::Later("another program holds dovecot-uidlist.lock".to_owned())),
        Ok(Some(lock)) => lock,
    };
    // Somebody may have added the same in the meantime.
    let Some(mut text) = read_text(folder)? else {
        return Ok(Added::Later("dovecot-keywords is no plain file of a sensible size".to_owned()));
    };
    let lines = Table::parse(&text).entries(keywords, stray);
    if !lines.is_empty() {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(lines.as_bytes());
        replace(folder, &text)?;
    }
    lock.release()?;
    Ok(Added::Table(Table::parse(&text)))
}

/// Puts a new table in the place of the old one, with its owner and mode.
fn replace(folder: &Dir, text: &[u8]) -> Result<(), Error> {
    let doing = "writing dovecot-keywords";
    if folder.stat(DRAFT)?.is_some() {
        // A crash left it, ours or Dovecot's.
        folder.unlink("maildir.keywords-sweep", DRAFT)?;
    }
    let mut file = folder.create("maildir.keywords-draft", DRAFT)?;
    file.write_all(text).map_err(|e| Error::io(doing, &e))?;
    if let Some(before) = folder.stat(FILE)? {
        let _ = rustix::fs::fchown(&file, Some(Uid::from_raw(before.st_uid)), Some(Gid::from_raw(before.st_gid)));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(before.st_mode & 0o777)).map_err(|e| Error::new(doing, "", e))?;
        outdate(&file, &before).map_err(|e| Error::new(doing, "", e))?;
    }
    file.sync_all().map_err(|e| Error::io(doing, &e))?;
    folder.replace("maildir.keywords", DRAFT, FILE)?;
    folder.sync()
}

/// Makes sure that the time of the new file is a second beyond that of the old one, for Dovecot compares seconds.
fn outdate(file: &std::fs::File, before: &Stat) -> Result<(), rustix::io::Errno> {
    let now = rustix::fs::fstat(file)?.st_mtime;
    if now > before.st_mtime {
        return Ok(());
    }
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let later = Timespec { tv_sec: before.st_mtime.saturating_add(1), tv_nsec: 0 };
    rustix::fs::futimens(file, &Timestamps { last_access: omit, last_modification: later })
}

/// Dovecot's lock on a folder; dropped, it is released.
struct Lock<'d> {
    folder: &'d Dir,
    inode: u64,
    held: bool,
}

impl<'d> Lock<'d> {
    /// Takes the lock; `None` if it was not free within `patience`.
    fn take(folder: &'d Dir, patience: Duration) -> Result<Option<Self>, Error> {
        let since = Instant::now();
        let ours = format!("{}:{}", std::process::id(), host());
        loop {
            match folder.create("maildir.lock", LOCK) {
                Ok(mut file) => {
                    let stat = rustix::fs::fstat(&file).map_err(|e| Error::new("locking a folder", LOCK, e))?;
                    let lock = Self { folder, inode: stat.st_ino, held: true };
                    file.write_all(ours.as_bytes()).map_err(|e| Error::io("locking a folder", &e))?;
                    return Ok(Some(lock));
                }
                Err(Error::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Some(left) = folder.stat(LOCK)?
                && is_stale(folder, &left)
            {
                // Only if it is still that one.
                if folder.stat(LOCK)?.is_some_and(|now| now.st_ino == left.st_ino) {
                    absent_is_fine(folder.unlink("maildir.lock-sweep", LOCK))?;
                }
                continue;
            }
            if since.elapsed() >= patience {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn release(mut self) -> Result<(), Error> {
        self.unlink()
    }

    fn unlink(&mut self) -> Result<(), Error> {
        self.held = false;
        // One that was taken away from us is somebody else's by now.
        if self.folder.stat(LOCK)?.is_some_and(|now| now.st_ino == self.inode) {
            absent_is_fine(self.folder.unlink("maildir.unlock", LOCK))?;
        }
        Ok(())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if self.held {
            // What cannot be removed is stale in two minutes.
            let _ = self.unlink();
        }
    }
}

/// Tells whether whoever made a lock left it behind: its process on this machine is gone, or nothing happened to it for
/// longer than anybody holds it.
fn is_stale(folder: &Dir, lock: &Stat) -> bool {
    let touched = UNIX_EPOCH + Duration::from_secs(u64::try_from(lock.st_mtime.max(lock.st_ctime)).unwrap_or(0));
    if SystemTime::now().duration_since(touched).is_ok_and(|age| age > STALE) {
        return true;
    }
    let mut text = String::new();
    let read = folder.open_file(LOCK).ok().and_then(|file| file.take(300).read_to_string(&mut text).ok());
    let Some((pid, of)) = read.and_then(|_| text.split_once(':')) else { return false };
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    of == host() && pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn absent_is_fine(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.is_missing() => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn keyword(text: &str) -> Keyword {
        Keyword::new(text).expect("a keyword")
    }

    fn folder() -> (tempfile::TempDir, Dir) {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_path(tmp.path()).expect("it opens");
        (tmp, dir)
    }

    fn names(tmp: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(tmp.path()).expect("listed");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn add_all(dir: &Dir, words: &[&str]) -> Added {
        let keywords: Vec<Keyword> = words.iter().map(|word| keyword(word)).collect();
        add(dir, &keywords, &BTreeSet::new(), Duration::from_millis(100)).expect("no failure")
    }

    #[test]
    fn what_is_added_stands_at_the_end_and_a_reader_sees_that_the_file_is_newer() {
        let (tmp, dir) = folder();
        let file = tmp.path().join("dovecot-keywords");
        std::fs::write(&file, "3 Old\nno line\n0 first").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("set");
        std::fs::File::open(&file)
            .expect("open")
            .set_modified(SystemTime::now() + Duration::from_secs(9))
            .expect("set");
        let before = std::fs::metadata(&file).expect("there");
        assert!(matches!(add_all(&dir, &["new", "OLD", "$Forwarded"]), Added::Table(_)));
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "3 Old\nno line\n0 first\n1 new\n2 $Forwarded\n");
        let after = std::fs::metadata(&file).expect("there");
        assert_eq!(after.mode(), before.mode());
        assert!(after.mtime() > before.mtime() && after.ino() != before.ino());
        // Nothing new: nothing is written.
        assert!(matches!(add_all(&dir, &["NEW"]), Added::Table(_)));
        assert_eq!(std::fs::metadata(&file).expect("there").ino(), after.ino());
        assert_eq!(names(&tmp), ["dovecot-keywords"]);
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_and_left_alone() {
        let (tmp, dir) = folder();
        let lock = tmp.path().join("dovecot-uidlist.lock");
        for held in ["", "1:elsewhere", "3 V1 N1", &format!("{}:{}", std::process::id(), host())] {
            std::fs::write(&lock, held).expect("written");
            assert!(matches!(add_all(&dir, &["new"]), Added::Later(_)), "{held:?}");
            assert_eq!(names(&tmp), ["dovecot-uidlist.lock"]);
        }
        let releasing = std::thread::spawn({
            let lock = lock.clone();
            move || {
                std::thread::sleep(Duration::from_millis(50));
                std::fs::remove_file(lock).expect("removed");
            }
        });
        let done = add(&dir, &[keyword("new")], &BTreeSet::new(), Duration::from_secs(20)).expect("no failure");
        assert!(matches!(done, Added::Table(_)));
        releasing.join().expect("no panic");
        assert_eq!(names(&tmp), ["dovecot-keywords"]);
    }

    #[test]
    fn a_lock_that_was_left_behind_is_taken_away() {
        let (tmp, dir) = folder();
        let lock = tmp.path().join("dovecot-uidlist.lock");
        // A process that is over.
        let mut child = std::process::Command::new("true").spawn().expect("it starts");
        child.wait().expect("it ends");
        std::fs::write(&lock, format!("{}:{}", child.id(), host())).expect("written");
        std::fs::write(tmp.path().join("dovecot-keywords.lock"), "9 half").expect("written");
        assert!(matches!(add_all(&dir, &["a"]), Added::Table(_)));
        assert_eq!(names(&tmp), ["dovecot-keywords"]);
        assert_eq!(std::fs::read_to_string(tmp.path().join("dovecot-keywords")).expect("read"), "0 a\n");
    }

    #[test]
    fn what_is_no_table_is_left_alone() {
        let (tmp, dir) = folder();
        let file = tmp.path().join("dovecot-keywords");
        std::os::unix::fs::symlink("/etc/passwd", &file).expect("made");
        assert!(read(&dir).expect("no failure").is_none());
        assert!(matches!(add_all(&dir, &["a"]), Added::Later(_)));
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(&file, vec![b'x'; 70_000]).expect("written");
        assert!(read(&dir).expect("no failure").is_none());
        assert!(matches!(add_all(&dir, &["a"]), Added::Later(_)));
        assert_eq!(std::fs::metadata(&file).expect("there").len(), 70_000);
    }

    #[test]
    fn many_who_add_at_once_lose_nothing_and_agree() {
        let (tmp, _) = folder();
        let path = tmp.path();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    let dir = Dir::open_path(path).expect("it opens");
                    for turn in 0..6 {
                        // Every keyword is wanted by two.
                        let word = keyword(&format!("k{}", (writer * 6 + turn) / 2 + turn % 2));
                        let done = add(&dir, &[word], &BTreeSet::new(), Duration::from_secs(60)).expect("no failure");
                        assert!(matches!(done, Added::Table(_)));
                    }
                });
            }
        });
        let text = std::fs::read_to_string(path.join("dovecot-keywords")).expect("read");
        let mut words: Vec<&str> = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, word)| word).collect();
        let numbers: Vec<String> = (0..words.len()).map(|number| number.to_string()).collect();
        assert_eq!(text.lines().map(|line| line.split(' ').next().unwrap_or("")).collect::<Vec<_>>(), numbers);
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), numbers.len());
        let wanted: BTreeSet<usize> = (0..4).flat_map(|w| (0..6).map(move |t| (w * 6 + t) / 2 + t % 2)).collect();
        assert_eq!(words.len(), wanted.len());
        assert_eq!(names(&tmp), ["dovecot-keywords"]);
    }
}
