//! The hold that somebody else has on a connection: it can be severed, and what passes is counted.

use super::connect::Stream;
use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A hold on a connection that there may be later; clones hold the same one.
#[derive(Clone, Default, Debug)]
pub struct Lifeline {
    severed: CancellationToken,
    octets: Arc<Octets>,
}

#[derive(Default, Debug)]
struct Octets {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Lifeline {
    /// Severs the connection: whatever waits for it meets an error, and so does everything after.
    pub fn sever(&self) {
        self.severed.cancel();
    }

    /// Whether it was severed.
    pub fn is_severed(&self) -> bool {
        self.severed.is_cancelled()
    }

    /// Waits until it is severed. Cancel safe.
    pub async fn severed(&self) {
        self.severed.cancelled().await;
    }

    /// How many octets of the protocol came in, TLS not counted.
    pub fn received(&self) -> u64 {
        self.octets.received.load(Ordering::Relaxed)
    }

    /// How many octets went out.
    pub fn sent(&self) -> u64 {
        self.octets.sent.load(Ordering::Relaxed)
    }

    /// Takes hold of a connection.
    pub(super) fn hold(&self, stream: Stream) -> Stream {
        let (severed, octets) = (Box::pin(self.severed.clone().cancelled_owned()), self.octets.clone());
        Box::new(Held { stream, severed, octets })
    }
}

struct Held {
    stream: Stream,
    severed: Pin<Box<WaitForCancellationFutureOwned>>,
    octets: Arc<Octets>,
}

impl Held {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.severed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "it was cut off here")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let octets = (buffer.filled().len() - before) as u64;
        self.octets.received.fetch_add(octets, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        if let Poll::Ready(Ok(count)) = &written {
            self.octets.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_passes_is_counted_and_what_waits_meets_the_cut() {
        let (here, mut there) = tokio::io::duplex(64);
        let line = Lifeline::default();
        let mut held = line.hold(Box::new(here));
        held.write_all(b"hello").await.expect("written");
        there.write_all(b"hi").await.expect("written");
        let mut buffer = [0; 8];
        assert_eq!(held.read(&mut buffer).await.expect("read"), 2);
        assert_eq!((line.received(), line.sent()), (2, 5));
        let cut = line.clone();
        let reading = tokio::spawn(async move { held.read(&mut buffer).await.map_err(|error| error.kind()) });
        tokio::task::yield_now().await;
        cut.sever();
        assert_eq!(reading.await.expect("no panic"), Err(io::ErrorKind::ConnectionAborted));
        line.severed().await;
    }
}
