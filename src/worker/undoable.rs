//! The list that `undo` shows: what was removed and brought back, in a form for people. It asks no server.

use crate::mail::escape;
use crate::maildir::{Folder, Kept, LocalPath, Retention, Root};
use crate::sync::removal::is_in_force;
use crate::sync::{Deed, MailboxId, MailboxRecord, Picture, Place, RemovedMessage};
use crate::worker::ground::{Ground, prepare};
use crate::worker::undo::NOT_FROM_THERE;
use crate::worker::{Error, Job};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

/// Something that `undo` can take back, or why it cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoable {
    /// Its number; it stays the same as long as it is listed.
    pub number: u64,
    /// When it was done, in seconds since 1970.
    pub at: u64,
    /// The mailbox that the message left, or came back to, escaped.
    pub mailbox: String,
    /// What was done with it.
    pub deed: Deed,
    /// Where it is since, as a clause.
    pub place: String,
    /// The flags that it had.
    pub flags: String,
    /// Its subject, escaped, if its text is on this machine; of a batch, of the newest [`SUBJECTS`].
    pub subject: Option<String>,
    /// Its mailbox is gone from both sides, and would be made again.
    pub remakes: bool,
    /// Why it cannot be taken back, as a clause.
    pub obstacle: Option<String>,
}

/// Lists what was removed and brought back since `since` (seconds since 1970), newest first, of the mailboxes that `wanted`
/// names (decoded, as on the server). What is undone already is left out. Blocking.
pub fn undoable(job: &Job, since: u64, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Undoable>, Error> {
    if !job.state().join("db").exists() {
        return Ok(Vec::new());
    }
    let Ground { store, root, .. } = prepare(job)?;
    let records: BTreeMap<MailboxId, MailboxRecord> = store.mailboxes()?.into_iter().map(|r| (r.id, r)).collect();
    let retention = Retention::open_existing(&job.state_dir, &job.account)?;
    let bodies = retention.as_ref().map_or_else(|| Ok(Vec::new()), Retention::list)?;
    let mut pictures: BTreeMap<MailboxId, Picture> = BTreeMap::new();
    let mut listed = Vec::new();
    for (first, removals) in store.removals()?.into_iter().rev().filter(|(_, removals)| removals.at >= since) {
        let record = records.get(&removals.mailbox);
        let name = record.map_or(&removals.name, |record| &record.name);
        if !wanted(&name.decoded().unwrap_or_else(|| name.as_wire().to_owned())) {
            continue;
        }
        let remakes = record.is_none() && !records.values().any(|record| record.name == *name && record.path.is_some());
        let trashes = removals.messages.iter().filter_map(|message| match message.place {
            Place::Trash { mailbox, .. } => Some(mailbox),
            _ => None,
        });
        for id in trashes.chain([removals.mailbox]) {
            if let std::collections::btree_map::Entry::Vacant(vacant) = pictures.entry(id) {
                vacant.insert(store.picture(id)?);
            }
        }
        let last = first.saturating_add(removals.messages.len() as u64);
        let mut with_subject = SUBJECTS;
        for (message, number) in removals.messages.iter().rev().zip((first..last).rev()) {
            let same_epoch = record.is_some_and(|record| record.uid_validity == Some(removals.uid_validity));
            let in_force = !same_epoch || is_in_force(&pictures[&removals.mailbox], removals.deed, message);
            if message.undone || !in_force {
                continue;
            }
            let body = bodies.iter().rev().find(|kept| kept.is_of(removals.mailbox.0, &message.name));
            let (place, obstacle) = place(message, &records, body);
            let obstacle = match message.place {
                Place::Trash { .. } if !job.policy.writes_there() => Some(NOT_FROM_THERE),
                _ if remakes && !job.policy.writes_there() => {
                    Some("its mailbox is gone, and none is made in this mode")
                }
                _ => obstacle,
            };
            let opened = match (body, &retention) {
                _ if with_subject == 0 => None,
                (Some(body), Some(retention)) => retention.open_kept(body).ok(),
                _ => in_trash(message, &records, &pictures, root.as_ref()),
            };
            with_subject = with_subject.saturating_sub(1);
            listed.push(Undoable {
                number,
                at: removals.at,
                mailbox: name.to_string(),
                deed: removals.deed,
                place,
                flags: message.flags.to_string(),
                subject: opened.and_then(subject),
                remakes,
                obstacle: obstacle.map(str::to_owned),
            });
        }
    }
    Ok(listed)
}

/// Where a message is, and why it cannot be brought back from there.
fn place(
    message: &RemovedMessage,
    records: &BTreeMap<MailboxId, MailboxRecord>,
    body: Option<&Kept>,
) -> (String, Option<&'static str>) {
    match message.place {
        Place::Retention if body.is_some() => ("kept here".to_owned(), None),
        Place::Retention => ("gone".to_owned(), Some("the body that was kept of it is not there any more")),
        Place::Trash { mailbox, .. } => {
            let name = records.get(&mailbox).map_or_else(|| "the Trash".to_owned(), |record| record.name.to_string());
            let obstacle = message.print.is_none().then_some("nobody knows what it looks like: look for it there");
            (format!("in {name} on the server"), obstacle)
        }
        Place::Nowhere => ("gone".to_owned(), Some("what is expunged from the Trash or Junk is not kept")),
        Place::Mailbox => ("back in its mailbox".to_owned(), None),
    }
}

/// The file of a message in the Trash, if that is mirrored.
fn in_trash(
    message: &RemovedMessage,
    records: &BTreeMap<MailboxId, MailboxRecord>,
    pictures: &BTreeMap<MailboxId, Picture>,
    root: Option<&Root>,
) -> Option<File> {
    let Place::Trash { mailbox, .. } = message.place else { return None };
    let path = LocalPath::new(records.get(&mailbox)?.path.as_deref()?)?;
    let is_it = |print| message.print.is_some() && print == message.print;
    let (_, pair) = pictures.get(&mailbox)?.pairs().find(|(_, pair)| is_it(pair.print))?;
    Folder::open(root?, &path).ok()?.open_message(&pair.name).ok()?
}

/// Of so many messages of a batch the subject is read.
pub const SUBJECTS: usize = 10;
/// So much of a message is read for its subject, in bytes.
const HEAD: u64 = 16 * 1024;
/// So much of a subject is shown, in characters.
const SHOWN: usize = 60;

/// The subject of a message, unfolded and escaped.
pub(super) fn subject(file: File) -> Option<String> {
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_subject = |line: &&[u8]| line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"subject:"));
    let first = lines.by_ref().take_while(|line| !line.is_empty()).find(is_subject)?;
    let mut text = first[8..].trim_ascii().to_vec();
    for more in lines.take_while(|line| line.first().is_some_and(u8::is_ascii_whitespace)) {
        text.push(b' ');
        text.extend(more.trim_ascii());
    }
    let shown: String = escape(&text).chars().take(SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}
