//! What a listing means for what is known: what is there, what ages, and whether anything may be removed.

use crate::mail::{Flags, Uid};
use crate::sync::maildrop::ledger::Turn;
use crate::sync::maildrop::{Entry, Initial, Ledger};
use crate::sync::picture::{Known, Picture};
use crate::sync::view::RemoteView;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const DAY: u64 = 86_400;
/// So long after it vanished a message still counts as there, in seconds: drops come back.
const STAYS: u64 = 30 * DAY;
/// So long after it vanished a message is known again when it comes back, in seconds.
const REMEMBERED: u64 = 180 * DAY;
/// Fewer messages than this can go at once without being talked about.
const FEW: usize = 20;

/// How a session shows the drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The server's answers agree on which messages there are.
    pub adds_up: bool,
    /// It shows a part of them at a time, as a rule.
    pub windowed: bool,
}

/// Why nothing is removed from the drop in this session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caution {
    /// The answers do not agree.
    DoesNotAddUp,
    /// So many messages were found again by their looks only.
    Renamed(usize),
    /// So many of the known messages are missing at once, of so many.
    Missing(usize, usize),
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotAddUp => f.write_str("what the server tells of the drop does not fit together"),
            Self::Renamed(n) => write!(f, "the server calls {n} known messages by new names"),
            Self::Missing(missing, of) => write!(f, "{missing} of {of} known messages are not listed any more"),
        }
    }
}

/// What speaks against removing anything; `present` are the known messages that are listed.
pub fn cautions(ledger: &Ledger, present: &BTreeSet<Uid>, renamed: usize, shown: Shown) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if !shown.adds_up {
        cautions.push(Caution::DoesNotAddUp);
    }
    if renamed > 0 {
        cautions.push(Caution::Renamed(renamed));
    }
    let expected = ledger.entries().filter(|(_, entry)| entry.vanished.is_none());
    let (mut missing, mut of) = (0, 0);
    for (uid, _) in expected {
        of += 1;
        missing += usize::from(!present.contains(&uid));
    }
    if of >= FEW && missing * 2 > of && !shown.windowed {
        cautions.push(Caution::Missing(missing, of));
    }
    cautions
}

/// What changes in the ledger because these known messages are listed, and others are not.
pub fn sightings(ledger: &Ledger, present: &BTreeSet<Uid>, shown: Shown, now: u64) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (uid, entry) in ledger.entries() {
        let vanished = match (present.contains(&uid), entry.vanished) {
            (true, Some(_)) => None,
            (false, None) if shown.adds_up && !shown.windowed => Some(now),
            (false, Some(since)) if now.saturating_sub(since) > REMEMBERED => {
                turns.push((uid, None));
                continue;
            }
            _ => continue,
        };
        turns.push((uid, Some(Entry { vanished, ..entry.clone() })));
    }
    turns
}

/// What counts as being in the drop: what is listed, and what has not been away for long.
pub fn view(ledger: &Ledger, picture: &Picture, present: &BTreeSet<Uid>, now: u64) -> RemoteView {
    let flags = |uid: Uid| match picture.uid(uid) {
        Some(Known::Pair(pair)) => pair.agreed.clone(),
        Some(Known::Lone(lone)) => lone.flags.clone(),
        None => Flags::new(),
    };
    let stays = |uid: &Uid| {
        let away = ledger.get(*uid).map(|entry| entry.vanished.map_or(0, |since| now.saturating_sub(since)));
        away.is_some_and(|away| away <= STAYS)
    };
    let known = picture.uids().map(|(uid, _)| uid).filter(stays);
    let messages: BTreeMap<Uid, Flags> = present.iter().copied().chain(known).map(|uid| (uid, flags(uid))).collect();
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    RemoteView::listed(messages, count).expect("they are as many as they are")
}

/// Of the messages that are there at the first look, in the order of their numbers: those that are left alone. `dates` are
/// when they were written, in seconds since 1970, as far as that is known.
pub fn first_choice(all: &[Uid], initial: Initial, dates: &BTreeMap<Uid, i64>, now: u64) -> Vec<Uid> {
    match initial {
        Initial::All => Vec::new(),
        Initial::None => all.to_vec(),
        Initial::Newest(n) => all[..all.len().saturating_sub(n as usize)].to_vec(),
        Initial::Days(days) => {
            let since = i64::try_from(now).unwrap_or(i64::MAX) - i64::from(days) * DAY as i64;
            all.iter().copied().filter(|uid| dates.get(uid).is_some_and(|date| *date < since)).collect()
        }
    }
}
