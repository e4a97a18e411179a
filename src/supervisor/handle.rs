//! The hold that the control socket has on the supervisor. Cheap to clone.

use super::status::{AccountView, Happened};
use super::work::{Updates, Work};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// A hold on a supervisor, as long as that runs.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: mpsc::UnboundedSender<Request>,
    pub(super) views: watch::Receiver<Arc<Vec<AccountView>>>,
    pub(super) happened: broadcast::Sender<Happened>,
    pub(super) anew: Arc<AtomicBool>,
}

/// The supervisor has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the daemon is ending")]
pub struct Gone;

/// What is asked of a supervisor. An answer that is an error is a clause for a person.
#[derive(Debug)]
pub(super) enum Request {
    Work { account: String, work: Work, updates: Updates },
    Pause { accounts: Vec<String>, paused: bool, answer: oneshot::Sender<Result<(), String>> },
    Reload { answer: oneshot::Sender<Result<(), String>> },
}

impl Handle {
    /// Waits until the supervisor takes no more, since it ends. Cancel safe.
    pub async fn gone(&self) {
        self.requests.closed().await;
    }

    /// Whether another daemon begins when this one has ended.
    pub fn begins_anew(&self) -> bool {
        self.anew.load(Ordering::Acquire)
    }

    /// Has something done in an account; `updates` tell of it, to the last word.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn ask(&self, account: &str, work: Work, updates: Updates) -> Result<(), Gone> {
        self.requests.send(Request::Work { account: account.to_owned(), work, updates }).map_err(|_| Gone)
    }

    /// Has accounts left alone, or no more; empty: all.
    ///
    /// # Errors
    /// [`Gone`]; inside, a clause that says why not.
    pub async fn pause(&self, accounts: Vec<String>, paused: bool) -> Result<Result<(), String>, Gone> {
        self.answer(|answer| Request::Pause { accounts, paused, answer }).await
    }

    /// Has the configuration read again.
    ///
    /// # Errors
    /// [`Gone`]; inside, what is wrong with the new one. The old one stays in force then.
    pub async fn reload(&self) -> Result<Result<(), String>, Gone> {
        self.answer(|answer| Request::Reload { answer }).await
    }

    /// How the accounts fare, now and whenever that changes.
    pub fn views(&self) -> watch::Receiver<Arc<Vec<AccountView>>> {
        self.views.clone()
    }

    /// What happens from now on.
    pub fn happenings(&self) -> broadcast::Receiver<Happened> {
        self.happened.subscribe()
    }

    async fn answer<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Gone> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).map_err(|_| Gone)?;
        receiver.await.map_err(|_| Gone)
    }
}
