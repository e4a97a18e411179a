//! A stream whose both directions are compressed (COMPRESS=DEFLATE, RFC 4978): raw DEFLATE, flushed wherever the other side
//! has to go on.
//!
//! The surprise: what was read may hold more than fits into the reader's buffer, so the decompressor is asked for the rest
//! before the network is.

use super::wire::Stream;
use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read and written at once, compressed.
const PIECE: usize = 32 << 10;
/// So much may come out of little; beyond it, on average not more than [`MAX_RATIO`] times what went in.
const ALLOWANCE: u64 = 1 << 30;
/// DEFLATE reaches a thousand; a gigabyte of mail does not.
const MAX_RATIO: u64 = 100;

/// See the head of this file.
pub(super) struct Deflated {
    stream: Box<dyn Stream>,
    inflate: Decompress,
    /// Compressed octets that were read and not yet taken.
    input: BytesMut,
    /// The decompressor may hold more than it gave.
    holds_more: bool,
    deflate: Compress,
    /// Compressed octets that are to be written.
    output: BytesMut,
    /// Something was compressed since the last flush.
    unflushed: bool,
}

impl Deflated {
    /// Compresses what goes through a stream from now on; `input` was read from it already.
    pub(super) fn new(stream: Box<dyn Stream>, input: BytesMut) -> Self {
        Self {
            stream,
            inflate: Decompress::new(false),
            input,
            holds_more: false,
            deflate: Compress::new(Compression::default(), false),
            output: BytesMut::new(),
            unflushed: false,
        }
    }

    /// Decompresses into a buffer; false: more has to be read first. True and nothing in the buffer: this is the end.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buffer.initialize_unfilled();
        let size = room.len();
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(&self.input, room, FlushDecompress::None).map_err(invalid)?;
        let (taken, given) = (self.inflate.total_in() - before_in, self.inflate.total_out() - before_out);
        self.input.advance(usize::try_from(taken).unwrap_or(usize::MAX).min(self.input.len()));
        let given = usize::try_from(given).unwrap_or(usize::MAX).min(size);
        buffer.advance(given);
        self.holds_more = given == size;
        if self.inflate.total_out() > ALLOWANCE && self.inflate.total_out() / MAX_RATIO > self.inflate.total_in() {
            return Err(invalid("it grows beyond all measure"));
        }
        Ok(given > 0 || status == Status::StreamEnd)
    }

    /// Writes all that is compressed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Compresses a piece behind what is to be written; the number of octets that were taken, and whether all that came of
    /// them is there.
    fn squeeze(&mut self, octets: &[u8], flush: FlushCompress) -> io::Result<(usize, bool)> {
        let start = self.output.len();
        self.output.resize(start + PIECE, 0);
        let (before_in, before_out) = (self.deflate.total_in(), self.deflate.total_out());
        let done = self.deflate.compress(octets, &mut self.output[start..], flush);
        let made = usize::try_from(self.deflate.total_out() - before_out).unwrap_or(PIECE).min(PIECE);
        self.output.truncate(start + made);
        done.map_err(invalid)?;
        let taken = usize::try_from(self.deflate.total_in() - before_in).unwrap_or(octets.len()).min(octets.len());
        Ok((taken, made < PIECE))
    }
}

impl AsyncRead for Deflated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if buffer.remaining() == 0 || (this.holds_more || !this.input.is_empty()) && this.give(buffer)? {
                return Poll::Ready(Ok(()));
            }
            let start = this.input.len();
            this.input.resize(start + PIECE, 0);
            let mut raw = ReadBuf::new(&mut this.input[start..]);
            let polled = Pin::new(&mut this.stream).poll_read(cx, &mut raw);
            let read = raw.filled().len();
            this.input.truncate(start + read);
            ready!(polled)?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Deflated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if octets.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            ready!(this.poll_drain(cx))?;
            let (taken, _) = this.squeeze(octets, FlushCompress::None)?;
            this.unflushed = true;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_drain(cx))?;
            if !this.unflushed {
                return Pin::new(&mut this.stream).poll_flush(cx);
            }
            let (_, is_all) = this.squeeze(&[], FlushCompress::Sync)?;
            this.unflushed = !is_all;
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn invalid(reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed stream is damaged: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    fn ends(room: usize) -> (Deflated, Deflated) {
        let (left, right) = duplex(room);
        (Deflated::new(Box::new(left), BytesMut::new()), Deflated::new(Box::new(right), BytesMut::new()))
    }

    /// What arrives, while the reader takes it in pieces.
    fn passed(messages: &[Vec<u8>], room: usize, piece: usize) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut left, mut right) = ends(room);
            let write = async {
                for message in messages {
                    left.write_all(message).await.expect("it is taken");
                    left.flush().await.expect("it is taken");
                }
                left.shutdown().await.expect("it is taken");
            };
            let read = async {
                let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
                loop {
                    match right.read(&mut buffer).await.expect("it comes") {
                        0 => return all,
                        count => all.extend_from_slice(&buffer[..count]),
                    }
                }
            };
            tokio::join!(write, read).1
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_flushed_arrives_as_it_was(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..6),
            room in 1usize..200,
            piece in 1usize..4000,
        ) {
            prop_assert_eq!(passed(&messages, room, piece), messages.concat());
        }
    }

    #[test]
    fn more_than_fits_at_once_arrives_as_it_was() {
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
        let messages = [vec![b'x'; 5 << 20], noise, b"end".to_vec()];
        assert!(passed(&messages, 16 << 10, 1 << 16) == messages.concat());
    }

    #[test]
    fn what_is_no_deflate_is_an_error_and_no_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut raw, other) = duplex(1024);
            raw.write_all(b"\xff* OK not compressed\r\n").await.expect("there is room");
            let mut stream = Deflated::new(Box::new(other), BytesMut::new());
            let error = stream.read(&mut [0; 64]).await.expect_err("it is no DEFLATE");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        });
    }
}
