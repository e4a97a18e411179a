//! A folder: one Maildir beneath the root, held open by its directories.
//!
//! The handles follow a folder that somebody renames; whether it is still the one at its path, the caller sees by
//! opening it anew each pass, and [`Folder::check`] by its marker.

use crate::mail::Flags;
use crate::maildir::dir::Dir;
use crate::maildir::keywords::{self, Added};
use crate::maildir::scan::Subdir;
use crate::maildir::{Error, FolderMarker, Keywords, Layout, Letters, LocalPath, Root, Unavailable};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

/// An open folder. Clones share the handles.
#[derive(Clone, Debug)]
pub struct Folder {
    pub(super) dirs: Arc<Dirs>,
}

#[derive(Debug)]
pub(super) struct Dirs {
    pub folder: Dir,
    pub new: Dir,
    pub cur: Dir,
    pub tmp: Dir,
    letters: RwLock<Arc<Letters>>,
}

/// What a file or directory is, whatever it is called: device and number. Both are used again after a removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Inode {
    /// The number of the device; it may change when the machine starts anew.
    pub device: u64,
    /// The number on that device.
    pub number: u64,
}

impl Folder {
    /// Opens a folder, with or without a marker of ours.
    ///
    /// Fails with [`Unavailable::FolderMissing`] or [`Unavailable::SubdirMissing`] when it is not whole.
    pub fn open(root: &Root, path: &LocalPath) -> Result<Self, Error> {
        let folder = open_dir(root, path)?;
        let subdir = |name: &'static str| match folder.open_dir(name.as_bytes()) {
            Err(error) if error.is_missing() => Err(Unavailable::SubdirMissing(name).into()),
            found => found,
        };
        let [cur, new, tmp] = [subdir("cur")?, subdir("new")?, subdir("tmp")?];
        Ok(Self::of(folder, new, cur, tmp))
    }

    fn of(folder: Dir, new: Dir, cur: Dir, tmp: Dir) -> Self {
        let letters = RwLock::new(Arc::new(Letters::new(Keywords::Database)));
        Self { dirs: Arc::new(Dirs { folder, new, cur, tmp, letters }) }
    }

    /// Makes a folder, or what of it is missing, and opens it; the marker comes last, so that a folder with a marker is
    /// whole. May be repeated after a crash at any step, and gives a foreign folder its marker.
    ///
    /// Fails with [`Unavailable::FolderMarkerOther`] when the folder is another mailbox's.
    pub fn create(root: &Root, path: &LocalPath, marker: &FolderMarker) -> Result<Self, Error> {
        let mut folder = root.dir.open_dir(b".")?;
        for name in path.components() {
            folder = folder.make_dir("maildir.folder", name.as_bytes())?;
        }
        let found = FolderMarker::read(&folder)?;
        if let Some(found) = found.as_ref().filter(|f| (f.id, f.state) != (marker.id, marker.state)) {
            return Err(Unavailable::FolderMarkerOther { id: found.id, state: found.state }.into());
        }
        let tmp = folder.make_dir("maildir.folder-tmp", b"tmp")?;
        let new = folder.make_dir("maildir.folder-new", b"new")?;
        let cur = folder.make_dir("maildir.folder-cur", b"cur")?;
        if found.as_ref() != Some(marker) {
            marker.write(&folder)?;
        }
        Ok(Self::of(folder, new, cur, tmp))
    }

    /// Tells whether there is a Maildir at a path, or something that may be one, whosever it is.
    pub fn is_there(root: &Root, path: &LocalPath) -> Result<bool, Error> {
        let mut folder = root.dir.open_dir(b".")?;
        for name in path.components() {
            folder = match folder.open_dir(name.as_bytes()) {
                Err(error) if error.is_missing() => return Ok(false),
                opened => opened?,
            };
        }
        let is_missing = |part: &[u8]| folder.open_dir(part).is_err_and(|error| error.is_missing());
        Ok(!is_missing(b"cur") || !is_missing(b"new"))
    }

    /// Tells where the keywords of this folder live, and whether one that has no letter may get one; unless this is called,
    /// they live in the database alone. What the letters mean is read by each [`scan`](Self::scan).
    pub fn keep_keywords(&self, keywords: Keywords, may_learn: bool) {
        let letters = Letters::new(keywords);
        self.set_letters(if may_learn { letters } else { letters.closed() });
    }

    /// What the letters in file names mean, as of the last scan and of what was learnt since.
    pub fn letters(&self) -> Arc<Letters> {
        self.dirs.letters.read().expect("nobody panics while holding it").clone()
    }

    fn set_letters(&self, letters: Letters) {
        *self.dirs.letters.write().expect("nobody panics while holding it") = Arc::new(letters);
    }

    /// Reads the table of letters anew, which a Dovecot may have added to. `used`: every letter without a standard meaning
    /// that file names have; it has to be read before, so that a letter that is explained by now is known.
    pub(super) fn read_letters(&self, used: &BTreeSet<u8>) -> Result<Arc<Letters>, Error> {
        let before = self.letters();
        if before.keywords() == Keywords::Dovecot {
            let letters = match keywords::read(&self.dirs.folder)? {
                Some(table) => before.with_table(table),
                None => before.closed(),
            };
            self.set_letters(letters.with_letters_in_use(used));
        }
        Ok(self.letters())
    }

    /// Gives letters to the keywords of `wanted` that have none, as far as any are left: durable before a file name may have
    /// them. Returns a clause if that has to wait, for a lock as a rule; none of this folder is tried again then before it
    /// is opened anew.
    pub fn learn(&self, wanted: &Flags) -> Result<Option<String>, Error> {
        let letters = self.letters();
        let lacking = letters.without_letter(wanted);
        if lacking.is_empty() {
            return Ok(None);
        }
        match keywords::add(&self.dirs.folder, &lacking, letters.stray(), keywords::PATIENCE)? {
            Added::Table(table) => {
                self.set_letters(letters.with_table(table));
                Ok(None)
            }
            Added::Later(reason) => {
                self.set_letters(letters.closed());
                Ok(Some(reason))
            }
        }
    }

    /// The marker; `None` if the folder has none.
    pub fn marker(&self) -> Result<Option<FolderMarker>, Error> {
        FolderMarker::read(&self.dirs.folder)
    }

    /// Takes the marker away, durably. The folder is none of ours from then on.
    pub fn unmark(&self) -> Result<(), Error> {
        FolderMarker::remove(&self.dirs.folder)
    }

    /// Writes its marker, whatever marker it had.
    pub fn mark(&self, marker: &FolderMarker) -> Result<(), Error> {
        if self.marker()?.as_ref() == Some(marker) { Ok(()) } else { marker.write(&self.dirs.folder) }
    }

    /// Tells whether this is the folder of that mailbox; the name in the marker may be an older one.
    pub fn check(&self, expected: &FolderMarker) -> Result<(), Error> {
        match self.marker()? {
            Some(found) if (found.id, found.state) == (expected.id, expected.state) => Ok(()),
            Some(found) => Err(Unavailable::FolderMarkerOther { id: found.id, state: found.state }.into()),
            None => Err(Unavailable::FolderMarkerMissing.into()),
        }
    }

    /// The directory itself, by which a copied folder is told from its original.
    pub fn inode(&self) -> Result<Inode, Error> {
        let stat = self.dirs.folder.own_stat()?;
        Ok(Inode { device: stat.st_dev, number: stat.st_ino })
    }

    /// Tells whether other machines may change the folder: no scan there is atomic.
    pub fn is_on_network(&self) -> Result<bool, Error> {
        self.dirs.folder.is_on_network()
    }

    /// Makes durable what [`set_flags`](super::set_flags) and [`remove`](super::remove) did: call it before the outcome is settled.
    pub fn sync(&self) -> Result<(), Error> {
        self.dirs.new.sync()?;
        self.dirs.cur.sync()
    }

    pub(super) fn subdir(&self, subdir: Subdir) -> &Dir {
        match subdir {
            Subdir::New => &self.dirs.new,
            Subdir::Cur => &self.dirs.cur,
        }
    }
}

/// Finds every Maildir beneath the root, in order. Links, other file systems and names that are no text are passed by.
///
/// Fails when any directory on the way cannot be read: a partial answer would look like a deletion.
pub fn discover(root: &Root, layout: Layout) -> Result<Vec<LocalPath>, Error> {
    let device = root.dir.own_stat()?.st_dev;
    let mut found = Vec::new();
    let top = root.dir.open_dir(b".")?;
    if layout == Layout::MaildirPlusPlus && is_whole(&top)? {
        found.push(LocalPath::root());
    }
    let mut open = vec![(top, LocalPath::root())];
    while let Some((dir, path)) = open.pop() {
        for entry in dir.list()?.entries {
            let dotted = entry.name.starts_with(b".");
            if entry.kind != FileType::Directory || dotted != (layout == Layout::MaildirPlusPlus) {
                continue;
            }
            if matches!(&*entry.name, b"cur" | b"new" | b"tmp" | b"lost+found") {
                continue;
            }
            let Some(below) = std::str::from_utf8(&entry.name).ok().and_then(|name| path.join(name)) else { continue };
            let child = match dir.open_dir(&entry.name) {
                // Gone, or a link by now.
                Err(Error::Hostile { .. }) => continue,
                Err(error) if error.is_missing() => continue,
                child => child?,
            };
            if child.own_stat()?.st_dev != device {
                continue;
            }
            if is_whole(&child)? {
                found.push(below.clone());
            }
            if layout == Layout::Nested {
                open.push((child, below));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Opens a directory beneath the root, whatever is in it. Fails with [`Unavailable::FolderMissing`] where there is none.
pub(super) fn open_dir(root: &Root, path: &LocalPath) -> Result<Dir, Error> {
    let mut folder = root.dir.open_dir(b".")?;
    for name in path.components() {
        folder = match folder.open_dir(name.as_bytes()) {
            Err(error) if error.is_missing() => return Err(Unavailable::FolderMissing.into()),
            found => found?,
        };
    }
    Ok(folder)
}

pub(super) fn is_whole(dir: &Dir) -> Result<bool, Error> {
    for name in [b"cur", b"new", b"tmp"] {
        let is_dir = |stat| super::dir::kind(&stat) == FileType::Directory;
        if !dir.stat(name)?.is_some_and(is_dir) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::mail::MailboxName;
    use crate::maildir::StateId;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    /// A root in a directory that goes away with the test.
    pub fn root() -> (tempfile::TempDir, Root) {
        let tmp = tempfile::tempdir().expect("a directory");
        let root = Root::create(tmp.path()).expect("it opens");
        (tmp, root)
    }

    pub fn marker(id: u32) -> FolderMarker {
        FolderMarker { id, name: MailboxName::inbox(), state: StateId::new([9; 16]) }
    }

    pub fn path(text: &str) -> LocalPath {
        LocalPath::new(text).expect("a path")
    }

    /// A fresh folder `INBOX`.
    pub fn inbox() -> (tempfile::TempDir, Root, Folder) {
        let (tmp, root) = root();
        let folder = Folder::create(&root, &path("INBOX"), &marker(1)).expect("made");
        (tmp, root, folder)
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Unavailable {
        match result {
            Err(Error::Unavailable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_maildir_is_there_with_a_part_of_it_and_not_before() {
        let (tmp, root) = root();
        let is_there = |name: &str| Folder::is_there(&root, &path(name)).expect("it can be looked at");
        assert!(!is_there("A/B"));
        std::fs::create_dir_all(tmp.path().join("A/B/tmp")).expect("made");
        assert!(!is_there("A") && !is_there("A/B"), "directories that lead to a Maildir are none");
        std::fs::create_dir(tmp.path().join("A/B/new")).expect("made");
        assert!(is_there("A/B") && !is_there("A"));
        symlink("/etc", tmp.path().join("L")).expect("made");
        assert!(Folder::is_there(&root, &path("L")).is_err());
    }

    #[test]
    fn a_folder_without_one_of_its_parts_says_which() {
        let (tmp, root) = root();
        let (a, dir) = (path("A/B"), tmp.path().join("A/B"));
        assert_eq!(reason(Folder::open(&root, &a)), Unavailable::FolderMissing);
        let folder = Folder::create(&root, &a, &marker(1)).expect("made");
        folder.check(&marker(1)).expect("healthy");
        assert_eq!(folder.marker().expect("read"), Some(marker(1)));
        assert!(matches!(reason(folder.check(&marker(2))), Unavailable::FolderMarkerOther { id: 1, .. }));
        std::fs::remove_file(dir.join("mailtwin-folder")).expect("removed");
        assert_eq!(reason(Folder::open(&root, &a).expect("whole").check(&marker(1))), Unavailable::FolderMarkerMissing);
        for part in ["tmp", "new", "cur"] {
            std::fs::remove_dir(dir.join(part)).expect("removed");
            assert_eq!(reason(Folder::open(&root, &a)), Unavailable::SubdirMissing(part));
        }
    }

    #[test]
    fn making_a_folder_may_stop_anywhere_and_be_repeated() {
        let (tmp, root) = root();
        let parts = ["A", "A/B", "A/B/tmp", "A/B/new", "A/B/cur"];
        for made in 0..=parts.len() {
            let name = format!("{made}");
            let base = tmp.path().join(&name);
            std::fs::create_dir(&base).expect("made");
            parts[..made].iter().for_each(|p| std::fs::create_dir(base.join(p)).expect("made"));
            let at = path(&format!("{name}/A/B"));
            for _ in 0..2 {
                Folder::create(&root, &at, &marker(5)).expect("made").check(&marker(5)).expect("healthy");
            }
            assert_eq!(
                reason(Folder::create(&root, &at, &marker(6))),
                Unavailable::FolderMarkerOther { id: 5, state: marker(5).state }
            );
        }
    }

    #[test]
    fn a_repeated_creation_touches_nothing() {
        let (tmp, root, folder) = inbox();
        let before = std::fs::metadata(tmp.path().join("INBOX/mailtwin-folder")).expect("there");
        Folder::create(&root, &path("INBOX"), &marker(1)).expect("made");
        let after = std::fs::metadata(tmp.path().join("INBOX/mailtwin-folder")).expect("there");
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
        assert_eq!(
            folder.inode().expect("known").number,
            std::fs::metadata(tmp.path().join("INBOX")).expect("there").ino()
        );
    }

    #[test]
    fn planted_links_are_not_followed() {
        let (tmp, root) = root();
        let outside = tempfile::tempdir().expect("a directory");
        for part in ["cur", "new", "tmp", "sub"] {
            std::fs::create_dir(outside.path().join(part)).expect("made");
        }
        symlink(outside.path(), tmp.path().join("A")).expect("made");
        assert!(matches!(Folder::open(&root, &path("A")), Err(Error::Hostile { .. })));
        assert!(matches!(Folder::create(&root, &path("A/sub"), &marker(1)), Err(Error::Hostile { .. })));
        for part in ["cur", "new", "tmp"] {
            let at = path(&format!("with-{part}"));
            Folder::create(&root, &at, &marker(1)).expect("made");
            let dir = tmp.path().join(at.as_str()).join(part);
            std::fs::remove_dir(&dir).expect("removed");
            symlink(outside.path().join(part), &dir).expect("made");
            assert!(matches!(Folder::open(&root, &at), Err(Error::Hostile { .. })), "{part}");
            assert!(matches!(Folder::create(&root, &at, &marker(1)), Err(Error::Hostile { .. })), "{part}");
        }
        assert_eq!(discover(&root, Layout::Nested).expect("listed"), vec![]);
        assert_eq!(std::fs::read_dir(outside.path()).expect("listed").count(), 4);
    }

    #[test]
    fn every_maildir_is_found_in_its_layout() {
        let (tmp, root) = root();
        for at in ["INBOX", "INBOX/A/B", ".Sent", "X.Y", "cur/no", ".notmuch/x", ""] {
            for part in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(tmp.path().join(at).join(part)).expect("made");
            }
        }
        std::fs::create_dir_all(tmp.path().join("half/cur")).expect("made");
        let found =
            |layout| discover(&root, layout).expect("listed").iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(found(Layout::Nested), ["INBOX", "INBOX/A/B", "X.Y"]);
        assert_eq!(found(Layout::Flat), ["INBOX", "X.Y"]);
        assert_eq!(found(Layout::MaildirPlusPlus), ["", ".Sent"]);
    }
}
