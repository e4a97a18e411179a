//! What is known of a drop, without asking the server: for `explain` and `folders`.

use crate::mail::{BaseName, Uid, escape};
use crate::maildir::{Folder, LocalPath, ScannedFile};
use crate::sync::MailboxId;
use crate::sync::maildrop::{Entry, Ledger, Maildrop, Name, Reason, may_go_for_it, removals};
use crate::worker::explain::{Found, history, remembered, words};
use crate::worker::folders::{blank, counted};
use crate::worker::ground::{Ground, look};
use crate::worker::maildrop::here::place;
use crate::worker::pass::{blocking, now};
use crate::worker::{Error, Explained, FolderState, Job, MappedFolder};
use std::collections::BTreeSet;

/// Explains a message of a drop. Blocking.
pub(in crate::worker) fn explain(wanted: &Maildrop, ground: &Ground, found: Found) -> Result<Explained, Error> {
    let store = &ground.store;
    let (picture, ledger) = (store.picture(found.mailbox)?, store.ledger(found.mailbox)?);
    let entry = found.uid.and_then(|uid| ledger.get(uid));
    let mut told = remembered(&picture, &found);
    told.extend(entry.and_then(|entry| entry.fetched).map(|at| format!("it was here as a whole at {}", when(at))));
    let next = found.uid.and_then(|uid| {
        let present = listed(&ledger);
        let due = removals(&ledger, &picture, &present, &BTreeSet::new(), &wanted.remove, now());
        due.get(&uid).map(|reason| format!("remove it from the server: {}", because(*reason)))
    });
    let file =
        found.name.as_ref().map(|name| Ok::<_, Error>((name, file(ground, found.mailbox, name)?))).transpose()?;
    let is_gone = matches!(file, Some((_, None)));
    let deletable =
        |uid| is_gone && wanted.remove.deleted_here && may_go_for_it(uid, &ledger, &picture, &wanted.remove, now());
    let next = next.or_else(|| {
        let of_it = "remove it from the server if it is in no other folder here either: `deleted-here` in `remove`";
        found.uid.filter(|uid| deletable(*uid)).map(|_| of_it.to_owned())
    });
    Ok(Explained {
        mailbox: wanted.mailbox.to_string(),
        uid: found.uid,
        name: found.name.as_ref().map(BaseName::to_string),
        remembered: told,
        here: match file {
            Some((_, Some(file))) => {
                format!("{} in {}, flags: {}", escape(&file.file_name), file.subdir.name(), words(&file.flags))
            }
            Some((name, None)) => format!("{name} is not there"),
            None => "it has no name here".to_owned(),
        },
        there: entry.map_or_else(|| "nothing is known of it there".to_owned(), described),
        next: next.into_iter().collect(),
        history: history(store, found.mailbox, found.name.as_ref(), found.uid)?,
    })
}

fn listed(ledger: &Ledger) -> BTreeSet<Uid> {
    ledger.entries().filter(|(_, entry)| entry.vanished.is_none()).map(|(uid, _)| uid).collect()
}

fn file(ground: &Ground, mailbox: MailboxId, name: &BaseName) -> Result<Option<ScannedFile>, Error> {
    let record = ground.store.mailboxes()?.into_iter().find(|record| record.id == mailbox);
    let path = record.and_then(|record| record.path).and_then(|path| LocalPath::new(&path));
    let (Some(root), Some(path)) = (&ground.root, path) else { return Ok(None) };
    Ok(Folder::open(root, &path)?.scan()?.files.remove(name))
}

/// What the server told of a message last.
fn described(entry: &Entry) -> String {
    let name = match &entry.name {
        Name::Unique(uidl) => format!("its unique-id is {uidl}"),
        Name::Alike(..) => "it has no unique-id, and is known by its header and size".to_owned(),
    };
    let size = entry.octets.map(|octets| format!(", listed with {octets} octets")).unwrap_or_default();
    match entry.vanished {
        None => format!("{name}{size}; the last run saw it"),
        Some(since) => format!("{name}{size}; it is not listed since {}", when(since)),
    }
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Fetched => "leave-on-server is false",
        Reason::After => "`after` in `remove`",
        Reason::BeyondNewest => "`beyond-newest` in `remove`",
        Reason::BeyondTotal => "`beyond-total` in `remove`",
        Reason::LargerThan => "`larger-than` in `remove`",
    }
}

fn when(at: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(at));
    time.map_or_else(|| at.to_string(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

/// Draws the map of a drop: it has one mailbox.
pub(in crate::worker) async fn folders(job: &Job, wanted: &Maildrop) -> Result<Vec<MappedFolder>, Error> {
    let (prepared, wanted) = (job.clone(), wanted.clone());
    blocking(move || {
        let here = look(&prepared)?;
        let record = here.records.iter().find(|record| record.name == wanted.mailbox);
        let path = record
            .and_then(|record| record.path.clone())
            .map_or_else(|| place(&prepared, &wanted.mailbox).map(|path| path.as_str().to_owned()), Ok)?;
        let state = if record.is_some() { FolderState::Mirrored } else { FolderState::NewThere };
        let drawn = MappedFolder { mailbox: Some(wanted.mailbox.to_string()), path: Some(path), state, ..blank() };
        let drawn = counted(drawn, here.root.as_ref());
        Ok(vec![drawn])
    })
    .await
}
