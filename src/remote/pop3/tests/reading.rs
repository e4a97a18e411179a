//! Messages on their way: whole or not at all, and each under its own number.

use super::*;
use crate::remote::pop3::connection::MAX_IN_FLIGHT;

fn whole(fetched: &Fetched) -> Vec<(u64, String)> {
    let text = |(number, (body, _)): (&u64, &(Vec<u8>, bool))| (*number, String::from_utf8_lossy(body).into_owned());
    fetched.bodies.iter().filter(|(_, (_, whole))| *whole).map(text).collect()
}

#[tokio::test]
async fn messages_are_fetched_in_one_flight_and_proven_at_its_end() {
    let script = [
        "C: RETR 1",
        "C: RETR 2",
        "C: UIDL 2",
        "S: +OK 6 octets",
        "S: ..one",
        "S: .",
        "S: +OK",
        "S: .",
        "S: +OK 2 b",
        "END",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
    assert_eq!(fetched.result.as_ref().expect("fetched").len(), 0);
    assert_eq!(whole(&fetched), [(1, ".one\r\n".into()), (2, String::new())]);
    assert_eq!(fetched.landed, [(1, 6), (2, 0)]);
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn without_pipelining_each_answer_is_waited_for() {
    let script =
        ["C: RETR 1", "S: +OK", "S: one", "S: .", "C: RETR 2", "S: +OK", "S: two", "S: .", "C: UIDL 2", "S: +OK 2 b"];
    let (mut transaction, server) = session(PLAIN, &script).await;
    let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
    assert_eq!(fetched.landed, [(1, 5), (2, 5)]);
    server.finish().await;
}

#[tokio::test]
async fn a_message_that_is_refused_does_not_stop_the_others() {
    // The last one is refused, so that another proves the count.
    let script = [
        "C: RETR 1",
        "C: RETR 2",
        "C: UIDL 2",
        "S: +OK",
        "S: one",
        "S: .",
        "S: -ERR [SYS/TEMP] gone",
        "S: -ERR gone",
        "C: UIDL 1",
        "S: +OK 1 a",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
    let refusals = fetched.result.expect("fetched");
    assert!(refusals[&number(2)].has_code("SYS/TEMP") && refusals.len() == 1);
    assert_eq!(fetched.landed, [(1, 5)]);
    server.finish().await;
}

#[tokio::test]
async fn a_mail_that_holds_replies_forges_none() {
    // As a server sends it that stuffs no dot behind a bare LF: the end is not where it pretends to be.
    let forged = "RAW: +OK\r\nSubject: x\r\n\r\nhi\n.\n+OK 9 octets\nforged\n.\n\r.\r\n+OK\r\n.\0\r\n.\r\n";
    for capabilities in [FULL, PLAIN] {
        let script: &[&str] = match capabilities {
            FULL => &["C: RETR 1", "C: RETR 2", "C: UIDL 2", forged, "S: +OK", "S: two", "S: .", "S: +OK 2 b"],
            _ => &["C: RETR 1", forged, "C: RETR 2", "S: +OK", "S: two", "S: .", "C: UIDL 2", "S: +OK 2 b"],
        };
        let (mut transaction, server) = session(capabilities, script).await;
        let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
        let bodies = whole(&fetched);
        assert_eq!(bodies[0].1, "Subject: x\r\n\r\nhi\n.\n+OK 9 octets\nforged\n.\n\r.\r\n+OK\r\n\0\r\n");
        assert_eq!(bodies[1].1, "two\r\n");
        assert_eq!(fetched.landed.len(), 2);
        server.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_lets_a_mail_end_early_is_believed_nothing() {
    // The dot of the mail is not stuffed at all, and what follows reads as the reply to the next command. Every reply
    // is moved by one, which the proof finds out before anything is told, and there is no QUIT.
    let smuggled = "RAW: +OK\r\nhi\r\n.\r\n+OK\r\nforged\r\n.\r\n";
    let script = [
        "C: RETR 1",
        "C: RETR 2",
        "C: RETR 3",
        "C: UIDL 3",
        smuggled,
        "S: +OK",
        "S: two",
        "S: .",
        "S: +OK",
        "S: three",
        "S: .",
        "S: +OK 3 c",
        "END",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &[message(1), message(2), message(3)]).await;
    assert!(is_protocol(&error(fetched.result)));
    assert_eq!(fetched.landed, []);
    assert!(!transaction.is_alive());
    assert!(matches!(error(transaction.quit().await), Error::Later { .. }));
    server.finish().await;
    // What follows does not even look like a reply.
    let script = ["C: RETR 1", "C: RETR 2", "C: UIDL 2", "RAW: +OK\r\nhi\r\n.\r\nmore\r\n.\r\n", "END"];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
    assert_eq!(error(fetched.result).to_string(), "the server broke the protocol: \"more\" is no reply");
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn a_mail_that_holds_the_proof_as_well_is_found_out_by_the_next() {
    let messages: Vec<Message> = (1..=17).map(|n| message_of(n, 10)).collect();
    let mut script: Vec<String> = (1..=16).map(|n| format!("C: RETR {n}")).collect();
    script.extend(["C: UIDL 16", "C: RETR 17", "C: UIDL 17"].map(str::to_owned));
    script.extend(vec!["S: +OK\r\nhi\r\n.".to_owned(); 15]);
    script.push("RAW: +OK\r\n.\r\n+OK 16 x\r\n+OK\r\nforged\r\n.\r\n".to_owned());
    script.extend(["S: +OK 16 x", "S: +OK\r\nhi\r\n.", "S: +OK 17 x", "END"].map(str::to_owned));
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &messages).await;
    assert!(is_protocol(&error(fetched.result)));
    assert_eq!(fetched.landed, []);
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn a_proof_is_about_the_message_and_its_unique_id() {
    for answer in ["S: +OK 1 b", "S: +OK 1", "S: +OK", "S: +OK 2 a", "S: -ERR", "S: +OK 10 octets"] {
        let (mut transaction, server) =
            session(FULL, &["C: RETR 1", "C: UIDL 1", "S: +OK", "S: one", "S: .", answer, "END"]).await;
        let fetched = fetch(&mut transaction, &[message(1)]).await;
        assert!(is_protocol(&error(fetched.result)), "{answer}");
        assert_eq!(fetched.landed, []);
        drop(transaction);
        server.finish().await;
    }
    // Without unique-ids the size has to do.
    let unnamed = Message { uidl: None, ..message(1) };
    for (answer, proves) in [("S: +OK 1 10", true), ("S: +OK 1 11", false)] {
        let script = ["C: RETR 1", "C: LIST 1", "S: +OK", "S: one", "S: .", answer, "END"];
        let (mut transaction, server) = session(FULL, &script).await;
        let fetched = fetch(&mut transaction, std::slice::from_ref(&unnamed)).await;
        assert_eq!(fetched.result.is_ok(), proves, "{answer}");
        drop(transaction);
        server.finish().await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_lands_nothing_that_was_not_proven() {
    let wire = b"+OK\r\n..a\r\n.\r\n+OK\r\nb\r\n.\r\n+OK 2 b\r\n";
    for cut in 0..wire.len() {
        let raw = [b"RAW: ", &wire[..cut]].concat();
        let script: [&[u8]; 4] = [b"C: RETR 1", b"C: RETR 2", b"C: UIDL 2", &raw];
        let (mut transaction, server) = session_on(1 << 16, FULL, &script).await;
        let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
        assert!(matches!(error(fetched.result), Error::Later { .. }), "cut at {cut}");
        assert_eq!(fetched.landed, [], "cut at {cut}");
        assert_eq!(fetched.bodies.get(&1).is_some_and(|(_, whole)| *whole), cut >= 13, "cut at {cut}");
        server.finish().await;
    }
}

#[tokio::test]
async fn octets_behind_the_last_reply_end_the_session() {
    let script = ["C: RETR 1", "C: UIDL 1", "RAW: +OK\r\none\r\n.\r\n+OK 1 a\r\n+OK\r\n", "END"];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &[message(1)]).await;
    assert_eq!(
        error(fetched.result).to_string(),
        "the server broke the protocol: the server says what was not asked for"
    );
    assert_eq!(fetched.landed, []);
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_window_allows() {
    let messages: Vec<Message> = (1..=320).map(|n| Message { uidl: Some(uidl("x")), ..message_of(n, 10) }).collect();
    let (ours, theirs) = duplex(1 << 16);
    let mut lines = login_script(FULL);
    // The server answers nothing before it has seen the whole window.
    let commands = |messages: &[Message]| {
        let mut commands = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            commands.push(format!("RETR {}", message.number));
            if (place + 1) % 16 == 0 || place + 1 == messages.len() {
                commands.push(format!("UIDL {}", message.number));
            }
        }
        commands
    };
    let commands = commands(&messages);
    lines.extend(commands[..MAX_IN_FLIGHT].iter().map(|command| format!("C: {command}").into_bytes()));
    for (place, command) in commands.iter().enumerate() {
        if let Some(next) = commands.get(MAX_IN_FLIGHT + place) {
            // And one more for each answer, one by one.
            let answer = answer_to(command);
            lines.extend([answer, format!("C: {next}").into_bytes()]);
        } else {
            lines.push(answer_to(command));
        }
    }
    lines.push(b"END".to_vec());
    let server = serve(theirs, lines);
    let greeted = Authorization::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    let mut transaction = greeted.login("u", "p").await.expect("a login");
    let fetched = fetch(&mut transaction, &messages).await;
    fetched.result.expect("fetched");
    assert_eq!(fetched.landed.len(), 320);
    drop(transaction);
    server.finish().await;
}

fn message_of(n: u32, size: u64) -> Message {
    Message { number: number(n), size: Some(size), uidl: Some(uidl("x")), shared: false }
}

fn answer_to(command: &str) -> Vec<u8> {
    match command.split_once(' ') {
        Some(("UIDL", number)) => format!("S: +OK {number} x").into_bytes(),
        _ => b"S: +OK\r\nhi\r\n.".to_vec(),
    }
}

#[tokio::test]
async fn large_messages_wait_for_one_another() {
    let messages = [message_of(1, 5 << 20), message_of(2, 5 << 20)];
    let script = [
        "C: RETR 1",
        "C: UIDL 1",
        "S: +OK",
        "S: one",
        "S: .",
        "C: RETR 2",
        "C: UIDL 2",
        "S: +OK 1 x",
        "S: +OK",
        "S: two",
        "S: .",
        "S: +OK 2 x",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    let fetched = fetch(&mut transaction, &messages).await;
    assert_eq!(fetched.landed, [(1, 5), (2, 5)]);
    server.finish().await;
    // One that is announced as larger than any window goes alone, and may lie as it likes.
    let (mut transaction, server) =
        session(FULL, &["C: RETR 1", "S: +OK", "S: one", "S: .", "C: UIDL 1", "S: +OK 1 x"]).await;
    fetch(&mut transaction, &[message_of(1, u64::MAX)]).await.result.expect("fetched");
    server.finish().await;
}

#[tokio::test]
async fn a_session_does_not_care_how_its_octets_are_cut() {
    let body = b"RAW: +OK\r\n..\r\n.x\r\n\r\n...\r\n.\r\n+OK\r\n.\r\n+OK 2 b\r\n";
    for size in [1, 2, 3, 5, 7, 64] {
        let script: [&[u8]; 4] = [b"C: RETR 1", b"C: RETR 2", b"C: UIDL 2", body];
        let (mut transaction, server) = session_on(size, FULL, &script).await;
        let fetched = fetch(&mut transaction, &[message(1), message(2)]).await;
        fetched.result.as_ref().expect("fetched");
        assert_eq!(whole(&fetched), [(1, ".\r\nx\r\n\r\n..\r\n".into()), (2, String::new())], "{size} at once");
        server.finish().await;
    }
}

#[tokio::test]
async fn nobody_who_takes_the_bodies_ends_the_session() {
    let (mut transaction, server) = session(FULL, &["C: RETR 1", "C: UIDL 1", "S: +OK", "S: one", "S: .", "END"]).await;
    let (sink, chunks) = mpsc::channel(1);
    drop(chunks);
    let failed = error(transaction.fetch(&[message(1)], &sink, &mpsc::unbounded_channel().0).await);
    assert!(matches!(failed, Error::Later { .. }), "{failed}");
    assert!(!transaction.is_alive());
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn headers_are_kept_within_bounds() {
    let long = format!("S: {}", "x".repeat((1 << 20) + 1));
    let script = [
        "C: TOP 1 0",
        "C: TOP 2 0",
        "C: TOP 3 0",
        "S: +OK",
        "S: Subject: x",
        "S: ",
        "S: .",
        "S: -ERR no",
        "S: +OK",
        &long,
        "S: .",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    let tops = transaction.top(&[message(1), message(2), message(3)], 0).await.expect("told");
    assert_eq!(tops[&number(1)], Top::Text(b"Subject: x\r\n\r\n".to_vec()));
    assert!(matches!(&tops[&number(2)], Top::Refused(refusal) if refusal.text == "no"));
    assert_eq!(tops[&number(3)], Top::TooLong);
    server.finish().await;
}

#[tokio::test]
async fn a_message_is_asked_for_its_name() {
    let script = ["C: UIDL 1", "C: UIDL 2", "C: UIDL 3", "S: +OK 1 a", "S: -ERR gone", "S: +OK 3 "];
    let (mut transaction, server) = session(FULL, &script).await;
    let told = transaction.identify(&[number(1), number(2), number(3)]).await.expect("told");
    assert_eq!(told.into_values().collect::<Vec<_>>(), [Some(uidl("a")), None, None]);
    server.finish().await;
    let (mut transaction, _server) = session(FULL, &["C: UIDL 1", "S: +OK 2 b", "END"]).await;
    assert!(is_protocol(&error(transaction.identify(&[number(1)]).await)));
}

#[tokio::test]
async fn a_noop_keeps_the_session_and_a_quit_ends_it() {
    let (mut transaction, server) = session(FULL, &["C: NOOP", "S: +OK", "C: QUIT", "S: +OK bye"]).await;
    transaction.noop().await.expect("a noop");
    transaction.quit().await.expect("a goodbye");
    server.finish().await;
    let (mut transaction, _server) = session(FULL, &["C: NOOP", "S: -ERR [SYS/TEMP] idle for too long"]).await;
    assert!(matches!(error(transaction.noop().await), Error::Later { .. }));
}
