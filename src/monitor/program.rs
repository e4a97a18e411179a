//! Programs of the owner that we start: those that print a secret, tunnels, and hooks.
//!
//! A program is an exec list, never a line for a shell. It gets a process group of its own, and what surprises: the
//! *whole group* is killed when its handle is dropped, so that a `pass` which waits for a passphrase does not leave a
//! pinentry behind. A program that puts itself into another session (an agent) is not touched.

use super::ask::{insist_gently, link};
use super::message::{Reply, Request, pair, receive};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net as std_net;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt as _, Interest};
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{Child, Command};

/// What a program gets as its standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// A pipe.
    Pipe,
}

/// A running program, killed with its group when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    running: Running,
}

/// A program and its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub program: Program,
    /// There if it was asked for.
    pub stdin: Option<Sender>,
    pub stdout: Receiver,
    pub stderr: Receiver,
}

#[derive(Debug)]
enum Running {
    /// A child of ours.
    Here(Group),
    /// A child of the monitor, which tells of its end here, and kills it when this is closed.
    There(UnixDatagram),
}

impl Program {
    /// Starts `argv` in a new process group; by the monitor, where there is one. Cancel safe: dropped, it kills what runs.
    ///
    /// # Errors
    /// Those of execve(2); `EPERM` if the monitor does not find the command in the configuration.
    pub(crate) async fn start(argv: &[String], input: Input) -> io::Result<Started> {
        let (stdout, out) = io::pipe()?;
        let (stderr, err) = io::pipe()?;
        let (stdin, given) = match input {
            Input::None => (None, None),
            Input::Pipe => {
                let (given, stdin) = io::pipe()?;
                (Some(Sender::from_owned_fd(stdin.into())?), Some(OwnedFd::from(given)))
            }
        };
        let (stdout, stderr) = (Receiver::from_owned_fd(stdout.into())?, Receiver::from_owned_fd(stderr.into())?);
        let (out, err) = (OwnedFd::from(out), OwnedFd::from(err));
        let running = match link() {
            None => {
                Running::Here(Group::spawn(argv, given.map_or_else(Stdio::null, Stdio::from), out.into(), err.into())?)
            }
            Some(link) => Running::There(start_there(link, argv, given, &out, &err).await?),
        };
        Ok(Started { program: Self { running }, stdin, stdout, stderr })
    }

    /// Waits for its end. Cancel safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match &mut self.running {
            Running::Here(group) => group.child.wait().await,
            Running::There(answers) => match answer(answers).await? {
                Some(Reply::Ended(status)) => Ok(ExitStatus::from_raw(status)),
                Some(_) => Err(io::ErrorKind::InvalidData.into()),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}

async fn start_there(
    link: BorrowedFd<'_>,
    argv: &[String],
    input: Option<OwnedFd>,
    out: &OwnedFd,
    err: &OwnedFd,
) -> io::Result<UnixDatagram> {
    let (here, there) = pair()?;
    let descriptors: Vec<_> = input.iter().chain([out, err, &there]).map(|descriptor| descriptor.as_fd()).collect();
    let request = Request::Start { argv: argv.to_vec(), has_input: input.is_some() };
    insist_gently(link, &request, &descriptors).await?;
    drop((input, there));
    let answers = waiting(here)?;
    match answer(&answers).await? {
        Some(Reply::Done) => Ok(answers),
        Some(Reply::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Reply::Ended(_)) => Err(io::ErrorKind::InvalidData.into()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn answer(answers: &UnixDatagram) -> io::Result<Option<Reply>> {
    let received = answers.async_io(Interest::READABLE, || receive::<Reply>(answers)).await?;
    Ok(received.map(|(reply, _)| reply))
}

/// One end of a [`pair`], for the runtime to wait on.
pub(super) fn waiting(end: OwnedFd) -> io::Result<UnixDatagram> {
    let end = std_net::UnixDatagram::from(end);
    end.set_nonblocking(true)?;
    UnixDatagram::from_std(end)
}

/// A child of this process, killed with its group when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    pub child: Child,
}

impl Group {
    /// Starts `argv` in a new process group.
    pub fn spawn(argv: &[String], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(stderr).process_group(0).kill_on_drop(true);
        Ok(Self { child: command.spawn()? })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The id is gone once the program was waited for; until then the kernel cannot give it to another one.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It fails when all of the group have ended, which is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end into `kept`, keeping at most `cap` bytes; says whether there were more.
///
/// The rest is read and dropped, so that the writer is never blocked. Cancel safe: what was read is in `kept`.
pub(crate) async fn drain(pipe: impl AsyncRead + Unpin, kept: &mut Vec<u8>, cap: usize) -> io::Result<bool> {
    let mut pipe = pipe;
    let mut chunk = zeroize::Zeroizing::new([0; 4096]);
    let mut more = false;
    loop {
        let read = pipe.read(&mut chunk[..]).await?;
        if read == 0 {
            return Ok(more);
        }
        let room = cap - kept.len().min(cap);
        kept.extend_from_slice(&chunk[..read.min(room)]);
        more |= read > room;
    }
}
