//! TLS: what is trusted, and what is said when a server is not.
//!
//! What surprises: a pinned certificate is accepted whatever its name, issuer and dates are, since the owner has
//! looked at this very certificate; the handshake signature is still verified, so the server must own its key.
//! A refusal carries the fingerprint that a pin would need. It travels *in* the error of the handshake, because one
//! configuration (which remembers sessions and key-exchange groups) serves all connections of an account at once.

mod certificate;
mod verify;

pub use certificate::Seen;
pub use verify::{Reason, Refused};

use super::endpoint::{Pin, TlsOptions, TlsVersion};
use crate::mail::escape;
use crate::monitor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

/// A client configuration; cloning is cheap.
#[derive(Clone)]
pub struct Tls {
    /// Absent where there is nothing to trust: then only connections without TLS can be made.
    connector: Option<TlsConnector>,
    min_version: TlsVersion,
}

/// So long a configuration that was built serves further connections: authorities change, but not from one to the next.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// What was built of late, since many accounts trust the same, and what they trust takes more memory than all else of a
/// connection.
static BUILT: Mutex<Vec<Built>> = Mutex::new(Vec::new());

struct Built {
    options: TlsOptions,
    at: Instant,
    tls: Tls,
}

impl Tls {
    /// One that was built for the same options within the last hour, or a new one; what it remembers of sessions is shared
    /// then. What shows a certificate of its own is always new.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn shared(options: &TlsOptions) -> Result<Self, OptionsError> {
        if options.client.is_some() {
            return Self::new(options);
        }
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        built.retain(|built| built.at.elapsed() < FRESH);
        if let Some(known) = built.iter().find(|built| built.options == *options) {
            return Ok(known.tls.clone());
        }
        let tls = Self::new(options)?;
        built.push(Built { options: options.clone(), at: Instant::now(), tls: tls.clone() });
        Ok(tls)
    }

    /// Reads the system's authorities (`SSL_CERT_FILE` replaces them) and the files that `options` names.
    ///
    /// Reads files: do not call it on an async thread that others need. A system without authorities is no error
    /// until a TLS connection is made.
    pub fn new(options: &TlsOptions) -> Result<Self, OptionsError> {
        let provider = Arc::new(ring::default_provider());
        let Some(trust) = trust(options, &provider)? else {
            return Ok(Self { connector: None, min_version: options.min_version });
        };
        let versions: &[_] = match options.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("ring has cipher suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verify::Verifier::new(trust, &provider)));
        let config = match &options.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(certificates(chain)?, private_key(key)?)
                .map_err(|error| OptionsError::ClientCertificate { chain: chain.clone(), key: key.clone(), error })?,
        };
        Ok(Self { connector: Some(TlsConnector::from(Arc::new(config))), min_version: options.min_version })
    }

    /// For connections that need no TLS: nothing is read, and a handshake fails.
    pub fn none() -> Self {
        Self { connector: None, min_version: TlsVersion::default() }
    }

    /// Shakes hands on `stream`; `host` is the configured name or IP address, and is what the certificate must name.
    ///
    /// Has no time limit of its own. Cancel safe only in that dropping it closes the stream.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = self.connector.as_ref().ok_or(HandshakeError::NoAuthorities)?;
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::Name { host: escape(host) })?;
        connector.connect(name, stream).await.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: std::io::Error) -> HandshakeError {
        use rustls::{CertificateError, Error as E};
        let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<E>()) else {
            return HandshakeError::Io(error);
        };
        match cause {
            E::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refused>() {
                Some(refused) => HandshakeError::Certificate(Box::new(refused.clone())),
                None => HandshakeError::Failed(cause.clone()),
            },
            E::InvalidMessage(_) => HandshakeError::NotTls,
            E::PeerIncompatible(_) | E::AlertReceived(rustls::AlertDescription::ProtocolVersion) => {
                HandshakeError::Version { min: self.min_version, error: cause.clone() }
            }
            _ => HandshakeError::Failed(cause.clone()),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("min_version", &self.min_version).finish_non_exhaustive()
    }
}

/// The version and the cipher suite of a connection, for people: `TLSv1.3, TLS13_AES_256_GCM_SHA384`.
pub(super) fn describe<S>(stream: &TlsStream<S>) -> String {
    let connection = stream.get_ref().1;
    let version = connection.protocol_version().map(|version| format!("{version:?}").replace('_', "."));
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    version.into_iter().chain(suite).collect::<Vec<_>>().join(", ")
}

/// Bytes that nobody can guess, as 24 letters and digits: the nonce of an authentication exchange.
pub fn nonce() -> String {
    let mut bytes = [0; 18];
    ring::default_provider().secure_random.fill(&mut bytes).expect("the kernel gives random bytes");
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

/// The TLS options of an account cannot be used. A person must act.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OptionsError {
    #[error("{path:?} cannot be read as PEM ({error}); give the path of a file with {wanted}")]
    File { path: PathBuf, wanted: &'static str, error: pem::Error },
    #[error("{path:?} holds no certificate; give the path of a PEM file with -----BEGIN CERTIFICATE-----")]
    NoCertificate { path: PathBuf },
    #[error(
        "a certificate in {path:?} cannot serve as an authority ({error}); \
         to accept one server's own certificate, set tls-fingerprint"
    )]
    NotAnAuthority { path: PathBuf, error: rustls::Error },
    #[error("the client certificate {chain:?} does not go with the key {key:?} ({error}); give both of one pair")]
    ClientCertificate { chain: PathBuf, key: PathBuf, error: rustls::Error },
}

/// TLS could not be established. Nothing but the handshake was sent.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HandshakeError {
    /// The server could not prove who it is.
    #[error(transparent)]
    Certificate(Box<Refused>),
    #[error(
        "this system has no certificate authorities, so no server can be trusted; \
         install the package ca-certificates, or set tls-ca or tls-fingerprint"
    )]
    NoAuthorities,
    #[error("\"{host}\" is not a name that a certificate can carry; give the server's host name or IP address")]
    Name { host: String },
    #[error("the server does not speak TLS there; use the port for TLS (993 for IMAP), or tls = \"starttls\"")]
    NotTls,
    #[error(
        "the server and we have no TLS version or cipher in common ({error}; {} or newer is asked for); \
         bring the server up to date{}",
        version(*.min),
        if *.min == TlsVersion::Tls13 { ", or set tls-min = \"1.2\"" } else { "" }
    )]
    Version { min: TlsVersion, error: rustls::Error },
    #[error(
        "the TLS handshake failed ({0}); \
         if it asks for a client certificate, set tls-client-cert and tls-client-key"
    )]
    Failed(rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the TLS handshake ({0})")]
    Io(std::io::Error),
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls12 => "TLS 1.2",
        TlsVersion::Tls13 => "TLS 1.3",
    }
}

impl fmt::Display for Pin {
    /// The form of the configuration: `sha256:` and 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Pin {
    /// The pin that accepts exactly this certificate (DER).
    pub fn of(certificate: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(certificate).into())
    }
}

/// What to trust; `None` if there is no authority at all.
fn trust(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Option<verify::Trust>, OptionsError> {
    if let Some(pin) = options.pin {
        return Ok(Some(verify::Trust::Pin(pin)));
    }
    let mut roots = RootCertStore::empty();
    // Single unreadable files of the system's are no reason to fail: what they would have vouched for is refused.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &options.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| OptionsError::NotAnAuthority { path: path.clone(), error })?;
        }
    }
    let builder = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    // Without revocation lists the only possible failure is that there are no roots.
    Ok(builder.build().ok().map(verify::Trust::Authorities))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let failed = |error| OptionsError::File { path: path.to_owned(), wanted: "-----BEGIN CERTIFICATE-----", error };
    let found: Vec<_> =
        CertificateDer::pem_reader_iter(opened(path).map_err(failed)?).collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(OptionsError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OptionsError> {
    opened(path).and_then(PrivateKeyDer::from_pem_reader).map_err(|error| OptionsError::File {
        path: path.to_owned(),
        wanted: "-----BEGIN PRIVATE KEY-----",
        error,
    })
}

fn opened(path: &Path) -> Result<File, pem::Error> {
    monitor::open(path).map_err(pem::Error::Io)
}

#[cfg(test)]
mod tests;
