//! The hands: a batch is begun, carried out, and settled with what was seen of it.
//!
//! No opinions here: what an action means is decided in `sync`, and every outcome is what was seen, not what was said.

use crate::mail::Fingerprint;
use crate::maildir::{Error as MaildirError, Upload as Opened, open_for_upload, print_of};
use crate::store::Settlement;
use crate::sync::{Action, Batch, Change, Known, MailboxId, Outcome, Picture, Work, settle, settled};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, Shown, blocking, now};
use crate::worker::{Error, Event};
use std::time::SystemTime;

/// An action of a batch, with its place there.
pub(super) type Numbered<'a> = (usize, &'a Action);

impl Pass<'_> {
    /// Begins, executes and settles a batch; returns the looks of what should have been uploaded and was not.
    pub(super) async fn batch(&mut self, work: Work, seen: &Observed) -> Result<Vec<Fingerprint>, Error> {
        let begun = self.begin(vec![work]).await?;
        let mut failed = Vec::new();
        for batch in begun {
            let Work::Messages { actions, .. } = &batch.work else { continue };
            let outcomes = self.carry(&batch, seen).await?;
            for (action, outcome) in actions.iter().zip(&outcomes) {
                if let (Action::Append { print: Some(print), .. }, false) =
                    (action, matches!(outcome, Outcome::Appended(..)))
                {
                    failed.push(*print);
                }
            }
            self.settle_batches(vec![(batch, outcomes)]).await?;
        }
        Ok(failed)
    }

    async fn carry(&mut self, batch: &Batch, seen: &Observed) -> Result<Vec<Outcome>, Error> {
        let Work::Messages { mailbox, uid_validity, actions, from } = &batch.work else { return Ok(vec![]) };
        let mut outcomes = vec![Outcome::Moot; actions.len()];
        let touches_server = actions.iter().any(|a| matches!(a, Action::Fetch { .. }) || a.touches_remote());
        if touches_server && !self.open(*mailbox, *uid_validity).await? {
            // Another mailbox lies under that name now: none of this may be done to it.
            return Ok(outcomes);
        }
        let select = |wanted: fn(&Action) -> bool| -> Vec<Numbered<'_>> {
            actions.iter().enumerate().filter(|(_, action)| wanted(action)).collect()
        };
        let fetches = select(|a| matches!(a, Action::Fetch { .. }));
        let appends = select(|a| matches!(a, Action::Append { .. }));
        let flags = select(|a| matches!(a, Action::SetFlags { .. }));
        let there = select(|a| matches!(a, Action::DeleteRemote { .. }));
        let here = select(|a| matches!(a, Action::DeleteLocal { .. }));
        let back = select(|a| matches!(a, Action::Restore { .. }));
        let again = select(|a| matches!(a, Action::Withdraw { .. }));
        self.fetch(*mailbox, &fetches, seen, &mut outcomes).await?;
        let from = from.get(mailbox).copied();
        self.restore(*mailbox, &back, from, seen, &mut outcomes).await?;
        self.append(*mailbox, &appends, from, seen, &mut outcomes).await?;
        self.set_flags(*mailbox, &flags, seen, &mut outcomes).await?;
        self.remove_there(*mailbox, &there, seen, &mut outcomes).await?;
        self.remove_here(*mailbox, &here, seen, &mut outcomes).await?;
        self.withdraw(*mailbox, &again, seen, &mut outcomes).await?;
        Ok(outcomes)
    }

    /// Settles batches, with what became of each of their actions, in one commit.
    pub(super) async fn settle_batches(&mut self, done: Vec<(Batch, Vec<Outcome>)>) -> Result<(), Error> {
        let mut settlement = Settlement::default();
        for (batch, outcomes) in &done {
            self.take_in(batch, outcomes, &mut settlement);
        }
        self.settle(settlement).await
    }

    fn take_in(&mut self, batch: &Batch, outcomes: &[Outcome], settlement: &mut Settlement) {
        let Work::Messages { mailbox, actions, .. } = &batch.work else { return };
        let mailbox = *mailbox;
        let recorded = settlement.changes.len();
        self.record_done(settlement, (mailbox, batch), outcomes);
        for (trash, changes) in &settlement.changes[recorded..] {
            let picture = self.pictures.entry(*trash).or_default();
            changes.iter().for_each(|change| picture.apply(change.clone()));
        }
        let picture = self.pictures.entry(mailbox).or_default();
        let mut changes: Vec<Change> = Vec::new();
        for (action, outcome) in actions.iter().zip(outcomes) {
            let shown = self.shown.remove(action.name()).unwrap_or_default();
            let settled: Vec<Change> = settle(picture, action, outcome, now())
                .into_iter()
                .map(|change| with_lacks(picture, change, &shown))
                .collect();
            for change in &settled {
                self.learnt += u64::from(!picture.holds(change));
                picture.apply(change.clone());
            }
            changes.extend(settled);
            let report = &mut self.report;
            match (action, outcome) {
                (Action::Restore { number, .. } | Action::Withdraw { number, .. }, Outcome::Failed(reason)) => {
                    self.not_restored.insert(*number, reason.clone());
                }
                (_, Outcome::Failed(_)) => report.quarantined += 1,
                (Action::Fetch { .. }, Outcome::Fetched(_)) => report.fetched += 1,
                (Action::Append { .. }, Outcome::Appended(..)) => report.appended += 1,
                (Action::SetFlags { .. }, Outcome::FlagsSet { .. }) => report.flagged += 1,
                (Action::DeleteRemote { .. }, Outcome::Removed) => report.removed_there += 1,
                (Action::DeleteLocal { .. }, Outcome::Removed) => report.removed_here += 1,
                _ => {}
            }
        }
        // What came in a flight was told while it came.
        let messages = actions.iter().filter(|action| !matches!(action, Action::Fetch { .. })).count();
        let octets = std::mem::take(&mut self.octets);
        let _ = self.events.send(Event::Done { messages, octets });
        // What nobody knows stays in the journal, and the next look finds it out.
        let unknown = outcomes.iter().any(|o| matches!(o, Outcome::Unknown | Outcome::Stored));
        if !unknown {
            self.batches.retain(|open| open.id != batch.id);
            settlement.closed.push(batch.id);
        }
        settlement.changes.push((mailbox, changes));
    }

    /// Fills in what the messages look like that are to be uploaded; what cannot be sent at all is remembered as failed
    /// and left out. Returns the looks of what was left out.
    pub(super) async fn measure(
        &mut self,
        mailbox: MailboxId,
        actions: &mut Vec<Action>,
        seen: &Observed,
    ) -> Result<Vec<Fingerprint>, Error> {
        let (Some(folder), Some(scan)) = (seen.folder.clone(), &seen.scan) else { return Ok(vec![]) };
        let limit = self.imap.capabilities().append_limit();
        let mut kept = Vec::new();
        let (mut refused, mut looks): (Vec<Change>, _) = (Vec::new(), Vec::new());
        for action in actions.drain(..) {
            let Action::Append { name, flags, .. } = action else {
                kept.push(action);
                continue;
            };
            let Some(known) = scan.files.get(&name).cloned() else { continue };
            let (folder, base) = (folder.clone(), name.clone());
            let opened = blocking(move || {
                let opened = own_fault(open_for_upload(&folder, &base, &known, SystemTime::now()))?;
                let look =
                    if matches!(opened, Ok(Opened::Refused(_))) { print_of(&folder, &base, &known)? } else { None };
                Ok((opened, look))
            });
            let (opened, look) = opened.await?;
            let reason = match opened {
                Err(reason) => reason,
                Ok(Opened::Ready(ready)) if limit.is_some_and(|limit| ready.size > limit) => {
                    looks.push(ready.fingerprint);
                    format!("it has {} octets, more than the server takes", ready.size)
                }
                Ok(Opened::Ready(ready)) => {
                    kept.push(Action::Append { name, flags, print: Some(ready.fingerprint) });
                    continue;
                }
                Ok(Opened::Refused(reason)) => reason.to_string(),
                // The next look decides.
                Ok(Opened::Gone) => continue,
            };
            looks.extend(look);
            let picture = self.pictures.entry(mailbox).or_default();
            let failed = Action::Append { name, flags, print: None };
            let changes = settle(picture, &failed, &Outcome::Failed(reason), now());
            changes.iter().for_each(|change| picture.apply(change.clone()));
            refused.extend(changes);
            self.report.quarantined += 1;
        }
        *actions = kept;
        if !refused.is_empty() {
            self.settle(Settlement { changes: vec![(mailbox, refused)], ..Settlement::default() }).await?;
        }
        Ok(looks)
    }
}

/// Remembers which keywords a side was seen without, of a pair that was made or changed.
fn with_lacks(picture: &Picture, change: Change, shown: &Shown) -> Change {
    match change {
        Change::Uid(uid, Some(Known::Pair(pair))) => {
            let pair = settled(picture.pair(uid), pair, shown.there.as_ref(), shown.here.as_ref());
            Change::Uid(uid, Some(Known::Pair(pair)))
        }
        other => other,
    }
}

/// Tells what is wrong with one file alone, so that it does not stop the others, from what is wrong with the Maildir.
pub(super) fn own_fault<T>(done: Result<T, MaildirError>) -> Result<Result<T, String>, Error> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(error @ (MaildirError::DiskFull { .. } | MaildirError::Unavailable(_))) => Err(error.into()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            Ok(Err(format!("{error}{cause}")))
        }
    }
}
