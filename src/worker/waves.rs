//! A plan is carried out in waves: over all mailboxes, everything is added before anything is removed.

use crate::mail::{Fingerprint, Uid, UidValidity};
use crate::maildir::print_of;
use crate::sync::{Action, MailboxId, MailboxPlan, Phase, Route, Why, Work, spare, waves};
use crate::worker::Error;
use crate::worker::execute::own_fault;
use crate::worker::flight::{GROUPS, flights};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, BTreeSet};

/// So many batches are begun and settled together at most, each of another mailbox.
const BATCHES: usize = 32;
/// So many messages are worth the round trip that compression costs.
const MANY: usize = 100;

impl Pass<'_> {
    /// Does what is planned, wave by wave; tells which mailboxes were added to besides those of the plans.
    pub(super) async fn execute(
        &mut self,
        mut plans: Vec<MailboxPlan>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeSet<MailboxId>, Error> {
        if plans.iter().flat_map(|p| &p.actions).any(|a| self.needs_trash(a)) {
            let actions = std::mem::take(&mut self.reserved);
            self.make_mailboxes(actions).await?;
            let known = &self.records;
            for plan in &mut plans {
                // Without a Trash nothing is deleted on the server; the reason was told when making it failed.
                plan.actions.retain(|action| match action {
                    Action::DeleteRemote { route: Route::Trash(id), .. } => known.contains_key(id),
                    _ => true,
                });
            }
        }
        if plans.iter().flat_map(|p| &p.actions).filter(|action| has_body(action)).count() >= MANY {
            self.imap.compress().await?;
        }
        let next = self.next_uids(&plans, observed).await?;
        let mut failed = self.stranded(&plans, observed).await?;
        let mut touched = BTreeSet::new();
        for (phase, mut works) in waves(plans, &next, self.job.group) {
            // Where messages have labels, what is fetched for one of them is looked for before the next is asked for.
            if phase == Phase::Add && !self.quirks.labels {
                let inbox = self.records.values().find(|record| record.name.is_inbox()).map(|record| record.id);
                let flights = flights(&mut works, self.job.group, inbox);
                self.fetch_flights(flights, observed).await?;
            }
            for together in groups(works, GROUPS * self.job.group.max(1), |work| self.is_by_itself(work)) {
                let mut ready = Vec::new();
                for work in together {
                    let Work::Messages { mailbox, uid_validity, mut actions, from } = work else { continue };
                    if phase == Phase::Remove {
                        spare(&mut actions, self.pictures.entry(mailbox).or_default(), &failed);
                    }
                    touched.extend(from.keys().copied());
                    touched.extend(actions.iter().filter_map(|action| action.origin().map(|origin| origin.mailbox)));
                    if let Some(seen) = observed.get(&mailbox) {
                        self.meet_newcomers(mailbox, &mut actions, seen).await?;
                    }
                    if !actions.is_empty() {
                        ready.push(Work::Messages { mailbox, uid_validity, actions, from });
                    }
                }
                failed.extend(self.batches(ready, observed).await?);
            }
        }
        Ok(touched)
    }

    /// Whether a batch is begun and settled without others: where another device may be uploading the same, as little time as
    /// may be lies between the look at what came and the upload.
    fn is_by_itself(&self, work: &Work) -> bool {
        match work {
            Work::Messages { mailbox, actions, .. } => self.may_meet_newcomers(*mailbox, actions),
            Work::Mailboxes(_) => true,
        }
    }

    /// The looks of what is here and cannot be uploaded for now: while that lasts, what looks the same is not removed from
    /// the server, for it may be the place from which a file was moved here.
    async fn stranded(
        &mut self,
        plans: &[MailboxPlan],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeSet<Fingerprint>, Error> {
        let mut looks = BTreeSet::new();
        if !plans.iter().flat_map(|p| &p.actions).any(|a| matches!(a, Action::DeleteRemote { .. })) {
            return Ok(looks);
        }
        for (id, seen) in observed {
            let (Some(folder), Some(scan)) = (&seen.folder, &seen.scan) else { continue };
            let picture = self.pictures.entry(*id).or_default();
            let failed = picture.lone_local().filter(|(_, lone)| matches!(lone.why, Why::Quarantined(_)));
            let waiting = self.held_uploads.get(id).into_iter().flatten();
            let stranded = failed.map(|(name, _)| name).chain(waiting);
            for (name, file) in stranded.filter_map(|name| Some((name.clone(), scan.files.get(name)?.clone()))) {
                let folder = folder.clone();
                let look = blocking(move || own_fault(print_of(&folder, &name, &file))).await?;
                looks.extend(look.ok().flatten());
            }
        }
        Ok(looks)
    }

    /// The epoch and UIDNEXT of every mailbox that the plans add to.
    async fn next_uids(
        &mut self,
        plans: &[MailboxPlan],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeMap<MailboxId, (UidValidity, Uid)>, Error> {
        let mut next = BTreeMap::new();
        let added_to: BTreeSet<MailboxId> =
            plans.iter().flat_map(|p| p.actions.iter().filter_map(|a| a.adds_to(p.mailbox))).collect();
        for id in added_to {
            let known = match observed.get(&id) {
                Some(seen) => Some((seen.reached.uid_validity, seen.uid_next())),
                None => self.ask_uid_next(id).await?,
            };
            if let Some(known) = known {
                next.insert(id, known);
            }
        }
        Ok(next)
    }

    pub(super) async fn ask_uid_next(&mut self, id: MailboxId) -> Result<Option<(UidValidity, Uid)>, Error> {
        let Some(record) = self.records.get(&id) else { return Ok(None) };
        let name = record.name.clone();
        let status = self.imap.status(std::slice::from_ref(&name)).await?.remove(&name);
        Ok(status.and_then(|s| Some((s.uid_validity?, s.uid_next?))))
    }
}

/// Tells whether a whole message is transferred.
fn has_body(action: &Action) -> bool {
    match action {
        Action::Fetch { name, .. } => !name.is_stub(),
        action => matches!(action, Action::Append { .. }),
    }
}

/// Puts batches together that are begun with one commit and settled with one: with at most `room` actions, unless one has
/// more, and none twice of a mailbox, so that what a batch did there is on the disk before the next begins.
fn groups(works: Vec<Work>, room: usize, is_by_itself: impl Fn(&Work) -> bool) -> Vec<Vec<Work>> {
    let mut groups: Vec<Vec<Work>> = Vec::new();
    let (mut mailboxes, mut left) = (BTreeSet::new(), 0);
    for work in works {
        let Work::Messages { mailbox, actions, .. } = &work else { continue };
        let alone = is_by_itself(&work);
        let fits = !alone && actions.len() <= left && mailboxes.len() < BATCHES && !mailboxes.contains(mailbox);
        if !fits {
            groups.push(Vec::new());
            mailboxes.clear();
            left = if alone { 0 } else { room };
        }
        left = left.saturating_sub(actions.len());
        mailboxes.insert(*mailbox);
        groups.last_mut().expect("one was begun").push(work);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{BaseName, Flags};

    fn work(mailbox: u32, actions: usize) -> Work {
        let name = BaseName::new(b"1.x").expect("a name");
        let action = Action::Append { name, flags: Flags::new(), print: None };
        let uid_validity = UidValidity::new(1).expect("not zero");
        let actions = vec![action; actions];
        Work::Messages { mailbox: MailboxId(mailbox), uid_validity, actions, from: BTreeMap::new() }
    }

    fn told(works: &[(u32, usize)], room: usize, alone: u32) -> Vec<Vec<(u32, usize)>> {
        let of = |work: &Work| match work {
            Work::Messages { mailbox, actions, .. } => (mailbox.0, actions.len()),
            Work::Mailboxes(_) => panic!("no messages"),
        };
        let works = works.iter().map(|(mailbox, actions)| work(*mailbox, *actions)).collect();
        let groups = groups(works, room, |work| of(work).0 == alone);
        groups.iter().map(|group| group.iter().map(of).collect()).collect()
    }

    #[test]
    fn batches_of_many_mailboxes_go_together_as_far_as_there_is_room() {
        let all = [(1, 2), (2, 1), (3, 1), (4, 4), (5, 9), (6, 1)];
        assert_eq!(told(&all, 4, 0), [vec![(1, 2), (2, 1), (3, 1)], vec![(4, 4)], vec![(5, 9)], vec![(6, 1)]]);
        let many: Vec<(u32, usize)> = (1..=70).map(|mailbox| (mailbox, 1)).collect();
        let lengths: Vec<usize> = told(&many, 2000, 0).iter().map(Vec::len).collect();
        assert_eq!(lengths, [BATCHES, BATCHES, 6]);
    }

    #[test]
    fn a_mailbox_is_once_in_a_group() {
        let all = [(1, 2), (1, 1), (2, 2), (2, 1), (3, 1)];
        assert_eq!(told(&all, 2000, 0), [vec![(1, 2)], vec![(1, 1), (2, 2)], vec![(2, 1), (3, 1)]]);
    }

    #[test]
    fn what_may_meet_newcomers_goes_by_itself() {
        let all = [(1, 1), (2, 1), (2, 1), (3, 1), (4, 1)];
        assert_eq!(told(&all, 2000, 2), [vec![(1, 1)], vec![(2, 1)], vec![(2, 1)], vec![(3, 1), (4, 1)]]);
    }
}
