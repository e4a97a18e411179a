//! The TRANSACTION state: listing and reading (RFC 1939, sections 5 and 7).

use super::capability::Capabilities;
use super::command::{CAPA, Command, LIST, NOOP, QUIT, RETR, STAT, TOP, UIDL};
use super::connection::{Connection, Flight, refused};
use super::listing::{Gathering, Listing, Message, Number, decimal, scan};
use super::login::learn;
use super::reply::command_refused;
use crate::mail::Uidl;
use crate::remote::body::BodyChunk;
use crate::remote::error::{Error, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Messages, and octets of them, after which it is proven that the count of replies is right.
const PROVE_EVERY: usize = 16;
const PROVE_OCTETS: u64 = 1 << 20;
/// The octets of one TOP, and of all of one call, that are kept.
const MAX_TOP: usize = 1 << 20;
const MAX_TOPS: usize = 32 << 20;

/// A session with a maildrop.
///
/// Dropping it closes the connection without QUIT.
#[derive(Debug)]
pub struct Transaction {
    pub(super) connection: Connection,
    pub(super) capabilities: Capabilities,
    /// The capabilities are those from after the login.
    informed: bool,
    /// Messages that were fetched whole.
    pub(super) landed: BTreeSet<Number>,
}

/// A message that arrived as a whole, and is the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The message; its chunks went into the sink before.
    pub number: Number,
    /// Its octets, with CRLF.
    pub octets: u64,
}

/// What TOP told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Top {
    /// The header, the empty line, and as many lines of the body as were asked for.
    Text(Vec<u8>),
    /// It is longer than anybody would keep in memory.
    TooLong,
    /// The server does not tell it.
    Refused(Refusal),
}

/// What a command of a flight is for.
enum Leg<'a> {
    Fetch(&'a Message),
    Prove(&'a Message),
}

impl Transaction {
    pub(super) fn new(connection: Connection, capabilities: Capabilities) -> Self {
        Self { connection, capabilities, informed: false, landed: BTreeSet::new() }
    }

    /// What the server can do; after the first [`list`](Self::list) what it says since the login.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Tells whether the session can be used; after an error that left it half-way it cannot.
    pub fn is_alive(&self) -> bool {
        self.connection.is_alive()
    }

    /// Lists the maildrop by STAT, LIST and UIDL, and asks the first time what the server can do after the login.
    ///
    /// What does not fit is in the listing's doubts; the refusal of UIDL and of LIST is among them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn list(&mut self) -> Result<Listing, Error> {
        let mut gathering = Gathering::default();
        let mut commands = [CAPA, STAT, LIST, UIDL].map(Command::bare).to_vec();
        if self.informed {
            commands.remove(0);
        } else if !self.pipelining() {
            // It may offer it now.
            self.connection.send(&commands.remove(0)).await?;
            learn(&mut self.connection, &mut self.capabilities).await?;
        }
        self.informed = true;
        let mut flight = Flight::new(&commands, self.pipelining());
        while let Some(number) = self.connection.fly(&mut flight).await? {
            match commands[number].verb {
                CAPA => learn(&mut self.connection, &mut self.capabilities).await?,
                STAT => {
                    if let Ok(text) = self.connection.reply().await? {
                        gathering.stat(&text);
                    }
                }
                LIST => {
                    let most = gathering.most();
                    let reply = self.connection.list(most, |line| gathering.list(line)).await?;
                    let _ = reply.map_err(|refusal| gathering.list_refused(refusal));
                }
                _ => {
                    let most = gathering.most();
                    let reply = self.connection.list(most, |line| gathering.uidl(line)).await?;
                    let _ = reply.map_err(|refusal| gathering.uidl_refused(refusal));
                }
            }
        }
        Ok(gathering.finish())
    }

    /// Fetches messages; their bodies go into `sink` while they arrive, under their message numbers.
    ///
    /// A message that arrived is told through `landings` when it is proven that the reply was its own, up to 32 messages
    /// later.
    /// Believe no body before, and after an error none that was not told. While the sink is full nothing is read from the
    /// server. The result names the messages that the server refused.
    ///
    /// # Errors
    /// When the connection is lost, or the replies are not those to the commands; the last body may be cut off.
    pub async fn fetch(
        &mut self,
        messages: &[Message],
        sink: &mpsc::Sender<BodyChunk>,
        landings: &mpsc::UnboundedSender<Landing>,
    ) -> Result<BTreeMap<Number, Refusal>, Error> {
        let (mut legs, mut commands) = (Vec::new(), Vec::new());
        let (mut count, mut octets) = (0, 0);
        for (place, message) in messages.iter().enumerate() {
            let size = message.size.unwrap_or(0);
            legs.push(Leg::Fetch(message));
            commands.push(Command::new(RETR, message.number).weighing(size));
            (count, octets) = (count + 1, octets + size);
            if count == PROVE_EVERY || octets >= PROVE_OCTETS || place + 1 == messages.len() {
                legs.push(Leg::Prove(message));
                commands.push(question(message));
                (count, octets) = (0, 0);
            }
        }
        let mut refusals = BTreeMap::new();
        let (mut unproven, mut proven) = (Vec::new(), Vec::new());
        let mut flight = Flight::new(&commands, self.pipelining());
        while let Some(number) = self.connection.fly(&mut flight).await? {
            match legs[number] {
                Leg::Fetch(message) => match self.connection.pass_on(u64::from(message.number.get()), sink).await? {
                    Ok(octets) => unproven.push((message, octets)),
                    Err(refusal) => drop(refusals.insert(message.number, refusal)),
                },
                // A message that is gone meanwhile proves nothing.
                Leg::Prove(message) if refusals.contains_key(&message.number) => {
                    let _ = self.connection.reply().await?;
                }
                // A mail that ends too early may hold what reads as this answer too, but then the next one is another.
                Leg::Prove(message) => {
                    self.prove(message).await?;
                    self.land(&mut proven, landings);
                    std::mem::swap(&mut proven, &mut unproven);
                }
            }
        }
        if let Some((message, _)) = unproven.last() {
            self.connection.send(&question(message)).await?;
            self.prove(message).await?;
        }
        proven.append(&mut unproven);
        self.land(&mut proven, landings);
        Ok(refusals)
    }

    /// Reads the first `lines` lines of messages, behind their headers; ask for few, for they are held in memory.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn top(&mut self, messages: &[Message], lines: u32) -> Result<BTreeMap<Number, Top>, Error> {
        let top = |message: &Message| Command::new(TOP, format_args!("{} {lines}", message.number));
        let commands: Vec<Command> = messages.iter().map(top).collect();
        let mut tops = BTreeMap::new();
        let mut room = MAX_TOPS;
        let mut flight = Flight::new(&commands, self.pipelining());
        while let Some(number) = self.connection.fly(&mut flight).await? {
            let top = match self.connection.keep(MAX_TOP.min(room)).await? {
                Ok(Some(text)) => {
                    room -= text.len();
                    Top::Text(text)
                }
                Ok(None) => Top::TooLong,
                Err(refusal) => Top::Refused(refusal),
            };
            tops.insert(messages[number].number, top);
        }
        Ok(tops)
    }

    /// Asks for the unique-ids of messages one by one; `None`: refused, or one that identifies nothing.
    ///
    /// # Errors
    /// When the connection is lost, or an answer is about another message.
    pub async fn identify(&mut self, numbers: &[Number]) -> Result<BTreeMap<Number, Option<Uidl>>, Error> {
        let commands: Vec<Command> = numbers.iter().map(|number| Command::new(UIDL, number)).collect();
        let mut found = BTreeMap::new();
        let mut flight = Flight::new(&commands, self.pipelining());
        while let Some(index) = self.connection.fly(&mut flight).await? {
            let number = numbers[index];
            let uidl = match self.connection.reply().await? {
                Err(_) => None,
                Ok(text) => match scan(text.as_bytes()) {
                    Some((told, rest)) if told == number => Uidl::new(rest),
                    _ => return Err(self.not_the_answer(number)),
                },
            };
            found.insert(number, uidl);
        }
        Ok(found)
    }

    /// Keeps the session from ending for silence.
    ///
    /// # Errors
    /// When the connection is lost, or the server refuses.
    pub async fn noop(&mut self) -> Result<(), Error> {
        let reply = self.connection.ask(&Command::bare(NOOP)).await?;
        reply.map(drop).map_err(|refusal| command_refused(NOOP, refusal, &self.capabilities))
    }

    /// Ends the session; nothing is deleted, for nothing was marked.
    ///
    /// # Errors
    /// When the server does not say goodbye.
    pub async fn quit(mut self) -> Result<(), Error> {
        let reply = self.connection.ask(&Command::bare(QUIT)).await?;
        reply.map_err(|refusal| refused(QUIT, refusal))?;
        self.connection.farewell().await
    }

    pub(super) fn pipelining(&self) -> bool {
        self.capabilities.has("PIPELINING")
    }

    /// Reads the answer to a [`question`]: it must be about the message, or the replies are not those to our commands.
    async fn prove(&mut self, message: &Message) -> Result<(), Error> {
        match self.connection.reply().await? {
            Ok(text) if answers(&text, message) => Ok(()),
            _ => Err(self.not_the_answer(message.number)),
        }
    }

    pub(super) fn not_the_answer(&mut self, number: Number) -> Error {
        self.connection.protocol(format!("what was asked about message {number} is answered with something else"))
    }

    fn land(&mut self, proven: &mut Vec<(&Message, u64)>, landings: &mpsc::UnboundedSender<Landing>) {
        for (message, octets) in proven.drain(..) {
            self.landed.insert(message.number);
            // Nobody may be listening any more; the sink tells that.
            let _ = landings.send(Landing { number: message.number, octets });
        }
    }
}

/// Asks for what is known of a message, in one line that can only be about this one.
pub(super) fn question(message: &Message) -> Command {
    Command::new(if message.uidl.is_some() { UIDL } else { LIST }, message.number)
}

/// Tells whether the text of a reply is the answer to the [`question`].
pub(super) fn answers(text: &str, message: &Message) -> bool {
    let Some((number, rest)) = scan(text.as_bytes()) else { return false };
    let told = match &message.uidl {
        Some(uidl) => uidl.as_bytes() == rest,
        None => message.size.is_none() || rest.split(|b| *b == b' ').next().and_then(decimal) == message.size,
    };
    number == message.number && told
}
