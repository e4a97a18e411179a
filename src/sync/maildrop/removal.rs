//! Which messages are removed from a drop.
//!
//! Any rule removes, and none a message that was not fetched as a whole, or not as long ago as `never_before` says.

use crate::mail::Uid;
use crate::sync::maildrop::{Entry, Ledger, Name};
use crate::sync::picture::{Hold, Known, Pair, Picture, Why, Word};
use std::collections::{BTreeMap, BTreeSet};

/// The rules; without one, everything stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Remove {
    /// Everything that was fetched.
    pub everything: bool,
    /// What was fetched so long ago, in seconds.
    pub after: Option<u64>,
    /// All but the newest fetched messages, so many.
    pub beyond_newest: Option<u32>,
    /// The oldest, until the fetched messages that are left have no more than so many octets.
    pub beyond_total: Option<u64>,
    /// What was deleted here: its file is gone from the whole Maildir.
    pub deleted_here: bool,
    /// What has more octets.
    pub larger_than: Option<u64>,
    /// Nothing sooner after it was fetched, in seconds.
    pub never_before: u64,
    /// Nothing that is still in a queue: only what another server has.
    pub once_passed_on: bool,
}

/// Why a message is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Everything is.
    Fetched,
    /// It was fetched long ago.
    After,
    /// Enough newer ones are there.
    BeyondNewest,
    /// There is more than may be.
    BeyondTotal,
    /// It is large.
    LargerThan,
}

impl Remove {
    /// Everything, as soon as it is fetched.
    pub const EVERYTHING: Self = Self {
        everything: true,
        after: None,
        beyond_newest: None,
        beyond_total: None,
        larger_than: None,
        deleted_here: false,
        never_before: 0,
        once_passed_on: false,
    };

    /// Tells whether what is there may stay, at least for a time.
    pub fn keeps(&self) -> bool {
        !self.everything
    }
}

/// Which of the `present` messages are removed, and by which rule. `just` are those that were fetched in this session.
pub fn removals(
    ledger: &Ledger,
    picture: &Picture,
    present: &BTreeSet<Uid>,
    just: &BTreeSet<Uid>,
    rules: &Remove,
    now: u64,
) -> BTreeMap<Uid, Reason> {
    let all: BTreeMap<Uid, &Entry> = present.iter().filter_map(|uid| Some((*uid, ledger.get(*uid)?))).collect();
    let fetched: Vec<(Uid, u64)> = all.iter().filter_map(|(uid, entry)| Some((*uid, entry.fetched?))).collect();
    let mut found = BTreeMap::new();
    for (place, (uid, at)) in fetched.iter().rev().enumerate() {
        let (entry, age) = (all[uid], now.saturating_sub(*at));
        if age < rules.never_before || !may_go(*uid, entry, picture, just, (rules, now)) {
            continue;
        }
        let octets = entry.octets.or(entry.print.map(|print| print.size));
        let reason = [
            (rules.everything, Reason::Fetched),
            (rules.after.is_some_and(|after| age >= after), Reason::After),
            (rules.beyond_newest.is_some_and(|newest| place >= newest as usize), Reason::BeyondNewest),
            (rules.larger_than.is_some_and(|most| octets.is_some_and(|octets| octets > most)), Reason::LargerThan),
        ];
        if let Some((_, reason)) = reason.into_iter().find(|(is, _)| *is) {
            found.insert(*uid, reason);
        }
    }
    if let Some(most) = rules.beyond_total {
        let size = |entry: &Entry| entry.octets.or(entry.print.map(|print| print.size)).unwrap_or(0);
        let left = fetched.iter().filter(|(uid, _)| !found.contains_key(uid));
        let mut total = left.map(|(uid, _)| size(all[uid])).fold(0, u64::saturating_add);
        for (uid, at) in &fetched {
            let entry = all[uid];
            let due = now.saturating_sub(*at) >= rules.never_before && may_go(*uid, entry, picture, just, (rules, now));
            if total > most && due && !found.contains_key(uid) {
                found.insert(*uid, Reason::BeyondTotal);
                total = total.saturating_sub(size(entry));
            }
        }
    }
    found
}

/// Tells whether a message may be removed whose file is gone: for that alone, and not yet by the guard.
pub fn may_go_for_it(uid: Uid, ledger: &Ledger, picture: &Picture, rules: &Remove, now: u64) -> bool {
    ledger.get(uid).is_some_and(|entry| {
        let age = entry.fetched.map(|at| now.saturating_sub(at));
        age.is_some_and(|age| age >= rules.never_before) && may_go(uid, entry, picture, &BTreeSet::new(), (rules, now))
    })
}

/// Only once a person approved of it a deletion that was held is none that waits.
fn is_open(hold: Hold) -> bool {
    hold.word != Word::Approved
}

/// Tells whether the message is here for certain, or was until somebody took it away, and the server can be told which one
/// is meant.
fn may_go(uid: Uid, entry: &Entry, picture: &Picture, just: &BTreeSet<Uid>, (rules, now): (&Remove, u64)) -> bool {
    let waits = |pair: &Pair, now| {
        pair.hold.is_some_and(is_open) || pair.trouble.as_ref().is_some_and(|trouble| trouble.due > now)
    };
    let is_whole = match picture.uid(uid) {
        Some(Known::Pair(_)) if rules.once_passed_on => false,
        Some(Known::Pair(pair)) => !(pair.name.is_stub() || pair.guessed || waits(pair, now)),
        Some(Known::Lone(lone)) => lone.why == Why::Kept,
        None => false,
    };
    let is_named = matches!(entry.name, Name::Unique(_)) || just.contains(&uid);
    is_whole && is_named && entry.came_whole()
}
