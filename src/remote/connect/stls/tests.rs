use crate::remote::connect::tests::{PATIENCE, peer, try_open_as};
use crate::remote::connect::{Error, Phase, Policy, Unavailable};
use crate::remote::endpoint::{Protocol, Security};
use std::time::Duration;

const GREETING: &[u8] = b"+OK hi\r\n";
const OFFERS: &[u8] = b"+OK\r\nUSER\r\nSTLS\r\n.\r\n";

/// Opens with STLS against the script; gives the error and all that was sent.
async fn stls_error(lines: &[&[u8]]) -> (Error, String) {
    let (port, transcript) = peer(lines).await;
    let opened = try_open_as(Protocol::Pop3, port, Security::StartTls, PATIENCE).await;
    let heard = tokio::time::timeout(PATIENCE, transcript).await.expect("we closed").expect("the script ran");
    (opened.expect_err("the script never leads to TLS"), String::from_utf8_lossy(&heard).into_owned())
}

#[tokio::test]
async fn bytes_behind_the_ok_of_stls_end_the_connection() {
    for injected in [&b"+OK begin\r\n+OK\r\n"[..], b"+OK begin\r\n\x16", b"+OK\r\n-ERR\r\n"] {
        let (error, heard) = stls_error(&[GREETING, OFFERS, injected]).await;
        assert!(matches!(error, Error::Policy(Policy::Injection { .. })), "{error}");
        assert!(error.to_string().ends_with("its port (995)"), "{error}");
        assert_eq!(heard, "CAPA\r\nSTLS\r\n");
    }
}

#[tokio::test]
async fn answers_that_come_before_their_question_end_the_connection() {
    let (error, heard) = stls_error(&[b"+OK hi\r\n+OK\r\nSTLS\r\n.\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::Injection { .. })), "{error}");
    assert_eq!(heard, "");
    let (error, heard) = stls_error(&[GREETING, b"+OK\r\nSTLS\r\n.\r\n+OK begin\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::Injection { bytes: 11, .. })), "{error}");
    assert_eq!(heard, "CAPA\r\n");
}

#[tokio::test]
async fn without_stls_nothing_more_is_sent() {
    for offers in [&b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"[..], b"+OK\r\nXSTLS\r\n.\r\n", b"+OK\r\n.\r\n"] {
        let (error, heard) = stls_error(&[GREETING, offers]).await;
        assert!(error.to_string().contains("offers no STLS, so no credentials were sent"), "{error}");
        assert_eq!(heard, "CAPA\r\n");
    }
}

#[tokio::test]
async fn a_refused_stls_ends_the_connection() {
    for capa in [OFFERS, b"-ERR what?\r\n"] {
        let (error, heard) = stls_error(&[GREETING, capa, b"-ERR not\x1b now\r\n"]).await;
        assert!(matches!(error, Error::Policy(Policy::StartTlsRefused { .. })), "{error}");
        assert!(error.to_string().contains("refused STLS") && !error.to_string().contains('\x1b'), "{error}");
        assert_eq!(heard, "CAPA\r\nSTLS\r\n");
    }
}

#[tokio::test]
async fn what_is_not_pop3_is_answered_with_silence() {
    let endless = [b'+'; 100_000];
    let greetings: [&[u8]; 8] =
        [b"* OK IMAP4rev1\r\n", b"+OKAY\r\n", b"OK\r\n", b"+ OK\r\n", b"+OK hi\n", b"-ERRATUM\r\n", b"\r\n", &endless];
    for greeting in greetings {
        let (error, heard) = stls_error(&[greeting]).await;
        assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{greeting:?}: {error}");
        assert!(error.to_string().contains("as a server of POP3 does"), "{error}");
        assert_eq!(heard, "", "{greeting:?}");
    }
    let chatter = [&b"+OK\r\n"[..], &b"X\r\n".repeat(1000)].concat();
    for answer in [&b"STLS\r\n"[..], &chatter] {
        let (error, heard) = stls_error(&[GREETING, answer]).await;
        assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{error}");
        assert_eq!(heard, "CAPA\r\n");
    }
    let (error, _) = stls_error(&[GREETING, OFFERS, b"* OK\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{error}");
}

#[tokio::test]
async fn a_refused_greeting_means_later() {
    let (error, heard) = stls_error(&[b"-ERR [SYS/TEMP] too many connections\r\n"]).await;
    assert!(matches!(error, Error::Later(Unavailable::Bye { .. })), "{error}");
    assert!(error.to_string().contains("too many connections"), "{error}");
    assert_eq!(heard, "");
}

#[tokio::test]
async fn after_the_ok_comes_tls_and_nothing_else() {
    let (port, transcript) = peer(&[GREETING, OFFERS, b"+OK begin\r\n"]).await;
    let opened = try_open_as(Protocol::Pop3, port, Security::StartTls, Duration::from_secs(1)).await;
    let error = opened.expect_err("no TLS there");
    assert!(matches!(error, Error::Later(Unavailable::Silent { phase: Phase::Handshake, .. })), "{error}");
    let heard = transcript.await.expect("the script ran");
    let hello = heard.strip_prefix(b"CAPA\r\nSTLS\r\n").expect("two commands");
    assert_eq!(hello[..2], [0x16, 0x03], "a TLS handshake record");
}
