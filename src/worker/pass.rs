//! A pass over one account.

use crate::mail::{BaseName, MailboxName, SpecialUse, Uid, UidValidity};
use crate::maildir::{NameGenerator, Root, RootMarker};
use crate::remote::imap::{Access, Imap, Status};
use crate::remote::session;
use crate::store::{Settlement, Store};
use crate::sync::{
    Action, Batch, Change, Deletion, MailboxAction, MailboxId, MailboxPlan, MailboxRecord, Phase, Picture, Policy,
    Route, Rules, Watched, Work, guard, reconcile, spare, waves,
};
use crate::worker::observe::Observed;
use crate::worker::status::{self, Told};
use crate::worker::{AccountPlan, Error, Event, Ground, Job, LeftOut, Report, ground};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;

/// Whether a pass does what it plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It does.
    Execute,
    /// It only tells the plan; neither side is changed, nor what is remembered.
    DryRun,
}

/// After so many rounds the rest is left to the next pass: somebody else is changing things all the time.
const MAX_ROUNDS: usize = 8;

/// Makes one pass over an account. `only` names the mailboxes, decoded, with `/` between the levels; empty: all.
///
/// What was done before an error stays done, and is remembered; the status file tells of both. Not cancel-safe in the sense
/// of being finished: dropped at any point it is like a crash, which the next pass recovers from.
pub async fn run(job: &Job, only: &[String], mode: Mode, events: UnboundedSender<Event>) -> Result<Report, Error> {
    let mut told = Told::default();
    let done = attempt(job, only, mode, events, &mut told).await;
    if mode == Mode::Execute {
        status::tell(job, &done, told).await;
    }
    done
}

async fn attempt(
    job: &Job,
    only: &[String],
    mode: Mode,
    events: UnboundedSender<Event>,
    told: &mut Told,
) -> Result<Report, Error> {
    let prepared = job.clone();
    let ground = blocking(move || ground::prepare(&prepared)).await?;
    let opened = session::open(&job.endpoint).await?;
    told.tier = Some(opened.imap.tier());
    // Nobody may be listening, here and below.
    let _ = events.send(Event::LoggedIn { peer: opened.peer });
    let mut pass = Pass::new(job, mode, ground, opened.imap, events).await?;
    let done = pass.run(only).await;
    let Pass { imap, mut report, records, pictures, .. } = pass;
    told.mailboxes = status::mailboxes(&records, &pictures);
    report.held = told.mailboxes.iter().flat_map(|m| &m.held).map(|set| set.deletions).sum();
    done?;
    // Nothing depends on the answer.
    let _ = imap.logout().await;
    Ok(report)
}

/// Runs what blocks away from the threads that wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

/// The present, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) + clock_ahead()
}

#[cfg(not(feature = "steps"))]
fn clock_ahead() -> u64 {
    0
}

/// How far the clock of the crash tests is ahead, in seconds: they cannot wait for a retry.
#[cfg(feature = "steps")]
fn clock_ahead() -> u64 {
    std::env::var("MAILTWIN_CLOCK_AHEAD").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// All that a pass knows.
pub(super) struct Pass<'j> {
    pub job: &'j Job,
    pub mode: Mode,
    pub events: UnboundedSender<Event>,
    pub store: Arc<Store>,
    pub root: Option<Root>,
    pub owner: crate::maildir::Owner,
    pub marker_is_behind: bool,
    pub imap: Imap,
    pub records: BTreeMap<MailboxId, MailboxRecord>,
    pub pictures: BTreeMap<MailboxId, Picture>,
    pub batches: Vec<Batch>,
    pub statuses: BTreeMap<MailboxName, Status>,
    pub selected: Option<(MailboxId, Access)>,
    pub trash: Option<MailboxId>,
    /// Mailboxes that are to be made once something needs them.
    pub reserved: Vec<MailboxAction>,
    pub names: NameGenerator,
    pub quota_full: bool,
    /// Octets of messages moved since the last batch was settled.
    pub octets: u64,
    /// What this pass found to be missing in the Maildirs.
    pub gone_here: BTreeMap<MailboxId, BTreeSet<BaseName>>,
    /// What was learnt by doing, in changes of the memory.
    pub learnt: u64,
    pub report: Report,
}

impl<'j> Pass<'j> {
    async fn new(
        job: &'j Job,
        mode: Mode,
        ground: Ground,
        imap: Imap,
        events: UnboundedSender<Event>,
    ) -> Result<Self, Error> {
        let store = ground.store.clone();
        let (records, batches) = blocking(move || Ok((store.mailboxes()?, store.batches()?))).await?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let names =
            NameGenerator::new(since.as_secs(), since.subsec_micros(), std::process::id(), &host, fastrand::u64(..));
        Ok(Self {
            job,
            mode,
            events,
            store: ground.store,
            root: ground.root,
            owner: ground.owner,
            marker_is_behind: ground.marker_is_behind,
            imap,
            records: records.into_iter().map(|record| (record.id, record)).collect(),
            pictures: BTreeMap::new(),
            batches,
            statuses: BTreeMap::new(),
            selected: None,
            trash: None,
            reserved: Vec::new(),
            names,
            quota_full: false,
            octets: 0,
            gone_here: BTreeMap::new(),
            learnt: 0,
            report: Report::default(),
        })
    }

    async fn run(&mut self, only: &[String]) -> Result<(), Error> {
        if self.mode == Mode::Execute {
            self.found_root().await?;
            self.resume_mailboxes().await?;
        }
        let mut dirty = self.judge_mailboxes(only).await?;
        let mut before: BTreeMap<MailboxId, Vec<Action>> = BTreeMap::new();
        let mut learnt = 0;
        for round in 0..MAX_ROUNDS {
            let mut observed = self.observe(&dirty).await?;
            if !self.batches.is_empty() && self.mode == Mode::Execute {
                self.recover(&mut observed).await?;
            }
            let (mut plans, mut memory) = self.plan(&observed, round).await?;
            // Where nothing came of the round before, a mailbox whose plan is what it was then is stuck, on somebody else's
            // marks for example.
            if std::mem::replace(&mut learnt, self.learnt) == self.learnt {
                plans.retain(|plan| {
                    plan.is_empty() || before.get(&plan.mailbox).is_none_or(|b| !same_work(b, &plan.actions))
                });
            }
            before = plans.iter().map(|plan| (plan.mailbox, plan.actions.clone())).collect();
            if self.mode == Mode::DryRun {
                return Ok(());
            }
            self.settle_notes(&plans, memory.take()).await?;
            self.advance(&plans, &observed).await?;
            dirty = plans.iter().filter(|plan| !plan.actions.is_empty()).map(|plan| plan.mailbox).collect();
            if dirty.is_empty() {
                break;
            }
            let touched = self.execute(plans, &observed).await?;
            let mirrored = |id: &MailboxId| self.records.get(id).is_some_and(|record| record.path.is_some());
            dirty.extend(touched.into_iter().filter(mirrored));
            self.statuses.clear();
        }
        Ok(())
    }

    /// Makes the root at the first pass, and raises its marker if a crash came before that.
    async fn found_root(&mut self) -> Result<(), Error> {
        let (path, owner, generation) = (self.job.maildir.clone(), self.owner.clone(), self.store.generation());
        if let Some(root) = self.root.clone().filter(|_| self.marker_is_behind) {
            blocking(move || Ok(root.write_marker(&RootMarker { owner, generation })?)).await?;
            return Ok(());
        }
        if self.root.is_none() {
            let root = blocking(move || {
                let root = Root::create(&path)?;
                root.write_marker(&RootMarker { owner, generation })?;
                Ok(root)
            });
            self.root = Some(root.await?);
        }
        Ok(())
    }

    /// Reconciles every observed mailbox and lets the guard look at all plans.
    async fn plan(
        &mut self,
        observed: &BTreeMap<MailboxId, Observed>,
        round: usize,
    ) -> Result<(Vec<MailboxPlan>, Option<crate::sync::GuardMemory>), Error> {
        let mut plans = Vec::new();
        for (id, seen) in observed {
            let Some(record) = self.records.get(id).cloned() else { continue };
            let rules = self.rules(&record, seen);
            let picture = self.pictures.get(id).cloned().unwrap_or_default();
            let names = &mut self.names;
            let mut fresh = || -> BaseName { names.next() };
            let done = reconcile(&picture, &seen.remote, &seen.local, &rules, &mut fresh);
            plans.push(MailboxPlan {
                mailbox: *id,
                name: record.name.clone(),
                uid_validity: seen.reached.uid_validity,
                actions: done.actions,
                notes: done.notes,
            });
        }
        let store = self.store.clone();
        let stored = blocking(move || Ok(store.guard()?)).await?;
        let mut memory = stored.clone();
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
        let held = guard(&mut watched, &mut memory, &self.job.guard, now());
        let anything_counted = memory.counted.len() != stored.counted.len() || memory.last_set != stored.last_set;
        let count = |f: fn(&Action) -> bool| plans.iter().flat_map(|p| &p.actions).filter(|a| f(a)).count();
        let fetch = count(|a| matches!(a, Action::Fetch { .. }));
        let append = count(|a| matches!(a, Action::Append { .. }));
        let other = count(|a| !matches!(a, Action::Fetch { .. } | Action::Append { .. }));
        let _ = self.events.send(Event::Planned { fetch, append, other });
        if round == 0 {
            self.report.plan.add(&plans, &held);
        } else {
            // What a later round still finds is told as well: somebody was busy meanwhile.
            let mut more = AccountPlan::default();
            more.add(&plans, &held);
            self.report.plan.held.extend(more.held);
        }
        if round == 0 && plans.iter().flat_map(|p| &p.actions).any(|a| self.needs_trash(a)) {
            self.report.plan.mailboxes.extend(self.reserved.iter().cloned());
        }
        Ok((plans, (!held.is_empty() || anything_counted).then_some(memory)))
    }

    fn needs_trash(&self, action: &Action) -> bool {
        matches!(action, Action::DeleteRemote { route: Route::Trash(id), .. } if !self.records.contains_key(id))
    }

    fn rules(&mut self, record: &MailboxRecord, seen: &Observed) -> Rules {
        let mut policy = Policy::TWO_WAY;
        if seen.read_only {
            policy = policy.pull_only();
        }
        let put_away = matches!(record.role, Some(SpecialUse::Trash | SpecialUse::Junk));
        let route = match self.job.deletion {
            Deletion::Trash if !put_away => Route::Trash(self.trash_or_reserve()),
            Deletion::Trash | Deletion::Expunge => Route::Expunge,
            Deletion::Never => {
                policy.push.gone = crate::sync::Answer::Keep;
                Route::Expunge
            }
        };
        Rules {
            policy,
            remote_flags: seen.remote_flags.clone(),
            local_flags: crate::maildir::letters(),
            route,
            now: now(),
        }
    }

    /// Remembers what needs no hands, and what the guard counted.
    async fn settle_notes(
        &mut self,
        plans: &[MailboxPlan],
        memory: Option<crate::sync::GuardMemory>,
    ) -> Result<(), Error> {
        let mut changes: Vec<(MailboxId, Vec<Change>)> = Vec::new();
        for plan in plans.iter().filter(|plan| !plan.notes.is_empty()) {
            let picture = self.pictures.entry(plan.mailbox).or_default();
            let noted: Vec<Change> = plan.notes.iter().map(|note| note.change.clone()).collect();
            noted.iter().for_each(|change| picture.apply(change.clone()));
            changes.push((plan.mailbox, noted));
        }
        if changes.is_empty() && memory.is_none() {
            return Ok(());
        }
        self.settle(Settlement { changes, guard: memory, ..Settlement::default() }).await
    }

    /// Takes the checkpoint of every mailbox in which nothing was left to do.
    async fn advance(&mut self, plans: &[MailboxPlan], observed: &BTreeMap<MailboxId, Observed>) -> Result<(), Error> {
        let mut mailboxes = Vec::new();
        for plan in plans.iter().filter(|plan| plan.actions.is_empty()) {
            let (Some(record), Some(seen)) = (self.records.get_mut(&plan.mailbox), observed.get(&plan.mailbox)) else {
                continue;
            };
            let batches_open = self.batches.iter().any(|batch| touches(batch, plan.mailbox));
            if record.checkpoint != Some(seen.reached) && !batches_open {
                record.checkpoint = Some(seen.reached);
                record.uid_validity = Some(seen.reached.uid_validity);
                mailboxes.push(record.clone());
            }
        }
        if mailboxes.is_empty() {
            return Ok(());
        }
        self.settle(Settlement { mailboxes, ..Settlement::default() }).await
    }

    /// Does what is planned, wave by wave; tells which mailboxes were added to besides those of the plans.
    async fn execute(
        &mut self,
        mut plans: Vec<MailboxPlan>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeSet<MailboxId>, Error> {
        if plans.iter().flat_map(|p| &p.actions).any(|a| self.needs_trash(a)) {
            let actions = std::mem::take(&mut self.reserved);
            self.make_mailboxes(actions).await?;
            let known = &self.records;
            for plan in &mut plans {
                // Without a Trash nothing is deleted on the server; the reason was told when making it failed.
                plan.actions.retain(|action| match action {
                    Action::DeleteRemote { route: Route::Trash(id), .. } => known.contains_key(id),
                    _ => true,
                });
            }
        }
        let next = self.next_uids(&plans, observed).await?;
        let mut failed = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for (phase, works) in waves(&plans, &next, self.job.group) {
            for work in works {
                let Work::Messages { mailbox, uid_validity, mut actions, from } = work else { continue };
                if phase == Phase::Remove {
                    spare(&mut actions, self.pictures.entry(mailbox).or_default(), &failed);
                }
                let Some(seen) = observed.get(&mailbox) else { continue };
                touched.extend(from.keys().copied());
                self.measure(mailbox, &mut actions, seen).await?;
                if actions.is_empty() {
                    continue;
                }
                let work = Work::Messages { mailbox, uid_validity, actions, from };
                failed.extend(self.batch(work, seen).await?);
            }
        }
        Ok(touched)
    }

    /// The epoch and UIDNEXT of every mailbox that the plans add to.
    async fn next_uids(
        &mut self,
        plans: &[MailboxPlan],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeMap<MailboxId, (UidValidity, Uid)>, Error> {
        let mut next = BTreeMap::new();
        let added_to: BTreeSet<MailboxId> =
            plans.iter().flat_map(|p| p.actions.iter().filter_map(|a| a.adds_to(p.mailbox))).collect();
        for id in added_to {
            let known = match observed.get(&id) {
                Some(seen) => Some((seen.reached.uid_validity, seen.uid_next())),
                None => self.ask_uid_next(id).await?,
            };
            if let Some(known) = known {
                next.insert(id, known);
            }
        }
        Ok(next)
    }

    async fn ask_uid_next(&mut self, id: MailboxId) -> Result<Option<(UidValidity, Uid)>, Error> {
        let Some(record) = self.records.get(&id) else { return Ok(None) };
        let name = record.name.clone();
        let status = self.imap.status(std::slice::from_ref(&name)).await?.remove(&name);
        Ok(status.and_then(|s| Some((s.uid_validity?, s.uid_next?))))
    }

    /// Commits to the memory.
    pub(super) async fn settle(&mut self, settlement: Settlement) -> Result<(), Error> {
        let store = self.store.clone();
        blocking(move || Ok(store.settle(settlement)?)).await
    }

    /// Begins batches: durable first, then the marker of the root is raised to their generation.
    pub(super) async fn begin(&mut self, works: Vec<Work>) -> Result<Vec<Batch>, Error> {
        let store = self.store.clone();
        let (root, owner) = (self.root.clone(), self.owner.clone());
        let begun = blocking(move || {
            let begun = store.begin(works)?;
            if let Some(root) = root {
                root.write_marker(&RootMarker { owner, generation: store.generation() })?;
            }
            Ok(begun)
        })
        .await?;
        self.batches.extend(begun.iter().cloned());
        Ok(begun)
    }

    /// Opens a mailbox of the server, unless it is open. False: it is not the one that is remembered.
    pub(super) async fn open(&mut self, id: MailboxId, epoch: UidValidity) -> Result<bool, Error> {
        if self.selected == Some((id, Access::ReadWrite)) {
            return Ok(true);
        }
        let Some(record) = self.records.get(&id) else { return Ok(false) };
        let name = record.name.clone();
        self.selected = None;
        let selected = self.imap.select(&name, Access::ReadWrite, None).await?;
        self.selected = Some((id, Access::ReadWrite));
        Ok(selected.uid_validity == epoch)
    }

    pub(super) fn leave_out(&mut self, mailbox: impl Into<String>, reason: impl Into<String>, failed: bool) {
        let left = LeftOut { mailbox: mailbox.into(), reason: reason.into(), failed };
        if !self.report.left_out.contains(&left) {
            self.report.left_out.push(left);
        }
    }
}

pub(super) fn touches(batch: &Batch, id: MailboxId) -> bool {
    match &batch.work {
        Work::Messages { mailbox, from, .. } => *mailbox == id || from.contains_key(&id),
        Work::Mailboxes(_) => false,
    }
}

/// Tells whether two plans of a mailbox do the same, whatever the names of what is fetched.
fn same_work(a: &[Action], b: &[Action]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|pair| match pair {
            (Action::Fetch { uid: a, flags: f, .. }, Action::Fetch { uid: b, flags: g, .. }) => a == b && f == g,
            (a, b) => a == b,
        })
}
