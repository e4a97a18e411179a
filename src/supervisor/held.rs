//! An account of the daemon, and what is held of it: its lock above all.

use super::favourites::Favourites;
use super::live::{self, Ear};
use super::metrics::{Counters, Standing};
use super::schedule::Setup;
use crate::hooks::{Hooks, Runner};
use crate::maildir::Blind;
use crate::store::{self, Lock};
use crate::worker::{self, AccountStatus, Job, Kept, Trouble};
use std::sync::Arc;
use std::time::Duration;

/// An account, as the configuration has it.
#[derive(Clone, Debug)]
pub struct Account {
    /// What its worker is told.
    pub job: Job,
    /// How often it is looked at.
    pub every: Duration,
    /// Changes are noticed at once, on either side.
    pub live: bool,
    /// What is told of it to programs of the owner.
    pub hooks: Hooks,
    /// A digest of its configuration: another one means that it changed.
    pub digest: [u8; 32],
}

/// An account, and what is held of it.
pub(super) struct Held {
    pub account: Account,
    /// Its lock. None: another process has it, for a while.
    pub lock: Option<Arc<Lock>>,
    /// What is wrong with it.
    pub reason: Option<String>,
    /// The digest of the secret that was refused.
    pub refused: Option<[u8; 32]>,
    /// A person wants it left alone.
    pub paused: bool,
    /// Who listens to its server.
    pub ear: Option<Ear>,
    /// To which mailboxes it is worth to listen besides.
    pub favourites: Favourites,
    /// The session that a pass left for the next.
    pub kept: Kept,
    /// What is counted of it.
    pub counters: Counters,
    /// What runs its hooks.
    pub hooks: Runner,
    /// Its Maildir is watched,
    pub sees: bool,
    /// or cannot be.
    pub blind: Option<Blind>,
}

impl Held {
    pub fn new(account: Account) -> Self {
        let (lock, reason, refused, ear, blind) = (None, None, None, None, None);
        let (kept, hooks) = (Kept::default(), Runner::start(&account.job.account, &account.hooks));
        let status = AccountStatus::load(&account.job.state_dir, &account.job.account);
        let standing = status.as_ref().map(Standing::of).unwrap_or_default();
        let counters = Counters { standing, ..Counters::default() };
        let favourites = live::favourites(&account);
        let (paused, sees) = (false, false);
        let mut held =
            Self { account, lock, reason, refused, paused, ear, favourites, kept, counters, hooks, sees, blind };
        if let Err(error) = held.hold() {
            held.note(Some(Trouble::from(worker::Error::from(error)).what));
        }
        held
    }

    /// The lock of the account, taken if it is not held.
    pub fn hold(&mut self) -> Result<Arc<Lock>, store::Error> {
        if let Some(lock) = &self.lock {
            return Ok(lock.clone());
        }
        let lock = Arc::new(Lock::hold(&self.account.job.state())?);
        self.lock = Some(lock.clone());
        Ok(lock)
    }

    /// Remembers what is wrong with the account, and tells the log if that is news.
    pub fn note(&mut self, reason: Option<String>) {
        let account = &self.account.job.account;
        match &reason {
            Some(text) if self.reason != reason => {
                tracing::warn!(account = %account, "{account}: {}", sentence(text));
                self.hooks.failed(text);
            }
            None if self.reason.is_some() => tracing::info!(account = %account, "{account}: all is well again."),
            _ => {}
        }
        self.reason = reason;
    }

    /// What the schedule has to know of it. Reads its status file.
    pub fn setup(&self) -> Setup {
        let Job { state_dir, account, .. } = &self.account.job;
        let status = AccountStatus::load(state_dir, account);
        let known = status.is_ok_and(|status| status.last_success.is_some());
        Setup { every: self.account.every, known, paused: self.paused }
    }
}

/// A clause as the end of a sentence.
pub(super) fn sentence(clause: &str) -> String {
    if clause.ends_with(['.', '!', '?']) { clause.to_owned() } else { format!("{clause}.") }
}
