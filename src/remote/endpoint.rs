//! Where a server is and how it wants to be spoken to: plain data, filled in by the configuration.

use crate::remote::quirks::Overrides;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that is needed to open a session with a server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host and port, or a command that speaks the protocol.
    pub target: Target,
    /// How the connection is protected.
    pub security: Security,
    /// What is trusted, and what we show.
    pub tls: TlsOptions,
    /// The login name.
    pub user: String,
    /// The password. Absent for `external`, for a tunnel that logs in by itself, and where a token is used.
    pub password: Option<Secret>,
    /// A command that prints an OAuth2 access token (XOAUTH2, OAUTHBEARER).
    pub token_command: Option<Vec<String>>,
    /// The mechanisms that may be used, best first; empty: the best that both sides offer.
    pub mechanisms: Vec<Mechanism>,
    /// The longest silence that is waited for: connecting, and each answer.
    pub timeout: Duration,
    /// Capabilities to be treated as absent, in capitals.
    pub disabled_extensions: Vec<String>,
    /// What the owner says of the server's oddities.
    pub quirks: Overrides,
}

/// The language of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP (RFC 9051).
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
}

impl Protocol {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
        }
    }

    /// The command that asks for TLS.
    pub fn starttls(self) -> &'static str {
        match self {
            Self::Imap => "STARTTLS",
            Self::Pop3 => "STLS",
        }
    }

    /// The port without TLS from the first byte.
    pub fn port(self) -> u16 {
        match self {
            Self::Imap => 143,
            Self::Pop3 => 110,
        }
    }

    /// The port with TLS from the first byte (RFC 8314).
    pub fn tls_port(self) -> u16 {
        match self {
            Self::Imap => 993,
            Self::Pop3 => 995,
        }
    }
}

/// What a connection is made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Host {
        /// A host name or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A command whose standard input and output are the connection; a PREAUTH greeting is accepted from it.
    Tunnel(Vec<String>),
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, required: without it nothing is sent.
    StartTls,
    /// Nothing. On a TCP target only for a loopback address, unless `allowed_anywhere`.
    Plaintext {
        /// The owner said `allow-plaintext = true`.
        allowed_anywhere: bool,
    },
}

/// What is trusted, and what we show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// The one certificate that is accepted, instead of any authority.
    pub pin: Option<Pin>,
    /// Client certificate chain and key, PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The lowest protocol version.
    pub min_version: TlsVersion,
}

/// The SHA-256 of a certificate in DER form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

/// Where a secret is to be found. It is read at each login, never stored.
#[derive(Clone, Debug)]
pub enum Secret {
    /// Standard output of a command, its last line end removed.
    Command(Vec<String>),
    /// Contents of a file, the last line end removed.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// It stands in the configuration.
    Literal(SecretString),
}

/// A SASL mechanism, or a command that logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// PLAIN (RFC 4616).
    Plain,
    /// The LOGIN command of IMAP, USER and PASS of POP3, or SASL LOGIN.
    Login,
    /// EXTERNAL (RFC 4422, appendix A): the client certificate says who we are.
    External,
    /// CRAM-MD5 (RFC 2195); only by name.
    CramMd5,
    /// The APOP command of POP3 (RFC 1939, section 7); only by name.
    Apop,
    /// XOAUTH2, with a token.
    Xoauth2,
    /// OAUTHBEARER (RFC 7628), with a token.
    OauthBearer,
}
