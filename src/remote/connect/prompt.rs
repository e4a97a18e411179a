//! A socket that acknowledges at once what it waits for more of.
//!
//! A server that keeps Nagle's algorithm on (Cyrus 3.6 does) holds back the second of two small answers until the first is
//! acknowledged, and the kernel of one who also writes delays its acknowledgements by 40 ms, in the hope of something to send
//! with them (RFC 1122, 4.2.3.2). Whoever waits has nothing to send.

use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection whose kernel acknowledges without delay (TCP_QUICKACK) whenever a reader waits.
#[derive(Debug)]
pub(super) struct Prompt(pub TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_pending() {
            // The kernel takes it back by itself when both sides speak in turns, so it is said each time. What could go wrong
            // with it costs time, and is met by the next read.
            let _ = SockRef::from(&self.0).set_tcp_quickack(true);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_kernel_is_told_to_acknowledge_at_once_each_time_that_a_reader_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TcpStream::connect(address).await.expect("connected");
        let (mut server, _) = listener.accept().await.expect("accepted");
        let mut prompt = Prompt(socket);
        let mut room = [0; 8];
        for _ in 0..3 {
            // As after turns of both sides.
            SockRef::from(&prompt.0).set_tcp_quickack(false).expect("an option of TCP");
            assert!(!SockRef::from(&prompt.0).tcp_quickack().expect("an option of TCP"));
            poll_fn(|context| {
                let waits = Pin::new(&mut prompt).poll_read(context, &mut ReadBuf::new(&mut room)).is_pending();
                assert!(waits, "nothing was written");
                Poll::Ready(())
            })
            .await;
            assert!(SockRef::from(&prompt.0).tcp_quickack().expect("an option of TCP"));
            server.write_all(b"* 1 EXPUNGE").await.expect("written");
            prompt.read_exact(&mut room).await.expect("read");
            prompt.read_exact(&mut room[..3]).await.expect("read");
            prompt.write_all(b"NOOP").await.expect("written");
        }
        prompt.shutdown().await.expect("shut");
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.expect("an end");
        assert_eq!(heard, "NOOPNOOPNOOP");
    }
}
