//! Framing: any cut of the input gives the same, a message ends where it ends, and nothing takes more than bounded memory.

use crate::remote::pop3::framer::{Framer, Item, MAX_LINE, Violation};
use bytes::BytesMut;
use proptest::prelude::*;

/// Reads one message from octets handed over in pieces of the given lengths (repeated); what is left behind it too.
fn body(wire: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut framer, mut input, mut out) = (Framer::default(), BytesMut::new(), Vec::new());
    let mut rest = wire;
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        input.extend_from_slice(piece);
        rest = after;
        while let Some(piece) = framer.body(&mut input) {
            out.extend_from_slice(&piece.bytes);
            if piece.end {
                return Some((out, [&input, rest].concat()));
            }
        }
        assert!(input.len() <= 2, "what is decided passes by");
        if rest.is_empty() {
            return None;
        }
    }
    None
}

/// The same by the words of RFC 1939, on the whole.
fn plainly(wire: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut out, mut rest) = (Vec::new(), wire);
    loop {
        if let Some(behind) = rest.strip_prefix(b".\r\n") {
            return Some((out, behind.to_vec()));
        }
        let line = rest.strip_prefix(b".").unwrap_or(rest);
        let end = line.windows(2).position(|two| two == b"\r\n")? + 2;
        out.extend_from_slice(&line[..end]);
        rest = &line[end..];
    }
}

/// A message as a server sends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let (mut wire, mut fresh) = (Vec::new(), true);
    for (at, octet) in message.iter().enumerate() {
        if fresh && *octet == b'.' {
            wire.push(b'.');
        }
        wire.push(*octet);
        fresh = message[..=at].ends_with(b"\r\n");
    }
    if !fresh {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

#[test]
fn a_message_ends_with_crlf_dot_crlf_and_with_nothing_else() {
    for within in [
        &b"a\n.\nb"[..],
        b"a\n.\r\nb",
        b"a\r\n.\nb",
        b"a\r.\r\nb",
        b"a\r\n.\rb",
        b"a\r\n.\r\rb",
        b"a\0.\r\nb",
        b"a\r\n.\0b",
        b"a\r\n. \r\nb",
        b"a\r\n.\0\r\nb",
        b"a\n\n.\r\n+OK 5 octets\r\nb",
    ] {
        let wire = [within, b"\r\n.\r\n+OK"].concat();
        for cut in 1..8 {
            let (message, behind) = body(&wire, &[cut]).expect("an end");
            assert_eq!(behind, b"+OK", "{within:?}");
            assert!(message.ends_with(b"b\r\n"), "{within:?}");
        }
    }
    assert_eq!(body(b".\r\nrest", &[1]), Some((Vec::new(), b"rest".to_vec())));
    assert_eq!(body(b"\r\n.\r\n", &[1]), Some((b"\r\n".to_vec(), Vec::new())));
    assert_eq!(body(b"x.\r\n", &[1]), None);
}

#[test]
fn the_dot_in_front_is_taken_off_and_no_other_octet() {
    let wire = b"..\r\n...\r\n.a\r\n.\rb\r\n.\r\r\nx.y\r\nc\rd\ne\0\xff\r\n.\r\n";
    let message = b".\r\n..\r\na\r\n\rb\r\n\r\r\nx.y\r\nc\rd\ne\0\xff\r\n";
    for cut in 1..wire.len() {
        assert_eq!(body(wire, &[cut]), Some((message.to_vec(), Vec::new())), "cut at {cut}");
    }
}

#[test]
fn a_line_has_an_end_and_a_cr_before_it() {
    let line = |text: &[u8]| Framer::default().line(&mut BytesMut::from(text));
    assert_eq!(line(b"+OK\r\n+OK"), Ok(Some(BytesMut::from("+OK"))));
    assert_eq!(line(b"+OK"), Ok(None));
    assert_eq!(line(b"+OK\n"), Err(Violation::BareLineFeed));
    assert_eq!(line(&[b'x'; MAX_LINE + 1]), Err(Violation::EndlessLine));
    assert_eq!(line(&[&[b'x'; MAX_LINE][..], b"\r\n"].concat()), Err(Violation::EndlessLine));
    let mut input = BytesMut::from("1 a\r\n..\r\n.\r\n");
    let mut framer = Framer::default();
    let items: Vec<_> = std::iter::from_fn(|| framer.item(&mut input).expect("framed")).collect();
    assert_eq!(items, [Item::Line(BytesMut::from("1 a")), Item::Line(BytesMut::from(".")), Item::End]);
}

#[test]
fn a_line_of_any_length_passes_by() {
    let message = [&vec![b'x'; 10 << 20][..], b"\r\n"].concat();
    let (read, _) = body(&stuffed(&message), &[65_536]).expect("an end");
    assert!(read == message);
}

proptest! {
    #[test]
    fn a_cut_changes_nothing(
        parts in prop::collection::vec(
            prop::sample::select(vec!["\r\n.", "\r\n", "\r", "\n", ".", "a", "\0", ".\r\n", "\r\n.\r\n", "+OK\r\n"]), 0..24),
        cuts in prop::collection::vec(1usize..6, 1..6),
    ) {
        let wire = parts.concat().into_bytes();
        prop_assert_eq!(body(&wire, &cuts), plainly(&wire));
        prop_assert_eq!(body(&wire, &[1 << 20]), plainly(&wire));
    }

    #[test]
    fn a_message_arrives_as_it_was_sent(text in "[.a\r\n\0]{0,30}", cuts in prop::collection::vec(1usize..6, 1..6)) {
        let end = if text.is_empty() || text.ends_with("\r\n") { "" } else { "\r\n" };
        let wire = stuffed(text.as_bytes());
        prop_assert_eq!(body(&wire, &cuts), Some((format!("{text}{end}").into_bytes(), Vec::new())));
    }

    #[test]
    fn a_line_does_not_care_how_it_is_cut(lines in "([ab. ]{0,6}\r\n){0,4}", cut in 1usize..9) {
        let (mut framer, mut input, mut read) = (Framer::default(), BytesMut::new(), Vec::new());
        for piece in lines.as_bytes().chunks(cut) {
            input.extend_from_slice(piece);
            while let Some(line) = framer.line(&mut input).expect("framed") {
                read.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        prop_assert_eq!(read, lines.lines().collect::<Vec<_>>());
    }
}
