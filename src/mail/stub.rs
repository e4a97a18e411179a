//! Stubs: the header of a message that is too large to be fetched, with a few words on how to get the rest.
//!
//! A stub is told by its name, and that is all that is ever asked before it could be uploaded or its deletion carried
//! over: it has to hold where nothing is remembered. Readers that save a message as a new file lose the name, so the text
//! tells it a second time, in its first field.

use crate::mail::BaseName;

/// The last part of a stub's base name, followed by the octets of the whole message.
const MARK: &str = ",mailtwin-stub=";
/// The header field of a stub, with the octets of the whole message.
const FIELD: &str = "X-Mailtwin-Stub";

impl BaseName {
    /// The name as that of a stub, for a message of so many octets.
    #[must_use]
    pub fn into_stub(self, octets: u64) -> Self {
        let name = [self.as_bytes(), format!("{MARK}{octets}").as_bytes()].concat();
        Self::new(&name).unwrap_or(self)
    }

    /// The octets of the whole message, if this is the name of a stub.
    pub fn stub_octets(&self) -> Option<u64> {
        let name = self.as_bytes();
        let at = memchr::memmem::rfind(name, MARK.as_bytes())? + MARK.len();
        // Another program may have put fields of its own behind it.
        let digits = name[at..].split(|byte| *byte == b',').next()?;
        // A number that nobody can read is still the mark of a stub.
        Some(std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX))
    }

    /// Tells whether this is the name of a stub.
    pub fn is_stub(&self) -> bool {
        self.stub_octets().is_some()
    }
}

/// Writes the stub of a message of so many octets with this header; lines end in CRLF or LF, as the header's do.
///
/// What describes the body that is not there is left out, and so is what is no header field.
pub fn text(header: &[u8], octets: u64) -> Vec<u8> {
    let mut out = format!("{FIELD}: {octets}\n").into_bytes();
    let mut kept = false;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.trim_ascii_end();
        if bare.is_empty() && !matches!(line.first(), Some(b' ' | b'\t')) {
            break;
        }
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            kept = is_kept(bare);
        }
        if kept {
            out.extend_from_slice(bare);
            out.push(b'\n');
        }
    }
    let size = shown(octets);
    let words = format!(
        "MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=us-ascii\n\
         \n\
         This is only the header of a message. The whole of it has {size} and is on the server:\n\
         it is larger than `max-size` allows, so it was not fetched.\n\
         \n\
         To get it, flag this message. With the next run the whole message takes the place of this\n\
         note. Deleting this note deletes nothing on the server.\n"
    );
    out.extend_from_slice(words.as_bytes());
    out
}

/// Tells whether a file that begins so is a stub, whatever its name.
pub fn begins(beginning: &[u8]) -> bool {
    let mut fields = beginning.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii_end().is_empty());
    fields.any(|line| has_name(line, FIELD))
}

/// Octets for people.
pub fn shown(octets: u64) -> String {
    match octets {
        0..1024 => format!("{octets} octets"),
        1024..1_048_576 => format!("{} KiB", octets / 1024),
        _ => format!("{}.{} MiB", octets / 1_048_576, octets % 1_048_576 * 10 / 1_048_576),
    }
}

fn is_kept(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_field = name.len() < line.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let of_body = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"));
    is_field && !of_body && !has_name(line, "MIME-Version") && !has_name(line, "Lines") && !has_name(line, FIELD)
}

fn has_name(line: &[u8], name: &str) -> bool {
    let is = line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    is && line.get(name.len()) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BaseName {
        BaseName::new(text.as_bytes()).expect("a name")
    }

    #[test]
    fn a_stub_is_told_by_its_name() {
        let stub = name("1.M2P3Q4.host").into_stub(70_000);
        assert_eq!(stub, name("1.M2P3Q4.host,mailtwin-stub=70000"));
        assert_eq!(stub.stub_octets(), Some(70_000));
        assert_eq!(name("1.host,mailtwin-stub=5,S=3,W=4").stub_octets(), Some(5));
        assert_eq!(name("1.host,mailtwin-stub=many").stub_octets(), Some(u64::MAX));
        assert!(!name("1.host,S=5").is_stub() && !name("mailtwin-stub").is_stub());
    }

    #[test]
    fn a_stub_has_the_header_without_what_describes_the_body() {
        let header = b"From: a@example.org\r\nSubject: long\r\n folded\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\
                       \tboundary=x\r\nno field\r\nX-Odd: \xff\r\n\r\nbody";
        let text = text(header, 12_345_678);
        let shown = String::from_utf8_lossy(&text);
        let (head, body) = shown.split_once("\n\n").expect("a header and a body");
        assert_eq!(
            head,
            "X-Mailtwin-Stub: 12345678\nFrom: a@example.org\nSubject: long\n folded\nX-Odd: \u{fffd}\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii"
        );
        assert!(body.contains("has 11.7 MiB") && body.contains("flag this message"), "{body}");
        assert!(begins(&text));
    }

    #[test]
    fn only_the_header_makes_a_stub() {
        assert!(begins(b"Received: x\r\nx-mailtwin-stub: 5\r\n\r\n"));
        assert!(!begins(b"Subject: x\r\n\r\nX-Mailtwin-Stub: 5\r\n"));
        assert!(!begins(b"X-Mailtwin-Stubborn: 5\r\n\r\n"));
    }

    #[test]
    fn an_odd_header_makes_a_sound_stub() {
        for header in [&b""[..], b"\r\n", b"no header at all", b" folded first\r\n", b"a: b", b":\r\n", b"\0: x\r\n"] {
            let text = text(header, 1);
            assert!(begins(&text), "{header:?}");
            assert!(memchr::memmem::find(&text, b"\n\nThis is only").is_some(), "{header:?}");
        }
    }
}
