//! What a maildrop holds, as far as three answers agree on it: STAT, LIST and UIDL (RFC 1939, sections 5 and 7).
//!
//! Pure. The surprise: nothing that is odd here is an error. Servers cut listings short, repeat numbers, count wrongly
//! and give two messages one unique-id, and whoever fetches mail has to go on with what is clear. So each oddity is a
//! fact, a [`Doubt`], and it is the judgement that holds deletions because of it.

use crate::mail::Uidl;
use crate::remote::error::Refusal;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

/// The lines that a list may have whatever STAT says.
const ALWAYS: u64 = 200_000;
/// The lines that a list may have, a tenth more than STAT says, but never more.
const MAX_LISTED: u64 = 1_000_000;

/// The number of a message in this session, and in no other (RFC 1939, section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Number(NonZeroU32);

impl Number {
    /// Makes one; zero is none.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    pub(super) fn read(word: &[u8]) -> Option<Self> {
        decimal(word).and_then(|number| u32::try_from(number).ok()).and_then(Self::new)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message of the maildrop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its number in this session.
    pub number: Number,
    /// Its size in octets as LIST tells it, an estimate; `None`: not told, or nonsense.
    pub size: Option<u64>,
    /// Its unique-id; `None`: not told, or one that identifies nothing.
    pub uidl: Option<Uidl>,
    /// Another message of the maildrop has the same unique-id.
    pub shared: bool,
}

/// Something that does not fit; what it means for the next step is not judged here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// STAT was not answered with a count.
    NoCount,
    /// The three answers count differently.
    Counts {
        /// What STAT says.
        stat: Option<u64>,
        /// Messages that LIST names; `None`: it was refused.
        listed: Option<u64>,
        /// Messages that UIDL names; `None`: it was refused.
        named: Option<u64>,
    },
    /// So many lines give a number that had come before.
    Repeated(u64),
    /// So many numbers are above the count.
    Beyond(u64),
    /// So many lines begin with no number.
    Unreadable(u64),
    /// LIST was refused.
    ListRefused(Refusal),
    /// UIDL was refused.
    UidlRefused(Refusal),
    /// So many messages have no size, or a nonsensical one.
    Sizeless(u64),
    /// So many messages have no unique-id, or one that identifies nothing.
    Nameless(u64),
    /// So many messages have a unique-id that another one has as well.
    Shared(u64),
    /// So many unique-ids are not as RFC 1939 has them.
    Irregular(u64),
}

impl Doubt {
    /// Whether the listing may lack messages, or name some that are not there.
    fn is_about_the_whole(&self) -> bool {
        match self {
            Self::NoCount
            | Self::Counts { .. }
            | Self::Repeated(_)
            | Self::Beyond(_)
            | Self::Unreadable(_)
            | Self::ListRefused(_) => true,
            Self::UidlRefused(_) | Self::Sizeless(_) | Self::Nameless(_) | Self::Shared(_) | Self::Irregular(_) => {
                false
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: &Option<u64>| count.map_or("nothing".to_owned(), |count| count.to_string());
        match self {
            Self::NoCount => f.write_str("STAT tells no number of messages"),
            Self::Counts { stat, listed, named } => {
                write!(f, "STAT counts {}, LIST {}, UIDL {}", count(stat), count(listed), count(named))
            }
            Self::Repeated(lines) => write!(f, "{lines} lines repeat the number of another message"),
            Self::Beyond(numbers) => write!(f, "{numbers} numbers are above the count"),
            Self::Unreadable(lines) => write!(f, "{lines} lines name no message"),
            Self::ListRefused(refusal) => write!(f, "LIST was refused ({refusal})"),
            Self::UidlRefused(refusal) => write!(f, "UIDL was refused ({refusal})"),
            Self::Sizeless(messages) => write!(f, "{messages} messages have no size"),
            Self::Nameless(messages) => write!(f, "{messages} messages have no usable unique-id"),
            Self::Shared(messages) => write!(f, "{messages} messages share their unique-id with another"),
            Self::Irregular(messages) => {
                write!(f, "{messages} unique-ids are longer or stranger than the standard has it")
            }
        }
    }
}

/// What a maildrop holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// The messages, by number.
    pub messages: Vec<Message>,
    /// The size of all together, in octets, as STAT tells it.
    pub octets: Option<u64>,
    /// What does not fit.
    pub doubts: Vec<Doubt>,
}

impl Listing {
    /// Tells whether the answers agree on which messages there are; otherwise what is not listed may be there all the
    /// same, and nothing must be deleted or taken for gone.
    pub fn adds_up(&self) -> bool {
        !self.doubts.iter().any(Doubt::is_about_the_whole)
    }
}

/// The three answers while they come.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    stat: Option<(u64, u64)>,
    messages: BTreeMap<Number, Draft>,
    listed: Answer,
    named: Answer,
}

#[derive(Debug, Default)]
struct Draft {
    listed: bool,
    size: Option<u64>,
    named: bool,
    uidl: Option<Uidl>,
}

#[derive(Debug, Default)]
struct Answer {
    messages: u64,
    repeated: u64,
    unreadable: u64,
    refusal: Option<Refusal>,
}

impl Gathering {
    /// Takes what follows the `+OK` of STAT.
    pub(super) fn stat(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        let mut number = || words.next().and_then(|word| decimal(word.as_bytes()));
        self.stat = number().map(|count| (count, number().unwrap_or(0)));
    }

    /// The lines that a list may have.
    pub(super) fn most(&self) -> u64 {
        let told = self.stat.map_or(0, |(count, _)| count.saturating_add(count / 10));
        told.clamp(ALWAYS, MAX_LISTED)
    }

    /// Takes a line of LIST.
    pub(super) fn list(&mut self, line: &[u8]) {
        let Some((number, rest)) = scan(line) else { return self.listed.unreadable += 1 };
        let draft = self.messages.entry(number).or_default();
        if std::mem::replace(&mut draft.listed, true) {
            return self.listed.repeated += 1;
        }
        self.listed.messages += 1;
        draft.size = rest.split(|b| *b == b' ').next().and_then(decimal);
    }

    /// Takes a line of UIDL.
    pub(super) fn uidl(&mut self, line: &[u8]) {
        let Some((number, rest)) = scan(line) else { return self.named.unreadable += 1 };
        let draft = self.messages.entry(number).or_default();
        if std::mem::replace(&mut draft.named, true) {
            return self.named.repeated += 1;
        }
        self.named.messages += 1;
        draft.uidl = Uidl::new(rest);
    }

    /// LIST was refused.
    pub(super) fn list_refused(&mut self, refusal: Refusal) {
        self.listed.refusal = Some(refusal);
    }

    /// UIDL was refused.
    pub(super) fn uidl_refused(&mut self, refusal: Refusal) {
        self.named.refusal = Some(refusal);
    }

    pub(super) fn finish(self) -> Listing {
        let Self { stat, messages, listed, named } = self;
        let count = stat.map(|(count, _)| count);
        let mut uses: BTreeMap<&Uidl, u32> = BTreeMap::new();
        messages.values().filter_map(|draft| draft.uidl.as_ref()).for_each(|uidl| *uses.entry(uidl).or_default() += 1);
        let shared: Vec<bool> = messages
            .values()
            .map(|draft| draft.uidl.as_ref().is_some_and(|uidl| uses.get(uidl).is_some_and(|uses| *uses > 1)))
            .collect();
        let messages: Vec<Message> = messages
            .into_iter()
            .zip(shared)
            .map(|((number, draft), shared)| Message { number, size: draft.size, uidl: draft.uidl, shared })
            .collect();
        let counted = |answer: &Answer| answer.refusal.is_none().then_some(answer.messages);
        let (in_list, in_uidl) = (counted(&listed), counted(&named));
        let all = messages.len() as u64;
        let agree = [count, in_list, in_uidl].into_iter().flatten().all(|n| n == all);
        let number = |holds: &dyn Fn(&Message) -> bool| messages.iter().filter(|message| holds(message)).count() as u64;
        let above = |message: &Message| count.is_some_and(|count| u64::from(message.number.get()) > count);
        let irregular = |message: &Message| message.uidl.as_ref().is_some_and(|uidl| !uidl.is_regular());
        let mut doubts = Vec::new();
        doubts.extend(count.is_none().then_some(Doubt::NoCount));
        doubts.extend((!agree).then_some(Doubt::Counts { stat: count, listed: in_list, named: in_uidl }));
        let counts = [
            (Doubt::Repeated as fn(u64) -> Doubt, listed.repeated + named.repeated),
            (Doubt::Beyond, number(&above)),
            (Doubt::Unreadable, listed.unreadable + named.unreadable),
            (Doubt::Sizeless, if listed.refusal.is_none() { number(&|message| message.size.is_none()) } else { 0 }),
            (Doubt::Nameless, if named.refusal.is_none() { number(&|message| message.uidl.is_none()) } else { 0 }),
            (Doubt::Shared, number(&|message| message.shared)),
            (Doubt::Irregular, number(&irregular)),
        ];
        doubts.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(doubt, count)| doubt(count)));
        doubts.extend(listed.refusal.map(Doubt::ListRefused));
        doubts.extend(named.refusal.map(Doubt::UidlRefused));
        Listing { messages, octets: stat.map(|(_, octets)| octets), doubts }
    }
}

/// Takes the number off a line, and what stands behind it; some servers put `+OK` in front, or several spaces between.
pub(super) fn scan(line: &[u8]) -> Option<(Number, &[u8])> {
    let line = line.strip_prefix(b"+OK ").unwrap_or(line).trim_ascii();
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    Some((Number::read(&line[..end])?, line[end..].trim_ascii()))
}

/// Reads digits and nothing else; what is too large for 64 bits is no number.
pub(super) fn decimal(word: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(word).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
