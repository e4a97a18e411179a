//! What follows for a mailbox: the verdicts of [`table`](crate::sync::table).

use crate::mail::{MailboxName, SpecialUse};
use crate::sync::picture::MailboxId;

/// What is to be done with a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailboxVerdict {
    /// It is on both sides, as agreed.
    Mirror(MailboxId),
    /// It is on the server only: its Maildir is made.
    CreateLocal {
        /// Its name.
        name: MailboxName,
        /// Its role.
        role: Option<SpecialUse>,
        /// The path that it gets.
        path: String,
    },
    /// It is in the Maildir only: it is made on the server.
    CreateRemote {
        /// The name that it gets.
        name: MailboxName,
        /// Its path.
        path: String,
        /// The mailbox whose directory was copied, with its marker, to make this one.
        copy_of: Option<MailboxId>,
    },
    /// It is on both sides, and was never agreed.
    Meet {
        /// Its name.
        name: MailboxName,
        /// Its role.
        role: Option<SpecialUse>,
        /// Its path.
        path: String,
    },
    /// It was renamed on the server: its directory is, too.
    RenameLocal {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its new name.
        name: MailboxName,
        /// Where its directory is.
        from: String,
        /// Where it belongs.
        to: String,
        /// It was renamed here as well, and otherwise: the server has the last word.
        overruled: bool,
    },
    /// Its directory was renamed: it is renamed on the server.
    RenameRemote {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name.
        from: MailboxName,
        /// The name that it gets.
        to: MailboxName,
        /// Where its directory is now.
        path: String,
    },
    /// The server does not list it any more: it is parked.
    Park(MailboxId),
    /// The server does not list it any more, and the owner wants it deleted here as well.
    Empty(MailboxId),
    /// It is gone from both sides.
    Forget(MailboxId),
    /// It is no longer subscribed to, and only subscribed mailboxes are wanted: it is parked.
    Unsubscribed(MailboxId),
    /// It was parked because it was not subscribed to, and now it is.
    Unpark(MailboxId),
    /// It was parked before.
    Parked(MailboxId),
    /// It was parked before, and the server lists a mailbox of that name again; whether its directory is still there.
    BackOnServer(MailboxId, bool),
    /// Its directory is wholly gone: a person is asked, and the server's mailbox stays.
    GoneHere {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server now.
        name: MailboxName,
    },
    /// Its directory is gone, and it is deleted on the server: the owner wants that, or said so about this one.
    DeleteRemote {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server now.
        name: MailboxName,
        /// A person said so: it may have mail.
        approved: bool,
    },
    /// Its directory is gone, and a person wants it back.
    Restore {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name on the server now.
        name: MailboxName,
        /// The path that it gets.
        path: String,
    },
    /// Something is where its directory was, and is not the Maildir that it was: nothing is done.
    Unavailable {
        /// The mailbox.
        mailbox: MailboxId,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// It is left out, with the reason as a clause.
    LeftOut {
        /// What it is called, escaped.
        what: String,
        /// Why.
        reason: String,
        /// Something is wrong, rather than being as the owner wants it.
        failed: bool,
    },
}
