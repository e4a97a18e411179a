//! Stubs of a drop: of a message that is larger than `max-size` the header is here, until the whole is wanted.

use super::DropPass;
use super::fetch::{Asked, arrival, is_of_stub, publish_all};
use super::here::Here;
use crate::mail::{BaseName, stub};
use crate::maildir::{Delivery, Error as MaildirError, Folder, Removal, Removed, Retention, remove};
use crate::remote::pop3::{Message, Top};
use crate::store::Settlement;
use crate::sync::{Action, Outcome, Why, Work, settle};
use crate::worker::fetch::draft_names;
use crate::worker::pass::blocking;
use crate::worker::{Error, Event};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Headers that are asked for at once; they are held in memory.
const WINDOW: usize = 50;

impl DropPass<'_> {
    /// Carries out those fetches of a batch whose planned name is that of a stub.
    pub(super) async fn fetch_stubs(
        &mut self,
        actions: &[Action],
        folder: &Folder,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let numbers: Vec<usize> =
            actions.iter().enumerate().filter(|(_, action)| is_of_stub(action)).map(|(number, _)| number).collect();
        for window in numbers.chunks(WINDOW) {
            let asked = self.asked(actions, window);
            let Some(session) = &mut self.session else { return Ok(()) };
            let messages: Vec<Message> = asked.iter().map(|asked| asked.message.clone()).collect();
            let mut tops = session.transaction.top(&messages, 0).await?;
            let mut stubs = Vec::new();
            for asked in asked {
                match tops.remove(&asked.message.number) {
                    Some(Top::Text(header)) => {
                        let text = stub::text(&header, asked.name.stub_octets().unwrap_or(u64::MAX));
                        stubs.push((asked, text));
                    }
                    Some(Top::TooLong) => {
                        outcomes[asked.number] = Outcome::Failed("its header is longer than any header is".to_owned());
                    }
                    Some(Top::Refused(refusal)) => {
                        let reason = format!("the server does not show its header: {refusal}");
                        outcomes[asked.number] = Outcome::Failed(reason);
                    }
                    // Nobody knows; the next pass decides.
                    None => {}
                }
            }
            let (messages, octets) = (stubs.len(), stubs.iter().map(|(_, text)| text.len() as u64).sum());
            let into = folder.clone();
            let written = blocking(move || write(&into, stubs)).await?;
            written.into_iter().for_each(|(number, outcome)| outcomes[number] = outcome);
            let _ = self.events.send(Event::Done { messages, octets });
        }
        Ok(())
    }

    /// Takes away the stubs whose messages have come as a whole.
    pub(super) async fn clear_stubs(&mut self, here: &Here) -> Result<(), Error> {
        let (Some(folder), Some(scan), Some(id)) =
            (here.folder.clone(), &here.scan, self.record.as_ref().map(|record| record.id))
        else {
            return Ok(());
        };
        let is_over = |name: &BaseName| self.picture.local(name).is_some_and(|lone| lone.why == Why::Superseded);
        let removals: Vec<Removal> = scan
            .files
            .iter()
            .filter(|(name, _)| name.is_stub() && is_over(name))
            .map(|(name, known)| Removal { base: name.clone(), known: known.clone() })
            .collect();
        if removals.is_empty() {
            return Ok(());
        }
        let deletion = |r: &Removal| Action::DeleteLocal { uid: None, name: r.base.clone(), inferred: false };
        let actions: Vec<Action> = removals.iter().map(deletion).collect();
        let work = Work::Messages {
            mailbox: id,
            uid_validity: super::epoch(),
            actions: actions.clone(),
            from: BTreeMap::new(),
        };
        let batches = self.begin(vec![work]).await?;
        let (state_dir, account) = (self.job.state_dir.clone(), self.job.account.clone());
        let removed = blocking(move || {
            let retention = Retention::open(&state_dir, &account)?;
            let removed = remove(&folder, &removals, &retention, id.0, SystemTime::now());
            folder.sync()?;
            Ok(removed)
        });
        let now = self.now();
        let mut changes = Vec::new();
        for (action, removed) in actions.iter().zip(removed.await?) {
            let outcome = match removed {
                Ok(Removed::Done | Removed::Gone) => Outcome::Removed,
                Err(MaildirError::Exists { .. }) => Outcome::Moot,
                Err(error) => return Err(error.into()),
            };
            changes.extend(settle(&self.picture, action, &outcome, now));
        }
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        self.batches.retain(|open| !batches.iter().any(|batch| batch.id == open.id));
        let closed = batches.iter().map(|batch| batch.id).collect();
        self.settle(Settlement { closed, changes: vec![(id, changes)], ..Settlement::default() }).await
    }
}

/// Writes stubs, and shows them.
fn write(folder: &Folder, stubs: Vec<(Asked, Vec<u8>)>) -> Result<Vec<(usize, Outcome)>, Error> {
    let mut names = draft_names();
    let (mut numbers, mut arrivals) = (Vec::new(), Vec::new());
    for (asked, text) in stubs {
        let mut draft = Delivery::begin(folder, &names.next())?;
        draft.write(&text)?;
        numbers.push(asked.number);
        arrivals.push(arrival(folder, &asked, draft.finish(SystemTime::now())?));
    }
    Ok(numbers.into_iter().zip(publish_all(folder, arrivals)?).collect())
}
