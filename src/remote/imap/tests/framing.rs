//! Framing: any cut of the input gives the same responses, and nothing that comes takes more than bounded memory.

use super::*;
use crate::remote::imap::framer::{Event, Framer, Violation};
use bytes::BytesMut;
use proptest::prelude::*;

/// Frames `input` handed over in pieces of the given lengths (repeated), chunks of one body joined.
fn frame(input: &[u8], cuts: &[usize], bodies: Option<u64>) -> Result<Vec<String>, Violation> {
    let mut framer = Framer::new();
    framer.expect_bodies(bodies);
    let (mut buffer, mut rest) = (BytesMut::new(), input);
    let (mut events, mut body) = (Vec::new(), Vec::new());
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at((*cut).clamp(1, rest.len().max(1)).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        while let Some(event) = framer.next(&mut buffer)? {
            match event {
                Event::Response(raw) => events.push(String::from_utf8_lossy(&raw).into_owned()),
                Event::Chunk(chunk) => {
                    body.extend_from_slice(&chunk.bytes);
                    if chunk.end {
                        events.push(format!("body {} {:?}", chunk.literal, std::mem::take(&mut body)));
                    }
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    Ok(events)
}

fn violation(input: impl AsRef<[u8]>) -> Violation {
    frame(input.as_ref(), &[1 << 20], None).expect_err("a violation")
}

const DIALOGUE: &[u8] = b"* OK [CAPABILITY IMAP4rev1] hi {3}\r\n* LIST () \"/\" {3}\r\na\r\n\r\n\
    * 1 FETCH (UID 1 BODY[] {12}\r\n)\r\n* 2 FETCH BODY[HEADER] {4}\r\nhead FLAGS (x))\r\n+ go {9}\r\n\
    * 2 FETCH (BODY[] {0}\r\n)\r\nA1 NO what {5}\r\n* XJUNK \"a\\\"}\" {2}\r\n\0\n\r\n";

#[test]
fn text_for_people_announces_no_literal() {
    let events = frame(DIALOGUE, &[4096], Some(9)).expect("no violation");
    assert_eq!(events.len(), 9, "{events:#?}");
    assert_eq!(events[0], "* OK [CAPABILITY IMAP4rev1] hi {3}\r\n");
    assert_eq!(events[1], "* LIST () \"/\" {3}\r\na\r\n\r\n");
    assert_eq!(events[2], format!("body 0 {:?}", b")\r\n* 2 FETCH"));
}

#[test]
fn hostile_lengths_are_refused() {
    for length in ["-1", "", "+5", " 5", "5 ", "0x5", "99999999999999999999999", "18446744073709551616", "5+", "a"] {
        let line = format!("* 1 FETCH (BODY[] {{{length}}}\r\n");
        assert_eq!(violation(&line), Violation::LiteralLength, "{length}");
    }
    assert_eq!(violation("* LIST () \"/ {5}\r\n"), Violation::LiteralLength);
    for length in [1u64 << 21, u64::MAX] {
        assert_eq!(violation(format!("* LIST () \"/\" {{{length}}}\r\n")), Violation::LiteralTooLong);
    }
    assert_eq!(violation(format!("* 1 FETCH (BODY[] {{{}}}\r\n", u64::MAX)), Violation::LiteralTooLong);
}

#[test]
fn small_literals_add_up() {
    let many = "{65536}\r\n".to_owned() + &"x".repeat(65536) + " ";
    assert_eq!(violation("* LIST ".to_owned() + &many.repeat(17)), Violation::LiteralTooLong);
}

#[test]
fn endless_lines_and_depths_are_refused() {
    assert_eq!(violation("* ".to_owned() + &"x".repeat(70_000)), Violation::EndlessLine);
    assert_eq!(violation("x".repeat(70_000)), Violation::EndlessLine);
    assert_eq!(violation("* 1 FETCH ".to_owned() + &"(".repeat(60) + "\r\n"), Violation::Nesting);
    assert_eq!(violation("* LIST {1}\r\nx (\n"), Violation::BareLineFeed);
    assert_eq!(violation("* OK a\0b\r\n"), Violation::Nul);
}

#[test]
fn a_line_of_numbers_may_be_long_but_not_endless() {
    let numbers = "* VANISHED ".to_owned() + &"1234567,".repeat(100_000) + "1\r\n";
    assert_eq!(frame(numbers.as_bytes(), &[65536], None).expect("no violation").len(), 1);
    assert_eq!(violation("* SEARCH".to_owned() + &" 1234567".repeat(2_200_000)), Violation::EndlessLine);
}

#[test]
fn a_number_of_bodies_that_nobody_asked_for_is_refused() {
    let line = "* 1 FETCH (BODY[] {1}\r\nx)\r\n";
    assert!(frame(line.repeat(2).as_bytes(), &[7], Some(2)).is_ok());
    assert_eq!(frame(line.repeat(3).as_bytes(), &[7], Some(2)), Err(Violation::TooManyBodies));
}

#[tokio::test]
async fn a_session_does_not_care_how_its_octets_are_cut() {
    for size in [1, 2, 3, 7, 64] {
        let (ours, theirs) = duplex(size);
        let script = [
            "S: * OK [CAPABILITY IMAP4rev1 ESEARCH] x",
            "C: A0002 UID SEARCH RETURN (ALL COUNT) ALL",
            "S: * LIST () \"/\" {2}\r\n\r\n",
            "S: * ESEARCH UID ALL 1:3 COUNT 3",
            "S: A0002 OK",
        ];
        let server = serve(theirs, script.iter().map(|line| (*line).to_owned()).collect());
        let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
        assert_eq!(imap.search_all().await.expect("an answer"), uids("1:3"));
        server.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_talks_before_it_listens_does_not_block_us() {
    let (ours, theirs) = duplex(64);
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(theirs);
        let _ = stream.write_all(b"* OK [CAPABILITY IMAP4rev1] x\r\n").await;
        for _ in 0..1000 {
            let _ = stream.write_all(b"* 1 EXISTS\r\n").await;
        }
        let mut said = String::new();
        let _ = stream.read_line(&mut said).await;
        let _ = stream.write_all(b"A0002 OK x\r\n").await;
        said
    });
    let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    let long = name(&"n".repeat(300));
    imap.create(&long).await.expect("created");
    assert!(server.await.expect("a server").starts_with("A0002 CREATE \"nnn"));
}

#[tokio::test]
async fn junk_in_the_place_of_an_answer_is_an_error() {
    for junk in ["* LIST () \"/\" {999999999}\r\n", "\0\0\0\r\n", "* SEARCH 1 2 3\n", "* 1 FETCH ((((\r\n", "garbage"] {
        let (ours, mut theirs) = duplex(1 << 16);
        let text = format!("* OK [CAPABILITY IMAP4rev1] x\r\n{junk}");
        theirs.write_all(text.as_bytes()).await.expect("room");
        theirs.shutdown().await.expect("an end");
        let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
        let error = error(imap.search_all().await);
        assert!(matches!(error, Error::Protocol(_) | Error::Later { .. }), "{junk:?}: {error}");
        assert!(!imap.is_alive());
    }
}

proptest! {
    #[test]
    fn any_cut_of_the_input_gives_the_same_responses(cuts in prop::collection::vec(1usize..40, 1..20)) {
        prop_assert_eq!(frame(DIALOGUE, &cuts, Some(9)), frame(DIALOGUE, &[4096], Some(9)));
    }

    #[test]
    fn any_cut_of_any_input_gives_the_same_responses(
        words in prop::collection::vec(prop::sample::select(vec!["* 1 FETCH (", "BODY[] ", "{3}\r\n", "{99}\r\n", "\r\n",
            "a", "\"", "(", ")", "* OK ", "\0", "\n", "A1 OK x\r\n", "* SEARCH 1", "\\", "{-1}\r\n"]), 0..30),
        cuts in prop::collection::vec(1usize..9, 1..9)) {
        let input = words.concat();
        prop_assert_eq!(frame(input.as_bytes(), &cuts, Some(3)), frame(input.as_bytes(), &[4096], Some(3)));
    }
}
