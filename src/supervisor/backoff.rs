//! How long to wait after a failure: longer each time, never the same for two, and as long as the server asks.

use std::time::Duration;

/// How waiting grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// After the first failure, about.
    pub base: Duration,
    /// Never longer, about, unless the server asks.
    pub cap: Duration,
}

/// What may pass by itself: the network, a server that is busy.
pub const PASSING: Backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(15 * 60) };
/// What will probably not pass before somebody does something.
pub const LASTING: Backoff = Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(60 * 60) };
/// Another process works on the account.
pub const LOCKED: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) };

/// The longest that a server's word is obeyed.
const LONGEST_HINT: Duration = Duration::from_secs(24 * 60 * 60);

impl Backoff {
    /// The time to wait after so many failures in a row (from 1).
    ///
    /// It lies between half of the full time and all of it, as the seed has it, so that a thousand accounts of a server that
    /// went away do not come back in one instant. It is never shorter than what the server asked for.
    pub fn delay(self, failures: u32, hint: Option<Duration>, seed: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        let delay = spread(full / 2, full, seed);
        delay.max(hint.unwrap_or_default().min(LONGEST_HINT))
    }
}

/// A time between two, as the seed has it.
pub fn spread(least: Duration, most: Duration, seed: u64) -> Duration {
    // 2^53 is what a double counts exactly.
    let part = (seed >> 11) as f64 / (1u64 << 53) as f64;
    least + most.saturating_sub(least).mul_f64(part)
}

/// The next seed of a series (SplitMix64).
pub fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_failure_doubles_the_time_until_the_cap() {
        let full = |failures| PASSING.delay(failures, None, u64::MAX).as_secs_f64().round();
        assert_eq!([1, 2, 3, 4, 8, 9, 99].map(full), [5.0, 10.0, 20.0, 40.0, 640.0, 900.0, 900.0]);
        assert_eq!(PASSING.delay(1, None, 0), Duration::from_millis(2500));
    }

    #[test]
    fn what_the_server_asks_for_is_obeyed_within_reason() {
        let hint = Some(Duration::from_secs(120));
        assert_eq!(PASSING.delay(1, hint, 0), Duration::from_secs(120));
        assert_eq!(PASSING.delay(1, Some(Duration::MAX), 0), LONGEST_HINT);
        assert!(PASSING.delay(9, hint, 0) > Duration::from_secs(120));
    }

    #[test]
    fn no_two_of_a_series_wait_equally_long() {
        let mut seed = 1;
        let delays: BTreeSet<Duration> = (0..1000).map(|_| PASSING.delay(3, None, next(&mut seed))).collect();
        assert_eq!(delays.len(), 1000);
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(failures in 0u32..100, seed: u64) {
            let delay = LASTING.delay(failures, None, seed);
            prop_assert!(delay >= LASTING.base / 2 && delay <= LASTING.cap);
        }
    }
}
