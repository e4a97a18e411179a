//! Looking at both sides of mailboxes until the pictures are complete.
//!
//! The Maildirs are looked at first, all together, since a second look may have to wait; then the server. A mailbox that
//! cannot be seen whole is left out of this pass with a reason; it never looks empty.

mod changes;
mod here;

use crate::mail::{ModSeq, Storable, Uid, UidSet, UidValidity};
use crate::maildir::{Folder, Scan};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Access, FetchedFlags, SelectRequest, Selected, Status, Tier};
use crate::sync::{
    Checkpoint, Delta, Doubt, Glance, LocalView, MailboxId, MailboxRecord, Numbers, Picture, RemoteView, Rules, glance,
    reconcile,
};
use crate::worker::Error;
use crate::worker::pass::{Pass, blocking};
use here::Here;
use std::collections::{BTreeMap, BTreeSet};

/// Both sides of a mailbox, complete.
#[derive(Debug)]
pub(super) struct Observed {
    pub folder: Option<Folder>,
    pub scan: Option<Scan>,
    pub local: LocalView,
    pub remote: RemoteView,
    /// The numbers that this view reaches up to.
    pub reached: Checkpoint,
    pub remote_flags: Storable,
    pub read_only: bool,
    /// The server's side was listed in full.
    pub listed: bool,
}

/// So often a mailbox that somebody else is changing is listed.
const LISTINGS: usize = 3;

impl Observed {
    /// The UID from which on something that is added will be found.
    pub(super) fn uid_next(&self) -> Uid {
        let after_last = self.remote.messages().keys().next_back().and_then(|uid| uid.next()).unwrap_or(Uid::MIN);
        self.reached.uid_next.unwrap_or(after_last)
    }
}

impl Pass<'_> {
    /// Looks at both sides of these mailboxes.
    pub(super) async fn observe(&mut self, ids: &BTreeSet<MailboxId>) -> Result<BTreeMap<MailboxId, Observed>, Error> {
        for id in ids {
            if !self.pictures.contains_key(id) {
                let (store, id) = (self.store.clone(), *id);
                let picture = blocking(move || Ok(store.picture(id)?)).await?;
                self.pictures.insert(id, picture);
            }
        }
        let mut here = self.look_here(ids).await?;
        let mut observed = BTreeMap::new();
        let mut open = BTreeMap::new();
        for id in ids {
            let (Some(here), Some(record)) = (here.remove(id), self.records.get(id).cloned()) else { continue };
            if self.emptying.contains(id) {
                // It is gone from the server, which was told by two lists and STATUS.
                let uid_validity = record.uid_validity.unwrap_or(UidValidity::new(1).expect("not zero"));
                let seen = nothing_there(here);
                observed.insert(*id, Observed { reached: Checkpoint { uid_validity, ..seen.reached }, ..seen });
                continue;
            }
            match self.at_rest(&record, here) {
                Ok(seen) => drop(observed.insert(*id, seen)),
                Err(here) => drop(open.insert(*id, (record, *here))),
            }
        }
        let mut surveyed = self.survey(&open).await?;
        for (id, (record, here)) in open {
            match self.look_there(&record, here, surveyed.remove(&id)).await {
                Ok(Some(seen)) => drop(observed.insert(id, seen)),
                Ok(None) => {}
                Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                    self.selected = None;
                    self.leave_out(record.name.to_string(), error.to_string(), true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(observed)
    }

    /// Looks at the server's side of a mailbox. `None`: it is left out, and that was told.
    async fn look_there(
        &mut self,
        record: &MailboxRecord,
        here: Here,
        surveyed: Option<Result<Selected, ImapError>>,
    ) -> Result<Option<Observed>, Error> {
        let picture = self.pictures.remove(&record.id).unwrap_or_default();
        let seen = self.select(record, &picture, here, surveyed).await;
        self.pictures.insert(record.id, picture);
        seen
    }

    /// What both sides hold of a mailbox that need not be opened: its numbers are those of the checkpoint, and nothing is to
    /// be done in it.
    fn at_rest(&mut self, record: &MailboxRecord, here: Here) -> Result<Observed, Box<Here>> {
        let status = self.statuses.get(&record.name).filter(|_| !self.needs_all(record));
        let picture = self.pictures.remove(&record.id).unwrap_or_default();
        let keeps_no_modseqs = self.imap.tier() == Tier::C;
        let by_numbers = keeps_no_modseqs && self.glance(record) == Glance::Numbers;
        let told = status.and_then(|status| unchanged(record, status, &picture, by_numbers));
        let done = match told {
            None => Err(Box::new(here)),
            Some((remote, reached)) => {
                let Here { folder, scan, local } = here;
                let remote_flags = self.storable_there(Storable::everything());
                let (read_only, listed) = (false, false);
                let seen = Observed { folder, scan, local, remote, reached, remote_flags, read_only, listed };
                if self.is_quiet(&picture, &seen) {
                    Ok(seen)
                } else {
                    Err(Box::new(Here { folder: seen.folder, scan: seen.scan, local: seen.local }))
                }
            }
        };
        self.pictures.insert(record.id, picture);
        done
    }

    /// Tells whether a mailbox is to be listed in full: a crash left work in it half done, or it is time for its audit.
    fn needs_all(&self, record: &MailboxRecord) -> bool {
        self.lists_all
            || super::pass::is_audit_due(record, super::pass::now())
            || self.batches.iter().any(|batch| super::pass::touches(batch, record.id))
    }

    /// How closely the server's side of a mailbox is looked at, where it keeps no mod-sequences.
    pub(super) fn glance(&self, record: &MailboxRecord) -> Glance {
        glance(record, self.job.flags_every.map(|every| every.as_secs()), super::pass::now())
    }

    /// Tells whether only the newest messages of a mailbox are looked at, unless its numbers changed.
    fn only_newest(&self, record: &MailboxRecord) -> bool {
        self.imap.tier() == Tier::C && !self.needs_all(record) && self.glance(record) == Glance::Newest
    }

    /// Opens all these mailboxes in one flight; of those of which no change can be asked, the messages are listed.
    async fn survey(
        &mut self,
        mailboxes: &BTreeMap<MailboxId, (MailboxRecord, Here)>,
    ) -> Result<BTreeMap<MailboxId, Result<Selected, ImapError>>, Error> {
        let there: Vec<&MailboxRecord> =
            mailboxes.values().map(|(record, _)| record).filter(|r| !self.pretended.contains(&r.id)).collect();
        let tier = self.imap.tier();
        let requests: Vec<SelectRequest> = there
            .iter()
            .map(|record| {
                let since = self.since(record);
                let list = (since.is_none() || tier != Tier::A) && !self.only_newest(record);
                SelectRequest { name: record.name.clone(), access: self.access(), since, list }
            })
            .collect();
        if requests.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.selected = None;
        let opened = self.imap.select_many(&requests).await?;
        if let (Some(record), Some(Ok(last))) = (there.last(), opened.last()) {
            self.selected = Some((record.id, last.uid_validity));
        }
        Ok(there.iter().map(|record| record.id).zip(opened).collect())
    }

    /// From where changes are asked for; none where everything is to be listed.
    fn since(&self, record: &MailboxRecord) -> Option<(UidValidity, ModSeq)> {
        let since = record.checkpoint.and_then(|c| Some((c.uid_validity, c.highest_mod_seq?)));
        since.filter(|_| !self.needs_all(record))
    }

    /// Tells whether nothing follows, whatever flags the server can store.
    fn is_quiet(&mut self, picture: &Picture, seen: &Observed) -> bool {
        let rules = Rules {
            policy: self.job.policy,
            remote_flags: seen.remote_flags.clone(),
            local_flags: self.storable_here(seen),
            route: crate::sync::Route::Expunge,
            limits: self.job.limits,
            now: super::pass::now(),
        };
        let names = &mut self.names;
        let done = reconcile(picture, &seen.remote, &seen.local, &rules, &mut || names.next());
        // Flags that a policy leaves different are no question that waits for an answer.
        let waits = !self.job.policy.keeps_flags() && picture.has_due(rules.now);
        done.actions.is_empty() && done.notes.is_empty() && !waits
    }

    async fn select(
        &mut self,
        record: &MailboxRecord,
        picture: &Picture,
        here: Here,
        surveyed: Option<Result<Selected, ImapError>>,
    ) -> Result<Option<Observed>, Error> {
        if self.pretended.contains(&record.id) {
            // A dry run, and the mailbox is not made yet.
            return Ok(Some(nothing_there(here)));
        }
        let mut selected = surveyed.transpose()?;
        let is_known = |selected: &&Selected| record.uid_validity.is_none_or(|was| was == selected.uid_validity);
        let mut settled = selected.as_ref().filter(is_known).and_then(|selected| settled(record, picture, selected));
        if settled.is_none() && self.selected.is_none_or(|(open, _)| open != record.id) {
            // It takes further questions, for which it has to be the open one.
            selected = None;
        }
        let selected = match selected {
            Some(selected) => selected,
            None => {
                self.selected = None;
                let selected = self.imap.select(&record.name, self.access(), self.since(record)).await?;
                self.selected = Some((record.id, selected.uid_validity));
                selected
            }
        };
        // In a new epoch what is remembered says nothing about this listing: adoption pairs it anew.
        let nothing = Picture::new();
        let renumbered = record.uid_validity.is_some_and(|was| was != selected.uid_validity);
        let picture = if renumbered { &nothing } else { picture };
        let viewed = match settled.take() {
            Some(view) => Ok((view, selected.exists, selected.delta.is_none())),
            None => self.view(record, picture, &selected).await?,
        };
        let (remote, exists, listed) = match viewed {
            Ok(view) => view,
            Err(doubt) => {
                let reason = format!("{doubt}; nothing is concluded from that");
                self.leave_out(record.name.to_string(), reason, true);
                return Ok(None);
            }
        };
        let reached = Checkpoint {
            uid_validity: selected.uid_validity,
            highest_mod_seq: selected.highest_mod_seq,
            uid_next: selected.uid_next,
            messages: exists,
        };
        let Here { folder, scan, local } = here;
        let remote_flags = self.storable_there(selected.permanent_flags);
        let read_only = selected.read_only && self.access() == Access::ReadWrite;
        Ok(Some(Observed { folder, scan, local, remote, reached, remote_flags, read_only, listed }))
    }

    /// A complete view of the open mailbox and the number of its messages, by delta if that is believed, else by listing:
    /// then the last is true.
    async fn view(
        &mut self,
        record: &MailboxRecord,
        picture: &Picture,
        selected: &Selected,
    ) -> Result<Result<(RemoteView, u32, bool), Doubt>, Error> {
        let numbers = Numbers {
            uid_validity: selected.uid_validity,
            exists: selected.exists,
            highest_mod_seq: selected.highest_mod_seq,
        };
        let tells_vanished = self.imap.tier() == Tier::A;
        if let (Some(checkpoint), Some(delta)) = (&record.checkpoint, &selected.delta)
            && tells_vanished
            && let Some(changed) = flags_of(&delta.changed)
        {
            let delta = Delta { changed, vanished: delta.vanished.clone() };
            match RemoteView::after(picture, checkpoint, &numbers, &delta) {
                Ok(view) if self.confirm(picture, &view).await? => return Ok(Ok((view, selected.exists, false))),
                Ok(_) => {}
                Err(doubt) => self.tell_doubt(record, &doubt),
            }
        }
        if !tells_vanished
            && self.since(record).is_some()
            && let Some((view, exists)) = self.view_by_changes(record, picture, selected).await?
        {
            return Ok(Ok((view, exists, false)));
        }
        if self.only_newest(record)
            && let Some((view, exists)) = self.view_by_newest(record, picture, selected).await?
        {
            return Ok(Ok((view, exists, false)));
        }
        let mut last = Doubt::DoesNotAddUp { exists: selected.exists, counted: 0 };
        for _ in 0..LISTINGS {
            let (listed, exists) = self.list_all(selected.exists).await?;
            match RemoteView::listed(listed, exists) {
                Ok(view) if self.confirm(picture, &view).await? => return Ok(Ok((view, exists, true))),
                Ok(view) => {
                    last = Doubt::DoesNotAddUp { exists, counted: view.messages().len() as u64 };
                }
                Err(doubt) => last = doubt,
            }
        }
        Ok(Err(last))
    }

    /// Lists every message with its flags, and tells how many there are meanwhile.
    async fn list_all(&mut self, exists: u32) -> Result<(BTreeMap<Uid, crate::mail::Flags>, u32), Error> {
        let news = self.imap.take_news();
        let exists = news.exists.unwrap_or(exists);
        if exists == 0 {
            return Ok((BTreeMap::new(), 0));
        }
        let listed = self.imap.list_flags(&UidSet::range(Uid::MIN, Uid::MAX), false).await?;
        let exists = self.imap.take_news().exists.unwrap_or(exists);
        // A message whose flags the server did not tell is not one without flags: the list is not complete.
        Ok((flags_of(&listed).unwrap_or_default(), exists))
    }

    /// Asks once more for every message that seems to be gone: servers report as vanished what is there.
    async fn confirm(&mut self, picture: &Picture, view: &RemoteView) -> Result<bool, Error> {
        let missing: UidSet = view.missing(picture).collect();
        if missing.is_empty() {
            return Ok(true);
        }
        Ok(self.imap.search(&missing).await?.is_empty())
    }
}

/// The view that opening a mailbox gave already, if it is complete and nothing in it has to be asked for once more.
fn settled(record: &MailboxRecord, picture: &Picture, selected: &Selected) -> Option<RemoteView> {
    let view = match (&record.checkpoint, &selected.delta, &selected.listed) {
        (Some(checkpoint), Some(delta), _) => {
            let numbers = Numbers {
                uid_validity: selected.uid_validity,
                exists: selected.exists,
                highest_mod_seq: selected.highest_mod_seq,
            };
            let delta = Delta { changed: flags_of(&delta.changed)?, vanished: delta.vanished.clone() };
            RemoteView::after(picture, checkpoint, &numbers, &delta).ok()?
        }
        (_, _, Some(listed)) => RemoteView::listed(flags_of(listed)?, selected.exists).ok()?,
        _ => return None,
    };
    let is_whole = view.missing(picture).next().is_none();
    is_whole.then_some(view)
}

/// What the status line says of a mailbox in which nothing changed since the checkpoint, on a server that counts
/// every change (RFC 7162), or `by_numbers`, which tell nothing of flags.
fn unchanged(
    record: &MailboxRecord,
    status: &Status,
    picture: &Picture,
    by_numbers: bool,
) -> Option<(RemoteView, Checkpoint)> {
    let checkpoint = record.checkpoint?;
    let told = Checkpoint {
        uid_validity: status.uid_validity?,
        highest_mod_seq: if by_numbers { None } else { Some(status.highest_mod_seq?) },
        uid_next: Some(status.uid_next?),
        messages: status.messages?,
    };
    if told != checkpoint {
        return None;
    }
    let numbers =
        Numbers { uid_validity: told.uid_validity, exists: told.messages, highest_mod_seq: told.highest_mod_seq };
    let view = RemoteView::after(picture, &checkpoint, &numbers, &Delta::default()).ok()?;
    Some((view, checkpoint))
}

fn nothing_there(here: Here) -> Observed {
    let remote = RemoteView::listed(BTreeMap::new(), 0).expect("nothing is as many as none");
    let uid_validity = UidValidity::new(1).expect("not zero");
    let reached = Checkpoint { uid_validity, highest_mod_seq: None, uid_next: None, messages: 0 };
    let Here { folder, scan, local } = here;
    Observed {
        folder,
        scan,
        local,
        remote,
        reached,
        remote_flags: Storable::everything(),
        read_only: false,
        listed: false,
    }
}

fn flags_of(fetched: &[FetchedFlags]) -> Option<BTreeMap<Uid, crate::mail::Flags>> {
    fetched.iter().map(|f| Some((f.uid, f.flags.clone()?))).collect()
}
