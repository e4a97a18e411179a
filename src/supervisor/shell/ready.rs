//! What is seen to before the service manager hears that all is ready.

use super::Supervisor;
use crate::remote::session;
use crate::worker::{self, Trouble};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A disk that does not answer holds up no boot.
const PATIENCE: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Tells of secrets that are not there, as far as no program has to be asked for them. Their accounts are looked at all the
    /// same: the secret may come.
    pub(super) async fn probe_secrets(&mut self) {
        let mut probes = JoinSet::new();
        for (name, held) in &self.accounts {
            let (name, endpoint) = (name.clone(), held.account.job.endpoint.clone());
            probes.spawn(async move { (name, session::probe(&endpoint).await) });
        }
        let seen = timeout(PATIENCE, async {
            while let Some(probed) = probes.join_next().await {
                let Ok((name, Err(error))) = probed else { continue };
                if let Some(held) = self.accounts.get_mut(&name) {
                    held.note(Some(Trouble::from(worker::Error::from(error)).what));
                }
            }
        });
        if seen.await.is_err() {
            tracing::warn!("some secrets could not be read yet: their disk does not answer.");
        }
    }
}
