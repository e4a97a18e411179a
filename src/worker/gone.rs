//! Mailboxes that are gone from one side: parked, emptied, asked about, deleted.
//!
//! The costly mistake would be to take "not seen" for "deleted". On the server a mailbox is gone if two lists do not show it
//! and STATUS says no. Here it is gone if its directory is not there, nor its marker anywhere else, beneath a root that is
//! ours. Even then its messages go through the guard and the retention area, or to the server's Trash.

use crate::mail::{MailboxName, SpecialUse, Uid, UidSet, escape};
use crate::maildir::{Error as MaildirError, Folder, FolderMarker, LocalPath, Unavailable, remove_folder};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Access, Listing};
use crate::store::Settlement;
use crate::sync::{Deletion, Hold, MailboxAction, MailboxId, MailboxRecord, Parked, Picture, Side, Word, fits};
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, map};
use std::collections::{BTreeMap, BTreeSet};

impl Pass<'_> {
    /// Parks a mailbox that is gone from the server.
    pub(super) async fn park(&mut self, id: MailboxId, second: &mut Option<Listing>) -> Result<(), Error> {
        if !self.is_gone(id, second).await? {
            return Ok(());
        }
        self.remember(id, |record| record.parked = Some(Parked::GoneFromServer)).await?;
        self.tell_parked(id);
        Ok(())
    }

    /// Parks a mailbox that the user does not subscribe to any more.
    pub(super) async fn park_unsubscribed(&mut self, id: MailboxId) -> Result<(), Error> {
        self.remember(id, |record| record.parked = Some(Parked::Unsubscribed)).await?;
        self.tell_parked(id);
        Ok(())
    }

    pub(super) fn tell_parked(&mut self, id: MailboxId) {
        let Some(record) = self.records.get(&id) else { return };
        let reason = match record.parked {
            Some(Parked::Unsubscribed) => "it is not subscribed to; its Maildir is kept and not synchronised",
            Some(Parked::GoneFromServer) | None => {
                "it is gone from the server; its Maildir is kept and not synchronised"
            }
        };
        self.leave_out(record.name.to_string(), reason, false);
    }

    /// Goes on with a mailbox that was deleted on the server, and is to be deleted here as well: its messages are as good as
    /// deleted there one by one, and go the way of such.
    pub(super) async fn begin_to_empty(
        &mut self,
        id: MailboxId,
        mirrored: &mut BTreeSet<MailboxId>,
        second: &mut Option<Listing>,
    ) -> Result<(), Error> {
        if !self.is_gone(id, second).await? {
            return Ok(());
        }
        self.remember(id, |record| record.parked = Some(Parked::GoneFromServer)).await?;
        self.emptying.insert(id);
        mirrored.insert(id);
        Ok(())
    }

    /// Removes the directories of mailboxes that were emptied, and forgets those.
    pub(super) async fn remove_emptied(&mut self) -> Result<(), Error> {
        let mut actions = Vec::new();
        for id in self.emptying.clone() {
            let (Some(record), Some(root)) = (self.records.get(&id).cloned(), self.root.clone()) else { continue };
            let picture = self.pictures.get(&id);
            let is_open = self.batches.iter().any(|batch| super::pass::touches(batch, id));
            if is_open || picture.is_none_or(|picture| picture.pairs().next().is_some()) {
                self.tell_parked(id);
                continue;
            }
            let Some(path) = record.path.clone() else { continue };
            let Some(place) = LocalPath::new(&path) else { continue };
            let left = blocking(move || match Folder::open(&root, &place) {
                Ok(folder) => Ok(folder.scan()?.files.len()),
                Err(MaildirError::Unavailable(_)) => Ok(0),
                Err(error) => Err(error.into()),
            });
            match left.await? {
                0 => actions.push(MailboxAction::DeleteLocal { mailbox: id, name: record.name, path }),
                left => {
                    let reason = format!(
                        "it is gone from the server, and {} holds {left} messages that the server does not have: they are \
                         kept and not synchronised",
                        escape(path)
                    );
                    self.leave_out(record.name.to_string(), reason, false);
                }
            }
        }
        self.report.plan.mailboxes.extend(actions.iter().cloned());
        self.make_mailboxes(actions).await.map(drop)
    }

    /// Removes the directory of a mailbox, empty by now; tells whether it is gone.
    pub(super) async fn remove_directory(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        path: &str,
    ) -> Result<bool, Error> {
        let (Some(root), Some(place)) = (self.root.clone(), LocalPath::new(path)) else { return Ok(false) };
        let marker = FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        let removed = blocking(move || match remove_folder(&root, &place, &marker) {
            Err(error @ MaildirError::DiskFull { .. }) => Err(error.into()),
            Err(error) => Ok(Err(error.to_string())),
            Ok(gone) => Ok(Ok(gone)),
        });
        let reason = match removed.await? {
            Ok(true) => return Ok(true),
            Ok(false) => "a file came in meanwhile".to_owned(),
            Err(reason) => reason,
        };
        self.leave_out(name.to_string(), format!("its directory {} was not removed: {reason}", escape(path)), false);
        Ok(false)
    }

    /// Forgets a mailbox that is gone from both sides.
    pub(super) async fn forget(&mut self, id: MailboxId, second: &mut Option<Listing>) -> Result<(), Error> {
        if !self.is_gone(id, second).await? || self.mode == Mode::DryRun {
            return Ok(());
        }
        self.drop_record(id);
        self.settle(Settlement { forgotten_mailboxes: vec![id], ..Settlement::default() }).await
    }

    pub(super) fn drop_record(&mut self, id: MailboxId) {
        self.pictures.remove(&id);
        self.emptying.remove(&id);
        if let Some(record) = self.records.remove(&id) {
            self.former.push(record.name.to_string());
        }
    }

    /// Tells whether a mailbox is gone from the server: a second list does not show it either, and STATUS says no; or both
    /// lists show another under its name.
    async fn is_gone(&mut self, id: MailboxId, second: &mut Option<Listing>) -> Result<bool, Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(false) };
        let again = match second {
            Some(listing) => listing,
            None => second.insert(self.imap.list().await?),
        };
        let found = map::selectable(again).find(|m| m.name == record.name);
        let is_another = found.is_some_and(|m| !fits(&record, m.identity.as_deref(), None));
        let moved = map::selectable(again).any(|m| m.identity.is_some() && m.identity == record.identity);
        let complains = !again.warnings.is_empty();
        if is_another && !moved && !complains {
            return Ok(true);
        }
        let listed = found.is_some();
        let answered = match self.imap.status(std::slice::from_ref(&record.name)).await {
            Ok(found) => found.contains_key(&record.name),
            Err(ImapError::Refused { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if listed || moved || answered || complains {
            let reason = "the server does not list it, but knows it; it is looked for again";
            self.leave_out(record.name.to_string(), reason, true);
            return Ok(false);
        }
        Ok(true)
    }

    /// A mailbox whose directory is wholly gone: its deletion on the server is held until a person decides.
    pub(super) async fn ask_about(&mut self, id: MailboxId, name: &MailboxName) -> Result<(), Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(()) };
        let store = self.store.clone();
        let (picture, mut memory) = blocking(move || Ok((store.picture(id)?, store.guard()?))).await?;
        self.pictures.insert(id, picture);
        if record.hold.is_none() || record.name != *name {
            memory.last_set += 1;
            let hold = record.hold.unwrap_or(Hold { gone: Side::Local, set: memory.last_set, word: Word::Waiting });
            let held = MailboxRecord { name: name.clone(), hold: Some(hold), ..record.clone() };
            self.records.insert(id, held.clone());
            let settled = Settlement { mailboxes: vec![held], guard: Some(memory), ..Settlement::default() };
            self.settle(settled).await?;
        }
        let path = escape(record.path.unwrap_or_default());
        let (account, shown) = (&self.job.account, map::slashed(name, self.place.0));
        let shown = escape(shown);
        let reason = if name.is_inbox() {
            format!(
                "its directory {path} is gone from the Maildir, and nothing is deleted on the server; restore it, or \
                 fetch its mail anew with `mailtwin reject {account}/{shown}`"
            )
        } else {
            format!(
                "its directory {path} is gone from the Maildir, and the mailbox stays on the server until you decide: \
                 restore the directory, or fetch it anew with `mailtwin reject {account}/{shown}`, or let the mailbox go with \
                 `mailtwin approve {account}/{shown}`"
            )
        };
        self.leave_out(name.to_string(), reason, false);
        Ok(())
    }

    /// A question that answered itself: the directory is back.
    pub(super) async fn dissolve(&mut self, id: MailboxId) -> Result<(), Error> {
        if self.records.get(&id).is_some_and(|record| record.hold.is_some()) {
            self.remember(id, |record| record.hold = None).await?;
        }
        Ok(())
    }

    /// A person wants the mailbox back whose directory is gone: what was known of its messages is forgotten, and they are
    /// fetched.
    pub(super) async fn start_afresh(
        &mut self,
        id: MailboxId,
        name: MailboxName,
        path: String,
    ) -> Result<Option<MailboxAction>, Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(None) };
        let blank = MailboxRecord { role: record.role, ..MailboxRecord::new(id, name.clone(), None) };
        self.records.insert(id, blank.clone());
        self.pictures.insert(id, Picture::new());
        let forgotten = Settlement { forgotten_pictures: vec![id], mailboxes: vec![blank], ..Settlement::default() };
        self.settle(forgotten).await?;
        Ok(Some(MailboxAction::CreateLocal { mailbox: id, name, path }))
    }

    /// Decides whether a mailbox of the server may go whose directory is gone; else a person is asked, or told why not.
    pub(super) async fn may_delete(
        &mut self,
        mailbox: MailboxId,
        name: MailboxName,
        approved: bool,
    ) -> Result<Option<MailboxAction>, Error> {
        let messages = self.statuses.get(&name).and_then(|status| status.messages);
        let role = self.records.get(&mailbox).and_then(|record| record.role);
        let objection = if matches!(role, Some(SpecialUse::Trash | SpecialUse::Junk)) {
            Some("the server's Trash and Junk are never deleted")
        } else if messages == Some(0) {
            None
        } else if self.job.deletion == Deletion::Never {
            Some("with `delete = \"never\"` its messages stay on the server")
        } else if !self.imap.capabilities().has("MOVE") {
            Some("the server cannot move its messages to the Trash (no MOVE): delete the mailbox there by hand")
        } else {
            None
        };
        match objection {
            None if approved || messages == Some(0) => {
                Ok(Some(MailboxAction::DeleteRemote { mailbox, name, approved }))
            }
            None => self.ask_about(mailbox, &name).await.map(|()| None),
            Some(reason) => {
                let (account, shown) = (&self.job.account, escape(map::slashed(&name, self.place.0)));
                let reason = format!(
                    "its directory is gone from the Maildir; {reason}; to fetch it anew: `mailtwin reject {account}/{shown}`"
                );
                self.ask_about(mailbox, &name).await?;
                self.report.left_out.retain(|left| left.mailbox != name.to_string());
                self.leave_out(name.to_string(), reason, false);
                Ok(None)
            }
        }
    }

    /// Deletes a mailbox of the server, once all that is in it was moved to the Trash; tells whether it is gone.
    pub(super) async fn delete_there(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        approved: bool,
    ) -> Result<bool, Error> {
        let (Some(record), Some(root)) = (self.records.get(&id).cloned(), self.root.clone()) else { return Ok(false) };
        // The last look: a directory that came back keeps its mailbox.
        let place = record.path.as_deref().and_then(LocalPath::new);
        let is_missing = blocking(move || {
            let found = place.map(|place| Folder::open(&root, &place).and_then(|folder| folder.marker()));
            Ok(match found {
                Some(Err(MaildirError::Unavailable(Unavailable::FolderMissing))) => true,
                // Another mailbox has moved to its place.
                Some(Ok(Some(marker))) => marker.id != id.0,
                Some(Ok(None) | Err(_)) | None => false,
            })
        });
        if !is_missing.await? || name.is_inbox() {
            return Ok(false);
        }
        let identity = self.imap.identity(name).await?;
        self.selected = None;
        let selected = match self.imap.select(name, Access::ReadWrite, None).await {
            Ok(selected) => selected,
            Err(ImapError::Refused { refusal, .. }) => {
                self.leave_out(name.to_string(), format!("it cannot be opened to be deleted: {refusal}"), true);
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let mut reason = None;
        if !fits(&record, identity.as_deref(), Some(selected.uid_validity)) || record.uid_validity.is_none() {
            reason = Some("another mailbox has its name on the server by now".to_owned());
        } else if selected.exists > 0 && approved {
            reason = self.all_to_trash(&record).await?.err();
        } else if selected.exists > 0 {
            reason = Some("mail came in meanwhile".to_owned());
        }
        if reason.is_none() && !self.imap.search(&UidSet::range(Uid::MIN, Uid::MAX)).await?.is_empty() {
            reason = Some("mail came in meanwhile".to_owned());
        }
        if let Some(reason) = reason {
            self.leave_out(name.to_string(), format!("it is not deleted on the server: {reason}"), true);
            return Ok(false);
        }
        // Nobody should be in a mailbox that is deleted.
        self.imap.select(&MailboxName::inbox(), Access::ReadOnly, None).await?;
        match self.imap.delete(name).await {
            Ok(()) => {}
            Err(ImapError::Refused { refusal, .. }) => {
                self.leave_out(name.to_string(), format!("the server refuses to delete it: {refusal}"), true);
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        match self.imap.unsubscribe(name).await {
            Ok(()) | Err(ImapError::Refused { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves everything in the open mailbox to the Trash, which is made if there is none.
    async fn all_to_trash(&mut self, of: &MailboxRecord) -> Result<Result<(), String>, Error> {
        let id = of.id;
        let trash = self.trash_or_reserve();
        let name = match self.records.get(&trash) {
            Some(record) => record.name.clone(),
            None => return Ok(Err("there is no Trash to move its messages to".to_owned())),
        };
        if trash == id {
            return Ok(Err("it is the Trash itself".to_owned()));
        }
        let all = UidSet::range(Uid::MIN, Uid::MAX);
        let there: UidSet = self.imap.search(&all).await?.iter().collect();
        let store = self.store.clone();
        let picture = blocking(move || Ok(store.picture(id)?)).await?;
        let from = self.ask_uid_next(trash).await?;
        // Its numbers are others from now on.
        self.statuses.remove(&name);
        match self.imap.move_to(&there, &name).await {
            Ok(told) => {
                let told = told.filter(|told| from.is_some_and(|(epoch, _)| epoch == told.uid_validity));
                let count = usize::try_from(there.len()).unwrap_or(usize::MAX);
                let pairs =
                    told.and_then(|told| Some(told.source.expand(count)?.into_iter().zip(told.target.expand(count)?)));
                let told: BTreeMap<Uid, Uid> = pairs.into_iter().flatten().collect();
                if let Some(from) = from {
                    let removals = self.record_all_to_trash((of, &picture), (trash, from), &told, &there);
                    self.settle(Settlement { removals, ..Settlement::default() }).await?;
                }
                Ok(Ok(()))
            }
            Err(ImapError::Refused { refusal, .. }) => {
                Ok(Err(format!("the server refuses to move its messages to {name}: {refusal}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what is remembered of a mailbox as a whole.
    pub(super) async fn remember(
        &mut self,
        id: MailboxId,
        change: impl FnOnce(&mut MailboxRecord),
    ) -> Result<(), Error> {
        let Some(record) = self.records.get_mut(&id) else { return Ok(()) };
        let before = record.clone();
        change(record);
        if *record == before {
            return Ok(());
        }
        let changed = record.clone();
        self.settle(Settlement { mailboxes: vec![changed], ..Settlement::default() }).await
    }
}
