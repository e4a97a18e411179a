//! Changing flags and removing messages while readers rename the same files.
//!
//! A file name is a belief. When the file is no longer called that, a reader was faster: the message is looked up once
//! more, and what the reader did is given back to be merged, never overwritten.
//!
//! Nothing here is durable before [`Folder::sync`]: a batch pays for one.

use crate::mail::{BaseName, FlagChange, Flags, Storable};
use crate::maildir::scan::{ScannedFile, Subdir};
use crate::maildir::{Error, FileName, Folder, Letters, Retention};
use std::time::SystemTime;

/// What became of a change of flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The message has the flags that were asked for, under this name.
    Done(ScannedFile),
    /// The message has other flags than were expected: merge again. Nothing was changed.
    Moved(ScannedFile),
    /// The message is in no directory of the folder. That alone is no deletion.
    Gone,
}

/// So often a message is looked for again before the next pass may try.
const TRIES: usize = 3;

/// Changes the flags of a message by renaming it, if they are still the expected ones.
///
/// Letters without a meaning for us stay. A message in `new` that is renamed goes to `cur`; none ever goes back.
/// Flags that have no letter are left out of `expected` and `change`: [`Folder::learn`] gives letters to keywords.
pub fn set_flags(
    folder: &Folder,
    base: &BaseName,
    known: &ScannedFile,
    expected: &Flags,
    change: &FlagChange,
) -> Result<Changed, Error> {
    let letters = folder.letters();
    let storable = Storable { any_keyword: false, ..letters.storable() };
    let expected = storable.part_of(expected);
    let mut file = known.clone();
    for _ in 0..TRIES {
        if file.flags != expected {
            return Ok(Changed::Moved(file));
        }
        let flags = storable.part_of(&change.apply(&file.flags));
        match rename(folder, &letters, base, &file, &flags) {
            Err(error) if error.is_missing() => match folder.find(base)? {
                Some(found) => file = found,
                None => return Ok(Changed::Gone),
            },
            done => return done.map(Changed::Done),
        }
    }
    Ok(Changed::Moved(file))
}

fn rename(
    folder: &Folder,
    letters: &Letters,
    base: &BaseName,
    file: &ScannedFile,
    flags: &Flags,
) -> Result<ScannedFile, Error> {
    let from = folder.subdir(file.subdir);
    if *flags == file.flags {
        let missing = || Error::new("looking at a message", &file.file_name, rustix::io::Errno::NOENT);
        return from.stat(&file.file_name)?.map(|_| file.clone()).ok_or_else(missing);
    }
    let Some(name) = FileName::parse(&file.file_name) else { return Ok(file.clone()) };
    let file_name = letters.renamed(base, &name, &file.flags, flags);
    from.rename("maildir.flags", &file.file_name, folder.subdir(Subdir::Cur), &file_name)?;
    Ok(ScannedFile { subdir: Subdir::Cur, file_name: file_name.into(), flags: flags.clone(), inode: file.inode })
}

/// A message that is to be removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// The message.
    pub base: BaseName,
    /// Where it was last seen.
    pub known: ScannedFile,
}

/// What became of a removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// The file is gone, and its body is durable in the retention area.
    Done,
    /// It was not there.
    Gone,
}

/// Removes messages, and answers for each in order. Every body is durable in the retention area before its file goes;
/// a stub goes without.
///
/// [`Error::Exists`]: another file has taken the name meanwhile, and was left alone. `mailbox` is the local id of the
/// folder, `at` the time of the deletion; with the same ones a removal may be repeated.
pub fn remove(
    folder: &Folder,
    removals: &[Removal],
    retention: &Retention,
    mailbox: u32,
    at: SystemTime,
) -> Vec<Result<Removed, Error>> {
    let keep = |removal: &Removal| match removal.base.is_stub() {
        // Of a stub nothing is worth keeping: it could only come back as a message that it is not.
        true => Ok(folder.find(&removal.base)?),
        false => keep(folder, removal, retention, mailbox, at),
    };
    let kept: Vec<_> = removals.iter().map(keep).collect();
    let durable = if kept.iter().any(|k| matches!(k, Ok(Some(_)))) { retention.sync() } else { Ok(()) };
    let unlink = |(removal, kept): (&Removal, Result<Option<ScannedFile>, Error>)| match (kept?, &durable) {
        (None, _) => Ok(Removed::Gone),
        (Some(_), Err(error)) => Err(error.clone()),
        (Some(file), Ok(())) => unlink(folder, &removal.base, file),
    };
    removals.iter().zip(kept).map(unlink).collect()
}

/// Keeps the body of a message, wherever a reader moved it; `None` if it is gone.
fn keep(
    folder: &Folder,
    removal: &Removal,
    retention: &Retention,
    mailbox: u32,
    at: SystemTime,
) -> Result<Option<ScannedFile>, Error> {
    let mut file = removal.known.clone();
    for _ in 1..TRIES {
        match retention.keep(folder, &file, mailbox, at) {
            Err(error) if error.is_missing() => match folder.find(&removal.base)? {
                Some(found) => file = found,
                None => return Ok(None),
            },
            kept => return kept.map(|inode| Some(ScannedFile { inode, ..file })),
        }
    }
    retention.keep(folder, &file, mailbox, at).map(|inode| Some(ScannedFile { inode, ..file }))
}

fn unlink(folder: &Folder, base: &BaseName, kept: ScannedFile) -> Result<Removed, Error> {
    let mut file = kept.clone();
    for _ in 0..TRIES {
        let dir = folder.subdir(file.subdir);
        let now = dir.stat(&file.file_name)?;
        if now.is_some_and(|stat| stat.st_ino != kept.inode) {
            return Err(Error::Exists { name: base.to_string() });
        }
        let done = if now.is_some() { dir.unlink("maildir.unlink", &file.file_name) } else { Ok(()) };
        match done {
            Ok(()) if now.is_some() => return Ok(Removed::Done),
            Err(error) if !error.is_missing() => return Err(error),
            _ => match folder.find(base)? {
                Some(found) => file = found,
                None => return Ok(Removed::Gone),
            },
        }
    }
    Err(Error::Exists { name: base.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Keywords;
    use crate::maildir::deliver::tests::{base, deliver};
    use crate::maildir::folder::tests::inbox;
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    fn change(add: &str, remove: &str) -> FlagChange {
        FlagChange { add: Flags::parse(add), remove: Flags::parse(remove) }
    }

    fn file_names(tmp: &Path) -> Vec<String> {
        let mut names: Vec<String> = ["new", "cur"]
            .iter()
            .flat_map(|part| std::fs::read_dir(tmp.join("INBOX").join(part)).expect("listed").map(move |e| (part, e)))
            .map(|(part, e)| format!("{part}/{}", e.expect("an entry").file_name().to_string_lossy()))
            .collect();
        names.sort();
        names
    }

    fn reader_moves(tmp: &Path, from: &str, to: &str) {
        std::fs::rename(tmp.join("INBOX").join(from), tmp.join("INBOX").join(to)).expect("renamed");
    }

    #[test]
    fn a_flag_moves_a_message_to_cur_and_its_loss_does_not_move_it_back() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "x\n");
        let none = Flags::new();
        let Ok(Changed::Done(file)) = set_flags(&folder, &base("1.a"), &file, &none, &change("\\Seen work", "")) else {
            panic!("not done");
        };
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,S"]);
        assert_eq!(folder.scan().expect("scanned").files[&base("1.a")], file);
        let done =
            set_flags(&folder, &base("1.a"), &file, &Flags::parse("\\Seen"), &change("", "\\Seen")).expect("done");
        assert!(matches!(done, Changed::Done(_)));
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,"]);
    }

    #[test]
    fn what_changes_nothing_touches_nothing() {
        let (tmp, _, folder) = inbox();
        reader_writes(tmp.path(), "cur/1.a:2,SFS");
        let file = folder.scan().expect("scanned").files[&base("1.a")].clone();
        let both = Flags::parse("\\Seen \\Flagged");
        let done = set_flags(&folder, &base("1.a"), &file, &both, &change("\\Seen work", "other")).expect("done");
        assert_eq!(done, Changed::Done(file));
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,SFS"]);
    }

    fn reader_writes(tmp: &Path, name: &str) {
        std::fs::write(tmp.join("INBOX").join(name), "x\n").expect("written");
    }

    #[test]
    fn letters_that_we_do_not_know_stay() {
        let (tmp, _, folder) = inbox();
        reader_writes(tmp.path(), "cur/1.a:2,Sab,x=1");
        let file = folder.scan().expect("scanned").files[&base("1.a")].clone();
        set_flags(&folder, &base("1.a"), &file, &Flags::parse("\\Seen"), &change("$Forwarded", "")).expect("done");
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,PSab,x=1"]);
    }

    #[test]
    fn keywords_are_letters_once_they_are_learnt() {
        let (tmp, _, folder) = inbox();
        folder.keep_keywords(Keywords::Dovecot, true);
        reader_writes(tmp.path(), "cur/1.a:2,Sa");
        let file = folder.scan().expect("scanned").files[&base("1.a")].clone();
        let (seen, add) = (Flags::parse("\\Seen"), change("work $Forwarded", ""));
        // Without a letter nothing is written.
        let done = set_flags(&folder, &base("1.a"), &file, &seen, &change("work", "")).expect("done");
        assert_eq!(done, Changed::Done(file.clone()));
        assert_eq!(folder.learn(&add.add).expect("learnt"), None);
        let Changed::Done(file) = set_flags(&folder, &base("1.a"), &file, &seen, &add).expect("done") else {
            panic!("not done")
        };
        // `a` was in use before anybody explained it.
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,PSabc"]);
        assert_eq!(file.flags, Flags::parse("\\Seen work $Forwarded"));
        assert_eq!(folder.scan().expect("scanned").files[&base("1.a")], file);
        // A Dovecot explains it meanwhile, and gives it to another message; the next look tells.
        let table = tmp.path().join("INBOX/dovecot-keywords");
        let text = std::fs::read_to_string(&table).expect("there");
        std::fs::write(&table, format!("0 theirs\n{text}")).expect("written");
        let done = set_flags(&folder, &base("1.a"), &file, &file.flags, &change("", "\\Seen work")).expect("done");
        assert!(matches!(done, Changed::Done(_)));
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,Pab"]);
        let now = folder.scan().expect("scanned").files[&base("1.a")].clone();
        assert_eq!(now.flags, Flags::parse("theirs $Forwarded"));
        set_flags(&folder, &base("1.a"), &now, &now.flags, &change("", "$forwarded THEIRS")).expect("done");
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,"]);
    }

    #[test]
    fn a_reader_that_was_faster_is_heard() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "x\n");
        let seen = change("\\Seen", "");
        // It moved the message without a flag: nothing to merge.
        reader_moves(tmp.path(), "new/1.a", "cur/1.a:2,");
        let done = set_flags(&folder, &base("1.a"), &file, &Flags::new(), &seen).expect("done");
        assert!(matches!(done, Changed::Done(_)));
        // It set a flag: merge again.
        reader_moves(tmp.path(), "cur/1.a:2,S", "cur/1.a:2,FS");
        let Changed::Done(known) = done else { panic!("not done") };
        let answer =
            set_flags(&folder, &base("1.a"), &known, &Flags::parse("\\Seen"), &change("", "\\Seen")).expect("asked");
        let Changed::Moved(now) = answer else { panic!("{answer:?}") };
        assert_eq!(now.flags, Flags::parse("\\Flagged \\Seen"));
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,FS"]);
        // It removed the message.
        std::fs::remove_file(tmp.path().join("INBOX/cur/1.a:2,FS")).expect("removed");
        assert_eq!(
            set_flags(&folder, &base("1.a"), &now, &now.flags, &change("", "\\Seen")).expect("asked"),
            Changed::Gone
        );
    }

    #[test]
    fn a_second_file_of_the_name_is_not_overwritten() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "mine\n");
        reader_writes(tmp.path(), "cur/1.a:2,S");
        let refused = set_flags(&folder, &base("1.a"), &file, &Flags::new(), &change("\\Seen", ""));
        assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
        assert_eq!(file_names(tmp.path()), ["cur/1.a:2,S", "new/1.a"]);
    }

    #[test]
    fn racing_with_a_reader_loses_no_flag() {
        let (tmp, _, folder) = inbox();
        deliver(&folder, "1.a", "", "x\n");
        let name = |folder: &Folder| folder.scan().expect("scanned").files[&base("1.a")].clone();
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let mut set = 0;
                while set < 200 {
                    // A reader that flags and unflags, knowing nothing of us.
                    let file = name(&folder);
                    let toggle = FlagChange::between(&file.flags, &toggled(&file.flags)).expect("a change");
                    set += usize::from(
                        rename(&folder, &folder.letters(), &base("1.a"), &file, &toggle.apply(&file.flags)).is_ok(),
                    );
                }
            });
            let (mut done, mut seen) = (0, false);
            while done < 200 {
                let file = name(&folder);
                assert_eq!(file.flags.contains(crate::mail::SystemFlag::Seen), seen, "only we change it");
                let edit = if seen { change("", "\\Seen") } else { change("\\Seen", "") };
                if let Changed::Done(now) = set_flags(&folder, &base("1.a"), &file, &file.flags, &edit).expect("asked")
                {
                    (done, seen) = (done + 1, !seen);
                    assert_eq!(now.flags.contains(crate::mail::SystemFlag::Seen), seen);
                }
            }
            reader.join().expect("ended");
        });
        assert!(!name(&folder).flags.contains(crate::mail::SystemFlag::Flagged), "toggled an even number of times");
        assert_eq!(file_names(tmp.path()).len(), 1);
    }

    fn toggled(flags: &Flags) -> Flags {
        let flagged = Flags::parse("\\Flagged");
        if flags.intersection(&flagged).is_empty() { flags.union(&flagged) } else { flags.difference(&flagged) }
    }

    #[test]
    fn what_is_removed_is_kept_first() {
        let (tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "work").expect("open");
        let removals: Vec<Removal> = ["1.a", "2.b", "3.c"]
            .iter()
            .map(|name| Removal { base: base(name), known: deliver(&folder, name, "", &format!("{name}\n")) })
            .collect();
        // Two that readers touched meanwhile.
        reader_moves(tmp.path(), "new/2.b", "cur/2.b:2,S");
        std::fs::remove_file(tmp.path().join("INBOX/new/3.c")).expect("removed");
        let results = remove(&folder, &removals, &retention, 4, UNIX_EPOCH);
        assert_eq!(results, [Ok(Removed::Done), Ok(Removed::Done), Ok(Removed::Gone)]);
        assert_eq!(file_names(tmp.path()), Vec::<String>::new());
        let area = state.path().join("retention/work");
        assert_eq!(std::fs::read(area.join("0.4.1.a")).expect("kept"), b"1.a\n");
        assert_eq!(std::fs::read(area.join("0.4.2.b:2,S")).expect("kept"), b"2.b\n");
        assert_eq!(remove(&folder, &removals[..1], &retention, 4, UNIX_EPOCH), [Ok(Removed::Gone)]);
        folder.sync().expect("synced");
    }

    #[test]
    fn what_cannot_be_kept_is_not_removed() {
        let (tmp, _, folder) = inbox();
        let state = tempfile::tempdir().expect("a directory");
        let retention = Retention::open(state.path(), "work").expect("open");
        let removal = Removal { base: base("1.a"), known: deliver(&folder, "1.a", "", "x\n") };
        std::fs::write(state.path().join("retention/work/0.4.1.a"), "in the way").expect("written");
        assert!(matches!(remove(&folder, &[removal], &retention, 4, UNIX_EPOCH).remove(0), Err(Error::Exists { .. })));
        assert_eq!(file_names(tmp.path()), ["new/1.a"]);
    }
}
