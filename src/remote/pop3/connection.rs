//! A connection to a server: commands out, replies in, several commands at once where the server allows it.
//!
//! Replies carry no tag; which command one answers is known by counting. So whatever lets the count be wrong ends the
//! connection: a line that begins no reply, octets that come while nothing is asked, a broken framing. It is closed
//! without QUIT then, which to the server means that nothing is deleted.

use super::command::{Command, Verb};
use super::framer::Item;
use super::reply::Status;
use super::wire::{Broken, Stream, Wire};
use crate::mail::escape;
use crate::remote::body::BodyChunk;
use crate::remote::error::{Error, Refusal};
use crate::step;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// Commands that may wait for their answers at once.
pub(super) const MAX_IN_FLIGHT: usize = 256;
/// Octets that may be announced in answer to them.
pub(super) const MAX_WEIGHT: u64 = 8 << 20;
/// The octets of a list.
const MAX_LIST: usize = 128 << 20;
/// How long the end of the connection is waited for after the goodbye.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A reply: the text of its `+OK`, or the refusal.
pub(super) type Reply = Result<String, Refusal>;

/// Commands that are sent one after the other, or several at once.
pub(super) struct Flight<'a> {
    commands: &'a [Command],
    pipelining: bool,
    sent: usize,
    answered: usize,
    /// The answer to one is being read.
    landing: bool,
    weight: u64,
}

impl<'a> Flight<'a> {
    pub(super) fn new(commands: &'a [Command], pipelining: bool) -> Self {
        Self { commands, pipelining, sent: 0, answered: 0, landing: false, weight: 0 }
    }

    fn in_flight(&self) -> usize {
        self.sent - self.answered
    }

    /// The command that may go now.
    fn next(&self) -> Option<&'a Command> {
        let command = self.commands.get(self.sent)?;
        let room = self.in_flight() < MAX_IN_FLIGHT && self.weight.saturating_add(command.weight) <= MAX_WEIGHT;
        (self.in_flight() == 0 || self.pipelining && room).then_some(command)
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    limit: Duration,
    alive: bool,
    /// Commands that are not answered.
    asked: usize,
}

impl Connection {
    /// Wraps a stream; `limit` is the longest silence.
    pub(super) fn new(stream: impl Stream + 'static, limit: Duration) -> Self {
        Self { wire: Wire::new(stream, limit), limit, alive: true, asked: 0 }
    }

    /// Tells whether the connection can be used.
    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    /// Reads the greeting.
    pub(super) async fn greeting(&mut self) -> Result<Reply, Error> {
        self.asked = 1;
        self.reply().await
    }

    /// Sends a command and reads the one line that answers it.
    pub(super) async fn ask(&mut self, command: &Command) -> Result<Reply, Error> {
        self.send(command).await?;
        self.reply().await
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, command: &Command) -> Result<(), Error> {
        self.queue(command)?;
        self.flush().await
    }

    /// Sends a line that belongs to no command: an answer to a challenge. Not traced.
    pub(super) async fn send_line(&mut self, line: &str) -> Result<(), Error> {
        self.wire.queue(line);
        self.flush().await
    }

    /// Sends as many commands as may go, and tells the number of the one whose reply is to be read next; `None` when all
    /// are answered.
    pub(super) async fn fly(&mut self, flight: &mut Flight<'_>) -> Result<Option<usize>, Error> {
        if std::mem::take(&mut flight.landing) {
            flight.weight -= flight.commands[flight.answered].weight;
            flight.answered += 1;
        }
        if flight.answered == flight.commands.len() {
            return Ok(None);
        }
        // While answers wait to be read, several commands go in one packet.
        if flight.in_flight() <= MAX_IN_FLIGHT / 2 || self.wire.is_drained() {
            while let Some(command) = flight.next() {
                self.queue(command)?;
                flight.weight += command.weight;
                flight.sent += 1;
            }
            self.flush().await?;
        }
        flight.landing = true;
        Ok(Some(flight.answered))
    }

    /// Reads the first line of a reply.
    pub(super) async fn status(&mut self) -> Result<Status, Error> {
        self.check_alive()?;
        let line = match self.wire.line().await {
            Ok(line) => line,
            Err(broken) => return Err(self.broken(broken)),
        };
        match Status::read(&line) {
            Some(status) => Ok(status),
            None => Err(self.protocol(format!("\"{}\" is no reply", escape(&line)))),
        }
    }

    /// Reads a reply of one line.
    pub(super) async fn reply(&mut self) -> Result<Reply, Error> {
        let reply = self.begin_reply().await?;
        self.end_reply()?;
        Ok(reply)
    }

    /// Reads a reply with a list of at most `most` lines.
    pub(super) async fn list(&mut self, most: u64, mut take: impl FnMut(&[u8])) -> Result<Reply, Error> {
        let reply = self.begin_reply().await?;
        let (mut lines, mut octets) = (0, 0);
        while reply.is_ok() {
            match self.wire.item().await {
                Ok(Item::End) => break,
                Ok(Item::Line(line)) => {
                    (lines, octets) = (lines + 1, octets + line.len());
                    if lines > most || octets > MAX_LIST {
                        return Err(self.protocol("a list has no end"));
                    }
                    take(&line);
                }
                Err(broken) => return Err(self.broken(broken)),
            }
        }
        self.end_reply()?;
        Ok(reply)
    }

    /// Reads a reply with a message, which passes into the sink; gives its octets.
    pub(super) async fn pass_on(
        &mut self,
        literal: u64,
        sink: &mpsc::Sender<BodyChunk>,
    ) -> Result<Result<u64, Refusal>, Error> {
        if let Err(refusal) = self.begin_reply().await? {
            self.end_reply()?;
            return Ok(Err(refusal));
        }
        let mut octets = 0;
        loop {
            let piece = match self.wire.piece().await {
                Ok(piece) => piece,
                Err(broken) => return Err(self.broken(broken)),
            };
            octets += piece.bytes.len() as u64;
            let chunk = BodyChunk { literal, bytes: piece.bytes, end: piece.end };
            if sink.send(chunk).await.is_err() {
                self.alive = false;
                return Err(Error::later("nobody takes the message bodies any more"));
            }
            self.wire.begin_wait();
            if piece.end {
                break;
            }
        }
        self.end_reply()?;
        Ok(Ok(octets))
    }

    /// Reads a reply with a message into memory; `None` if it has more than `most` octets.
    pub(super) async fn keep(&mut self, most: usize) -> Result<Result<Option<Vec<u8>>, Refusal>, Error> {
        if let Err(refusal) = self.begin_reply().await? {
            self.end_reply()?;
            return Ok(Err(refusal));
        }
        let mut kept = Some(Vec::new());
        loop {
            let piece = match self.wire.piece().await {
                Ok(piece) => piece,
                Err(broken) => return Err(self.broken(broken)),
            };
            kept = kept.filter(|kept| kept.len() + piece.bytes.len() <= most);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&piece.bytes);
            }
            if piece.end {
                break;
            }
        }
        self.end_reply()?;
        Ok(Ok(kept))
    }

    /// Waits for the server to close, which it does after its goodbye; whatever it says instead is a breach.
    pub(super) async fn farewell(&mut self) -> Result<(), Error> {
        self.alive = false;
        let _ = tokio::time::timeout(LAST_WORDS, self.wire.fill()).await;
        match self.wire.is_drained() {
            true => Ok(()),
            false => Err(self.protocol("the server goes on after its goodbye")),
        }
    }

    /// Counts a reply as read that [`status`](Self::status) read by itself.
    pub(super) fn end_reply(&mut self) -> Result<(), Error> {
        self.asked = self.asked.saturating_sub(1);
        self.wire.begin_wait();
        self.check_drained()
    }

    /// Gives the connection up for a breach of the protocol.
    pub(super) fn protocol(&mut self, reason: impl Into<String>) -> Error {
        self.alive = false;
        Error::Protocol(reason.into())
    }

    fn queue(&mut self, command: &Command) -> Result<(), Error> {
        self.check_alive()?;
        self.check_drained()?;
        // Ours to prove, and fatal if it were not so: what stands behind a line end would be a command.
        if command.text.contains(['\r', '\n', '\0']) {
            return Err(Error::Never(format!("the argument of {} has a control character", command.verb.name)));
        }
        step::reach(command.verb.site);
        tracing::trace!("C: {}", escape(command.shown()));
        self.wire.queue(&command.text);
        self.asked += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        // Until the write is complete nothing may be sent after it.
        self.alive = false;
        match self.wire.flush().await {
            Ok(()) => {
                self.alive = true;
                Ok(())
            }
            Err(broken) => Err(self.broken(broken)),
        }
    }

    async fn begin_reply(&mut self) -> Result<Reply, Error> {
        match self.status().await? {
            Status::Ok(text) => Ok(Ok(text)),
            Status::Err(refusal) => Ok(Err(refusal)),
            Status::Continue(_) => Err(self.protocol("the server asks for more of a whole command")),
        }
    }

    fn check_alive(&self) -> Result<(), Error> {
        if self.alive { Ok(()) } else { Err(Error::later("the connection is lost")) }
    }

    /// While nothing is asked, nothing may have come.
    fn check_drained(&mut self) -> Result<(), Error> {
        match self.asked > 0 || self.wire.is_drained() {
            true => Ok(()),
            false => Err(self.protocol("the server says what was not asked for")),
        }
    }

    fn broken(&mut self, broken: Broken) -> Error {
        self.alive = false;
        let error = match broken {
            Broken::Framing(violation) => return Error::Protocol(violation.to_string()),
            Broken::Io(error) => error,
        };
        match error.kind() {
            io::ErrorKind::TimedOut => {
                let reason = format!("the server was silent for {} s", self.limit.as_secs());
                Error::Later { reason, hint: None, source: None }
            }
            io::ErrorKind::UnexpectedEof => Error::later("the server closed the connection"),
            _ => Error::Later { reason: "the connection broke".to_owned(), hint: None, source: Some(error) },
        }
    }
}

/// What a command's refusal is called, for those that have no answer of their own to one.
pub(super) fn refused(verb: Verb, refusal: Refusal) -> Error {
    Error::Refused { command: verb.name, refusal }
}
