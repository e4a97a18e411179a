//! What was removed and brought back is recorded in the commit that settles it, and forgotten after `keep-deleted`.

use crate::mail::{BaseName, MailboxName, SpecialUse, Uid, UidSet, UidValidity};
use crate::maildir::Retention;
use crate::store::{Settlement, Store};
use crate::sync::removal::{Keeping, gather, interrupted, record};
use crate::sync::restore::{came_back, left, left_trash};
use crate::sync::{
    Action, Batch, Change, Deed, Known, LocalView, MailboxId, MailboxRecord, Outcome, Pair, Picture, Removals,
    RemovedMessage, Removing, Route, Source, Trace, Work,
};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use crate::worker::{Error, Job};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// How the messages look that came since batches began, by mailbox.
pub(super) type Traces = BTreeMap<MailboxId, BTreeMap<Uid, Trace>>;

impl Pass<'_> {
    /// Adds to a settlement what its batch removed and brought back. The pictures are those before it.
    pub(super) fn record_done(
        &mut self,
        settlement: &mut Settlement,
        (mailbox, batch): (MailboxId, &Batch),
        outcomes: &[Outcome],
    ) {
        let Work::Messages { actions, from, uid_validity, .. } = &batch.work else { return };
        let went = std::mem::take(&mut self.went);
        let expunged = self.keeps_expunged(mailbox);
        let keeping = Keeping { expunged, from, went: &went };
        let empty = Picture::new();
        let picture = self.pictures.get(&mailbox).unwrap_or(&empty);
        let (mut found, mut brought) = (Vec::new(), Vec::new());
        for (action, outcome) in actions.iter().zip(outcomes) {
            found.extend(record(picture, action, outcome, &keeping));
            match (action, outcome) {
                (Action::Restore { number, from, .. }, Outcome::Restored(_)) => {
                    settlement.undone.push(*number);
                    brought.push((action.name(), outcome));
                    if let Source::Trash { mailbox: trash, uid, .. } = from {
                        settlement.changes.extend(self.out_of_trash(*trash, *uid));
                    }
                }
                (Action::Withdraw { number, .. }, Outcome::Removed) => settlement.undone.push(*number),
                _ => {}
            }
        }
        self.restored.extend(&settlement.undone);
        if let Some(back) = &mut self.brought_back {
            for (name, outcome) in brought {
                if let Outcome::Restored(uid) = outcome {
                    back.add(mailbox, name, *uid);
                }
            }
        }
        self.keep_record(settlement, (mailbox, *uid_validity), found);
    }

    /// Adds to the settlement of a recovery what interrupted batches of a mailbox removed and brought back.
    pub(super) fn record_recovered(
        &mut self,
        settlement: &mut Settlement,
        (mailbox, seen): (MailboxId, &Observed),
        (locals, traces): (&BTreeMap<MailboxId, LocalView>, &Traces),
        recovered: &[Change],
    ) -> Vec<Change> {
        let empty = Picture::new();
        let picture = self.pictures.get(&mailbox).unwrap_or(&empty);
        let copied: Vec<Uid> = recovered.iter().filter_map(copied_by).collect();
        let is_here = |name: &BaseName| locals.values().any(|local| local.get(name).is_some());
        let is_there = |uid: Uid| seen.remote.get(uid).is_some();
        let keeps = self.keeps_expunged(mailbox);
        let mut found = interrupted(&self.batches, mailbox, picture, &is_there, &is_here, &copied, keeps);
        let taken: BTreeSet<Uid> = recovered.iter().filter_map(uid_of).collect();
        let mut changes = Vec::new();
        for back in came_back(&self.batches, mailbox, picture, &seen.remote, &seen.local, traces, &taken) {
            if let Action::Restore { number, .. } | Action::Withdraw { number, .. } = back.action {
                settlement.undone.push(*number);
                self.restored.insert(*number);
            }
            if let (Some(known), Action::Restore { name, .. }) = (&mut self.brought_back, back.action) {
                known.add(mailbox, name, back.uid);
            }
            let none = Keeping { expunged: keeps, from: &BTreeMap::new(), went: &BTreeMap::new() };
            found.extend(record(picture, back.action, &Outcome::Restored(back.uid), &none));
            changes.push(back.change);
        }
        changes.extend(left(&self.batches, mailbox, picture, &seen.remote));
        self.keep_record(settlement, (mailbox, seen.reached.uid_validity), found);
        changes
    }

    fn keep_record(
        &self,
        settlement: &mut Settlement,
        (mailbox, uid_validity): (MailboxId, UidValidity),
        found: Vec<(Deed, RemovedMessage)>,
    ) {
        if let Some(record) = self.records.get(&mailbox).filter(|_| !self.job.keep_deleted.is_zero()) {
            let of = (mailbox, &record.name, uid_validity);
            settlement.removals.extend(gather(super::pass::now(), of, found));
        }
    }

    /// What is to be recorded of a whole mailbox of the server whose messages were moved to the Trash: `from` is the first
    /// UID that they can have there, `told` where the server says that they are.
    pub(super) fn record_all_to_trash(
        &self,
        (record, picture): (&MailboxRecord, &Picture),
        (trash, from): (MailboxId, (UidValidity, Uid)),
        told: &BTreeMap<Uid, Uid>,
        there: &UidSet,
    ) -> Vec<Removals> {
        let Some(uid_validity) = record.uid_validity.filter(|_| !self.job.keep_deleted.is_zero()) else {
            return Vec::new();
        };
        let removed = |(uid, pair): (Uid, &Pair)| {
            let name = pair.name.clone();
            let action = Action::DeleteRemote { uid, name, route: Route::Trash(trash), inferred: false };
            let from = BTreeMap::from([(trash, from)]);
            let keeping = Keeping { expunged: true, from: &from, went: told };
            crate::sync::removal::record(picture, &action, &Outcome::Removed, &keeping)
        };
        let moved = picture.pairs().filter(|(uid, _)| there.contains(*uid));
        let found = moved.filter_map(removed).collect();
        gather(super::pass::now(), (record.id, &record.name, uid_validity), found)
    }

    /// What is remembered in the Trash of a message that was moved out of it; nothing if it is not mirrored, or if the
    /// server could only copy.
    fn out_of_trash(&self, trash: MailboxId, uid: Uid) -> Option<(MailboxId, Vec<Change>)> {
        if !self.imap.capabilities().has("MOVE") {
            return None;
        }
        let change = left_trash(self.pictures.get(&trash)?, uid)?;
        Some((trash, vec![change]))
    }

    /// Whether what is expunged in a mailbox is kept first: not in Trash and Junk.
    pub(super) fn keeps_expunged(&self, mailbox: MailboxId) -> bool {
        let role = self.records.get(&mailbox).and_then(|record| record.role);
        !matches!(role, Some(SpecialUse::Trash | SpecialUse::Junk))
    }
}

/// A message that was removed or brought back, as it is recorded.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub number: u64,
    pub mailbox: MailboxId,
    /// The name of the mailbox then.
    pub name: MailboxName,
    pub uid_validity: UidValidity,
    pub deed: Deed,
    pub message: RemovedMessage,
}

/// The names that messages had which `undo` brought back on the server, by their UIDs. Blocking.
pub(super) fn names_of_restored(
    store: &Store,
    mailbox: MailboxId,
    epoch: UidValidity,
) -> Result<BTreeMap<Uid, BaseName>, Error> {
    let of_these = |r: &Removals| r.mailbox == mailbox && r.uid_validity == epoch && r.deed == Deed::Restored;
    let records = store.removals()?.into_iter().map(|(_, removals)| removals).filter(of_these);
    Ok(records.flat_map(|r| r.messages).filter_map(|message| Some((message.uid?, message.name))).collect())
}

/// Lets go of what was kept long enough: the bodies, and the memory of them.
pub(super) async fn expire(job: &Job, store: Arc<Store>) -> Result<(), Error> {
    let (state_dir, account, keep) = (job.state_dir.clone(), job.account.clone(), job.keep_deleted);
    blocking(move || {
        let oldest = super::pass::now().saturating_sub(keep.as_secs());
        let old = |at: u64| at <= oldest;
        let dropped = store.removals()?.into_iter().filter(|(_, r)| old(r.at)).map(|(first, _)| first).collect();
        store.settle(Settlement { dropped_removals: dropped, ..Settlement::default() })?;
        if let Some(retention) = Retention::open_existing(&state_dir, &account)? {
            retention.expire(keep, SystemTime::now())?;
        }
        Ok(())
    })
    .await
}

/// The message whose copy in the Trash a recovery found.
fn copied_by(change: &Change) -> Option<Uid> {
    match change {
        Change::Uid(uid, Some(Known::Pair(pair))) if pair.removing == Some(Removing::Copied) => Some(*uid),
        _ => None,
    }
}

fn uid_of(change: &Change) -> Option<Uid> {
    match change {
        Change::Uid(uid, Some(_)) => Some(*uid),
        _ => None,
    }
}
