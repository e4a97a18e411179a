//! What is seen to before the service manager hears that all is ready.

use super::Supervisor;
use crate::remote::session;
use crate::worker::{self, Trouble};
use std::time::Duration;
use tokio::time::timeout;

/// A disk that does not answer holds up no boot.
const PATIENCE: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Tells of secrets that are not there, as far as no program has to be asked for them. Their accounts are looked at all the
    /// same: the secret may come.
    pub(super) async fn probe_secrets(&mut self) {
        let seen = timeout(PATIENCE, async {
            // One after the other: a thread for each of a thousand would keep memory for ever.
            for held in self.accounts.values_mut() {
                if let Err(error) = session::probe(&held.account.job.endpoint).await {
                    held.note(Some(Trouble::from(worker::Error::from(error)).what));
                }
            }
        });
        if seen.await.is_err() {
            tracing::warn!("some secrets could not be read yet: their disk does not answer.");
        }
    }
}
