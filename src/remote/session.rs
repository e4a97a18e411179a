//! From an endpoint to a session that is logged in.

use crate::remote::auth::{Exchange, Have, Identity, choose};
use crate::remote::endpoint::{Endpoint, Mechanism, Protocol, Secret, Security, Target};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Imap, Listing};
use crate::remote::lifeline::Lifeline;
use crate::remote::quirks::Quirks;
use crate::remote::secret::{self, SecretError};
use crate::remote::{connect, tls};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeSet;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files that the TLS options name cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::OptionsError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// A secret could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no mechanism that both sides can use.
    #[error("cannot log in: {0}")]
    Mechanism(String),
    /// The server.
    #[error(transparent)]
    Imap(#[from] ImapError),
}

/// A session, and how it came about.
#[derive(Debug)]
pub struct Opened {
    /// The session, logged in and prepared.
    pub imap: Imap,
    /// What the server listed at once; an error may be of the connection, which is then lost.
    pub listing: Result<Listing, ImapError>,
    /// Whom we speak with, for people.
    pub peer: String,
    /// The mechanism that let us in; none where the server knew us already.
    pub mechanism: Option<Mechanism>,
    /// What is odd about the server.
    pub quirks: Quirks,
}

/// A server that has greeted us, and to which nobody was named yet.
#[derive(Debug)]
pub struct Reached {
    imap: Imap,
    /// Whom we speak with, for people.
    pub peer: String,
    /// The protocol and the cipher suite of TLS, for people; none without TLS.
    pub protection: Option<String>,
    confidential: bool,
}

/// Connects, logs in with one try, prepares the session, and lists. Cancel safe: dropping it closes the connection.
pub async fn open(endpoint: &Endpoint) -> Result<Opened, Error> {
    open_on(endpoint, &Lifeline::default()).await
}

/// As [`open`], with a hold on the connection for somebody else: severed, nothing of it is waited for any more.
pub async fn open_on(endpoint: &Endpoint, line: &Lifeline) -> Result<Opened, Error> {
    let opened = async { log_in(reach_on(endpoint, line).await?, endpoint).await };
    tokio::select! {
        opened = opened => opened,
        () = line.severed() => Err(ImapError::later("it was cut off here").into()),
    }
}

/// Connects and is greeted; no secret is asked for or sent. Cancel safe as [`open`].
pub async fn reach(endpoint: &Endpoint) -> Result<Reached, Error> {
    reach_on(endpoint, &Lifeline::default()).await
}

async fn reach_on(endpoint: &Endpoint, line: &Lifeline) -> Result<Reached, Error> {
    // The system's authorities are hundreds of files: they are read only where somebody has to be trusted.
    let tls = match endpoint.security {
        Security::Plaintext { .. } => tls::Tls::none(),
        Security::Implicit | Security::StartTls => tls::Tls::shared(&endpoint.tls)?,
    };
    let connected = connect::open(endpoint, Protocol::Imap, &tls).await?;
    let (peer, protection, confidential) = (connected.peer, connected.protection, connected.confidential);
    let imap =
        Imap::greet(line.hold(connected.stream), connected.greeted, endpoint.timeout, &endpoint.disabled_extensions);
    Ok(Reached { imap: imap.await?, peer, protection, confidential })
}

/// Logs in with one try, prepares the session, and lists. Cancel safe as [`open`].
pub async fn log_in(reached: Reached, endpoint: &Endpoint) -> Result<Opened, Error> {
    let Reached { mut imap, peer, confidential, .. } = reached;
    let tunnel = matches!(endpoint.target, Target::Tunnel(_));
    let mut mechanism = None;
    if imap.is_preauthenticated() {
        // On a network a PREAUTH greeting is how an attacker gets around the login (CVE-2020-14093).
        if !tunnel {
            let reason = "the server says that it knows us already (PREAUTH), which is believed in a tunnel only";
            return Err(ImapError::Never(reason.into()).into());
        }
    } else {
        mechanism = Some(authenticate(&mut imap, endpoint, confidential).await?);
    }
    let listing = imap.prepare().await;
    let quirks = quirks(&imap, endpoint);
    Ok(Opened { imap, listing, peer, mechanism, quirks })
}

/// What is odd about the server of a session.
pub fn quirks(imap: &Imap, endpoint: &Endpoint) -> Quirks {
    Quirks::recognise(&endpoint.target, endpoint.quirks, |name| imap.capabilities().has(name))
}

async fn authenticate(imap: &mut Imap, endpoint: &Endpoint, confidential: bool) -> Result<Mechanism, Error> {
    let offered: BTreeSet<String> = imap.capabilities().mechanisms().map(str::to_ascii_uppercase).collect();
    let disabled = imap.capabilities().has("LOGINDISABLED");
    let (mechanism, secret) = credentials(endpoint, &offered, disabled, confidential).await?;
    if mechanism == Mechanism::Login && !offered.contains("LOGIN") {
        let password = secret.as_ref().map_or("", |s| s.expose_secret());
        imap.login(&endpoint.user, password).await?;
        return Ok(mechanism);
    }
    let mut exchange = exchange(endpoint, Protocol::Imap, mechanism, secret)?;
    imap.authenticate(&mut exchange).await?;
    proven(&exchange)?;
    Ok(mechanism)
}

/// Chooses how to log in, and fetches the secret for it; the arguments are those of [`choose`].
pub(super) async fn credentials(
    endpoint: &Endpoint,
    offered: &BTreeSet<String>,
    login_disabled: bool,
    confidential: bool,
) -> Result<(Mechanism, Option<SecretString>), Error> {
    let have = Have {
        password: endpoint.password.is_some(),
        token: endpoint.token_command.is_some(),
        certificate: endpoint.tls.client.is_some(),
    };
    let mechanism =
        choose(&endpoint.mechanisms, offered, login_disabled, confidential, have).map_err(Error::Mechanism)?;
    let secret = match (&endpoint.token_command, &endpoint.password) {
        (Some(command), _) if mechanism.wants_token() => Some(secret::token(command, "the access token").await?),
        (_, Some(password)) if mechanism != Mechanism::External => {
            Some(secret::reveal(password, "the password").await?)
        }
        _ => None,
    };
    Ok((mechanism, secret))
}

/// Sees whether the secret of a login is there, where that needs no program, which might ask somebody.
///
/// # Errors
/// [`Error::Secret`], as a login would find. Cancel safe.
pub async fn probe(endpoint: &Endpoint) -> Result<(), Error> {
    match &endpoint.password {
        Some(password @ (Secret::File(_) | Secret::Environment(_) | Secret::Credential(_))) => {
            secret::reveal(password, "the password").await?;
        }
        Some(Secret::Command(_) | Secret::Literal(_)) | None => {}
    }
    Ok(())
}

/// Begins a SASL exchange.
pub(super) fn exchange(
    endpoint: &Endpoint,
    protocol: Protocol,
    mechanism: Mechanism,
    secret: Option<SecretString>,
) -> Result<Exchange, Error> {
    let (host, port) = match &endpoint.target {
        Target::Host { host, port } => (host.clone(), *port),
        Target::Tunnel(_) => ("localhost".to_owned(), protocol.port()),
    };
    let identity = Identity { user: endpoint.user.clone(), secret, host, port };
    Exchange::new(mechanism, &identity, &tls::nonce()).map_err(Error::Mechanism)
}

/// Refuses to believe a server that let us in and did not prove itself where it should have.
pub(super) fn proven(exchange: &Exchange) -> Result<(), Error> {
    if exchange.server_is_proven() {
        return Ok(());
    }
    let reason = "the server let us in without proving that it knows the password; it is not to be trusted";
    Err(ImapError::Never(reason.into()).into())
}
