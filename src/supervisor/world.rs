//! What the shell hears of the world: the clock and the signals.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the machine has been up, sleep included.
pub(super) fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The signals that mean something to a daemon.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
}

#[derive(Clone, Copy)]
/// What a signal asks for.
pub(super) enum Received {
    End,
    Reload,
    Now,
}

impl Signals {
    /// Takes them over from their defaults.
    pub fn new() -> io::Result<Self> {
        let take = |kind| signal(kind);
        Ok(Self {
            term: take(SignalKind::terminate())?,
            int: take(SignalKind::interrupt())?,
            hup: take(SignalKind::hangup())?,
            usr1: take(SignalKind::user_defined1())?,
        })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.term.recv() => Received::End,
            _ = self.int.recv() => Received::End,
            _ = self.hup.recv() => Received::Reload,
            _ = self.usr1.recv() => Received::Now,
        }
    }
}
