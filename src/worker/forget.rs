//! Forgetting an account: our markers and our memory go, every message stays.
//!
//! The memory goes last, so that a crash in between is mended by forgetting once more.

use crate::maildir::{Error as MaildirError, Expected};
use crate::maildir::{Folder, LocalPath, Owner, Retention, Root, RootState, StateId};
use crate::store::Store;
use crate::worker::{Error, Job, status, tell};
use serde::Serialize;
use std::collections::BTreeMap;

/// What there is to forget of an account, or was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Whether anything is remembered of it at all.
    pub known: bool,
    /// How many directories of the Maildir have our marker, the root among them.
    pub markers: usize,
    /// Why the markers of the Maildir stay, as a clause.
    pub markers_stay: Option<String>,
    /// How many bodies of deleted messages are kept; they stay.
    pub kept: usize,
    /// How many deletions wait for a decision, and are forgotten undecided.
    pub held: u64,
}

/// What has our marker.
struct Marked {
    root: Root,
    folders: Vec<Folder>,
}

/// Tells what [`forget`] would do, and changes nothing. Blocking.
pub fn forgettable(job: &Job) -> Result<Forgotten, Error> {
    if !job.state().join("db").exists() {
        return Ok(Forgotten::default());
    }
    let (store, _) = Store::open(&job.state())?;
    Ok(survey(job, &store)?.1)
}

/// Takes our markers and our memory of an account away; the mail stays, and so do the bodies of deleted messages. Blocking.
///
/// # Errors
/// [`Error::Store`] if another process works on the account; those of the file system. It may be repeated.
pub fn forget(job: &Job) -> Result<Forgotten, Error> {
    if !job.state().join("db").exists() {
        return Ok(Forgotten::default());
    }
    let (store, _) = Store::open(&job.state())?;
    let (found, forgotten) = survey(job, &store)?;
    if let Some(Marked { root, folders }) = found {
        for folder in folders {
            folder.unmark()?;
        }
        root.unmark()?;
    }
    store.destroy()?;
    status::remove(&job.state_dir, &job.account).map_err(|error| {
        Error::Refused(format!("everything is forgotten but the status file, which cannot be removed: {error}"))
    })?;
    Ok(forgotten)
}

/// The root and the folders that have our marker, and what is told of it.
fn survey(job: &Job, store: &Store) -> Result<(Option<Marked>, Forgotten), Error> {
    let owner = Owner { account: job.account.clone(), state: StateId::new(store.identity()) };
    let retention = Retention::open_existing(&job.state_dir, &job.account)?;
    let kept = retention.map_or(Ok(0), |retention| retention.list().map(|all| all.len()))?;
    let held = held(store)?;
    let mut forgotten = Forgotten { known: true, kept, held, ..Forgotten::default() };
    let root = match Root::open(&job.maildir, &owner, Expected::Anything)? {
        RootState::Ours(root, _) => root,
        RootState::Fresh => {
            forgotten.markers_stay = Some("there is no Maildir, or it is empty".to_owned());
            return Ok((None, forgotten));
        }
        RootState::Foreign(_) => {
            forgotten.markers_stay = Some("the Maildir has no marker of ours".to_owned());
            return Ok((None, forgotten));
        }
        RootState::Theirs(..) => {
            forgotten.markers_stay = Some("the Maildir belongs to another account or another state".to_owned());
            return Ok((None, forgotten));
        }
        RootState::Unavailable(reason) => {
            forgotten.markers_stay = Some(format!("the Maildir cannot be used: {reason}"));
            return Ok((None, forgotten));
        }
    };
    let mut folders = Vec::new();
    for path in store.mailboxes()?.iter().filter_map(|record| record.path.as_deref()).filter_map(LocalPath::new) {
        match Folder::open(&root, &path).and_then(|folder| Ok((folder.marker()?, folder))) {
            Ok((Some(marker), folder)) if marker.state == owner.state => folders.push(folder),
            // What is not there, or is not ours, has nothing of ours.
            Ok(_) | Err(MaildirError::Unavailable(_) | MaildirError::Hostile { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    forgotten.markers = folders.len() + 1;
    Ok((Some(Marked { root, folders }), forgotten))
}

fn held(store: &Store) -> Result<u64, Error> {
    let records = store.mailboxes()?.into_iter().map(|record| (record.id, record));
    let records = records.collect::<BTreeMap<_, _>>();
    let mut pictures = BTreeMap::new();
    for id in records.keys() {
        pictures.insert(*id, store.picture(*id)?);
    }
    let shown = tell::mailboxes(&records, &pictures, &BTreeMap::new());
    Ok(shown.iter().flat_map(|mailbox| &mailbox.held).map(|set| set.deletions).sum())
}
