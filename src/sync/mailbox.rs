//! What is remembered of a mailbox as a whole.

use crate::mail::{MailboxName, ModSeq, SpecialUse, Uid, UidValidity};
use crate::sync::adopt::Adopting;
use crate::sync::picture::{Hold, MailboxId};
use serde::{Deserialize, Serialize};

/// A mailbox that is, or was, known on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailboxRecord {
    /// Its number here.
    pub id: MailboxId,
    /// Its name on the server.
    pub name: MailboxName,
    /// Its path beneath the root of the Maildir, components joined by `/`; none for a Trash that is not mirrored.
    pub path: Option<String>,
    /// Its role.
    pub role: Option<SpecialUse>,
    /// The epoch that the remembered UIDs belong to; none before the first look.
    pub uid_validity: Option<UidValidity>,
    /// Where the next delta starts; none before the first pass was settled.
    pub checkpoint: Option<Checkpoint>,
    /// When the server's side was last listed in full, in seconds since 1970.
    pub listed: Option<u64>,
    /// When its numbers last changed, in seconds since 1970, where the server does not tell when flags change.
    pub active: Option<u64>,
    /// Why it is not mirrored any more.
    pub parked: Option<Parked>,
    /// What it is on the server, whatever its name: MAILBOXID (RFC 8474), or Dovecot's X-GUID.
    pub identity: Option<String>,
    /// The number of its directory, by which that is told from a copy.
    pub inode: Option<u64>,
    /// Its directory is gone, and a person is asked about that.
    pub hold: Option<Hold>,
    /// It is to be paired anew before anything is transferred; not needed where `uid_validity` tells as much.
    pub adopting: Option<Adopting>,
}

impl MailboxRecord {
    /// A mailbox of which no more is known than this.
    pub fn new(id: MailboxId, name: MailboxName, path: Option<String>) -> Self {
        Self {
            id,
            name,
            path,
            role: None,
            uid_validity: None,
            checkpoint: None,
            listed: None,
            active: None,
            parked: None,
            identity: None,
            inode: None,
            hold: None,
            adopting: None,
        }
    }
}

/// Why a mailbox is not mirrored any more; its mail stays where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parked {
    /// It is gone from the server.
    GoneFromServer,
    /// The user is not subscribed to it, and only subscribed mailboxes are wanted.
    Unsubscribed,
}

/// The numbers of a SELECT whose delta was applied, and of no other command: STATUS and NOTIFY can run ahead of what
/// was seen (RFC 7162, section 3.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch.
    pub uid_validity: UidValidity,
    /// The highest mod-sequence, where the server keeps them.
    pub highest_mod_seq: Option<ModSeq>,
    /// The next UID, where the server tells it.
    pub uid_next: Option<Uid>,
    /// The number of messages.
    pub messages: u32,
}
