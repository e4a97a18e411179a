//! The ground that a pass stands on: the state that is locked, and the Maildir that is ours.
//!
//! Everything that does not fit is refused here, before the server is asked for anything: a Maildir that another tool
//! filled, one that another state keeps, a database that was lost or rolled back, a Maildir that was restored. Nothing is
//! ever deleted because of it.

use crate::maildir::{Expected, Owner, Root, RootMarker, RootState, StateId};
use crate::store::{Health, Store};
use crate::worker::{Error, Job};
use std::sync::Arc;

/// The state and the Maildir of an account, open.
#[derive(Debug)]
pub struct Ground {
    /// The memory.
    pub store: Arc<Store>,
    /// The root of the Maildir; none before the first pass made it.
    pub root: Option<Root>,
    /// Who we are to markers.
    pub owner: Owner,
    /// The marker of the root is behind by the batch that was being begun at a crash, and has to be raised before that batch
    /// is closed: later nobody could tell it from a Maildir that was restored.
    pub marker_is_behind: bool,
}

/// Opens both, and refuses what does not fit together. Blocking.
pub fn prepare(job: &Job) -> Result<Ground, Error> {
    let (store, health) = Store::open(&job.state())?;
    let owner = Owner { account: job.account.clone(), state: StateId::new(store.identity()) };
    let fresh = store.generation() == 0;
    let place = job.maildir.display();
    let expected = if fresh { Expected::Anything } else { Expected::Marker };
    let mut marker_is_behind = false;
    let root = match Root::open(&job.maildir, &owner, expected)? {
        RootState::Fresh => None,
        RootState::Ours(root, marked) => {
            compare_generations(&store, marked, job)?;
            marker_is_behind = marked < store.generation();
            Some(root)
        }
        RootState::Unavailable(reason) => return Err(reason.into()),
        RootState::Foreign(_) => {
            return Err(Error::Refused(format!(
                "{place} holds mail or other files that mailtwin did not put there; this version cannot take over a \
                 Maildir that is not empty: choose an empty directory as `maildir`, or move the old one away"
            )));
        }
        RootState::Theirs(marker) if marker.owner.account == job.account => {
            return Err(Error::Refused(lost_state(&store, &health, &marker, job)));
        }
        RootState::Theirs(marker) => {
            return Err(Error::Refused(format!(
                "{place} belongs to the account \"{}\" (state {}), and this is the account \"{}\" (state {}): give each \
                 account a `maildir` of its own",
                crate::mail::escape(&marker.owner.account),
                marker.owner.state,
                job.account,
                owner.state,
            )));
        }
    };
    Ok(Ground { store: Arc::new(store), root, owner, marker_is_behind })
}

/// Each begin raises the marker of the root: a marker above the database tells of a database that was rolled back, one
/// far below it of a Maildir that was restored from a backup.
fn compare_generations(store: &Store, marked: u64, job: &Job) -> Result<(), Error> {
    let stored = store.generation();
    let place = job.maildir.display();
    if marked > stored {
        return Err(Error::Refused(format!(
            "the state of the account \"{}\" in {} is older than the Maildir {place} (generation {stored}, and {marked} in \
             the Maildir): it was rolled back or restored, and this version cannot pair the mail anew; restore the newest \
             state, or move both away to start afresh",
            job.account,
            job.state().display()
        )));
    }
    // A crash between the commit and the raising leaves them one apart, with the batch still open.
    let behind = stored - marked;
    let open = behind == 1 && store.batches()?.iter().any(|batch| batch.generation == stored);
    if behind > 0 && !open {
        return Err(Error::Refused(format!(
            "the Maildir {place} is older than the state of the account \"{}\" (generation {marked}, and {stored} in the \
             state): it was restored from a backup, and what it lacks must not be taken for deleted; this version cannot \
             pair the mail anew; restore the newest Maildir, or move both away to start afresh",
            job.account
        )));
    }
    Ok(())
}

fn lost_state(store: &Store, health: &Health, marker: &RootMarker, job: &Job) -> String {
    let what = match health {
        Health::SetAside(path) => format!("the state database was damaged, and lies in {} now", path.display()),
        Health::New | Health::Clean | Health::Repaired { .. } => {
            "its state was lost, or is in another state directory (a service and a shell have different ones)"
                .to_owned()
        }
    };
    format!(
        "{} belongs to the account \"{}\" of the state {}, and the one in {} is {}: {what}; nothing was changed; point \
         `state-dir` to the right one or restore it; this version cannot pair the mail anew",
        job.maildir.display(),
        job.account,
        marker.owner.state,
        job.state().display(),
        StateId::new(store.identity()),
    )
}
