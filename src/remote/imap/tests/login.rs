//! The greeting, the login, what the server can do.

use super::*;
use crate::remote::Sasl;

/// Says what it was given, and counts.
struct Parrot(&'static str, Vec<Result<Vec<u8>, String>>, Vec<Vec<u8>>);

impl Parrot {
    fn new(name: &'static str, answers: &[&str]) -> Self {
        Self(name, answers.iter().rev().map(|a| Ok(a.as_bytes().to_vec())).collect(), Vec::new())
    }
}

impl Sasl for Parrot {
    fn name(&self) -> &str {
        self.0
    }
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        self.2.push(challenge.to_vec());
        self.1.pop().unwrap_or_else(|| Err("no more answers".into()))
    }
}

async fn greeted(lines: &[&str]) -> Result<Imap, Error> {
    let (ours, theirs) = duplex(4096);
    let _server = serve(theirs, lines.iter().map(|line| (*line).to_owned()).collect());
    Imap::greet(ours, false, TIMEOUT, &["LITERAL+".to_owned()]).await
}

#[tokio::test]
async fn a_greeting_is_read_and_its_capabilities_are_asked_for_only_if_it_has_none() {
    let imap = greeted(&["S: * PREAUTH [CAPABILITY IMAP4rev2 LITERAL+] hello"]).await.expect("a greeting");
    assert!(imap.is_preauthenticated() && imap.capabilities().has("UIDPLUS") && !imap.capabilities().has("LITERAL+"));
    let asked = ["S: * OK hi", "C: A0002 CAPABILITY", "S: * CAPABILITY IMAP4rev1 IDLE", "S: A0002 OK"];
    let imap = greeted(&asked).await.expect("a greeting");
    assert!(!imap.is_preauthenticated() && imap.capabilities().has("IDLE"));
}

#[tokio::test]
async fn a_second_greeting_is_no_answer() {
    // Dovecot 2.3 while its authentication starts.
    let lines = [
        "S: * OK Waiting for authentication process to respond..",
        "C: A0002 CAPABILITY",
        "S: * OK [CAPABILITY IMAP4rev1 IDLE] ready",
        "S: * CAPABILITY IMAP4rev1 IDLE",
        "S: A0002 OK",
    ];
    let imap = greeted(&lines).await.expect("a greeting");
    assert!(imap.capabilities().has("IDLE"));
}

#[test]
fn a_session_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let script = async {
        let (mut imap, _server) = session(PLAIN, &[]).await;
        is_send(&imap);
        let _ = imap.fetch_bodies(&uids("1"), tokio::sync::mpsc::channel(1).0).await;
        let _ = imap.append(tokio::sync::mpsc::channel(1).1, &mut |_, _| {}).await;
        let _ = imap.authenticate(&mut Parrot::new("PLAIN", &[])).await;
        let _ = imap.list().await;
    };
    is_send(&script);
}

#[tokio::test]
async fn what_is_no_greeting_is_an_error() {
    assert!(matches!(greeted(&["S: * BYE too many connections"]).await, Err(Error::Later { .. })));
    assert!(matches!(greeted(&[]).await, Err(Error::Later { .. })));
    for line in ["S: 421 go away", "S: * 3 EXISTS", "S: + hello", "S: SSH-2.0-OpenSSH", "S: +OK POP3 ready"] {
        assert!(matches!(greeted(&[line]).await, Err(Error::Protocol(_))), "{line}");
    }
}

#[tokio::test]
async fn a_login_takes_the_capabilities_that_come_with_it() {
    let script = [
        "C: A0002 LOGIN \"u\" \"p\\\"w\"",
        "S: A0002 OK [CAPABILITY IMAP4rev1 UIDPLUS] in",
        "C: A0003 NOOP",
        "S: A0003 OK",
    ];
    let (mut imap, server) = session("IMAP4rev1 SASL-IR", &script).await;
    imap.login("u", "p\"w").await.expect("a login");
    assert!(imap.capabilities().has("UIDPLUS") && !imap.capabilities().has("SASL-IR"));
    imap.noop().await.expect("a noop");
    server.finish().await;
}

#[tokio::test]
async fn a_password_that_is_not_ascii_waits_until_the_server_asks_for_it() {
    let script = [
        "C: A0002 LOGIN \"u\" {3}",
        "S: + go on",
        "C: pä",
        "S: A0002 OK in",
        "C: A0003 CAPABILITY",
        "S: * CAPABILITY IMAP4rev1",
        "S: A0003 OK",
    ];
    let (mut imap, server) = session(PLAIN, &script).await;
    imap.login("u", "pä").await.expect("a login");
    server.finish().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_that_is_busy() {
    let refused = |line: &'static str| async move {
        let (mut imap, _server) = session(PLAIN, &["C: A0002 LOGIN \"u\" \"p\"", line]).await;
        error(imap.login("u", "p").await)
    };
    let wrong = refused("S: A0002 NO [AUTHENTICATIONFAILED] wrong \x07").await;
    assert_eq!(wrong.to_string(), r"the server refused the login: [AUTHENTICATIONFAILED] wrong \x07");
    for line in ["S: A0002 NO [UNAVAILABLE] x", "S: A0002 NO Too many simultaneous connections"] {
        assert!(matches!(refused(line).await, Error::Later { .. }), "{line}");
    }
    let (mut imap, _server) = session("IMAP4rev1 LOGINDISABLED", &[]).await;
    assert!(matches!(error(imap.login("u", "p").await), Error::Never(_)));
}

#[tokio::test]
async fn an_initial_response_is_sent_where_the_server_takes_one() {
    let script = ["C: A0002 AUTHENTICATE PLAIN aW5pdGlhbA==", "S: A0002 OK [CAPABILITY IMAP4rev1] in"];
    let (mut imap, server) = session("IMAP4rev1 SASL-IR", &script).await;
    imap.authenticate(&mut Parrot::new("PLAIN", &["initial"])).await.expect("a login");
    server.finish().await;
    let script = ["C: A0002 AUTHENTICATE EXTERNAL =", "S: A0002 OK [CAPABILITY IMAP4rev1] in"];
    let (mut imap, server) = session("IMAP4rev1 SASL-IR", &script).await;
    imap.authenticate(&mut Parrot::new("EXTERNAL", &[""])).await.expect("a login");
    server.finish().await;
}

#[tokio::test]
async fn a_mechanism_in_which_the_server_speaks_first_waits_for_it() {
    let script = [
        "C: A0002 AUTHENTICATE CRAM-MD5",
        "S: * OK [ALERT] hello",
        "S: + Y2hhbGxlbmdl",
        "C: YW5zd2Vy",
        "S: A0002 OK [CAPABILITY IMAP4rev1] in",
    ];
    let (mut imap, server) = session("IMAP4rev1 SASL-IR", &script).await;
    let mut parrot = Parrot::new("CRAM-MD5", &["answer"]);
    imap.authenticate(&mut parrot).await.expect("a login");
    assert_eq!(parrot.2, [b"challenge"]);
    server.finish().await;
}

#[tokio::test]
async fn a_mechanism_that_gives_up_cancels_and_fails_even_if_the_server_says_ok() {
    for end in ["S: A0002 BAD cancelled", "S: A0002 OK welcome anyway"] {
        let script = ["C: A0002 AUTHENTICATE SCRAM-SHA-256", "S: +", "C: YQ==", "S: + Yg==", "C: *", end];
        let (mut imap, server) = session(PLAIN, &script).await;
        let error = error(imap.authenticate(&mut Parrot::new("SCRAM-SHA-256", &["a"])).await);
        assert_eq!(error.to_string(), "the server refused the login: no more answers");
        server.finish().await;
    }
}

#[tokio::test]
async fn qresync_that_is_not_enabled_is_not_used() {
    let enabled = |line: &'static str| async move {
        let namespace = "S: * NAMESPACE ((\"\" \"/\")) NIL NIL";
        let list = format!("C: A0004 LIST \"\" \"*\" {}", listing::RETURN);
        let script = [
            "C: A0002 ENABLE QRESYNC",
            "C: A0003 NAMESPACE",
            &list,
            line,
            "S: A0002 OK",
            namespace,
            "S: A0003 OK",
            "S: A0004 OK",
        ];
        let (mut imap, server) = session(FULL, &script).await;
        imap.prepare().await.expect("prepared");
        server.finish().await;
        imap.tier()
    };
    assert_eq!(enabled("S: * ENABLED QRESYNC").await, Tier::A);
    assert_eq!(enabled("S: * ENABLED").await, Tier::B);
}

#[tokio::test]
async fn a_logout_waits_for_no_answer() {
    let (imap, server) = session(PLAIN, &["C: A0002 LOGOUT"]).await;
    imap.logout().await.expect("a logout");
    server.finish().await;
}
