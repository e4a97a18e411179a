//! Bodies of several mailboxes in one flight.

use super::*;
use tokio::sync::mpsc;

const ITEMS: &str = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])";
const DATE: &str = "INTERNALDATE \"01-Jan-2024 00:00:00 +0000\"";

fn errand(wire: &str, windows: &[&str]) -> Errand {
    let windows = windows.iter().map(|window| uids(window)).collect();
    Errand { name: name(wire), uid_validity: epoch(7), access: Access::ReadWrite, windows }
}

/// Flies; gives the epochs, and of each landing its errand, its UID, and the body.
async fn fly(errands: &[Errand], script: &[&str]) -> (Vec<Option<UidValidity>>, Vec<(usize, u32, String)>) {
    let (mut imap, server) = session(FULL, script).await;
    let (sink, mut chunks) = mpsc::channel::<BodyChunk>(64);
    let (landings, mut landed) = mpsc::unbounded_channel();
    let epochs = imap.fetch_flight(errands, sink, &landings).await.expect("answers");
    server.finish().await;
    let mut bodies = std::collections::BTreeMap::<u64, Vec<u8>>::new();
    while let Ok(chunk) = chunks.try_recv() {
        bodies.entry(chunk.literal).or_default().extend_from_slice(&chunk.bytes);
    }
    let mut found = Vec::new();
    while let Ok(Landing { errand, body }) = landed.try_recv() {
        let text = String::from_utf8(bodies.remove(&body.literal).expect("its chunks came before")).expect("text");
        found.push((errand, body.uid.get(), text));
    }
    (epochs, found)
}

#[tokio::test]
async fn the_mailboxes_follow_one_another_without_a_pause() {
    let (first, second) = (format!("C: A0003 UID FETCH 8:9 {ITEMS}"), format!("C: A0004 UID FETCH 3 {ITEMS}"));
    let third = format!("C: A0006 UID FETCH 8 {ITEMS}");
    let nine = format!("S: * 2 FETCH (UID 9 FLAGS () {DATE} RFC822.SIZE 1 BODY[] {{1}}\r\nn)");
    let eight = format!("S: * 1 FETCH (UID 8 FLAGS () {DATE} RFC822.SIZE 1 BODY[] {{1}}\r\ne)");
    let other = format!("S: * 1 FETCH (UID 8 FLAGS () {DATE} RFC822.SIZE 5 BODY[] \"other\")");
    let script = [
        "C: A0002 SELECT \"a\" (CONDSTORE)",
        &first,
        &second,
        "C: A0005 SELECT \"b\" (CONDSTORE)",
        &third,
        "S: * 3 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: A0002 OK",
        &eight,
        // Nobody asked for the first, the second tells of flags alone, and the third came before.
        "S: * 1 FETCH (UID 4 FLAGS () BODY[] {1}\r\nx)",
        "S: * 2 FETCH (UID 9 FLAGS (\\Seen))",
        &eight,
        &nine,
        "S: A0003 OK",
        "S: A0004 NO not that one",
        "S: * OK [CLOSED] x",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: A0005 OK",
        &other,
        "S: A0006 OK",
    ];
    let (epochs, landed) = fly(&[errand("a", &["8:9", "3"]), errand("b", &["8"])], &script).await;
    assert_eq!(epochs, [Some(epoch(7)), Some(epoch(7))]);
    let landed: Vec<_> = landed.iter().map(|(errand, uid, text)| (*errand, *uid, text.as_str())).collect();
    assert_eq!(landed, [(0, 8, "e"), (0, 9, "n"), (1, 8, "other")]);
}

#[tokio::test]
async fn nothing_lands_from_another_epoch_or_a_mailbox_that_is_gone() {
    let (first, second) = (format!("C: A0003 UID FETCH 8 {ITEMS}"), format!("C: A0005 UID FETCH 8 {ITEMS}"));
    let eight = format!("S: * 1 FETCH (UID 8 FLAGS () {DATE} RFC822.SIZE 1 BODY[] {{1}}\r\ne)");
    let script = [
        "C: A0002 SELECT \"a\" (CONDSTORE)",
        &first,
        "C: A0004 SELECT \"b\" (CONDSTORE)",
        &second,
        "S: * OK [UIDVALIDITY 8] x",
        "S: A0002 OK",
        &eight,
        "S: A0003 OK",
        "S: A0004 NO [NONEXISTENT] gone",
        "S: A0005 BAD no mailbox is open",
    ];
    let (epochs, landed) = fly(&[errand("a", &["8"]), errand("b", &["8"])], &script).await;
    assert_eq!((epochs, landed), (vec![Some(epoch(8)), None], vec![]));
}
