//! Opening, listing, searching, fetching.

use super::*;
use crate::mail::{Flags, ModSeq};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Fetches `uids` and puts the chunks together.
async fn bodies(imap: &mut Imap, set: &str) -> (Result<Vec<FetchedBody>, Error>, BTreeMap<u64, (Vec<u8>, bool)>) {
    let (sink, mut chunks) = mpsc::channel::<BodyChunk>(2);
    let reader = tokio::spawn(async move {
        let mut bodies: BTreeMap<u64, (Vec<u8>, bool)> = BTreeMap::new();
        while let Some(chunk) = chunks.recv().await {
            let body = bodies.entry(chunk.literal).or_default();
            body.0.extend_from_slice(&chunk.bytes);
            body.1 = chunk.end;
        }
        bodies
    });
    let result = imap.fetch_bodies(&uids(set), sink).await;
    (result, reader.await.expect("a reader"))
}

const FETCH: &str = "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]";

#[tokio::test]
async fn a_select_with_a_checkpoint_tells_what_changed() {
    let script = [
        "C: A0002 SELECT \"a b\" (QRESYNC (7 50))",
        "S: * OK [CLOSED] x",
        "S: * FLAGS (\\Seen)",
        "S: * OK [PERMANENTFLAGS (\\Seen kw \\*)] x",
        "S: * 2 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: * OK [UIDNEXT 12] x",
        "S: * OK [HIGHESTMODSEQ 60] x",
        "S: * VANISHED (EARLIER) 4:3,9",
        "S: * 1 FETCH (UID 5 FLAGS (\\Seen \\Recent) MODSEQ (58))",
        "S: A0002 OK [READ-WRITE] x",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let since = Some((epoch(7), ModSeq::new(50).expect("not zero")));
    let selected = imap.select(&name("a b"), Access::ReadWrite, since).await.expect("selected");
    server.finish().await;
    assert_eq!((selected.exists, selected.uid_next, selected.read_only), (2, Some(uid(12)), false));
    assert_eq!(selected.highest_mod_seq, ModSeq::new(60));
    assert!(selected.permanent_flags.any_keyword);
    let delta = selected.delta.expect("a delta");
    assert_eq!(delta.vanished, uids("3:4,9"));
    let flags = Some(Flags::parse("\\Seen"));
    assert_eq!(delta.changed, [FetchedFlags { uid: uid(5), flags, size: None, mod_seq: ModSeq::new(58) }]);
}

#[tokio::test]
async fn mailboxes_are_opened_and_listed_in_one_flight() {
    let script = [
        "C: A0002 SELECT \"a\" (CONDSTORE)",
        "C: A0003 UID FETCH 1:* (UID FLAGS)",
        "C: A0004 SELECT \"b\" (CONDSTORE)",
        "C: A0005 UID FETCH 1:* (UID FLAGS)",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: A0002 OK",
        "S: * 1 FETCH (UID 5 FLAGS (\\Seen))",
        "S: A0003 OK",
        "S: * OK [CLOSED] x",
        "S: * 2 EXISTS",
        "S: * OK [UIDVALIDITY 8] x",
        "S: A0004 OK",
        "S: * 1 FETCH (UID 5 FLAGS ())",
        "S: A0005 NO not now",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let request = |wire| SelectRequest { name: name(wire), access: Access::ReadWrite, since: None, list: true };
    let opened = imap.select_many(&[request("a"), request("b")]).await.expect("answers");
    server.finish().await;
    let [Ok(a), Ok(b)] = opened.as_slice() else { panic!("{opened:?}") };
    let flags = Some(Flags::parse("\\Seen"));
    assert_eq!(a.listed.as_deref(), Some(&[FetchedFlags { uid: uid(5), flags, size: None, mod_seq: None }][..]));
    // What is refused is unknown, and no part of it is shown.
    assert_eq!((b.uid_validity, &b.listed), (epoch(8), &None));
}

#[tokio::test]
async fn several_selects_in_one_flight_get_each_its_own_data() {
    let script = [
        "C: A0002 SELECT \"a\" (CONDSTORE)",
        "C: A0003 EXAMINE \"b\" (CONDSTORE)",
        "C: A0004 SELECT \"c\" (CONDSTORE)",
        "S: * 9 EXISTS",
        "S: * OK [CLOSED] x",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: A0002 OK x",
        "S: A0003 NO no such mailbox",
        "S: * OK [CLOSED] x",
        "S: * 3 EXISTS",
        "S: * OK [UIDVALIDITY 8] x",
        "S: * OK [NOMODSEQ] x",
        "S: A0004 OK x",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let request = |wire, access| SelectRequest { name: name(wire), access, since: None, list: false };
    let requests = [request("a", Access::ReadWrite), request("b", Access::ReadOnly), request("c", Access::ReadWrite)];
    let opened = imap.select_many(&requests).await.expect("answers");
    server.finish().await;
    let [Ok(a), Err(Error::Refused { .. }), Ok(c)] = opened.as_slice() else { panic!("{opened:?}") };
    assert_eq!((a.exists, a.uid_validity, c.exists, c.uid_validity), (1, epoch(7), 3, epoch(8)));
    assert_eq!((c.delta.as_ref(), c.highest_mod_seq, c.permanent_flags.any_keyword), (None, None, true));
    assert_eq!(imap.take_news().exists, Some(3));
}

#[tokio::test]
async fn a_mailbox_that_does_not_tell_its_size_is_not_empty() {
    let script = ["C: A0002 SELECT \"INBOX\"", "S: * OK [UIDVALIDITY 7] x", "S: A0002 OK x"];
    let (mut imap, _server) = session(PLAIN, &script).await;
    assert!(is_protocol(&error(imap.select(&MailboxName::inbox(), Access::ReadWrite, None).await)));
    let script = ["C: A0002 SELECT \"INBOX\"", "S: * 1 EXISTS", "S: A0002 OK x"];
    let (mut imap, _server) = session(PLAIN, &script).await;
    let error = error(imap.select(&MailboxName::inbox(), Access::ReadWrite, None).await);
    assert!(error.refusal().is_some_and(|refusal| refusal.has_code("UIDNOTSTICKY")));
}

#[tokio::test]
async fn a_mailbox_that_is_only_read_still_says_what_it_shows() {
    let script = [
        "C: A0002 EXAMINE \"INBOX\"",
        "S: * OK [PERMANENTFLAGS ()] x",
        "S: * OK [HIGHESTMODSEQ 5] x",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: A0002 OK [READ-ONLY] x",
    ];
    let (mut imap, _server) = session(PLAIN, &script).await;
    let selected = imap.select(&MailboxName::inbox(), Access::ReadOnly, None).await.expect("selected");
    assert_eq!((selected.permanent_flags, selected.read_only), (crate::mail::Storable::everything(), true));
    assert_eq!(selected.highest_mod_seq, None, "tier C");
}

#[tokio::test]
async fn a_change_without_a_uid_voids_the_delta() {
    let script = [
        "C: A0002 SELECT \"INBOX\" (QRESYNC (7 50))",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: * 1 FETCH (FLAGS ())",
        "S: A0002 OK x",
    ];
    let (mut imap, _server) = session(FULL, &script).await;
    let since = Some((epoch(7), ModSeq::new(50).expect("not zero")));
    assert!(is_protocol(&error(imap.select(&MailboxName::inbox(), Access::ReadWrite, since).await)));
}

#[tokio::test]
async fn a_message_below_the_asked_range_is_left_out_and_missing_flags_are_unknown() {
    let script = [
        "C: A0002 UID FETCH 100:200 (UID FLAGS RFC822.SIZE)",
        "S: * 1 FETCH (UID 3 FLAGS ())",
        "S: * 4 FETCH (FLAGS (\\Seen))",
        "S: * 2 FETCH (UID 100 RFC822.SIZE 9)",
        "S: * 3 FETCH (UID 101 FLAGS () RFC822.SIZE 8)",
        "S: * 3 FETCH (UID 101 FLAGS (\\Seen))",
        "S: A0002 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let listed = imap.list_flags(&uids("100:200"), true).await.expect("a list");
    server.finish().await;
    let entry = |n, flags: Option<&str>, size| FetchedFlags {
        uid: uid(n),
        flags: flags.map(Flags::parse),
        size: Some(size),
        mod_seq: None,
    };
    assert_eq!(listed, [entry(100, None, 9), entry(101, Some("\\Seen"), 8)]);
}

#[tokio::test]
async fn changes_since_a_mod_sequence_are_listed() {
    let script = [
        "C: A0002 UID FETCH 1:4294967295 (UID FLAGS) (CHANGEDSINCE 17)",
        "S: * 1 FETCH (UID 3 FLAGS () MODSEQ (18))",
        "S: A0002 OK",
    ];
    let (mut imap, _server) = session(FULL, &script).await;
    let changed = imap.changed_since(ModSeq::new(17).expect("not zero")).await.expect("a list");
    assert_eq!(changed[0].mod_seq, ModSeq::new(18));
}

#[tokio::test]
async fn a_search_is_believed_only_if_its_count_and_its_list_agree() {
    let search = |line: &'static str| async move {
        let script = ["C: A0002 UID SEARCH RETURN (ALL COUNT) ALL", line, "S: A0002 OK"];
        let (mut imap, _server) = session(FULL, &script).await;
        imap.search_all().await
    };
    assert_eq!(search("S: * ESEARCH (TAG \"A0002\") UID ALL 2,10:4 COUNT 8").await.ok(), Some(uids("2,4:10")));
    assert_eq!(search("S: * ESEARCH (TAG \"A0002\") UID COUNT 0").await.ok(), Some(UidSet::new()));
    for lie in [
        "S: * ESEARCH UID ALL 1:3 COUNT 4",
        "S: * ESEARCH UID ALL 1:3",
        "S: * ESEARCH ALL 1:3 COUNT 3",
        "S: * ESEARCH UID",
        "S: * OK nothing",
        "S: * SEARCH 1 2",
    ] {
        assert!(is_protocol(&error(search(lie).await)), "{lie}");
    }
}

#[tokio::test]
async fn an_old_search_without_an_answer_is_no_empty_answer() {
    let script = ["C: A0002 UID SEARCH ALL", "S: A0002 OK"];
    let (mut imap, _server) = session(PLAIN, &script).await;
    assert!(is_protocol(&error(imap.search_all().await)));
    let script = ["C: A0002 UID SEARCH DELETED", "S: * SEARCH", "S: A0002 OK"];
    let (mut imap, _server) = session(PLAIN, &script).await;
    assert_eq!(imap.search_deleted().await.expect("an answer"), UidSet::new());
}

#[tokio::test]
async fn a_confirmation_never_names_more_than_was_asked() {
    let script = [
        "C: A0002 UID SEARCH RETURN (ALL COUNT) UID 5:6,9",
        "S: * ESEARCH (TAG \"A0002\") UID COUNT 4294967290 ALL 6:4294967295",
        "S: A0002 OK",
    ];
    let (mut imap, _server) = session(FULL, &script).await;
    assert_eq!(imap.search(&uids("5:6,9")).await.expect("an answer"), uids("6,9"));
}

#[tokio::test]
async fn bodies_pass_by_whatever_is_in_them() {
    let command = format!("C: A0002 UID FETCH 1:6 ({FETCH})");
    let script = [
        &command,
        "S: * 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
        RFC822.SIZE 21 BODY[] {23}\r\nA0002 OK\r\n* BYE \0\0{9}\r\n)",
        "S: * 2 FETCH (BODY[] {0}\r\n UID 2 FLAGS ())",
        "S: * 3 FETCH (UID 3 BODY[] \"sm\\\"all\")",
        "S: * 4 FETCH (UID 4 BODY[] NIL FLAGS ())",
        "S: * 5 FETCH (BODY[] {3}\r\nwho)",
        "S: * 9 FETCH (UID 99 BODY[] {5}\r\nalien)",
        "S: * 1 FETCH (UID 1 FLAGS () BODY[] {6}\r\nsecond)",
        "S: * 7 FETCH (UID 5 FLAGS ())",
        "S: A0002 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let (result, octets) = bodies(&mut imap, "1:6").await;
    let bodies = result.expect("bodies");
    server.finish().await;
    let came: Vec<(u32, &[u8], bool)> =
        bodies.iter().map(|b| (b.uid.get(), octets[&b.literal].0.as_slice(), octets[&b.literal].1)).collect();
    let first: &[u8] = b"A0002 OK\r\n* BYE \0\0{9}\r\n";
    assert_eq!(came, [(1, first, true), (2, b"", true), (3, b"sm\"all", true)]);
    assert_eq!((bodies[0].internal_date, bodies[0].size), (Some(837_596_665), Some(21)));
    assert_eq!(bodies[0].flags, Some(Flags::new()));
}

#[tokio::test]
async fn a_message_cut_in_the_middle_is_never_delivered() {
    let command = format!("C: A0002 UID FETCH 1:2 ({FETCH})");
    for cut in ["S: * 1 FETCH (UID 1 BODY[] {2}\r\nok)", "S: * 1 FETCH (UID 1 BODY[] {20}\r\nshort"] {
        let (mut imap, _server) = session(FULL, &[&command, cut]).await;
        let (result, octets) = bodies(&mut imap, "1:2").await;
        assert!(matches!(error(result), Error::Later { .. }));
        assert_eq!(octets.values().any(|(_, end)| *end), cut.contains("{2}"));
    }
}

#[tokio::test]
async fn nothing_is_read_ahead_of_a_sink_that_is_full() {
    let (ours, theirs) = duplex(1 << 12);
    let size = 64 << 20;
    let writer = tokio::spawn(async move {
        let mut stream = BufReader::new(theirs);
        let _ = stream.write_all(format!("* OK [CAPABILITY {FULL}] x\r\n").as_bytes()).await;
        let _ = stream.read_line(&mut String::new()).await;
        let _ = stream.write_all(format!("* 1 FETCH (UID 1 BODY[] {{{size}}}\r\n").as_bytes()).await;
        let mut sent = 0usize;
        while stream.write_all(&[b'x'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    });
    let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    let (sink, mut chunks) = mpsc::channel(1);
    let set = uids("1");
    {
        let mut fetch = std::pin::pin!(imap.fetch_bodies(&set, sink));
        tokio::select! {
            _ = &mut fetch => panic!("the body has no end"),
            chunk = chunks.recv() => assert!(chunk.is_some()),
        }
        // The reader goes away: the fetch fails, it does not read 64 MiB for nobody.
        drop(chunks);
        assert!(matches!(fetch.await, Err(Error::Later { .. })));
    }
    assert!(!imap.is_alive());
    drop(imap);
    assert!(writer.await.expect("a writer") < 1 << 20);
}

#[tokio::test]
async fn headers_come_whole_or_not_at_all() {
    let long = format!("S: * 2 FETCH (UID 2 RFC822.SIZE 9 BODY[HEADER] {{{}}}\r\n{})", 2 << 20, "h".repeat(2 << 20));
    let script = [
        "C: A0002 UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])",
        "S: * 1 FETCH (UID 1 BODY[HEADER] {6}\r\na\\b: c)",
        &long,
        "S: * 3 FETCH (UID 3 BODY[HEADER] NIL)",
        "S: A0002 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let headers = imap.fetch_headers(&uids("1:3")).await.expect("headers");
    server.finish().await;
    let texts: Vec<Option<&[u8]>> = headers.iter().map(|h| h.header.as_deref()).collect();
    assert_eq!(texts, [Some(&b"a\\b: c"[..]), None, None]);
}

#[tokio::test]
async fn the_message_id_is_asked_for_alone() {
    let items = "(UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
    let command = format!("C: A0002 UID FETCH 8 {items}");
    let line = "S: * 1 FETCH (UID 8 RFC822.SIZE 40 BODY[HEADER.FIELDS (Message-ID)] {19}\r\nMessage-ID: <a>\r\n\r\n)";
    let (mut imap, _server) = session(FULL, &[&command, line, "S: A0002 OK"]).await;
    let headers = imap.fetch_fingerprint_headers(&uids("8"), false).await.expect("headers");
    assert_eq!(headers[0].header.as_deref(), Some(&b"Message-ID: <a>\r\n\r\n"[..]));
    assert_eq!(headers[0].size, Some(40));
}

#[tokio::test]
async fn a_server_that_can_tell_which_message_it_is_is_asked_for_it() {
    for (capability, item, told) in [
        ("OBJECTID", "EMAILID", "(M1)"),
        ("X-GM-EXT-1", "X-GM-MSGID", "M1"),
        ("OBJECTID X-GM-EXT-1", "EMAILID", "(M1)"),
    ] {
        let command = format!("C: A0002 UID FETCH 8 (UID FLAGS INTERNALDATE RFC822.SIZE {item} BODY.PEEK[])");
        let line = format!("S: * 1 FETCH (UID 8 {item} {told} BODY[] {{1}}\r\na)");
        let script = [command.as_str(), &line, "S: A0002 OK"];
        let (mut imap, server) = session(&format!("{FULL} {capability}"), &script).await;
        let (sink, _chunks) = mpsc::channel(8);
        let bodies = imap.fetch_bodies(&uids("8"), sink).await.expect("answers");
        server.finish().await;
        assert_eq!(bodies[0].object, crate::mail::ObjectId::new("M1"), "{capability}");
    }
}
