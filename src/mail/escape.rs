//! Text that came from elsewhere, made harmless for a terminal, a log or a status file.

/// The longest escaped text, in characters; the rest is cut off and marked with an ellipsis.
pub const MAX_ESCAPED: usize = 256;

/// Escapes bytes that a server, a file name or a message supplied.
///
/// Control characters (C0, C1, DEL), bidirectional and zero-width marks, line separators and invalid UTF-8 become
/// `\x..` or `\u{..}`, a backslash is doubled, and more than [`MAX_ESCAPED`] characters are cut. The result is one line.
pub fn escape(bytes: impl AsRef<[u8]>) -> String {
    let mut out = String::new();
    let mut count = 0;
    for chunk in bytes.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            if count == MAX_ESCAPED {
                out.push('…');
                return out;
            }
            count += 1;
            match c {
                '\\' => out.push_str("\\\\"),
                c if is_dangerous(c) && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
                c if is_dangerous(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            if count == MAX_ESCAPED {
                out.push('…');
                return out;
            }
            count += 1;
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Bytes of which [`escape`] makes this text, if it is a text of its making that was not cut: those that it had, but for a
/// lone byte that looks like a control character.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let (put, length) = if after.starts_with('\\') {
            (vec![b'\\'], 1)
        } else if let Some(number) = after.strip_prefix('x').and_then(|x| x.get(..2)).and_then(hex) {
            let c = char::from_u32(number).filter(|c| is_dangerous(*c));
            (c.map_or_else(|| vec![number as u8], |c| c.to_string().into_bytes()), 3)
        } else if let Some((digits, _)) = after.strip_prefix("u{").and_then(|u| u.split_once('}')) {
            let c = hex(digits).and_then(char::from_u32);
            (c.map_or_else(Vec::new, |c| c.to_string().into_bytes()), digits.len() + 3)
        } else {
            (vec![b'\\'], 0)
        };
        bytes.extend(put);
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_one_harmless_line() {
        assert_eq!(escape("a\x1b]0;x\x07\r\nINFO"), r"a\x1b]0;x\x07\x0d\x0aINFO");
        assert_eq!(escape("\u{202e}txt\u{9b}é\\"), r"\u{202e}txt\x9bé\\");
        assert_eq!(escape([b'a', 0xff, b'b']), r"a\xffb");
    }

    #[test]
    fn escaped_text_is_read_again() {
        for bytes in [&b"plain"[..], b"a\\b\x1b\xff", "\u{202e}\u{9b}é".as_bytes(), b"\\x41\\u{41}"] {
            assert_eq!(unescape(&escape(bytes)), bytes);
        }
        for odd in ["\\", "a\\q", "\\x", "\\xé", "\\u{", "\\u{zz}b", "\\u{110000}"] {
            unescape(odd);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_again_looks_the_same(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            let text = escape(&bytes);
            proptest::prop_assert_eq!(escape(unescape(&text)), text);
        }
    }

    #[test]
    fn endless_text_is_cut() {
        assert_eq!(escape("x".repeat(10_000)).chars().count(), MAX_ESCAPED + 1);
    }
}
