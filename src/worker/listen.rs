//! Listening: a connection of its own that hears when something changes on the server.
//!
//! It carries nothing: whoever hears looks, by a pass. A server that can tells of all mailboxes at once (NOTIFY); others
//! tell of the INBOX at once (IDLE), and are asked every so often how the rest stands, where one command asks it. With them a
//! further connection may listen to a further mailbox.

use crate::mail::MailboxName;
use crate::remote::Quirks;
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Access, Listed, Listing, Tidings};
use crate::remote::session::{self, Opened};
use crate::worker::{Error, Job, map};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

/// How long one IDLE lasts: servers end what is silent for half an hour, routers often what is so for a quarter.
const ONE_IDLE: Duration = Duration::from_secs(10 * 60);
/// How often it is asked how the mailboxes stand of which the server does not tell.
const ROUND: Duration = Duration::from_secs(60);

#[cfg(not(feature = "steps"))]
fn round() -> Duration {
    ROUND
}

/// The tests cannot wait so long: the milliseconds may be named.
#[cfg(feature = "steps")]
fn round() -> Duration {
    let named = std::env::var("MAILTWIN_ROUND").ok().and_then(|n| n.parse().ok());
    named.map_or(ROUND, Duration::from_millis)
}

/// Where is heard what changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// In all mailboxes, at once.
    All,
    /// In the INBOX at once, in the others at the next round.
    InboxAndRounds,
    /// In the INBOX.
    Inbox,
}

/// What is heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Whatever changes from now on is heard.
    Listening(Reach),
    /// Something changed in this mailbox (decoded, with `/` between the levels), or in any of them.
    Stirred(Option<String>),
}

/// Logs in with one try and waits for news, until that fails. Cancel safe: dropping it closes the connection.
///
/// `notifies`: whether the server may be asked to tell of all mailboxes; not any more when there was too much to tell.
pub async fn listen(job: &Job, notifies: &mut bool, told: &mut (dyn FnMut(Heard) + Send)) -> Error {
    let Err(error) = attempt(job, notifies, told).await;
    error
}

async fn attempt(job: &Job, notifies: &mut bool, told: &mut (dyn FnMut(Heard) + Send)) -> Result<Infallible, Error> {
    let Opened { mut imap, listing, quirks, .. } = session::open_on(&job.endpoint, &job.reins.line).await?;
    let mut listing = listing?;
    let places = Places::of(job, &quirks, &listing);
    imap.select(&MailboxName::inbox(), Access::ReadOnly, None).await?;
    let is_told = *notifies && imap.notify().await?;
    let makes_rounds = !is_told && imap.capabilities().has("LIST-STATUS");
    told(Heard::Listening(match (is_told, makes_rounds) {
        (true, _) => Reach::All,
        (false, true) => Reach::InboxAndRounds,
        (false, false) => Reach::Inbox,
    }));
    loop {
        let most = if makes_rounds { round() } else { ONE_IDLE };
        imap.idle(most, &mut |tidings| {
            *notifies &= tidings != Tidings::Overflow;
            places.heard(tidings).into_iter().for_each(&mut *told);
        })
        .await?;
        if makes_rounds {
            let now = imap.list().await?;
            changed(&listing, &now).into_iter().filter_map(|t| places.heard(t)).for_each(&mut *told);
            listing = now;
        }
    }
}

/// As [`listen`], to one mailbox (decoded, with `/` between the levels). That it is listened to is told as something that
/// stirred in it: what came before was not heard.
pub async fn listen_to(job: &Job, mailbox: &str, told: &mut (dyn FnMut(Heard) + Send)) -> Error {
    let Err(error) = attempt_one(job, mailbox, told).await;
    error
}

async fn attempt_one(job: &Job, mailbox: &str, told: &mut (dyn FnMut(Heard) + Send)) -> Result<Infallible, Error> {
    let Opened { mut imap, listing, quirks, .. } = session::open_on(&job.endpoint, &job.reins.line).await?;
    let places = Places::of(job, &quirks, &listing?);
    let Some(name) = places.named(mailbox) else {
        return Err(ImapError::later("the mailbox is not there any more").into());
    };
    imap.select(name, Access::ReadOnly, None).await?;
    told(Heard::Stirred(Some(mailbox.to_owned())));
    loop {
        imap.idle(ONE_IDLE, &mut |_| told(Heard::Stirred(Some(mailbox.to_owned())))).await?;
    }
}

/// The mailboxes of the server: what those are called that are mirrored. The others are none.
struct Places(BTreeMap<MailboxName, Option<String>>);

impl Places {
    fn of(job: &Job, quirks: &Quirks, listing: &Listing) -> Self {
        let views = map::views(job, quirks, listing);
        let is_mirrored = |name: &String| (job.wanted)(name) && !views.contains(name);
        let place = |delimiter, name: &MailboxName| Some(map::slashed(name, delimiter)).filter(is_mirrored);
        Self(listing.mailboxes.iter().map(|m| (m.name.clone(), place(m.delimiter, &m.name))).collect())
    }

    /// The one that is called so here.
    fn named(&self, place: &str) -> Option<&MailboxName> {
        self.0.iter().find(|(_, known)| known.as_deref() == Some(place)).map(|(name, _)| name)
    }

    /// What is to be told of something; one that is not known yet may be any.
    fn heard(&self, tidings: Tidings) -> Option<Heard> {
        match tidings {
            Tidings::Open => self.heard(Tidings::Of(MailboxName::inbox())),
            Tidings::Of(name) => match self.0.get(&name) {
                Some(None) => None,
                Some(place) => Some(Heard::Stirred(place.clone())),
                None => Some(Heard::Stirred(None)),
            },
            Tidings::Names | Tidings::Overflow => Some(Heard::Stirred(None)),
        }
    }
}

/// What is not as it was, the INBOX left out, of which the server tells.
fn changed(before: &Listing, now: &Listing) -> Vec<Tidings> {
    let names = |listing: &Listing| -> BTreeMap<MailboxName, _> {
        let of = |m: &Listed| (m.exists, m.selectable, m.subscribed, m.identity.clone());
        listing.mailboxes.iter().map(|m| (m.name.clone(), of(m))).collect()
    };
    if names(before) != names(now) {
        return vec![Tidings::Names];
    }
    let both = before.mailboxes.iter().zip(&now.mailboxes);
    both.filter(|(was, is)| was.status != is.status && !is.name.is_inbox())
        .map(|(_, is)| Tidings::Of(is.name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::imap::Status;

    fn listing(mailboxes: &[(&str, u32)]) -> Listing {
        let listed = |(name, messages): &(&str, u32)| Listed {
            name: MailboxName::new(name).expect("a name"),
            delimiter: Some('.'),
            roles: Vec::new(),
            subscribed: None,
            selectable: true,
            exists: true,
            status: Some(Status { messages: Some(*messages), ..Status::default() }),
            identity: None,
        };
        Listing { mailboxes: mailboxes.iter().map(listed).collect(), ..Listing::default() }
    }

    fn of(name: &str) -> Tidings {
        Tidings::Of(MailboxName::new(name).expect("a name"))
    }

    #[test]
    fn a_round_finds_what_is_not_as_it_was() {
        let before = listing(&[("INBOX", 1), ("a", 1), ("b", 1)]);
        assert_eq!(changed(&before, &before), []);
        assert_eq!(changed(&before, &listing(&[("INBOX", 2), ("a", 1), ("b", 2)])), [of("b")]);
        assert_eq!(changed(&before, &listing(&[("INBOX", 1), ("a", 2)])), [Tidings::Names]);
        assert_eq!(changed(&before, &listing(&[("INBOX", 1), ("a", 1), ("c", 1)])), [Tidings::Names]);
    }

    #[test]
    fn what_is_not_mirrored_is_not_told_and_what_is_new_may_be_anything() {
        let names = ["INBOX", "lists.rust", "Junk"].map(|name| MailboxName::new(name).expect("a name"));
        let places = [Some("INBOX"), Some("lists/rust"), None].map(|place| place.map(str::to_owned));
        let places = Places(names.into_iter().zip(places).collect());
        let told = |name: &str| Some(Heard::Stirred(Some(name.to_owned())));
        assert_eq!(places.heard(Tidings::Open), told("INBOX"));
        assert_eq!(places.heard(of("lists.rust")), told("lists/rust"));
        assert_eq!(places.heard(of("Junk")), None);
        assert_eq!(places.heard(of("lists.go")), Some(Heard::Stirred(None)));
        assert_eq!(places.heard(Tidings::Overflow), Some(Heard::Stirred(None)));
    }
}
