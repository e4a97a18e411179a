//! Messages of the server become files: streamed into `tmp`, made durable together, then shown.

use crate::mail::{BaseName, Flags, SpecialUse, Uid, UidSet};
use crate::maildir::{
    Arrival, Delivery, Error as MaildirError, Folder, NameGenerator, Retention, Staged, place, publish, sweep_tmp,
};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{BodyChunk, FetchedBody};
use crate::sync::{Action, MailboxId, Outcome};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Messages that are asked for at once; each holds an open file until it is published.
pub(super) const WINDOW: usize = 128;
/// The host in the names of drafts, by which those that a crash left are known.
pub(super) const DRAFTS: &str = "draft";
/// Pieces of bodies that wait for the disk.
pub(super) const IN_FLIGHT: usize = 16;

impl Pass<'_> {
    pub(super) async fn fetch(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Some(folder) = seen.folder.as_ref().filter(|_| !actions.is_empty()) else { return Ok(()) };
        let swept = folder.clone();
        blocking(move || Ok(sweep_tmp(&swept, DRAFTS, SystemTime::now())?)).await?;
        let role = self.records.get(&mailbox).and_then(|record| record.role);
        let is_stub = |(_, action): &Numbered<'_>| matches!(action, Action::Fetch { name, .. } if name.is_stub());
        let (stubs, mut actions): (Vec<_>, Vec<_>) = actions.iter().copied().partition(is_stub);
        self.fetch_stubs(mailbox, folder, role, &stubs, outcomes).await?;
        let shared = self.link_labels(mailbox, folder, role, &mut actions, outcomes).await?;
        for window in actions.chunks(WINDOW) {
            let uids: Vec<Uid> = window.iter().filter_map(|(_, action)| action.fetches()).collect();
            match self.fetch_window(mailbox, folder, role, window, &uids, outcomes).await {
                Err(Error::Imap(ImapError::Refused { .. })) => {
                    // One message that the server cannot give must not stop the others.
                    for one in window {
                        let uid: Vec<Uid> = one.1.fetches().into_iter().collect();
                        let one_only = std::slice::from_ref(one);
                        match self.fetch_window(mailbox, folder, role, one_only, &uid, outcomes).await {
                            Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                                outcomes[one.0] = Outcome::Failed(error.to_string());
                            }
                            done => done?,
                        }
                    }
                }
                done => done?,
            }
        }
        self.remember_labels(folder, &actions, &shared, outcomes);
        Ok(())
    }

    async fn fetch_window(
        &mut self,
        mailbox: MailboxId,
        folder: &Folder,
        role: Option<SpecialUse>,
        window: &[Numbered<'_>],
        uids: &[Uid],
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let (fetched, mut drafts) = self.stream(folder, &uids.iter().copied().collect()).await?;
        let mut bodies: BTreeMap<Uid, FetchedBody> = fetched.into_iter().map(|body| (body.uid, body)).collect();
        let mut arrivals = Vec::new();
        let mut numbers = Vec::new();
        let mut absent = Vec::new();
        for (number, action) in window {
            let Action::Fetch { uid, name, flags } = action else { continue };
            let Some((body, draft)) = bodies.remove(uid).and_then(|b| drafts.remove(&b.literal).map(|d| (b, d))) else {
                absent.push((*number, *uid));
                continue;
            };
            let staged = finish(draft, body.internal_date).await?;
            if staged.size == 0 && body.size.is_some_and(|size| size > 0) {
                outcomes[*number] = Outcome::Failed("the server sends it without its body".into());
                continue;
            }
            self.octets += staged.size;
            self.shown.entry(name.clone()).or_default().object = body.object;
            numbers.push(*number);
            let subdir = place(&folder.letters(), flags, role);
            arrivals.push(Arrival { staged, base: name.clone(), subdir, flags: flags.clone() });
        }
        drop(drafts);
        self.show(mailbox, folder, numbers, arrivals, outcomes).await?;
        if !absent.is_empty() {
            let asked: UidSet = absent.iter().map(|(_, uid)| *uid).collect();
            let there = self.imap.search(&asked).await?;
            for (number, uid) in absent {
                outcomes[number] = if there.contains(uid) {
                    Outcome::Failed("the server does not send it".into())
                } else {
                    Outcome::Removed
                };
            }
        }
        Ok(())
    }
}

impl Pass<'_> {
    /// Publishes arrivals; the n-th is what came of the action with the n-th number.
    pub(super) async fn show(
        &mut self,
        mailbox: MailboxId,
        folder: &Folder,
        numbers: Vec<usize>,
        arrivals: Vec<Arrival>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let wanted = arrivals.iter().fold(Flags::new(), |all, arrival| all.union(&arrival.flags));
        self.learn(mailbox, folder, wanted).await?;
        let names: Vec<BaseName> = arrivals.iter().map(|arrival| arrival.base.clone()).collect();
        let prints: Vec<_> = arrivals.iter().map(|arrival: &Arrival| arrival.staged.fingerprint).collect();
        let target = folder.clone();
        let published = blocking(move || Ok(publish(&target, arrivals))).await?;
        for (((number, print), published), name) in numbers.into_iter().zip(prints).zip(published).zip(names) {
            outcomes[number] = match published {
                Ok(file) => {
                    self.shown.entry(name).or_default().here = Some(file.flags);
                    Outcome::Fetched(print)
                }
                // Somebody took the name; nothing was overwritten, and the next plan has another.
                Err(MaildirError::Exists { .. }) => Outcome::Moot,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(())
    }

    /// Fetches messages into the retention area, for they are about to be expunged; a clause if one could not be had.
    pub(super) async fn retain(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
        folder: &Folder,
    ) -> Result<Result<(), String>, Error> {
        let all: Vec<Uid> = uids.iter().collect();
        for window in all.chunks(WINDOW) {
            let set: UidSet = window.iter().copied().collect();
            let (bodies, mut drafts) = self.stream(folder, &set).await?;
            let (mut staged, mut got) = (Vec::new(), UidSet::new());
            for body in bodies {
                if let Some(draft) = drafts.remove(&body.literal) {
                    staged.push((finish(draft, body.internal_date).await?, self.name_and_flags(mailbox, body.uid)));
                    got.insert(body.uid);
                }
            }
            drop(drafts);
            if self.imap.search(&set).await?.iter().any(|uid| !got.contains(uid)) {
                return Ok(Err("a copy of it could not be had from the server before expunging it".into()));
            }
            let (state_dir, account) = (self.job.state_dir.clone(), self.job.account.clone());
            blocking(move || {
                let retention = Retention::open(&state_dir, &account)?;
                let at = SystemTime::now();
                let keep = |(staged, (name, flags)): &(Staged, (BaseName, Flags))| {
                    Ok(retention.keep_staged(staged, mailbox.0, (name, flags), at)?)
                };
                staged.iter().try_for_each(keep)
            })
            .await?;
        }
        Ok(Ok(()))
    }

    /// The name that a message had here, by which what is kept of it is found, and its flags.
    fn name_and_flags(&mut self, mailbox: MailboxId, uid: Uid) -> (BaseName, Flags) {
        match self.pictures.get(&mailbox).and_then(|picture| picture.pair(uid)) {
            Some(pair) => (pair.name.clone(), pair.remote.clone().unwrap_or_else(|| pair.agreed.clone())),
            None => (self.names.next(), Flags::new()),
        }
    }

    /// Fetches messages into drafts.
    async fn stream(
        &mut self,
        folder: &Folder,
        uids: &UidSet,
    ) -> Result<(Vec<FetchedBody>, BTreeMap<u64, Delivery>), Error> {
        let (sink, pieces) = mpsc::channel(IN_FLIGHT);
        // Which message a body is, is known only when its response ends.
        let names = draft_names();
        let drafts_in = folder.clone();
        let writer = tokio::task::spawn_blocking(move || write_bodies(&drafts_in, names, pieces));
        let fetched = self.imap.fetch_bodies(uids, sink).await;
        // A full disk is the reason, a closed sink only what follows from it.
        let drafts = writer.await??;
        Ok((fetched?, drafts))
    }
}

/// Drafts have names of their own, by which those that a crash left are swept.
pub(super) fn draft_names() -> NameGenerator {
    NameGenerator::new(super::pass::now(), 0, std::process::id(), DRAFTS, fastrand::u64(..))
}

pub(super) async fn finish(draft: Delivery, internal_date: Option<i64>) -> Result<Staged, Error> {
    blocking(move || Ok(draft.finish(date(internal_date))?)).await
}

/// INTERNALDATE as a time; the present where the server did not tell it.
pub(super) fn date(internal_date: Option<i64>) -> SystemTime {
    internal_date.map_or_else(SystemTime::now, |secs| {
        let span = Duration::from_secs(secs.unsigned_abs());
        if secs < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
    })
}

/// Writes bodies to drafts while they come, until the sender is dropped.
fn write_bodies(
    folder: &Folder,
    mut names: NameGenerator,
    mut pieces: mpsc::Receiver<BodyChunk>,
) -> Result<BTreeMap<u64, Delivery>, Error> {
    let mut drafts: BTreeMap<u64, Delivery> = BTreeMap::new();
    while let Some(piece) = pieces.blocking_recv() {
        let draft = match drafts.entry(piece.literal) {
            std::collections::btree_map::Entry::Occupied(draft) => draft.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Delivery::begin(folder, &names.next())?)
            }
        };
        draft.write(&piece.bytes)?;
    }
    Ok(drafts)
}
