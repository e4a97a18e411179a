//! What looks like a deletion in one mailbox and new mail in another, and is a move; and what is a copy.
//!
//! Runs over the plans of all mailboxes, after each was reconciled by itself and before the guard counts deletions. It
//! only ever puts a cheaper action in the place of two: where nothing fits, the message is transferred and its old place
//! cleared, which is as safe.
//!
//! Who is who: a file is a message by its base name, as long as its bytes do not speak against it, else by its bytes
//! ([`Fingerprint`], so without what readers write into their copies). A number of the file system proves nothing, for it
//! is given to another file at once. A message of the server that came while another went is the same by Message-ID,
//! size and date together. The same Message-ID with other bytes is another message: an edited draft.

use crate::mail::{BaseName, Fingerprint, Flags, ObjectId, SystemFlag, Uid};
use crate::sync::picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Side, Why, Word};
use crate::sync::plan::{Action, MailboxPlan, Origin};
use crate::sync::view::{LocalView, RemoteView};
use std::collections::{BTreeMap, BTreeSet};

/// One mailbox with its plan.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Its plan. The looks of every file that is to be uploaded are filled in.
    pub plan: &'a mut MailboxPlan,
    /// What is remembered of it.
    pub picture: &'a Picture,
    /// What the server shows.
    pub remote: &'a RemoteView,
    /// What the Maildir shows.
    pub local: &'a LocalView,
    /// It is the Trash: some readers set `T` on what they move there, which is not meant for the server.
    pub is_trash: bool,
}

/// What the server tells of a message that is new there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// The digest of its Message-ID, as in [`Fingerprint`].
    pub message_id: Option<[u8; 8]>,
    /// Its size in octets.
    pub size: Option<u64>,
    /// Its INTERNALDATE, in seconds since 1970.
    pub date: Option<i64>,
    /// Which message the server says that it is.
    pub object: Option<ObjectId>,
}

/// What is known besides the pictures.
#[derive(Clone, Default, Debug)]
pub struct Evidence {
    /// The messages from [`arrivals_to_ask_for`].
    pub arrived: BTreeMap<(MailboxId, Uid), Arrived>,
    /// The times of the files whose messages are gone from the server, in seconds since 1970.
    pub dates: BTreeMap<(MailboxId, BaseName), i64>,
    /// New files that could not be had by a copy or a move on the server: they are uploaded.
    pub uploaded: BTreeSet<(MailboxId, BaseName)>,
    /// New messages whose files could not be had by a rename: they are fetched.
    pub fetched: BTreeSet<(MailboxId, Uid)>,
}

/// In each mailbox so many of the newest messages are asked for, and twice as many as are gone elsewhere: a message that
/// was moved is the newest where it is now.
const ASKED: usize = 200;

/// Finds files that got another base name within their mailbox: some readers give a new one for every change. Only the
/// memory changes.
pub fn renamed(picture: &Picture, remote: &RemoteView, local: &LocalView, actions: &[Action]) -> Vec<Change> {
    let mut gone: BTreeMap<Fingerprint, Vec<(Uid, &Pair)>> = BTreeMap::new();
    let missing_here = |uid: Uid, pair: &Pair| remote.get(uid).is_some() && local.get(&pair.name).is_none();
    for (uid, pair) in picture.pairs().filter(|(uid, pair)| pair.removing.is_none() && missing_here(*uid, pair)) {
        if let Some(print) = pair.print {
            gone.entry(print).or_default().push((uid, pair));
        }
    }
    let mut changes = Vec::new();
    for action in actions {
        if let Action::Append { name, print: Some(print), .. } = action
            && let Some((uid, pair)) = gone.get_mut(print).and_then(Vec::pop)
        {
            let pair = Pair { name: name.clone(), ..pair.clone() };
            changes.push(Change::Uid(uid, Some(Known::Pair(pair))));
        }
    }
    changes
}

/// Which of the messages that are to be fetched may have been moved from another mailbox: what the server tells of them
/// decides. None, as a rule: new mail comes while nothing goes.
pub fn arrivals_to_ask_for(scenes: &[Scene<'_>]) -> BTreeMap<MailboxId, Vec<Uid>> {
    let gone: Vec<usize> = scenes.iter().map(|scene| gone_there(scene).count()).collect();
    let all: usize = gone.iter().sum();
    let mut asked = BTreeMap::new();
    for (scene, own) in scenes.iter().zip(gone) {
        if all == own {
            continue;
        }
        let mut uids: Vec<Uid> = scene.plan.actions.iter().filter_map(Action::fetches).collect();
        uids.sort_unstable();
        let uids = uids.split_off(uids.len().saturating_sub(ASKED.max(2 * all)));
        if !uids.is_empty() {
            asked.insert(scene.plan.mailbox, uids);
        }
    }
    asked
}

/// The files whose messages are gone from the server and may be elsewhere there: their times are needed.
pub fn files_to_date<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a BaseName> {
    gone_there(scene).map(|(_, pair)| &pair.name)
}

/// Puts moves and copies in the place of transfers and deletions.
pub fn pair_up(scenes: &mut [Scene<'_>], evidence: &Evidence) {
    move_there(scenes, evidence);
    move_here(scenes, evidence);
    copy_there(scenes, evidence);
    scenes.iter_mut().for_each(|scene| scene.plan.actions.sort_by_key(Action::phase));
}

/// A message that left a mailbox on one side.
struct Left {
    scene: usize,
    uid: Uid,
    pair: Pair,
}

/// Pairs whose file is missing while the message is there: to be deleted, or held because they were too many.
fn gone_here<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = (Uid, &'a Pair)> {
    let planned: BTreeSet<Uid> = scene.plan.actions.iter().filter_map(deleted_there).collect();
    let is_gone = move |uid: Uid, pair: &Pair| {
        let missing = scene.remote.get(uid).is_some() && scene.local.get(&pair.name).is_none();
        missing && pair.removing.is_none() && (planned.contains(&uid) || is_held(pair, Side::Local))
    };
    scene.picture.pairs().filter(move |(uid, pair)| is_gone(*uid, pair))
}

/// Pairs whose message is missing on the server while the file is here, and of which enough is known.
fn gone_there<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = (Uid, &'a Pair)> {
    let planned: BTreeSet<Uid> = scene.plan.actions.iter().filter_map(deleted_here).collect();
    let is_gone = move |uid: Uid, pair: &Pair| {
        let missing = scene.remote.get(uid).is_none() && scene.local.get(&pair.name).is_some();
        let known = pair.print.is_some_and(|print| print.message_id.is_some() || pair.object.is_some());
        missing && known && (planned.contains(&uid) || is_held(pair, Side::Remote))
    };
    scene.picture.pairs().filter(move |(uid, pair)| is_gone(*uid, pair))
}

fn deleted_there(action: &Action) -> Option<Uid> {
    match action {
        Action::DeleteRemote { uid, .. } => Some(*uid),
        _ => None,
    }
}

fn deleted_here(action: &Action) -> Option<Uid> {
    match action {
        Action::DeleteLocal { uid, .. } => *uid,
        _ => None,
    }
}

fn is_held(pair: &Pair, from: Side) -> bool {
    matches!(pair.hold, Some(Hold { gone, word: Word::Waiting, .. }) if gone == from)
}

fn origin(scene: &Scene<'_>, uid: Uid) -> Origin {
    let MailboxPlan { mailbox, name, uid_validity, .. } = &*scene.plan;
    Origin { mailbox: *mailbox, mailbox_name: name.clone(), uid_validity: *uid_validity, uid }
}

/// The new files of a mailbox: name and looks.
fn new_files(scene: &Scene<'_>, evidence: &Evidence) -> Vec<(BaseName, Fingerprint)> {
    let new = scene.plan.actions.iter().filter_map(|action| match action {
        Action::Append { name, print: Some(print), .. } => Some((name.clone(), *print)),
        _ => None,
    });
    new.filter(|(name, _)| !evidence.uploaded.contains(&(scene.plan.mailbox, name.clone()))).collect()
}

/// Files that were moved here become moves on the server.
fn move_there(scenes: &mut [Scene<'_>], evidence: &Evidence) {
    let left = |(number, scene): (usize, &Scene<'_>)| -> Vec<Left> {
        gone_here(scene).map(|(uid, pair)| Left { scene: number, uid, pair: pair.clone() }).collect()
    };
    let mut gone: Vec<Option<Left>> = scenes.iter().enumerate().flat_map(left).map(Some).collect();
    if gone.is_empty() {
        return;
    }
    let mut by_name: BTreeMap<BaseName, Vec<usize>> = BTreeMap::new();
    let mut by_print: BTreeMap<Fingerprint, Vec<usize>> = BTreeMap::new();
    for (at, left) in gone.iter().enumerate() {
        let Some(Left { pair, .. }) = left else { continue };
        by_name.entry(pair.name.clone()).or_default().push(at);
        if let Some(print) = pair.print {
            by_print.entry(print).or_default().push(at);
        }
    }
    let new: Vec<(usize, BaseName, Fingerprint)> = scenes
        .iter()
        .enumerate()
        .flat_map(|(number, scene)| {
            new_files(scene, evidence).into_iter().map(move |(name, print)| (number, name, print))
        })
        .collect();
    // The nearer likeness first, over all files: another must not be taken for the one that kept its name.
    for by_its_name in [true, false] {
        for (target, name, print) in &new {
            let candidates = if by_its_name { by_name.get(name) } else { by_print.get(print) };
            let fits = |at: &&usize| {
                let left = gone[**at].as_ref();
                left.is_some_and(|l| l.scene != *target && l.pair.print.is_none_or(|other| other == *print))
            };
            // The newest of several.
            let newest = |at: &&usize| gone[**at].as_ref().map(|left| left.uid);
            let is_open = scenes[*target].plan.actions.iter().any(|action| is_upload_of(action, name));
            let Some(at) = candidates.into_iter().flatten().filter(fits).max_by_key(newest).filter(|_| is_open) else {
                continue;
            };
            if let Some(left) = gone[*at].take() {
                replace_by_move(scenes, *target, left, name, *print);
            }
        }
    }
}

fn is_upload_of(action: &Action, of: &BaseName) -> bool {
    matches!(action, Action::Append { name, .. } if name == of)
}

fn replace_by_move(scenes: &mut [Scene<'_>], target: usize, left: Left, name: &BaseName, print: Fingerprint) {
    let Left { scene, uid, pair } = left;
    let origin = origin(&scenes[scene], uid);
    scenes[scene].plan.actions.retain(|action| deleted_there(action) != Some(uid));
    let target = &mut scenes[target];
    let mut agreed = pair.agreed;
    let is_marked = |flags: &Flags| flags.contains(SystemFlag::Deleted);
    if target.is_trash && target.local.get(name).is_some_and(is_marked) {
        // As if it had been agreed: then the server has taken it off, and the file follows.
        agreed.insert(SystemFlag::Deleted);
    }
    target.plan.actions.retain(|action| !is_upload_of(action, name));
    target.plan.actions.push(Action::MoveRemote {
        origin,
        was: pair.name,
        name: name.clone(),
        agreed,
        print,
        guessed: pair.guessed,
    });
}

/// Messages that were moved on the server become renames here.
fn move_here(scenes: &mut [Scene<'_>], evidence: &Evidence) {
    let left = |(number, scene): (usize, &Scene<'_>)| -> Vec<Left> {
        gone_there(scene).map(|(uid, pair)| Left { scene: number, uid, pair: pair.clone() }).collect()
    };
    let mut gone: Vec<Option<Left>> = scenes.iter().enumerate().flat_map(left).map(Some).collect();
    let mut by_object: BTreeMap<ObjectId, Vec<usize>> = BTreeMap::new();
    let mut by_looks: BTreeMap<Looks, Vec<usize>> = BTreeMap::new();
    for (at, left) in gone.iter().enumerate() {
        let Some(Left { scene, pair, .. }) = left else { continue };
        if let Some(object) = pair.object {
            by_object.entry(object).or_default().push(at);
        }
        let date = evidence.dates.get(&(scenes[*scene].plan.mailbox, pair.name.clone()));
        if let (Some(print), Some(date)) = (pair.print, date)
            && let Some(id) = print.message_id
        {
            by_looks.entry((id, print.size, *date)).or_default().push(at);
        }
    }
    // What the server itself says first, over all messages: another must not be taken for the one that it names.
    for by_its_word in [true, false] {
        for target in 0..scenes.len() {
            let MailboxPlan { mailbox, actions, .. } = &*scenes[target].plan;
            let mut matched: Vec<(Uid, BaseName, Left)> = Vec::new();
            for action in actions {
                let Action::Fetch { uid, name, .. } = action else { continue };
                let Some(arrived) = evidence.arrived.get(&(*mailbox, *uid)) else { continue };
                if evidence.fetched.contains(&(*mailbox, *uid)) {
                    continue;
                }
                let candidates = match by_its_word {
                    true => arrived.object.and_then(|object| by_object.get(&object)),
                    false => looks(arrived).and_then(|looks| by_looks.get(&looks)),
                };
                // Of two messages that the server tells apart, none is the other.
                let fits = |at: &&usize| {
                    gone[**at].as_ref().is_some_and(|left| {
                        let told_apart = left.pair.object.zip(arrived.object).is_some_and(|(a, b)| a != b);
                        left.scene != target && !told_apart
                    })
                };
                let found = candidates.into_iter().flatten().find(fits).copied();
                if let Some(left) = found.and_then(|at| gone[at].take()) {
                    matched.push((*uid, name.clone(), left));
                }
            }
            for (uid, fresh, left) in matched {
                replace_by_rename(scenes, target, uid, fresh, left);
            }
        }
    }
}

/// Message-ID, size and date.
type Looks = ([u8; 8], u64, i64);

fn looks(arrived: &Arrived) -> Option<Looks> {
    Some((arrived.message_id?, arrived.size?, arrived.date?))
}

fn replace_by_rename(scenes: &mut [Scene<'_>], target: usize, uid: Uid, fresh: BaseName, left: Left) {
    let Left { scene, uid: old, pair } = left;
    let Some(print) = pair.print else { return };
    let origin = origin(&scenes[scene], old);
    scenes[scene].plan.actions.retain(|action| deleted_here(action) != Some(old));
    let target = &mut scenes[target];
    let promised = |action: &Action| match action {
        Action::MoveLocal { name, .. } => *name == pair.name,
        _ => false,
    };
    let is_taken = target.local.get(&pair.name).is_some()
        || target.picture.partner(&pair.name).is_some()
        || target.picture.local(&pair.name).is_some()
        || target.plan.actions.iter().any(promised);
    // What `undo` brought back there gets the name that it had here.
    let is_back = matches!(target.picture.uid(uid), Some(Known::Lone(Lone { why: Why::Pending, .. })));
    let name = if is_taken || is_back { fresh } else { pair.name.clone() };
    target.plan.actions.retain(|action| !matches!(action, Action::Fetch { uid: of, .. } if *of == uid));
    let Pair { name: was, agreed, guessed, .. } = pair;
    target.plan.actions.push(Action::MoveLocal { uid, origin, was, name, agreed, print, guessed });
}

/// Files whose bytes the server has become copies there.
fn copy_there(scenes: &mut [Scene<'_>], evidence: &Evidence) {
    let wanted: BTreeSet<Fingerprint> =
        scenes.iter().flat_map(|scene| new_files(scene, evidence)).map(|(_, print)| print).collect();
    if wanted.is_empty() {
        return;
    }
    let mut there: BTreeMap<Fingerprint, (Origin, Flags)> = BTreeMap::new();
    for scene in scenes.iter() {
        // Whether the server has the bytes of a pair that was guessed, nobody knows.
        for (uid, pair) in scene.picture.pairs().filter(|(_, pair)| pair.removing.is_none() && !pair.guessed) {
            let Some(print) = pair.print.filter(|print| wanted.contains(print)) else { continue };
            let Some(flags) = scene.remote.get(uid) else { continue };
            there.insert(print, (origin(scene, uid), flags.clone()));
        }
    }
    for scene in scenes {
        let mailbox = scene.plan.mailbox;
        for action in &mut scene.plan.actions {
            let Action::Append { name, print: Some(print), .. } = action else { continue };
            if let Some((origin, flags)) = there.get(print)
                && !evidence.uploaded.contains(&(mailbox, name.clone()))
            {
                let (origin, agreed) = (origin.clone(), flags.clone());
                *action = Action::CopyRemote { origin, name: name.clone(), agreed, print: *print };
            }
        }
    }
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
