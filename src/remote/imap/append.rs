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

impl Imap {
    /// Uploads messages: several in one command where the server has MULTIAPPEND, else one after the other without
    /// waiting. The results are in the order of the messages.
    ///
    /// # Errors
    /// When the connection is lost ([`Error::Upload`] if a body was not as long as announced); any of the messages may
    /// have been stored then.
    pub async fn append(&mut self, name: &MailboxName, uploads: Vec<Upload>) -> Result<Vec<Appended>, Error> {
        if uploads.len() > 1 && self.capabilities.has("MULTIAPPEND") {
            return self.append_together(name, uploads).await;
        }
        let count = uploads.len();
        let mut flight = Flight { waiting: BTreeMap::new(), results: (0..count).map(|_| None).collect() };
        for (index, upload) in uploads.into_iter().enumerate() {
            while flight.waiting.len() >= MAX_IN_FLIGHT {
                flight.land(self).await?;
            }
            let (head, asked) = self.announce(&upload);
            let command = Command::new(APPEND, format!("APPEND {} {head}", mailbox(name)));
            let tag = self.connection.send(&command).await?;
            flight.waiting.insert(tag, index);
            if asked && !flight.wait_to_go_on(self, index).await? {
                continue;
            }
            self.deliver(upload).await?;
            self.connection.send_octets(b"\r\n").await?;
            self.connection.flush().await?;
        }
        while !flight.waiting.is_empty() {
            flight.land(self).await?;
        }
        Ok(flight.results.into_iter().flatten().map(|mut one| one.remove(0)).collect())
    }

    async fn append_together(&mut self, name: &MailboxName, uploads: Vec<Upload>) -> Result<Vec<Appended>, Error> {
        let count = uploads.len();
        let mut flight = Flight { waiting: BTreeMap::new(), results: vec![None] };
        for (position, upload) in uploads.into_iter().enumerate() {
            let (head, asked) = self.announce(&upload);
            if position == 0 {
                let command = Command::new(APPEND, format!("APPEND {} {head}", mailbox(name)));
                let tag = self.connection.send(&command).await?;
                flight.waiting.insert(tag, 0);
            } else {
                self.connection.send_octets(format!(" {head}\r\n").as_bytes()).await?;
                self.connection.flush().await?;
            }
            if asked && !flight.wait_to_go_on(self, 0).await? {
                // Refused before the message was sent: the command is over.
                return Ok(flight.spread(count));
            }
            self.deliver(upload).await?;
        }
        self.connection.send_octets(b"\r\n").await?;
        self.connection.flush().await?;
        while !flight.waiting.is_empty() {
            flight.land_many(self, count).await?;
        }
        Ok(flight.spread(count))
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

/// APPEND commands on their way, by tag, and the results of those that were answered.
struct Flight {
    waiting: BTreeMap<String, usize>,
    results: Vec<Option<Vec<Appended>>>,
}

impl Flight {
    /// Waits until one more command is answered.
    async fn land(&mut self, imap: &mut Imap) -> Result<(), Error> {
        self.land_many(imap, 1).await
    }

    async fn land_many(&mut self, imap: &mut Imap, messages: usize) -> Result<(), Error> {
        loop {
            match imap.connection.next().await? {
                Response::Untagged(_) => {}
                Response::Continue(_) => {
                    return Err(imap.connection.protocol("the server asks for more of a whole command"));
                }
                Response::Tagged(tag, done) => return self.settle(imap, &tag, done, messages).map(drop),
            }
        }
    }

    /// Waits for the `+` of the last command sent; false if it was answered instead.
    async fn wait_to_go_on(&mut self, imap: &mut Imap, index: usize) -> Result<bool, Error> {
        loop {
            match imap.connection.next().await? {
                Response::Untagged(_) => {}
                Response::Continue(_) => return Ok(true),
                Response::Tagged(tag, done) => {
                    let is_ok = done.status == Status::Ok;
                    if self.settle(imap, &tag, done, 1)? == index {
                        if is_ok {
                            return Err(imap.connection.protocol("an upload was confirmed before it was sent"));
                        }
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn settle(&mut self, imap: &mut Imap, tag: &str, done: Condition, messages: usize) -> Result<usize, Error> {
        let Some(index) = self.waiting.remove(tag) else { return Err(imap.connection.unknown_tag()) };
        let result = match outcome(APPEND, done.clone()) {
            Ok(done) => appended(&done, messages),
            Err(Error::Refused { .. }) => vec![Appended::Refused(refusal(done)); messages],
            // "Not now" is an answer to this message; its code tells the caller to come back.
            Err(Error::Later { .. }) => vec![Appended::Refused(refusal(done)); messages],
            Err(error) => return Err(error),
        };
        self.results[index] = Some(result);
        Ok(index)
    }

    /// The results of one command for many messages.
    fn spread(self, count: usize) -> Vec<Appended> {
        let results = self.results.into_iter().flatten().next().unwrap_or_default();
        match results.first() {
            Some(first) if results.len() != count => vec![first.clone(); count],
            _ => results,
        }
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
