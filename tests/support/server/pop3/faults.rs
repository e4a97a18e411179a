//! Faults by rule, as for IMAP: all rules that fit a command apply, in their order. The pseudo-verb `GREETING` stands for
//! the opening of a connection.

use super::super::model::Model;
use std::sync::Arc;

/// Which commands a rule means.
#[derive(Clone, Debug, Default)]
pub struct When {
    verb: Option<&'static str>,
    text: Option<String>,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, Default)]
enum Turn {
    #[default]
    Every,
    Nth(usize),
    From(usize),
}

impl When {
    /// Commands with this verb.
    pub fn verb(verb: &'static str) -> Self {
        Self { verb: Some(verb), ..Self::default() }
    }

    /// Commands with any verb.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only the command with exactly this text: `UIDL` without a number, `RETR 2`.
    pub fn text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::default() }
    }

    /// Only the `nth` fitting command, counted from 1 since the rule was given.
    pub fn nth(mut self, nth: usize) -> Self {
        self.turn = Turn::Nth(nth);
        self
    }

    /// The `nth` fitting command and all later ones.
    pub fn from(mut self, nth: usize) -> Self {
        self.turn = Turn::From(nth);
        self
    }

    fn fits(&self, verb: &str, text: &str) -> bool {
        self.verb.is_none_or(|wanted| wanted == verb) && self.text.as_deref().is_none_or(|wanted| wanted == text)
    }
}

/// What goes wrong.
#[derive(Clone)]
pub enum Act {
    /// `-ERR` instead of the command; the code without brackets, empty for none.
    Err(&'static str, &'static str),
    /// The connection is closed and the command has no effect.
    Drop,
    /// The command takes effect, then the connection is closed without a reply.
    EffectThenDrop,
    /// Nothing is ever answered again on this connection, which stays open.
    Blackhole,
    /// The command waits before it takes effect, in milliseconds.
    Delay(u64),
    /// The command takes effect, the reply is cut after so many bytes, and the connection closed.
    CutAfterBytes(usize),
    /// The whole connection is cut after so many more bytes from the server, greeting included when given there.
    CutSessionAfter(usize),
    /// The whole connection is cut after so many more bytes from the client.
    CutInputAfter(usize),
    /// These bytes come before the reply.
    Before(Vec<u8>),
    /// These bytes come behind the reply.
    Behind(Vec<u8>),
    /// The command takes effect, and these bytes are the reply.
    Replace(Vec<u8>),
    /// Another client acts just before the command.
    Interleave(Arc<dyn Fn(&mut Model) + Send + Sync>),
}

impl Act {
    /// Another client acts just before the command. The closure has the model to itself: to call the server from
    /// within it would wait for ever.
    pub fn interleave(meddle: impl Fn(&mut Model) + Send + Sync + 'static) -> Self {
        Self::Interleave(Arc::new(meddle))
    }
}

/// The rules with their counts.
#[derive(Default)]
pub struct Rules(Vec<(When, Act, usize)>);

impl Rules {
    pub fn add(&mut self, when: When, act: Act) {
        self.0.push((when, act, 0));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|(.., count)| *count).collect()
    }

    /// What goes wrong with this command; counts it.
    pub fn strike(&mut self, verb: &str, text: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        for (when, act, count) in self.0.iter_mut().filter(|(when, ..)| when.fits(verb, text)) {
            *count += 1;
            let due = match when.turn {
                Turn::Every => true,
                Turn::Nth(nth) => *count == nth,
                Turn::From(nth) => *count >= nth,
            };
            if due {
                acts.push(act.clone());
            }
        }
        acts
    }
}
