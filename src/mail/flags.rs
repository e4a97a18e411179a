//! Flags of a message: the system flags of IMAP and keywords (RFC 9051, section 2.3.2).
//!
//! `\Recent` is not a property of a message and cannot be held here. Keywords compare without regard to case and keep
//! the spelling in which they came. A set has no conflicts: [`Flags::merge`] is total.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A system flag that a message can carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum SystemFlag {
    Answered = 1,
    Deleted = 2,
    Draft = 4,
    Flagged = 8,
    Seen = 16,
}

impl SystemFlag {
    /// Every system flag, in the order in which they are printed.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Deleted, Self::Draft, Self::Flagged, Self::Seen];

    /// The flag as it goes over the wire.
    pub fn as_wire(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
            Self::Flagged => "\\Flagged",
            Self::Seen => "\\Seen",
        }
    }
}

/// A keyword: an atom such as `$Forwarded` or `work`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// Takes a keyword from the wire; `None` if it is no `flag-keyword` (an atom, RFC 9051 section 9).
    pub fn new(text: &str) -> Option<Self> {
        let atom =
            |b: u8| matches!(b, b'!'..=b'~') && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
        (!text.is_empty() && text.len() <= 255 && text.bytes().all(atom)).then(|| Self(text.into()))
    }

    /// `$Forwarded` (RFC 5788), which a Maildir writes as the letter `P`.
    pub fn forwarded() -> Self {
        Self("$Forwarded".into())
    }

    /// The keyword as it goes over the wire.
    pub fn as_wire(&self) -> &str {
        &self.0
    }

    /// What two spellings of it have in common.
    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}
impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| byte.hash(state));
        state.write_u8(0xff);
    }
}
impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}
impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of flags. A report for people has it as a list of words.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    system: u8,
    keywords: Keywords,
}

impl Flags {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether no flag is set.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// Adds a system flag.
    pub fn insert(&mut self, flag: SystemFlag) {
        self.system |= flag as u8;
    }

    /// Removes a system flag.
    pub fn remove(&mut self, flag: SystemFlag) {
        self.system &= !(flag as u8);
    }

    /// Tells whether a system flag is set.
    pub fn contains(&self, flag: SystemFlag) -> bool {
        self.system & flag as u8 != 0
    }

    /// Adds a keyword; one that is there already keeps its spelling.
    pub fn insert_keyword(&mut self, keyword: Keyword) {
        let mut keywords = self.keywords.take();
        if !keywords.contains(&keyword) {
            keywords.insert(keyword);
        }
        self.keywords = keywords.into();
    }

    /// Removes a keyword.
    pub fn remove_keyword(&mut self, keyword: &Keyword) {
        let mut keywords = self.keywords.take();
        keywords.remove(keyword);
        self.keywords = keywords.into();
    }

    /// Tells whether a keyword is set.
    pub fn contains_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.contains(keyword)
    }

    /// The system flags, in the order of [`SystemFlag::ALL`].
    pub fn system(&self) -> impl Iterator<Item = SystemFlag> + '_ {
        SystemFlag::ALL.into_iter().filter(|f| self.contains(*f))
    }

    /// The keywords, sorted without regard to case.
    pub fn keywords(&self) -> impl Iterator<Item = &Keyword> + '_ {
        self.keywords.iter()
    }

    /// Adds one flag as a server writes it. `\Recent`, unknown `\` flags and what is no atom are left out.
    pub fn insert_wire(&mut self, text: &str) {
        if text.starts_with('\\') {
            if let Some(flag) = SystemFlag::ALL.into_iter().find(|f| f.as_wire().eq_ignore_ascii_case(text)) {
                self.insert(flag);
            }
        } else if let Some(keyword) = Keyword::new(text) {
            self.insert_keyword(keyword);
        }
    }

    /// Reads flags separated by blanks, as [`Flags`] prints them, with or without parentheses.
    pub fn parse(text: &str) -> Self {
        let mut flags = Self::new();
        for word in text.trim_matches(['(', ')']).split_ascii_whitespace() {
            flags.insert_wire(word);
        }
        flags
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.system |= other.system;
        other.keywords().for_each(|keyword| all.insert_keyword(keyword.clone()));
        all
    }

    /// What is in both, in the spelling of `self`.
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.keywords().filter(|keyword| other.contains_keyword(keyword));
        Self { system: self.system & other.system, keywords: both.cloned().collect::<BTreeSet<_>>().into() }
    }

    /// What is in `self` and not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let rest = self.keywords().filter(|keyword| !other.contains_keyword(keyword));
        Self { system: self.system & !other.system, keywords: rest.cloned().collect::<BTreeSet<_>>().into() }
    }

    /// Merges the edits that two sides made since `base`: where they agree that is taken, else the side that differs
    /// from `base`. Symmetric and idempotent; keywords keep the spelling of `a`.
    pub fn merge(base: &Self, a: &Self, b: &Self) -> Self {
        let kept = a.intersection(b);
        let added = a.union(b).difference(base);
        kept.union(&added)
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let system = self.system().map(|flag| -> &str { flag.as_wire() });
            serializer.collect_seq(system.chain(self.keywords().map(Keyword::as_wire)))
        } else {
            (self.system, &self.keywords).serialize(serializer)
        }
    }
}

/// A set of keywords that takes the room of a pointer where it is empty, as it is of nearly every message. Never a pointer to
/// an empty set.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[expect(clippy::box_collection, reason = "a set by itself takes three times the room")]
struct Keywords(Option<Box<BTreeSet<Keyword>>>);

impl Keywords {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &Keyword> + '_ {
        self.0.iter().flat_map(|set| set.iter())
    }

    fn contains(&self, keyword: &Keyword) -> bool {
        self.0.as_ref().is_some_and(|set| set.contains(keyword))
    }

    /// The set, which is empty afterwards.
    fn take(&mut self) -> BTreeSet<Keyword> {
        self.0.take().map(|set| *set).unwrap_or_default()
    }
}

impl From<BTreeSet<Keyword>> for Keywords {
    fn from(set: BTreeSet<Keyword>) -> Self {
        Self((!set.is_empty()).then(|| Box::new(set)))
    }
}

impl Serialize for Keywords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(set) => set.serialize(serializer),
            None => BTreeSet::<Keyword>::new().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keywords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let words: Vec<String> = Deserialize::deserialize(deserializer)?;
            let mut flags = Self::new();
            words.iter().for_each(|word| flags.insert_wire(word));
            return Ok(flags);
        }
        let (system, keywords) = Deserialize::deserialize(deserializer)?;
        Ok(Self { system, keywords })
    }
}

/// A change of flags as a STORE command sends it: never a replacement, so that an edit made elsewhere survives.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FlagChange {
    /// Flags to set.
    pub add: Flags,
    /// Flags to clear.
    pub remove: Flags,
}

impl FlagChange {
    /// The change that leads from `before` to `after`; `None` if they are equal.
    pub fn between(before: &Flags, after: &Flags) -> Option<Self> {
        let change = Self { add: after.difference(before), remove: before.difference(after) };
        (!change.add.is_empty() || !change.remove.is_empty()).then_some(change)
    }

    /// Applies the change.
    pub fn apply(&self, flags: &Flags) -> Flags {
        flags.union(&self.add).difference(&self.remove)
    }
}

/// What a side can store: PERMANENTFLAGS of a mailbox, or the letters of a Maildir.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storable {
    /// The flags that the side can store.
    pub flags: Flags,
    /// Whether it can store any keyword besides those.
    pub any_keyword: bool,
}

impl Storable {
    /// A side that can store everything.
    pub fn everything() -> Self {
        let mut flags = Flags::new();
        SystemFlag::ALL.into_iter().for_each(|f| flags.insert(f));
        Self { flags, any_keyword: true }
    }

    /// What of `flags` the side can store.
    pub fn part_of(&self, flags: &Flags) -> Flags {
        let mut kept = flags.intersection(&self.flags);
        if self.any_keyword {
            flags.keywords().for_each(|k| kept.insert_keyword(k.clone()));
        }
        kept
    }

    /// What the side is taken to say, given what it shows and what was agreed: of a flag that it cannot store it says
    /// nothing, so there the agreed state stands. Without this mask keywords would be stripped (RFC 9051, 7.1).
    pub fn mask(&self, agreed: &Flags, seen: &Flags) -> Flags {
        self.part_of(seen).union(&agreed.difference(&self.part_of(agreed)))
    }

    /// The same for a side that can tell of what is listed only, although it could store other keywords: a Maildir with
    /// letters to spare says nothing of a keyword that has none.
    pub fn mask_listed(&self, agreed: &Flags, seen: &Flags) -> Flags {
        seen.intersection(&self.flags).union(&agreed.difference(&self.flags))
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<&str> = self.system().map(SystemFlag::as_wire).collect();
        words.extend(self.keywords().map(Keyword::as_wire));
        f.write_str(&words.join(" "))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flags() -> impl Strategy<Value = Flags> {
        (0u8..32, prop::collection::btree_set(prop::sample::select(vec!["a", "b", "$Forwarded"]), 0..3)).prop_map(
            |(system, words)| {
                let mut flags = Flags { system, ..Flags::new() };
                words.into_iter().for_each(|w| flags.insert_wire(w));
                flags
            },
        )
    }

    #[test]
    fn keywords_compare_without_case_and_keep_their_spelling() {
        let (server, local) = (Flags::parse("\\seen Work"), Flags::parse("\\Seen work"));
        assert_eq!(server, local);
        assert_eq!(Flags::merge(&Flags::new(), &server, &local).to_string(), "\\Seen Work");
    }

    #[test]
    fn a_report_has_flags_as_words() {
        let json = serde_json::to_string(&Flags::parse("Work \\Seen \\Answered")).expect("JSON");
        assert_eq!(json, r#"["\\Answered","\\Seen","Work"]"#);
        let flags: Flags = serde_json::from_str(&json).expect("flags");
        assert_eq!(flags, Flags::parse("Work \\Seen \\Answered"));
        let stored = postcard::to_stdvec(&flags).expect("bytes");
        assert_eq!(postcard::from_bytes::<Flags>(&stored).expect("flags"), flags);
    }

    #[test]
    fn recent_and_what_is_no_atom_cannot_be_held() {
        assert_eq!(Flags::parse("(\\Recent \\Unknown a(b \\* x]y é)"), Flags::new());
    }

    #[test]
    fn a_side_that_cannot_store_a_keyword_does_not_strip_it() {
        let letters = Storable { any_keyword: false, ..Storable::everything() };
        let agreed = Flags::parse("\\Seen work");
        assert_eq!(letters.mask(&agreed, &Flags::parse("\\Seen")), agreed);
        assert_eq!(letters.mask(&agreed, &Flags::parse("\\Flagged")), Flags::parse("\\Flagged work"));
    }

    proptest! {
        #[test]
        fn merge_takes_agreement_else_the_side_that_moved(base in flags(), a in flags(), b in flags()) {
            let merged = Flags::merge(&base, &a, &b);
            let all = base.union(&a).union(&b);
            let has = |f: &Flags| [f.system().map(|s| s.as_wire().to_owned()).collect::<Vec<_>>(),
                f.keywords().map(|k| k.as_wire().to_owned()).collect()].concat();
            for flag in has(&all) {
                let [x, y, z, m] = [&base, &a, &b, &merged].map(|f| has(f).contains(&flag));
                prop_assert_eq!(m, if y == z { y } else if y == x { z } else { y });
            }
            prop_assert_eq!(&Flags::merge(&base, &b, &a), &merged);
            prop_assert_eq!(&Flags::merge(&merged, &merged, &merged), &merged);
            prop_assert_eq!(&Flags::merge(&base, &merged, &merged), &merged);
            prop_assert_eq!(&Flags::parse(&merged.to_string()), &merged);
        }

        #[test]
        fn a_change_leads_from_before_to_after(before in flags(), after in flags()) {
            match FlagChange::between(&before, &after) {
                None => prop_assert_eq!(before, after),
                Some(change) => prop_assert_eq!(change.apply(&before), after),
            }
        }
    }
}
