//! STORE, COPY, MOVE (RFC 6851), EXPUNGE, with UNCHANGEDSINCE (RFC 7162) and COPYUID (RFC 4315).

use super::super::model::StoreMode;
use super::super::parse::{Arg, canonical};
use super::super::render;
use super::{Reply, Scene};

pub fn store(scene: &mut Scene<'_>, args: &[Arg]) -> Option<Reply> {
    let (set, mut rest) = (args.first()?, &args[1..]);
    let mut unchanged_since: Option<u64> = None;
    if let [condition, ..] = rest
        && let Some([word, number]) = condition.list()
        && word.word()? == "UNCHANGEDSINCE"
        && scene.session.profile.has("CONDSTORE")
    {
        unchanged_since = Some(number.number()?);
        rest = &rest[1..];
    }
    let (item, flags) = rest.split_first()?;
    let item = item.word()?;
    let (what, silent) = item.strip_suffix(".SILENT").map_or((item.as_str(), false), |what| (what, true));
    let mode = match what {
        "FLAGS" => StoreMode::Replace,
        "+FLAGS" => StoreMode::Add,
        "-FLAGS" => StoreMode::Remove,
        _ => return None,
    };
    let flags: Vec<String> = flags.iter().flat_map(Arg::items).map(Arg::text).collect::<Option<_>>()?;
    if !scene.session.profile.keywords && flags.iter().any(|flag| !flag.starts_with('\\')) {
        return Some(Reply::bad("Keywords are not supported"));
    }
    let mut uids = scene.uids(set)?;
    if scene.view.read_only {
        return Some(Reply::ok("Store ignored with read-only mailbox."));
    }
    uids.sort_unstable();

    let mut reply = Reply::ok("Store completed.");
    if let Some(since) = unchanged_since {
        let highest = scene.use_condstore();
        reply.untagged.extend(highest.bytes());
        let mailbox = scene.mailbox();
        let modified = |uid: &u32| mailbox.messages.get(uid).is_none_or(|message| message.mod_seq > since);
        let (failed, passed): (Vec<u32>, Vec<u32>) = uids.into_iter().partition(modified);
        if !failed.is_empty() {
            let failed = render::uid_list(failed.iter().map(|uid| scene.number(*uid)));
            reply.tagged = format!("OK [MODIFIED {failed}] Conditional store failed.");
        }
        uids = passed;
    }
    let changed = scene.model.store(scene.session.author(), &scene.user, &scene.name, &uids, mode, &flags);
    if silent {
        let mod_seq = scene.mailbox().highest_mod_seq;
        scene.view.silent.extend(changed.into_iter().map(|uid| (uid, mod_seq)));
    }
    Some(reply)
}

/// COPY and MOVE. MOVE tells COPYUID in an untagged OK, before the expunges. COPY is all or nothing (RFC 3501 6.4.7), a
/// MOVE that fails has moved what it could (RFC 6851 3.3).
pub fn copy(scene: &mut Scene<'_>, args: &[Arg], moving: bool) -> Option<Reply> {
    let [set, to] = args else { return None };
    let to = canonical(&to.text()?);
    let mut uids = scene.uids(set)?;
    if !scene.session.profile.copy_uid_in_request_order {
        uids.sort_unstable();
    }
    let refused = uids.iter().any(|uid| scene.session.hidden(*uid) == Some(true));
    uids.retain(|uid| scene.session.hidden(*uid).is_none());
    let Some(target) = scene.model.mailbox(&scene.user, &to) else {
        return Some(Reply::no(&format!("[TRYCREATE] Mailbox doesn't exist: {to}")));
    };
    if moving && scene.view.read_only {
        return Some(Reply::no("[READ-ONLY] Mailbox is read-only"));
    }
    if refused && !moving {
        return Some(Reply::no("Some messages could not be copied"));
    }
    let uid_validity = target.uid_validity;
    if uids.iter().any(|uid| !scene.mailbox().messages.contains_key(uid)) {
        return Some(Reply::no("[EXPUNGEISSUED] Some of the requested messages no longer exist."));
    }
    let author = scene.session.author();
    let pairs = scene.model.copy(author, &scene.user, &scene.name, &uids, &to);
    if scene.session.profile.has("X-GM-EXT-1") {
        take_labels(scene, &uids, &to);
    }
    let (from, into): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
    if moving {
        scene.model.expunge(author, &scene.user, &scene.name, &from);
    }
    let reply = match (refused, moving) {
        (true, _) => Reply::no("Some messages could not be moved"),
        (false, _) if from.is_empty() => Reply::ok("No messages found."),
        (false, true) => Reply::ok("Move completed."),
        (false, false) => Reply::ok("Copy completed."),
    };
    if from.is_empty() || !scene.session.profile.has("UIDPLUS") {
        return Some(reply);
    }
    let code = format!("[COPYUID {uid_validity} {} {}]", render::uid_list(from), render::uid_list(into));
    Some(if moving {
        reply.line(format!("* OK {code} Moved UIDs."))
    } else {
        Reply::ok(&format!("{code} Copy completed."))
    })
}

/// What goes to Gmail's Trash leaves every other mailbox, but for this one, which the command itself is about.
fn take_labels(scene: &mut Scene<'_>, uids: &[u32], to: &str) {
    if scene.model.mailbox(&scene.user, to).and_then(|target| target.role.as_deref()) != Some("\\Trash") {
        return;
    }
    let moved = |uid: &u32| scene.mailbox().messages.get(uid).map(|message| message.body.clone());
    let bodies: Vec<_> = uids.iter().filter_map(moved).collect();
    let Some(account) = scene.model.accounts.get(&scene.user) else { return };
    let others = account.mailboxes.iter().filter(|(name, _)| **name != scene.name && *name != to);
    let shown = others.map(|(name, mailbox)| {
        let same = mailbox.messages.iter().filter(|(_, message)| bodies.contains(&message.body));
        (name.clone(), same.map(|(uid, _)| *uid).collect::<Vec<u32>>())
    });
    for (name, uids) in shown.collect::<Vec<_>>() {
        scene.model.expunge(scene.session.author(), &scene.user, &name, &uids);
    }
}

pub fn expunge(scene: &mut Scene<'_>, args: &[Arg]) -> Option<Reply> {
    let asked = match args {
        [] if !scene.uid => scene.view.uids.clone(),
        [set] if scene.uid => scene.uids(set)?,
        _ => return None,
    };
    if scene.view.read_only {
        return Some(Reply::no("[READ-ONLY] Mailbox is read-only"));
    }
    let mailbox = scene.mailbox();
    let seen = if scene.session.profile.expunges_only_what_the_session_saw { scene.view.seen } else { u64::MAX };
    let deleted = |uid: &u32| {
        mailbox.messages.get(uid).is_some_and(|message| message.flags.contains("\\Deleted") && message.mod_seq <= seen)
    };
    let mut uids: Vec<u32> = asked.into_iter().filter(deleted).collect();
    uids.sort_unstable();
    scene.model.expunge(scene.session.author(), &scene.user, &scene.name, &uids);
    Some(Reply::ok("Expunge completed."))
}
