//! The table of mailboxes: what follows for each from the records, the server's LIST and the Maildir.
//!
//! A mailbox that is on one side only and was never agreed is made on the other. One that has another name, on either side,
//! is renamed on the other. One that is gone from the server is parked, unless the owner wants it deleted here as well; one
//! whose directory is gone is asked about. Whether a mailbox is the one that is remembered, `identity` tells.

use crate::mail::{MailboxName, SpecialUse, UidValidity, escape};
use crate::sync::identity::{There, fits};
use crate::sync::mailbox::{MailboxRecord, Parked};
use crate::sync::mailbox_verdict::MailboxVerdict;
use crate::sync::picture::{MailboxId, Word};
use crate::sync::policy::Sides;
use std::collections::{BTreeMap, BTreeSet};

/// A mailbox that the server lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// Its role, told by the server or by its usual name.
    pub role: Option<SpecialUse>,
    /// Where it belongs beneath the root, or why it has no place there, as a clause.
    pub place: Result<String, String>,
    /// What it is whatever its name, where the server tells that.
    pub identity: Option<String>,
    /// The epoch of its UIDs, as far as it is known.
    pub uid_validity: Option<UidValidity>,
    /// Whether it is to be mirrored.
    pub standing: Standing,
}

/// Whether a mailbox of the server is to be mirrored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is.
    Wanted,
    /// The patterns of the owner exclude it.
    Unwanted,
    /// Only subscribed ones are, and it is none.
    Unsubscribed,
}

/// A directory of the Maildir that can hold mail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// The number of the mailbox that its marker names.
    pub marker: Option<MailboxId>,
    /// The number of the directory itself, by which it is told from a copy.
    pub inode: u64,
    /// The name that it would get on the server, or why it cannot get one, as a clause.
    pub name: Result<MailboxName, String>,
    /// Whether a mailbox of that name is to be mirrored.
    pub is_wanted: bool,
}

/// Both sides, as one LIST and one walk that were complete told them, and what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Mailboxes<'a> {
    /// What is remembered.
    pub records: &'a [MailboxRecord],
    /// The mailboxes of the server that can hold mail: all of them.
    pub listed: &'a [Listed],
    /// The directories of the Maildir that can hold mail: all of them.
    pub directories: &'a BTreeMap<String, Directory>,
    /// Where something is in the place of a remembered directory that is no Maildir: what is wrong, as a clause.
    pub broken: &'a BTreeMap<String, String>,
    /// Where each remembered mailbox is on the server.
    pub there: &'a BTreeMap<MailboxId, There>,
    /// Which remembered mailboxes the patterns of the owner include.
    pub wanted: &'a BTreeSet<MailboxId>,
    /// Where mailboxes are made.
    pub create: Sides,
    /// Where mailboxes are deleted.
    pub delete: Sides,
}

/// Where the directory of a remembered mailbox is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Here {
    Same,
    Moved(String),
    Broken(String),
    Gone,
}

/// A remembered mailbox, and what follows for it.
struct Judged<'a> {
    record: &'a MailboxRecord,
    path: &'a String,
    there: &'a There,
    here: Here,
    verdict: Option<MailboxVerdict>,
}

/// Judges every mailbox.
pub fn judge(sides: &Mailboxes<'_>) -> Vec<MailboxVerdict> {
    // A Trash that was not mirrored has no place here as yet; if it is wanted now, it is like any other.
    let mirrored = sides.records.iter().filter_map(|record| Some((record, record.path.as_ref()?)));
    let mut judged: Vec<Judged<'_>> = mirrored
        .map(|(record, path)| {
            let (here, there) = (sides.locate(record), sides.there.get(&record.id).unwrap_or(&There::Gone));
            let is_wanted = sides.wanted.contains(&record.id);
            let verdict = if is_wanted { sides.judge_record(record, there, &here) } else { None };
            Judged { record, path, there, here, verdict }
        })
        .collect();
    refuse_conflicts(&mut judged, sides);
    let mut names: BTreeSet<&MailboxName> = BTreeSet::new();
    // In small letters: two that a file system without case would melt into one get no second Maildir.
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut left: BTreeSet<&str> = BTreeSet::new();
    let mut claimed: BTreeSet<&str> = BTreeSet::new();
    for Judged { record, path, there, here, verdict } in &judged {
        match there {
            There::Same => drop(names.insert(&record.name)),
            There::Renamed(name) => names.extend(sides.listed.iter().map(|l| &l.name).filter(|listed| *listed == name)),
            There::Another | There::Gone => {}
        }
        match here {
            Here::Moved(at) => {
                let (at, _) = sides.directories.get_key_value(at).expect("it was found there");
                claimed.insert(at);
                taken.insert(at.to_lowercase());
            }
            Here::Same => drop(claimed.insert(path)),
            Here::Broken(_) | Here::Gone => {}
        }
        match verdict {
            Some(MailboxVerdict::RenameLocal { from, to, .. }) => {
                if from != to {
                    left.insert(path);
                }
                taken.insert(to.to_lowercase());
            }
            Some(MailboxVerdict::RenameRemote { .. }) => drop(left.insert(path)),
            Some(MailboxVerdict::Forget(_)) => {}
            _ => drop(taken.insert(path.to_lowercase())),
        }
    }
    let mut verdicts: Vec<MailboxVerdict> = judged.into_iter().filter_map(|judged| judged.verdict).collect();
    let vacant = |path: &str| !sides.directories.contains_key(path) || left.contains(path);
    for mailbox in sides.listed.iter().filter(|l| l.standing == Standing::Wanted && !names.contains(&l.name)) {
        let what = mailbox.name.to_string();
        let left_out = |reason: String, failed| MailboxVerdict::LeftOut { what, reason, failed };
        verdicts.push(match &mailbox.place {
            Err(reason) => left_out(reason.clone(), true),
            Ok(path) if !taken.insert(path.to_lowercase()) => left_out(sides.who_has(path), true),
            Ok(path) => {
                let (name, role, path) = (mailbox.name.clone(), mailbox.role, path.clone());
                if !vacant(&path) {
                    claimed.extend(sides.directories.get_key_value(&path).map(|(path, _)| path.as_str()));
                    MailboxVerdict::Meet { name, role, path }
                } else if sides.create.local || name.is_inbox() {
                    MailboxVerdict::CreateLocal { name, role, path }
                } else {
                    left_out("it is new on the server, and `create-mailboxes` makes no directory for it".into(), false)
                }
            }
        });
    }
    // What lies beneath a directory that moves is looked at once that lies where it belongs.
    let moves = |path: &str| left.iter().any(|old| path.strip_prefix(old).is_some_and(|rest| rest.starts_with('/')));
    for (path, directory) in sides.directories.iter().filter(|(path, _)| !claimed.contains(path.as_str())) {
        let is_taken = taken.contains(&path.to_lowercase()) && !left.contains(path.as_str());
        if is_taken && directory.marker.is_none() || moves(path) {
            continue;
        }
        verdicts.extend(sides.judge_directory(path, directory, &names));
    }
    verdicts
}

impl Mailboxes<'_> {
    /// Finds the directory of a mailbox by its marker; of several the one that was always it, by its inode.
    fn locate(&self, record: &MailboxRecord) -> Here {
        let Some(path) = &record.path else { return Here::Gone };
        let marked: Vec<(&String, &Directory)> =
            self.directories.iter().filter(|(_, directory)| directory.marker == Some(record.id)).collect();
        let original = marked.iter().find(|(_, directory)| record.inode == Some(directory.inode));
        let in_place = marked.iter().any(|(at, _)| *at == path);
        match (original, marked.as_slice()) {
            (Some((at, _)), _) if *at == path => Here::Same,
            (Some((at, _)), _) => Here::Moved((*at).clone()),
            (None, _) if in_place => Here::Same,
            // Restored from a copy, or copied and removed: it is the only one left.
            (None, [(at, _)]) if self.is_vacant(path) => Here::Moved((*at).clone()),
            (None, []) => match self.broken.get(path) {
                Some(reason) => Here::Broken(reason.clone()),
                None if self.directories.get(path).is_some_and(|d| d.marker.is_none()) => {
                    Here::Broken("the directory has lost its marker file mailtwin-folder; restore it".into())
                }
                None => Here::Gone,
            },
            (None, _) => Here::Broken("several directories have its marker, and none is the one that it was".into()),
        }
    }

    /// Tells whether nothing is there, or the directory of another mailbox.
    fn is_vacant(&self, path: &str) -> bool {
        !self.broken.contains_key(path) && self.directories.get(path).is_none_or(|d| d.marker.is_some())
    }

    fn judge_record(&self, record: &MailboxRecord, there: &There, here: &Here) -> Option<MailboxVerdict> {
        let id = record.id;
        let left_out =
            |reason: String, failed| Some(MailboxVerdict::LeftOut { what: record.name.to_string(), reason, failed });
        let standing = |name: &MailboxName| self.listed.iter().find(|l| l.name == *name).map(|l| l.standing);
        match (there, here) {
            (There::Gone | There::Another, Here::Gone) => Some(MailboxVerdict::Forget(id)),
            (There::Gone | There::Another, Here::Same | Here::Moved(_)) if self.delete.local => {
                Some(MailboxVerdict::Empty(id))
            }
            (There::Gone | There::Another, _) if record.parked.is_some() => Some(MailboxVerdict::Parked(id)),
            (There::Gone | There::Another, _) => Some(MailboxVerdict::Park(id)),
            (_, Here::Broken(reason)) => Some(MailboxVerdict::Unavailable { mailbox: id, reason: reason.clone() }),
            (There::Same, here) => self.judge_listed(record, here, standing(&record.name)),
            (There::Renamed(name), Here::Gone) => Some(self.judge_gone_here(record, name)),
            (There::Renamed(name), Here::Same | Here::Moved(_)) => {
                let listed = self.listed.iter().find(|l| l.name == *name)?;
                match listed.standing {
                    Standing::Wanted => {}
                    Standing::Unsubscribed if record.parked == Some(Parked::Unsubscribed) => {
                        return Some(MailboxVerdict::Parked(id));
                    }
                    Standing::Unsubscribed => return Some(MailboxVerdict::Unsubscribed(id)),
                    Standing::Unwanted => {
                        let reason = "is its new name on the server, which `mailboxes` excludes; its directory stays";
                        return left_out(format!("{name} {reason}"), false);
                    }
                }
                let from = match here {
                    Here::Moved(at) => at.clone(),
                    _ => record.path.clone()?,
                };
                match &listed.place {
                    Err(reason) => left_out(format!("it is called {name} on the server now: {reason}"), true),
                    Ok(to) => {
                        let overruled = matches!(here, Here::Moved(at) if at != to);
                        let (name, to) = (name.clone(), to.clone());
                        Some(MailboxVerdict::RenameLocal { mailbox: id, name, from, to, overruled })
                    }
                }
            }
        }
    }

    /// What the server lists under the name that is remembered.
    fn judge_listed(&self, record: &MailboxRecord, here: &Here, standing: Option<Standing>) -> Option<MailboxVerdict> {
        let id = record.id;
        match (record.parked, standing) {
            (Some(Parked::Unsubscribed), Some(Standing::Unsubscribed)) => return Some(MailboxVerdict::Parked(id)),
            (Some(Parked::Unsubscribed), _) if *here == Here::Same => return Some(MailboxVerdict::Unpark(id)),
            (Some(Parked::GoneFromServer), _) => {
                return Some(MailboxVerdict::BackOnServer(id, *here != Here::Gone));
            }
            (None, Some(Standing::Unsubscribed)) => return Some(MailboxVerdict::Unsubscribed(id)),
            _ => {}
        }
        match here {
            Here::Same => Some(MailboxVerdict::Mirror(id)),
            Here::Gone => Some(self.judge_gone_here(record, &record.name)),
            Here::Broken(reason) => Some(MailboxVerdict::Unavailable { mailbox: id, reason: reason.clone() }),
            Here::Moved(at) => {
                let left_out = |reason: String| {
                    let reason = format!("its directory was moved to {}, and {reason}; move it back", escape(at));
                    Some(MailboxVerdict::LeftOut { what: record.name.to_string(), reason, failed: true })
                };
                let directory = self.directories.get(at)?;
                match &directory.name {
                    _ if record.name.is_inbox() => left_out("the INBOX is never renamed".into()),
                    Err(reason) => left_out(reason.clone()),
                    Ok(to) if *to == record.name => Some(MailboxVerdict::RenameLocal {
                        mailbox: id,
                        name: to.clone(),
                        from: at.clone(),
                        to: at.clone(),
                        overruled: false,
                    }),
                    Ok(_) if !directory.is_wanted => left_out("`mailboxes` excludes that name".into()),
                    Ok(_) if !self.is_unchanged(record, &record.name) => {
                        left_out("the server made its mailbox anew, or numbered it anew".into())
                    }
                    Ok(to) => Some(MailboxVerdict::RenameRemote {
                        mailbox: id,
                        from: record.name.clone(),
                        to: to.clone(),
                        path: at.clone(),
                    }),
                }
            }
        }
    }

    /// Tells whether nothing speaks against the mailbox of that name being the one that is remembered.
    fn is_unchanged(&self, record: &MailboxRecord, name: &MailboxName) -> bool {
        let named = self.listed.iter().find(|l| l.name == *name);
        named.is_some_and(|l| fits(record, l.identity.as_deref(), l.uid_validity))
    }

    fn judge_gone_here(&self, record: &MailboxRecord, name: &MailboxName) -> MailboxVerdict {
        let (mailbox, name) = (record.id, name.clone());
        let place = self.listed.iter().find(|l| l.name == name && name != record.name).map(|l| &l.place);
        match record.hold.map(|hold| hold.word) {
            Some(Word::Rejected) => {
                let path = place.and_then(|place| place.as_ref().ok()).or(record.path.as_ref()).cloned();
                MailboxVerdict::Restore { mailbox, name, path: path.unwrap_or_default() }
            }
            // Whatever anybody says: every account has one.
            _ if name.is_inbox() => MailboxVerdict::GoneHere { mailbox, name },
            // Nobody meant the one that has its name by now.
            _ if !self.is_unchanged(record, &name) => MailboxVerdict::GoneHere { mailbox, name },
            Some(Word::Approved) => MailboxVerdict::DeleteRemote { mailbox, name, approved: true },
            Some(Word::Waiting) | None if self.delete.remote => {
                MailboxVerdict::DeleteRemote { mailbox, name, approved: false }
            }
            Some(Word::Waiting) | None => MailboxVerdict::GoneHere { mailbox, name },
        }
    }

    /// What is in the Maildir and belongs to no mailbox that is remembered.
    fn judge_directory(
        &self,
        path: &str,
        directory: &Directory,
        names: &BTreeSet<&MailboxName>,
    ) -> Option<MailboxVerdict> {
        let left_out = |reason: &str, failed| {
            Some(MailboxVerdict::LeftOut { what: escape(path), reason: reason.to_owned(), failed })
        };
        let is_known = |id: MailboxId| self.records.iter().any(|record| record.id == id);
        match (&directory.name, directory.marker) {
            (Err(reason), _) => left_out(reason, true),
            (Ok(_), _) if !directory.is_wanted => None,
            (Ok(_), Some(id)) if !is_known(id) => left_out(
                "its marker file mailtwin-folder is of a mailbox that is not known any more; remove that file, and it is \
                 made on the server as a new one",
                true,
            ),
            (Ok(name), _) if names.contains(name) || self.listed.iter().any(|l| l.name == *name) => {
                left_out("the mailbox of that name on the server has its directory elsewhere", true)
            }
            (Ok(_), _) if !self.create.remote => {
                left_out("it is new in the Maildir, and `create-mailboxes` makes no mailbox of it on the server", false)
            }
            (Ok(name), copy_of) => {
                Some(MailboxVerdict::CreateRemote { name: name.clone(), path: path.to_owned(), copy_of })
            }
        }
    }

    /// Why a mailbox cannot have this place.
    fn who_has(&self, path: &str) -> String {
        let owner = self.records.iter().find(|record| record.path.as_deref() == Some(path));
        match owner.and_then(|record| self.there.get(&record.id)) {
            Some(There::Another | There::Gone) => format!(
                "{} in the Maildir holds the mail of a mailbox that was deleted on the server; move that directory out of the \
                 Maildir, and this one is fetched",
                escape(path)
            ),
            _ => "another mailbox has its place in the Maildir".into(),
        }
    }
}

/// Leaves out the renames whose target somebody else has, and who does not leave it in the same pass.
fn refuse_conflicts(judged: &mut [Judged<'_>], sides: &Mailboxes<'_>) {
    let mut verdicts: Vec<&mut MailboxVerdict> =
        judged.iter_mut().filter_map(|judged| judged.verdict.as_mut()).collect();
    loop {
        let mut names_left: BTreeSet<MailboxName> = BTreeSet::new();
        let mut paths_left: BTreeSet<String> = BTreeSet::new();
        for verdict in &verdicts {
            match verdict {
                MailboxVerdict::RenameRemote { from, .. } => drop(names_left.insert(from.clone())),
                MailboxVerdict::RenameLocal { from, to, .. } if from != to => drop(paths_left.insert(from.clone())),
                _ => {}
            }
        }
        let refused = verdicts.iter().position(|verdict| match verdict {
            MailboxVerdict::RenameRemote { to, .. } => {
                sides.listed.iter().any(|l| l.name == *to) && !names_left.contains(to)
            }
            MailboxVerdict::RenameLocal { from, to, .. } if from != to => {
                sides.directories.contains_key(to) && !paths_left.contains(to)
            }
            _ => false,
        });
        let Some(at) = refused else { return };
        let (what, reason) = match &*verdicts[at] {
            MailboxVerdict::RenameLocal { name, to, .. } => (
                name.to_string(),
                format!("it was renamed on the server, and another directory is in its place {}", escape(to)),
            ),
            MailboxVerdict::RenameRemote { from, to, path, .. } => (
                from.to_string(),
                format!("its directory was moved to {}, and the server has a mailbox {to} already", escape(path)),
            ),
            _ => return,
        };
        *verdicts[at] = MailboxVerdict::LeftOut { what, reason, failed: true };
    }
}

/// The mailbox to which deleted messages go: the one with the role, else one with a usual name.
pub fn find_trash(listed: &[Listed]) -> Option<&Listed> {
    listed.iter().find(|l| l.role == Some(SpecialUse::Trash))
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
