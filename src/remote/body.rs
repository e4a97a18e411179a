//! How the body of a message travels from a server to whoever takes it.

use bytes::Bytes;

/// A piece of a message body on its way to the worker, its line ends as on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyChunk {
    /// Which body: the number that [`FetchedBody::literal`](super::imap::FetchedBody::literal) repeats; with POP3 the
    /// message number.
    pub literal: u64,
    /// The next octets; may be empty at the end.
    pub bytes: Bytes,
    /// Whether this was the last piece.
    pub end: bool,
}
