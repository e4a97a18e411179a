//! Which mailboxes there are on both sides, and making those that one side lacks.

use crate::mail::{MailboxName, SpecialUse};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::Listing;
use crate::store::Settlement;
use crate::sync::{
    Adopting, Answer, Cause, Listed, MailboxAction, MailboxId, MailboxRecord, MailboxVerdict, Mailboxes, There,
    arrange, judge,
};
use crate::worker::map::Directories;
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, map};
use std::collections::{BTreeMap, BTreeSet};

/// Which mailboxes a judgement is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// All of them.
    All,
    /// Those with these names, decoded, with `/` between the levels.
    Only(&'a [String]),
    /// Those that mail may have been moved to or from: new ones are made, and none is renamed or deleted.
    Beside,
    /// None: those that are in their places are told, and all others wait.
    Nothing,
}

impl<'a> Asked<'a> {
    /// Those with these names; none: all.
    pub(super) fn of(names: &'a [String]) -> Self {
        if names.is_empty() { Self::All } else { Self::Only(names) }
    }
}

impl Pass<'_> {
    /// Lists both sides, makes what one side lacks, and tells which mailboxes are mirrored in this pass.
    pub(super) async fn judge_mailboxes(&mut self, asked: Asked<'_>) -> Result<BTreeSet<MailboxId>, Error> {
        let listing = match self.listing.take() {
            Some(listing) => listing?,
            None => self.imap.list().await?,
        };
        if !listing.mailboxes.iter().any(|m| m.selectable && m.exists) {
            return Err(ImapError::later("the server lists no mailbox at all, which is not believed").into());
        }
        if self.job.subscribed_only && map::selectable(&listing).any(|m| m.subscribed.is_none()) {
            return Err(ImapError::later("the server does not tell what is subscribed, and only that is wanted").into());
        }
        for (name, reason) in &listing.hostile {
            self.leave_out(name.clone(), format!("its name cannot be used: {reason}"), true);
        }
        let listed = self.place_all(&listing)?;
        let statuses = map::selectable(&listing).filter_map(|m| Some((m.name.clone(), m.status?)));
        self.statuses.extend(statuses);
        let trash = crate::sync::table::find_trash(&listed).map(|t| (t.name.clone(), t.place.clone()));
        let directories = self.directories().await?;
        let there = self.identify(&listed).await?;
        self.learn_places(&listed, &directories, &there).await?;
        let verdicts = self.verdicts(&listed, &directories, &there, asked);

        let mut mirrored = BTreeSet::new();
        let mut actions = Vec::new();
        let (mut second, mut met) = (None, BTreeSet::new());
        for verdict in verdicts {
            match verdict {
                MailboxVerdict::Mirror(id) => {
                    self.dissolve(id).await?;
                    mirrored.insert(id);
                }
                MailboxVerdict::CreateLocal { name, path, .. } => {
                    actions.push(MailboxAction::CreateLocal { mailbox: self.number(&name), name, path });
                }
                MailboxVerdict::CreateRemote { name, .. } if self.job.policy.push.new != Answer::Allow => {
                    let reason = "it is in the Maildir only, and nothing new goes to the server in this mode";
                    self.leave_out(name.to_string(), reason, false);
                }
                MailboxVerdict::CreateRemote { name, path, copy_of } => {
                    let mailbox = self.number(&name);
                    if let Some(copy_of) = copy_of {
                        let (name, path) = (name.clone(), path.clone());
                        actions.push(MailboxAction::MarkCopy { mailbox, name, path, copy_of });
                    }
                    actions.push(MailboxAction::CreateRemote { mailbox, name, path: Some(path) });
                }
                MailboxVerdict::Meet { name, path, .. } => {
                    // It gets a marker, and is adopted.
                    let mailbox = self.number(&name);
                    met.insert(mailbox);
                    actions.push(MailboxAction::CreateLocal { mailbox, name, path });
                }
                MailboxVerdict::RenameLocal { mailbox, name, from, to, overruled } => {
                    if overruled {
                        let reason = "it was renamed on both sides, and the server has the last word";
                        self.leave_out(name.to_string(), reason, false);
                    }
                    actions.push(MailboxAction::RenameLocal { mailbox, name, from, to, whole: false });
                }
                MailboxVerdict::RenameRemote { from, path, .. } if !self.job.policy.writes_there() => {
                    let path = crate::mail::escape(path);
                    let reason =
                        format!("its directory was moved to {path}, and nothing is renamed on the server in this mode");
                    self.leave_out(from.to_string(), format!("{reason}; move it back"), true);
                }
                MailboxVerdict::RenameRemote { mailbox, from, to, path } => {
                    actions.push(MailboxAction::RenameRemote { mailbox, from, to, path });
                }
                MailboxVerdict::Park(id) => self.park(id, &mut second).await?,
                MailboxVerdict::Empty(id) => self.begin_to_empty(id, &mut mirrored, &mut second).await?,
                MailboxVerdict::Forget(id) => self.forget(id, &mut second).await?,
                MailboxVerdict::Unsubscribed(id) => self.park_unsubscribed(id).await?,
                MailboxVerdict::Unpark(id) => {
                    self.remember(id, |record| record.parked = None).await?;
                    mirrored.insert(id);
                }
                MailboxVerdict::BackOnServer(id, here) => {
                    if let Some(action) = self.unpark(id, here, &mut mirrored).await? {
                        actions.push(action);
                    }
                }
                MailboxVerdict::Parked(id) => self.tell_parked(id),
                MailboxVerdict::GoneHere { mailbox, name } => self.ask_about(mailbox, &name).await?,
                // Memory and Maildir are of different times: that a directory is gone means nothing until somebody says so.
                MailboxVerdict::DeleteRemote { mailbox, name, approved }
                    if !self.job.policy.writes_there() || !approved && self.is_doubted(mailbox) =>
                {
                    self.ask_about(mailbox, &name).await?;
                }
                MailboxVerdict::DeleteRemote { mailbox, name, approved } => {
                    actions.extend(self.may_delete(mailbox, name, approved).await?);
                }
                MailboxVerdict::Restore { mailbox, name, path } => {
                    actions.extend(self.start_afresh(mailbox, name, path).await?);
                }
                MailboxVerdict::Unavailable { mailbox, reason } => {
                    if let Some(record) = self.records.get(&mailbox) {
                        let (name, path) = (record.name.to_string(), record.path.clone().unwrap_or_default());
                        let reason = format!(
                            "its directory {} is no Maildir of ours any more: {reason}; nothing is deleted on the server",
                            crate::mail::escape(path)
                        );
                        self.leave_out(name, reason, true);
                    }
                }
                MailboxVerdict::LeftOut { what, reason, failed } => self.leave_out(what, reason, failed),
            }
        }
        let records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        let actions = arrange(actions, &records);
        self.learn_roles(&listed);
        let is_news = |action: &&MailboxAction| !met.contains(&action.mailbox());
        self.report.plan.mailboxes.extend(actions.iter().filter(is_news).cloned());
        let deletes = |action: &MailboxAction| matches!(action, MailboxAction::DeleteRemote { .. });
        let (deletions, actions): (Vec<_>, Vec<_>) = actions.into_iter().partition(deletes);
        if self.mode == Mode::DryRun {
            mirrored.extend(self.pretend(actions, &met));
        } else {
            mirrored.extend(self.make_mailboxes(actions).await?);
        }
        self.learn_roles(&listed);
        self.find_trash(trash).await?;
        if self.mode == Mode::Execute {
            // What is deleted goes to the Trash first.
            let approved =
                |action: &MailboxAction| matches!(action, MailboxAction::DeleteRemote { approved: true, .. });
            if deletions.iter().any(approved) && self.trash.is_none() {
                self.trash_or_reserve();
                let trash = std::mem::take(&mut self.reserved);
                self.make_mailboxes(trash).await?;
            }
            self.make_mailboxes(deletions).await?;
        }
        Ok(mirrored)
    }

    /// Gives every mailbox of the server its role and its place.
    fn place_all(&mut self, listing: &Listing) -> Result<Vec<Listed>, Error> {
        self.mapped = map::without(self.job, map::views(self.job, &self.quirks, listing));
        let records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        let delimiter = map::delimiter(listing);
        self.mapping = map::mapping(&self.mapped, listing, &records)?;
        let listed = map::place(&self.mapped, listing, &self.mapping);
        self.place = (delimiter, map::prefix(&listed, delimiter));
        self.identities = listed.iter().filter_map(|l| Some((l.name.clone(), l.identity.clone()?))).collect();
        Ok(listed)
    }

    fn verdicts(
        &self,
        listed: &[Listed],
        directories: &Directories,
        there: &BTreeMap<MailboxId, There>,
        asked: Asked<'_>,
    ) -> Vec<MailboxVerdict> {
        let delimiter = self.place.0;
        let records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        let wanted = records.iter().filter(|record| map::is_wanted(&self.mapped, &record.name, delimiter));
        let sides = Mailboxes {
            records: &records,
            listed,
            directories: &directories.whole,
            broken: &directories.broken,
            there,
            wanted: &wanted.map(|record| record.id).collect(),
            create: self.job.create_mailboxes,
            delete: self.job.delete_mailboxes,
        };
        let mut verdicts = judge(&sides);
        verdicts.retain(|verdict| match asked {
            Asked::All => true,
            Asked::Only(names) => self.is_about(verdict, names),
            Asked::Nothing => matches!(verdict, MailboxVerdict::Mirror(_)),
            Asked::Beside => matches!(
                verdict,
                MailboxVerdict::Mirror(_)
                    | MailboxVerdict::CreateLocal { .. }
                    | MailboxVerdict::CreateRemote { copy_of: None, .. }
            ),
        });
        verdicts
    }

    /// Tells whether a verdict is about one of these mailboxes.
    fn is_about(&self, verdict: &MailboxVerdict, only: &[String]) -> bool {
        let is_named = |name: &MailboxName| only.iter().any(|asked| map::is_called(name, self.place.0, asked));
        let is_known = |id: &MailboxId| self.records.get(id).is_some_and(|record| is_named(&record.name));
        match verdict {
            MailboxVerdict::Mirror(id)
            | MailboxVerdict::Park(id)
            | MailboxVerdict::Empty(id)
            | MailboxVerdict::Forget(id)
            | MailboxVerdict::Unsubscribed(id)
            | MailboxVerdict::Unpark(id)
            | MailboxVerdict::Parked(id)
            | MailboxVerdict::BackOnServer(id, _)
            | MailboxVerdict::Unavailable { mailbox: id, .. } => is_known(id),
            MailboxVerdict::CreateLocal { name, .. }
            | MailboxVerdict::CreateRemote { name, .. }
            | MailboxVerdict::Meet { name, .. } => is_named(name),
            MailboxVerdict::RenameLocal { mailbox: id, name, .. }
            | MailboxVerdict::Restore { mailbox: id, name, .. }
            | MailboxVerdict::GoneHere { mailbox: id, name }
            | MailboxVerdict::DeleteRemote { mailbox: id, name, .. } => is_known(id) || is_named(name),
            MailboxVerdict::RenameRemote { from, to, .. } => is_named(from) || is_named(to),
            MailboxVerdict::LeftOut { what, .. } => {
                only.iter().any(|name| crate::mail::escape(name) == what.replace(self.place.0.unwrap_or('/'), "/"))
            }
        }
    }

    async fn directories(&self) -> Result<Directories, Error> {
        let Some(root) = self.root.clone() else { return Ok(Directories::default()) };
        let (job, state, history) = (self.mapped.clone(), self.owner.state, self.history.clone());
        let (mapping, delimiter) = (self.mapping.clone(), self.place.0);
        let records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        blocking(move || map::directories(&job, &root, (state, &history), &mapping, delimiter, &records)).await
    }

    /// Tells whether a mailbox is to be adopted before anything of it is believed.
    fn is_doubted(&self, id: MailboxId) -> bool {
        self.records.get(&id).is_some_and(|record| record.adopting.is_some())
    }

    fn is_wanted(&self, name: &MailboxName) -> bool {
        map::is_wanted(&self.mapped, name, self.place.0)
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
        let told = self.identities.get(&record.name);
        let is_same = record.identity.is_some() && told == record.identity.as_ref();
        if here && (is_same || epoch.is_some() && epoch == record.uid_validity) {
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
        let fresh = MailboxRecord { role: record.role, ..MailboxRecord::new(id, name.clone(), None) };
        self.records.insert(id, fresh.clone());
        self.pictures.remove(&id);
        let forgotten = Settlement { forgotten_pictures: vec![id], mailboxes: vec![fresh], ..Settlement::default() };
        self.settle(forgotten).await?;
        Ok(Some(MailboxAction::CreateLocal { mailbox: id, name, path }))
    }

    /// In a dry run: what would be made is taken for made, what would be renamed stays where it is.
    fn pretend(&mut self, actions: Vec<MailboxAction>, met: &BTreeSet<MailboxId>) -> Vec<MailboxId> {
        let mut ids = Vec::new();
        for action in actions {
            let id = action.mailbox();
            let record = match action {
                MailboxAction::CreateLocal { name, path, .. } => {
                    let adopting = met.contains(&id).then_some(Adopting { cause: Cause::Met, question: None });
                    MailboxRecord { adopting, ..MailboxRecord::new(id, name, Some(path)) }
                }
                MailboxAction::CreateRemote { name, path, .. } => {
                    self.pretended.insert(id);
                    MailboxRecord::new(id, name, path)
                }
                MailboxAction::RenameLocal { name, from, .. } => {
                    let Some(record) = self.records.get(&id).cloned() else { continue };
                    MailboxRecord { name, path: Some(from), ..record }
                }
                MailboxAction::RenameRemote { path, .. } => {
                    let Some(record) = self.records.get(&id).cloned() else { continue };
                    MailboxRecord { path: Some(path), ..record }
                }
                MailboxAction::MarkCopy { .. }
                | MailboxAction::DeleteLocal { .. }
                | MailboxAction::DeleteRemote { .. } => continue,
            };
            self.records.insert(id, record);
            ids.push(id);
        }
        ids
    }

    /// The path that a mailbox gets; none if it is not wanted, or cannot have one.
    pub(super) fn place_of(&self, name: &MailboxName) -> Option<String> {
        let place = self.mapping.to_local(name, self.place.0);
        place.ok().filter(|_| self.is_wanted(name)).map(|place| place.as_str().to_owned())
    }

    /// The number of a mailbox that is made: the one that it has already if it is known as a Trash that was not mirrored.
    pub(super) fn number(&self, name: &MailboxName) -> MailboxId {
        // One that has its place is another mailbox, which had this name until now.
        let known = self.records.values().find(|record| record.name == *name && record.path.is_none());
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
        let record = MailboxRecord { role: Some(SpecialUse::Trash), ..MailboxRecord::new(id, name, None) };
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
        let prefix = self.place.1.clone();
        let name = MailboxName::new(&format!("{prefix}Trash")).unwrap_or_else(MailboxName::inbox);
        let path = self.place_of(&name);
        self.reserved.push(MailboxAction::CreateRemote { mailbox: id, name, path });
        self.trash = Some(id);
        id
    }
}
