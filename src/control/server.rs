//! The daemon's end of the control socket.
//!
//! Clients are not trusted to be quick, brief or few: a request has a limit in octets and in time, an answer that nobody
//! reads ends the connection, and there are only so many at once. No client can make the supervisor wait.

use super::metrics;
use super::place::LINK;
use super::protocol::{Hello, LONGEST_REQUEST, Reply, Request};
use crate::supervisor::{Gone, Handle, Happened, Update, What, Work};
use serde::Serialize;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net as std_net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::timeout;

/// So many clients at once.
const CLIENTS: u32 = 64;
/// How long a client may take to ask,
const ASKING: Duration = Duration::from_secs(10);
/// and to take an answer.
const TAKING: Duration = Duration::from_secs(10);

/// A control socket that is open.
#[derive(Debug)]
pub struct Listener {
    socket: std_net::UnixListener,
    /// Where it is; none: the service manager made it, and keeps it.
    path: Option<PathBuf>,
    /// The link to it.
    link: Option<PathBuf>,
}

impl Listener {
    /// Takes the socket that the service manager hands over, if it does (sd_listen_fds(3)).
    pub fn inherited() -> Option<Self> {
        let socket = listenfd::ListenFd::from_env().take_unix_listener(0).ok().flatten()?;
        Some(Self { socket, path: None, link: None })
    }

    /// Takes a socket that another process made, and keeps.
    pub fn handed(socket: std_net::UnixListener) -> Self {
        Self { socket, path: None, link: None }
    }

    /// Another hold on the socket, for another process to be handed.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn socket(&self) -> io::Result<std_net::UnixListener> {
        self.socket.try_clone()
    }

    /// Makes the socket, mode 0600, and its directory, mode 0700. A socket that a daemon left behind which is no more is
    /// replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if somebody listens there; those of the file system.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there"));
            }
            Ok(_) if is_served(path) => return Err(io::ErrorKind::AddrInUse.into()),
            Ok(_) => std::fs::remove_file(path)?,
            Err(_) => {}
        }
        let socket = std_net::UnixListener::bind(path)?;
        // Whoever gets in before this is looked at all the same.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, path: Some(path.to_owned()), link: None })
    }

    /// Puts a link to the socket beside the state, where whoever knows the state finds it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn link(&mut self, state_dir: &Path) -> io::Result<()> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => match self.socket.local_addr()?.as_pathname() {
                Some(path) => path.to_owned(),
                None => return Ok(()),
            },
        };
        let link = state_dir.join(LINK);
        if path == link {
            return Ok(());
        }
        let temporary = state_dir.join(format!(".{LINK}.{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        std::os::unix::fs::symlink(&path, &temporary)?;
        std::fs::rename(&temporary, &link)?;
        self.link = Some(link);
        Ok(())
    }

    /// Serves clients until the supervisor ends, and all have heard their last word.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(&self, handle: Handle, hello: Hello) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(self.socket.try_clone()?)?;
        let (room, hello) = (Arc::new(Semaphore::new(CLIENTS as usize)), Arc::new(hello));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // Who comes now waits for another daemon, which may begin soon.
                () = handle.gone() => {
                    let _ = room.acquire_many(CLIENTS).await;
                    return Ok(());
                }
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                // No descriptors left, perhaps: others may be closed meanwhile.
                Err(error) => {
                    tracing::warn!("a client of the control socket could not be taken: {error}.");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Some(peer) = allowed(&stream) else { continue };
            // Who finds no room is told so by the end of the connection.
            let Ok(permit) = room.clone().try_acquire_owned() else { continue };
            let (handle, hello) = (handle.clone(), hello.clone());
            tokio::spawn(async move {
                // A client that goes away has heard enough.
                let _ = attend(stream, peer, &handle, &hello).await;
                drop(permit);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for path in self.path.iter().chain(&self.link) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether somebody listens on a socket. What a daemon that was killed leaves may need a moment to be gone.
fn is_served(path: &Path) -> bool {
    for _ in 0..20 {
        if std_net::UnixStream::connect(path).is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Who is on the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum User {
    /// The user of the daemon.
    Ours(u32),
    /// Root, who is not the user of the daemon: that is this one.
    Root(u32),
}

impl User {
    fn of(peer: u32, ours: u32) -> Option<Self> {
        match peer {
            _ if peer == ours => Some(Self::Ours(ours)),
            0 => Some(Self::Root(ours)),
            _ => None,
        }
    }

    /// Why something is not done for this user. Root would leave files behind in the state that we cannot read any more.
    fn obstacle(self, work: &Work) -> Option<String> {
        match self {
            Self::Root(ours) if *work == Work::Lend => Some(format!(
                "the daemon lends its accounts to its own user only: run the command as that one, with sudo -u '#{ours}'"
            )),
            Self::Root(_) | Self::Ours(_) => None,
        }
    }
}

/// The user of the daemon, and root.
fn allowed(stream: &UnixStream) -> Option<User> {
    let ours = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().ok()?.uid();
    let user = User::of(peer, ours);
    if user.is_none() {
        tracing::warn!("user {peer} wanted to use the control socket, and may not.");
    }
    user
}

async fn attend(stream: UnixStream, user: User, handle: &Handle, hello: &Hello) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut peer = Peer { reader: BufReader::new(reader), writer };
    peer.tell(hello).await?;
    let line = timeout(ASKING, peer.line()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let request = match Request::read(&line) {
        Ok(request) => request,
        Err(reason) => return peer.tell(&Reply::Refused(reason)).await,
    };
    match request {
        Request::Work { account, work, .. } => {
            if let Some(obstacle) = user.obstacle(&work) {
                return peer.tell(&Reply::Refused(obstacle)).await;
            }
            let (updates, mut told) = mpsc::unbounded_channel();
            if let Err(gone) = handle.ask(&account, work, updates) {
                return peer.tell(&Reply::Refused(gone.to_string())).await;
            }
            // Told or not, what was begun goes on; what is lent is back when this ends.
            while let Some(update) = peer.or_gone(told.recv()).await? {
                let is_last = matches!(update, Update::Failed(_));
                peer.tell(&Reply::Update(update)).await?;
                if is_last {
                    break;
                }
            }
            Ok(())
        }
        Request::Status { watch } => {
            let mut views = handle.views();
            loop {
                let view = views.borrow_and_update().clone();
                peer.tell(&Reply::Status((*view).clone())).await?;
                if !watch {
                    return Ok(());
                }
                if peer.or_gone(views.changed()).await?.is_err() {
                    return if handle.begins_anew() { peer.tell(&Reply::Anew).await } else { Ok(()) };
                }
            }
        }
        Request::Metrics => peer.tell(&Reply::Metrics(metrics::text(handle))).await,
        Request::Events => {
            let mut happenings = handle.happenings();
            loop {
                let happened = match peer.or_gone(happenings.recv()).await? {
                    Ok(happened) => happened,
                    Err(broadcast::error::RecvError::Lagged(count)) => missed(count),
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                };
                let is_last = happened.what == What::Stopping;
                peer.tell(&Reply::Event(happened)).await?;
                if is_last {
                    return if handle.begins_anew() { peer.tell(&Reply::Anew).await } else { Ok(()) };
                }
            }
        }
        Request::Pause { accounts } => {
            let done = handle.pause(accounts, true).await;
            peer.tell(&plain(done)).await
        }
        Request::Resume { accounts } => {
            let done = handle.pause(accounts, false).await;
            peer.tell(&plain(done)).await
        }
        Request::Reload => match handle.reload().await {
            Err(Gone) if handle.begins_anew() => peer.tell(&Reply::Anew).await,
            done => peer.tell(&plain(done)).await,
        },
    }
}

fn plain<E: ToString>(done: Result<Result<(), String>, E>) -> Reply {
    match done {
        Ok(Ok(())) => Reply::Done,
        Ok(Err(reason)) => Reply::Refused(reason),
        Err(gone) => Reply::Refused(gone.to_string()),
    }
}

fn missed(count: u64) -> Happened {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let text = format!("{count} events came faster than they were taken");
    Happened { at, account: None, what: What::Missed, text }
}

struct Peer {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Peer {
    /// Reads a line.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let limit = LONGEST_REQUEST as u64 + 1;
        (&mut self.reader).take(limit).read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            Some(_) if line.len() >= LONGEST_REQUEST => Err(io::ErrorKind::FileTooLarge.into()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn tell(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        timeout(TAKING, self.writer.write_all(&line)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Waits for something, unless the client goes away meanwhile. What it says after its request is not listened to.
    async fn or_gone<T>(&mut self, what: impl Future<Output = T>) -> io::Result<T> {
        let reader = &mut self.reader;
        let gone = async {
            let mut waste = [0; 256];
            while reader.read(&mut waste).await.is_ok_and(|count| count > 0) {}
        };
        tokio::select! {
            what = what => Ok(what),
            () = gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

#[cfg(test)]
mod tests;
