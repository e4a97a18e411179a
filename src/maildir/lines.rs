//! Line ends: LF on the disk, CRLF on the wire; converted in a stream that may be cut anywhere.

/// Turns CRLF into LF. A CR that stands before no LF is kept.
#[derive(Debug, Default)]
pub struct ToLf {
    held_cr: bool,
}

impl ToLf {
    /// Converts the next bytes and appends them to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.held_cr) && first != b'\n' {
                out.push(b'\r');
            }
            let end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
            out.extend_from_slice(&bytes[..end]);
            self.held_cr = end < bytes.len();
            bytes = bytes.get(end + 1..).unwrap_or_default();
        }
    }

    /// Appends what was held back at the end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

/// Turns a bare LF into CRLF and gives a last line its line end. A CRLF is left as it is.
#[derive(Debug, Default)]
pub struct ToCrlf {
    last: Option<u8>,
}

impl ToCrlf {
    /// Converts the next bytes and appends them to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut begin = 0;
        for lf in memchr::memchr_iter(b'\n', bytes) {
            let before = if lf == 0 { self.last } else { Some(bytes[lf - 1]) };
            if before != Some(b'\r') {
                out.extend_from_slice(&bytes[begin..lf]);
                out.push(b'\r');
                begin = lf;
            }
        }
        out.extend_from_slice(&bytes[begin..]);
        self.last = bytes.last().copied().or(self.last);
    }

    /// Appends the line end that the last line lacks.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.last.replace(b'\n') {
            None | Some(b'\n') => {}
            Some(b'\r') => out.push(b'\n'),
            Some(_) => out.extend_from_slice(b"\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to_lf(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut out) = (ToLf::default(), Vec::new());
        chunks.iter().for_each(|c| lines.push(c, &mut out));
        lines.finish(&mut out);
        out
    }

    fn to_crlf(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut out) = (ToCrlf::default(), Vec::new());
        chunks.iter().for_each(|c| lines.push(c, &mut out));
        lines.finish(&mut out);
        out
    }

    #[test]
    fn only_line_ends_change() {
        assert_eq!(to_lf(&[b"a\r\nb\rc\r\r\nd\r"]), b"a\nb\rc\r\nd\r");
        assert_eq!(to_crlf(&[b"a\nb\r\nc\rd"]), b"a\r\nb\r\nc\rd\r\n");
        assert_eq!(to_crlf(&[b"a\r"]), b"a\r\n");
        assert_eq!(to_crlf(&[b""]), b"");
    }

    proptest! {
        #[test]
        fn a_cut_changes_nothing(text in "[a\r\n]{0,24}", cut in 0usize..24) {
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(to_lf(&[a, b]), to_lf(&[text.as_bytes()]));
            prop_assert_eq!(to_crlf(&[a, b]), to_crlf(&[text.as_bytes()]));
            prop_assert_eq!(to_lf(&[text.as_bytes()]), text.replace("\r\n", "\n").into_bytes());
        }

        #[test]
        fn there_and_back_is_the_same(text in "[ab\r]{0,9}(\n[ab]{0,9}){0,5}\n") {
            let text = text.replace('\r', "");
            let wire = to_crlf(&[text.as_bytes()]);
            prop_assert_eq!(to_lf(&[&wire]), text.into_bytes());
            prop_assert_eq!(to_crlf(&[&wire]), wire);
        }
    }
}
