//! What is known of one message on the three trees, and why: for a person who wonders.
//!
//! The server is asked as in a dry run; nothing is changed on either side.

use crate::mail::{BaseName, Flags, Uid, escape};
use crate::maildir::{FileName, Retention};
use crate::remote::session;
use crate::store::Store;
use crate::sync::audit::because;
use crate::sync::{
    Action, Change, Deed, Known, MailboxId, MailboxPlan, MailboxRecord, Note, NoteKind, Pair, Picture, Place, Removing,
    Side, Word,
};
use crate::worker::ground::{Ground, prepare};
use crate::worker::mailboxes::Asked;
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, Job, maildrop};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::unbounded_channel;

/// Which message is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The one in this file, of the Maildir or of the retention area.
    File(PathBuf),
    /// The one with this UID in this mailbox (decoded, as on the server).
    Uid(String, Uid),
}

/// What is known of a message. All texts are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The mailbox.
    pub mailbox: String,
    /// Its UID, if it has one.
    pub uid: Option<Uid>,
    /// Its name in the Maildir, without its flags, if it has one.
    pub name: Option<String>,
    /// What is remembered, as sentences.
    pub remembered: Vec<String>,
    /// What the Maildir shows.
    pub here: String,
    /// What the server shows.
    pub there: String,
    /// What the next run does about it.
    pub next: Vec<String>,
    /// What was done with it, newest first.
    pub history: Vec<Past>,
}

/// Something that was done with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Its number in the list of `undo`.
    pub number: u64,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What was done.
    pub deed: Deed,
    /// Where the message went, as a clause.
    pub place: String,
    /// It was taken back.
    pub undone: bool,
}

/// A message that was found in the memory.
pub(super) struct Found {
    pub mailbox: MailboxId,
    pub uid: Option<Uid>,
    pub name: Option<BaseName>,
}

/// Explains a message. Cancel safe.
pub async fn explain(job: &Job, question: &Question) -> Result<Explained, Error> {
    let (prepared, asked) = (job.clone(), question.clone());
    let (ground, found) = blocking(move || {
        if !prepared.state().join("db").exists() {
            return Err(Error::Refused("it was never synchronised, so nothing is known: run `mailtwin sync`".into()));
        }
        let ground = prepare(&prepared)?;
        let found = find(&prepared, &ground, &asked)?;
        Ok((ground, found))
    })
    .await?;
    if let Some(wanted) = job.maildrop.clone() {
        return blocking(move || maildrop::explain(&wanted, &ground, found)).await;
    }
    let opened = session::open(&job.endpoint).await?;
    let (events, _) = unbounded_channel();
    let mut pass = Pass::new(job, Mode::DryRun, ground, (opened.imap, opened.listing), opened.quirks, events).await?;
    let mirrored = pass.judge_mailboxes(Asked::All).await?;
    let wanted: BTreeSet<MailboxId> = mirrored.intersection(&BTreeSet::from([found.mailbox])).copied().collect();
    let observed = pass.observe(&wanted).await?;
    let mut plans = pass.draft(&observed).await?;
    pass.finish(&mut plans, 0).await?;
    let store = pass.store.clone();
    let (mailbox, name, uid) = (found.mailbox, found.name.clone(), found.uid);
    let history = blocking(move || history(&store, mailbox, name.as_ref(), uid)).await?;
    let seen = observed.get(&found.mailbox);
    let left_out = pass.report.left_out.first().map(|left| format!("not looked at: {}", left.reason));
    let unseen = || left_out.clone().unwrap_or_else(|| "not looked at: its mailbox is not mirrored".to_owned());
    let record = pass.records.get(&found.mailbox).cloned();
    let picture = match pass.pictures.remove(&found.mailbox) {
        Some(picture) => picture,
        None => {
            let store = pass.store.clone();
            blocking(move || Ok(store.picture(mailbox)?)).await?
        }
    };
    let file = |name: &BaseName| {
        let file = seen.and_then(|seen| seen.scan.as_ref()).and_then(|scan| scan.files.get(name));
        file.map(|file| format!("{} in {}, flags: {}", escape(&file.file_name), file.subdir.name(), words(&file.flags)))
    };
    let explained = Explained {
        mailbox: record.map_or_else(|| "?".to_owned(), |record| record.name.to_string()),
        uid: found.uid,
        name: found.name.as_ref().map(BaseName::to_string),
        remembered: remembered(&picture, &found),
        here: match (seen, &found.name) {
            (None, _) => unseen(),
            (Some(_), Some(name)) => file(name).unwrap_or_else(|| format!("{name} is not there")),
            (Some(_), None) => "it has no name here".to_owned(),
        },
        there: match (seen, found.uid) {
            (None, _) => unseen(),
            (Some(seen), Some(uid)) => match seen.remote.get(uid) {
                Some(flags) => format!("UID {uid}, flags: {}", words(flags)),
                None => format!("UID {uid} is not there"),
            },
            (Some(_), None) => "it has no UID there".to_owned(),
        },
        next: plans.iter().flat_map(|plan| next(plan, &found)).collect(),
        history,
    };
    let Pass { imap, .. } = pass;
    let _ = imap.logout().await;
    Ok(explained)
}

/// Finds what a question is about. Blocking.
fn find(job: &Job, ground: &Ground, question: &Question) -> Result<Found, Error> {
    let records = ground.store.mailboxes()?;
    let (mailbox, uid, name) = match question {
        Question::Uid(mailbox, uid) => {
            let is_it = |record: &&MailboxRecord| {
                let decoded = record.name.decoded().unwrap_or_else(|| record.name.as_wire().to_owned());
                decoded == *mailbox || record.path.as_deref() == Some(mailbox)
            };
            let record = records.iter().find(is_it);
            let record = record.ok_or_else(|| {
                Error::Refused(format!("no mailbox {} is known: see `mailtwin folders`", escape(mailbox)))
            })?;
            (record.id, Some(*uid), None)
        }
        Question::File(path) => {
            let (mailbox, name) = place_of(job, &records, path)?;
            (mailbox, None, Some(name))
        }
    };
    let picture = ground.store.picture(mailbox)?;
    let uid = uid.or_else(|| name.as_ref().and_then(|name| picture.partner(name)));
    let name = name.or_else(|| uid.and_then(|uid| picture.pair(uid)).map(|pair| pair.name.clone()));
    Ok(Found { mailbox, uid, name })
}

/// The mailbox and the name that a file has, or had.
fn place_of(job: &Job, records: &[MailboxRecord], path: &Path) -> Result<(MailboxId, BaseName), Error> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let unknown =
        || Error::Refused(format!("{shown} is not in the Maildir of this account, nor in its retention area"));
    let file_name = path.file_name().ok_or_else(unknown)?.as_encoded_bytes();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent =
        parent.canonicalize().map_err(|error| Error::Refused(format!("{shown} cannot be looked at: {error}")))?;
    let area = job.state_dir.join("retention").join(&job.account);
    if area.canonicalize().is_ok_and(|area| area == parent) {
        let retention = Retention::open_existing(&job.state_dir, &job.account)?;
        let bodies = retention.map_or_else(|| Ok(Vec::new()), |retention| retention.list())?;
        let kept = bodies.into_iter().find(|kept| *kept.file_name == *file_name).ok_or_else(unknown)?;
        let name = FileName::parse(kept.had()).map(|name| name.base).ok_or_else(unknown)?;
        return Ok((MailboxId(kept.mailbox), name));
    }
    let root = job.maildir.canonicalize().map_err(|_| unknown())?;
    let folder = parent.parent().filter(|_| parent.ends_with("cur") || parent.ends_with("new")).ok_or_else(unknown)?;
    let is_it = |record: &&MailboxRecord| record.path.as_ref().is_some_and(|path| root.join(path) == folder);
    let record = records.iter().find(is_it).ok_or_else(unknown)?;
    let name = FileName::parse(file_name).map(|name| name.base).ok_or_else(unknown)?;
    Ok((record.id, name))
}

pub(super) fn remembered(picture: &Picture, found: &Found) -> Vec<String> {
    if let Some(uid) = found.uid
        && let Some(known) = picture.uid(uid)
    {
        return match known {
            Known::Pair(pair) => of_pair(uid, pair),
            Known::Lone(lone) => vec![format!("UID {uid} is on the server only: {}", because(&lone.why))],
        };
    }
    match found.name.as_ref().and_then(|name| Some((name, picture.local(name)?))) {
        Some((name, lone)) => vec![format!("{name} is here only: {}", because(&lone.why))],
        None => vec!["nothing is remembered of it".to_owned()],
    }
}

fn of_pair(uid: Uid, pair: &Pair) -> Vec<String> {
    let mut told = vec![format!("UID {uid} and {} are one message; agreed flags: {}", pair.name, words(&pair.agreed))];
    for (side, flags) in [("the server", &pair.remote), ("the Maildir", &pair.local)] {
        told.extend(flags.as_ref().map(|flags| format!("last seen on {side}: {}", words(flags))));
    }
    told.extend(pair.print.map(|print| format!("it has {} octets, volatile header fields left out", print.size)));
    told.extend(pair.trouble.as_ref().map(|q| format!("the last change failed {} times: {}", q.attempts, q.reason)));
    told.extend(pair.hold.map(|hold| {
        let gone = if hold.gone == Side::Local { "here" } else { "on the server" };
        match hold.word {
            Word::Waiting => format!("it is missing {gone}, and its deletion is held in set {}", hold.set),
            Word::Approved => format!("it is missing {gone}, and its deletion was ordered"),
            Word::Rejected => format!("it is missing {gone}, and its deletion was rejected: it is put back"),
        }
    }));
    told.extend(pair.removing.map(|removing| match removing {
        Removing::Copied => {
            "its copy is in the Trash, or where it was moved to, and it is about to be expunged".to_owned()
        }
        Removing::Marked => "it is marked as deleted by us, and about to be expunged".to_owned(),
    }));
    told
}

/// What a plan has to do with a message, in words.
fn next(plan: &MailboxPlan, found: &Found) -> Vec<String> {
    let is_it = |uid: Option<Uid>, name: Option<&BaseName>| {
        uid.is_some_and(|uid| found.uid == Some(uid)) || name.is_some_and(|name| found.name.as_ref() == Some(name))
    };
    let acts = plan.actions.iter().filter(|action| match action {
        Action::Fetch { uid, .. } => is_it(Some(*uid), None),
        Action::SetFlags { uid, name, .. } | Action::DeleteRemote { uid, name, .. } => is_it(Some(*uid), Some(name)),
        Action::Append { name, .. } | Action::Restore { name, .. } => is_it(None, Some(name)),
        Action::DeleteLocal { uid, name, .. } | Action::Withdraw { uid, name, .. } => is_it(*uid, Some(name)),
        Action::CopyRemote { name, .. } | Action::MoveRemote { name, .. } => is_it(None, Some(name)),
        Action::MoveLocal { uid, name, .. } => is_it(Some(*uid), Some(name)),
    });
    let notes = plan.notes.iter().filter(|note| match &note.change {
        Change::Uid(uid, _) => is_it(Some(*uid), None),
        Change::Local(name, _) => is_it(None, Some(name)),
    });
    acts.map(Action::to_string).chain(notes.map(noted)).collect()
}

fn noted(note: &Note) -> String {
    match note.kind {
        NoteKind::Agree => "remember that both sides agree",
        NoteKind::Seen => "remember the flags that a side shows",
        NoteKind::Forget => "forget it: it is gone from both sides",
        NoteKind::Keep => "remember that it stays on one side",
        NoteKind::Filter => "remember that it is left on the server",
        NoteKind::Hold(_) => "hold its deletion until somebody decides",
        NoteKind::PutBack => "put it back where it is missing",
        NoteKind::Unsendable => "set it aside: it cannot be sent as it is",
    }
    .to_owned()
}

/// What was done with a message, newest first. Blocking.
pub(super) fn history(
    store: &Store,
    mailbox: MailboxId,
    name: Option<&BaseName>,
    uid: Option<Uid>,
) -> Result<Vec<Past>, Error> {
    let record = store.mailboxes()?.into_iter().find(|record| record.id == mailbox);
    let epoch = record.and_then(|record| record.uid_validity);
    let mut past = Vec::new();
    for (first, removals) in store.removals()?.into_iter().rev().filter(|(_, removals)| removals.mailbox == mailbox) {
        let same_epoch = epoch == Some(removals.uid_validity);
        for (message, number) in removals.messages.iter().zip(first..) {
            let by_uid = same_epoch && uid.is_some() && message.uid == uid;
            if by_uid || name == Some(&message.name) {
                let place = match message.place {
                    Place::Retention => "its body was kept",
                    Place::Trash { .. } => "it was moved to the Trash of the server",
                    Place::Nowhere => "nothing was kept of it",
                    Place::Mailbox => "it came back",
                };
                let (at, deed, undone) = (removals.at, removals.deed, message.undone);
                past.push(Past { number, at, deed, place: place.to_owned(), undone });
            }
        }
    }
    Ok(past)
}

pub(super) fn words(flags: &Flags) -> String {
    if flags.is_empty() { "none".to_owned() } else { flags.to_string() }
}
