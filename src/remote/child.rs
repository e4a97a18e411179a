//! Programs of the owner that we start: those that print a secret, tunnels, and hooks.
//!
//! A program is an exec list, never a line for a shell. It gets a process group of its own, and what surprises: the
//! *whole group* is killed when its handle is dropped, so that a `pass` which waits for a passphrase does not leave a
//! pinentry behind. A program that puts itself into another session (an agent) is not touched.

use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// A running program, killed with its group when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    /// The program itself; its pipes are taken from here.
    pub(crate) child: Child,
}

impl Group {
    /// Starts `argv` in a new process group; standard output and error are pipes.
    pub(crate) fn spawn(argv: &[String], stdin: Stdio) -> std::io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let child = Command::new(program)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
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
pub(crate) async fn drain(pipe: impl AsyncRead + Unpin, kept: &mut Vec<u8>, cap: usize) -> std::io::Result<bool> {
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
