//! From what was observed to what will be done: each mailbox is reconciled, and the guard looks at all plans together.

use crate::mail::{BaseName, Flags, SpecialUse, Storable, Uid, UidValidity};
use crate::store::Settlement;
use crate::sync::{
    Action, Answer, Answers, Change, Deletion, Known, Lone, MailboxId, MailboxPlan, MailboxRecord, Note, NoteKind,
    Picture, Policy, Quarantine, Reconciled, Route, Rules, Uploads, Watched, Why, guard, reconcile, renamed,
};
use crate::worker::history::names_of_restored;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking, now};
use crate::worker::{Error, Event, Mode};
use std::collections::BTreeMap;

/// A mailbox that could only be read is tried again after this many seconds.
const READ_ONLY_RETRY: u64 = 3600;

impl Pass<'_> {
    /// Reconciles every observed mailbox by itself.
    pub(super) async fn draft(&mut self, observed: &BTreeMap<MailboxId, Observed>) -> Result<Vec<MailboxPlan>, Error> {
        let mut plans = Vec::new();
        for (id, seen) in observed {
            let Some(record) = self.records.get(id).cloned() else { continue };
            let mut plan = self.draft_one(&record, seen).await?;
            let picture = self.pictures.entry(*id).or_default();
            let renamed = renamed(picture, &seen.remote, &seen.local, &plan.actions);
            if !renamed.is_empty() {
                renamed.iter().for_each(|change| picture.apply(change.clone()));
                self.settle(Settlement { changes: vec![(*id, renamed)], ..Settlement::default() }).await?;
                plan = self.draft_one(&record, seen).await?;
            }
            self.keep_to_the_undo(&mut plan);
            plans.push(plan);
        }
        Ok(plans)
    }

    async fn draft_one(&mut self, record: &MailboxRecord, seen: &Observed) -> Result<MailboxPlan, Error> {
        let rules = self.rules(record, seen);
        let names = &mut self.names;
        let mut fresh = || -> BaseName { names.next() };
        let picture = self.pictures.entry(record.id).or_default();
        let mut done = reconcile(picture, &seen.remote, &seen.local, &rules, &mut fresh);
        if self.emptying.contains(&record.id) {
            // Nothing can be uploaded to what is not there; what the server never had stays here.
            done.actions.retain(|action| matches!(action, Action::DeleteLocal { .. }));
        }
        let done = self.limit(record.id, done, seen.reached.uid_validity).await?;
        let (actions, notes) = if seen.read_only { not_uploaded(done, now()) } else { (done.actions, done.notes) };
        let uid_validity = seen.reached.uid_validity;
        let actions = self.with_old_names(record.id, uid_validity, actions).await?;
        let mut plan = MailboxPlan { mailbox: record.id, name: record.name.clone(), uid_validity, actions, notes };
        self.measure(&mut plan, seen).await?;
        Ok(plan)
    }

    /// Lets the guard look at all plans, and tells what they are.
    pub(super) async fn finish(
        &mut self,
        plans: &mut [MailboxPlan],
        round: usize,
    ) -> Result<Option<crate::sync::GuardMemory>, Error> {
        self.hold_uploads_back(plans, round);
        let store = self.store.clone();
        let now = now();
        let mut memory = blocking(move || Ok(store.guard()?)).await?;
        memory.expire(now);
        let before = memory.clone();
        let empty = Picture::new();
        let mut watched: Vec<Watched<'_>> = plans
            .iter_mut()
            .map(|plan| {
                let role = self.records.get(&plan.mailbox).and_then(|record| record.role);
                let picture = self.pictures.get(&plan.mailbox).unwrap_or(&empty);
                let may_be_emptied = matches!(role, Some(SpecialUse::Trash | SpecialUse::Junk));
                Watched { plan, picture, may_be_emptied }
            })
            .collect();
        let held = guard(&mut watched, &mut memory, &self.job.guard, now);
        let unsendable = plans.iter().flat_map(|p| &p.notes).filter(|note| note.kind == NoteKind::Unsendable).count();
        self.report.quarantined += unsendable as u64;
        let count = |f: fn(&Action) -> bool| plans.iter().flat_map(|p| &p.actions).filter(|a| f(a)).count();
        let fetch = count(|a| matches!(a, Action::Fetch { .. }));
        let append = count(|a| matches!(a, Action::Append { .. }));
        let other = count(|a| !matches!(a, Action::Fetch { .. } | Action::Append { .. }));
        if self.mode == Mode::Execute {
            let _ = self.events.send(Event::Planned { fetch, append, other });
        }
        // What a later round still finds is told as well: somebody was busy meanwhile.
        self.report.plan.hold(plans, &held);
        if self.mode == Mode::DryRun {
            self.report.plan.add(plans);
        }
        if round == 0 && plans.iter().flat_map(|p| &p.actions).any(|a| self.needs_trash(a)) {
            self.report.plan.mailboxes.extend(self.reserved.iter().cloned());
        }
        Ok((memory != before).then_some(memory))
    }

    /// Gives what `undo` brought back on the server the name that it had here before.
    async fn with_old_names(
        &self,
        mailbox: MailboxId,
        epoch: UidValidity,
        mut actions: Vec<Action>,
    ) -> Result<Vec<Action>, Error> {
        let picture = self.pictures.get(&mailbox);
        let is_back = |uid: Uid| {
            let known = picture.and_then(|picture| picture.uid(uid));
            matches!(known, Some(Known::Lone(Lone { why: Why::Pending, .. })))
        };
        if !actions.iter().any(|action| matches!(action, Action::Fetch { uid, .. } if is_back(*uid))) {
            return Ok(actions);
        }
        let store = self.store.clone();
        let had = blocking(move || names_of_restored(&store, mailbox, epoch)).await?;
        for action in &mut actions {
            if let Action::Fetch { uid, name, .. } = action
                && let Some(had) = had.get(uid).filter(|had| is_back(*uid) && !self.is_named_elsewhere(mailbox, had))
            {
                name.clone_from(had);
            }
        }
        Ok(actions)
    }

    /// Whether a file of another mailbox has this name: a reader took it along when it moved the file there. A recovery could
    /// not tell the two apart.
    fn is_named_elsewhere(&self, mailbox: MailboxId, name: &BaseName) -> bool {
        let others = self.pictures.iter().filter(|(id, _)| **id != mailbox);
        others.map(|(_, picture)| picture).any(|p| p.partner(name).is_some() || p.local(name).is_some())
    }

    /// While the server is full nothing is uploaded. Once the pause is over and nothing waits, there is nothing to remember.
    fn hold_uploads_back(&mut self, plans: &mut [MailboxPlan], round: usize) {
        self.held_uploads.clear();
        if !self.uploads.wait(now()) {
            let uploads = plans.iter().flat_map(|p| &p.actions).any(|a| matches!(a, Action::Append { .. }));
            if round == 0 && !uploads {
                self.uploads.paused = None;
            }
            return;
        }
        let reason = self.uploads.paused.as_ref().map(|paused| paused.reason.clone()).unwrap_or_default();
        for plan in plans {
            let names = Uploads::hold_back(&mut plan.actions);
            if !names.is_empty() {
                self.leave_out(plan.name.to_string(), format!("nothing is uploaded for now: {reason}"), true);
                self.held_uploads.insert(plan.mailbox, names);
            }
        }
    }

    pub(super) fn needs_trash(&self, action: &Action) -> bool {
        matches!(action, Action::DeleteRemote { route: Route::Trash(id), .. } if !self.records.contains_key(id))
    }

    pub(super) fn rules(&mut self, record: &MailboxRecord, seen: &Observed) -> Rules {
        let mut policy = self.job.policy;
        if record.checkpoint.is_none() {
            policy = policy.before_agreement();
        }
        if seen.read_only {
            // New mail here is no exception that a policy makes: it waits until the mailbox can be written to.
            policy = Policy { push: Answers { new: policy.push.new, ..policy.pull_only().push }, ..policy };
        }
        let put_away = matches!(record.role, Some(SpecialUse::Trash | SpecialUse::Junk));
        let route = match self.job.deletion {
            _ if policy.push.gone != Answer::Allow => Route::Expunge,
            Deletion::Trash if !put_away => Route::Trash(self.trash_or_reserve()),
            // Expunging would only take a label off, and leave the message among all mail.
            Deletion::Expunge if !put_away && self.quirks.labels => Route::Trash(self.trash_or_reserve()),
            Deletion::Trash | Deletion::Expunge => Route::Expunge,
            Deletion::Never => {
                policy.push.gone = Answer::Keep;
                Route::Expunge
            }
        };
        Rules {
            policy,
            remote_flags: if self.quirks.keywords {
                seen.remote_flags.clone()
            } else {
                system_flags(&seen.remote_flags)
            },
            local_flags: self.storable_here(seen),
            route,
            limits: self.job.limits,
            now: now(),
        }
    }
}

/// What can be stored, without the keywords.
fn system_flags(storable: &Storable) -> Storable {
    let mut flags = Flags::new();
    storable.flags.system().for_each(|flag| flags.insert(flag));
    Storable { flags, any_keyword: false }
}

/// In a mailbox that can only be read, uploads wait.
fn not_uploaded(done: Reconciled, now: u64) -> (Vec<Action>, Vec<Note>) {
    let Reconciled { actions, mut notes } = done;
    let mut kept = Vec::new();
    for action in actions {
        match action {
            Action::Append { name, flags, .. } => {
                let reason = "the server lets us only read this mailbox".to_owned();
                let why = Why::Quarantined(Quarantine { reason, attempts: 1, due: now + READ_ONLY_RETRY });
                notes.push(Note { change: Change::Local(name, Some(Lone { flags, why })), kind: NoteKind::Keep });
            }
            other => kept.push(other),
        }
    }
    (kept, notes)
}
