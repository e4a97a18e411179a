//! The counter in the three doors: server commands, file mutations, commits.
//!
//! Everything durable that mailtwin does passes [`reach`] first. In the released program that is nothing. With the
//! feature `steps` it counts, writes the names of the steps to the file that `MAILTWIN_STEPS` names, and aborts the
//! process before the step whose number `MAILTWIN_KILL_AT` gives: this is how the tests kill at every step. At the steps whose
//! numbers `MAILTWIN_PANIC_AT` lists it panics: this is how they break a worker of the daemon.

/// Passes a door; `site` names the kind of step, such as `maildir.rename`.
#[cfg(not(feature = "steps"))]
#[inline(always)]
pub fn reach(_site: &'static str) {}

/// Passes a door; `site` names the kind of step, such as `maildir.rename`.
#[cfg(feature = "steps")]
pub fn reach(site: &'static str) {
    counter::reach(site);
}

#[cfg(feature = "steps")]
mod counter {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::{LazyLock, Mutex};

    struct Counter {
        count: u64,
        kill_at: Option<u64>,
        panic_at: Vec<u64>,
        trace: Option<File>,
    }

    static COUNTER: LazyLock<Mutex<Counter>> = LazyLock::new(|| {
        let kill_at = std::env::var("MAILTWIN_KILL_AT").ok().and_then(|n| n.parse().ok());
        let numbers = std::env::var("MAILTWIN_PANIC_AT").unwrap_or_default();
        let panic_at = numbers.split(',').filter_map(|n| n.parse().ok()).collect();
        let trace = std::env::var_os("MAILTWIN_STEPS").and_then(|path| File::create(path).ok());
        Mutex::new(Counter { count: 0, kill_at, panic_at, trace })
    });

    pub(super) fn reach(site: &'static str) {
        let mut counter = COUNTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counter.count += 1;
        let number = counter.count;
        if let Some(trace) = &mut counter.trace {
            // A trace that cannot be written makes the test fail by its absence.
            let _ = trace.write_all(format!("{number} {site}\n").as_bytes());
        }
        if counter.kill_at == Some(number) {
            std::process::abort();
        }
        let panics = counter.panic_at.contains(&number);
        drop(counter);
        assert!(!panics, "step {number}, {site}, was to panic");
    }
}
