//! Which listed message is which known one.
//!
//! A unique-id decides where a message has one of its own; but servers that count from 1 give an id once more when they are
//! set up anew, so of what was away, or has another size, the header has to agree as well.
//!
//! Where an id is new although known messages are missing, or where there is none, the header decides: servers give all
//! messages new names when they are restored or moved. In doubt a message is new, and comes twice rather than not at all.

use crate::mail::{Fingerprint, Uid, Uidl, fingerprint};
use crate::sync::maildrop::{Entry, Ledger, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A message as a session lists it; its place in the list stands for it there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// Its unique-id; none if there is no usual one, or if another message has it as well.
    pub uidl: Option<Uidl>,
    /// Its size in octets; none if it is not told.
    pub octets: Option<u64>,
}

/// What a message looks like by its header and its listed size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Looks {
    /// The digest of its Message-ID, as in [`Fingerprint`].
    pub message_id: Option<[u8; 8]>,
    /// The digest of its header, as in [`Fingerprint`].
    pub header: [u8; 16],
    /// Its listed size without the header fields that do not count.
    pub size: Option<u64>,
}

/// Which listed message is which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identified {
    /// Known by their names.
    pub known: BTreeMap<usize, Uid>,
    /// Known by their looks, under another name until now.
    pub renamed: BTreeMap<usize, (Uid, Name)>,
    /// Never seen before.
    pub new: BTreeMap<usize, Name>,
    /// Those that are in the Maildir already, although nothing is known of that.
    pub here: BTreeMap<usize, Here>,
    /// Those that cannot be told from others, since the server tells neither an id nor the header.
    pub nameless: Vec<usize>,
}

/// A file that is a listed message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Here {
    /// Its place among the files that were given.
    pub file: usize,
    /// The header and the size speak for it, not the header alone.
    pub certain: bool,
}

impl Looks {
    /// The looks of a message with this header, and this listed size.
    pub fn new(header: &[u8], octets: Option<u64>) -> Self {
        let print = fingerprint::of(header);
        let volatile = (header.len() as u64).saturating_sub(print.size);
        let size = octets.map(|octets| octets.saturating_sub(volatile));
        Self { message_id: print.message_id, header: print.header, size }
    }

    /// Tells whether it can be the message with that fingerprint: exactly, or nearly, which takes a Message-ID.
    fn fits(&self, print: &Fingerprint, exactly: bool) -> bool {
        let off = self.size.map(|size| size.abs_diff(print.size));
        // A line end that a file lacks is counted by some and not by others.
        let (same, near) = (off.is_some_and(|off| off <= 2), off.is_none_or(|off| off <= 64 + print.size / 50));
        self.header == print.header && if exactly { same } else { near && print.message_id.is_some() }
    }
}

/// The messages whose headers have to be asked for before [`identify`] can decide. `adopting`: files of the Maildir may be
/// among them.
pub fn questions(ledger: &Ledger, listed: &[Listed], adopting: bool) -> Vec<usize> {
    let present: BTreeSet<Uid> = listed.iter().filter_map(|l| by_name(ledger, l)).collect();
    let sizes: BTreeSet<u64> = missing(ledger, &present).map(|(_, print)| print.size).collect();
    let any_near = |octets: Option<u64>| {
        let Some(octets) = octets else { return !sizes.is_empty() };
        // Fields that do not count are in the listed size: it can be above the other by more than below.
        let (low, high) = (octets.saturating_sub(4096 + octets / 50), octets.saturating_add(64 + octets / 25));
        sizes.range(low..=high).next().is_some()
    };
    let is_asked = |l: &Listed| match by_name(ledger, l) {
        _ if l.uidl.is_none() => true,
        Some(uid) => (adopting && never_came(ledger, uid)) || ledger.get(uid).is_some_and(|e| may_be_another(e, l)),
        None => adopting || any_near(l.octets),
    };
    listed.iter().enumerate().filter(|(_, l)| is_asked(l)).map(|(place, _)| place).collect()
}

/// Finds out which message is which. `looks` are those of the messages in [`questions`], as far as the server tells them;
/// `files` are messages of the Maildir that nobody accounts for.
pub fn identify(
    ledger: &Ledger,
    listed: &[Listed],
    looks: &BTreeMap<usize, Looks>,
    files: &[Fingerprint],
) -> Identified {
    let mut found = Identified::default();
    let mut unknown: BTreeMap<usize, Name> = BTreeMap::new();
    let mut alike: BTreeMap<Looks, u32> = BTreeMap::new();
    for (place, l) in listed.iter().enumerate() {
        let name = match (&l.uidl, looks.get(&place)) {
            (Some(uidl), _) => Name::Unique(uidl.clone()),
            (None, Some(looks)) => {
                let nth = alike.entry(*looks).or_default();
                *nth += 1;
                Name::Alike(*looks, *nth - 1)
            }
            (None, None) => {
                found.nameless.push(place);
                continue;
            }
        };
        let is_it = |entry: &Entry| is_that(&name, entry) && !is_another(entry, l, looks.get(&place));
        match ledger.find(&name).filter(|uid| ledger.get(*uid).is_some_and(is_it)) {
            Some(uid) => drop(found.known.insert(place, uid)),
            None => drop(unknown.insert(place, name)),
        }
    }
    let present: BTreeSet<Uid> = found.known.values().copied().collect();
    let missing: Vec<(Uid, Fingerprint)> = missing(ledger, &present).collect();
    let prints: Vec<Fingerprint> = missing.iter().map(|(_, print)| *print).collect();
    for (place, Here { file, .. }) in pair_up(&unknown.keys().copied().collect(), looks, &prints) {
        let name = unknown.remove(&place).expect("it was paired, so it is there");
        found.renamed.insert(place, (missing[file].0, name));
    }
    let never_came = found.known.iter().filter(|(_, uid)| never_came(ledger, **uid)).map(|(place, _)| *place);
    found.here = pair_up(&unknown.keys().copied().chain(never_came).collect(), looks, files);
    found.new = unknown;
    found
}

fn never_came(ledger: &Ledger, uid: Uid) -> bool {
    ledger.get(uid).is_some_and(|entry| entry.fetched.is_none())
}

fn by_name(ledger: &Ledger, listed: &Listed) -> Option<Uid> {
    ledger.find(&Name::Unique(listed.uidl.clone()?))
}

/// Of two messages that look alike and are nothing more, one that came after the other had gone is another one.
fn is_that(name: &Name, entry: &Entry) -> bool {
    match name {
        Name::Unique(_) => true,
        Name::Alike(looks, _) => looks.message_id.is_some() || entry.vanished.is_none(),
    }
}

/// Tells whether the name alone does not say that this is the message that was fetched under it.
fn may_be_another(entry: &Entry, listed: &Listed) -> bool {
    entry.fetched.is_some() && (entry.vanished.is_some() || has_another_size(entry, listed))
}

/// Tells whether a message has the name of one that was fetched, and is another one.
fn is_another(entry: &Entry, listed: &Listed, looks: Option<&Looks>) -> bool {
    may_be_another(entry, listed)
        && match (looks, &entry.print) {
            (Some(looks), Some(print)) => looks.header != print.header,
            // Nobody can tell; what was never away hardly is, and of the rest it had better come twice.
            _ => entry.vanished.is_some() && (listed.octets.is_none() || has_another_size(entry, listed)),
        }
}

/// Sizes are estimates; they change when a server counts more exactly, as some do after the first time.
fn has_another_size(entry: &Entry, listed: &Listed) -> bool {
    entry.octets.zip(listed.octets).is_some_and(|(before, now)| before != now)
}

/// The fetched messages that are not among those present, with their looks.
fn missing<'a>(ledger: &'a Ledger, present: &'a BTreeSet<Uid>) -> impl Iterator<Item = (Uid, Fingerprint)> + 'a {
    ledger.entries().filter(|(uid, _)| !present.contains(uid)).filter_map(|(uid, entry)| Some((uid, entry.print?)))
}

/// Pairs messages with prints, each once: first what fits exactly.
fn pair_up(places: &BTreeSet<usize>, looks: &BTreeMap<usize, Looks>, prints: &[Fingerprint]) -> BTreeMap<usize, Here> {
    let mut by_header: BTreeMap<[u8; 16], Vec<usize>> = BTreeMap::new();
    for (n, print) in prints.iter().enumerate() {
        by_header.entry(print.header).or_default().push(n);
    }
    let mut pairs = BTreeMap::new();
    for exactly in [true, false] {
        for place in places {
            let Some(looks) = looks.get(place).filter(|_| !pairs.contains_key(place)) else { continue };
            let Some(left) = by_header.get_mut(&looks.header) else { continue };
            if let Some(n) = left.iter().position(|n| looks.fits(&prints[*n], exactly)) {
                pairs.insert(*place, Here { file: left.remove(n), certain: exactly });
            }
        }
    }
    pairs
}
