//! A file goes from one folder to another, as it is: its base name and its inode stay, so that readers know it again.

use crate::mail::BaseName;
use crate::maildir::scan::ScannedFile;
use crate::maildir::{Error, Folder};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What became of a file that was to be moved to another folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Handover {
    /// It is there, under this name; durable.
    Done(ScannedFile),
    /// It is not where it was: a reader was faster.
    Gone,
}

/// When a file was written and when it was last named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileTimes {
    /// The time that the file carries: of a message, its date.
    pub modified: SystemTime,
    /// When it appeared under its name, at the latest.
    pub changed: SystemTime,
}

/// So often a message is looked for again before the next pass may try.
const TRIES: usize = 3;

/// Moves a message to another folder under the base name `name`, its letters kept, and makes that durable in both.
///
/// What was in `new` stays in `new`. [`Error::Exists`]: the name is taken there, and nothing was changed.
pub fn hand_over(
    from: &Folder,
    base: &BaseName,
    known: &ScannedFile,
    to: &Folder,
    name: &BaseName,
) -> Result<Handover, Error> {
    let mut file = known.clone();
    for _ in 0..TRIES {
        let file_name = renamed(base, &file, name);
        match from.subdir(file.subdir).rename("maildir.move", &file.file_name, to.subdir(file.subdir), &file_name) {
            Err(error) if error.is_missing() => match from.find(base)? {
                Some(found) => file = found,
                None => return Ok(Handover::Gone),
            },
            Err(error) => return Err(error),
            Ok(()) => {
                // The new name first: for a moment both may be on the disk, but never neither.
                to.sync()?;
                from.sync()?;
                return Ok(Handover::Done(ScannedFile { file_name, ..file }));
            }
        }
    }
    Ok(Handover::Gone)
}

/// The file name under another base name: what stands behind that is taken along.
fn renamed(base: &BaseName, file: &ScannedFile, name: &BaseName) -> Box<[u8]> {
    let info = file.file_name.strip_prefix(base.as_bytes()).unwrap_or_default();
    [name.as_bytes(), info].concat().into()
}

impl ScannedFile {
    /// Tells whether the name has letters of keywords: each folder has a table of its own for them.
    pub fn has_keyword_letters(&self) -> bool {
        let info = memchr::memmem::rfind(&self.file_name, b":2,").map_or(&[][..], |at| &self.file_name[at..]);
        info.iter().any(u8::is_ascii_lowercase)
    }
}

impl Folder {
    /// The times of a message's file; `None` if it is no longer called that.
    pub fn file_times(&self, file: &ScannedFile) -> Result<Option<FileTimes>, Error> {
        let Some(stat) = self.subdir(file.subdir).stat(&file.file_name)? else { return Ok(None) };
        let at = |secs: i64| {
            let span = Duration::from_secs(secs.unsigned_abs());
            if secs < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
        };
        Ok(Some(FileTimes { modified: at(stat.st_mtime), changed: at(stat.st_ctime) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::deliver::tests::{base, deliver};
    use crate::maildir::folder::tests::inbox;
    use crate::maildir::{FolderMarker, LocalPath};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    fn archive(root: &crate::maildir::Root, inbox: &Folder) -> Folder {
        let marker = inbox.marker().expect("readable").expect("it has one");
        let marker = FolderMarker { id: marker.id + 1, ..marker };
        Folder::create(root, &LocalPath::new("Archive").expect("a path"), &marker).expect("made")
    }

    fn inode(path: &Path) -> u64 {
        path.metadata().expect("it is there").ino()
    }

    #[test]
    fn a_moved_file_keeps_its_name_its_letters_and_its_inode() {
        let (tmp, root, from) = inbox();
        let to = archive(&root, &from);
        for (was, is) in [("new/1.a", "new/1.a"), ("cur/1.a:2,FSx", "cur/1.a:2,FSx")] {
            let file = deliver(&from, "1.a", "", "x\n");
            let path = |folder: &str, name: &str| tmp.path().join(folder).join(name);
            // A reader was faster, in the second round.
            std::fs::rename(path("INBOX", "new/1.a"), path("INBOX", was)).expect("renamed");
            let number = inode(&path("INBOX", was));
            let moved = hand_over(&from, &base("1.a"), &file, &to, &base("1.a")).expect("moved");
            assert!(matches!(moved, Handover::Done(_)));
            assert_eq!(inode(&path("Archive", is)), number);
            assert!(!path("INBOX", was).exists());
            std::fs::remove_file(path("Archive", is)).expect("removed");
        }
    }

    #[test]
    fn another_base_name_takes_the_letters_along() {
        let (tmp, root, from) = inbox();
        let to = archive(&root, &from);
        deliver(&from, "1.a", "", "x\n");
        let dir = tmp.path();
        std::fs::rename(dir.join("INBOX/new/1.a"), dir.join("INBOX/cur/1.a:2,Sx")).expect("renamed");
        let file = from.scan().expect("scanned").files.remove(&base("1.a")).expect("it is there");
        hand_over(&from, &base("1.a"), &file, &to, &base("2.b")).expect("moved");
        assert!(dir.join("Archive/cur/2.b:2,Sx").exists());
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone_and_a_file_that_is_gone_is_told() {
        let (tmp, root, from) = inbox();
        let to = archive(&root, &from);
        let file = deliver(&from, "1.a", "", "mine\n");
        deliver(&to, "1.a", "", "theirs\n");
        assert!(matches!(hand_over(&from, &base("1.a"), &file, &to, &base("1.a")), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(tmp.path().join("Archive/new/1.a")).expect("read"), b"theirs\n");
        std::fs::remove_file(tmp.path().join("INBOX/new/1.a")).expect("removed");
        assert_eq!(hand_over(&from, &base("1.a"), &file, &to, &base("2.b")), Ok(Handover::Gone));
    }
}
