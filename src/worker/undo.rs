//! Taking back what was removed: a list for people, and the plan for those of it that were chosen.
//!
//! It looks at both sides first, as every pass does; a message that is not surely the one that was removed is left alone
//! with a reason. What came back on one side gets to the other in the rounds that follow.

use crate::mail::{Fingerprint, Uid, UidSet, UidValidity};
use crate::maildir::Retention;
use crate::store::Store;
use crate::sync::removal::is_in_force;
use crate::sync::{Action, Answer, Deed, MailboxId, Place, Removals, RemovedMessage, Source, Trace, Work, find_print};
use crate::worker::Error;
use crate::worker::history::Recorded;
use crate::worker::mailboxes::Asked;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, BTreeSet};

/// What `undo` did.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The numbers of what was taken back.
    pub done: BTreeSet<u64>,
    /// What was not, with the reason as a clause.
    pub left: BTreeMap<u64, String>,
}

impl Pass<'_> {
    /// Takes back what has these numbers, in a pass of its own over the mailboxes concerned.
    pub(super) async fn take_back(&mut self, numbers: &BTreeSet<u64>) -> Result<(), Error> {
        self.face_history().await?;
        self.found_root().await?;
        self.resume_mailboxes().await?;
        let mirrored = self.judge_mailboxes(Asked::All).await?;
        let chosen = self.chosen(numbers).await?;
        let mut concerned: BTreeSet<MailboxId> = chosen.iter().map(|one| one.mailbox).collect();
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
            let Some(seen) = observed.get(&one.mailbox) else {
                let name =
                    self.records.get(&one.mailbox).map_or("its mailbox".into(), |record| record.name.to_string());
                let reason = format!("{name} is not mirrored now, so nothing can be brought back to it");
                self.not_restored.insert(one.number, reason);
                continue;
            };
            match self.action(one, seen, &found, &bodies) {
                Ok(action) => plans.entry(one.mailbox).or_default().push(action),
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
        seen: &Observed,
        found: &BTreeMap<u64, (MailboxId, UidValidity, Uid)>,
        bodies: &[crate::maildir::Kept],
    ) -> Result<Action, &'static str> {
        let Recorded { number, mailbox, uid_validity, deed, message } = one;
        let RemovedMessage { name, flags, print, place, undone, .. } = message;
        if *undone {
            return Err("it was taken back already");
        }
        let Some(record) = self.records.get(mailbox).cloned() else { return Err("its mailbox is not known any more") };
        let picture = self.pictures.entry(*mailbox).or_default();
        if *deed == Deed::Restored {
            return match (picture.partner(name), picture.local(name)) {
                (Some(uid), _) if seen.local.get(name).is_some() => {
                    Ok(Action::Withdraw { uid, name: name.clone(), number: *number })
                }
                _ => Err("it is not on both sides any more as it was brought back"),
            };
        }
        if record.uid_validity == Some(*uid_validity) && !is_in_force(picture, *deed, message) {
            return Err("it is still on the server, for its removal came to no end");
        }
        if seen.local.get(name).is_some() {
            return Err("it is there already");
        }
        let from = match place {
            Place::Retention if bodies.iter().any(|kept| kept.is_of(mailbox.0, name)) => Source::Retention,
            Place::Retention => return Err("the body that was kept of it is not there any more"),
            Place::Trash { .. } => match found.get(number) {
                Some((mailbox, uid_validity, uid)) => {
                    Source::Trash { mailbox: *mailbox, uid_validity: *uid_validity, uid: *uid }
                }
                None => return Err("it is not in the Trash of the server any more"),
            },
            Place::Nowhere => return Err("nothing was kept of it: it was expunged from the Trash or Junk"),
            Place::Mailbox => return Err("it is in its mailbox"),
        };
        let stays = from == Source::Retention && self.rules(&record, seen).policy.push.new != Answer::Allow;
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
        let Removals { mailbox, uid_validity, deed, messages, .. } = removals;
        let numbered = messages.into_iter().zip(first..);
        numbered.map(move |(message, number)| Recorded { number, mailbox, uid_validity, deed, message })
    };
    Ok(store.removals()?.into_iter().flat_map(one).collect())
}
