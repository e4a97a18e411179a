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

/// How much memory a process has in use, in kB; its part of what it shares with others (PSS, proc_pid_smaps_rollup(5)).
pub fn memory(process: u32) -> u64 {
    kilobytes(process, "smaps_rollup", "Pss:")
}

/// The most that a process had in use so far, in kB, all that it shares included (proc_pid_status(5)).
pub fn peak(process: u32) -> u64 {
    kilobytes(process, "status", "VmHWM:")
}

fn kilobytes(process: u32, file: &str, what: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).expect("a process of ours");
    let line = text.lines().find_map(|line| line.strip_prefix(what)).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn children(process: u32) -> Vec<u32> {
    // One that ended has none.
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}
