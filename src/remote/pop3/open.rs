//! From an endpoint to a maildrop that is open.

use super::login::Authorization;
use super::transaction::Transaction;
use crate::remote::connect;
use crate::remote::endpoint::{Endpoint, Mechanism, Protocol, Security};
use crate::remote::error::Error as Pop3Error;
use crate::remote::lifeline::Lifeline;
use crate::remote::session::{Error, credentials, exchange, proven};
use crate::remote::tls::Tls;
use secrecy::ExposeSecret as _;
use std::collections::BTreeSet;

/// A session, and how it came about.
#[derive(Debug)]
pub struct Opened {
    /// The session, logged in.
    pub transaction: Transaction,
    /// Whom we speak with, for people.
    pub peer: String,
    /// The mechanism that let us in; [`Mechanism::Login`] stands for USER and PASS too.
    pub mechanism: Mechanism,
}

/// A server that has greeted us, and to which nobody was named yet.
#[derive(Debug)]
pub struct Reached {
    authorization: Authorization,
    /// Whom we speak with, for people.
    pub peer: String,
    /// The protocol and the cipher suite of TLS, for people; none without TLS.
    pub protection: Option<String>,
    confidential: bool,
    /// Nobody on the way can write what the server is taken to say.
    authentic: bool,
}

/// Connects, and logs in with one try. Cancel safe: dropping it closes the connection.
pub async fn open(endpoint: &Endpoint) -> Result<Opened, Error> {
    open_on(endpoint, &Lifeline::default()).await
}

/// As [`open`], with a hold on the connection for somebody else: severed, nothing of it is waited for any more.
pub async fn open_on(endpoint: &Endpoint, line: &Lifeline) -> Result<Opened, Error> {
    let opened = async { log_in(reach_on(endpoint, line).await?, endpoint).await };
    tokio::select! {
        opened = opened => opened,
        () = line.severed() => Err(Pop3Error::later("it was cut off here").into()),
    }
}

/// Connects and is greeted; no secret is asked for or sent. Cancel safe as [`open`].
pub async fn reach(endpoint: &Endpoint) -> Result<Reached, Error> {
    reach_on(endpoint, &Lifeline::default()).await
}

async fn reach_on(endpoint: &Endpoint, line: &Lifeline) -> Result<Reached, Error> {
    // The system's authorities are hundreds of files: they are read only where somebody has to be trusted.
    let tls = match endpoint.security {
        Security::Plaintext { .. } => Tls::none(),
        Security::Implicit | Security::StartTls => Tls::shared(&endpoint.tls)?,
    };
    let connected = connect::open(endpoint, Protocol::Pop3, &tls).await?;
    let (peer, protection, confidential) = (connected.peer, connected.protection, connected.confidential);
    let authentic = protection.is_some() || connected.local;
    let greeted = Authorization::greet(
        line.hold(connected.stream),
        connected.greeted,
        endpoint.timeout,
        &endpoint.disabled_extensions,
    );
    Ok(Reached { authorization: greeted.await?, peer, protection, confidential, authentic })
}

/// Logs in with one try. Cancel safe as [`open`].
pub async fn log_in(reached: Reached, endpoint: &Endpoint) -> Result<Opened, Error> {
    let Reached { mut authorization, peer, confidential, authentic, .. } = reached;
    let capabilities = authorization.capabilities();
    let mut offered: BTreeSet<String> = capabilities.mechanisms().map(str::to_owned).collect();
    // A server that lists mechanisms and not USER does not want it; one that lists nothing says nothing.
    let disabled = !offered.is_empty() && !capabilities.has("USER");
    // Who could forge the timestamp would learn parts of the password.
    if authorization.has_timestamp() && authentic {
        offered.insert(Mechanism::Apop.name().to_owned());
    }
    let (mechanism, secret) = credentials(endpoint, &offered, disabled, confidential).await?;
    if authentic {
        authorization.utf8().await?;
    }
    let password = secret.as_ref().map_or("", |secret| secret.expose_secret());
    let transaction = match mechanism {
        Mechanism::Apop => authorization.apop(&endpoint.user, password).await?,
        Mechanism::Login if !offered.contains("LOGIN") => authorization.login(&endpoint.user, password).await?,
        mechanism => {
            let mut exchange = exchange(endpoint, Protocol::Pop3, mechanism, secret)?;
            let transaction = authorization.authenticate(&mut exchange).await.map_err(|error| match error {
                Pop3Error::Login(refusal) if exchange.complaint().is_some() => {
                    tracing::debug!("the server says of the token: {}", exchange.complaint().unwrap_or_default());
                    Pop3Error::Login(refusal)
                }
                error => error,
            })?;
            proven(&exchange)?;
            transaction
        }
    };
    Ok(Opened { transaction, peer, mechanism })
}
