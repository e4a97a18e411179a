//! The lock of an account: one process at a time works on its state.
//!
//! A daemon holds the locks of its accounts all the time and opens their states only now and then: so the lock is a thing
//! of its own, which one open state at a time uses.
//!
//! The file stays when the lock goes, for to remove it would let two processes hold two files of the same name; what it
//! says of its holder counts only while it is locked. The kernel drops the lock with the process, however that ends.

use crate::mail::escape;
use crate::store::error::Error;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The lock of an account, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// A state is open under it.
    in_use: AtomicBool,
}

/// The use of a lock by an open state.
#[derive(Debug)]
pub(super) struct Use(Arc<Lock>);

impl Lock {
    /// Takes the lock of the account whose directory is `dir`, without waiting, and makes the directory (mode 0700) if there
    /// is none.
    ///
    /// # Errors
    /// [`Error::Locked`] if a process has it, this one included; [`Error::Io`].
    pub fn hold(dir: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::io("make", dir))?;
        Self::take(dir)
    }

    /// Takes the lock that says which daemon works in a state directory; as [`hold`](Self::hold).
    ///
    /// # Errors
    /// Those of [`hold`](Self::hold).
    pub fn of_daemon(state_dir: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(Error::io("make", state_dir))?;
        // No account has a dot in its name.
        Self::take_file(&state_dir.join("daemon.lock"))
    }

    /// Uses the lock for a state that is opened; one at a time may.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Use, Error> {
        if self.in_use.swap(true, Ordering::AcqRel) {
            return Err(Error::Locked { holder: "another part of this process".to_owned() });
        }
        Ok(Use(self.clone()))
    }

    /// Takes the lock of the account whose directory is `dir`, without waiting.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        Self::take_file(&dir.join("lock"))
    }

    fn take_file(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(Error::io("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked { holder: holder(&mut file) }),
            Err(errno) => return Err(Error::io("lock", path)(errno.into())),
        }
        let command: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let content = format!("{}\n{}\n", std::process::id(), command.join(" "));
        // Whom it names is a courtesy; on a full disk the lock is a lock all the same.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(content.as_bytes()));
        Ok(Self { file, in_use: AtomicBool::new(false) })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // To close is not enough: a program that another thread starts just now has this descriptor too until its exec, and
        // the next who wants the lock would be told that we hold it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.in_use.store(false, Ordering::Release);
    }
}

/// Names the holder, as far as the file tells.
fn holder(file: &mut File) -> String {
    let mut content = Vec::new();
    // The file is tiny; whatever else is there is cut.
    let _ = file.take(4096).read_to_end(&mut content);
    let text = String::from_utf8_lossy(&content);
    match text.split_once('\n') {
        Some((pid, command)) if pid.parse::<u32>().is_ok() => format!("process {pid} ({})", escape(command.trim_end())),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Lock::take(dir.path()).expect("free");
        let error = Lock::take(dir.path()).expect_err("taken").to_string();
        assert!(error.starts_with(&format!("process {} (", std::process::id())), "{error}");
        drop(first);
        Lock::take(dir.path()).expect("free again");
    }

    #[test]
    fn it_goes_although_a_process_that_begins_has_its_descriptor_still() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = Lock::take(dir.path()).expect("free");
        // What a fork has until its exec.
        let inherited = lock.file.try_clone().expect("a descriptor");
        drop(lock);
        Lock::take(dir.path()).expect("free again");
        drop(inherited);
    }

    #[test]
    fn one_state_at_a_time_uses_a_lock_that_is_held() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = Arc::new(Lock::hold(&dir.path().join("work")).expect("free"));
        let first = lock.enter().expect("not in use");
        assert!(matches!(lock.enter(), Err(Error::Locked { .. })));
        drop(first);
        lock.enter().expect("not in use again");
    }

    #[test]
    fn a_second_daemon_is_told_of_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = Lock::of_daemon(dir.path()).expect("free");
        let error = Lock::of_daemon(dir.path()).expect_err("taken").to_string();
        assert!(error.starts_with(&format!("process {} (", std::process::id())), "{error}");
    }

    #[test]
    fn a_holder_that_tells_nonsense_is_shown_harmless() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = Lock::take(dir.path()).expect("free");
        std::fs::write(dir.path().join("lock"), "7\n\x1b[2J\n").expect("written");
        let error = Lock::take(dir.path()).expect_err("taken").to_string();
        assert_eq!(error, r"process 7 (\x1b[2J) holds the state of this account");
        std::fs::write(dir.path().join("lock"), [0xff; 9000]).expect("written");
        let error = Lock::take(dir.path()).expect_err("taken").to_string();
        assert_eq!(error, "another process holds the state of this account");
    }
}
