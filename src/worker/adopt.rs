//! Adoption: learning how mail looks on both sides, having it paired, and remembering the pairs.
//!
//! What is paired is one commit a mailbox: a crash before it costs the looking, and nothing else. The judgement is
//! [`sync::adopt`](crate::sync::adopt()); these are its eyes.

use crate::mail::{BaseName, Uid, UidSet, fingerprint};
use crate::maildir::looks_of;
use crate::remote::error::Error as ImapError;
use crate::store::Settlement;
use crate::sync::adopt::{common, whole_files};
use crate::sync::matching;
use crate::sync::{
    Action, Adopting, Adoption, Cause, Change, HeaderLook, Known, LooksHere, LooksThere, MailboxId, MailboxRecord,
    Pair, Picture, Question, Scope, Word, Work, adopt, reappeared, scope, undecided,
};
use crate::worker::execute::own_fault;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use crate::worker::{Error, Event, Mode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// Messages whose Message-IDs are asked for at once.
const IDS: usize = 2000;
/// Headers that are asked for at once; they are held in memory.
const HEADERS: usize = 200;
/// Files that are read in one task, and tasks at once.
const FILES: usize = 64;
const READERS: usize = 4;

impl Pass<'_> {
    /// Pairs those mailboxes whose memory is missing or means nothing any more, before anything follows from them. One in
    /// which too little belongs together is taken out of the pass, and asked about.
    pub(super) async fn adopt(&mut self, observed: &mut BTreeMap<MailboxId, Observed>) -> Result<(), Error> {
        let mut plain = Settlement::default();
        for id in observed.keys().copied().collect::<Vec<_>>() {
            if let Some(record) = observed.get(&id).and_then(|seen| self.recalled(id, seen)) {
                plain.mailboxes.push(record);
            }
            let (Some(seen), Some(cause)) = (observed.get(&id), self.cause(id, observed)) else { continue };
            match self.adopt_mailbox(id, cause, seen, &mut plain).await {
                Ok(true) => {}
                Ok(false) => drop(observed.remove(&id)),
                Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                    self.selected = None;
                    let name = self.records.get(&id).map(|record| record.name.to_string()).unwrap_or_default();
                    self.leave_out(name, error.to_string(), true);
                    observed.remove(&id);
                }
                Err(error) => return Err(error),
            }
        }
        if plain.mailboxes.is_empty() {
            return Ok(());
        }
        self.settle(plain).await
    }

    /// The server that was asked about is gone, and the one that is remembered is back: its memory holds as it is.
    fn recalled(&mut self, id: MailboxId, seen: &Observed) -> Option<MailboxRecord> {
        let record = self.records.get_mut(&id)?;
        let is_back = record.uid_validity == Some(seen.reached.uid_validity)
            && record.adopting.is_some_and(|adopting| adopting.cause == Cause::NewEpoch);
        is_back.then(|| {
            record.adopting = None;
            record.clone()
        })
    }

    /// Why a mailbox has to be adopted, if it has to.
    fn cause(&self, id: MailboxId, observed: &BTreeMap<MailboxId, Observed>) -> Option<Cause> {
        let (record, seen) = (self.records.get(&id)?, observed.get(&id)?);
        match record.uid_validity {
            None => Some(Cause::Met),
            Some(was) if was != seen.reached.uid_validity => Some(Cause::NewEpoch),
            Some(_) => match record.adopting {
                Some(adopting) => Some(adopting.cause),
                None => {
                    let picture = self.pictures.get(&id)?;
                    reappeared(picture, &seen.remote).then_some(Cause::Reappeared)
                }
            },
        }
    }

    /// Adopts one mailbox. False: a person is asked first. What needs no commit of its own goes into `plain`.
    async fn adopt_mailbox(
        &mut self,
        id: MailboxId,
        cause: Cause,
        seen: &Observed,
        plain: &mut Settlement,
    ) -> Result<bool, Error> {
        let base = self.pictures.get(&id).cloned().unwrap_or_default();
        let question = self.records.get(&id).and_then(|record| record.adopting).and_then(|adopting| adopting.question);
        if let Some(question) = question.filter(|question| is_still_open(question, seen)) {
            self.ask(id, cause, question).await?;
            return Ok(false);
        }
        let wanted = scope(cause, &base, &seen.remote, &seen.local);
        let (there, here) = self.looks(id, &base, seen, wanted).await?;
        let store = self.store.clone();
        let mut memory = blocking(move || Ok(store.guard()?)).await?;
        // What was made by us, and was empty then, belongs together whatever came into it since.
        let is_ours = cause == Cause::Met && self.records.get(&id).is_some_and(|record| record.adopting.is_none());
        let done = adopt(cause, &base, (&seen.remote, &seen.local), &there, &here, memory.last_set);
        let approved = question.is_some_and(|question| question.word == Word::Approved);
        if cause != Cause::Reappeared && done.is_doubtful() && !approved && !is_ours {
            let word = question.map_or(Word::Waiting, |question| question.word);
            let question = Question { paired: done.paired, there: done.there, here: done.here, word };
            self.ask(id, cause, question).await?;
            return Ok(false);
        }
        let Adoption { changes, recognised, held, last_set, .. } = done;
        self.report.recognised += u64::from(recognised);
        let Some(record) = self.records.get_mut(&id) else { return Ok(false) };
        let renumbered = record.uid_validity != Some(seen.reached.uid_validity);
        let forgets = renumbered && !base.is_empty();
        if renumbered || record.adopting.is_some() {
            record.checkpoint = None;
        }
        record.uid_validity = Some(seen.reached.uid_validity);
        record.adopting = None;
        let record = record.clone();
        if changes.is_empty() && !forgets {
            if cause != Cause::Reappeared {
                plain.mailboxes.push(record);
            }
            return Ok(true);
        }
        let picture = self.pictures.entry(id).or_default();
        if forgets {
            *picture = Picture::new();
        }
        changes.iter().for_each(|change| picture.apply(change.clone()));
        self.learnt += changes.len() as u64;
        memory.last_set = last_set;
        let settlement = Settlement {
            forgotten_pictures: if forgets { vec![id] } else { vec![] },
            changes: vec![(id, changes)],
            mailboxes: vec![record],
            guard: (held > 0).then_some(memory),
            ..Settlement::default()
        };
        self.settle(settlement).await?;
        Ok(true)
    }

    /// Leaves a mailbox alone until a person has said whether its sides belong together.
    async fn ask(&mut self, id: MailboxId, cause: Cause, question: Question) -> Result<(), Error> {
        let account = self.job.account.clone();
        let Some(record) = self.records.get_mut(&id) else { return Ok(()) };
        let Question { paired, there, here, word } = question;
        let name = record.name.to_string();
        let reason = format!(
            "of {there} messages on the server and {here} in the Maildir only {paired} belong together, and nothing is \
             changed on either side; if the server and the Maildir are the right ones, `mailtwin approve {account}/{name}` \
             carries over what the other side lacks; if not, correct `user`, `host` or `maildir`"
        );
        // That the memory is not to be trusted stays true whatever the server does.
        let before = record.adopting.map(|adopting| adopting.cause);
        let cause =
            before.filter(|was| matches!(was, Cause::RolledBack | Cause::Restored | Cause::Doubted)).unwrap_or(cause);
        let adopting = Some(Adopting { cause, question: Some(question) });
        if std::mem::replace(&mut record.adopting, adopting) != adopting {
            let mailboxes = vec![record.clone()];
            self.settle(Settlement { mailboxes, ..Settlement::default() }).await?;
        }
        self.report.asked += u64::from(word == Word::Waiting);
        self.leave_out(name, reason, false);
        Ok(())
    }

    /// How both sides look, as far as it has to be known.
    async fn looks(
        &mut self,
        id: MailboxId,
        base: &Picture,
        seen: &Observed,
        wanted: Scope,
    ) -> Result<(BTreeMap<Uid, LooksThere>, BTreeMap<BaseName, LooksHere>), Error> {
        let Scope { uids, names, gone } = wanted;
        if uids.is_empty() || names.is_empty() && gone.is_empty() {
            return Ok((BTreeMap::new(), gone));
        }
        let mut here = self.files(base, seen, &names).await?;
        here.extend(gone);
        if !self.open(id, seen.reached.uid_validity).await? {
            return Err(ImapError::later("the mailbox was numbered anew while it was looked at").into());
        }
        let mut there = self.messages(&uids, seen).await?;
        let undecided = undecided(&there, &here);
        self.ask_headers(&undecided, &mut there).await?;
        Ok((there, here))
    }

    /// How files look; of those that passed through our hands it is remembered.
    async fn files(
        &self,
        base: &Picture,
        seen: &Observed,
        names: &BTreeSet<BaseName>,
    ) -> Result<BTreeMap<BaseName, LooksHere>, Error> {
        let (Some(folder), Some(scan)) = (&seen.folder, &seen.scan) else { return Ok(BTreeMap::new()) };
        let mut here = BTreeMap::new();
        let mut unread = Vec::new();
        for name in names {
            let Some(file) = scan.files.get(name) else { continue };
            let known = base.partner(name).and_then(|uid| base.pair(uid)).and_then(|pair| pair.print);
            match known {
                Some(print) => {
                    let flags = file.flags.clone();
                    let known = LooksHere { flags, print, octets: None, unended: false, date: None, gone: false };
                    here.insert(name.clone(), known);
                }
                None => unread.push((name.clone(), file.clone())),
            }
        }
        let total = unread.len();
        let mut tasks: JoinSet<Result<Vec<(BaseName, LooksHere)>, Error>> = JoinSet::new();
        let mut parts = unread.chunks(FILES).map(<[_]>::to_vec);
        let mut done = 0;
        loop {
            while tasks.len() < READERS
                && let Some(part) = parts.next()
            {
                let folder = folder.clone();
                tasks.spawn_blocking(move || {
                    let mut found = Vec::new();
                    for (name, file) in part {
                        // What cannot be read is not paired; its upload tells why.
                        if let Some(looks) = own_fault(looks_of(&folder, &name, &file))?.ok().flatten() {
                            let here = LooksHere {
                                flags: file.flags,
                                print: looks.fingerprint,
                                octets: Some(looks.octets),
                                unended: looks.unended,
                                date: seconds(looks.modified),
                                gone: false,
                            };
                            found.push((name, here));
                        }
                    }
                    Ok(found)
                });
            }
            let Some(found) = tasks.join_next().await else { break };
            let found = found??;
            done = (done + FILES).min(total);
            let _ = self.events.send(Event::Pairing { done, total });
            here.extend(found);
        }
        Ok(here)
    }

    /// How messages of the open mailbox look, their headers left aside.
    async fn messages(&mut self, uids: &BTreeSet<Uid>, seen: &Observed) -> Result<BTreeMap<Uid, LooksThere>, Error> {
        let mut there = BTreeMap::new();
        let uids: Vec<Uid> = uids.iter().copied().collect();
        for part in uids.chunks(IDS) {
            for fetched in self.imap.fetch_fingerprint_headers(&part.iter().copied().collect(), false).await? {
                let message_id = fetched.header.as_deref().and_then(|text| fingerprint::of(text).message_id);
                let flags = seen.remote.get(fetched.uid).cloned().unwrap_or_default();
                let (size, date) = (fetched.size, fetched.internal_date);
                there.insert(fetched.uid, LooksThere { flags, size, date, message_id, header: None });
            }
        }
        Ok(there)
    }

    async fn ask_headers(&mut self, uids: &BTreeSet<Uid>, there: &mut BTreeMap<Uid, LooksThere>) -> Result<(), Error> {
        let uids: Vec<Uid> = uids.iter().copied().collect();
        for part in uids.chunks(HEADERS) {
            for fetched in self.imap.fetch_headers(&part.iter().copied().collect()).await? {
                if let (Some(octets), Some(message)) = (fetched.header, there.get_mut(&fetched.uid)) {
                    let print = fingerprint::of(&octets);
                    let volatile = (octets.len() as u64).saturating_sub(print.size);
                    message.header = Some(HeaderLook { digest: print.header, volatile });
                }
            }
        }
        Ok(())
    }

    /// Whether another device may be uploading what these actions upload: the mailbox is in its first pass.
    pub(super) fn may_meet_newcomers(&self, id: MailboxId, actions: &[Action]) -> bool {
        let is_adopted = self.records.get(&id).is_some_and(|record| record.checkpoint.is_none());
        is_adopted && actions.iter().any(|action| matches!(action, Action::Append { .. }))
    }

    /// Looks once more before mail of a mailbox that was adopted a moment ago is uploaded: another device may be adopting
    /// it as well, and have uploaded the same. What came meanwhile is paired, and not uploaded.
    pub(super) async fn meet_newcomers(
        &mut self,
        id: MailboxId,
        actions: &mut Vec<Action>,
        seen: &Observed,
    ) -> Result<(), Error> {
        if self.mode != Mode::Execute || !self.may_meet_newcomers(id, actions) {
            return Ok(());
        }
        if !self.open(id, seen.reached.uid_validity).await? {
            actions.retain(|action| !matches!(action, Action::Append { .. }));
            return Ok(());
        }
        let picture = self.pictures.get(&id).cloned().unwrap_or_default();
        let found = self.imap.search(&UidSet::range(seen.uid_next(), Uid::MAX)).await?;
        let is_new = |uid: &Uid| picture.uid(*uid).is_none() && seen.remote.get(*uid).is_none();
        let uids: BTreeSet<Uid> = found.iter().filter(is_new).collect();
        if uids.is_empty() {
            return Ok(());
        }
        let mut there = self.messages(&uids, seen).await?;
        // What we uploaded ourselves, and do not know the UIDs of, is not another device's.
        let ours: BTreeMap<BaseName, LooksHere> = self
            .batches
            .iter()
            .filter_map(|batch| match &batch.work {
                Work::Messages { mailbox, actions, .. } if *mailbox == id => Some(actions),
                _ => None,
            })
            .flat_map(|actions| actions.iter().filter_map(upload))
            .collect();
        let planned: BTreeMap<BaseName, LooksHere> = actions.iter().filter_map(upload).collect();
        let all = ours.iter().chain(&planned).map(|(name, here)| (name.clone(), here.clone())).collect();
        let undecided = undecided(&there, &all);
        self.ask_headers(&undecided, &mut there).await?;
        for found in matching::pair_up(&there, &ours) {
            there.remove(&found.uid);
        }
        let flags = self.imap.list_flags(&there.keys().copied().collect(), false).await?;
        let mut changes = Vec::new();
        for found in matching::pair_up(&there, &planned) {
            let Some(here) = planned.get(&found.name) else { continue };
            let shown = flags.iter().find(|f| f.uid == found.uid).and_then(|f| f.flags.clone()).unwrap_or_default();
            let agreed = common(&shown, &here.flags);
            let pair = Pair { guessed: found.guessed, ..Pair::agreed(found.name.clone(), agreed, Some(here.print)) };
            changes.push(Change::Uid(found.uid, Some(Known::Pair(pair))));
            actions.retain(|action| !matches!(action, Action::Append { name, .. } if *name == found.name));
        }
        let picture = self.pictures.entry(id).or_default();
        changes.iter().for_each(|change| picture.apply(change.clone()));
        self.learnt += changes.len() as u64;
        self.report.recognised += changes.len() as u64;
        self.settle(Settlement { changes: vec![(id, changes)], ..Settlement::default() }).await
    }
}

/// Tells whether both sides have as many messages as when a person was asked, and the person did not agree.
fn is_still_open(question: &Question, seen: &Observed) -> bool {
    question.word != Word::Approved
        && usize::try_from(question.there) == Ok(seen.remote.messages().len())
        && usize::try_from(question.here) == Ok(whole_files(&seen.local).count())
}

/// A file that is about to be uploaded, or was.
fn upload(action: &Action) -> Option<(BaseName, LooksHere)> {
    let Action::Append { name, flags, print: Some(print) } = action else { return None };
    let flags = flags.clone();
    Some((name.clone(), LooksHere { flags, print: *print, octets: None, unended: false, date: None, gone: false }))
}

fn seconds(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok())
}
