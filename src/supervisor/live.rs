//! What makes an account live: its Maildir is watched, and a connection of its own listens to the server.
//!
//! Neither carries anything. They say that it is worth looking, and the schedule decides when that is done.

use super::backoff::{PASSING, next, spread};
use super::favourites::Favourites;
use super::held::Account;
use crate::mail::escape;
use crate::maildir::{Blind, Layout, Watch};
use crate::worker::{AccountStatus, Heard, Job, Kind, Trouble, listen, listen_to};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// The mailbox that is listened to on every server, as a pass calls it.
pub(super) const LISTENED: &str = "INBOX";
/// A connection that lasted so long was a good one: another is made at once, or nearly, that not all come in one instant.
const STEADY: Duration = Duration::from_secs(60);
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);

/// What is told of an account that is to be live.
#[derive(Debug)]
pub(super) enum Told {
    /// Its Maildir is watched, or why not. `grown`: since it was looked at something came that was not watched.
    Covered { grown: bool, blind: Option<Blind> },
    /// The ear with this number hears.
    Heard { ear: u64, heard: Heard },
    /// It lost its connection, or got none. `is_over`: and does not try again by itself.
    Deaf { ear: u64, reason: String, is_over: bool },
}

/// How a Maildir is covered with watches.
#[derive(Clone)]
pub(super) struct Cover {
    pub watch: Arc<Watch>,
    pub account: String,
    pub state_dir: PathBuf,
    pub maildir: PathBuf,
    pub layout: Layout,
}

impl Cover {
    pub fn of(watch: &Arc<Watch>, job: &Job) -> Self {
        let Job { account, state_dir, maildir, layout, .. } = job.clone();
        Self { watch: watch.clone(), account, state_dir, maildir, layout }
    }

    /// Watches the Maildir as it is now; whether anything came since it was done before.
    pub async fn spread(&self) -> Result<bool, Blind> {
        let cover = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Without its names every change is a look at everything.
            let status = AccountStatus::load(&cover.state_dir, &cover.account).ok();
            let mailboxes = status.into_iter().flat_map(|status| status.mailboxes);
            let names = mailboxes.filter_map(|mailbox| Some((mailbox.local?, mailbox.name))).collect();
            cover.watch.cover(&cover.account, &cover.maildir, cover.layout, &names)
        });
        done.await.unwrap_or_else(|error| Err(Blind::System(error.to_string())))
    }
}

/// How many connections to the server may listen. Two are left for work, which never takes more.
pub(super) fn ears(account: &Account) -> usize {
    let Job { connections, wanted, .. } = &account.job;
    let listens = account.live && *connections >= 2 && wanted(LISTENED);
    if listens { connections.saturating_sub(2).max(1) } else { 0 }
}

/// The mailboxes to which it is worth to listen besides, none known yet: as many as ears are left of the first.
pub(super) fn favourites(account: &Account) -> Favourites {
    Favourites::new(ears(account).saturating_sub(1))
}

/// Who listens to the server of an account, until this is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    pub number: u64,
    pub is_listening: bool,
    /// Why it never did.
    pub reason: Option<String>,
    /// It does not hear at once what changes in mailboxes other than the INBOX: further ones are of use,
    pub needs_further: bool,
    /// each for one mailbox.
    pub further: BTreeMap<String, Self>,
    pub task: AbortHandle,
}

impl Ear {
    /// This one, or the one of the further ones that has the number.
    pub fn numbered(&mut self, number: u64) -> Option<&mut Self> {
        if self.number == number {
            return Some(self);
        }
        self.further.values_mut().find(|ear| ear.number == number)
    }

    /// One of the further ones lost its connection, or got none. What it does not hear is found by the next look.
    pub fn lost_one(&mut self, number: u64, reason: &str, is_over: bool) {
        let Some((mailbox, ear)) = self.further.iter_mut().find(|(_, ear)| ear.number == number) else { return };
        tracing::debug!("the connection that listens to {} ended, or none could be made: {reason}.", escape(mailbox));
        ear.is_listening = false;
        if is_over {
            let mailbox = mailbox.clone();
            self.further.remove(&mailbox);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens after a while, again and again; to one mailbox, or to all as far as they can be heard at once. It ends where the
/// login is refused: the next pass that gets in begins another.
pub(super) async fn keep_listening(
    job: Job,
    mailbox: Option<String>,
    ear: u64,
    after: Duration,
    mut seed: u64,
    mut tell: impl FnMut(Told) + Send,
) {
    let (mut failures, mut notifies) = (0, true);
    sleep(after).await;
    loop {
        let began = Instant::now();
        let mut hear = |heard| tell(Told::Heard { ear, heard });
        let trouble = Trouble::from(match &mailbox {
            None => listen(&job, &mut notifies, &mut hear).await,
            Some(mailbox) => listen_to(&job, mailbox, &mut hear).await,
        });
        let is_over = trouble.kind == Kind::Login;
        tell(Told::Deaf { ear, reason: trouble.what, is_over });
        if is_over {
            return;
        }
        let wait = if began.elapsed() >= STEADY {
            failures = 0;
            spread(Duration::ZERO, AT_ONCE, next(&mut seed)).max(trouble.hint.unwrap_or_default())
        } else {
            failures += 1;
            PASSING.delay(failures, trouble.hint, next(&mut seed))
        };
        sleep(wait).await;
    }
}
