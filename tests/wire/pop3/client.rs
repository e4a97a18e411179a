//! The client with maildrops that are not friendly.

use super::server::server_with;
use super::{endpoint, fetch};
use crate::support::server::Server;
use crate::support::server::pop3::{Act, Names, Pop3, Profile, When};
use mailtwin::remote::Mechanism;
use mailtwin::remote::error::Error as Pop3Error;
use mailtwin::remote::pop3::{self, Doubt, Opened, Spared, Transaction};
use mailtwin::remote::session::Error;
use std::time::Duration;

async fn open(pop3: &Pop3) -> Transaction {
    opened(pop3).await.expect("a session").transaction
}

async fn opened(pop3: &Pop3) -> Result<Opened, Error> {
    pop3::open(&endpoint(pop3.port(), &[])).await
}

fn left(server: &Server) -> usize {
    server.snapshot("ann")["INBOX"].len()
}

#[tokio::test]
async fn a_server_of_rfc_1939_is_enough() {
    let server = server_with(3);
    let pop3 = server.pop3(Profile::plain());
    let opened = opened(&pop3).await.expect("a session");
    assert_eq!(opened.mechanism, Mechanism::Login);
    let mut transaction = opened.transaction;
    let listing = transaction.list().await.expect("a listing");
    assert!(matches!(&listing.doubts[..], [Doubt::UidlRefused(_)]), "{:?}", listing.doubts);
    let fetched = fetch(&mut transaction, &listing.messages[..2]).await;
    fetched.result.expect("fetched");
    assert_eq!(fetched.landed.len(), 2);
    // What has no name goes only if it was fetched in the same session.
    let marked = transaction.delete(&listing.messages).await.expect("marked");
    assert_eq!(marked.spared().values().collect::<Vec<_>>(), [&Spared::Unidentified]);
    assert_eq!(marked.commit().await.expect("gone").len(), 2);
    assert_eq!(left(&server), 1);
}

#[tokio::test]
async fn apop_is_used_by_name_only() {
    let server = server_with(1);
    let pop3 = server.pop3(Profile { timestamp: Some("<1896.697170952@dbc.mtview.ca.us>"), ..Profile::full() });
    assert_eq!(opened(&pop3).await.expect("a session").mechanism, Mechanism::Plain);
    let by_name = pop3::open(&endpoint(pop3.port(), &[Mechanism::Apop])).await.expect("a session");
    assert_eq!(by_name.mechanism, Mechanism::Apop);
    assert!(pop3.commands().contains(&"APOP ***".to_owned()));
}

#[tokio::test]
async fn each_trouble_with_a_login_is_told_from_the_others() {
    let server = server_with(1);
    let pop3 = server.pop3(Profile { login_delay: Some(Duration::from_secs(600)), locks: true, ..Profile::full() });
    let transaction = open(&pop3).await;
    let hint = |error: Error| match error {
        Error::Imap(Pop3Error::Later { hint, .. }) => hint,
        other => panic!("{other}"),
    };
    // The delay is known from before the login already.
    let delayed = hint(opened(&pop3).await.expect_err("too soon"));
    assert_eq!(delayed, Some(Duration::from_secs(660)));
    pop3.change(|profile| profile.login_delay = None);
    assert_eq!(hint(opened(&pop3).await.expect_err("in use")), None);
    transaction.quit().await.expect("a goodbye");
    for (code, later) in [("SYS/TEMP", true), ("SYS/PERM", false)] {
        pop3.clear_rules();
        pop3.rule(When::verb("AUTH"), Act::Err(code, "no"));
        let error = opened(&pop3).await.expect_err("refused");
        let is_later = matches!(error, Error::Imap(Pop3Error::Later { .. }));
        let is_never = matches!(error, Error::Imap(Pop3Error::Never(_)));
        assert_eq!((is_later, is_never), (later, !later), "{error}");
    }
    pop3.clear_rules();
    let nobody = mailtwin::remote::Endpoint { user: "nobody".into(), ..endpoint(pop3.port(), &[]) };
    let error = pop3::open(&nobody).await.expect_err("unknown");
    assert!(matches!(error, Error::Imap(Pop3Error::Login(_))), "{error}");
}

#[tokio::test]
async fn what_is_odd_about_a_maildrop_is_told_and_nothing_is_refused() {
    let server = server_with(4);
    server.deliver("ann", "INBOX", "Subject: 4\r\n\r\nhi\r\n", &[]);
    let pop3 = server.pop3(Profile { names: Names::Content, ..Profile::full() });
    let mut transaction = open(&pop3).await;
    let listing = transaction.list().await.expect("a listing");
    assert_eq!(listing.doubts, [Doubt::Shared(2)]);
    let marked = transaction.delete(&listing.messages).await.expect("looked at");
    assert_eq!(marked.marked().len(), 3);
    drop(marked);
    pop3.change(|profile| {
        *profile = Profile { newest: Some(2), names: Names::made(|uid, _| vec![uid as u8; 80]), ..Profile::full() }
    });
    pop3.rule(When::verb("STAT"), Act::Replace(b"+OK 5 -90\r\n".to_vec()));
    let listing = open(&pop3).await.list().await.expect("a listing");
    let counts = Doubt::Counts { stat: Some(5), listed: Some(2), named: Some(2) };
    assert_eq!(listing.doubts, [counts, Doubt::Nameless(2)]);
    assert!(!listing.adds_up());
}

#[tokio::test]
async fn a_renumbered_maildrop_has_other_names() {
    let server = server_with(2);
    let pop3 = server.pop3(Profile::full());
    let before = open(&pop3).await.list().await.expect("a listing");
    server.bump_uidvalidity("ann", "INBOX");
    let mut transaction = open(&pop3).await;
    let after = transaction.list().await.expect("a listing");
    assert!(after.adds_up());
    assert!(before.messages.iter().zip(&after.messages).all(|(old, new)| old.uidl != new.uidl));
    // Whoever would delete by what an earlier session said, deletes nothing.
    let marked = transaction.delete(&before.messages).await.expect("looked at");
    assert!(marked.marked().is_empty() && marked.spared().values().all(|spared| *spared == Spared::Another));
    marked.commit().await.expect("a goodbye");
    assert_eq!(left(&server), 2);
}

#[tokio::test]
async fn a_server_that_stuffs_no_dots_cannot_make_us_take_one_mail_for_another() {
    let server = server_with(1);
    server.deliver("ann", "INBOX", "Subject: bad\r\n\r\n.\r\n+OK\r\nSubject: forged\r\n\r\n", &[]);
    server.deliver("ann", "INBOX", "Subject: 3\r\n\r\nhi\r\n", &[]);
    for gone in [&[][..], &["PIPELINING"]] {
        let pop3 = server.pop3(Profile { stuffs: false, ..Profile::full().without(gone) });
        let mut transaction = open(&pop3).await;
        let listing = transaction.list().await.expect("a listing");
        let fetched = fetch(&mut transaction, &listing.messages).await;
        assert!(matches!(fetched.result, Err(Pop3Error::Protocol(_))), "{:?}", fetched.result);
        assert!(fetched.landed.is_empty(), "{:?}", fetched.landed);
        assert!(transaction.delete(&listing.messages).await.is_err());
        server.wait_until_alone();
        assert!(!pop3.commands().iter().any(|command| command == "QUIT" || command.starts_with("DELE")));
    }
    assert_eq!(left(&server), 3);
}

#[tokio::test]
async fn a_bare_lf_ends_nothing() {
    let mail = "Subject: bad\r\n\r\nhi\n.\n+OK 9 octets\nforged\n.\n\r.\r\n.\0\r\n";
    let server = server_with(1);
    server.deliver("ann", "INBOX", mail, &[]);
    server.deliver("ann", "INBOX", "Subject: 3\r\n\r\nhi\r\n", &[]);
    let pop3 = server.pop3(Profile { mends_lf: false, one_by_one: true, ..Profile::full() });
    let mut transaction = open(&pop3).await;
    let listing = transaction.list().await.expect("a listing");
    let fetched = fetch(&mut transaction, &listing.messages).await;
    fetched.result.expect("fetched");
    assert_eq!(fetched.landed[&2], mail.as_bytes());
    assert_eq!(fetched.landed.len(), 3);
    let marked = transaction.delete(&listing.messages).await.expect("marked");
    assert_eq!(marked.commit().await.expect("gone").len(), 3);
    assert_eq!(left(&server), 0);
}

#[tokio::test]
async fn a_hundred_thousand_messages_are_listed() {
    let server = server_with(1);
    let pop3 = server.pop3(Profile::full());
    let lines = |line: &dyn Fn(u32) -> String| (1..=100_000).map(line).collect::<String>();
    let list = format!("+OK\r\n{}.\r\n", lines(&|n| format!("{n} 1000\r\n")));
    let uidl = format!("+OK\r\n{}.\r\n", lines(&|n| format!("{n} {n:016x}\r\n")));
    pop3.rule(When::verb("STAT"), Act::Replace(b"+OK 100000 100000000\r\n".to_vec()));
    pop3.rule(When::text("LIST"), Act::Replace(list.into_bytes()));
    pop3.rule(When::text("UIDL"), Act::Replace(uidl.into_bytes()));
    let listing = open(&pop3).await.list().await.expect("a listing");
    assert!(listing.adds_up() && listing.doubts.is_empty());
    assert_eq!(listing.messages.len(), 100_000);
    assert_eq!(listing.messages[99_999].uidl.as_ref().expect("named").to_string(), "00000000000186a0");
}
