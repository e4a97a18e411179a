//! IMAP (RFC 9051 and RFC 3501), as servers really speak it.
//!
//! `Wire` frames and judges what comes, async-imap keeps session and tags, `Connection` runs commands, [`Imap`] is the
//! front door. An operation returns all that was asked for or an error: never a part, and never "nothing" because the
//! connection ended or the server said NO. No method is cancel-safe, unless it says so: drop the session instead.

mod append;
mod capability;
mod command;
mod condition;
mod connection;
mod date;
mod deflate;
mod fetch;
mod flight;
mod framer;
mod idle;
mod labels;
mod list;
mod login;
mod response;
mod select;
mod store;
mod syntax;
mod transfer;
mod wire;

#[cfg(test)]
mod tests;

pub use append::{Appended, Upload};
pub use capability::{Capabilities, Tier};
pub use connection::News;
pub use fetch::{FetchedBody, FetchedFlags, FetchedHeader, FetchedMeasure};
pub use flight::{Errand, Landing};
pub use idle::Tidings;
pub use list::{Listed, Listing, Status};
pub use select::{Access, Delta, SelectRequest, Selected};
pub use transfer::{CopyUid, Moved};

pub use crate::remote::body::BodyChunk;

use crate::mail::MailboxName;
use crate::remote::error::Error;
use command::{Command, ENABLE, ID, NAMESPACE, NOOP};
use connection::Connection;
use list::Mailboxes;
use response::Untagged;
use std::time::Duration;
use tokio::time::Instant;

/// Who we say that we are (RFC 2971).
const ID_OF_OURS: &str = concat!("ID (\"name\" \"mailtwin\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")");

/// The capability of compression (RFC 4978).
const COMPRESSION: &str = "COMPRESS=DEFLATE";
/// From this round trip on a link is taken for one that costs more than compressing does: longer than any within a house.
const FAR: Duration = Duration::from_millis(5);

/// A session with an IMAP server.
#[derive(Debug)]
pub struct Imap {
    connection: Connection,
    capabilities: Capabilities,
    preauth: bool,
    mailboxes: Mailboxes,
    /// The mailbox that is open, or was to be.
    open: Option<MailboxName>,
    /// When all mailboxes were listed last, and what was listed.
    listed: Option<(Instant, Listing)>,
}

impl Imap {
    /// What the server can do, less what the owner disabled.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How much the server tells about changes; final after [`prepare`](Self::prepare).
    pub fn tier(&self) -> Tier {
        self.capabilities.tier()
    }

    /// Tells whether the session can be used; after an error that left it half-way it cannot.
    #[cfg(test)]
    pub(super) fn is_alive(&self) -> bool {
        self.connection.is_alive()
    }

    /// Enables QRESYNC or CONDSTORE, asks for the namespaces and lists, all in one flight; once after the login.
    ///
    /// A server that offers QRESYNC and does not enable it is taken for one without. A Dovecot, which has no OBJECTID,
    /// tells mailboxes apart by an item of its own, and is known by an extension that nobody else has.
    ///
    /// # Errors
    /// As for [`list`](Self::list); the refusal of anything else is none.
    pub async fn prepare(&mut self) -> Result<Listing, Error> {
        let mut commands = Vec::new();
        let wanted = match self.tier() {
            Tier::A => Some("QRESYNC"),
            Tier::B if self.capabilities.has("ENABLE") => Some("CONDSTORE"),
            Tier::B | Tier::C => None,
        };
        commands.extend(wanted.map(|name| Command::new(ENABLE, format!("ENABLE {name}"))));
        if self.capabilities.has("NAMESPACE") {
            commands.push(Command::bare(NAMESPACE));
        }
        self.mailboxes.is_dovecot = !self.capabilities.has("OBJECTID") && is_dovecot(&self.capabilities);
        self.list_behind(commands).await
    }

    /// Tells whether the link is so long that it takes doing several things at once to fill it.
    pub fn is_far(&self) -> bool {
        self.connection.round_trip.is_some_and(|took| took >= FAR)
    }

    /// Compresses all that follows, where the server can and the link is slow enough to gain by it. Worth its round trip
    /// before much is transferred.
    ///
    /// # Errors
    /// When the connection is lost. A server that refuses is not asked again.
    pub async fn compress(&mut self) -> Result<(), Error> {
        if !self.is_far() || !self.capabilities.has(COMPRESSION) {
            return Ok(());
        }
        self.capabilities.disable(COMPRESSION);
        match self.connection.compress().await {
            Ok(()) | Err(Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the server the opportunity to tell news (RFC 9051, section 6.1.2).
    ///
    /// # Errors
    /// When the connection is lost or the server refuses.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.connection.exec(Command::bare(NOOP), &mut |_, _| {}).await.map(drop)
    }

    /// Tells who we are and asks who the server is (RFC 2971): field names in small letters, with their values.
    ///
    /// # Errors
    /// When the connection is lost or the server refuses.
    pub async fn id(&mut self) -> Result<Vec<(String, String)>, Error> {
        let mut fields = Vec::new();
        let mut take = |_, untagged| {
            if let Untagged::Id(told) = untagged {
                fields = told;
            }
        };
        self.connection.exec(Command::new(ID, ID_OF_OURS), &mut take).await?;
        Ok(fields)
    }

    /// What the server told about the selected mailbox since the last call or the last select, unasked.
    pub fn take_news(&mut self) -> News {
        let exists = self.connection.news.exists;
        std::mem::replace(&mut self.connection.news, News { exists, ..News::default() })
    }

    /// What the server wants people to know since the last call, escaped: untagged NO and BAD, and whatever it calls an alert
    /// (RFC 9051, section 7.1).
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.connection.warnings)
    }
}

/// Tells a Dovecot by the pre-standard name of its PREVIEW, which it announces since 2.3 and nobody else does.
fn is_dovecot(capabilities: &Capabilities) -> bool {
    ["SNIPPET=FUZZY", "PREVIEW=FUZZY"].iter().any(|name| capabilities.has(name))
}
