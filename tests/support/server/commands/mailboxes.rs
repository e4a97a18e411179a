//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.

use super::super::model::{Model, Refusal};
use super::super::parse::{Arg, canonical};
use super::super::session::Session;
use super::Reply;

pub fn create(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let profile = &session.profile;
    let name = args.first()?.text().map(|name| canonical(&name))?;
    let name = name.strip_suffix(profile.delimiter).unwrap_or(&name);
    if name.is_empty() || !(name == "INBOX" || name.starts_with(profile.prefix)) {
        return Some(Reply::no("[CANNOT] Invalid mailbox name"));
    }
    if profile.create_makes_parents {
        for (at, _) in name.match_indices(profile.delimiter) {
            let _ = model.create(session.author(), &session.user(), &name[..at]);
        }
    }
    Some(match model.create(session.author(), &session.user(), name) {
        Ok(id) if profile.has("OBJECTID") => Reply::ok(&format!("[MAILBOXID (F{id})] Create completed.")),
        Ok(_) => Reply::ok("Create completed."),
        Err(refusal) => Reply::refused(refusal, name),
    })
}

pub fn delete(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let name = args.first()?.text().map(|name| canonical(&name))?;
    Some(match model.delete(session.author(), &session.user(), &name) {
        Ok(()) => Reply::ok("Delete completed."),
        Err(refusal) => Reply::refused(refusal, &name),
    })
}

pub fn rename(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let [from, to] = args else { return None };
    let (from, to) = (canonical(&from.text()?), canonical(&to.text()?));
    Some(match model.rename(session.author(), &session.user(), &from, &to, session.profile.delimiter) {
        Ok(()) => Reply::ok("Rename completed."),
        Err(refusal) => Reply::refused(refusal, &from),
    })
}

pub fn subscribe(session: &Session, model: &mut Model, args: &[Arg], on: bool) -> Option<Reply> {
    let name = args.first()?.text().map(|name| canonical(&name))?;
    let user = session.user();
    if on && model.mailbox(&user, &name).is_none() {
        return Some(Reply::refused(Refusal::NonExistent, &name));
    }
    model.subscribe(session.author(), &user, &name, on);
    Some(Reply::ok(if on { "Subscribe completed." } else { "Unsubscribe completed." }))
}
