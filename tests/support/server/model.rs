//! The mail that the server serves: accounts, mailboxes, messages, and the history of every change.
//!
//! Sessions and tests change it through the same few verbs, each of which raises the mod-sequence once for all the
//! messages that it touches (as Dovecot does) and is written into the history with its author. Nothing here reads a
//! clock or draws a number: the same verbs give the same state, identifiers and dates included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The password of every account.
pub const PASSWORD: &str = "testpass";

/// Who made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The IMAP session with this number.
    Session(u64),
    /// Another client, played by the test.
    Other,
}

/// What was changed; mailboxes by their wire names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Appended { mailbox: String, uid: u32, body: Arc<[u8]> },
    Flags { mailbox: String, uid: u32, before: BTreeSet<String>, after: BTreeSet<String> },
    Expunged { mailbox: String, uid: u32, body: Arc<[u8]> },
    Copied { from: String, uid: u32, to: String, as_uid: u32 },
    Created { mailbox: String },
    Deleted { mailbox: String },
    Renamed { from: String, to: String },
    Subscribed { mailbox: String, on: bool },
    Renumbered { mailbox: String, uid_validity: u32 },
    LostIndex { mailbox: String, mod_seq: u64 },
    Replaced { mailbox: String, uid: u32 },
}

/// One change in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub author: Author,
    pub user: String,
    pub change: Change,
}

/// Why the model refuses; the session turns it into a response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    AlreadyExists,
    NonExistent,
    Cannot,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub body: Arc<[u8]>,
    /// System flags and keywords, without `\Recent`.
    pub flags: BTreeSet<String>,
    pub mod_seq: u64,
    /// As on the wire, without quotes.
    pub internal_date: String,
    /// EMAILID (RFC 8474); copies share it.
    pub email_id: String,
}

/// A message that is gone, as long as the mailbox remembers it.
#[derive(Clone, Debug)]
pub struct Vanished {
    pub mod_seq: u64,
    pub uid: u32,
    /// What it carried: Dovecot still answers with it to a session that has not heard of the expunge.
    pub flags: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Survives RENAME; the base of MAILBOXID.
    pub id: u64,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub highest_mod_seq: u64,
    pub messages: BTreeMap<u32, Message>,
    pub vanished: Vec<Vanished>,
    /// Expunges up to this mod-sequence are forgotten: an older question is answered with every absent UID.
    pub forgotten: u64,
    /// In order of first use; their spelling is that of the first use.
    pub keywords: Vec<String>,
    /// Messages from this UID on are `\Recent` for the next session that selects.
    pub recent_from: u32,
    /// Special use (RFC 6154), for example `\Trash`.
    pub role: Option<String>,
    /// Its SELECT and STATUS fail with `[SERVERBUG]`.
    pub unreadable: bool,
    /// SELECT opens it `[READ-ONLY]`, and nothing can be put into it, as with an ACL.
    pub read_only: bool,
}

impl Mailbox {
    fn new(id: u64, uid_validity: u32) -> Self {
        Self {
            id,
            uid_validity,
            uid_next: 1,
            highest_mod_seq: 1,
            messages: BTreeMap::new(),
            vanished: Vec::new(),
            forgotten: 0,
            keywords: Vec::new(),
            recent_from: 1,
            role: None,
            unreadable: false,
            read_only: false,
        }
    }

    /// The UIDs that went away after `since`; every absent UID where the log does not reach back so far.
    pub fn vanished_since(&self, since: u64) -> BTreeSet<u32> {
        if since < self.forgotten {
            return (1..self.uid_next).filter(|uid| !self.messages.contains_key(uid)).collect();
        }
        self.vanished.iter().filter(|gone| gone.mod_seq > since).map(|gone| gone.uid).collect()
    }

    /// The flags in the mailbox's own spelling; unknown keywords become known.
    pub fn spell(&mut self, flags: &[String]) -> BTreeSet<String> {
        flags.iter().filter(|flag| !flag.eq_ignore_ascii_case("\\Recent")).map(|flag| self.spell_one(flag)).collect()
    }

    fn spell_one(&mut self, flag: &str) -> String {
        if let Some(system) = SYSTEM_FLAGS.iter().find(|system| system.eq_ignore_ascii_case(flag)) {
            return (*system).to_owned();
        }
        if let Some(known) = self.keywords.iter().find(|known| known.eq_ignore_ascii_case(flag)) {
            return known.clone();
        }
        self.keywords.push(flag.to_owned());
        flag.to_owned()
    }

    pub fn next_mod_seq(&mut self) -> u64 {
        self.highest_mod_seq += 1;
        self.highest_mod_seq
    }
}

/// The system flags of RFC 3501 2.3.2 without `\Recent`, in the order in which Dovecot lists them.
pub const SYSTEM_FLAGS: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By wire name (modified UTF-7, the profile's delimiter).
    pub mailboxes: BTreeMap<String, Mailbox>,
    pub subscriptions: BTreeSet<String>,
}

impl Account {
    pub fn by_id(&self, id: u64) -> Option<(&String, &Mailbox)> {
        self.mailboxes.iter().find(|(_, mailbox)| mailbox.id == id)
    }
}

/// A message on its way in.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub body: Arc<[u8]>,
    pub flags: Vec<String>,
    /// `None`: the model's own time, a second later with each message.
    pub internal_date: Option<String>,
}

impl Arrival {
    /// A message as another client would deliver it now.
    pub fn new(body: impl AsRef<[u8]>, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { body: body.as_ref().into(), flags, internal_date: None }
    }
}

/// How STORE combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    Add,
    Remove,
    Replace,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub accounts: BTreeMap<String, Account>,
    pub history: Vec<Event>,
    next_id: u64,
    next_uid_validity: u32,
    one_uid_validity: bool,
    seconds: u64,
}

impl Model {
    /// An empty model whose first mailbox gets `uid_validity`, and with `for_all` every other as well.
    pub fn new(uid_validity: u32, for_all: bool) -> Self {
        let (accounts, history) = (BTreeMap::new(), Vec::new());
        Self { accounts, history, next_id: 1, next_uid_validity: uid_validity, one_uid_validity: for_all, seconds: 0 }
    }

    /// Makes the account with an empty, subscribed INBOX, if it is not there.
    pub fn add_account(&mut self, user: &str) {
        if self.accounts.contains_key(user) {
            return;
        }
        let inbox = self.fresh();
        let account = self.accounts.entry(user.to_owned()).or_default();
        account.mailboxes.insert("INBOX".to_owned(), inbox);
        account.subscriptions.insert("INBOX".to_owned());
    }

    pub fn mailbox(&self, user: &str, name: &str) -> Option<&Mailbox> {
        self.accounts.get(user)?.mailboxes.get(name)
    }

    pub fn mailbox_mut(&mut self, user: &str, name: &str) -> Option<&mut Mailbox> {
        self.accounts.get_mut(user)?.mailboxes.get_mut(name)
    }

    pub fn create(&mut self, author: Author, user: &str, name: &str) -> Result<u64, Refusal> {
        let fresh = self.fresh();
        let id = fresh.id;
        let account = self.accounts.get_mut(user).ok_or(Refusal::NonExistent)?;
        if account.mailboxes.contains_key(name) {
            return Err(Refusal::AlreadyExists);
        }
        account.mailboxes.insert(name.to_owned(), fresh);
        self.note(author, user, Change::Created { mailbox: name.to_owned() });
        Ok(id)
    }

    pub fn delete(&mut self, author: Author, user: &str, name: &str) -> Result<(), Refusal> {
        if name == "INBOX" {
            return Err(Refusal::Cannot);
        }
        let account = self.accounts.get_mut(user).ok_or(Refusal::NonExistent)?;
        account.mailboxes.remove(name).ok_or(Refusal::NonExistent)?;
        self.note(author, user, Change::Deleted { mailbox: name.to_owned() });
        Ok(())
    }

    /// Renames the mailbox and all beneath it. INBOX leaves a new, empty INBOX behind (RFC 3501 6.3.5).
    pub fn rename(&mut self, author: Author, user: &str, from: &str, to: &str, delimiter: char) -> Result<(), Refusal> {
        let replacement = (from == "INBOX").then(|| self.fresh());
        let account = self.accounts.get_mut(user).ok_or(Refusal::NonExistent)?;
        if account.mailboxes.contains_key(to) {
            return Err(Refusal::AlreadyExists);
        }
        let beneath = format!("{from}{delimiter}");
        if replacement.is_none() && to.starts_with(&beneath) {
            return Err(Refusal::Cannot);
        }
        let moving = |name: &str| name == from || (replacement.is_none() && name.starts_with(&beneath));
        let names: Vec<String> = account.mailboxes.keys().filter(|name| moving(name)).cloned().collect();
        if names.is_empty() {
            return Err(Refusal::NonExistent);
        }
        for name in names {
            if let Some(mailbox) = account.mailboxes.remove(&name) {
                account.mailboxes.insert(format!("{to}{}", &name[from.len()..]), mailbox);
            }
        }
        if let Some(inbox) = replacement {
            account.mailboxes.insert("INBOX".to_owned(), inbox);
        }
        self.note(author, user, Change::Renamed { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub fn subscribe(&mut self, author: Author, user: &str, name: &str, on: bool) {
        let Some(account) = self.accounts.get_mut(user) else { return };
        let changed =
            if on { account.subscriptions.insert(name.to_owned()) } else { account.subscriptions.remove(name) };
        if changed {
            self.note(author, user, Change::Subscribed { mailbox: name.to_owned(), on });
        }
    }

    /// Adds the messages, all with one mod-sequence, and returns their UIDs in order.
    pub fn append(&mut self, author: Author, user: &str, name: &str, new: Vec<Arrival>) -> Result<Vec<u32>, Refusal> {
        self.mailbox(user, name).ok_or(Refusal::NonExistent)?;
        let mut messages = Vec::new();
        for arrival in new {
            self.seconds += 1;
            self.next_id += 1;
            let date = arrival.internal_date.unwrap_or_else(|| super::render::date_time(self.seconds));
            messages.push((arrival.body, arrival.flags, date, format!("M{}", self.next_id)));
        }
        let mailbox = self.mailbox_mut(user, name).ok_or(Refusal::NonExistent)?;
        let mod_seq = mailbox.next_mod_seq();
        let mut appended = Vec::new();
        for (body, flags, internal_date, email_id) in messages {
            let uid = mailbox.uid_next;
            mailbox.uid_next += 1;
            let flags = mailbox.spell(&flags);
            appended.push((uid, body.clone()));
            mailbox.messages.insert(uid, Message { body, flags, mod_seq, internal_date, email_id });
        }
        let uids = appended.iter().map(|(uid, _)| *uid).collect();
        for (uid, body) in appended {
            self.note(author, user, Change::Appended { mailbox: name.to_owned(), uid, body });
        }
        Ok(uids)
    }

    /// Changes flags and returns the UIDs that really changed; the others keep their mod-sequence.
    pub fn store(
        &mut self,
        author: Author,
        user: &str,
        name: &str,
        uids: &[u32],
        mode: StoreMode,
        flags: &[String],
    ) -> Vec<u32> {
        let Some(mailbox) = self.mailbox_mut(user, name) else { return Vec::new() };
        let flags = mailbox.spell(flags);
        let mod_seq = mailbox.highest_mod_seq + 1;
        let mut changes = Vec::new();
        for uid in uids {
            let Some(message) = mailbox.messages.get_mut(uid) else { continue };
            let after: BTreeSet<String> = match mode {
                StoreMode::Add => message.flags.union(&flags).cloned().collect(),
                StoreMode::Remove => message.flags.difference(&flags).cloned().collect(),
                StoreMode::Replace => flags.clone(),
            };
            if after != message.flags {
                message.mod_seq = mod_seq;
                changes.push((*uid, std::mem::replace(&mut message.flags, after.clone()), after));
            }
        }
        if !changes.is_empty() {
            mailbox.highest_mod_seq = mod_seq;
        }
        let changed = changes.iter().map(|(uid, ..)| *uid).collect();
        for (uid, before, after) in changes {
            self.note(author, user, Change::Flags { mailbox: name.to_owned(), uid, before, after });
        }
        changed
    }

    /// Removes the messages for good and returns those that were there.
    pub fn expunge(&mut self, author: Author, user: &str, name: &str, uids: &[u32]) -> Vec<u32> {
        let Some(mailbox) = self.mailbox_mut(user, name) else { return Vec::new() };
        let mod_seq = mailbox.highest_mod_seq + 1;
        let mut gone = Vec::new();
        for uid in uids {
            if let Some(message) = mailbox.messages.remove(uid) {
                mailbox.vanished.push(Vanished { mod_seq, uid: *uid, flags: message.flags });
                gone.push((*uid, message.body));
            }
        }
        if !gone.is_empty() {
            mailbox.highest_mod_seq = mod_seq;
        }
        let expunged = gone.iter().map(|(uid, _)| *uid).collect();
        for (uid, body) in gone {
            self.note(author, user, Change::Expunged { mailbox: name.to_owned(), uid, body });
        }
        expunged
    }

    /// Copies the messages in the order given, with flags, date and EMAILID; returns (UID, new UID) pairs.
    pub fn copy(&mut self, author: Author, user: &str, from: &str, uids: &[u32], to: &str) -> Vec<(u32, u32)> {
        let Some(source) = self.mailbox(user, from) else { return Vec::new() };
        let found: Vec<(u32, Message)> =
            uids.iter().filter_map(|uid| Some((*uid, source.messages.get(uid)?.clone()))).collect();
        let order = source.keywords.clone();
        let Some(target) = self.mailbox_mut(user, to).filter(|_| !found.is_empty()) else { return Vec::new() };
        let mod_seq = target.next_mod_seq();
        let mut pairs = Vec::new();
        for (uid, mut message) in found {
            let as_uid = target.uid_next;
            target.uid_next += 1;
            message.mod_seq = mod_seq;
            // New keywords come in the order that they have at the source.
            let mut flags: Vec<String> = message.flags.into_iter().collect();
            flags.sort_by_key(|flag| order.iter().position(|keyword| keyword == flag));
            message.flags = target.spell(&flags);
            target.messages.insert(as_uid, message);
            pairs.push((uid, as_uid));
        }
        for (uid, as_uid) in &pairs {
            let change = Change::Copied { from: from.to_owned(), uid: *uid, to: to.to_owned(), as_uid: *as_uid };
            self.note(author, user, change);
        }
        pairs
    }

    /// An empty mailbox with an identifier of its own, and a UIDVALIDITY as the server gives it.
    pub fn fresh(&mut self) -> Mailbox {
        self.next_id += 1;
        let uid_validity = self.next_uid_validity;
        self.next_uid_validity += u32::from(!self.one_uid_validity);
        Mailbox::new(self.next_id, uid_validity)
    }

    pub fn note(&mut self, author: Author, user: &str, change: Change) {
        self.history.push(Event { author, user: user.to_owned(), change });
    }
}
