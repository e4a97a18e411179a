//! Why the state of an account could not be read or written.

use std::io;
use std::path::{Path, PathBuf};

/// Why the state of an account could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has it open: a temporary failure.
    #[error("{holder} holds the state of this account")]
    Locked {
        /// The process, escaped, as far as it told.
        holder: String,
    },
    /// A newer mailtwin wrote it. Nothing was touched.
    #[error(
        "the state in {} was written by a newer mailtwin (format {found}; this one reads up to format {known}): \
         run the newer one, or move that directory away to pair all mail anew", .dir.display()
    )]
    Newer {
        /// The directory of the account.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// What was stored is not what is found: the database is to be set aside, and nothing deleted on its word.
    #[error("the state database is damaged: {what}")]
    Damaged {
        /// What does not fit, as a clause.
        what: String,
    },
    /// The disk refused.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A commit put something where it is not safe from a power cut. A bug; it counts as not committed.
    #[error("a record did not fit the log of the state database")]
    Spilled,
    /// What was to be stored is too large, some 400 MB in one record.
    #[error("a record is too large for the state database")]
    TooLarge,
    /// An earlier commit failed, so it is not known what is on the disk: close the state and open it again.
    #[error("an earlier write to the state database failed")]
    Unusable,
}

impl Error {
    /// Tells whether the database is to be set aside.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }
}
