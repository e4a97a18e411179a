//! Proving who we are: which SASL mechanism is used, and its answers.
//!
//! Pure: a random nonce is handed in, nothing is written or logged. What surprises: an [`Exchange`] knows more than
//! the answers; after the login ask it whether the server proved itself ([`Exchange::server_is_proven`]) and what it
//! complained of ([`Exchange::complaint`]).
//!
//! User names and passwords are sent as they stand in the configuration. SASLprep (RFC 4013) leaves ASCII untouched;
//! other characters are not normalised, which differs from it only for text that was not composed (NFC) to begin with.

mod oauth;
mod plain;
mod scram;

use super::endpoint::Mechanism;
use super::sasl::Sasl;
use crate::mail::escape;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::fmt;

/// What we could log in with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Have {
    /// A password is configured.
    pub password: bool,
    /// A command for an access token is configured.
    pub token: bool,
    /// A client certificate is configured.
    pub certificate: bool,
}

/// Chooses how to log in: the first of `configured` (or of our own order, if that is empty) that the server offers
/// and that we have the secret for.
///
/// `offered` holds the names behind `AUTH=`, in capitals. `confidential` says that a password may be written to the
/// connection as it is ([`Connected::confidential`](super::connect::Connected)); without it PLAIN, LOGIN and tokens
/// are not used, whoever asks for them. `login_disabled` (LOGINDISABLED, RFC 9051) forbids the LOGIN command, not the
/// SASL mechanism of that name. EXTERNAL, CRAM-MD5 and APOP are used only if configured. The error is a sentence for the
/// owner, with the remedy.
pub fn choose(
    configured: &[Mechanism],
    offered: &BTreeSet<String>,
    login_disabled: bool,
    confidential: bool,
    have: Have,
) -> Result<Mechanism, String> {
    use Mechanism::{Login, OauthBearer, Plain, ScramSha256, Xoauth2};
    let usual = [OauthBearer, Xoauth2, ScramSha256, Plain, Login];
    let (candidates, named): (Vec<Mechanism>, _) = match configured {
        [] => (usual.into_iter().filter(|mechanism| lacks(*mechanism, have).is_none()).collect(), false),
        named => (named.to_vec(), true),
    };
    if candidates.is_empty() {
        return Err("there is nothing to log in with; set a password, or oauth2.token-command".into());
    }
    let mut obstacles = Vec::new();
    for mechanism in candidates {
        let obstacle = if let Some(lack) = lacks(mechanism, have) {
            lack
        } else if mechanism.shows_the_secret() && !confidential {
            "would show the secret to everybody on the way; use TLS"
        } else if offered.contains(mechanism.name()) || mechanism == Login && !login_disabled {
            return Ok(mechanism);
        } else if mechanism == Login {
            "is disabled by the server"
        } else {
            "is not offered"
        };
        obstacles.push(format!("{mechanism} {obstacle}"));
    }
    let offered = match offered.len() {
        0 => "no mechanism".to_owned(),
        _ => escape(offered.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
    };
    let remedy = if named { "change auth" } else { "set auth to one of these, if it is external or cram-md5" };
    Err(format!("no way to log in: {}; the server offers {offered}; {remedy}", obstacles.join(", ")))
}

fn lacks(mechanism: Mechanism, have: Have) -> Option<&'static str> {
    use Mechanism::{Apop, CramMd5, External, Login, OauthBearer, Plain, ScramSha256, Xoauth2};
    match mechanism {
        ScramSha256 | Plain | Login | CramMd5 | Apop if !have.password => Some("needs a password; set one"),
        Xoauth2 | OauthBearer if !have.token => Some("needs a token; set oauth2.token-command"),
        External if !have.certificate => Some("needs tls-client-cert and tls-client-key"),
        ScramSha256 | Plain | Login | CramMd5 | Apop | Xoauth2 | OauthBearer | External => None,
    }
}

impl Mechanism {
    /// Its name after `AUTH=`, or that of its command.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::External => "EXTERNAL",
            Self::CramMd5 => "CRAM-MD5",
            Self::Apop => "APOP",
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The client speaks first: its answer to the empty challenge may go as the initial response (SASL-IR, RFC 4959).
    pub fn client_first(self) -> bool {
        !matches!(self, Self::Login | Self::CramMd5 | Self::Apop)
    }

    /// It needs an access token instead of a password.
    pub fn wants_token(self) -> bool {
        matches!(self, Self::Xoauth2 | Self::OauthBearer)
    }

    fn shows_the_secret(self) -> bool {
        matches!(self, Self::Plain | Self::Login) || self.wants_token()
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who logs in, and where.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The login name.
    pub user: String,
    /// The password, or the token; absent for EXTERNAL.
    pub secret: Option<SecretString>,
    /// The configured host and port, which OAUTHBEARER tells the server.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One authentication, from the client's side.
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

enum State {
    Plain(plain::Plain),
    Login(plain::Login),
    External(plain::External),
    CramMd5(plain::CramMd5),
    Scram(Box<scram::Scram>),
    Oauth(oauth::Oauth),
}

impl Exchange {
    /// Begins; `nonce` (printable ASCII without commas, [`tls::nonce`](super::tls::nonce)) is used by SCRAM only.
    ///
    /// Refuses names and secrets that the mechanism cannot carry. The error is a clause for the owner.
    pub fn new(mechanism: Mechanism, identity: &Identity, nonce: &str) -> Result<Self, String> {
        let user = identity.user.clone();
        let secret = || identity.secret.clone().ok_or_else(|| format!("{mechanism} needs a password or token"));
        let state = match mechanism {
            Mechanism::Plain => State::Plain(plain::Plain::new(user, secret()?)?),
            Mechanism::Login => State::Login(plain::Login::new(user, secret()?)?),
            Mechanism::External => State::External(plain::External::new(user)?),
            Mechanism::CramMd5 => State::CramMd5(plain::CramMd5::new(user, secret()?)?),
            Mechanism::Apop => return Err("APOP is a command and no exchange".into()),
            Mechanism::ScramSha256 => State::Scram(Box::new(scram::Scram::new(&user, secret()?, nonce)?)),
            Mechanism::Xoauth2 => State::Oauth(oauth::Oauth::xoauth2(&user, secret()?)?),
            Mechanism::OauthBearer => {
                State::Oauth(oauth::Oauth::bearer(&user, secret()?, &identity.host, identity.port)?)
            }
        };
        Ok(Self { mechanism, state })
    }

    /// The server has proved that it knows the password, where the mechanism has it do so.
    ///
    /// If this is false after an OK, the OK must not be believed (RFC 5802, section 3).
    pub fn server_is_proven(&self) -> bool {
        match &self.state {
            State::Scram(scram) => scram.is_done(),
            _ => true,
        }
    }

    /// What the server said against the token, escaped: a JSON text (RFC 7628, 3.2.2).
    pub fn complaint(&self) -> Option<&str> {
        match &self.state {
            State::Oauth(oauth) => oauth.complaint(),
            _ => None,
        }
    }
}

impl Sasl for Exchange {
    fn name(&self) -> &str {
        self.mechanism.name()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        match &mut self.state {
            State::Plain(state) => state.respond(),
            State::Login(state) => state.respond(),
            State::External(state) => state.respond(),
            State::CramMd5(state) => state.respond(challenge),
            State::Scram(state) => state.respond(challenge),
            State::Oauth(state) => state.respond(challenge),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Refuses what would end a field early.
fn without(forbidden: &[char], what: &str, text: &str) -> Result<(), String> {
    match text.contains(forbidden) {
        false => Ok(()),
        true => Err(format!("the {what} holds a control character that this mechanism cannot carry; correct it")),
    }
}

/// The answer to a challenge that should not have come.
fn surplus(name: &str) -> String {
    format!("the server asks on after the end of {name}; it does not follow the mechanism")
}

#[cfg(test)]
mod tests;
