//! The plan: what is to be done, as plain data that can be compared, printed, stored and found again after a crash.
//!
//! A plan has hands ([`Action`]: it changes one of the sides) and notes ([`Note`]: only the memory changes). A [`Batch`]
//! is a part of a plan that was begun: it is durable before its first action, and is the journal.

use crate::mail::{BaseName, Fingerprint, FlagChange, Flags, MailboxName, Uid, UidValidity};
use crate::sync::mailbox_action::MailboxAction;
use crate::sync::picture::{Change, MailboxId, Side};
use crate::sync::restore::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod words;

/// Something that changes a side.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Stores a message of the server in the Maildir.
    Fetch {
        /// The message.
        uid: Uid,
        /// The name that it gets; it is there or it is not, so fetching is idempotent.
        name: BaseName,
        /// The flags that it gets.
        flags: Flags,
    },
    /// Stores a message of the Maildir on the server.
    Append {
        /// The message.
        name: BaseName,
        /// The flags that it gets.
        flags: Flags,
        /// What it looks like, by which it is found again; filled in before the batch is begun.
        print: Option<Fingerprint>,
    },
    /// Brings the flags of a pair together.
    SetFlags {
        /// The message on the server.
        uid: Uid,
        /// The message in the Maildir.
        name: BaseName,
        /// What the server has to change.
        remote: Option<FlagChange>,
        /// What the Maildir has to change, and the flags that it is believed to show.
        local: Option<(Flags, FlagChange)>,
        /// The flags that are agreed when both have.
        merged: Flags,
    },
    /// Takes a message away from the server.
    DeleteRemote {
        /// The message.
        uid: Uid,
        /// The name that it had in the Maildir.
        name: BaseName,
        /// Where it goes.
        route: Route,
        /// It is missing in the Maildir, and no person confirmed that: the guard has a say.
        inferred: bool,
    },
    /// Takes a message away from the Maildir; its bytes go to the retention area first.
    DeleteLocal {
        /// The UID that it had on the server, if it was there.
        uid: Option<Uid>,
        /// The message.
        name: BaseName,
        /// It is missing on the server, and no person confirmed that: the guard has a say.
        inferred: bool,
    },
    /// Brings a message back that was removed; a person asked for it.
    Restore {
        /// The name that it had in the Maildir.
        name: BaseName,
        /// The flags that it had.
        flags: Flags,
        /// What it looks like: another message is not brought back in its place.
        print: Option<Fingerprint>,
        /// From where.
        from: Source,
        /// It stays on the side on which it comes back.
        stays: bool,
        /// The number of its removal.
        number: u64,
    },
    /// Takes the file of a message away that `undo` had brought back; the server's follows, as if it had been deleted here.
    Withdraw {
        /// The message on the server; none where it was brought back here only.
        uid: Option<Uid>,
        /// The message in the Maildir.
        name: BaseName,
        /// The number of its restoration.
        number: u64,
    },
    /// Has the server copy a message that another mailbox there has, for a file here with the same bytes: nothing is sent.
    CopyRemote {
        /// The message that has the bytes.
        origin: Origin,
        /// The file.
        name: BaseName,
        /// The flags that are agreed then.
        agreed: Flags,
        /// What both look like, by which the copy is found again.
        print: Fingerprint,
    },
    /// Has the server move a message whose file was moved here: nothing is sent.
    MoveRemote {
        /// Where the message was.
        origin: Origin,
        /// The name that its file had there.
        was: BaseName,
        /// The name of its file here.
        name: BaseName,
        /// The flags that are agreed then.
        agreed: Flags,
        /// What it looks like, by which it is found again.
        print: Fingerprint,
        /// Nothing certain speaks for the pair, and nothing does where it is moved to.
        guessed: bool,
    },
    /// Renames the file of a message that was moved on the server: nothing is fetched.
    MoveLocal {
        /// The message, where it is now.
        uid: Uid,
        /// Where the message was.
        origin: Origin,
        /// The name that its file has there.
        was: BaseName,
        /// The name that its file gets here: the same, unless that is taken.
        name: BaseName,
        /// The flags that are agreed then.
        agreed: Flags,
        /// What it looks like.
        print: Fingerprint,
        /// Nothing certain speaks for the pair, and nothing does where it is moved to.
        guessed: bool,
    },
}

/// A message of the server in another mailbox than the one that an action adds to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its name on the server.
    pub mailbox_name: MailboxName,
    /// The epoch that the UID belongs to.
    pub uid_validity: UidValidity,
    /// The message.
    pub uid: Uid,
}

/// How a message leaves a mailbox of the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// It is moved to that mailbox, the Trash.
    Trash(MailboxId),
    /// It is expunged.
    Expunge,
}

/// A change of the memory alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// What is remembered from now on.
    pub change: Change,
    /// The reason.
    pub kind: NoteKind,
}

/// Why the memory changes although no side does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Both sides show the same already.
    Agree,
    /// A side shows other flags, and nothing can follow from it as yet.
    Seen,
    /// The message is gone from both sides.
    Forget,
    /// A policy leaves the sides different.
    Keep,
    /// A limit leaves the message on the server, or its stub was deleted here.
    Filter,
    /// The guard holds the deletion that was inferred; the side from which the message vanished.
    Hold(Side),
    /// What is left of a message whose partner is gone is to be transferred as new.
    PutBack,
    /// A file cannot be sent as it is.
    Unsendable,
}

/// The plan of one mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailboxPlan {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its name on the server.
    pub name: MailboxName,
    /// The epoch that the UIDs belong to.
    pub uid_validity: UidValidity,
    /// What is to be done, additions before removals.
    pub actions: Vec<Action>,
    /// What is to be remembered.
    pub notes: Vec<Note>,
}

/// The number of a batch, in the order in which they were begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BatchId(pub u64);

/// What a batch is about to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Actions on the messages of one mailbox.
    Messages {
        /// The mailbox.
        mailbox: MailboxId,
        /// The epoch that the UIDs belong to.
        uid_validity: UidValidity,
        /// The actions, in the order in which they are done.
        actions: Vec<Action>,
        /// For every mailbox that is added to: its epoch and UIDNEXT (or highest UID + 1) beforehand.
        from: BTreeMap<MailboxId, (UidValidity, Uid)>,
    },
    /// Actions on mailboxes.
    Mailboxes(Vec<MailboxAction>),
}

impl Work {
    /// What is done to messages; nothing where it is about mailboxes.
    pub fn actions(&self) -> &[Action] {
        match self {
            Self::Messages { actions, .. } => actions,
            Self::Mailboxes(_) => &[],
        }
    }
}

/// A part of a plan that was begun: durable before its first action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// The generation of the state that its begin made.
    pub generation: u64,
    /// What it does.
    pub work: Work,
}

/// The phases of a plan: everything is added before anything is removed, over all mailboxes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Fetches, uploads, copies.
    Add,
    /// Moves: what is moved away may have been copied before.
    Move,
    /// Flags.
    Flags,
    /// Deletions.
    Remove,
}

impl Action {
    /// The phase in which the action is done.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Fetch { .. } | Self::Append { .. } | Self::CopyRemote { .. } | Self::Restore { .. } => Phase::Add,
            Self::MoveRemote { .. } | Self::MoveLocal { .. } => Phase::Move,
            Self::SetFlags { .. } => Phase::Flags,
            Self::DeleteRemote { .. } | Self::DeleteLocal { .. } | Self::Withdraw { .. } => Phase::Remove,
        }
    }

    /// The side from whose silence the deletion was inferred, if it is one.
    pub fn inferred_from(&self) -> Option<Side> {
        match self {
            Self::DeleteRemote { inferred: true, .. } => Some(Side::Local),
            Self::DeleteLocal { inferred: true, .. } => Some(Side::Remote),
            Self::DeleteRemote { .. } | Self::DeleteLocal { .. } => None,
            Self::Fetch { .. }
            | Self::Append { .. }
            | Self::SetFlags { .. }
            | Self::CopyRemote { .. }
            | Self::MoveRemote { .. }
            | Self::MoveLocal { .. } => None,
            Self::Restore { .. } | Self::Withdraw { .. } => None,
        }
    }

    /// The message elsewhere that the action starts from, if it does.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::CopyRemote { origin, .. } | Self::MoveRemote { origin, .. } | Self::MoveLocal { origin, .. } => {
                Some(origin)
            }
            Self::Fetch { .. }
            | Self::Append { .. }
            | Self::SetFlags { .. }
            | Self::DeleteRemote { .. }
            | Self::DeleteLocal { .. }
            | Self::Restore { .. }
            | Self::Withdraw { .. } => None,
        }
    }

    /// The mailbox of the server to which the action adds a message, if it does; `mailbox` is the one that it works on.
    pub fn adds_to(&self, mailbox: MailboxId) -> Option<MailboxId> {
        match self {
            Self::Append { .. }
            | Self::CopyRemote { .. }
            | Self::MoveRemote { .. }
            | Self::Restore { from: Source::Trash { .. }, .. } => Some(mailbox),
            Self::DeleteRemote { route: Route::Trash(trash), .. } => Some(*trash),
            Self::DeleteRemote { route: Route::Expunge, .. }
            | Self::Fetch { .. }
            | Self::SetFlags { .. }
            | Self::DeleteLocal { .. }
            | Self::Restore { from: Source::Retention { .. }, .. }
            | Self::Withdraw { .. }
            | Self::MoveLocal { .. } => None,
        }
    }

    /// The name in the Maildir of the message that it is about.
    pub fn name(&self) -> &BaseName {
        match self {
            Self::Fetch { name, .. }
            | Self::Append { name, .. }
            | Self::SetFlags { name, .. }
            | Self::DeleteRemote { name, .. }
            | Self::DeleteLocal { name, .. }
            | Self::Restore { name, .. }
            | Self::Withdraw { name, .. }
            | Self::CopyRemote { name, .. }
            | Self::MoveRemote { name, .. }
            | Self::MoveLocal { name, .. } => name,
        }
    }

    /// The message of the server that it fetches, if it does.
    pub fn fetches(&self) -> Option<Uid> {
        match self {
            Self::Fetch { uid, .. } => Some(*uid),
            Self::Append { .. }
            | Self::SetFlags { .. }
            | Self::DeleteRemote { .. }
            | Self::DeleteLocal { .. }
            | Self::CopyRemote { .. }
            | Self::MoveRemote { .. }
            | Self::MoveLocal { .. }
            | Self::Restore { .. }
            | Self::Withdraw { .. } => None,
        }
    }

    /// Tells whether something is sent to the server.
    pub fn touches_remote(&self) -> bool {
        match self {
            Self::Append { .. } | Self::DeleteRemote { .. } | Self::CopyRemote { .. } | Self::MoveRemote { .. } => true,
            Self::Restore { from, .. } => matches!(from, Source::Trash { .. }),
            Self::SetFlags { remote, .. } => remote.is_some(),
            Self::Fetch { .. } | Self::DeleteLocal { .. } | Self::MoveLocal { .. } | Self::Withdraw { .. } => false,
        }
    }
}

impl MailboxPlan {
    /// Tells whether there is nothing to do and nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.notes.is_empty()
    }
}
