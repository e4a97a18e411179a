//! What changes the set of mailboxes, on either side, and how that is put in words.

use crate::mail::{MailboxName, escape};
use crate::sync::picture::MailboxId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that changes the set of mailboxes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailboxAction {
    /// Makes the Maildir of a mailbox that is on the server.
    CreateLocal {
        /// The number that it gets.
        mailbox: MailboxId,
        /// Its name on the server.
        name: MailboxName,
        /// Its path beneath the root.
        path: String,
    },
    /// Makes a mailbox on the server for a Maildir that is here, and subscribes to it.
    CreateRemote {
        /// The number that it gets.
        mailbox: MailboxId,
        /// The name that it gets.
        name: MailboxName,
        /// Its path beneath the root; none for a Trash that is not mirrored.
        path: Option<String>,
    },
    /// Moves the directory of a mailbox that was renamed on the server.
    RenameLocal {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server now.
        name: MailboxName,
        /// The path of its directory.
        from: String,
        /// The path that it gets; the same where only its name is new.
        to: String,
        /// The directory moves with all that lies in it; else what belongs to the mailbox alone.
        whole: bool,
    },
    /// Renames a mailbox of the server whose directory was renamed; those beneath it follow.
    RenameRemote {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server.
        from: MailboxName,
        /// The name that it gets.
        to: MailboxName,
        /// The path of its directory now.
        path: String,
    },
    /// Gives a directory that was copied with the marker of another mailbox a marker of its own.
    MarkCopy {
        /// The number that it gets.
        mailbox: MailboxId,
        /// The name that it gets on the server.
        name: MailboxName,
        /// Its path beneath the root.
        path: String,
        /// The mailbox whose marker it has.
        copy_of: MailboxId,
    },
    /// Removes the directory, empty by now, of a mailbox that was deleted on the server.
    DeleteLocal {
        /// The mailbox.
        mailbox: MailboxId,
        /// The name that it had on the server.
        name: MailboxName,
        /// The path of its directory.
        path: String,
    },
    /// Deletes a mailbox of the server whose directory is gone; its messages go to the Trash first.
    DeleteRemote {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server.
        name: MailboxName,
        /// A person said so: it may have mail.
        approved: bool,
    },
}

impl MailboxAction {
    /// The mailbox.
    pub fn mailbox(&self) -> MailboxId {
        match self {
            Self::CreateLocal { mailbox, .. }
            | Self::CreateRemote { mailbox, .. }
            | Self::RenameLocal { mailbox, .. }
            | Self::RenameRemote { mailbox, .. }
            | Self::MarkCopy { mailbox, .. }
            | Self::DeleteLocal { mailbox, .. }
            | Self::DeleteRemote { mailbox, .. } => *mailbox,
        }
    }
}

impl fmt::Display for MailboxAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateLocal { name, .. } => write!(f, "make the Maildir of {name}"),
            Self::CreateRemote { name, .. } => write!(f, "make the mailbox {name} on the server"),
            Self::RenameLocal { name, from, to, .. } if from == to => {
                write!(f, "take over {} as the directory of {name}", shown(from))
            }
            Self::RenameLocal { name, from, to, .. } => {
                write!(f, "move {} to {} here: it is {name} on the server now", shown(from), shown(to))
            }
            Self::RenameRemote { from, to, .. } => {
                write!(f, "rename {from} to {to} on the server: its directory was renamed here")
            }
            Self::MarkCopy { path, .. } => write!(f, "take {} for a new mailbox: it is a copy", shown(path)),
            Self::DeleteLocal { path, .. } => {
                write!(f, "remove the directory {} here: the mailbox was deleted on the server", shown(path))
            }
            Self::DeleteRemote { name, .. } => write!(
                f,
                "delete the mailbox {name} on the server, its messages to the Trash: its directory was deleted here"
            ),
        }
    }
}

/// A path for people; the empty one is the root.
fn shown(path: &str) -> String {
    if path.is_empty() { ".".into() } else { escape(path) }
}
