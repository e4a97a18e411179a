//! New mail of many mailboxes at once: begun with one commit, fetched in one flight, settled with one commit.
//!
//! Bodies become drafts while they arrive, drafts become messages some at a time, and the link stays busy meanwhile. What
//! does not arrive in the flight is asked for again, message by message if need be, as a batch by itself would be.

use crate::mail::{BaseName, Fingerprint, Flags, ObjectId, SpecialUse, Uid, UidValidity};
use crate::maildir::{Arrival, Delivery, Error as MaildirError, Folder, place, publish, sweep_tmp};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{BodyChunk, Errand, Imap, Landing};
use crate::sync::{Action, Batch, MailboxId, Outcome, Work};
use crate::worker::fetch::{DRAFTS, IN_FLIGHT, WINDOW, date, draft_names};
use crate::worker::lines::Lines;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use crate::worker::{Error, Event};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

/// So many groups of actions are begun and settled together.
pub(super) const GROUPS: usize = 2;

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

/// A flight that was begun.
struct Flight {
    batches: Vec<Batch>,
    errands: Vec<Errand>,
    /// Where the messages of each errand go.
    targets: Arc<Vec<Target>>,
    /// The place of the batch of each errand.
    of_batch: Vec<usize>,
}

/// What became of a flight: what is in the Maildir now, and which mailboxes were found.
struct Flown {
    landed: Result<Vec<Landed>, Error>,
    epochs: Result<Vec<Option<UidValidity>>, ImapError>,
}

impl Flight {
    /// Fetches on a connection. What landed is told whether the connection lived or not.
    async fn fly(&self, imap: &mut Imap, events: &UnboundedSender<Event>) -> Flown {
        let (sink, chunks) = mpsc::channel(IN_FLIGHT);
        let (landings, landed) = mpsc::unbounded_channel();
        let (targets, events) = (self.targets.clone(), events.clone());
        let writer = tokio::task::spawn_blocking(move || land(&targets, chunks, landed, &events));
        let epochs = imap.fetch_flight(&self.errands, sink, &landings).await;
        drop(landings);
        let landed = writer.await.map_err(Error::from).and_then(|landed| landed);
        Flown { landed, epochs }
    }
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
    /// Begins, fetches and settles flights: one after the other, or several at once where there are more connections.
    pub(super) async fn fetch_flights(
        &mut self,
        flights: Vec<Vec<Work>>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<(), Error> {
        let wanted = flights.len().saturating_sub(1);
        let mut lines = if self.imap.is_far() { Lines::open(self.job, wanted) } else { Lines::none() };
        let mut waiting = VecDeque::from(flights);
        while !waiting.is_empty() {
            let spares = lines.take(waiting.len() - 1);
            let together: Vec<Vec<Work>> = waiting.drain(..=spares.len()).collect();
            let lengths: Vec<usize> = together.iter().map(Vec::len).collect();
            let mut begun = VecDeque::from(self.begin(together.concat()).await?);
            let mut flights = Vec::new();
            for length in lengths {
                let batches = begun.drain(..length.min(begun.len())).collect();
                flights.push(self.prepare(batches, observed).await?);
            }
            let mut aloft = JoinSet::new();
            for (flight, mut imap) in flights.split_off(1).into_iter().zip(spares) {
                let events = self.events.clone();
                aloft.spawn(async move {
                    let flown = flight.fly(&mut imap, &events).await;
                    (flight, imap, flown)
                });
            }
            let (first, events) = (flights.remove(0), self.events.clone());
            self.selected = None;
            let Flown { landed, epochs } = first.fly(&mut self.imap, &events).await;
            let mut down = vec![(first, landed?)];
            while let Some(done) = aloft.join_next().await {
                let (flight, imap, Flown { landed, epochs }) = done?;
                down.push((flight, landed?));
                // What a connection that broke did not bring is asked for on the first.
                if epochs.is_ok() {
                    lines.give_back(imap);
                }
            }
            if let (Some(number), Some(Some(epoch))) = (down[0].0.of_batch.last(), epochs?.last())
                && let Work::Messages { mailbox, .. } = &down[0].0.batches[*number].work
            {
                self.selected = Some((*mailbox, *epoch));
            }
            let mut done = Vec::new();
            for (flight, landed) in down {
                done.extend(self.gather(flight, landed, observed).await?);
            }
            self.settle_batches(done).await?;
        }
        Ok(())
    }

    /// Works out what a flight asks for, and where what comes is to be put.
    async fn prepare(
        &mut self,
        batches: Vec<Batch>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<Flight, Error> {
        let (mut errands, mut targets, mut of_batch) = (Vec::new(), Vec::new(), Vec::new());
        let mut swept = BTreeSet::new();
        for (number, batch) in batches.iter().enumerate() {
            let Work::Messages { mailbox, uid_validity, actions, .. } = &batch.work else { continue };
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
        Ok(Flight { batches, errands, targets: Arc::new(targets), of_batch })
    }

    /// What came of each action of a flight, after asking once more for what did not arrive.
    async fn gather(
        &mut self,
        flight: Flight,
        landed: Vec<Landed>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<Vec<(Batch, Vec<Outcome>)>, Error> {
        let Flight { batches, of_batch, .. } = flight;
        let mut outcomes: Vec<Vec<Outcome>> =
            batches.iter().map(|batch| vec![Outcome::Moot; batch.work.actions().len()]).collect();
        let mut missing: Vec<BTreeSet<usize>> = outcomes.iter().map(|all| (0..all.len()).collect()).collect();
        for Landed { errand, number, outcome, here, object } in landed {
            let batch = of_batch[errand];
            missing[batch].remove(&number);
            outcomes[batch][number] = outcome;
            if here.is_some() {
                let shown = self.shown.entry(batches[batch].work.actions()[number].name().clone()).or_default();
                (shown.here, shown.object) = (here, object);
            }
        }
        for (batch, (missing, outcomes)) in batches.iter().zip(missing.iter().zip(&mut outcomes)) {
            if !missing.is_empty() {
                self.fetch_missing(batch, missing, observed, outcomes).await?;
            }
        }
        Ok(batches.into_iter().zip(outcomes).collect())
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
        let flights = flights(&mut works, 3, Some(MailboxId(2)));
        assert_eq!(told(&flights), [vec![(2, vec![7]), (1, vec![4, 3, 2]), (1, vec![1])]]);
        assert_eq!(works, [work(1, &[]), work(1, &[]), work(2, &[])]);
    }

    #[test]
    fn a_flight_is_no_longer_than_its_groups() {
        let mut works = vec![work(1, &(1..=9).collect::<Vec<_>>())];
        let flights = flights(&mut works, 1, None);
        let lengths: Vec<usize> = flights.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 2, 2, 1]);
    }
}
