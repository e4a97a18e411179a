//! What the answers to a listing tell, taken together.

use super::{Status, judge};
use crate::mail::{MailboxName, ModSeq, Uid, UidValidity};
use crate::remote::imap::response::{ListLine, StatusLine, Untagged, uid_validity};
use std::collections::{BTreeMap, BTreeSet};

/// What a listing may weigh in memory: room for 100,000 mailboxes; more is an attack.
const MAX_OCTETS: usize = 64 << 20;
/// What one line or attribute weighs besides its text.
const OVERHEAD: usize = 64;
/// What the responses to one listing told.
#[derive(Default)]
pub(super) struct Gathered {
    pub lines: Vec<ListLine>,
    pub subscribed: BTreeSet<MailboxName>,
    pub statuses: BTreeMap<MailboxName, Status>,
    /// What each mailbox is, and the epoch of its UIDs then.
    pub identities: BTreeMap<MailboxName, (String, Option<UidValidity>)>,
    /// What all of it weighs; counted beyond [`MAX_OCTETS`], not kept.
    pub octets: usize,
}

impl Gathered {
    pub fn take(&mut self, untagged: Untagged) {
        if !self.weigh(&untagged) {
            return;
        }
        match untagged {
            Untagged::List(line) => self.lines.push(line),
            Untagged::Lsub(line) if !line.has("\\Noselect") => self.subscribed.extend(judge(&line.name)),
            Untagged::Status(line) => {
                if let Ok(name) = judge(&line.name) {
                    self.statuses.insert(name, status(&line.items));
                    self.identify(line);
                }
            }
            _ => {}
        }
    }

    /// Takes what mailboxes are from an answer, and nothing else.
    pub fn take_identity(&mut self, untagged: Untagged) {
        if let (true, Untagged::Status(line)) = (self.weigh(&untagged), untagged) {
            self.identify(line);
        }
    }

    fn identify(&mut self, StatusLine { name, items, identity }: StatusLine) {
        if let (Ok(name), Some(identity)) = (judge(&name), identity) {
            self.identities.insert(name, (identity, status(&items).uid_validity));
        }
    }

    /// What a mailbox is, if that was told of the one whose status was.
    pub fn identity(&self, name: &MailboxName) -> Option<String> {
        let (identity, then) = self.identities.get(name)?;
        let now = self.statuses.get(name).and_then(|status| status.uid_validity);
        // One that was made in its place between the two answers is another one.
        let is_another = then.is_some() && now.is_some() && *then != now;
        (!is_another).then(|| identity.clone())
    }

    /// Counts what it weighs; tells whether there is still room.
    fn weigh(&mut self, untagged: &Untagged) -> bool {
        self.octets = self.octets.saturating_add(match untagged {
            Untagged::List(line) | Untagged::Lsub(line) => {
                OVERHEAD + line.name.len() + line.attributes.iter().map(|a| a.len() + OVERHEAD).sum::<usize>()
            }
            Untagged::Status(line) => OVERHEAD + line.name.len() + line.identity.as_ref().map_or(0, String::len),
            _ => 0,
        });
        !self.is_flooded()
    }

    pub fn is_flooded(&self) -> bool {
        self.octets > MAX_OCTETS
    }
}

fn status(items: &[(String, u64)]) -> Status {
    let mut status = Status::default();
    for (name, value) in items {
        let small = u32::try_from(*value).ok();
        match name.as_str() {
            "MESSAGES" => status.messages = small,
            "UIDNEXT" => status.uid_next = small.and_then(Uid::new),
            "UIDVALIDITY" => status.uid_validity = uid_validity(*value),
            "UNSEEN" => status.unseen = small,
            "HIGHESTMODSEQ" => status.highest_mod_seq = ModSeq::new(*value),
            _ => {}
        }
    }
    status
}
