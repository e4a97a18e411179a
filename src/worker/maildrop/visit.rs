//! One session with the server: listed, fetched from, removed from, and ended.

use super::DropPass;
use super::here::Here;
use super::plan::Planned;
use super::rest::digest;
use crate::mail::{Uid, escape};
use crate::remote::Endpoint;
use crate::remote::error::Error as RemoteError;
use crate::remote::pop3::{self, Expire, Listing, Message, Transaction};
use crate::store::Settlement;
use crate::sync::Quiet;
use crate::sync::maildrop::Name;
use crate::worker::pass::Mode;
use crate::worker::{Error, Event, quiet};
use std::collections::BTreeMap;

/// A session, and what the server calls in it what we know.
pub(super) struct Session {
    pub transaction: Transaction,
    pub messages: BTreeMap<Uid, Message>,
    /// How long the server wants logins to be apart, in seconds.
    delay: u64,
}

/// A session that is to be begun again at once does not wait longer for it than this, in seconds.
const PATIENCE: u64 = 30;

impl DropPass<'_> {
    /// Makes one session, or goes on in one whose messages were listed; tells whether another one may show more.
    pub(super) async fn visit(&mut self, here: Here, listed: Option<Listing>) -> Result<bool, Error> {
        let listing = match listed {
            Some(listing) => listing,
            None => self.open().await?,
        };
        let listed = digest(&listing);
        let met = self.meet(listing, &here).await?;
        if !self.batches.is_empty() && self.mode == Mode::Execute {
            self.recover(&here, &met).await?;
        }
        let plan = self.plan(&here, &met).await?;
        if self.mode == Mode::DryRun {
            self.foresee(plan, &met);
            return Ok(false);
        }
        let Planned { fetches, gone } = plan;
        let is_idle = fetches.is_empty() && gone.is_empty();
        let fetched = self.carry_out(fetches, &here).await?;
        self.clear_stubs(&here).await?;
        self.relay(&here).await?;
        let delay = self.session.as_ref().map_or(0, |session| session.delay);
        let more = self.quirks.windowed && !fetched.is_empty() && delay <= PATIENCE;
        self.go_on()?;
        let removed = self.clear_out(&met, &fetched, gone).await?;
        if is_idle && removed == 0 {
            self.note_rest(listed, &here, &met).await?;
        }
        Ok(more)
    }

    /// Ends the session; nothing depends on the answer.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        if let Some(session) = self.session.take() {
            let _ = session.transaction.quit().await;
        }
        Ok(())
    }

    /// Opens a session and lists. What the server says of the next login is durable before anything else is done.
    pub(super) async fn open(&mut self) -> Result<Listing, Error> {
        if self.mode == Mode::Execute {
            quiet::respect(&self.store, &self.events, &self.job.reins).await?;
        }
        let user = self.quirks.drop_user(&self.job.endpoint.user, self.wanted.remove.keeps());
        let endpoint = Endpoint { user, ..self.job.endpoint.clone() };
        let opened = pop3::open_on(&endpoint, &self.job.reins.line).await?;
        let _ = self.events.send(Event::LoggedIn { peer: opened.peer });
        let mut transaction = opened.transaction;
        let listing = transaction.list().await?;
        let delay = transaction.capabilities().login_delay().map_or(0, |delay| delay.as_secs());
        if delay > 0 {
            let since = self.now();
            let reason = format!("it wants {delay} s between two logins (LOGIN-DELAY)");
            // One second more, for its clock is another.
            let quiet = Some(Quiet { since, until: since.saturating_add(delay).saturating_add(1), reason });
            self.settle(Settlement { quiet, ..Settlement::default() }).await?;
        }
        self.tell_expire(transaction.capabilities().expire());
        self.session = Some(Session { transaction, messages: BTreeMap::new(), delay });
        Ok(listing)
    }

    /// Begins the session anew that broke while mail was fetched, if that may help; what is known by a name of its own is
    /// found again in it.
    ///
    /// # Errors
    /// `why`, if it may not.
    pub(super) async fn open_again(&mut self, why: RemoteError) -> Result<(), Error> {
        let delay = self.session.take().map_or(0, |session| session.delay);
        let asks_for_peace = matches!(why, RemoteError::Later { hint: Some(_), .. });
        if self.retries == 0 || delay > PATIENCE || asks_for_peace {
            return Err(why.into());
        }
        self.go_on()?;
        self.retries -= 1;
        tracing::debug!(account = %self.job.account, "the session is begun anew: {why}");
        let listing = self.open().await?;
        let mut messages = BTreeMap::new();
        for message in listing.messages.into_iter().filter(|message| !message.shared) {
            let name = message.uidl.clone().map(Name::Unique);
            if let Some(uid) = name.and_then(|name| self.ledger.find(&name)) {
                messages.insert(uid, message);
            }
        }
        if let Some(session) = &mut self.session {
            session.messages = messages;
        }
        Ok(())
    }

    /// Tells what becomes of mail that is left on a server which removes it by itself.
    fn tell_expire(&mut self, expire: Option<Expire>) {
        let Some(Expire::Days(days)) = expire.filter(|_| self.wanted.remove.keeps()) else { return };
        let what = match days {
            0 => "the server removes messages once they were fetched".to_owned(),
            days => format!("the server removes messages after {days} days"),
        };
        let after = self.wanted.remove.after.map(|after| after / 86_400);
        if days == 0 || after.is_none_or(|after| days < after) {
            let notice = format!("{}: {what} (EXPIRE), whatever is to be left there", escape(self.shown()));
            if !self.report.notices.contains(&notice) {
                self.report.notices.push(notice);
            }
        }
    }
}
