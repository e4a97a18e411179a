//! Dialogues about the session and the list of mailboxes.

use super::dialogue::Dialogue;
use super::{server, server_with};
use crate::support::server::{Profile, Server};

#[test]
fn the_greeting_and_the_login_carry_the_capabilities() {
    let server = server(Profile::full());
    let mut client = Dialogue::connect(server.port());
    client.plays(
        "C: CAPABILITY
         S: * CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ AUTH=PLAIN
         S: OK Capability completed.
         C: SELECT INBOX
         S: BAD Log in first
         C: LOGIN ann wrong
         S: NO [AUTHENTICATIONFAILED] Authentication failed.
         C: LOGIN «ann» \"testpass\"
         S: OK [CAPABILITY IMAP4rev1 SASL-IR ID…
         C: ID (\"name\" \"x\")
         S: * ID (\"name\" \"Twinless\")
         S: OK ID completed.
         C: ENABLE QRESYNC NONSENSE
         S: * ENABLED QRESYNC
         S: OK Enabled.
         C: NAMESPACE
         S: * NAMESPACE ((\"\" \"/\")) NIL NIL
         S: OK Namespace completed.
         C: NOOP
         S: OK NOOP completed.
         C: NONSENSE
         S: BAD Error in IMAP command NONSENSE: Unknown command
         C: LOGOUT
         S: * BYE Logging out
         S: OK Logout completed.",
    );
    assert_eq!(client.rest(), "");
}

#[test]
fn plain_is_accepted_with_and_without_the_initial_response() {
    let server = server(Profile::full());
    let response = "AGFubgB0ZXN0cGFzcw==";
    let mut client = Dialogue::connect(server.port());
    assert!(client.ask(&format!("AUTHENTICATE PLAIN {response}"))[0].starts_with("OK"));
    let mut client = Dialogue::connect(server.port());
    let tag = client.say("AUTHENTICATE PLAIN");
    assert_eq!(client.answer(&tag), ["+ "]);
    client.send(&format!("{response}\r\n"));
    assert!(client.answer(&tag)[0].starts_with("OK"));
    let commands = server.commands();
    assert!(!format!("{commands:?}").contains(response), "a secret in {commands:?}");
}

#[test]
fn no_password_is_in_the_log() {
    let server = server(Profile::full());
    let mut client = Dialogue::connect(server.port());
    client.ask("LOGIN ann «testpass»");
    assert_eq!(server.commands(), ["LOGIN ann ***"]);
}

#[test]
fn mailboxes_are_made_renamed_subscribed_and_deleted() {
    let server = server(Profile::full());
    server.create_with_role("ann", "Bin", "\\Trash");
    Dialogue::login(server.port(), "ann").plays(
        "C: CREATE A/B/C
         S: OK [MAILBOXID (F4)] Create completed.
         C: CREATE inbox
         S: NO [ALREADYEXISTS] Mailbox already exists
         C: LIST \"\" \"*\"
         S: * LIST (\\Noselect \\HasChildren) \"/\" A
         S: * LIST (\\Noselect \\HasChildren) \"/\" A/B
         S: * LIST (\\HasNoChildren) \"/\" A/B/C
         S: * LIST (\\HasNoChildren \\Trash) \"/\" Bin
         S: * LIST (\\HasNoChildren) \"/\" INBOX
         S: OK List completed.
         C: LIST \"\" %
         S: * LIST (\\Noselect \\HasChildren) \"/\" A
         S: * LIST (\\HasNoChildren \\Trash) \"/\" Bin
         S: * LIST (\\HasNoChildren) \"/\" INBOX
         S: OK List completed.
         C: LIST \"\" \"\"
         S: * LIST (\\Noselect) \"/\" \"\"
         S: OK List completed.
         C: SUBSCRIBE A/B/C
         S: OK Subscribe completed.
         C: SUBSCRIBE Nope
         S: NO [NONEXISTENT] Mailbox doesn't exist: Nope
         C: LSUB \"\" \"*\"
         S: * LSUB () \"/\" A/B/C
         S: * LSUB () \"/\" Bin
         S: * LSUB () \"/\" INBOX
         S: OK Lsub completed.
         C: LSUB \"\" %
         S: * LSUB (\\Noselect) \"/\" A
         S: * LSUB () \"/\" Bin
         S: * LSUB () \"/\" INBOX
         S: OK Lsub completed.
         C: RENAME A \"new name\"
         S: OK Rename completed.
         C: RENAME Nope x
         S: NO [NONEXISTENT] Mailbox doesn't exist: Nope
         C: RENAME Bin INBOX
         S: NO [ALREADYEXISTS] Mailbox already exists
         C: LIST \"\" new*
         S: * LIST (\\Noselect \\HasChildren) \"/\" \"new name\"
         S: * LIST (\\Noselect \\HasChildren) \"/\" \"new name/B\"
         S: * LIST (\\HasNoChildren) \"/\" \"new name/B/C\"
         S: OK List completed.
         C: DELETE \"new name/B/C\"
         S: OK Delete completed.
         C: DELETE \"new name/B/C\"
         S: NO [NONEXISTENT] Mailbox doesn't exist: new name/B/C
         C: DELETE INBOX
         S: NO [CANNOT] INBOX can't be changed so
         C: UNSUBSCRIBE A/B/C
         S: OK Unsubscribe completed.",
    );
}

#[test]
fn list_returns_subscriptions_roles_and_status_in_one_answer() {
    let server = server_with(2);
    server.create_with_role("ann", "Bin", "\\Trash");
    server.with(|model| model.subscribe(crate::support::server::Author::Other, "ann", "Bin", false));
    server.create("ann", "Odd/One");
    server.set_unreadable("ann", "Odd/One", true);
    Dialogue::login(server.port(), "ann").plays(
        "C: LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ))
         S: * LIST (\\Trash) \"/\" Bin
         S: * STATUS Bin (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1700000002 UNSEEN 0 HIGHESTMODSEQ 1)
         S: * LIST (\\Subscribed) \"/\" INBOX
         S: * STATUS INBOX (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1700000001 UNSEEN 2 HIGHESTMODSEQ 3)
         S: * LIST (\\NonExistent) \"/\" Odd
         S: * LIST (\\Subscribed) \"/\" Odd/One
         S: * NO [SERVERBUG] Internal error occurred.
         S: OK List completed.
         C: LIST (SUBSCRIBED) \"\" \"*\"
         S: * LIST (\\Subscribed) \"/\" INBOX
         S: * LIST (\\Subscribed) \"/\" Odd/One
         S: OK List completed.
         C: LIST (SPECIAL-USE) \"\" \"*\" RETURN (CHILDREN)
         S: * LIST (\\HasNoChildren \\Trash) \"/\" Bin
         S: OK List completed.
         C: STATUS INBOX (MESSAGES SIZE MAILBOXID)
         S: * STATUS INBOX (MESSAGES 2 SIZE 36 MAILBOXID (F2))
         S: OK Status completed.
         C: STATUS Odd/One (MESSAGES)
         S: NO [SERVERBUG] Internal error occurred.
         C: STATUS Nope (MESSAGES)
         S: NO Mailbox doesn't exist: Nope",
    );
}

#[test]
fn a_hostile_mailbox_name_is_listed_as_it_is() {
    let server = server(Profile::full());
    for name in ["../../etc", "a\"b\\c", "line\r\nbreak", "%*"] {
        server.create("ann", name);
    }
    Dialogue::login(server.port(), "ann").plays(
        "C: LIST \"\" \"*\"
         S: * LIST (\\HasNoChildren) \"/\" \"%*\"
         S: * LIST (\\Noselect \\HasChildren) \"/\" ..
         S: * LIST (\\Noselect \\HasChildren) \"/\" ../..
         S: * LIST (\\HasNoChildren) \"/\" ../../etc
         S: * LIST (\\HasNoChildren) \"/\" INBOX
         S: * LIST (\\HasNoChildren) \"/\" \"a\\\"b\\\\c\"
         S: * LIST (\\HasNoChildren) \"/\" {11}⏎line⏎break
         S: OK List completed.",
    );
}

#[test]
fn a_profile_without_an_extension_does_not_understand_it() {
    let server = server(Profile::plain());
    server.deliver("ann", "INBOX", "x", &[]);
    Dialogue::login(server.port(), "ann").plays(
        "C: LIST \"\" \"*\" RETURN (SUBSCRIBED)
         S: BAD Error in IMAP command LIST: Invalid arguments
         C: STATUS INBOX (HIGHESTMODSEQ)
         S: BAD Error in IMAP command STATUS: Invalid arguments
         C: SELECT INBOX (CONDSTORE)
         S: BAD Error in IMAP command SELECT: Invalid arguments
         C: ENABLE QRESYNC
         S: * ENABLED
         S: OK Enabled.
         C: SELECT INBOX
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted.
         S: * 1 EXISTS
         S: * 1 RECENT
         S: * OK [UNSEEN 1] First unseen.
         S: * OK [UIDVALIDITY 1700000001] UIDs valid
         S: * OK [UIDNEXT 2] Predicted next UID
         S: OK [READ-WRITE] Select completed.
         C: UID FETCH 1 (MODSEQ)
         S: BAD Error in IMAP command UID FETCH: Invalid arguments
         C: UID MOVE 1 INBOX
         S: BAD Error in IMAP command UID MOVE: Unknown command
         C: UID EXPUNGE 1
         S: BAD Error in IMAP command UID EXPUNGE: Unknown command
         C: UID SEARCH RETURN (ALL) ALL
         S: BAD Error in IMAP command UID SEARCH: Invalid arguments
         C: UID COPY 1 INBOX
         S: * 2 EXISTS
         S: * 2 RECENT
         S: OK Copy completed.
         C: APPEND INBOX {1}⏎y
         S: + OK",
    );
    let mut client = Dialogue::login(server.port(), "ann");
    assert_eq!(client.ask("APPEND INBOX «y»"), ["* BYE this literal was not asked for", "closed"]);
}

#[test]
fn courier_has_its_names_beneath_inbox() {
    let server = server(Profile::courier());
    let mut client = Dialogue::connect(server.port());
    client.plays(
        "C: LOGIN ann testpass
         S: OK Logged in
         C: NAMESPACE
         S: * NAMESPACE ((\"INBOX.\" \".\")) NIL NIL
         S: OK Namespace completed.
         C: CREATE Foo
         S: NO [CANNOT] Invalid mailbox name
         C: CREATE INBOX.Foo
         S: OK Create completed.
         C: SELECT INBOX.Foo
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted.
         S: * 0 EXISTS
         S: * 0 RECENT
         S: * OK [UIDVALIDITY 1700000002] UIDs valid
         S: OK [READ-WRITE] Select completed.",
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let server = server_with(1);
    server.create("ann", "Other");
    let mut client = Dialogue::login(server.port(), "ann");
    client.send(
        "x1 ENABLE QRESYNC\r\nx2 SELECT INBOX\r\nx3 UID STORE 1 +FLAGS.SILENT (\\Deleted)\r\nx4 UID EXPUNGE 1\r\n\
         x5 APPEND Other {2+}\r\nab\r\nx6 SELECT Other\r\nx7 UID FETCH 1 (BODY.PEEK[])\r\nx8 LOGOUT\r\n",
    );
    let all = client.rest();
    let tagged: Vec<&str> = all.split('⏎').filter(|line| line.starts_with('x')).map(|line| &line[..5]).collect();
    assert_eq!(tagged, ["x1 OK", "x2 OK", "x3 OK", "x4 OK", "x5 OK", "x6 OK", "x7 OK", "x8 OK"]);
    assert!(all.contains("* VANISHED 1⏎x4 OK [HIGHESTMODSEQ 4]"), "{all}");
    assert!(all.contains("* OK [CLOSED] Previous mailbox closed.⏎"), "{all}");
    assert!(all.contains("* 1 FETCH (UID 1 BODY[] {2}⏎ab)⏎x7"), "{all}");
}

#[test]
fn a_command_of_a_client_that_is_gone_takes_effect_and_half_a_command_does_not() {
    let server = server(Profile::full());
    let mut client = Dialogue::login(server.port(), "ann");
    client.send("x1 APPEND INBOX {5+}\r\nwhole\r\nx2 APPEND INBOX {5+}\r\nhal");
    drop(client);
    server.wait_until_alone();
    let bodies: Vec<Vec<u8>> = server.snapshot("ann")["INBOX"].iter().map(|(.., body)| body.clone()).collect();
    assert_eq!(bodies, [b"whole".to_vec()]);
}

#[test]
fn a_state_comes_back_as_it_was() {
    let server = server_with(2);
    let state = server.clone_state();
    let before = server.snapshot("ann");
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    client.ask("APPEND INBOX «x»");
    server.expunge("ann", "INBOX", &[1]);
    assert_ne!(server.snapshot("ann"), before);
    server.restore_state(&state);
    assert_eq!(client.rest(), "");
    assert_eq!((server.snapshot("ann"), server.commands()), (before.clone(), Vec::new()));
    let twin = Server::start_from(Profile::full(), &state);
    assert_eq!(twin.snapshot("ann"), before);
    let mut client = Dialogue::login(twin.port(), "ann");
    assert!(client.ask("APPEND INBOX «x»")[0].starts_with("OK [APPENDUID 1700000001 3]"));
}

#[test]
fn only_commands_that_may_change_something_count_as_mutating() {
    let server = server_with(1);
    let mut client = Dialogue::login(server.port(), "ann");
    let mark = server.mark();
    for said in ["SELECT INBOX", "UID FETCH 1 FLAGS", "NOOP", "UID STORE 1 +FLAGS (\\Seen)", "CREATE New"] {
        client.ask(said);
    }
    client.ask("APPEND INBOX (\\Seen) «abc»");
    assert_eq!(
        server.mutating_commands_since(mark),
        ["UID STORE 1 +FLAGS (\\Seen)", "CREATE New", "APPEND INBOX (\\Seen) {3}"]
    );
}
