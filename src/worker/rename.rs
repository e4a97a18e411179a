//! Renaming mailboxes, on either side. No message is moved, let alone transferred.

use crate::mail::{MailboxName, escape};
use crate::maildir::{Error as MaildirError, Folder, FolderMarker, LocalPath, relocate};
use crate::remote::error::Error as ImapError;
use crate::sync::{MailboxId, MailboxRecord, fits};
use crate::worker::Error;
use crate::worker::map;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, BTreeSet};

/// The mailboxes of the server by their names, as renames leave them: what each is, and its epoch.
pub(super) type Names = BTreeMap<MailboxName, (Option<String>, Option<crate::mail::UidValidity>)>;

impl Pass<'_> {
    /// Moves the directory of a mailbox that has another name on the server. `None`: it could not be, which was told.
    pub(super) async fn rename_here(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        (from, to): (&str, &str),
        whole: bool,
        leaving: &BTreeSet<u32>,
    ) -> Result<Option<MailboxRecord>, Error> {
        let (Some(record), Some(root)) = (self.records.get(&id).cloned(), self.root.clone()) else { return Ok(None) };
        let (Some(old), Some(new)) = (LocalPath::new(from), LocalPath::new(to)) else { return Ok(None) };
        let marker = FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        let (layout, leaving) = (self.job.layout, leaving.clone());
        let moved = blocking(move || {
            let moved = relocate(&root, layout, &marker, (&old, &new), whole, &leaving);
            Ok(moved.and_then(|folder| folder.inode()))
        });
        match moved.await? {
            Ok(inode) => {
                self.former.push(record.name.to_string());
                let (name, path, inode) = (name.clone(), Some(to.to_owned()), Some(inode.number));
                Ok(Some(MailboxRecord { name, path, inode, parked: None, hold: None, ..record }))
            }
            Err(error @ MaildirError::DiskFull { .. }) => Err(error.into()),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                let reason = format!(
                    "it is called so on the server now, and its directory {} could not be moved to {}: {error}{cause}",
                    escape(from),
                    escape(to)
                );
                self.leave_out(name.to_string(), reason, true);
                Ok(None)
            }
        }
    }

    /// Renames a mailbox of the server whose directory was renamed: `from` is its name, `to` the next, `last` the one that it
    /// has in the end. `None`: it is not there yet, or it could not be, which was told.
    pub(super) async fn rename_there(
        &mut self,
        id: MailboxId,
        (from, to, last): (&MailboxName, &MailboxName, &MailboxName),
        path: &str,
        names: &mut Option<Names>,
    ) -> Result<Option<MailboxRecord>, Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(None) };
        if names.is_none() {
            let listing = self.imap.list().await?;
            let told = |m: &crate::remote::imap::Listed| {
                (m.name.clone(), (m.identity.clone(), m.status.and_then(|status| status.uid_validity)))
            };
            *names = Some(map::selectable(&listing).map(told).collect());
            self.place.0 = map::delimiter(&listing);
        }
        let Some(known) = names.as_mut() else { return Ok(None) };
        let may_be = |name: &MailboxName| {
            known.get(name).is_some_and(|(identity, epoch)| fits(&record, identity.as_deref(), *epoch))
        };
        // On servers where several mailboxes have one epoch it proves nothing.
        let shared = known.values().filter(|(_, epoch)| *epoch == record.uid_validity).count() > 1;
        let is_told =
            |name: &MailboxName| record.identity.is_some() && known.get(name).is_some_and(|(i, _)| i.is_some());
        let is_at = |name: &MailboxName| may_be(name) && (is_told(name) || !shared && record.uid_validity.is_some());
        if !(is_at(last) || is_at(to) || may_be(to) && !known.contains_key(from)) {
            if known.contains_key(to) || !may_be(from) {
                let reason = format!(
                    "it could not be renamed to {to} on the server: another mailbox has that name, or this is gone"
                );
                self.leave_out(from.to_string(), reason, true);
                return Ok(None);
            }
            self.selected = None;
            match self.imap.rename(from, to).await {
                Ok(()) => follow(known, from, to, self.place.0),
                Err(ImapError::Refused { refusal, .. }) => {
                    let reason = format!(
                        "its directory was moved to {}, and the server refuses to call it {to}: {refusal}; move it back",
                        escape(path)
                    );
                    self.leave_out(from.to_string(), reason, true);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if to != last {
            return Ok(None);
        }
        // A subscription is to a name. Without one it works just as well.
        for done in [self.imap.subscribe(to).await, self.imap.unsubscribe(&record.name).await] {
            match done {
                Ok(()) | Err(ImapError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(inode) = self.mark(id, to, path).await? else { return Ok(None) };
        self.former.push(record.name.to_string());
        let (name, path, inode) = (to.clone(), Some(path.to_owned()), Some(inode));
        Ok(Some(MailboxRecord { name, path, inode, hold: None, ..record }))
    }

    /// Writes the marker of a directory that is a copy of another's.
    pub(super) async fn mark_copy(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        path: &str,
        copy_of: MailboxId,
    ) -> Result<(), Error> {
        let (Some(root), Some(place)) = (self.root.clone(), LocalPath::new(path)) else { return Ok(()) };
        let marker = |id: MailboxId| FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        let (original, own) = (marker(copy_of), marker(id));
        blocking(move || {
            let folder = Folder::open(&root, &place)?;
            match folder.check(&original) {
                Ok(()) => Ok(folder.mark(&own)?),
                // It was marked before a crash, or is somebody else's by now: making the mailbox tells.
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Writes the new name into the marker of a directory, and tells its number. `None`: it is not there any more.
    async fn mark(&mut self, id: MailboxId, name: &MailboxName, path: &str) -> Result<Option<u64>, Error> {
        let (Some(root), Some(place)) = (self.root.clone(), LocalPath::new(path)) else { return Ok(None) };
        let marker = FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        blocking(move || {
            let marked = Folder::open(&root, &place).and_then(|folder| {
                folder.check(&marker)?;
                folder.mark(&marker)?;
                folder.inode()
            });
            match marked {
                Ok(inode) => Ok(Some(inode.number)),
                Err(MaildirError::Unavailable(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// What a rename does to the names: those beneath it follow.
fn follow(names: &mut Names, from: &MailboxName, to: &MailboxName, delimiter: Option<char>) {
    let renamed = |name: &MailboxName| {
        let rest = name.as_wire().strip_prefix(from.as_wire())?;
        let beneath = delimiter.is_some_and(|d| rest.starts_with(d));
        if rest.is_empty() || beneath { MailboxName::new(&format!("{}{rest}", to.as_wire())) } else { None }
    };
    *names = std::mem::take(names).into_iter().map(|(name, told)| (renamed(&name).unwrap_or(name), told)).collect();
}
