//! The end, and the end that is a beginning: a process cannot reach more than it could at its start, so what is to be reached
//! besides is reached by another one, which the monitor starts.

use super::{Message, Supervisor};
use crate::mail::escape;
use crate::monitor;
use crate::supervisor::handle::Gone;
use crate::supervisor::held::Account;
use crate::supervisor::schedule::Ending;
use crate::supervisor::status::What;
use crate::supervisor::work::{Finished, Update};
use crate::worker::{Kind, State, Trouble};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Supervisor {
    /// Finishes what is in hand, and ends then.
    pub(super) fn stop(&mut self, why: &str) {
        self.stopping = Some(self.now());
        self.requests.close();
        self.watch = None;
        self.accounts.values_mut().for_each(|held| {
            held.ear = None;
            held.kept.let_go();
        });
        self.happen(None, What::Stopping, why);
        let commands = self.schedule.stop(self.now());
        self.obey(commands);
        // Nobody waits for what will not be begun.
        for (_, (_, updates)) in std::mem::take(&mut self.tickets) {
            let (what, state) = (Gone.to_string(), State::Temporary);
            let _ = updates.send(Update::Failed(Trouble { state, kind: Kind::Interrupted, what, hint: None }));
        }
    }

    /// Ends, to be begun anew, if some of these accounts have a Maildir that was not named at the start, or is not reached
    /// since; says whether.
    pub(super) fn begins_anew_for(&mut self, accounts: &[Account]) -> bool {
        let is_beyond = |path: &&PathBuf| !self.bounds.name(path) || self.unreached.contains(*path);
        let beyond = accounts.iter().map(|account| &account.job.maildir).find(is_beyond);
        beyond.cloned().is_some_and(|path| self.begins_anew(&path))
    }

    /// Finds out whether the Maildir of an account can be reached; the future says whether, and sees to it if not.
    pub(super) fn within(&self, account: &str) -> impl Future<Output = bool> + Send + use<> {
        let path = self.accounts.get(account).map(|held| held.account.job.maildir.clone());
        let path = path.filter(|path| !self.unreached.contains(path));
        let (bounds, messages) = (self.bounds.clone(), self.messages.clone());
        async move {
            // A disk that does not answer is nobody's trouble but its account's.
            let look = move || path.filter(|path| !bounds.cover(path));
            let beyond = tokio::task::spawn_blocking(look).await.ok().flatten();
            let is_within = beyond.is_none();
            // A supervisor that ended needs none.
            drop(beyond.map(|path| messages.send(Message::Beyond(path))));
            is_within
        }
    }

    /// Ends, to be begun anew, since this cannot be reached. It goes on without it where nobody could begin: under a
    /// configuration that somebody is writing.
    pub(super) fn beyond(&mut self, path: PathBuf) {
        if self.stopping.is_some() {
            return;
        }
        if let Err(reason) = (self.load)() {
            let shown = escape(path.as_os_str().as_encoded_bytes());
            tracing::error!(
                "{shown} is reached by a daemon that begins anew, and none can: the configuration cannot be used. \
                 Mend it, and run `mailtwin reload`: {reason}"
            );
            self.unreached.insert(path);
            return;
        }
        self.notify.reloading();
        if !self.begins_anew(&path) {
            self.unreached.insert(path);
        }
    }

    fn begins_anew(&mut self, beyond: &Path) -> bool {
        let paused = self.accounts.iter().filter(|(_, held)| held.paused).map(|(name, _)| name.clone()).collect();
        if let Err(error) = monitor::begin_anew(paused) {
            tracing::error!("the daemon cannot be begun anew, which it should be: {error}.");
            return false;
        }
        let beyond = escape(beyond.as_os_str().as_encoded_bytes());
        tracing::info!("{beyond} was not there at the start, or is another one: the daemon begins anew, to reach it.");
        self.anew.store(true, Ordering::Release);
        self.stop("the daemon begins anew");
        true
    }
}

/// The end of a task that did not begin, since the daemon begins anew.
pub(super) fn put_off() -> Finished {
    let what = "the daemon begins anew, to reach the Maildir".to_owned();
    let trouble = Trouble { state: State::Temporary, kind: Kind::Interrupted, what, hint: None };
    Finished {
        ending: Ending::Interrupted,
        reason: None,
        told: None,
        standing: None,
        refused: false,
        last: Some(Update::Failed(trouble)),
    }
}
