//! Moves and copies: the server, or the file system, has the bytes already.
//!
//! On the server a message is moved by MOVE, or copied and then expunged; which UID it has there is known from COPYUID
//! alone. Where that is missing nothing is removed: the next look finds the copy, and what is still to be done.

use crate::mail::{BaseName, MailboxName, Uid, UidSet, UidValidity};
use crate::maildir::{Error as MaildirError, Folder, Handover, hand_over};
use crate::remote::error::{Error as ImapError, Refusal};
use crate::remote::imap::{CopyUid, SelectRequest, Tier};
use crate::sync::{Action, Batch, MailboxId, Outcome, Removing, Work};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, Shown, blocking, now};
use crate::worker::remove::is_of_one;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages of one mailbox, with the places of their actions in the batch.
type Numbers = BTreeMap<Uid, usize>;

/// Messages of one mailbox that are to be copied or moved to another.
struct Job {
    /// The place of its batch.
    batch: usize,
    target: MailboxId,
    name: MailboxName,
    origin: (MailboxId, UidValidity),
    numbers: Numbers,
}

/// What the last transfer left behind.
struct Placed {
    told: Result<Option<CopyUid>, ImapError>,
    /// Moved and seen to be gone from where it was.
    vanished: UidSet,
}

impl Pass<'_> {
    /// Has the server copy or move what batches want to have copied or moved.
    pub(super) async fn transfer(
        &mut self,
        batches: &[Batch],
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Vec<Outcome>],
    ) -> Result<(), Error> {
        let jobs = self.jobs(batches).await?;
        let mut still: Option<(usize, BTreeSet<usize>)> = None;
        for (number, job) in jobs.iter().enumerate() {
            let actions = batches[job.batch].work.actions();
            if still.as_ref().is_none_or(|(of, _)| *of != job.batch) {
                still = Some((job.batch, self.still_so(job.target, actions, observed).await?));
                // A keyword that the file has no letter for was not removed here.
                for name in actions.iter().filter_map(file_of) {
                    let here = observed.get(&job.target).and_then(|seen| seen.local.get(name)).cloned();
                    self.shown.insert(name.clone(), Shown { there: None, here, object: None });
                }
            }
            let is_so = |number: &usize| still.as_ref().is_some_and(|(_, still)| still.contains(number));
            let numbers: Numbers = job.numbers.iter().filter(|(_, n)| is_so(n)).map(|(uid, n)| (*uid, *n)).collect();
            // To a server that is full nothing is added; what moves there takes no room.
            let adds = numbers.values().any(|number| !is_move(&actions[*number]));
            let waits = numbers.is_empty() || adds && self.uploads.wait(now());
            if !waits && self.open(job.origin.0, job.origin.1).await? {
                let next = jobs[number + 1..].iter().map(|job| job.origin).find(|next| *next != job.origin);
                let last = jobs.get(number + 1).is_none_or(|next| next.origin != job.origin);
                let next = next.filter(|_| last);
                self.transfer_all(job, &batches[job.batch], numbers, next, &mut outcomes[job.batch]).await?;
            }
        }
        Ok(())
    }

    /// What is to be copied and moved, by mailboxes; copies first. What became of the targets meanwhile is asked in one
    /// flight: nothing is added to another mailbox that lies under the name now.
    async fn jobs(&mut self, batches: &[Batch]) -> Result<Vec<Job>, Error> {
        let mut jobs = Vec::new();
        let mut targets = BTreeMap::new();
        for (batch, of) in batches.iter().enumerate() {
            let Work::Messages { mailbox, uid_validity, actions, .. } = &of.work else { continue };
            let Some(name) = self.records.get(mailbox).map(|record| record.name.clone()) else { continue };
            for wanted in [is_copy, is_move] {
                let groups = by_origin(actions, wanted);
                jobs.extend(groups.into_iter().map(|(origin, numbers)| {
                    targets.insert(*mailbox, *uid_validity);
                    Job { batch, target: *mailbox, name: name.clone(), origin, numbers }
                }));
            }
        }
        let others = self.renumbered(&targets).await?;
        jobs.retain(|job| !others.contains(&job.target));
        Ok(jobs)
    }

    /// Transfers messages of the open mailbox, and opens the one that is wanted next where that costs nothing; of those that
    /// are refused each is soon alone.
    async fn transfer_all(
        &mut self,
        job: &Job,
        batch: &Batch,
        numbers: Numbers,
        next: Option<(MailboxId, UidValidity)>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Work::Messages { actions, from, .. } = &batch.work else { return Ok(()) };
        let from = from.get(&job.target).copied();
        let is_move = numbers.values().next().is_some_and(|number| is_move(&actions[*number]));
        let whole = is_move && self.imap.capabilities().has("MOVE");
        let mut queue = VecDeque::from([numbers]);
        while let Some(mut numbers) = queue.pop_front() {
            let uids: UidSet = numbers.keys().copied().collect();
            let next = next.filter(|_| queue.is_empty());
            if !self.open(job.origin.0, job.origin.1).await? {
                return Ok(());
            }
            let Placed { told, vanished } = if whole {
                self.move_on(&uids, &job.name, next).await?
            } else {
                Placed { told: self.imap.copy_to(&uids, &job.name).await, vanished: UidSet::new() }
            };
            let rest: UidSet = uids.iter().filter(|uid| !vanished.contains(*uid)).collect();
            match told {
                Ok(told) => {
                    let placed = self.placed(job.target, from, &uids, told);
                    let left = match is_move {
                        true if whole => Some((self.still_there(job, &rest).await?, Outcome::Half(Removing::Copied))),
                        true if !placed.is_empty() => {
                            let copied: UidSet = placed.keys().copied().collect();
                            Some(self.expunge(&copied, Some(Removing::Copied)).await?)
                        }
                        _ => None,
                    };
                    for (uid, number) in numbers {
                        outcomes[number] = outcome(uid, placed.get(&uid).copied(), left.as_ref(), is_move, whole);
                    }
                }
                Err(ImapError::Refused { refusal, .. }) => {
                    // A MOVE that fails may have moved a part (RFC 6851, section 3.3): the next look finds it.
                    let there = self.still_there(job, &rest).await?;
                    for number in numbers.iter().filter(|(uid, _)| whole && !there.contains(**uid)).map(|(_, n)| *n) {
                        outcomes[number] = Outcome::Unknown;
                    }
                    numbers.retain(|uid, _| there.contains(*uid));
                    if numbers.len() > 1 && is_of_one(&refusal) {
                        let middle = numbers.keys().nth(numbers.len() / 2).copied();
                        let rest = middle.map(|uid| numbers.split_off(&uid)).unwrap_or_default();
                        queue.push_front(rest);
                        queue.push_front(numbers);
                        continue;
                    }
                    let names = numbers.values().filter_map(|number| file_of(&actions[*number]));
                    self.refused(job.target, &refusal, names.cloned().collect());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Moves messages of the open mailbox; opens the next in the same flight where what vanishes is told by UID, for then
    /// nothing more has to be asked about this one.
    async fn move_on(
        &mut self,
        uids: &UidSet,
        target: &MailboxName,
        next: Option<(MailboxId, UidValidity)>,
    ) -> Result<Placed, Error> {
        let tells = self.imap.tier() == Tier::A;
        let next = next.filter(|_| tells).and_then(|(id, _)| Some((id, self.records.get(&id)?.name.clone())));
        let access = self.access();
        let request = next.as_ref().map(|(_, name)| {
            let name = name.clone();
            SelectRequest { name, access, since: None, list: false }
        });
        let before = self.selected;
        self.selected = None;
        let moved = self.imap.move_on(uids, target, request.as_ref()).await?;
        self.selected = match (next, moved.opened) {
            (None, _) => before,
            (Some((id, _)), Some(Ok(selected))) => Some((id, selected.uid_validity)),
            (Some(_), _) => None,
        };
        Ok(Placed { told: moved.told, vanished: moved.vanished })
    }

    /// Which of these messages are still where they were.
    async fn still_there(&mut self, job: &Job, uids: &UidSet) -> Result<UidSet, Error> {
        if uids.is_empty() {
            return Ok(UidSet::new());
        }
        match self.open(job.origin.0, job.origin.1).await? {
            true => Ok(self.imap.search(uids).await?),
            // Another mailbox lies under the name now.
            false => Ok(UidSet::new()),
        }
    }

    /// What is refused stays where it is, and its file is uploaded instead; a full server takes that no better.
    fn refused(&mut self, mailbox: MailboxId, refusal: &Refusal, names: Vec<BaseName>) {
        if refusal.has_code("OVERQUOTA") {
            let reason = format!("the server says that it is full: {refusal}");
            self.uploads = self.uploads.refused(&reason, now());
            let name = self.records.get(&mailbox).map(|r| r.name.to_string()).unwrap_or_default();
            self.leave_out(name, format!("nothing is uploaded for now: {reason}"), true);
        } else if !refusal.has_code("TRYCREATE") {
            self.evidence.uploaded.extend(names.into_iter().map(|name| (mailbox, name)));
        }
    }

    /// The UIDs that messages got, as far as the server told it and it can be.
    fn placed(
        &self,
        mailbox: MailboxId,
        from: Option<(UidValidity, Uid)>,
        uids: &UidSet,
        told: Option<CopyUid>,
    ) -> BTreeMap<Uid, Uid> {
        let Some(CopyUid { uid_validity, source, target }) = told else { return BTreeMap::new() };
        let count = usize::try_from(uids.len()).unwrap_or(0);
        let expand = |list: &crate::mail::UidList| {
            let len = usize::try_from(list.len()).ok().filter(|len| *len <= count)?;
            list.expand(len)
        };
        let (Some(source), Some(target)) = (expand(&source), expand(&target)) else { return BTreeMap::new() };
        let told = source.into_iter().zip(target).filter(|(old, _)| uids.contains(*old));
        told.filter(|(_, new)| self.is_plausible(mailbox, from, uid_validity, *new)).collect()
    }

    /// The last look before the server is changed: the file is where it was seen, and not back where it was.
    async fn still_so(
        &self,
        mailbox: MailboxId,
        actions: &[Action],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeSet<usize>, Error> {
        let origins = actions.iter().filter(|a| is_move(a)).filter_map(|a| a.origin().map(|o| o.mailbox));
        let mut files: BTreeMap<MailboxId, BTreeSet<BaseName>> = BTreeMap::new();
        for id in origins.chain([mailbox]).collect::<BTreeSet<_>>() {
            let Some(folder) = observed.get(&id).and_then(|seen| seen.folder.clone()) else { continue };
            let names = blocking(move || Ok(folder.scan()?.files.into_keys().collect())).await?;
            files.insert(id, names);
        }
        let has = |id: MailboxId, name: &BaseName| files.get(&id).is_some_and(|names| names.contains(name));
        let still = actions.iter().enumerate().filter(|(_, action)| match action {
            Action::CopyRemote { name, .. } => has(mailbox, name),
            Action::MoveRemote { origin, was, name, .. } => has(mailbox, name) && !has(origin.mailbox, was),
            _ => false,
        });
        Ok(still.map(|(number, _)| number).collect())
    }

    /// Renames files from the folders of other mailboxes to that of this one.
    pub(super) async fn move_files(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let folder = |id: &MailboxId| observed.get(id).and_then(|seen| seen.folder.clone());
        for (number, action) in actions {
            let Action::MoveLocal { uid, origin, was, name, .. } = action else { continue };
            let scan = observed.get(&origin.mailbox).and_then(|seen| seen.scan.as_ref());
            let known = scan.and_then(|scan| scan.files.get(was)).cloned();
            let (Some(from), Some(to), Some(known)) = (folder(&origin.mailbox), folder(&mailbox), known) else {
                continue;
            };
            if known.has_keyword_letters() {
                // They mean something else in the other folder.
                self.evidence.fetched.insert((mailbox, *uid));
                continue;
            }
            let (was, name): (BaseName, BaseName) = (was.clone(), name.clone());
            let moved = move |from: &Folder, to: &Folder| hand_over(from, &was, &known, to, &name);
            match blocking(move || Ok(moved(&from, &to))).await? {
                Ok(Handover::Done(_)) => outcomes[*number] = Outcome::Moved(*uid, None),
                // The next look decides.
                Ok(Handover::Gone) => {}
                Err(error @ (MaildirError::DiskFull { .. } | MaildirError::Unavailable(_))) => return Err(error.into()),
                // The name is taken, or the folder lies on another file system: the message is fetched instead.
                Err(_) => drop(self.evidence.fetched.insert((mailbox, *uid))),
            }
        }
        Ok(())
    }
}

fn is_copy(action: &Action) -> bool {
    matches!(action, Action::CopyRemote { .. })
}

fn is_move(action: &Action) -> bool {
    matches!(action, Action::MoveRemote { .. })
}

/// The file for which a message is copied or moved.
fn file_of(action: &Action) -> Option<&BaseName> {
    match action {
        Action::CopyRemote { name, .. } | Action::MoveRemote { name, .. } => Some(name),
        _ => None,
    }
}

/// The messages by where they are; one that is wanted several times is in several groups.
fn by_origin(actions: &[Action], wanted: fn(&Action) -> bool) -> Vec<((MailboxId, UidValidity), Numbers)> {
    let mut all: BTreeMap<(MailboxId, UidValidity), Vec<Numbers>> = BTreeMap::new();
    for (number, action) in actions.iter().enumerate().filter(|(_, action)| wanted(action)) {
        let Some(origin) = action.origin() else { continue };
        let groups = all.entry((origin.mailbox, origin.uid_validity)).or_default();
        match groups.iter_mut().find(|group| !group.contains_key(&origin.uid)) {
            Some(group) => drop(group.insert(origin.uid, number)),
            None => groups.push(Numbers::from([(origin.uid, number)])),
        }
    }
    all.into_iter().flat_map(|(origin, groups)| groups.into_iter().map(move |group| (origin, group))).collect()
}

/// What the transfer of a message came to. `placed` is its UID now; `left` are those that are still where they were, and
/// what that means.
fn outcome(uid: Uid, placed: Option<Uid>, left: Option<&(UidSet, Outcome)>, is_move: bool, whole: bool) -> Outcome {
    let is_left = left.is_some_and(|(left, _)| left.contains(uid));
    match (placed, is_move) {
        (Some(new), false) => Outcome::Appended(new, None),
        (Some(new), true) => match left {
            Some((_, Outcome::Half(removing))) if is_left => Outcome::Moved(new, Some(*removing)),
            _ if is_left => Outcome::Moved(new, Some(Removing::Copied)),
            _ => Outcome::Moved(new, None),
        },
        // It was not moved: somebody may have had it open, or it is not there.
        (None, _) if whole && is_left => Outcome::Moot,
        (None, _) => Outcome::Unknown,
    }
}
