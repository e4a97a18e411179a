//! The octets of a connection: what comes is read into a buffer, what goes is written while that goes on.
//!
//! Every wait for the server has a deadline, and a server that sends an octet now and then does not move it.

use super::framer::{Framer, Item, Piece, Violation};
use bytes::BytesMut;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

/// What is read from the stream at once.
const READ: usize = 64 << 10;
/// What is read ahead while the server does not take what we write.
const READ_AHEAD: usize = 1 << 20;
/// The octets that must come before a deadline moves.
const PROGRESS: usize = 512;

/// A stream of bytes in both directions: TCP, TLS, a tunnel.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why nothing more can be read or written.
#[derive(Debug)]
pub(super) enum Broken {
    /// The system says so; the end of the stream is `UnexpectedEof`, a missed deadline `TimedOut`.
    Io(io::Error),
    /// The server does not keep to the framing.
    Framing(Violation),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Self {
        Self::Framing(violation)
    }
}

/// See the head of this file.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: Vec<u8>,
    framer: Framer,
    limit: Duration,
    deadline: Instant,
    /// Octets that came since the deadline was set.
    came: usize,
}

impl Wire {
    /// Wraps a stream; `limit` is the longest time for which less than 512 octets and no whole reply come.
    pub(super) fn new(stream: impl Stream + 'static, limit: Duration) -> Self {
        Self {
            stream: Box::new(stream),
            input: BytesMut::new(),
            output: Vec::new(),
            framer: Framer::default(),
            limit,
            deadline: Instant::now() + limit,
            came: 0,
        }
    }

    /// Lets a new wait begin: a reply is whole, or we kept the server waiting ourselves.
    pub(super) fn begin_wait(&mut self) {
        (self.deadline, self.came) = (Instant::now() + self.limit, 0);
    }

    /// Tells whether nothing is waiting to be read that has come already.
    pub(super) fn is_drained(&self) -> bool {
        self.input.is_empty()
    }

    /// Puts a line on its way; it goes with the next [`flush`](Self::flush).
    pub(super) fn queue(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Writes what is queued. Not cancel-safe.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let limit = self.limit;
        let mut written = 0;
        let writing = poll_fn(|cx| self.poll_write_all(cx, &output, &mut written));
        timeout(limit, writing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.begin_wait();
        Ok(())
    }

    /// Reads a line, without its CRLF.
    pub(super) async fn line(&mut self) -> Result<BytesMut, Broken> {
        loop {
            if let Some(line) = self.framer.line(&mut self.input)? {
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Reads a line of a list.
    pub(super) async fn item(&mut self) -> Result<Item, Broken> {
        loop {
            if let Some(item) = self.framer.item(&mut self.input)? {
                return Ok(item);
            }
            self.fill().await?;
        }
    }

    /// Reads the next piece of a message.
    pub(super) async fn piece(&mut self) -> Result<Piece, Broken> {
        loop {
            if let Some(piece) = self.framer.body(&mut self.input) {
                return Ok(piece);
            }
            self.fill().await?;
        }
    }

    /// Reads what there is to be read.
    pub(super) async fn fill(&mut self) -> Result<(), Broken> {
        self.input.reserve(READ);
        let reading = self.stream.read_buf(&mut self.input);
        let count =
            timeout_at(self.deadline, reading).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.came += count;
        if self.came >= PROGRESS {
            self.begin_wait();
        }
        Ok(())
    }

    /// Writes all, and reads meanwhile: the server may not take our octets before we took its own.
    fn poll_write_all(&mut self, cx: &mut Context<'_>, octets: &[u8], written: &mut usize) -> Poll<io::Result<()>> {
        loop {
            if *written == octets.len() {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            if let Poll::Ready(count) = Pin::new(&mut self.stream).poll_write(cx, &octets[*written..]) {
                match count? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => *written += count,
                }
                continue;
            }
            if self.input.len() > READ_AHEAD {
                return Poll::Pending;
            }
            let mut chunk = [0; 4096];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.input.extend_from_slice(buffer.filled());
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("buffered", &self.input.len()).finish_non_exhaustive()
    }
}
