//! Conditions: OK, NO, BAD, BYE and PREAUTH, their response codes and their text (RFC 9051, section 7.1).
//!
//! Response codes are read here and not by imap-proto, which knows no code that it has not been taught, and no
//! capability list without IMAP4rev1.

use super::syntax::{Cursor, number};

/// A condition: OK, NO, BAD, BYE or PREAUTH with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) status: Status,
    /// The response code in capitals.
    pub(super) code: Option<String>,
    /// What follows the response code inside its brackets.
    pub(super) arguments: Vec<u8>,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

impl Condition {
    /// Reads a condition behind its tag; `None` if it is none.
    pub(super) fn read(mut cursor: Cursor<'_>) -> Option<Self> {
        let status = match cursor.word().to_ascii_uppercase().as_slice() {
            b"OK" => Status::Ok,
            b"NO" => Status::No,
            b"BAD" => Status::Bad,
            b"BYE" => Status::Bye,
            b"PREAUTH" => Status::PreAuth,
            _ => return None,
        };
        cursor.blanks();
        let (mut code, mut arguments, mut text) = (None, Vec::new(), cursor.rest());
        if let Some((inside, after)) = text.strip_prefix(b"[").and_then(split_code) {
            let mut words = inside.splitn(2, |b| *b == b' ');
            code = words.next().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase());
            arguments = words.next().unwrap_or_default().to_vec();
            text = after.trim_ascii_start();
        }
        Some(Self { status, code, arguments, text: String::from_utf8_lossy(text).into_owned() })
    }

    pub(super) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The capabilities that the response code tells.
    pub(super) fn capabilities(&self) -> Option<Vec<String>> {
        self.has_code("CAPABILITY").then(|| words(Cursor::new(&self.arguments)))
    }

    /// The number that the response code `code` tells.
    pub(super) fn number(&self, code: &str) -> Option<u64> {
        self.has_code(code).then(|| number(&self.arguments)).flatten()
    }

    /// The words of the arguments of the response code `code`.
    pub(super) fn arguments_of(&self, code: &str) -> Option<Vec<String>> {
        self.has_code(code).then(|| words(Cursor::new(&self.arguments)))
    }
}

/// Splits after the bracket that ends a response code; brackets in quoted strings and flags such as `a]` do not, as
/// long as a list is open.
fn split_code(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut quoted, mut depth) = (false, 0usize);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b']' if !quoted && depth == 0 => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    // An unbalanced parenthesis or quote: the first bracket it is.
    let at = text.iter().position(|b| *b == b']')?;
    Some((&text[..at], &text[at + 1..]))
}

/// The words of a text, parentheses left aside.
pub(super) fn words(cursor: Cursor<'_>) -> Vec<String> {
    let words = cursor.rest().split(|b| matches!(b, b' ' | b'(' | b')')).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Condition {
        Condition::read(Cursor::new(text.as_bytes())).expect("a condition")
    }

    #[test]
    fn response_codes_are_kept_with_their_arguments() {
        let done = read("no [Overquota/x a] Quota é [b]");
        assert_eq!((done.status, done.text.as_str()), (Status::No, "Quota é [b]"));
        assert_eq!((done.code.as_deref(), done.arguments.as_slice()), (Some("OVERQUOTA/X"), &b"a"[..]));
        let flags = read("OK [PERMANENTFLAGS (\\Seen a]b \\*)]é");
        assert_eq!(flags.arguments_of("PERMANENTFLAGS").map(|f| f.len()), Some(3));
        assert_eq!(flags.text, "é");
    }

    #[test]
    fn a_code_that_is_not_closed_is_text() {
        let done = read("BAD [odd (text");
        assert_eq!((done.code, done.text.as_str()), (None, "[odd (text"));
        assert_eq!(read("OK [UNBALANCED (] x").code.as_deref(), Some("UNBALANCED"));
        assert_eq!(Condition::read(Cursor::new(b"MAYBE x")), None);
    }
}
