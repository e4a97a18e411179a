//! Which mailboxes there are.

use super::*;
use crate::mail::SpecialUse;

pub(super) const RETURN: &str =
    "RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ))";

fn names(listing: &Listing) -> Vec<&str> {
    listing.mailboxes.iter().map(|listed| listed.name.as_wire()).collect()
}

#[tokio::test]
async fn one_flight_tells_everything_where_the_server_can() {
    let command = format!("C: A0002 LIST \"\" \"*\" {RETURN}");
    let script = [
        &command,
        "S: * LIST (\\Subscribed) \"/\" inbox",
        "S: * STATUS INBOX (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 7 UNSEEN 1 HIGHESTMODSEQ 55)",
        "S: * LIST (\\NonExistent \\Subscribed) \"/\" Gone",
        "S: * LIST (\\Trash) \"/\" \"a\\\\\\\"b\"",
        "S: * NO [SERVERBUG] cannot open",
        "S: A0002 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let listing = imap.list().await.expect("a list");
    server.finish().await;
    assert_eq!(names(&listing), ["Gone", "INBOX", "a\\\"b"]);
    let [gone, inbox, odd] = listing.mailboxes.as_slice() else { panic!("three") };
    assert_eq!((gone.exists, gone.selectable, gone.subscribed), (false, false, Some(true)));
    let status = inbox.status.expect("a status");
    assert_eq!((status.messages, status.uid_validity), (Some(3), Some(epoch(7))));
    assert_eq!((odd.roles.as_slice(), odd.status, odd.subscribed), (&[SpecialUse::Trash][..], None, Some(false)));
    assert_eq!(listing.warnings, ["[SERVERBUG] cannot open"]);
}

#[tokio::test]
async fn a_server_that_refuses_the_long_form_is_asked_in_the_old_way() {
    for refusal in ["S: A0002 NO no", "S: A0002 BAD no"] {
        let command = format!("C: A0002 LIST \"\" \"*\" {RETURN}");
        let items = "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)";
        let (inbox, work) = (format!("C: A0005 STATUS \"INBOX\" {items}"), format!("C: A0006 STATUS \"Work\" {items}"));
        let script = [
            &command,
            refusal,
            "C: A0003 LIST \"\" \"*\"",
            "C: A0004 LSUB \"\" \"*\"",
            "S: * LIST () \".\" INBOX",
            "S: * LIST () \".\" Work",
            "S: * LIST (\\Noselect) \".\" Dir",
            "S: A0003 OK",
            "S: * LSUB () \".\" Work",
            "S: A0004 OK",
            &inbox,
            &work,
            "S: * STATUS Work (MESSAGES 0)",
            "S: A0006 OK",
            "S: A0005 NO [NOPERM] no",
        ];
        let (mut imap, server) = session(FULL, &script).await;
        let listing = imap.list().await.expect("a list");
        server.finish().await;
        assert_eq!(names(&listing), ["Dir", "INBOX", "Work"]);
        let status: Vec<_> = listing.mailboxes.iter().map(|m| m.status.and_then(|s| s.messages)).collect();
        assert_eq!(status, [None, None, Some(0)]);
        let subscribed: Vec<_> = listing.mailboxes.iter().map(|m| m.subscribed).collect();
        assert_eq!(subscribed, [Some(false), Some(false), Some(true)]);
    }
}

#[tokio::test]
async fn a_list_that_is_refused_is_no_empty_list() {
    let script = ["C: A0002 LIST \"\" \"*\"", "C: A0003 LSUB \"\" \"*\"", "S: A0002 NO no", "S: A0003 OK"];
    let (mut imap, server) = session(PLAIN, &script).await;
    assert!(matches!(error(imap.list().await), Error::Refused { command: "LIST", .. }));
    server.finish().await;
}

#[tokio::test]
async fn a_list_without_one_of_its_namespaces_is_not_complete() {
    let script = [
        "C: A0002 NAMESPACE",
        "C: A0003 LIST \"\" \"*\"",
        "C: A0004 LSUB \"\" \"*\"",
        "S: * NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\")) NIL NIL",
        "S: A0002 OK",
        "S: * LIST () \"/\" INBOX",
        "S: A0003 OK",
        "S: A0004 OK",
        "C: A0005 LIST \"\" \"#mh/*\"",
        "S: A0005 NO [SERVERBUG] not now",
    ];
    let (mut imap, server) = session("IMAP4rev1 NAMESPACE", &script).await;
    assert!(matches!(error(imap.prepare().await), Error::Refused { .. }));
    server.finish().await;
}

#[tokio::test]
async fn subscriptions_that_are_refused_are_unknown() {
    let script = [
        "C: A0002 LIST \"\" \"*\"",
        "C: A0003 LSUB \"\" \"*\"",
        "S: * LIST (\\Noselect) NIL x",
        "S: A0002 OK",
        "S: A0003 NO no",
    ];
    let (mut imap, server) = session(PLAIN, &script).await;
    let listing = imap.list().await.expect("a list");
    assert_eq!((listing.mailboxes[0].subscribed, listing.mailboxes[0].delimiter), (None, None));
    server.finish().await;
}

#[tokio::test]
async fn a_hostile_name_is_set_aside_and_the_rest_goes_on() {
    let script = [
        "C: A0002 LIST \"\" \"*\"",
        "C: A0003 LSUB \"\" \"*\"",
        "S: * LIST () \"/\" \"\"",
        "S: * LIST () \"/\" {7}\r\na\r\n* OK",
        "S: * LIST () \"/\" {3}\r\na\u{0}b",
        "S: * LIST (\\Noselect) \"/\" good",
        "S: * LIST (\\Noselect) \"/\" \"../../etc\"",
        "S: A0002 OK",
        "S: A0003 OK",
    ];
    let (mut imap, _server) = session(PLAIN, &script).await;
    let listing = imap.list().await;
    let listing = listing.expect("a list");
    assert_eq!(names(&listing), ["../../etc", "good"]);
    let hostile: Vec<&str> = listing.hostile.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(hostile, ["\"\"", r"a\x00b", r"a\x0d\x0a* OK"]);
}

#[tokio::test]
async fn a_list_line_that_cannot_be_read_is_an_error() {
    for line in ["S: * LIST \"/\" x", "S: * LIST () \"/\"", "S: * LIST () \"/\" \"half", "S: * LIST () \"/\" (x)"] {
        let script = ["C: A0002 LIST \"\" \"*\"", "C: A0003 LSUB \"\" \"*\"", line, "S: A0002 OK", "S: A0003 OK"];
        let (mut imap, _server) = session(PLAIN, &script).await;
        assert!(is_protocol(&error(imap.list().await)), "{line}");
    }
}

#[tokio::test]
async fn mailboxes_of_others_are_left_out_and_hidden_namespaces_are_asked_for() {
    let script = [
        "C: A0002 NAMESPACE",
        "C: A0003 LIST \"\" \"*\"",
        "C: A0004 LSUB \"\" \"*\"",
        "S: * NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\")) ((\"Users/\" \"/\")) ((\"Public/\" \"/\"))",
        "S: A0002 OK",
        "S: * LIST (\\Noselect) \"/\" Public",
        "S: * LIST () \"/\" Public/news",
        "S: * LIST () \"/\" Users/x",
        "S: * LIST (\\Noselect) \"/\" Publicity",
        "S: A0003 OK",
        "S: A0004 OK",
        "C: A0005 LIST \"\" \"#mh/*\"",
        "S: * LIST (\\Noselect) \"/\" #mh/in",
        "S: A0005 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1 NAMESPACE", &script).await;
    assert_eq!(names(&imap.prepare().await.expect("a list")), ["#mh/in", "Publicity"]);
    server.finish().await;
}

#[tokio::test]
async fn a_flood_of_mailboxes_ends_the_session() {
    let (ours, mut theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let _ = theirs.write_all(b"* OK [CAPABILITY IMAP4rev1] x\r\n").await;
        let line = format!("* LIST () \"/\" {}\r\n", "n".repeat(60_000));
        for _ in 0..1500 {
            let _ = theirs.write_all(line.as_bytes()).await;
        }
        let _ = theirs.write_all(b"A0002 OK\r\nA0003 OK\r\n").await;
        let _ = tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await;
    });
    let mut imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    assert!(is_protocol(&error(imap.list().await)));
}

#[tokio::test]
async fn an_inbox_that_is_listed_as_a_parent_too_is_an_inbox() {
    let command = format!("C: A0002 LIST \"\" \"*\" {RETURN}");
    for lines in
        [["(\\HasNoChildren) \"/\" INBOX", "(\\Noselect) \"/\" inbox"], ["(\\Noselect) \"/\" inbox", "() \"/\" INBOX"]]
    {
        let lines = lines.map(|line| format!("S: * LIST {line}"));
        let (mut imap, server) = session(FULL, &[&command, &lines[0], &lines[1], "S: A0002 OK"]).await;
        let listing = imap.list().await.expect("a list");
        server.finish().await;
        let [inbox] = listing.mailboxes.as_slice() else { panic!("{listing:?}") };
        assert!(inbox.selectable && inbox.exists);
    }
}

#[tokio::test]
async fn a_mailbox_is_told_by_its_identifier_where_the_server_has_one() {
    let apart = "(UIDVALIDITY MAILBOXID)";
    let (list, identities, status) = (
        "C: A0002 LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))",
        format!("C: A0003 LIST \"\" \"*\" RETURN (STATUS {apart})"),
        format!("C: A0004 STATUS \"Work\" {apart}"),
    );
    let script = [
        list,
        &identities,
        "S: * LIST () \"/\" Work",
        "S: * STATUS Work (MESSAGES 7 UIDVALIDITY 3)",
        "S: * LIST () \"/\" Other",
        "S: * STATUS Other (MESSAGES 0 UIDVALIDITY 3)",
        "S: * LIST () \"/\" Replaced",
        "S: * STATUS Replaced (MESSAGES 0 UIDVALIDITY 3)",
        "S: A0002 OK",
        "S: * LIST () \"/\" Work",
        "S: * STATUS Work (UIDVALIDITY 3 MAILBOXID (F2212ea87-6097-4256-9d51-71338625))",
        "S: * STATUS Other (UIDVALIDITY 3 MAILBOXID (a,b))",
        "S: * LIST () \"/\" New",
        "S: * STATUS New (UIDVALIDITY 4 MAILBOXID (F4))",
        "S: * STATUS Replaced (UIDVALIDITY 4 MAILBOXID (F5))",
        "S: A0003 OK",
        &status,
        "S: * STATUS Work (MAILBOXID (F3))",
        "S: A0004 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1 LIST-EXTENDED LIST-STATUS OBJECTID", &script).await;
    let listing = imap.list().await.expect("a list");
    let told: Vec<_> = listing.mailboxes.iter().map(|m| (m.name.clone(), m.identity.as_deref())).collect();
    let work = (name("Work"), Some("F2212ea87-6097-4256-9d51-71338625"));
    assert_eq!(told, [(name("Other"), None), (name("Replaced"), None), work]);
    assert_eq!(listing.mailboxes[2].status.and_then(|status| status.messages), Some(7));
    assert_eq!(imap.identity(&name("Work")).await.expect("an answer").as_deref(), Some("F3"));
    server.finish().await;
}

#[tokio::test]
async fn what_was_listed_is_listed_again_for_the_price_of_what_is_asked_for_unless_that_is_another() {
    let work = "UIDVALIDITY 3 MAILBOXID (W1)";
    let same = ["MESSAGES 8 UIDVALIDITY 3", work];
    let cases = [
        (same, true),
        (["MESSAGES 8 UIDVALIDITY 4", "UIDVALIDITY 4 MAILBOXID (W1)"], false),
        (["MESSAGES 8 UIDVALIDITY 3", "UIDVALIDITY 3 MAILBOXID (W2)"], false),
        (["MESSAGES 8 UIDVALIDITY 3", "UIDVALIDITY 3"], false),
        (["MESSAGES 8", work], false),
    ];
    for ([status, identity], is_believed) in cases {
        let [status, identity, known] = [status, identity, work].map(|items| format!("S: * STATUS Work ({items})"));
        let script = [
            "C: A0002 LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))",
            "C: A0003 LIST \"\" \"*\" RETURN (STATUS (UIDVALIDITY MAILBOXID))",
            "S: * LIST () \"/\" Work",
            "S: * STATUS Work (MESSAGES 7 UIDVALIDITY 3)",
            "S: * LIST () \"/\" Other",
            "S: * STATUS Other (MESSAGES 5 UIDVALIDITY 3)",
            "S: A0002 OK",
            &known,
            "S: * STATUS Other (UIDVALIDITY 3 MAILBOXID (O1))",
            "S: A0003 OK",
            "C: A0004 STATUS \"Work\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)",
            "C: A0005 STATUS \"Work\" (UIDVALIDITY MAILBOXID)",
            &status,
            "S: A0004 OK",
            &identity,
            "S: A0005 OK",
        ];
        let (mut imap, server) = session("IMAP4rev1 LIST-EXTENDED LIST-STATUS OBJECTID", &script).await;
        let all = imap.list().await.expect("a list");
        assert_eq!(imap.listed(TIMEOUT), Some(&all));
        let again = imap.list_again(&[name("Work")]).await.expect("an answer");
        server.finish().await;
        assert_eq!(again.is_some(), is_believed, "{status} {identity}");
        let Some(again) = again else { continue };
        let counts = |listing: &Listing| -> Vec<_> {
            listing
                .mailboxes
                .iter()
                .map(|m| (m.identity.clone(), m.status.and_then(|status| status.messages)))
                .collect()
        };
        let [other, work] = ["O1", "W1"].map(|identity| Some(identity.to_owned()));
        assert_eq!(counts(&all), [(other.clone(), Some(5)), (work.clone(), Some(7))]);
        assert_eq!(counts(&again), [(other, None), (work, Some(8))]);
    }
}

#[tokio::test]
async fn what_a_session_listed_is_not_known_to_it_any_more_once_it_made_something() {
    let script = [
        "C: A0002 LIST \"\" \"*\"",
        "C: A0003 LSUB \"\" \"*\"",
        "S: A0002 OK",
        "S: A0003 OK",
        "C: A0004 CREATE \"Work\"",
        "S: A0004 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1", &script).await;
    imap.list().await.expect("a list");
    assert!(imap.listed(TIMEOUT).is_some());
    imap.create(&name("Work")).await.expect("made");
    assert!(imap.listed(TIMEOUT).is_none());
    server.finish().await;
}

#[tokio::test]
async fn a_dovecot_is_asked_for_an_item_of_its_own_and_others_are_not() {
    for (capability, item) in [("SNIPPET=FUZZY", " X-GUID"), ("PREVIEW", "")] {
        let status = format!("C: A0004 STATUS \"Work\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN{item})");
        let script = [
            "C: A0002 LIST \"\" \"*\"",
            "C: A0003 LSUB \"\" \"*\"",
            "S: A0002 OK",
            "S: A0003 OK",
            &status,
            "S: * STATUS Work (MESSAGES 1 X-GUID 0123abcd)",
            "S: A0004 OK",
        ];
        let (mut imap, server) = session(&format!("IMAP4rev1 {capability}"), &script).await;
        imap.prepare().await.expect("prepared");
        imap.status(&[name("Work")]).await.expect("a status");
        server.finish().await;
    }
}

#[tokio::test]
async fn a_mailbox_is_renamed_deleted_and_no_longer_subscribed_to() {
    let script = [
        "C: A0002 RENAME \"a\" \"b\\\"c\"",
        "S: A0002 OK",
        "C: A0003 DELETE \"a\"",
        "S: A0003 NO [CANNOT] it has children",
        "C: A0004 UNSUBSCRIBE \"a\"",
        "S: A0004 OK",
    ];
    let (mut imap, server) = session(PLAIN, &script).await;
    imap.rename(&name("a"), &name("b\"c")).await.expect("renamed");
    assert!(matches!(imap.delete(&name("a")).await, Err(Error::Refused { command: "DELETE", .. })));
    imap.unsubscribe(&name("a")).await.expect("unsubscribed");
    server.finish().await;
}
