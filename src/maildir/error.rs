//! What can go wrong in a Maildir, by what the caller does next.

use crate::mail::escape;
use crate::maildir::StateId;
use rustix::io::Errno;

/// A failure in the Maildir.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The root or the folder cannot be used as it is: nothing is concluded from it and nothing written into it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// No room, or no more quota: the account pauses.
    #[error("the disk or the quota is full while {doing}")]
    DiskFull {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Errno,
    },
    /// Something was put where a file or directory of ours belongs, such as a symbolic link: it is not followed.
    #[error("{name} is a symbolic link or no plain file or directory, and was left alone while {doing}")]
    Hostile {
        /// What was tried.
        doing: &'static str,
        /// Its name, escaped.
        name: String,
    },
    /// The name is taken: nothing was changed.
    #[error("a file named {name} is there already")]
    Exists {
        /// The name, escaped.
        name: String,
    },
    /// Anything else that the system refused.
    #[error("the system failed while {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Errno,
    },
}

impl Error {
    /// Classes what the system said about `name`.
    pub(crate) fn new(doing: &'static str, name: impl AsRef<[u8]>, errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::DiskFull { doing, source: errno },
            Errno::LOOP | Errno::NOTDIR => Self::Hostile { doing, name: escape(name) },
            Errno::EXIST => Self::Exists { name: escape(name) },
            Errno::ROFS => Self::Unavailable(Unavailable::ReadOnly),
            source => Self::Io { doing, source },
        }
    }

    /// Classes an error of the standard library.
    pub(crate) fn io(doing: &'static str, error: &std::io::Error) -> Self {
        Self::new(doing, "", Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Tells whether the system said that there is no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source: Errno::NOENT, .. })
    }
}

/// Why a root or a folder cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unavailable {
    /// Nothing is at the path of the root, although there was.
    #[error("the Maildir is missing; mount it or restore it")]
    RootMissing,
    /// The root is there and its marker is not.
    #[error("the Maildir has lost its marker file mailtwin-root; restore it, or the right file system is not mounted")]
    RootMarkerMissing,
    /// A marker file that mailtwin did not write, or not whole.
    #[error("the marker file {0} cannot be understood; restore it")]
    MarkerDamaged(&'static str),
    /// A marker of a later version.
    #[error("the marker file {0} was written by a newer mailtwin; update this one")]
    MarkerNewer(&'static str),
    /// What is at the path is no directory.
    #[error("the path of the Maildir is not a directory")]
    NotADirectory,
    /// The system does not let us write there.
    #[error("the Maildir is read-only for this user")]
    ReadOnly,
    /// It came after the start of the daemon, which may not touch it yet.
    #[error("the Maildir was not there when the daemon began; it begins anew, and takes it in then")]
    OutOfBounds,
    /// The directory is somebody else's.
    #[error("the Maildir belongs to user {0}, who is not the one that mailtwin runs as")]
    OtherOwner(u32),
    /// Others may write into the directory.
    #[error("the Maildir is writable by others (mode {0:o}); chmod go-w it")]
    OpenToOthers(u32),
    /// The directory of a folder is gone.
    #[error("the folder is missing")]
    FolderMissing,
    /// The folder has lost `cur`, `new` or `tmp`, or they were exchanged while it was open.
    #[error("the folder has lost its directory {0}")]
    SubdirMissing(&'static str),
    /// The folder is there and its marker is not.
    #[error("the folder has lost its marker file mailtwin-folder")]
    FolderMarkerMissing,
    /// The folder has the marker of another mailbox.
    #[error("the folder has the marker of another mailbox: number {id} of the state {state}")]
    FolderMarkerOther {
        /// The local id of that mailbox.
        id: u32,
        /// The state that it belongs to.
        state: StateId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_full_disk_is_told_apart_from_a_broken_one() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it opens").write_all(b"x");
        let error = Error::io("writing a message", &full.expect_err("it is full"));
        assert_eq!(error, Error::DiskFull { doing: "writing a message", source: Errno::NOSPC });
        assert!(matches!(Error::new("writing a message", "", Errno::DQUOT), Error::DiskFull { .. }));
        assert!(matches!(Error::new("writing a message", "", Errno::IO), Error::Io { .. }));
        assert_eq!(Error::new("opening a file", "a", Errno::ROFS), Error::Unavailable(Unavailable::ReadOnly));
    }

    #[test]
    fn a_hostile_name_is_shown_harmless() {
        let error = Error::new("opening a file", b"\x1b[2J", Errno::LOOP).to_string();
        assert!(error.starts_with("\\x1b[2J is a symbolic link"), "{error}");
    }
}
