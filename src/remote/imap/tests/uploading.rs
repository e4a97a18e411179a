//! Uploads.

use super::*;
use crate::mail::Flags;
use crate::remote::error::Refusal;
use bytes::Bytes;
use tokio::sync::mpsc;

/// A message that comes in two pieces.
fn upload(text: &str) -> Upload {
    let (sink, body) = mpsc::channel(4);
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    for piece in [first, second] {
        sink.try_send(Bytes::copy_from_slice(piece)).expect("room for two pieces");
    }
    let (mailbox, flags) = (MailboxName::inbox(), Flags::parse("\\Seen"));
    Upload { mailbox, joins: true, flags, internal_date: Some(0), size: text.len() as u64, body }
}

/// Uploads all that is there.
pub(super) async fn append(imap: &mut Imap, uploads: Vec<Upload>) -> Result<Vec<Appended>, Error> {
    let (sink, queue) = mpsc::channel(uploads.len().max(1));
    uploads.into_iter().for_each(|upload| sink.try_send(upload).expect("room for all"));
    drop(sink);
    imap.append(queue, &mut |_, _| {}).await
}

const DATE: &str = "\"01-Jan-1970 00:00:00 +0000\"";

fn head(tag: &str, literal: &str) -> String {
    format!("C: {tag} APPEND \"INBOX\" (\\Seen) {DATE} {literal}")
}

#[tokio::test]
async fn messages_together_get_their_uids_in_order() {
    // The first message has no line end: what follows it stands on its line.
    let second = format!("C: one (\\Seen) {DATE} {{4+}}");
    let lines = [&head("A0002", "{3+}"), &second, "C: four", "S: A0002 OK [APPENDUID 7 10:9] done"];
    let (mut imap, server) = session(FULL, &lines).await;
    let results = append(&mut imap, vec![upload("one"), upload("four")]).await.expect("uploaded");
    server.finish().await;
    assert_eq!(results, [Appended::Uid(epoch(7), uid(10)), Appended::Uid(epoch(7), uid(9))]);
}

#[tokio::test]
async fn an_appenduid_that_does_not_fit_is_unknown() {
    let second = format!("C: one (\\Seen) {DATE} {{3+}}");
    for done in [
        "S: A0002 OK",
        "S: A0002 OK [APPENDUID 7 9] x",
        "S: A0002 OK [APPENDUID 0 9:10] x",
        "S: A0002 OK [APPENDUID 7 1:4294967295] x",
    ] {
        let (mut imap, _server) = session(FULL, &[&head("A0002", "{3+}"), &second, "C: two", done]).await;
        let results = append(&mut imap, vec![upload("one"), upload("two")]).await.expect("uploaded");
        assert_eq!(results, [Appended::Unknown, Appended::Unknown], "{done}");
    }
}

#[tokio::test]
async fn a_refusal_of_messages_together_refuses_all_of_them() {
    let second = format!("C: one (\\Seen) {DATE} {{3+}}");
    let done = "S: A0002 NO [OVERQUOTA] full";
    let (mut imap, server) = session(FULL, &[&head("A0002", "{3+}"), &second, "C: two", done]).await;
    let results = append(&mut imap, vec![upload("one"), upload("two")]).await.expect("an answer");
    server.finish().await;
    let refusal = Refusal { bad: false, code: Some("OVERQUOTA".into()), text: "full".into() };
    assert_eq!(results, [Appended::Refused(refusal.clone()), Appended::Refused(refusal)]);
    assert!(imap.is_alive());
}

#[tokio::test]
async fn without_multiappend_each_message_has_its_own_command_and_answer() {
    let lines = [
        &head("A0002", "{3+}"),
        "C: one",
        &head("A0003", "{3+}"),
        "C: two",
        &head("A0004", "{3+}"),
        "C: six",
        "S: A0002 OK [APPENDUID 7 5] x",
        "S: A0003 NO [TOOBIG] x",
        "S: * 9 EXISTS",
        "S: A0004 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1 LITERAL+ UIDPLUS", &lines).await;
    let uploads = ["one", "two", "six"].map(upload).into_iter().collect();
    let results = append(&mut imap, uploads).await.expect("answers");
    server.finish().await;
    let [Appended::Uid(_, first), Appended::Refused(refusal), Appended::Unknown] = results.as_slice() else {
        panic!("{results:?}")
    };
    assert_eq!((*first, refusal.has_code("TOOBIG")), (uid(5), true));
    assert_eq!(imap.take_news().exists, Some(9));
}

#[tokio::test]
async fn without_literal_plus_the_server_is_waited_for() {
    let lines = [
        &head("A0002", "{3}"),
        "S: * 5 EXISTS",
        "S: + go on",
        "C: one",
        &head("A0003", "{3}"),
        "S: A0002 OK [APPENDUID 7 5] x",
        "S: A0003 NO [TRYCREATE] x",
        &head("A0004", "{3}"),
        "S: + ok",
        "C: six",
        "S: A0004 OK [APPENDUID 7 6] x",
    ];
    let (mut imap, server) = session(PLAIN, &lines).await;
    let uploads = ["one", "two", "six"].map(upload).into_iter().collect();
    let results = append(&mut imap, uploads).await.expect("answers");
    server.finish().await;
    assert_eq!((&results[0], &results[2]), (&Appended::Uid(epoch(7), uid(5)), &Appended::Uid(epoch(7), uid(6))));
    assert!(matches!(&results[1], Appended::Refused(refusal) if refusal.has_code("TRYCREATE")));
}

#[tokio::test]
async fn literal_minus_sends_only_short_messages_unasked() {
    let long = "x".repeat(4097);
    let lines = [
        &head("A0002", "{3+}"),
        "C: one",
        &head("A0003", "{4097}"),
        "S: A0002 OK",
        "S: +",
        &format!("C: {long}"),
        "S: A0003 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1 LITERAL-", &lines).await;
    let uploads = vec![upload("one"), upload(&long)];
    assert_eq!(append(&mut imap, uploads).await.expect("answers").len(), 2);
    server.finish().await;
}

#[tokio::test]
async fn a_message_refused_before_it_was_sent_ends_the_whole_command() {
    let capabilities = "IMAP4rev1 MULTIAPPEND";
    let second = format!("C: one (\\Seen) {DATE} {{3}}");
    let lines = [&head("A0002", "{3}"), "S: + ok", &second, "S: A0002 NO [TOOBIG] x", "C: A0003 NOOP", "S: A0003 OK"];
    let (mut imap, server) = session(capabilities, &lines).await;
    let results = append(&mut imap, vec![upload("one"), upload("two")]).await.expect("an answer");
    assert!(results.len() == 2 && results.iter().all(|result| matches!(result, Appended::Refused(_))));
    imap.noop().await.expect("alive");
    server.finish().await;
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_ends_the_session() {
    for size in [2, 4] {
        let (mut imap, _server) = session(FULL, &["HOLD"]).await;
        let lying = Upload { size, ..upload("one") };
        let error = error(append(&mut imap, vec![lying]).await);
        assert!(matches!(error, Error::Upload { announced, delivered: 3 } if announced == size), "{error}");
        assert!(!imap.is_alive());
    }
}

#[tokio::test]
async fn an_upload_confirmed_before_it_was_sent_is_a_lie() {
    let (mut imap, _server) = session(PLAIN, &[&head("A0002", "{3}"), "S: A0002 OK [APPENDUID 7 5] x"]).await;
    assert!(is_protocol(&error(append(&mut imap, vec![upload("one")]).await)));
}

#[tokio::test]
async fn nothing_to_upload_is_nothing_to_say() {
    let (mut imap, server) = session(FULL, &[]).await;
    assert_eq!(append(&mut imap, Vec::new()).await.expect("nothing"), []);
    server.finish().await;
}

#[tokio::test]
async fn several_commands_go_without_waiting_and_a_full_server_gets_no_more() {
    let to = |mailbox: &str, joins, text| Upload { mailbox: name(mailbox), joins, ..upload(text) };
    let head = |tag: &str, mailbox: &str, n| format!("C: {tag} APPEND \"{mailbox}\" (\\Seen) {DATE} {{{n}+}}");
    let joined = format!("C: one (\\Seen) {DATE} {{3+}}");
    let lines = [
        &head("A0002", "a", 3),
        &joined,
        "C: two",
        &head("A0003", "b", 5),
        "C: three",
        &head("A0004", "b", 4),
        "S: A0003 NO [OVERQUOTA] full",
        "C: four",
        "S: A0002 OK [APPENDUID 7 5:6] x",
        "S: A0004 NO [OVERQUOTA] full",
    ];
    let (mut imap, server) = session(FULL, &lines).await;
    let (sink, queue) = mpsc::channel(8);
    for upload in [to("a", false, "one"), to("a", true, "two"), to("b", false, "three"), to("b", false, "four")] {
        sink.send(upload).await.expect("it is taken");
    }
    let (mut told, refused) = (Vec::new(), tokio::sync::Notify::new());
    let mut tell = |messages, octets| {
        told.push((messages, octets));
        refused.notify_one();
    };
    let late = async {
        refused.notified().await;
        let _ = sink.send(to("b", false, "five")).await;
        drop(sink);
    };
    let (results, ()) = tokio::join!(imap.append(queue, &mut tell), late);
    server.finish().await;
    let results = results.expect("answers");
    assert_eq!(results[..2], [Appended::Uid(epoch(7), uid(5)), Appended::Uid(epoch(7), uid(6))]);
    let is_full = |result: &Appended| matches!(result, Appended::Refused(refusal) if refusal.has_code("OVERQUOTA"));
    assert!(results.len() == 4 && results[2..].iter().all(is_full), "{results:?}");
    assert_eq!(told, [(1, 5), (2, 6), (1, 4)]);
}
