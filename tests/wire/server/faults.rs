//! Each fault does what it says.

use super::dialogue::Dialogue;
use super::{server, server_with};
use crate::support::server::{Act, Profile, Server, When};
use std::time::{Duration, Instant};

fn selected(server: &Server) -> Dialogue {
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT INBOX");
    client
}

/// What `UID FETCH 1 (BODY.PEEK[])` gets, up to the close or the tagged line.
fn fetched(act: Act) -> (Vec<String>, String) {
    let server = server_with(2);
    let mut client = selected(&server);
    server.rule(When::verb("UID FETCH").nth(1), act);
    let tag = client.say("UID FETCH 1 (BODY.PEEK[TEXT])");
    client.say("LOGOUT");
    let all = client.rest();
    (all.split('⏎').map(|line| line.replacen(&format!("{tag} "), "tag ", 1)).collect(), all)
}

#[test]
fn refusals_come_instead_of_the_command() {
    let server = server_with(1);
    server.rule(When::verb("UID STORE").nth(1), Act::No("UNAVAILABLE", "try later"));
    server.rule(When::verb("UID STORE").nth(2), Act::Bad);
    server.rule(When::verb("UID STORE").from(3), Act::No("", "never"));
    selected(&server).plays(
        "C: UID STORE 1 +FLAGS (\\Seen)
         S: NO [UNAVAILABLE] try later
         C: UID STORE 1 +FLAGS (\\Seen)
         S: BAD Error in IMAP command
         C: UID STORE 1 +FLAGS (\\Seen)
         S: NO never
         C: UID STORE 1 +FLAGS (\\Seen)
         S: NO never",
    );
    assert_eq!(server.snapshot("ann")["INBOX"][0].1, "");
    assert_eq!(server.rule_counts(), [4, 4, 4]);
}

#[test]
fn a_rule_can_name_the_mailbox_and_the_bytes() {
    let server = server(Profile::full());
    server.create("ann", "Box");
    server.rule(When::verb("APPEND").containing("poison"), Act::No("", "refused"));
    server.rule(When::verb("NOOP").mailbox("Box"), Act::No("", "not here"));
    server.rule(When::any().mailbox("Shut"), Act::No("NOPERM", "shut"));
    selected(&server).plays(
        "C: APPEND Box «fine»
         S: OK [APPENDUID 1700000002 1] Append completed.
         C: APPEND Box «fine» «a poison»
         S: NO refused
         C: NOOP
         S: OK NOOP completed.
         C: CREATE Shut
         S: NO [NOPERM] shut",
    );
    let mut client = Dialogue::login(server.port(), "ann");
    client.ask("SELECT Box");
    client.plays("C: NOOP\nS: NO not here");
    assert_eq!(server.snapshot("ann")["Box"].len(), 1);
}

#[test]
fn a_dropped_command_has_no_effect_and_a_lost_reply_has_one() {
    for (act, messages) in [(Act::Drop, 0), (Act::Bye("leaving"), 0), (Act::EffectThenDrop, 1)] {
        let server = server(Profile::full());
        let mut client = Dialogue::login(server.port(), "ann");
        server.rule(When::verb("APPEND"), act);
        client.say("APPEND INBOX «x»");
        let heard = client.rest();
        assert_eq!(server.snapshot("ann")["INBOX"].len(), messages);
        assert!(heard.is_empty() || heard == "* BYE leaving⏎", "{heard}");
    }
}

#[test]
fn replies_are_bent_as_told() {
    let body = "* 1 FETCH (UID 1 BODY[TEXT] {4}";
    let (lines, _) = fetched(Act::Garbage(b"%&\r\n".to_vec()));
    assert_eq!(lines[..3], ["%&", body, "hi"]);
    let (lines, _) = fetched(Act::WrongTag);
    assert_eq!(lines[3], "xa3x OK Fetch completed.");
    let (lines, _) = fetched(Act::OmitTagged);
    assert_eq!(lines[2..4], [")", "* BYE Logging out"]);
    let (lines, _) = fetched(Act::DuplicateTagged);
    assert_eq!(lines[3], "tag OK Fetch completed.");
    assert!(lines[4].ends_with("OK Fetch completed."));
    let (lines, _) = fetched(Act::LiteralLen("99".to_owned()));
    assert_eq!(lines[..2], ["* 1 FETCH (UID 1 BODY[TEXT] {99}", "hi"]);
    let (lines, _) = fetched(Act::NilBody);
    assert_eq!(lines[0], "* 1 FETCH (UID 1 BODY[TEXT] NIL)");
    let (lines, _) = fetched(Act::FalseVanished("1:2"));
    assert_eq!(lines[3..5], ["* VANISHED (EARLIER) 1:2", "tag OK Fetch completed."]);
    let (_, all) = fetched(Act::TruncateLiteral);
    assert_eq!(all, format!("{body}⏎hi"));
    let (_, all) = fetched(Act::CutAfterBytes(7));
    assert_eq!(all, "* 1 FET");
    let (_, all) = fetched(Act::CutSessionAfter(8));
    assert_eq!(all, "* 1 FETC");
}

#[test]
fn a_message_is_refused_or_left_out_alone() {
    let server = server_with(3);
    let mut client = selected(&server);
    server.rule(When::verb("UID FETCH").containing("BODY").nth(1), Act::RefuseUid(2));
    server.rule(When::verb("UID FETCH").containing("BODY").nth(2), Act::OmitUid(2));
    client.plays(
        "C: UID FETCH 1:3 (UID)
         S: * 1 FETCH (UID 1)
         S: * 2 FETCH (UID 2)
         S: * 3 FETCH (UID 3)
         S: OK Fetch completed.
         C: UID FETCH 1:3 (BODY.PEEK[TEXT])
         S: * 1 FETCH (UID 1 BODY[TEXT] {4}⏎hi⏎)
         S: * 3 FETCH (UID 3 BODY[TEXT] {4}⏎hi⏎)
         S: NO Some messages could not be fetched
         C: UID FETCH 1:2 (BODY.PEEK[TEXT])
         S: * 1 FETCH (UID 1 BODY[TEXT] {4}⏎hi⏎)
         S: OK Fetch completed.",
    );
}

#[test]
fn another_client_acts_between_two_commands() {
    let server = server_with(2);
    let mut client = selected(&server);
    let meddle = Act::interleave(|model| {
        model.expunge(crate::support::server::Author::Other, "ann", "INBOX", &[1]);
    });
    server.rule(When::verb("UID STORE").nth(1), meddle);
    client.plays(
        "C: UID STORE 1:2 +FLAGS (\\Seen)
         S: * 2 FETCH (UID 2 FLAGS (\\Seen))
         S: * 1 EXPUNGE
         S: OK Store completed.",
    );
}

#[test]
fn a_connection_is_cut_after_any_byte_from_the_client() {
    let append = "x APPEND INBOX {5+}\r\nhello\r\n";
    for count in 0..=append.len() {
        let server = server(Profile::full());
        let mut client = Dialogue::login(server.port(), "ann");
        server.rule(When::verb("NOOP"), Act::CutInputAfter(count));
        client.ask("NOOP");
        client.send(append);
        client.rest();
        server.wait_until_alone();
        assert_eq!(server.snapshot("ann")["INBOX"].len(), usize::from(count == append.len()), "after {count} bytes");
    }
}

#[test]
fn a_slow_server_answers_late_and_a_silent_one_never() {
    let server = server(Profile::full());
    let mut client = Dialogue::login(server.port(), "ann");
    server.rule(When::verb("NOOP").nth(1), Act::Delay(50));
    let asked = Instant::now();
    client.ask("NOOP");
    assert!(asked.elapsed() >= Duration::from_millis(50));
    server.rule(When::verb("IDLE"), Act::Blackhole);
    client.say("IDLE");
    client.say("CREATE Late");
    server.disconnect_all();
    assert_eq!(client.rest(), "");
    assert!(!server.snapshot("ann").contains_key("Late"));
}

#[test]
fn a_greeting_can_go_wrong_too() {
    let server = server(Profile { max_sessions: Some(1), ..Profile::full() });
    let first = Dialogue::connect(server.port());
    let mut refused = Dialogue::connect(server.port());
    assert_eq!(refused.rest(), "");
    drop(first);
    server.wait_until_alone();
    server.rule(When::verb("GREETING"), Act::Bye("not today"));
    let mut client = Dialogue::connect(server.port());
    assert_eq!(client.rest(), "");
}
