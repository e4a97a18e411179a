//! Messages leave the drop: marked after a last look at each, gone when the server said goodbye, and no moment sooner.

use super::DropPass;
use super::meet::Met;
use crate::mail::{Uid, escape};
use crate::remote::pop3::{Message, Number, Spared};
use crate::store::Settlement;
use crate::sync::maildrop::{Caution, Entry, Name, Turn};
use crate::sync::{Action, Change, Lone, Outcome, Why, Work, settle};
use crate::worker::{Error, Event};
use std::collections::{BTreeMap, BTreeSet};

impl DropPass<'_> {
    /// Removes what the rules say, and what is `gone` here, and ends the session; tells of how many it was asked.
    pub(super) async fn clear_out(
        &mut self,
        met: &Met,
        just: &BTreeSet<Uid>,
        gone: Vec<Action>,
    ) -> Result<usize, Error> {
        let mut actions = self.due(met, just, gone);
        if let Some(caution) = met.cautions.first() {
            if !actions.is_empty() && *caution != Caution::DoesNotAddUp {
                let reason =
                    format!("{} messages are not removed from the server in this run: {caution}", actions.len());
                self.leave_out(escape(self.shown()), reason, true);
            }
            actions.clear();
        }
        let (Some(session), Some(id)) = (self.session.take(), self.record.as_ref().map(|record| record.id)) else {
            return Ok(0);
        };
        let listed = |action: &Action| match action {
            Action::DeleteRemote { uid, .. } => Some((*uid, session.messages.get(uid)?.clone())),
            _ => None,
        };
        actions.retain(|action| listed(action).is_some());
        let messages: Vec<(Uid, Message)> = actions.iter().filter_map(listed).collect();
        if messages.is_empty() {
            // Nothing depends on the answer.
            let _ = session.transaction.quit().await;
            return Ok(0);
        }
        let work = |part: &[Action]| Work::Messages {
            mailbox: id,
            uid_validity: super::epoch(),
            actions: part.to_vec(),
            from: BTreeMap::new(),
        };
        let batches = self.begin(actions.chunks(self.job.group.max(1)).map(work).collect()).await?;
        let wanted: Vec<Message> = messages.iter().map(|(_, message)| message.clone()).collect();
        // After an error nobody knows what is gone: the batches stay open, and the next listing tells.
        let marked = session.transaction.delete(&wanted).await?;
        let spared = marked.spared().clone();
        let gone: BTreeSet<Number> = marked.commit().await?.iter().map(|message| message.number).collect();
        let now = self.now();
        let (mut changes, mut entries) = (Vec::new(), Vec::new());
        for ((uid, message), action) in messages.iter().zip(&actions) {
            if gone.contains(&message.number) {
                let (forgotten, turn) = self.after_removal(*uid, now);
                changes.extend(forgotten);
                entries.extend(turn);
                self.report.removed_there += 1;
            } else {
                let outcome = spared.get(&message.number).map_or(Outcome::Moot, outcome);
                self.report.quarantined += u64::from(matches!(outcome, Outcome::Failed(_)));
                changes.extend(settle(&self.picture, action, &outcome, now));
            }
        }
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        entries.iter().for_each(|turn| self.ledger.apply(turn.clone()));
        self.batches.retain(|open| !batches.iter().any(|batch| batch.id == open.id));
        let closed = batches.iter().map(|batch| batch.id).collect();
        let (changes, entries) = (vec![(id, changes)], vec![(id, entries)]);
        self.settle(Settlement { closed, changes, entries, ..Settlement::default() }).await?;
        let _ = self.events.send(Event::Done { messages: messages.len(), octets: 0 });
        Ok(messages.len())
    }

    /// What is remembered of a message that is gone from the drop: that it was here, should it ever be listed again. Its
    /// file stays.
    pub(super) fn after_removal(&self, uid: Uid, now: u64) -> (Vec<Change>, Option<Turn>) {
        let mut changes = vec![Change::Uid(uid, None)];
        if let Some(pair) = self.picture.pair(uid) {
            let kept = Lone { flags: pair.agreed.clone(), why: Why::Kept };
            changes.push(Change::Local(pair.name.clone(), Some(kept)));
        }
        let entry = self.ledger.get(uid).cloned();
        let turn = entry.map(|entry| match entry.name {
            // Another one that looks so is another one.
            Name::Alike(..) => (uid, None),
            Name::Unique(_) => (uid, Some(Entry { vanished: Some(now), ..entry })),
        });
        (changes, turn)
    }
}

fn outcome(spared: &Spared) -> Outcome {
    match spared {
        Spared::Another => Outcome::Failed("the server does not give it the unique-id that it was listed with".into()),
        Spared::Refused(refusal) => Outcome::Failed(format!("the server refuses to delete it: {refusal}")),
        // It may be any: that was known before, and the next session judges anew.
        Spared::Unidentified => Outcome::Moot,
    }
}
