//! The test server's POP3 side does what it says, and so does each of its faults.

use super::dialogue::Dialogue;
use crate::support::server::pop3::{Act, Names, Pop3, Profile, When};
use crate::support::server::{self, Server};
use std::time::{Duration, Instant};

/// A server with the account `ann` and this many messages, `Subject: n`.
pub fn server_with(messages: usize) -> Server {
    let server = Server::start(server::Profile::full());
    server.account("ann");
    for number in 1..=messages {
        server.deliver("ann", "INBOX", format!("Subject: {number}\r\n\r\nhi\r\n"), &[]);
    }
    server
}

fn doors(messages: usize, profile: Profile) -> (Server, Pop3) {
    let server = server_with(messages);
    let pop3 = server.pop3(profile);
    (server, pop3)
}

fn bodies(server: &Server) -> usize {
    server.snapshot("ann")["INBOX"].len()
}

#[test]
fn a_session_reads_and_deletes_at_its_quit() {
    let (server, pop3) = doors(2, Profile::full());
    let mut client = Dialogue::login(pop3.port(), "ann");
    server.deliver("ann", "INBOX", "Subject: 3\r\n\r\n.dot\r\n..\r\nno end", &[]);
    client.plays(
        "C: STAT
         S: +OK 2 36
         C: LIST
         S: +OK 2 messages:
         S: 1 18
         S: 2 18
         S: .
         C: RETR 1
         S: +OK 18 octets
         S: Subject: 1
         S:
         S: hi
         S: .
         C: DELE 1
         S: +OK Marked to be deleted.
         C: RETR 1
         S: -ERR Message is deleted.
         C: STAT
         S: +OK 1 18
         C: RETR 3
         S: -ERR There's no message 3.",
    );
    assert_eq!(bodies(&server), 3);
    client.plays("C: QUIT\nS: +OK Logging out.");
    assert_eq!(client.rest(), "");
    assert_eq!(bodies(&server), 2);
    let mut client = Dialogue::login(pop3.port(), "ann");
    client.plays(
        "C: RETR 2
         S: +OK 30 octets
         S: Subject: 3
         S:
         S: ..dot
         S: ...
         S: no end
         S: .
         C: TOP 1 0
         S: +OK
         S: Subject: 2
         S:
         S: .
         C: DELE 1
         S: +OK Marked to be deleted.
         C: RSET
         S: +OK
         C: QUIT
         S: +OK Logging out.",
    );
    assert_eq!(bodies(&server), 2);
    assert_eq!(pop3.commands()[..2], ["USER ann", "PASS ***"]);
}

#[test]
fn a_session_that_does_not_quit_deletes_nothing() {
    let (server, pop3) = doors(2, Profile::full());
    let mut client = Dialogue::login(pop3.port(), "ann");
    client.ask("DELE 1");
    drop(client);
    server.wait_until_alone();
    assert_eq!(bodies(&server), 2);
}

#[test]
fn refusals_and_lies_come_instead_of_the_command() {
    let (server, pop3) = doors(1, Profile::full());
    pop3.rule(When::verb("DELE").nth(1), Act::Err("SYS/TEMP", "later"));
    pop3.rule(When::text("UIDL"), Act::Replace(b"+OK\r\n1 x\r\n1 x\r\n.\r\n".to_vec()));
    pop3.rule(When::verb("NOOP"), Act::Before(b"junk\r\n".to_vec()));
    pop3.rule(When::verb("RSET"), Act::Behind(b"+OK\r\n".to_vec()));
    let mut client = Dialogue::login(pop3.port(), "ann");
    client.plays(
        "C: DELE 1
         S: -ERR [SYS/TEMP] later
         C: UIDL
         S: +OK
         S: 1 x
         S: 1 x
         S: .
         C: UIDL 1
         S: +OK 1 …
         C: NOOP
         S: junk",
    );
    assert_eq!(client.line().as_deref(), Some("+OK"));
    client.plays("C: RSET\nS: +OK\nC: QUIT\nS: +OK");
    assert_eq!(bodies(&server), 1);
    assert_eq!(pop3.rule_counts(), [1, 1, 1, 1]);
}

#[test]
fn connections_end_where_they_are_told_to() {
    for (act, left, heard) in [
        (Act::Drop, 1, ""),
        (Act::EffectThenDrop, 0, ""),
        (Act::CutAfterBytes(3), 0, "+OK"),
        (Act::CutSessionAfter(5), 0, "+OK L"),
        (Act::CutInputAfter(0), 0, "+OK Logging out.⏎"),
    ] {
        let (server, pop3) = doors(1, Profile::full());
        pop3.rule(When::verb("QUIT"), act);
        let mut client = Dialogue::login(pop3.port(), "ann");
        client.ask("DELE 1");
        client.send("QUIT\r\n");
        assert_eq!(client.rest(), heard);
        server.wait_until_alone();
        assert_eq!(bodies(&server), left);
    }
    let (server, pop3) = doors(1, Profile::full());
    pop3.rule(When::verb("GREETING"), Act::CutInputAfter(8));
    let mut client = Dialogue::connect(pop3.port());
    client.send("USER ann\r\n");
    assert_eq!(client.rest(), "");
    pop3.clear_rules();
    pop3.rule(When::any().nth(1), Act::Delay(50));
    let asked = Instant::now();
    Dialogue::connect(pop3.port());
    assert!(asked.elapsed() >= Duration::from_millis(50));
    pop3.rule(When::verb("NOOP"), Act::Blackhole);
    let mut client = Dialogue::login(pop3.port(), "ann");
    client.send("NOOP\r\nQUIT\r\n");
    server.disconnect_all();
    assert_eq!(client.rest(), "");
}

#[test]
fn another_client_acts_between_two_commands() {
    let (server, pop3) = doors(2, Profile::full());
    pop3.rule(
        When::verb("DELE").from(1),
        Act::interleave(|model| drop(model.expunge(server::Author::Other, "ann", "INBOX", &[1]))),
    );
    let mut client = Dialogue::login(pop3.port(), "ann");
    client.plays("C: DELE 2\nS: +OK…\nC: QUIT\nS: +OK…");
    assert_eq!(bodies(&server), 0);
}

#[test]
fn a_maildrop_can_be_unfriendly() {
    let (server, pop3) = doors(3, Profile { locks: true, ..Profile::full() });
    let mut first = Dialogue::login(pop3.port(), "ann");
    let mut second = Dialogue::connect(pop3.port());
    second.plays("C: USER ann\nS: +OK\nC: PASS testpass\nS: -ERR [IN-USE]…");
    first.ask("QUIT");
    second.plays("C: USER ann\nS: +OK\nC: PASS testpass\nS: +OK…\nC: QUIT\nS: +OK…");
    pop3.change(|profile| profile.login_delay = Some(Duration::from_secs(600)));
    let mut third = Dialogue::connect(pop3.port());
    third.plays("C: USER ann\nS: +OK\nC: PASS testpass\nS: -ERR [LOGIN-DELAY]…\nC: PASS testpass\nS: -ERR…");
    pop3.change(|profile| *profile = Profile { newest: Some(1), names: Names::Content, ..Profile::full() });
    server.deliver("ann", "INBOX", "Subject: 3\r\n\r\nhi\r\n", &[]);
    let named = |client: &mut Dialogue| client.ask("UIDL 1")[0].split(' ').nth(2).map(str::to_owned);
    let newest = named(&mut Dialogue::login(pop3.port(), "ann"));
    pop3.change(|profile| profile.newest = Some(2));
    let mut both = Dialogue::login(pop3.port(), "ann");
    assert_eq!(named(&mut both), newest);
    assert_eq!(both.ask("LIST").len(), 4);
    pop3.change(|profile| {
        *profile = Profile { names: Names::made(|uid, _| vec![b'a'; uid as usize]), ..Profile::full() }
    });
    Dialogue::login(pop3.port(), "ann").plays("C: UIDL\nS: +OK\nS: 1 a\nS: 2 aa\nS: 3 aaa\nS: 4 aaaa\nS: .");
    pop3.change(|profile| *profile = Profile::plain());
    Dialogue::login(pop3.port(), "ann").plays("C: UIDL\nS: -ERR…\nC: CAPA\nS: -ERR…\nC: STAT\nS: +OK 4 72");
}

#[test]
fn what_was_taken_is_hidden_from_others_as_gmail_does() {
    let (_server, pop3) = doors(3, Profile { oldest: Some(2), ..Profile::gmail() });
    let mut first = Dialogue::login(pop3.port(), "ann");
    first.plays("C: STAT\nS: +OK 2 36");
    first.ask("RETR 1");
    first.ask("QUIT");
    let subject = |client: &mut Dialogue| client.ask("TOP 1 0")[1].clone();
    assert_eq!(subject(&mut Dialogue::login(pop3.port(), "ann")), "Subject: 2");
    assert_eq!(subject(&mut Dialogue::login(pop3.port(), "recent:ann")), "Subject: 1");
}
