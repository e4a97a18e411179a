//! The greeting and the login.

use super::*;
use crate::remote::Sasl;

/// Answers as it was told, and keeps what it was asked.
struct Parrot(&'static str, Vec<Vec<u8>>, Vec<Vec<u8>>);

impl Parrot {
    fn new(name: &'static str, answers: &[&str]) -> Self {
        Self(name, answers.iter().rev().map(|answer| answer.as_bytes().to_vec()).collect(), Vec::new())
    }
}

impl Sasl for Parrot {
    fn name(&self) -> &str {
        self.0
    }
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        self.2.push(challenge.to_vec());
        self.1.pop().ok_or_else(|| "no more answers".into())
    }
}

async fn greeted(lines: &[&str]) -> (Result<Authorization, Error>, Server) {
    let (ours, theirs) = duplex(4096);
    let server = serve(theirs, lines.iter().map(|line| line.as_bytes().to_vec()).collect());
    (Authorization::greet(ours, false, TIMEOUT, &["TOP".to_owned()]).await, server)
}

/// A server that has greeted with a timestamp and tells nothing else, and then follows the script.
async fn ready(script: &[&str]) -> (Authorization, Server) {
    let mut lines = vec!["S: +OK <1896.697170952@dbc.mtview.ca.us>", "C: CAPA", "S: -ERR"];
    lines.extend(script);
    let (greeted, server) = greeted(&lines).await;
    (greeted.expect("a greeting"), server)
}

#[tokio::test]
async fn what_a_server_can_do_is_asked_and_what_is_disabled_is_left_out() {
    let (server, _) = greeted(&["S: +OK hi", "C: CAPA", "S: +OK", "S: TOP", "S: UIDL", "S: SASL PLAIN", "S: ."]).await;
    let server = server.expect("a greeting");
    assert!(server.capabilities().has("UIDL") && !server.capabilities().has("TOP"));
    assert!(!server.has_timestamp());
    let (server, _) = greeted(&["S: +OK hi", "C: CAPA", "S: -ERR what?"]).await;
    assert!(!server.expect("a greeting").capabilities().is_known());
}

#[tokio::test]
async fn what_is_no_greeting_is_an_error() {
    for (line, later) in [("S: -ERR [SYS/TEMP] busy", true), ("S: -ERR", true), ("S: * OK IMAP4rev1", false)] {
        let failed = error(greeted(&[line]).await.0);
        assert_eq!(matches!(failed, Error::Later { .. }), later, "{line}: {failed}");
        assert_eq!(is_protocol(&failed), !later, "{line}: {failed}");
    }
    assert!(matches!(error(greeted(&[]).await.0), Error::Later { .. }));
    // More than the greeting was said.
    assert!(is_protocol(&error(greeted(&["RAW: +OK\r\n+OK\r\n", "END"]).await.0)));
    assert!(is_protocol(&error(greeted(&["RAW: +OK hi\n"]).await.0)));
    let endless = format!("RAW: +OK {}", "x".repeat(9000));
    assert!(is_protocol(&error(greeted(&[&endless]).await.0)));
}

#[tokio::test]
async fn a_timestamp_is_plain_or_none() {
    for (greeting, has) in [
        ("S: +OK POP3 <a@b> ready", true),
        ("S: +OK <a b@c>", false),
        ("S: +OK <a@>", false),
        ("S: +OK <@b>", false),
        ("S: +OK <a@b@c>", false),
        ("S: +OK <a@b", false),
        ("S: +OK <\u{e4}@b>", false),
        ("S: +OK <ab> <a@b>", false),
    ] {
        let (server, _) = greeted(&[greeting, "C: CAPA", "S: -ERR"]).await;
        assert_eq!(server.expect("a greeting").has_timestamp(), has, "{greeting}");
    }
}

#[tokio::test]
async fn a_name_that_is_refused_is_followed_by_no_password() {
    let (server, script) = ready(&["C: USER u", "S: -ERR [AUTH] not without TLS", "END"]).await;
    let failed = error(server.login("u", "secret").await);
    assert!(matches!(failed, Error::Login(_)), "{failed}");
    script.finish().await;
}

#[tokio::test]
async fn a_password_cannot_hold_a_command() {
    for (user, password) in [("u", "p\r\nDELE 1"), ("u\n", "p"), ("u", "p\0")] {
        let (server, script) = ready(&["END"]).await;
        assert!(matches!(error(server.login(user, password).await), Error::Never(_)));
        script.finish().await;
    }
    // A space is a part of it.
    let (server, script) = ready(&["C: USER u v", "S: +OK", "C: PASS p  w ", "S: +OK"]).await;
    server.login("u v", "p  w ").await.expect("a login");
    script.finish().await;
}

#[tokio::test]
async fn apop_answers_as_in_rfc_1939() {
    let (server, script) = ready(&["C: APOP mrose c4c9334bac560ecc979e58001b3e22fb", "S: +OK"]).await;
    server.apop("mrose", "tanstaaf").await.expect("a login");
    script.finish().await;
    let (server, _) = greeted(&["S: +OK hi", "C: CAPA", "S: -ERR"]).await;
    assert!(matches!(error(server.expect("a greeting").apop("u", "p").await), Error::Never(_)));
}

#[tokio::test]
async fn an_initial_response_is_sent_where_it_fits() {
    let (server, script) = ready(&["C: AUTH PLAIN aW5pdGlhbA==", "S: +OK"]).await;
    server.authenticate(&mut Parrot::new("PLAIN", &["initial"])).await.expect("a login");
    script.finish().await;
    let (server, script) = ready(&["C: AUTH EXTERNAL =", "S: +OK"]).await;
    server.authenticate(&mut Parrot::new("EXTERNAL", &[""])).await.expect("a login");
    script.finish().await;
    // 255 octets with "AUTH PLAIN " and CRLF leave room for 242 of base64, and only whole groups of four.
    for (length, fits) in [(180, true), (181, false)] {
        let answer = "x".repeat(length);
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &answer);
        let lines = match fits {
            true => vec![format!("C: AUTH PLAIN {encoded}"), "S: +OK".into()],
            false => vec!["C: AUTH PLAIN".into(), "S: + ".into(), format!("C: {encoded}"), "S: +OK".into()],
        };
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (server, script) = ready(&lines).await;
        server.authenticate(&mut Parrot::new("PLAIN", &[&answer])).await.expect("a login");
        script.finish().await;
    }
}

#[tokio::test]
async fn a_token_goes_in_a_line_of_its_own() {
    let (server, script) = ready(&["C: AUTH XOAUTH2", "S: + ", "C: dG9rZW4=", "S: +OK"]).await;
    let mut parrot = Parrot::new("XOAUTH2", &["token"]);
    server.authenticate(&mut parrot).await.expect("a login");
    assert_eq!(parrot.2, [b""]);
    script.finish().await;
    // What is wrong with it comes as a challenge, which an empty line answers.
    let lines = ["C: AUTH XOAUTH2", "S: +", "C: dG9rZW4=", "S: + eyJ9", "C: ", "S: -ERR [AUTH] no", "END"];
    let (server, script) = ready(&lines).await;
    let mut parrot = Parrot::new("XOAUTH2", &["token", ""]);
    assert!(matches!(error(server.authenticate(&mut parrot).await), Error::Login(_)));
    assert_eq!(parrot.2, [&b""[..], b"{\"}"]);
    script.finish().await;
}

#[tokio::test]
async fn a_mechanism_that_gives_up_cancels_and_fails_even_if_the_server_says_ok() {
    for end in ["S: -ERR cancelled", "S: +OK welcome anyway", "S: + bW9yZQ=="] {
        let (server, script) = ready(&["C: AUTH CRAM-MD5", "S: + eA==", "C: *", end, "END"]).await;
        let failed = error(server.authenticate(&mut Parrot::new("CRAM-MD5", &[])).await);
        assert_eq!(failed.to_string(), "the server refused the login: no more answers");
        script.finish().await;
    }
    let (server, script) = ready(&["C: AUTH CRAM-MD5", "S: + !!", "C: *", "S: -ERR", "END"]).await;
    let failed = error(server.authenticate(&mut Parrot::new("CRAM-MD5", &["x"])).await);
    assert_eq!(failed.to_string(), "the server refused the login: the server's challenge is not base64");
    script.finish().await;
}

#[tokio::test]
async fn nothing_is_believed_that_comes_unasked_with_a_login() {
    let (server, script) = ready(&["C: USER u", "S: +OK", "C: PASS p", "RAW: +OK in\r\n+OK 0 0\r\n", "END"]).await;
    assert!(is_protocol(&error(server.login("u", "p").await)));
    script.finish().await;
    let (server, script) = ready(&["C: USER u", "S: + more", "END"]).await;
    assert!(is_protocol(&error(server.login("u", "p").await)));
    script.finish().await;
}

#[tokio::test]
async fn utf8_is_asked_for_where_it_is_offered_and_its_refusal_changes_nothing() {
    let lines = [
        "S: +OK",
        "C: CAPA",
        "S: +OK",
        "S: UTF8 USER",
        "S: .",
        "C: UTF8",
        "S: -ERR no",
        "C: USER \u{fc}",
        "S: +OK",
        "C: PASS p",
        "S: +OK",
    ];
    let (server, script) = greeted(&lines).await;
    let mut server = server.expect("a greeting");
    server.utf8().await.expect("not lost");
    server.login("\u{fc}", "p").await.expect("a login");
    script.finish().await;
    let (mut server, script) = ready(&["END"]).await;
    server.utf8().await.expect("not lost");
    drop(server);
    script.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drips_is_given_up() {
    // Its octets come one a second, and would be enough for an hour.
    let (ours, mut theirs) = duplex(4096);
    let dripping = tokio::spawn(async move {
        let mut sent = 0;
        for octet in b"+OK ".iter().chain(std::iter::repeat(&b'x')) {
            if theirs.write_all(&[*octet]).await.is_err() {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        sent
    });
    let failed = error(Authorization::greet(ours, false, TIMEOUT, &[]).await);
    assert_eq!(failed.to_string(), "the server was silent for 20 s");
    assert!(dripping.await.expect("no panic") < 30);
}

#[test]
fn a_session_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let script = async {
        let (mut transaction, _server) = session(PLAIN, &[]).await;
        is_send(&transaction);
        let _ = transaction.list().await;
        let _ = transaction.fetch(&[], &mpsc::channel(1).0, &mpsc::unbounded_channel().0).await;
        let _ = transaction.top(&[], 0).await;
        let marked = transaction.delete(&[]).await;
        if let Ok(marked) = marked {
            let _ = marked.commit().await;
        }
    };
    is_send(&script);
}
