//! Which mailboxes there are on both sides, and making those that one side lacks.

use crate::mail::{MailboxName, SpecialUse};
use crate::maildir::{Folder, FolderMarker, Layout, LocalPath, to_local};
use crate::remote::error::Error as ImapError;
use crate::store::Settlement;
use crate::sync::{
    Answer, Directory, Listed, MailboxAction, MailboxId, MailboxRecord, MailboxVerdict, Parked, Work, judge,
};
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, map};
use std::collections::{BTreeMap, BTreeSet};

impl Pass<'_> {
    /// Lists both sides, makes what one side lacks, and tells which mailboxes are mirrored in this pass.
    pub(super) async fn judge_mailboxes(&mut self, only: &[String]) -> Result<BTreeSet<MailboxId>, Error> {
        let listing = match self.listing.take() {
            Some(listing) => listing?,
            None => self.imap.list().await?,
        };
        if !listing.mailboxes.iter().any(|m| m.selectable && m.exists) {
            return Err(ImapError::later("the server lists no mailbox at all, which is not believed").into());
        }
        for (name, reason) in &listing.hostile {
            self.leave_out(name.clone(), format!("its name cannot be used: {reason}"), true);
        }
        let (listed, delimiter) = map::place(&listing);
        self.place = (delimiter, map::prefix(&listed, delimiter));
        let statuses = map::selectable(&listing).filter_map(|m| Some((m.name.clone(), m.status?)));
        self.statuses.extend(statuses);
        let directories = self.directories(delimiter).await?;
        let trash = crate::sync::table::find_trash(&listed).map(|t| (t.name.clone(), t.place.clone()));
        let wanted: Vec<Listed> = listed.iter().filter(|l| self.is_wanted(&l.name, delimiter, only)).cloned().collect();
        let directories = directories
            .into_iter()
            .filter(|(_, d)| d.name.as_ref().map_or(only.is_empty(), |name| self.is_wanted(name, delimiter, only)))
            .collect();
        let chosen = |record: &&MailboxRecord| self.is_wanted(&record.name, delimiter, only);
        let records: Vec<MailboxRecord> = self.records.values().filter(chosen).cloned().collect();

        let mut mirrored = BTreeSet::new();
        let mut actions = Vec::new();
        for verdict in judge(&records, &wanted, &directories) {
            match verdict {
                MailboxVerdict::Mirror(id) => drop(mirrored.insert(id)),
                MailboxVerdict::CreateLocal { name, path, .. } => {
                    actions.push(MailboxAction::CreateLocal { mailbox: self.number(&name), name, path });
                }
                MailboxVerdict::CreateRemote { name, .. } if self.job.policy.push.new != Answer::Allow => {
                    let reason = "it is in the Maildir only, and nothing new goes to the server in this mode";
                    self.leave_out(name.to_string(), reason, false);
                }
                MailboxVerdict::CreateRemote { name, path } => {
                    let mailbox = self.number(&name);
                    actions.push(MailboxAction::CreateRemote { mailbox, name, path: Some(path) });
                }
                MailboxVerdict::Meet { name, path, .. } => {
                    if self.one_side_is_empty(&name, &path).await? {
                        actions.push(MailboxAction::CreateLocal { mailbox: self.number(&name), name, path });
                    } else {
                        let reason = "it has mail on the server and in the Maildir, and nobody knows what belongs \
                                      together; this version cannot pair it: empty one side, or leave it out";
                        self.leave_out(name.to_string(), reason, true);
                    }
                }
                MailboxVerdict::GoneFromServer(id) => self.park(id).await?,
                MailboxVerdict::BackOnServer(id, here) => {
                    if let Some(action) = self.unpark(id, here, &mut mirrored).await? {
                        actions.push(action);
                    }
                }
                MailboxVerdict::Parked(id) => {
                    if let Some(record) = self.records.get(&id) {
                        let name = record.name.to_string();
                        self.leave_out(
                            name,
                            "it is gone from the server; its Maildir is kept and not synchronised",
                            false,
                        );
                    }
                }
                MailboxVerdict::GoneHere(id) => {
                    if let Some(record) = self.records.get(&id) {
                        let (name, path) = (record.name.to_string(), record.path.clone().unwrap_or_default());
                        let reason = format!(
                            "its directory {} is missing in the Maildir, or is no Maildir with our marker; nothing is \
                             deleted on the server; restore the directory",
                            crate::mail::escape(path)
                        );
                        self.leave_out(name, reason, true);
                    }
                }
                MailboxVerdict::LeftOut { what, reason } => self.leave_out(what, reason, true),
            }
        }
        self.learn_roles(&listed);
        self.report.plan.mailboxes.clone_from(&actions);
        if self.mode == Mode::DryRun {
            mirrored.extend(self.pretend(actions));
        } else {
            mirrored.extend(self.make_mailboxes(actions).await?);
        }
        self.learn_roles(&listed);
        self.find_trash(trash).await?;
        Ok(mirrored)
    }

    async fn directories(&self, delimiter: Option<char>) -> Result<BTreeMap<String, Directory>, Error> {
        let Some(root) = self.root.clone() else { return Ok(BTreeMap::new()) };
        let state = self.owner.state;
        blocking(move || map::directories(&root, state, delimiter)).await
    }

    fn is_wanted(&self, name: &MailboxName, delimiter: Option<char>, only: &[String]) -> bool {
        map::is_wanted(self.job, name, delimiter) && (only.is_empty() || only.contains(&map::slashed(name, delimiter)))
    }

    async fn one_side_is_empty(&mut self, name: &MailboxName, path: &str) -> Result<bool, Error> {
        if self.statuses.get(name).is_some_and(|status| status.messages == Some(0)) {
            return Ok(true);
        }
        let (Some(root), Some(path)) = (self.root.clone(), LocalPath::new(path)) else { return Ok(true) };
        blocking(move || Ok(Folder::open(&root, &path)?.scan()?.files.is_empty())).await
    }

    /// Mirrors a mailbox again that was gone from the server, if it is the same one by its UIDVALIDITY. If it is another
    /// of that name, it is mirrored once the directory of the old one was moved away.
    async fn unpark(
        &mut self,
        id: MailboxId,
        here: bool,
        mirrored: &mut BTreeSet<MailboxId>,
    ) -> Result<Option<MailboxAction>, Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(None) };
        let epoch = match self.statuses.get(&record.name) {
            Some(status) => status.uid_validity,
            None => {
                let told = self.imap.status(std::slice::from_ref(&record.name)).await?;
                told.get(&record.name).and_then(|status| status.uid_validity)
            }
        };
        if here && epoch.is_some() && epoch == record.uid_validity {
            let record = MailboxRecord { parked: None, ..record };
            self.records.insert(id, record.clone());
            mirrored.insert(id);
            self.settle(Settlement { mailboxes: vec![record], ..Settlement::default() }).await?;
            return Ok(None);
        }
        if here {
            let path = crate::mail::escape(record.path.clone().unwrap_or_default());
            let reason = format!(
                "it was deleted on the server and made anew there, and {path} in the Maildir holds the mail of the old one; \
                 move that directory out of the Maildir, and the new one is fetched"
            );
            self.leave_out(record.name.to_string(), reason, true);
            return Ok(None);
        }
        let (name, path) = (record.name.clone(), record.path.clone().unwrap_or_default());
        let fresh = MailboxRecord { role: record.role, ..new_record(id, name.clone(), None) };
        self.records.insert(id, fresh.clone());
        self.pictures.remove(&id);
        let forgotten = Settlement { forgotten_pictures: vec![id], mailboxes: vec![fresh], ..Settlement::default() };
        self.settle(forgotten).await?;
        Ok(Some(MailboxAction::CreateLocal { mailbox: id, name, path }))
    }

    /// Parks a mailbox that a second LIST does not show either, and of which STATUS says NO.
    async fn park(&mut self, id: MailboxId) -> Result<(), Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(()) };
        let again = self.imap.list().await?;
        let listed = again.mailboxes.iter().any(|m| m.name == record.name && m.selectable);
        let answered = match self.imap.status(std::slice::from_ref(&record.name)).await {
            Ok(found) => found.contains_key(&record.name),
            Err(ImapError::Refused { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if listed || answered || !again.warnings.is_empty() {
            self.leave_out(
                record.name.to_string(),
                "the server does not list it, but knows it; it is looked for again",
                true,
            );
            return Ok(());
        }
        let reason = "it is gone from the server; its Maildir is kept and not synchronised any more";
        self.leave_out(record.name.to_string(), reason, false);
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        let parked = MailboxRecord { parked: Some(Parked::GoneFromServer), ..record };
        self.records.insert(id, parked.clone());
        self.settle(Settlement { mailboxes: vec![parked], ..Settlement::default() }).await
    }

    /// Makes mailboxes as a batch of their own; tells which are there now.
    pub(super) async fn make_mailboxes(&mut self, actions: Vec<MailboxAction>) -> Result<Vec<MailboxId>, Error> {
        if actions.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.begin(vec![Work::Mailboxes(actions.clone())]).await?;
        let made = self.carry_out(&actions).await?;
        let ids = made.iter().map(|record| record.id).collect();
        let closed = begun.iter().map(|batch| batch.id).collect();
        self.batches.retain(|batch| !begun.contains(batch));
        self.settle(Settlement { closed, mailboxes: made, ..Settlement::default() }).await?;
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
            let made = self.carry_out(actions).await?;
            let settled = Settlement { closed: vec![batch.id], mailboxes: made, ..Settlement::default() };
            self.settle(settled).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, actions: &[MailboxAction]) -> Result<Vec<MailboxRecord>, Error> {
        let mut made = Vec::new();
        for action in actions {
            let (id, name, path) = match action {
                MailboxAction::CreateLocal { mailbox, name, path } => (*mailbox, name, Some(path.clone())),
                // Begun in another mode, before a crash.
                MailboxAction::CreateRemote { .. } if !self.job.policy.writes_there() => continue,
                MailboxAction::CreateRemote { mailbox, name, path } => {
                    if let Err(reason) = self.create_remote(name).await? {
                        self.leave_out(name.to_string(), reason, true);
                        continue;
                    }
                    (*mailbox, name, path.clone())
                }
            };
            if let Some(path) = &path
                && let Err(error) = self.create_local(id, name, path).await
            {
                match error {
                    Error::Maildir(
                        reason @ (crate::maildir::Error::Hostile { .. } | crate::maildir::Error::Exists { .. }),
                    ) => {
                        self.leave_out(name.to_string(), reason.to_string(), true);
                        continue;
                    }
                    other => return Err(other),
                }
            }
            let record = new_record(id, name.clone(), path);
            self.records.insert(id, record.clone());
            made.push(record);
        }
        Ok(made)
    }

    async fn create_remote(&mut self, name: &MailboxName) -> Result<Result<(), String>, Error> {
        match self.imap.create(name).await {
            Ok(()) => {}
            Err(ImapError::Refused { refusal, .. }) => {
                // It may be there already: made before a crash, or by another device a moment ago.
                let listing = self.imap.list().await?;
                let there = listing.mailboxes.iter().find(|m| m.name == *name && m.selectable);
                match there.map(|mailbox| mailbox.status.and_then(|status| status.messages)) {
                    None => return Ok(Err(format!("the server refuses to make it: {refusal}"))),
                    Some(Some(0)) => {}
                    // Both sides have mail that nobody paired: the next pass sees that, and tells.
                    Some(_) => return Ok(Err("it was made on the server a moment ago, and has mail there".into())),
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

    async fn create_local(&mut self, id: MailboxId, name: &MailboxName, path: &str) -> Result<(), Error> {
        let Some(root) = self.root.clone() else { return Ok(()) };
        let Some(path) = LocalPath::new(path) else { return Ok(()) };
        let marker = FolderMarker { id: id.0, name: name.clone(), state: self.owner.state };
        blocking(move || Ok(Folder::create(&root, &path, &marker).map(drop)?)).await
    }

    /// In a dry run: what would be made is taken for made.
    fn pretend(&mut self, actions: Vec<MailboxAction>) -> Vec<MailboxId> {
        let mut records = Vec::new();
        for action in actions {
            records.push(match action {
                MailboxAction::CreateLocal { mailbox, name, path } => new_record(mailbox, name, Some(path)),
                MailboxAction::CreateRemote { mailbox, name, path } => {
                    self.pretended.insert(mailbox);
                    new_record(mailbox, name, path)
                }
            });
        }
        let ids = records.iter().map(|record| record.id).collect();
        self.records.extend(records.into_iter().map(|record| (record.id, record)));
        ids
    }

    /// The number of a mailbox that is made: the one that it has already if it is known as a Trash that was not mirrored.
    fn number(&self, name: &MailboxName) -> MailboxId {
        let known = self.records.values().find(|record| record.name == *name);
        known.map_or_else(|| self.store.next_mailbox_id(), |record| record.id)
    }

    fn learn_roles(&mut self, listed: &[Listed]) {
        for record in self.records.values_mut() {
            if let Some(seen) = listed.iter().find(|l| l.name == record.name) {
                record.role = seen.role;
            }
        }
    }

    /// Finds the record of the Trash; one that is not mirrored gets a record without a path.
    async fn find_trash(&mut self, trash: Option<(MailboxName, Result<String, String>)>) -> Result<(), Error> {
        let Some((name, _)) = trash else { return Ok(()) };
        if let Some(record) = self.records.values().find(|record| record.name == name) {
            self.trash = Some(record.id);
            return Ok(());
        }
        let id = self.store.next_mailbox_id();
        let record = MailboxRecord { role: Some(SpecialUse::Trash), ..new_record(id, name, None) };
        self.trash = Some(id);
        self.records.insert(id, record.clone());
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        self.settle(Settlement { mailboxes: vec![record], ..Settlement::default() }).await
    }

    /// The Trash; a server that has none gets one when the first message goes there.
    pub(super) fn trash_or_reserve(&mut self) -> MailboxId {
        if let Some(id) = self.trash {
            return id;
        }
        let id = self.store.next_mailbox_id();
        let (delimiter, prefix) = self.place.clone();
        let name = MailboxName::new(&format!("{prefix}Trash")).unwrap_or_else(MailboxName::inbox);
        let path = self
            .is_wanted(&name, delimiter, &[])
            .then(|| to_local(&name, delimiter, Layout::Nested).ok().map(|p| p.as_str().to_owned()))
            .flatten();
        self.reserved.push(MailboxAction::CreateRemote { mailbox: id, name, path });
        self.trash = Some(id);
        id
    }
}

fn new_record(id: MailboxId, name: MailboxName, path: Option<String>) -> MailboxRecord {
    MailboxRecord { id, name, path, role: None, uid_validity: None, checkpoint: None, listed: None, parked: None }
}
