//! What was deleted here leaves the drop, where the owner wants that (`deleted-here`).
//!
//! Nothing can be brought back of what a drop removed, so this believes less than the rest: a file is gone only when it is
//! in no folder of the Maildir, under whatever name, and the last message is never believed to be gone without a word of a
//! person.

use super::DropPass;
use super::here::{Elsewhere, Here};
use super::meet::Met;
use super::plan::deleted;
use crate::mail::{BaseName, Fingerprint, Flags, escape};
use crate::sync::maildrop::may_go_for_it;
use crate::sync::{Action, Change, Guard, Known, Lone, MailboxPlan, Note, NoteKind, Pair, Watched, Why, guard};
use crate::worker::Error;
use crate::worker::pass::blocking;
use std::collections::{BTreeMap, BTreeSet};

/// Where a message is whose file is not where it was.
enum Found {
    /// In its mailbox, under another name.
    Renamed(BaseName, Flags),
    /// In another folder.
    Elsewhere,
}

impl DropPass<'_> {
    /// Of the messages that are missing in the mailbox, those that leave the drop now. What the guard holds is remembered,
    /// and so is what turns out to be here after all: a message that was moved to another folder is kept by this rule for good.
    pub(super) async fn deleted_here(
        &mut self,
        mut missing: Vec<Action>,
        here: &Here,
        met: &Met,
    ) -> Result<Vec<Action>, Error> {
        let (rules, now) = (self.wanted.remove, self.now());
        missing.retain(|action| {
            deleted(action).is_some_and(|uid| {
                met.present.contains(&uid) && may_go_for_it(uid, &self.ledger, &self.picture, &rules, now)
            })
        });
        let Some(record) = self.record.clone().filter(|_| met.cautions.is_empty() && !missing.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut notes = Vec::new();
        // Twice: a message that moves from one folder to another while they are looked at is seen in neither.
        for _ in 0..2 {
            if missing.is_empty() {
                break;
            }
            let others = self.elsewhere().await?;
            if !others.is_whole {
                let reason = "a folder of the Maildir went away while it was looked at; what was deleted here is not removed \
                              from the server in this run";
                self.leave_out(escape(self.shown()), reason, true);
                return Ok(Vec::new());
            }
            self.spare(&mut missing, &mut notes, here, others).await?;
        }
        let plan = MailboxPlan {
            mailbox: record.id,
            name: record.name,
            uid_validity: super::epoch(),
            actions: missing,
            notes,
        };
        self.past_the_guard(plan, here).await
    }

    /// Takes out of `missing` what is here after all, and notes that.
    async fn spare(
        &mut self,
        missing: &mut Vec<Action>,
        notes: &mut Vec<Note>,
        here: &Here,
        others: Elsewhere,
    ) -> Result<(), Error> {
        let names: BTreeSet<BaseName> = others.messages.iter().map(|other| other.name.clone()).collect();
        let mut prints: BTreeMap<Fingerprint, Vec<Found>> = BTreeMap::new();
        for stray in self.strays(here, others.messages).await? {
            let found = stray.name.map_or(Found::Elsewhere, |(name, flags)| Found::Renamed(name, flags));
            prints.entry(stray.print).or_default().push(found);
        }
        missing.retain(|action| {
            let Some((uid, pair)) = deleted(action).and_then(|uid| Some((uid, self.picture.pair(uid)?))) else {
                return false;
            };
            let print = self.ledger.get(uid).and_then(|entry| entry.print).or(pair.print);
            let alike = print.and_then(|print| prints.get_mut(&print)).and_then(Vec::pop);
            let known = match (names.contains(&pair.name), alike, print) {
                (true, ..) | (_, Some(Found::Elsewhere), _) => kept(pair.agreed.clone()),
                (_, Some(Found::Renamed(name, flags)), _) => Known::Pair(Pair::agreed(name, flags, print)),
                // What it looked like is not known, so nobody can say that it is not here.
                (_, None, None) => kept(pair.agreed.clone()),
                (_, None, Some(_)) => return true,
            };
            notes.push(Note { change: Change::Uid(uid, Some(known)), kind: NoteKind::Keep });
            false
        });
        Ok(())
    }

    /// Lets the guard look, and remembers what it says before anything goes.
    async fn past_the_guard(&mut self, mut plan: MailboxPlan, here: &Here) -> Result<Vec<Action>, Error> {
        let store = self.store.clone();
        let mut memory = blocking(move || Ok(store.guard()?)).await?;
        let before = memory.clone();
        // Where nothing is left that was here, that is an accident until a person says otherwise, whatever else there was
        // that no rule would have removed.
        let is_here = |pair: &Pair| !pair.name.is_stub() && here.local.get(&pair.name).is_some();
        let limits = match self.picture.pairs().any(|(_, pair)| is_here(pair)) {
            true => Guard { emptied: 0, ..self.job.guard },
            false => Guard { emptied: 0, deletions: 0, percent: 0, ..self.job.guard },
        };
        let watched = Watched { plan: &mut plan, picture: &self.picture, may_be_emptied: false };
        let held = guard(&mut [watched], &mut memory, &limits, self.now());
        self.report.plan.hold(std::slice::from_ref(&plan), &held);
        self.settle_notes(plan.notes, (memory != before).then_some(memory)).await?;
        Ok(plan.actions)
    }
}

fn kept(flags: Flags) -> Known {
    Known::Lone(Lone { flags, why: Why::Kept })
}
