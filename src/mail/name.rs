//! The base name of a Maildir file: the local identity of a message.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The part of a Maildir file name before `:2,`; it survives flag changes and the move from `new` to `cur`.
///
/// Bytes, not text: a reader may have put anything there. Never empty, without `/` and NUL, and it does not
/// begin with a dot (such files are no messages).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BaseName(Box<[u8]>);

impl BaseName {
    /// Makes a base name of bytes; `None` if no message can have that name.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let illegal = bytes.is_empty() || bytes[0] == b'.' || bytes.iter().any(|b| matches!(b, b'/' | 0));
        (!illegal).then(|| Self(bytes.into()))
    }

    /// The bytes, as they stand on the disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::mail::escape(&self.0))
    }
}

impl fmt::Debug for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
