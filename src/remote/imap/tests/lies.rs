//! Whatever goes wrong is an error, in every operation: nothing is ever "empty" by accident.

use super::*;
use crate::mail::{FlagChange, Flags, ModSeq};

/// Every operation, by a number; the result says only whether it failed, and how.
async fn operate(number: usize, imap: &mut Imap) -> Option<Result<(), Error>> {
    let change = FlagChange { add: Flags::parse("\\Seen"), remove: Flags::new() };
    let one = uids("1");
    let (sink, _kept) = tokio::sync::mpsc::channel(4);
    let (_, body) = tokio::sync::mpsc::channel(1);
    let (mailbox, flags) = (MailboxName::inbox(), Flags::new());
    let upload = Upload { mailbox, joins: false, flags, internal_date: None, size: 0, body };
    Some(match number {
        0 => imap.list().await.map(drop),
        1 => imap.status(&[MailboxName::inbox()]).await.map(drop),
        2 => imap.select(&MailboxName::inbox(), Access::ReadWrite, None).await.map(drop),
        3 => imap.list_flags(&one, true).await.map(drop),
        4 => imap.changed_since(ModSeq::new(1).expect("not zero")).await.map(drop),
        5 => imap.search_all().await.map(drop),
        6 => imap.search(&one).await.map(drop),
        7 => imap.search_deleted().await.map(drop),
        8 => imap.fetch_bodies(&one, sink).await.map(drop),
        9 => imap.fetch_headers(&one).await.map(drop),
        10 => imap.fetch_fingerprint_headers(&one, false).await.map(drop),
        11 => uploading::append(imap, vec![upload]).await.map(drop),
        12 => imap.store(&one, &change).await.map(drop),
        13 => imap.move_to(&one, &MailboxName::inbox()).await.map(drop),
        14 => imap.copy_to(&one, &MailboxName::inbox()).await.map(drop),
        15 => imap.remove(&one).await.map(drop),
        16 => imap.expunge_all().await,
        17 => imap.create(&MailboxName::inbox()).await,
        18 => imap.subscribe(&MailboxName::inbox()).await,
        19 => imap.noop().await,
        20 => imap.id().await.map(drop),
        21 => imap.prepare().await.map(drop),
        _ => return None,
    })
}

/// A server that greets and then sends `answer` as soon as a command came.
async fn answered(capabilities: &str, answer: &'static str) -> Imap {
    let (ours, theirs) = duplex(1 << 16);
    let greeting = format!("* OK [CAPABILITY {capabilities}] ready\r\n");
    tokio::spawn(async move {
        let mut stream = BufReader::new(theirs);
        let _ = stream.write_all(greeting.as_bytes()).await;
        let _ = stream.read_line(&mut String::new()).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    });
    Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting")
}

#[tokio::test]
async fn the_end_of_the_connection_is_an_error_in_every_operation() {
    for capabilities in [FULL, PLAIN] {
        for answer in ["", "* SEARCH 1\r\n", "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n", "* LIST () \"/\" INBOX\r\n"] {
            for number in 0.. {
                let mut imap = answered(capabilities, answer).await;
                let Some(result) = operate(number, &mut imap).await else { break };
                assert!(matches!(result, Err(Error::Later { .. })), "{number} {answer:?}: {result:?}");
                assert!(!imap.is_alive(), "{number}");
            }
        }
    }
}

#[tokio::test]
async fn a_goodbye_is_an_error_in_every_operation() {
    for number in 0..21 {
        let mut imap = answered(FULL, "* BYE \x1b[2J shutting down\r\n").await;
        let result = operate(number, &mut imap).await.expect("an operation");
        let Err(error @ Error::Later { .. }) = result else { panic!("{number}: {result:?}") };
        assert!(error.to_string().contains(r"\x1b[2J shutting down"), "{error}");
    }
}

#[tokio::test]
async fn no_and_bad_are_errors_of_their_command_and_the_session_lives() {
    for status in ["NO [SERVERBUG] not now", "BAD what"] {
        // APPEND, LIST, STATUS and prepare treat a refusal in their own way, and to remove takes several commands.
        for number in [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20] {
            let answer: &'static str = Box::leak(format!("A0002 {status}\r\n").into_boxed_str());
            let mut imap = answered(FULL, answer).await;
            let result = operate(number, &mut imap).await.expect("an operation");
            assert!(matches!(result, Err(Error::Refused { .. })), "{number}: {result:?}");
            assert!(imap.is_alive());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_later() {
    let text = "A0002 NO Request is throttled. Suggested Backoff Time: 5000 milliseconds\r\n";
    let mut imap = answered(FULL, text).await;
    let Error::Later { hint, .. } = error(imap.noop().await) else { panic!("not later") };
    assert_eq!(hint, Some(Duration::from_secs(5)));
    let mut imap = answered(FULL, "A0002 NO [UNAVAILABLE] x\r\n").await;
    assert!(matches!(error(imap.noop().await), Error::Later { hint: None, .. }));
    assert!(imap.is_alive());
}

#[tokio::test]
async fn an_untagged_no_is_a_warning_and_no_failure() {
    let script = [
        "C: A0002 SELECT \"INBOX\"",
        "S: * NO [ALERT] disk is 98% full",
        "S: * OK [ALERT] maintenance tonight",
        "S: * 3 EXISTS",
        "S: * OK [UIDVALIDITY 9] x",
        "S: A0002 OK [READ-ONLY]é",
    ];
    let (mut imap, server) = session(PLAIN, &script).await;
    let selected = imap.select(&MailboxName::inbox(), Access::ReadWrite, None).await.expect("selected");
    assert_eq!((selected.exists, selected.read_only, selected.uid_next), (3, true, None));
    assert_eq!(imap.take_warnings(), ["[ALERT] disk is 98% full", "[ALERT] maintenance tonight"]);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (mut imap, _server) = session(PLAIN, &["HOLD"]).await;
    let error = error(imap.noop().await);
    assert_eq!(error.to_string(), "the server was silent for 20 s");
    assert!(!imap.is_alive());
}

#[tokio::test]
async fn unknown_responses_are_skipped_and_do_not_end_the_session() {
    let script = [
        "C: A0002 NOOP",
        "S: * XFOO unknown \"half",
        "S: * 7 XBAR",
        "S: *",
        "S: * STATUS (",
        "S: * FLAGS (\\Answered)",
        "S: A0002 OK done",
        "C: A0003 NOOP",
        "S: A0003 OK",
    ];
    let (mut imap, server) = session(PLAIN, &script).await;
    imap.noop().await.expect("the first");
    imap.noop().await.expect("the second");
    server.finish().await;
}

#[tokio::test]
async fn endless_junk_ends_the_session() {
    let (ours, mut theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let _ = theirs.write_all(b"* OK [CAPABILITY IMAP4rev1] x\r\n").await;
        while theirs.write_all(b"* XJUNK\r\n").await.is_ok() {}
    });
    let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    assert!(is_protocol(&error(imap.noop().await)));
}

#[tokio::test]
async fn an_answer_to_a_command_that_was_never_sent_ends_the_session() {
    for line in ["A0009 OK x\r\n", "A0001 OK x\r\n", "+ go on\r\n", "A0002 MAYBE\r\n", "A\u{e9} OK\r\n", "\r\n"] {
        let mut imap = answered(PLAIN, Box::leak(line.to_owned().into_boxed_str())).await;
        assert!(is_protocol(&error(imap.noop().await)), "{line:?}");
        assert!(matches!(error(imap.noop().await), Error::Later { .. }), "the connection is not used again");
    }
}
