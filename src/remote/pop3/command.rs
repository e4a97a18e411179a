//! The commands that are sent (RFC 1939, sections 4 to 7; RFC 2449; RFC 5034; RFC 6856).
//!
//! Pure.

/// A kind of command: its name for people, and the door that it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) site: &'static str,
}

macro_rules! verbs {
    ($($constant:ident: $name:literal, $site:literal;)*) => {
        $(pub(super) const $constant: Verb = Verb { name: $name, site: concat!("pop3.", $site) };)*
    };
}
verbs! {
    APOP: "APOP", "apop";
    AUTH: "AUTH", "auth";
    CAPA: "CAPA", "capa";
    // What makes deletions true is a step of its own.
    COMMIT: "QUIT", "commit";
    DELE: "DELE", "dele";
    LIST: "LIST", "list";
    NOOP: "NOOP", "noop";
    PASS: "PASS", "pass";
    QUIT: "QUIT", "quit";
    RETR: "RETR", "retr";
    RSET: "RSET", "rset";
    STAT: "STAT", "stat";
    TOP: "TOP", "top";
    UIDL: "UIDL", "uidl";
    USER: "USER", "user";
    UTF8: "UTF8", "utf8";
}

/// A command on one line, without CRLF.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) text: String,
    /// The octets that its answer is expected to have.
    pub(super) weight: u64,
    secret: bool,
}

impl Command {
    /// A command that is nothing but its name.
    pub(super) fn bare(verb: Verb) -> Self {
        Self { verb, text: verb.name.to_owned(), weight: 0, secret: false }
    }

    /// A command with an argument; nobody may put a line end into it.
    pub(super) fn new(verb: Verb, argument: impl std::fmt::Display) -> Self {
        Self { text: format!("{} {argument}", verb.name), ..Self::bare(verb) }
    }

    /// A command whose argument is in no log.
    pub(super) fn secret(verb: Verb, argument: &str) -> Self {
        Self { secret: true, ..Self::new(verb, argument) }
    }

    /// The same with an answer that is expected to be so long.
    pub(super) fn weighing(self, octets: u64) -> Self {
        Self { weight: octets, ..self }
    }

    /// The command for a log.
    pub(super) fn shown(&self) -> &str {
        if self.secret { self.verb.name } else { &self.text }
    }
}
