//! Limits of what is fetched, by size and age. They decide about messages that were never here, and remove nothing.
//!
//! What a limit leaves on the server is remembered with its measure, so that a raised limit lets it in without a
//! question. A message that is too large may have a stub here, which is a pair like any other as far as flags go, and
//! of which nothing else ever reaches the server.

use crate::mail::{Flags, SystemFlag, Uid, UidSet};
use crate::sync::picture::{Change, Known, Lone, Picture, Why};
use crate::sync::plan::{Action, Note, NoteKind};
use crate::sync::reconcile::Reconciled;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is not fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The largest message that is fetched, in octets.
    pub max_size: Option<u64>,
    /// The oldest message that is fetched, by the seconds since its INTERNALDATE.
    pub max_age: Option<u64>,
    /// What becomes of a message that is too large.
    pub oversize: Oversize,
}

/// What becomes of a message that is too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Oversize {
    /// Nothing of it is here.
    #[default]
    Skip,
    /// Its header is here, as a stub.
    Headers,
}

/// What the server says of a message's size and age.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Measure {
    /// RFC822.SIZE, in octets, if it was asked for and told.
    pub octets: Option<u64>,
    /// INTERNALDATE, in seconds since 1970, if it was asked for and told.
    pub date: Option<i64>,
}

/// How much of a message is fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// All of it.
    Whole,
    /// The header, as a stub.
    Stub,
    /// Nothing.
    Nothing,
}

impl Limits {
    /// Tells whether everything is fetched.
    pub fn are_none(&self) -> bool {
        self.max_size.is_none() && self.max_age.is_none()
    }

    /// Judges a message. What the server does not tell is no reason to leave it out.
    pub fn admit(&self, flags: &Flags, measure: &Measure, now: u64) -> Admission {
        let is_old = |most: u64| {
            let born = measure.date.map(|date| u64::try_from(date).unwrap_or(0));
            born.is_some_and(|born| now.saturating_sub(born) > most)
        };
        if self.max_age.is_some_and(is_old) {
            return Admission::Nothing;
        }
        let is_large = |most: u64| measure.octets.is_some_and(|octets| octets > most);
        match (self.max_size.is_some_and(is_large), self.oversize) {
            (false, _) => Admission::Whole,
            (true, Oversize::Skip) => Admission::Nothing,
            // Whoever flags it wants it.
            (true, Oversize::Headers) if flags.contains(SystemFlag::Flagged) => Admission::Whole,
            (true, Oversize::Headers) => Admission::Stub,
        }
    }
}

/// The messages whose measure has to be asked for before [`limit`] can judge: all that are to be fetched, but for those
/// that are, or were, here: what is put back, and what takes the place of its stub.
pub fn questions(done: &Reconciled, picture: &Picture) -> UidSet {
    let is_new = |uid: &Uid| picture.pair(*uid).is_none();
    done.actions.iter().filter_map(Action::fetches).filter(is_new).collect()
}

/// Holds what is to be fetched against the limits.
pub fn limit(done: Reconciled, measures: &BTreeMap<Uid, Measure>, limits: &Limits, now: u64) -> Reconciled {
    let Reconciled { actions, mut notes } = done;
    let mut kept = Vec::with_capacity(actions.len());
    for action in actions {
        let Action::Fetch { uid, name, flags } = action else {
            kept.push(action);
            continue;
        };
        let Some(measure) = measures.get(&uid) else {
            kept.push(Action::Fetch { uid, name, flags });
            continue;
        };
        match limits.admit(&flags, measure, now) {
            Admission::Whole => kept.push(Action::Fetch { uid, name, flags }),
            Admission::Stub => {
                let name = name.into_stub(measure.octets.unwrap_or(u64::MAX));
                kept.push(Action::Fetch { uid, name, flags });
            }
            Admission::Nothing => {
                let left = Known::Lone(Lone { flags, why: Why::Filtered(*measure) });
                notes.push(Note { change: Change::Uid(uid, Some(left)), kind: NoteKind::Filter });
            }
        }
    }
    Reconciled { actions: kept, notes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::BaseName;

    const NOW: u64 = 1_000_000;

    fn measure(octets: u64, age: u64) -> Measure {
        Measure { octets: Some(octets), date: i64::try_from(NOW - age).ok() }
    }

    fn limits(oversize: Oversize) -> Limits {
        Limits { max_size: Some(100), max_age: Some(1000), oversize }
    }

    #[test]
    fn size_and_age_count_from_just_beyond_the_limit() {
        let admit = |octets, age| limits(Oversize::Skip).admit(&Flags::new(), &measure(octets, age), NOW);
        assert_eq!(admit(100, 1000), Admission::Whole);
        assert_eq!(admit(101, 1000), Admission::Nothing);
        assert_eq!(admit(100, 1001), Admission::Nothing);
        let ancient = Measure { octets: Some(1), date: Some(-5) };
        assert_eq!(limits(Oversize::Skip).admit(&Flags::new(), &ancient, NOW), Admission::Nothing);
    }

    #[test]
    fn what_the_server_does_not_tell_is_no_reason_to_leave_a_message_out() {
        assert_eq!(limits(Oversize::Skip).admit(&Flags::new(), &Measure::default(), NOW), Admission::Whole);
        assert_eq!(Limits::default().admit(&Flags::new(), &measure(u64::MAX, NOW), NOW), Admission::Whole);
    }

    #[test]
    fn a_large_message_has_a_stub_unless_somebody_flagged_it_or_it_is_too_old() {
        let (limits, flagged) = (limits(Oversize::Headers), Flags::parse("\\Flagged"));
        assert_eq!(limits.admit(&Flags::new(), &measure(101, 0), NOW), Admission::Stub);
        assert_eq!(limits.admit(&flagged, &measure(101, 0), NOW), Admission::Whole);
        assert_eq!(limits.admit(&flagged, &measure(101, 1001), NOW), Admission::Nothing);
    }

    #[test]
    fn a_plan_is_cut_down_to_what_the_limits_admit() {
        let uid = |n| Uid::new(n).expect("not zero");
        let name = BaseName::new(b"1.a").expect("a name");
        let fetch = |n| Action::Fetch { uid: uid(n), name: name.clone(), flags: Flags::new() };
        let plan = || Reconciled { actions: vec![fetch(1), fetch(2), fetch(3)], notes: vec![] };
        let mut picture = Picture::new();
        let pair = crate::sync::picture::Pair::agreed(name.clone().into_stub(500), Flags::new(), None);
        picture.apply(Change::Uid(uid(3), Some(Known::Pair(pair))));
        assert_eq!(questions(&plan(), &picture), [uid(1), uid(2)].into_iter().collect());
        let measures = BTreeMap::from([(uid(1), measure(7, 0)), (uid(2), measure(500, 0))]);
        let skipped = limit(plan(), &measures, &limits(Oversize::Skip), NOW);
        assert_eq!(skipped.actions, [fetch(1), fetch(3)]);
        let left = Lone { flags: Flags::new(), why: Why::Filtered(measure(500, 0)) };
        let change = Change::Uid(uid(2), Some(Known::Lone(left)));
        assert_eq!(skipped.notes, [Note { change, kind: NoteKind::Filter }]);
        let stubs = limit(plan(), &measures, &limits(Oversize::Headers), NOW);
        let stub = Action::Fetch { uid: uid(2), name: name.clone().into_stub(500), flags: Flags::new() };
        assert_eq!((stubs.actions, stubs.notes), (vec![fetch(1), stub, fetch(3)], vec![]));
    }
}
