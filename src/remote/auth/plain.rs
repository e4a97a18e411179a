//! The small mechanisms: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), EXTERNAL (RFC 4422, appendix A),
//! CRAM-MD5 (RFC 2195).

use super::{surplus, without};
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt::Write as _;

pub(super) struct Plain {
    user: String,
    password: Option<SecretString>,
}

impl Plain {
    pub(super) fn new(user: String, password: SecretString) -> Result<Self, String> {
        without(&['\0'], "user name", &user)?;
        without(&['\0'], "password", password.expose_secret())?;
        Ok(Self { user, password: Some(password) })
    }

    pub(super) fn respond(&mut self) -> Result<Vec<u8>, String> {
        let password = self.password.take().ok_or_else(|| surplus("PLAIN"))?;
        Ok([b"\0", self.user.as_bytes(), b"\0", password.expose_secret().as_bytes()].concat())
    }
}

/// Two prompts, whose words differ from server to server: the name answers the first, the password the second.
pub(super) struct Login {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Login {
    pub(super) fn new(user: String, password: SecretString) -> Result<Self, String> {
        without(&['\0'], "user name", &user)?;
        without(&['\0'], "password", password.expose_secret())?;
        Ok(Self { user: Some(user), password: Some(password) })
    }

    pub(super) fn respond(&mut self) -> Result<Vec<u8>, String> {
        if let Some(user) = self.user.take() {
            return Ok(user.into_bytes());
        }
        let password = self.password.take().ok_or_else(|| surplus("LOGIN"))?;
        Ok(password.expose_secret().as_bytes().to_vec())
    }
}

pub(super) struct External {
    user: Option<String>,
}

impl External {
    pub(super) fn new(user: String) -> Result<Self, String> {
        without(&['\0'], "user name", &user)?;
        Ok(Self { user: Some(user) })
    }

    pub(super) fn respond(&mut self) -> Result<Vec<u8>, String> {
        self.user.take().map(String::into_bytes).ok_or_else(|| surplus("EXTERNAL"))
    }
}

pub(super) struct CramMd5 {
    user: String,
    password: Option<SecretString>,
}

impl CramMd5 {
    pub(super) fn new(user: String, password: SecretString) -> Result<Self, String> {
        without(&['\0'], "user name", &user)?;
        Ok(Self { user, password: Some(password) })
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        if challenge.is_empty() {
            return Err("the server gives no challenge for CRAM-MD5".into());
        }
        let password = self.password.take().ok_or_else(|| surplus("CRAM-MD5"))?;
        let mut digest = hmac::Hmac::<md5::Md5>::new_from_slice(password.expose_secret().as_bytes())
            .expect("a key of any length is taken");
        digest.update(challenge);
        let mut answer = format!("{} ", self.user);
        for byte in digest.finalize().into_bytes() {
            write!(answer, "{byte:02x}").expect("a string takes it");
        }
        Ok(answer.into_bytes())
    }
}
