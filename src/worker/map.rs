//! The two sides of the map as the table of mailboxes judges them: what the server lists, what the Maildir has.

use crate::mail::{MailboxName, SpecialUse, escape};
use crate::maildir::Error::Unavailable;
use crate::maildir::{self, Folder, Layout, LocalPath, Mapping, Root, StateId, discover};
use crate::remote::Quirks;
use crate::remote::imap::{Listed as Seen, Listing};
use crate::sync::{Directory, Listed, MailboxId, MailboxRecord, Standing};
use crate::worker::{Error, History, Job};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The roles in the order in which they count where a mailbox has several.
const ROLES: [SpecialUse; 8] = [
    SpecialUse::Trash,
    SpecialUse::Junk,
    SpecialUse::Drafts,
    SpecialUse::Sent,
    SpecialUse::Archive,
    SpecialUse::All,
    SpecialUse::Flagged,
    SpecialUse::Important,
];

/// Those of the listing that can hold messages.
pub(super) fn selectable(listing: &Listing) -> impl Iterator<Item = &Seen> {
    listing.mailboxes.iter().filter(|m| m.selectable && m.exists)
}

/// The delimiter of new names.
pub(super) fn delimiter(listing: &Listing) -> Option<char> {
    let inbox = selectable(listing).find(|m| m.name.is_inbox());
    inbox.or_else(|| selectable(listing).next()).and_then(|m| m.delimiter)
}

/// Which mailbox is which directory: as the owner says, except for those that have their place already; and a mailbox
/// with a role, told by the server, under its usual name if no other has that.
///
/// Refused before anything is made if two mailboxes would meet in one directory because of `rename`.
pub(super) fn mapping(job: &Job, listing: &Listing, records: &[MailboxRecord]) -> Result<Mapping, Error> {
    let mut mapping = Mapping::new(job.layout);
    job.rename.iter().for_each(|(remote, local)| mapping.rename(remote, local));
    let of_name = |name: &MailboxName| selectable(listing).find(|m| m.name == *name).map(|m| m.delimiter);
    let default = delimiter(listing);
    let mut any = false;
    for record in records {
        let Some(path) = record.path.as_deref().and_then(LocalPath::new) else { continue };
        if !job.layout.fits(&path) {
            let place = escape(job.maildir.as_os_str().as_encoded_bytes());
            return Err(Error::Refused(format!(
                "the Maildir {place} was not laid out as \"{}\": {} lies in {path} there; nothing was changed; set \
                 `layout` back to what it was, or begin with an empty `maildir` and an empty state",
                job.layout.name(),
                record.name,
            )));
        }
        mapping.keep(&record.name, of_name(&record.name).unwrap_or(default), &path);
        any = true;
    }
    let clash = mapping
        .clash(selectable(listing).filter(|m| is_wanted(job, &m.name, m.delimiter)).map(|m| (&m.name, m.delimiter)));
    if let Some((one, other)) = clash.filter(|_| !any) {
        return Err(Error::Refused(format!(
            "`rename` would give the mailboxes {one} and {other} one directory; nothing was made; give each a name of its \
             own here, or exclude one of them with `mailboxes`"
        )));
    }
    name_roles(&mut mapping, listing, records);
    Ok(mapping)
}

/// Adds the usual names of roles to the rules.
fn name_roles(mapping: &mut Mapping, listing: &Listing, records: &[MailboxRecord]) {
    let usual = [
        (SpecialUse::Sent, "Sent"),
        (SpecialUse::Drafts, "Drafts"),
        (SpecialUse::Trash, "Trash"),
        (SpecialUse::Junk, "Junk"),
        (SpecialUse::Archive, "Archive"),
    ];
    for (role, name) in usual {
        let Some(mailbox) = selectable(listing).find(|m| m.roles.contains(&role)) else { continue };
        let known = records.iter().any(|r| r.name == mailbox.name && r.path.is_some());
        if known || mailbox.name.is_inbox() || mapping.is_renamed(&mailbox.name, mailbox.delimiter) {
            continue;
        }
        let Some(local) = MailboxName::encode(name).and_then(|name| mapping.to_local(&name, None).ok()) else {
            continue;
        };
        let separator = if mapping.layout() == Layout::Nested { '/' } else { '.' };
        let local = local.as_str().to_lowercase();
        let is_there = |path: &str| {
            let path = path.to_lowercase();
            path.strip_prefix(&local).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
        };
        let others = selectable(listing).filter(|m| m.name != mailbox.name);
        let is_taken = others.filter_map(|m| mapping.to_local(&m.name, m.delimiter).ok()).any(|p| is_there(p.as_str()))
            || records.iter().filter_map(|r| r.path.as_deref()).any(is_there);
        if !is_taken {
            mapping.rename(&slashed(&mailbox.name, mailbox.delimiter), name);
        }
    }
}

/// Gives each listed mailbox its role and its place.
pub(super) fn place(job: &Job, listing: &Listing, mapping: &Mapping) -> Vec<Listed> {
    let told: BTreeSet<SpecialUse> = selectable(listing).flat_map(|m| m.roles.iter().copied()).collect();
    let usual = usual_roles(listing, &told);
    let mut listed = Vec::new();
    for mailbox in selectable(listing) {
        let told = ROLES.into_iter().find(|role| mailbox.roles.contains(role));
        let role = told.or_else(|| usual.get(&mailbox.name).copied());
        let place = mapping.to_local(&mailbox.name, mailbox.delimiter);
        let place = place.map(|p| p.as_str().to_owned()).map_err(|reason| reason.to_string());
        let standing = if !is_wanted(job, &mailbox.name, mailbox.delimiter) {
            Standing::Unwanted
        } else if job.subscribed_only && mailbox.subscribed != Some(true) && !mailbox.name.is_inbox() {
            Standing::Unsubscribed
        } else {
            Standing::Wanted
        };
        let uid_validity = mailbox.status.and_then(|status| status.uid_validity);
        let (name, identity) = (mailbox.name.clone(), mailbox.identity.clone());
        listed.push(Listed { name, role, place, identity, uid_validity, standing });
    }
    listed
}

/// The roles by usual names, of those that the server does not tell. Only at the top, or directly beneath the INBOX, where
/// some servers have everything: `Projects/Trash` is a user's, and what is deleted there has to go to the real one.
fn usual_roles(listing: &Listing, told: &BTreeSet<SpecialUse>) -> BTreeMap<MailboxName, SpecialUse> {
    let mut roles = BTreeMap::new();
    let mut taken = told.clone();
    for beneath_inbox in [false, true] {
        for mailbox in selectable(listing) {
            let decoded = mailbox.name.decoded().unwrap_or_else(|| mailbox.name.as_wire().to_owned());
            let prefix = mailbox.delimiter.map(|d| format!("INBOX{d}")).unwrap_or_default();
            let last = if beneath_inbox { decoded.strip_prefix(&prefix) } else { Some(decoded.as_str()) };
            let last = last.filter(|last| !mailbox.delimiter.is_some_and(|d| last.contains(d)));
            if let Some(role) = last.and_then(SpecialUse::by_usual_name).filter(|role| taken.insert(*role)) {
                roles.insert(mailbox.name.clone(), role);
            }
        }
    }
    roles
}

/// What the names of new mailboxes begin with: Courier has everything beneath the INBOX, and refuses names that are not.
pub(super) fn prefix(listed: &[Listed], delimiter: Option<char>) -> String {
    let prefix = delimiter.map(|d| format!("INBOX{d}")).unwrap_or_default();
    let mut others = listed.iter().map(|l| &l.name).filter(|name| !name.is_inbox()).peekable();
    let beneath = others.peek().is_some() && others.all(|name| name.as_wire().starts_with(&prefix));
    if beneath { prefix } else { String::new() }
}

/// What the Maildir has.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// Every directory that can hold mail, by its path.
    pub whole: BTreeMap<String, Directory>,
    /// Where something is in the place of a remembered directory that is no Maildir: what is wrong.
    pub broken: BTreeMap<String, String>,
}

/// Walks the Maildir. Blocking.
pub(super) fn directories(
    job: &Job,
    root: &Root,
    (state, history): (StateId, &History),
    mapping: &Mapping,
    delimiter: Option<char>,
    records: &[MailboxRecord],
) -> Result<Directories, Error> {
    let mut found = Directories::default();
    for path in discover(root, mapping.layout())? {
        let folder = match Folder::open(root, &path) {
            // It went away this moment.
            Err(Unavailable(maildir::Unavailable::FolderMissing)) => continue,
            found => found,
        };
        let inode = folder.as_ref().ok().and_then(|folder| folder.inode().ok()).map_or(0, |inode| inode.number);
        // A damaged marker is a directory without one that is ours: it is asked about, not uploaded.
        let marker = folder.and_then(|folder| folder.marker());
        let name = mapping.to_remote(&path, delimiter);
        let is_wanted = name.as_ref().is_ok_and(|name| is_wanted(job, name, delimiter));
        let name = name.map_err(|reason| reason.to_string());
        let (marker, name) = match marker {
            Ok(Some(marker)) if marker.state == state => (Some(MailboxId(marker.id)), name),
            // The state that was lost gave it a number; ours gives it another.
            Ok(Some(marker)) if *history == History::StateLost(marker.state) => (None, name),
            Ok(Some(_)) => (None, Err("it has the marker of another state".into())),
            Ok(None) => (None, name),
            Err(reason) => (None, Err(reason.to_string())),
        };
        found.whole.insert(path.as_str().to_owned(), Directory { marker, inode, name, is_wanted });
    }
    for path in records.iter().filter_map(|record| record.path.as_deref()) {
        let Some(place) = LocalPath::new(path).filter(|_| !found.whole.contains_key(path)) else { continue };
        match Folder::open(root, &place) {
            Err(Unavailable(maildir::Unavailable::FolderMissing)) => {}
            Err(Unavailable(reason)) => drop(found.broken.insert(path.to_owned(), format!("{reason}; restore it"))),
            Err(error) => drop(found.broken.insert(path.to_owned(), error.to_string())),
            Ok(_) => drop(found.broken.insert(path.to_owned(), "it lies behind a link or on another disk".to_owned())),
        }
    }
    Ok(found)
}

/// The name for people and patterns: decoded, with `/` between the levels. Not escaped.
pub(super) fn slashed(name: &MailboxName, delimiter: Option<char>) -> String {
    let decoded = name.decoded().unwrap_or_else(|| name.as_wire().to_owned());
    delimiter.map_or_else(|| decoded.clone(), |d| decoded.replace(d, "/"))
}

/// Whether somebody who says this means that mailbox; also as the status shows it, which does not know how the server divides
/// levels.
pub(super) fn is_called(name: &MailboxName, delimiter: Option<char>, said: &str) -> bool {
    slashed(name, delimiter) == said || name.to_string() == said
}

/// The mailboxes that only show what is in others (all mail, important mail) on a server where a message has labels, by
/// their names for people; those that the configuration names itself are not among them.
pub(super) fn views(job: &Job, quirks: &Quirks, listing: &Listing) -> BTreeSet<String> {
    let shows_others = |m: &&Seen| m.roles.iter().any(|role| matches!(role, SpecialUse::All | SpecialUse::Important));
    let views = selectable(listing).filter(|_| quirks.labels).filter(shows_others);
    views.map(|m| slashed(&m.name, m.delimiter)).filter(|name| !(job.named)(name)).collect()
}

/// The job as it is once these mailboxes are left out.
pub(super) fn without(job: &Job, views: BTreeSet<String>) -> Job {
    let wanted = job.wanted.clone();
    Job { wanted: Arc::new(move |name| !views.contains(name) && wanted(name)), ..job.clone() }
}

/// Whether the configuration wants a mailbox.
pub(super) fn is_wanted(job: &Job, name: &MailboxName, delimiter: Option<char>) -> bool {
    (job.wanted)(&slashed(name, delimiter))
}
