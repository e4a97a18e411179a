//! The transport beneath async-imap: everything that a server sends is framed, read and judged here first.
//!
//! The surprise: async-imap never sees an octet that the server chose, except the tag of an answer. It gets a digest,
//! one response at a time (`* OK -` for untagged data), and the [`Connection`](super::connection::Connection) takes the
//! response itself from here. So a line that imap-proto cannot parse does not kill the session, one that makes it panic
//! does not reach it, and nothing is parsed twice.
//!
//! Bodies pass by into a bounded channel; while the worker does not take them nothing is read from the server.

use super::condition::Status;
use super::deflate::Deflated;
use super::framer::{Event, Framer, Violation};
use super::response::{Response, Unreadable, Untagged};
use crate::remote::body::BodyChunk;
use bytes::BytesMut;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::PollSender;

/// What is read from the stream at once: little at first, and after a wait,
const LEAST: usize = 4 << 10;
/// and twice as much after each read that was filled, up to this.
const READ: usize = 64 << 10;
/// What is read ahead while the server does not take what we write.
const READ_AHEAD: usize = 1 << 20;
/// The unknown responses that are skipped in answer to one command.
const MAX_SKIPPED: u32 = 10_000;
/// The responses that may answer one command: one for each message of the largest mailbox that one can imagine.
const MAX_RESPONSES: u32 = 5_000_000;
/// The octets of those responses, bodies that pass by not counted.
const MAX_OCTETS: usize = 512 << 20;

/// A stream of bytes in both directions: TCP, TLS, a tunnel.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Why the wire was cut from this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Framing(#[from] Violation),
    #[error("{} could not be read", .0.0)]
    Unreadable(Unreadable),
    #[error("one command was answered with too many responses")]
    Flood,
    #[error("nobody takes the message bodies any more")]
    SinkClosed,
}

/// See the head of this file.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    /// What is read next time, in octets.
    room: usize,
    ended: bool,
    framer: Framer,
    /// The digest that async-imap is to read next, and how much of it it has.
    digest: Vec<u8>,
    digested: usize,
    /// The response to which the digest belongs.
    response: Option<Response>,
    sink: Option<PollSender<BodyChunk>>,
    chunk: Option<BodyChunk>,
    silence: Silence,
    skipped: u32,
    responses: u32,
    octets: usize,
    /// What async-imap wrote of the LOGIN that it insists on, until its line is complete.
    hatch: Option<Vec<u8>>,
}

impl Wire {
    /// Wraps a stream on which the greeting comes next; `timeout` is the longest silence.
    ///
    /// The first line written is not sent but answered with OK: async-imap gives its `Session` only to who logs in, and
    /// its own login knows no PREAUTH and loses response codes.
    pub(super) fn new(stream: impl Stream + 'static, timeout: Duration) -> Self {
        Self {
            stream: Box::new(stream),
            input: BytesMut::new(),
            room: LEAST,
            ended: false,
            framer: Framer::new(),
            digest: Vec::new(),
            digested: 0,
            response: None,
            sink: None,
            chunk: None,
            silence: Silence { limit: timeout, timer: Box::pin(sleep(timeout)), running: false },
            skipped: 0,
            responses: 0,
            octets: 0,
            hatch: Some(Vec::new()),
        }
    }

    /// The response that async-imap has just read the digest of.
    pub(super) fn take_response(&mut self) -> Option<Response> {
        self.response.take()
    }

    /// Lets bodies pass into `sink`, at most `most` of them.
    pub(super) fn divert(&mut self, sink: mpsc::Sender<BodyChunk>, most: u64) {
        self.sink = Some(PollSender::new(sink));
        self.framer.expect_bodies(Some(most));
    }

    /// Ends [`divert`](Self::divert).
    pub(super) fn undivert(&mut self) {
        self.sink = None;
        self.framer.expect_bodies(None);
    }

    /// A number for a body that stood in its response.
    pub(super) fn number_body(&mut self) -> u64 {
        self.framer.number_body()
    }

    /// Has another silence endured from now on. Whoever waits holds little to read into: of them there may be thousands.
    pub(super) fn bear_silence(&mut self, limit: Duration) {
        if self.input.is_empty() {
            (self.input, self.room) = (BytesMut::new(), LEAST);
        }
        self.silence.limit = limit;
        self.silence.end();
    }

    /// Compresses what follows in both directions (RFC 4978): the last response was the OK to COMPRESS.
    pub(super) fn compress(&mut self) {
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.stream = Box::new(Deflated::new(plain, std::mem::take(&mut self.input)));
    }

    /// Judges a response: digests it, or skips it.
    fn accept(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let response = Response::read(raw).map_err(Fault::Unreadable)?;
        self.responses += 1;
        self.octets += raw.len();
        self.digest.clear();
        self.digested = 0;
        match &response {
            Response::Untagged(Untagged::Other) => {
                tracing::trace!(skipped = self.skipped, "S: a response of no interest");
                self.skipped += 1;
                if self.skipped > MAX_SKIPPED {
                    return Err(Fault::Flood);
                }
                return Ok(());
            }
            Response::Untagged(_) => self.digest.extend_from_slice(b"* OK -\r\n"),
            Response::Continue(_) => self.digest.extend_from_slice(b"+ -\r\n"),
            Response::Tagged(tag, condition) => {
                let status = match condition.status {
                    Status::Ok => "OK",
                    Status::No => "NO",
                    _ => "BAD",
                };
                self.digest.extend_from_slice(format!("{tag} {status} -\r\n").as_bytes());
                (self.skipped, self.responses, self.octets) = (0, 0, 0);
            }
        }
        if self.responses > MAX_RESPONSES || self.octets > MAX_OCTETS {
            return Err(Fault::Flood);
        }
        self.response = Some(response);
        Ok(())
    }

    /// Hands the waiting chunk to the worker.
    fn poll_sink(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, Fault::SinkClosed);
        if self.chunk.is_some() {
            let Some(sink) = &mut self.sink else { return Poll::Ready(Err(closed())) };
            ready!(sink.poll_reserve(cx)).map_err(|_| closed())?;
            if let Some(chunk) = self.chunk.take() {
                sink.send_item(chunk).map_err(|_| closed())?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more from the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let start = self.input.len();
        self.input.resize(start + self.room, 0);
        let mut buffer = ReadBuf::new(&mut self.input[start..]);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        self.input.truncate(start + read);
        if polled.is_ready() {
            self.silence.end();
            self.ended |= read == 0;
            if read == self.room {
                self.room = READ.min(2 * self.room);
            }
        }
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        loop {
            if wire.digested < wire.digest.len() {
                let rest = &wire.digest[wire.digested..];
                let taken = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..taken]);
                wire.digested += taken;
                return Poll::Ready(Ok(()));
            }
            ready!(wire.poll_sink(cx))?;
            let cut = |fault: Fault| io::Error::new(io::ErrorKind::InvalidData, fault);
            match wire.framer.next(&mut wire.input).map_err(|violation| cut(violation.into()))? {
                Some(Event::Response(raw)) => wire.accept(&raw).map_err(cut)?,
                Some(Event::Chunk(chunk)) => wire.chunk = Some(chunk),
                None if wire.ended => return Poll::Ready(Ok(())),
                None => match wire.poll_fill(cx) {
                    Poll::Ready(filled) => filled?,
                    Poll::Pending => return wire.silence.poll(cx).map(Err),
                },
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        if let Some(line) = &mut wire.hatch {
            line.extend_from_slice(octets);
            if line.ends_with(b"\n") {
                let tag = line.split(|b| *b == b' ').next().unwrap_or_default();
                wire.digest = [tag, b" OK -\r\n"].concat();
                wire.hatch = None;
            }
            return Poll::Ready(Ok(octets.len()));
        }
        loop {
            if let Poll::Ready(written) = Pin::new(&mut wire.stream).poll_write(cx, octets) {
                wire.silence.end();
                return Poll::Ready(written);
            }
            // The server may not take our octets before we took its own.
            if wire.ended || wire.input.len() > READ_AHEAD {
                return wire.silence.poll(cx).map(Err);
            }
            match wire.poll_fill(cx) {
                Poll::Ready(filled) => filled?,
                Poll::Pending => return wire.silence.poll(cx).map(Err),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.silence.end();
                Poll::Ready(flushed)
            }
            Poll::Pending => self.silence.poll(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("buffered", &self.input.len()).finish_non_exhaustive()
    }
}

/// The deadline of every wait: it begins when a wait begins, and each octet in either direction ends it.
struct Silence {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    running: bool,
}

impl Silence {
    fn end(&mut self) {
        self.running = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.running {
            self.timer.as_mut().reset(Instant::now() + self.limit);
            self.running = true;
        }
        self.timer.as_mut().poll(cx).map(|()| {
            self.running = false;
            io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {:?}", self.limit))
        })
    }
}
