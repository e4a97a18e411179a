//! Where bodies wait that left the Maildir because of us, so that they can be brought back.
//!
//! One directory an account beneath the state directory; a file is named `<secs>.<mailbox>.<name it had>`, the seconds
//! being those of the deletion. A body is a hard link, or a copy where the file system has no link for us.

use crate::mail::{BaseName, Flags, escape};
use crate::maildir::deliver::Staged;
use crate::maildir::dir::{Dir, kind};
use crate::maildir::folder::Folder;
use crate::maildir::name::print;
use crate::maildir::scan::ScannedFile;
use crate::maildir::{Error, layout};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The retention area of an account.
#[derive(Debug)]
pub struct Retention {
    pub(super) dir: Dir,
}

/// A body in the retention area.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// When its message was removed, in seconds since 1970.
    pub at: u64,
    /// The number of the mailbox that it was in.
    pub mailbox: u32,
    /// Its name in the area.
    pub file_name: Box<[u8]>,
    /// The name that it had.
    had: Box<[u8]>,
}

/// The longest file name.
const MAX_NAME: usize = 255;

impl Retention {
    /// Opens the area, made with mode 0700 if it is not there. The state directory must be.
    pub fn open(state_dir: &Path, account: &str) -> Result<Self, Error> {
        let doing = "opening the state directory";
        let state =
            Dir::open_path(state_dir).map_err(|e| Error::new(doing, state_dir.as_os_str().as_encoded_bytes(), e))?;
        let all = state.make_dir("maildir.retention", b"retention")?;
        let dir = all.make_dir("maildir.retention", layout::file_name(account).as_bytes())?;
        Ok(Self { dir })
    }

    /// Opens the area if it is there.
    pub fn open_existing(state_dir: &Path, account: &str) -> Result<Option<Self>, Error> {
        let doing = "opening the state directory";
        let found = Dir::open_path(state_dir)
            .map_err(|e| Error::new(doing, state_dir.as_os_str().as_encoded_bytes(), e))
            .and_then(|state| state.open_dir(b"retention"))
            .and_then(|all| all.open_dir(layout::file_name(account).as_bytes()));
        match found {
            Err(error) if error.is_missing() => Ok(None),
            found => found.map(|dir| Some(Self { dir })),
        }
    }

    /// Keeps the body of a message that still lies in the folder, and gives the inode that is kept. Repeating it changes
    /// nothing. The body is durable at once, its name after [`Retention::sync`].
    pub(super) fn keep(&self, folder: &Folder, file: &ScannedFile, mailbox: u32, at: SystemTime) -> Result<u64, Error> {
        let from = folder.subdir(file.subdir);
        let body = from.open_file(&file.file_name)?;
        body.sync_all().map_err(|e| Error::io("making a message durable", &e))?;
        let stat = rustix::fs::fstat(&body).map_err(|e| Error::new("looking at a message", &file.file_name, e))?;
        let name = kept_name(&file.file_name, mailbox, at);
        match from.link("maildir.keep", &file.file_name, &self.dir, &name) {
            Ok(()) => {}
            Err(Errno::EXIST) => {}
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.copy(&body, &name)?;
            }
            Err(e) => return Err(Error::new("keeping a message", &file.file_name, e)),
        }
        // A whole copy from before a crash is as good as the link; anything else under this name is not the message.
        let is_kept = |kept: rustix::fs::Stat| {
            kind(&kept) == FileType::RegularFile && (kept.st_ino == stat.st_ino || kept.st_size == stat.st_size)
        };
        if !self.dir.stat(&name)?.is_some_and(is_kept) {
            return Err(Error::Exists { name: escape(&name) });
        }
        Ok(stat.st_ino)
    }

    /// Keeps a message that was fetched for that, durably, as if it had had that name and those flags. Repeating it changes
    /// nothing.
    ///
    /// Its file goes on lying in `tmp` of the folder until `staged` is dropped.
    pub fn keep_staged(
        &self,
        staged: &Staged,
        mailbox: u32,
        had: (&BaseName, &Flags),
        at: SystemTime,
    ) -> Result<(), Error> {
        let (folder, name, body) = staged.draft_file();
        body.sync_all().map_err(|e| Error::io("making a message durable", &e))?;
        let kept = kept_name(&print(had.0, had.1, b""), mailbox, at);
        match folder.dirs.tmp.link("maildir.keep", name.as_bytes(), &self.dir, &kept) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => {
                let body = folder.dirs.tmp.open_file(name.as_bytes())?;
                self.copy(&body, &kept)?;
            }
            Err(e) => return Err(Error::new("keeping a message", name.as_bytes(), e)),
        }
        self.sync()
    }

    /// Lists the bodies, oldest first. What is not named as we name things is left out.
    pub fn list(&self) -> Result<Vec<Kept>, Error> {
        let entries = self.dir.list()?.entries.into_iter();
        let mut all: Vec<Kept> =
            entries.filter(|entry| entry.kind == FileType::RegularFile).filter_map(|e| Kept::parse(&e.name)).collect();
        all.sort_by(|a, b| (a.at, &a.file_name).cmp(&(b.at, &b.file_name)));
        Ok(all)
    }

    /// Opens a body.
    pub fn open_kept(&self, kept: &Kept) -> Result<File, Error> {
        self.dir.open_file(&kept.file_name)
    }

    /// Removes what was kept for longer than `keep` before `now`, and says how many. What is not named as we name things is
    /// left alone.
    pub fn expire(&self, keep: Duration, now: SystemTime) -> Result<usize, Error> {
        let oldest = now.checked_sub(keep).and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
        let mut removed = 0;
        for kept in self.list()?.into_iter().filter(|kept| kept.at <= oldest) {
            self.dir.unlink("maildir.keep-expire", &kept.file_name)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Makes the names of what was kept durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.dir.sync()
    }

    fn copy(&self, mut body: &File, name: &[u8]) -> Result<(), Error> {
        if self.dir.stat(name)?.is_some() {
            return Ok(());
        }
        let draft = b".copy";
        if self.dir.stat(draft)?.is_some() {
            self.dir.unlink("maildir.keep-sweep", draft)?;
        }
        let mut copy = self.dir.create("maildir.keep-draft", draft)?;
        let copied = std::io::copy(&mut body, &mut copy)
            .and_then(|_| copy.set_times(FileTimes::new().set_modified(body.metadata()?.modified()?)))
            .and_then(|()| copy.sync_all());
        if let Err(error) = copied {
            // A full disk must not stay full because of us.
            self.dir.unlink("maildir.keep-sweep", draft)?;
            return Err(Error::io("keeping a message", &error));
        }
        self.dir.rename("maildir.keep-copy", draft, &self.dir, name)
    }
}

impl Kept {
    fn parse(file_name: &[u8]) -> Option<Self> {
        let mut parts = file_name.splitn(3, |byte| *byte == b'.');
        let (at, mailbox, had) = (parts.next()?, parts.next()?, parts.next()?);
        let at = std::str::from_utf8(at).ok()?.parse().ok()?;
        let mailbox = std::str::from_utf8(mailbox).ok()?.parse().ok()?;
        Some(Self { at, mailbox, file_name: file_name.into(), had: had.into() })
    }

    /// The file name that it had, cut if it was among the longest.
    pub fn had(&self) -> &[u8] {
        &self.had
    }

    /// Tells whether this is the body of the message that had that name in that mailbox.
    pub fn is_of(&self, mailbox: u32, base: &BaseName) -> bool {
        let whole = base.as_bytes();
        let is_named = match self.had.strip_prefix(whole) {
            Some(rest) => rest.is_empty() || rest.starts_with(b":"),
            // The longest names are cut.
            None => {
                let cut = self.had.windows(2).rposition(|two| two == b"%~");
                self.file_name.len() == MAX_NAME && cut.is_some_and(|cut| whole.starts_with(&self.had[..cut]))
            }
        };
        self.mailbox == mailbox && is_named
    }
}

fn kept_name(file_name: &[u8], mailbox: u32, at: SystemTime) -> Vec<u8> {
    let secs = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut name = format!("{secs}.{mailbox}.").into_bytes();
    name.extend_from_slice(file_name);
    if name.len() > MAX_NAME {
        let hash = blake3::hash(&name).to_hex();
        name.truncate(MAX_NAME - 34);
        name.extend_from_slice(b"%~");
        name.extend_from_slice(&hash.as_bytes()[..32]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::deliver::tests::deliver;
    use crate::maildir::folder::tests::inbox;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn what_was_kept_long_enough_goes_and_nothing_else() {
        let (_tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "work").expect("open");
        let file = deliver(&folder, "1.a", "", "text\n");
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        for secs in [1_000, 2_000] {
            retention.keep(&folder, &file, 7, at(secs)).expect("kept");
        }
        let area = state.path().join("retention/work");
        std::fs::write(area.join("notes"), "a user's").expect("written");
        assert_eq!(retention.expire(Duration::from_secs(500), at(1_501)).expect("expired"), 1);
        let mut left: Vec<_> =
            std::fs::read_dir(&area).expect("listed").map(|e| e.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["2000.7.1.a", "notes"]);
    }

    #[test]
    fn keeping_twice_is_keeping_once() {
        let (tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "../work").expect("open");
        let file = deliver(&folder, "1.a", "\\Seen", "text\n");
        let at = UNIX_EPOCH + Duration::from_secs(99);
        for _ in 0..2 {
            assert_eq!(retention.keep(&folder, &file, 7, at).expect("kept"), file.inode);
        }
        let area = state.path().join("retention/%2E./work".replace("./", ".%2F"));
        let kept = std::fs::metadata(area.join("99.7.1.a:2,S")).expect("there");
        assert_eq!((kept.ino(), kept.nlink()), (file.inode, 2));
        assert_eq!(std::fs::metadata(&area).expect("there").permissions().mode() & 0o777, 0o700);
        // Not the same message under that name: it is not taken for kept.
        std::fs::remove_file(area.join("99.7.1.a:2,S")).expect("removed");
        std::fs::write(area.join("99.7.1.a:2,S"), "another message").expect("written");
        assert!(matches!(retention.keep(&folder, &file, 7, at), Err(Error::Exists { .. })));
        drop(tmp);
    }

    #[test]
    fn a_copy_is_whole_and_keeps_its_date() {
        let (tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "work").expect("open");
        deliver(&folder, "1.a", "\\Seen", "text\n");
        let area = state.path().join("retention/work");
        std::fs::write(area.join(".copy"), "what a crash left").expect("written");
        let body = File::open(tmp.path().join("INBOX/cur/1.a:2,S")).expect("open");
        for _ in 0..2 {
            retention.copy(&body, b"99.7.1.a:2,S").expect("copied");
        }
        assert_eq!(std::fs::read(area.join("99.7.1.a:2,S")).expect("read"), b"text\n");
        let meta = std::fs::metadata(area.join("99.7.1.a:2,S")).expect("there");
        assert_eq!((meta.mtime(), meta.mode() & 0o777), (1_000_000_000, 0o600));
        assert_eq!(std::fs::read_dir(&area).expect("listed").count(), 1);
    }

    #[test]
    fn the_longest_names_are_cut_and_stay_apart() {
        let names: Vec<Vec<u8>> =
            ["a", "b"].iter().map(|e| kept_name(format!("{}{e}", "x".repeat(250)).as_bytes(), 1, UNIX_EPOCH)).collect();
        assert!(names.iter().all(|n| n.len() == MAX_NAME));
        assert_ne!(names[0], names[1]);
        let base = BaseName::new(format!("{}a", "x".repeat(250)).as_bytes()).expect("a name");
        let kept = Kept::parse(&names[0]).expect("a name of ours");
        assert_eq!((kept.is_of(1, &base), kept.is_of(2, &base)), (true, false));
    }
}
