//! Faults by rule: when a command fits, something goes wrong with it.
//!
//! The rules of a server are asked in the order in which they were given, and all that fit apply. The pseudo-verb
//! `GREETING` stands for the opening of a connection.

use super::model::Model;
use super::parse::Command;
use std::sync::Arc;

/// Which commands a rule means. Built from [`When::verb`] or [`When::any`], then narrowed.
#[derive(Clone, Debug, Default)]
pub struct When {
    verb: Option<String>,
    mailbox: Option<String>,
    containing: Option<Vec<u8>>,
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
    /// Commands with this verb, `UID` included: `UID FETCH`.
    pub fn verb(verb: &str) -> Self {
        Self { verb: Some(verb.to_owned()), ..Self::default() }
    }

    /// Commands with any verb.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only if the mailbox is named by the command or, if it names none, selected.
    pub fn mailbox(mut self, name: &str) -> Self {
        self.mailbox = Some(name.to_owned());
        self
    }

    /// Only if the command's text, a string or a literal in it, has these bytes.
    pub fn containing(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.containing = Some(bytes.as_ref().to_vec());
        self
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

    fn fits(&self, command: &Command, selected: Option<&str>) -> bool {
        let named = command.named_mailbox();
        self.verb.as_ref().is_none_or(|verb| *verb == command.verb)
            && self.mailbox.as_ref().is_none_or(|name| named.as_deref().or(selected) == Some(name))
            && self.containing.as_ref().is_none_or(|bytes| contains(command, bytes))
    }
}

fn contains(command: &Command, bytes: &[u8]) -> bool {
    let within = |text: &[u8]| text.windows(bytes.len().max(1)).any(|window| window == bytes);
    within(command.shown.as_bytes()) || command.strings().any(within)
}

/// Changes the model between two commands, as another client would.
pub type Meddler = Arc<dyn Fn(&mut Model) + Send + Sync>;

/// What goes wrong.
#[derive(Clone)]
pub enum Act {
    /// NO instead of the command; the code without brackets, empty for none.
    No(&'static str, &'static str),
    /// BAD instead of the command.
    Bad,
    /// An untagged BYE with this text instead of the command, then the end.
    Bye(&'static str),
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
    Garbage(Vec<u8>),
    /// The reply has a tag that nobody asked with.
    WrongTag,
    /// The reply has no tagged line.
    OmitTagged,
    /// The tagged line comes twice.
    DuplicateTagged,
    /// The reply ends in the middle of its first literal, and the connection with it.
    TruncateLiteral,
    /// The reply's first literal announces this length, whatever it has.
    LiteralLen(String),
    /// Every literal of the reply becomes NIL.
    NilBody,
    /// The message is left out of FETCH, COPY and MOVE, which end with NO.
    RefuseUid(u32),
    /// The message is left out of FETCH, COPY and MOVE, which end with OK all the same.
    OmitUid(u32),
    /// `VANISHED (EARLIER)` with this set before the tagged line, though nothing of it is true.
    FalseVanished(&'static str),
    /// Another client acts just before the command.
    Interleave(Meddler),
}

impl Act {
    /// Another client acts just before the command. The closure has the model to itself: to call the server from
    /// within it would wait for ever.
    pub fn interleave(meddle: impl Fn(&mut Model) + Send + Sync + 'static) -> Self {
        Self::Interleave(Arc::new(meddle))
    }
}

/// The rules of a server with their counts.
#[derive(Default)]
pub struct Rules(Vec<(When, Act, usize)>);

impl Rules {
    pub fn add(&mut self, when: When, act: Act) {
        self.0.push((when, act, 0));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How often the rules fitted, in the order in which they were given; a test can see that its fault was reached.
    pub fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|(.., count)| *count).collect()
    }

    /// What goes wrong with this command; counts it.
    pub fn strike(&mut self, command: &Command, selected: Option<&str>) -> Vec<Act> {
        let mut acts = Vec::new();
        for (when, act, count) in &mut self.0 {
            if !when.fits(command, selected) {
                continue;
            }
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

/// A reply on its way out, bent by [`Act`]s.
pub struct Bent {
    pub bytes: Vec<u8>,
    /// The connection ends after the bytes.
    pub close: bool,
}

/// Puts the reply together and bends it.
pub fn bend(acts: &[Act], tag: &str, untagged: Vec<u8>, tagged: &str) -> Bent {
    let mut bytes = untagged;
    let mut last = format!("{tag} {tagged}\r\n");
    for act in acts {
        match act {
            Act::FalseVanished(set) => bytes.extend(format!("* VANISHED (EARLIER) {set}\r\n").bytes()),
            Act::WrongTag => last = format!("x{tag}x {tagged}\r\n"),
            Act::OmitTagged => last.clear(),
            Act::DuplicateTagged => last = last.repeat(2),
            Act::Garbage(garbage) => bytes = [garbage.as_slice(), &bytes].concat(),
            Act::NilBody => bytes = without_literals(&bytes),
            _ => {}
        }
    }
    bytes.extend(last.bytes());
    let mut close = false;
    for act in acts {
        match act {
            Act::LiteralLen(length) => bytes = with_length(&bytes, length),
            Act::TruncateLiteral => {
                if let Some((_, start, end)) = next_literal(&bytes, 0) {
                    bytes.truncate(start + (end - start) / 2);
                    close = true;
                }
            }
            Act::CutAfterBytes(count) => {
                bytes.truncate(*count);
                close = true;
            }
            Act::EffectThenDrop => {
                bytes.clear();
                close = true;
            }
            _ => {}
        }
    }
    Bent { bytes, close }
}

/// Where the next literal's brace, its first byte and its end are.
fn next_literal(bytes: &[u8], from: usize) -> Option<(usize, usize, usize)> {
    let mut line = from;
    while let Some(end) = bytes[line..].windows(2).position(|pair| pair == b"\r\n").map(|at| line + at) {
        if let Some((length, open, _)) = super::parse::literal_at_end(&bytes[line..end]) {
            return Some((line + open, end + 2, (end + 2 + length).min(bytes.len())));
        }
        line = end + 2;
    }
    None
}

fn without_literals(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut from) = (Vec::new(), 0);
    while let Some((open, _, end)) = next_literal(bytes, from) {
        out.extend_from_slice(&bytes[from..open]);
        out.extend_from_slice(b"NIL");
        from = end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

fn with_length(bytes: &[u8], length: &str) -> Vec<u8> {
    let Some((open, start, _)) = next_literal(bytes, 0) else { return bytes.to_vec() };
    [&bytes[..open], format!("{{{length}}}\r\n").as_bytes(), &bytes[start..]].concat()
}
