//! The processes of a daemon: its monitor, which is the one that is started, and the one that works.

use std::fs;
use std::time::{Duration, Instant};

/// Both, the monitor first.
pub fn of_daemon(monitor: u32) -> Vec<u32> {
    std::iter::once(monitor).chain(children(monitor)).collect()
}

/// The one that works.
pub fn worker(monitor: u32) -> u32 {
    *of_daemon(monitor).get(1).expect("a process that works")
}

/// Waits until a process has ended with all its threads; who has to bury it may not have done so yet.
pub fn gone(process: u32) {
    let until = Instant::now() + Duration::from_secs(20);
    let is_gone = || {
        let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
        state.is_empty() || (state.contains(") Z ") && threads <= 1)
    };
    while !is_gone() {
        assert!(Instant::now() < until, "process {process} lives on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How much memory a process has in use, in kB: `VmRSS:`, or `VmHWM:`, the most so far (proc_pid_status(5)).
pub fn memory(process: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn children(process: u32) -> Vec<u32> {
    // One that ended has none.
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}
