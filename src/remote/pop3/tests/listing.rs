//! What a maildrop holds, when the three answers agree and when they do not.

use super::*;
use crate::remote::pop3::listing::Gathering;

fn listing(stat: &str, list: &[&str], uidls: &[&str]) -> Listing {
    let mut gathering = Gathering::default();
    gathering.stat(stat);
    list.iter().for_each(|line| gathering.list(line.as_bytes()));
    uidls.iter().for_each(|line| gathering.uidl(line.as_bytes()));
    gathering.finish()
}

fn names(listing: &Listing) -> Vec<(u32, Option<u64>, String, bool)> {
    let name = |m: &Message| m.uidl.as_ref().map_or_else(String::new, ToString::to_string);
    listing.messages.iter().map(|m| (m.number.get(), m.size, name(m), m.shared)).collect()
}

#[test]
fn a_listing_that_adds_up_has_no_doubts() {
    let listing = listing("2 320", &["1 120", "2 200"], &["1 whqtswO00WBw418f9t5JxYwZ", "2 QhdPYR:00WBw1Ph7x7"]);
    let expected = [
        (1, Some(120), "whqtswO00WBw418f9t5JxYwZ".to_owned(), false),
        (2, Some(200), "QhdPYR:00WBw1Ph7x7".to_owned(), false),
    ];
    assert_eq!(names(&listing), expected);
    assert!(listing.adds_up() && listing.doubts.is_empty());
    assert_eq!(listing.octets, Some(320));
}

#[test]
fn counts_that_disagree_are_told_and_nothing_is_left_out() {
    let more = listing("1 10", &["1 10", "2 10"], &["1 a", "2 b", "3 c"]);
    assert_eq!(
        more.doubts,
        [Doubt::Counts { stat: Some(1), listed: Some(2), named: Some(3) }, Doubt::Beyond(2), Doubt::Sizeless(1)]
    );
    assert_eq!(more.messages.len(), 3);
    let window = listing("9 90", &["8 10", "9 10"], &["8 a", "9 b"]);
    assert_eq!(window.doubts, [Doubt::Counts { stat: Some(9), listed: Some(2), named: Some(2) }]);
    let empty = listing("0 0", &["1 10"], &["1 a"]);
    assert!(!more.adds_up() && !window.adds_up() && !empty.adds_up());
    assert!(listing("0 0", &[], &[]).adds_up());
}

#[test]
fn hostile_lines_are_facts() {
    let odd = listing(
        "4 x",
        &["1 -5", "2 99999999999999999999", "0 3", "3", "4 7 more", "junk", "4 8"],
        &["1 ", "+OK 2   spaced", "3 a b", "4 ../../tmp/x", "4294967296 y", "-1 z"],
    );
    assert_eq!(
        names(&odd),
        [
            (1, None, String::new(), false),
            (2, None, "spaced".into(), false),
            (3, None, String::new(), false),
            (4, Some(7), "../../tmp/x".into(), false)
        ]
    );
    assert_eq!(odd.doubts, [Doubt::Repeated(1), Doubt::Unreadable(4), Doubt::Sizeless(3), Doubt::Nameless(2),]);
    assert!(!odd.adds_up());
}

#[test]
fn unique_ids_that_identify_nothing_leave_the_listing_whole() {
    let long = format!("3 {}", "x".repeat(71));
    let endless = format!("4 {}", "x".repeat(1025));
    let odd =
        listing("5 50", &["1 10", "2 10", "3 10", "4 10", "5 10"], &["1 same", "2 same", &long, &endless, "5 \u{e9}"]);
    assert_eq!(odd.doubts, [Doubt::Nameless(1), Doubt::Shared(2), Doubt::Irregular(2)]);
    assert!(odd.adds_up());
    assert_eq!(odd.messages.iter().map(|m| m.shared).collect::<Vec<_>>(), [true, true, false, false, false]);
}

#[test]
fn doubts_are_sentences() {
    let odd = listing("what", &["x"], &[]);
    let told: Vec<String> = odd.doubts.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["STAT tells no number of messages", "1 lines name no message"]);
    let refusal = Refusal { bad: false, code: None, text: "\x07no".into() };
    assert_eq!(Doubt::UidlRefused(refusal).to_string(), r"UIDL was refused (\x07no)");
    let counts = Doubt::Counts { stat: Some(1), listed: None, named: Some(2) };
    assert_eq!(counts.to_string(), "STAT counts 1, LIST nothing, UIDL 2");
}

#[tokio::test]
async fn a_maildrop_is_listed_in_one_flight_where_the_server_takes_that() {
    let script = [
        "C: CAPA",
        "C: STAT",
        "C: LIST",
        "C: UIDL",
        "S: +OK",
        "S: PIPELINING",
        "S: LOGIN-DELAY 10",
        "S: .",
        "S: +OK 2 20",
        "S: +OK 2 messages",
        "S: 1 10",
        "S: 2 10",
        "S: .",
        "S: +OK",
        "S: 1 a",
        "S: 2 b",
        "S: .",
        "END",
    ];
    let (mut transaction, server) = session(FULL, &script).await;
    assert_eq!(transaction.capabilities().login_delay(), None);
    let listing = transaction.list().await.expect("a listing");
    assert_eq!(listing.messages, [message(1), message(2)]);
    assert!(listing.adds_up());
    assert_eq!(transaction.capabilities().login_delay(), Some(Duration::from_secs(10)));
    drop(transaction);
    server.finish().await;
}

#[tokio::test]
async fn a_server_without_pipelining_is_asked_one_thing_after_the_other() {
    for capa in [&["S: -ERR what?"][..], &["S: +OK", "S: TOP", "S: ."]] {
        let mut script = vec!["C: CAPA"];
        script.extend(capa);
        // An answer that comes before its question would end the session.
        script.extend(["C: STAT", "S: +OK 1 10", "C: LIST", "S: +OK", "S: 1 10", "S: .", "C: UIDL", "S: -ERR unknown"]);
        script.extend(["C: STAT", "S: +OK 1 10", "C: LIST", "S: +OK", "S: 1 10", "S: .", "C: UIDL", "S: -ERR unknown"]);
        let (mut transaction, server) = session(PLAIN, &script).await;
        for _ in 0..2 {
            let listing = transaction.list().await.expect("a listing");
            let [Doubt::UidlRefused(refusal)] = &listing.doubts[..] else { panic!("{:?}", listing.doubts) };
            assert_eq!(refusal.text, "unknown");
            assert_eq!(listing.messages[0].uidl, None);
            assert!(listing.adds_up());
        }
        server.finish().await;
    }
}

#[tokio::test]
async fn a_list_without_end_ends_the_session() {
    let mut script: Vec<&[u8]> = vec![b"C: CAPA", b"S: -ERR", b"C: STAT", b"S: +OK 1 10", b"C: LIST", b"S: +OK"];
    script.extend(std::iter::repeat_n(&b"S: 1 a"[..], 200_001));
    script.push(b"END");
    let (mut transaction, server) = session_on(1 << 16, PLAIN, &script).await;
    assert!(is_protocol(&error(transaction.list().await)));
    assert!(!transaction.is_alive());
    drop(transaction);
    server.finish().await;
}
