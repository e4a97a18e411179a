//! Which message of the server is which file: pairing two sets of messages by their looks.
//!
//! A Message-ID and a size decide where they name one message on each side. Where several could be meant, or a size does
//! not fit, the header decides, which has to be asked for; among those that look the same the date decides, then the
//! flags, then their order. Other tools write fields of their own into their copies (an `X-TUID` of 22 octets, a
//! Content-Length), so that a size is tried with and without what does not count.

use crate::mail::{BaseName, Fingerprint, Flags, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// A message of the server, as far as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LooksThere {
    /// Its flags.
    pub flags: Flags,
    /// Its size in octets (RFC822.SIZE); some servers estimate it.
    pub size: Option<u64>,
    /// INTERNALDATE, in seconds since 1970.
    pub date: Option<i64>,
    /// The digest of its Message-ID, as in [`Fingerprint`].
    pub message_id: Option<[u8; 8]>,
    /// What its header looks like, where it was fetched.
    pub header: Option<HeaderLook>,
}

/// What a header looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderLook {
    /// Its digest, as in [`Fingerprint`].
    pub digest: [u8; 16],
    /// The octets of those fields in it that do not count.
    pub volatile: u64,
}

/// A message of the Maildir.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LooksHere {
    /// Its flags.
    pub flags: Flags,
    /// What it looks like.
    pub print: Fingerprint,
    /// Its octets on the wire, fields that do not count and a last line end included; unless only its print is known.
    pub octets: Option<u64>,
    /// It does not end with a line end, and may be two octets shorter on the server.
    pub unended: bool,
    /// The time of the file, in seconds since 1970.
    pub date: Option<i64>,
    /// Its file is gone: it is known from the memory only, and comes after those that are there.
    pub gone: bool,
}

/// A message of the server and the file that it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Match {
    /// The message.
    pub uid: Uid,
    /// The file.
    pub name: BaseName,
    /// Only their order, or a header without the size, speaks for it.
    pub guessed: bool,
}

/// What mbsync's field adds to a message, in octets.
const TUID: u64 = 22;

/// The messages whose headers have to be fetched before [`pair_up`] can decide.
pub fn undecided(there: &BTreeMap<Uid, LooksThere>, here: &BTreeMap<BaseName, LooksHere>) -> BTreeSet<Uid> {
    let mut asked = BTreeSet::new();
    for class in classes(there, here) {
        let left = class.without(&class.told_by_size(there, here));
        if left.here.is_empty() {
            continue;
        }
        let sizes: BTreeSet<u64> = left.here.iter().flat_map(|name| sizes(&here[*name])).collect();
        // Without a Message-ID nothing speaks for a pair of another size.
        let may_fit = |uid: &&Uid| left.named || there[*uid].size.is_none_or(|size| sizes.contains(&size));
        asked.extend(left.there.iter().copied().filter(may_fit).copied());
    }
    asked
}

/// Pairs messages with files. Each is in one pair at most; what is left over has no counterpart.
///
/// The result does not depend on anything but the two sets.
pub fn pair_up(there: &BTreeMap<Uid, LooksThere>, here: &BTreeMap<BaseName, LooksHere>) -> Vec<Match> {
    let mut all = Vec::new();
    for class in classes(there, here) {
        let by_size = class.told_by_size(there, here);
        let left = class.without(&by_size);
        all.extend(by_size);
        all.extend(told_by_header(&left, there, here));
    }
    all.sort();
    all
}

/// Messages of both sides that have a Message-ID in common, or have none.
struct Class<'a> {
    /// They have one.
    named: bool,
    there: Vec<&'a Uid>,
    here: Vec<&'a BaseName>,
}

fn classes<'a>(there: &'a BTreeMap<Uid, LooksThere>, here: &'a BTreeMap<BaseName, LooksHere>) -> Vec<Class<'a>> {
    let mut classes: BTreeMap<Option<[u8; 8]>, Class<'a>> = BTreeMap::new();
    let blank = |id: Option<[u8; 8]>| Class { named: id.is_some(), there: vec![], here: vec![] };
    for (uid, message) in there {
        classes.entry(message.message_id).or_insert_with(|| blank(message.message_id)).there.push(uid);
    }
    for (name, message) in here {
        let id = message.print.message_id;
        classes.entry(id).or_insert_with(|| blank(id)).here.push(name);
    }
    classes.into_values().filter(|class| !class.there.is_empty() && !class.here.is_empty()).collect()
}

impl<'a> Class<'a> {
    /// Those that a Message-ID and a size name on each side alone.
    fn told_by_size(&self, there: &BTreeMap<Uid, LooksThere>, here: &BTreeMap<BaseName, LooksHere>) -> Vec<Match> {
        if !self.named {
            return Vec::new();
        }
        let mut of_size: BTreeMap<u64, Vec<&BaseName>> = BTreeMap::new();
        for name in &self.here {
            sizes(&here[*name]).into_iter().for_each(|size| of_size.entry(size).or_default().push(name));
        }
        let mut suitors: BTreeMap<&BaseName, Vec<Uid>> = BTreeMap::new();
        let mut only: Vec<(Uid, &BaseName)> = Vec::new();
        for uid in &self.there {
            let fitting = there[*uid].size.and_then(|size| of_size.get(&size)).map(Vec::as_slice).unwrap_or_default();
            fitting.iter().for_each(|name| suitors.entry(name).or_default().push(**uid));
            if let [one] = fitting {
                only.push((**uid, one));
            }
        }
        let alone = |(uid, name): &(Uid, &BaseName)| suitors.get(*name).is_some_and(|all| all.as_slice() == [*uid]);
        let pairs = only.into_iter().filter(alone);
        pairs.map(|(uid, name)| Match { uid, name: name.clone(), guessed: false }).collect()
    }

    fn without(&self, matches: &[Match]) -> Self {
        let uids: BTreeSet<Uid> = matches.iter().map(|m| m.uid).collect();
        let names: BTreeSet<&BaseName> = matches.iter().map(|m| &m.name).collect();
        Self {
            named: self.named,
            there: self.there.iter().copied().filter(|uid| !uids.contains(uid)).collect(),
            here: self.here.iter().copied().filter(|name| !names.contains(name)).collect(),
        }
    }
}

/// How a message is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// Without the fields that do not count.
    Whole,
    /// Likewise, and without the last line end.
    Unended,
    /// With everything.
    Raw,
}

/// Pairs by header: first those whose size fits as well, then, if they have a Message-ID, those of other sizes.
fn told_by_header(
    class: &Class<'_>,
    there: &BTreeMap<Uid, LooksThere>,
    here: &BTreeMap<BaseName, LooksHere>,
) -> Vec<Match> {
    type Group<'a> = (Vec<&'a Uid>, Vec<&'a BaseName>);
    let mut pairs: Vec<Match> = Vec::new();
    for measure in [Measure::Whole, Measure::Unended, Measure::Raw] {
        let size_here = |name: &BaseName| match (measure, &here[name]) {
            (Measure::Whole, here) => Some(here.print.size),
            (Measure::Unended, here) => here.print.size.checked_sub(2).filter(|_| here.unended),
            (Measure::Raw, here) => here.octets,
        };
        let left = class.without(&pairs);
        let mut groups: BTreeMap<([u8; 16], u64), Group<'_>> = BTreeMap::new();
        for uid in &left.there {
            if let (Some(look), Some(size)) = (there[*uid].header, there[*uid].size) {
                let volatile = if measure == Measure::Raw { 0 } else { look.volatile };
                let size = size.saturating_sub(volatile);
                groups.entry((look.digest, size)).or_default().0.push(uid);
            }
        }
        for name in &left.here {
            if let Some(size) = size_here(name) {
                groups.entry((here[*name].print.header, size)).or_default().1.push(name);
            }
        }
        groups.into_values().for_each(|(uids, names)| pairs.extend(told_by_date(uids, names, there, here)));
    }
    if class.named {
        // A server that estimates sizes, or has another end of the same message: likely, and not certain.
        let left = class.without(&pairs);
        let mut groups: BTreeMap<[u8; 16], Group<'_>> = BTreeMap::new();
        for uid in &left.there {
            if let Some(look) = there[*uid].header {
                groups.entry(look.digest).or_default().0.push(uid);
            }
        }
        for name in &left.here {
            groups.entry(here[*name].print.header).or_default().1.push(name);
        }
        for (uids, names) in groups.into_values() {
            let likely = told_by_date(uids, names, there, here).into_iter();
            pairs.extend(likely.map(|pair| Match { guessed: true, ..pair }));
        }
    }
    pairs
}

/// Pairs messages that look alike: those of one date and the same flags, then of one date, then of the same flags, then in
/// order.
fn told_by_date(
    mut uids: Vec<&Uid>,
    mut names: Vec<&BaseName>,
    there: &BTreeMap<Uid, LooksThere>,
    here: &BTreeMap<BaseName, LooksHere>,
) -> Vec<Match> {
    names.sort_by_key(|name| (here[*name].gone, *name));
    let only_one = uids.len() == 1 && names.len() == 1;
    let mut pairs = Vec::new();
    for (by_date, by_flags) in [(true, true), (true, false), (false, true), (false, false)] {
        let key = |date: Option<i64>, flags: &Flags| {
            let shown = by_flags.then(|| flags.system().map(|flag| flag.as_wire()).collect::<Vec<_>>());
            if by_date { date.map(|date| (Some(date), shown)) } else { Some((None, shown)) }
        };
        let mut buckets: BTreeMap<_, (Vec<Uid>, Vec<BaseName>)> = BTreeMap::new();
        for uid in &uids {
            if let Some(key) = key(there[*uid].date, &there[*uid].flags) {
                buckets.entry(key).or_default().0.push(**uid);
            }
        }
        for name in &names {
            if let Some(key) = key(here[*name].date, &here[*name].flags) {
                buckets.entry(key).or_default().1.push((*name).clone());
            }
        }
        for (uids, names) in buckets.into_values() {
            let certain = only_one || by_date && uids.len() == 1 && names.len() == 1;
            let zipped = uids.into_iter().zip(names);
            pairs.extend(zipped.map(|(uid, name)| Match { uid, name, guessed: !certain }));
        }
        let done: BTreeSet<Uid> = pairs.iter().map(|pair: &Match| pair.uid).collect();
        uids.retain(|uid| !done.contains(uid));
        let done: BTreeSet<&BaseName> = pairs.iter().map(|pair| &pair.name).collect();
        names.retain(|name| !done.contains(name));
    }
    pairs
}

/// The sizes that a message may have on a server.
fn sizes(here: &LooksHere) -> Vec<u64> {
    let bare: BTreeSet<u64> = here.octets.into_iter().chain([here.print.size]).collect();
    let mut all: Vec<u64> = bare.iter().flat_map(|size| [*size, size.saturating_add(TUID)]).collect();
    if here.unended {
        all.extend(bare.iter().map(|size| size.saturating_sub(2)));
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
pub(super) mod tests;
