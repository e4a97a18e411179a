//! From an endpoint to a stream of bytes that is as safe as the owner asked for.
//!
//! What surprises: with STARTTLS the dialogue up to the TLS handshake is held here, on the bare socket, by a reader of
//! its own. Nothing that came before the handshake (greeting, capabilities, bytes) survives it, and after it
//! the server sends no greeting: [`Connected::greeted`].

mod error;
mod prompt;
mod starttls;
mod stls;
mod tcp;
mod tunnel;

pub use error::{Error, Phase, Policy, Unavailable};

use super::endpoint::{Endpoint, Protocol, Security, Target};
use super::tls::{self, HandshakeError, Tls};
use crate::mail::escape;
use prompt::Prompt;
use std::fmt::Debug;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection in both directions.
pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sync> AsyncReadWrite for T {}

/// A connection of any kind: TLS, bare TCP, or a tunnel.
pub type Stream = Box<dyn AsyncReadWrite>;

/// An open connection, on which nobody has logged in yet.
#[derive(Debug)]
pub struct Connected {
    /// The bytes.
    pub stream: Stream,
    /// TLS protects it: its version and cipher suite, for people.
    pub protection: Option<String>,
    /// It does not leave this machine by our hand: a loopback address, or a tunnel.
    pub local: bool,
    /// A password may be written to it as it is: it is encrypted or local, or the owner allowed plaintext.
    pub confidential: bool,
    /// The greeting was read already (STARTTLS, STLS): the server will not send another, and its capabilities must be
    /// asked.
    pub greeted: bool,
    /// Whom we speak with, for people: `imap.example.org:993 (192.0.2.7)`, or the name of the tunnel's program.
    pub peer: String,
}

/// Opens a connection, with TLS where the endpoint wants it.
///
/// `tls` is made from the endpoint's options, once for an account. Each phase (addresses and TCP, TLS, each answer
/// of STARTTLS) has `endpoint.timeout` as its limit. No secret is sent. Cancel safe: dropping it closes everything.
pub async fn open(endpoint: &Endpoint, protocol: Protocol, tls: &Tls) -> Result<Connected, Error> {
    let limit = endpoint.timeout;
    let (host, port) = match &endpoint.target {
        Target::Tunnel(command) => return tunnel::open(command).await,
        Target::Host { host, port } => (host.as_str(), *port),
    };
    let loopback_only = endpoint.security == Security::Plaintext { allowed_anywhere: false };
    let (socket, address) = tcp::dial(host, port, loopback_only, limit).await?;
    let local = tcp::is_loopback(address.ip());
    let peer = format!("{}:{port} ({})", escape(host), address.ip());
    let connected = |(stream, protection): (Stream, Option<String>), greeted| Connected {
        stream,
        local,
        confidential: protection.is_some() || local || matches!(endpoint.security, Security::Plaintext { .. }),
        protection,
        greeted,
        peer: peer.clone(),
    };
    match endpoint.security {
        Security::Plaintext { .. } => Ok(connected((Box::new(Prompt(socket)), None), false)),
        Security::Implicit => Ok(connected(handshake(socket, host, tls, &peer, limit).await?, false)),
        Security::StartTls => {
            let dialogue = starttls::Dialogue::new(socket, protocol, &peer, limit);
            let socket = match protocol {
                Protocol::Imap => starttls::imap(dialogue).await?,
                Protocol::Pop3 => stls::pop3(dialogue).await?,
            };
            Ok(connected(handshake(socket, host, tls, &peer, limit).await?, true))
        }
    }
}

async fn handshake(
    socket: TcpStream,
    host: &str,
    tls: &Tls,
    peer: &str,
    limit: Duration,
) -> Result<(Stream, Option<String>), Error> {
    let silent = |_| Unavailable::Silent { peer: peer.to_owned(), phase: Phase::Handshake, limit };
    let result = tokio::time::timeout(limit, tls.connect(host, Prompt(socket))).await.map_err(silent)?;
    let describe = |stream: TlsStream<Prompt>| {
        let protection = tls::describe(&stream);
        (Box::new(stream) as Stream, Some(protection))
    };
    result.map(describe).map_err(|error| match error {
        HandshakeError::Io(error) => {
            Unavailable::Broken { peer: peer.to_owned(), phase: Phase::Handshake, error }.into()
        }
        HandshakeError::Certificate(refused) => Error::Certificate(refused),
        other => Policy::Tls { peer: peer.to_owned(), error: Box::new(other) }.into(),
    })
}

#[cfg(test)]
mod tests;
