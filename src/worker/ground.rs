//! The ground that a pass stands on: the state that is locked, and the Maildir that is ours.
//!
//! What does not fit together is told apart here, before the server is asked for anything: a Maildir that another tool
//! filled, a state that was lost or rolled back and a Maildir that was restored are adopted; one that another account or
//! another state keeps, and a directory that holds other things than mail, are refused. Nothing is ever deleted because
//! of it.

use crate::mail::escape;
use crate::maildir::{
    Expected, Folder, FolderMarker, Foreign, Layout, LocalPath, Owner, Root, RootMarker, RootState, StateId, foreign,
    release,
};
use crate::store::{Health, Settlement, Store};
use crate::sync::{Adopting, Cause, MailboxRecord};
use crate::worker::pass::blocking;
use crate::worker::{Error, Job, maildrop};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The state and the Maildir of an account, open.
#[derive(Debug)]
pub struct Ground {
    /// The memory.
    pub store: Arc<Store>,
    /// The root of the Maildir; none before the first pass made it.
    pub root: Option<Root>,
    /// The generation that its marker tells, if it is one of ours as it should be; a crash can have left it one behind the
    /// database.
    pub marked: Option<u64>,
    /// Who we are to markers.
    pub owner: Owner,
    /// Where our state lies, as the marker has it.
    pub place: String,
    /// How memory and Maildir fit together.
    pub history: History,
    /// Where a database lies that could not be read, as a sentence.
    pub notice: Option<String>,
}

/// How the memory and the Maildir fit together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum History {
    /// One is what the other left, or there is none of either.
    Fits,
    /// Maildirs that mailtwin did not make, and the programs that left their traces there.
    Foreign(BTreeSet<&'static str>),
    /// The state that kept this Maildir was lost; folders with its id in their markers are ours.
    StateLost(StateId),
    /// The memory is older than the Maildir, which has this generation.
    RolledBack(u64),
    /// The Maildir is older than the memory.
    Restored,
}

/// Opens both, and refuses what is not ours. Blocking.
pub fn prepare(job: &Job) -> Result<Ground, Error> {
    let (store, health) = job.open()?;
    if maildrop::is_other_kind(job, &store.mailboxes()?) {
        return Err(Error::Refused(format!(
            "the state of the account \"{}\" was made with another `type`: what it remembers means nothing for this one; \
             nothing was changed; set `type` back, or give the account another name and a `maildir` of its own",
            job.account
        )));
    }
    let owner = Owner { account: job.account.clone(), state: StateId::new(store.identity()) };
    let place = place_of(&job.state());
    let Stand { root, marked, history } = stand(job, &owner, &place, Some(&store))?;
    let notice = set_aside(&job.state(), &health);
    Ok(Ground { store: Arc::new(store), root, marked, owner, place, history, notice })
}

/// Looks at both as [`prepare`] does, but makes no state where there is none. Blocking.
pub fn look(job: &Job) -> Result<Look, Error> {
    if job.state().join("db").exists() {
        let Ground { store, root, owner, history, notice, .. } = prepare(job)?;
        return Ok(Look { records: store.mailboxes()?, root, owner, history, notice });
    }
    let owner = Owner { account: job.account.clone(), state: StateId::new([0; 16]) };
    let Stand { root, history, .. } = stand(job, &owner, &place_of(&job.state()), None)?;
    Ok(Look { records: Vec::new(), root, owner, history, notice: None })
}

/// Tells where the state lies that keeps the Maildir, if it is another one of the same account; makes nothing. Blocking.
///
/// # Errors
/// Those of [`prepare`], the other state's claim excepted.
pub fn claimant(job: &Job) -> Result<Option<String>, Error> {
    let store = if job.state().join("db").exists() { Some(job.open()?.0) } else { None };
    let identity = store.as_ref().map_or([0; 16], Store::identity);
    let owner = Owner { account: job.account.clone(), state: StateId::new(identity) };
    let place = place_of(&job.state());
    match Root::open(&job.maildir, &owner, Expected::Anything)? {
        RootState::Theirs(_, marker) if marker.owner.account == job.account && marker.place != place => {
            Ok(Some(marker.place))
        }
        _ => stand(job, &owner, &place, store.as_ref()).map(|_| None),
    }
}

/// Makes this state the owner of a Maildir that another state of the same account keeps, wherever that one lies. No mail
/// is touched; the next pass pairs both sides anew. Nothing is done if it is ours already. Blocking.
///
/// # Errors
/// Those of [`prepare`], the other state's claim excepted.
pub fn take_over(job: &Job) -> Result<(), Error> {
    let (store, _) = job.open()?;
    let owner = Owner { account: job.account.clone(), state: StateId::new(store.identity()) };
    let place = place_of(&job.state());
    let root = match Root::open(&job.maildir, &owner, Expected::Anything)? {
        RootState::Theirs(root, marker) if marker.owner.account == job.account => root,
        _ => return stand(job, &owner, &place, Some(&store)).map(drop),
    };
    // What this state may remember of the Maildir is from another time: it is held against it like a memory that was
    // rolled back. That is durable before anything says that the Maildir is ours.
    let mut records = store.mailboxes()?;
    for record in records.iter_mut().filter(|record| record.uid_validity.is_some()) {
        record.adopting = Some(Adopting { cause: Cause::RolledBack, question: None });
        record.checkpoint = None;
    }
    store.settle(Settlement { mailboxes: records.clone(), ..Settlement::default() })?;
    release(&root, job.layout, |_, found| found.state == owner.state)?;
    for record in records.into_iter().filter(|record| record.parked.is_none()) {
        let Some(path) = record.path.as_deref().and_then(LocalPath::new) else { continue };
        if Folder::open(&root, &path).is_ok() {
            let marker = FolderMarker { id: record.id.0, name: record.name, state: owner.state };
            Folder::create(&root, &path, &marker)?;
        }
    }
    Ok(root.write_marker(&RootMarker { owner, place, generation: store.generation() })?)
}

/// Raises the marker of a root to a generation.
pub(super) fn raise(root: &Root, owner: Owner, place: String, generation: u64) -> Result<(), crate::maildir::Error> {
    root.write_marker(&RootMarker { owner, place, generation })
}

/// The root of a Maildir, made if it is not there, with our marker in it.
pub(super) async fn found(
    job: &Job,
    root: Option<Root>,
    history: &History,
    records: Vec<MailboxRecord>,
    marker: RootMarker,
) -> Result<Root, Error> {
    let (path, layout, history) = (job.maildir.clone(), job.layout, history.clone());
    blocking(move || {
        let root = root.map_or_else(|| Root::create(&path), Ok)?;
        claim(&root, layout, &history, &records, &marker)?;
        Ok(root)
    })
    .await
}

/// Writes our marker into a root. Folder markers that mean nothing to us are taken off first: after a crash in between it
/// is found as before, and done again.
fn claim(
    root: &Root,
    layout: Layout,
    history: &History,
    records: &[MailboxRecord],
    marker: &RootMarker,
) -> Result<(), crate::maildir::Error> {
    match history {
        // Folders have numbers that this memory never gave, or gave to others.
        History::StateLost(_) | History::RolledBack(_) => release(root, layout, |path, found| {
            let is_it =
                |record: &MailboxRecord| record.id.0 == found.id && record.path.as_deref() == Some(path.as_str());
            found.state == marker.owner.state && records.iter().any(is_it)
        })?,
        History::Fits | History::Foreign(_) | History::Restored => {}
    }
    root.write_marker(marker)
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
    /// How memory and Maildir fit together.
    pub history: History,
    /// Where a database lies that could not be read, as a sentence.
    pub notice: Option<String>,
}

struct Stand {
    root: Option<Root>,
    marked: Option<u64>,
    history: History,
}

/// Opens the root if it is ours or can be. Without a store nothing was ever synchronised.
fn stand(job: &Job, owner: &Owner, our_place: &str, store: Option<&Store>) -> Result<Stand, Error> {
    let fresh = store.is_none_or(|store| store.generation() == 0);
    let place = escape(job.maildir.as_os_str().as_encoded_bytes());
    let expected = if fresh { Expected::Anything } else { Expected::Marker };
    let state = escape(job.state().as_os_str().as_encoded_bytes());
    match Root::open(&job.maildir, owner, expected)? {
        RootState::Fresh => Ok(Stand { root: None, marked: None, history: History::Fits }),
        RootState::Ours(root, marker) => {
            let history = store.map_or(Ok(History::Fits), |store| compare_generations(store, marker.generation))?;
            let marked = Some(marker.generation).filter(|_| history == History::Fits && marker.place == our_place);
            Ok(Stand { root: Some(root), marked, history })
        }
        RootState::Unavailable(reason) => Err(reason.into()),
        RootState::Foreign(root) => match foreign(&root, job.layout)? {
            Foreign::Maildirs(programs) => {
                Ok(Stand { root: Some(root), marked: None, history: History::Foreign(programs) })
            }
            Foreign::Other(name) => Err(Error::Refused(format!(
                "{place} holds \"{}\", which is no Maildir and holds none: mailtwin takes over a directory of Maildirs, or \
                 an empty one; give it such a one as `maildir`",
                escape(name)
            ))),
        },
        RootState::Theirs(root, marker) if marker.owner.account == job.account && marker.place == our_place => {
            Ok(Stand { root: Some(root), marked: None, history: History::StateLost(marker.owner.state) })
        }
        RootState::Theirs(_, marker) if marker.owner.account == job.account => Err(Error::Refused(format!(
            "{place} belongs to the account \"{}\" of the state in {}, and this is the state in {state} (a service and a \
             shell have different state directories); point `state-dir` to the right one, or give the Maildir to this one: \
             mailtwin relocate {}",
            job.account,
            escape(&marker.place),
            job.account,
        ))),
        RootState::Theirs(_, marker) => Err(Error::Refused(format!(
            "{place} belongs to the account \"{}\" (state {}), and this is the account \"{}\": give each account a \
             `maildir` of its own",
            escape(&marker.owner.account),
            escape(&marker.place),
            job.account,
        ))),
    }
}

/// Each begin raises the marker of the root: a marker above the database tells of a database that was rolled back, one
/// far below it of a Maildir that was restored from a backup.
fn compare_generations(store: &Store, marked: u64) -> Result<History, Error> {
    let stored = store.generation();
    if marked > stored {
        return Ok(History::RolledBack(marked));
    }
    // A crash between the commit and the raising leaves them one apart, with the batch still open.
    let behind = stored - marked;
    let open = behind == 1 && store.batches()?.iter().any(|batch| batch.generation == stored);
    Ok(if behind > 0 && !open { History::Restored } else { History::Fits })
}

/// Tells of a database that was just put out of the way.
fn set_aside(state: &Path, health: &Health) -> Option<String> {
    let Health::SetAside(path) = health else { return None };
    let place = |path: &Path| escape(path.as_os_str().as_encoded_bytes());
    Some(format!("the state database in {} was damaged, and lies in {} now", place(state), place(path)))
}

/// Where a state lies, links resolved as far as it is there.
fn place_of(state: &Path) -> String {
    let there = state.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let place = match there {
        // Component by component: nothing, joined to a path, would end it with a slash.
        Some((part, real)) => real.components().chain(state.strip_prefix(part).unwrap_or(part).components()).collect(),
        None => state.to_path_buf(),
    };
    place.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_called_the_same_before_and_after_it_is_made_and_by_whatever_way() {
        let tmp = tempfile::tempdir().expect("a directory");
        let state = tmp.path().join("state/work");
        let before = place_of(&state);
        assert!(before.ends_with("/state/work"), "{before}");
        std::fs::create_dir_all(&state).expect("made");
        assert_eq!(place_of(&state), before);
        std::os::unix::fs::symlink(tmp.path().join("state"), tmp.path().join("link")).expect("made");
        assert_eq!(place_of(&tmp.path().join("link/work")), before);
        assert_eq!(place_of(&tmp.path().join("link/../state/work/")), before);
    }
}
