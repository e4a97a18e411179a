//! The guard as a property: whatever vanishes, in one go or in slices, through restarts and crashes, no more than its
//! thresholds goes through in ten minutes without a person's word; and that word lets go what was shown, nothing else.
//!
//! The judgement and the database are the real ones. The world is of this file, and so is the sum that is held against it:
//! a list of what was removed, and when.

use mailtwin::mail::{BaseName, Flags, MailboxName, Storable, Uid, UidValidity};
use mailtwin::store::{Settlement, Store};
use mailtwin::sync::guard::WINDOW;
use mailtwin::sync::{
    Action, Change, Guard, Hold, Known, Limits, LocalView, MailboxId, MailboxPlan, Pair, Policy, Reconciled,
    RemoteView, Route, Rules, Side, Watched, Word, decided, guard, reconcile,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const GUARD: Guard = Guard { deletions: 8, percent: 25, emptied: 5, per_10_minutes: 24 };

#[derive(Clone, Debug)]
enum Step {
    /// So many seconds go by.
    Wait(u64),
    /// Messages vanish from one side of a mailbox: so many, from the one with this number on.
    Lose(Side, usize, usize, usize),
    /// The files that vanished are put back.
    Restore,
    /// New messages come.
    Arrive(usize, u32),
    /// A pass; it is killed after so many deletions.
    Pass(usize),
    /// The program ends, and begins again.
    Restart,
    /// The server numbers a mailbox anew.
    Renumber(usize),
    /// A person's word on one of the sets that are shown, or on all.
    Decide(Word, Option<usize>),
}

fn steps() -> impl Strategy<Value = Step> {
    let side = prop::sample::select(vec![Side::Local, Side::Remote]);
    prop_oneof![
        3 => (0u64..400).prop_map(Step::Wait),
        6 => (side, 0..2usize, 1..20usize, 0..40usize).prop_map(|(s, m, n, from)| Step::Lose(s, m, n, from)),
        1 => Just(Step::Restore),
        1 => (0..2usize, 1..20u32).prop_map(|(m, n)| Step::Arrive(m, n)),
        8 => prop_oneof![4 => Just(usize::MAX), 1 => 0..6usize].prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (0..2usize).prop_map(Step::Renumber),
        1 => (prop::sample::select(vec![Word::Approved, Word::Rejected]), prop::option::of(0..3usize))
            .prop_map(|(word, set)| Step::Decide(word, set)),
    ]
}

/// One mailbox on both sides, and its epoch.
#[derive(Default)]
struct Mailbox {
    there: BTreeSet<Uid>,
    here: BTreeSet<BaseName>,
    lost_here: BTreeSet<BaseName>,
    epoch: u32,
    uid_next: u32,
}

/// What was removed without a person's word.
struct Removed {
    at: u64,
    mailbox: usize,
    gone: Side,
}

/// Messages that wait for a person, and the side from which they vanished.
type Shown = BTreeMap<(usize, BaseName), Side>;

struct World {
    directory: tempfile::TempDir,
    store: Option<Store>,
    boxes: [Mailbox; 2],
    now: u64,
    names: u32,
    removed: Vec<Removed>,
    /// How many messages each mailbox had, pass by pass.
    sizes: Vec<(u64, [usize; 2])>,
    /// What a person let go, and from where it had vanished.
    approved: Shown,
}

fn id(mailbox: usize) -> MailboxId {
    MailboxId(u32::try_from(mailbox).expect("two") + 1)
}

fn name(number: u32) -> BaseName {
    BaseName::new(format!("m{number}").as_bytes()).expect("a name")
}

impl World {
    fn new(sizes: [u32; 2]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Some(Store::open(&directory.path().join("work")).expect("it opens").0);
        let boxes = [(); 2].map(|()| Mailbox { epoch: 1, uid_next: 1, ..Mailbox::default() });
        let (removed, approved) = (vec![], Shown::new());
        let mut world =
            Self { directory, store, boxes, now: 1_700_000_000, names: 0, removed, sizes: vec![], approved };
        (0..2).for_each(|mailbox| world.arrive(mailbox, sizes[mailbox]));
        world.pass(usize::MAX);
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn arrive(&mut self, mailbox: usize, count: u32) {
        let mailbox = &mut self.boxes[mailbox];
        for uid in mailbox.uid_next..mailbox.uid_next + count {
            mailbox.there.insert(Uid::new(uid).expect("not zero"));
        }
        mailbox.uid_next += count;
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Wait(seconds) => self.now += seconds,
            Step::Lose(Side::Local, mailbox, count, from) => {
                let mailbox = &mut self.boxes[*mailbox];
                let lost: BTreeSet<BaseName> = mailbox.here.iter().skip(*from).take(*count).cloned().collect();
                mailbox.here.retain(|name| !lost.contains(name));
                mailbox.lost_here.extend(lost);
            }
            Step::Lose(Side::Remote, mailbox, count, from) => {
                let mailbox = &mut self.boxes[*mailbox];
                let lost: BTreeSet<Uid> = mailbox.there.iter().skip(*from).take(*count).copied().collect();
                mailbox.there.retain(|uid| !lost.contains(uid));
            }
            Step::Restore => {
                for (mailbox, of) in self.boxes.iter_mut().enumerate() {
                    // What is gone for good is not put back: it would be new mail.
                    let picture = self.store.as_ref().expect("open").picture(id(mailbox)).expect("it reads");
                    let back = std::mem::take(&mut of.lost_here);
                    of.here.extend(back.into_iter().filter(|name| picture.partner(name).is_some()));
                }
            }
            Step::Arrive(mailbox, count) => self.arrive(*mailbox, *count),
            Step::Pass(fuel) => self.pass(*fuel),
            Step::Restart => {
                self.store.take().expect("open").close().expect("it closes");
                self.store = Some(Store::open(&self.directory.path().join("work")).expect("it opens").0);
            }
            Step::Renumber(mailbox) => self.renumber(*mailbox),
            Step::Decide(word, which) => self.decide(*word, *which),
        }
    }

    /// The sets that wait for a person, as `status` shows them.
    fn shown(&self) -> BTreeMap<u32, Shown> {
        let mut sets: BTreeMap<u32, Shown> = BTreeMap::new();
        for mailbox in 0..2 {
            for (_, pair) in self.store().picture(id(mailbox)).expect("it reads").pairs() {
                if let Some(Hold { set, word: Word::Waiting, gone }) = pair.hold {
                    sets.entry(set).or_default().insert((mailbox, pair.name.clone()), gone);
                }
            }
        }
        sets
    }

    fn decide(&mut self, word: Word, which: Option<usize>) {
        let shown = self.shown();
        let set = which.and_then(|n| shown.keys().nth(n).copied());
        if word == Word::Approved {
            let meant = shown.into_iter().filter(|(number, _)| set.is_none_or(|set| set == *number));
            self.approved.extend(meant.flat_map(|(_, messages)| messages));
        }
        let of = |mailbox| {
            let picture = self.store().picture(id(mailbox)).expect("it reads");
            (id(mailbox), decided(&picture, word, set).into_iter().map(|(_, change)| change).collect())
        };
        let changes = (0..2).map(of).collect();
        self.store().settle(Settlement { changes, ..Settlement::default() }).expect("it settles");
    }

    /// A new epoch: the same messages get other UIDs, and what was known of them is taken along.
    fn renumber(&mut self, mailbox: usize) {
        let picture = self.store().picture(id(mailbox)).expect("it reads");
        let of = &mut self.boxes[mailbox];
        let old = std::mem::take(&mut of.there);
        (of.epoch, of.uid_next) = (of.epoch + 1, 1);
        let mut changes = Vec::new();
        let known = picture.uids().map(|(uid, _)| uid);
        for uid in known.chain(old.iter().copied()).collect::<BTreeSet<Uid>>() {
            let new = Uid::new(of.uid_next).expect("not zero");
            of.uid_next += 1;
            if old.contains(&uid) {
                of.there.insert(new);
            }
            if let Some(known) = picture.uid(uid) {
                changes.push(Change::Uid(new, Some(known.clone())));
            }
        }
        let (forgotten_pictures, changes) = (vec![id(mailbox)], vec![(id(mailbox), changes)]);
        let settled = Settlement { forgotten_pictures, changes, ..Settlement::default() };
        self.store().settle(settled).expect("it settles");
    }

    fn plan(&mut self, mailbox: usize) -> MailboxPlan {
        let picture = self.store().picture(id(mailbox)).expect("it reads");
        let of = &self.boxes[mailbox];
        let there: BTreeMap<Uid, Flags> = of.there.iter().map(|uid| (*uid, Flags::new())).collect();
        let exists = there.len().try_into().expect("few");
        let remote = RemoteView::listed(there, exists).expect("it adds up");
        let local = LocalView::of_new(of.here.iter().map(|name| (name.clone(), Flags::new())).collect());
        let rules = Rules {
            policy: Policy::TWO_WAY,
            remote_flags: Storable::everything(),
            local_flags: Storable::everything(),
            route: Route::Expunge,
            limits: Limits::default(),
            now: self.now,
        };
        let names = &mut self.names;
        let mut fresh = || {
            *names += 1;
            name(*names)
        };
        let Reconciled { actions, notes } = reconcile(&picture, &remote, &local, &rules, &mut fresh);
        let uid_validity = UidValidity::new(self.boxes[mailbox].epoch).expect("not zero");
        MailboxPlan { mailbox: id(mailbox), name: MailboxName::inbox(), uid_validity, actions, notes }
    }

    /// A pass as the worker makes it; it dies after so many deletions.
    fn pass(&mut self, mut fuel: usize) {
        let mut plans: Vec<MailboxPlan> = (0..2).map(|mailbox| self.plan(mailbox)).collect();
        let pictures = [0, 1].map(|mailbox| self.store().picture(id(mailbox)).expect("it reads"));
        self.sizes.push((self.now, pictures.each_ref().map(|picture| picture.pairs().count())));
        let mut memory = self.store().guard().expect("it reads");
        let watched = plans.iter_mut().zip(&pictures);
        let mut watched: Vec<Watched<'_>> =
            watched.map(|(plan, picture)| Watched { plan, picture, may_be_emptied: false }).collect();
        guard(&mut watched, &mut memory, &GUARD, self.now);
        let noted = |plan: &MailboxPlan| plan.notes.iter().map(|note| note.change.clone()).collect();
        let changes = plans.iter().map(|plan| (plan.mailbox, noted(plan))).collect();
        self.store().settle(Settlement { changes, guard: Some(memory), ..Settlement::default() }).expect("settled");
        // What came back is a message as any other, also if this pass dies now.
        let came_back: Vec<_> =
            self.approved.keys().filter(|(mailbox, name)| self.is_whole(*mailbox, name)).cloned().collect();
        for message in came_back {
            self.approved.remove(&message);
        }
        for (mailbox, plan) in plans.iter().enumerate() {
            for action in &plan.actions {
                let change = self.execute(mailbox, action, &mut fuel);
                let Some(changes) = change else { return };
                let settled = Settlement { changes: vec![(id(mailbox), vec![changes])], ..Settlement::default() };
                self.store().settle(settled).expect("settled");
            }
        }
        // All that was approved is done by now, or vanished from the other side too.
        let waiting: Shown = self.shown().into_values().flatten().collect();
        for ((mailbox, name), gone) in std::mem::take(&mut self.approved) {
            let uid = self.store().picture(id(mailbox)).expect("it reads").partner(&name);
            let is_shown_anew = waiting.get(&(mailbox, name.clone())).is_some_and(|side| *side != gone);
            let is_gone = uid.is_none() && !self.boxes[mailbox].here.contains(&name);
            assert!(is_gone || is_shown_anew, "{name:?} was approved, and nothing came of it");
        }
    }

    /// Tells whether a message is on both sides.
    fn is_whole(&self, mailbox: usize, name: &BaseName) -> bool {
        let uid = self.store().picture(id(mailbox)).expect("it reads").partner(name);
        let of = &self.boxes[mailbox];
        uid.is_some_and(|uid| of.there.contains(&uid)) && of.here.contains(name)
    }

    fn execute(&mut self, mailbox: usize, action: &Action, fuel: &mut usize) -> Option<Change> {
        let of = &mut self.boxes[mailbox];
        let (name, gone, inferred, change) = match action {
            Action::Fetch { uid, name, flags } => {
                of.here.insert(name.clone());
                return Some(Change::Uid(*uid, Some(Known::Pair(Pair::agreed(name.clone(), flags.clone(), None)))));
            }
            Action::Append { name, flags, .. } => {
                let uid = Uid::new(of.uid_next).expect("not zero");
                of.uid_next += 1;
                of.there.insert(uid);
                return Some(Change::Uid(uid, Some(Known::Pair(Pair::agreed(name.clone(), flags.clone(), None)))));
            }
            Action::DeleteRemote { uid, name, inferred, .. } => {
                *fuel = fuel.checked_sub(1)?;
                of.there.remove(uid);
                (name, Side::Local, *inferred, Change::Uid(*uid, None))
            }
            Action::DeleteLocal { uid: Some(uid), name, inferred } => {
                *fuel = fuel.checked_sub(1)?;
                of.here.remove(name);
                (name, Side::Remote, *inferred, Change::Uid(*uid, None))
            }
            other => panic!("nobody asked for {other:?}"),
        };
        if inferred {
            self.removed.push(Removed { at: self.now, mailbox, gone });
        } else {
            assert!(self.approved.remove(&(mailbox, name.clone())).is_some(), "{name:?} was never shown and approved");
        }
        Some(change)
    }

    /// Holds every ten minutes against the thresholds.
    fn holds(&self) {
        for last in &self.removed {
            let is_within = |at: u64| at <= last.at && at + WINDOW > last.at;
            let within = || self.removed.iter().filter(|removed| is_within(removed.at));
            let total = within().count();
            assert!(total <= 24, "{total} of the account at {}", last.at);
            let same = within().filter(|removed| (removed.mailbox, removed.gone) == (last.mailbox, last.gone)).count();
            let sizes = self.sizes.iter().filter(|(at, _)| is_within(*at)).map(|(_, sizes)| sizes[last.mailbox]);
            let size = sizes.max().expect("it was removed in a pass");
            assert!(same <= (size / 4).max(8), "{same} of {size} at {}", last.at);
            assert!(same < size || same <= 5, "all {size} at {}", last.at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_more_than_the_threshold_goes_without_a_word_and_with_one_what_was_shown(
        sizes in [1u32..60, 1u32..60],
        steps in prop::collection::vec(steps(), 1..50),
    ) {
        let mut world = World::new(sizes);
        for step in &steps {
            world.take(step);
            world.holds();
        }
    }
}
