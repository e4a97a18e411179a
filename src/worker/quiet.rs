//! A server that asks to be left alone is: by the run that it told, and by those that come after it.

use crate::store::{Settlement, Store};
use crate::sync::Quiet;
use crate::worker::pass::{blocking, now};
use crate::worker::{Error, Event, Reins};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The longest pause that a run waits for, in seconds; for a longer one it ends.
const PATIENCE: u64 = 60;

/// Waits for the rest of a pause that an earlier run was asked for.
///
/// # Errors
/// [`Error::Quiet`] if it is too long to be waited for, [`Error::Interrupted`] if the pass is to end meanwhile.
pub(super) async fn respect(store: &Arc<Store>, events: &UnboundedSender<Event>, reins: &Reins) -> Result<(), Error> {
    let asked = store.clone();
    let quiet = blocking(move || Ok(asked.quiet()?)).await?;
    match quiet.left(now()) {
        0 => Ok(()),
        left @ 1..=PATIENCE => {
            let left = Duration::from_secs(left);
            // Nobody may be listening.
            let _ = events.send(Event::LeavingAlone(left));
            tokio::select! {
                () = tokio::time::sleep(left) => Ok(()),
                () = reins.finishing() => Err(Error::Interrupted),
            }
        }
        left => Err(Error::Quiet { reason: quiet.reason, left: Duration::from_secs(left) }),
    }
}

/// Remembers the pause if the server asked for one, and hands the result on.
pub(super) async fn heed<T>(store: &Arc<Store>, done: Result<T, impl Into<Error>>) -> Result<T, Error> {
    let error = match done {
        Ok(done) => return Ok(done),
        Err(error) => error.into(),
    };
    if let Some(pause) = error.pause().filter(|pause| !pause.is_zero()) {
        let (since, reason) = (now(), error.chain());
        let until = since.saturating_add(pause.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        let store = store.clone();
        let quiet = Some(Quiet { since, until, reason });
        // If it cannot be remembered, the error that is told is the server's all the same.
        let _ = blocking(move || Ok(store.settle(Settlement { quiet, ..Settlement::default() })?)).await;
    }
    Err(error)
}
