//! Modified UTF-7, the encoding of mailbox names (RFC 9051, section A.1).
//!
//! Only the canonical form is read: what [`encode`] would not have written is no name to [`decode`], so that two wire
//! names never decode to the same text.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use std::sync::LazyLock;

/// Base64 with a comma in the place of the slash.
static BASE64: LazyLock<GeneralPurpose> = LazyLock::new(|| {
    let alphabet = Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,");
    GeneralPurpose::new(&alphabet.expect("64 distinct characters"), NO_PAD)
});

/// Encodes text as modified UTF-7.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |out: &mut String, shifted: &mut Vec<u8>| {
        if !shifted.is_empty() {
            out.push('&');
            BASE64.encode_string(&*shifted, out);
            out.push('-');
            shifted.clear();
        }
    };
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut out, &mut shifted);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shifted.extend(unit.to_be_bytes());
            }
        }
    }
    flush(&mut out, &mut shifted);
    out
}

/// Decodes modified UTF-7; `None` if `wire` is not what [`encode`] writes for some text.
pub fn decode(wire: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = wire;
    while let Some((plain, shift)) = rest.split_once('&') {
        out.push_str(plain);
        let (code, after) = shift.split_once('-')?;
        if code.is_empty() {
            out.push('&');
        } else {
            let bytes = BASE64.decode(code).ok()?;
            if bytes.len() % 2 != 0 {
                return None;
            }
            let units = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]));
            out.extend(char::decode_utf16(units).collect::<Result<String, _>>().ok());
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == wire).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_decode() {
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(), Some("~peter/mail/台北/日本語"));
        assert_eq!(decode("Tom &- Jerry").as_deref(), Some("Tom & Jerry"));
    }

    #[test]
    fn what_is_not_canonical_is_no_name() {
        for wire in ["&", "&AGE-", "&U,BTFw", "&2D0-", "a&AOk-&AOk-", "é", "&AOl-", "\u{7}"] {
            assert_eq!(decode(wire), None, "{wire}");
        }
    }

    proptest! {
        #[test]
        fn every_text_survives(text in any::<String>()) {
            let wire = encode(&text);
            prop_assert!(wire.bytes().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(decode(&wire), Some(text));
        }

        #[test]
        fn what_decodes_encodes_to_itself(wire in "[&A-Za-z0-9+,/ -]{0,24}") {
            if let Some(text) = decode(&wire) {
                prop_assert_eq!(encode(&text), wire);
            }
        }
    }
}
