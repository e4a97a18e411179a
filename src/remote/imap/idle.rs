//! Waiting until the server tells news (RFC 2177; RFC 9051, section 6.3.13).

use super::Imap;
use super::command::{Command, IDLE};
use super::connection::outcome;
use super::response::{Response, Untagged};
use crate::remote::error::Error;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

impl Imap {
    /// Waits in IDLE for about `most`, and calls `heard` whenever something comes that is news of the open mailbox. What it
    /// is, is not told: it only says that it is worth looking.
    ///
    /// Servers end a connection on which nothing is said for half an hour, so `most` is to be well below. Not cancel-safe:
    /// drop the session instead.
    ///
    /// # Errors
    /// [`Error::Refused`] when the server does not wait; others when the connection is lost, or the server stops waiting
    /// before it was told to.
    pub async fn idle(&mut self, most: Duration, heard: &mut (dyn FnMut() + Send)) -> Result<(), Error> {
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
                Response::Untagged(untagged) if is_news(&untagged) => heard(),
                Response::Untagged(_) => {}
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

/// Tells whether a response says that the open mailbox is not as it was.
fn is_news(untagged: &Untagged) -> bool {
    matches!(untagged, Untagged::Exists(_) | Untagged::Expunge | Untagged::Vanished { .. } | Untagged::Fetch(_))
}
