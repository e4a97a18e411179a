//! What a worker is told to do, and what it tells meanwhile.

use crate::mail::{BaseName, Flags, MailboxName, Uid};
use crate::maildir::{Destination, Keywords, Layout};
use crate::remote::Endpoint;
use crate::store::{self, Health, Lock, Store};
use crate::sync::maildrop::Maildrop;
use crate::sync::{Action, Deletion, Guard, Held, Limits, MailboxAction, MailboxPlan, Policy, Side, Sides};
use crate::worker::kept::Kept;
use crate::worker::queues::Queue;
use crate::worker::reins::Reins;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Tells whether a mailbox is wanted, by its decoded name with `/` between the levels.
pub type Wanted = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// One account, as a worker needs it.
#[derive(Clone)]
pub struct Job {
    /// The name of the account.
    pub account: String,
    /// The server.
    pub endpoint: Endpoint,
    /// The root of the Maildir.
    pub maildir: PathBuf,
    /// The state directory of all accounts.
    pub state_dir: PathBuf,
    /// Which mailboxes are mirrored.
    pub wanted: Wanted,
    /// How the directories of mailboxes are laid out.
    pub layout: Layout,
    /// Mailboxes that are called otherwise here: the name on the server and the name here, decoded, with `/` between the
    /// levels.
    pub rename: Vec<(String, String)>,
    /// Only mailboxes that the user subscribed to are mirrored.
    pub subscribed_only: bool,
    /// On which sides mailboxes are made that are new on the other.
    pub create_mailboxes: Sides,
    /// On which sides mailboxes are deleted that were deleted on the other.
    pub delete_mailboxes: Sides,
    /// Which of them the configuration calls by their whole name.
    pub named: Wanted,
    /// What becomes of the server's message when the local one was deleted.
    pub deletion: Deletion,
    /// What may be done with the changes of each side.
    pub policy: Policy,
    /// Where keywords live in the Maildir.
    pub keywords: Keywords,
    /// What is not fetched.
    pub limits: Limits,
    /// How many deletions are believed.
    pub guard: Guard,
    /// How long the retention area keeps what was deleted.
    pub keep_deleted: Duration,
    /// How often the flags of active mailboxes are listed where the server does not tell when they change; none: each time,
    /// and those of all mailboxes.
    pub flags_every: Option<Duration>,
    /// How many connections to the server there may be at once.
    pub connections: usize,
    /// How many actions a batch has at most.
    pub group: usize,
    /// The lock of the account, where somebody holds it all the time.
    pub lock: Option<Arc<Lock>>,
    /// How a pass is ended before its time.
    pub reins: Reins,
    /// Which messages are touched in the Maildir is told.
    pub tells_touched: bool,
    /// Where sessions are kept from one pass to the next, if they are.
    pub kept: Option<Kept>,
    /// What is wanted of a remote that is a drop; none where it is a store of mailboxes.
    pub maildrop: Option<Maildrop>,
    /// Where what a drop has is passed on to, if the Maildir is a queue.
    pub deliver_to: Option<Destination>,
    /// The queues of accounts whose messages are passed on to this one.
    pub queues: Vec<Queue>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("account", &self.account).field("maildir", &self.maildir).finish_non_exhaustive()
    }
}

impl Job {
    /// Where the state of this account is.
    pub fn state(&self) -> PathBuf {
        self.state_dir.join(&self.account)
    }

    /// Opens the state of this account, under the lock that is held if one is. Blocking.
    pub(super) fn open(&self) -> Result<(Store, Health), store::Error> {
        match &self.lock {
            Some(lock) => Store::open_under(&self.state(), lock),
            None => Store::open(&self.state()),
        }
    }
}

/// What is going on, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The session is open.
    LoggedIn {
        /// The server, for people.
        peer: String,
    },
    /// The server tells at once when something changes in a mailbox, if it is listened to.
    CanListen,
    /// The server asked an earlier run to be left alone; it is, for this time.
    LeavingAlone(Duration),
    /// Files are missing, and are looked for again after this time.
    LookingAgain(Duration),
    /// Files appeared a moment ago whose bytes are elsewhere too: whether they were moved is seen after this time.
    WaitingForMoves(Duration),
    /// Files are read, to find out which messages of the server they are.
    Pairing {
        /// How many were read.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// So much is to be done.
    Planned {
        /// Messages to fetch.
        fetch: usize,
        /// Messages to upload.
        append: usize,
        /// Everything else.
        other: usize,
    },
    /// Actions were carried out.
    Done {
        /// How many.
        messages: usize,
        /// Octets of messages moved with them.
        octets: u64,
    },
    /// Messages in the Maildir were touched, durably; told where that is wanted.
    Touched(Vec<Touched>),
}

/// A message in the Maildir that a pass made, changed, or took away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Its mailbox (decoded, with `/` between the levels).
    pub mailbox: String,
    /// The directory of that: what has `new` and `cur`.
    pub directory: PathBuf,
    /// The name of its file there, without flags.
    pub name: BaseName,
    /// Its UID; none where the server has no UIDs.
    pub uid: Option<Uid>,
    /// The flags that it has now, or had.
    pub flags: Flags,
    /// What became of it.
    pub how: Touch,
}

/// What became of a message in the Maildir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Touch {
    /// It came.
    New,
    /// It has other flags, or lies in another mailbox.
    Changed,
    /// It went.
    Gone,
}

/// What is to be done in an account, and what nobody can do.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPlan {
    /// Mailboxes to make.
    pub mailboxes: Vec<MailboxAction>,
    /// In a dry run, what would be done in each mailbox; those with nothing to do are left out.
    pub messages: Vec<Planned>,
    /// Deletions that the guard holds back.
    pub held: Vec<HeldBack>,
}

/// What is to be done in one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name on the server.
    pub mailbox: MailboxName,
    /// What is to be done.
    pub actions: Vec<Action>,
}

/// Deletions that the guard holds back in one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Its name on the server.
    pub mailbox: MailboxName,
    /// The side from which the messages vanished.
    pub gone: Side,
    /// The number of the set.
    pub set: u32,
    /// How many messages.
    pub count: u32,
}

impl AccountPlan {
    /// Adds what would be done to messages.
    pub fn add(&mut self, plans: &[MailboxPlan]) {
        let some = plans.iter().filter(|plan| !plan.actions.is_empty());
        self.messages.extend(some.map(|plan| Planned { mailbox: plan.name.clone(), actions: plan.actions.clone() }));
    }

    /// Adds what is held of plans.
    pub fn hold(&mut self, plans: &[MailboxPlan], held: &[Held]) {
        for set in held {
            if let Some(plan) = plans.iter().find(|plan| plan.mailbox == set.mailbox) {
                let Held { gone, set, count, .. } = *set;
                self.held.push(HeldBack { mailbox: plan.name.clone(), gone, set, count });
            }
        }
    }
}

/// How a pass over an account went.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was planned, and done unless told otherwise below.
    pub plan: AccountPlan,
    /// Messages that were on both sides already, and were recognised.
    pub recognised: u64,
    /// Messages fetched.
    pub fetched: u64,
    /// Messages uploaded.
    pub appended: u64,
    /// Messages whose flags were changed on either side.
    pub flagged: u64,
    /// Messages moved on the server, because they were moved here.
    pub moved_there: u64,
    /// Messages moved here, because they were moved on the server.
    pub moved_here: u64,
    /// Messages copied on the server, because they were copied here.
    pub copied: u64,
    /// Messages removed from the server.
    pub removed_there: u64,
    /// Messages removed from the Maildir.
    pub removed_here: u64,
    /// Messages that could not be transferred, and are tried again later.
    pub quarantined: u64,
    /// Deletions that wait for a person.
    pub held: u64,
    /// Mailboxes of which a person has to say whether both sides belong together.
    pub asked: u64,
    /// What was found besides, and concerns the whole account; sentences.
    pub notices: Vec<String>,
    /// Mailboxes that were left out, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// A mailbox that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, escaped.
    pub mailbox: String,
    /// Why, and what to do.
    pub reason: String,
    /// Something failed, rather than being as it should be.
    pub failed: bool,
}
