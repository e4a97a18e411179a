//! Why a pass over an account ended early.

use crate::remote::{connect, error as imap, session};
use crate::worker::status::State;
use crate::{maildir, store};
use std::io::ErrorKind;
use std::time::Duration;

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
    /// The server asked an earlier run to be left alone, and the pause is not over.
    #[error("the server asked to be left alone for {} more: {reason}", told(*left))]
    Quiet {
        /// What the earlier run was told, escaped.
        reason: String,
        /// How much of the pause is left.
        left: Duration,
    },
    /// What was found does not fit what is remembered, and a person has to decide; a whole sentence.
    #[error("{0}")]
    Refused(String),
    /// It was told to end.
    #[error("it was interrupted")]
    Interrupted,
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

impl Error {
    /// What an owner should know of the account because of this.
    pub fn state(&self) -> State {
        let imap = |error: &imap::Error| match error {
            imap::Error::Login(_) => State::NeedsLogin,
            imap::Error::Later { .. } | imap::Error::Protocol(_) | imap::Error::Upload { .. } => State::Temporary,
            _ => State::Failed,
        };
        match self {
            Self::Session(session::Error::Imap(error)) | Self::Imap(error) => imap(error),
            Self::Session(session::Error::Connect(connect::Error::Later(_))) => State::Temporary,
            Self::Store(store::Error::Locked { .. }) | Self::Quiet { .. } | Self::Interrupted => State::Temporary,
            _ if self.is_disk_full() => State::DiskFull,
            Self::Maildir(maildir::Error::Unavailable(_)) => State::LocalUnavailable,
            Self::Session(_) | Self::Maildir(_) | Self::Store(_) | Self::Refused(_) | Self::Stopped => State::Failed,
        }
    }

    /// The pause that the server asked for, if it did.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Session(session::Error::Imap(imap::Error::Later { hint, .. }))
            | Self::Imap(imap::Error::Later { hint, .. }) => *hint,
            _ => None,
        }
    }

    /// Whether there is no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Maildir(error) => matches!(error, maildir::Error::DiskFull { .. }),
            Self::Store(store::Error::Io { source, .. }) => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// The whole chain of causes, in one clause.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }
}

/// A time for people, in whole seconds.
fn told(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}
