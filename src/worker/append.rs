//! Files become messages of the server: those of many mailboxes in one flight, many in one command where it takes that.

use crate::mail::{BaseName, Fingerprint, Flags, MailboxName, Uid, UidValidity};
use crate::maildir::{Folder, Outgoing, ScannedFile, Upload as Opened, open_for_upload};
use crate::remote::error::Refusal;
use crate::remote::imap::{Appended, Upload};
use crate::sync::{Action, Batch, MailboxId, Outcome, Work};
use crate::worker::execute::own_fault;
use crate::worker::flags::can_be_about_keyword;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, Shown, now};
use crate::worker::{Error, Event};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Messages in one command.
const MAX_MESSAGES: usize = 64;
/// Octets in one command, if it has more than one message.
const MAX_OCTETS: u64 = 8 << 20;
/// Octets that are read from a file at once.
const PIECE: usize = 32 << 10;

/// A message that is to be uploaded.
#[derive(Clone)]
struct Letter {
    /// The places of its batch and of its action.
    place: (usize, usize),
    mailbox: MailboxId,
    to: MailboxName,
    folder: Folder,
    name: BaseName,
    file: ScannedFile,
    flags: Flags,
    print: Fingerprint,
}

/// A letter that was offered to the server; those of one command have the same number.
struct Offered {
    command: usize,
    letter: Letter,
}

impl Pass<'_> {
    /// Uploads what batches want to have uploaded.
    pub(super) async fn append(
        &mut self,
        batches: &[Batch],
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Vec<Outcome>],
    ) -> Result<(), Error> {
        let mut groups = self.letters(batches, observed).await?;
        while !groups.is_empty() && !self.uploads.wait(now()) {
            let offered = self.offer(std::mem::take(&mut groups)).await?;
            for command in offered.chunk_by(|(a, _), (b, _)| a.command == b.command) {
                let (letters, results): (Vec<&Letter>, Vec<&Appended>) =
                    command.iter().map(|(offered, result)| (&offered.letter, result)).unzip();
                if let Some(again) = again(&letters, &results) {
                    groups.extend(again);
                } else {
                    self.take_in_uploads(&letters, &results, batches, observed, outcomes);
                }
            }
        }
        Ok(())
    }

    /// The messages that are to be uploaded, those that may go in one command together. What became of their mailboxes
    /// meanwhile is asked first, in one flight: nothing is uploaded to another mailbox that lies under the name now.
    async fn letters(
        &mut self,
        batches: &[Batch],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<Vec<Vec<Letter>>, Error> {
        let mut all = Vec::new();
        let mut epochs = BTreeMap::new();
        for (number, batch) in batches.iter().enumerate() {
            let Work::Messages { mailbox, uid_validity, actions, .. } = &batch.work else { continue };
            let seen = observed.get(mailbox);
            let place = seen.and_then(|seen| Some((seen, seen.folder.clone()?, seen.scan.as_ref()?)));
            let (Some((seen, folder, scan)), Some(record)) = (place, self.records.get(mailbox)) else { continue };
            let mut letters = Vec::new();
            for (index, action) in actions.iter().enumerate() {
                let Action::Append { name, flags, print: Some(print) } = action else { continue };
                let Some(file) = scan.files.get(name).cloned() else { continue };
                let flags = self.taken_there(*mailbox, &seen.remote_flags.part_of(flags));
                let (to, folder, name) = (record.name.clone(), folder.clone(), name.clone());
                let place = (number, index);
                letters.push(Letter { place, mailbox: *mailbox, to, folder, name, file, flags, print: *print });
            }
            if !letters.is_empty() {
                epochs.insert(*mailbox, *uid_validity);
                all.extend(letters.chunks(MAX_MESSAGES).map(<[_]>::to_vec));
            }
        }
        let others = self.renumbered(&epochs).await?;
        all.retain(|letters| letters.first().is_some_and(|letter| !others.contains(&letter.mailbox)));
        Ok(all)
    }

    /// Offers letters to the server, group by group; tells what it said to each. What cannot be read any more, or is not
    /// what the journal says, is left for the next look.
    async fn offer(&mut self, groups: Vec<Vec<Letter>>) -> Result<Vec<(Offered, Appended)>, Error> {
        let (sink, uploads) = mpsc::channel(1);
        let reader = tokio::task::spawn_blocking(move || read_letters(groups, &sink));
        let events = self.events.clone();
        let mut told = |messages, octets| {
            // Nobody may be listening.
            let _ = events.send(Event::Done { messages, octets });
        };
        let results = self.imap.append(uploads, &mut told).await;
        let offered = reader.await??;
        Ok(offered.into_iter().zip(results?).collect())
    }

    /// Takes in what the server said to the letters of one command.
    fn take_in_uploads(
        &mut self,
        letters: &[&Letter],
        results: &[&Appended],
        batches: &[Batch],
        observed: &BTreeMap<MailboxId, Observed>,
        outcomes: &mut [Vec<Outcome>],
    ) {
        if let Some(refusal) = over_quota(results) {
            self.uploads = self.uploads.refused(&format!("the server says that it is full: {refusal}"), now());
        } else if results.iter().any(|result| !matches!(result, Appended::Refused(_))) {
            self.uploads.paused = None;
        }
        for (letter, result) in letters.iter().zip(results) {
            let (batch, number) = letter.place;
            let Work::Messages { from, .. } = &batches[batch].work else { continue };
            let scan = observed.get(&letter.mailbox).and_then(|seen| seen.scan.as_ref());
            let here = scan.and_then(|scan| scan.files.get(&letter.name)).map(|file| file.flags.clone());
            self.shown.insert(letter.name.clone(), Shown { there: Some(letter.flags.clone()), here, object: None });
            let from = from.get(&letter.mailbox).copied();
            outcomes[batch][number] = match result {
                Appended::Uid(epoch, uid) if self.is_plausible(letter.mailbox, from, *epoch, *uid) => {
                    Outcome::Appended(*uid, Some(letter.print))
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

/// What is offered once more, after the letters of one command were refused together.
fn again(letters: &[&Letter], results: &[&Appended]) -> Option<Vec<Vec<Letter>>> {
    let all_refused = results.iter().all(|result| matches!(result, Appended::Refused(_)));
    if !all_refused || over_quota(results).is_some() {
        return None;
    }
    match (letters, results) {
        ([letter], [Appended::Refused(refusal)]) => {
            // It may be a keyword that the server minds: the message goes without, rather than not at all.
            let bare = without_keywords(&letter.flags);
            let may_help = can_be_about_keyword(refusal) && bare != letter.flags;
            may_help.then(|| vec![vec![Letter { flags: bare, ..(*letter).clone() }]])
        }
        _ => {
            // All or nothing: one of them is the bad one, and is soon alone.
            let (first, second) = letters.split_at(letters.len() / 2);
            Some([first, second].map(|half| half.iter().copied().cloned().collect()).into())
        }
    }
}

/// Opens letters one after the other, offers each, and sends it on, as long as somebody takes them.
fn read_letters(groups: Vec<Vec<Letter>>, sink: &mpsc::Sender<Upload>) -> Result<Vec<Offered>, Error> {
    let mut offered: Vec<Offered> = Vec::new();
    let mut command = 0;
    for group in groups {
        let (mut joins, mut octets) = (false, 0);
        for letter in group {
            let opened = own_fault(open_for_upload(&letter.folder, &letter.name, &letter.file, SystemTime::now()))?;
            let Ok(Opened::Ready(outgoing)) = opened else { continue };
            if outgoing.fingerprint != letter.print {
                continue;
            }
            octets += outgoing.size;
            if !joins || octets > MAX_OCTETS {
                (joins, octets) = (false, outgoing.size);
                command += 1;
            }
            let (pieces, body) = mpsc::channel(4);
            let date = outgoing.internal_date.duration_since(UNIX_EPOCH).ok();
            let internal_date = date.and_then(|date| i64::try_from(date.as_secs()).ok());
            let (mailbox, flags) = (letter.to.clone(), letter.flags.clone());
            let upload = Upload { mailbox, joins, flags, internal_date, size: outgoing.size, body };
            offered.push(Offered { command, letter });
            joins = true;
            if sink.blocking_send(upload).is_err() {
                return Ok(offered);
            }
            read_body(outgoing, &pieces);
        }
    }
    Ok(offered)
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
fn over_quota<'a>(results: &[&'a Appended]) -> Option<&'a Refusal> {
    results.iter().find_map(|result| match result {
        Appended::Refused(refusal) if refusal.has_code("OVERQUOTA") => Some(refusal),
        Appended::Refused(_) | Appended::Uid(..) | Appended::Unknown => None,
    })
}
