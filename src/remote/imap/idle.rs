//! Waiting until the server tells news (RFC 2177; RFC 9051, section 6.3.13), of all mailboxes where it can (RFC 5465).

use super::Imap;
use super::command::{Command, IDLE, NOTIFY};
use super::connection::outcome;
use super::list::judge;
use super::response::{Response, Untagged};
use crate::mail::MailboxName;
use crate::remote::error::Error;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What is to be told (RFC 5465, section 6). Without the STATUS of all: whoever wants to miss nothing looks after this.
const EVERYTHING: &str = "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) \
                          (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))";

/// What a server tells while it is listened to: where it is worth looking, and not what is to be seen there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tidings {
    /// The open mailbox is not as it was.
    Open,
    /// This one is not.
    Of(MailboxName),
    /// A mailbox came, went, is called otherwise, or was subscribed to or not.
    Names,
    /// There was too much to tell, and of nothing is told any more (RFC 5465, section 5.8).
    Overflow,
}

impl Tidings {
    fn of(untagged: &Untagged) -> Option<Self> {
        match untagged {
            Untagged::Exists(_) | Untagged::Expunge | Untagged::Vanished { .. } | Untagged::Fetch(_) => {
                Some(Self::Open)
            }
            // What has no name that could be used is a mailbox that cannot be mirrored.
            Untagged::Status(line) => judge(&line.name).ok().map(Self::Of),
            Untagged::List(_) => Some(Self::Names),
            Untagged::Condition(condition) if condition.has_code("NOTIFICATIONOVERFLOW") => Some(Self::Overflow),
            _ => None,
        }
    }
}

impl Imap {
    /// Has the server tell of all mailboxes in the personal namespaces, and not of the open one alone, in
    /// [`idle`](Self::idle); returns whether it does. To be asked when a mailbox is open.
    ///
    /// # Errors
    /// When the connection is lost; a refusal is none.
    pub async fn notify(&mut self) -> Result<bool, Error> {
        if !self.capabilities.has("NOTIFY") {
            return Ok(false);
        }
        match self.connection.exec(Command::new(NOTIFY, EVERYTHING), &mut |_, _| {}).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits in IDLE for about `most`, and calls `heard` whenever something comes that is news.
    ///
    /// Servers end a connection on which nothing is said for half an hour, so `most` is to be well below. Not cancel-safe:
    /// drop the session instead.
    ///
    /// # Errors
    /// [`Error::Refused`] when the server does not wait; others when the connection is lost, or the server stops waiting
    /// before it was told to.
    pub async fn idle(&mut self, most: Duration, heard: &mut (dyn FnMut(Tidings) + Send)) -> Result<(), Error> {
        let tag = self.connection.send(&Command::bare(IDLE)).await?;
        let until = Instant::now() + most;
        // How much silence was endured before; while the server has nothing to tell, silence is as it should be.
        let mut usual = None;
        let mut is_told = false;
        loop {
            let next = self.connection.next();
            let response = match usual {
                Some(limit) if !is_told => match timeout_at(until, next).await {
                    Ok(response) => response?,
                    Err(_) => {
                        self.connection.bear_silence(limit);
                        self.connection.send_line("DONE").await?;
                        is_told = true;
                        continue;
                    }
                },
                _ => next.await?,
            };
            match response {
                Response::Continue(_) if usual.is_none() => {
                    let limit = self.connection.silence();
                    self.connection.bear_silence(most + limit);
                    usual = Some(limit);
                }
                Response::Continue(_) => return Err(self.connection.protocol("the server asks for more in IDLE")),
                Response::Untagged(untagged) => {
                    let tidings = Tidings::of(&untagged);
                    let is_overflow = tidings == Some(Tidings::Overflow);
                    tidings.into_iter().for_each(&mut *heard);
                    if is_overflow {
                        return Err(Error::later("the server has too much to tell"));
                    }
                }
                Response::Tagged(answered, _) if answered != tag => return Err(self.connection.unknown_tag()),
                Response::Tagged(_, condition) => {
                    self.take_news();
                    outcome(IDLE, condition)?;
                    // One that does so each time would be asked again and again.
                    return if is_told { Ok(()) } else { Err(Error::later("the server does not wait in IDLE")) };
                }
            }
        }
    }
}
