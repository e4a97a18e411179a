//! The judge of certificates: an authority's word and the name, or the one fingerprint; and the reason of a refusal.

use super::certificate::Seen;
use crate::mail::escape;
use crate::remote::endpoint::Pin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use tokio_rustls::rustls;

/// What makes a certificate acceptable.
#[derive(Debug)]
pub(super) enum Trust {
    /// It is this one.
    Pin(Pin),
    /// One of these vouches for it, and it names the host.
    Authorities(Arc<WebPkiServerVerifier>),
}

/// Judges by [`Trust`], and says in its error what it saw.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = Pin::of(end_entity);
        let seen = || Seen::read(end_entity);
        let reason = match &self.trust {
            Trust::Pin(pin) if *pin == fingerprint => return Ok(ServerCertVerified::assertion()),
            Trust::Pin(pin) => Reason::OtherThanPinned { pinned: *pin },
            Trust::Authorities(authorities) => {
                match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => Reason::of(&error, &seen()),
                }
            }
        };
        let host = escape(server_name.to_str().as_bytes());
        let refused = Refused { host, reason, seen: seen(), fingerprint };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that was not accepted: why, what was seen, and the pin that would accept it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the certificate of {host} is refused: {reason}; seen: {seen}; nothing was sent; {}. \
     Its fingerprint is {fingerprint}",
    .reason.remedy()
)]
pub struct Refused {
    /// The host that we wanted, escaped.
    pub host: String,
    /// The check that failed.
    pub reason: Reason,
    /// What the certificate says of itself.
    pub seen: Seen,
    /// What `tls-fingerprint` must be to accept this certificate.
    pub fingerprint: Pin,
}

/// The check that a certificate failed; with several, the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason {
    Expired,
    NotYetValid,
    WrongName,
    NoNames,
    SelfSigned,
    AuthorityAsServer,
    UnknownIssuer,
    WrongPurpose,
    OtherThanPinned { pinned: Pin },
    BadSignature,
    Malformed,
    Other,
}

impl Reason {
    fn of(error: &Error, seen: &Seen) -> Self {
        use CertificateError as C;
        let Error::InvalidCertificate(error) = error else { return Self::Other };
        match error {
            C::Expired | C::ExpiredContext { .. } => Self::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => Self::NotYetValid,
            C::NotValidForName | C::NotValidForNameContext { .. } if seen.names.is_empty() => Self::NoNames,
            C::NotValidForName | C::NotValidForNameContext { .. } => Self::WrongName,
            C::UnknownIssuer if seen.self_signed => Self::SelfSigned,
            C::UnknownIssuer => Self::UnknownIssuer,
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => Self::WrongPurpose,
            C::BadEncoding => Self::Malformed,
            C::BadSignature => Self::BadSignature,
            C::Other(_) if seen.authority => Self::AuthorityAsServer,
            _ => Self::Other,
        }
    }

    /// What the owner can do.
    fn remedy(self) -> &'static str {
        match self {
            Self::Expired => "the server's operator must renew it",
            Self::NotYetValid => "look whether this machine's clock is right",
            Self::WrongName => "set host to a name that it has, if that is the server you mean",
            Self::NoNames => "the server's operator must put the name into it, or you set tls-fingerprint",
            Self::SelfSigned | Self::AuthorityAsServer => "if you know it to be the right one, set tls-fingerprint",
            Self::UnknownIssuer | Self::BadSignature => {
                "set tls-ca to a file with its authority, or tls-fingerprint if you know it to be right"
            }
            Self::OtherThanPinned { .. } => "if the server's operator confirms the new one, change tls-fingerprint",
            Self::WrongPurpose | Self::Malformed | Self::Other => "ask the server's operator",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it is for other names",
            Self::NoNames => "it names no host (a common name alone does not count)",
            Self::SelfSigned => "it is signed by itself, no authority vouches for it",
            Self::AuthorityAsServer => "it is the certificate of an authority, used as a server's own",
            Self::UnknownIssuer => "it comes from an authority that is not trusted here",
            Self::WrongPurpose => "it is not meant for servers (extended key usage)",
            Self::OtherThanPinned { pinned } => return write!(f, "it is not the one that is pinned, {pinned}"),
            Self::BadSignature => {
                "its signature is false: its authority has no more than the name of one that is trusted"
            }
            Self::Malformed => "it cannot be read",
            Self::Other => "it breaks a rule for certificates",
        })
    }
}
