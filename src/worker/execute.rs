//! The hands: a batch is begun, carried out, and settled with what was seen of it.
//!
//! No opinions here: what an action means is decided in `sync`, and every outcome is what was seen, not what was said.

use crate::mail::{BaseName, Fingerprint};
use crate::maildir::{Error as MaildirError, Folder, ScannedFile, Upload as Opened, open_for_upload};
use crate::store::Settlement;
use crate::sync::{
    Action, Batch, Change, Known, MailboxId, MailboxPlan, Note, NoteKind, Outcome, Pair, Picture, Work, settle,
    settle_origin, settled,
};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, Shown, blocking, now};
use crate::worker::{Error, Event};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// An action of a batch, with its place there.
pub(super) type Numbered<'a> = (usize, &'a Action);

impl Pass<'_> {
    /// Begins work with one commit, carries it out batch by batch, and settles it with one commit; returns the looks of
    /// what should have been uploaded and was not.
    ///
    /// What a batch did is known to the ones after it at once, and on the disk when all are done. Until then all of them
    /// are in the journal. If the link breaks, what was carried out until then is settled, and the rest stays open.
    pub(super) async fn batches(
        &mut self,
        works: Vec<Work>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<Vec<Fingerprint>, Error> {
        if works.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.begin(works).await?;
        let mut settlement = Settlement::default();
        let carried = self.carry_all(&begun, observed, &mut settlement).await;
        // After any other error the disk may be what refuses: then the journal is all that is relied on.
        if matches!(carried, Ok(_) | Err(Error::Imap(_))) {
            self.settle(settlement).await?;
        }
        carried
    }

    /// Carries out batches one after the other, and takes in what was seen of each.
    async fn carry_all(
        &mut self,
        begun: &[Batch],
        observed: &BTreeMap<MailboxId, Observed>,
        settlement: &mut Settlement,
    ) -> Result<Vec<Fingerprint>, Error> {
        let mut failed = Vec::new();
        let moot = |batch: &Batch| vec![Outcome::Moot; batch.work.actions().len()];
        let mut outcomes: Vec<Vec<Outcome>> = begun.iter().map(moot).collect();
        self.append(begun, observed, &mut outcomes).await?;
        self.transfer(begun, observed, &mut outcomes).await?;
        for (batch, mut outcomes) in begun.iter().zip(outcomes) {
            self.carry(batch, observed, &mut outcomes).await?;
            failed.extend(
                batch.work.actions().iter().zip(&outcomes).filter_map(|(action, outcome)| not_added(action, outcome)),
            );
            self.take_in(batch, &outcomes, settlement);
        }
        Ok(failed)
    }

    /// Carries out what of a batch does not go together with other batches.
    async fn carry(
        &mut self,
        batch: &Batch,
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Work::Messages { mailbox, uid_validity, actions, from } = &batch.work else { return Ok(()) };
        let Some(seen) = observed.get(mailbox) else { return Ok(()) };
        let asks = |action: &Action| match action {
            Action::Append { .. } | Action::CopyRemote { .. } | Action::MoveRemote { .. } => false,
            action => matches!(action, Action::Fetch { .. }) || action.touches_remote(),
        };
        if actions.iter().any(asks) && !self.open(*mailbox, *uid_validity).await? {
            // Another mailbox lies under that name now: none of this may be done to it.
            return Ok(());
        }
        let select = |wanted: fn(&Action) -> bool| -> Vec<Numbered<'_>> {
            actions.iter().enumerate().filter(|(_, action)| wanted(action)).collect()
        };
        let fetches = select(|a| matches!(a, Action::Fetch { .. }));
        let renames = select(|a| matches!(a, Action::MoveLocal { .. }));
        let flags = select(|a| matches!(a, Action::SetFlags { .. }));
        let there = select(|a| matches!(a, Action::DeleteRemote { .. }));
        let here = select(|a| matches!(a, Action::DeleteLocal { .. }));
        let back = select(|a| matches!(a, Action::Restore { .. }));
        let again = select(|a| matches!(a, Action::Withdraw { .. }));
        self.fetch(*mailbox, &fetches, seen, outcomes).await?;
        let from = from.get(mailbox).copied();
        self.restore(*mailbox, &back, from, seen, outcomes).await?;
        self.move_files(*mailbox, &renames, observed, outcomes).await?;
        self.set_flags(*mailbox, &flags, seen, outcomes).await?;
        self.remove_there(*mailbox, &there, seen, outcomes).await?;
        self.remove_here(*mailbox, &here, seen, outcomes).await?;
        self.withdraw(*mailbox, &again, seen, outcomes).await?;
        Ok(())
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
        self.note_touched(mailbox, actions, outcomes);
        let recorded = settlement.changes.len();
        self.record_done(settlement, (mailbox, batch), outcomes);
        for (trash, changes) in &settlement.changes[recorded..] {
            let picture = self.pictures.entry(*trash).or_default();
            changes.iter().for_each(|change| picture.apply(change.clone()));
        }
        let mut changes: BTreeMap<MailboxId, Vec<Change>> = BTreeMap::new();
        for (action, outcome) in actions.iter().zip(outcomes) {
            let mut shown = self.shown.remove(action.name()).unwrap_or_default();
            if let Some(origin) = action.origin() {
                // A message that moves, or is copied, stays what it is.
                let pair = self.pictures.get(&origin.mailbox).and_then(|picture| picture.pair(origin.uid));
                shown.object = pair.and_then(|pair| pair.object);
            }
            let picture = self.pictures.entry(mailbox).or_default();
            let mut settled: Vec<(MailboxId, Change)> = settle(picture, action, outcome, now())
                .into_iter()
                .map(|change| (mailbox, as_seen(picture, change, &shown)))
                .collect();
            if let Some(origin) = action.origin() {
                let picture = self.pictures.entry(origin.mailbox).or_default();
                let there = settle_origin(picture, action, outcome);
                settled.extend(there.into_iter().map(|change| (origin.mailbox, change)));
            }
            for (of, change) in settled {
                let picture = self.pictures.entry(of).or_default();
                self.learnt += u64::from(!picture.holds(&change));
                picture.apply(change.clone());
                changes.entry(of).or_default().push(change);
            }
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
                (Action::CopyRemote { .. }, Outcome::Appended(..)) => report.copied += 1,
                (Action::MoveRemote { .. }, Outcome::Moved(..)) => report.moved_there += 1,
                (Action::MoveLocal { .. }, Outcome::Moved(..)) => report.moved_here += 1,
                _ => {}
            }
        }
        // What goes in a flight was told while it went.
        let in_flight = |action: &&Action| matches!(action, Action::Fetch { .. } | Action::Append { .. });
        let messages = actions.iter().filter(|action| !in_flight(action)).count();
        let octets = std::mem::take(&mut self.octets);
        let _ = self.events.send(Event::Done { messages, octets });
        // What nobody knows stays in the journal, and the next look finds it out.
        let unknown = outcomes.iter().any(|o| matches!(o, Outcome::Unknown | Outcome::Stored));
        if !unknown {
            self.batches.retain(|open| open.id != batch.id);
            settlement.closed.push(batch.id);
        }
        settlement.changes.extend(changes);
    }

    /// Fills in what the files look like that are to be uploaded, which they may turn out not to be: the server may have
    /// the bytes. What cannot be sent at all is remembered as failed and left out of the actions.
    pub(super) async fn measure(&mut self, plan: &mut MailboxPlan, seen: &Observed) -> Result<(), Error> {
        let (Some(folder), Some(scan)) = (seen.folder.clone(), &seen.scan) else { return Ok(()) };
        let limit = self.imap.capabilities().append_limit();
        let wanted = |action: &Action| match action {
            Action::Append { name, .. } => Some((name.clone(), scan.files.get(name)?.clone())),
            _ => None,
        };
        let names: Vec<_> = plan.actions.iter().filter_map(wanted).collect();
        let mut measured = match names.is_empty() {
            true => BTreeMap::new(),
            false => blocking(move || measure_all(&folder, names)).await?,
        };
        for action in std::mem::take(&mut plan.actions) {
            let Action::Append { name, flags, .. } = action else {
                plan.actions.push(action);
                continue;
            };
            let reason = match measured.remove(&name) {
                Some(Measured::Ready(size, print)) if limit.is_none_or(|limit| size <= limit) => {
                    plan.actions.push(Action::Append { name, flags, print: Some(print) });
                    continue;
                }
                Some(Measured::Ready(size, _)) => format!("it has {size} octets, more than the server takes"),
                Some(Measured::Refused(reason)) => reason,
                // The next look decides.
                None => continue,
            };
            let picture = self.pictures.entry(plan.mailbox).or_default();
            let failed = Action::Append { name, flags, print: None };
            let changes = settle(picture, &failed, &Outcome::Failed(reason), now());
            plan.notes.extend(changes.into_iter().map(|change| Note { change, kind: NoteKind::Unsendable }));
        }
        Ok(())
    }
}

/// What a file is, as a message that is to be uploaded.
enum Measured {
    /// It has so many octets, and these looks.
    Ready(u64, Fingerprint),
    /// It cannot be sent.
    Refused(String),
}

/// Measures files; one that is gone is not in the result.
fn measure_all(folder: &Folder, files: Vec<(BaseName, ScannedFile)>) -> Result<BTreeMap<BaseName, Measured>, Error> {
    let mut all = BTreeMap::new();
    for (name, file) in files {
        let measured = match own_fault(open_for_upload(folder, &name, &file, SystemTime::now()))? {
            Ok(Opened::Ready(ready)) => Measured::Ready(ready.size, ready.fingerprint),
            Ok(Opened::Refused(reason)) => Measured::Refused(reason.to_string()),
            Ok(Opened::Gone) => continue,
            Err(reason) => Measured::Refused(reason),
        };
        all.insert(name, measured);
    }
    Ok(all)
}

/// The looks of a message that should have been added on the server, and was not.
fn not_added(action: &Action, outcome: &Outcome) -> Option<Fingerprint> {
    let added = matches!(outcome, Outcome::Appended(..) | Outcome::Moved(..));
    match action {
        Action::Append { print: Some(print), .. }
        | Action::CopyRemote { print, .. }
        | Action::MoveRemote { print, .. } => (!added).then_some(*print),
        _ => None,
    }
}

/// Remembers which keywords a side was seen without, of a pair that was made or changed, and which message it is.
fn as_seen(picture: &Picture, change: Change, shown: &Shown) -> Change {
    match change {
        Change::Uid(uid, Some(Known::Pair(pair))) => {
            let pair = Pair { object: shown.object.or(pair.object), ..pair };
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
