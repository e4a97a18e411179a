//! A task of an account, from its beginning to its end.

use super::{Message, Running, Supervisor, anew};
use crate::remote::secret;
use crate::supervisor::held::sentence;
use crate::supervisor::live::Told;
use crate::supervisor::schedule::{Ending, Event, Health, Task};
use crate::supervisor::status::{Doing, Progress, What};
use crate::supervisor::work::{Answer, Finished, Update, Updates, Work, carry_out};
use crate::worker::{self, Job, Kind, Reins, State, Trouble};
use tokio::sync::mpsc::unbounded_channel;

const BROKE: &str =
    "a part of mailtwin stopped unexpectedly, and is begun again; please report what the log says of it";
const GIVEN_UP: &str = "it did not move for long, and was given up; the next pass recovers";

impl Supervisor {
    /// Begins a task of an account.
    pub(super) fn begin(&mut self, name: String, task: Task) {
        let (work, updates) = match task {
            Task::Pass(mailboxes) => (Work::Sync { mailboxes, dry_run: false }, None),
            Task::Ticket(number) => match self.tickets.remove(&number) {
                Some((work, updates)) => (work, Some(updates)),
                None => return self.end(&name, Ending::Aside { look: false }),
            },
        };
        if updates.as_ref().is_some_and(Updates::is_closed) {
            return self.end(&name, Ending::Aside { look: false });
        }
        let is_loan = work == Work::Lend;
        let Some(held) = self.accounts.get_mut(&name) else { return };
        let lock = match held.hold() {
            Ok(lock) => lock,
            Err(error) => {
                let trouble = Trouble::from(worker::Error::from(error));
                let ending = match trouble.kind {
                    Kind::Locked => Ending::Locked,
                    Kind::DiskFull => Ending::Passed { health: Health::DiskFull, whole: false, hint: None },
                    _ => Ending::Passed { health: Health::Attention, whole: false, hint: None },
                };
                let reason = Some(trouble.what.clone());
                let last = Some(Update::Failed(trouble));
                let (told, standing, refused) = (None, None, false);
                let finished = Box::new(Finished { ending, reason, told, standing, refused, last });
                // Through the queue, so that the stack does not grow.
                let _ = self.messages.send(Message::Ended { account: name, finished, updates });
                return;
            }
        };
        let lock = if is_loan {
            held.kept.let_go();
            held.lock = None;
            drop(lock);
            None
        } else {
            Some(lock)
        };
        // Who asks wants to see all.
        let flags_every = held.account.job.flags_every.filter(|_| updates.is_none());
        let reins = Reins::of(held.kept.line());
        let before = (reins.line.received(), reins.line.sent());
        let kept = Some(held.kept.clone());
        let mut job = Job { lock, reins: reins.clone(), kept, flags_every, ..held.account.job.clone() };
        let ears = held.ears();
        job.connections -= ears;
        // It tells which mailboxes are used.
        job.tells_touched |= ears > 1;
        let cover = self.accounts.get(&name).and_then(|held| self.cover(held));
        let is_asked = updates.is_some();
        let (events, mut moved) = unbounded_channel();
        let (messages, account) = (self.messages.clone(), name.clone());
        let (asked, tell) = (updates.clone(), messages.clone());
        // It may have come meanwhile, or come back as another one.
        let is_troubled = self.accounts.get(&name).is_some_and(|held| held.reason.is_some());
        let within = is_troubled.then(|| self.within(&name));
        let inner = tokio::spawn(async move {
            if let Some(within) = within
                && !within.await
            {
                return anew::put_off();
            }
            let Some(cover) = cover else { return carry_out(job, work, events, asked).await };
            let covered = |account: &str, covered: Result<bool, _>, is_after: bool| {
                let grown = is_after && covered.as_ref().is_ok_and(|grown| *grown);
                let told = Told::Covered { grown, blind: covered.err() };
                let _ = tell.send(Message::Live { account: account.to_owned(), told });
            };
            // Watched first, and then looked at; what the pass makes is watched after it.
            covered(&cover.account, cover.spread().await, false);
            let finished = carry_out(job, work, events, asked).await;
            covered(&cover.account, cover.spread().await, true);
            finished
        });
        let abort = inner.abort_handle();
        tokio::spawn(async move {
            while let Some(event) = moved.recv().await {
                let _ = messages.send(Message::Moved { account: account.clone(), event });
            }
            // It ends when the task does, however that ends.
            let finished = Box::new(inner.await.unwrap_or_else(|error| broken(error.is_panic())));
            let _ = messages.send(Message::Ended { account, finished, updates });
        });
        let doing = if is_loan { Doing::Lent } else { Doing::Connecting };
        let (began, progress) = (self.now(), Progress { doing, ..Progress::default() });
        self.running.insert(name.clone(), Running { began, before, progress, reins, abort, is_asked });
        self.happen(Some(name), What::Began, if is_loan { "lent to another process" } else { "looked at" });
    }

    pub(super) fn ended(&mut self, account: String, finished: Finished, updates: Option<Updates>) {
        let ran = self.running.remove(&account);
        let Finished { ending, reason, told, standing, refused, last } = finished;
        let failed = match ending {
            Ending::Passed { health, .. } => !matches!(health, Health::Good | Health::Held),
            Ending::Broke | Ending::Locked => true,
            Ending::Interrupted | Ending::Aside { .. } => false,
        };
        if let Some(held) = self.accounts.get_mut(&account) {
            // A loan that is over; who has not let go yet is waited for at the next pass.
            let _ = held.hold();
            if held.paused {
                held.kept.let_go();
            }
            let counters = &mut held.counters;
            counters.standing = standing.unwrap_or(counters.standing);
            match &last {
                Some(Update::Done(Answer::Synced(report) | Answer::Undone(report, _))) => counters.passed(report),
                Some(Update::Failed(trouble)) => counters.failed(trouble),
                _ => {}
            }
            if let Some(Running { before, reins, .. }) = &ran {
                counters.received += reins.line.received().saturating_sub(before.0);
                counters.sent += reins.line.sent().saturating_sub(before.1);
            }
            if !matches!(ending, Ending::Interrupted | Ending::Aside { .. }) {
                held.note(reason.clone());
            }
        }
        if let Some(told) = &told {
            tracing::info!(account = %account, "{account}: {}", sentence(told));
        }
        let text = told.as_deref().or(reason.as_deref()).unwrap_or("nothing to do");
        let (what, text) = match reason.as_deref() {
            Some(reason) if failed => (What::Failed, reason),
            _ => (What::Ended, text),
        };
        self.happen(Some(account.clone()), what, text);
        if refused {
            self.digest(&account, true);
            // Nor does it try the same secret by another way.
            if let Some(held) = self.accounts.get_mut(&account) {
                held.ear = None;
            }
        }
        self.end(&account, ending);
        if let (Some(updates), Some(last)) = (updates, last) {
            // Whoever asks next sees what came of it.
            self.publish();
            let _ = updates.send(last);
        }
        if failed {
            // It may be that it was made just now.
            tokio::spawn(self.within(&account));
        }
    }

    pub(super) fn end(&mut self, account: &str, ending: Ending) {
        self.on(account, Event::Ended(ending));
        if !self.schedule.knows(account) {
            self.leave_alone(account);
            self.accounts.remove(account);
        }
    }

    /// Finds out what the secret of an account is, as a digest.
    pub(super) fn digest(&self, account: &str, is_refused: bool) {
        let Some(held) = self.accounts.get(account) else { return };
        let (endpoint, key, messages) = (held.account.job.endpoint.clone(), self.key, self.messages.clone());
        let account = account.to_owned();
        tokio::spawn(async move {
            let digest = secret::digest(&endpoint, &key).await.ok();
            let _ = messages.send(Message::Digest { account, digest, is_refused });
        });
    }
}

/// The end of a task that did not come to it.
fn broken(panicked: bool) -> Finished {
    let what = if panicked { BROKE } else { GIVEN_UP }.to_owned();
    let trouble = Trouble { state: State::Failed, kind: Kind::Other, what: what.clone(), hint: None };
    Finished {
        ending: Ending::Broke,
        reason: Some(what),
        told: None,
        standing: None,
        refused: false,
        last: Some(Update::Failed(trouble)),
    }
}
