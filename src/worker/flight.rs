//! New mail of many mailboxes at once: begun with one commit, fetched in one flight, settled with one commit.
//!
//! Bodies become drafts while they arrive, drafts become messages some at a time, and the link stays busy meanwhile. What
//! does not arrive in the flight is asked for again, message by message if need be, as a batch by itself would be.

use crate::mail::{BaseName, Fingerprint, Flags, ObjectId, SpecialUse, Uid};
use crate::maildir::{Arrival, Delivery, Error as MaildirError, Folder, place, publish, sweep_tmp};
use crate::remote::imap::{BodyChunk, Errand, Landing};
use crate::sync::{Action, Batch, MailboxId, Outcome, Work};
use crate::worker::fetch::{DRAFTS, IN_FLIGHT, WINDOW, date, draft_names};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use crate::worker::{Error, Event};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;
use tokio::sync::mpsc::{self, UnboundedSender};

/// So many groups of actions are begun and settled together.
pub(super) const GROUPS: usize = 4;

/// Where the messages of one errand go.
struct Target {
    folder: Folder,
    role: Option<SpecialUse>,
    /// The number of the action, the name, and the flags.
    messages: BTreeMap<Uid, (usize, BaseName, Flags)>,
}

/// What became of an action.
struct Landed {
    /// The number of its errand.
    errand: usize,
    /// Its own number.
    number: usize,
    outcome: Outcome,
    /// The flags that the name of its file shows, if it has one.
    here: Option<Flags>,
    /// Which message the server says that it is.
    object: Option<ObjectId>,
}

/// Takes the fetches of whole messages out of works, and makes flights of them: the newest messages first, and those of
/// `inbox` before all.
pub(super) fn flights(works: &mut Vec<Work>, group: usize, inbox: Option<MailboxId>) -> Vec<Vec<Work>> {
    let mut fetches: BTreeMap<(bool, MailboxId), (_, Vec<Action>)> = BTreeMap::new();
    for work in works.iter_mut() {
        let Work::Messages { mailbox, uid_validity, actions, .. } = work else { continue };
        let (fetched, rest): (Vec<_>, Vec<_>) = std::mem::take(actions)
            .into_iter()
            .partition(|action| matches!(action, Action::Fetch { name, .. } if !name.is_stub()));
        *actions = rest;
        let place = (Some(*mailbox) != inbox, *mailbox);
        fetches.entry(place).or_insert_with(|| (*uid_validity, Vec::new())).1.extend(fetched);
    }
    works.retain(|work| !matches!(work, Work::Messages { actions, .. } if actions.is_empty()));
    let mut flights: Vec<Vec<Work>> = Vec::new();
    let mut room = 0;
    for ((_, mailbox), (uid_validity, mut actions)) in fetches {
        actions.sort_by_key(|action| std::cmp::Reverse(action.fetches()));
        for part in actions.chunks(group.max(1)) {
            if part.len() > room {
                flights.push(Vec::new());
                room = GROUPS * group.max(1);
            }
            room -= part.len();
            let (actions, from) = (part.to_vec(), BTreeMap::new());
            let work = Work::Messages { mailbox, uid_validity, actions, from };
            flights.last_mut().expect("one was begun").push(work);
        }
    }
    flights
}

impl Pass<'_> {
    /// Begins, fetches and settles a flight.
    pub(super) async fn fetch_flight(
        &mut self,
        works: Vec<Work>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<(), Error> {
        let batches = self.begin(works).await?;
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        let (mut errands, mut targets, mut of_batch) = (Vec::new(), Vec::new(), Vec::new());
        let mut swept = BTreeSet::new();
        for (number, batch) in batches.iter().enumerate() {
            let Work::Messages { mailbox, uid_validity, actions, .. } = &batch.work else { continue };
            outcomes.push(vec![Outcome::Moot; actions.len()]);
            let folder = observed.get(mailbox).and_then(|seen| seen.folder.clone());
            let (Some(folder), Some(record)) = (folder, self.records.get(mailbox)) else { continue };
            let (name, role) = (record.name.clone(), record.role);
            if swept.insert(*mailbox) {
                let folder = folder.clone();
                blocking(move || Ok(sweep_tmp(&folder, DRAFTS, SystemTime::now())?)).await?;
            }
            let wanted = actions.iter().filter_map(flags_of).fold(Flags::new(), |all, flags| all.union(flags));
            self.learn(*mailbox, &folder, wanted).await?;
            let windows =
                actions.chunks(WINDOW).map(|part| part.iter().filter_map(Action::fetches).collect()).collect();
            errands.push(Errand { name, uid_validity: *uid_validity, access: self.access(), windows });
            targets.push(Target { folder, role, messages: messages(actions) });
            of_batch.push(number);
        }
        self.selected = None;
        let (sink, chunks) = mpsc::channel(IN_FLIGHT);
        let (landings, landed) = mpsc::unbounded_channel();
        let events = self.events.clone();
        let writer = tokio::task::spawn_blocking(move || land(&targets, chunks, landed, &events));
        let epochs = self.imap.fetch_flight(&errands, sink, &landings).await;
        drop(landings);
        // A full disk is the reason, a closed sink only what follows from it.
        let landed = writer.await??;
        let epochs = epochs?;
        if let (Some(number), Some(Some(epoch))) = (of_batch.last(), epochs.last())
            && let Work::Messages { mailbox, .. } = &batches[*number].work
        {
            self.selected = Some((*mailbox, *epoch));
        }
        let mut missing: Vec<BTreeSet<usize>> = outcomes.iter().map(|all| (0..all.len()).collect()).collect();
        for Landed { errand, number, outcome, here, object } in landed {
            let batch = of_batch[errand];
            missing[batch].remove(&number);
            outcomes[batch][number] = outcome;
            if let (Some(_), Work::Messages { actions, .. }) = (&here, &batches[batch].work) {
                let shown = self.shown.entry(actions[number].name().clone()).or_default();
                (shown.here, shown.object) = (here, object);
            }
        }
        for (batch, (missing, outcomes)) in batches.iter().zip(missing.iter().zip(&mut outcomes)) {
            if !missing.is_empty() {
                self.fetch_missing(batch, missing, observed, outcomes).await?;
            }
        }
        self.settle_batches(batches.into_iter().zip(outcomes).collect()).await
    }

    /// Asks again for what did not arrive.
    async fn fetch_missing(
        &mut self,
        batch: &Batch,
        missing: &BTreeSet<usize>,
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Work::Messages { mailbox, uid_validity, actions, .. } = &batch.work else { return Ok(()) };
        let Some(seen) = observed.get(mailbox) else { return Ok(()) };
        if !self.open(*mailbox, *uid_validity).await? {
            // Another mailbox lies under that name now.
            return Ok(());
        }
        let again: Vec<_> = actions.iter().enumerate().filter(|(number, _)| missing.contains(number)).collect();
        self.fetch(*mailbox, &again, seen, outcomes).await
    }
}

fn flags_of(action: &Action) -> Option<&Flags> {
    match action {
        Action::Fetch { flags, .. } => Some(flags),
        _ => None,
    }
}

fn messages(actions: &[Action]) -> BTreeMap<Uid, (usize, BaseName, Flags)> {
    let message = |(number, action): (usize, &Action)| match action {
        Action::Fetch { uid, name, flags } => Some((*uid, (number, name.clone(), flags.clone()))),
        _ => None,
    };
    actions.iter().enumerate().filter_map(message).collect()
}

/// Writes bodies to drafts while they come, and publishes them, until the sender is dropped.
fn land(
    targets: &[Target],
    mut chunks: mpsc::Receiver<BodyChunk>,
    mut landings: mpsc::UnboundedReceiver<Landing>,
    events: &UnboundedSender<Event>,
) -> Result<Vec<Landed>, Error> {
    // Which message a body is, is known only when its response ends; until then all lie in the first folder.
    let Some(first) = targets.first() else { return Ok(Vec::new()) };
    let mut names = draft_names();
    let mut drafts = Drafts::new();
    let mut waiting: VecDeque<Landing> = VecDeque::new();
    let mut landed = Vec::new();
    loop {
        let chunk = chunks.blocking_recv();
        let is_last = chunk.is_none();
        if let Some(chunk) = chunk {
            let draft = match drafts.entry(chunk.literal) {
                std::collections::btree_map::Entry::Occupied(draft) => draft.into_mut(),
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert((Delivery::begin(&first.folder, &names.next())?, false))
                }
            };
            draft.0.write(&chunk.bytes)?;
            draft.1 |= chunk.end;
        }
        while let Ok(landing) = landings.try_recv() {
            waiting.push_back(landing);
        }
        if is_last {
            waiting.retain(|landing| is_whole(landing, &drafts));
        }
        while let Some(ready) = ready(&waiting, &drafts, is_last) {
            show(targets, waiting.drain(..ready).collect(), &mut drafts, events, &mut landed)?;
        }
        if is_last {
            return Ok(landed);
        }
    }
}

type Drafts = BTreeMap<u64, (Delivery, bool)>;

fn is_whole(landing: &Landing, drafts: &Drafts) -> bool {
    drafts.get(&landing.body.literal).is_some_and(|(_, is_whole)| *is_whole)
}

/// How many of the messages that wait are to be published now: those of one mailbox together, and none is kept open for
/// long. A landing is known before the last chunks of its body were taken.
fn ready(waiting: &VecDeque<Landing>, drafts: &Drafts, is_last: bool) -> Option<usize> {
    let errand = waiting.front()?.errand;
    let ready = waiting.iter().take_while(|l| l.errand == errand && is_whole(l, drafts)).take(WINDOW).count();
    let another_follows = waiting.get(ready).is_some_and(|next| next.errand != errand);
    (ready > 0 && (ready == WINDOW || is_last || another_follows)).then_some(ready)
}

/// Publishes whole messages of one errand.
fn show(
    targets: &[Target],
    group: Vec<Landing>,
    drafts: &mut Drafts,
    events: &UnboundedSender<Event>,
    landed: &mut Vec<Landed>,
) -> Result<(), Error> {
    let (mut arrivals, mut places, mut octets) = (Vec::new(), Vec::new(), 0);
    let mut folder = None;
    for Landing { errand, body } in group {
        let Some((draft, _)) = drafts.remove(&body.literal) else { continue };
        let target = &targets[errand];
        let Some((number, name, flags)) = target.messages.get(&body.uid) else { continue };
        let staged = draft.finish(date(body.internal_date))?;
        if staged.size == 0 && body.size.is_some_and(|size| size > 0) {
            let outcome = Outcome::Failed("the server sends it without its body".into());
            landed.push(Landed { errand, number: *number, outcome, here: None, object: None });
            continue;
        }
        octets += staged.size;
        folder = Some(&target.folder);
        places.push((errand, *number, body.object));
        let subdir = place(&target.folder.letters(), flags, target.role);
        arrivals.push(Arrival { staged, base: name.clone(), subdir, flags: flags.clone() });
    }
    let Some(folder) = folder else { return Ok(()) };
    let prints: Vec<Fingerprint> = arrivals.iter().map(|arrival| arrival.staged.fingerprint).collect();
    let messages = arrivals.len();
    for (((errand, number, object), print), published) in places.into_iter().zip(prints).zip(publish(folder, arrivals))
    {
        let (outcome, here) = match published {
            Ok(file) => (Outcome::Fetched(print), Some(file.flags)),
            // Somebody took the name; nothing was overwritten, and the next plan has another.
            Err(MaildirError::Exists { .. }) => (Outcome::Moot, None),
            Err(error) => return Err(error.into()),
        };
        landed.push(Landed { errand, number, outcome, here, object });
    }
    let _ = events.send(Event::Done { messages, octets });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::UidValidity;

    fn work(mailbox: u32, uids: &[u32]) -> Work {
        let name = |n: u32| BaseName::new(format!("{n}.x").as_bytes()).expect("a name");
        let fetch =
            |n: &u32| Action::Fetch { uid: Uid::new(*n).expect("not zero"), name: name(*n), flags: Flags::new() };
        let mut actions: Vec<Action> = uids.iter().map(fetch).collect();
        actions.push(Action::Append { name: name(99), flags: Flags::new(), print: None });
        let uid_validity = UidValidity::new(1).expect("not zero");
        Work::Messages { mailbox: MailboxId(mailbox), uid_validity, actions, from: BTreeMap::new() }
    }

    fn told(flights: &[Vec<Work>]) -> Vec<Vec<(u32, Vec<u32>)>> {
        let of = |work: &Work| match work {
            Work::Messages { mailbox, actions, .. } => {
                (mailbox.0, actions.iter().filter_map(Action::fetches).map(Uid::get).collect())
            }
            Work::Mailboxes(_) => panic!("no messages"),
        };
        flights.iter().map(|flight| flight.iter().map(of).collect()).collect()
    }

    #[test]
    fn the_inbox_is_first_and_so_are_new_messages_and_uploads_stay_where_they_are() {
        let mut works = vec![work(1, &[1, 2, 3]), work(1, &[4]), work(2, &[7])];
        let flights = flights(&mut works, 2, Some(MailboxId(2)));
        assert_eq!(told(&flights), [vec![(2, vec![7]), (1, vec![4, 3]), (1, vec![2, 1])]]);
        assert_eq!(works, [work(1, &[]), work(1, &[]), work(2, &[])]);
    }

    #[test]
    fn a_flight_is_no_longer_than_its_groups() {
        let mut works = vec![work(1, &(1..=9).collect::<Vec<_>>())];
        let flights = flights(&mut works, 1, None);
        let lengths: Vec<usize> = flights.iter().map(Vec::len).collect();
        assert_eq!(lengths, [4, 4, 1]);
    }
}
