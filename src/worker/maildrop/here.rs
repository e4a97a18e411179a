//! The Maildir of a drop: made at the first pass, looked at in each.

use super::{DropPass, epoch};
use crate::mail::{BaseName, MailboxName, escape};
use crate::maildir::{
    Error as MaildirError, Folder, FolderMarker, LocalPath, Mapping, Root, RootMarker, Scan, ScannedFile, Unavailable,
    discover,
};
use crate::store::Settlement;
use crate::sync::{LocalView, Look, MailboxAction, MailboxRecord, Seen, Work};
use crate::worker::pass::{Mode, blocking, millis};
use crate::worker::{Error, Event, Job, ground};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// So long is waited for files to stop vanishing.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// What a mailbox that is filled from a drop is on the server.
const DROP: &str = "drop";

/// The Maildir, complete.
pub(super) struct Here {
    /// None in a dry run, before it is made.
    pub folder: Option<Folder>,
    pub scan: Option<Scan>,
    pub local: LocalView,
}

/// What is in the other folders of the Maildir.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub messages: Vec<Other>,
    /// No folder went away while it was looked for.
    pub is_whole: bool,
}

/// A message in another folder of the Maildir.
pub(super) struct Other {
    pub folder: Folder,
    pub name: BaseName,
    pub file: ScannedFile,
}

/// Where the messages of a drop go.
pub(super) fn place(job: &Job, mailbox: &MailboxName) -> Result<LocalPath, Error> {
    let place = Mapping::new(job.layout).to_local(mailbox, Some('/'));
    place.map_err(|reason| Error::Refused(format!("the mailbox {mailbox} cannot be a directory: {reason}")))
}

/// Tells whether a state was made for the other kind of remote: its numbers are no UIDs of a server, or the other way
/// round.
pub(in crate::worker) fn is_other_kind(job: &Job, records: &[MailboxRecord]) -> bool {
    let is_of_drop =
        |record: &MailboxRecord| record.identity.as_deref() == Some(DROP) && record.uid_validity == Some(epoch());
    records.iter().any(|record| is_of_drop(record) != job.maildrop.is_some())
}

impl DropPass<'_> {
    /// Makes the root at the first pass, takes it over where that is due, and raises its marker where a crash came between
    /// a commit and that.
    pub(super) async fn found_root(&mut self) -> Result<(), Error> {
        let (owner, place, generation) = (self.owner.clone(), self.state_place.clone(), self.store.generation());
        if self.root.is_none() || self.marked != Some(generation) {
            let records = self.record.iter().cloned().collect();
            let marker = RootMarker { owner, place, generation };
            self.root = Some(ground::found(self.job, self.root.take(), &self.history, records, marker).await?);
        }
        Ok(())
    }

    /// Makes the folder at the first pass, or goes on where a crash interrupted that.
    pub(super) async fn found_folder(&mut self) -> Result<(), Error> {
        let begun = self.batches.iter().find_map(|batch| match &batch.work {
            Work::Mailboxes(actions) => match actions.first() {
                Some(MailboxAction::CreateLocal { mailbox, .. }) => Some((batch.id, *mailbox)),
                _ => None,
            },
            Work::Messages { .. } => None,
        });
        if self.record.is_some() && begun.is_none() {
            return Ok(());
        }
        let name = self.wanted.mailbox.clone();
        let id = begun.map_or_else(|| self.store.next_mailbox_id(), |(_, id)| id);
        let path = self.path.as_str().to_owned();
        let action = MailboxAction::CreateLocal { mailbox: id, name: name.clone(), path: path.clone() };
        self.report.plan.mailboxes.push(action.clone());
        let mut record = MailboxRecord::new(id, name.clone(), Some(path));
        (record.identity, record.uid_validity) = (Some(DROP.to_owned()), Some(epoch()));
        if self.mode == Mode::DryRun {
            self.record = Some(record);
            return Ok(());
        }
        let closed = match begun {
            Some((batch, _)) => batch,
            None => self.begin(vec![Work::Mailboxes(vec![action])]).await?[0].id,
        };
        let marker = FolderMarker { id: id.0, name, state: self.owner.state };
        let (root, path) = (self.root.clone(), self.path.clone());
        blocking(move || match root {
            Some(root) => Ok(Folder::create(&root, &path, &marker).map(drop)?),
            None => Ok(()),
        })
        .await?;
        self.batches.retain(|batch| batch.id != closed);
        self.settle(Settlement { mailboxes: vec![record.clone()], closed: vec![closed], ..Settlement::default() })
            .await?;
        self.record = Some(record);
        Ok(())
    }

    /// Scans the Maildir until it is settled: what is missing is looked for twice. `None`: it cannot be used, and that was
    /// told.
    pub(super) async fn look_here(&mut self) -> Result<Option<Here>, Error> {
        let (mut first, mut waited): (Option<Look>, _) = (None, Duration::ZERO);
        loop {
            let Some((folder, scan)) = self.scan().await? else { return Ok(None) };
            let Some((folder, scan)) = folder.zip(scan) else {
                let local = LocalView::of_new(BTreeMap::new());
                return Ok(Some(Here { folder: None, scan: None, local }));
            };
            let look = Look {
                messages: scan.files.iter().map(|(name, file)| (name.clone(), file.flags.clone())).collect(),
                taken: millis(SystemTime::now()),
                changed: millis(scan.newest_change),
                atomic: scan.atomic,
            };
            let none = BTreeSet::new();
            let judged = match &first {
                None => LocalView::judge(&self.picture, &none, &look, None),
                Some(before) => LocalView::judge(&self.picture, &none, before, Some(&look)),
            };
            let after = match judged {
                Seen::Settled(local) => return Ok(Some(Here { folder: Some(folder), scan: Some(scan), local })),
                Seen::LookAgain(after) => Duration::from_millis(after),
            };
            // Only a look that agrees with the one before keeps its age.
            if !first.as_ref().is_some_and(|before| before.agrees(&look, &self.picture, &none)) {
                first = Some(look);
            }
            waited += after;
            if waited > MAX_WAIT {
                let name = escape(self.shown());
                self.leave_out(name, "files keep vanishing from its Maildir; it is left alone until that stops", true);
                return Ok(None);
            }
            let _ = self.events.send(Event::LookingAgain(after));
            tokio::select! {
                () = tokio::time::sleep(after) => {}
                () = self.job.reins.finishing() => return Err(Error::Interrupted),
            }
        }
    }

    async fn scan(&mut self) -> Result<Option<(Option<Folder>, Option<Scan>)>, Error> {
        let (Some(root), Some(record)) = (self.root.clone(), self.record.clone()) else {
            return Ok(Some((None, None)));
        };
        let (path, state) = (self.path.clone(), self.owner.state);
        let is_made = self.mode == Mode::Execute || self.report.plan.mailboxes.is_empty();
        let scanned = blocking(move || {
            let open = || -> Result<(Folder, Scan), MaildirError> {
                let folder = Folder::open(&root, &path)?;
                if is_made {
                    folder.check(&FolderMarker { id: record.id.0, name: record.name.clone(), state })?;
                }
                let scan = folder.scan()?;
                Ok((folder, scan))
            };
            Ok(open())
        });
        match scanned.await? {
            Ok((folder, scan)) => Ok(Some((Some(folder), Some(scan)))),
            Err(MaildirError::Unavailable(Unavailable::FolderMissing)) if !is_made => Ok(Some((None, None))),
            Err(reason @ (MaildirError::Unavailable(_) | MaildirError::Hostile { .. })) => {
                let name = escape(self.shown());
                self.leave_out(name, format!("{reason}; nothing is fetched or removed"), true);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every message in the other folders of the Maildir, and in the one that messages are passed on to.
    pub(super) async fn elsewhere(&mut self) -> Result<Elsewhere, Error> {
        let (Some(root), own, layout) = (self.root.clone(), self.path.clone(), self.job.layout) else {
            return Ok(Elsewhere::default());
        };
        let destination = self.job.deliver_to.clone();
        blocking(move || {
            let mut found = Elsewhere { messages: Vec::new(), is_whole: true };
            let others = discover(&root, layout)?.into_iter().filter(|path| *path != own);
            let mut places: Vec<(Root, LocalPath)> = others.map(|path| (root.clone(), path)).collect();
            if let Some(to) = destination {
                match to.root() {
                    Ok(Some(root)) => {
                        places.extend(discover(&root, to.layout)?.into_iter().map(|path| (root.clone(), path)));
                    }
                    Ok(None) => {}
                    Err(MaildirError::Unavailable(_) | MaildirError::Hostile { .. }) => found.is_whole = false,
                    Err(error) => return Err(error.into()),
                }
            }
            for (root, path) in places {
                let folder = match Folder::open(&root, &path) {
                    Err(MaildirError::Unavailable(_)) => {
                        found.is_whole = false;
                        continue;
                    }
                    folder => folder?,
                };
                let scan = folder.scan()?;
                let other = |(name, file)| Other { folder: folder.clone(), name, file };
                found.messages.extend(scan.files.into_iter().map(other));
            }
            Ok(found)
        })
        .await
    }
}
