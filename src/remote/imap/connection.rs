//! A session with a server: commands out, responses in, several commands at once.
//!
//! Nothing is "empty" by accident: the end of the connection, NO, BAD and BYE are errors, every one of them. Untagged
//! data cannot be attributed to a command (Dovecot sends the data of three pipelined commands before the first of
//! their tags), so whoever runs commands is shown all of it, and what concerns the mailbox is kept as [`News`].

use super::command::{COMPRESS, Command, LOGOUT, Verb};
use super::condition::{Condition, Status};
use super::response::{Response, Untagged};
use super::wire::{Fault, Stream, Wire};
use crate::mail::{UidSet, escape};
use crate::remote::body::BodyChunk;
use crate::remote::error::{Error, Refusal};
use crate::step;
use async_imap::{Client, Session};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Commands that may wait for their answers at once.
const MAX_IN_FLIGHT: usize = 100;
/// Octets of such commands: less than any socket takes without its peer reading.
const MAX_OCTETS_IN_FLIGHT: usize = 24 << 10;
/// How long is read for the reason why nothing more can be written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Warnings that are kept.
const MAX_WARNINGS: usize = 100;

/// What is shown the untagged data; the number counts the commands of the run that were answered before it.
pub(super) type Take<'a> = &'a mut (dyn FnMut(usize, Untagged) + Send);

/// What the server told about the selected mailbox without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The last EXISTS, less the EXPUNGEs since.
    pub exists: Option<u32>,
    /// EXPUNGE responses, which name no UID.
    pub expunged: u32,
    /// UIDs that VANISHED (RFC 7162, section 3.2.10).
    pub vanished: UidSet,
}

/// One command's end: its OK, or why there is none.
pub(super) type Outcome = Result<Condition, Error>;

#[derive(Debug)]
pub(super) struct Connection {
    session: Session<Wire>,
    timeout: Duration,
    alive: bool,
    leaving: bool,
    pub(super) news: News,
    pub(super) warnings: Vec<String>,
    /// The shortest time from commands to the first response to them.
    pub(super) round_trip: Option<Duration>,
}

impl Connection {
    /// Wraps a stream on which the greeting comes next.
    pub(super) async fn open(stream: impl Stream + 'static, timeout: Duration) -> Result<Self, Error> {
        // The wire keeps this login to itself.
        let session = match Client::new(Wire::new(stream, timeout)).login("", "").await {
            Ok(session) => session,
            Err((error, _)) => return Err(Error::Protocol(escape(error.to_string()))),
        };
        Ok(Self {
            session,
            timeout,
            alive: true,
            leaving: false,
            news: News::default(),
            warnings: Vec::new(),
            round_trip: None,
        })
    }

    /// Tells whether the connection can be used.
    #[cfg(test)]
    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    /// Writes a command and returns its tag. Not cancel-safe: a command cut in the middle ruins the connection.
    pub(super) async fn send(&mut self, command: &Command) -> Result<String, Error> {
        self.check_alive()?;
        step::reach(command.verb.site);
        tracing::trace!("C: {}", escape(command.redacted()));
        self.leaving |= command.verb == LOGOUT;
        // Until the write is complete nothing may be sent after it.
        self.alive = false;
        let sent = self.session.run_command(&command.text).await;
        match sent {
            Ok(tag) => {
                self.alive = true;
                Ok(tag.0)
            }
            Err(async_imap::error::Error::Io(error)) => Err(self.cut_off(error).await),
            Err(error) => Err(Error::Protocol(escape(error.to_string()))),
        }
    }

    /// Writes a part of a command: a literal, or what follows it. Not cancel-safe.
    pub(super) async fn send_octets(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.check_alive()?;
        self.alive = false;
        match self.session.get_mut().write_all(octets).await {
            Ok(()) => self.alive = true,
            Err(error) => return Err(self.cut_off(error).await),
        }
        Ok(())
    }

    /// Sends on its way what was written.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        match self.session.get_mut().flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.cut_off(error).await),
        }
    }

    /// Sends on its way what was written, and that nothing follows.
    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.alive = false;
        match self.session.get_mut().shutdown().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Waits for the next response; cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Response, Error> {
        self.check_alive()?;
        match self.session.read_response().await {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.alive = false;
                return Err(Error::later("the server closed the connection"));
            }
            Err(error) => return Err(self.broken(error)),
        }
        let Some(response) = self.session.get_mut().take_response() else {
            return Err(self.protocol("an answer came without a response"));
        };
        if let Response::Untagged(untagged) = &response {
            self.note(untagged)?;
        }
        Ok(response)
    }

    /// Runs commands, as many at once as may be, and shows `take` all untagged data. The outcomes are in the order of
    /// the commands; an error means that the connection is lost.
    pub(super) async fn run(&mut self, commands: &[Command], take: Take<'_>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes: Vec<Option<Outcome>> = commands.iter().map(|_| None).collect();
        let mut in_flight: BTreeMap<String, usize> = BTreeMap::new();
        let (mut sent, mut octets, mut answered) = (0, 0, 0);
        let mut asked = Some(Instant::now());
        while answered < commands.len() {
            while let Some(command) = commands.get(sent) {
                let full = in_flight.len() >= MAX_IN_FLIGHT || octets + command.text.len() > MAX_OCTETS_IN_FLIGHT;
                if full && !in_flight.is_empty() {
                    break;
                }
                in_flight.insert(self.send(command).await?, sent);
                octets += command.text.len();
                sent += 1;
            }
            let response = self.next().await?;
            if let Some(asked) = asked.take() {
                let took = asked.elapsed();
                self.round_trip = Some(self.round_trip.map_or(took, |shortest| shortest.min(took)));
            }
            match response {
                Response::Untagged(untagged) => take(answered, untagged),
                Response::Continue(_) => return Err(self.protocol("the server asks for more of a whole command")),
                Response::Tagged(tag, condition) => {
                    let Some(index) = in_flight.remove(&tag) else { return Err(self.unknown_tag()) };
                    octets -= commands[index].text.len();
                    outcomes[index] = Some(outcome(commands[index].verb, condition));
                    answered += 1;
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Runs one command; NO and BAD are errors.
    pub(super) async fn exec(&mut self, command: Command, take: Take<'_>) -> Result<Condition, Error> {
        Ok(self.exec_all(&[command], take).await?.remove(0))
    }

    /// Runs commands; the first NO or BAD is the error, after all were answered.
    pub(super) async fn exec_all(&mut self, commands: &[Command], take: Take<'_>) -> Result<Vec<Condition>, Error> {
        self.run(commands, take).await?.into_iter().collect()
    }

    /// Lets bodies pass into `sink`, at most `most` of them.
    pub(super) fn divert(&mut self, sink: mpsc::Sender<BodyChunk>, most: u64) {
        self.session.get_mut().divert(sink, most);
    }

    /// Ends [`divert`](Self::divert).
    pub(super) fn undivert(&mut self) {
        self.session.get_mut().undivert();
    }

    /// The longest silence that is endured.
    pub(super) fn silence(&self) -> Duration {
        self.timeout
    }

    /// Has another silence endured from now on.
    pub(super) fn bear_silence(&mut self, limit: Duration) {
        self.timeout = limit;
        self.session.get_mut().bear_silence(limit);
    }

    /// Compresses what follows (RFC 4978); nothing else may be in flight.
    pub(super) async fn compress(&mut self) -> Result<(), Error> {
        self.exec(Command::new(COMPRESS, "COMPRESS DEFLATE"), &mut |_, _| {}).await?;
        self.session.get_mut().compress();
        Ok(())
    }

    /// A number for a body that stood in its response.
    pub(super) fn number_body(&mut self) -> u64 {
        self.session.get_mut().number_body()
    }

    /// Writes a line that belongs to no command: an answer to a challenge. Not traced.
    pub(super) async fn send_line(&mut self, line: &str) -> Result<(), Error> {
        self.send_octets(format!("{line}\r\n").as_bytes()).await?;
        self.flush().await
    }

    /// Gives the connection up for a breach of the protocol.
    pub(super) fn protocol(&mut self, reason: impl Into<String>) -> Error {
        self.alive = false;
        Error::Protocol(reason.into())
    }

    /// Gives the connection up because an answer has a tag that no command has.
    pub(super) fn unknown_tag(&mut self) -> Error {
        self.protocol("an answer has a tag that no command has")
    }

    /// Gives the connection up because a message does not have the announced size.
    pub(super) fn abandon(&mut self, error: Error) -> Error {
        self.alive = false;
        error
    }

    fn check_alive(&self) -> Result<(), Error> {
        if self.alive { Ok(()) } else { Err(Error::later("the connection is lost")) }
    }

    fn note(&mut self, untagged: &Untagged) -> Result<(), Error> {
        match untagged {
            Untagged::Exists(count) => self.news.exists = Some(*count),
            Untagged::Expunge => {
                self.news.expunged = self.news.expunged.saturating_add(1);
                self.news.exists = self.news.exists.map(|count| count.saturating_sub(1));
            }
            Untagged::Vanished { earlier: false, uids } => {
                let gone = u32::try_from(uids.len()).unwrap_or(u32::MAX);
                self.news.exists = self.news.exists.map(|count| count.saturating_sub(gone));
                uids.ranges().for_each(|(first, last)| self.news.vanished.insert_range(first, last));
            }
            Untagged::Condition(condition) => match condition.status {
                Status::Bye if !self.leaving => {
                    self.alive = false;
                    return Err(goodbye(condition));
                }
                Status::No | Status::Bad if self.warnings.len() < MAX_WARNINGS => {
                    self.warnings.push(refusal(condition.clone()).to_string());
                }
                Status::Ok if condition.has_code("ALERT") && self.warnings.len() < MAX_WARNINGS => {
                    self.warnings.push(refusal(condition.clone()).to_string());
                }
                Status::Ok if condition.has_code("CLOSED") => self.news = News::default(),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// What a write means that failed: a server that closes says why before (BYE), and that is worth more than "broken
    /// pipe".
    async fn cut_off(&mut self, error: io::Error) -> Error {
        self.alive = false;
        let last_words = async {
            while let Ok(Some(_)) = self.session.read_response().await {
                if let Some(Response::Untagged(Untagged::Condition(condition))) = self.session.get_mut().take_response()
                    && condition.status == Status::Bye
                {
                    return Some(goodbye(&condition));
                }
            }
            None
        };
        let said = tokio::time::timeout(LAST_WORDS, last_words).await;
        said.ok().flatten().unwrap_or_else(|| self.broken(error))
    }

    fn broken(&mut self, error: io::Error) -> Error {
        self.alive = false;
        if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
            return match fault {
                Fault::SinkClosed => Error::later(fault.to_string()),
                fault => Error::Protocol(fault.to_string()),
            };
        }
        let reason = match error.kind() {
            io::ErrorKind::TimedOut => format!("the server was silent for {} s", self.timeout.as_secs()),
            _ => "the connection broke".to_owned(),
        };
        Error::Later { reason, hint: None, source: Some(error) }
    }
}

/// What a tagged condition means for its command.
pub(super) fn outcome(verb: Verb, condition: Condition) -> Outcome {
    if condition.status == Status::Ok {
        return Ok(condition);
    }
    let refusal = refusal(condition);
    let pause = refusal.pause();
    let passing = ["UNAVAILABLE", "INUSE", "THROTTLED"].iter().any(|code| refusal.has_code(code));
    if passing || pause.is_some() {
        let reason = format!("the server cannot do {} now: {refusal}", verb.name);
        return Err(Error::Later { reason, hint: pause, source: None });
    }
    Err(Error::Refused { command: verb.name, refusal })
}

/// The refusal that a NO or BAD is.
pub(super) fn refusal(condition: Condition) -> Refusal {
    Refusal { bad: condition.status != Status::No, code: condition.code, text: condition.text }
}

/// The error that a BYE is.
pub(super) fn goodbye(condition: &Condition) -> Error {
    let refusal = refusal(condition.clone());
    let hint = refusal.pause();
    Error::Later { reason: format!("the server ended the connection: {refusal}"), hint, source: None }
}
