//! The mechanisms with an access token: OAUTHBEARER (RFC 7628) and Google's XOAUTH2.
//!
//! A refused token comes as a *challenge* with a JSON text. It must be answered with next to nothing, then the server
//! says NO.

use super::{surplus, without};
use crate::mail::escape;
use secrecy::{ExposeSecret as _, SecretString};

pub(super) struct Oauth {
    /// What comes in front of the token, and the token.
    initial: Option<(String, SecretString)>,
    name: &'static str,
    /// What the complaint is answered with.
    acknowledgement: &'static [u8],
    complaint: Option<String>,
}

impl Oauth {
    pub(super) fn xoauth2(user: &str, token: SecretString) -> Result<Self, String> {
        Self::new("XOAUTH2", user, token, format!("user={user}\x01auth=Bearer "), b"")
    }

    pub(super) fn bearer(user: &str, token: SecretString, host: &str, port: u16) -> Result<Self, String> {
        without(&['\0', '\x01'], "host", host)?;
        let name = user.replace('=', "=3D").replace(',', "=2C");
        let head = format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer ");
        Self::new("OAUTHBEARER", user, token, head, b"\x01")
    }

    fn new(
        name: &'static str,
        user: &str,
        token: SecretString,
        head: String,
        acknowledgement: &'static [u8],
    ) -> Result<Self, String> {
        without(&['\0', '\x01'], "user name", user)?;
        without(&['\0', '\x01', '\r', '\n'], "token", token.expose_secret())?;
        Ok(Self { initial: Some((head, token)), name, acknowledgement, complaint: None })
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        if let Some((head, token)) = self.initial.take() {
            return Ok([head.as_bytes(), token.expose_secret().as_bytes(), b"\x01\x01"].concat());
        }
        if self.complaint.is_some() {
            return Err(surplus(self.name));
        }
        self.complaint = Some(escape(challenge));
        Ok(self.acknowledgement.to_vec())
    }

    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}
