//! The verbs: which may be said when, and what is told after each.

mod append;
mod fetch;
mod list;
mod login;
mod mailboxes;
mod search;
mod select;
mod store;

use super::model::{Mailbox, Model, Refusal};
use super::parse::{Arg, Command, SequenceSet};
use super::session::Session;
use super::view::View;

/// A reply as raw bytes, without the tag.
#[derive(Default)]
pub struct Reply {
    pub untagged: Vec<u8>,
    /// `OK ...`, `NO ...` or `BAD ...`.
    pub tagged: String,
    /// The session is over.
    pub close: bool,
    /// The command goes on until DONE.
    pub idles: bool,
}

impl Reply {
    pub fn tagged(text: impl Into<String>) -> Self {
        Self { tagged: text.into(), ..Self::default() }
    }

    pub fn ok(text: &str) -> Self {
        Self::tagged(format!("OK {text}"))
    }

    pub fn no(text: &str) -> Self {
        Self::tagged(format!("NO {text}"))
    }

    pub fn bad(text: &str) -> Self {
        Self::tagged(format!("BAD {text}"))
    }

    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        self.untagged.extend_from_slice(line.as_ref().as_bytes());
        self.untagged.extend_from_slice(b"\r\n");
        self
    }

    fn refused(refusal: Refusal, name: &str) -> Self {
        match refusal {
            Refusal::AlreadyExists => Self::no("[ALREADYEXISTS] Mailbox already exists"),
            Refusal::NonExistent => Self::no(&format!("[NONEXISTENT] Mailbox doesn't exist: {name}")),
            Refusal::Cannot => Self::no(&format!("[CANNOT] {name} can't be changed so")),
        }
    }
}

/// Carries the command out and adds what has become known of the selected mailbox.
pub fn run(session: &mut Session, model: &mut Model, command: &Command) -> Reply {
    let mut reply = dispatch(session, model, command);
    if reply.close || reply.idles {
        return reply;
    }
    let news = news(session, model, &command.verb);
    reply.untagged.extend(news.untagged);
    reply.close = news.close;
    if let Some(highest) = untold_mod_seq(session, model) {
        let code = format!("[HIGHESTMODSEQ {highest}]");
        match reply.tagged.strip_prefix("OK ").filter(|text| !text.starts_with('[') && command.verb != "APPEND") {
            Some(text) => reply.tagged = format!("OK {code} {text}"),
            None => reply = reply.line(format!("* OK {code} Highest")),
        }
    }
    reply
}

/// What the client is to be told of the selected mailbox; the end of the session where it was deleted.
pub fn news(session: &mut Session, model: &mut Model, verb: &str) -> Reply {
    let (manner, user, bye) = (session.manner(verb), session.user(), session.profile.bye_on_new_uid_validity);
    let Some(view) = &mut session.view else { return Reply::default() };
    match view.mailbox(model, &user) {
        Some((_, mailbox)) if mailbox.uid_validity == view.uid_validity || !bye => {
            Reply { untagged: view.catch_up(mailbox, manner), ..Reply::default() }
        }
        Some(_) => Reply { close: true, ..Reply::default() }.line("* BYE UIDVALIDITY changed"),
        None => Reply { close: true, ..Reply::default() }.line("* BYE Selected mailbox was deleted"),
    }
}

/// With QRESYNC, HIGHESTMODSEQ when something of it was told without a MODSEQ.
fn untold_mod_seq(session: &mut Session, model: &mut Model) -> Option<u64> {
    let user = session.user();
    let view = session.view.as_mut().filter(|_| session.qresync)?;
    let highest = view.mailbox(model, &user)?.1.highest_mod_seq;
    let untold = highest > view.told;
    view.told = highest;
    untold.then_some(highest)
}

fn dispatch(session: &mut Session, model: &mut Model, command: &Command) -> Reply {
    let verb = command.verb.as_str();
    let needs = match verb {
        "UNSELECT" | "ENABLE" | "IDLE" | "ID" | "NAMESPACE" => verb,
        "MOVE" | "UID MOVE" => "MOVE",
        "UID EXPUNGE" => "UIDPLUS",
        _ => "IMAP4rev1",
    };
    if !session.profile.has(needs) {
        return Reply::bad(&format!("Error in IMAP command {verb}: Unknown command"));
    }
    let args = command.args.as_slice();
    let done = match verb {
        "CAPABILITY" => Some(login::capability(session)),
        "NOOP" | "CHECK" => Some(Reply::ok(&format!("{verb} completed."))),
        "ID" => Some(Reply::ok("ID completed.").line(format!("* ID (\"name\" \"{}\")", session.profile.name))),
        "LOGOUT" => {
            session.view = None;
            Some(Reply { close: true, ..Reply::ok("Logout completed.") }.line("* BYE Logging out"))
        }
        "LOGIN" => login::login(session, model, args),
        "AUTHENTICATE" => login::authenticate(session, model, args),
        _ if session.user.is_none() => return Reply::bad("Log in first"),
        "IDLE" => Some(Reply { idles: true, ..Reply::default() }),
        "ENABLE" => Some(login::enable(session, args)),
        "NAMESPACE" => Some(list::namespace(session)),
        "LIST" => list::list(session, model, args),
        "LSUB" => list::lsub(session, model, args),
        "STATUS" => list::status(session, model, args),
        "CREATE" => mailboxes::create(session, model, args),
        "DELETE" => mailboxes::delete(session, model, args),
        "RENAME" => mailboxes::rename(session, model, args),
        "SUBSCRIBE" | "UNSUBSCRIBE" => mailboxes::subscribe(session, model, args, verb == "SUBSCRIBE"),
        "SELECT" | "EXAMINE" => select::select(session, model, args, verb == "EXAMINE"),
        "APPEND" => append::append(session, model, args),
        _ => return with_selection(session, model, command),
    };
    done.unwrap_or_else(|| Reply::bad(&format!("Error in IMAP command {verb}: Invalid arguments")))
}

fn with_selection(session: &mut Session, model: &mut Model, command: &Command) -> Reply {
    let verb = command.verb.as_str();
    let (uid, what) = verb.strip_prefix("UID ").map_or((false, verb), |what| (true, what));
    let known = match what {
        "FETCH" | "STORE" | "SEARCH" | "COPY" | "MOVE" | "EXPUNGE" => true,
        "CLOSE" | "UNSELECT" => !uid,
        _ => false,
    };
    if !known {
        return Reply::bad(&format!("Error in IMAP command {verb}: Unknown command"));
    }
    // The view is lent out, so that the command can hold it beside the session.
    let Some(mut view) = session.view.take() else { return Reply::bad("No mailbox selected") };
    let user = session.user();
    let Some((name, _)) = view.mailbox(model, &user) else {
        return Reply { close: true, ..Reply::bad("Mailbox is gone") }.line("* BYE Selected mailbox was deleted");
    };
    if matches!(what, "CLOSE" | "UNSELECT") {
        return select::leave(session, model, &view, &name, what == "CLOSE");
    }
    let args = command.args.as_slice();
    let mut scene = Scene { session, model, view: &mut view, name, user, uid };
    let done = match what {
        "FETCH" => fetch::fetch(&mut scene, args),
        "STORE" => store::store(&mut scene, args),
        "SEARCH" => search::search(&mut scene, &command.tag, args),
        "COPY" => store::copy(&mut scene, args, false),
        "MOVE" => store::copy(&mut scene, args, true),
        _ => store::expunge(&mut scene, args),
    };
    session.view = Some(view);
    done.unwrap_or_else(|| Reply::bad(&format!("Error in IMAP command {verb}: Invalid arguments")))
}

/// A command on the selected mailbox at work.
struct Scene<'s> {
    session: &'s mut Session,
    model: &'s mut Model,
    view: &'s mut View,
    /// The selected mailbox's name now.
    name: String,
    user: String,
    /// The command came with UID: its numbers are UIDs.
    uid: bool,
}

impl Scene<'_> {
    fn mailbox(&self) -> &Mailbox {
        self.model.mailbox(&self.user, &self.name).expect("the selected mailbox was found when the command began")
    }

    /// The UIDs that a set means, in the order of the set; `None` where it names a sequence number that is not there.
    fn uids(&self, set: &Arg) -> Option<Vec<u32>> {
        let set = SequenceSet::parse(&set.text()?)?;
        if self.uid {
            return Some(set.in_order(&self.view.uids));
        }
        let count = u32::try_from(self.view.uids.len()).ok()?;
        let numbers: Vec<u32> = (1..=count).collect();
        let known = |end: &Option<u32>| end.map_or(count > 0, |number| number <= count);
        if !set.0.iter().all(|(from, to)| known(from) && known(to)) {
            return None;
        }
        Some(set.in_order(&numbers).iter().map(|number| self.view.uids[*number as usize - 1]).collect())
    }

    /// The number by which this command speaks of a message.
    fn number(&self, uid: u32) -> u32 {
        if self.uid { uid } else { self.view.sequence(uid).map_or(0, |at| u32::try_from(at).unwrap_or(0)) }
    }

    /// The command uses mod-sequences: from now on the session is told of them (RFC 7162 3.1).
    fn use_condstore(&mut self) -> String {
        if std::mem::replace(&mut self.session.condstore, true) {
            return String::new();
        }
        format!("* OK [HIGHESTMODSEQ {}] Highest\r\n", self.mailbox().highest_mod_seq)
    }
}
