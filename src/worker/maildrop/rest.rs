//! A drop at rest: it is listed as it was when nothing was left to do, so nothing is read and compared for it.
//!
//! As with mailboxes it is a cache, a small file beside the database ([`rest`](crate::worker::rest)), and it is believed only of
//! the very picture that it was written for. Whatever becomes due by the passing of time ends it.

use super::DropPass;
use super::here::Here;
use super::meet::Met;
use crate::maildir::{Folder, FolderMarker, FolderTimes};
use crate::remote::pop3::Listing;
use crate::store::Seal;
use crate::sync::maildrop::Remove;
use crate::worker::pass::{Mode, blocking};
use crate::worker::rest::{load, save};
use crate::worker::{Error, History};
use serde::{Deserialize, Serialize};

/// It is looked at once a day whatever is listed, in seconds: memories of what vanished grow old.
const LONGEST: u64 = 24 * 60 * 60;

/// What a drop looked like when nothing was left to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct DropRest {
    /// What of the configuration has a say in what is to be done.
    rules: String,
    seal: Seal,
    /// The digest of what was listed.
    listing: [u8; 32],
    times: FolderTimes,
    /// Until when that is believed, in seconds since 1970.
    until: u64,
}

impl DropRest {
    /// Tells whether the same is listed.
    pub fn is_of(&self, listing: &Listing) -> bool {
        listing.adds_up() && self.listing == digest(listing)
    }
}

impl DropPass<'_> {
    /// What the drop has to look like for nothing to be left to do; none if something may be, whatever it looks like.
    pub(super) async fn at_rest(&mut self) -> Result<Option<DropRest>, Error> {
        let (Some(root), Some(record)) = (self.root.clone(), self.record.clone()) else { return Ok(None) };
        if self.history != History::Fits || !self.batches.is_empty() || record.adopting.is_some() {
            return Ok(None);
        }
        let (state, rules, now) = (self.job.state(), self.rules(), self.now());
        let (store, path, state_id) = (self.store.clone(), self.path.clone(), self.owner.state);
        blocking(move || {
            let is_believed = |rest: &DropRest| rest.rules == rules && now < rest.until;
            let Some(rest) = load::<DropRest>(&state).filter(is_believed) else { return Ok(None) };
            if store.seal(record.id)? != rest.seal {
                return Ok(None);
            }
            let marker = FolderMarker { id: record.id.0, name: record.name, state: state_id };
            let is_quiet = || {
                let folder = Folder::open(&root, &path).ok()?;
                folder.check(&marker).ok()?;
                folder.unchanged_since(&rest.times).ok().filter(|unchanged| *unchanged)
            };
            // A folder that cannot be used is looked at, which tells why.
            Ok(is_quiet().map(|_| rest))
        })
        .await
    }

    /// Notes what the drop looks like, if nothing is left to do. What cannot be written is no matter.
    pub(super) async fn note_rest(&mut self, listing: [u8; 32], here: &Here, met: &Met) -> Result<(), Error> {
        let (Some(record), Some(scan)) = (self.record.as_ref(), here.scan.as_ref()) else { return Ok(()) };
        let is_quiet = self.batches.is_empty() && self.picture.is_at_rest() && self.report.left_out.is_empty();
        let is_plain = scan.atomic && scan.duplicates.is_empty() && met.adds_up && met.cautions.is_empty();
        if self.mode == Mode::DryRun || !is_quiet || !is_plain {
            return Ok(());
        }
        let (now, remove) = (self.now(), self.wanted.remove);
        let dues = self.ledger.entries().filter_map(|(_, entry)| entry.fetched.map(|at| due(at, &remove, now)));
        let until = dues.min().unwrap_or(u64::MAX).min(now.saturating_add(LONGEST));
        let rest =
            DropRest { rules: self.rules(), seal: self.store.seal(record.id)?, listing, times: scan.times, until };
        let state = self.job.state();
        blocking(move || {
            if let Err(error) = save(&state, &rest) {
                tracing::debug!("what the drop looks like could not be written: {error}.");
            }
            Ok(())
        })
        .await
    }

    fn rules(&self) -> String {
        format!("{:?} {:?} {:?}", self.wanted, self.job.policy, self.job.limits)
    }
}

/// When a rule may next say otherwise of a message that was fetched at that time, in seconds since 1970.
fn due(fetched: u64, remove: &Remove, now: u64) -> u64 {
    let after = [remove.after, Some(remove.never_before)].into_iter().flatten();
    after.map(|age| fetched.saturating_add(age)).filter(|due| *due > now).min().unwrap_or(u64::MAX)
}

/// The digest of what is listed: the unique-ids and the sizes, in their order.
pub(super) fn digest(listing: &Listing) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for message in &listing.messages {
        let name = message.uidl.as_ref().map_or(&[][..], |uidl| uidl.as_bytes());
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(&message.size.map_or(u64::MAX, |size| size).to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_rule_to_speak_is_the_next_that_is_not_past() {
        let rules = Remove { after: Some(100), never_before: 30, ..Remove::default() };
        assert_eq!([due(0, &rules, 10), due(0, &rules, 30), due(0, &rules, 100)], [30, 100, u64::MAX]);
        assert_eq!(due(0, &Remove::default(), 0), u64::MAX);
    }
}
