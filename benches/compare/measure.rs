//! Running a program with its time and its memory taken.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Runs it to its end; tells that, how long it took, and the most memory that it used (`VmHWM`), in kB.
pub fn measure(mut command: Command) -> (ExitStatus, Duration, u64) {
    let began = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let mut peak = 0;
    loop {
        peak = peak_of(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait().expect("it is our child") {
            return (status, began.elapsed(), peak);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
