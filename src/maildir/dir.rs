//! A directory held by its handle: the one door to the file system beneath the root.
//!
//! Every operation takes one plain name and follows no symbolic link, so nothing can lead out of the root: a path is
//! walked name by name. Every mutation passes [`step::reach`] here, one mutation a step.

use crate::maildir::{Error, file_system};
use crate::step;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

/// What a listing says about one name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: Box<[u8]>,
    pub inode: u64,
    pub kind: FileType,
}

/// A whole directory.
pub(super) struct Listing {
    pub entries: Vec<Entry>,
    /// The system gave it in one piece: a snapshot, which no rename can slip through.
    pub atomic: bool,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// The least that a directory is read with: enough for 1,000 messages at once.
const LISTING_BUFFER: usize = 64 << 10;
const MAX_LISTING_BUFFER: usize = 1 << 28;

impl Dir {
    /// Opens a directory by its path, symbolic links followed: for the root and the state directory only, which the
    /// owner names.
    pub fn open_path(path: &std::path::Path) -> Result<Self, Errno> {
        rustix::fs::open(path, DIRECTORY, Mode::empty()).map(Self)
    }

    pub fn open_dir(&self, name: &[u8]) -> Result<Self, Error> {
        rustix::fs::openat(&self.0, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map(Self)
            .map_err(|e| Error::new("opening a directory", name, e))
    }

    /// Opens the directory, made with mode 0700 if it is not there.
    pub fn make_dir(&self, site: &'static str, name: &[u8]) -> Result<Self, Error> {
        match self.open_dir(name) {
            Err(error) if error.is_missing() => {}
            found => return found,
        }
        step::reach(site);
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::new("making a directory", name, e)),
        }
        self.open_dir(name)
    }

    /// Makes a file with mode 0600 that must not be there yet.
    pub fn create(&self, site: &'static str, name: &[u8]) -> Result<File, Error> {
        step::reach(site);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|e| Error::new("creating a file", name, e))
    }

    /// Opens a plain file for reading.
    pub fn open_file(&self, name: &[u8]) -> Result<File, Error> {
        // Without NONBLOCK a planted pipe would hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let doing = "opening a file";
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty()).map_err(|e| Error::new(doing, name, e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::new(doing, name, e))?;
        if kind(&stat) != FileType::RegularFile {
            return Err(Error::new(doing, name, Errno::LOOP));
        }
        Ok(file.into())
    }

    /// What `name` is, without following it; `None` if there is nothing.
    pub fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::new("looking at a file", name, e)),
        }
    }

    pub fn own_stat(&self) -> Result<Stat, Error> {
        rustix::fs::fstat(&self.0).map_err(|e| Error::new("looking at a directory", "", e))
    }

    /// Gives a file another name, never one that is taken. [`Error::Exists`] if it is.
    pub fn rename(&self, site: &'static str, old: &[u8], to: &Self, new: &[u8]) -> Result<(), Error> {
        step::reach(site);
        match rustix::fs::renameat_with(&self.0, old, &to.0, new, RenameFlags::NOREPLACE) {
            // Not every file system knows NOREPLACE (NFS does not).
            Err(Errno::INVAL | Errno::NOSYS) => self.link_and_unlink(site, old, to, new),
            done => done.map_err(|e| Error::new("renaming a file", new, e)),
        }
    }

    /// A rename in two steps, because a link does not replace either. After a crash between them both names are there.
    fn link_and_unlink(&self, site: &'static str, old: &[u8], to: &Self, new: &[u8]) -> Result<(), Error> {
        rustix::fs::linkat(&self.0, old, &to.0, new, AtFlags::empty())
            .map_err(|e| Error::new("renaming a file", new, e))?;
        self.unlink(site, old)
    }

    /// Gives a directory another name. [`Error::Exists`] if something is there, but an empty directory.
    pub fn rename_dir(&self, site: &'static str, old: &[u8], to: &Self, new: &[u8]) -> Result<(), Error> {
        step::reach(site);
        let failed = |e| match e {
            Errno::NOTEMPTY => Error::new("renaming a directory", new, Errno::EXIST),
            e => Error::new("renaming a directory", new, e),
        };
        match rustix::fs::renameat_with(&self.0, old, &to.0, new, RenameFlags::NOREPLACE) {
            // Not every file system knows NOREPLACE; without it, too, no directory replaces one that holds anything.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&self.0, old, &to.0, new).map_err(failed),
            done => done.map_err(failed),
        }
    }

    /// Exchanges two names in one step.
    pub fn exchange(&self, site: &'static str, one: &[u8], with: &Self, other: &[u8]) -> Result<(), Error> {
        step::reach(site);
        rustix::fs::renameat_with(&self.0, one, &with.0, other, RenameFlags::EXCHANGE)
            .map_err(|e| Error::new("exchanging two directories", other, e))
    }

    /// Removes a directory; false if something is in it. One that is not there is removed.
    pub fn remove_dir(&self, site: &'static str, name: &[u8]) -> Result<bool, Error> {
        step::reach(site);
        match rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(e) => Err(Error::new("removing a directory", name, e)),
        }
    }

    /// Gives a file another name, in the place of what had it.
    pub fn replace(&self, site: &'static str, old: &[u8], new: &[u8]) -> Result<(), Error> {
        step::reach(site);
        rustix::fs::renameat(&self.0, old, &self.0, new).map_err(|e| Error::new("renaming a file", new, e))
    }

    pub fn link(&self, site: &'static str, old: &[u8], to: &Self, new: &[u8]) -> Result<(), Errno> {
        step::reach(site);
        rustix::fs::linkat(&self.0, old, &to.0, new, AtFlags::empty())
    }

    pub fn unlink(&self, site: &'static str, name: &[u8]) -> Result<(), Error> {
        step::reach(site);
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty()).map_err(|e| Error::new("removing a file", name, e))
    }

    /// Makes names that came and went durable.
    pub fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.0).map_err(|e| Error::new("making a directory durable", "", e))
    }

    /// Tells whether this user may make files here.
    pub fn is_writable(&self) -> bool {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&self.0, c".", access, AtFlags::empty()).is_ok()
    }

    /// Tells whether other machines may change the files here, so that neither snapshots nor times can be relied on.
    pub fn is_on_network(&self) -> Result<bool, Error> {
        let stat = rustix::fs::fstatfs(&self.0).map_err(|e| Error::new("looking at a file system", "", e))?;
        Ok(file_system::is_of_network(stat.f_type as u64))
    }

    /// All names here but `.` and `..`.
    pub fn list(&self) -> Result<Listing, Error> {
        // What a directory weighs on its disk is about what its names need; where it is not, it is read again.
        let weight = rustix::fs::fstat(&self.0).map_or(0, |stat| usize::try_from(stat.st_size).unwrap_or(0));
        let mut size = weight.saturating_mul(2).clamp(LISTING_BUFFER, MAX_LISTING_BUFFER);
        loop {
            let (entries, calls, used) = self.list_with(size)?;
            if calls <= 1 || size >= MAX_LISTING_BUFFER {
                return Ok(Listing { entries, atomic: calls <= 1 });
            }
            size = (4 * used).clamp(2 * size, MAX_LISTING_BUFFER);
        }
    }

    /// One reading with a buffer of `size` bytes: the names, the calls that gave some, and about how many bytes.
    pub(super) fn list_with(&self, size: usize) -> Result<(Vec<Entry>, usize, usize), Error> {
        let failed = |e| Error::new("listing a directory", "", e);
        // A handle of its own: two listings must not share one position.
        let fd = rustix::fs::openat(&self.0, c".", DIRECTORY, Mode::empty()).map_err(failed)?;
        rustix::fs::seek(&fd, SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer: Vec<u8> = Vec::with_capacity(size);
        let mut raw = RawDir::new(&fd, buffer.spare_capacity_mut());
        let (mut entries, mut calls, mut used) = (Vec::new(), 0, 0);
        loop {
            let asks = raw.is_buffer_empty();
            let Some(entry) = raw.next() else { break };
            calls += usize::from(asks);
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            used += name.len() + 32;
            if name != b"." && name != b".." {
                entries.push(Entry { name: name.into(), inode: entry.ino(), kind: entry.file_type() });
            }
        }
        for entry in entries.iter_mut().filter(|e: &&mut Entry| e.kind == FileType::Unknown) {
            if let Some(stat) = self.stat(&entry.name)? {
                entry.kind = kind(&stat);
            }
        }
        Ok((entries, calls, used))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a file is.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_renaming_replaces_a_file() {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_path(tmp.path()).expect("it opens");
        for rename in [Dir::rename, Dir::link_and_unlink] {
            std::fs::write(tmp.path().join("a"), "mine").expect("written");
            std::fs::write(tmp.path().join("b"), "theirs").expect("written");
            assert!(matches!(rename(&dir, "test", b"a", &dir, b"b"), Err(Error::Exists { .. })));
            assert_eq!(std::fs::read(tmp.path().join("b")).expect("read"), b"theirs");
            rename(&dir, "test", b"a", &dir, b"c").expect("renamed");
            assert_eq!(std::fs::read(tmp.path().join("c")).expect("read"), b"mine");
            assert_eq!(dir.list().expect("listed").entries.len(), 2);
            assert!(rename(&dir, "test", b"a", &dir, b"d").is_err_and(|e| e.is_missing()));
            dir.unlink("test", b"c").expect("removed");
        }
    }
}
