//! Making, renaming and deleting mailboxes: a batch of its own, each step of which may be repeated.

use crate::mail::MailboxName;
use crate::maildir::{Folder, FolderMarker, LocalPath};
use crate::remote::error::Error as ImapError;
use crate::store::Settlement;
use crate::sync::{Adopting, Cause, MailboxAction, MailboxId, MailboxRecord, Work};
use crate::worker::Error;
use crate::worker::pass::{Mode, Pass, blocking};
use std::collections::BTreeSet;

/// What came of actions on mailboxes.
#[derive(Default)]
struct Made {
    /// What is remembered of mailboxes that were made or renamed.
    records: Vec<MailboxRecord>,
    /// Mailboxes that are gone from both sides.
    forgotten: Vec<MailboxId>,
}

impl Pass<'_> {
    /// Makes mailboxes as a batch of their own; tells which are there now.
    pub(super) async fn make_mailboxes(&mut self, actions: Vec<MailboxAction>) -> Result<Vec<MailboxId>, Error> {
        if actions.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.begin(vec![Work::Mailboxes(actions.clone())]).await?;
        let made = self.carry_out(&actions).await?;
        let ids = made.records.iter().map(|record| record.id).collect();
        let closed = begun.iter().map(|batch| batch.id).collect();
        self.batches.retain(|batch| !begun.contains(batch));
        self.settle_made(closed, made).await?;
        Ok(ids)
    }

    /// Carries on with mailboxes that a crash left half made. Each step may be repeated.
    pub(super) async fn resume_mailboxes(&mut self) -> Result<(), Error> {
        for batch in self.batches.clone() {
            let Work::Mailboxes(actions) = &batch.work else { continue };
            self.batches.retain(|open| open.id != batch.id);
            if self.mode == Mode::DryRun {
                // What would be made is planned anew.
                continue;
            }
            self.listing = None;
            // What is deleted on the server is judged anew: its directory may be back.
            let deletes = |action: &&MailboxAction| !matches!(action, MailboxAction::DeleteRemote { .. });
            let actions: Vec<MailboxAction> = actions.iter().filter(deletes).cloned().collect();
            let made = self.carry_out(&actions).await?;
            self.settle_made(vec![batch.id], made).await?;
        }
        Ok(())
    }

    async fn settle_made(&mut self, closed: Vec<crate::sync::BatchId>, made: Made) -> Result<(), Error> {
        for id in &made.forgotten {
            self.drop_record(*id);
        }
        let (mailboxes, forgotten_mailboxes) = (made.records, made.forgotten);
        self.settle(Settlement { closed, mailboxes, forgotten_mailboxes, ..Settlement::default() }).await
    }

    /// Carries out actions on mailboxes; tells what is remembered of those that are there afterwards.
    async fn carry_out(&mut self, actions: &[MailboxAction]) -> Result<Made, Error> {
        let mut made = Made::default();
        let mut names = None;
        let leaving: BTreeSet<u32> = actions.iter().map(|action| action.mailbox().0).collect();
        for action in actions {
            let (id, done) = match action {
                MailboxAction::CreateLocal { mailbox, name, path } => {
                    let identity = self.identities.get(name).cloned();
                    (*mailbox, self.make(*mailbox, name, Some(path), identity).await?)
                }
                // Begun in another mode, before a crash.
                MailboxAction::CreateRemote { .. }
                | MailboxAction::RenameRemote { .. }
                | MailboxAction::DeleteRemote { .. }
                    if !self.job.policy.writes_there() =>
                {
                    continue;
                }
                MailboxAction::CreateRemote { mailbox, name, path } => {
                    if let Err(reason) = self.create_remote(name).await? {
                        self.leave_out(name.to_string(), reason, true);
                        continue;
                    }
                    let identity = self.imap.identity(name).await?;
                    (*mailbox, self.make(*mailbox, name, path.as_ref(), identity).await?)
                }
                MailboxAction::RenameLocal { mailbox, name, from, to, whole } => {
                    (*mailbox, self.rename_here(*mailbox, name, (from, to), *whole, &leaving).await?)
                }
                MailboxAction::RenameRemote { mailbox, from, to, path } => {
                    let last = actions.iter().rev().find_map(|action| match action {
                        MailboxAction::RenameRemote { mailbox: id, to, .. } if id == mailbox => Some(to),
                        _ => None,
                    });
                    let last = last.unwrap_or(to);
                    (*mailbox, self.rename_there(*mailbox, (from, to, last), path, &mut names).await?)
                }
                MailboxAction::MarkCopy { mailbox, name, path, copy_of } => {
                    self.mark_copy(*mailbox, name, path, *copy_of).await?;
                    continue;
                }
                MailboxAction::DeleteLocal { mailbox, name, path } => {
                    if self.remove_directory(*mailbox, name, path).await? {
                        made.forgotten.push(*mailbox);
                    }
                    continue;
                }
                MailboxAction::DeleteRemote { mailbox, name, approved } => {
                    if self.delete_there(*mailbox, name, *approved).await? {
                        made.forgotten.push(*mailbox);
                    }
                    continue;
                }
            };
            if let Some(record) = done {
                self.records.insert(id, record.clone());
                made.records.push(record);
            }
        }
        Ok(made)
    }

    /// Makes the directory of a mailbox; `None` if that cannot be, which was told.
    async fn make(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        path: Option<&String>,
        identity: Option<String>,
    ) -> Result<Option<MailboxRecord>, Error> {
        let mut record = MailboxRecord { identity, ..MailboxRecord::new(id, name.clone(), path.cloned()) };
        if let Some(path) = path {
            match self.create_local(id, name, path).await {
                Ok((inode, adopting)) => (record.inode, record.adopting) = (inode, adopting),
                Err(Error::Maildir(
                    reason @ (crate::maildir::Error::Hostile { .. } | crate::maildir::Error::Exists { .. }),
                )) => {
                    self.leave_out(name.to_string(), reason.to_string(), true);
                    return Ok(None);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Some(record))
    }

    async fn create_remote(&mut self, name: &MailboxName) -> Result<Result<(), String>, Error> {
        match self.imap.create(name).await {
            Ok(()) => {}
            Err(ImapError::Refused { refusal, .. }) => {
                // It may be there already: made before a crash, or by another device a moment ago.
                let listing = self.imap.list().await?;
                let there = listing.mailboxes.iter().find(|m| m.name == *name && m.selectable);
                if there.is_none() {
                    return Ok(Err(format!("the server refuses to make it: {refusal}")));
                }
            }
            Err(error) => return Err(error.into()),
        }
        // Without a subscription it works just as well.
        match self.imap.subscribe(name).await {
            Ok(()) | Err(ImapError::Refused { .. }) => Ok(Ok(())),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory, and tells its number, and that it is to be adopted if it was there already: a person may have to say
    /// whether it belongs to the mailbox.
    async fn create_local(
        &mut self,
        id: MailboxId,
        name: &MailboxName,
        path: &str,
    ) -> Result<(Option<u64>, Option<Adopting>), Error> {
        let Some(root) = self.root.clone() else { return Ok((None, None)) };
        let Some(path) = LocalPath::new(path) else { return Ok((None, None)) };
        let marker = FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        blocking(move || {
            let adopting = Folder::is_there(&root, &path)?.then_some(Adopting { cause: Cause::Met, question: None });
            Ok((Some(Folder::create(&root, &path, &marker)?.inode()?.number), adopting))
        })
        .await
    }
}
