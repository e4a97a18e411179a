//! A session that outlives its pass, so that the next look costs no login: what is new is here a few round trips sooner.

use crate::mail::MailboxName;
use crate::remote::Lifeline;
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Imap, Listing};
use crate::remote::session::{self, Error, Opened};
use crate::worker::{Job, map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// So long is a session kept that nobody needs: changes come in bursts, and connections are dear.
const KEPT: Duration = Duration::from_secs(60);
/// So long is waited for a sign that it still lives.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place where a pass over an account leaves its session for the next; clones are the same place.
#[derive(Clone, Default, Debug)]
pub struct Kept(Arc<Mutex<Option<Session>>>);

#[derive(Debug)]
struct Session {
    imap: Imap,
    peer: String,
    line: Lifeline,
    /// It ends this one, if nobody takes it.
    _end: End,
}

/// Ends what waits for the end of a session that was taken before.
#[derive(Debug)]
struct End(AbortHandle);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kept {
    /// The hold on the session that is kept; if there is none, on the one that the next pass opens.
    pub fn line(&self) -> Lifeline {
        let mut kept = self.kept();
        *kept = kept.take().filter(|session| !session.line.is_severed());
        kept.as_ref().map(|session| session.line.clone()).unwrap_or_default()
    }

    /// Whether a session is kept.
    pub fn is_there(&self) -> bool {
        self.kept().is_some()
    }

    /// Closes the session that is kept.
    pub fn let_go(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> MutexGuard<'_, Option<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on with the session that was kept, if there is one that still lives; else opens one.
///
/// `only`: the mailboxes that are looked at (decoded, with `/` between the levels), none for all. How the others stand is not
/// asked then, if all were listed a moment ago.
pub(super) async fn open(job: &Job, only: &[String]) -> Result<Opened, Error> {
    let kept = job.kept.as_ref().and_then(|kept| kept.kept().take());
    if let Some(Session { mut imap, peer, .. }) = kept {
        // One that died meanwhile is no reason to fail, nor to wait for long.
        if let Ok(Ok(listing)) = timeout(PATIENCE, list(&mut imap, only)).await {
            let quirks = session::quirks(&imap, &job.endpoint);
            return Ok(Opened { imap, listing: Ok(listing), peer, mechanism: None, quirks });
        }
    }
    session::open_on(&job.endpoint, &job.reins.line).await
}

async fn list(imap: &mut Imap, only: &[String]) -> Result<Listing, ImapError> {
    let names = imap.listed(KEPT).filter(|_| !only.is_empty()).and_then(|listing| names(listing, only));
    if let Some(names) = names
        && let Some(listing) = imap.list_again(&names).await?
    {
        return Ok(listing);
    }
    imap.list().await
}

/// What mailboxes are called on the server; none if one of them is not there.
fn names(listing: &Listing, only: &[String]) -> Option<Vec<MailboxName>> {
    let delimiter = map::delimiter(listing);
    let name = |asked: &String| {
        let mut all = map::selectable(listing).map(|mailbox| &mailbox.name);
        all.find(|name| map::is_called(name, delimiter, asked)).cloned()
    };
    only.iter().map(name).collect()
}

/// Keeps a session that is not needed any more for a while, where that is wanted; else ends it.
pub(super) async fn close(job: &Job, imap: Imap, peer: String) {
    let Some(kept) = job.kept.clone().filter(|_| !job.reins.is_finishing()) else {
        // Nothing depends on the answer.
        let _ = imap.logout().await;
        return;
    };
    let place = Arc::downgrade(&kept.0);
    let end = tokio::spawn(async move {
        sleep(KEPT).await;
        // In a task of its own: this one is ended when what it waits for is taken.
        let over = place.upgrade().and_then(|place| Kept(place).kept().take());
        if let Some(Session { imap, .. }) = over {
            tokio::spawn(imap.logout());
        }
    });
    *kept.kept() = Some(Session { imap, peer, line: job.reins.line.clone(), _end: End(end.abort_handle()) });
}
