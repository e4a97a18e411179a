//! Flags, moves, expunges, and what the server tells meanwhile.

use super::*;
use crate::mail::{FlagChange, Flags, UidList};

#[tokio::test]
async fn flags_are_added_and_removed_and_never_replaced() {
    let script = [
        "C: A0002 UID STORE 1:2 +FLAGS (\\Seen work)",
        "C: A0003 UID STORE 1:2 -FLAGS (\\Flagged)",
        "S: * 1 FETCH (UID 1 FLAGS (\\Seen work \\Flagged))",
        "S: * 9 FETCH (UID 9 FLAGS ())",
        "S: * 1 FETCH (UID 1 FLAGS (\\Seen work))",
        "S: A0002 OK",
        "S: A0003 OK [MODIFIED 2] x",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let change = FlagChange { add: Flags::parse("\\Seen work"), remove: Flags::parse("\\Flagged") };
    let shown = imap.store(&uids("1:2"), &change).await.expect("stored");
    server.finish().await;
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].uid, shown[0].flags.clone()), (uid(1), Some(change.add)));
}

#[tokio::test]
async fn a_refused_keyword_is_a_refusal_after_everything_was_answered() {
    let script = [
        "C: A0002 UID STORE 1 +FLAGS (kw)",
        "C: A0003 UID STORE 1 -FLAGS (\\Seen)",
        "S: A0002 NO [LIMIT] x",
        "S: A0003 OK",
        "C: A0004 NOOP",
        "S: A0004 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let change = FlagChange { add: Flags::parse("kw"), remove: Flags::parse("\\Seen") };
    let error = error(imap.store(&uids("1"), &change).await);
    assert!(error.refusal().is_some_and(|refusal| refusal.has_code("LIMIT")));
    imap.noop().await.expect("alive");
    server.finish().await;
}

#[tokio::test]
async fn a_move_pairs_the_uids_in_the_order_of_the_server() {
    let script = [
        "C: A0002 UID MOVE 1,3 \"Tr\\\"ash\"",
        "S: * OK [COPYUID 7 3,1 9:10] moved",
        "S: * VANISHED 1,3",
        "S: A0002 OK done",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let copied = imap.move_to(&uids("1,3"), &name("Tr\"ash")).await.expect("moved").expect("a COPYUID");
    server.finish().await;
    assert_eq!(copied.uid_validity, epoch(7));
    assert_eq!(copied.source.expand(2), Some(vec![uid(3), uid(1)]));
    assert_eq!(copied.target.expand(2), Some(vec![uid(9), uid(10)]));
    assert_eq!(imap.take_news().vanished, uids("1,3"));
    assert_eq!(imap.take_news(), News::default());
}

#[tokio::test]
async fn a_copyuid_that_does_not_fit_is_none() {
    for line in [
        "A0002 OK",
        "A0002 OK [COPYUID 7 1:2 9] x",
        "A0002 OK [COPYUID 0 1 9] x",
        "A0002 OK [COPYUID 7 1:* 2] x",
        "A0002 OK [COPYUID 7 1] x",
        "A0002 OK [COPYUID 7 1:4294967295 9] x",
    ] {
        let script = ["C: A0002 UID COPY 1:2 \"b\"", &format!("S: {line}")];
        let (mut imap, _server) = session(FULL, &script).await;
        assert_eq!(imap.copy_to(&uids("1:2"), &name("b")).await.expect("copied"), None, "{line}");
    }
}

#[tokio::test]
async fn a_missing_mailbox_tells_that_it_should_be_created() {
    let script = [
        "C: A0002 UID COPY 1 \"b\"",
        "S: A0002 NO [TRYCREATE] no such mailbox",
        "C: A0003 CREATE \"b\"",
        "S: A0003 OK",
        "C: A0004 SUBSCRIBE \"b\"",
        "S: A0004 OK",
        "C: A0005 UID COPY 1 \"b\"",
        "S: A0005 OK [COPYUID 7 1 9] x",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let refused = error(imap.copy_to(&uids("1"), &name("b")).await);
    assert!(refused.refusal().is_some_and(|refusal| refusal.has_code("TRYCREATE")));
    imap.create(&name("b")).await.expect("created");
    imap.subscribe(&name("b")).await.expect("subscribed");
    let copied = imap.copy_to(&uids("1"), &name("b")).await.expect("copied");
    assert_eq!(copied.map(|c| c.target), UidList::parse("9"));
    server.finish().await;
}

#[tokio::test]
async fn an_expunge_by_uid_removes_nothing_else() {
    let script = [
        "C: A0002 UID STORE 4:6 +FLAGS (\\Deleted)",
        "C: A0003 UID EXPUNGE 4:6",
        "C: A0004 UID SEARCH RETURN (ALL COUNT) UID 4:6",
        "S: A0002 OK",
        "S: * VANISHED 4",
        "S: * VANISHED 5",
        "S: A0003 OK",
        "S: * ESEARCH (TAG A0004) UID ALL 5:6 COUNT 2",
        "S: A0004 OK",
        "C: A0005 UID SEARCH RETURN (ALL COUNT) UID 5:6",
        "S: * ESEARCH (TAG A0005) UID ALL 6 COUNT 1",
        "S: A0005 OK",
        "C: A0006 EXPUNGE",
        "S: * 3 EXISTS",
        "S: * 2 EXPUNGE",
        "S: A0006 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    assert_eq!(imap.remove(&uids("4:6")).await.expect("an answer"), uids("6"));
    assert_eq!(imap.take_news().vanished, uids("4:5"));
    imap.expunge_all().await.expect("expunged");
    assert_eq!(imap.take_news(), News { exists: Some(2), expunged: 1, vanished: UidSet::new() });
    server.finish().await;
}

#[tokio::test]
async fn an_identity_is_told_and_asked() {
    let script = [
        concat!("C: A0002 ID (\"name\" \"mailtwin\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")"),
        "S: * ID (\"Name\" \"Dovecot\" \"version\" NIL)",
        "S: A0002 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    assert_eq!(imap.id().await.expect("an answer"), [("name".to_owned(), "Dovecot".to_owned())]);
    server.finish().await;
}

/// What opening a mailbox of epoch 7 with 2 messages says.
const OPENED: [&str; 4] =
    ["S: * OK [CLOSED] x", "S: * 2 EXISTS", "S: * OK [UIDVALIDITY 7] x", "S: A0003 OK [READ-WRITE] opened"];

fn next() -> SelectRequest {
    SelectRequest { name: name("next"), access: Access::ReadWrite, since: None, list: false }
}

#[tokio::test]
async fn the_next_mailbox_is_opened_in_the_flight_that_moves_from_this_one() {
    let mut lines = vec![
        "C: A0002 UID MOVE 1:2 \"b\"",
        "C: A0003 SELECT \"next\" (CONDSTORE)",
        "S: * OK [COPYUID 9 1:2 5:6] moved",
        "S: * VANISHED 1:3",
        "S: A0002 OK done",
    ];
    lines.extend(OPENED);
    let (mut imap, server) = session(FULL, &lines).await;
    let moved = imap.move_on(&uids("1:2"), &name("b"), Some(&next())).await.expect("answers");
    server.finish().await;
    assert_eq!(moved.told.expect("not refused").expect("a COPYUID").uid_validity, epoch(9));
    // What else vanished is not ours to tell.
    assert_eq!(moved.vanished, uids("1:2"));
    let opened = moved.opened.expect("it was asked for").expect("it was opened");
    assert_eq!((opened.uid_validity, opened.exists, imap.take_news().exists), (epoch(7), 2, Some(2)));
}

#[tokio::test]
async fn a_refused_move_still_opens_the_next_and_one_that_cannot_be_opened_is_told() {
    let mut lines =
        vec!["C: A0002 UID MOVE 1 \"b\"", "C: A0003 SELECT \"next\" (CONDSTORE)", "S: A0002 NO [TRYCREATE] no"];
    lines.extend(OPENED);
    let (mut imap, server) = session(FULL, &lines).await;
    let moved = imap.move_on(&uids("1"), &name("b"), Some(&next())).await.expect("answers");
    server.finish().await;
    assert!(moved.told.is_err_and(|error| matches!(error, Error::Refused { .. })) && moved.vanished.is_empty());
    assert!(moved.opened.expect("asked").is_ok());

    let lines = [
        "C: A0002 UID MOVE 1 \"b\"",
        "C: A0003 SELECT \"next\" (CONDSTORE)",
        "S: A0002 OK done",
        "S: A0003 NO [NONEXISTENT] gone",
    ];
    let (mut imap, server) = session(FULL, &lines).await;
    let moved = imap.move_on(&uids("1"), &name("b"), Some(&next())).await.expect("answers");
    server.finish().await;
    assert_eq!((moved.told.expect("not refused"), moved.vanished.is_empty()), (None, true));
    assert!(moved.opened.expect("asked").is_err());
}
