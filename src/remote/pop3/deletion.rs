//! Deleting: DELE marks, and QUIT makes it true (RFC 1939, sections 5 and 6).
//!
//! A session with marks is of another type, and what is gone is known from its [`commit`](Marked::commit) alone. Dropped
//! before, it closes the connection without QUIT, and the server keeps everything.

use super::command::{COMMIT, Command, DELE, RSET};
use super::connection::{Flight, refused};
use super::listing::{Message, Number, scan};
use super::reply::command_refused;
use super::transaction::{Transaction, answers, question};
use crate::remote::error::{Error, Refusal};
use std::collections::BTreeMap;

/// Why a message was not marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spared {
    /// It does not have the unique-id, or the size, that it was listed with.
    Another,
    /// It has no unique-id of its own, and was not fetched in this session: it could be any.
    Unidentified,
    /// The server refused.
    Refused(Refusal),
}

/// A session in which messages are marked as deleted.
#[derive(Debug)]
#[must_use = "marks are nothing before they are committed"]
pub struct Marked {
    transaction: Transaction,
    marked: Vec<Message>,
    spared: BTreeMap<Number, Spared>,
}

impl Transaction {
    /// Marks messages as deleted, each after a last look: it must have the unique-id that it was listed with. One without
    /// a unique-id of its own must have been fetched in this session, and have the size.
    ///
    /// # Errors
    /// When the connection is lost, or the replies are not those to the commands. Nothing is deleted then.
    pub async fn delete(mut self, messages: &[Message]) -> Result<Marked, Error> {
        let mut spared = BTreeMap::new();
        let mut candidates = Vec::new();
        for message in messages {
            if (message.uidl.is_none() || message.shared) && !self.landed.contains(&message.number) {
                spared.insert(message.number, Spared::Unidentified);
            } else {
                candidates.push(message);
            }
        }
        let questions: Vec<Command> = candidates.iter().map(|message| question(message)).collect();
        let mut flight = Flight::new(&questions, self.pipelining());
        let mut confirmed = Vec::new();
        while let Some(index) = self.connection.fly(&mut flight).await? {
            let message = candidates[index];
            match self.connection.reply().await? {
                Ok(text) if answers(&text, message) => confirmed.push(message),
                Ok(text) if scan(text.as_bytes()).is_none_or(|(number, _)| number != message.number) => {
                    return Err(self.not_the_answer(message.number));
                }
                Ok(_) => drop(spared.insert(message.number, Spared::Another)),
                Err(refusal) => drop(spared.insert(message.number, Spared::Refused(refusal))),
            }
        }
        let deletions: Vec<Command> = confirmed.iter().map(|message| Command::new(DELE, message.number)).collect();
        let mut flight = Flight::new(&deletions, self.pipelining());
        let mut marked = Vec::new();
        while let Some(index) = self.connection.fly(&mut flight).await? {
            let message = confirmed[index];
            match self.connection.reply().await? {
                Ok(_) => marked.push(message.clone()),
                Err(refusal) => drop(spared.insert(message.number, Spared::Refused(refusal))),
            }
        }
        Ok(Marked { transaction: self, marked, spared })
    }
}

impl Marked {
    /// The messages that [`commit`](Self::commit) would delete.
    pub fn marked(&self) -> &[Message] {
        &self.marked
    }

    /// The messages that were not marked, and why.
    pub fn spared(&self) -> &BTreeMap<Number, Spared> {
        &self.spared
    }

    /// Takes all marks back (RSET).
    ///
    /// # Errors
    /// When the connection is lost, or the server refuses; nothing is deleted then either.
    pub async fn reset(mut self) -> Result<Transaction, Error> {
        let reply = self.transaction.connection.ask(&Command::bare(RSET)).await?;
        reply.map_err(|refusal| command_refused(RSET, refusal, &self.transaction.capabilities))?;
        Ok(self.transaction)
    }

    /// Ends the session with QUIT, and gives the messages that are gone by that.
    ///
    /// # Errors
    /// When the server does not say `+OK` to it. Then it is not known which messages are gone: those that are still
    /// listed next time have to be marked again.
    pub async fn commit(mut self) -> Result<Vec<Message>, Error> {
        let connection = &mut self.transaction.connection;
        let reply = connection.ask(&Command::bare(COMMIT)).await?;
        reply.map_err(|refusal| refused(COMMIT, refusal))?;
        connection.farewell().await?;
        Ok(self.marked)
    }
}
