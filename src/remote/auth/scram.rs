//! SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: both sides prove that they know the password.
//!
//! What surprises: how long the proof takes is the server's choice, so the count of iterations is capped.

use super::{surplus, without};
use crate::mail::escape;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::ops::RangeInclusive;

/// The iterations that are accepted: RFC 7677 wants 4096 at least; the most is about a second of work.
pub(super) const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// The header of the first message, "no channel binding", which the last message repeats.
const GS2_HEADER: &str = "n,,";

pub(super) struct Scram {
    /// The first message without its header: `n=user,r=nonce`.
    first: String,
    nonce: String,
    password: SecretString,
    state: State,
}

enum State {
    Start,
    FirstSent,
    FinalSent { key: [u8; 32], signed: String },
    Done,
}

impl Scram {
    pub(super) fn new(user: &str, password: SecretString, nonce: &str) -> Result<Self, String> {
        without(&['\0'], "user name", user)?;
        without(&['\0'], "password", password.expose_secret())?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return Err("the nonce for SCRAM is not printable".into());
        }
        let name = user.replace('=', "=3D").replace(',', "=2C");
        Ok(Self { first: format!("n={name},r={nonce}"), nonce: nonce.to_owned(), password, state: State::Start })
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        match &self.state {
            State::Start => {
                self.state = State::FirstSent;
                Ok(format!("{GS2_HEADER}{}", self.first).into_bytes())
            }
            State::FirstSent => {
                let (answer, state) = self.prove(text(challenge)?)?;
                self.state = state;
                Ok(answer)
            }
            State::FinalSent { key, signed } => {
                verify(text(challenge)?, key, signed)?;
                self.state = State::Done;
                Ok(Vec::new())
            }
            State::Done => Err(surplus("SCRAM-SHA-256")),
        }
    }

    /// The last message, from the server's first.
    fn prove(&self, server_first: &str) -> Result<(Vec<u8>, State), String> {
        let odd = || format!("the server's first SCRAM message is malformed (\"{}\")", escape(server_first));
        let mut fields = server_first.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name)).ok_or_else(odd);
        let nonce = field("r=")?;
        let salt = STANDARD.decode(field("s=")?).map_err(|_| odd())?;
        let iterations: u32 = field("i=")?.parse().map_err(|_| odd())?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server does not repeat our SCRAM nonce: it answers to another login than ours".into());
        }
        if !ITERATIONS.contains(&iterations) {
            return Err(format!(
                "the server wants {iterations} SCRAM iterations, and only {} to {} are accepted; \
                 ask its operator, or set auth = [\"plain\"]",
                ITERATIONS.start(),
                ITERATIONS.end()
            ));
        }
        let mut salted = zeroize::Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.expose_secret().as_bytes(), &salt, iterations, &mut salted[..]);
        let client_key = hmac(&salted[..], b"Client Key");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let last = format!("c={},r={nonce}", STANDARD.encode(GS2_HEADER));
        let signed = format!("{},{server_first},{last}", self.first);
        let mut proof = hmac(&stored_key, signed.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(proof, key)| *proof ^= key);
        let answer = format!("{last},p={}", STANDARD.encode(proof)).into_bytes();
        Ok((answer, State::FinalSent { key: hmac(&salted[..], b"Server Key"), signed }))
    }
}

/// Holds the server's last message against the key that it must know.
fn verify(server_final: &str, key: &[u8], signed: &str) -> Result<(), String> {
    if let Some(error) = server_final.strip_prefix("e=") {
        return Err(format!("the server refuses the login: {}", escape(error)));
    }
    let signature = server_final.strip_prefix("v=").and_then(|rest| rest.split(',').next());
    let signature = signature.and_then(|signature| STANDARD.decode(signature).ok()).unwrap_or_default();
    let mut expected = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    expected.update(signed.as_bytes());
    expected
        .verify_slice(&signature)
        .map_err(|_| "the server does not know the password either: it is not the one that it claims to be".to_owned())
}

fn text(challenge: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(challenge).map_err(|_| "the server's SCRAM message is not text".to_owned())
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
