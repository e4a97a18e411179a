//! One client's session: commands in, one at a time and in order, effects on the model, replies out.
//!
//! A command that has arrived whole takes effect even if its client is gone by then, so that a client killed at any
//! moment leaves what a real server would have.

use super::Shared;
use super::commands::{self, Reply};
use super::connection::{Connection, Permission, Received};
use super::faults::{Act, bend};
use super::model::{Author, Model};
use super::parse::{Arg, Command, Piece, canonical};
use super::profile::Profile;
use super::view::{Manner, View};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// How often an idling session looks for news.
const IDLE_LOOK: Duration = Duration::from_millis(10);

/// What a session is, apart from its socket.
pub struct Session {
    pub id: u64,
    pub profile: Arc<Profile>,
    pub user: Option<String>,
    pub view: Option<View>,
    pub condstore: bool,
    pub qresync: bool,
    /// The faults of the command at hand.
    pub acts: Vec<Act>,
}

impl Session {
    pub fn author(&self) -> Author {
        Author::Session(self.id)
    }

    /// The account's name; empty before the login, which the dispatcher has checked.
    pub fn user(&self) -> String {
        self.user.clone().unwrap_or_default()
    }

    pub fn manner(&self, verb: &str) -> Manner {
        Manner {
            expunges: !matches!(verb, "FETCH" | "STORE" | "SEARCH"),
            // News of other commands go by number only: so does Dovecot.
            with_uid: self.qresync || verb == "UID STORE",
            condstore: self.condstore,
            qresync: self.qresync,
            keywords: self.profile.keywords,
        }
    }

    /// Whether a fault hides this message from FETCH, COPY and MOVE; the first says that the reply is NO.
    pub fn hidden(&self, uid: u32) -> Option<bool> {
        self.acts.iter().find_map(|act| match act {
            Act::RefuseUid(refused) if *refused == uid => Some(true),
            Act::OmitUid(omitted) if *omitted == uid => Some(false),
            _ => None,
        })
    }

    fn selected(&self, model: &Model) -> Option<String> {
        let account = model.accounts.get(self.user.as_ref()?)?;
        account.by_id(self.view.as_ref()?.mailbox_id).map(|(name, _)| name.clone())
    }
}

/// Serves the connection to its end.
pub fn serve(shared: &Shared, id: u64, stream: TcpStream) {
    let profile = Arc::clone(&shared.profile);
    let session = Session { id, profile, user: None, view: None, condstore: false, qresync: false, acts: Vec::new() };
    let mut talk = Talk { shared, connection: Connection::new(stream), session };
    if talk.greet() {
        while talk.exchange() {}
    }
}

struct Talk<'s> {
    shared: &'s Shared,
    connection: Connection,
    session: Session,
}

impl Talk<'_> {
    fn greet(&mut self) -> bool {
        let profile = Arc::clone(&self.session.profile);
        let greeting = Command {
            tag: "*".to_owned(),
            verb: "GREETING".to_owned(),
            args: Vec::new(),
            shown: "GREETING".to_owned(),
        };
        if profile.max_sessions.is_some_and(|most| self.shared.lock().sessions.len() > most) {
            self.connection.send(b"* BYE [LIMIT] too many connections\r\n");
            return false;
        }
        let code = if profile.capability_in_greeting {
            format!("[CAPABILITY {}] ", profile.before_login.join(" "))
        } else {
            String::new()
        };
        self.answer(&greeting, |_, _| Reply::ok(&format!("{code}{} ready.", profile.name)))
    }

    /// One command and its reply; false at the end of the session.
    fn exchange(&mut self) -> bool {
        let (shared, session) = (self.shared, &self.session);
        let received = self.connection.receive(|pieces, length, waits| permit(shared, session, pieces, length, waits));
        let (pieces, refusal) = match received {
            Received::Pieces(pieces) => (pieces, None),
            Received::Refused(pieces, reply) => (pieces, Some(reply)),
            Received::Gone => return false,
        };
        let mut command = match Command::parse(&pieces) {
            Ok(command) => command,
            Err(_) if pieces == [Piece::Text(Vec::new())] => return true,
            Err(tag) => return self.connection.send(format!("{tag} BAD Error in IMAP command\r\n").as_bytes()),
        };
        if let Some(reply) = refusal {
            self.shared.log(&self.session, &command);
            return self.connection.send(format!("{} {reply}\r\n", command.tag).as_bytes());
        }
        if command.verb == "AUTHENTICATE" && command.args.len() == 1 {
            self.connection.send(b"+ \r\n");
            let Some(line) = self.connection.line() else { return false };
            command.args.push(Arg::Atom(String::from_utf8_lossy(&line).into_owned()));
        }
        self.shared.log(&self.session, &command);
        self.answer(&command, |session, model| commands::run(session, model, &command))
    }

    /// Applies the faults, carries the command out unless they forbid, replies; false at the end of the session.
    fn answer(&mut self, command: &Command, carry_out: impl FnOnce(&mut Session, &mut Model) -> Reply) -> bool {
        let acts = {
            let core = &mut *self.shared.lock();
            let selected = self.session.selected(&core.model);
            core.rules.strike(command, selected.as_deref())
        };
        for act in &acts {
            match act {
                Act::Delay(milliseconds) => self.shared.pause(Duration::from_millis(*milliseconds)),
                Act::CutSessionAfter(count) => self.connection.output_left = Some(*count),
                Act::CutInputAfter(count) => self.connection.input_left = Some(*count),
                Act::Interleave(meddle) => meddle(&mut self.shared.lock().model),
                Act::Drop => return false,
                Act::Blackhole => {
                    self.connection.swallow();
                    return false;
                }
                Act::Bye(text) => {
                    self.connection.send(format!("* BYE {text}\r\n").as_bytes());
                    return false;
                }
                _ => {}
            }
        }
        let refusal = acts.iter().find_map(|act| match act {
            Act::No("", text) => Some(format!("NO {text}")),
            Act::No(code, text) => Some(format!("NO [{code}] {text}")),
            Act::Bad => Some("BAD Error in IMAP command".to_owned()),
            _ => None,
        });
        self.session.acts = acts;
        let reply = match refusal {
            Some(text) => Reply::tagged(text),
            None => carry_out(&mut self.session, &mut self.shared.lock().model),
        };
        let acts = std::mem::take(&mut self.session.acts);
        if reply.idles {
            return self.connection.send(b"+ idling\r\n") && self.idle(&command.tag);
        }
        let bent = bend(&acts, &command.tag, reply.untagged, &reply.tagged);
        self.connection.send(&bent.bytes) && !bent.close && !reply.close
    }

    fn idle(&mut self, tag: &str) -> bool {
        loop {
            let news = commands::news(&mut self.session, &mut self.shared.lock().model, "IDLE");
            if !news.untagged.is_empty() && !self.connection.send(&news.untagged) || news.close {
                return false;
            }
            if !self.connection.wait(IDLE_LOOK) {
                return false;
            }
            if self.connection.has_input() {
                let Some(line) = self.connection.line() else { return false };
                let done = line.eq_ignore_ascii_case(b"DONE");
                let reply = if done { "OK Idle completed." } else { "BAD Expected DONE." };
                return self.connection.send(format!("{tag} {reply}\r\n").as_bytes());
            }
        }
    }
}

/// Whether a literal may come: one that the client did not ask for only as LITERAL+ and LITERAL- (RFC 7888) allow,
/// and an APPEND to nowhere is refused before its message is on the way.
fn permit(shared: &Shared, session: &Session, pieces: &[Piece], length: usize, waits: bool) -> Permission {
    let profile = &session.profile;
    if !waits {
        let allowed = profile.has("LITERAL+") || (profile.has("LITERAL-") && length <= 4096);
        return if allowed { Permission::Granted } else { Permission::Fatal };
    }
    let Ok(command) = Command::parse(&[pieces, &[Piece::Literal(Vec::new()), Piece::Text(Vec::new())]].concat()) else {
        return Permission::Granted;
    };
    if command.verb != "APPEND" || command.args.len() < 2 || session.user.is_none() {
        return Permission::Granted;
    }
    let name = command.args[0].text().map(|name| canonical(&name)).unwrap_or_default();
    if shared.lock().model.mailbox(&session.user(), &name).is_none() {
        return Permission::Denied(format!("NO [TRYCREATE] Mailbox doesn't exist: {name}"));
    }
    if profile.append_limit.is_some_and(|limit| length > limit) {
        return Permission::Denied("NO [TOOBIG] Message is too large".to_owned());
    }
    Permission::Granted
}
