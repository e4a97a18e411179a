//! Bringing a kept body back into a folder, byte by byte, under the name that it had.
//!
//! The surprise: it is a copy, not a link. What happens to the file afterwards does not reach what is kept.

use crate::mail::{BaseName, Fingerprint, Fingerprinter, Flags, SpecialUse};
use crate::maildir::retention::{Kept, Retention};
use crate::maildir::scan::Subdir;
use crate::maildir::{Error, Folder, place};
use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Write as _};

/// What became of a restoration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restored {
    /// The message is in the folder, durably but for its name, which [`Folder::sync`] makes durable.
    Done,
    /// What is kept under that name is another message; nothing was changed.
    Another,
}

/// Copies a kept body into the folder under the name `base`, with these flags and the date that it has. `look`: what it has
/// to look like, if that is known.
///
/// # Errors
/// [`Error::Exists`] if the folder has a file of that name and with these flags already; it is left alone.
pub fn restore(
    folder: &Folder,
    (retention, kept): (&Retention, &Kept),
    base: &BaseName,
    flags: &Flags,
    role: Option<SpecialUse>,
    look: Option<&Fingerprint>,
) -> Result<Restored, Error> {
    let mut body = retention.open_kept(kept)?;
    let tmp = &folder.dirs.tmp;
    if tmp.stat(base.as_bytes())?.is_some() {
        tmp.unlink("maildir.draft-sweep", base.as_bytes())?;
    }
    let mut draft = tmp.create("maildir.draft", base.as_bytes())?;
    let copied = copy(&mut body, &mut draft);
    let withdraw = || tmp.unlink("maildir.draft-drop", base.as_bytes());
    let print_of_copy = match copied {
        Ok(found) => found,
        Err(error) => {
            // A full disk must not stay full because of us.
            withdraw()?;
            return Err(Error::io("bringing a message back", &error));
        }
    };
    if look.is_some_and(|look| *look != print_of_copy) {
        withdraw()?;
        return Ok(Restored::Another);
    }
    let letters = folder.letters();
    let (subdir, file_name) = match place(&letters, flags, role) {
        Subdir::New => (Subdir::New, base.as_bytes().to_vec()),
        Subdir::Cur => (Subdir::Cur, letters.name(base, flags)),
    };
    if let Err(error) = tmp.rename("maildir.restore", base.as_bytes(), folder.subdir(subdir), &file_name) {
        withdraw()?;
        return Err(error);
    }
    Ok(Restored::Done)
}

fn copy(body: &mut File, draft: &mut File) -> io::Result<Fingerprint> {
    let mut fingerprinter = Fingerprinter::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            count => {
                fingerprinter.update(&buffer[..count]);
                draft.write_all(&buffer[..count])?;
            }
        }
    }
    draft.set_times(FileTimes::new().set_modified(body.metadata()?.modified()?))?;
    draft.sync_all()?;
    Ok(fingerprinter.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::deliver::tests::{base, deliver};
    use crate::maildir::folder::tests::inbox;
    use crate::maildir::{Removal, remove};
    use std::os::unix::fs::MetadataExt as _;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_was_removed_comes_back_as_it_was() {
        let (tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "work").expect("open");
        let file = deliver(&folder, "1.a", "\\Seen", "text\n");
        let at = UNIX_EPOCH + Duration::from_secs(99);
        let before = std::fs::metadata(tmp.path().join("INBOX/cur/1.a:2,S")).expect("there");
        let removal = Removal { base: base("1.a"), known: file };
        assert!(remove(&folder, &[removal], &retention, 7, at).iter().all(Result::is_ok));
        let kept = retention.list().expect("listed").pop().expect("one");
        assert!(kept.is_of(7, &base("1.a")) && !kept.is_of(7, &base("1")) && !kept.is_of(8, &base("1.a")));
        let from = (&retention, &kept);
        let flags = Flags::parse("\\Seen \\Flagged");
        let other = crate::mail::fingerprint::of(b"other\n");
        let back = restore(&folder, from, &base("1.a"), &flags, None, Some(&other)).expect("read");
        assert_eq!((back, folder.scan().expect("scanned").files.len()), (Restored::Another, 0));
        let look = crate::mail::fingerprint::of(b"text\n");
        assert_eq!(restore(&folder, from, &base("1.a"), &flags, None, Some(&look)), Ok(Restored::Done));
        let after = std::fs::metadata(tmp.path().join("INBOX/cur/1.a:2,FS")).expect("there");
        assert_eq!((after.mtime(), after.len()), (before.mtime(), before.len()));
        assert_ne!(after.ino(), before.ino());
        // A second time it is there already, and no draft is left.
        let again = restore(&folder, from, &base("1.a"), &flags, None, None);
        assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
        assert_eq!(std::fs::read_dir(tmp.path().join("INBOX/tmp")).expect("listed").count(), 0);
    }
}
