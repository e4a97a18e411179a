//! After a crash: what did the batches do that were never settled?

use super::DropPass;
use super::here::Here;
use super::meet::Met;
use super::plan::deleted;
use crate::maildir::print_of;
use crate::store::Settlement;
use crate::sync::maildrop::{Entry, view};
use crate::sync::{Change, Known, LocalView, MailboxId, recover};
use crate::worker::Error;
use crate::worker::execute::own_fault;
use crate::worker::pass::blocking;
use std::collections::BTreeMap;

impl DropPass<'_> {
    /// Settles the open batches: a fetched file is there under its planned name, a removed message is not listed.
    pub(super) async fn recover(&mut self, here: &Here, met: &Met) -> Result<(), Error> {
        let Some(id) = self.record.as_ref().map(|record| record.id) else { return Ok(()) };
        let now = self.now();
        // A reader may have moved a file on before anybody remembered it.
        let others = self.elsewhere().await?.messages;
        let beside = others.iter().map(|other| (other.name.clone(), other.file.flags.clone())).collect();
        let locals = BTreeMap::from([(id, here.local.clone()), (MailboxId(u32::MAX), LocalView::of_new(beside))]);
        let remotes = BTreeMap::from([(id, view(&self.ledger, &self.picture, &met.present, now))]);
        let pictures = BTreeMap::from([(id, self.picture.clone())]);
        let recovered = recover(&self.batches, id, &pictures, &remotes, &locals, &BTreeMap::new());
        let (mut changes, mut entries) = (Vec::new(), Vec::new());
        for (_, mut change) in recovered {
            if let Change::Uid(uid, Some(Known::Pair(pair))) = &mut change {
                let place = match (&here.folder, here.scan.as_ref().and_then(|scan| scan.files.get(&pair.name))) {
                    (Some(folder), Some(file)) => Some((folder.clone(), file.clone())),
                    _ => others.iter().find(|o| o.name == pair.name).map(|o| (o.folder.clone(), o.file.clone())),
                };
                if let Some((folder, file)) = place {
                    let name = pair.name.clone();
                    let read = move || {
                        // It is visible, which is not yet to say that it outlives a power failure.
                        folder.sync()?;
                        own_fault(print_of(&folder, &name, &file))
                    };
                    pair.print = blocking(read).await?.ok().flatten();
                }
                if let Some(entry) = self.ledger.get(*uid).cloned().filter(|_| !pair.name.is_stub()) {
                    // What cannot be read is not known to have come.
                    let fetched = pair.print.map(|_| now);
                    entries.push((*uid, Some(Entry { fetched, print: pair.print, ..entry })));
                }
            }
            changes.push(change);
        }
        for uid in self.batches.iter().flat_map(|batch| batch.work.actions()).filter_map(deleted) {
            if met.adds_up && !met.present.contains(&uid) && !self.quirks.windowed {
                let (forgotten, turn) = self.after_removal(uid, now);
                changes.extend(forgotten);
                entries.extend(turn);
            }
        }
        changes.iter().for_each(|change| self.picture.apply(change.clone()));
        entries.iter().for_each(|turn| self.ledger.apply(turn.clone()));
        let closed = std::mem::take(&mut self.batches).into_iter().map(|batch| batch.id).collect();
        let (changes, entries) = (vec![(id, changes)], vec![(id, entries)]);
        self.settle(Settlement { closed, changes, entries, ..Settlement::default() }).await
    }
}
