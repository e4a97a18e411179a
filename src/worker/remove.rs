//! Removals: the only hands that take mail away.
//!
//! Each asks: what if what it believes is wrong? From the Maildir a message leaves into the retention area. On the server
//! it goes to the Trash, or is expunged by its UID; without UIDPLUS only when no mark but ours would go with it. Gone is
//! what a SEARCH does not find any more.

use crate::mail::{BaseName, FlagChange, Flags, Uid, UidSet};
use crate::maildir::{Error as MaildirError, Removal, Removed, Retention, remove};
use crate::remote::error::{Error as ImapError, Refusal};
use crate::remote::imap::CopyUid;
use crate::sync::{Action, MailboxId, Outcome, Removing, Route};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

impl Pass<'_> {
    pub(super) async fn remove_there(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        if actions.is_empty() {
            return Ok(());
        }
        // The last look before mail is taken away: a file that came back meanwhile keeps its message.
        let back = match seen.folder.clone() {
            Some(folder) => blocking(move || Ok(folder.scan()?.files)).await?,
            None => BTreeMap::new(),
        };
        let mut routes = Routes::new();
        for (number, action) in actions {
            let Action::DeleteRemote { uid, name, route, .. } = action else { continue };
            if back.contains_key(name) {
                continue;
            }
            let pair = self.pictures.get(&mailbox).and_then(|picture| picture.pair(*uid));
            let stage = match pair.and_then(|pair| pair.removing) {
                None => Stage::Whole,
                Some(Removing::Copied) => Stage::Copied,
                Some(Removing::Marked) => Stage::Marked,
            };
            let trash = match route {
                Route::Trash(trash) => Some(*trash),
                Route::Expunge => None,
            };
            routes.entry((trash, stage)).or_default().insert(*uid, *number);
        }
        self.spare_labels(mailbox, &mut routes).await?;
        let mut queue: VecDeque<_> = routes.into_iter().collect();
        while let Some(((trash, stage), mut uids)) = queue.pop_front() {
            let set: UidSet = uids.keys().copied().collect();
            let done = match (trash, stage) {
                (Some(trash), Stage::Whole) => self.move_to_trash(trash, &set).await,
                (_, Stage::Marked) => self.expunge_marked(mailbox, &set, seen).await,
                (None, Stage::Whole) => self.keep_and_expunge(mailbox, &set, seen).await,
                (_, Stage::Elsewhere) => self.expunge(&set, None).await,
                (_, Stage::Copied) => self.expunge(&set, Some(Removing::Copied)).await,
            };
            let is_of_one = match &done {
                Ok((_, otherwise)) => matches!(otherwise, Outcome::Failed(_)),
                Err(Error::Imap(ImapError::Refused { refusal, .. })) => is_of_one(refusal),
                Err(_) => false,
            };
            if is_of_one && uids.len() > 1 {
                // One message that the server cannot take away must not keep the others: it is soon alone.
                let middle = uids.keys().nth(uids.len() / 2).copied();
                let rest = middle.map(|uid| uids.split_off(&uid)).unwrap_or_default();
                queue.push_front(((trash, stage), rest));
                queue.push_front(((trash, stage), uids));
                continue;
            }
            let (left, otherwise) = match done {
                Ok(done) => done,
                Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                    let reason = format!("{error}; it was deleted here and is still on the server");
                    uids.values().for_each(|number| outcomes[*number] = Outcome::Failed(reason.clone()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (uid, number) in uids {
                outcomes[number] = if left.contains(uid) { otherwise.clone() } else { Outcome::Removed };
            }
        }
        Ok(())
    }

    /// Where a message may have several labels, moving it to the Trash would take it from all its mailboxes: one that
    /// others show as well loses its label here, and lives on there.
    async fn spare_labels(&mut self, mailbox: MailboxId, routes: &mut Routes) -> Result<(), Error> {
        let to_trash = |(trash, stage): &(Option<MailboxId>, Stage)| trash.is_some() && *stage == Stage::Whole;
        let Some(key) = routes.keys().copied().find(to_trash) else { return Ok(()) };
        let whole: UidSet = routes.get(&key).into_iter().flat_map(BTreeMap::keys).copied().collect();
        let elsewhere = self.live_on(mailbox, &whole).await?;
        let numbers = routes.remove(&key).unwrap_or_default();
        for (uid, number) in numbers {
            let key = if elsewhere.contains(uid) { (None, Stage::Elsewhere) } else { key };
            routes.entry(key).or_default().insert(uid, number);
        }
        Ok(())
    }

    /// Moves messages to the Trash; tells which are still there, and what that means.
    async fn move_to_trash(&mut self, trash: MailboxId, uids: &UidSet) -> Result<(UidSet, Outcome), Error> {
        let Some(name) = self.records.get(&trash).map(|record| record.name.clone()) else {
            return Ok((uids.clone(), Outcome::Moot));
        };
        if self.imap.capabilities().has("MOVE") {
            let told = self.imap.move_to(uids, &name).await?;
            self.note_where(uids, told);
            return Ok((self.imap.search(uids).await?, Outcome::Unknown));
        }
        let told = self.imap.copy_to(uids, &name).await?;
        self.note_where(uids, told);
        self.expunge(uids, Some(Removing::Copied)).await
    }

    /// Notes where messages went, if the server told it of exactly these.
    fn note_where(&mut self, uids: &UidSet, told: Option<CopyUid>) {
        let Some(told) = told.filter(|told| told.source.len() == uids.len()) else { return };
        let count = usize::try_from(uids.len()).unwrap_or(usize::MAX);
        if let (Some(sources), Some(targets)) = (told.source.expand(count), told.target.expand(count)) {
            self.went.extend(sources.into_iter().zip(targets));
        }
    }

    /// Expunges messages whose bodies nobody else has, once they are kept here.
    async fn keep_and_expunge(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
        seen: &Observed,
    ) -> Result<(UidSet, Outcome), Error> {
        match self.keep_copies(mailbox, uids, seen).await? {
            Ok(()) => self.expunge(uids, None).await,
            Err(reason) => Ok((uids.clone(), Outcome::Failed(reason))),
        }
    }

    /// Expunges messages by their UIDs; without UIDPLUS they are only marked as yet. `before` is how far the removal was.
    pub(super) async fn expunge(
        &mut self,
        uids: &UidSet,
        before: Option<Removing>,
    ) -> Result<(UidSet, Outcome), Error> {
        let unchanged = before.map_or(Outcome::Moot, Outcome::Half);
        if self.imap.capabilities().has("UIDPLUS") {
            return match self.imap.remove(uids).await {
                Ok(left) => Ok((left, unchanged)),
                // The copy is made: that must not be forgotten, or it is made again.
                Err(ImapError::Refused { .. }) if before.is_some() => Ok((uids.clone(), unchanged)),
                Err(error) => Err(error.into()),
            };
        }
        let change = FlagChange { add: Flags::parse("\\Deleted"), remove: Flags::new() };
        match self.imap.store(uids, &change).await {
            Ok(_) => {}
            Err(ImapError::Refused { .. }) if before.is_some() => return Ok((uids.clone(), unchanged)),
            Err(error) => return Err(error.into()),
        }
        // The mark is remembered before anything is expunged: if somebody takes it off, the message stays.
        Ok((self.imap.search(uids).await?, Outcome::Half(Removing::Marked)))
    }

    /// Expunges what we marked, if nobody else has marked anything. It takes all of it, also what other batches are about:
    /// each by itself would wait for the others for ever. What came back here is not ours to expunge any more.
    async fn expunge_marked(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
        seen: &Observed,
    ) -> Result<(UidSet, Outcome), Error> {
        let marked = self.imap.search_deleted().await?;
        let picture = self.pictures.get(&mailbox);
        let ours = |uid: Uid| {
            let pair = picture.and_then(|picture| picture.pair(uid));
            pair.is_some_and(|pair| pair.removing == Some(Removing::Marked) && seen.local.get(&pair.name).is_none())
        };
        if !marked.iter().all(ours) {
            return Ok((uids.clone(), Outcome::Moot));
        }
        self.imap.expunge_all().await?;
        Ok((self.imap.search(uids).await?, Outcome::Moot))
    }

    /// Fetches what will be expunged into the retention area, since nobody else has it; not from Trash and Junk.
    async fn keep_copies(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
        seen: &Observed,
    ) -> Result<Result<(), String>, Error> {
        if !self.keeps_expunged(mailbox) || self.job.keep_deleted.is_zero() {
            return Ok(Ok(()));
        }
        let Some(folder) = seen.folder.clone() else { return Ok(Err("its Maildir is not there".into())) };
        self.retain(mailbox, uids, &folder).await
    }

    pub(super) async fn remove_here(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let wanted = actions.iter().filter_map(|(number, action)| match action {
            Action::DeleteLocal { name, .. } => Some((*number, name)),
            _ => None,
        });
        for (number, removed) in self.take_away(mailbox, wanted, seen).await? {
            outcomes[number] = match removed {
                Ok(Removed::Done | Removed::Gone) => Outcome::Removed,
                Err(MaildirError::Exists { .. }) => Outcome::Moot,
                Err(error) => Outcome::Failed(error.to_string()),
            };
        }
        Ok(())
    }

    /// Removes files whose bodies are kept first, and tells of each that was seen what came of it. What is wrong with the
    /// Maildir as a whole is an error.
    pub(super) async fn take_away<'a>(
        &self,
        mailbox: MailboxId,
        wanted: impl Iterator<Item = (usize, &'a BaseName)>,
        seen: &Observed,
    ) -> Result<Vec<(usize, Result<Removed, MaildirError>)>, Error> {
        let (Some(folder), Some(scan)) = (seen.folder.clone(), &seen.scan) else { return Ok(Vec::new()) };
        let there = wanted.filter_map(|(number, name)| Some((number, name, scan.files.get(name)?)));
        let (numbers, removals): (Vec<usize>, Vec<Removal>) =
            there.map(|(number, name, known)| (number, Removal { base: name.clone(), known: known.clone() })).unzip();
        if removals.is_empty() {
            return Ok(Vec::new());
        }
        let (state_dir, account) = (self.job.state_dir.clone(), self.job.account.clone());
        let removed = blocking(move || {
            let retention = Retention::open(&state_dir, &account)?;
            let removed = remove(&folder, &removals, &retention, mailbox.0, SystemTime::now());
            folder.sync()?;
            Ok(removed)
        });
        let mut told = Vec::new();
        for (number, removed) in numbers.into_iter().zip(removed.await?) {
            match removed {
                Err(error @ (MaildirError::DiskFull { .. } | MaildirError::Unavailable(_))) => return Err(error.into()),
                removed => told.push((number, removed)),
            }
        }
        Ok(told)
    }
}

/// Tells whether a refusal can be about one message of a set, and not about the whole.
pub(super) fn is_of_one(refusal: &Refusal) -> bool {
    let of_all = ["TRYCREATE", "NONEXISTENT", "NOPERM", "OVERQUOTA", "LIMIT", "READ-ONLY", "CANNOT"];
    !refusal.bad && !of_all.iter().any(|code| refusal.has_code(code))
}

/// How far a removal is before this pass goes on with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Whole,
    Copied,
    Marked,
    /// Another mailbox shows the message as well: expunging it here takes a label, and nothing else.
    Elsewhere,
}

/// What is to be removed, by where it goes and how far that is: each message with the number of its action.
type Routes = BTreeMap<(Option<MailboxId>, Stage), BTreeMap<Uid, usize>>;
