//! The unique-id of POP3, the only name that a message keeps from one session to the next.
//!
//! What surprises: a server may give the same one to two messages (RFC 1939 lets it be a hash of the bytes), and many
//! write more than the RFC allows. So what can be told apart is taken, and what the RFC allows is asked separately.

use crate::mail::escape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The octets that the RFC allows.
const REGULAR: usize = 70;

/// The unique-id of a message in a maildrop (RFC 1939, section 7, UIDL). Never part of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Uidl(Box<[u8]>);

impl Uidl {
    /// The octets that are taken at most.
    pub const MAX: usize = 1024;

    /// Makes one of octets: at least one, at most [`MAX`](Self::MAX), none of them a space or a control character.
    pub fn new(octets: impl AsRef<[u8]>) -> Option<Self> {
        let octets = octets.as_ref();
        let fits = (1..=Self::MAX).contains(&octets.len());
        (fits && octets.iter().all(|octet| *octet > b' ' && *octet != 0x7f)).then(|| Self(octets.into()))
    }

    /// The octets as the server wrote them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether it is as RFC 1939 has it: at most 70 octets of printable ASCII.
    pub fn is_regular(&self) -> bool {
        self.0.len() <= REGULAR && self.0.is_ascii()
    }
}

impl TryFrom<Vec<u8>> for Uidl {
    type Error = &'static str;

    fn try_from(octets: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(octets).ok_or("this is no unique-id of POP3")
    }
}

impl From<Uidl> for Vec<u8> {
    fn from(uidl: Uidl) -> Self {
        uidl.0.into_vec()
    }
}

impl fmt::Display for Uidl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Uidl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_apart_on_a_line_is_no_unique_id() {
        for octets in [&b""[..], b"a b", b"a\tb", b"\x7f", b"a\0", b"\n", &[b'x'; 1025]] {
            assert_eq!(Uidl::new(octets), None, "{octets:?}");
        }
        for octets in [&b"../../etc/passwd"[..], b"\xe9t\xe9", b"!", &[b'x'; 1024]] {
            assert_eq!(Uidl::new(octets).expect("usable").as_bytes(), octets);
        }
    }

    #[test]
    fn what_the_rfc_does_not_allow_is_known_as_such() {
        let is_regular = |octets: &[u8]| Uidl::new(octets).expect("usable").is_regular();
        assert!(is_regular(b"000000016b035fcf") && is_regular(&[b'~'; 70]));
        assert!(!is_regular(&[b'x'; 71]) && !is_regular("é".as_bytes()));
    }

    #[test]
    fn only_a_unique_id_is_read_back() {
        let bytes = postcard::to_allocvec(&Uidl::new(b"a\xff").expect("usable")).expect("encoded");
        assert_eq!(postcard::from_bytes::<Uidl>(&bytes).expect("decoded").to_string(), r"a\xff");
        let spoilt = postcard::to_allocvec(&b"a b".to_vec()).expect("encoded");
        assert!(postcard::from_bytes::<Uidl>(&spoilt).is_err());
    }
}
