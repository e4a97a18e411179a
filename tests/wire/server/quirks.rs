//! Each quirk of a profile shows.

use super::dialogue::Dialogue;
use super::server;
use crate::support::server::{Act, BareLf, Profile, StoreMode, When};

#[test]
fn messages_are_refused_as_the_profile_says() {
    let strict = Profile {
        bare_lf: BareLf::Refuse,
        refuses_nul: true,
        append_limit: Some(8),
        keywords: false,
        ..Profile::full()
    };
    let server = server(strict);
    Dialogue::login(server.port(), "ann").plays(
        "C: APPEND INBOX «a\0b»
         S: NO Message contains NUL characters
         C: APPEND INBOX «far too long»
         S: NO [TOOBIG] Message is too large
         C: APPEND INBOX {12}
         S: NO [TOOBIG] Message is too large
         C: APPEND INBOX (kw) «a»
         S: BAD Keywords are not supported
         C: APPEND INBOX (\\Seen) «a⏎b»
         S: OK [APPENDUID 1700000001 1] Append completed.",
    );
    let mut client = Dialogue::login(server.port(), "ann");
    client.send("x APPEND INBOX {3+}\r\na\nb\r\n");
    assert_eq!(client.answer("x"), ["NO Message contains bare newlines"]);
    client.ask("SELECT INBOX");
    client.plays("C: UID STORE 1 +FLAGS (kw)\nS: BAD Keywords are not supported");
}

#[test]
fn a_short_literal_needs_no_permission_with_literal_minus() {
    let server = server(Profile::full().without(&["LITERAL+"]).with(&["LITERAL-"]));
    let mut client = Dialogue::login(server.port(), "ann");
    assert!(client.ask(&format!("APPEND INBOX «{}»", "x".repeat(4096)))[0].starts_with("OK"));
    let answer = client.ask(&format!("APPEND INBOX «{}»", "x".repeat(4097)));
    assert_eq!(answer, ["* BYE this literal was not asked for", "closed"]);
}

#[test]
fn a_star_hides_what_vanished_at_the_top_as_at_cyrus() {
    let server = server(Profile { star_hides_vanished_top: true, ..Profile::full() });
    for body in ["1", "2", "3"] {
        server.deliver("ann", "INBOX", body, &[]);
    }
    server.expunge("ann", "INBOX", &[2, 3]);
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("ENABLE QRESYNC");
    client.ask("SELECT INBOX");
    client.plays(
        "C: UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4 VANISHED)
         S: OK Fetch completed.
         C: UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE 4 VANISHED)
         S: * VANISHED (EARLIER) 2:3
         S: OK Fetch completed.",
    );
}

#[test]
fn parents_are_made_where_the_profile_says() {
    let server = server(Profile { create_makes_parents: true, ..Profile::full() });
    Dialogue::login(server.port(), "ann").ask("CREATE A/B/C");
    assert_eq!(server.snapshot("ann").into_keys().collect::<Vec<_>>(), ["A", "A/B", "A/B/C", "INBOX"]);
}

#[test]
fn a_new_uid_validity_can_go_untold() {
    let server = server(Profile { bye_on_new_uid_validity: false, ..Profile::full() });
    server.deliver("ann", "INBOX", "x", &[]);
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    server.bump_uidvalidity("ann", "INBOX");
    client.plays("C: NOOP\nS: OK NOOP completed.");
    let answer = client.ask("SELECT INBOX");
    assert!(answer.contains(&"* OK [UIDVALIDITY 1700000002] UIDs valid".to_owned()), "{answer:?}");
}

#[test]
fn a_uid_can_come_to_mean_another_message() {
    let server = server(Profile::full());
    server.deliver("ann", "INBOX", "one", &[]);
    server.replace("ann", "INBOX", 1, "other");
    assert_eq!(server.snapshot("ann")["INBOX"], [(1, String::new(), b"other".to_vec())]);
}

#[test]
fn a_refused_copy_copies_nothing_and_a_refused_move_moves_the_rest() {
    let server = server(Profile::full());
    for body in ["1", "2", "3"] {
        server.deliver("ann", "INBOX", body, &[]);
    }
    server.create("ann", "To");
    server.rule(When::any(), Act::RefuseUid(2));
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    client.plays(
        "C: UID COPY 1:3 To
         S: NO Some messages could not be copied
         C: UID MOVE 1:3 To
         S: * OK [COPYUID 1700000002 1,3 1:2] Moved UIDs.
         S: * 3 EXPUNGE
         S: * 1 EXPUNGE
         S: * 1 RECENT
         S: NO Some messages could not be moved",
    );
}

#[test]
fn names_and_flags_keep_their_first_spelling() {
    let server = server(Profile::full());
    server.deliver("ann", "INBOX", "x", &["Foo"]);
    server.store("ann", "INBOX", &[1], StoreMode::Add, &["FOO", "\\SEEN", "\\Recent"]);
    assert_eq!(server.snapshot("ann")["INBOX"][0].1, "Foo \\Seen");
    assert!(Dialogue::login(server.port(), "ann").ask("SELECT inbox").contains(&"* 1 EXISTS".to_owned()));
}
