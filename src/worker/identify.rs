//! Which mailbox of the server is which that is remembered; what is learnt of them on the way.

use crate::mail::{MailboxName, UidSet};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::Access;
use crate::store::Settlement;
use crate::sync::{Listed, MailboxId, MailboxRecord, There, fits, identify, identity_questions, is_proven};
use crate::worker::Error;
use crate::worker::map::Directories;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, BTreeSet};

impl Pass<'_> {
    /// Finds every remembered mailbox on the server, by its identifier, its name, or its UIDs.
    pub(super) async fn identify(&mut self, listed: &[Listed]) -> Result<BTreeMap<MailboxId, There>, Error> {
        let records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        let mut proven = BTreeSet::new();
        for (id, name) in identity_questions(&records, listed) {
            if self.has_uids_of(id, &name).await? {
                proven.insert((id, name));
            }
        }
        Ok(identify(&records, listed, &proven))
    }

    /// Tells whether a mailbox has the epoch and nearly all UIDs of the one that is remembered.
    async fn has_uids_of(&mut self, id: MailboxId, name: &MailboxName) -> Result<bool, Error> {
        let Some(epoch) = self.records.get(&id).and_then(|record| record.uid_validity) else { return Ok(false) };
        let store = self.store.clone();
        let picture = blocking(move || Ok(store.picture(id)?)).await?;
        let uids: UidSet = picture.remote_side().map(|(uid, _)| uid).collect();
        if uids.is_empty() {
            return Ok(false);
        }
        self.selected = None;
        match self.imap.select(name, Access::ReadOnly, None).await {
            Ok(selected) if selected.uid_validity == epoch => {}
            Ok(_) | Err(ImapError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(is_proven(uids.len(), self.imap.search(&uids).await?.len()))
    }

    /// Remembers by what the mailboxes that are in their places can be found again when they leave them.
    pub(super) async fn learn_places(
        &mut self,
        listed: &[Listed],
        directories: &Directories,
        there: &BTreeMap<MailboxId, There>,
    ) -> Result<(), Error> {
        let mut learnt = Vec::new();
        for record in self.records.values_mut().filter(|record| record.path.is_some()) {
            let before = record.clone();
            let named = listed.iter().find(|l| l.name == record.name);
            if let Some(seen) =
                named.filter(|_| record.identity.is_none() && there.get(&record.id) == Some(&There::Same))
                && fits(record, None, seen.uid_validity)
            {
                record.identity.clone_from(&seen.identity);
            }
            let marked = || directories.whole.iter().filter(|(_, directory)| directory.marker == Some(record.id));
            let is_place = |path: &String| Some(path) == record.path.as_ref();
            let moved = marked().any(|(path, directory)| !is_place(path) && record.inode == Some(directory.inode));
            let inode = marked().find(|(path, _)| is_place(path)).map(|(_, directory)| directory.inode);
            if let Some(inode) = inode.filter(|_| !moved) {
                record.inode = Some(inode);
            }
            if *record != before {
                learnt.push(record.clone());
            }
        }
        if learnt.is_empty() {
            return Ok(());
        }
        self.settle(Settlement { mailboxes: learnt, ..Settlement::default() }).await
    }
}
