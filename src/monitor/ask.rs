//! The end of the daemon: what it asks of its monitor, or does itself where there is none.

use super::message::{Reply, Request, pair, receive, send};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::OnceLock;

/// The way to the monitor, once there is one: as a process has one working directory, it has one monitor.
static LINK: OnceLock<OwnedFd> = OnceLock::new();

/// How long a full socket is tried.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(5);

/// What the monitor says first.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// The accounts that a person had paused.
    pub paused: Vec<String>,
}

/// The way to the monitor.
#[derive(Clone, Copy, Debug)]
pub struct Link(BorrowedFd<'static>);

impl Link {
    /// Takes the way to the monitor, which is the standard input of this process, and the control socket that it hands
    /// over. From now on this process ends with its monitor.
    ///
    /// # Errors
    /// This process was not started by a monitor, or it is gone.
    pub fn take() -> io::Result<(Self, Beginning, UnixListener)> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // One that ended before that has closed its end.
        let link = io::stdin().as_fd().try_clone_to_owned()?;
        let (beginning, descriptors) = receive(&link)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let listener = descriptors.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
        let link = LINK.get_or_init(|| link);
        Ok((Self(link.as_fd()), beginning, listener.into()))
    }

    /// Has the monitor tell the service manager; false: there is no room for it now.
    pub(super) fn tell(self, text: &str) -> bool {
        let told = send(self.0, &Request::Tell(text.to_owned()), &[]);
        told.err().is_none_or(|error| error.kind() != io::ErrorKind::WouldBlock)
    }
}

/// Asks that this process is started anew after its end, with these accounts paused. Blocking, for a moment.
///
/// # Errors
/// There is no monitor.
pub(crate) fn begin_anew(paused: Vec<String>) -> io::Result<()> {
    insist(link().ok_or(io::ErrorKind::NotConnected)?, &Request::Anew { paused }, &[])
}

/// Opens a file for reading, without waiting for a writer where it is none. Blocking.
///
/// # Errors
/// Those of open(2); `EPERM` if the monitor does not give it, since the configuration does not name it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let Some(link) = LINK.get() else { return open_here(path) };
    let opened = ask(link, &Request::Open(path.into()))?;
    opened.into_iter().next().map(File::from).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Makes the root of a Maildir that the configuration names, and the directories that lead there, each with mode 0700,
/// where this process may not; false: it may. Blocking.
///
/// # Errors
/// Those of mkdir(2); `EPERM` if the configuration does not name it.
pub(crate) fn make_root(path: &Path) -> io::Result<bool> {
    let Some(link) = LINK.get() else { return Ok(false) };
    ask(link, &Request::Make(path.into())).map(|_| true)
}

/// The way to the monitor, if there is one.
pub(super) fn link() -> Option<BorrowedFd<'static>> {
    LINK.get().map(|link| link.as_fd())
}

pub(super) fn open_here(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblock).open(path)
}

pub(super) fn make_here(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Asks, and waits for the answer.
fn ask(link: &OwnedFd, request: &Request) -> io::Result<Vec<OwnedFd>> {
    let (here, there) = pair()?;
    insist(link.as_fd(), request, &[there.as_fd()])?;
    drop(there);
    match receive(here)? {
        Some((Reply::Done, descriptors)) => Ok(descriptors),
        Some((Reply::Failed(errno), _)) => Err(io::Error::from_raw_os_error(errno)),
        Some((Reply::Ended(_), _)) => Err(io::ErrorKind::InvalidData.into()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends, however full the socket is.
fn insist(link: BorrowedFd<'_>, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        match send(link, request, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PATIENCE),
            sent => return sent,
        }
    }
}

/// As [`insist`], where others are not to be kept waiting. Cancel safe: it is sent, or it is not.
pub(super) async fn insist_gently(
    link: BorrowedFd<'_>,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        match send(link, request, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PATIENCE).await,
            sent => return sent,
        }
    }
}
