//! The guard: too many deletions inferred at once are held until a person has looked.

use crate::mail::{Flags, Uid, UidSet, UidValidity};
use crate::sync::picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Side, Why, Word};
use crate::sync::plan::{Action, MailboxPlan, Note, NoteKind};
use serde::{Deserialize, Serialize};

/// The deletions inferred in the last ten minutes; it is stored, so that runs of `sync` share it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardMemory {
    /// What was counted, oldest first.
    pub counted: Vec<Counted>,
    /// The number of the newest set of held deletions.
    pub last_set: u32,
}

/// Deletions counted in one pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// When, in seconds since 1970.
    pub at: u64,
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// The side from whose silence they were inferred.
    pub gone: Side,
    /// How many.
    pub count: u32,
    /// Of how many messages, before them.
    pub of: u32,
    /// The epoch of their UIDs.
    pub uid_validity: UidValidity,
    /// Which, by their UIDs: a deletion that is planned again, after a crash for example, is still one, and counts when it
    /// was planned last.
    pub uids: UidSet,
}

impl GuardMemory {
    /// Forgets what was counted more than ten minutes ago.
    pub fn expire(&mut self, now: u64) {
        self.counted.retain(|c| c.at.saturating_add(WINDOW) > now);
    }
}

/// How long deletions are counted, in seconds.
pub const WINDOW: u64 = 600;

/// How many deletions are believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// In one mailbox, always this many.
    pub deletions: u32,
    /// In one mailbox, this share of its messages, in percent.
    pub percent: u32,
    /// All messages of a mailbox, if they are no more than this.
    pub emptied: u32,
    /// In the whole account.
    pub per_10_minutes: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { deletions: 50, percent: 25, emptied: 5, per_10_minutes: 500 }
    }
}

/// A mailbox whose plan the guard looks at.
#[derive(Debug)]
pub struct Watched<'a> {
    /// Its plan; held deletions are taken out of the actions, and become notes.
    pub plan: &'a mut MailboxPlan,
    /// What is remembered of it.
    pub picture: &'a Picture,
    /// Trash and Junk may be emptied.
    pub may_be_emptied: bool,
}

/// What the guard held in one mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The side from which the messages vanished.
    pub gone: Side,
    /// The number of the set.
    pub set: u32,
    /// How many messages.
    pub count: u32,
}

/// Judges the inferred deletions of all plans of a pass, counting those of the last ten minutes.
///
/// What a person approved is not counted; what is held is.
pub fn guard(watched: &mut [Watched<'_>], memory: &mut GuardMemory, limits: &Guard, now: u64) -> Vec<Held> {
    memory.expire(now);
    for w in watched.iter() {
        for gone in [Side::Local, Side::Remote] {
            forget_planned_again(w.plan, gone, memory);
        }
    }
    let planned = watched.iter().map(|w| inferred(w.plan, Side::Local).saturating_add(inferred(w.plan, Side::Remote)));
    let total = memory.counted.iter().map(|c| c.count).chain(planned).fold(0, u32::saturating_add);
    let account_alarm = total > limits.per_10_minutes;
    let mut held = Vec::new();
    for w in watched {
        for gone in [Side::Local, Side::Remote] {
            let count = inferred(w.plan, gone);
            if count == 0 {
                continue;
            }
            let of = w.picture.pairs().filter(|(_, p)| p.hold.is_none()).count().try_into().unwrap_or(u32::MAX);
            let mailbox = w.plan.mailbox;
            let same = |c: &&Counted| c.mailbox == mailbox && c.gone == gone;
            let earlier = memory.counted.iter().filter(same).map(|c| c.count).fold(0, u32::saturating_add);
            let size = memory.counted.iter().find(same).map_or(of, |c| c.of);
            let sum = earlier.saturating_add(count);
            let (uid_validity, uids) = (w.plan.uid_validity, uids(w.plan, gone));
            memory.counted.push(Counted { at: now, mailbox, gone, count, of, uid_validity, uids });
            let share = u64::from(size) * u64::from(limits.percent) / 100;
            let too_many = u64::from(sum) > share.max(u64::from(limits.deletions));
            let all = sum >= size && sum > limits.emptied && !w.may_be_emptied;
            let waits = |hold: &Hold| hold.word == Word::Waiting && hold.gone == gone;
            let joins = w.picture.pairs().any(|(_, pair)| pair.hold.as_ref().is_some_and(waits))
                || w.picture.lone_local().any(|(_, lone)| matches!(&lone.why, Why::Held(hold) if waits(hold)));
            if too_many || all || joins || account_alarm {
                memory.last_set += 1;
                hold(w, gone, memory.last_set);
                held.push(Held { mailbox, gone, set: memory.last_set, count });
            }
        }
    }
    held
}

fn inferred(plan: &MailboxPlan, gone: Side) -> u32 {
    let count = plan.actions.iter().filter(|a| a.inferred_from() == Some(gone)).count();
    count.try_into().unwrap_or(u32::MAX)
}

/// The UIDs of the inferred deletions of a plan, as far as they have some.
fn uids(plan: &MailboxPlan, gone: Side) -> UidSet {
    let uid = |action: &Action| match action {
        Action::DeleteRemote { uid, .. } => Some(*uid),
        Action::DeleteLocal { uid, .. } => *uid,
        _ => None,
    };
    plan.actions.iter().filter(|action| action.inferred_from() == Some(gone)).filter_map(uid).collect()
}

/// Takes deletions out of the memory that were planned before, not carried out, and are planned again.
fn forget_planned_again(plan: &MailboxPlan, gone: Side, memory: &mut GuardMemory) {
    let planned = uids(plan, gone);
    if planned.is_empty() {
        return;
    }
    let of_these =
        |c: &&mut Counted| c.mailbox == plan.mailbox && c.gone == gone && c.uid_validity == plan.uid_validity;
    for counted in memory.counted.iter_mut().filter(of_these) {
        let left: UidSet = counted.uids.iter().filter(|uid| !planned.contains(*uid)).collect();
        let again = u32::try_from(counted.uids.len() - left.len()).unwrap_or(u32::MAX);
        counted.count = counted.count.saturating_sub(again);
        counted.uids = left;
    }
    memory.counted.retain(|c| c.count > 0);
}

/// Turns the inferred deletions of a plan into held ones.
fn hold(watched: &mut Watched<'_>, gone: Side, set: u32) {
    let hold = Hold { gone, set, word: Word::Waiting };
    let actions = std::mem::take(&mut watched.plan.actions);
    for action in actions {
        if action.inferred_from() != Some(gone) {
            watched.plan.actions.push(action);
            continue;
        }
        let change = match &action {
            Action::DeleteRemote { uid, .. } | Action::DeleteLocal { uid: Some(uid), .. } => {
                match noted(watched.plan, watched.picture, *uid) {
                    Some(Known::Pair(pair)) => Change::Uid(*uid, Some(Known::Pair(Pair { hold: Some(hold), ..pair }))),
                    Some(Known::Lone(lone)) => {
                        Change::Uid(*uid, Some(Known::Lone(Lone { why: Why::Held(hold), ..lone })))
                    }
                    None => {
                        let lone = Lone { flags: Flags::new(), why: Why::Held(hold) };
                        Change::Uid(*uid, Some(Known::Lone(lone)))
                    }
                }
            }
            Action::DeleteLocal { uid: None, name, .. } => {
                let flags = watched.picture.local(name).map(|l| l.flags.clone()).unwrap_or_default();
                Change::Local(name.clone(), Some(Lone { flags, why: Why::Held(hold) }))
            }
            Action::Fetch { .. }
            | Action::Append { .. }
            | Action::SetFlags { .. }
            | Action::CopyRemote { .. }
            | Action::MoveRemote { .. }
            | Action::MoveLocal { .. } => continue,
            Action::Restore { .. } | Action::Withdraw { .. } => continue,
        };
        watched.plan.notes.push(Note { change, kind: NoteKind::Hold(gone) });
    }
}

/// What will be known of a UID once the notes of the plan are taken in.
fn noted(plan: &MailboxPlan, picture: &Picture, uid: Uid) -> Option<Known> {
    let note = plan.notes.iter().rev().find_map(|note| match &note.change {
        Change::Uid(of, known) if *of == uid => Some(known.clone()),
        _ => None,
    });
    note.unwrap_or_else(|| picture.uid(uid).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{BaseName, MailboxName};
    use crate::sync::plan::Route;

    /// Its UIDs begin with `first`; the lowest are deleted.
    fn mailbox_from(first: u32, size: u32, deletions: u32) -> (Picture, MailboxPlan) {
        let mut picture = Picture::new();
        let mut actions = Vec::new();
        for n in first..first + size {
            let uid = Uid::new(n).expect("not zero");
            let name = BaseName::new(format!("m{n}").as_bytes()).expect("a name");
            let pair = Pair::agreed(name.clone(), Flags::new(), None);
            picture.apply(Change::Uid(uid, Some(Known::Pair(pair))));
            if n < first + deletions {
                actions.push(Action::DeleteRemote { uid, name, route: Route::Expunge, inferred: true });
            }
        }
        let plan = MailboxPlan {
            mailbox: MailboxId(1),
            name: MailboxName::inbox(),
            uid_validity: UidValidity::new(1).expect("not zero"),
            actions,
            notes: vec![],
        };
        (picture, plan)
    }

    fn mailbox(size: u32, deletions: u32) -> (Picture, MailboxPlan) {
        mailbox_from(1, size, deletions)
    }

    #[test]
    fn a_deletion_that_is_planned_again_counts_once() {
        let mut memory = GuardMemory::default();
        for now in 0..9 {
            let (picture, mut plan) = mailbox(8, 3);
            let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
            assert_eq!(guard(&mut [watched], &mut memory, &Guard::default(), now), vec![]);
        }
        assert_eq!(memory.counted.len(), 1);
    }

    #[test]
    fn what_is_added_to_a_mirror_while_additions_are_held_joins_them() {
        let (mut picture, mut plan) = mailbox(20, 0);
        let name = |text: &str| BaseName::new(text.as_bytes()).expect("a name");
        let held = Why::Held(Hold { gone: Side::Remote, set: 7, word: Word::Waiting });
        picture.apply(Change::Local(name("x"), Some(Lone { flags: Flags::new(), why: held })));
        plan.actions.push(Action::DeleteLocal { uid: None, name: name("y"), inferred: true });
        let mut memory = GuardMemory::default();
        let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
        assert_eq!(guard(&mut [watched], &mut memory, &Guard::default(), 1).len(), 1);
        assert!(plan.actions.is_empty() && matches!(plan.notes[0].kind, NoteKind::Hold(Side::Remote)));
    }

    #[test]
    fn a_deletion_that_is_planned_again_counts_when_it_was_planned_last() {
        let mut memory = GuardMemory::default();
        for (now, held) in [(0, 0), (590, 0), (601, 1)] {
            // At 590 what was planned at 0 is carried out; then come others.
            let (picture, mut plan) = if held == 0 { mailbox(100, 50) } else { mailbox_from(51, 50, 12) };
            let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
            assert_eq!(guard(&mut [watched], &mut memory, &Guard::default(), now).len(), held, "at {now}");
        }
    }

    #[test]
    fn uids_of_a_new_epoch_are_other_messages() {
        let mut memory = GuardMemory::default();
        for (epoch, held) in [(1, 0), (2, 1)] {
            let (picture, mut plan) = mailbox(100, 50);
            plan.uid_validity = UidValidity::new(epoch).expect("not zero");
            let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
            assert_eq!(guard(&mut [watched], &mut memory, &Guard::default(), 0).len(), held, "epoch {epoch}");
        }
    }

    /// How many of the deletions pass, at `now`; each time others.
    fn pass(memory: &mut GuardMemory, size: u32, deletions: u32, may_be_emptied: bool, now: u64) -> usize {
        let counted: u32 = memory.counted.iter().map(|c| c.count).sum();
        let (picture, mut plan) = mailbox_from(counted + 1, size, deletions);
        let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied };
        let held = guard(&mut [watched], memory, &Guard::default(), now);
        assert_eq!(held.is_empty(), plan.notes.is_empty());
        plan.actions.len()
    }

    #[test]
    fn many_deletions_at_once_are_held() {
        for (size, deletions, passed) in [
            (100, 50, 50),
            (100, 51, 0),
            (1000, 250, 250),
            (1000, 251, 0),
            (5, 5, 5),
            (6, 6, 0),
            (40, 39, 39),
            (40, 40, 0),
        ] {
            assert_eq!(pass(&mut GuardMemory::default(), size, deletions, false, 0), passed, "{deletions} of {size}");
        }
    }

    #[test]
    fn trash_and_junk_may_be_emptied() {
        assert_eq!(pass(&mut GuardMemory::default(), 40, 40, true, 0), 40);
        assert_eq!(pass(&mut GuardMemory::default(), 90, 90, true, 0), 0);
    }

    #[test]
    fn slices_are_added_up_over_ten_minutes_and_then_forgotten() {
        let mut memory = GuardMemory::default();
        assert_eq!(pass(&mut memory, 100, 30, false, 0), 30);
        assert_eq!(pass(&mut memory, 70, 30, false, 300), 0);
        assert_eq!(pass(&mut memory, 70, 30, false, 901), 30);
        assert_eq!(memory.last_set, 1);
    }

    #[test]
    fn an_account_loses_at_most_five_hundred_in_ten_minutes() {
        let mut memory = GuardMemory::default();
        assert_eq!(pass(&mut memory, 4000, 500, false, 0), 500);
        assert_eq!(pass(&mut memory, 3500, 1, false, 1), 0);
    }

    #[test]
    fn what_is_held_is_remembered_with_its_set_and_new_ones_join() {
        let (mut picture, mut plan) = mailbox(100, 60);
        let mut memory = GuardMemory::default();
        let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
        let held = guard(&mut [watched], &mut memory, &Guard::default(), 0);
        assert_eq!(held, vec![Held { mailbox: MailboxId(1), gone: Side::Local, set: 1, count: 60 }]);
        plan.notes.drain(..).for_each(|note| picture.apply(note.change));
        assert_eq!(picture.pairs().filter(|(_, p)| p.hold.is_some()).count(), 60);

        let (uid, name) = picture.pairs().map(|(uid, p)| (uid, p.name.clone())).last().expect("100 pairs");
        plan.actions = vec![Action::DeleteRemote { uid, name, route: Route::Expunge, inferred: true }];
        let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
        let held = guard(&mut [watched], &mut memory, &Guard::default(), 10_000);
        assert_eq!((held.len(), held[0].set, plan.actions.len()), (1, 2, 0));
    }

    #[test]
    fn what_a_person_approved_is_not_counted() {
        let (picture, mut plan) = mailbox(100, 100);
        for action in &mut plan.actions {
            let Action::DeleteRemote { inferred, .. } = action else { panic!("only deletions") };
            *inferred = false;
        }
        let watched = Watched { plan: &mut plan, picture: &picture, may_be_emptied: false };
        assert!(guard(&mut [watched], &mut GuardMemory::default(), &Guard::default(), 0).is_empty());
        assert_eq!(plan.actions.len(), 100);
    }
}
