//! Why a pass failed, as data: it goes over the control socket, and is told in the same words on the other side.

use crate::remote::{connect, error as imap, session};
use crate::worker::{Error, State};
use crate::{maildir, store};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why a pass failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{what}")]
pub struct Trouble {
    /// What an owner should know of the account because of it.
    pub state: State,
    /// What a person can do about it depends on this.
    pub kind: Kind,
    /// The whole chain of causes, in one clause; escaped.
    pub what: String,
    /// How long the server asks to be left alone.
    pub hint: Option<Duration>,
}

/// The kinds of trouble that a person mends in different ways.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The server refused the login.
    Login,
    /// A secret cannot be had.
    Secret,
    /// The certificate is not trusted.
    Certificate {
        /// Its fingerprint, as `tls-fingerprint` has it.
        fingerprint: String,
    },
    /// The server cannot be reached.
    Network,
    /// Another process works on the account.
    Locked,
    /// The server asked to be left alone, for longer than is waited for.
    Quiet,
    /// There is no room on the disk.
    DiskFull,
    /// The Maildir is not there.
    LocalUnavailable,
    /// It explains itself, remedy included.
    Refused,
    /// It was told to end.
    Interrupted,
    /// Anything else.
    Other,
}

impl Trouble {
    /// The trouble of who asked for something and was answered something else.
    pub fn of_another_answer() -> Self {
        Self {
            state: State::Failed,
            kind: Kind::Other,
            what: "the daemon answered something else than it was asked".to_owned(),
            hint: None,
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        let kind = match error {
            Error::Session(session::Error::Imap(imap::Error::Login(_))) => Kind::Login,
            Error::Session(session::Error::Secret(_)) => Kind::Secret,
            Error::Session(session::Error::Connect(connect::Error::Certificate(refused))) => {
                Kind::Certificate { fingerprint: refused.fingerprint.to_string() }
            }
            Error::Session(session::Error::Connect(connect::Error::Later(_))) => Kind::Network,
            Error::Store(store::Error::Locked { .. }) => Kind::Locked,
            error if error.is_disk_full() => Kind::DiskFull,
            Error::Maildir(maildir::Error::Unavailable(_)) => Kind::LocalUnavailable,
            Error::Refused(_) => Kind::Refused,
            Error::Interrupted => Kind::Interrupted,
            Error::Quiet { .. } => Kind::Quiet,
            Error::Session(_) | Error::Imap(_) | Error::Maildir(_) | Error::Store(_) | Error::Stopped => Kind::Other,
        };
        let hint = match error {
            Error::Quiet { left, .. } => Some(*left),
            error => error.pause(),
        };
        Self { state: error.state(), kind, what: error.chain(), hint }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}
