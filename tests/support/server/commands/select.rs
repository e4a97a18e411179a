//! SELECT and EXAMINE, with CONDSTORE and QRESYNC (RFC 7162), CLOSE, UNSELECT.

use super::super::model::{Mailbox, Model};
use super::super::parse::{Arg, SequenceSet, canonical};
use super::super::render;
use super::super::session::Session;
use super::super::view::{View, flag_lines};
use super::Reply;

/// What the client says it knows already.
struct Resync {
    uid_validity: u32,
    mod_seq: u64,
    known: Option<SequenceSet>,
}

pub fn select(session: &mut Session, model: &mut Model, args: &[Arg], read_only: bool) -> Option<Reply> {
    let name = args.first().and_then(Arg::text).map(|name| canonical(&name))?;
    let mut resync = None;
    let mut parameters = args.get(1).map_or(&[][..], |list| list.items()).iter();
    while let Some(parameter) = parameters.next() {
        match parameter.word()?.as_str() {
            "CONDSTORE" if session.profile.has("CONDSTORE") => session.condstore = true,
            "QRESYNC" if !session.qresync => return Some(Reply::bad("QRESYNC not enabled")),
            "QRESYNC" => resync = Some(parse_resync(parameters.next()?)?),
            _ => return None,
        }
    }
    let mut reply = Reply::default();
    if session.view.take().is_some() {
        reply = reply.line("* OK [CLOSED] Previous mailbox closed.");
    }
    let user = session.user();
    let Some(mailbox) = model.mailbox_mut(&user, &name) else {
        reply.tagged = format!("NO Mailbox doesn't exist: {name}");
        return Some(reply);
    };
    if mailbox.unreadable {
        reply.tagged = "NO [SERVERBUG] Internal error occurred.".to_owned();
        return Some(reply);
    }
    let view = View::new(mailbox, read_only || mailbox.read_only);
    reply = describe(reply, session, mailbox, &view);
    if let Some(resync) = resync.filter(|resync| resync.uid_validity == mailbox.uid_validity) {
        reply = delta(reply, mailbox, &view, &resync);
    }
    let may_write = !view.read_only;
    session.view = Some(view);
    reply.tagged = match read_only {
        false if !may_write => "OK [READ-ONLY] Select completed.".to_owned(),
        true => "OK [READ-ONLY] Examine completed.".to_owned(),
        false => "OK [READ-WRITE] Select completed.".to_owned(),
    };
    Some(reply)
}

fn parse_resync(arg: &Arg) -> Option<Resync> {
    let [uid_validity, mod_seq, known @ ..] = arg.list()? else { return None };
    // A list here is the sequence match data, which only narrows an answer that may be wider.
    let known = known.first().and_then(Arg::text).map(|set| SequenceSet::parse(&set).ok_or(())).transpose().ok()?;
    Some(Resync { uid_validity: uid_validity.number()?, mod_seq: mod_seq.number()?, known })
}

fn describe(mut reply: Reply, session: &Session, mailbox: &Mailbox, view: &View) -> Reply {
    let profile = &session.profile;
    reply.untagged.extend(flag_lines(mailbox, view.read_only, profile.keywords).bytes());
    reply = reply.line(format!("* {} EXISTS", view.uids.len())).line(format!("* {} RECENT", view.recent.len()));
    let unseen = |uid: &u32| mailbox.messages.get(uid).is_some_and(|message| !message.flags.contains("\\Seen"));
    if let Some(at) = view.uids.iter().position(unseen) {
        reply = reply.line(format!("* OK [UNSEEN {}] First unseen.", at + 1));
    }
    reply = reply.line(format!("* OK [UIDVALIDITY {}] UIDs valid", mailbox.uid_validity));
    if profile.uid_next_in_select {
        reply = reply.line(format!("* OK [UIDNEXT {}] Predicted next UID", mailbox.uid_next));
    }
    if profile.has("CONDSTORE") {
        reply = reply.line(format!("* OK [HIGHESTMODSEQ {}] Highest", mailbox.highest_mod_seq));
    }
    if profile.has("OBJECTID") {
        reply = reply.line(format!("* OK [MAILBOXID (F{})] Ok", mailbox.id));
    }
    reply
}

/// What changed since. A mod-sequence above the mailbox's own gets an empty answer and OK, as from Dovecot and Cyrus.
fn delta(mut reply: Reply, mailbox: &Mailbox, view: &View, resync: &Resync) -> Reply {
    let star = mailbox.uid_next.saturating_sub(1);
    let known = resync.known.as_ref().map(|known| known.at(star));
    let known = |uid: u32| known.as_ref().is_none_or(|known| known.hold(uid));
    let gone: Vec<u32> = mailbox.vanished_since(resync.mod_seq).into_iter().filter(|uid| known(*uid)).collect();
    if !gone.is_empty() {
        reply = reply.line(format!("* VANISHED (EARLIER) {}", render::uid_list(gone)));
    }
    for (at, uid) in view.uids.iter().enumerate() {
        let Some(message) = mailbox.messages.get(uid) else { continue };
        if message.mod_seq > resync.mod_seq && known(*uid) {
            let flags = render::flags(mailbox, &message.flags, view.recent.contains(uid));
            let mod_seq = message.mod_seq;
            reply = reply.line(format!("* {} FETCH (UID {uid} FLAGS ({flags}) MODSEQ ({mod_seq}))", at + 1));
        }
    }
    reply
}

/// CLOSE expunges in silence what is `\Deleted`; UNSELECT (RFC 3691) does not.
pub fn leave(session: &Session, model: &mut Model, view: &View, name: &str, expunging: bool) -> Reply {
    if !expunging {
        return Reply::ok("Unselect completed.");
    }
    let user = session.user();
    if let Some(mailbox) = model.mailbox(&user, name).filter(|_| !view.read_only) {
        let deleted = mailbox.messages.iter().filter(|(_, message)| message.flags.contains("\\Deleted"));
        let uids: Vec<u32> = deleted.map(|(uid, _)| *uid).collect();
        model.expunge(session.author(), &user, name, &uids);
    }
    Reply::ok("Close completed.")
}
