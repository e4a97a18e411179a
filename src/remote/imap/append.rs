//! Uploading messages (RFC 9051, section 6.3.12; RFC 3502, RFC 7888, RFC 4315).
//!
//! The answer may say nothing of the UIDs, or something that does not fit: then they are unknown, and the caller finds
//! the messages by sight. A UID is never guessed.

use super::Imap;
use super::command::{APPEND, Command, flag_list, mailbox};
use super::condition::{Condition, Status};
use super::connection::{outcome, refusal};
use super::date;
use super::response::{Response, uid_validity};
use crate::mail::{Flags, MailboxName, Uid, UidList, UidValidity};
use crate::remote::error::{Error, Refusal};
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// The longest literal that LITERAL- lets us send unasked (RFC 7888, section 5).
const MAX_UNASKED: u64 = 4096;
/// APPENDs that may wait for their answers at once.
const MAX_IN_FLIGHT: usize = 32;

/// A message to be uploaded.
#[derive(Debug)]
pub struct Upload {
    /// Where to.
    pub mailbox: MailboxName,
    /// It may go in one command with the message before it, which is for the same mailbox.
    pub joins: bool,
    /// Its flags, already reduced to what the mailbox can store.
    pub flags: Flags,
    /// INTERNALDATE in seconds since 1970, if the server is not to take the present.
    pub internal_date: Option<i64>,
    /// Its octets, line ends already CRLF. Exactly so many must come out of `body`.
    pub size: u64,
    /// The message.
    pub body: mpsc::Receiver<Bytes>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The server stored it and said where.
    Uid(UidValidity, Uid),
    /// The server said OK, and not where.
    Unknown,
    /// The server refused it. Of messages sent together all are refused, whichever of them was the reason.
    Refused(Refusal),
}

/// What is told of each command that was answered: its messages, and their octets.
pub type Told<'a> = &'a mut (dyn FnMut(usize, u64) + Send);

impl Imap {
    /// Uploads messages without waiting for answers between them: several in one command where the server has MULTIAPPEND
    /// and they join, else each in its own. No mailbox need be open. The results are in the order of the messages.
    ///
    /// Once the server says that it is full (`[OVERQUOTA]`) no further command is begun: then there are fewer results than
    /// messages, and what has none was not sent.
    ///
    /// # Errors
    /// When the connection is lost ([`Error::Upload`] if a body was not as long as announced); any of the messages may
    /// have been stored then.
    pub async fn append(
        &mut self,
        mut uploads: mpsc::Receiver<Upload>,
        told: Told<'_>,
    ) -> Result<Vec<Appended>, Error> {
        let together = self.capabilities.has("MULTIAPPEND");
        let mut flight = Flight::default();
        while let Some(upload) = flight.meanwhile(self, &mut uploads, told).await? {
            let (head, asked) = self.announce(&upload);
            if !(together && upload.joins && flight.joins(upload.size)) {
                flight.end(self).await?;
                while flight.waiting.len() >= MAX_IN_FLIGHT {
                    flight.land(self, told).await?;
                }
                if flight.is_full {
                    break;
                }
                let command = Command::new(APPEND, format!("APPEND {} {head}", mailbox(&upload.mailbox)));
                let tag = self.connection.send(&command).await?;
                flight.begin(tag, upload.size);
            } else if flight.is_over() {
                continue;
            } else {
                self.connection.send_octets(format!(" {head}\r\n").as_bytes()).await?;
                if asked {
                    self.connection.flush().await?;
                }
            }
            if !asked || flight.wait_to_go_on(self, told).await? {
                self.deliver(upload).await?;
            }
        }
        drop(uploads);
        flight.end(self).await?;
        while !flight.waiting.is_empty() {
            flight.land(self, told).await?;
        }
        Ok(flight.commands.into_iter().filter_map(|command| command.results).flatten().collect())
    }

    /// What stands before a message, and whether the server must ask for it.
    fn announce(&self, upload: &Upload) -> (String, bool) {
        let short = upload.size <= MAX_UNASKED;
        let unasked = self.capabilities.has("LITERAL+") || (self.capabilities.has("LITERAL-") && short);
        let date = upload.internal_date.map(|seconds| format!("{} ", date::print(seconds))).unwrap_or_default();
        let plus = if unasked { "+" } else { "" };
        (format!("{} {date}{{{}{plus}}}", flag_list(&upload.flags), upload.size), !unasked)
    }

    /// Passes a message on, exactly as long as it was announced.
    async fn deliver(&mut self, mut upload: Upload) -> Result<(), Error> {
        let mut delivered = 0u64;
        while let Some(octets) = upload.body.recv().await {
            delivered += octets.len() as u64;
            if delivered > upload.size {
                break;
            }
            self.connection.send_octets(&octets).await?;
        }
        if delivered == upload.size {
            return Ok(());
        }
        // The server waits for the rest of the literal: nothing else can be said on this connection.
        Err(self.connection.abandon(Error::Upload { announced: upload.size, delivered }))
    }
}

/// APPEND commands on their way. The last of them may not be complete.
#[derive(Default)]
struct Flight {
    commands: Vec<Sent>,
    /// Those that were not answered, by tag.
    waiting: BTreeMap<String, usize>,
    /// The last command has no end yet.
    is_open: bool,
    /// The server said so.
    is_full: bool,
}

#[derive(Default)]
struct Sent {
    messages: usize,
    octets: u64,
    results: Option<Vec<Appended>>,
}

impl Flight {
    /// The next message; takes in the answers that come until then.
    async fn meanwhile(
        &mut self,
        imap: &mut Imap,
        uploads: &mut mpsc::Receiver<Upload>,
        told: Told<'_>,
    ) -> Result<Option<Upload>, Error> {
        while !self.waiting.is_empty() {
            let response = tokio::select! {
                biased;
                response = imap.connection.next() => response?,
                upload = uploads.recv() => return Ok(upload),
            };
            self.take(imap, response, told)?;
        }
        Ok(uploads.recv().await)
    }

    /// Adds a message to the last command, if there is one that it can be added to, or that was refused with all it holds.
    fn joins(&mut self, octets: u64) -> bool {
        let (is_open, is_over) = (self.is_open, self.is_over());
        let Some(last) = self.commands.last_mut().filter(|_| is_open || is_over) else { return false };
        last.messages += 1;
        last.octets += octets;
        if let Some(results) = &mut last.results {
            results.extend(results.first().cloned());
        }
        true
    }

    /// Tells whether the last command was answered.
    fn is_over(&self) -> bool {
        self.commands.last().is_some_and(|last| last.results.is_some())
    }

    fn begin(&mut self, tag: String, octets: u64) {
        self.waiting.insert(tag, self.commands.len());
        self.commands.push(Sent { messages: 1, octets, results: None });
        self.is_open = true;
    }

    /// Completes the last command.
    async fn end(&mut self, imap: &mut Imap) -> Result<(), Error> {
        if std::mem::take(&mut self.is_open) {
            imap.connection.send_octets(b"\r\n").await?;
            imap.connection.flush().await?;
        }
        Ok(())
    }

    /// Waits until one more command is answered.
    async fn land(&mut self, imap: &mut Imap, told: Told<'_>) -> Result<(), Error> {
        let before = self.waiting.len();
        while self.waiting.len() == before {
            let response = imap.connection.next().await?;
            self.take(imap, response, told)?;
        }
        Ok(())
    }

    /// Waits for the `+` of the last command; false if it was answered instead, and is over.
    async fn wait_to_go_on(&mut self, imap: &mut Imap, told: Told<'_>) -> Result<bool, Error> {
        imap.connection.flush().await?;
        loop {
            let response = imap.connection.next().await?;
            if matches!(response, Response::Continue(_)) {
                return Ok(true);
            }
            self.take(imap, response, told)?;
            if self.is_over() {
                self.is_open = false;
                return Ok(false);
            }
        }
    }

    fn take(&mut self, imap: &mut Imap, response: Response, told: Told<'_>) -> Result<(), Error> {
        let (tag, done) = match response {
            Response::Untagged(_) => return Ok(()),
            Response::Continue(_) => {
                return Err(imap.connection.protocol("the server asks for more of a whole command"));
            }
            Response::Tagged(tag, done) => (tag, done),
        };
        let Some(index) = self.waiting.remove(&tag) else { return Err(imap.connection.unknown_tag()) };
        if self.is_open && index + 1 == self.commands.len() && done.status == Status::Ok {
            return Err(imap.connection.protocol("an upload was confirmed before it was sent"));
        }
        let command = &mut self.commands[index];
        let refused = |done| Appended::Refused(refusal(done));
        let results = match outcome(APPEND, done.clone()) {
            Ok(done) => appended(&done, command.messages),
            // "Not now" is an answer to this message; its code tells the caller to come back.
            Err(Error::Refused { .. } | Error::Later { .. }) => vec![refused(done); command.messages],
            Err(error) => return Err(error),
        };
        self.is_full |= matches!(results.first(), Some(Appended::Refused(refusal)) if refusal.has_code("OVERQUOTA"));
        told(command.messages, command.octets);
        command.results = Some(results);
        Ok(())
    }
}

/// Reads APPENDUID; the UIDs are in the order of the messages (RFC 4315, section 3).
fn appended(done: &Condition, messages: usize) -> Vec<Appended> {
    let unknown = || vec![Appended::Unknown; messages];
    let Some(words) = done.arguments_of("APPENDUID") else { return unknown() };
    let [epoch, uids] = words.as_slice() else { return unknown() };
    let epoch = epoch.parse().ok().and_then(uid_validity);
    let uids = UidList::parse(uids).and_then(|uids| uids.expand(messages));
    match (epoch, uids) {
        (Some(epoch), Some(uids)) => uids.into_iter().map(|uid| Appended::Uid(epoch, uid)).collect(),
        _ => unknown(),
    }
}
