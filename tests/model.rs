//! The exhaustive model: the real reconcile, settle, order and recover on a small world, under every schedule of
//! two edits, a crash at any durable step, one more edit, and a crash at any durable step again.
//!
//! The world is a server and a Maildir with two mailboxes and up to two messages to begin with. Only the hands are of
//! this file: they count each durable step, and the process dies when the fuel is used up. Five mutations of the order
//! in which the hands work, and one of adoption, must each be caught, or this test proves nothing.

// The count of schedules and what was caught are meant to be read.
#![allow(clippy::print_stdout)]

#[path = "model/mailboxes.rs"]
mod mailboxes;

use mailtwin::mail::{BaseName, Fingerprint, FlagChange, Flags, ModSeq, SystemFlag, Uid, UidSet, UidValidity};
use mailtwin::sync::{
    Action, Arrived, Batch, BatchId, Cause, Change, Checkpoint, Delta, Evidence, HeaderLook, Known, Limits, LocalView,
    Lone, LooksHere, LooksThere, MailboxId, MailboxPlan, Numbers, Outcome, Picture, Policy, RemoteView, Route, Rules,
    Scene, Scope, Trace, Why, Word, Work, adopt, pair_up, questions, reappeared, reconcile, recover, scope, settle,
    settle_origin, waves,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mutation {
    None,
    NoBegin,
    SettleBeforeExecute,
    RemoveBeforeAdd,
    CheckpointEarly,
    AbsenceFromIncompleteView,
    AdoptDeletes,
}

/// A mailbox on both sides, and what is remembered of it.
#[derive(Clone)]
struct Mailbox {
    remote: BTreeMap<Uid, (u8, Flags, u64)>,
    vanished: Vec<(u64, Uid)>,
    epoch: UidValidity,
    uid_next: Uid,
    mod_seq: u64,
    local: BTreeMap<BaseName, (u8, Flags)>,
    picture: Picture,
    /// The epoch that the picture is of.
    remembered: Option<UidValidity>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Clone)]
struct World {
    boxes: [Mailbox; 2],
    batches: Vec<Batch>,
    next_batch: u64,
    next_name: u32,
    next_body: u8,
    /// The next listing is cut short by the server, which says OK.
    cut: bool,
    server: Server,
    /// What was uploaded and fetched, body by body.
    uploads: Vec<u8>,
    fetches: Vec<u8>,
    /// What the users did, to judge the end by.
    deleted: BTreeSet<u8>,
    moved_here: BTreeSet<u8>,
    moved_there: BTreeSet<u8>,
    toggled: BTreeMap<u8, u8>,
    seen_there: BTreeSet<u8>,
    seen_here: BTreeSet<u8>,
    /// What the server lost by itself.
    lost_there: BTreeSet<u8>,
    /// The memory was lost, or made worthless.
    void: bool,
}

/// What the server can do.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Server {
    /// It moves, and tells the UIDs of what is uploaded, copied or moved.
    Moves,
    /// It only copies, and tells the UIDs.
    Copies,
    /// It only copies, and tells nothing.
    Plain,
}

fn seen() -> Flags {
    Flags::parse("\\Seen")
}

fn print(body: u8) -> Fingerprint {
    Fingerprint { message_id: Some([body; 8]), size: 1, header: [body; 16], body: [body; 16] }
}

fn toggle(flags: &mut Flags) {
    if flags.contains(SystemFlag::Seen) { flags.remove(SystemFlag::Seen) } else { flags.insert(SystemFlag::Seen) }
}

impl Mailbox {
    fn new() -> Self {
        Self {
            remote: BTreeMap::new(),
            vanished: vec![],
            epoch: UidValidity::new(7).expect("not zero"),
            uid_next: Uid::MIN,
            mod_seq: 1,
            local: BTreeMap::new(),
            picture: Picture::new(),
            remembered: None,
            checkpoint: None,
        }
    }

    fn add_remote(&mut self, body: u8, flags: Flags) -> Uid {
        let uid = self.uid_next;
        self.uid_next = uid.next().expect("few messages");
        self.mod_seq += 1;
        self.remote.insert(uid, (body, flags, self.mod_seq));
        uid
    }

    fn expunge(&mut self, uid: Uid) -> Option<u8> {
        let (body, ..) = self.remote.remove(&uid)?;
        self.mod_seq += 1;
        self.vanished.push((self.mod_seq, uid));
        Some(body)
    }

    fn store(&mut self, uid: Uid, change: impl FnOnce(&mut Flags)) {
        if let Some((_, flags, mod_seq)) = self.remote.get_mut(&uid) {
            let before = flags.clone();
            change(flags);
            if *flags != before {
                self.mod_seq += 1;
                *mod_seq = self.mod_seq;
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let exists = self.remote.len() as u32;
        Numbers { uid_validity: self.epoch, exists, highest_mod_seq: ModSeq::new(self.mod_seq) }
    }

    fn reached(&self) -> Checkpoint {
        Checkpoint {
            uid_validity: self.epoch,
            highest_mod_seq: ModSeq::new(self.mod_seq),
            uid_next: Some(self.uid_next),
            messages: self.remote.len() as u32,
        }
    }

    /// What the worker sees of the server: a listing, or a delta where a checkpoint allows it. `cut`: one is left out.
    fn observe(&self, full: bool, cut: bool, believe: bool) -> Option<RemoteView> {
        let numbers = self.numbers();
        let listing = |since: u64| {
            let all = self.remote.iter().filter(move |(_, (_, _, m))| *m > since);
            let mut all: BTreeMap<Uid, Flags> = all.map(|(uid, (_, flags, _))| (*uid, flags.clone())).collect();
            // A delta that leaves out a change of flags adds up all the same: only the weekly listing finds that.
            if cut && all.last_key_value().is_some_and(|(uid, _)| since == 0 || self.picture.uid(*uid).is_none()) {
                all.pop_last();
            }
            all
        };
        match self.checkpoint {
            Some(checkpoint) if !full => {
                let since = checkpoint.highest_mod_seq.map_or(0, ModSeq::get);
                let vanished: UidSet = self.vanished.iter().filter(|(m, _)| *m > since).map(|(_, uid)| *uid).collect();
                let delta = Delta { changed: listing(since), vanished };
                RemoteView::after(&self.picture, &checkpoint, &numbers, &delta).ok()
            }
            _ => {
                let all = listing(0);
                let exists = if believe { all.len() as u32 } else { numbers.exists };
                RemoteView::listed(all, exists).ok()
            }
        }
    }

    fn local_view(&self) -> LocalView {
        LocalView::of_new(self.local.iter().map(|(name, (_, flags))| (name.clone(), flags.clone())).collect())
    }

    fn rules(&self) -> Rules {
        let all = mailtwin::mail::Storable::everything();
        Rules {
            policy: Policy::TWO_WAY,
            remote_flags: all.clone(),
            local_flags: all,
            route: Route::Expunge,
            limits: Limits::default(),
            now: 0,
        }
    }
}

/// The process died: the fuel is used up.
struct Died;

struct Fuel(u32);

impl Fuel {
    fn step(&mut self) -> Result<(), Died> {
        self.0 = self.0.checked_sub(1).ok_or(Died)?;
        Ok(())
    }
}

impl World {
    fn new(server: Server) -> Self {
        Self {
            boxes: [Mailbox::new(), Mailbox::new()],
            batches: vec![],
            next_batch: 1,
            next_name: 1,
            next_body: 1,
            cut: false,
            server,
            uploads: vec![],
            fetches: vec![],
            deleted: BTreeSet::new(),
            moved_here: BTreeSet::new(),
            moved_there: BTreeSet::new(),
            toggled: BTreeMap::new(),
            seen_there: BTreeSet::new(),
            seen_here: BTreeSet::new(),
            lost_there: BTreeSet::new(),
            void: false,
        }
    }

    fn fresh(&mut self) -> BaseName {
        self.next_name += 1;
        BaseName::new(format!("n{}", self.next_name).as_bytes()).expect("a name")
    }

    /// One run of the program: `Err` if it died on the way.
    fn run(&mut self, fuel: &mut Fuel, mutation: Mutation) -> Result<(), Died> {
        for _round in 0..6 {
            if self.pass(fuel, mutation)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One pass; true if nothing was left to do.
    fn pass(&mut self, fuel: &mut Fuel, mutation: Mutation) -> Result<bool, Died> {
        let full = !self.batches.is_empty();
        let cut = std::mem::take(&mut self.cut);
        let believe = mutation == Mutation::AbsenceFromIncompleteView;
        let mut views = Vec::new();
        for mailbox in &self.boxes {
            match mailbox.observe(full || (cut && believe), cut, believe) {
                Some(view) => views.push(view),
                // What does not add up is listed again.
                None => match mailbox.observe(true, cut, believe) {
                    Some(view) => views.push(view),
                    None => return Ok(true),
                },
            }
        }
        if full {
            self.recover(&views, fuel)?;
        }
        self.adopt(&views, fuel, mutation)?;
        let reached: Vec<Checkpoint> = self.boxes.iter().map(Mailbox::reached).collect();
        if mutation == Mutation::CheckpointEarly {
            fuel.step()?;
            self.boxes.iter_mut().zip(&reached).for_each(|(b, r)| b.checkpoint = Some(*r));
        }
        let plans = self.plans(&views);
        if plans.iter().all(MailboxPlan::is_empty) {
            if self.boxes.iter().zip(&reached).any(|(b, r)| b.checkpoint != Some(*r)) {
                fuel.step()?;
                self.boxes.iter_mut().zip(&reached).for_each(|(b, r)| b.checkpoint = Some(*r));
            }
            return Ok(true);
        }
        let next =
            (0..2).map(|i| (MailboxId(i), (self.boxes[i as usize].epoch, self.boxes[i as usize].uid_next))).collect();
        let mut ordered = waves(plans.clone(), &next, 10);
        if mutation == Mutation::RemoveBeforeAdd {
            ordered.reverse();
        }
        let notes: Vec<(MailboxId, Change)> =
            plans.iter().flat_map(|p| p.notes.iter().map(|n| (p.mailbox, n.change.clone()))).collect();
        if !notes.is_empty() {
            fuel.step()?;
            notes.into_iter().for_each(|(id, change)| self.boxes[id.0 as usize].picture.apply(change));
        }
        for (_, works) in ordered {
            self.wave(works, fuel, mutation)?;
        }
        Ok(false)
    }

    /// Pairs what the memory says nothing of, each mailbox in one commit.
    fn adopt(&mut self, views: &[RemoteView], fuel: &mut Fuel, mutation: Mutation) -> Result<(), Died> {
        for (mailbox, remote) in self.boxes.iter_mut().zip(views) {
            let cause = match mailbox.remembered {
                None => Cause::Met,
                Some(was) if was != mailbox.epoch => Cause::NewEpoch,
                Some(_) if reappeared(&mailbox.picture, remote) => Cause::Reappeared,
                Some(_) => continue,
            };
            let local = mailbox.local_view();
            let Scope { uids, names, gone } = scope(cause, &mailbox.picture, remote, &local);
            let there = uids.into_iter().map(|uid| {
                let (body, flags, _) = &mailbox.remote[&uid];
                let header = Some(HeaderLook { digest: [*body; 16], volatile: 0 });
                let (flags, message_id) = (flags.clone(), Some([*body; 8]));
                (uid, LooksThere { flags, message_id, size: Some(1), header, ..LooksThere::default() })
            });
            let mut here: BTreeMap<BaseName, LooksHere> = gone;
            here.extend(names.into_iter().map(|name| {
                let (body, flags) = mailbox.local[&name].clone();
                let (print, octets) = (print(body), Some(1));
                (name, LooksHere { flags, print, octets, unended: false, date: None, gone: false })
            }));
            let done = adopt(cause, &mailbox.picture, (remote, &local), &there.collect(), &here, 0);
            fuel.step()?;
            if cause == Cause::NewEpoch {
                mailbox.picture = Picture::new();
            }
            mailbox.remembered = Some(mailbox.epoch);
            for mut change in done.changes {
                if mutation == Mutation::AdoptDeletes {
                    // What is missing on a side counts as deleted there.
                    match &mut change {
                        Change::Local(_, Some(Lone { why: Why::Missing(hold), .. })) => hold.word = Word::Approved,
                        Change::Uid(_, Some(Known::Pair(pair))) => pair.hold = None,
                        _ => {}
                    }
                }
                mailbox.picture.apply(change);
            }
        }
        Ok(())
    }

    /// The messages whose deletion waits for a person.
    fn held(&self) -> BTreeSet<u8> {
        let mut held = BTreeSet::new();
        for mailbox in &self.boxes {
            let here = |name: &BaseName| mailbox.local.get(name).map(|(body, _)| *body);
            for (uid, pair) in mailbox.picture.pairs().filter(|(_, pair)| pair.hold.is_some()) {
                held.extend(mailbox.remote.get(&uid).map(|(body, ..)| *body).or(here(&pair.name)));
            }
            let missing = mailbox.picture.lone_local().filter(|(_, lone)| matches!(lone.why, Why::Missing(_)));
            held.extend(missing.filter_map(|(name, _)| here(name)));
        }
        held
    }

    fn plans(&mut self, views: &[RemoteView]) -> Vec<MailboxPlan> {
        let mut plans: Vec<MailboxPlan> = (0..2)
            .map(|i| {
                let mailbox = self.boxes[i].clone();
                let mut fresh = || self.fresh();
                let (local, rules) = (mailbox.local_view(), mailbox.rules());
                let mut done = reconcile(&mailbox.picture, &views[i], &local, &rules, &mut fresh);
                for action in &mut done.actions {
                    if let Action::Append { name, print: look, .. } = action {
                        *look = mailbox.local.get(name).map(|(body, _)| print(*body));
                    }
                }
                MailboxPlan {
                    mailbox: MailboxId(i as u32),
                    name: mailtwin::mail::MailboxName::inbox(),
                    uid_validity: mailbox.epoch,
                    actions: done.actions,
                    notes: done.notes,
                }
            })
            .collect();
        let locals: Vec<LocalView> = self.boxes.iter().map(Mailbox::local_view).collect();
        let mut scenes: Vec<Scene<'_>> = plans
            .iter_mut()
            .enumerate()
            .map(|(i, plan)| Scene {
                plan,
                picture: &self.boxes[i].picture,
                remote: &views[i],
                local: &locals[i],
                is_trash: false,
            })
            .collect();
        pair_up(&mut scenes, &self.evidence());
        plans
    }

    /// What server and Maildir tell when asked: every message has a Message-ID, and all have one date.
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        for (i, mailbox) in (0..).zip(&self.boxes) {
            for (uid, (body, ..)) in &mailbox.remote {
                let arrived = Arrived { message_id: Some([*body; 8]), size: Some(1), date: Some(0), object: None };
                evidence.arrived.insert((MailboxId(i), *uid), arrived);
            }
            evidence.dates.extend(mailbox.local.keys().map(|name| ((MailboxId(i), name.clone()), 0)));
        }
        evidence
    }

    fn recover(&mut self, views: &[RemoteView], fuel: &mut Fuel) -> Result<(), Died> {
        let asked = questions(&self.batches);
        // Of a mailbox that was numbered anew nothing is found by UID.
        let traces: BTreeMap<MailboxId, BTreeMap<Uid, Trace>> = asked
            .into_iter()
            .filter(|(id, (epoch, _))| self.boxes[id.0 as usize].epoch == *epoch)
            .map(|(id, (_, from))| {
                let there = self.boxes[id.0 as usize].remote.range(from..);
                (
                    id,
                    there
                        .map(|(uid, (body, ..))| {
                            (*uid, Trace { message_id: Some([*body; 8]), header: [*body; 16], size: 1 })
                        })
                        .collect(),
                )
            })
            .collect();
        fuel.step()?;
        let locals = (0..2).map(|i| (MailboxId(i), self.boxes[i as usize].local_view())).collect();
        let remotes = (0..).map(MailboxId).zip(views.iter().cloned()).collect();
        for i in 0..2 {
            let pictures = (0..2).map(|i| (MailboxId(i), self.boxes[i as usize].picture.clone())).collect();
            let changes = recover(&self.batches, MailboxId(i), &pictures, &remotes, &locals, &traces);
            changes.into_iter().for_each(|(of, change)| self.boxes[of.0 as usize].picture.apply(change));
        }
        self.batches.clear();
        Ok(())
    }

    fn wave(&mut self, works: Vec<Work>, fuel: &mut Fuel, mutation: Mutation) -> Result<(), Died> {
        let mut begun = Vec::new();
        for work in works {
            begun.push(Batch { id: BatchId(self.next_batch), generation: 1, work });
            self.next_batch += 1;
        }
        if mutation != Mutation::NoBegin {
            fuel.step()?;
            self.batches.extend(begun.clone());
        }
        let mut settled = Vec::new();
        let mut open = BTreeSet::new();
        for batch in &begun {
            let Work::Messages { mailbox, actions, .. } = &batch.work else { continue };
            for action in actions {
                let outcome = if mutation == Mutation::SettleBeforeExecute {
                    self.assumed(*mailbox, action)
                } else {
                    self.execute(*mailbox, action, fuel)?
                };
                if matches!(outcome, Outcome::Unknown | Outcome::Stored) {
                    open.insert(batch.id);
                }
                settled.push((*mailbox, action.clone(), outcome));
            }
        }
        fuel.step()?;
        for (mailbox, action, outcome) in &settled {
            let picture = &mut self.boxes[mailbox.0 as usize].picture;
            settle(picture, action, outcome, 0).into_iter().for_each(|change| picture.apply(change));
            if let Some(origin) = action.origin() {
                let picture = &mut self.boxes[origin.mailbox.0 as usize].picture;
                settle_origin(picture, action, outcome).into_iter().for_each(|change| picture.apply(change));
            }
        }
        self.batches.retain(|b| open.contains(&b.id) || !begun.iter().any(|closed| closed.id == b.id));
        if mutation == Mutation::SettleBeforeExecute {
            for (mailbox, action, _) in &settled {
                self.execute(*mailbox, action, fuel)?;
            }
        }
        Ok(())
    }

    /// The effect of an action on the sides.
    fn execute(&mut self, id: MailboxId, action: &Action, fuel: &mut Fuel) -> Result<Outcome, Died> {
        let server = self.server;
        let mailbox = &mut self.boxes[id.0 as usize];
        Ok(match action {
            Action::Fetch { uid, name, flags } => match mailbox.remote.get(uid) {
                Some((body, ..)) => {
                    let body = *body;
                    fuel.step()?;
                    mailbox.local.insert(name.clone(), (body, flags.clone()));
                    self.seen_here.insert(body);
                    self.fetches.push(body);
                    Outcome::Fetched(print(body))
                }
                None => Outcome::Removed,
            },
            Action::Append { name, flags, .. } => match mailbox.local.get(name) {
                Some((body, _)) => {
                    let body = *body;
                    fuel.step()?;
                    let uid = mailbox.add_remote(body, flags.clone());
                    self.seen_there.insert(body);
                    self.uploads.push(body);
                    if server == Server::Plain { Outcome::Stored } else { Outcome::Appended(uid, None) }
                }
                None => Outcome::Moot,
            },
            Action::SetFlags { uid, name, remote, local, .. } => {
                let apply = |change: &FlagChange, flags: &mut Flags| *flags = change.apply(flags);
                if let Some(change) = remote {
                    fuel.step()?;
                    mailbox.store(*uid, |flags| apply(change, flags));
                }
                let mut here = true;
                if let Some((expected, change)) = local {
                    match mailbox.local.get_mut(name) {
                        Some((_, flags)) if flags == expected => {
                            fuel.step()?;
                            apply(change, flags);
                        }
                        _ => here = false,
                    }
                }
                Outcome::FlagsSet { remote: mailbox.remote.contains_key(uid), local: here }
            }
            Action::DeleteRemote { uid, .. } => {
                fuel.step()?;
                mailbox.expunge(*uid);
                Outcome::Removed
            }
            Action::DeleteLocal { name, .. } => {
                fuel.step()?;
                mailbox.local.remove(name);
                Outcome::Removed
            }
            Action::Restore { .. } | Action::Withdraw { .. } => unreachable!("no plan of a pass brings anything back"),
            Action::CopyRemote { origin, name, .. } | Action::MoveRemote { origin, name, .. } => {
                let from = origin.mailbox.0 as usize;
                let moves = matches!(action, Action::MoveRemote { .. });
                let is_here = mailbox.local.contains_key(name);
                let Some((body, flags, _)) = self.boxes[from].remote.get(&origin.uid).cloned().filter(|_| is_here)
                else {
                    return Ok(Outcome::Moot);
                };
                fuel.step()?;
                if moves && server == Server::Moves {
                    self.boxes[from].expunge(origin.uid);
                }
                let uid = self.boxes[id.0 as usize].add_remote(body, flags);
                match (server, moves) {
                    (Server::Plain, _) => Outcome::Unknown,
                    (_, false) => Outcome::Appended(uid, None),
                    (Server::Moves, true) => Outcome::Moved(uid, None),
                    (Server::Copies, true) => {
                        fuel.step()?;
                        self.boxes[from].expunge(origin.uid);
                        Outcome::Moved(uid, None)
                    }
                }
            }
            Action::MoveLocal { uid, origin, was, name, .. } => {
                let Some(message) = self.boxes[origin.mailbox.0 as usize].local.remove(was) else {
                    return Ok(Outcome::Moot);
                };
                if let Err(died) = fuel.step() {
                    self.boxes[origin.mailbox.0 as usize].local.insert(was.clone(), message);
                    return Err(died);
                }
                self.boxes[id.0 as usize].local.insert(name.clone(), message);
                Outcome::Moved(*uid, None)
            }
        })
    }

    /// What a program would write down that settles before it executes.
    fn assumed(&self, id: MailboxId, action: &Action) -> Outcome {
        let mailbox = &self.boxes[id.0 as usize];
        match action {
            Action::Fetch { uid, .. } => Outcome::Fetched(print(mailbox.remote.get(uid).map_or(0, |m| m.0))),
            Action::Append { .. } => Outcome::Appended(mailbox.uid_next, None),
            Action::SetFlags { .. } => Outcome::FlagsSet { remote: true, local: true },
            Action::DeleteRemote { .. } | Action::DeleteLocal { .. } => Outcome::Removed,
            Action::Restore { .. } | Action::Withdraw { .. } => unreachable!("no plan of a pass brings anything back"),
            Action::CopyRemote { .. } => Outcome::Appended(mailbox.uid_next, None),
            Action::MoveRemote { .. } => Outcome::Moved(mailbox.uid_next, None),
            Action::MoveLocal { uid, .. } => Outcome::Moved(*uid, None),
        }
    }

    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Nothing => {}
            Edit::AddHere => {
                let (name, body) = (self.fresh(), self.next_body);
                self.boxes[0].local.insert(name, (body, Flags::new()));
                self.seen_here.insert(body);
                self.next_body += 1;
            }
            Edit::AddThere => {
                let body = self.next_body;
                self.boxes[0].add_remote(body, Flags::new());
                self.seen_there.insert(body);
                self.next_body += 1;
            }
            Edit::DeleteThere(n) => {
                if let Some(uid) = self.boxes[0].remote.keys().nth(n).copied() {
                    self.deleted.extend(self.boxes[0].expunge(uid));
                }
            }
            Edit::DeleteHere(n) => {
                if let Some(name) = self.boxes[0].local.keys().nth(n).cloned() {
                    self.deleted.extend(self.boxes[0].local.remove(&name).map(|(body, _)| body));
                }
            }
            Edit::ToggleThere(n) => {
                if let Some((uid, body)) = self.boxes[0].remote.iter().nth(n).map(|(uid, m)| (*uid, m.0)) {
                    self.boxes[0].store(uid, toggle);
                    *self.toggled.entry(body).or_default() += 1;
                }
            }
            Edit::ToggleHere(n) => {
                if let Some((body, flags)) = self.boxes[0].local.values_mut().nth(n) {
                    toggle(flags);
                    *self.toggled.entry(*body).or_default() += 1;
                }
            }
            Edit::MoveHere => {
                if let Some((name, message)) = self.boxes[0].local.pop_first() {
                    self.moved_here.insert(message.0);
                    self.boxes[1].local.insert(name, message);
                }
            }
            Edit::MoveThere => {
                if let Some(uid) = self.boxes[0].remote.keys().next().copied() {
                    let flags = self.boxes[0].remote[&uid].1.clone();
                    let body = self.boxes[0].expunge(uid).expect("it was there");
                    self.moved_there.insert(body);
                    self.boxes[1].add_remote(body, flags);
                }
            }
            Edit::CutListing => self.cut = true,
            Edit::Renumber { lose } => {
                self.void = true;
                let mailbox = &mut self.boxes[0];
                mailbox.epoch = UidValidity::new(mailbox.epoch.get() + 1).expect("not zero");
                let mut kept: Vec<_> = std::mem::take(&mut mailbox.remote).into_values().collect();
                if lose && !kept.is_empty() {
                    let (body, ..) = kept.remove(0);
                    self.seen_there.remove(&body);
                    self.lost_there.insert(body);
                }
                mailbox.vanished.clear();
                mailbox.uid_next = Uid::MIN;
                kept.into_iter().for_each(|(body, flags, _)| {
                    let _ = mailbox.add_remote(body, flags);
                });
            }
            Edit::LoseState => {
                self.void = true;
                self.batches.clear();
                for mailbox in &mut self.boxes {
                    mailbox.picture = Picture::new();
                    (mailbox.remembered, mailbox.checkpoint) = (None, None);
                }
            }
        }
    }

    fn bodies(&self, side: fn(&Mailbox) -> Vec<(u8, Flags)>) -> Vec<(usize, u8, Flags)> {
        let mut all: Vec<_> = self
            .boxes
            .iter()
            .enumerate()
            .flat_map(|(i, b)| side(b).into_iter().map(move |(body, flags)| (i, body, flags)))
            .collect();
        all.sort_by_key(|(i, body, flags)| (*i, *body, flags.to_string()));
        all
    }

    fn there(&self) -> Vec<(usize, u8, Flags)> {
        self.bodies(|b| b.remote.values().map(|(body, flags, _)| (*body, flags.clone())).collect())
    }

    fn here(&self) -> Vec<(usize, u8, Flags)> {
        self.bodies(|b| b.local.values().cloned().collect())
    }

    /// Holds at any moment, crashed or not: what a side had and no user deleted, it has.
    fn never_away(&self) -> Result<(), &'static str> {
        let has = |all: &[(usize, u8, Flags)], body: u8| all.iter().any(|(_, b, _)| *b == body);
        let (there, here) = (self.there(), self.here());
        let live = |body: &&u8| !self.deleted.contains(*body);
        if self.seen_there.iter().filter(live).any(|b| !has(&there, *b)) {
            return Err("a message was away from the server");
        }
        if self.seen_here.iter().filter(live).any(|b| !has(&here, *b)) {
            return Err("a message was away from the Maildir");
        }
        Ok(())
    }

    /// Holds where nothing crashed, and the memory was never void: what both sides had, and was moved on one of them, was
    /// neither uploaded nor fetched.
    fn nothing_transferred_for_moves(&self, messages: usize) -> Result<(), &'static str> {
        if self.void {
            return Ok(());
        }
        for body in 1..=messages as u8 {
            let (here, there) = (self.moved_here.contains(&body), self.moved_there.contains(&body));
            if self.deleted.contains(&body) || (here && there) {
                continue;
            }
            if here && self.uploads.contains(&body) {
                return Err("a message that was moved here was uploaded");
            }
            if there && self.fetches.contains(&body) {
                return Err("a message that was moved there was fetched");
            }
        }
        Ok(())
    }

    /// Holds at rest.
    ///
    /// Two windows cannot be decided from the views: after a crash and before the recovery, a user deletes the message
    /// (it lives, on one side at least), or another device moves what was uploaded a moment ago on to another mailbox
    /// (it is there twice, or here and there; pairing it takes the detection of moves on the server).
    fn at_rest(&mut self, window: Window) -> Result<(), &'static str> {
        let (there, here) = (self.there(), self.here());
        // What the server said to have stored, and what was gone from there before anybody looked, stays here alone.
        let excused = |body: u8| match window {
            Window::None => false,
            Window::Deletion => self.deleted.contains(&body),
            Window::Move => self.moved_there.contains(&body),
        };
        let held = self.held();
        let plain = |all: &[(usize, u8, Flags)]| -> Vec<_> {
            all.iter().filter(|(_, body, _)| !excused(*body) && !held.contains(body)).cloned().collect()
        };
        if plain(&there) != plain(&here) {
            return Err("the sides differ");
        }
        let moved = |body: &u8| self.moved_here.contains(body) || self.moved_there.contains(body);
        for body in 1..self.next_body {
            let count = there.iter().filter(|(_, b, _)| *b == body).count();
            let deleted = self.deleted.contains(&body);
            let moved_twice = self.moved_here.contains(&body) && self.moved_there.contains(&body);
            let forgot_the_move = self.void && moved(&body);
            match count {
                0 if !deleted && !self.lost_there.contains(&body) => return Err("a message was lost"),
                // Without its memory it does not know of a deletion that was pending, and asks or keeps the message.
                1 if deleted && window != Window::Deletion && !moved(&body) && !self.void => {
                    return Err("a message came back");
                }
                2.. if !(moved_twice
                    || forgot_the_move
                    || window == Window::Move && self.moved_there.contains(&body)) =>
                {
                    return Err("a message was doubled");
                }
                _ => {}
            }
        }
        for (_, body, flags) in &there {
            // What was deleted or lost, and came back from the other side without a memory, comes as it was there.
            let came_back = self.void && (self.deleted.contains(body) || self.lost_there.contains(body));
            let excused = moved(body) || held.contains(body) || came_back;
            if self.toggled.get(body) == Some(&1) && !excused && *flags != seen() {
                return Err("a flag edit was lost");
            }
        }
        let views: Vec<RemoteView> =
            self.boxes.iter().map(|b| b.observe(true, false, false).expect("it adds up")).collect();
        if !self.plans(&views).iter().all(MailboxPlan::is_empty) {
            return Err("a second run has something to do");
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Window {
    None,
    Deletion,
    Move,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Edit {
    Nothing,
    AddHere,
    AddThere,
    DeleteThere(usize),
    DeleteHere(usize),
    ToggleThere(usize),
    ToggleHere(usize),
    MoveHere,
    MoveThere,
    CutListing,
    /// The server numbers the messages of a mailbox anew, and may lose the first of them.
    Renumber {
        lose: bool,
    },
    LoseState,
}

const EDITS: [Edit; 14] = [
    Edit::Nothing,
    Edit::AddHere,
    Edit::AddThere,
    Edit::DeleteThere(0),
    Edit::DeleteThere(1),
    Edit::DeleteHere(0),
    Edit::DeleteHere(1),
    Edit::ToggleThere(0),
    Edit::ToggleThere(1),
    Edit::ToggleHere(0),
    Edit::ToggleHere(1),
    Edit::MoveHere,
    Edit::MoveThere,
    Edit::CutListing,
];

/// What voids the memory; after a first edit, or after a crash.
const VOIDS: [Edit; 3] = [Edit::Renumber { lose: false }, Edit::Renumber { lose: true }, Edit::LoseState];

fn all_edits() -> impl Iterator<Item = Edit> {
    EDITS.into_iter().chain(VOIDS)
}

/// Runs every schedule; stops at the first violation.
fn every_schedule(messages: usize, server: Server, mutation: Mutation) -> Result<u64, String> {
    const FULL: u32 = 1000;
    let mut start = World::new(server);
    for i in 0..messages {
        start.edit(if i % 2 == 0 { Edit::AddHere } else { Edit::AddThere });
    }
    assert!(start.run(&mut Fuel(FULL), Mutation::None).is_ok());
    (start.uploads, start.fetches) = (vec![], vec![]);
    let mut count = 0;
    for first in EDITS {
        for second in all_edits() {
            let mut edited = start.clone();
            edited.edit(first);
            edited.edit(second);
            for fuel in 0.. {
                let mut crashed = edited.clone();
                let finished = crashed.run(&mut Fuel(fuel), mutation).is_ok();
                let told = |world: &World, third: Edit, error: &str| {
                    let World { boxes, .. } = world;
                    let boxes: Vec<_> = boxes.iter().map(|b| (&b.remote, &b.local)).collect();
                    format!(
                        "{error}: {messages} messages, {server:?}, {first:?}, {second:?}, crash at {fuel}, {third:?}: {boxes:?}"
                    )
                };
                let whole = finished;
                crashed.never_away().map_err(|e| told(&crashed, Edit::Nothing, e))?;
                for third in all_edits() {
                    let mut again = crashed.clone();
                    again.edit(third);
                    let window = match third {
                        Edit::DeleteHere(_) | Edit::DeleteThere(_) if !finished => Window::Deletion,
                        Edit::MoveThere if !finished => Window::Move,
                        _ => Window::None,
                    };
                    for fuel in 0.. {
                        let mut end = again.clone();
                        let finished = end.run(&mut Fuel(fuel), mutation).is_ok();
                        end.never_away().map_err(|e| told(&end, third, e))?;
                        for _ in 0..3 {
                            assert!(end.run(&mut Fuel(FULL), mutation).is_ok());
                        }
                        count += 1;
                        if whole && finished {
                            end.nothing_transferred_for_moves(messages).map_err(|e| told(&end, third, e))?;
                        }
                        end.at_rest(window).map_err(|e| format!("{} again at {fuel}", told(&end, third, e)))?;
                        if finished {
                            break;
                        }
                    }
                }
                if finished {
                    break;
                }
            }
        }
    }
    Ok(count)
}

#[test]
fn no_schedule_of_edits_and_crashes_loses_doubles_or_diverges() {
    let worlds = (0..=2).flat_map(|messages| [Server::Moves, Server::Copies, Server::Plain].map(|s| (messages, s)));
    let runs: Vec<_> = worlds
        .map(|(messages, server)| std::thread::spawn(move || every_schedule(messages, server, Mutation::None)))
        .collect();
    let counts: Vec<u64> = runs.into_iter().map(|r| r.join().expect("no panic").expect("no violation")).collect();
    let sum: u64 = counts.iter().sum();
    println!("{sum} schedules: {counts:?}");
    assert!(sum >= 100_000, "only {sum} schedules");
}

fn caught(mutation: Mutation) {
    let found = (0..=2).find_map(|messages| every_schedule(messages, Server::Moves, mutation).err());
    println!("{mutation:?}: {}", found.expect("the model does not notice this mutation"));
}

#[test]
fn a_program_without_a_journal_is_caught() {
    caught(Mutation::NoBegin);
}

#[test]
fn a_program_that_settles_before_it_executes_is_caught() {
    caught(Mutation::SettleBeforeExecute);
}

#[test]
fn a_program_that_removes_before_it_adds_is_caught() {
    caught(Mutation::RemoveBeforeAdd);
}

#[test]
fn a_program_that_advances_its_checkpoint_early_is_caught() {
    caught(Mutation::CheckpointEarly);
}

#[test]
fn a_program_that_infers_absence_from_an_incomplete_view_is_caught() {
    caught(Mutation::AbsenceFromIncompleteView);
}

#[test]
fn an_adoption_that_deletes_is_caught() {
    caught(Mutation::AdoptDeletes);
}
