//! What is to be done in a session.

use super::DropPass;
use super::here::Here;
use super::meet::Met;
use crate::mail::{Flags, Storable, Uid};
use crate::store::Settlement;
use crate::sync::limits::{limit, questions};
use crate::sync::maildrop::{Entry, removals, view};
use crate::sync::{
    Action, Answer, Change, GuardMemory, Known, Lone, MailboxPlan, Measure, Note, NoteKind, Pair, Route, Rules, Why,
    reconcile,
};
use crate::worker::pass::Mode;
use crate::worker::{Error, Event};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What follows from a session.
pub(super) struct Planned {
    /// What is fetched, the newest first.
    pub fetches: Vec<Action>,
    /// What was deleted here, and leaves the drop for that.
    pub gone: Vec<Action>,
}

/// The message that an action takes from the server.
pub(super) fn deleted(action: &Action) -> Option<Uid> {
    match action {
        Action::DeleteRemote { uid, .. } => Some(*uid),
        _ => None,
    }
}

impl DropPass<'_> {
    /// Compares both sides with what is remembered; what follows for the memory alone is settled.
    pub(super) async fn plan(&mut self, here: &Here, met: &Met) -> Result<Planned, Error> {
        let now = self.now();
        let mut there = met.present.clone();
        if self.job.deliver_to.is_some() {
            // What is in the queue has to be passed on, for however long the drop has not had it any more.
            there.extend(self.picture.pairs().map(|(uid, _)| uid));
        }
        let remote = view(&self.ledger, &self.picture, &there, now);
        // A drop knows no flags.
        let nothing = || Storable { flags: Flags::new(), any_keyword: false };
        let mut policy = self.job.policy;
        if self.wanted.remove.deleted_here {
            policy.push.gone = Answer::Allow;
        }
        let rules = Rules {
            policy,
            remote_flags: nothing(),
            local_flags: nothing(),
            route: Route::Expunge,
            limits: self.job.limits,
            now,
        };
        let names = &mut self.names;
        let done = reconcile(&self.picture, &remote, &here.local, &rules, &mut || names.next());
        let size = |uid: Uid| self.ledger.get(uid).and_then(|entry| entry.octets);
        let measures: BTreeMap<Uid, Measure> = questions(&done, &self.picture)
            .iter()
            .map(|uid| (uid, Measure { octets: size(uid), date: None }))
            .collect();
        let done = limit(done, &measures, &self.job.limits, now);
        let (mut actions, mut gone, mut notes) = (Vec::new(), Vec::new(), done.notes);
        for mut action in done.actions {
            if matches!(action, Action::DeleteRemote { .. }) {
                gone.push(action);
                continue;
            }
            if let Action::Fetch { uid, flags, .. } = &mut action
                && let Some(stub) = self.picture.pair(*uid).filter(|pair| pair.name.is_stub())
            {
                // The flags that somebody gave the stub are those of the message.
                *flags = here.local.get(&stub.name).cloned().unwrap_or_default();
            }
            let Some(uid) = action.fetches() else { continue };
            let came = self.ledger.get(uid).is_some_and(|entry| entry.fetched.is_some());
            if came && self.picture.uid(uid).is_none() {
                // It was here, and is listed again although it had gone.
                let kept = Known::Lone(Lone { flags: Flags::new(), why: Why::Kept });
                notes.push(Note { change: Change::Uid(uid, Some(kept)), kind: NoteKind::Keep });
            } else if met.present.contains(&uid) {
                actions.push(action);
            }
        }
        if self.job.deliver_to.is_some() {
            // That a file is missing in a queue is no word on what became of it.
            let is_missing = |note: &Note| match &note.change {
                Change::Uid(uid, Some(Known::Lone(lone))) => lone.why == Why::Kept && self.picture.pair(*uid).is_some(),
                _ => false,
            };
            notes.retain(|note| !is_missing(note));
        }
        // The newest is what people wait for.
        actions.sort_by_key(|action| Reverse(action.fetches()));
        self.settle_notes(notes, None).await?;
        let gone = self.deleted_here(gone, here, met).await?;
        if self.mode == Mode::Execute {
            let _ = self.events.send(Event::Planned { fetch: actions.len(), append: 0, other: 0 });
        }
        Ok(Planned { fetches: actions, gone })
    }

    /// Remembers what needs no hands, and what the guard counted.
    pub(super) async fn settle_notes(&mut self, notes: Vec<Note>, guard: Option<GuardMemory>) -> Result<(), Error> {
        let Some(record) = self.record.as_ref().filter(|_| !notes.is_empty() || guard.is_some()) else { return Ok(()) };
        let changes: Vec<Change> = notes.into_iter().map(|note| note.change).collect();
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        let changes = if changes.is_empty() { Vec::new() } else { vec![(record.id, changes)] };
        self.settle(Settlement { changes, guard, ..Settlement::default() }).await
    }

    /// In a dry run: the plan as a whole, with what will be removed once everything is fetched.
    pub(super) fn foresee(&mut self, Planned { fetches: mut actions, gone }: Planned, met: &Met) {
        let now = self.now();
        let just: BTreeSet<Uid> = actions.iter().filter_map(Action::fetches).collect();
        for action in &actions {
            let Action::Fetch { uid, name, flags } = action else { continue };
            let pair = Pair::agreed(name.clone(), flags.clone(), None);
            self.picture.apply(Change::Uid(*uid, Some(Known::Pair(pair))));
            if let Some(entry) = self.ledger.get(*uid).cloned() {
                self.ledger.apply((*uid, Some(Entry { fetched: Some(now), ..entry })));
            }
        }
        if met.cautions.is_empty() {
            actions.extend(self.due(met, &just, gone));
        }
        if let Some(record) = &self.record {
            let (mailbox, name, uid_validity) = (record.id, record.name.clone(), super::epoch());
            self.report.plan.add(&[MailboxPlan { mailbox, name, uid_validity, actions, notes: Vec::new() }]);
        }
    }

    /// What the rules remove, and what is `gone` here; `just` was fetched in this session.
    pub(super) fn due(&mut self, met: &Met, just: &BTreeSet<Uid>, gone: Vec<Action>) -> Vec<Action> {
        let rules = &self.wanted.remove;
        let mut chosen = removals(&self.ledger, &self.picture, &met.present, just, rules, self.now());
        let already: BTreeSet<Uid> = gone.iter().filter_map(deleted).collect();
        chosen.retain(|uid, _| !already.contains(uid));
        let name = |uid: Uid| self.picture.pair(uid).map(|pair| pair.name.clone());
        let named: Vec<_> = chosen.into_keys().map(|uid| (uid, name(uid))).collect();
        let names = &mut self.names;
        let action = |(uid, name): (Uid, Option<_>)| Action::DeleteRemote {
            uid,
            name: name.unwrap_or_else(|| names.next()),
            route: Route::Expunge,
            inferred: false,
        };
        gone.into_iter().chain(named.into_iter().map(action)).collect()
    }
}
