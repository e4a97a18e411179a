//! After a crash: what did the batches do that were never settled?

use crate::mail::{Uid, UidSet, fingerprint};
use crate::maildir::print_of;
use crate::remote::error::Error as ImapError;
use crate::store::Settlement;
use crate::sync::{
    Action, Batch, Change, Known, LocalView, MailboxId, RemoteView, Source, Trace, Work, questions, recover,
};
use crate::worker::execute::own_fault;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use crate::worker::{Error, Mode};
use std::collections::{BTreeMap, BTreeSet};

/// Headers that are asked for at once; they are held in memory.
const HEADERS: usize = 200;

impl Pass<'_> {
    /// Settles the open batches of every mailbox that was seen whole. One that was not keeps its batches open.
    pub(super) async fn recover(&mut self, observed: &mut BTreeMap<MailboxId, Observed>) -> Result<(), Error> {
        debug_assert_eq!(self.mode, Mode::Execute);
        let mut concerned: BTreeSet<MailboxId> =
            self.batches.iter().filter_map(|batch| worked_on(&batch.work)).collect();
        concerned.extend(self.batches.iter().flat_map(|batch| taken_from(&batch.work)));
        // The recovery may pair a message with a file that was moved on: all Maildirs have to be known.
        let mirrored = self.records.values().filter(|r| r.path.is_some() && r.parked.is_none()).map(|r| r.id);
        let unseen: BTreeSet<MailboxId> = mirrored.filter(|id| !observed.contains_key(id)).collect();
        let more = self.observe(&unseen).await?;
        let traces = self.traces(observed, &more).await?;
        let locals: BTreeMap<MailboxId, LocalView> =
            observed.iter().chain(&more).map(|(id, seen)| (*id, seen.local.clone())).collect();
        let remotes: BTreeMap<MailboxId, RemoteView> =
            observed.iter().chain(&more).map(|(id, seen)| (*id, seen.remote.clone())).collect();
        let records = &self.records;
        // Of a mailbox that is no longer mirrored nothing more can be learnt.
        let is_known = |id: &MailboxId| {
            remotes.contains_key(id) || records.get(id).is_none_or(|r| r.path.is_none() || r.parked.is_some())
        };
        let can_be_judged = |batch: &&Batch| looks_at(&batch.work).is_some_and(|all| all.iter().all(is_known));
        let ready: Vec<Batch> = self.batches.iter().filter(can_be_judged).cloned().collect();
        let mut settlement = Settlement::default();
        let mut changed: BTreeMap<MailboxId, Vec<Change>> = BTreeMap::new();
        for id in &concerned {
            let Some(seen) = observed.get(id).or_else(|| more.get(id)) else { continue };
            self.pictures.entry(*id).or_default();
            let changes = recover(&ready, *id, &self.pictures, &remotes, &locals, &traces);
            let mut changes = self.with_prints(*id, changes, seen).await?;
            let own: Vec<Change> =
                changes.iter().filter(|(of, _)| of == id).map(|(_, change)| change.clone()).collect();
            let more = self.record_recovered(&mut settlement, (*id, seen), (&locals, &traces), &own);
            changes.extend(more.into_iter().map(|change| (*id, change)));
            for (of, change) in changes {
                let picture = self.pictures.entry(of).or_default();
                self.learnt += u64::from(!picture.holds(&change));
                self.report.appended += u64::from(is_upload(&change, &ready));
                picture.apply(change.clone());
                changed.entry(of).or_default().push(change);
            }
        }
        settlement.changes.extend(changed);
        settlement.closed = ready.iter().map(|batch| batch.id).collect();
        self.batches.retain(|batch| !settlement.closed.contains(&batch.id));
        // What was looked at for the recovery's sake alone is not part of this pass, unless something came of it.
        let changed: BTreeSet<MailboxId> = settlement.changes.iter().map(|(id, _)| *id).collect();
        observed.extend(more.into_iter().filter(|(id, _)| changed.contains(id)));
        self.settle(settlement).await
    }

    /// Fills in what the files look like that were fetched before the crash.
    async fn with_prints(
        &self,
        mailbox: MailboxId,
        mut changes: Vec<(MailboxId, Change)>,
        seen: &Observed,
    ) -> Result<Vec<(MailboxId, Change)>, Error> {
        let (Some(folder), Some(scan)) = (&seen.folder, &seen.scan) else { return Ok(changes) };
        for (_, change) in changes.iter_mut().filter(|(of, _)| *of == mailbox) {
            let Change::Uid(_, Some(Known::Pair(pair))) = change else { continue };
            if let Some(file) = scan.files.get(&pair.name).filter(|_| pair.print.is_none()).cloned() {
                let (folder, name) = (folder.clone(), pair.name.clone());
                pair.print = blocking(move || own_fault(print_of(&folder, &name, &file))).await?.ok().flatten();
            }
        }
        Ok(changes)
    }

    /// How those messages look on the server that a batch may have added.
    async fn traces(
        &mut self,
        observed: &BTreeMap<MailboxId, Observed>,
        more: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeMap<MailboxId, BTreeMap<Uid, Trace>>, Error> {
        let mut traces = BTreeMap::new();
        for (id, (epoch, first)) in questions(&self.batches) {
            match self.open(id, epoch).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(Error::Imap(ImapError::Refused { .. })) => {
                    self.selected = None;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let there: Vec<Uid> = match observed.get(&id).or_else(|| more.get(&id)) {
                Some(seen) => seen.remote.messages().range(first..).map(|(uid, _)| *uid).collect(),
                None => self.imap.search(&UidSet::range(first, Uid::MAX)).await?.iter().collect(),
            };
            traces.insert(id, self.looks_of(&there.into_iter().collect()).await?);
        }
        Ok(traces)
    }

    /// How messages of the open mailbox look by their headers.
    pub(super) async fn looks_of(&mut self, uids: &UidSet) -> Result<BTreeMap<Uid, Trace>, Error> {
        let all: Vec<Uid> = uids.iter().collect();
        let mut found = BTreeMap::new();
        for part in all.chunks(HEADERS) {
            for header in self.imap.fetch_headers(&part.iter().copied().collect()).await? {
                if let (Some(octets), Some(size)) = (header.header, header.size) {
                    let print = fingerprint::of(&octets);
                    let volatile = (octets.len() as u64).saturating_sub(print.size);
                    let (message_id, size) = (print.message_id, size.saturating_sub(volatile));
                    let trace = Trace { message_id, header: print.header, size };
                    found.insert(header.uid, trace);
                }
            }
        }
        Ok(found)
    }
}

/// Tells whether this is what came of an upload.
fn is_upload(change: &Change, batches: &[Batch]) -> bool {
    let Change::Uid(_, Some(Known::Pair(pair))) = change else { return false };
    let sent = |action: &Action| matches!(action, Action::Append { name, .. } if *name == pair.name);
    batches.iter().any(|batch| matches!(&batch.work, Work::Messages { actions, .. } if actions.iter().any(sent)))
}

/// The mailboxes out of which a batch brings messages back.
fn taken_from(work: &Work) -> Vec<MailboxId> {
    let Work::Messages { actions, .. } = work else { return Vec::new() };
    let source = |action: &Action| match action {
        Action::Restore { from: Source::Trash { mailbox, .. }, .. } => Some(*mailbox),
        _ => None,
    };
    actions.iter().filter_map(source).collect()
}

/// The mailboxes that have to be seen before it is known what a batch did to their messages.
fn looks_at(work: &Work) -> Option<BTreeSet<MailboxId>> {
    match work {
        Work::Messages { mailbox, actions, .. } => {
            let origins = actions.iter().filter_map(|action| action.origin().map(|origin| origin.mailbox));
            Some(origins.chain([*mailbox]).collect())
        }
        Work::Mailboxes(_) => None,
    }
}

/// The mailbox on whose messages a batch works.
fn worked_on(work: &Work) -> Option<MailboxId> {
    match work {
        Work::Messages { mailbox, .. } => Some(*mailbox),
        Work::Mailboxes(_) => None,
    }
}
