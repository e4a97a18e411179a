//! What a message looks like apart from its name: the means to recognise it on the other side.

use serde::{Deserialize, Serialize};

/// A message's fingerprint, equal for the same message whatever its line ends and volatile header fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fingerprint {
    /// First 8 bytes of the BLAKE3 digest of the Message-ID, if the message has one.
    pub message_id: Option<[u8; 8]>,
    /// Octets with CRLF line ends and without the volatile header fields.
    pub size: u64,
    /// First 16 bytes of the BLAKE3 digest of the header without the volatile fields.
    pub header: [u8; 16],
    /// First 16 bytes of the BLAKE3 digest of the body.
    pub body: [u8; 16],
}

/// Computes a [`Fingerprint`] while a message passes by, chunk by chunk.
#[derive(Debug, Default)]
pub struct Fingerprinter {}

impl Fingerprinter {
    /// Takes the next bytes of the message, cut anywhere.
    pub fn update(&mut self, _bytes: &[u8]) {}

    /// The fingerprint of all that was taken.
    pub fn finish(self) -> Fingerprint {
        Fingerprint { message_id: None, size: 0, header: [0; 16], body: [0; 16] }
    }
}
