//! The face of a SASL mechanism (RFC 4422), as the protocols see it.

/// One authentication exchange, seen from the client.
///
/// Octets are raw: the protocol puts them into base64 and takes them out. A mechanism in which the client speaks first
/// is asked with an empty challenge before the server has said anything.
pub trait Sasl: Send {
    /// The name that AUTHENTICATE takes, in capitals.
    fn name(&self) -> &str;

    /// Answers a challenge of the server.
    ///
    /// # Errors
    /// The reason for which the exchange must be given up, without secrets; the protocol then cancels it.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String>;
}
