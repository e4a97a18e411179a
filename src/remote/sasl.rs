//! What a login needs of a SASL mechanism (RFC 4422): its name and its answers.

/// One authentication exchange, seen from the client.
///
/// Base64 is the caller's affair: challenges and responses are the bare bytes. A mechanism in which the client speaks
/// first answers the empty challenge with its initial response.
pub trait Sasl: Send {
    /// The name that AUTHENTICATE is given, in capitals.
    fn name(&self) -> &str;

    /// Answers a challenge. An error is a clause for the owner; the exchange must then be cancelled.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String>;
}
