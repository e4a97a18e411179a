//! What a reply says, and what a refusal means for the next try (RFC 1939, section 3; RFC 2449, section 8; RFC 3206).
//!
//! Pure. The surprise: "-ERR" to a password is ambiguous without a response code, and servers say so much by words
//! alone. A wrong guess in one direction locks an account, in the other it stops an account that was merely busy.

use super::capability::Capabilities;
use super::command::Verb;
use crate::remote::error::{Error, Refusal};
use std::time::Duration;

/// The least pause after `[LOGIN-DELAY]`.
const MIN_DELAY: Duration = Duration::from_secs(60);

/// The first line of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `+OK`, and what follows it.
    Ok(String),
    /// `-ERR`.
    Err(Refusal),
    /// `+`, and the challenge that follows it (RFC 5034).
    Continue(Vec<u8>),
}

impl Status {
    /// Reads a line; `None` if it begins no reply.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let after = |word: &[u8]| {
            let (start, rest) = line.split_at_checked(word.len())?;
            start.eq_ignore_ascii_case(word).then(|| String::from_utf8_lossy(rest.trim_ascii()).into_owned())
        };
        if let Some(text) = after(b"+OK") {
            return Some(Self::Ok(text));
        }
        if let Some(text) = after(b"-ERR") {
            return Some(Self::Err(refusal(text)));
        }
        match line {
            [b'+'] => Some(Self::Continue(Vec::new())),
            [b'+', b' ', challenge @ ..] => Some(Self::Continue(challenge.trim_ascii().to_vec())),
            _ => None,
        }
    }
}

/// Takes the response code off the text (RFC 2449, section 8).
fn refusal(text: String) -> Refusal {
    let is_code = |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_graphic() && b != b'[');
    let coded = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((code, rest)) = coded {
        let code = code.split(' ').next().unwrap_or_default();
        if is_code(code) {
            return Refusal { bad: false, code: Some(code.to_ascii_uppercase()), text: rest.trim_start().to_owned() };
        }
    }
    Refusal { bad: false, code: None, text }
}

/// What a refusal says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `[AUTH]`: the name or the password is wrong.
    Credentials,
    /// `[IN-USE]`, or words to the effect: somebody else has the maildrop.
    InUse,
    /// `[LOGIN-DELAY]`: the last login was too recent.
    LoginDelay,
    /// `[SYS/TEMP]`: trouble that passes.
    Temporary,
    /// `[SYS/PERM]`: trouble that a person must mend.
    Permanent,
    /// Nothing more than "no".
    Unclear,
}

impl Class {
    pub(super) fn of(refusal: &Refusal) -> Self {
        match refusal.code.as_deref() {
            Some("AUTH") => Self::Credentials,
            Some("IN-USE") => Self::InUse,
            Some("LOGIN-DELAY") => Self::LoginDelay,
            Some("SYS/TEMP") => Self::Temporary,
            Some("SYS/PERM") => Self::Permanent,
            _ => Self::Unclear,
        }
    }

    /// The same, where a server without codes has only words to say that it is busy.
    fn by_words(refusal: &Refusal) -> Self {
        let text = refusal.text.to_ascii_lowercase();
        let has = |word: &str| text.contains(word);
        // "Account locked" is about the account, and waiting does not open it.
        let locked = has("lock") && (has("mailbox") || has("maildrop") || has("mail drop"));
        let busy = ["busy", "in use", "too many", "try again", "try later", "please wait"].into_iter().any(has);
        match Self::of(refusal) {
            Self::Unclear if locked || busy => Self::InUse,
            class => class,
        }
    }
}

/// What a refused login means.
pub(super) fn login_refused(refusal: Refusal, capabilities: &Capabilities) -> Error {
    // A server that tells wrong credentials by a code means them also where it leaves it out (RFC 3206, section 4).
    let class = match capabilities.has("AUTH-RESP-CODE") {
        true => Class::of(&refusal),
        false => Class::by_words(&refusal),
    };
    match class {
        Class::Credentials | Class::Unclear => Error::Login(refusal),
        class => trouble(class, "the server does not take logins now", refusal, capabilities),
    }
}

/// What a greeting with "-ERR" means.
pub(super) fn greeting_refused(refusal: Refusal, capabilities: &Capabilities) -> Error {
    trouble(Class::of(&refusal), "the server does not want us", refusal, capabilities)
}

/// What a refused command means.
pub(super) fn command_refused(verb: Verb, refusal: Refusal, capabilities: &Capabilities) -> Error {
    match Class::of(&refusal) {
        class @ (Class::InUse | Class::LoginDelay | Class::Temporary) => {
            trouble(class, &format!("the server cannot do {} now", verb.name), refusal, capabilities)
        }
        Class::Permanent | Class::Credentials | Class::Unclear => Error::Refused { command: verb.name, refusal },
    }
}

fn trouble(class: Class, what: &str, refusal: Refusal, capabilities: &Capabilities) -> Error {
    let reason = format!("{what}: {refusal}");
    let hint = match class {
        Class::Permanent => return Error::Never(reason),
        Class::LoginDelay => Some(pause(capabilities.login_delay())),
        _ => None,
    };
    Error::Later { reason, hint, source: None }
}

/// How long a login waits after `[LOGIN-DELAY]`: a tenth more than the server tells.
fn pause(told: Option<Duration>) -> Duration {
    told.unwrap_or_default().max(MIN_DELAY) * 11 / 10
}
