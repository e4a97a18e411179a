//! The root of an account's Maildir, and whether it may be used.
//!
//! An empty or missing root is only fresh while nothing was ever synchronised; after that it is unavailable, because
//! it may be a file system that is not mounted, and its emptiness says nothing about mail.

use crate::maildir::dir::{Dir, kind};
use crate::maildir::{Error, Owner, RootMarker, Unavailable};
use crate::monitor;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// What the caller knows about the past of a root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Nothing was ever synchronised: the root may be missing or empty.
    Anything,
    /// Something was: the marker must be there.
    Marker,
}

/// An open root.
#[derive(Clone, Debug)]
pub struct Root {
    pub(super) dir: Arc<Dir>,
}

/// What was found at the path of a root.
#[derive(Debug)]
pub enum RootState {
    /// Nothing, or an empty directory: [`Root::create`] may make it.
    Fresh,
    /// A directory with something in it and without a marker, perhaps another tool's Maildir.
    Foreign(Root),
    /// This account's Maildir, and its marker.
    Ours(Root, RootMarker),
    /// Another account's or another state directory's Maildir.
    Theirs(Root, RootMarker),
    /// It cannot be used; the reason names the remedy.
    Unavailable(Unavailable),
}

impl Root {
    /// Looks at the root and opens it. The path itself may be a symbolic link of the owner's.
    ///
    /// Errors are those of the system that say nothing about the Maildir.
    pub fn open(path: &Path, us: &Owner, expected: Expected) -> Result<RootState, Error> {
        match look(path, us, expected) {
            Err(Error::Unavailable(reason)) => Ok(RootState::Unavailable(reason)),
            found => found,
        }
    }

    /// Makes the root and the directories that lead there, each with mode 0700 if it is not there, and opens it.
    ///
    /// The root has no marker yet: [`Root::write_marker`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        match Dir::open_path(path) {
            Ok(dir) => Ok(Self { dir: Arc::new(dir) }),
            Err(Errno::NOENT) if made_for_us(path)? => {
                let dir = Dir::open_path(path).map_err(|_| Unavailable::OutOfBounds)?;
                Ok(Self { dir: Arc::new(dir) })
            }
            Err(Errno::NOENT) => {
                let missing = || Error::from(Unavailable::RootMissing);
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().ok_or_else(missing)?;
                let parent = Self::create(parent)?;
                let dir = parent.dir.make_dir("maildir.root", name.as_encoded_bytes())?;
                Ok(Self { dir: Arc::new(dir) })
            }
            Err(e) => Err(Error::new("opening the Maildir", path.as_os_str().as_encoded_bytes(), e)),
        }
    }

    /// Writes the marker, durably.
    pub fn write_marker(&self, marker: &RootMarker) -> Result<(), Error> {
        marker.write(&self.dir)
    }

    /// Takes the marker away, durably. The Maildir is nobody's from then on.
    pub fn unmark(&self) -> Result<(), Error> {
        RootMarker::remove(&self.dir)
    }

    /// Reads the marker again.
    pub fn marker(&self) -> Result<Option<RootMarker>, Error> {
        RootMarker::read(&self.dir)
    }
}

fn look(path: &Path, us: &Owner, expected: Expected) -> Result<RootState, Error> {
    let dir = match Dir::open_path(path) {
        Ok(dir) => dir,
        // A dangling link is a disk that is not there.
        Err(Errno::NOENT) if expected == Expected::Anything && path.symlink_metadata().is_err() => {
            return Ok(RootState::Fresh);
        }
        Err(Errno::NOENT) => return Err(Unavailable::RootMissing.into()),
        Err(Errno::NOTDIR) => return Err(Unavailable::NotADirectory.into()),
        Err(Errno::ACCESS) => return Err(Unavailable::ReadOnly.into()),
        Err(e) => return Err(Error::new("opening the Maildir", path.as_os_str().as_encoded_bytes(), e)),
    };
    let stat = dir.own_stat()?;
    if kind(&stat) != FileType::Directory {
        return Err(Unavailable::NotADirectory.into());
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Unavailable::OtherOwner(stat.st_uid).into());
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Unavailable::OpenToOthers(stat.st_mode & 0o7777).into());
    }
    if !dir.is_writable() {
        return Err(Unavailable::ReadOnly.into());
    }
    let root = Root { dir: Arc::new(dir) };
    match root.marker()? {
        Some(marker) if marker.owner == *us => Ok(RootState::Ours(root, marker)),
        Some(marker) => Ok(RootState::Theirs(root, marker)),
        None if expected == Expected::Marker => Err(Unavailable::RootMarkerMissing.into()),
        None => {
            // A fresh file system has lost+found; what begins with a dot is a desktop's, or a draft of our marker,
            // unless it is a folder of Maildir++.
            let is_nothing = |name: &[u8]| name == b"lost+found" || name.starts_with(b".");
            let entries = root.dir.list()?.entries;
            let empty = entries.iter().all(|e| is_nothing(&e.name) && !is_maildir(&root.dir, &e.name));
            Ok(if empty { RootState::Fresh } else { RootState::Foreign(root) })
        }
    }
}

/// Whether the monitor made it, where this process may not.
fn made_for_us(path: &Path) -> Result<bool, Error> {
    let failed = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::new("making the Maildir", path.as_os_str().as_encoded_bytes(), errno)
    };
    monitor::make_root(path).map_err(failed)
}

fn is_maildir(dir: &Dir, name: &[u8]) -> bool {
    dir.open_dir(name).is_ok_and(|d| d.open_dir(b"cur").is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::StateId;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn us() -> Owner {
        Owner { account: "work".into(), state: StateId::new([7; 16]) }
    }

    fn open(path: &Path, expected: Expected) -> RootState {
        Root::open(path, &us(), expected).expect("it can be looked at")
    }

    fn refused(path: &Path, expected: Expected) -> Unavailable {
        match open(path, expected) {
            RootState::Unavailable(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_or_empty_root_is_fresh_only_before_the_first_pass() {
        let tmp = tempfile::tempdir().expect("a directory");
        let path = tmp.path().join("Mail/work");
        assert!(matches!(open(&path, Expected::Anything), RootState::Fresh));
        assert_eq!(refused(&path, Expected::Marker), Unavailable::RootMissing);
        let root = Root::create(&path).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        assert!(matches!(open(&path, Expected::Anything), RootState::Fresh));
        assert_eq!(refused(&path, Expected::Marker), Unavailable::RootMarkerMissing);
        let ours = RootMarker { owner: us(), place: "/state".into(), generation: 3 };
        root.write_marker(&ours).expect("written");
        assert!(matches!(open(&path, Expected::Marker), RootState::Ours(_, marker) if marker == ours));
        assert!(matches!(open(&path, Expected::Anything), RootState::Ours(_, marker) if marker == ours));
    }

    #[test]
    fn a_root_of_others_is_left_alone() {
        let tmp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(tmp.path().join("INBOX/cur")).expect("made");
        assert!(matches!(open(tmp.path(), Expected::Anything), RootState::Foreign(_)));
        let owner = Owner { account: "home".into(), ..us() };
        let theirs = RootMarker { owner, place: "/state".into(), generation: 1 };
        Root::create(tmp.path()).expect("open").write_marker(&theirs).expect("written");
        match open(tmp.path(), Expected::Marker) {
            RootState::Theirs(_, marker) => assert_eq!(marker, theirs),
            other => panic!("{other:?}"),
        }
        std::fs::write(tmp.path().join("mailtwin-root"), "{").expect("written");
        assert_eq!(refused(tmp.path(), Expected::Marker), Unavailable::MarkerDamaged("mailtwin-root"));
    }

    #[test]
    fn a_maildir_plus_plus_without_inbox_is_not_empty() {
        let tmp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(tmp.path().join(".notmuch/xapian")).expect("made");
        std::fs::create_dir_all(tmp.path().join("lost+found")).expect("made");
        assert!(matches!(open(tmp.path(), Expected::Anything), RootState::Fresh));
        std::fs::create_dir_all(tmp.path().join(".Sent/cur")).expect("made");
        assert!(matches!(open(tmp.path(), Expected::Anything), RootState::Foreign(_)));
    }

    #[test]
    fn what_others_could_write_to_and_what_is_no_directory_is_refused() {
        let tmp = tempfile::tempdir().expect("a directory");
        for mode in [0o770, 0o702, 0o777] {
            std::fs::set_permissions(tmp.path(), PermissionsExt::from_mode(mode)).expect("set");
            assert_eq!(refused(tmp.path(), Expected::Anything), Unavailable::OpenToOthers(mode));
        }
        std::fs::set_permissions(tmp.path(), PermissionsExt::from_mode(0o755)).expect("set");
        let (file, dangling, link) = (tmp.path().join("file"), tmp.path().join("dangling"), tmp.path().join("link"));
        std::fs::write(&file, "").expect("written");
        assert_eq!(refused(&file, Expected::Anything), Unavailable::NotADirectory);
        symlink(tmp.path().join("nothing"), &dangling).expect("made");
        assert_eq!(refused(&dangling, Expected::Anything), Unavailable::RootMissing);
        // The owner's own link to where the mail lies is followed.
        std::fs::create_dir(tmp.path().join("real")).expect("made");
        symlink(tmp.path().join("real"), &link).expect("made");
        assert!(matches!(open(&link, Expected::Anything), RootState::Fresh));
    }
}
