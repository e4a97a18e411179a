//! A complete picture of one side: the only thing from which absence may be inferred.
//!
//! A view of the server has two constructors. [`RemoteView::listed`] takes a full listing, which has to number as many
//! messages as the server says that there are; [`RemoteView::after`] takes the remembered picture and a delta, which is
//! believed only if it adds up. Servers answer an empty delta with OK when their index was rebuilt, send VANISHED for
//! messages that are there, and cut listings short: each of these is a [`Doubt`], and leads to a full listing or to
//! nothing, never to a deletion.

use crate::mail::{BaseName, Flags, ModSeq, Uid, UidSet, UidValidity};
use crate::sync::mailbox::Checkpoint;
use crate::sync::picture::Picture;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Everything that the server holds in one mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteView {
    messages: BTreeMap<Uid, Flags>,
}

/// Everything that the Maildir holds of one mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalView {
    messages: BTreeMap<BaseName, Flags>,
}

/// The numbers of a SELECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// The epoch.
    pub uid_validity: UidValidity,
    /// How many messages there are (EXISTS).
    pub exists: u32,
    /// The highest mod-sequence, where the server keeps them.
    pub highest_mod_seq: Option<ModSeq>,
}

/// What changed since a checkpoint, as QRESYNC tells it (RFC 7162, section 3.2.5).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Delta {
    /// New messages, and those whose flags changed.
    pub changed: BTreeMap<Uid, Flags>,
    /// UIDs that are gone; it may name UIDs that we never knew, four billion of them.
    pub vanished: UidSet,
}

/// Why what a server said is not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Doubt {
    /// Another UIDVALIDITY: the remembered UIDs mean nothing any more.
    #[error("the mailbox has a new UIDVALIDITY ({was} before, {is} now)")]
    Epoch {
        /// The remembered one.
        was: UidValidity,
        /// The one that the server tells.
        is: UidValidity,
    },
    /// HIGHESTMODSEQ fell, or is no longer told: the server rebuilt its index.
    #[error("the server rebuilt its index (its HIGHESTMODSEQ went back)")]
    ModSeqWentBack,
    /// The messages do not number what the server says.
    #[error("the server says that there are {exists} messages, and told of {counted}")]
    DoesNotAddUp {
        /// EXISTS.
        exists: u32,
        /// What the listing or the delta amounts to.
        counted: u64,
    },
}

impl RemoteView {
    /// Takes a full listing, if it numbers as many messages as the server says that there are.
    ///
    /// The caller vouches that the command's tagged OK was seen.
    pub fn listed(messages: BTreeMap<Uid, Flags>, exists: u32) -> Result<Self, Doubt> {
        let counted = messages.len() as u64;
        if counted != u64::from(exists) {
            return Err(Doubt::DoesNotAddUp { exists, counted });
        }
        Ok(Self { messages })
    }

    /// Folds a delta into what is remembered, if it adds up: known - vanished + new = EXISTS.
    pub fn after(picture: &Picture, checkpoint: &Checkpoint, numbers: &Numbers, delta: &Delta) -> Result<Self, Doubt> {
        if numbers.uid_validity != checkpoint.uid_validity {
            return Err(Doubt::Epoch { was: checkpoint.uid_validity, is: numbers.uid_validity });
        }
        if numbers.highest_mod_seq < checkpoint.highest_mod_seq {
            return Err(Doubt::ModSeqWentBack);
        }
        let known = picture.remote_side().filter(|(uid, _)| !delta.vanished.contains(*uid));
        let mut messages: BTreeMap<Uid, Flags> = known.map(|(uid, flags)| (uid, flags.into_owned())).collect();
        let changed = delta.changed.iter().filter(|(uid, _)| !delta.vanished.contains(**uid));
        messages.extend(changed.map(|(uid, flags)| (*uid, flags.clone())));
        Self::listed(messages, numbers.exists)
    }

    /// Every message, by UID.
    pub fn messages(&self) -> &BTreeMap<Uid, Flags> {
        &self.messages
    }

    /// The flags of a message, if it is there.
    pub fn get(&self, uid: Uid) -> Option<&Flags> {
        self.messages.get(&uid)
    }

    /// The messages that are remembered on the server and that this view does not show: to be confirmed by a SEARCH
    /// before anything follows from it.
    pub fn missing<'a>(&'a self, picture: &'a Picture) -> impl Iterator<Item = Uid> + 'a {
        picture.remote_side().map(|(uid, _)| uid).filter(|uid| !self.messages.contains_key(uid))
    }
}

/// One scan of the Maildir of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// Every message that was seen.
    pub messages: BTreeMap<BaseName, Flags>,
    /// When it was taken, in milliseconds since 1970.
    pub taken: u64,
    /// When the directories last changed, in milliseconds since 1970; the clock may be another machine's.
    pub changed: u64,
    /// Nothing that was there can be missing from it; not so on a network file system, or where a listing takes several
    /// calls.
    pub atomic: bool,
}

/// How long nothing may have vanished before a deletion is inferred from it, in milliseconds.
pub const QUIET: u64 = 5_000;
/// The same where no look is atomic; there the directories must not have changed at all in that time.
pub const LONG_QUIET: u64 = 15_000;

/// What the looks at a Maildir amount to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A complete picture.
    Settled(LocalView),
    /// Something vanished, and another look is due after this many milliseconds.
    LookAgain(u64),
}

/// What of `span` is left at `now`, if it began at `since`; all of it where a clock runs behind.
fn remaining(since: u64, now: u64, span: u64) -> u64 {
    (since + span).saturating_sub(now).min(span)
}

impl Look {
    /// What is remembered here, was not seen, and is not in `gone`.
    fn missing<'a>(&'a self, picture: &'a Picture, gone: &BTreeSet<BaseName>) -> BTreeSet<&'a BaseName> {
        let expected = picture.local_side().filter(|name| !gone.contains(*name));
        expected.filter(|name| !self.messages.contains_key(*name)).collect()
    }

    /// Tells whether a later look misses the same; where looks are not atomic, also whether nothing changed between them.
    pub fn agrees(&self, later: &Self, picture: &Picture, gone: &BTreeSet<BaseName>) -> bool {
        let both_atomic = self.atomic && later.atomic;
        (both_atomic || self.changed == later.changed) && self.missing(picture, gone) == later.missing(picture, gone)
    }
}

impl LocalView {
    /// Judges two looks at a Maildir, the second of which may be missing as yet.
    ///
    /// A scan races with the renames of a mail reader and can miss a file. What is remembered counts as absent only if
    /// two looks agree on it, and if nothing has vanished there for [`QUIET`] before the second. Directories that have not
    /// changed for so long before the first look count; mail that keeps arriving does not put it off for ever. Of what is in
    /// `gone` that was found out before, and changes of our own since then do not put it in doubt.
    pub fn judge(picture: &Picture, gone: &BTreeSet<BaseName>, first: &Look, second: Option<&Look>) -> Seen {
        if first.missing(picture, gone).is_empty() {
            return Seen::Settled(Self { messages: first.messages.clone() });
        }
        let Some(second) = second else {
            return Seen::LookAgain(if first.atomic {
                remaining(first.changed, first.taken, QUIET)
            } else {
                LONG_QUIET
            });
        };
        let wait = match (first.agrees(second, picture, gone), second.atomic) {
            _ if second.missing(picture, gone).is_empty() => 0,
            (true, true) => remaining(second.changed.min(first.taken), second.taken, QUIET),
            (true, false) => remaining(first.taken, second.taken, LONG_QUIET),
            (false, true) => QUIET,
            (false, false) => LONG_QUIET,
        };
        match wait {
            0 => Seen::Settled(Self { messages: second.messages.clone() }),
            wait => Seen::LookAgain(wait),
        }
    }

    /// Takes the messages of a Maildir that was made a moment ago, or of which nothing is remembered.
    pub fn of_new(messages: BTreeMap<BaseName, Flags>) -> Self {
        Self { messages }
    }

    /// Every message, by base name.
    pub fn messages(&self) -> &BTreeMap<BaseName, Flags> {
        &self.messages
    }

    /// The flags of a message, if it is there.
    pub fn get(&self, name: &BaseName) -> Option<&Flags> {
        self.messages.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::picture::{Change, Known, Pair};

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    fn name(n: u32) -> BaseName {
        BaseName::new(format!("m{n}").as_bytes()).expect("a name")
    }

    fn picture(size: u32) -> Picture {
        let mut picture = Picture::new();
        for n in 1..=size {
            let pair = Pair::agreed(name(n), Flags::new(), None);
            picture.apply(Change::Uid(uid(n), Some(Known::Pair(pair))));
        }
        picture
    }

    fn numbers(exists: u32, mod_seq: u64) -> Numbers {
        let uid_validity = UidValidity::new(1).expect("not zero");
        Numbers { uid_validity, exists, highest_mod_seq: ModSeq::new(mod_seq) }
    }

    fn checkpoint() -> Checkpoint {
        let uid_validity = UidValidity::new(1).expect("not zero");
        Checkpoint { uid_validity, highest_mod_seq: ModSeq::new(10), uid_next: Some(uid(4)), messages: 3 }
    }

    #[test]
    fn a_listing_that_is_cut_short_is_no_view() {
        let two = BTreeMap::from([(uid(1), Flags::new()), (uid(2), Flags::new())]);
        assert_eq!(RemoteView::listed(two.clone(), 3), Err(Doubt::DoesNotAddUp { exists: 3, counted: 2 }));
        assert!(RemoteView::listed(two, 2).is_ok());
    }

    #[test]
    fn an_empty_delta_of_a_rebuilt_index_is_not_believed() {
        let seen = RemoteView::after(&picture(3), &checkpoint(), &numbers(3, 9), &Delta::default());
        assert_eq!(seen, Err(Doubt::ModSeqWentBack));
        let none = Numbers { highest_mod_seq: None, ..numbers(3, 9) };
        assert_eq!(RemoteView::after(&picture(3), &checkpoint(), &none, &Delta::default()), Err(Doubt::ModSeqWentBack));
    }

    #[test]
    fn a_vanished_range_of_four_billion_costs_nothing_and_has_to_add_up() {
        let delta = Delta { vanished: UidSet::range(Uid::MIN, Uid::MAX), ..Delta::default() };
        let seen = RemoteView::after(&picture(3), &checkpoint(), &numbers(3, 11), &delta);
        assert_eq!(seen, Err(Doubt::DoesNotAddUp { exists: 3, counted: 0 }));
        let gone = RemoteView::after(&picture(3), &checkpoint(), &numbers(0, 11), &delta).expect("it adds up");
        assert_eq!(gone.missing(&picture(3)).count(), 3);
    }

    #[test]
    fn another_epoch_voids_the_picture() {
        let other = Numbers { uid_validity: UidValidity::new(2).expect("not zero"), ..numbers(3, 11) };
        let seen = RemoteView::after(&picture(3), &checkpoint(), &other, &Delta::default());
        assert!(matches!(seen, Err(Doubt::Epoch { .. })));
    }

    #[test]
    fn a_delta_folds_into_the_picture() {
        let changed = BTreeMap::from([(uid(2), Flags::parse("\\Seen")), (uid(9), Flags::new())]);
        let delta = Delta { changed, vanished: UidSet::range(uid(1), uid(1)) };
        let view = RemoteView::after(&picture(3), &checkpoint(), &numbers(3, 11), &delta).expect("it adds up");
        assert_eq!(view.messages().keys().map(|u| u.get()).collect::<Vec<_>>(), [2, 3, 9]);
        assert_eq!(view.get(uid(2)), Some(&Flags::parse("\\Seen")));
    }

    fn look(present: &[u32], taken: u64, changed: u64) -> Look {
        let messages = present.iter().map(|n| (name(*n), Flags::new())).collect();
        Look { messages, taken, changed, atomic: true }
    }

    fn judge(picture: &Picture, first: &Look, second: Option<&Look>) -> Seen {
        LocalView::judge(picture, &BTreeSet::new(), first, second)
    }

    #[test]
    fn what_was_found_to_be_gone_needs_no_second_look_after_changes_of_our_own() {
        let (p, fresh) = (picture(3), look(&[1], 100_000, 99_999));
        let gone = |gone: &[u32]| gone.iter().map(|n| name(*n)).collect::<BTreeSet<_>>();
        assert!(matches!(LocalView::judge(&p, &gone(&[2, 3]), &fresh, None), Seen::Settled(_)));
        assert_eq!(LocalView::judge(&p, &gone(&[2]), &fresh, None), Seen::LookAgain(4_999));
    }

    #[test]
    fn nothing_missing_needs_one_look() {
        assert!(matches!(judge(&picture(2), &look(&[1, 2, 7], 0, 0), None), Seen::Settled(_)));
    }

    #[test]
    fn a_missing_file_is_looked_for_twice_and_the_folder_has_to_be_quiet() {
        let p = picture(2);
        let old = look(&[1], 100_000, 50_000);
        assert_eq!(judge(&p, &old, None), Seen::LookAgain(0));
        assert!(matches!(judge(&p, &old, Some(&look(&[1], 100_001, 50_000))), Seen::Settled(_)));
        let fresh = look(&[1], 100_000, 99_000);
        assert_eq!(judge(&p, &fresh, None), Seen::LookAgain(4_000));
        assert_eq!(judge(&p, &fresh, Some(&look(&[1], 101_000, 99_000))), Seen::LookAgain(3_000));
        assert!(matches!(judge(&p, &fresh, Some(&look(&[1], 104_000, 99_000))), Seen::Settled(_)));
    }

    #[test]
    fn mail_that_keeps_arriving_does_not_put_a_deletion_off_for_ever() {
        let p = picture(2);
        let first = look(&[1], 100_000, 99_999);
        assert!(matches!(judge(&p, &first, Some(&look(&[1, 8], 105_000, 104_999))), Seen::Settled(_)));
    }

    #[test]
    fn a_file_that_the_first_look_missed_is_not_gone() {
        let p = picture(2);
        let seen = judge(&p, &look(&[1], 100_000, 99_000), Some(&look(&[1, 2], 101_000, 99_000)));
        assert!(matches!(seen, Seen::Settled(view) if view.get(&name(2)).is_some()));
        let more = judge(&p, &look(&[1], 100_000, 99_000), Some(&look(&[], 104_000, 103_900)));
        assert_eq!(more, Seen::LookAgain(5_000));
    }

    #[test]
    fn where_no_look_is_atomic_the_folder_has_to_stand_still_for_longer() {
        let p = picture(2);
        let far = |taken, changed| Look { atomic: false, ..look(&[1], taken, changed) };
        // However old the directory says that it is: the clock is another machine's.
        assert_eq!(judge(&p, &far(100_000, 0), None), Seen::LookAgain(15_000));
        assert_eq!(judge(&p, &far(100_000, 0), Some(&far(109_000, 0))), Seen::LookAgain(6_000));
        assert!(matches!(judge(&p, &far(100_000, 0), Some(&far(115_000, 0))), Seen::Settled(_)));
        assert_eq!(judge(&p, &far(100_000, 0), Some(&far(115_000, 1))), Seen::LookAgain(15_000));
    }
}
