//! The grammar that responses share: atoms, strings, literals, lists (RFC 9051, section 4).
//!
//! imap-proto leaves quoted strings as they stand on the wire, so that a literal and a quoted string with a backslash
//! cannot be told apart; where names and message text matter we read for ourselves. Lenient about blanks, strict about
//! everything that could change a meaning. Never panics.

use crate::mail::{Uid, UidSet};

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 40;

/// A value in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An atom, number or flag as it stands.
    Atom(Vec<u8>),
    /// A quoted string, unescaped, or a literal.
    String(Vec<u8>),
    /// A list in parentheses.
    List(Vec<Self>),
    /// A body that passed by under this number.
    Body(u64),
}

impl Value {
    /// The octets of an atom or a string; `None` for a list, a body, and NIL.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) if !bytes.eq_ignore_ascii_case(b"NIL") => Some(bytes),
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of an atom or a string, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The members of a list.
    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(members) => Some(members),
            _ => None,
        }
    }

    /// The number that an atom is.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Atom(bytes) => number(bytes),
            _ => None,
        }
    }
}

/// Reads digits and nothing else.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reads a set of UIDs, however disordered, in time that grows no faster than its sorting.
pub(super) fn uid_set(text: &[u8]) -> Option<UidSet> {
    let mut ranges = Vec::new();
    for part in text.split(|b| *b == b',') {
        let mut ends = part.splitn(2, |b| *b == b':');
        let first = uid(ends.next()?)?;
        let last = ends.next().map_or(Some(first), uid)?;
        ranges.push((first.min(last), first.max(last)));
    }
    Some(set_of_ranges(ranges))
}

/// Makes a set of ranges in any order.
pub(super) fn set_of_ranges(mut ranges: Vec<(Uid, Uid)>) -> UidSet {
    ranges.sort_unstable();
    let mut set = UidSet::new();
    for (first, last) in ranges {
        set.insert_range(first, last);
    }
    set
}

/// Reads a UID.
pub(super) fn uid(bytes: &[u8]) -> Option<Uid> {
    number(bytes).and_then(|n| u32::try_from(n).ok()).and_then(Uid::new)
}

/// Walks through a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `response`, whose CRLF is left aside.
    pub(super) fn new(response: &'a [u8]) -> Self {
        Self { rest: response.strip_suffix(b"\r\n").unwrap_or(response) }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes blanks.
    pub(super) fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Tells whether nothing but blanks is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.blanks();
        self.rest.is_empty()
    }

    /// Passes `byte`, if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let Some(rest) = self.rest.strip_prefix(&[byte]) else { return false };
        self.rest = rest;
        true
    }

    /// The next word: everything up to a blank or a parenthesis. Empty at the end.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.blanks();
        self.take_while(|b| !matches!(b, b' ' | b'(' | b')' | b'"'))
    }

    /// The name of a FETCH item: as a word, but brackets belong to it with all that stands in them.
    pub(super) fn item_name(&mut self) -> &'a [u8] {
        self.blanks();
        let mut inside = false;
        self.take_while(|b| {
            match b {
                b'[' => inside = true,
                b']' => inside = false,
                _ => {}
            }
            inside || !matches!(b, b' ' | b'(' | b')' | b'"')
        })
    }

    /// The next value; `None` if there is none that can be read.
    pub(super) fn value(&mut self) -> Option<Value> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: usize) -> Option<Value> {
        self.blanks();
        match *self.rest.first()? {
            b'(' if depth < MAX_DEPTH => {
                self.eat(b'(');
                let mut members = Vec::new();
                loop {
                    self.blanks();
                    if self.eat(b')') {
                        return Some(Value::List(members));
                    }
                    members.push(self.value_at(depth + 1)?);
                }
            }
            b'"' => self.quoted().map(Value::String),
            b'{' => self.literal().map(Value::String),
            0 => {
                self.eat(0);
                let digits = self.take_while(|b| b != 0);
                self.eat(0).then_some(())?;
                number(digits).map(Value::Body)
            }
            _ => {
                let atom = self.take_while(|b| !matches!(b, b' ' | b'(' | b')' | b'"' | b'{' | 0));
                (!atom.is_empty()).then(|| Value::Atom(atom.to_vec()))
            }
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.eat(b'"').then_some(())?;
        let mut text = Vec::new();
        let mut bytes = self.rest.iter().copied().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                b'\\' => text.push(bytes.next()?.1),
                byte => text.push(byte),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<Vec<u8>> {
        self.eat(b'{').then_some(())?;
        let length = usize::try_from(number(self.take_while(|b| b != b'}'))?).ok()?;
        let rest = self.rest.strip_prefix(b"}\r\n")?;
        let (literal, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(literal.to_vec())
    }

    fn take_while(&mut self, mut belongs: impl FnMut(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|b| !belongs(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Option<Value> {
        Cursor::new(text.as_bytes()).value()
    }

    #[test]
    fn a_quoted_string_is_unescaped_and_a_literal_is_not() {
        assert_eq!(value(r#""a\\b\"c""#), Some(Value::String(br#"a\b"c"#.to_vec())));
        assert_eq!(value("{4}\r\na\\\\b"), Some(Value::String(br"a\\b".to_vec())));
        assert_eq!(value("{5}\r\nabc"), None);
        assert_eq!(value("\"abc"), None);
    }

    #[test]
    fn nil_is_nothing_and_the_string_nil_is_a_name() {
        assert_eq!(value("NIL").as_ref().and_then(Value::bytes), None);
        assert_eq!(value("\"NIL\"").as_ref().and_then(Value::bytes), Some(&b"NIL"[..]));
    }

    #[test]
    fn endless_nesting_is_no_value() {
        assert_eq!(value(&"(".repeat(100_000)), None);
    }

    #[test]
    fn a_set_in_reverse_is_read_quickly() {
        let text = (1..400_000).rev().step_by(2).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(uid_set(text.as_bytes()).map(|set| set.len()), Some(200_000));
        assert_eq!(uid_set(b"310:300,5").map(|set| set.to_string()), Some("5,300:310".into()));
        assert_eq!(uid_set(b"1,,2"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.value().is_some() {}
            let mut cursor = Cursor::new(&bytes);
            cursor.item_name();
            cursor.word();
        }
    }
}
