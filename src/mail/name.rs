//! The base name of a Maildir file: the local identity of a message.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// The part of a Maildir file name before `:2,`; it survives flag changes and the move from `new` to `cur`.
///
/// Bytes, not text: a reader may have put anything there. Never empty, without `/` and NUL, and it does not
/// begin with a dot (such files are no messages). Clones share the bytes. A report for people has it as an escaped text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseName(Arc<[u8]>);

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

impl Serialize for BaseName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_newtype_struct("BaseName", &*self.0)
        }
    }
}

impl<'de> Deserialize<'de> for BaseName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let name = Self::new(&crate::mail::unescape(&text));
            return name.ok_or_else(|| de::Error::custom("this is no base name"));
        }
        Box::<[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_name_as_text_and_the_database_as_bytes() {
        let name = BaseName::new(b"1.a\xff\n").expect("a name");
        assert_eq!(serde_json::to_string(&name).expect("JSON"), r#""1.a\\xff\\x0a""#);
        assert_eq!(serde_json::from_str::<BaseName>(r#""1.a\\xff\\x0a""#).expect("JSON"), name);
        assert!(serde_json::from_str::<BaseName>(r#""a/b""#).is_err());
        let stored = postcard::to_stdvec(&name).expect("bytes");
        assert_eq!(stored, b"\x051.a\xff\n");
        assert_eq!(postcard::from_bytes::<BaseName>(&stored).expect("a name"), name);
    }
}
