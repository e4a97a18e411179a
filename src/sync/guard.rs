//! The guard: too many deletions inferred at once are held until a person has looked.

use crate::mail::{Flags, Uid};
use crate::sync::picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Side, Why};
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
    memory.counted.retain(|c| c.at + WINDOW > now);
    let mut total: u32 = memory.counted.iter().map(|c| c.count).sum();
    for w in watched.iter() {
        total = total.saturating_add(inferred(w.plan, Side::Local) + inferred(w.plan, Side::Remote));
    }
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
            let earlier: u32 = memory.counted.iter().filter(same).map(|c| c.count).sum();
            let size = memory.counted.iter().find(same).map_or(of, |c| c.of);
            let sum = earlier.saturating_add(count);
            memory.counted.push(Counted { at: now, mailbox, gone, count, of });
            let share = u64::from(size) * u64::from(limits.percent) / 100;
            let too_many = u64::from(sum) > share.max(u64::from(limits.deletions));
            let all = sum >= size && sum > limits.emptied && !w.may_be_emptied;
            let joins = w.picture.pairs().any(|(_, p)| p.hold.is_some_and(|h| !h.released && h.gone == gone));
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

/// Turns the inferred deletions of a plan into held ones.
fn hold(watched: &mut Watched<'_>, gone: Side, set: u32) {
    let hold = Hold { gone, set, released: false };
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
            Action::Fetch { .. } | Action::Append { .. } | Action::SetFlags { .. } => continue,
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
