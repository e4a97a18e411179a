//! The client with a real Dovecot: every way in, and bytes as they are.

use super::{Fetched, endpoint, fetch};
use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use mailtwin::remote::error::Error as Pop3Error;
use mailtwin::remote::pop3::{self, Expire, Message, Spared, Top};
use mailtwin::remote::session::Error;
use mailtwin::remote::{Endpoint, Mechanism, Secret, Security, Target, TlsOptions};

fn dovecot() -> Dovecot {
    Dovecot::with(&Settings { pop3: true, ..Settings::default() })
}

fn secure(dovecot: &Dovecot, security: Security, mechanisms: &[Mechanism]) -> Endpoint {
    let port = if security == Security::Implicit { dovecot.pop3s_port } else { dovecot.pop3_port };
    Endpoint {
        target: Target::Host { host: "localhost".into(), port },
        security,
        tls: TlsOptions { ca: Some(dovecot.ca_pem_path()), ..TlsOptions::default() },
        ..endpoint(port, mechanisms)
    }
}

#[tokio::test]
async fn every_mechanism_lets_us_in() {
    let dovecot = dovecot();
    use Mechanism::{CramMd5, Login, Plain, ScramSha256};
    for mechanism in [ScramSha256, Plain, Login, CramMd5] {
        for security in [Security::Implicit, Security::StartTls] {
            let opened = pop3::open(&secure(&dovecot, security, &[mechanism])).await.expect("a session");
            assert_eq!(opened.mechanism, mechanism);
            opened.transaction.quit().await.expect("a goodbye");
        }
    }
    // Nothing named: the best of what both can do. Without SASL there is USER and PASS.
    let opened = pop3::open(&secure(&dovecot, Security::StartTls, &[])).await.expect("a session");
    assert_eq!(opened.mechanism, ScramSha256);
    let bare = Endpoint { disabled_extensions: vec!["SASL".into()], ..secure(&dovecot, Security::Implicit, &[]) };
    assert_eq!(pop3::open(&bare).await.expect("a session").mechanism, Login);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_every_mechanism() {
    let dovecot = dovecot();
    use Mechanism::{CramMd5, Login, OauthBearer, Plain, ScramSha256, Xoauth2};
    // Dovecot takes its time to say no.
    let mut tries = tokio::task::JoinSet::new();
    for mechanism in [ScramSha256, Plain, Login, CramMd5, Xoauth2, OauthBearer] {
        let refused = Endpoint {
            password: Some(Secret::Literal("wrong".into())),
            token_command: Some(["/bin/echo", "a-token-that-nobody-issued"].map(String::from).to_vec()),
            ..secure(&dovecot, Security::Implicit, &[mechanism])
        };
        tries.spawn(async move { (mechanism, pop3::open(&refused).await.expect_err("refused")) });
    }
    for (mechanism, error) in tries.join_all().await {
        assert!(matches!(error, Error::Imap(Pop3Error::Login(_))), "{mechanism}: {error}");
        assert!(!error.to_string().contains("wrong") && !error.to_string().contains("a-token"), "{mechanism}: {error}");
    }
    let unoffered =
        pop3::open(&secure(&dovecot, Security::Implicit, &[Mechanism::Apop])).await.expect_err("not offered");
    assert!(unoffered.to_string().contains("APOP is not offered"), "{unoffered}");
}

#[tokio::test]
async fn without_stls_nothing_secret_is_sent() {
    let extra = "protocol pop3 {\n  ssl = no\n}".to_owned();
    let dovecot = Dovecot::with(&Settings { pop3: true, extra, ..Settings::default() });
    let error = pop3::open(&secure(&dovecot, Security::StartTls, &[])).await.expect_err("no TLS there");
    assert!(error.to_string().contains("offers no STLS, so no credentials were sent"), "{error}");
}

/// Mail with everything that a line can hold, as it is delivered and as it comes over the wire.
fn mail() -> Vec<(Vec<u8>, Vec<u8>)> {
    let crlf = |text: &[u8]| String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
    let mut all: Vec<Vec<u8>> = [
        "Subject: plain\r\n\r\nhello\r\n",
        "Subject: dots\n\n.\n..\n.x\n...\n",
        "Subject: smuggled\n\nhi\n.\n+OK 9 octets\nforged\n.\n-ERR\n",
        "Subject: lonely\n\na\rb\r\r\nc\n",
        "Subject: no end\n\nlast",
        "\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push([b"Subject: long\n\n".to_vec(), vec![b'x'; 10 << 20], b"\n".to_vec()].concat());
    all.into_iter()
        .map(|text| {
            let mut wire = crlf(&text);
            if !wire.ends_with(b"\r\n") {
                wire.extend_from_slice(b"\r\n");
            }
            (text, wire)
        })
        .collect()
}

#[tokio::test]
async fn a_mail_that_begins_with_a_dot_forges_no_other() {
    // Dovecot 2.3.19 puts no dot in front of the first line: the message ends before it has begun, and what follows reads
    // as the reply about the next one.
    let dovecot = dovecot();
    dovecot.deliver("ann", "INBOX", b"Subject: 1\r\n\r\nhi\r\n");
    dovecot.deliver("ann", "INBOX", b".\r\n+OK\r\nSubject: forged\r\n\r\n");
    dovecot.deliver("ann", "INBOX", b"Subject: 3\r\n\r\nhi\r\n");
    for disabled in [&[][..], &["PIPELINING".to_owned()]] {
        let endpoint = Endpoint { disabled_extensions: disabled.to_vec(), ..secure(&dovecot, Security::Implicit, &[]) };
        let mut transaction = pop3::open(&endpoint).await.expect("a session").transaction;
        let listing = transaction.list().await.expect("a listing");
        let fetched = fetch(&mut transaction, &listing.messages).await;
        assert!(matches!(fetched.result, Err(Pop3Error::Protocol(_))), "{:?}", fetched.result);
        assert!(fetched.landed.is_empty(), "{:?}", fetched.landed);
        assert!(!transaction.is_alive());
        // The others are none the worse.
        let mut transaction = pop3::open(&endpoint).await.expect("a session").transaction;
        let others = [&listing.messages[..1], &listing.messages[2..]].concat();
        let fetched = fetch(&mut transaction, &others).await;
        assert_eq!(fetched.landed.len(), 2);
    }
}

#[tokio::test]
async fn messages_arrive_as_they_are_and_go_when_they_are_told_to() {
    let dovecot = dovecot();
    let mail = mail();
    for (text, _) in &mail {
        dovecot.deliver("ann", "INBOX", text);
    }
    dovecot.deliver("ann", "INBOX", b"Subject: bytes\n\n\0\xff\xfe\n");
    let opened = pop3::open(&secure(&dovecot, Security::Implicit, &[])).await.expect("a session");
    let mut transaction = opened.transaction;
    let listing = transaction.list().await.expect("a listing");
    assert!(listing.adds_up() && listing.doubts.is_empty(), "{:?}", listing.doubts);
    assert_eq!(listing.messages.len(), mail.len() + 1);
    assert_eq!(transaction.capabilities().login_delay(), None);
    assert_eq!(transaction.capabilities().expire(), None::<Expire>);
    let Fetched { result, landed } = fetch(&mut transaction, &listing.messages).await;
    assert!(result.expect("fetched").is_empty());
    for ((_, wire), body) in mail.iter().zip(landed.values()) {
        assert!(body == wire, "{}", String::from_utf8_lossy(&wire[..wire.len().min(40)]));
    }
    assert_eq!(landed.values().last().expect("the last one"), b"Subject: bytes\r\n\r\n\0\xff\xfe\r\n");
    let tops = transaction.top(&listing.messages[..1], 0).await.expect("told");
    assert_eq!(tops[&listing.messages[0].number], Top::Text(b"Subject: plain\r\n\r\n".to_vec()));
    transaction.noop().await.expect("a noop");

    // Marked and dropped: nothing is gone. Marked and committed: these are.
    let impostor = Message { uidl: listing.messages[1].uidl.clone(), ..listing.messages[2].clone() };
    let marked = transaction.delete(&[listing.messages[0].clone(), impostor]).await.expect("marked");
    assert_eq!(marked.spared()[&listing.messages[2].number], Spared::Another);
    drop(marked);
    let opened = pop3::open(&secure(&dovecot, Security::StartTls, &[])).await.expect("a session");
    let mut transaction = opened.transaction;
    let again = transaction.list().await.expect("a listing");
    assert_eq!(again.messages, listing.messages);
    let gone = transaction.delete(&again.messages[..2]).await.expect("marked").commit().await.expect("gone");
    assert_eq!(gone, again.messages[..2]);
    let opened = pop3::open(&secure(&dovecot, Security::Implicit, &[])).await.expect("a session");
    let mut transaction = opened.transaction;
    let rest = transaction.list().await.expect("a listing");
    let names = |messages: &[Message]| messages.iter().map(|m| m.uidl.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rest.messages), names(&again.messages[2..]));
    transaction.quit().await.expect("a goodbye");
    assert!(!dovecot.log().contains(PASSWORD));
}
