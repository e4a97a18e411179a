//! Mailboxes at rest: neither side has changed since a look after which nothing was left to do, so neither is looked at again.
//!
//! What they looked like is a small file beside the database. It is a cache: losing it costs a look at every mailbox, and
//! nothing is concluded from it but that there is no need to look. It is believed only of the very picture that it was written
//! for, by the seal that the database has of it, and only while the numbers of the server and the times of the directories
//! are the same. The weekly listing comes all the same.

use crate::maildir::{Folder, FolderMarker, FolderTimes, LocalPath};
use crate::remote::imap::Tier;
use crate::store::Seal;
use crate::sync::{Checkpoint, Glance, MailboxId, MailboxRecord, Picture};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking, is_audit_due, now, touches};
use crate::worker::{Error, History, Job, Mode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const FILE: &str = "rest";
const DRAFT: &str = "rest.new";
/// More than any account has of it.
const MAX_SIZE: u64 = 64 << 20;

/// What is in the file.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Rests {
    /// What of the configuration has a say in what is to be done; with another one every mailbox is looked at.
    rules: String,
    mailboxes: BTreeMap<MailboxId, Rest>,
}

/// What a mailbox looked like when nothing was left to do in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Rest {
    seal: Seal,
    pub checkpoint: Checkpoint,
    times: FolderTimes,
}

impl Pass<'_> {
    /// Which of these mailboxes need not be looked at.
    pub(super) async fn resting(&mut self, asked: &BTreeSet<MailboxId>) -> Result<BTreeSet<MailboxId>, Error> {
        let (state, rules) = (self.job.state(), rules(self.job));
        let known = blocking(move || Ok(load::<Rests>(&state).filter(|rests| rests.rules == rules))).await?;
        self.rests = known.map(|rests| rests.mailboxes).unwrap_or_default();
        let Some(root) = self.root.clone().filter(|_| self.history == History::Fits && !self.lists_all) else {
            return Ok(BTreeSet::new());
        };
        let mut quiet = Vec::new();
        for (id, rest) in &self.rests {
            let Some(record) = self.records.get(id).filter(|_| asked.contains(id)) else { continue };
            if self.is_quiet_there(record, rest) && self.store.seal(*id)? == rest.seal {
                let path = record.path.as_deref().and_then(LocalPath::new);
                let marker = FolderMarker { id: id.0, name: record.name.clone(), state: self.owner.state };
                quiet.extend(path.map(|path| (*id, rest.times, path, marker)));
            }
        }
        blocking(move || {
            // A folder that cannot be used is looked at, which tells why.
            let is_quiet_here = |times: &FolderTimes, path: &LocalPath, marker: &FolderMarker| {
                let folder = Folder::open(&root, path).ok()?;
                folder.check(marker).ok()?;
                folder.unchanged_since(times).ok().filter(|unchanged| *unchanged)
            };
            let still = quiet.iter().filter(|(_, times, path, marker)| is_quiet_here(times, path, marker).is_some());
            Ok(still.map(|(id, ..)| *id).collect())
        })
        .await
    }

    /// Tells whether the server has told nothing new of a mailbox, and nothing else wants it to be looked at.
    fn is_quiet_there(&self, record: &MailboxRecord, rest: &Rest) -> bool {
        let by_numbers = self.imap.tier() == Tier::C && self.glance(record) == Glance::Numbers;
        let told = self.statuses.get(&record.name).and_then(|status| {
            Some(Checkpoint {
                uid_validity: status.uid_validity?,
                highest_mod_seq: if by_numbers { None } else { Some(status.highest_mod_seq?) },
                uid_next: Some(status.uid_next?),
                messages: status.messages?,
            })
        });
        told == Some(rest.checkpoint)
            && record.checkpoint == told
            && record.adopting.is_none()
            && !is_audit_due(record, now())
            && !self.emptying.contains(&record.id)
            && !self.batches.iter().any(|batch| touches(batch, record.id))
    }

    /// Notes what a mailbox looks like in which nothing is left to do.
    pub(super) fn note_rest(&mut self, id: MailboxId, seen: &Observed) -> Result<(), Error> {
        let is_plain = self.pictures.get(&id).is_some_and(Picture::is_plain);
        match seen.scan.as_ref().filter(|scan| is_plain && scan.duplicates.is_empty() && scan.atomic) {
            Some(scan) if !self.unlettered.contains(&id) => {
                let rest = Rest { seal: self.store.seal(id)?, checkpoint: seen.reached, times: scan.times };
                self.rests.insert(id, rest);
            }
            _ => drop(self.rests.remove(&id)),
        }
        Ok(())
    }

    /// Writes down which mailboxes are at rest, if that is news. What cannot be written is no matter.
    pub(super) async fn keep_rests(&mut self) -> Result<(), Error> {
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        let (state, rules) = (self.job.state(), rules(self.job));
        self.rests.retain(|id, _| self.records.contains_key(id));
        let rests = Rests { rules, mailboxes: self.rests.clone() };
        blocking(move || {
            if load(&state).as_ref() != Some(&rests)
                && let Err(error) = save(&state, &rests)
            {
                tracing::debug!("what the mailboxes look like could not be written: {error}.");
            }
            Ok(())
        })
        .await
    }
}

fn rules(job: &Job) -> String {
    format!("{:?} {:?} {:?} {:?}", job.policy, job.limits, job.keywords, job.endpoint.disabled_extensions)
}

/// Reads what was at rest; none if there is nothing that can be read.
pub(super) fn load<T: DeserializeOwned>(state: &Path) -> Option<T> {
    let path = state.join(FILE);
    let size = fs::metadata(&path).ok()?.len();
    if size > MAX_SIZE {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes down what is at rest.
pub(super) fn save(state: &Path, rests: &impl Serialize) -> io::Result<()> {
    let draft = state.join(DRAFT);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(rests).map_err(io::Error::other)?)?;
    fs::rename(draft, state.join(FILE))
}
