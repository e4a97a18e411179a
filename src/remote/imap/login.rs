//! From the greeting to the authenticated state (RFC 9051, sections 6.2 and 7.1).
//!
//! Nothing is ever pipelined behind AUTHENTICATE or LOGIN: Cyrus loses what follows, Courier hangs.

use super::capability::Capabilities;
use super::command::{AUTHENTICATE, CAPABILITY, Command, LOGIN, LOGOUT, quoted};
use super::condition::{Condition, Status};
use super::connection::{Connection, goodbye, refusal};
use super::response::{Response, Untagged};
use super::{Imap, Mailboxes};
use crate::remote::Sasl;
use crate::remote::error::{Error, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Mechanisms in which the server speaks first, so that there is no initial response.
const SERVER_FIRST: [&str; 3] = ["CRAM-MD5", "LOGIN", "DIGEST-MD5"];

impl Imap {
    /// Reads the greeting of a server and asks for its capabilities if the greeting does not tell them.
    ///
    /// `greeted`: the greeting was read already, before STARTTLS; what it told counts no more, so the capabilities are
    /// asked for. `timeout` is the longest silence that any later wait endures; the capabilities in `disabled` are taken
    /// for absent.
    ///
    /// # Errors
    /// [`Error::Later`] when the server says BYE or nothing.
    pub async fn greet(
        stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
        greeted: bool,
        timeout: Duration,
        disabled: &[String],
    ) -> Result<Self, Error> {
        let mut connection = Connection::open(stream, timeout).await?;
        let (mut preauth, mut told) = (false, None);
        if !greeted {
            let Response::Untagged(Untagged::Condition(greeting)) = connection.next().await? else {
                return Err(Error::Protocol("the greeting is none of IMAP".into()));
            };
            preauth = match greeting.status {
                Status::Ok => false,
                Status::PreAuth => true,
                Status::Bye | Status::No | Status::Bad => return Err(goodbye(&greeting)),
            };
            told = greeting.capabilities();
        }
        let mut imap = Self {
            connection,
            capabilities: Capabilities::new(disabled),
            preauth,
            mailboxes: Mailboxes::default(),
            open: None,
            listed: None,
        };
        imap.learn_capabilities(told).await?;
        Ok(imap)
    }

    /// Tells whether the server knows us already, as it does in a tunnel; then there is no login.
    pub fn is_preauthenticated(&self) -> bool {
        self.preauth
    }

    /// Logs in by the LOGIN command.
    ///
    /// # Errors
    /// [`Error::Login`] when the server refuses, [`Error::Never`] when it does not allow LOGIN on this connection.
    pub async fn login(&mut self, user: &str, password: &str) -> Result<(), Error> {
        if self.capabilities.has("LOGINDISABLED") {
            return Err(Error::Never("the server does not allow LOGIN on this connection".into()));
        }
        // What stands behind a literal's length is sent when the server has asked for the literal.
        let mut line = b"LOGIN".to_vec();
        let mut lines = Vec::new();
        for argument in [user, password] {
            match quoted(argument) {
                Some(argument) => line.extend_from_slice(format!(" {argument}").as_bytes()),
                None => {
                    line.extend_from_slice(format!(" {{{}}}", argument.len()).as_bytes());
                    lines.push(std::mem::replace(&mut line, argument.as_bytes().to_vec()));
                }
            }
        }
        lines.push(line);
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let tag = self.connection.send(&Command::new(LOGIN, String::from_utf8_lossy(&first))).await?;
        let mut offered = None;
        let done = loop {
            match self.connection.next().await? {
                Response::Continue(_) => {
                    let Some(line) = lines.next() else {
                        return Err(self.connection.protocol("the server asks for more of a whole command"));
                    };
                    self.connection.send_octets(&line).await?;
                    self.connection.send_octets(b"\r\n").await?;
                    self.connection.flush().await?;
                }
                Response::Tagged(answered, done) if answered == tag => break done,
                Response::Tagged(..) => return Err(self.connection.unknown_tag()),
                Response::Untagged(Untagged::Capability(names)) => offered = Some(names),
                Response::Untagged(_) => {}
            }
        };
        self.logged_in(done, offered).await
    }

    /// Logs in by a SASL mechanism, with an initial response where the server takes one (RFC 4959).
    ///
    /// # Errors
    /// [`Error::Login`] when either side refuses.
    pub async fn authenticate(&mut self, sasl: &mut dyn Sasl) -> Result<(), Error> {
        let name = sasl.name().to_owned();
        let client_first = !SERVER_FIRST.contains(&name.as_str());
        let mut text = format!("AUTHENTICATE {name}");
        let mut failure = None;
        if client_first && self.capabilities.has("SASL-IR") {
            let initial = sasl.respond(b"").map_err(given_up)?;
            text.push(' ');
            text.push_str(&if initial.is_empty() { "=".to_owned() } else { STANDARD.encode(initial) });
        }
        let tag = self.connection.send(&Command::new(AUTHENTICATE, text)).await?;
        let mut offered = None;
        let done = loop {
            match self.connection.next().await? {
                Response::Continue(challenge) => {
                    let answer = STANDARD
                        .decode(challenge.trim_ascii())
                        .map_err(|_| "the server's challenge is not base64".to_owned())
                        .and_then(|challenge| sasl.respond(&challenge));
                    let line = answer.map(|octets| STANDARD.encode(octets)).unwrap_or_else(|reason| {
                        failure = Some(reason);
                        "*".to_owned()
                    });
                    self.connection.send_line(&line).await?;
                }
                Response::Tagged(answered, done) if answered == tag => break done,
                Response::Tagged(..) => return Err(self.connection.unknown_tag()),
                Response::Untagged(Untagged::Capability(names)) => offered = Some(names),
                Response::Untagged(_) => {}
            }
        };
        if let Some(reason) = failure {
            // A server that lets us in although we cancelled is not the one that we were to talk to.
            return Err(self.connection.abandon(given_up(reason)));
        }
        self.logged_in(done, offered).await
    }

    /// Says goodbye and closes the connection; the answer is not waited for, since nothing depends on it.
    ///
    /// # Errors
    /// When the connection is lost already.
    pub async fn logout(mut self) -> Result<(), Error> {
        self.connection.send(&Command::bare(LOGOUT)).await?;
        self.connection.close().await
    }

    async fn logged_in(&mut self, done: Condition, offered: Option<Vec<String>>) -> Result<(), Error> {
        if done.status == Status::Ok {
            return self.learn_capabilities(done.capabilities().or(offered)).await;
        }
        let refusal = refusal(done);
        let hint = refusal.pause();
        let passing = ["UNAVAILABLE", "INUSE", "LIMIT", "THROTTLED", "SERVERBUG"];
        let crowded = refusal.text.to_ascii_lowercase().contains("too many");
        if crowded || hint.is_some() || passing.iter().any(|code| refusal.has_code(code)) {
            let reason = format!("the server does not take logins now: {refusal}");
            return Err(Error::Later { reason, hint, source: None });
        }
        Err(Error::Login(refusal))
    }

    /// Takes the capabilities that came unasked, or asks.
    async fn learn_capabilities(&mut self, offered: Option<Vec<String>>) -> Result<(), Error> {
        let mut names = offered;
        if names.is_none() {
            let mut asked = None;
            self.connection
                .exec(Command::bare(CAPABILITY), &mut |_, untagged| {
                    if let Untagged::Capability(names) = untagged {
                        asked = Some(names);
                    }
                })
                .await?;
            names = asked;
        }
        self.capabilities.set(&names.unwrap_or_default());
        if self.capabilities.is_known() {
            Ok(())
        } else {
            Err(self.connection.protocol("the server tells no capabilities"))
        }
    }
}

/// The login that failed because our side gave it up.
fn given_up(reason: String) -> Error {
    Error::Login(Refusal { bad: false, code: None, text: reason })
}
