//! A server that asks to be left alone: the pause outlasts the run that met it.

use serde::{Deserialize, Serialize};

/// The last pause that the server asked for; remembered, so that every run keeps what an earlier one was told.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quiet {
    /// When it was asked for, in seconds since 1970.
    pub since: u64,
    /// When it is over, in seconds since 1970.
    pub until: u64,
    /// The server's words, escaped.
    pub reason: String,
}

impl Quiet {
    /// How many seconds of the pause are left. None are where the clock was set back before its beginning: nobody can say
    /// how much of it is over, and a pause must not last for ever.
    pub fn left(&self, now: u64) -> u64 {
        if now < self.since { 0 } else { self.until.saturating_sub(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_whatever_the_clock_does() {
        let quiet = Quiet { since: 100, until: 130, reason: "throttled".into() };
        assert_eq!([100, 129, 130, 99, 0, u64::MAX].map(|now| quiet.left(now)), [30, 1, 0, 0, 0, 0]);
        assert_eq!(Quiet::default().left(0), 0);
    }
}
