//! Taking back what was removed: a list for people, and the plan for those of it that were chosen.
//!
//! It looks at both sides first, as every pass does; a message that is not surely the one that was removed is left alone
//! with a reason. What came back on one side gets to the other in the rounds that follow.

use crate::mail::{BaseName, Fingerprint, Uid, UidSet, UidValidity};
use crate::maildir::Retention;
use crate::store::Store;
use crate::sync::removal::is_in_force;
use crate::sync::{
    Action, Answer, Deed, MailboxAction, MailboxId, MailboxPlan, MailboxRecord, Picture, Place, Removals,
    RemovedMessage, Source, Trace, Why, Work, find_print,
};
use crate::worker::Error;
use crate::worker::history::Recorded;
use crate::worker::mailboxes::Asked;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an undo brought back until now: what follows from that is done in its pass, and nothing else.
#[derive(Debug, Default)]
pub(super) struct BroughtBack {
    /// Messages that are back on the server.
    uids: BTreeSet<(MailboxId, Uid)>,
    /// Files that are back in the Maildir.
    names: BTreeSet<(MailboxId, BaseName)>,
}

impl BroughtBack {
    /// Takes in that a message is back: on the server if it has a UID, else here.
    pub(super) fn add(&mut self, mailbox: MailboxId, name: &BaseName, uid: Option<Uid>) {
        match uid {
            Some(uid) => drop(self.uids.insert((mailbox, uid))),
            None => drop(self.names.insert((mailbox, name.clone()))),
        }
    }

    /// Tells whether an action carries to the other side what was brought back, or taken away again. `picture` is what is
    /// remembered of the mailbox.
    fn is_about(&self, mailbox: MailboxId, action: &Action, picture: &Picture) -> bool {
        let is_ordered = |uid: &Uid| {
            picture.pair(*uid).and_then(|pair| pair.hold).is_some_and(|hold| hold.set == crate::sync::restore::BY_UNDO)
        };
        match action {
            Action::Fetch { uid, .. } | Action::MoveLocal { uid, .. } => self.uids.contains(&(mailbox, *uid)),
            Action::Append { name, .. } | Action::CopyRemote { name, .. } | Action::MoveRemote { name, .. } => {
                self.names.contains(&(mailbox, name.clone()))
            }
            Action::DeleteRemote { uid, .. } => is_ordered(uid),
            Action::DeleteLocal { uid, .. } => uid.as_ref().is_some_and(is_ordered),
            Action::SetFlags { .. } | Action::Restore { .. } | Action::Withdraw { .. } => false,
        }
    }
}

/// What `undo` did.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The numbers of what was taken back.
    pub done: BTreeSet<u64>,
    /// What was not, with the reason as a clause.
    pub left: BTreeMap<u64, String>,
}

impl Pass<'_> {
    /// In an undo: leaves in a plan only what follows from it. Everything else waits for the next pass, and no checkpoint
    /// passes it.
    pub(super) fn keep_to_the_undo(&self, plan: &mut MailboxPlan) {
        let Some(back) = &self.brought_back else { return };
        let nothing = Picture::new();
        let picture = self.pictures.get(&plan.mailbox).unwrap_or(&nothing);
        plan.actions.retain(|action| back.is_about(plan.mailbox, action, picture));
        plan.notes.clear();
    }

    /// Takes back what has these numbers, in a pass of its own over the mailboxes concerned.
    pub(super) async fn take_back(&mut self, numbers: &BTreeSet<u64>) -> Result<(), Error> {
        self.brought_back = Some(BroughtBack::default());
        self.face_history().await?;
        self.found_root().await?;
        self.resume_mailboxes().await?;
        let mut mirrored = self.judge_mailboxes(Asked::Nothing).await?;
        let chosen = self.chosen(numbers).await?;
        let places = self.places(&chosen, &mut mirrored).await?;
        let mut concerned: BTreeSet<MailboxId> = places.values().copied().collect();
        concerned.extend(chosen.iter().filter_map(|one| trash_of(&one.message)));
        concerned.retain(|id| mirrored.contains(id));
        let mut observed = self.observe(&concerned).await?;
        if !self.batches.is_empty() {
            self.recover(&mut observed).await?;
        }
        self.adopt(&mut observed).await?;
        // What the recovery found to be done is not done again.
        let chosen: Vec<Recorded> = chosen.into_iter().filter(|one| !self.restored.contains(&one.number)).collect();
        let found = self.find_in_trash(&chosen, &observed).await?;
        let bodies = self.bodies().await?;
        let mut plans: BTreeMap<MailboxId, Vec<Action>> = BTreeMap::new();
        for one in &chosen {
            let place = places.get(&one.mailbox);
            let Some((place, seen)) = place.and_then(|place| Some((*place, observed.get(place)?))) else {
                let name = self.records.get(&one.mailbox).map_or(&one.name, |record| &record.name);
                let reason =
                    format!("{name} is not mirrored now, so nothing can be brought back to it; try `mailtwin sync`");
                self.not_restored.insert(one.number, reason);
                continue;
            };
            match self.action(one, place, seen, &found, &bodies) {
                Ok(action) => plans.entry(place).or_default().push(action),
                Err(reason) => drop(self.not_restored.insert(one.number, reason.to_owned())),
            }
        }
        for (mailbox, actions) in plans {
            let Some(seen) = observed.get(&mailbox) else { continue };
            let uid_validity = seen.reached.uid_validity;
            for group in actions.chunks(self.job.group.max(1)) {
                // The batches before may have added to it.
                let first = self.ask_uid_next(mailbox).await?.filter(|(epoch, _)| *epoch == uid_validity);
                let from = BTreeMap::from([(mailbox, first.unwrap_or((uid_validity, seen.uid_next())))]);
                let work = Work::Messages { mailbox, uid_validity, actions: group.to_vec(), from };
                self.batches(vec![work], &observed).await?;
            }
        }
        self.statuses.clear();
        self.rounds(concerned, true).await?;
        for one in &chosen {
            if !self.restored.contains(&one.number) {
                let reason = "it was not seen to come back; run `mailtwin sync`, then look at `mailtwin undo` again";
                self.not_restored.entry(one.number).or_insert_with(|| reason.to_owned());
            }
        }
        Ok(())
    }

    /// The mailboxes to which messages come back, by those that they left: the same, or, where that is gone, the one that has
    /// its name now. One that is gone from everywhere is made again on both sides.
    async fn places(
        &mut self,
        chosen: &[Recorded],
        mirrored: &mut BTreeSet<MailboxId>,
    ) -> Result<BTreeMap<MailboxId, MailboxId>, Error> {
        let (mut places, mut made) = (BTreeMap::new(), BTreeMap::new());
        for Recorded { mailbox, name, .. } in chosen {
            let named = |record: &&MailboxRecord| record.name == *name && record.path.is_some();
            let is_known = self.records.contains_key(mailbox);
            let now = if is_known { Some(*mailbox) } else { self.records.values().find(named).map(|record| record.id) };
            if let Some(now) = now {
                places.insert(*mailbox, now);
            } else if self.job.policy.writes_there()
                && let Some(path) = self.place_of(name)
            {
                let number = self.number(name);
                let action = made.entry(name.clone()).or_insert_with(|| MailboxAction::CreateRemote {
                    mailbox: number,
                    name: name.clone(),
                    path: Some(path),
                });
                places.insert(*mailbox, action.mailbox());
            }
        }
        mirrored.extend(self.make_mailboxes(made.into_values().collect()).await?);
        Ok(places)
    }

    /// What has these numbers; a number that is none is told.
    async fn chosen(&mut self, numbers: &BTreeSet<u64>) -> Result<Vec<Recorded>, Error> {
        let store = self.store.clone();
        let all = blocking(move || recorded(&store)).await?;
        let chosen: Vec<Recorded> = all.into_iter().filter(|one| numbers.contains(&one.number)).collect();
        for number in numbers {
            if !chosen.iter().any(|one| one.number == *number) {
                self.not_restored.insert(*number, "there is no such number any more".to_owned());
            }
        }
        Ok(chosen)
    }

    /// The bodies in the retention area.
    async fn bodies(&self) -> Result<Vec<crate::maildir::Kept>, Error> {
        let (state_dir, account) = (self.job.state_dir.clone(), self.job.account.clone());
        blocking(move || match Retention::open_existing(&state_dir, &account)? {
            Some(retention) => Ok(retention.list()?),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// What is to be done to take one thing back, or why it cannot be.
    fn action(
        &mut self,
        one: &Recorded,
        place: MailboxId,
        seen: &Observed,
        found: &BTreeMap<u64, (MailboxId, UidValidity, Uid)>,
        bodies: &[crate::maildir::Kept],
    ) -> Result<Action, &'static str> {
        let Recorded { number, mailbox, uid_validity, deed, message, .. } = one;
        let RemovedMessage { name, flags, print, place: lies, undone, .. } = message;
        if *undone {
            return Err("it was taken back already");
        }
        let Some(record) = self.records.get(&place).cloned() else { return Err("its mailbox could not be made again") };
        let picture = self.pictures.entry(place).or_default();
        if *deed == Deed::Restored {
            let is_kept = picture.local(name).is_some_and(|lone| lone.why == Why::Kept);
            return match picture.partner(name) {
                _ if seen.local.get(name).is_none() => Err("it is not here any more as it was brought back"),
                None if !is_kept => Err("it is not on both sides any more as it was brought back"),
                uid => Ok(Action::Withdraw { uid, name: name.clone(), number: *number }),
            };
        }
        if place == *mailbox && record.uid_validity == Some(*uid_validity) && !is_in_force(picture, *deed, message) {
            return Err("it is still on the server, for its removal came to no end");
        }
        if seen.local.get(name).is_some() {
            return Err("it is there already");
        }
        let from = match lies {
            Place::Retention if bodies.iter().any(|kept| kept.is_of(mailbox.0, name)) => {
                Source::Retention { mailbox: *mailbox }
            }
            Place::Retention => return Err("the body that was kept of it is not there any more"),
            Place::Trash { .. } if !self.job.policy.writes_there() => return Err(NOT_FROM_THERE),
            Place::Trash { .. } => match found.get(number) {
                Some((mailbox, uid_validity, uid)) => {
                    Source::Trash { mailbox: *mailbox, uid_validity: *uid_validity, uid: *uid }
                }
                None => return Err("it is not in the Trash of the server any more"),
            },
            Place::Nowhere => return Err("nothing was kept of it: it was expunged from the Trash or Junk"),
            Place::Mailbox => return Err("it is in its mailbox"),
        };
        let stays =
            matches!(from, Source::Retention { .. }) && self.rules(&record, seen).policy.push.new != Answer::Allow;
        Ok(Action::Restore { name: name.clone(), flags: flags.clone(), print: *print, from, stays, number: *number })
    }

    /// Looks for messages in the Trash: first where the server said that they went, then among all that came there since.
    /// What does not look like the message is not taken for it, whatever its UID.
    async fn find_in_trash(
        &mut self,
        chosen: &[Recorded],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeMap<u64, (MailboxId, UidValidity, Uid)>, Error> {
        let mut by_trash: BTreeMap<(MailboxId, UidValidity), Vec<Sought>> = BTreeMap::new();
        for Recorded { number, message, .. } in chosen.iter().filter(|one| !one.message.undone) {
            if let (Place::Trash { mailbox, uid_validity, from, uid }, Some(print)) = (message.place, message.print) {
                let sought = Sought { number: *number, print, from, told: uid };
                by_trash.entry((mailbox, uid_validity)).or_default().push(sought);
            }
        }
        let mut found = BTreeMap::new();
        for ((trash, epoch), mut sought) in by_trash {
            if !self.open(trash, epoch).await? {
                continue;
            }
            for told in [true, false] {
                sought.retain(|one| !found.contains_key(&one.number));
                let asked: UidSet = match (told, observed.get(&trash)) {
                    (true, _) => sought.iter().filter_map(|one| one.told).collect(),
                    (false, seen) => {
                        let Some(first) = sought.iter().map(|one| one.from).min() else { break };
                        match seen {
                            Some(seen) => seen.remote.messages().range(first..).map(|(uid, _)| *uid).collect(),
                            None => self.imap.search(&UidSet::range(first, Uid::MAX)).await?,
                        }
                    }
                };
                if asked.is_empty() {
                    continue;
                }
                let traces: BTreeMap<Uid, Trace> = self.looks_of(&asked).await?;
                let wanted: Vec<(u64, Fingerprint, Uid)> = sought
                    .iter()
                    .map(|one| (one.number, one.print, one.told.filter(|_| told).unwrap_or(one.from)))
                    .collect();
                let taken: BTreeSet<Uid> = found.values().map(|(_, _, uid)| *uid).collect();
                let fits = find_print(&wanted, &traces, &taken);
                found.extend(fits.into_iter().map(|(number, uid)| (number, (trash, epoch, uid))));
            }
        }
        Ok(found)
    }
}

/// Why a message stays in the Trash of the server where nothing is changed there.
pub(super) const NOT_FROM_THERE: &str =
    "it lies in the Trash of the server, and nothing is changed there in this mode: move it back with another program";

/// A message that is looked for in the Trash.
struct Sought {
    number: u64,
    print: Fingerprint,
    from: Uid,
    told: Option<Uid>,
}

fn trash_of(message: &RemovedMessage) -> Option<MailboxId> {
    match message.place {
        Place::Trash { mailbox, .. } => Some(mailbox),
        Place::Retention | Place::Nowhere | Place::Mailbox => None,
    }
}

/// Everything that is recorded, message by message, oldest first. Blocking.
pub(super) fn recorded(store: &Store) -> Result<Vec<Recorded>, Error> {
    let one = |(first, removals): (u64, Removals)| {
        let Removals { mailbox, name, uid_validity, deed, messages, .. } = removals;
        let numbered = messages.into_iter().zip(first..);
        numbered.map(move |(message, number)| Recorded {
            number,
            mailbox,
            name: name.clone(),
            uid_validity,
            deed,
            message,
        })
    };
    Ok(store.removals()?.into_iter().flat_map(one).collect())
}
