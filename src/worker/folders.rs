//! The map of an account for people: each mailbox, where it lies here, and what would be done with it.
//!
//! It is judged by the same table as in a pass, and nothing is changed: not even a state is made.

use crate::mail::{SpecialUse, escape};
use crate::maildir::{Folder, LocalPath, Root};
use crate::remote::session;
use crate::sync::{Listed, MailboxId, MailboxRecord, MailboxVerdict, judge};
use crate::worker::ground::look;
use crate::worker::pass::blocking;
use crate::worker::{Error, Job, map};
use serde::Serialize;
use std::collections::BTreeMap;

/// One mailbox of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappedFolder {
    /// Its name on the server, decoded and escaped; none for a directory that can have none.
    pub mailbox: Option<String>,
    /// Its path beneath the Maildir, escaped; none where it has none.
    pub path: Option<String>,
    /// Its role.
    pub role: Option<SpecialUse>,
    /// How many messages the server says that it has; none where it does not tell, or has no such mailbox.
    pub messages_there: Option<u32>,
    /// How many messages its directory has; none without one.
    pub messages_here: Option<u64>,
    /// How it stands.
    pub state: FolderState,
    /// Why it is left out, as a clause.
    pub reason: Option<String>,
}

/// How a mailbox stands on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderState {
    /// It is mirrored.
    Mirrored,
    /// The next run makes its Maildir.
    NewThere,
    /// The next run makes it on the server.
    NewHere,
    /// `mailboxes` in the configuration does not include it.
    Unwanted,
    /// It is gone from the server; its Maildir stays.
    Parked,
    /// It is left out, with a reason.
    LeftOut,
}

/// Draws the map. Cancel safe.
pub async fn folders(job: &Job) -> Result<Vec<MappedFolder>, Error> {
    let prepared = job.clone();
    let here = blocking(move || look(&prepared)).await?;
    let opened = session::open(&job.endpoint).await?;
    let listing = opened.listing?;
    let _ = opened.imap.logout().await;
    let (listed, delimiter) = map::place(&listing);
    let (root, state) = (here.root.clone(), here.owner.state);
    let directories = match root.clone() {
        Some(root) => blocking(move || map::directories(&root, state, delimiter)).await?,
        None => BTreeMap::new(),
    };
    let is_wanted = |listed: &&Listed| map::is_wanted(job, &listed.name, delimiter);
    let wanted: Vec<Listed> = listed.iter().filter(is_wanted).cloned().collect();
    let chosen = directories.iter().filter(|(_, directory)| match &directory.name {
        Ok(name) => map::is_wanted(job, name, delimiter),
        Err(_) => true,
    });
    let chosen = chosen.map(|(path, directory)| (path.clone(), directory.clone())).collect();
    let is_chosen = |record: &&MailboxRecord| map::is_wanted(job, &record.name, delimiter);
    let records: Vec<MailboxRecord> = here.records.iter().filter(is_chosen).cloned().collect();

    let mut drawn: Vec<MappedFolder> =
        judge(&records, &wanted, &chosen).into_iter().filter_map(|verdict| draw(verdict, &records, &wanted)).collect();
    drawn.extend(listed.iter().filter(|l| !is_wanted(l)).map(|l| MappedFolder {
        mailbox: Some(l.name.to_string()),
        path: l.place.clone().ok().filter(|path| directories.contains_key(path)),
        state: FolderState::Unwanted,
        ..blank()
    }));
    drawn.extend(listing.hostile.iter().map(|(name, reason)| MappedFolder {
        mailbox: Some(name.clone()),
        reason: Some(format!("its name cannot be used: {reason}")),
        ..blank()
    }));
    for folder in &mut drawn {
        let Some(seen) = listing.mailboxes.iter().find(|m| Some(m.name.to_string()) == folder.mailbox) else {
            continue;
        };
        folder.messages_there = seen.status.and_then(|status| status.messages);
        folder.role = listed.iter().find(|l| l.name == seen.name).and_then(|l| l.role);
    }
    drawn.sort_by(|a, b| (a.mailbox.is_none(), &a.mailbox, &a.path).cmp(&(b.mailbox.is_none(), &b.mailbox, &b.path)));
    blocking(move || Ok(drawn.into_iter().map(|folder| counted(folder, root.as_ref())).collect())).await
}

fn blank() -> MappedFolder {
    MappedFolder {
        mailbox: None,
        path: None,
        role: None,
        messages_there: None,
        messages_here: None,
        state: FolderState::LeftOut,
        reason: None,
    }
}

/// One verdict as a line of the map; paths are escaped only once the messages were counted.
fn draw(verdict: MailboxVerdict, records: &[MailboxRecord], wanted: &[Listed]) -> Option<MappedFolder> {
    let known = |id: MailboxId, state, reason: Option<&str>| {
        let record = records.iter().find(|record| record.id == id)?;
        let (mailbox, path) = (Some(record.name.to_string()), record.path.clone());
        Some(MappedFolder { mailbox, path, state, reason: reason.map(str::to_owned), ..blank() })
    };
    match verdict {
        MailboxVerdict::Mirror(id) => known(id, FolderState::Mirrored, None),
        MailboxVerdict::CreateLocal { name, path, .. } => Some(MappedFolder {
            mailbox: Some(name.to_string()),
            path: Some(path),
            state: FolderState::NewThere,
            ..blank()
        }),
        MailboxVerdict::CreateRemote { name, path } => Some(MappedFolder {
            mailbox: Some(name.to_string()),
            path: Some(path),
            state: FolderState::NewHere,
            ..blank()
        }),
        MailboxVerdict::Meet { name, path, .. } => Some(MappedFolder {
            mailbox: Some(name.to_string()),
            path: Some(path),
            reason: Some("it is on both sides, and was never agreed".to_owned()),
            ..blank()
        }),
        MailboxVerdict::GoneFromServer(id) | MailboxVerdict::Parked(id) => {
            known(id, FolderState::Parked, Some("it is gone from the server; its Maildir is kept"))
        }
        MailboxVerdict::BackOnServer(id, _) => known(
            id,
            FolderState::Parked,
            Some("it was gone from the server and is there again; the next sync decides"),
        ),
        MailboxVerdict::GoneHere(id) => {
            known(id, FolderState::LeftOut, Some("its directory is missing, or has lost its marker: restore it"))
        }
        MailboxVerdict::LeftOut { what, reason } => {
            // A directory that no mailbox can be is told by its path.
            let is_listed = wanted.iter().any(|l| l.name.to_string() == what);
            let (mailbox, path) = if is_listed { (Some(what), None) } else { (None, Some(what)) };
            Some(MappedFolder { mailbox, path, reason: Some(reason), ..blank() })
        }
    }
}

/// Counts the messages of its directory, and makes the path fit to be shown. Blocking.
fn counted(mut folder: MappedFolder, root: Option<&Root>) -> MappedFolder {
    let path = folder.path.take();
    if let (Some(root), Some(path)) = (root, path.as_deref().and_then(LocalPath::new)) {
        let scan = Folder::open(root, &path).and_then(|found| found.scan());
        folder.messages_here = scan.ok().map(|scan| scan.files.len() as u64);
    }
    folder.path = path.map(escape);
    folder
}
