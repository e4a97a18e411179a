//! The AUTHORIZATION state: from the greeting to the maildrop (RFC 1939, sections 4 and 7; RFC 5034; RFC 6856).
//!
//! Nothing is ever sent behind a login before its answer. A login that fails takes the connection with it: one try.

use super::capability::{Capabilities, MAX_CAPABILITIES};
use super::command::{APOP, AUTH, CAPA, Command, PASS, USER, UTF8};
use super::connection::Connection;
use super::reply::{Status, greeting_refused, login_refused};
use super::transaction::Transaction;
use crate::remote::Sasl;
use crate::remote::error::{Error, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Mechanisms without an initial response: the server speaks first, or the token goes in a line of its own, which
/// Exchange Online insists on and a long token needs.
const WITHOUT_INITIAL: [&str; 4] = ["CRAM-MD5", "LOGIN", "XOAUTH2", "OAUTHBEARER"];
/// The longest AUTH with an initial response, CRLF included (RFC 5034, section 4).
const MAX_AUTH: usize = 255;

/// A server that has greeted us, and to which nobody was named yet.
#[derive(Debug)]
pub struct Authorization {
    connection: Connection,
    capabilities: Capabilities,
    timestamp: Option<String>,
}

impl Authorization {
    /// Reads the greeting of a server and asks what it can do.
    ///
    /// `greeted`: the greeting was read already, before STLS, and what it told counts no more. `timeout` is the longest
    /// silence that any later wait endures; the capabilities in `disabled` are taken for absent.
    ///
    /// # Errors
    /// [`Error::Later`] when the server does not want us now, or says nothing.
    pub async fn greet(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        greeted: bool,
        timeout: Duration,
        disabled: &[String],
    ) -> Result<Self, Error> {
        let mut connection = Connection::new(stream, timeout);
        let mut capabilities = Capabilities::new(disabled);
        let mut timestamp = None;
        if !greeted {
            let greeting = connection.greeting().await?;
            let greeting = greeting.map_err(|refusal| greeting_refused(refusal, &capabilities))?;
            timestamp = timestamp_in(&greeting);
        }
        connection.send(&Command::bare(CAPA)).await?;
        learn(&mut connection, &mut capabilities).await?;
        Ok(Self { connection, capabilities, timestamp })
    }

    /// What the server can do, less what the owner disabled.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Tells whether the greeting allows [`apop`](Self::apop).
    pub fn has_timestamp(&self) -> bool {
        self.timestamp.is_some()
    }

    /// Asks for messages as they are, in UTF-8, and allows names and passwords in it; after TLS and before the login.
    ///
    /// Without it a server may rewrite internationalized headers (RFC 6856). A refusal changes nothing and is no error.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn utf8(&mut self) -> Result<(), Error> {
        if self.capabilities.has("UTF8") {
            let _ = self.connection.ask(&Command::bare(UTF8)).await?;
        }
        Ok(())
    }

    /// Logs in by USER and PASS.
    ///
    /// # Errors
    /// [`Error::Login`] when the server refuses for good, [`Error::Later`] when it is busy, `[IN-USE]` or
    /// `[LOGIN-DELAY]`, with the pause as the hint.
    pub async fn login(mut self, user: &str, password: &str) -> Result<Transaction, Error> {
        if [user, password].into_iter().any(|text| text.contains(['\r', '\n', '\0'])) {
            return Err(Error::Never("the name or the password has a control character; correct it".into()));
        }
        let named = self.connection.ask(&Command::new(USER, user)).await?;
        let done = match named {
            Ok(_) => self.connection.ask(&Command::secret(PASS, password)).await?,
            Err(refusal) => Err(refusal),
        };
        self.logged_in(done)
    }

    /// Logs in by APOP (RFC 1939, section 7); only where the owner named it, for who can send greetings learns parts of
    /// the password (CVE-2007-1558).
    ///
    /// # Errors
    /// As for [`login`](Self::login); [`Error::Never`] without a timestamp.
    pub async fn apop(mut self, user: &str, password: &str) -> Result<Transaction, Error> {
        let Some(timestamp) = self.timestamp.take() else {
            return Err(Error::Never("the server's greeting has no timestamp that APOP could use".into()));
        };
        if user.contains([' ', '\r', '\n', '\0']) {
            return Err(Error::Never("APOP cannot carry the name; set auth to another mechanism".into()));
        }
        let mut digest = String::new();
        for octet in Md5::new().chain_update(timestamp).chain_update(password).finalize() {
            write!(digest, "{octet:02x}").expect("a string takes it");
        }
        let done = self.connection.ask(&Command::secret(APOP, &format!("{user} {digest}"))).await?;
        self.logged_in(done)
    }

    /// Logs in by a SASL mechanism.
    ///
    /// # Errors
    /// As for [`login`](Self::login); [`Error::Login`] also when the mechanism gives up.
    pub async fn authenticate(mut self, sasl: &mut dyn Sasl) -> Result<Transaction, Error> {
        let name = sasl.name().to_owned();
        let mut text = name.clone();
        // What does not fit into the line waits for the server to ask.
        let mut held = None;
        if !WITHOUT_INITIAL.contains(&name.as_str()) {
            let initial = sasl.respond(b"").map_err(given_up)?;
            let initial = if initial.is_empty() { "=".to_owned() } else { STANDARD.encode(initial) };
            if AUTH.name.len() + name.len() + initial.len() + 4 <= MAX_AUTH {
                text = format!("{name} {initial}");
            } else {
                held = Some(initial);
            }
        }
        self.connection.send(&Command::secret(AUTH, &text)).await?;
        let mut failure = None;
        let done = loop {
            let challenge = match self.connection.status().await? {
                Status::Ok(text) => break Ok(text),
                Status::Err(refusal) => break Err(refusal),
                Status::Continue(challenge) => challenge,
            };
            if let Some(reason) = failure {
                return Err(given_up(reason));
            }
            let answer = match held.take() {
                Some(initial) => Ok(initial),
                None => STANDARD
                    .decode(challenge)
                    .map_err(|_| "the server's challenge is not base64".to_owned())
                    .and_then(|challenge| sasl.respond(&challenge))
                    .map(|octets| STANDARD.encode(octets)),
            };
            let line = answer.unwrap_or_else(|reason| {
                failure = Some(reason);
                "*".to_owned()
            });
            self.connection.send_line(&line).await?;
        };
        self.connection.end_reply()?;
        // A server that lets us in although we cancelled is not the one that we were to talk to.
        failure.map_or(Ok(()), |reason| Err(given_up(reason)))?;
        self.logged_in(done)
    }

    fn logged_in(self, done: Result<String, Refusal>) -> Result<Transaction, Error> {
        match done {
            Ok(_) => Ok(Transaction::new(self.connection, self.capabilities)),
            Err(refusal) => Err(login_refused(refusal, &self.capabilities)),
        }
    }
}

/// Reads the answer to CAPA. A server that refuses it says nothing by that, and what was known stands.
pub(super) async fn learn(connection: &mut Connection, capabilities: &mut Capabilities) -> Result<(), Error> {
    let mut told = capabilities.clone();
    told.clear();
    if connection.list(MAX_CAPABILITIES, |line| told.add(line)).await?.is_ok() {
        *capabilities = told;
    }
    Ok(())
}

/// The timestamp of a greeting: a message identifier of printable ASCII, in which nobody can hide anything.
fn timestamp_in(greeting: &str) -> Option<String> {
    let start = greeting.find('<')?;
    let end = start + greeting[start..].find('>')?;
    let inner = &greeting[start + 1..end];
    let (left, right) = inner.split_once('@')?;
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>@".contains(&b));
    (is_plain(left) && is_plain(right)).then(|| greeting[start..=end].to_owned())
}

/// The login that failed because our side gave it up.
fn given_up(reason: String) -> Error {
    Error::Login(Refusal { bad: false, code: None, text: reason })
}
