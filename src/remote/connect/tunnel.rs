//! A command whose standard input and output are the connection, such as `ssh host imapd`.

use super::error::{Error, Policy};
use super::{Connected, Stream};
use crate::mail::escape;
use crate::monitor::{Input, Program};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

/// The lines of standard error that reach the log, and their greatest length in bytes.
const MAX_LINES: usize = 20;
const MAX_LINE: usize = 512;

/// Starts the command. Whether something answers on it is for the protocol to find out.
pub(super) async fn open(command: &[String]) -> Result<Connected, Error> {
    let program = escape(command.first().map_or("", String::as_str));
    let started = Program::start(command, Input::Pipe).await;
    let started = started.map_err(|error| Policy::Tunnel { program: program.clone(), error })?;
    tokio::spawn(log(started.stderr, program.clone()));
    let (stdin, stdout) = (started.stdin, started.stdout);
    let stream: Stream = Box::new(Tunnel { stdin, stdout, _program: started.program });
    let peer = format!("the tunnel \"{program}\"");
    Ok(Connected { stream, protection: None, local: true, confidential: true, greeted: false, peer })
}

/// The two pipes; the command is killed when this is dropped.
#[derive(Debug)]
struct Tunnel {
    /// Gone after the shutdown, which is how the command sees the end.
    stdin: Option<Sender>,
    stdout: Receiver,
    _program: Program,
}

impl Tunnel {
    fn stdin(&mut self) -> io::Result<Pin<&mut Sender>> {
        self.stdin.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.stdin() {
            Ok(stdin) => stdin.poll_write(cx, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stdin() {
            Ok(stdin) => stdin.poll_flush(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Ok(stdin) = self.stdin() else { return Poll::Ready(Ok(())) };
        let ended = std::task::ready!(stdin.poll_shutdown(cx));
        self.stdin = None;
        Poll::Ready(ended)
    }
}

/// Logs the first lines of standard error, and reads the rest so that the command is never blocked by it.
async fn log(mut stderr: Receiver, program: String) {
    let mut line = Vec::new();
    let mut logged = 0;
    let mut chunk = [0; 1024];
    loop {
        let read = stderr.read(&mut chunk).await.unwrap_or(0);
        for &byte in &chunk[..read] {
            if byte != b'\n' {
                if line.len() < MAX_LINE {
                    line.push(byte);
                }
                continue;
            }
            say(&program, &mut line, &mut logged);
        }
        if read == 0 {
            return say(&program, &mut line, &mut logged);
        }
    }
}

fn say(program: &str, line: &mut Vec<u8>, logged: &mut usize) {
    if !line.trim_ascii().is_empty() && *logged < MAX_LINES {
        *logged += 1;
        tracing::warn!("the tunnel \"{program}\" says: {}", escape(line.trim_ascii()));
    }
    line.clear();
}
