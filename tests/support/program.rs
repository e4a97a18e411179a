//! Programs that a test needs besides ours: installed where they are missing (Debian), never skipped.

use super::dovecot::apt_get;
use std::fs::File;
use std::path::Path;

/// Sees to it that a program is there.
pub fn need(program: &str, package: &str) {
    let there = || Path::new(program).exists();
    if there() {
        return;
    }
    let lock = std::env::temp_dir().join(format!("mailtwin-install-{}.lock", rustix::process::geteuid().as_raw()));
    let lock = File::create(lock).expect("a lock file in the temporary directory");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    if there() {
        return;
    }
    let update = apt_get(&["update"]);
    let installed = apt_get(&["install", "-y", "--no-install-recommends", package]);
    assert!(there(), "this test needs {package}, and it could not be installed\n{update}\n{installed}");
}
