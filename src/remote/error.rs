//! What can go wrong with a server, told apart by what the caller does next.
//!
//! Text of a server is kept as it came and escaped when it is shown.

use crate::mail::escape;
use std::fmt;
use std::time::Duration;

/// Why a server did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It may work later: connection lost, silence, BYE, `[UNAVAILABLE]`, `[INUSE]`, throttled.
    #[error("{reason}")]
    Later {
        /// What happened, escaped.
        reason: String,
        /// How long the server asks to be left alone.
        hint: Option<Duration>,
        /// What the system said.
        #[source]
        source: Option<std::io::Error>,
    },
    /// One command was refused; the connection lives on.
    #[error("the server refused {command}: {refusal}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// What the server said.
        refusal: Refusal,
    },
    /// The server broke the protocol; the connection must be dropped and nothing that it said be relied on.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The server does not let us in; trying again with the same secret would only lock the account.
    #[error("the server refused the login: {0}")]
    Login(Refusal),
    /// It cannot work before a person changes something.
    #[error("{0}")]
    Never(String),
    /// A message that was to be uploaded did not have the size that was announced; the connection must be dropped.
    #[error("the message had {delivered} octets where {announced} were announced")]
    Upload {
        /// Octets promised to the server.
        announced: u64,
        /// Octets that the caller handed over.
        delivered: u64,
    },
}

impl Error {
    /// An error that time may mend.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), hint: None, source: None }
    }

    /// The refusal, if the server refused one command.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } | Self::Login(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// A tagged NO or BAD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Whether it was BAD (the server did not understand) and not NO (it did not want to).
    pub bad: bool,
    /// The response code in capitals, without arguments: `TRYCREATE`, `OVERQUOTA`, `TOOBIG`.
    pub code: Option<String>,
    /// The server's words; escape them before showing them.
    pub text: String,
}

impl Refusal {
    /// Tells whether the response code is `code`.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The pause that the server asks for, if it tells one (Exchange: "Suggested Backoff Time: 5000 milliseconds").
    pub fn pause(&self) -> Option<Duration> {
        let (_, after) = self.text.split_once("Backoff Time:")?;
        let mut words = after.split_ascii_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        words.next()?.starts_with("millisecond").then(|| Duration::from_millis(number.min(86_400_000)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "[{}] ", escape(code))?;
        }
        f.write_str(&escape(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_server_are_shown_escaped() {
        let refusal = Refusal { bad: false, code: Some("ALERT".into()), text: "\x1b[2Jgone".into() };
        let error = Error::Refused { command: "SELECT", refusal };
        assert_eq!(error.to_string(), r"the server refused SELECT: [ALERT] \x1b[2Jgone");
    }

    #[test]
    fn the_pause_that_a_server_asks_for_is_read_and_bounded() {
        let refusal = |text: &str| Refusal { bad: false, code: None, text: text.into() };
        let asked = refusal("Request is throttled. Suggested Backoff Time: 29961 milliseconds").pause();
        assert_eq!(asked, Some(Duration::from_millis(29_961)));
        assert_eq!(refusal("Backoff Time: 99999999999999 milliseconds").pause(), Some(Duration::from_secs(86_400)));
        assert_eq!(refusal("Backoff Time: soon").pause(), None);
    }
}
