//! Dialogues about messages: what is told of them, and when.

use super::dialogue::Dialogue;
use super::{server, server_with};
use crate::support::server::{Author, Change, Profile, StoreMode};
use std::collections::BTreeSet;

fn selected(server: &super::Server, how: &str) -> Dialogue {
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("ENABLE QRESYNC");
    let answer = client.ask(how);
    assert!(answer.last().is_some_and(|line| line.starts_with("OK")), "{answer:?}");
    client
}

#[test]
fn messages_are_appended_one_or_many_or_none() {
    let server = server(Profile::full());
    let mut client = Dialogue::login(server.port(), "ann");
    client.plays(
        "C: APPEND INBOX (\\Seen kw) \"17-Jul-1996 02:44:25 -0700\" «one»
         S: OK [APPENDUID 1700000001 1] Append completed.
         C: APPEND INBOX «two» (\\Flagged) «three» «l⏎f»
         S: OK [APPENDUID 1700000001 2:4] Append completed.
         C: APPEND INBOX «none» «»
         S: NO Can't save a zero byte message
         C: APPEND Nope «x»
         S: NO [TRYCREATE] Mailbox doesn't exist: Nope
         C: APPEND Nope {1}
         S: NO [TRYCREATE] Mailbox doesn't exist: Nope
         C: APPEND INBOX \"17-Foo\" «x»
         S: BAD Error in IMAP command APPEND: Invalid arguments",
    );
    let tag = client.say("APPEND INBOX {4}");
    assert_eq!(client.answer(&tag), ["+ OK"]);
    client.send("five\r\n");
    assert_eq!(client.answer(&tag), ["OK [APPENDUID 1700000001 5] Append completed."]);
    let inbox = server.snapshot("ann").remove("INBOX").expect("there is an INBOX");
    let texts: Vec<_> = inbox.iter().map(|(uid, flags, body)| (*uid, flags.as_str(), &body[..])).collect();
    assert_eq!(
        texts,
        [
            (1, "\\Seen kw", &b"one"[..]),
            (2, "", b"two"),
            (3, "\\Flagged", b"three"),
            (4, "", b"l\r\nf"),
            (5, "", b"five")
        ]
    );
}

#[test]
fn a_bare_line_feed_gets_its_carriage_return() {
    let server = server(Profile::full());
    let mut client = Dialogue::login(server.port(), "ann");
    client.send("x APPEND INBOX {5+}\r\n\na\r\nb\r\n");
    client.answer("x");
    assert_eq!(server.snapshot("ann")["INBOX"][0].2, b"\r\na\r\nb");
}

#[test]
fn fetch_answers_every_item_and_part() {
    let server = server(Profile::full());
    server.deliver("ann", "INBOX", "To: b\r\nSubject: one\r\n two\r\nFrom: a\r\n\r\nbody\0\r\n", &["\\Seen", "kw"]);
    selected(&server, "SELECT INBOX").plays(
        "C: UID FETCH 1 (UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ EMAILID)
         S: * 1 FETCH (UID 1 FLAGS (\\Seen \\Recent kw) RFC822.SIZE 45 INTERNALDATE \"01-Jan-2026 00:00:01 +0000\" MODSEQ (2) EMAILID (M3))
         S: OK Fetch completed.
         C: UID FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject from)]
         S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT FROM)] {31}⏎Subject: one⏎ two⏎From: a⏎⏎)
         S: OK Fetch completed.
         C: UID FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)] BODY.PEEK[TEXT]<1.2>)
         S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS.NOT (SUBJECT)] {18}⏎To: b⏎From: a⏎⏎ BODY[TEXT]<1> {2}⏎od)
         S: OK Fetch completed.
         C: FETCH 1 (FLAGS)
         S: * 1 FETCH (FLAGS (\\Seen \\Recent kw))
         S: OK Fetch completed.
         C: FETCH 2 (FLAGS)
         S: BAD Error in IMAP command FETCH: Invalid arguments
         C: UID FETCH 7 (FLAGS)
         S: OK Fetch completed.
         C: UID FETCH 7:* (FLAGS)
         S: * 1 FETCH (UID 1 FLAGS (\\Seen \\Recent kw))
         S: OK Fetch completed.
         C: UID FETCH 1 (NONSENSE)
         S: BAD Error in IMAP command UID FETCH: Invalid arguments",
    );
}

#[test]
fn a_body_that_is_not_peeked_at_becomes_seen() {
    let server = server_with(1);
    selected(&server, "SELECT INBOX").plays(
        "C: UID FETCH 1 (BODY[TEXT])
         S: * 1 FETCH (UID 1 BODY[TEXT] {4}⏎hi⏎)
         S: * 1 FETCH (UID 1 MODSEQ (3) FLAGS (\\Seen))
         S: OK Fetch completed.",
    );
    selected(&server, "EXAMINE INBOX").plays(
        "C: UID STORE 1 -FLAGS (\\Seen)
         S: OK Store ignored with read-only mailbox.",
    );
}

#[test]
fn store_tells_what_changed_and_only_that() {
    let server = server_with(3);
    selected(&server, "SELECT INBOX").plays(
        "C: UID STORE 1:2 +FLAGS (Foo \\Seen)
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Foo)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Foo \\*)] Flags permitted.
         S: * 1 FETCH (UID 1 MODSEQ (5) FLAGS (\\Seen Foo))
         S: * 2 FETCH (UID 2 MODSEQ (5) FLAGS (\\Seen Foo))
         S: OK Store completed.
         C: UID STORE 1 +FLAGS (FOO)
         S: OK Store completed.
         C: UID STORE 2:3 +FLAGS.SILENT (\\Seen)
         S: * 3 FETCH (UID 3 MODSEQ (6))
         S: OK Store completed.
         C: UID STORE 1:3 (UNCHANGEDSINCE 5) -FLAGS.SILENT (\\Seen)
         S: * 1 FETCH (UID 1 MODSEQ (7))
         S: * 2 FETCH (UID 2 MODSEQ (7))
         S: OK [MODIFIED 3] Conditional store failed.
         C: STORE 3 FLAGS ()
         S: * 3 FETCH (UID 3 MODSEQ (8) FLAGS ())
         S: OK Store completed.
         C: UID STORE 9 +FLAGS (\\Seen)
         S: OK Store completed.",
    );
}

#[test]
fn copy_and_move_pair_the_uids_in_order() {
    let server = server_with(10);
    server.create("ann", "To");
    selected(&server, "SELECT INBOX").plays(
        "C: UID COPY 10,6,8 To
         S: OK [COPYUID 1700000002 6,8,10 1:3] Copy completed.
         C: UID MOVE 2,1 To
         S: * OK [COPYUID 1700000002 1:2 4:5] Moved UIDs.
         S: * VANISHED 1:2
         S: OK [HIGHESTMODSEQ 12] Move completed.
         C: UID MOVE 99 To
         S: OK No messages found.
         C: UID COPY 3 Nope
         S: NO [TRYCREATE] Mailbox doesn't exist: Nope",
    );
    let subjects: Vec<Vec<u8>> = server.snapshot("ann")["To"].iter().map(|(.., body)| body[9..11].to_vec()).collect();
    assert_eq!(subjects, [b"6\r", b"8\r", b"10", b"1\r", b"2\r"]);
}

#[test]
fn a_server_like_courier_pairs_the_uids_as_they_were_asked_for() {
    let server = server(Profile::courier());
    for body in ["1", "2", "3"] {
        server.deliver("ann", "INBOX", body, &[]);
    }
    server.create("ann", "INBOX.To");
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    client.plays("C: UID COPY 3,1 INBOX.To\nS: OK [COPYUID 1700000002 3,1 1:2] Copy completed.");
    assert_eq!(server.snapshot("ann")["INBOX.To"][0].2, b"3");
}

#[test]
fn expunge_takes_what_is_deleted_and_was_seen_to_be() {
    let server = server(Profile { expunges_only_what_the_session_saw: true, ..Profile::full() });
    for body in ["1", "2", "3", "4"] {
        server.deliver("ann", "INBOX", body, &[]);
    }
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("EXAMINE INBOX");
    client.plays("C: EXPUNGE\nS: NO [READ-ONLY] Mailbox is read-only");
    client.ask("SELECT INBOX");
    server.store("ann", "INBOX", &[1, 3, 4], StoreMode::Add, &["\\Deleted"]);
    client.plays(
        "C: UID EXPUNGE 1
         S: * 1 FETCH (FLAGS (\\Deleted \\Recent))
         S: * 3 FETCH (FLAGS (\\Deleted \\Recent))
         S: * 4 FETCH (FLAGS (\\Deleted \\Recent))
         S: OK Expunge completed.
         C: UID EXPUNGE 1:2
         S: * 1 EXPUNGE
         S: * 3 RECENT
         S: OK Expunge completed.
         C: EXPUNGE
         S: * 3 EXPUNGE
         S: * 2 EXPUNGE
         S: * 1 RECENT
         S: OK Expunge completed.
         C: UNSELECT
         S: OK Unselect completed.
         C: EXPUNGE
         S: BAD No mailbox selected",
    );
}

#[test]
fn close_expunges_and_unselect_does_not() {
    let server = server_with(2);
    server.store("ann", "INBOX", &[1], StoreMode::Add, &["\\Deleted"]);
    for (leave, left) in [("UNSELECT", 2), ("CLOSE", 1)] {
        let mut client = selected(&server, "SELECT INBOX");
        assert_eq!(client.ask(leave).len(), 1);
        assert_eq!(server.snapshot("ann")["INBOX"].len(), left, "{leave}");
    }
}

#[test]
fn search_answers_old_and_extended() {
    let server = server_with(4);
    server.store("ann", "INBOX", &[2, 3], StoreMode::Add, &["\\Deleted", "kw"]);
    selected(&server, "SELECT INBOX").plays(
        "C: UID SEARCH ALL
         S: * SEARCH 1 2 3 4
         S: OK Search completed.
         C: UID SEARCH UID 1:2 DELETED
         S: * SEARCH 2
         S: OK Search completed.
         C: UID SEARCH RETURN (ALL COUNT) NOT DELETED
         S: * ESEARCH (TAG \"a6\") UID ALL 1,4 COUNT 2
         S: OK Search completed.
         C: UID SEARCH RETURN (ALL COUNT) SEEN
         S: * ESEARCH (TAG \"a7\") UID COUNT 0
         S: OK Search completed.
         C: UID SEARCH RETURN (MIN MAX) OR UID 4 (KEYWORD KW UNSEEN)
         S: * ESEARCH (TAG \"a8\") UID MIN 2 MAX 4
         S: OK Search completed.
         C: UID SEARCH MODSEQ 6
         S: * SEARCH 2 3 (MODSEQ 6)
         S: OK Search completed.
         C: SEARCH HEADER Subject 3
         S: * SEARCH 3
         S: OK Search completed.",
    );
}

#[test]
fn a_resync_tells_all_that_happened_and_nothing_else() {
    let server = server_with(5);
    let uid_validity = 1_700_000_001;
    server.expunge("ann", "INBOX", &[2, 3]);
    server.store("ann", "INBOX", &[4], StoreMode::Add, &["\\Seen"]);
    let mut client = selected(&server, "SELECT INBOX");
    let tells = |client: &mut Dialogue, resync: &str| -> Vec<String> {
        let answer = client.ask(&format!("SELECT INBOX (QRESYNC ({resync}))"));
        assert!(answer.contains(&"* OK [CLOSED] Previous mailbox closed.".to_owned()));
        answer.into_iter().filter(|line| line.contains("VANISHED") || line.contains("FETCH")).collect()
    };
    let change = "* 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (8))";
    let vanished = "* VANISHED (EARLIER) 2:3";
    assert_eq!(tells(&mut client, &format!("{uid_validity} 6")), [vanished, change]);
    assert_eq!(tells(&mut client, &format!("{uid_validity} 7")), [change]);
    assert_eq!(tells(&mut client, &format!("{uid_validity} 6 3:4")), ["* VANISHED (EARLIER) 3", change]);
    assert!(tells(&mut client, &format!("{uid_validity} 8")).is_empty());
    assert!(tells(&mut client, &format!("{uid_validity} 99")).is_empty(), "too high is an empty OK, as at Dovecot");
    assert!(tells(&mut client, "77 6").is_empty(), "another UIDVALIDITY is an empty OK, as at Dovecot");
    client.plays(
        "C: UID FETCH 1:4294967295 (UID FLAGS) (CHANGEDSINCE 6 VANISHED)
         S: * VANISHED (EARLIER) 2:3
         S: * 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (8))
         S: OK Fetch completed.",
    );
    server.forget_vanished("ann", "INBOX");
    assert_eq!(tells(&mut client, &format!("{uid_validity} 7")), [vanished, change], "forgotten: every absent UID");
    server.lower_modseq("ann", "INBOX", 3);
    assert!(tells(&mut client, &format!("{uid_validity} 8")).is_empty(), "a lost index hides everything");
}

#[test]
fn mod_sequences_only_rise_and_every_change_has_one() {
    let server = server_with(3);
    server.create("ann", "To");
    let highest = || server.with(|model| model.mailbox("ann", "INBOX").map(|inbox| inbox.highest_mod_seq));
    let mut client = selected(&server, "SELECT INBOX");
    let mut last = highest();
    for said in [
        "UID STORE 1 +FLAGS (\\Seen)",
        "UID STORE 1:3 -FLAGS.SILENT (\\Seen)",
        "APPEND INBOX «x»",
        "UID MOVE 1 To",
        "UID STORE 2 +FLAGS (\\Deleted)",
        "UID EXPUNGE 2",
        "UID COPY 3 INBOX",
    ] {
        client.ask(said);
        assert!(highest() > last, "{said} left HIGHESTMODSEQ at {last:?}");
        last = highest();
    }
    for said in ["UID STORE 3 -FLAGS (\\Seen)", "UID EXPUNGE 3", "UID COPY 3 To", "NOOP"] {
        client.ask(said);
        assert_eq!(highest(), last, "{said} changed nothing");
    }
    let known: BTreeSet<u32> = server.snapshot("ann")["INBOX"].iter().map(|(uid, ..)| *uid).collect();
    let vanished = server.with(|model| model.mailbox("ann", "INBOX").map(|inbox| inbox.vanished_since(0)));
    let all: BTreeSet<u32> = vanished.into_iter().flatten().chain(known).collect();
    assert_eq!(all, (1..=5).collect(), "each UID is either there or vanished");
}

#[test]
fn other_clients_changes_are_told_where_it_is_legal() {
    let server = server_with(3);
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    server.expunge("ann", "INBOX", &[2]);
    server.deliver("ann", "INBOX", "new", &[]);
    client.plays(
        "C: FETCH 1:3 (UID)
         S: * 1 FETCH (UID 1)
         S: * 2 FETCH (UID 2)
         S: * 3 FETCH (UID 3)
         S: * 4 EXISTS
         S: * 1 RECENT
         S: OK Fetch completed.
         C: UID FETCH 2 (FLAGS BODY.PEEK[])
         S: * 2 FETCH (UID 2 FLAGS () BODY[] NIL)
         S: * 2 EXPUNGE
         S: OK [EXPUNGEISSUED] Some messages were already expunged.
         C: FETCH 2 (UID)
         S: * 2 FETCH (UID 3)
         S: OK Fetch completed.",
    );
}

#[test]
fn an_idling_session_hears_of_changes_until_done() {
    let server = server_with(2);
    let mut client = selected(&server, "SELECT INBOX");
    let tag = client.say("IDLE");
    assert_eq!(client.answer(&tag), ["+ idling"]);
    server.deliver("ann", "INBOX", "x", &[]);
    assert_eq!([client.line(), client.line()], [Some("* 3 EXISTS".into()), Some("* 1 RECENT".into())]);
    server.store("ann", "INBOX", &[1], StoreMode::Add, &["\\Flagged"]);
    assert_eq!(client.line().as_deref(), Some("* 1 FETCH (UID 1 MODSEQ (5) FLAGS (\\Flagged))"));
    server.expunge("ann", "INBOX", &[1, 2]);
    assert_eq!(client.line().as_deref(), Some("* VANISHED 1:2"));
    client.send("DONE\r\n");
    assert_eq!(client.answer(&tag), ["OK Idle completed."]);
}

#[test]
fn a_session_ends_when_its_mailbox_is_deleted_or_renumbered_and_follows_a_rename() {
    let server = server(Profile::full());
    server.create("ann", "Box");
    server.deliver("ann", "Box", "x", &[]);
    let mut client = selected(&server, "SELECT Box");
    server.rename("ann", "Box", "Crate");
    client.plays("C: UID FETCH 1 (RFC822.SIZE)\nS: * 1 FETCH (UID 1 RFC822.SIZE 1)\nS: OK Fetch completed.");
    server.bump_uidvalidity("ann", "Crate");
    client.plays("C: NOOP\nS: * BYE UIDVALIDITY changed\nS: OK NOOP completed.");
    let mut client = selected(&server, "SELECT Crate");
    server.delete("ann", "Crate");
    client.plays("C: NOOP\nS: * BYE Selected mailbox was deleted\nS: OK NOOP completed.");
    assert_eq!(client.rest(), "");
}

#[test]
fn the_history_names_every_change_and_its_author() {
    let server = server_with(0);
    let uid = server.deliver("ann", "INBOX", "x", &[]);
    let mut client = selected(&server, "SELECT INBOX");
    client.ask("UID STORE 1 +FLAGS (\\Deleted)");
    client.ask("UID EXPUNGE 1");
    let history = server.history();
    let authors: Vec<Author> = history.iter().map(|event| event.author).collect();
    assert_eq!(authors, [Author::Other, Author::Session(1), Author::Session(1)]);
    let body: std::sync::Arc<[u8]> = b"x"[..].into();
    assert_eq!(history[2].change, Change::Expunged { mailbox: "INBOX".to_owned(), uid, body });
}

#[test]
fn a_resync_of_a_large_mailbox_with_a_ragged_set_is_quick() {
    let server = server_with(20_000);
    let odd: Vec<String> = (1..20_000).step_by(2).map(|uid| uid.to_string()).collect();
    let odd = odd.join(",");
    let mut client = selected(&server, "SELECT INBOX");
    let started = std::time::Instant::now();
    client.ask(&format!("UID STORE {odd} +FLAGS.SILENT (\\Deleted)"));
    client.ask(&format!("UID EXPUNGE {odd}"));
    let answer = client.ask(&format!("SELECT INBOX (QRESYNC (1700000001 20001 {odd}))"));
    assert!(answer.contains(&format!("* VANISHED (EARLIER) {odd}")));
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
