//! Listening: a connection of its own that hears when something changes on the server.
//!
//! It carries nothing: whoever hears looks, by a pass.

use crate::mail::MailboxName;
use crate::remote::imap::Access;
use crate::remote::session;
use crate::worker::{Error, Job};
use std::convert::Infallible;
use std::time::Duration;

/// How long one IDLE lasts: servers end what is silent for half an hour, routers often what is so for a quarter.
const ONE_IDLE: Duration = Duration::from_secs(10 * 60);

/// What is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Whatever changes from now on is heard.
    Listening,
    /// Something changed in the INBOX.
    Stirred,
}

/// Logs in with one try and waits for news of the INBOX, until that fails. Cancel safe: dropping it closes the connection.
pub async fn listen(job: &Job, told: &mut (dyn FnMut(Heard) + Send)) -> Error {
    let Err(error) = attempt(job, told).await;
    error
}

async fn attempt(job: &Job, told: &mut (dyn FnMut(Heard) + Send)) -> Result<Infallible, Error> {
    let mut imap = session::open_on(&job.endpoint, &job.reins.line).await?.imap;
    imap.select(&MailboxName::inbox(), Access::ReadOnly, None).await?;
    told(Heard::Listening);
    loop {
        imap.idle(ONE_IDLE, &mut || told(Heard::Stirred)).await?;
    }
}
