//! The map of an account for people: each mailbox, where it lies here, and what would be done with it.
//!
//! It is judged by the same table as in a pass, and nothing is changed: not even a state is made.

use crate::mail::{MailboxName, SpecialUse, escape};
use crate::maildir::{Folder, LocalPath, Root};
use crate::remote::session;
use crate::sync::{Listed, MailboxId, MailboxRecord, MailboxVerdict, Mailboxes, Parked, Standing, identify, judge};
use crate::worker::ground::look;
use crate::worker::map::Directories;
use crate::worker::pass::blocking;
use crate::worker::{Error, Job, maildrop, map};
use serde::Serialize;
use std::collections::BTreeSet;

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
    /// It is on both sides, and the next run finds out what belongs together.
    NewOnBoth,
    /// It was renamed on one side; the next run renames it on the other.
    Renamed,
    /// It was deleted on one side; the next run deletes it on the other.
    Deleted,
    /// Its directory is gone, and a person is asked.
    Held,
    /// `mailboxes` in the configuration does not include it, or it is not subscribed to.
    Unwanted,
    /// It is gone from the server, or not subscribed to any more; its Maildir stays.
    Parked,
    /// It is left out, with a reason.
    LeftOut,
}

/// Draws the map. Cancel safe.
pub async fn folders(job: &Job) -> Result<Vec<MappedFolder>, Error> {
    if let Some(wanted) = &job.maildrop {
        return maildrop::folders(job, wanted).await;
    }
    let prepared = job.clone();
    let here = blocking(move || look(&prepared)).await?;
    let opened = session::open(&job.endpoint).await?;
    let (listing, quirks) = (opened.listing?, opened.quirks);
    let _ = opened.imap.logout().await;
    let job = &map::without(job, map::views(job, &quirks, &listing));
    let delimiter = map::delimiter(&listing);
    let mapping = map::mapping(job, &listing, &here.records)?;
    let listed = map::place(job, &listing, &mapping);
    let (root, state) = (here.root.clone(), here.owner.state);
    let history = here.history.clone();
    let found = match root.clone() {
        Some(root) => {
            let (job, records) = (job.clone(), here.records.clone());
            blocking(move || map::directories(&job, &root, (state, &history), &mapping, delimiter, &records)).await?
        }
        None => Directories::default(),
    };
    let records = here.records;
    // No mailbox is opened for a map: where only its UIDs could tell, a renamed one looks gone.
    let there = identify(&records, &listed, &BTreeSet::new());
    let wanted = records.iter().filter(|record| map::is_wanted(job, &record.name, delimiter));
    let sides = Mailboxes {
        records: &records,
        listed: &listed,
        directories: &found.whole,
        broken: &found.broken,
        there: &there,
        wanted: &wanted.map(|record| record.id).collect(),
        create: job.create_mailboxes,
        delete: job.delete_mailboxes,
    };
    let mut drawn: Vec<MappedFolder> =
        judge(&sides).into_iter().filter_map(|verdict| draw(verdict, &records, &listed)).collect();
    let is_left =
        |l: &&Listed| l.standing != Standing::Wanted && !drawn.iter().any(|d| d.mailbox == Some(l.name.to_string()));
    let left: Vec<MappedFolder> = listed
        .iter()
        .filter(is_left)
        .map(|l| MappedFolder {
            mailbox: Some(l.name.to_string()),
            path: l.place.clone().ok().filter(|path| found.whole.contains_key(path)),
            state: FolderState::Unwanted,
            reason: (l.standing == Standing::Unsubscribed).then(|| "it is not subscribed to".to_owned()),
            ..blank()
        })
        .collect();
    drawn.extend(left);
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

pub(super) fn blank() -> MappedFolder {
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
fn draw(verdict: MailboxVerdict, records: &[MailboxRecord], listed: &[Listed]) -> Option<MappedFolder> {
    let known = |id: MailboxId, state, reason: Option<&str>| {
        let record = records.iter().find(|record| record.id == id)?;
        let (mailbox, path) = (Some(record.name.to_string()), record.path.clone());
        Some(MappedFolder { mailbox, path, state, reason: reason.map(str::to_owned), ..blank() })
    };
    let new = |name: MailboxName, path, state, reason: Option<&str>| {
        let (mailbox, reason) = (Some(name.to_string()), reason.map(str::to_owned));
        Some(MappedFolder { mailbox, path: Some(path), state, reason, ..blank() })
    };
    match verdict {
        MailboxVerdict::Mirror(id) => known(id, FolderState::Mirrored, None),
        MailboxVerdict::CreateLocal { name, path, .. } => new(name, path, FolderState::NewThere, None),
        MailboxVerdict::CreateRemote { name, path, copy_of } => {
            new(name, path, FolderState::NewHere, copy_of.map(|_| "its directory is a copy of another mailbox's"))
        }
        MailboxVerdict::Meet { name, path, .. } => new(name, path, FolderState::NewOnBoth, None),
        MailboxVerdict::RenameLocal { name, from, to, .. } => {
            let reason = format!("the next run moves its directory to {}", escape(&to));
            new(name, from, FolderState::Renamed, Some(&reason))
        }
        MailboxVerdict::RenameRemote { from, to, path, .. } => {
            let reason = format!("the next run calls it {to} on the server");
            new(from, path, FolderState::Renamed, Some(&reason))
        }
        MailboxVerdict::Park(id) | MailboxVerdict::Parked(id) => {
            let unsubscribed = records.iter().any(|r| r.id == id && r.parked == Some(Parked::Unsubscribed));
            let reason = if unsubscribed {
                "it is not subscribed to; its Maildir is kept"
            } else {
                "it is gone from the server; its Maildir is kept"
            };
            known(id, FolderState::Parked, Some(reason))
        }
        MailboxVerdict::Unsubscribed(id) => {
            known(id, FolderState::Parked, Some("it is not subscribed to; its Maildir is kept"))
        }
        MailboxVerdict::Unpark(id) => known(id, FolderState::Mirrored, None),
        MailboxVerdict::Empty(id) => {
            known(id, FolderState::Deleted, Some("it is gone from the server; the next run removes what it has here"))
        }
        // On neither side there is anything to show.
        MailboxVerdict::Forget(_) => None,
        MailboxVerdict::BackOnServer(id, _) => known(
            id,
            FolderState::Parked,
            Some("it was gone from the server and is there again; the next sync decides"),
        ),
        MailboxVerdict::GoneHere { mailbox, .. } | MailboxVerdict::DeleteRemote { mailbox, approved: false, .. } => {
            known(mailbox, FolderState::Held, Some("its directory is gone: see `mailtwin status`"))
        }
        MailboxVerdict::DeleteRemote { mailbox, .. } => {
            known(mailbox, FolderState::Deleted, Some("its directory is gone; the next run deletes it on the server"))
        }
        MailboxVerdict::Restore { mailbox: id, .. } => {
            known(id, FolderState::NewThere, Some("its directory is gone; the next run fetches it anew"))
        }
        MailboxVerdict::Unavailable { mailbox, reason } => known(mailbox, FolderState::LeftOut, Some(&reason)),
        MailboxVerdict::LeftOut { what, reason, .. } => {
            // A directory that no mailbox can be is told by its path.
            let is_mailbox =
                listed.iter().any(|l| l.name.to_string() == what) || records.iter().any(|r| r.name.to_string() == what);
            let (mailbox, path) = if is_mailbox { (Some(what), None) } else { (None, Some(what)) };
            Some(MappedFolder { mailbox, path, reason: Some(reason), ..blank() })
        }
    }
}

/// Counts the messages of its directory, and makes the path fit to be shown. Blocking.
pub(super) fn counted(mut folder: MappedFolder, root: Option<&Root>) -> MappedFolder {
    let path = folder.path.take();
    if let (Some(root), Some(path)) = (root, path.as_deref().and_then(LocalPath::new)) {
        let scan = Folder::open(root, &path).and_then(|found| found.scan());
        folder.messages_here = scan.ok().map(|scan| scan.files.len() as u64);
    }
    folder.path = path.map(escape);
    folder
}
