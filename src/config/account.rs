//! One account: its table becomes an [`Account`], with `[defaults]` behind it.
//!
//! A key of the account replaces the same key of `[defaults]` whole, tables included: `password.file` there and
//! `password.command` here is no conflict.

use super::delivery;
use super::endpoint;
use super::environment::Environment;
use super::keys;
use super::maildrop;
use super::path;
use super::patterns::Patterns;
use super::policy;
use super::problem::{Fault, Faults};
use super::raw::{Section, Value};
use super::renames;
use crate::hooks::Hooks;
use crate::mail::escape;
use crate::maildir::{Destination, Keywords, Layout};
use crate::remote::{Endpoint, Protocol, Secret};
use crate::sync::maildrop::Maildrop;
use crate::sync::{Deletion, Guard, Limits, Oversize, Policy, Sides};
use secrecy::ExposeSecret as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroize as _;

/// How many connections an account may have of which nothing is said; Gmail allows fifteen, others ten, to all clients.
const CONNECTIONS: u32 = 3;
/// More than any server allows, and than anything is gained by.
const MOST_CONNECTIONS: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// How often the flags of active mailboxes are listed where nothing is said of it.
const FLAGS_EVERY: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the daemon looks at an account of which nothing is said.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The name of an account: lower-case letters, digits, `_` and `-`; it names files and appears in commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Box<str>);

impl AccountName {
    /// Makes a name, if it is one.
    pub fn new(name: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        // A leading dash would be an option on the command line.
        let good = !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.chars().all(legal);
        good.then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A remote mailbox and the Maildir that is kept its twin.
#[derive(Clone, Debug)]
pub struct Account {
    /// The name, from `[account.NAME]`.
    pub name: AccountName,
    /// How the server is reached.
    pub endpoint: Endpoint,
    /// The root of the Maildir; absolute.
    pub maildir: PathBuf,
    /// Which mailboxes are synchronised.
    pub mailboxes: Patterns,
    /// How the directories of mailboxes are laid out.
    pub layout: Layout,
    /// Mailboxes that are called otherwise here: the name on the server and the name here, decoded, with `/` between the
    /// levels.
    pub rename: Vec<(String, String)>,
    /// Only mailboxes that the user subscribed to are synchronised.
    pub subscribed_only: bool,
    /// On which sides mailboxes are made that are new on the other.
    pub create_mailboxes: Sides,
    /// On which sides mailboxes are deleted that were deleted on the other.
    pub delete_mailboxes: Sides,
    /// What becomes of the server's message when the local one was deleted.
    pub delete: Deletion,
    /// How long the retention area keeps what was deleted.
    pub keep_deleted: Duration,
    /// What is not fetched.
    pub limits: Limits,
    /// From how many deletions on a person is asked.
    pub guard: Guard,
    /// What may be done with the changes of each side, from `mode` or `policy`.
    pub policy: Policy,
    /// Where keywords live in the Maildir.
    pub keywords: Keywords,
    /// How often the daemon looks at it, whatever else happens.
    pub every: Duration,
    /// How often the daemon lists the flags of active mailboxes where the server does not tell when they change.
    pub flags_every: Duration,
    /// Changes are noticed at once, on either side.
    pub live: bool,
    /// How many connections to the server there may be at once.
    pub connections: usize,
    /// What is told of it to programs of the owner.
    pub hooks: Hooks,
    /// What is wanted of a remote that is a drop; none where it is a store of mailboxes.
    pub maildrop: Option<Maildrop>,
    /// The mailbox of another account that its messages are passed on to; then its Maildir is a queue of ours.
    pub deliver_to: Option<Destination>,
    /// The accounts that pass their messages on to this one, each with its queue.
    pub queues: Vec<(String, PathBuf)>,
}

impl Account {
    /// A digest of everything that the configuration says of it, a literal password included.
    pub fn digest(&self) -> [u8; 32] {
        // What is derived names every field, and hides the one secret.
        let mut all = format!("{self:?}");
        if let Some(Secret::Literal(password)) = &self.endpoint.password {
            all.push_str(password.expose_secret());
        }
        let digest = *blake3::hash(all.as_bytes()).as_bytes();
        all.zeroize();
        digest
    }
}

/// Reads the table of an account; `None` if something in it is wrong, which is then in `faults`.
pub(super) fn read(
    name: AccountName,
    section: &Section<'_>,
    environment: &Environment,
    faults: &mut Faults,
) -> Option<Account> {
    section.refuse_others(keys::ACCOUNT, keys::ACCOUNT_LATER, faults);
    let protocol =
        optional(section, "type", faults, |value| value.choice(&[("imap", Protocol::Imap), ("pop3", Protocol::Pop3)]));
    // The other keys are those of a protocol: complaints about them would only hide that it is unknown.
    let protocol = protocol?.unwrap_or(Protocol::Imap);
    let is_drop = protocol == Protocol::Pop3;
    let senseless = if is_drop { keys::IMAP_ONLY } else { keys::POP3_ONLY };
    for value in senseless.iter().filter_map(|key| section.own(key)) {
        faults.push(value.senseless(protocol.name()));
    }

    let endpoint = endpoint::read(section, protocol, environment, faults);
    let delivers = is_drop && section.own("deliver-to").is_some();
    // The queue of one that delivers to another account is given its place later.
    let maildir = if delivers { Some(PathBuf::new()) } else { faults.sift(maildir(section, environment)) };
    let mailboxes = optional(section, "mailboxes", faults, patterns);
    let layouts = [Layout::Nested, Layout::MaildirPlusPlus, Layout::Flat].map(|layout| (layout.name(), layout));
    let layout = optional(section, "layout", faults, |value| value.choice(&layouts));
    let rename = section.get("rename").map_or(Some(Vec::new()), |value| renames::read(&value, faults));
    let subscribed_only = optional(section, "subscribed-only", faults, Value::truth);
    let create_mailboxes = optional(section, "create-mailboxes", faults, sides);
    let delete_mailboxes = optional(section, "delete-mailboxes", faults, sides);
    let delete = optional(section, "delete", faults, |value| {
        value.choice(&[("trash", Deletion::Trash), ("expunge", Deletion::Expunge), ("never", Deletion::Never)])
    });
    let keep_deleted = optional(section, "keep-deleted", faults, |value| value.duration(Duration::ZERO..=3650 * DAY));
    let limits = limits(section, faults);
    let guard = section.get("guard").map_or(Some(Guard::default()), |value| guard(&value, faults));
    let policy = policy::read(section, faults);
    let maildrop = match layout {
        Some(layout) if is_drop => maildrop::read(section, layout.unwrap_or_default(), faults).map(Some),
        _ => Some(None),
    };
    if delivers {
        delivery::refuse_contradictions(section, limits.as_ref(), maildrop.as_ref().and_then(Option::as_ref), faults);
    }
    let keywords = optional(section, "keywords", faults, |value| {
        value.choice(&[("dovecot", Keywords::Dovecot), ("database", Keywords::Database), ("none", Keywords::None)])
    });
    let every = optional(section, "every", faults, |value| value.duration(Duration::from_secs(1)..=DAY));
    let flags_every = optional(section, "flags-every", faults, |value| value.duration(MINUTE..=DAY));
    let live = optional(section, "live", faults, Value::truth);
    let connections = optional(section, "connections", faults, |value| value.number(1..=MOST_CONNECTIONS));
    let mut hook = |key| optional(section, key, faults, |value| hook(value));
    let (on_new, on_change, on_error) = (hook("on-new"), hook("on-change"), hook("on-error"));
    Some(Account {
        name,
        endpoint: endpoint?,
        maildir: maildir?,
        mailboxes: mailboxes?.unwrap_or_default(),
        layout: layout?.filter(|_| !delivers).unwrap_or_default(),
        rename: rename?,
        subscribed_only: subscribed_only?.unwrap_or(false),
        create_mailboxes: create_mailboxes?.unwrap_or(Sides::BOTH),
        delete_mailboxes: delete_mailboxes?.unwrap_or(Sides::NONE),
        delete: delete?.unwrap_or_default(),
        keep_deleted: keep_deleted?.unwrap_or(14 * DAY),
        limits: limits.map(|limits| if is_drop { Limits { max_age: None, ..limits } } else { limits })?,
        guard: guard?,
        keywords: keywords?.unwrap_or_default(),
        every: every?.unwrap_or(EVERY),
        flags_every: flags_every?.unwrap_or(FLAGS_EVERY),
        // A drop tells nobody that something came.
        live: live?.unwrap_or(true) && !is_drop,
        connections: connections?.unwrap_or(CONNECTIONS) as usize,
        policy: if is_drop { Policy::FETCH } else { policy? },
        hooks: Hooks { on_new: on_new?, on_change: on_change?, on_error: on_error? },
        maildrop: maildrop?,
        deliver_to: None,
        queues: Vec::new(),
    })
}

fn limits(section: &Section<'_>, faults: &mut Faults) -> Option<Limits> {
    let max_size = optional(section, "max-size", faults, Value::size);
    let max_age = optional(section, "max-age", faults, |value| value.duration(DAY..=36_500 * DAY));
    let oversize = optional(section, "oversize", faults, |value| {
        value.choice(&[("skip", Oversize::Skip), ("headers", Oversize::Headers)])
    });
    let max_age = max_age?.map(|age| age.as_secs());
    Some(Limits { max_size: max_size?, max_age, oversize: oversize?.unwrap_or_default() })
}

/// Reads a key that may be absent: `None` is a fault, `Some(None)` absence.
pub(super) fn optional<'a, T>(
    section: &Section<'a>,
    key: &str,
    faults: &mut Faults,
    read: impl FnOnce(&Value<'a>) -> Result<T, Fault>,
) -> Option<Option<T>> {
    match section.get(key) {
        Some(value) => faults.sift(read(&value)).map(Some),
        None => Some(None),
    }
}

fn maildir(section: &Section<'_>, environment: &Environment) -> Result<PathBuf, Fault> {
    let value = section.get("maildir").ok_or_else(|| {
        section.lacks("maildir", "add the directory to keep the mail in, such as maildir = \"~/Mail/work\"")
    })?;
    let maildir = path::read(&value, environment)?;
    if path::is_too_wide(&maildir, environment) {
        let shown = escape(maildir.as_os_str().as_encoded_bytes());
        return Err(value.fault(format!("{shown} is no place for a Maildir"), "name a directory that holds only mail"));
    }
    Ok(maildir)
}

fn patterns(value: &Value<'_>) -> Result<Patterns, Fault> {
    let example = "[\"*\", \"!Junk\"]";
    let patterns = value.words(example)?;
    match patterns.iter().any(|pattern| pattern.trim_start_matches('!').is_empty()) {
        true => Err(value.wrong(&format!("patterns that are not empty, such as {example}"))),
        false => Ok(Patterns::new(patterns.iter().map(String::as_str))),
    }
}

fn hook(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let example = "[\"notmuch\", \"new\"]";
    let command = value.words(example)?;
    if command[0].is_empty() {
        Err(value.wrong(&format!("a program and its arguments, such as {example}")))
    } else {
        Ok(command)
    }
}

fn sides(value: &Value<'_>) -> Result<Sides, Fault> {
    value.choice(&[("both", Sides::BOTH), ("remote", Sides::REMOTE), ("local", Sides::LOCAL), ("none", Sides::NONE)])
}

fn guard(value: &Value<'_>, faults: &mut Faults) -> Option<Guard> {
    let section = faults.sift(value.table("a table such as { deletions = 50, percent = 25 }"))?;
    section.refuse_others(keys::GUARD, &[], faults);
    let default = Guard::default();
    let mut number = |key, most, default| {
        optional(&section, key, faults, |value| value.number(0..=most)).map(|number| number.unwrap_or(default))
    };
    let deletions = number("deletions", u32::MAX, default.deletions);
    let percent = number("percent", 100, default.percent);
    let emptied = number("emptied", u32::MAX, default.emptied);
    let per_10_minutes = number("per-10-minutes", u32::MAX, default.per_10_minutes);
    Some(Guard { deletions: deletions?, percent: percent?, emptied: emptied?, per_10_minutes: per_10_minutes? })
}
