//! Further connections to the server, for the while that much mail is fetched.
//!
//! One connection that never waits fills most links. What is gained by more is that the server compresses on several of its
//! processors, and that what it allows each connection is had several times. They are opened while the first is at work
//! already, and nobody waits for them; a server that refuses one gets no more asked of it.

use crate::remote::imap::Imap;
use crate::remote::session;
use crate::worker::Job;
use tokio::task::JoinSet;

/// More of them are no faster on a link of 50 Mbit/s, and each keeps memory.
const MOST: usize = 1;

/// The further connections; dropped, they are closed.
pub(super) struct Lines {
    opening: JoinSet<Option<Imap>>,
    idle: Vec<Imap>,
}

impl Lines {
    /// Begins to open connections, as many as the account may have besides the first, but few, and at most `wanted`.
    pub(super) fn open(job: &Job, wanted: usize) -> Self {
        let mut opening = JoinSet::new();
        for _ in 0..wanted.min(MOST).min(job.connections.saturating_sub(1)) {
            let (endpoint, account, reins) = (job.endpoint.clone(), job.account.clone(), job.reins.clone());
            opening.spawn(async move {
                let opened = async {
                    let mut imap = session::open_on(&endpoint, &reins.line).await?.imap;
                    imap.compress().await?;
                    Ok::<_, session::Error>(imap)
                };
                match opened.await {
                    Ok(imap) => Some(imap),
                    Err(error) => {
                        tracing::info!(account = %account, "a further connection is refused, and done without: {error}.");
                        None
                    }
                }
            });
        }
        Self { opening, idle: Vec::new() }
    }

    /// No connections.
    pub(super) fn none() -> Self {
        Self { opening: JoinSet::new(), idle: Vec::new() }
    }

    /// Those that are open and do nothing, at most `most`.
    pub(super) fn take(&mut self, most: usize) -> Vec<Imap> {
        while let Some(opened) = self.opening.try_join_next() {
            // One that panicked is one that is not there.
            self.idle.extend(opened.ok().flatten());
        }
        self.idle.split_off(self.idle.len().saturating_sub(most))
    }

    /// Takes one back.
    pub(super) fn give_back(&mut self, imap: Imap) {
        self.idle.push(imap);
    }
}
