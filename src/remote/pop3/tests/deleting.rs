//! Deleting: nothing goes that was not looked at, and nothing is gone before QUIT said so.

use super::*;

const MARK: [&str; 8] =
    ["C: UIDL 1", "C: UIDL 2", "S: +OK 1 a", "S: +OK 2 b", "C: DELE 1", "C: DELE 2", "S: +OK", "S: +OK"];

async fn marked(script: &[&str]) -> (Marked, Server) {
    let script: Vec<&str> = MARK.iter().chain(script).copied().collect();
    let (transaction, server) = session(FULL, &script).await;
    (transaction.delete(&[message(1), message(2)]).await.expect("marked"), server)
}

#[tokio::test]
async fn what_is_gone_is_told_by_quit() {
    let (marked, server) = marked(&["C: QUIT", "S: +OK bye"]).await;
    assert_eq!(marked.marked(), [message(1), message(2)]);
    assert!(marked.spared().is_empty());
    assert_eq!(marked.commit().await.expect("gone"), [message(1), message(2)]);
    server.finish().await;
}

#[tokio::test]
async fn without_an_ok_to_quit_nothing_is_known_to_be_gone() {
    for end in [
        &["C: QUIT", "S: -ERR some deleted messages not removed"][..],
        &["C: QUIT"],
        &["C: QUIT", "RAW: +OK"],
        &["C: QUIT", "S: bye"],
        // A reply too many: the first of these answers nothing that was asked.
        &["C: QUIT", "RAW: +OK\r\n-ERR not removed\r\n"],
    ] {
        let (marked, _server) = marked(end).await;
        let failed = error(marked.commit().await);
        assert!(!failed.to_string().is_empty(), "{end:?}: {failed}");
    }
}

#[tokio::test]
async fn a_reply_too_many_is_not_taken_for_that_to_quit() {
    let script: Vec<&str> = MARK.iter().copied().chain(["S: +OK", "C: QUIT", "S: -ERR not removed"]).collect();
    let (transaction, _server) = session(FULL, &script).await;
    // It may come with the last of the others, or later.
    let failed = match transaction.delete(&[message(1), message(2)]).await {
        Ok(marked) => error(marked.commit().await),
        Err(failed) => failed,
    };
    assert!(is_protocol(&failed), "{failed}");
}

#[tokio::test]
async fn a_session_that_is_dropped_says_no_quit() {
    let (marked, server) = marked(&["END"]).await;
    drop(marked);
    server.finish().await;
}

#[tokio::test]
async fn marks_can_be_taken_back() {
    let (marked, server) = marked(&["C: RSET", "S: +OK", "C: QUIT", "S: +OK"]).await;
    marked.reset().await.expect("reset").quit().await.expect("a goodbye");
    server.finish().await;
    let (marked, server) = self::marked(&["C: RSET", "S: -ERR", "END"]).await;
    assert!(matches!(error(marked.reset().await), Error::Refused { .. }));
    server.finish().await;
}

#[tokio::test]
async fn what_is_not_what_was_listed_is_spared() {
    let script = [
        "C: UIDL 1",
        "C: UIDL 2",
        "C: UIDL 3",
        "S: +OK 1 a",
        "S: +OK 2 other",
        "S: -ERR gone",
        "C: DELE 1",
        "S: -ERR no",
        "C: QUIT",
        "S: +OK",
    ];
    let (transaction, server) = session(FULL, &script).await;
    let marked = transaction.delete(&[message(1), message(2), message(3)]).await.expect("looked at");
    assert_eq!(marked.marked(), []);
    assert_eq!(marked.spared()[&number(2)], Spared::Another);
    assert!(matches!(&marked.spared()[&number(1)], Spared::Refused(refusal) if refusal.text == "no"));
    assert!(matches!(&marked.spared()[&number(3)], Spared::Refused(refusal) if refusal.text == "gone"));
    assert_eq!(marked.commit().await.expect("a goodbye"), []);
    server.finish().await;
}

#[tokio::test]
async fn replies_that_are_about_another_message_end_the_session_before_a_dele() {
    for answers in [["S: +OK 2 b", "S: +OK 1 a"], ["S: +OK", "S: +OK 1 a"], ["S: +OK 1 a", "S: +OK 1 a"]] {
        let script = ["C: UIDL 1", "C: UIDL 2", answers[0], answers[1], "END"];
        let (transaction, server) = session(FULL, &script).await;
        assert!(is_protocol(&error(transaction.delete(&[message(1), message(2)]).await)), "{answers:?}");
        server.finish().await;
    }
}

#[tokio::test]
async fn without_pipelining_each_dele_waits_for_the_one_before() {
    let script = [
        "C: UIDL 1",
        "S: +OK 1 a",
        "C: UIDL 2",
        "S: +OK 2 b",
        "C: DELE 1",
        "S: +OK",
        "C: DELE 2",
        "S: +OK",
        "C: QUIT",
        "S: +OK",
    ];
    let (transaction, server) = session(PLAIN, &script).await;
    let marked = transaction.delete(&[message(1), message(2)]).await.expect("marked");
    assert_eq!(marked.commit().await.expect("gone").len(), 2);
    server.finish().await;
}

#[tokio::test]
async fn a_message_without_a_name_of_its_own_goes_only_if_it_was_fetched_just_now() {
    let unnamed = Message { uidl: None, ..message(1) };
    let shared = Message { shared: true, ..message(2) };
    let script = [
        "C: RETR 1",
        "C: LIST 1",
        "S: +OK",
        "S: one",
        "S: .",
        "S: +OK 1 10",
        "C: LIST 1",
        "S: +OK 1 10",
        "C: DELE 1",
        "S: +OK",
        "C: QUIT",
        "S: +OK",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    fetch(&mut transaction, std::slice::from_ref(&unnamed)).await.result.expect("fetched");
    let marked = transaction.delete(&[unnamed.clone(), shared.clone()]).await.expect("marked");
    assert_eq!(marked.spared()[&number(2)], Spared::Unidentified);
    assert_eq!(marked.commit().await.expect("gone"), [unnamed]);
    server.finish().await;
    let (transaction, server) = session(FULL, &["C: QUIT", "S: +OK"]).await;
    let marked = transaction.delete(&[shared]).await.expect("looked at");
    assert_eq!(marked.commit().await.expect("a goodbye"), []);
    server.finish().await;
}

#[tokio::test]
async fn a_connection_cut_anywhere_while_marking_deletes_nothing() {
    let whole: Vec<&str> = MARK.iter().copied().filter(|line| line.starts_with("S: ")).collect();
    for kept in 0..whole.len() {
        let mut said = 0;
        let script: Vec<&str> = MARK
            .iter()
            .copied()
            .take_while(|line| {
                said += usize::from(line.starts_with("S: "));
                said <= kept
            })
            .collect();
        let (transaction, server) = session(FULL, &script).await;
        let failed = error(transaction.delete(&[message(1), message(2)]).await);
        assert!(matches!(failed, Error::Later { .. }), "{kept}: {failed}");
        server.finish().await;
    }
}
