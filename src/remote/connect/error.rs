//! Why there is no connection, sorted by what the caller does next.

use crate::remote::endpoint::Protocol;
use crate::remote::tls::{HandshakeError, Refused};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// There is no connection. In no case was a password or token sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again later.
    #[error(transparent)]
    Later(#[from] Unavailable),
    /// The server could not prove who it is: a person must act.
    #[error(transparent)]
    Certificate(Box<Refused>),
    /// The endpoint asks for something that the server or our rules refuse: a person must act.
    #[error(transparent)]
    Policy(#[from] Policy),
}

/// The server cannot be reached, or does not answer, now.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unavailable {
    #[error("the address of {host} cannot be found ({error}); look at the name, and whether there is a network")]
    Lookup { host: String, error: std::io::Error },
    #[error("{host} has no address; look at the name")]
    NoAddress { host: String },
    #[error("{host}:{port} cannot be reached ({}); is there a network, and is that the right port?", reasons(.tried))]
    Unreachable { host: String, port: u16, tried: Vec<(SocketAddr, std::io::Error)> },
    #[error(
        "{peer} was silent for {limit:?} while we {phase}; \
         the network or the server is in trouble, or the port is another one's"
    )]
    Silent { peer: String, phase: Phase, limit: Duration },
    #[error("the connection to {peer} broke while we {phase} ({error}); the network or the server is in trouble")]
    Broken { peer: String, phase: Phase, error: std::io::Error },
    #[error("{peer} closed the connection while we {phase}; the server may be busy or restarting")]
    Closed { peer: String, phase: Phase },
    #[error("{peer} does not want us now: \"{text}\"")]
    Bye { peer: String, text: String },
}

/// A rule forbids to go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Policy {
    #[error(
        "{host} is not on this machine, and without TLS everybody on the way could read the password; \
         set tls = \"implicit\" or \"starttls\" (or, if you must, allow-plaintext = true)"
    )]
    Plaintext { host: String },
    #[error(
        "{peer} offers no {}, so no credentials were sent; \
         set tls = \"implicit\" and its port ({}); if it used to offer it, somebody on the way hides it",
        .protocol.starttls(), .protocol.tls_port()
    )]
    NoStartTls { peer: String, protocol: Protocol },
    #[error(
        "{peer} refused {} (\"{text}\"), so no credentials were sent; \
         set tls = \"implicit\" and its port ({}), or ask the server's operator",
        .protocol.starttls(), .protocol.tls_port()
    )]
    StartTlsRefused { peer: String, protocol: Protocol, text: String },
    #[error(
        "{peer} says that we are logged in before TLS (PREAUTH), which an attacker on the way would say; \
         no credentials were sent; set tls = \"implicit\" and its port (993)"
    )]
    Preauth { peer: String },
    #[error(
        "{peer} does not answer as a server of {} does (\"{text}\"); no credentials were sent; look at host and port",
        .protocol.name()
    )]
    OtherProtocol { peer: String, protocol: Protocol, text: String },
    #[error(
        "{peer} sent {bytes} bytes that were not asked for in front of the TLS handshake, \
         as an attacker on the way would; no credentials were sent; set tls = \"implicit\" and its port ({})",
        .protocol.tls_port()
    )]
    Injection { peer: String, protocol: Protocol, bytes: usize },
    #[error("no TLS with {peer}: {error}")]
    Tls { peer: String, error: Box<HandshakeError> },
    #[error(
        "the tunnel command \"{program}\" could not be started ({error}); \
         give its full path, or check that it is installed"
    )]
    Tunnel { program: String, error: std::io::Error },
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Phase {
    Connect,
    Greeting,
    Capability,
    StartTls,
    Handshake,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connected",
            Self::Greeting => "waited for its greeting",
            Self::Capability => "asked for its capabilities",
            Self::StartTls => "asked for STARTTLS",
            Self::Handshake => "began TLS",
        })
    }
}

fn reasons(tried: &[(SocketAddr, std::io::Error)]) -> String {
    let each = tried.iter().map(|(address, error)| format!("{}: {error}", address.ip()));
    each.collect::<Vec<_>>().join("; ")
}
