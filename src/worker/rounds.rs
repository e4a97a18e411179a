//! The rounds of a pass: look at both sides, plan, carry out, and again, until nothing is left to do.

use crate::remote::imap::Tier;
use crate::store::Settlement;
use crate::sync::{Action, Change, GuardMemory, MailboxId, MailboxPlan};
use crate::worker::mailboxes::Asked;
use crate::worker::observe::Observed;
use crate::worker::pass::{AUDIT, Mode, Pass, now, touches};
use crate::worker::{Error, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// After so many rounds the rest is left to the next pass: somebody else is changing things all the time.
const MAX_ROUNDS: usize = 8;

impl Pass<'_> {
    /// Observes, plans and executes until nothing is left to do in these mailboxes; `is_part`: the account has more.
    pub(super) async fn rounds(&mut self, mut dirty: BTreeSet<MailboxId>, is_part: bool) -> Result<(), Error> {
        let mut before: BTreeMap<MailboxId, u64> = BTreeMap::new();
        let mut learnt = 0;
        for round in 0..MAX_ROUNDS {
            self.go_on()?;
            let mut observed = self.observe(&dirty).await?;
            if !self.batches.is_empty() {
                self.recover(&mut observed).await?;
            }
            self.adopt(&mut observed).await?;
            let mut plans = self.draft(&observed).await?;
            let asked: BTreeSet<MailboxId> = observed.keys().copied().collect();
            if round == 0 && is_part && plans.iter().flat_map(|p| &p.actions).any(may_be_half_of_a_move) {
                plans.extend(self.look_everywhere(&mut observed).await?);
            }
            self.find_moves(&mut plans, &observed).await?;
            plans.retain_mut(|plan| asked.contains(&plan.mailbox) || concerns(plan, &asked));
            let mut memory = self.finish(&mut plans, round).await?;
            // Where nothing came of the round before, a mailbox whose plan is what it was then is stuck, on somebody else's
            // marks for example. Its notes go with it: no checkpoint passes them, so that the next pass makes them again.
            if std::mem::replace(&mut learnt, self.learnt) == self.learnt {
                plans.retain(|plan| {
                    plan.actions.is_empty() || before.get(&plan.mailbox) != Some(&print_of_work(&plan.actions))
                });
            }
            before = plans.iter().map(|plan| (plan.mailbox, print_of_work(&plan.actions))).collect();
            if self.mode == Mode::DryRun {
                return Ok(());
            }
            self.settle_notes(&plans, memory.take()).await?;
            self.advance(&plans, &observed).await?;
            dirty = plans.iter().filter(|plan| !plan.actions.is_empty()).map(|plan| plan.mailbox).collect();
            let waiting = self.waiting.take();
            match &waiting {
                None if dirty.is_empty() => break,
                Some(waiting) if dirty.is_empty() => {
                    let _ = self.events.send(Event::WaitingForMoves(waiting.after));
                    self.pause(waiting.after).await?;
                    self.looked_again = true;
                }
                _ => {
                    let touched = self.execute(plans, &observed).await?;
                    let mirrored = |id: &MailboxId| self.records.get(id).is_some_and(|record| record.path.is_some());
                    dirty.extend(touched.into_iter().filter(mirrored));
                }
            }
            dirty.extend(waiting.into_iter().flat_map(|waiting| waiting.mailboxes));
            self.statuses.clear();
        }
        self.remove_emptied().await
    }

    /// Looks at the mailboxes that were not asked for: something left one that was, or came to it, and may have been moved.
    async fn look_everywhere(
        &mut self,
        observed: &mut BTreeMap<MailboxId, Observed>,
    ) -> Result<Vec<MailboxPlan>, Error> {
        let mut others = match self.mode {
            Mode::Execute if self.brought_back.is_some() => self.judge_mailboxes(Asked::Nothing).await?,
            Mode::Execute => self.judge_mailboxes(Asked::Beside).await?,
            // What would be made is pretended already.
            Mode::DryRun => {
                let mirrored = self.records.values().filter(|r| r.path.is_some() && r.parked.is_none());
                mirrored.map(|record| record.id).collect()
            }
        };
        others.retain(|id| !observed.contains_key(id));
        let mut more = self.observe(&others).await?;
        self.adopt(&mut more).await?;
        let plans = self.draft(&more).await?;
        observed.extend(more);
        Ok(plans)
    }

    /// Remembers what needs no hands, and what the guard counted.
    async fn settle_notes(&mut self, plans: &[MailboxPlan], memory: Option<GuardMemory>) -> Result<(), Error> {
        let mut changes: Vec<(MailboxId, Vec<Change>)> = Vec::new();
        for plan in plans.iter().filter(|plan| !plan.notes.is_empty()) {
            let picture = self.pictures.entry(plan.mailbox).or_default();
            let noted: Vec<Change> = plan.notes.iter().map(|note| note.change.clone()).collect();
            noted.iter().for_each(|change| picture.apply(change.clone()));
            changes.push((plan.mailbox, noted));
        }
        if changes.is_empty() && memory.is_none() && self.uploads == self.stored_uploads {
            return Ok(());
        }
        self.settle(Settlement { changes, guard: memory, ..Settlement::default() }).await
    }

    /// Takes the checkpoint of every mailbox in which nothing was left to do.
    async fn advance(&mut self, plans: &[MailboxPlan], observed: &BTreeMap<MailboxId, Observed>) -> Result<(), Error> {
        if self.brought_back.is_some() {
            // Of what was seen an undo answers a part.
            return Ok(());
        }
        let mut mailboxes = Vec::new();
        let moved_from: BTreeSet<MailboxId> =
            plans.iter().flat_map(|plan| &plan.actions).filter_map(|a| a.origin().map(|o| o.mailbox)).collect();
        let left: BTreeSet<MailboxId> = moved_from.union(&self.emptying).copied().collect();
        let is_left = |id: &MailboxId| left.contains(id);
        for plan in plans.iter().filter(|plan| plan.actions.is_empty() && !is_left(&plan.mailbox)) {
            let (Some(record), Some(seen)) = (self.records.get_mut(&plan.mailbox), observed.get(&plan.mailbox)) else {
                continue;
            };
            let batches_open = self.batches.iter().any(|batch| touches(batch, plan.mailbox));
            let keeps_no_modseqs = self.imap.tier() == Tier::C;
            let refresh = self.job.flags_every.filter(|_| keeps_no_modseqs).map_or(AUDIT, |every| every.as_secs());
            let audited = seen.listed && record.listed.is_none_or(|at| at.abs_diff(now()) >= refresh);
            if keeps_no_modseqs && record.checkpoint.is_some_and(|before| before != seen.reached) {
                record.active = Some(now());
            }
            if (record.checkpoint != Some(seen.reached) || audited) && !batches_open {
                if audited {
                    record.listed = Some(now());
                }
                record.checkpoint = Some(seen.reached);
                record.uid_validity = Some(seen.reached.uid_validity);
                mailboxes.push(record.clone());
            }
        }
        if !mailboxes.is_empty() {
            self.settle(Settlement { mailboxes, ..Settlement::default() }).await?;
        }
        for plan in plans.iter().filter(|plan| plan.is_empty() && !is_left(&plan.mailbox)) {
            if let Some(seen) = observed.get(&plan.mailbox) {
                self.note_rest(plan.mailbox, seen)?;
            }
        }
        Ok(())
    }
}

/// Tells whether the other half of a move may lie in another mailbox.
fn may_be_half_of_a_move(action: &Action) -> bool {
    matches!(action, Action::Append { .. } | Action::DeleteRemote { .. } | Action::DeleteLocal { .. })
}

/// Leaves in the plan of a mailbox that was not asked for only what moves messages there from one that was; tells whether
/// anything is left.
fn concerns(plan: &mut MailboxPlan, asked: &BTreeSet<MailboxId>) -> bool {
    let is_from_there = |action: &Action| action.origin().is_some_and(|origin| asked.contains(&origin.mailbox));
    plan.actions.retain(is_from_there);
    plan.notes.clear();
    !plan.actions.is_empty()
}

/// A number by which a plan of a mailbox is known again, whatever the names of what is fetched.
fn print_of_work(actions: &[Action]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for action in actions {
        match action {
            Action::Fetch { uid, flags, .. } => (uid, flags).hash(&mut hasher),
            action => action.hash(&mut hasher),
        }
    }
    hasher.finish()
}
