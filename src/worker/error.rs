//! Why a pass over an account ended early.

use crate::remote::{error as imap, session};
use crate::{maildir, store};

/// Why a pass over an account ended early. What was done stays done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no session.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The session ended.
    #[error(transparent)]
    Imap(#[from] imap::Error),
    /// The Maildir.
    #[error(transparent)]
    Maildir(#[from] maildir::Error),
    /// The memory.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was found does not fit what is remembered, and a person has to decide; a whole sentence.
    #[error("{0}")]
    Refused(String),
    /// A task of ours ended without an answer.
    #[error("a part of mailtwin stopped unexpectedly")]
    Stopped,
}

impl From<maildir::Unavailable> for Error {
    fn from(reason: maildir::Unavailable) -> Self {
        Self::Maildir(reason.into())
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Stopped
    }
}
