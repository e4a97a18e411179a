//! What a message looks like apart from its name: the means to recognise it on the other side.
//!
//! Line ends do not count: any run of CRs before an LF belongs to the line end, so that a message keeps its fingerprint
//! however often it is converted, and a missing final line end is taken as there. Neither do the header fields that
//! mail programs write into their own copies.

use serde::{Deserialize, Serialize};

/// A message's fingerprint, equal for the same message whatever its line ends and volatile header fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fingerprint {
    /// First 8 bytes of the BLAKE3 digest of the Message-ID, if the message has one.
    pub message_id: Option<[u8; 8]>,
    /// Octets with CRLF line ends and without the volatile header fields.
    pub size: u64,
    /// First 16 bytes of the BLAKE3 digest of the header without the volatile fields.
    pub header: [u8; 16],
    /// First 16 bytes of the BLAKE3 digest of the body.
    pub body: [u8; 16],
}

/// Computes the fingerprint of a message that is in memory.
pub fn of(message: &[u8]) -> Fingerprint {
    let mut fingerprinter = Fingerprinter::default();
    fingerprinter.update(message);
    fingerprinter.finish()
}

/// Header fields that a program adds to its own copy or changes there.
const VOLATILE: [&str; 7] = ["Content-Length", "Lines", "Status", "X-Status", "X-Keywords", "X-UID", "X-TUID"];
/// Beginnings of such fields.
const VOLATILE_PREFIXES: [&str; 3] = ["X-IMAP", "X-Mozilla-Status", "X-OfflineIMAP"];
/// A field name is kept up to this length; a longer one is none of those that matter here.
const MAX_NAME: usize = 256;
/// Of a Message-ID so much counts.
const MAX_MESSAGE_ID: usize = 1024;
/// Line ends are normalised in pieces of this size.
const PIECE: usize = 16 * 1024;

/// Computes a [`Fingerprint`] while a message passes by, chunk by chunk, in constant memory.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    /// CRs that came and are a line end if an LF follows.
    held_crs: u64,
    /// The last line has bytes and no LF yet.
    open_line: bool,
    piece: Vec<u8>,
    place: Place,
    name: Vec<u8>,
    message_id: Vec<u8>,
    has_message_id: bool,
    size: u64,
    header: blake3::Hasher,
    body: blake3::Hasher,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Place {
    #[default]
    LineStart,
    Name,
    Line,
    Body,
    /// Line start and line of a field that does not count, or whose value is the Message-ID.
    VolatileLineStart,
    VolatileLine,
    IdLineStart,
    IdLine,
}

impl Fingerprinter {
    /// Takes the next bytes of the message, cut anywhere.
    pub fn update(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(PIECE) {
            self.normalise(part);
        }
    }

    /// The fingerprint of all that was taken.
    pub fn finish(mut self) -> Fingerprint {
        if self.open_line || self.held_crs > 0 {
            self.normalise(b"\n");
        }
        let id = self.message_id.trim_ascii_end();
        Fingerprint {
            message_id: (!id.is_empty()).then(|| first(&blake3::hash(id))),
            size: self.size,
            header: first(&self.header.finalize()),
            body: first(&self.body.finalize()),
        }
    }

    /// Turns every line end into a lone LF and passes the text on.
    fn normalise(&mut self, mut bytes: &[u8]) {
        let mut piece = std::mem::take(&mut self.piece);
        while let Some(&first) = bytes.first() {
            if first == b'\r' {
                self.held_crs += 1;
                bytes = &bytes[1..];
                continue;
            }
            if first != b'\n' {
                while self.held_crs > 0 {
                    let count = self.held_crs.min(PIECE as u64);
                    piece.resize(piece.len() + count as usize, b'\r');
                    self.held_crs -= count;
                    if piece.len() >= PIECE {
                        self.take_text(&piece);
                        piece.clear();
                    }
                }
            }
            self.held_crs = 0;
            let end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
            piece.extend_from_slice(&bytes[..end]);
            self.open_line = bytes[end - 1] != b'\n';
            bytes = &bytes[end..];
        }
        self.take_text(&piece);
        piece.clear();
        self.piece = piece;
    }

    /// Takes text whose line ends are LF.
    fn take_text(&mut self, mut text: &[u8]) {
        while let Some(&first) = text.first() {
            let line_end = |text: &[u8]| memchr::memchr(b'\n', text).map_or(text.len(), |lf| lf + 1);
            match self.place {
                Place::Body => {
                    self.size += wire_size(text);
                    self.body.update(text);
                    return;
                }
                Place::LineStart | Place::VolatileLineStart | Place::IdLineStart => match (first, self.place) {
                    (b'\n', _) => {
                        self.size += 2;
                        self.place = Place::Body;
                        text = &text[1..];
                    }
                    (b' ' | b'\t', Place::VolatileLineStart) => self.place = Place::VolatileLine,
                    (b' ' | b'\t', Place::IdLineStart) => self.place = Place::IdLine,
                    (b' ' | b'\t', _) => self.place = Place::Line,
                    _ => {
                        self.name.clear();
                        self.place = Place::Name;
                    }
                },
                Place::Name if matches!(first, b':' | b'\n') || self.name.len() == MAX_NAME => {
                    self.place = if first == b':' { self.judge_name() } else { Place::Line };
                    if self.place != Place::VolatileLine {
                        self.size += self.name.len() as u64;
                        self.header.update(&self.name);
                    }
                    if self.place == Place::IdLine {
                        self.take_line(&text[..1]);
                        text = &text[1..];
                    }
                }
                Place::Name => {
                    self.name.push(first);
                    text = &text[1..];
                }
                Place::VolatileLine => {
                    let (line, rest) = text.split_at(line_end(text));
                    if line.ends_with(b"\n") {
                        self.place = Place::VolatileLineStart;
                    }
                    text = rest;
                }
                Place::IdLine => {
                    let (line, rest) = text.split_at(line_end(text));
                    let room = MAX_MESSAGE_ID - self.message_id.len();
                    let value = line.strip_suffix(b"\n").unwrap_or(line);
                    let value = if self.message_id.is_empty() { value.trim_ascii_start() } else { value };
                    self.message_id.extend_from_slice(&value[..value.len().min(room)]);
                    self.take_line(line);
                    if line.ends_with(b"\n") {
                        self.place = Place::IdLineStart;
                    }
                    text = rest;
                }
                Place::Line => {
                    let (line, rest) = text.split_at(line_end(text));
                    self.take_line(line);
                    if line.ends_with(b"\n") {
                        self.place = Place::LineStart;
                    }
                    text = rest;
                }
            }
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        self.size += wire_size(line);
        self.header.update(line);
    }

    fn judge_name(&mut self) -> Place {
        let name = self.name.trim_ascii_end();
        let begins =
            |prefix: &&str| name.len() >= prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
        if VOLATILE.iter().any(|v| name.eq_ignore_ascii_case(v.as_bytes())) || VOLATILE_PREFIXES.iter().any(begins) {
            Place::VolatileLine
        } else if !self.has_message_id && name.eq_ignore_ascii_case(b"Message-ID") {
            self.has_message_id = true;
            Place::IdLine
        } else {
            Place::Line
        }
    }
}

/// The size of text with LF line ends once they are CRLF.
fn wire_size(text: &[u8]) -> u64 {
    (text.len() + memchr::memchr_iter(b'\n', text).count()) as u64
}

fn first<const N: usize>(digest: &blake3::Hash) -> [u8; N] {
    std::array::from_fn(|i| digest.as_bytes()[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIL: &str = "From: a@b\r\nMessage-ID:\r\n <1@x> \r\nX-TUID: abcdefghijkl\r\nSubject: s\r\n\r\nbody\r\n.\r\n";

    #[test]
    fn line_ends_volatile_fields_and_a_missing_last_line_end_do_not_count() {
        let whole = of(MAIL.as_bytes());
        assert_eq!(of(MAIL.replace("\r\n", "\n").as_bytes()), whole);
        assert_eq!(of(MAIL.replace("\r\n", "\r\r\n").as_bytes()), whole);
        assert_eq!(of(MAIL.strip_suffix("\r\n").unwrap_or(MAIL).as_bytes()), whole);
        assert_eq!(of(MAIL.strip_suffix("\n").unwrap_or(MAIL).as_bytes()), whole);
        let bare = MAIL.replace("X-TUID: abcdefghijkl\r\n", "");
        assert_eq!(of(bare.as_bytes()), whole);
        assert_eq!(whole.size, bare.len() as u64);
        for volatile in [
            "content-length: 5\r\n",
            "Lines : 7\r\n",
            "X-IMAPbase: 1 2\r\n\t3\r\n",
            "X-Mozilla-Status2: 0\r\n",
            "X-OfflineIMAP-1: x\r\n",
            "Status: RO\r\n",
            "X-UID:\r\n",
        ] {
            let added = bare.replace("Subject", &format!("{volatile}Subject"));
            assert_eq!(of(added.as_bytes()), whole, "{volatile:?}");
        }
    }

    #[test]
    fn the_message_id_is_the_first_one_unfolded_and_trimmed() {
        let id = |text: &str| of(text.as_bytes()).message_id;
        let plain = id("Message-ID: <1@x>\n\n");
        assert!(plain.is_some());
        assert_eq!(id(MAIL), plain);
        assert_eq!(id("message-id:<1@x>\t\r\nMessage-ID: <2@x>\n\n"), plain);
        assert_eq!(id("Subject: x\n\nMessage-ID: <1@x>\n"), None);
        assert_eq!(id("Message-ID: \n\nbody"), None);
        assert_ne!(id("Message-ID: <2@x>\n\n"), plain);
        assert_eq!(
            id(&format!("Message-ID: {}\n\n", "x".repeat(1024))),
            id(&format!("Message-ID: {}\n\n", "x".repeat(9000)))
        );
    }

    #[test]
    fn header_and_body_are_told_apart() {
        let whole = of(MAIL.as_bytes());
        let other = of(MAIL.replace("body", "Body").as_bytes());
        assert_eq!((other.header, other.message_id, other.size), (whole.header, whole.message_id, whole.size));
        assert_ne!(other.body, whole.body);
        let header_only = of(MAIL.split_inclusive("\r\n\r\n").next().unwrap_or_default().as_bytes());
        assert_eq!(header_only.header, whole.header);
        // A field in the body is text.
        assert_ne!(of(b"A: b\n\nStatus: RO\n").size, of(b"A: b\n\n").size);
        assert_eq!(of(b"").size, 0);
        assert_eq!(of(b"\n").size, 2);
    }

    const LONG_NAME: &str = "a-field-name-of-fifty-bytes-that-comes-often-in-row";

    /// Text of the pieces that matter, dense enough that every state is entered and cut.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "\n",
            "\n",
            "\n ",
            "\n\n",
            "\r",
            "Message-ID:",
            "<1@x>",
            " ",
            "X-UID: 1",
            "Status",
            ":",
            "X-IMAP-a: b",
            "word",
            "X-TUID:",
            "\t",
            LONG_NAME,
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_and_any_line_end_gives_the_same(text in text(), cuts in prop::collection::vec(1usize..9, 1..40)) {
            let whole = of(text.as_bytes());
            let crlf = text.replace('\n', "\r\n");
            prop_assert_eq!(of(crlf.as_bytes()), whole);
            for text in [&text, &crlf] {
                let mut cut = Fingerprinter::default();
                let (mut rest, mut sizes) = (text.as_bytes(), cuts.iter().cycle());
                while !rest.is_empty() {
                    let size = rest.len().min(*sizes.next().expect("a cycle"));
                    cut.update(&rest[..size]);
                    rest = &rest[size..];
                }
                prop_assert_eq!(cut.finish(), whole);
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(of(&bytes).size <= 2 * bytes.len() as u64 + 2);
        }
    }
}
