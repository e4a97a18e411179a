//! What the header of a message says for people (RFC 5322), decoded (RFC 2047). Strangers wrote it.

use mail_parser::{Address, MessageParser};

/// So many characters of a text are taken.
const LONGEST: usize = 500;

/// What a header says; what it does not say, or says in no way that can be read, is none.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Head {
    /// The sender, as in `Anna <anna@example.org>`: one line, without control characters, 500 characters at most.
    pub from: Option<String>,
    /// The subject, likewise.
    pub subject: Option<String>,
    /// When it was written, in seconds since 1970.
    pub date: Option<i64>,
}

impl Head {
    /// Reads the header of a message, or the beginning of it; what follows the header may be there.
    pub fn of(bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        // One that was cut off ends here.
        bytes.extend_from_slice(b"\n\n");
        let Some(message) = MessageParser::default().parse_headers(&bytes) else { return Self::default() };
        let from = message.from().and_then(Address::first).and_then(|from| match (&from.name, &from.address) {
            (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_string()),
            (None, None) => None,
        });
        let date = message.date().filter(|date| date.is_valid()).map(mail_parser::DateTime::to_timestamp);
        Self { from: from.map(|from| line(&from)), subject: message.subject().map(line), date }
    }
}

/// On one line, and not for ever.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_decoded() {
        let head = Head::of(
            b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nSubject: =?utf-8?b?w6TDtg==?= \x1b[31m\tred\r\n\
              Date: Thu, 01 Jan 2026 01:00:00 +0100\r\n\r\nbody\r\n",
        );
        assert_eq!(head.from.as_deref(), Some("Jürgen <j@example.org>"));
        assert_eq!(head.subject.as_deref(), Some("äö  [31m red"));
        assert_eq!(head.date, Some(1_767_225_600));
    }

    #[test]
    fn what_cannot_be_read_is_none_and_what_is_long_is_cut() {
        for odd in [&b""[..], b"\n\nbody", b"\xff\x00\n\xfe", b"Date: yesterday\nFrom:\n\n", b"Date: 99 Foo 2026\n\n"] {
            assert_eq!(Head::of(odd).date, None, "{odd:?}");
        }
        let long = Head::of(format!("Subject: {}", "x".repeat(100_000)).as_bytes());
        assert_eq!(long.subject.map(|subject| subject.len()), Some(LONGEST));
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_too_odd_to_be_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let head = Head::of(&bytes);
            proptest::prop_assert!(head.subject.is_none_or(|subject| !subject.chars().any(char::is_control)));
        }
    }
}
