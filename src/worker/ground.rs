//! The ground that a pass stands on: the state that is locked, and the Maildir that is ours.
//!
//! Everything that does not fit is refused here, before the server is asked for anything: a Maildir that another tool
//! filled, one that another state keeps, a database that was lost or rolled back, a Maildir that was restored. Nothing is
//! ever deleted because of it.

use crate::mail::escape;
use crate::maildir::{Expected, Owner, Root, RootMarker, RootState, StateId};
use crate::store::{Health, Store};
use crate::sync::MailboxRecord;
use crate::worker::{Error, Job};
use std::sync::Arc;

/// The state and the Maildir of an account, open.
#[derive(Debug)]
pub struct Ground {
    /// The memory.
    pub store: Arc<Store>,
    /// The root of the Maildir; none before the first pass made it.
    pub root: Option<Root>,
    /// The generation that its marker tells; a crash can have left it one behind the database.
    pub marked: u64,
    /// Who we are to markers.
    pub owner: Owner,
}

/// Opens both, and refuses what does not fit together. Blocking.
pub fn prepare(job: &Job) -> Result<Ground, Error> {
    let (store, health) = Store::open(&job.state())?;
    let owner = Owner { account: job.account.clone(), state: StateId::new(store.identity()) };
    let root = open_root(job, &owner, Some(&store), &health)?;
    let (root, marked) = root.unzip();
    Ok(Ground { store: Arc::new(store), root, marked: marked.unwrap_or(0), owner })
}

/// Looks at both as [`prepare`] does, but makes no state where there is none. Blocking.
pub fn look(job: &Job) -> Result<Look, Error> {
    if job.state().join("db").exists() {
        let Ground { store, root, owner, .. } = prepare(job)?;
        return Ok(Look { records: store.mailboxes()?, root, owner });
    }
    let owner = Owner { account: job.account.clone(), state: StateId::new([0; 16]) };
    let root = open_root(job, &owner, None, &Health::New)?.map(|(root, _)| root);
    Ok(Look { records: Vec::new(), root, owner })
}

/// What a look at the ground found.
#[derive(Debug)]
pub struct Look {
    /// The mailboxes that are remembered.
    pub records: Vec<MailboxRecord>,
    /// The root of the Maildir; none before the first pass made it.
    pub root: Option<Root>,
    /// Who we are to markers.
    pub owner: Owner,
}

/// Opens the root if it is ours or nobody's yet, with the generation in its marker. Without a store nothing was ever
/// synchronised.
fn open_root(job: &Job, owner: &Owner, store: Option<&Store>, health: &Health) -> Result<Option<(Root, u64)>, Error> {
    let fresh = store.is_none_or(|store| store.generation() == 0);
    let place = escape(job.maildir.as_os_str().as_encoded_bytes());
    let expected = if fresh { Expected::Anything } else { Expected::Marker };
    match Root::open(&job.maildir, owner, expected)? {
        RootState::Fresh => Ok(None),
        RootState::Ours(root, marked) => {
            if let Some(store) = store {
                compare_generations(store, marked, job)?;
            }
            Ok(Some((root, marked)))
        }
        RootState::Unavailable(reason) => Err(reason.into()),
        RootState::Foreign(_) => Err(Error::Refused(format!(
            "{place} holds mail or other files that mailtwin did not put there; this version cannot take over a \
             Maildir that is not empty: choose an empty directory as `maildir`, or move the old one away"
        ))),
        RootState::Theirs(marker) if marker.owner.account == job.account => {
            Err(Error::Refused(lost_state(owner, health, &marker, job)))
        }
        RootState::Theirs(marker) => Err(Error::Refused(format!(
            "{place} belongs to the account \"{}\" (state {}), and this is the account \"{}\": give each account a \
             `maildir` of its own",
            escape(&marker.owner.account),
            marker.owner.state,
            job.account,
        ))),
    }
}

/// Each begin raises the marker of the root: a marker above the database tells of a database that was rolled back, one
/// far below it of a Maildir that was restored from a backup.
fn compare_generations(store: &Store, marked: u64, job: &Job) -> Result<(), Error> {
    let stored = store.generation();
    let place = escape(job.maildir.as_os_str().as_encoded_bytes());
    if marked > stored {
        return Err(Error::Refused(format!(
            "the state of the account \"{}\" in {} is older than the Maildir {place} (generation {stored}, and {marked} in \
             the Maildir): it was rolled back or restored, and this version cannot pair the mail anew; restore the newest \
             state, or move both away to start afresh",
            job.account,
            escape(job.state().as_os_str().as_encoded_bytes())
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

fn lost_state(owner: &Owner, health: &Health, marker: &RootMarker, job: &Job) -> String {
    let state = escape(job.state().as_os_str().as_encoded_bytes());
    let what = match health {
        Health::SetAside(path) => {
            let aside = escape(path.as_os_str().as_encoded_bytes());
            format!("the state database in {state} was damaged, and lies in {aside} now")
        }
        Health::New => format!(
            "there is none in {state}: it was lost, or is in another state directory (a service and a shell have \
             different ones)"
        ),
        Health::Clean | Health::Repaired { .. } => format!("the one in {state} is {}", owner.state),
    };
    format!(
        "{} belongs to the account \"{}\" of the state {}, and {what}; nothing was changed; point `state-dir` to the \
         right one or restore it; this version cannot pair the mail anew",
        escape(job.maildir.as_os_str().as_encoded_bytes()),
        job.account,
        marker.owner.state,
    )
}
