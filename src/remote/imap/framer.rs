//! Cuts what a server sends into responses: a line, with the literals that it announces (RFC 9051, section 4.3).
//!
//! Pure. Memory is bounded whatever comes. The body of a message is cut out of its FETCH response and passes by in
//! chunks; in its place stands a NUL, a number and a NUL, which no server can forge because a NUL outside a literal
//! is refused.

use crate::remote::body::BodyChunk;
use bytes::BytesMut;

/// The longest line, its literals not counted.
const MAX_LINE: usize = 64 << 10;
/// The longest line of numbers: SEARCH, ESEARCH, SORT and VANISHED grow with the mailbox.
const MAX_NUMBERS: usize = 16 << 20;
/// The octets of literals that one response may carry into memory.
pub(super) const MAX_INLINE: u64 = 1 << 20;
/// The longest body that is read and thrown away because nobody asked for it.
const MAX_IGNORED: u64 = 64 << 20;
/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 32;

/// What a [`Framer`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole response with its CRLF.
    Response(Vec<u8>),
    /// A piece of a body.
    Chunk(BodyChunk),
}

/// How a server broke the framing; the connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a response has no end")]
    EndlessLine,
    #[error("a line ends without CR")]
    BareLineFeed,
    #[error("a NUL stands outside a literal")]
    Nul,
    #[error("a literal has no readable length")]
    LiteralLength,
    #[error("a literal is too long")]
    LiteralTooLong,
    #[error("parentheses are nested too deeply")]
    Nesting,
    #[error("more message bodies came than were asked for")]
    TooManyBodies,
}

#[derive(Debug)]
enum State {
    Line,
    /// So many octets belong to a literal that stays in the response.
    Inline(usize),
    /// So many octets belong to a body that passes by; `wanted` or thrown away.
    Body {
        left: u64,
        literal: u64,
        wanted: bool,
    },
}

/// The state between two reads.
#[derive(Debug)]
pub(super) struct Framer {
    /// The response so far.
    response: Vec<u8>,
    state: State,
    /// Where in `response` the text after the last literal begins.
    segment: usize,
    inline: u64,
    depth: usize,
    next_literal: u64,
    /// How many bodies may still come; `None` while nobody asked for any.
    bodies: Option<u64>,
}

impl Framer {
    pub(super) fn new() -> Self {
        Self {
            response: Vec::new(),
            state: State::Line,
            segment: 0,
            inline: 0,
            depth: 0,
            next_literal: 0,
            bodies: None,
        }
    }

    /// Says whether bodies pass by, and how many may.
    pub(super) fn expect_bodies(&mut self, most: Option<u64>) {
        self.bodies = most;
    }

    /// A number for a body that did not come as a literal.
    pub(super) fn number_body(&mut self) -> u64 {
        self.next_literal += 1;
        self.next_literal - 1
    }

    /// Takes from `input` what makes the next event; `None` if more octets are needed.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Violation> {
        loop {
            match self.state {
                State::Body { left, literal, wanted } => {
                    if input.is_empty() && left > 0 {
                        return Ok(None);
                    }
                    let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    let bytes = input.split_to(taken).freeze();
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Line } else { State::Body { left, literal, wanted } };
                    if wanted {
                        return Ok(Some(Event::Chunk(BodyChunk { literal, bytes, end: left == 0 })));
                    }
                }
                State::Inline(left) => {
                    let taken = left.min(input.len());
                    self.response.extend_from_slice(&input.split_to(taken));
                    if taken < left {
                        self.state = State::Inline(left - taken);
                        return Ok(None);
                    }
                    self.state = State::Line;
                    self.segment = self.response.len();
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', input).map(|at| at + 1);
                    let text = input.split_to(end.unwrap_or(input.len()));
                    if memchr::memchr(0, &text).is_some() {
                        return Err(Violation::Nul);
                    }
                    self.response.extend_from_slice(&text);
                    if self.response.len() - self.inline as usize > longest(&self.response) {
                        return Err(Violation::EndlessLine);
                    }
                    if end.is_none() {
                        return Ok(None);
                    }
                    if !self.response[self.segment..].ends_with(b"\r\n") {
                        return Err(Violation::BareLineFeed);
                    }
                    if self.announces_literal()? {
                        continue;
                    }
                    (self.segment, self.inline, self.depth) = (0, 0, 0);
                    return Ok(Some(Event::Response(std::mem::take(&mut self.response))));
                }
            }
        }
    }

    /// Looks at the end of the line just read; if a literal follows, the state is ready for it.
    fn announces_literal(&mut self) -> Result<bool, Violation> {
        // Text for people may end like a literal, and never announces one.
        if !is_data(&self.response) {
            return Ok(false);
        }
        let segment = &self.response[self.segment..self.response.len() - 2];
        let mut quoted = false;
        let mut bytes = segment.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => drop(bytes.next()),
                b'(' if !quoted => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(Violation::Nesting);
                    }
                }
                b')' if !quoted => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        let Some(open) = segment.strip_suffix(b"}").and_then(|s| memchr::memrchr(b'{', s)) else { return Ok(false) };
        let digits = &segment[open + 1..segment.len() - 1];
        if quoted || digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Violation::LiteralLength);
        }
        let length: u64 =
            std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or(Violation::LiteralLength)?;
        let open = self.segment + open;
        let is_body = is_fetch(&self.response) && self.response[..open].ends_with(b"] ");
        let wanted = is_body && self.bodies.is_some() && is_whole_message(&self.response[..open]);
        if wanted || (is_body && length > MAX_INLINE - self.inline.min(MAX_INLINE)) {
            if wanted {
                let left = self.bodies.as_mut().ok_or(Violation::TooManyBodies)?;
                *left = left.checked_sub(1).ok_or(Violation::TooManyBodies)?;
            } else if length > MAX_IGNORED {
                return Err(Violation::LiteralTooLong);
            }
            let literal = self.number_body();
            self.response.truncate(open);
            self.response.extend_from_slice(format!("\0{literal}\0").as_bytes());
            self.segment = self.response.len();
            self.state = State::Body { left: length, literal, wanted };
        } else {
            self.inline += length;
            if self.inline > MAX_INLINE {
                return Err(Violation::LiteralTooLong);
            }
            self.state = State::Inline(length as usize);
        }
        Ok(true)
    }
}

/// Tells whether a response is untagged data, and not text for people or a tagged answer.
fn is_data(response: &[u8]) -> bool {
    let Some(word) = first_word(response) else { return false };
    !["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status.as_bytes()))
}

fn is_fetch(response: &[u8]) -> bool {
    let mut words = response.split(|b| *b == b' ').skip(1).filter(|word| !word.is_empty());
    words.next().is_some_and(|seq| seq.iter().all(u8::is_ascii_digit))
        && words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"))
}

fn is_whole_message(before: &[u8]) -> bool {
    before.len() > 7 && before[before.len() - 7..].eq_ignore_ascii_case(b"BODY[] ")
}

fn longest(response: &[u8]) -> usize {
    let of_numbers = |word: &[u8]| {
        ["SEARCH", "ESEARCH", "SORT", "VANISHED"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    if response.len() > MAX_LINE && first_word(response).is_some_and(of_numbers) { MAX_NUMBERS } else { MAX_LINE }
}

/// The word after the star of an untagged response.
pub(super) fn first_word(response: &[u8]) -> Option<&[u8]> {
    let rest = response.strip_prefix(b"* ")?;
    rest.split(|b| matches!(b, b' ' | b'\r' | b'\n')).find(|word| !word.is_empty())
}
