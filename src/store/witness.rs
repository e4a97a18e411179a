//! The file beside the database that remembers that there was one, in which format, and how far it had counted.
//!
//! A log that was cut may open without complaint, as an older database or as an empty one. This file is written at each
//! open and close, so that at least what one process left is not taken for less by the next.

use crate::store::error::Error;
use crate::store::record::FORMAT;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the file tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Witness {
    /// Nothing: there is no such file.
    Absent,
    /// There was a database; it had that many commits.
    Saw(u64),
    /// There was a database.
    Garbled,
    /// A newer mailtwin wrote it, in this format.
    Newer(u32),
}

impl Witness {
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("format");
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(256).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Absent),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Writes that the database has `commits` commits, unless that is what is known already.
    pub(super) fn update(&mut self, dir: &Path, commits: u64) -> Result<(), Error> {
        if *self == Self::Saw(commits) {
            return Ok(());
        }
        let (path, new) = (dir.join("format"), dir.join("format.new"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(Self::print(commits).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(Error::io("write", &path))?;
        sync_dir(dir)?;
        *self = Self::Saw(commits);
        Ok(())
    }

    pub(super) fn remove(dir: &Path) -> Result<(), Error> {
        let path = dir.join("format");
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("remove", &path)(error)),
        }
    }

    fn print(commits: u64) -> String {
        format!("mailtwin state, format {FORMAT}\ncommits {commits}\n")
    }

    /// The first line is the same in every format to come.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let format = lines.next().and_then(|line| line.strip_prefix("mailtwin state, format ")?.parse::<u32>().ok());
        let commits = lines.next().and_then(|line| line.strip_prefix("commits ")?.parse().ok());
        match (format, commits) {
            (Some(format), _) if format > u32::from(FORMAT) => Self::Newer(format),
            (Some(_), Some(commits)) if text == Self::print(commits) => Self::Saw(commits),
            _ => Self::Garbled,
        }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(Error::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_would_have_written_is_believed() {
        assert_eq!(Witness::parse(&Witness::print(7)), Witness::Saw(7));
        assert_eq!(Witness::parse("mailtwin state, format 2"), Witness::Newer(2));
        assert_eq!(Witness::parse("mailtwin state, format 300\nwhatever\u{0}"), Witness::Newer(300));
        for text in ["", "\0\0\0", "mailtwin state, format 1\n", "mailtwin state, format 1\ncommits 7", "commits 7\n"] {
            assert_eq!(Witness::parse(text), Witness::Garbled, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_not_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut witness = Witness::read(dir.path()).expect("reads");
        assert_eq!(witness, Witness::Absent);
        witness.update(dir.path(), 3).expect("writes");
        let time = || fs::metadata(dir.path().join("format")).and_then(|m| m.modified()).expect("a time");
        let before = time();
        witness.update(dir.path(), 3).expect("has nothing to write");
        assert_eq!((Witness::read(dir.path()).expect("reads"), time()), (Witness::Saw(3), before));
        Witness::remove(dir.path()).expect("removes");
        Witness::remove(dir.path()).expect("has nothing to remove");
        assert_eq!(Witness::read(dir.path()).expect("reads"), Witness::Absent);
    }
}
