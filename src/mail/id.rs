//! The numbers of IMAP: UIDs, their epoch, mod-sequences, and sets of them.
//!
//! Zero is not a UID, an epoch or a mod-sequence, so it cannot be written down here.
//! Two collections look alike and must not be confused: [`UidSet`] is a set and sorts, [`UidList`] keeps the
//! order in which a server sent its numbers (COPYUID and APPENDUID pair up by position, RFC 4315 section 3).

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// The unique identifier of a message within one mailbox and one [`UidValidity`] (RFC 9051, section 2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(NonZeroU32);

/// The epoch of a mailbox's UIDs: another value voids every UID that was known (RFC 9051, section 2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UidValidity(NonZeroU32);

/// What a server says that a message is, whatever mailbox it is in and whatever its UID there: EMAILID (RFC 8474), Gmail's
/// X-GM-MSGID, or Dovecot's X-GUID. Only its digest is kept, for an identifier may have 255 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ObjectId([u8; 16]);

/// A mod-sequence, which grows with every change of a mailbox (RFC 7162, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModSeq(NonZeroU64);

impl Uid {
    /// The first UID that a mailbox can have.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// The last UID that a mailbox can have.
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// Makes a UID of a number; zero is none.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The UID that follows this one, if there can be one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl UidValidity {
    /// Makes an epoch of a number; zero is none.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl ObjectId {
    /// Takes an identifier as the server told it; an empty one is none.
    pub fn new(told: &str) -> Option<Self> {
        let digest = blake3::hash(told.as_bytes());
        let first = *digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
        (!told.is_empty()).then_some(Self(first))
    }
}

impl ModSeq {
    /// Makes a mod-sequence of a number; zero is none (a server says 0 where it keeps no mod-sequences).
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

macro_rules! plain_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
plain_number!(Uid, UidValidity, ModSeq);

/// A set of UIDs: sorted ranges that neither touch nor overlap, as a `sequence-set` of RFC 9051 prints them.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UidSet {
    ranges: Vec<(Uid, Uid)>,
}

impl UidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set of every UID from `first` to `last`, whichever is the lower.
    pub fn range(first: Uid, last: Uid) -> Self {
        Self { ranges: vec![(first.min(last), first.max(last))] }
    }

    /// Tells whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Counts the UIDs; a set that a hostile server sent may hold four billion, so this never lists them.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(a, b)| u64::from(b.get() - a.get()) + 1).sum()
    }

    /// Tells whether `uid` is in the set.
    pub fn contains(&self, uid: Uid) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= uid);
        after > 0 && self.ranges[after - 1].1 >= uid
    }

    /// Adds one UID.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds every UID from `first` to `last`, whichever is the lower.
    pub fn insert_range(&mut self, first: Uid, last: Uid) {
        let (mut low, mut high) = (first.min(last), first.max(last));
        // Ranges that overlap the new one or touch it are melted into it.
        let touches = |edge: Uid, other: Uid| edge.next().is_none_or(|n| n >= other);
        let from = self.ranges.partition_point(|(_, b)| !touches(*b, low));
        let to = self.ranges.partition_point(|(a, _)| *a <= high || touches(high, *a));
        if from < to {
            low = low.min(self.ranges[from].0);
            high = high.max(self.ranges[to - 1].1);
        }
        self.ranges.splice(from..to, [(low, high)]);
    }

    /// The ranges, ascending, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (Uid, Uid)> + '_ {
        self.ranges.iter().copied()
    }

    /// Every UID, ascending. Only for sets that we made ourselves: one from a server may be four billion long.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|(a, b)| (a.get()..=b.get()).filter_map(Uid::new))
    }

    /// Reads a `sequence-set` without `*`; a range may be written backwards. `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::new();
        for (first, last) in UidList::parse(text)?.ranges {
            set.insert_range(first, last);
        }
        Some(set)
    }

    /// Cuts the set into sets whose printed form has at most `max_len` bytes (servers limit command lines).
    pub fn split(&self, max_len: usize) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        let mut length = 0;
        for range in &self.ranges {
            let added = print_range(*range).len() + 1;
            match parts.last_mut() {
                Some(part) if length + added <= max_len => {
                    part.ranges.push(*range);
                    length += added;
                }
                _ => {
                    parts.push(Self { ranges: vec![*range] });
                    length = added;
                }
            }
        }
        parts
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let sorted: BTreeSet<Uid> = uids.into_iter().collect();
        let mut set = Self::new();
        for uid in sorted {
            match set.ranges.last_mut() {
                Some((_, last)) if last.next() == Some(uid) => *last = uid,
                _ => set.ranges.push((uid, uid)),
            }
        }
        set
    }
}

/// UIDs in the order in which a server sent them (COPYUID, APPENDUID: RFC 4315, section 3).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct UidList {
    ranges: Vec<(Uid, Uid)>,
}

impl UidList {
    /// Reads a `uid-set`, keeping its order. `None` if it is anything else, `*` included.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            ranges.push((parse_uid(first)?, parse_uid(last)?));
        }
        Some(Self { ranges })
    }

    /// Adds a range in the direction in which it was written.
    pub fn push(&mut self, first: Uid, last: Uid) {
        self.ranges.push((first, last));
    }

    /// Counts the UIDs without listing them.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(a, b)| u64::from(a.get().abs_diff(b.get())) + 1).sum()
    }

    /// Tells whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Lists the UIDs in the order sent, if they are exactly `expected` many; else `None`.
    pub fn expand(&self, expected: usize) -> Option<Vec<Uid>> {
        if self.len() != expected as u64 {
            return None;
        }
        let mut uids = Vec::with_capacity(expected);
        for (first, last) in &self.ranges {
            let (a, b) = (first.get(), last.get());
            if a <= b {
                uids.extend((a..=b).filter_map(Uid::new));
            } else {
                uids.extend((b..=a).rev().filter_map(Uid::new));
            }
        }
        Some(uids)
    }
}

fn parse_uid(text: &str) -> Option<Uid> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().and_then(Uid::new)
}

fn print_range((first, last): (Uid, Uid)) -> String {
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(&print_range(*range))?;
        }
        Ok(())
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    #[test]
    fn a_set_sorts_and_a_list_does_not() {
        assert_eq!(UidSet::parse("10,6,8:7").map(|s| s.to_string()), Some("6:8,10".into()));
        let list = UidList::parse("10,6,8:7").and_then(|l| l.expand(4));
        assert_eq!(list, Some(vec![uid(10), uid(6), uid(8), uid(7)]));
    }

    #[test]
    fn a_list_of_another_length_than_asked_for_is_rejected() {
        assert_eq!(UidList::parse("1:4294967295").and_then(|l| l.expand(3)), None);
        assert_eq!(UidList::parse("1:2").and_then(|l| l.expand(3)), None);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "0", "1,", ",1", "1:*", "*", "-1", "+1", "4294967296", "1:2:3", " 1", "a"] {
            assert_eq!(UidSet::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_whole_number_range_is_one_cheap_range() {
        let all = UidSet::range(Uid::MIN, Uid::MAX);
        assert_eq!((all.len(), all.contains(uid(77)), all.to_string()), (4_294_967_295, true, "1:4294967295".into()));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_a_btree_holds(numbers in prop::collection::vec((1u32..60, 1u32..60), 0..20)) {
            let mut set = UidSet::new();
            let mut model = BTreeSet::new();
            for (a, b) in numbers {
                set.insert_range(uid(a), uid(b));
                model.extend((a.min(b)..=a.max(b)).map(uid));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(&model.iter().copied().collect::<UidSet>(), &set);
            prop_assert_eq!(set.len(), model.len() as u64);
            for n in 1..62 {
                prop_assert_eq!(set.contains(uid(n)), model.contains(&uid(n)));
            }
            if !set.is_empty() {
                prop_assert_eq!(UidSet::parse(&set.to_string()), Some(set.clone()));
                let parts = set.split(9);
                prop_assert!(parts.iter().all(|p| p.to_string().len() <= 9));
                prop_assert_eq!(parts.iter().flat_map(UidSet::iter).collect::<UidSet>(), set);
            }
        }
    }
}
