//! The two sides of the map as the table of mailboxes judges them: what the server lists, what the Maildir has.

use crate::mail::{MailboxName, SpecialUse};
use crate::maildir::{Folder, Layout, Root, StateId, discover, to_local, to_remote};
use crate::remote::imap::{Listed as Seen, Listing};
use crate::sync::{Directory, Listed, MailboxId};
use crate::worker::{Error, Job};
use std::collections::{BTreeMap, BTreeSet};

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

/// Gives each listed mailbox its role and its place; tells the delimiter of new names.
pub(super) fn place(listing: &Listing) -> (Vec<Listed>, Option<char>) {
    let inbox = selectable(listing).find(|m| m.name.is_inbox());
    let delimiter = inbox.or_else(|| selectable(listing).next()).and_then(|m| m.delimiter);
    let told: BTreeSet<SpecialUse> = selectable(listing).flat_map(|m| m.roles.iter().copied()).collect();
    let usual = usual_roles(listing, &told);
    let mut listed = Vec::new();
    for mailbox in selectable(listing) {
        let told = ROLES.into_iter().find(|role| mailbox.roles.contains(role));
        let role = told.or_else(|| usual.get(&mailbox.name).copied());
        let place = to_local(&mailbox.name, mailbox.delimiter, Layout::Nested);
        let place = place.map(|p| p.as_str().to_owned()).map_err(|reason| reason.to_string());
        listed.push(Listed { name: mailbox.name.clone(), role, place });
    }
    (listed, delimiter)
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

/// Every directory of the Maildir that can hold mail. Blocking.
pub(super) fn directories(
    root: &Root,
    state: StateId,
    delimiter: Option<char>,
) -> Result<BTreeMap<String, Directory>, Error> {
    let mut found = BTreeMap::new();
    for path in discover(root, Layout::Nested)? {
        // A damaged marker is a directory without one that is ours: it is asked about, not uploaded.
        let marker = Folder::open(root, &path).and_then(|folder| folder.marker());
        let name = to_remote(&path, delimiter, Layout::Nested).map_err(|reason| reason.to_string());
        let directory = match marker {
            Ok(Some(marker)) if marker.state == state => Directory { marker: Some(MailboxId(marker.id)), name },
            Ok(Some(_)) => Directory { marker: None, name: Err("it has the marker of another state".into()) },
            Ok(None) => Directory { marker: None, name },
            Err(reason) => Directory { marker: None, name: Err(reason.to_string()) },
        };
        found.insert(path.as_str().to_owned(), directory);
    }
    Ok(found)
}

/// The name for people and patterns: decoded, with `/` between the levels. Not escaped.
pub(super) fn slashed(name: &MailboxName, delimiter: Option<char>) -> String {
    let decoded = name.decoded().unwrap_or_else(|| name.as_wire().to_owned());
    delimiter.map_or_else(|| decoded.clone(), |d| decoded.replace(d, "/"))
}

/// Whether the configuration wants a mailbox.
pub(super) fn is_wanted(job: &Job, name: &MailboxName, delimiter: Option<char>) -> bool {
    (job.wanted)(&slashed(name, delimiter))
}
