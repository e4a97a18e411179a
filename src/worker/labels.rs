//! Messages with several labels (Gmail): their bodies are fetched once, and a deletion takes no more than it means.

use crate::mail::{BaseName, Fingerprint, ObjectId, SpecialUse, UidSet};
use crate::maildir::{Error as MaildirError, Folder, link_message, place};
use crate::sync::{Action, MailboxId, Outcome};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::pass::{Pass, blocking};
use std::collections::BTreeMap;

/// A message that this pass fetched and that other mailboxes show as well.
pub(super) struct Fetched {
    folder: Folder,
    name: BaseName,
    print: Fingerprint,
}

impl Pass<'_> {
    /// Makes hard links of what this pass has fetched for another label; returns the numbers of what is left to be
    /// fetched and may be asked for by another label, with Gmail's number of the message.
    pub(super) async fn link_labels(
        &mut self,
        mailbox: MailboxId,
        folder: &Folder,
        role: Option<SpecialUse>,
        actions: &mut Vec<Numbered<'_>>,
        outcomes: &mut [Outcome],
    ) -> Result<BTreeMap<usize, u64>, Error> {
        if !self.quirks.labels || actions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked: UidSet = actions.iter().filter_map(|(_, action)| action.fetches()).collect();
        let labels = self.imap.labels(&asked).await?;
        let (mut left, mut shared) = (Vec::new(), BTreeMap::new());
        for (number, action) in actions.drain(..) {
            let Action::Fetch { uid, name, flags } = action else { continue };
            let told = labels.get(uid);
            let message = told.and_then(|told| told.message);
            if let Some(fetched) = message.and_then(|message| self.fetched.get(&message)) {
                let print = fetched.print;
                let (from, base) = (fetched.folder.clone(), fetched.name.clone());
                self.learn(mailbox, folder, flags.clone()).await?;
                let (to, base_here, flags) = (folder.clone(), name.clone(), flags.clone());
                let subdir = place(&folder.letters(), &flags, role);
                let made = blocking(move || Ok(link_message(&from, &base, &to, &base_here, &flags, subdir))).await?;
                match made {
                    Ok(Some(here)) => {
                        let shown = self.shown.entry(name.clone()).or_default();
                        shown.here = Some(here);
                        shown.object = message.and_then(|number| ObjectId::new(&number.to_string()));
                        outcomes[number] = Outcome::Fetched(print);
                        continue;
                    }
                    // The file is gone, or on another file system: it is fetched like any other.
                    Ok(None) => {}
                    // Somebody took the name, and the next plan has another.
                    Err(MaildirError::Exists { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(message) = message.filter(|_| told.is_some_and(|told| !told.labels.is_empty())) {
                shared.insert(number, message);
            }
            left.push((number, action));
        }
        *actions = left;
        Ok(shared)
    }

    /// Remembers for the rest of the pass what was fetched and has other labels.
    pub(super) fn remember_labels(
        &mut self,
        folder: &Folder,
        actions: &[Numbered<'_>],
        shared: &BTreeMap<usize, u64>,
        outcomes: &[Outcome],
    ) {
        for (number, action) in actions {
            if let (Action::Fetch { name, .. }, Outcome::Fetched(print), Some(message)) =
                (action, &outcomes[*number], shared.get(number))
            {
                let fetched = Fetched { folder: folder.clone(), name: name.clone(), print: *print };
                self.fetched.insert(*message, fetched);
            }
        }
    }

    /// Those of `uids` that other mailboxes show as well: from here only their label is to be taken.
    pub(super) async fn live_on(&mut self, mailbox: MailboxId, uids: &UidSet) -> Result<UidSet, Error> {
        if !self.quirks.labels {
            return Ok(UidSet::new());
        }
        let name = self.records.get(&mailbox).map(|record| record.name.as_wire().to_owned()).unwrap_or_default();
        let labels = self.imap.labels(uids).await?;
        Ok(labels.into_iter().filter(|(_, labels)| labels.live_on(&name)).map(|(uid, _)| uid).collect())
    }
}
