//! A Maildir that another program filled, or another state of ours: what lies there, and taking it over.

use crate::maildir::folder::discover;
use crate::maildir::marker::FOLDER_MARKER;
use crate::maildir::{Error, Folder, FolderMarker, Layout, LocalPath, Root};
use rustix::fs::FileType;
use std::collections::BTreeSet;

/// What lies in a root that has no marker of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// Nothing but Maildirs, and the programs that left their own files among them.
    Maildirs(BTreeSet<&'static str>),
    /// Something that has no business in a Maildir, by its name: perhaps it is somebody's home.
    Other(Box<[u8]>),
}

/// Files that a program keeps in each Maildir that it synchronises: their beginning, and the program.
const STATES: [(&[u8], &str); 3] =
    [(b".mbsyncstate", "mbsync"), (b".uidvalidity", "mbsync"), (b".isyncuidmap.db", "mbsync")];
/// What OfflineIMAP writes into every name.
const OFFLINEIMAP: &[u8] = b",FMD5=";
/// What IMAP servers and readers leave at the top of a Maildir.
const HARMLESS: [&[u8]; 5] = [b"dovecot", b"courierimap", b"subscriptions", b"maildirfolder", b"lost+found"];

/// Looks at a root without a marker.
pub fn foreign(root: &Root, layout: Layout) -> Result<Foreign, Error> {
    let paths = discover(root, layout)?;
    let tops: BTreeSet<&str> = paths.iter().filter_map(|path| path.components().next()).collect();
    let is_maildir = paths.iter().any(|path| *path == LocalPath::root());
    for entry in root.dir.list()?.entries {
        let is_part = is_maildir && matches!(&*entry.name, b"cur" | b"new" | b"tmp");
        let is_top = is_part || std::str::from_utf8(&entry.name).is_ok_and(|name| tops.contains(name));
        let is_harmless = entry.name.starts_with(b".") || HARMLESS.iter().any(|known| entry.name.starts_with(known));
        let is_way_to_mail = entry.kind == FileType::Directory && is_top;
        if !is_harmless && !is_way_to_mail {
            return Ok(Foreign::Other(entry.name));
        }
    }
    let mut programs = BTreeSet::new();
    for path in &paths {
        let folder = Folder::open(root, path)?;
        let entries = folder.dirs.folder.list()?.entries;
        for (beginning, program) in STATES {
            if entries.iter().any(|entry| entry.name.starts_with(beginning)) {
                programs.insert(program);
            }
        }
        let is_offlineimaps = |name: &[u8]| name.windows(OFFLINEIMAP.len()).any(|part| part == OFFLINEIMAP);
        for part in [&folder.dirs.new, &folder.dirs.cur] {
            if part.list()?.entries.iter().any(|entry| is_offlineimaps(&entry.name)) {
                programs.insert("OfflineIMAP");
            }
        }
    }
    Ok(Foreign::Maildirs(programs))
}

/// Takes the markers off those folders that `keep` does not know, so that they can get new ones. No mail is touched.
pub fn release(root: &Root, layout: Layout, keep: impl Fn(&LocalPath, &FolderMarker) -> bool) -> Result<(), Error> {
    for path in discover(root, layout)? {
        let folder = Folder::open(root, &path)?;
        if folder.marker()?.is_some_and(|marker| !keep(&path, &marker)) {
            folder.dirs.folder.unlink("maildir.marker-release", FOLDER_MARKER.as_bytes())?;
            folder.dirs.folder.sync()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::folder::tests::inbox;

    fn make(root: &std::path::Path, folder: &str) {
        for part in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(root.join(folder).join(part)).expect("made");
        }
    }

    #[test]
    fn maildirs_alone_can_be_taken_over_and_a_home_cannot() {
        let tmp = tempfile::tempdir().expect("a directory");
        let root = Root::create(tmp.path()).expect("open");
        let look = || foreign(&root, Layout::Nested).expect("looked");
        make(tmp.path(), "INBOX");
        make(tmp.path(), "Work/2026");
        std::fs::write(tmp.path().join(".notmuch-config"), "").expect("written");
        assert_eq!(look(), Foreign::Maildirs(BTreeSet::new()));
        std::fs::write(tmp.path().join("INBOX/.mbsyncstate"), "").expect("written");
        std::fs::write(tmp.path().join("Work/2026/cur/1_0.2.host,U=1,FMD5=7e33429f:2,S"), "").expect("written");
        assert_eq!(look(), Foreign::Maildirs(["OfflineIMAP", "mbsync"].into()));
        std::fs::create_dir(tmp.path().join("Documents")).expect("made");
        assert_eq!(look(), Foreign::Other(b"Documents".to_vec().into()));
        std::fs::remove_dir(tmp.path().join("Documents")).expect("removed");
        std::fs::write(tmp.path().join("notes.txt"), "").expect("written");
        assert_eq!(look(), Foreign::Other(b"notes.txt".to_vec().into()));
        std::fs::remove_file(tmp.path().join("notes.txt")).expect("removed");
        // A root that is a Maildir itself: it is one in the layout that has such, and there alone.
        make(tmp.path(), ".");
        assert!(matches!(look(), Foreign::Other(_)));
        let tmp = tempfile::tempdir().expect("a directory");
        let root = Root::create(tmp.path()).expect("open");
        make(tmp.path(), ".");
        make(tmp.path(), ".Work.2026");
        std::fs::write(tmp.path().join(".Work.2026/.uidvalidity"), "").expect("written");
        let look = || foreign(&root, Layout::MaildirPlusPlus).expect("looked");
        assert_eq!(look(), Foreign::Maildirs(["mbsync"].into()));
        std::fs::create_dir(tmp.path().join("Documents")).expect("made");
        assert_eq!(look(), Foreign::Other(b"Documents".to_vec().into()));
    }

    #[test]
    fn only_the_markers_that_nobody_knows_are_taken_off() {
        let (tmp, root, folder) = inbox();
        let marker = folder.marker().expect("read").expect("there");
        std::fs::write(tmp.path().join("INBOX/cur/1.a:2,S"), "text").expect("written");
        release(&root, Layout::Nested, |_, found| *found == marker).expect("released");
        assert_eq!(folder.marker().expect("read"), Some(marker));
        release(&root, Layout::Nested, |_, _| false).expect("released");
        assert_eq!(folder.marker().expect("read"), None);
        assert_eq!(std::fs::read(tmp.path().join("INBOX/cur/1.a:2,S")).expect("there"), b"text");
    }
}
