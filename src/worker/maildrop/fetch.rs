//! Messages of a drop become files: streamed into `tmp`, and shown when it is proven that they are the right ones.
//!
//! A session that breaks on the way is begun anew for what did not come, in smaller parts: there are servers that break the
//! protocol over one message each time, and that one alone is set aside.

use super::DropPass;
use super::here::Here;
use crate::mail::{BaseName, Fingerprint, Flags, Uid};
use crate::maildir::{Arrival, Delivery, Error as MaildirError, Folder, Staged, place, publish, sweep_tmp};
use crate::remote::BodyChunk;
use crate::remote::error::{Error as RemoteError, Refusal};
use crate::remote::pop3::{Landing, Message, Number};
use crate::store::Settlement;
use crate::sync::maildrop::Entry;
use crate::sync::{Action, Batch, Outcome, Work, settle};
use crate::worker::fetch::{DRAFTS, IN_FLIGHT, WINDOW, draft_names};
use crate::worker::pass::blocking;
use crate::worker::touched::touched;
use crate::worker::{Error, Event, Touched};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;
use tokio::sync::mpsc::{self, UnboundedSender};

/// What breaks a session is looked for among so many messages at first.
const SUSPECTS: usize = 16;
/// So often a message is asked for alone before it is blamed for the end of the connection.
const ALONE: u32 = 3;

/// A message that is asked for: the number of its action, the name and the flags it gets, and what the session calls it.
#[derive(Clone)]
pub(super) struct Asked {
    pub number: usize,
    pub name: BaseName,
    pub flags: Flags,
    pub message: Message,
}

impl DropPass<'_> {
    /// Fetches what is planned, batch by batch; tells what came.
    pub(super) async fn carry_out(&mut self, actions: Vec<Action>, here: &Here) -> Result<BTreeSet<Uid>, Error> {
        let mut fetched = BTreeSet::new();
        let (Some(folder), Some(id)) = (here.folder.clone(), self.record.as_ref().map(|record| record.id)) else {
            return Ok(fetched);
        };
        if !actions.is_empty() {
            let swept = folder.clone();
            blocking(move || Ok(sweep_tmp(&swept, DRAFTS, SystemTime::now())?)).await?;
        }
        for part in actions.chunks(self.job.group.max(1)) {
            let work = Work::Messages {
                mailbox: id,
                uid_validity: super::epoch(),
                actions: part.to_vec(),
                from: BTreeMap::new(),
            };
            self.go_on()?;
            for batch in self.begin(vec![work]).await? {
                let mut outcomes = vec![Outcome::Moot; part.len()];
                let mut done = self.fetch(part, &folder, &mut outcomes).await;
                if done.is_ok() {
                    done = self.fetch_stubs(part, &folder, &mut outcomes).await;
                }
                // After a failure of the disk the journal is all that is relied on.
                if matches!(
                    done,
                    Ok(()) | Err(Error::Imap(_) | Error::Session(_) | Error::Quiet { .. } | Error::Interrupted)
                ) {
                    fetched.extend(self.take_in(batch, part, &outcomes).await?);
                }
                done?;
            }
        }
        Ok(fetched)
    }

    /// Fetches the messages of one batch, in new sessions if need be.
    async fn fetch(&mut self, actions: &[Action], folder: &Folder, outcomes: &mut [Outcome]) -> Result<(), Error> {
        let mut tries: BTreeMap<usize, u32> = BTreeMap::new();
        let whole = actions.iter().enumerate().filter(|(_, action)| !is_of_stub(action)).map(|(number, _)| number);
        let mut queue = VecDeque::from([whole.collect::<Vec<usize>>()]);
        while let Some(numbers) = queue.pop_front() {
            let asked = self.asked(actions, &numbers);
            let Some(session) = self.session.as_mut().filter(|_| !asked.is_empty()) else { continue };
            let (sink, chunks) = mpsc::channel(IN_FLIGHT);
            let (landings, landed) = mpsc::unbounded_channel();
            let (into, events) = (folder.clone(), self.events.clone());
            let targets: BTreeMap<u64, Asked> =
                asked.iter().map(|a| (number_of(a.message.number), a.clone())).collect();
            let writer = tokio::task::spawn_blocking(move || land(&into, targets, chunks, landed, &events));
            let messages: Vec<Message> = asked.iter().map(|asked| asked.message.clone()).collect();
            let told = session.transaction.fetch(&messages, &sink, &landings).await;
            drop((sink, landings));
            // A full disk is the reason, a closed sink only what follows from it.
            let landed = writer.await??;
            let came: BTreeSet<usize> = landed.iter().map(|(number, _)| *number).collect();
            landed.into_iter().for_each(|(number, outcome)| outcomes[number] = outcome);
            let missing: Vec<&Asked> = asked.iter().filter(|asked| !came.contains(&asked.number)).collect();
            match told {
                Ok(refusals) => missing.into_iter().for_each(|a| outcomes[a.number] = refused(&refusals, a)),
                Err(error) => {
                    let missing: Vec<usize> = missing.iter().map(|asked| asked.number).collect();
                    match missing.as_slice() {
                        [] => {}
                        [one] => {
                            // A network breaks as well; a message that breaks the protocol does so each time.
                            let tries = tries.entry(*one).or_default();
                            *tries += u32::from(asked.len() == 1);
                            let limit = if matches!(error, RemoteError::Protocol(_)) { 1 } else { ALONE };
                            match *tries >= limit {
                                true => outcomes[*one] = Outcome::Failed(error.to_string()),
                                false => queue.push_front(vec![*one]),
                            }
                        }
                        several => {
                            let (suspects, rest) = several.split_at((several.len() / 2).min(SUSPECTS));
                            queue.push_front(rest.to_vec());
                            queue.push_front(suspects.to_vec());
                        }
                    }
                    self.open_again(error).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn asked(&self, actions: &[Action], numbers: &[usize]) -> Vec<Asked> {
        let asked = |number: &usize| match &actions[*number] {
            Action::Fetch { uid, name, flags } => {
                let message = self.session.as_ref()?.messages.get(uid)?.clone();
                Some(Asked { number: *number, name: name.clone(), flags: flags.clone(), message })
            }
            _ => None,
        };
        numbers.iter().filter_map(asked).collect()
    }

    /// Settles a batch with what became of its actions; tells what came.
    async fn take_in(&mut self, batch: Batch, actions: &[Action], outcomes: &[Outcome]) -> Result<Vec<Uid>, Error> {
        let Some(id) = self.record.as_ref().map(|record| record.id) else { return Ok(Vec::new()) };
        let now = self.now();
        let (mut changes, mut entries, mut came) = (Vec::new(), Vec::new(), Vec::new());
        for (action, outcome) in actions.iter().zip(outcomes) {
            changes.extend(settle(&self.picture, action, outcome, now));
            match (action, outcome) {
                (Action::Fetch { .. }, Outcome::Fetched(_)) if is_of_stub(action) => self.report.fetched += 1,
                (Action::Fetch { uid, .. }, Outcome::Fetched(print)) => {
                    self.report.fetched += 1;
                    came.push(*uid);
                    let entry = self.ledger.get(*uid).cloned();
                    let entry = entry.map(|entry| Entry { fetched: Some(now), print: Some(*print), ..entry });
                    entries.extend(entry.map(|entry| (*uid, Some(entry))));
                }
                (_, Outcome::Failed(_)) => self.report.quarantined += 1,
                _ => {}
            }
        }
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        entries.iter().for_each(|turn| self.ledger.apply(turn.clone()));
        self.batches.retain(|open| open.id != batch.id);
        let (closed, changes, entries) = (vec![batch.id], vec![(id, changes)], vec![(id, entries)]);
        self.settle(Settlement { closed, changes, entries, ..Settlement::default() }).await?;
        if let Some(record) = self.record.as_ref().filter(|_| self.job.tells_touched) {
            let touched = |(action, outcome)| touched(self.shown(), &self.job.maildir, record, action, outcome);
            // The numbers of its messages are ours, and say nothing to others.
            let no_uid = |touched| Touched { uid: None, ..touched };
            let touched = actions.iter().zip(outcomes).filter_map(touched).map(no_uid).collect();
            let _ = self.events.send(Event::Touched(touched));
        }
        Ok(came)
    }
}

/// Only the header is fetched.
pub(super) fn is_of_stub(action: &Action) -> bool {
    matches!(action, Action::Fetch { name, .. } if name.is_stub())
}

/// What became of a message that did not come although the session went through.
fn refused(refusals: &BTreeMap<Number, Refusal>, asked: &Asked) -> Outcome {
    match refusals.get(&asked.message.number) {
        Some(refusal) => {
            Outcome::Failed(RemoteError::Refused { command: "RETR", refusal: refusal.clone() }.to_string())
        }
        // Its name was taken, or nobody knows; the next pass decides.
        None => Outcome::Moot,
    }
}

fn number_of(number: Number) -> u64 {
    u64::from(number.get())
}

/// Writes bodies to drafts while they come, and publishes those of which it is told that they are the right ones, until the
/// sender is dropped. The rest goes without a trace.
fn land(
    folder: &Folder,
    targets: BTreeMap<u64, Asked>,
    mut chunks: mpsc::Receiver<BodyChunk>,
    mut landings: mpsc::UnboundedReceiver<Landing>,
    events: &UnboundedSender<Event>,
) -> Result<Vec<(usize, Outcome)>, Error> {
    let mut names = draft_names();
    let mut drafts: BTreeMap<u64, Delivery> = BTreeMap::new();
    let (mut proven, mut landed) = (Vec::new(), Vec::new());
    loop {
        let chunk = chunks.blocking_recv();
        let is_last = chunk.is_none();
        if let Some(BodyChunk { literal, bytes, .. }) = chunk {
            let draft = match drafts.entry(literal) {
                std::collections::btree_map::Entry::Occupied(draft) => draft.into_mut(),
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(Delivery::begin(folder, &names.next())?)
                }
            };
            draft.write(&bytes)?;
        }
        // Of a message that is told as landed here, later messages may be on their way in the same channel, but all its
        // own pieces came before: the proof was asked for after them.
        while let Ok(landing) = landings.try_recv() {
            proven.push(landing);
        }
        let ready = proven.iter().filter(|landing| is_whole(landing, &drafts)).count();
        if ready >= WINDOW || (is_last && ready > 0) {
            let (whole, rest) = proven.into_iter().partition(|landing| is_whole(landing, &drafts));
            proven = rest;
            show(folder, &targets, whole, &mut drafts, events, &mut landed)?;
        }
        if is_last {
            return Ok(landed);
        }
    }
}

/// Tells whether every octet of it was taken: a landing can be known before the last pieces are.
fn is_whole(landing: &Landing, drafts: &BTreeMap<u64, Delivery>) -> bool {
    drafts.get(&number_of(landing.number)).is_some_and(|draft| draft.octets() == landing.octets)
}

/// Publishes whole messages.
fn show(
    folder: &Folder,
    targets: &BTreeMap<u64, Asked>,
    whole: Vec<Landing>,
    drafts: &mut BTreeMap<u64, Delivery>,
    events: &UnboundedSender<Event>,
    landed: &mut Vec<(usize, Outcome)>,
) -> Result<(), Error> {
    let (mut arrivals, mut numbers, mut octets) = (Vec::new(), Vec::new(), 0);
    for landing in whole {
        let key = number_of(landing.number);
        let (Some(asked), Some(draft)) = (targets.get(&key), drafts.remove(&key)) else { continue };
        let staged = draft.finish(SystemTime::now())?;
        octets += staged.size;
        numbers.push(asked.number);
        arrivals.push(arrival(folder, asked, staged));
    }
    let messages = arrivals.len();
    landed.extend(numbers.into_iter().zip(publish_all(folder, arrivals)?));
    let _ = events.send(Event::Done { messages, octets });
    Ok(())
}

/// The message as it will be shown.
pub(super) fn arrival(folder: &Folder, asked: &Asked, staged: Staged) -> Arrival {
    let (flags, base) = (asked.flags.clone(), asked.name.clone());
    let subdir = place(&folder.letters(), &flags, None);
    Arrival { staged, base, subdir, flags }
}

/// Publishes, and tells what came of each. Blocking.
pub(super) fn publish_all(folder: &Folder, arrivals: Vec<Arrival>) -> Result<Vec<Outcome>, Error> {
    let prints: Vec<Fingerprint> = arrivals.iter().map(|arrival| arrival.staged.fingerprint).collect();
    let outcome = |(print, published)| match published {
        Ok(_) => Ok(Outcome::Fetched(print)),
        // Somebody took the name; nothing was overwritten, and the next plan has another.
        Err(MaildirError::Exists { .. }) => Ok(Outcome::Moot),
        Err(error) => Err(error.into()),
    };
    prints.into_iter().zip(publish(folder, arrivals)).map(outcome).collect()
}
