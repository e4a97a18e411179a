//! Moving the directories of mailboxes, and removing empty ones.
//!
//! Nothing here is copied and no message touched: a directory gets another name, or its parts do. Each function may be
//! repeated after a crash at any step.

use crate::mail::escape;
use crate::maildir::dir::Dir;
use crate::maildir::folder::{discover, is_whole, open_dir};
use crate::maildir::marker::FOLDER_MARKER;
use crate::maildir::{Error, Folder, FolderMarker, Layout, LocalPath, Root, Unavailable};
use std::collections::BTreeSet;

/// What of a directory belongs to the mailbox; the marker last, so that it is where the rest is.
const PARTS: [&str; 4] = ["tmp", "new", "cur", FOLDER_MARKER];

/// Sees to it that the folder of a mailbox lies at `to`, from wherever it is now: `from`, or where its marker is found.
///
/// `whole`: the directory moves with all that lies in it, else what belongs to the mailbox alone. Its place may be that of
/// another mailbox in `leaving`, which is about to move itself: then the two are exchanged. The name in the marker becomes
/// that of `marker`.
///
/// # Errors
/// [`Error::Exists`] when something else is in its place, [`Unavailable::FolderMissing`] when it is found nowhere.
pub fn relocate(
    root: &Root,
    layout: Layout,
    marker: &FolderMarker,
    (from, to): (&LocalPath, &LocalPath),
    whole: bool,
    leaving: &BTreeSet<u32>,
) -> Result<Folder, Error> {
    if !is_of(root, to, marker)? {
        let at = match is_of(root, from, marker)? {
            true => from.clone(),
            false => find(root, layout, marker)?.ok_or(Unavailable::FolderMissing)?,
        };
        shift(root, &at, to, whole, marker, leaving)?;
    }
    let folder = Folder::open(root, to)?;
    folder.mark(marker)?;
    Ok(folder)
}

/// Removes the folder of a mailbox if no message is in it; tells whether it is gone. What else lies in its directory stays.
///
/// # Errors
/// [`Unavailable::FolderMarkerOther`] when it is another mailbox's.
pub fn remove_folder(root: &Root, path: &LocalPath, marker: &FolderMarker) -> Result<bool, Error> {
    let Some((parent, name)) = split(root, path)? else { return Ok(false) };
    let folder = match parent.open_dir(name.as_bytes()) {
        Err(error) if error.is_missing() => return Ok(true),
        found => found?,
    };
    match FolderMarker::read(&folder)? {
        Some(found) if (found.id, found.state) != (marker.id, marker.state) => {
            return Err(Unavailable::FolderMarkerOther { id: found.id, state: found.state }.into());
        }
        Some(_) => {}
        // Somebody else's, or what a crash left of ours.
        None if is_whole(&folder)? => return Err(Unavailable::FolderMarkerMissing.into()),
        None => {}
    }
    for part in ["new", "cur", "tmp"] {
        match folder.open_dir(part.as_bytes()) {
            Err(error) if error.is_missing() => {}
            found => {
                if !found?.list()?.entries.is_empty() {
                    return Ok(false);
                }
            }
        }
    }
    for part in ["new", "cur", "tmp"] {
        if !folder.remove_dir("maildir.folder-remove", part.as_bytes())? {
            // Mail came in this moment: it is a mailbox again.
            for part in ["tmp", "new", "cur"] {
                folder.make_dir("maildir.folder", part.as_bytes())?;
            }
            return Ok(false);
        }
    }
    if folder.stat(FOLDER_MARKER.as_bytes())?.is_some() {
        folder.unlink("maildir.marker-remove", FOLDER_MARKER.as_bytes())?;
    }
    folder.sync()?;
    parent.remove_dir("maildir.folder-remove", name.as_bytes())?;
    parent.sync()?;
    Ok(true)
}

/// Tells whether the directory there has the marker.
fn is_of(root: &Root, path: &LocalPath, marker: &FolderMarker) -> Result<bool, Error> {
    match open_dir(root, path) {
        Err(Error::Unavailable(Unavailable::FolderMissing)) => Ok(false),
        found => Ok(marker_in(&found?)?.is_some_and(|found| (found.id, found.state) == (marker.id, marker.state))),
    }
}

/// The marker of a directory; a damaged one is nobody's.
fn marker_in(dir: &Dir) -> Result<Option<FolderMarker>, Error> {
    match FolderMarker::read(dir) {
        Err(Error::Unavailable(_)) => Ok(None),
        found => found,
    }
}

fn find(root: &Root, layout: Layout, marker: &FolderMarker) -> Result<Option<LocalPath>, Error> {
    for path in discover(root, layout)? {
        if is_of(root, &path, marker)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Opens the directory in which a folder lies, made if it is not there; `None` for the root, which never moves.
fn split<'p>(root: &Root, path: &'p LocalPath) -> Result<Option<(Dir, &'p str)>, Error> {
    let mut components: Vec<&str> = path.components().collect();
    let Some(name) = components.pop() else { return Ok(None) };
    let mut dir = root.dir.open_dir(b".")?;
    for component in components {
        dir = dir.make_dir("maildir.folder", component.as_bytes())?;
    }
    Ok(Some((dir, name)))
}

fn shift(
    root: &Root,
    at: &LocalPath,
    to: &LocalPath,
    whole: bool,
    marker: &FolderMarker,
    leaving: &BTreeSet<u32>,
) -> Result<(), Error> {
    let exists = || Error::Exists { name: escape(to.as_str()) };
    let (Some((from_dir, from)), Some((to_dir, name))) = (split(root, at)?, split(root, to)?) else {
        return Err(exists());
    };
    let into_itself = to.as_str().strip_prefix(at.as_str()).is_some_and(|rest| rest.starts_with('/'));
    match to_dir.stat(name.as_bytes())? {
        None if whole && !into_itself => {
            from_dir.rename_dir("maildir.folder-move", from.as_bytes(), &to_dir, name.as_bytes())?;
        }
        None => {
            let target = to_dir.make_dir("maildir.folder", name.as_bytes())?;
            shift_parts(&from_dir.open_dir(from.as_bytes())?, &target)?;
            from_dir.remove_dir("maildir.folder-remove", from.as_bytes())?;
        }
        Some(_) => {
            let target = to_dir.open_dir(name.as_bytes())?;
            match marker_in(&target)? {
                Some(found) if found.state == marker.state && leaving.contains(&found.id) && whole => {
                    from_dir.exchange("maildir.folder-exchange", from.as_bytes(), &to_dir, name.as_bytes())?;
                }
                // A directory that only holds others, or what a crash left half moved.
                None if !is_whole(&target)? || !holds_mail(&from_dir.open_dir(from.as_bytes())?)? => {
                    shift_parts(&from_dir.open_dir(from.as_bytes())?, &target)?;
                    from_dir.remove_dir("maildir.folder-remove", from.as_bytes())?;
                }
                _ => return Err(exists()),
            }
        }
    }
    from_dir.sync()?;
    to_dir.sync()
}

/// Tells whether any part of a Maildir is there.
fn holds_mail(dir: &Dir) -> Result<bool, Error> {
    let mut holds = false;
    for part in ["cur", "new", "tmp"] {
        holds |= dir.stat(part.as_bytes())?.is_some();
    }
    Ok(holds)
}

fn shift_parts(from: &Dir, to: &Dir) -> Result<(), Error> {
    for part in PARTS {
        if from.stat(part.as_bytes())?.is_some() {
            from.rename_dir("maildir.folder-move", part.as_bytes(), to, part.as_bytes())?;
        }
    }
    to.sync()?;
    from.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::folder::tests::{marker, path, root};
    use std::os::unix::fs::MetadataExt as _;

    fn make(root: &Root, at: &str, id: u32) -> u64 {
        let folder = Folder::create(root, &path(at), &marker(id)).expect("made");
        folder.inode().expect("known").number
    }

    fn moved(root: &Root, id: u32, from: &str, to: &str, whole: bool, leaving: &[u32]) -> Result<Folder, Error> {
        let leaving = leaving.iter().copied().collect();
        relocate(root, Layout::Nested, &marker(id), (&path(from), &path(to)), whole, &leaving)
    }

    #[test]
    fn a_folder_moves_with_all_that_lies_in_it_and_twice_is_once() {
        let (tmp, root) = root();
        make(&root, "A", 1);
        let child = make(&root, "A/x", 2);
        std::fs::write(tmp.path().join("A/dovecot-keywords"), "0 work\n").expect("written");
        for _ in 0..2 {
            moved(&root, 1, "A", "New/B", true, &[]).expect("moved").check(&marker(1)).expect("ours");
            moved(&root, 2, "A/x", "New/B/x", true, &[]).expect("moved along").check(&marker(2)).expect("ours");
        }
        assert!(!tmp.path().join("A").exists() && tmp.path().join("New/B/dovecot-keywords").exists());
        assert_eq!(std::fs::metadata(tmp.path().join("New/B/x")).expect("there").ino(), child);
    }

    #[test]
    fn one_whose_children_stay_moves_alone_and_may_stop_anywhere() {
        for stop in 0..=PARTS.len() {
            let (tmp, root) = root();
            make(&root, "A", 1);
            make(&root, "A/x", 2);
            std::fs::create_dir_all(tmp.path().join("B/y")).expect("made");
            // A crash came after so many parts.
            for part in &PARTS[..stop] {
                std::fs::rename(tmp.path().join("A").join(part), tmp.path().join("B").join(part)).expect("moved");
            }
            moved(&root, 1, "A", "B", false, &[]).expect("moved").check(&marker(1)).expect("ours");
            Folder::open(&root, &path("A/x")).expect("it stayed").check(&marker(2)).expect("ours");
            assert!(!tmp.path().join("A/cur").exists());
        }
    }

    #[test]
    fn two_are_exchanged_and_a_stranger_is_not_pushed_aside() {
        let (tmp, root) = root();
        let (a, b) = (make(&root, "A", 1), make(&root, "B", 2));
        assert!(matches!(moved(&root, 1, "A", "B", true, &[]), Err(Error::Exists { .. })));
        moved(&root, 1, "A", "B", true, &[1, 2]).expect("moved");
        moved(&root, 2, "B", "A", true, &[1, 2]).expect("moved");
        let inode = |name: &str| std::fs::metadata(tmp.path().join(name)).expect("there").ino();
        assert_eq!((inode("A"), inode("B")), (b, a));
        // Three in a ring, whatever the first step left behind.
        make(&root, "C", 3);
        for (id, from, to) in [(1, "B", "C"), (3, "C", "A"), (2, "A", "B")] {
            moved(&root, id, from, to, true, &[1, 2, 3]).expect("moved").check(&marker(id)).expect("ours");
        }
        std::fs::create_dir_all(tmp.path().join("D/cur")).expect("made");
        std::fs::create_dir_all(tmp.path().join("D/new")).expect("made");
        std::fs::create_dir_all(tmp.path().join("D/tmp")).expect("made");
        assert!(matches!(moved(&root, 1, "C", "D", true, &[1]), Err(Error::Exists { .. })));
        assert!(matches!(moved(&root, 9, "X", "Y", true, &[]), Err(Error::Unavailable(Unavailable::FolderMissing))));
    }

    #[test]
    fn a_folder_with_mail_is_not_removed_and_an_empty_one_goes_alone() {
        let (tmp, root) = root();
        make(&root, "A", 1);
        make(&root, "A/x", 2);
        let remove = |id| remove_folder(&root, &path("A"), &marker(id));
        assert!(matches!(remove(7), Err(Error::Unavailable(Unavailable::FolderMarkerOther { id: 1, .. }))));
        for part in ["cur", "new", "tmp"] {
            let file = tmp.path().join("A").join(part).join("1.a");
            std::fs::write(&file, "mail").expect("written");
            assert_eq!(remove(1), Ok(false), "{part}");
            std::fs::remove_file(file).expect("removed");
        }
        // A crash came in the middle.
        std::fs::remove_dir(tmp.path().join("A/new")).expect("removed");
        for _ in 0..2 {
            assert_eq!(remove(1), Ok(true));
        }
        let left: Vec<_> = std::fs::read_dir(tmp.path().join("A")).expect("listed").flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(remove_folder(&root, &path("A/x"), &marker(2)), Ok(true));
        assert_eq!(remove_folder(&root, &LocalPath::root(), &marker(2)), Ok(false));
    }
}
