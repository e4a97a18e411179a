//! One client's session: commands in, one at a time and in order, replies out (RFC 1939).
//!
//! What is deleted is so at QUIT. A command that has arrived whole takes effect even if its client is gone by then.

use super::super::connection::Connection;
use super::super::model::{Author, PASSWORD};
use super::{Act, Door, Names, Profile};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A message as this session sees it.
struct Kept {
    uid: u32,
    body: Arc<[u8]>,
    name: Vec<u8>,
    deleted: bool,
    retrieved: bool,
}

struct Talk<'d> {
    door: &'d Door,
    id: u64,
    profile: Profile,
    connection: Connection,
    /// The name given to USER, or the one that is logged in.
    user: Option<String>,
    maildrop: Option<Vec<Kept>>,
    over: bool,
}

/// Serves the connection to its end.
pub fn serve(door: &Door, id: u64, stream: TcpStream) {
    let profile = door.lock().profile.clone();
    let connection = Connection::new(stream);
    let mut talk = Talk { door, id, profile, connection, user: None, maildrop: None, over: false };
    let timestamp = talk.profile.timestamp.unwrap_or_default();
    let greeting = format!("+OK Twinless ready. {timestamp}");
    if talk.answer("GREETING", "GREETING", |_| ok(greeting.trim_end())) {
        while talk.exchange() {}
    }
    if let (Some(user), Some(_)) = (&talk.user, &talk.maildrop) {
        door.lock().locked.remove(user);
    }
}

impl Talk<'_> {
    /// One command and its reply; false at the end of the session.
    fn exchange(&mut self) -> bool {
        let Some(line) = self.connection.line() else { return false };
        let text = String::from_utf8_lossy(&line).into_owned();
        let (verb, argument) = text.split_once(' ').unwrap_or((&text, ""));
        let verb = verb.to_ascii_uppercase();
        let secret = matches!(verb.as_str(), "PASS" | "AUTH" | "APOP");
        self.door.lock().log.push(if secret { format!("{verb} ***") } else { text.clone() });
        let Some(argument) = self.continuation(&verb, argument) else { return false };
        self.answer(&verb, &text, |talk| talk.carry_out(&verb, &argument)) && !self.over
    }

    /// Asks for the rest of an AUTH that came without its initial response.
    fn continuation(&mut self, verb: &str, argument: &str) -> Option<String> {
        if verb != "AUTH" || argument.contains(' ') {
            return Some(argument.to_owned());
        }
        self.send(b"+ \r\n");
        let line = self.connection.line()?;
        Some(format!("{argument} {}", String::from_utf8_lossy(&line)))
    }

    /// Applies the faults, carries the command out unless they forbid, replies; false at the end of the session.
    fn answer(&mut self, verb: &str, text: &str, carry_out: impl FnOnce(&mut Self) -> Vec<u8>) -> bool {
        let acts = self.door.lock().rules.strike(verb, text);
        for act in &acts {
            match act {
                Act::Delay(milliseconds) => self.door.shared.pause(Duration::from_millis(*milliseconds)),
                Act::CutSessionAfter(count) => self.connection.output_left = Some(*count),
                Act::CutInputAfter(count) => self.connection.input_left = Some(*count),
                Act::Interleave(meddle) => meddle(&mut self.door.shared.lock().model),
                Act::Drop => return false,
                Act::Blackhole => {
                    self.connection.swallow();
                    return false;
                }
                _ => {}
            }
        }
        let refusal = acts.iter().find_map(|act| match act {
            Act::Err("", text) => Some(err(text)),
            Act::Err(code, text) => Some(err(&format!("[{code}] {text}"))),
            _ => None,
        });
        let mut reply = refusal.unwrap_or_else(|| carry_out(self));
        let mut close = false;
        for act in acts {
            match act {
                Act::Replace(bytes) => reply = bytes,
                Act::Before(bytes) => reply = [bytes, reply].concat(),
                Act::Behind(bytes) => reply.extend(bytes),
                Act::CutAfterBytes(count) => {
                    reply.truncate(count);
                    close = true;
                }
                Act::EffectThenDrop => {
                    reply.clear();
                    close = true;
                }
                _ => {}
            }
        }
        self.send(&reply) && !close
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let size = if self.profile.one_by_one { 1 } else { bytes.len().max(1) };
        bytes.chunks(size).all(|piece| self.connection.send(piece))
    }

    fn carry_out(&mut self, verb: &str, argument: &str) -> Vec<u8> {
        match verb {
            "CAPA" => self.capa(),
            "QUIT" => self.quit(),
            _ if self.maildrop.is_none() => self.login(verb, argument),
            "NOOP" => ok(""),
            "STAT" => {
                let (count, octets) = self.there().fold((0, 0), |(n, o), (_, kept)| (n + 1, o + kept.body.len()));
                ok(&format!("{count} {octets}"))
            }
            "LIST" => self.list(argument, "LIST", |kept| kept.body.len().to_string().into_bytes()),
            "UIDL" if matches!(self.profile.names, Names::None) => err("Unknown command."),
            "UIDL" => self.list(argument, "UIDL", |kept| kept.name.clone()),
            "RETR" => self.message(argument, None),
            "TOP" => {
                let (number, lines) = argument.split_once(' ').unwrap_or((argument, ""));
                match lines.trim().parse() {
                    Ok(lines) => self.message(number, Some(lines)),
                    Err(_) => err("Noise after message number."),
                }
            }
            "DELE" => match self.find(argument) {
                Ok(at) => {
                    self.messages()[at].deleted = true;
                    ok("Marked to be deleted.")
                }
                Err(reply) => reply,
            },
            "RSET" => {
                self.messages().iter_mut().for_each(|kept| kept.deleted = false);
                ok("")
            }
            _ => err("Unknown command."),
        }
    }

    fn capa(&self) -> Vec<u8> {
        let Some(before) = &self.profile.before_login else { return err("Unknown command.") };
        let mut names: Vec<String> = if self.maildrop.is_some() { &self.profile.capabilities } else { before }
            .iter()
            .map(|n| (*n).to_owned())
            .collect();
        names.extend(self.profile.login_delay.map(|delay| format!("LOGIN-DELAY {}", delay.as_secs())));
        lines("", names.into_iter().map(String::into_bytes))
    }

    fn login(&mut self, verb: &str, argument: &str) -> Vec<u8> {
        match verb {
            "USER" => {
                self.user = Some(argument.to_owned());
                ok("")
            }
            "PASS" => match self.user.take() {
                Some(user) => self.check(&user, argument == PASSWORD),
                None => err("No username given."),
            },
            "APOP" => {
                let (user, digest) = argument.split_once(' ').unwrap_or((argument, ""));
                let known = self.profile.timestamp.is_some_and(|timestamp| digest == digest_of(timestamp));
                self.check(user, known)
            }
            "AUTH" => {
                let plain = argument.strip_prefix("PLAIN ").and_then(|text| STANDARD.decode(text).ok());
                let plain = plain.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
                let mut fields = plain.split('\0').skip(1);
                let (user, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                self.check(user, password == PASSWORD)
            }
            _ => err("Unknown command."),
        }
    }

    fn check(&mut self, name: &str, known: bool) -> Vec<u8> {
        let (recent, user) = name.strip_prefix("recent:").map_or((false, name), |user| (true, user));
        let core = self.door.shared.lock();
        let Some(inbox) = core.model.mailbox(user, "INBOX").filter(|_| known) else {
            return err("[AUTH] Authentication failed.");
        };
        let desk = &mut *self.door.lock();
        let too_soon = |last: &Instant| self.profile.login_delay.is_some_and(|delay| last.elapsed() < delay);
        if desk.logins.get(user).is_some_and(too_soon) {
            return err("[LOGIN-DELAY] Minimum time between mail checks violation.");
        }
        if self.profile.locks && !desk.locked.insert(user.to_owned()) {
            return err("[IN-USE] Do you have another POP session running?");
        }
        desk.logins.insert(user.to_owned(), Instant::now());
        let shown = |uid: &u32| recent || !desk.hidden.contains(&(user.to_owned(), *uid));
        let mut kept: Vec<Kept> = inbox
            .messages
            .iter()
            .filter(|(uid, _)| shown(uid))
            .map(|(uid, message)| {
                let body: Arc<[u8]> =
                    if self.profile.mends_lf { mended(&message.body).into() } else { message.body.clone() };
                let name = name_of(&self.profile.names, *uid, inbox.uid_validity, &message.body);
                Kept { uid: *uid, body, name, deleted: false, retrieved: false }
            })
            .collect();
        if let Some(newest) = self.profile.newest {
            kept.drain(..kept.len().saturating_sub(newest));
        }
        kept.truncate(self.profile.oldest.unwrap_or(usize::MAX));
        self.user = Some(user.to_owned());
        self.maildrop = Some(kept);
        ok("Logged in.")
    }

    fn quit(&mut self) -> Vec<u8> {
        self.over = true;
        let (Some(user), Some(maildrop)) = (self.user.clone(), self.maildrop.take()) else { return ok("Logging out.") };
        let deleted: Vec<u32> = maildrop.iter().filter(|kept| kept.deleted).map(|kept| kept.uid).collect();
        self.door.shared.lock().model.expunge(Author::Session(self.id), &user, "INBOX", &deleted);
        let desk = &mut *self.door.lock();
        desk.locked.remove(&user);
        if self.profile.hides_retrieved {
            desk.hidden.extend(maildrop.iter().filter(|kept| kept.retrieved).map(|kept| (user.clone(), kept.uid)));
        }
        ok("Logging out.")
    }

    fn messages(&mut self) -> &mut [Kept] {
        self.maildrop.as_deref_mut().unwrap_or_default()
    }

    /// What is not marked, with its number.
    fn there(&self) -> impl Iterator<Item = (usize, &Kept)> {
        let all = self.maildrop.iter().flatten().enumerate();
        all.filter(|(_, kept)| !kept.deleted).map(|(at, kept)| (at + 1, kept))
    }

    /// The place of a message by its number; otherwise the reply.
    fn find(&self, number: &str) -> Result<usize, Vec<u8>> {
        let Ok(number) = number.trim().parse::<usize>() else { return Err(err("Invalid message number.")) };
        let kept = number.checked_sub(1).and_then(|at| self.maildrop.as_deref()?.get(at));
        match kept {
            Some(kept) if kept.deleted => Err(err("Message is deleted.")),
            Some(_) => Ok(number - 1),
            None => Err(err(&format!("There's no message {number}."))),
        }
    }

    fn list(&self, number: &str, verb: &str, tell: impl Fn(&Kept) -> Vec<u8>) -> Vec<u8> {
        let line = |number: usize, kept: &Kept| [format!("{number} ").into_bytes(), tell(kept)].concat();
        if number.is_empty() {
            let count = self.there().count();
            let about = if verb == "LIST" { format!("{count} messages:") } else { String::new() };
            return lines(&about, self.there().map(|(number, kept)| line(number, kept)));
        }
        match (self.find(number), &self.maildrop) {
            (Ok(at), Some(maildrop)) => [b"+OK ".to_vec(), line(at + 1, &maildrop[at]), b"\r\n".to_vec()].concat(),
            (Err(reply), _) => reply,
            (Ok(_), None) => err("Unknown command."),
        }
    }

    /// A message, or its header and so many lines.
    fn message(&mut self, number: &str, top: Option<usize>) -> Vec<u8> {
        let at = match self.find(number) {
            Ok(at) => at,
            Err(reply) => return reply,
        };
        let Profile { stuffs, stuffs_first, .. } = self.profile;
        let kept = &mut self.messages()[at];
        kept.retrieved |= top.is_none();
        let body: &[u8] = match top {
            Some(lines) => beginning(&kept.body, lines),
            None => &kept.body,
        };
        let about = if top.is_none() { format!("{} octets", kept.body.len()) } else { String::new() };
        [ok(&about), wire(body, stuffs, stuffs_first)].concat()
    }
}

fn ok(text: &str) -> Vec<u8> {
    let text = text.strip_prefix("+OK ").unwrap_or(text);
    format!("+OK {text}").trim_end().as_bytes().iter().chain(b"\r\n").copied().collect()
}

fn err(text: &str) -> Vec<u8> {
    format!("-ERR {text}\r\n").into_bytes()
}

fn lines(about: &str, lines: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut reply = ok(about);
    for line in lines {
        reply.extend(line);
        reply.extend_from_slice(b"\r\n");
    }
    reply.extend_from_slice(b".\r\n");
    reply
}

/// A message as it goes over the wire.
fn wire(body: &[u8], stuffs: bool, first: bool) -> Vec<u8> {
    let (mut wire, mut fresh) = (Vec::with_capacity(body.len() + 5), true);
    for (at, byte) in body.iter().enumerate() {
        if fresh && stuffs && *byte == b'.' && (at > 0 || first) {
            wire.push(b'.');
        }
        wire.push(*byte);
        fresh = *byte == b'\n' && at > 0 && body[at - 1] == b'\r';
    }
    if !fresh {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// The header, the empty line and so many lines behind it.
fn beginning(body: &[u8], lines: usize) -> &[u8] {
    let header = body.windows(4).position(|four| four == b"\r\n\r\n").map_or(body.len(), |at| at + 4);
    let mut ends = (header..body.len()).filter(|at| body[*at] == b'\n').map(|at| at + 1);
    match lines {
        0 => &body[..header],
        lines => &body[..ends.nth(lines - 1).unwrap_or(body.len())],
    }
}

fn mended(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for byte in body {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

fn name_of(names: &Names, uid: u32, uid_validity: u32, body: &[u8]) -> Vec<u8> {
    match names {
        Names::Numbers => format!("{uid:08x}{uid_validity:08x}").into_bytes(),
        Names::Content => blake3::hash(body).to_hex().as_bytes()[..32].to_vec(),
        Names::Made(make) => make(uid, uid_validity),
        Names::None => Vec::new(),
    }
}

/// What APOP has to answer.
fn digest_of(timestamp: &str) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(format!("{timestamp}{PASSWORD}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
