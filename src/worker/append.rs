//! Files become messages of the server, many in one command where it takes that.

use crate::mail::{Fingerprint, Flags, Uid, UidValidity};
use crate::maildir::{Outgoing, Upload as Opened, open_for_upload};
use crate::remote::error::Refusal;
use crate::remote::imap::{Appended, Upload};
use crate::sync::{Action, MailboxId, Outcome};
use crate::worker::Error;
use crate::worker::execute::{Numbered, own_fault};
use crate::worker::flags::can_be_about_keyword;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, Shown, blocking, now};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Messages in one command.
const MAX_MESSAGES: usize = 64;
/// Octets in one command, if it has more than one message.
const MAX_OCTETS: u64 = 8 << 20;
/// Octets that are read from a file at once.
const PIECE: usize = 32 << 10;

/// A message on its way.
struct Ready {
    number: usize,
    outgoing: Outgoing,
    flags: Flags,
    print: Fingerprint,
}

impl Pass<'_> {
    pub(super) async fn append(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        from: Option<(UidValidity, Uid)>,
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let mut queue: VecDeque<Vec<Numbered<'_>>> = actions.chunks(MAX_MESSAGES).map(<[_]>::to_vec).collect();
        // Those that go without their keywords.
        let mut bare: BTreeSet<usize> = BTreeSet::new();
        while let Some(group) = queue.pop_front() {
            if self.uploads.wait(now()) {
                break;
            }
            let (mut ready, rest) = self.open_group(mailbox, &group, seen).await?;
            if !rest.is_empty() {
                queue.push_front(rest);
            }
            if ready.is_empty() {
                continue;
            }
            ready.iter_mut().filter(|r| bare.contains(&r.number)).for_each(|r| r.flags = without_keywords(&r.flags));
            let sent: Vec<(usize, Fingerprint)> = ready.iter().map(|r| (r.number, r.print)).collect();
            let flags: Vec<Flags> = ready.iter().map(|r| r.flags.clone()).collect();
            let results = self.send(mailbox, ready).await?;
            let refused_together = sent.len() > 1 && results.iter().all(|r| matches!(r, Appended::Refused(_)));
            if refused_together && over_quota(&results).is_none() {
                // All or nothing: one of them is the bad one, and is soon alone.
                let numbers: Vec<usize> = sent.iter().map(|(number, _)| *number).collect();
                let again: Vec<Numbered<'_>> = group.iter().filter(|(n, _)| numbers.contains(n)).copied().collect();
                let (first, second) = again.split_at(again.len() / 2);
                queue.push_front(second.to_vec());
                queue.push_front(first.to_vec());
                continue;
            }
            if let ([(number, _)], [Appended::Refused(refusal)], [flags]) = (&sent[..], &results[..], &flags[..])
                && can_be_about_keyword(refusal)
                && flags.keywords().next().is_some()
            {
                // It may be a keyword that the server minds: the message goes without, rather than not at all.
                bare.insert(*number);
                queue.push_front(group.iter().filter(|(n, _)| n == number).copied().collect());
                continue;
            }
            if let Some(refusal) = over_quota(&results) {
                self.uploads = self.uploads.refused(&format!("the server says that it is full: {refusal}"), now());
            } else if results.iter().any(|result| !matches!(result, Appended::Refused(_))) {
                self.uploads.paused = None;
            }
            for (((number, print), result), flags) in sent.into_iter().zip(results).zip(flags) {
                if let Some((_, action)) = group.iter().find(|(n, _)| *n == number) {
                    let file = seen.scan.as_ref().and_then(|scan| scan.files.get(action.name()));
                    let here = file.map(|file| file.flags.clone());
                    self.shown.insert(action.name().clone(), Shown { there: Some(flags), here });
                }
                outcomes[number] = match result {
                    Appended::Uid(epoch, uid) if self.is_plausible(mailbox, from, epoch, uid) => {
                        Outcome::Appended(uid, Some(print))
                    }
                    Appended::Uid(..) | Appended::Unknown => Outcome::Stored,
                    // The message is not at fault; the next plan leaves out all that is to be uploaded.
                    Appended::Refused(refusal) if refusal.has_code("OVERQUOTA") => Outcome::Moot,
                    // The mailbox is gone; the next LIST tells.
                    Appended::Refused(refusal) if refusal.has_code("TRYCREATE") => Outcome::Moot,
                    Appended::Refused(refusal) => Outcome::Failed(format!("the server refuses it: {refusal}")),
                };
            }
        }
        Ok(())
    }

    /// Opens messages until a command is full; returns what is left for the next.
    async fn open_group<'a>(
        &self,
        mailbox: MailboxId,
        group: &[Numbered<'a>],
        seen: &Observed,
    ) -> Result<(Vec<Ready>, Vec<Numbered<'a>>), Error> {
        let (Some(folder), Some(scan)) = (&seen.folder, &seen.scan) else { return Ok((vec![], vec![])) };
        let mut ready: Vec<Ready> = Vec::new();
        let mut octets = 0;
        for (i, (number, action)) in group.iter().enumerate() {
            let Action::Append { name, flags, print: Some(print) } = action else { continue };
            let Some(known) = scan.files.get(name).cloned() else { continue };
            let (folder, name) = (folder.clone(), name.clone());
            let opened =
                blocking(move || own_fault(open_for_upload(&folder, &name, &known, SystemTime::now()))).await?;
            // What cannot be opened any more is left for the next look.
            let Ok(Opened::Ready(outgoing)) = opened else { continue };
            if outgoing.fingerprint != *print {
                // It is not what the journal says any more; the next plan measures it anew.
                continue;
            }
            octets += outgoing.size;
            if octets > MAX_OCTETS && !ready.is_empty() {
                return Ok((ready, group[i..].to_vec()));
            }
            let flags = self.taken_there(mailbox, &seen.remote_flags.part_of(flags));
            ready.push(Ready { number: *number, outgoing, flags, print: *print });
        }
        Ok((ready, vec![]))
    }

    async fn send(&mut self, mailbox: MailboxId, ready: Vec<Ready>) -> Result<Vec<Appended>, Error> {
        let Some(name) = self.records.get(&mailbox).map(|record| record.name.clone()) else { return Ok(vec![]) };
        let mut uploads = Vec::new();
        let mut bodies = Vec::new();
        for Ready { outgoing, flags, .. } in ready {
            let (sender, body) = mpsc::channel(4);
            let date = outgoing.internal_date.duration_since(UNIX_EPOCH).ok();
            let internal_date = date.and_then(|d| i64::try_from(d.as_secs()).ok());
            self.octets += outgoing.size;
            uploads.push(Upload { flags, internal_date, size: outgoing.size, body });
            bodies.push((outgoing, sender));
        }
        // One after the other, as the command takes them.
        let reader =
            tokio::task::spawn_blocking(move || bodies.into_iter().for_each(|(body, sink)| read_body(body, &sink)));
        let results = self.imap.append(&name, uploads).await;
        reader.await?;
        Ok(results?)
    }

    /// A UID that the server claims to have given: of this epoch, new, and not below what the next one was to be.
    pub(super) fn is_plausible(
        &self,
        mailbox: MailboxId,
        from: Option<(UidValidity, Uid)>,
        epoch: UidValidity,
        uid: Uid,
    ) -> bool {
        let fits = from.is_some_and(|(of, first)| of == epoch && uid >= first);
        fits && self.pictures.get(&mailbox).is_none_or(|picture| picture.uid(uid).is_none())
    }
}

/// Sends a message on; a failure ends it short, which the command notices.
fn read_body(mut body: Outgoing, sink: &mpsc::Sender<Bytes>) {
    loop {
        let mut piece = vec![0; PIECE];
        match body.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                piece.truncate(count);
                if sink.blocking_send(Bytes::from(piece)).is_err() {
                    return;
                }
            }
        }
    }
}

fn without_keywords(flags: &Flags) -> Flags {
    let mut bare = Flags::new();
    flags.system().for_each(|flag| bare.insert(flag));
    bare
}

/// The refusal that says that the server is full, if one does.
fn over_quota(results: &[Appended]) -> Option<&Refusal> {
    results.iter().find_map(|result| match result {
        Appended::Refused(refusal) if refusal.has_code("OVERQUOTA") => Some(refusal),
        Appended::Refused(_) | Appended::Uid(..) | Appended::Unknown => None,
    })
}
