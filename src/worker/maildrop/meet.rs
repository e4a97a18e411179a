//! Which of the listed messages are which, remembered before anything is done with them.

use super::DropPass;
use super::here::{Here, Other};
use crate::mail::{BaseName, Fingerprint, Flags, Head, Uid, escape};
use crate::maildir::print_of;
use crate::remote::error::Error as RemoteError;
use crate::remote::pop3::{Doubt, Listing, Message, Top};
use crate::store::Settlement;
use crate::sync::maildrop::{
    Caution, Entry, Identified, Initial, Listed, Looks, Name, Shown, Turn, cautions, first_choice, identify, questions,
    sightings,
};
use crate::sync::{Cause, Change, Checkpoint, Known, Lone, Pair, Why};
use crate::worker::Error;
use crate::worker::execute::own_fault;
use crate::worker::pass::blocking;
use std::collections::{BTreeMap, BTreeSet};

/// Headers that are asked for at once; they are held in memory.
const HEADERS: usize = 100;

/// What a session shows.
pub(super) struct Met {
    /// The known messages that are listed.
    pub present: BTreeSet<Uid>,
    /// What speaks against removing anything.
    pub cautions: Vec<Caution>,
    /// The server's answers agree on which messages there are.
    pub adds_up: bool,
}

/// A message of the Maildir that nobody accounts for.
pub(super) struct Stray {
    /// Its name, if it is in the mailbox and not in another folder.
    pub name: Option<(BaseName, Flags)>,
    pub print: Fingerprint,
}

/// What is remembered because of a listing.
struct Learnt {
    changes: Vec<Change>,
    entries: Vec<Turn>,
}

impl DropPass<'_> {
    /// Finds out which message is which, gives numbers to the new ones, and remembers that, and what is not there.
    pub(super) async fn meet(&mut self, listing: Listing, here: &Here) -> Result<Met, Error> {
        self.refuse_namelessness(&listing)?;
        let (adds_up, doubts) = (listing.adds_up(), listing.doubts);
        let first = self.record.as_ref().is_none_or(|record| record.checkpoint.is_none());
        if first && !adds_up && self.wanted.initial != Initial::All {
            let what = "which messages are new cannot be told: what the server tells of the drop does not fit together";
            return Err(RemoteError::later(what).into());
        }
        let adopting = first || self.record.as_ref().is_some_and(|record| record.adopting.is_some());
        let strays = match adopting {
            true => {
                let others = self.elsewhere().await?;
                if !others.is_whole && self.root.is_some() {
                    let what = "which messages are here already cannot be told: a folder of the Maildir, or of the account \
                                that `deliver-to` names, cannot be used now";
                    return Err(RemoteError::later(what).into());
                }
                self.strays(here, others.messages).await?
            }
            false => Vec::new(),
        };
        let listed: Vec<Listed> = listing.messages.iter().map(as_listed).collect();
        let asked = questions(&self.ledger, &listed, !strays.is_empty());
        let looks = self.looks_of(&listing.messages, &asked).await?;
        let prints: Vec<Fingerprint> = strays.iter().map(|stray| stray.print).collect();
        let found = identify(&self.ledger, &listed, &looks, &prints);
        let shown = Shown { adds_up, windowed: self.quirks.windowed };
        let known: BTreeSet<Uid> =
            found.known.values().chain(found.renamed.values().map(|(uid, _)| uid)).copied().collect();
        let cautions = cautions(&self.ledger, &known, found.renamed.len(), shown);
        self.tell(&cautions, &doubts, &found);
        let wants_dates = first && matches!(self.wanted.initial, Initial::Days(_));
        let dates = if wants_dates { self.dates_of(&listing.messages).await? } else { BTreeMap::new() };
        let (present, learnt) = self.remember(found, listing.messages, &strays, first.then_some(dates), shown)?;
        self.put_back_what_a_backup_lacks(here, &prints, learnt).await?;
        Ok(Met { present, cautions, adds_up })
    }

    /// A server that told unique-ids before, or says that it can, has a bad day when it refuses.
    fn refuse_namelessness(&self, listing: &Listing) -> Result<(), Error> {
        let refused = |doubt: &Doubt| matches!(doubt, Doubt::UidlRefused(_));
        let Some(doubt) = listing.doubts.iter().find(|doubt| refused(doubt)) else { return Ok(()) };
        let told_before = self.ledger.entries().any(|(_, entry)| matches!(entry.name, Name::Unique(_)));
        let offered = self.session.as_ref().is_some_and(|session| session.transaction.capabilities().has("UIDL"));
        match told_before || offered {
            true => Err(RemoteError::later(format!("{doubt}, without which known messages are not known")).into()),
            false => Ok(()),
        }
    }

    /// How messages look by their headers; one whose header the server does not tell is left out.
    async fn looks_of(&mut self, messages: &[Message], asked: &[usize]) -> Result<BTreeMap<usize, Looks>, Error> {
        self.of_headers(messages, asked, |header, message| Some(Looks::new(header, message.size))).await
    }

    /// When messages were written, by their places; one that does not tell is left out.
    async fn dates_of(&mut self, messages: &[Message]) -> Result<BTreeMap<usize, i64>, Error> {
        let all: Vec<usize> = (0..messages.len()).collect();
        self.of_headers(messages, &all, |header, _| Head::of(header).date).await
    }

    /// Something about messages that their headers tell, by their places.
    async fn of_headers<T>(
        &mut self,
        messages: &[Message],
        asked: &[usize],
        read: impl Fn(&[u8], &Message) -> Option<T>,
    ) -> Result<BTreeMap<usize, T>, Error> {
        let mut found = BTreeMap::new();
        let Some(session) = &mut self.session else { return Ok(found) };
        for part in asked.chunks(HEADERS) {
            let wanted: Vec<Message> = part.iter().map(|place| messages[*place].clone()).collect();
            let tops = session.transaction.top(&wanted, 0).await?;
            for place in part {
                if let Some(Top::Text(header)) = tops.get(&messages[*place].number) {
                    found.extend(read(header, &messages[*place]).map(|read| (*place, read)));
                }
            }
        }
        Ok(found)
    }

    /// Messages of the whole Maildir that are nobody's partner, with their looks; `others` are those in its other folders.
    pub(super) async fn strays(&mut self, here: &Here, others: Vec<Other>) -> Result<Vec<Stray>, Error> {
        let mut strays = Vec::new();
        if let (Some(folder), Some(scan)) = (&here.folder, &here.scan) {
            for (name, file) in &scan.files {
                if name.is_stub() || self.picture.partner(name).is_some() {
                    continue;
                }
                let (folder, base, scanned) = (folder.clone(), name.clone(), file.clone());
                let print = blocking(move || own_fault(print_of(&folder, &base, &scanned))).await?.ok().flatten();
                let name = Some((name.clone(), file.flags.clone()));
                strays.extend(print.map(|print| Stray { name, print }));
            }
        }
        for other in others.into_iter().filter(|other| !other.name.is_stub()) {
            let print = blocking(move || own_fault(print_of(&other.folder, &other.name, &other.file))).await?;
            strays.extend(print.ok().flatten().map(|print| Stray { name: None, print }));
        }
        Ok(strays)
    }

    /// Works out what is remembered because of a listing; what it says for this session goes into that.
    fn remember(
        &mut self,
        found: Identified,
        messages: Vec<Message>,
        strays: &[Stray],
        first: Option<BTreeMap<usize, i64>>,
        shown: Shown,
    ) -> Result<(BTreeSet<Uid>, Learnt), Error> {
        let now = self.now();
        let (mut entries, mut changes, mut numbers) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (place, uid) in found.known {
            numbers.insert(place, uid);
            // It was judged to be the same for all that; it is not asked for again at the next look.
            let size = messages[place].size;
            if let Some(old) = self.ledger.get(uid).filter(|old| size.is_some() && old.octets != size) {
                entries.push((uid, Some(Entry { octets: size, ..old.clone() })));
            }
        }
        for (place, (uid, name)) in found.renamed {
            let Some(old) = self.ledger.get(uid).cloned() else { continue };
            entries.push((uid, Some(Entry { name, octets: messages[place].size, vanished: None, ..old })));
            numbers.insert(place, uid);
        }
        let floor = self.record.as_ref().and_then(|record| record.checkpoint?.uid_next);
        let mut next = self.ledger.next(floor);
        let mut unmet = Vec::new();
        for (place, name) in found.new {
            let Some(uid) = next else {
                return Err(Error::Refused("the drop has had more messages than there are numbers".to_owned()));
            };
            next = uid.next();
            numbers.insert(place, uid);
            if !found.here.contains_key(&place) {
                unmet.push(uid);
            }
            entries.push((uid, Some(Entry::new(name, messages[place].size))));
        }
        if let Some(dates) = first {
            let dates = dates.into_iter().filter_map(|(place, date)| Some((*numbers.get(&place)?, date))).collect();
            for uid in first_choice(&unmet, self.wanted.initial, &dates, now) {
                let kept = Known::Lone(Lone { flags: Flags::new(), why: Why::Kept });
                changes.push(Change::Uid(uid, Some(kept)));
            }
        }
        entries.iter().for_each(|turn| self.ledger.apply(turn.clone()));
        for (place, here) in found.here {
            let (Some(uid), Some(Stray { name, print })) = (numbers.get(&place), strays.get(here.file)) else {
                continue;
            };
            let Some(entry) = self.ledger.get(*uid).cloned() else { continue };
            let known = match name {
                Some((name, flags)) => {
                    let pair = Pair::agreed(name.clone(), flags.clone(), Some(*print));
                    Known::Pair(Pair { guessed: !here.certain, ..pair })
                }
                None => Known::Lone(Lone { flags: Flags::new(), why: Why::Kept }),
            };
            changes.push(Change::Uid(*uid, Some(known)));
            // What is not certain to be here as a whole is not fetched again, and never removed.
            // Nor is what another account has, before its server is known to have it.
            let is_ours = self.job.deliver_to.is_none() || name.is_some();
            let fetched = Some(now).filter(|_| here.certain && is_ours);
            let turn = (*uid, Some(Entry { fetched, print: Some(*print), ..entry }));
            self.ledger.apply(turn.clone());
            entries.push(turn);
            self.report.recognised += 1;
        }
        let present: BTreeSet<Uid> = numbers.values().copied().collect();
        let aged = sightings(&self.ledger, &present, shown, now);
        aged.iter().for_each(|turn| self.ledger.apply(turn.clone()));
        entries.extend(aged);
        if let Some(record) = &mut self.record {
            let messages = u32::try_from(present.len()).unwrap_or(u32::MAX);
            let uid_validity = super::epoch();
            record.checkpoint = Some(Checkpoint { uid_validity, highest_mod_seq: None, uid_next: next, messages });
        }
        if let Some(session) = &mut self.session {
            let numbers: BTreeMap<usize, Uid> = numbers;
            let numbered = messages.into_iter().enumerate();
            session.messages = numbered.filter_map(|(place, m)| Some((*numbers.get(&place)?, m))).collect();
        }
        Ok((present, Learnt { changes, entries }))
    }

    /// Settles what was found out. Of a Maildir that was restored from a backup, what it lacks as a whole is fetched again;
    /// what had gone from it before, and is in none of its folders, is not, and is never removed from the server.
    async fn put_back_what_a_backup_lacks(
        &mut self,
        here: &Here,
        strays: &[Fingerprint],
        Learnt { mut changes, mut entries }: Learnt,
    ) -> Result<(), Error> {
        let restored = self.record.as_ref().and_then(|record| record.adopting);
        if restored.is_some_and(|adopting| adopting.cause == Cause::Restored) {
            let others = self.elsewhere().await?.messages;
            let names: BTreeSet<&BaseName> = others.iter().map(|other| &other.name).collect();
            let lacking: Vec<(Uid, Flags)> = self
                .picture
                .pairs()
                // What is not listed now is, perhaps, the next time.
                .filter(|(_, pair)| here.local.get(&pair.name).is_none() && !names.contains(&pair.name))
                .map(|(uid, pair)| (uid, pair.agreed.clone()))
                .collect();
            // What was in another folder then, and is in none now, has but one copy left.
            let there: BTreeSet<Fingerprint> =
                strays.iter().copied().chain(self.picture.pairs().filter_map(|(_, pair)| pair.print)).collect();
            let is_filed = |uid: Uid| matches!(self.picture.uid(uid), Some(Known::Lone(lone)) if lone.why == Why::Kept);
            let is_nowhere = |entry: &Entry| entry.print.is_none_or(|print| !there.contains(&print));
            let came = self.ledger.entries().filter(|(_, entry)| entry.fetched.is_some());
            let unsaved = came.filter(|(uid, entry)| is_filed(*uid) && is_nowhere(entry));
            let turns: Vec<Turn> =
                unsaved.map(|(uid, entry)| (uid, Some(Entry { fetched: None, ..entry.clone() }))).collect();
            turns.iter().for_each(|turn| self.ledger.apply(turn.clone()));
            entries.extend(turns);
            for (uid, flags) in lacking {
                changes.push(Change::Uid(uid, Some(Known::Lone(Lone { flags, why: Why::Pending }))));
                if let Some(entry) = self.ledger.get(uid).cloned() {
                    let turn = (uid, Some(Entry { fetched: None, ..entry }));
                    self.ledger.apply(turn.clone());
                    entries.push(turn);
                }
            }
        }
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        let Some(record) = &mut self.record else { return Ok(()) };
        record.adopting = None;
        let (id, mailboxes) = (record.id, vec![record.clone()]);
        let changes = if changes.is_empty() { Vec::new() } else { vec![(id, changes)] };
        let entries = if entries.is_empty() { Vec::new() } else { vec![(id, entries)] };
        self.settle(Settlement { mailboxes, changes, entries, ..Settlement::default() }).await
    }

    /// Tells what is odd about the drop, and what follows.
    fn tell(&mut self, cautions: &[Caution], doubts: &[Doubt], found: &Identified) {
        let name = escape(self.shown());
        for caution in cautions {
            match caution {
                Caution::DoesNotAddUp => {
                    let told: Vec<String> = doubts.iter().map(ToString::to_string).collect();
                    let reason =
                        format!("{caution}: {}; nothing is removed from the server in this run", told.join(", "));
                    self.leave_out(name.clone(), reason, true);
                }
                // What is held because of it is told when that is known.
                Caution::Renamed(_) | Caution::Missing(..) => self.report.notices.push(format!("{name}: {caution}")),
            }
        }
        if !found.nameless.is_empty() {
            let reason = format!(
                "{} messages have no unique-id of their own, and the server does not show their headers, so that they cannot \
                 be told from those that were fetched; they are left alone",
                found.nameless.len()
            );
            self.leave_out(name, reason, true);
        }
    }
}

/// A message as the judgement takes it; a unique-id that another has as well is none.
fn as_listed(message: &Message) -> Listed {
    Listed { uidl: message.uidl.clone().filter(|_| !message.shared), octets: message.size }
}
