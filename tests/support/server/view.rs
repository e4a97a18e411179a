//! What a session believes of the mailbox that it selected: the numbering, and what it has been told.
//!
//! The mailbox moves on by other hands; the view moves only in [`View::catch_up`], which says how in untagged
//! responses. EXPUNGE stays back where it would renumber under the client's feet (RFC 3501 7.4.1).

use super::model::{Mailbox, Model};
use super::render;
use std::collections::{BTreeMap, BTreeSet};

pub struct View {
    /// Of the mailbox, which may be renamed meanwhile.
    pub mailbox_id: u64,
    pub uid_validity: u32,
    pub read_only: bool,
    /// By sequence number less one.
    pub uids: Vec<u32>,
    pub recent: BTreeSet<u32>,
    /// Changes up to this mod-sequence have been told.
    pub seen: u64,
    /// The highest mod-sequence that the client has been told.
    pub told: u64,
    /// Messages that this session changed with `.SILENT`, and their mod-sequence then.
    pub silent: BTreeMap<u32, u64>,
    keywords: usize,
    owes_expunges: bool,
}

/// How much may be told, and in which words.
#[derive(Clone, Copy)]
pub struct Manner {
    pub expunges: bool,
    /// FETCH carries UID.
    pub with_uid: bool,
    pub condstore: bool,
    pub qresync: bool,
    /// New keywords may be made.
    pub keywords: bool,
}

impl View {
    /// Selects the mailbox: a session that may write takes its `\Recent` messages.
    pub fn new(mailbox: &mut Mailbox, read_only: bool) -> Self {
        let recent = mailbox.messages.range(mailbox.recent_from..).map(|(uid, _)| *uid).collect();
        if !read_only {
            mailbox.recent_from = mailbox.uid_next;
        }
        Self {
            mailbox_id: mailbox.id,
            uid_validity: mailbox.uid_validity,
            read_only,
            uids: mailbox.messages.keys().copied().collect(),
            recent,
            seen: mailbox.highest_mod_seq,
            told: mailbox.highest_mod_seq,
            silent: BTreeMap::new(),
            keywords: mailbox.keywords.len(),
            owes_expunges: false,
        }
    }

    /// The sequence number of a UID.
    pub fn sequence(&self, uid: u32) -> Option<usize> {
        self.uids.binary_search(&uid).ok().map(|at| at + 1)
    }

    /// The selected mailbox's name and content, `None` when it is gone.
    pub fn mailbox<'m>(&self, model: &'m mut Model, user: &str) -> Option<(String, &'m mut Mailbox)> {
        let account = model.accounts.get_mut(user)?;
        let found = account.mailboxes.iter_mut().find(|(_, mailbox)| mailbox.id == self.mailbox_id)?;
        Some((found.0.clone(), found.1))
    }

    /// Moves the view to what the mailbox is now and tells how, in Dovecot's order: flags by the old numbers, expunges,
    /// arrivals.
    pub fn catch_up(&mut self, mailbox: &mut Mailbox, manner: Manner) -> Vec<u8> {
        let mut said = String::new();
        if mailbox.keywords.len() != self.keywords {
            self.keywords = mailbox.keywords.len();
            said += &flag_lines(mailbox, self.read_only, manner.keywords);
        }
        if mailbox.highest_mod_seq != self.seen || self.owes_expunges {
            let recent_before = self.recent.len();
            said += &self.flags(mailbox, manner);
            said += &self.expunges(mailbox, manner);
            said += &self.arrivals(mailbox);
            if self.recent.len() != recent_before {
                said += &format!("* {} RECENT\r\n", self.recent.len());
            }
            self.seen = mailbox.highest_mod_seq;
        }
        self.silent.clear();
        said.into_bytes()
    }

    fn expunges(&mut self, mailbox: &Mailbox, manner: Manner) -> String {
        let gone: Vec<u32> = self.uids.iter().filter(|uid| !mailbox.messages.contains_key(uid)).copied().collect();
        self.owes_expunges = !gone.is_empty() && !manner.expunges;
        if gone.is_empty() || self.owes_expunges {
            return String::new();
        }
        let mut said = String::new();
        if manner.qresync {
            said = format!("* VANISHED {}\r\n", render::uid_list(gone.iter().copied()));
        } else {
            for uid in gone.iter().rev() {
                said += &format!("* {} EXPUNGE\r\n", self.sequence(*uid).unwrap_or(0));
            }
        }
        self.uids.retain(|uid| mailbox.messages.contains_key(uid));
        self.recent.retain(|uid| mailbox.messages.contains_key(uid));
        said
    }

    fn arrivals(&mut self, mailbox: &mut Mailbox) -> String {
        let last = self.uids.last().copied().unwrap_or(0);
        let new: Vec<u32> = mailbox.messages.range(last + 1..).map(|(uid, _)| *uid).collect();
        if new.is_empty() {
            return String::new();
        }
        if !self.read_only {
            self.recent.extend(new.iter().filter(|uid| **uid >= mailbox.recent_from));
            mailbox.recent_from = mailbox.uid_next;
        }
        self.uids.extend(new);
        format!("* {} EXISTS\r\n", self.uids.len())
    }

    fn flags(&mut self, mailbox: &Mailbox, manner: Manner) -> String {
        let mut said = String::new();
        for (at, uid) in self.uids.iter().enumerate() {
            let Some(message) = mailbox.messages.get(uid).filter(|message| message.mod_seq > self.seen) else {
                continue;
            };
            let mut items = Vec::new();
            if manner.with_uid {
                items.push(format!("UID {uid}"));
            }
            if manner.condstore {
                items.push(format!("MODSEQ ({})", message.mod_seq));
                self.told = self.told.max(message.mod_seq);
            }
            if self.silent.get(uid) != Some(&message.mod_seq) {
                let flags = render::flags(mailbox, &message.flags, self.recent.contains(uid));
                items.push(format!("FLAGS ({flags})"));
            } else if !manner.condstore {
                continue;
            }
            said += &format!("* {} FETCH ({})\r\n", at + 1, items.join(" "));
        }
        said
    }
}

/// `* FLAGS` and `* OK [PERMANENTFLAGS]`.
pub fn flag_lines(mailbox: &Mailbox, read_only: bool, keywords: bool) -> String {
    let mut known: Vec<&str> = super::model::SYSTEM_FLAGS.to_vec();
    known.extend(mailbox.keywords.iter().map(String::as_str));
    let flags = known.join(" ");
    let permanent = if read_only {
        "* OK [PERMANENTFLAGS ()] Read-only mailbox.".to_owned()
    } else {
        let star = if keywords { " \\*" } else { "" };
        format!("* OK [PERMANENTFLAGS ({flags}{star})] Flags permitted.")
    };
    format!("* FLAGS ({flags})\r\n{permanent}\r\n")
}
