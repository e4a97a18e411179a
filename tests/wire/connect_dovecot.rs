//! Connecting to a real Dovecot: what is accepted, what is refused, and what is said.

use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailtwin::remote::auth::{Exchange, Identity};
use mailtwin::remote::connect::{self, Connected, Error};
use mailtwin::remote::sasl::Sasl as _;
use mailtwin::remote::tls::{self, Reason, Tls};
use mailtwin::remote::{Endpoint, Mechanism, Pin, Protocol, Security, Target, TlsOptions, TlsVersion};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn endpoint(host: &str, port: u16, security: Security, tls: TlsOptions) -> Endpoint {
    Endpoint {
        target: Target::Host { host: host.into(), port },
        security,
        tls,
        user: "me".into(),
        password: None,
        token_command: None,
        mechanisms: Vec::new(),
        timeout: Duration::from_secs(20),
        quirks: Default::default(),
        disabled_extensions: Vec::new(),
    }
}

fn trusting(dovecot: &Dovecot) -> TlsOptions {
    TlsOptions { ca: Some(dovecot.ca_pem_path()), ..TlsOptions::default() }
}

async fn open(endpoint: &Endpoint) -> Result<Connected, Error> {
    connect::open(endpoint, Protocol::Imap, &Tls::new(&endpoint.tls).expect("usable options")).await
}

/// Logs in on the connection, which shows that both directions work and that nothing was eaten.
async fn log_in(mut connected: Connected) {
    if !connected.greeted {
        assert!(until(&mut connected, "\r\n").await.starts_with("* OK "));
    }
    let login = format!("a LOGIN me {PASSWORD}\r\n");
    connected.stream.write_all(login.as_bytes()).await.expect("written");
    until(&mut connected, "a OK ").await;
}

async fn until(connected: &mut Connected, end: &str) -> String {
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(end) {
            let read = connected.stream.read_buf(&mut text).await.expect("readable");
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time");
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn a_certificate_of_the_extra_authority_is_accepted_by_name_and_by_address() {
    let dovecot = Dovecot::start();
    for host in ["localhost", "127.0.0.1"] {
        for min_version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            let tls = TlsOptions { min_version, ..trusting(&dovecot) };
            let connected = open(&endpoint(host, dovecot.imaps_port, Security::Implicit, tls)).await.expect("open");
            assert!(connected.protection.is_some() && connected.local && connected.confidential && !connected.greeted);
            assert_eq!(connected.peer, format!("{host}:{} (127.0.0.1)", dovecot.imaps_port));
            log_in(connected).await;
        }
    }
}

#[tokio::test]
async fn starttls_gives_an_encrypted_connection_that_was_greeted() {
    let dovecot = Dovecot::start();
    let endpoint = endpoint("localhost", dovecot.imap_port, Security::StartTls, trusting(&dovecot));
    let connected = open(&endpoint).await.expect("open");
    assert!(connected.protection.is_some() && connected.greeted);
    log_in(connected).await;
}

#[tokio::test]
async fn plaintext_is_possible_on_loopback() {
    let dovecot = Dovecot::start();
    let security = Security::Plaintext { allowed_anywhere: false };
    for host in ["localhost", "127.0.0.1"] {
        let connected = open(&endpoint(host, dovecot.imap_port, security, TlsOptions::default())).await.expect("open");
        assert!(connected.protection.is_none() && connected.confidential);
        log_in(connected).await;
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_whoever_signed_it() {
    for self_signed in [false, true] {
        let dovecot = Dovecot::with(&Settings { self_signed, ..Settings::default() });
        let pinned = || TlsOptions { pin: Some(dovecot.fingerprint), ..TlsOptions::default() };
        let endpoint = |security, port| endpoint("localhost", port, security, pinned());
        log_in(open(&endpoint(Security::Implicit, dovecot.imaps_port)).await.expect("open")).await;
        log_in(open(&endpoint(Security::StartTls, dovecot.imap_port)).await.expect("open")).await;
    }
}

#[tokio::test]
async fn a_refusal_names_the_check_what_was_seen_and_the_fingerprint_for_a_pin() {
    let dovecot = Dovecot::start();
    let wrong_pin = TlsOptions { pin: Some(Pin([7; 32])), ..TlsOptions::default() };
    let cases = [
        ("127.0.0.1", wrong_pin, Reason::OtherThanPinned { pinned: Pin([7; 32]) }),
        ("127.0.0.2", trusting(&dovecot), Reason::WrongName),
        ("localhost", TlsOptions::default(), Reason::UnknownIssuer),
    ];
    for (host, tls, reason) in cases {
        // Dovecot listens on 127.0.0.1 only: the other name is brought there by a relay.
        let port = if host == "127.0.0.2" { relay(host, dovecot.imaps_port).await } else { dovecot.imaps_port };
        let error = open(&endpoint(host, port, Security::Implicit, tls)).await.expect_err("refused");
        let text = error.to_string();
        let Error::Certificate(refused) = error else { panic!("not a matter of the certificate: {text}") };
        assert_eq!(refused.reason, reason, "{text}");
        assert!(text.contains(&dovecot.fingerprint.to_string()), "{text}");
        assert!(text.contains("seen: localhost, 127.0.0.1, issued by mailtwin test authority"), "{text}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_even_when_it_is_given_as_authority() {
    let dovecot = Dovecot::with(&Settings { self_signed: true, ..Settings::default() });
    let certificate = dovecot.ca_pem_path().with_file_name("cert.pem");
    for (ca, reason) in [(None, Reason::AuthorityAsServer), (Some(certificate), Reason::AuthorityAsServer)] {
        let tls = TlsOptions { ca, ..TlsOptions::default() };
        let error = open(&endpoint("localhost", dovecot.imaps_port, Security::Implicit, tls)).await;
        let Err(Error::Certificate(refused)) = error else { panic!("not refused: {error:?}") };
        assert_eq!(refused.reason, reason);
        assert!(refused.to_string().contains("set tls-fingerprint"), "{refused}");
    }
}

#[tokio::test]
async fn the_wrong_kind_of_port_is_recognised() {
    let dovecot = Dovecot::start();
    let tls = trusting(&dovecot);
    let error = open(&endpoint("localhost", dovecot.imap_port, Security::Implicit, tls.clone())).await;
    assert!(error.expect_err("no TLS there").to_string().contains("does not speak TLS there"));
    let mut impatient = endpoint("localhost", dovecot.imaps_port, Security::StartTls, tls);
    impatient.timeout = Duration::from_millis(300);
    let error = open(&impatient).await.expect_err("no greeting there").to_string();
    assert!(error.contains("while we waited for its greeting"), "{error}");
}

#[tokio::test]
async fn each_mechanism_logs_in_and_a_wrong_password_is_refused() {
    use Mechanism::{CramMd5, Login, OauthBearer, Plain, ScramSha256, Xoauth2};
    let dovecot = Dovecot::start();
    for mechanism in [ScramSha256, Plain, Login, CramMd5, Xoauth2, OauthBearer] {
        let (exchange, answer) = authenticate(&dovecot, mechanism, PASSWORD).await;
        assert!(answer.starts_with("a OK ") && exchange.server_is_proven(), "{mechanism}: {answer}");
        let (exchange, answer) = authenticate(&dovecot, mechanism, "wrong").await;
        assert!(answer.starts_with("a NO "), "{mechanism}: {answer}");
        assert_eq!(exchange.complaint().is_some(), mechanism.wants_token(), "{mechanism}");
    }
}

/// Logs in over TLS as the mechanism wants it; gives the tagged answer.
async fn authenticate(dovecot: &Dovecot, mechanism: Mechanism, secret: &str) -> (Exchange, String) {
    let endpoint = endpoint("localhost", dovecot.imaps_port, Security::Implicit, trusting(dovecot));
    let mut connected = open(&endpoint).await.expect("open");
    until(&mut connected, "\r\n").await;
    let identity =
        Identity { user: "me".into(), secret: Some(secret.into()), host: "localhost".into(), port: dovecot.imaps_port };
    let mut exchange = Exchange::new(mechanism, &identity, &tls::nonce()).expect("usable");
    connected.stream.write_all(format!("a AUTHENTICATE {}\r\n", exchange.name()).as_bytes()).await.expect("written");
    loop {
        let line = until(&mut connected, "\r\n").await;
        let Some(challenge) = line.strip_prefix("+ ") else { return (exchange, line) };
        let challenge = STANDARD.decode(challenge.trim_end()).expect("base64");
        let answer = STANDARD.encode(exchange.respond(&challenge).expect("an answer"));
        connected.stream.write_all(format!("{answer}\r\n").as_bytes()).await.expect("written");
    }
}

#[tokio::test]
async fn the_private_dovecot_is_as_its_settings_say() {
    let dovecot = Dovecot::with(&Settings {
        separator: '.',
        capabilities: Some("IMAP4rev1 LITERAL+ IDLE".into()),
        ..Settings::default()
    });
    let message = b"Subject: hello\r\n\r\nworld\r\n";
    for mailbox in ["INBOX", "Work.Deep"] {
        assert!(dovecot.deliver("me", mailbox, message).starts_with(dovecot.user_maildir("me")));
    }
    let security = Security::Plaintext { allowed_anywhere: false };
    let mut connected =
        open(&endpoint("localhost", dovecot.imap_port, security, TlsOptions::default())).await.expect("open");
    until(&mut connected, "\r\n").await;
    let commands = format!("a LOGIN me {PASSWORD}\r\n");
    connected.stream.write_all(commands.as_bytes()).await.expect("written");
    let login = until(&mut connected, "\r\n").await;
    assert!(login.contains("[CAPABILITY IMAP4rev1 LITERAL+ IDLE]"), "{login}");
    connected
        .stream
        .write_all(b"b LIST (SPECIAL-USE) \"\" *\r\nc STATUS Work.Deep (MESSAGES)\r\nd STATUS INBOX (MESSAGES)\r\n")
        .await
        .expect("written");
    let answers = until(&mut connected, "\nd OK").await;
    for part in ["\\Trash) \".\" Trash", "STATUS Work.Deep (MESSAGES 1)", "STATUS INBOX (MESSAGES 1)"] {
        assert!(answers.contains(part), "{answers}");
    }
    assert!(dovecot.log().contains("Login: user=<me>"), "{}", dovecot.log());
}

/// Listens on `address` and passes one connection on to the port of 127.0.0.1.
async fn relay(address: &str, to: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind((address, 0)).await.expect("a loopback address");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("a connection");
        let mut far = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.expect("Dovecot");
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    port
}
