//! Cuts what a server sends into lines and messages (RFC 1939, section 3).
//!
//! Pure, and the same however the octets are cut. A message ends with CRLF.CRLF and with nothing else: not with a dot
//! behind a bare LF, a bare CR or a NUL, which programs were seen to take for the end, and what followed for replies. So
//! could a mail be made to hide or forge others. Memory is bounded: lines are capped, messages pass by in pieces.

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest line outside of messages; RFC 2449 allows 512 octets.
pub(super) const MAX_LINE: usize = 8 << 10;

/// How a server broke the framing; the connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a line has no end")]
    EndlessLine,
    #[error("a line ends without CR")]
    BareLineFeed,
}

/// A line of a multi-line reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The line without CRLF and without the dot that was put in front of its own.
    Line(BytesMut),
    /// The dot alone.
    End,
}

/// The next octets of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// With CRLF as on the wire, without the dots that were put in front of others.
    pub(super) bytes: Bytes,
    /// Whether the message is whole.
    pub(super) end: bool,
}

/// The state between two reads. What is not decided yet stays in the input.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// How much of the input holds no LF.
    looked: usize,
    /// The message is not at the beginning of a line.
    within: bool,
    /// The last octet of the message so far is a CR.
    cr: bool,
}

impl Framer {
    /// Takes a line, without its CRLF; `None` if more octets are needed.
    pub(super) fn line(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Violation> {
        let found = memchr::memchr(b'\n', &input[self.looked..]).map(|at| self.looked + at + 1);
        self.looked = if found.is_some() { 0 } else { input.len() };
        if found.unwrap_or(input.len()) > MAX_LINE {
            return Err(Violation::EndlessLine);
        }
        let Some(end) = found else { return Ok(None) };
        let mut line = input.split_to(end);
        if !line.ends_with(b"\r\n") {
            return Err(Violation::BareLineFeed);
        }
        line.truncate(end - 2);
        Ok(Some(line))
    }

    /// Takes a line of a list; `None` if more octets are needed.
    pub(super) fn item(&mut self, input: &mut BytesMut) -> Result<Option<Item>, Violation> {
        let Some(mut line) = self.line(input)? else { return Ok(None) };
        Ok(Some(match &line[..] {
            b"." => Item::End,
            [b'.', ..] => {
                line.advance(1);
                Item::Line(line)
            }
            _ => Item::Line(line),
        }))
    }

    /// Takes what there is of a message; `None` if more octets are needed. After the end the next message begins.
    pub(super) fn body(&mut self, input: &mut BytesMut) -> Option<Piece> {
        let (mut read, mut kept, mut end) = (0, 0, false);
        loop {
            if !self.within {
                match &input[read..] {
                    [] | [b'.'] | [b'.', b'\r'] => break,
                    [b'.', b'\r', b'\n', ..] => {
                        (read, end) = (read + 3, true);
                        break;
                    }
                    [b'.', ..] => read += 1,
                    _ => {}
                }
                (self.within, self.cr) = (true, false);
            }
            let rest = &input[read..];
            let found = memchr::memchr(b'\n', rest);
            let taken = found.map_or(rest.len(), |at| at + 1);
            if taken == 0 {
                break;
            }
            let ends = match found {
                Some(0) => self.cr,
                Some(at) => rest[at - 1] == b'\r',
                None => false,
            };
            (self.within, self.cr) = (!ends, rest[taken - 1] == b'\r');
            if kept < read {
                input.copy_within(read..read + taken, kept);
            }
            (read, kept) = (read + taken, kept + taken);
        }
        let bytes = input.split_to(kept).freeze();
        input.advance(read - kept);
        (kept > 0 || end).then_some(Piece { bytes, end })
    }
}
