//! The words of the schedule: what happens, what is to be done, how things end.

use crate::sync::Side;
use std::time::Duration;

/// What all accounts share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many passes go on at once. Each has a database open, a connection, and writes to the disk.
    pub passes: usize,
    /// How many of them are first passes, which transfer everything.
    pub first: usize,
    /// How many more may go on if a person asks.
    pub reserve: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { passes: 56, first: 4, reserve: 8 }
    }
}

/// What the schedule knows of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// It is looked at so often, whatever else happens.
    pub every: Duration,
    /// It was synchronised before.
    pub known: bool,
    /// A person wants it left alone, and said so before the daemon began anew.
    pub paused: bool,
}

/// What happened to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is there, at the start or since a reload.
    Added(Setup),
    /// Its configuration is another one; so its secret may be, and its server.
    Changed(Setup),
    /// It is in the configuration no more.
    Removed,
    /// Something changed on a side; if it is known in which mailbox, that is named (decoded).
    Woken {
        /// Where.
        side: Side,
        /// In which mailbox.
        mailbox: Option<String>,
    },
    /// Both sides tell at once when something changes.
    Listening,
    /// The server does not any more.
    LostLink,
    /// The machine is somewhere else: what failed may work now.
    Moved,
    /// A person wants it to be looked at now, without waiting for that.
    Now,
    /// A person wants something done, and waits for it.
    Asked(Ticket),
    /// Nothing is done with it of our own accord,
    Paused,
    /// until now.
    Resumed,
    /// What goes on in it moved on.
    Progressed,
    /// What went on in it ended.
    Ended(Ending),
    /// The secret that was refused was compared with what it is now.
    Compared {
        /// It is another one.
        changed: bool,
    },
}

/// Something that a person asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its number.
    pub number: u64,
    /// Who asked decides how long it takes: it is never stuck.
    pub patient: bool,
}

/// How something ended that went on in an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A pass ended by itself.
    Passed {
        /// How the account fares since.
        health: Health,
        /// It came to its end, whatever it had to leave out.
        whole: bool,
        /// How long the server asks to be left alone.
        hint: Option<Duration>,
    },
    /// It was told to end, and did.
    Interrupted,
    /// It panicked, or was given up.
    Broke,
    /// Another process works on the account.
    Locked,
    /// Something else was done; it may have given a reason to look.
    Aside {
        /// It did.
        look: bool,
    },
}

/// How an account fares since its last pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// All was done.
    Good,
    /// All was done but what waits for a person.
    Held,
    /// It failed, and may work later.
    Passing,
    /// The server does not let us in.
    Login,
    /// The Maildir is not there.
    LocalUnavailable,
    /// There is no room on the disk.
    DiskFull,
    /// It needs a person.
    Attention,
}

/// What the caller is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Begin this.
    Run {
        /// The account.
        account: String,
        /// What.
        task: Task,
    },
    /// Tell what goes on to end where it is whole.
    Finish(String),
    /// Cut the connection of what goes on.
    Cut(String),
    /// Drop what goes on; the next pass recovers from it as from a crash.
    GiveUp(String),
    /// Compare the secret with the one that was refused.
    CompareSecret(String),
}

/// Something to do in an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// A pass over these mailboxes (decoded); empty: all.
    Pass(Vec<String>),
    /// What the ticket with this number says.
    Ticket(u64),
}
