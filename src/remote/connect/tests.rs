use super::*;
use crate::remote::endpoint::{Pin, TlsOptions};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// Long enough for anything that happens on loopback.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

fn endpoint(target: Target, security: Security, timeout: Duration) -> Endpoint {
    // A pin, so that the system's authorities need not be read.
    let tls = TlsOptions { pin: Some(Pin([0; 32])), ..TlsOptions::default() };
    Endpoint {
        target,
        security,
        tls,
        user: "me".into(),
        password: None,
        token_command: None,
        mechanisms: Vec::new(),
        timeout,
        quirks: Default::default(),
        disabled_extensions: Vec::new(),
    }
}

async fn try_open(port: u16, security: Security, timeout: Duration) -> Result<Connected, Error> {
    try_open_as(Protocol::Imap, port, security, timeout).await
}

pub(super) async fn try_open_as(
    protocol: Protocol,
    port: u16,
    security: Security,
    timeout: Duration,
) -> Result<Connected, Error> {
    let endpoint = endpoint(Target::Host { host: "127.0.0.1".into(), port }, security, timeout);
    open(&endpoint, protocol, &Tls::new(&endpoint.tls).expect("usable options")).await
}

/// A server that says each of `lines`, waiting for a line of ours between two, then listens until we close.
/// Its result is all that we sent.
pub(super) async fn peer(lines: &[&[u8]]) -> (u16, JoinHandle<Vec<u8>>) {
    let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let transcript = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut heard = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            while number > 0 && heard.iter().filter(|byte| **byte == b'\n').count() < number {
                if socket.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                    return heard;
                }
            }
            // The client may be gone in the middle of something long.
            let _ = socket.write_all(line).await;
        }
        while socket.read_buf(&mut heard).await.unwrap_or(0) > 0 {}
        heard
    });
    (port, transcript)
}

/// Opens with STARTTLS against the script; gives the error and all that was sent.
async fn starttls_error(lines: &[&[u8]]) -> (Error, String) {
    let (port, transcript) = peer(lines).await;
    let error = try_open(port, Security::StartTls, PATIENCE).await.expect_err("the script never leads to TLS");
    let heard = tokio::time::timeout(PATIENCE, transcript).await.expect("we closed").expect("the script ran");
    (error, String::from_utf8_lossy(&heard).into_owned())
}

#[tokio::test]
async fn bytes_behind_the_ok_of_starttls_end_the_connection() {
    let greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n";
    for injected in [
        &b"s1 OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"[..],
        b"s1 OK begin\r\na1 OK logged in\r\n",
        b"s1 OK begin\r\n\x16",
        b"* NO hm\r\ns1 OK begin\r\n\r\n",
    ] {
        let (error, heard) = starttls_error(&[greeting, injected]).await;
        assert!(matches!(error, Error::Policy(Policy::Injection { .. })), "{error}");
        assert_eq!(heard, "s1 STARTTLS\r\n");
    }
}

#[tokio::test]
async fn answers_that_come_before_their_question_end_the_connection() {
    let (error, heard) = starttls_error(&[b"* OK [CAPABILITY STARTTLS] hi\r\ns1 OK begin\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::Injection { bytes: 13, .. })), "{error}");
    assert_eq!(heard, "");
    let (error, heard) =
        starttls_error(&[b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nc1 OK\r\ns1 OK begin\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::Injection { .. })), "{error}");
    assert_eq!(heard, "c1 CAPABILITY\r\n");
}

#[tokio::test]
async fn without_starttls_nothing_more_is_sent() {
    let (error, heard) = starttls_error(&[b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"]).await;
    assert!(error.to_string().contains("offers no STARTTLS, so no credentials were sent"), "{error}");
    assert_eq!(heard, "");
    let (error, heard) = starttls_error(&[b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 XSTARTTLS\r\nc1 OK done\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::NoStartTls { .. })), "{error}");
    assert_eq!(heard, "c1 CAPABILITY\r\n");
}

#[tokio::test]
async fn a_refused_starttls_ends_the_connection() {
    for answer in
        [&b"s1 NO not\x1b now\r\n"[..], b"s1 BAD what?\r\n", b"s1 OKAY\r\n", b"s1 \r\n", b"* NO x\r\ns1 no\r\n"]
    {
        let (error, heard) = starttls_error(&[b"* OK [CAPABILITY STARTTLS] hi\r\n", answer]).await;
        assert!(matches!(error, Error::Policy(Policy::StartTlsRefused { .. })), "{error}");
        assert!(error.to_string().contains("no credentials were sent") && !error.to_string().contains('\x1b'));
        assert_eq!(heard, "s1 STARTTLS\r\n");
    }
}

#[tokio::test]
async fn preauth_before_tls_is_refused() {
    for greeting in [&b"* PREAUTH hello\r\n"[..], b"* preauth [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n"] {
        let (error, heard) = starttls_error(&[greeting]).await;
        assert!(matches!(error, Error::Policy(Policy::Preauth { .. })), "{error}");
        assert_eq!(heard, "");
    }
}

#[tokio::test]
async fn a_bye_means_later() {
    for lines in [
        &[&b"* BYE too many connections\r\n"[..]][..],
        &[b"* OK [CAPABILITY STARTTLS] hi\r\n", b"* BYE too many connections\r\n"],
    ] {
        let (error, _) = starttls_error(lines).await;
        assert!(matches!(error, Error::Later(Unavailable::Bye { .. })), "{error}");
        assert!(error.to_string().contains("too many connections"), "{error}");
    }
}

#[tokio::test]
async fn a_malformed_greeting_is_answered_with_silence() {
    let endless = [b'*'; 100_000];
    let greetings: [&[u8]; 22] = [
        b"\r\n",
        b"*\r\n",
        b"* \r\n",
        b"*OK hi\r\n",
        b"* OKAY hi\r\n",
        b"*  OK hi\r\n",
        b" * OK hi\r\n",
        b"OK hi\r\n",
        b"+OK POP3 ready\r\n",
        b"+ OK hi\r\n",
        b"s1 OK hi\r\n",
        b"c1 OK hi\r\n",
        b"220 smtp.example.org ESMTP\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"* NO hi\r\n",
        b"* BAD hi\r\n",
        b"* CAPABILITY IMAP4rev1 STARTTLS\r\n",
        b"* 1 EXISTS\r\n",
        b"* OK hi\n",
        b"* OK \xff\xfe\r\n",
        b"* OK \0[CAPABILITY STARTTLS]\r\n",
        &endless,
    ];
    for greeting in greetings {
        let (error, heard) = starttls_error(&[greeting]).await;
        assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{greeting:?}: {error}");
        assert_eq!(heard, "", "{greeting:?}");
        assert!(error.to_string().len() < 1000 && !error.to_string().contains(['\0', '\n']));
    }
}

#[tokio::test]
async fn malformed_answers_end_the_connection() {
    let greeting = b"* OK [CAPABILITY STARTTLS] hi\r\n";
    let chatter = b"* NO wait\r\n".repeat(1000);
    for answer in [&b"+ go on\r\n"[..], b"s2 OK begin\r\n", b"S1 OK begin\r\n", b"s1OK\r\n", b"s1 OK\n", &chatter] {
        let (error, heard) = starttls_error(&[greeting, answer]).await;
        assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{error}");
        assert_eq!(heard, "s1 STARTTLS\r\n");
    }
    let (error, _) = starttls_error(&[b"* OK hi\r\n", b"c1 NO\r\n"]).await;
    assert!(matches!(error, Error::Policy(Policy::OtherProtocol { .. })), "{error}");
}

#[tokio::test]
async fn a_connection_that_closes_means_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"* OK half a gree").await;
        }
    });
    let error = try_open(port, Security::StartTls, PATIENCE).await.expect_err("closed");
    assert!(matches!(error, Error::Later(Unavailable::Closed { phase: Phase::Greeting, .. })), "{error}");
}

#[tokio::test]
async fn after_the_ok_comes_tls_and_nothing_else() {
    let (port, transcript) =
        peer(&[b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 StartTLS\r\nc1 ok\r\n", b"* NO patience\r\ns1 OK begin\r\n"])
            .await;
    let error = try_open(port, Security::StartTls, Duration::from_secs(1)).await.expect_err("no TLS there");
    assert!(matches!(error, Error::Later(Unavailable::Silent { phase: Phase::Handshake, .. })), "{error}");
    let heard = transcript.await.expect("the script ran");
    let hello = heard.strip_prefix(b"c1 CAPABILITY\r\ns1 STARTTLS\r\n").expect("two commands");
    assert_eq!(hello[..2], [0x16, 0x03], "a TLS handshake record");
}

#[tokio::test]
async fn silence_in_any_phase_ends_at_the_time_limit() {
    // Long enough that a busy machine reaches the phase; all wait at the same time.
    let limit = Duration::from_secs(1);
    let scripts: [(&[&[u8]], Security, Phase); 6] = [
        (&[], Security::Implicit, Phase::Handshake),
        (&[], Security::StartTls, Phase::Greeting),
        (&[b"* OK [CAPA"], Security::StartTls, Phase::Greeting),
        (&[b"* OK hi\r\n"], Security::StartTls, Phase::Capability),
        (&[b"* OK [CAPABILITY STARTTLS]\r\n"], Security::StartTls, Phase::StartTls),
        (&[b"* OK [CAPABILITY STARTTLS]\r\n", b"s1 OK\r\n"], Security::StartTls, Phase::Handshake),
    ];
    let begun = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for (script, security, wanted) in scripts {
        let (port, _transcript) = peer(script).await;
        waiting.spawn(async move { (wanted, try_open(port, security, limit).await) });
    }
    while let Some(ended) = waiting.join_next().await {
        match ended.expect("no panic") {
            (wanted, Err(Error::Later(Unavailable::Silent { phase, .. }))) => assert_eq!(phase, wanted),
            other => panic!("{other:?}"),
        }
    }
    assert!(begun.elapsed() < PATIENCE);
}

/// An address that answers to nothing: its queue for accepting is full, so the kernel drops what comes.
async fn swallowing_address() -> (std::net::SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(0).expect("listening");
    let address = listener.local_addr().expect("it is bound");
    let mut held = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        held.push(connected.expect("connected"));
    }
    (address, listener, held)
}

#[tokio::test]
async fn an_address_that_swallows_packets_ends_at_the_time_limit() {
    let (address, _listener, _held) = swallowing_address().await;
    let error = try_open(address.port(), Security::Implicit, Duration::from_millis(200)).await.expect_err("dropped");
    assert!(matches!(error, Error::Later(Unavailable::Silent { phase: Phase::Connect, .. })), "{error}");
}

#[tokio::test]
async fn dead_addresses_do_not_keep_us_from_the_one_that_lives() {
    let (swallowing, _listener, _held) = swallowing_address().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("it was bound");
    let living = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = living.local_addr().expect("it is bound");
    let race = tcp::race([closed, swallowing, closed, address].into());
    let (_, reached) = tokio::time::timeout(PATIENCE, race).await.expect("in time").expect("connected");
    assert_eq!(reached, address);
    let tried = tcp::race([closed, closed].into()).await.expect_err("nobody there");
    assert_eq!(tried.len(), 2);
}

#[tokio::test]
async fn a_closed_port_means_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let error = try_open(port, Security::Implicit, PATIENCE).await.expect_err("refused");
    assert!(matches!(error, Error::Later(Unavailable::Unreachable { .. })), "{error}");
    assert!(error.to_string().contains("127.0.0.1: Connection refused"), "{error}");
}

#[tokio::test]
async fn plaintext_to_another_machine_is_refused_before_a_packet_is_sent() {
    let target = Target::Host { host: "192.0.2.1".into(), port: 143 };
    let endpoint = endpoint(target, Security::Plaintext { allowed_anywhere: false }, PATIENCE);
    let error = open(&endpoint, Protocol::Imap, &Tls::new(&endpoint.tls).expect("usable")).await.expect_err("refused");
    assert!(matches!(error, Error::Policy(Policy::Plaintext { .. })), "{error}");
    for (address, loopback) in
        [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("::ffff:8.8.8.8", false), ("0.0.0.0", false)]
    {
        assert_eq!(tcp::is_loopback(address.parse().expect("an address")), loopback, "{address}");
    }
}

async fn tunnel(script: &str) -> Connected {
    let command = ["/bin/sh", "-c", script].map(String::from).to_vec();
    let endpoint = endpoint(Target::Tunnel(command), Security::Implicit, PATIENCE);
    open(&endpoint, Protocol::Imap, &Tls::new(&endpoint.tls).expect("usable")).await.expect("started")
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_sees_the_end() {
    // Much on standard error does not block it.
    let mut connected = tunnel("head -c 300000 /dev/zero >&2; echo '* PREAUTH hi'; cat; echo end").await;
    assert!(connected.local && connected.confidential && connected.protection.is_none() && !connected.greeted);
    assert_eq!(connected.peer, "the tunnel \"/bin/sh\"");
    connected.stream.write_all(b"a NOOP\r\n").await.expect("written");
    connected.stream.shutdown().await.expect("closed");
    assert!(connected.stream.write_all(b"b NOOP\r\n").await.is_err());
    let mut all = String::new();
    tokio::time::timeout(PATIENCE, connected.stream.read_to_string(&mut all)).await.expect("in time").expect("text");
    assert_eq!(all, "* PREAUTH hi\na NOOP\r\nend\n");
}

#[tokio::test]
async fn a_tunnel_is_killed_with_its_connection() {
    let mut connected = tunnel("sleep 600 & echo $!; wait").await;
    let mut pid = Vec::new();
    while !pid.ends_with(b"\n") {
        assert!(connected.stream.read_buf(&mut pid).await.expect("readable") > 0);
    }
    drop(connected);
    let status = format!("/proc/{}/status", String::from_utf8_lossy(pid.trim_ascii()));
    let begun = Instant::now();
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(begun.elapsed() < PATIENCE, "the tunnel lives");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tunnel_that_cannot_be_started_is_a_matter_for_a_person() {
    for command in [vec![], vec!["/nonexistent/ssh".to_owned()]] {
        let endpoint = endpoint(Target::Tunnel(command), Security::Implicit, PATIENCE);
        let error =
            open(&endpoint, Protocol::Imap, &Tls::new(&endpoint.tls).expect("usable")).await.expect_err("not there");
        assert!(matches!(error, Error::Policy(Policy::Tunnel { .. })), "{error}");
    }
}
