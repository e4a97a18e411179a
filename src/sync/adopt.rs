//! Adoption: pairing a mailbox anew whose memory is missing, or means nothing any more.
//!
//! A first run over a Maildir with mail, a lost or rolled-back state, a restored Maildir, a server that numbered its
//! messages anew: in each of them the two sides are compared by what their messages look like, and only what has no
//! counterpart is transferred afterwards. The result is memory and nothing else. No deletion can follow from it: what
//! looks like one is *held* until a person decides.

use crate::mail::{BaseName, Fingerprint, Flags, SystemFlag, Uid};
use crate::sync::matching::{LooksHere, LooksThere, pair_up};
use crate::sync::picture::{Change, Hold, Known, Lone, Pair, Picture, Quarantine, Removing, Side, Why, Word};
use crate::sync::settle::superseded;
use crate::sync::view::{LocalView, RemoteView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why a mailbox is adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Both sides may have mail, and nothing was ever agreed.
    Met,
    /// The server numbered its messages anew.
    NewEpoch,
    /// The memory is older than the Maildir.
    RolledBack,
    /// The Maildir is older than the memory.
    Restored,
    /// Mail appeared on the server while mail that is missing there waits for a person.
    Reappeared,
    /// A person doubts what is remembered, and had both sides compared anew.
    Doubted,
}

/// What is known of the adoption of a mailbox before it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Adopting {
    /// Why it is adopted.
    pub cause: Cause,
    /// So little belongs together that a person is asked first.
    pub question: Option<Question>,
}

/// A person is asked whether two sides belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// How many messages are on both sides.
    pub paired: u32,
    /// How many the server has.
    pub there: u32,
    /// How many the Maildir has.
    pub here: u32,
    /// What the person said.
    pub word: Word,
}

/// What has to be compared by its looks.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Messages of the server.
    pub uids: BTreeSet<Uid>,
    /// Files of the Maildir.
    pub names: BTreeSet<BaseName>,
    /// Messages whose file is gone, as they are remembered.
    pub gone: BTreeMap<BaseName, LooksHere>,
}

/// What comes of an adoption.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// What is remembered from now on; in a new epoch to be taken into an empty picture.
    pub changes: Vec<Change>,
    /// How many messages are on both sides.
    pub paired: u32,
    /// How many of them were recognised by their looks.
    pub recognised: u32,
    /// How many the server has.
    pub there: u32,
    /// How many the Maildir has.
    pub here: u32,
    /// How many deletions wait for a person because of this.
    pub held: u32,
    /// The number of the newest set of held deletions.
    pub last_set: u32,
}

impl Adoption {
    /// Tells whether under half of the smaller side belongs together, so that a person is asked first: two accounts that
    /// were swapped would mix two people's mail.
    pub fn is_doubtful(&self) -> bool {
        u64::from(self.paired) * 2 < u64::from(self.there.min(self.here))
    }
}

/// Tells what has to be looked at. `base` is what was remembered, in whatever epoch.
pub fn scope(cause: Cause, base: &Picture, remote: &RemoteView, local: &LocalView) -> Scope {
    match cause {
        Cause::NewEpoch => {
            let is_gone = |pair: &&Pair| local.get(&pair.name).is_none();
            let gone = base.pairs().map(|(_, pair)| pair).filter(is_gone).filter_map(|pair| {
                let flags = pair.agreed.clone();
                let here =
                    LooksHere { flags, print: pair.print?, octets: None, unended: false, date: None, gone: true };
                Some((pair.name.clone(), here))
            });
            Scope {
                gone: gone.collect(),
                uids: remote.messages().keys().copied().collect(),
                names: whole_files(local).cloned().collect(),
            }
        }
        Cause::Met | Cause::RolledBack | Cause::Restored | Cause::Doubted => {
            // A stub may have got its whole message since.
            let is_whole = |uid: Uid, pair: &Pair| {
                remote.get(uid).is_some() && local.get(&pair.name).is_some() && !pair.name.is_stub()
            };
            let whole_uid = |uid: Uid| base.pair(uid).is_some_and(|pair| is_whole(uid, pair));
            let whole_name = |name: &BaseName| base.partner(name).is_some_and(whole_uid);
            Scope {
                uids: remote.messages().keys().copied().filter(|uid| !whole_uid(*uid)).collect(),
                names: whole_files(local).filter(|name| !whole_name(name)).cloned().collect(),
                gone: BTreeMap::new(),
            }
        }
        Cause::Reappeared => Scope {
            uids: remote.messages().keys().copied().filter(|uid| base.uid(*uid).is_none()).collect(),
            names: missing(base).filter(|name| local.get(name).is_some()).cloned().collect(),
            gone: BTreeMap::new(),
        },
    }
}

/// The files that hold a message; a stub holds none, and is compared with nothing.
pub fn whole_files(local: &LocalView) -> impl Iterator<Item = &BaseName> + '_ {
    local.messages().keys().filter(|name| !name.is_stub())
}

/// Tells whether mail that waits for a person, because the server lost it, may have appeared there again.
pub fn reappeared(base: &Picture, remote: &RemoteView) -> bool {
    missing(base).next().is_some() && remote.messages().keys().any(|uid| base.uid(*uid).is_none())
}

fn missing(base: &Picture) -> impl Iterator<Item = &BaseName> + '_ {
    base.lone_local().filter(|(_, lone)| matches!(lone.why, Why::Missing(_))).map(|(name, _)| name)
}

/// Pairs up. `there` and `here` hold what [`scope`] asked for, as far as it could be learnt; `last_set` is the number of
/// the newest set of held deletions.
pub fn adopt(
    cause: Cause,
    base: &Picture,
    (remote, local): (&RemoteView, &LocalView),
    there: &BTreeMap<Uid, LooksThere>,
    here: &BTreeMap<BaseName, LooksHere>,
    last_set: u32,
) -> Adoption {
    let matches = pair_up(there, here);
    let mut draft = Draft {
        cause,
        base,
        remote,
        local,
        sets: [None, None],
        uids: matches.iter().map(|m| m.uid).collect(),
        names: matches.iter().map(|m| m.name.clone()).collect(),
        done: Adoption {
            there: count(remote.messages().len()),
            here: count(whole_files(local).count()),
            last_set,
            ..Adoption::default()
        },
    };
    for found in matches {
        let print = here.get(&found.name).map(|here| here.print);
        draft.matched(found.uid, &found.name, found.guessed, print);
    }
    match cause {
        Cause::NewEpoch => draft.after_a_new_epoch(),
        Cause::Met | Cause::RolledBack | Cause::Restored | Cause::Doubted => draft.within_an_epoch(),
        Cause::Reappeared => {}
    }
    draft.done
}

struct Draft<'a> {
    cause: Cause,
    base: &'a Picture,
    remote: &'a RemoteView,
    local: &'a LocalView,
    /// The numbers of the sets that were begun, by the side from which their messages vanished.
    sets: [Option<u32>; 2],
    uids: BTreeSet<Uid>,
    names: BTreeSet<BaseName>,
    done: Adoption,
}

impl Draft<'_> {
    /// A message and a file, or what is remembered of one, are the same.
    fn matched(&mut self, uid: Uid, name: &BaseName, guessed: bool, print: Option<Fingerprint>) {
        let flags_there = self.remote.get(uid).cloned().unwrap_or_default();
        let by_uid = if self.cause == Cause::NewEpoch { None } else { self.base.pair(uid) };
        let old = self.base.partner(name).and_then(|uid| self.base.pair(uid)).or(by_uid);
        let guessed = guessed || old.is_some_and(|pair| pair.guessed);
        let Some(flags_here) = self.local.get(name) else {
            // Its deletion here was not carried over yet, and still is not: a person decides.
            if let Some(old) = old {
                let removing = old.removing.filter(|removing| *removing == Removing::Copied);
                let hold = old.hold.filter(|hold| hold.gone == Side::Local);
                let hold = Some(hold.unwrap_or_else(|| self.hold(Side::Local)));
                let pair = Pair { hold, removing, trouble: None, remote: None, local: None, guessed, ..old.clone() };
                self.remember(uid, pair);
            }
            return;
        };
        let agreed = match old {
            Some(old) if self.trusts_flags() => old.agreed.clone(),
            _ => common(&flags_there, flags_here),
        };
        self.done.paired += 1;
        self.done.recognised += 1;
        // What is known of it besides holds within its epoch only.
        let object = by_uid.and_then(|pair| pair.object);
        self.remember(uid, Pair { guessed, object, ..Pair::agreed(name.clone(), agreed, print) });
        if !guessed && self.cause != Cause::NewEpoch {
            self.done.changes.extend(superseded(self.base, uid, name));
        }
    }

    /// What is left of the old epoch: mail that the new one lacks is kept here.
    fn after_a_new_epoch(&mut self) {
        let base = self.base;
        // What a stub stood for is another number now: it stays as nobody's.
        let is_left = |pair: &Pair| !self.names.contains(&pair.name) && !pair.name.is_stub();
        for (_, pair) in base.pairs().filter(|(_, pair)| is_left(pair)).collect::<Vec<_>>() {
            let Some(flags) = self.local.get(&pair.name).cloned() else { continue };
            let hold = pair.hold.filter(|hold| hold.gone == Side::Remote);
            let hold = hold.unwrap_or_else(|| self.hold(Side::Remote));
            let lone = Lone { flags, why: Why::Missing(hold) };
            self.done.changes.push(Change::Local(pair.name.clone(), Some(lone)));
        }
        for (name, lone) in base.lone_local() {
            if let Some(flags) = self.local.get(name).filter(|_| !self.names.contains(name)).cloned() {
                let why = match &lone.why {
                    // The server said that it took it, so it is missing there like the rest.
                    Why::Quarantined(Quarantine { due: u64::MAX, .. }) => Why::Missing(self.hold(Side::Remote)),
                    why => why.clone(),
                };
                let lone = Lone { flags, why };
                self.done.changes.push(Change::Local(name.clone(), Some(lone)));
            }
        }
    }

    /// What is left of the memory while UIDs mean what they meant: what a side lacks is held.
    fn within_an_epoch(&mut self) {
        for (uid, pair) in self.base.pairs() {
            match (self.remote.get(uid), self.local.get(&pair.name)) {
                (Some(_), _) if pair.name.is_stub() => {}
                (Some(there), Some(here)) => {
                    self.done.paired += 1;
                    let agreed = common(there, here);
                    if !self.trusts_flags() && agreed != pair.agreed {
                        self.remember(uid, Pair { agreed, remote: None, local: None, ..pair.clone() });
                    }
                }
                (Some(_), None) if !self.uids.contains(&uid) => self.hold_back(uid, pair, Side::Local),
                (None, Some(_)) if !self.names.contains(&pair.name) => self.hold_back(uid, pair, Side::Remote),
                _ => {}
            }
        }
    }

    fn hold_back(&mut self, uid: Uid, pair: &Pair, gone: Side) {
        if pair.hold.is_none_or(|hold| hold.gone != gone) {
            let hold = Some(self.hold(gone));
            self.remember(uid, Pair { hold, ..pair.clone() });
        }
    }

    fn hold(&mut self, gone: Side) -> Hold {
        let place = match gone {
            Side::Remote => 0,
            Side::Local => 1,
        };
        let set = *self.sets[place].get_or_insert_with(|| {
            self.done.last_set += 1;
            self.done.last_set
        });
        self.done.held += 1;
        Hold { gone, set, word: Word::Waiting }
    }

    fn remember(&mut self, uid: Uid, pair: Pair) {
        self.done.changes.push(Change::Uid(uid, Some(Known::Pair(pair))));
    }

    /// The flags of a Maildir from a backup are old, and say nothing about what somebody took off since.
    fn trusts_flags(&self) -> bool {
        match self.cause {
            Cause::NewEpoch | Cause::RolledBack | Cause::Doubted => true,
            Cause::Met | Cause::Restored | Cause::Reappeared => false,
        }
    }
}

/// What two sides that never agreed count as agreed on: the flags of both. So a flag of one of them goes to the other;
/// but for `\Deleted`, which is never spread: there the side without it wins.
pub fn common(there: &Flags, here: &Flags) -> Flags {
    let mut both = there.intersection(here);
    if there.contains(SystemFlag::Deleted) || here.contains(SystemFlag::Deleted) {
        both.insert(SystemFlag::Deleted);
    }
    both
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
