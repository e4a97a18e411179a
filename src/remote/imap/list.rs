//! Which mailboxes there are, and how each of them stands (RFC 9051, section 6.3.9; RFC 5258, RFC 5819, RFC 6154).
//!
//! A STATUS that does not come means "unknown", never "empty": Dovecot answers OK and leaves out what it cannot read.
//!
//! MAILBOXID is asked for apart from the counters, in the same flight: Cyrus 3.6 answers both in one STATUS with memory that it
//! freed before, which is the identifier of nothing, another one each time, and may have any octet in it.

mod gathered;

use super::command::{Command, ENABLE, IDENTITIES, LIST, LSUB, STATUS, Verb, mailbox};
use super::connection::Outcome;
use super::response::{ListLine, Untagged};
use super::{Imap, Tier};
use crate::mail::{MailboxName, ModSeq, SpecialUse, Uid, UidValidity, escape};
use crate::remote::error::Error;
use gathered::Gathered;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The longest name, in octets on the wire.
const MAX_NAME: usize = 4000;

/// Every mailbox of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The mailboxes of the personal namespaces, by name.
    pub mailboxes: Vec<Listed>,
    /// Names that no mailbox can have here: the name, escaped, and why.
    pub hostile: Vec<(String, &'static str)>,
    /// What the server complained about while it answered, escaped.
    pub warnings: Vec<String>,
}

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// What separates the levels of its name; `None`: there are no levels.
    pub delimiter: Option<char>,
    /// Its roles, as the server tells them.
    pub roles: Vec<SpecialUse>,
    /// Whether the user subscribed to it; `None`: unknown.
    pub subscribed: Option<bool>,
    /// Whether it can hold messages (neither `\Noselect` nor `\NonExistent`).
    pub selectable: bool,
    /// Whether it is there at all; a subscription may outlive its mailbox.
    pub exists: bool,
    /// How it stands; `None`: unknown.
    pub status: Option<Status>,
    /// What it is whatever its name: MAILBOXID (RFC 8474), or Dovecot's X-GUID; `None` where the server tells none.
    pub identity: Option<String>,
}

/// How a mailbox stands; each number is absent where the server did not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The number of messages.
    pub messages: Option<u32>,
    /// The UID that the next message will get.
    pub uid_next: Option<Uid>,
    /// The epoch of the UIDs.
    pub uid_validity: Option<UidValidity>,
    /// The number of messages without `\Seen`.
    pub unseen: Option<u32>,
    /// The last mod-sequence.
    pub highest_mod_seq: Option<ModSeq>,
}

/// What a session knows about how to list.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    personal: Vec<Vec<u8>>,
    /// Prefixes of what belongs to others or is shared.
    foreign: Vec<Vec<u8>>,
    /// The server offers LIST with RETURN and refuses it.
    no_return: bool,
    /// The server is a Dovecot, which tells X-GUID in STATUS.
    pub(super) is_dovecot: bool,
}

impl Mailboxes {
    pub(super) fn take_namespaces(&mut self, [personal, others, shared]: [Vec<Vec<u8>>; 3]) {
        self.foreign = others.into_iter().chain(shared).filter(|prefix| !prefix.is_empty()).collect();
        self.personal = personal;
    }

    /// What to list: everything, and namespaces that "everything" may leave out (RFC 2342, section 3).
    fn patterns(&self) -> Vec<String> {
        let hidden = self.personal.iter().filter(|prefix| prefix.starts_with(b"#"));
        let hidden = hidden.filter_map(|prefix| MailboxName::new(&format!("{}*", std::str::from_utf8(prefix).ok()?)));
        std::iter::once("\"*\"".to_owned()).chain(hidden.map(|pattern| mailbox(&pattern))).collect()
    }

    fn is_foreign(&self, name: &[u8]) -> bool {
        self.foreign.iter().any(|prefix| {
            // The root of a namespace is listed without the delimiter that ends its prefix.
            name.starts_with(prefix) || prefix.split_last().is_some_and(|(_, root)| !root.is_empty() && name == root)
        })
    }
}

impl Imap {
    /// Lists every mailbox of the personal namespaces with its status: one flight where the server has LIST-STATUS,
    /// else two.
    ///
    /// # Errors
    /// When the list is not complete: NO, BAD, a line that cannot be read, the end of the connection.
    pub async fn list(&mut self) -> Result<Listing, Error> {
        self.list_behind(Vec::new()).await
    }

    /// Lists, in one flight with what goes before.
    pub(super) async fn list_behind(&mut self, before: Vec<Command>) -> Result<Listing, Error> {
        self.connection.warnings.clear();
        let mut gathered = Gathered::default();
        let options = self.return_options().filter(|_| !self.mailboxes.no_return);
        let mut extended = options.is_some();
        let mut subscriptions_known =
            match self.ask(before, options.as_deref().unwrap_or_default(), &mut gathered).await {
                // Courier says NO, others BAD; both mean that it must be asked in the old way.
                Err(Error::Refused { .. }) if extended => {
                    (self.mailboxes.no_return, extended) = (true, false);
                    self.mailboxes.is_dovecot = false;
                    gathered = Gathered::default();
                    self.ask(Vec::new(), "", &mut gathered).await?
                }
                answered => answered?,
            };
        subscriptions_known |= extended && self.capabilities.has("LIST-EXTENDED");
        if !(extended && self.capabilities.has("LIST-STATUS")) {
            self.ask_statuses(&mut gathered).await?;
        }
        if gathered.is_flooded() {
            return Err(self.connection.protocol("the server lists too many mailboxes"));
        }
        let listing = self.compose(gathered, subscriptions_known);
        self.listed = Some((Instant::now(), listing.clone()));
        Ok(listing)
    }

    /// What was listed last, if that is not longer ago than `at_most` and this session has made, renamed or deleted nothing
    /// since.
    pub fn listed(&self, at_most: Duration) -> Option<&Listing> {
        self.listed.as_ref().filter(|(at, _)| at.elapsed() <= at_most).map(|(_, listing)| listing)
    }

    /// What was listed last, as it is now: as far as these mailboxes go, for the price of asking for them alone. How the
    /// others stand is unknown in it. `None`: one of them is not what it was, or nobody can tell, so that all have to be listed.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn list_again(&mut self, names: &[MailboxName]) -> Result<Option<Listing>, Error> {
        let mut gathered = Gathered::default();
        self.stand_of(names, &mut gathered).await?;
        let Some((_, mut listing)) = self.listed.clone() else { return Ok(None) };
        listing.warnings.clear();
        for listed in &mut listing.mailboxes {
            let before = listed.status.unwrap_or_default();
            listed.status = Some(Status { uid_validity: before.uid_validity, ..Status::default() });
            if !names.contains(&listed.name) {
                continue;
            }
            let now = gathered.statuses.get(&listed.name).copied().unwrap_or_default();
            let is_same = now.uid_validity.is_some() && now.uid_validity == before.uid_validity;
            if !is_same || gathered.identity(&listed.name) != listed.identity {
                return Ok(None);
            }
            listed.status = Some(self.believable(&listed.name, now));
        }
        let are_there = names.iter().all(|name| listing.mailboxes.iter().any(|listed| listed.name == *name));
        Ok(are_there.then_some(listing))
    }

    /// Asks how the given mailboxes stand, in one flight. One that the server does not tell is not in the result.
    ///
    /// # Errors
    /// When the connection is lost; NO to a mailbox is none.
    pub async fn status(&mut self, names: &[MailboxName]) -> Result<BTreeMap<MailboxName, Status>, Error> {
        let mut gathered = Gathered::default();
        self.learn(&each(names, STATUS, &self.status_items()), &mut gathered).await?;
        Ok(gathered.statuses)
    }

    /// What a mailbox is, whatever its name; `None` where the server tells no such thing, or has no such mailbox.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn identity(&mut self, name: &MailboxName) -> Result<Option<String>, Error> {
        let mut gathered = Gathered::default();
        let items = if self.mailboxes.is_dovecot { Some("(X-GUID)") } else { self.items_apart() };
        if let Some(items) = items {
            self.learn(&each(std::slice::from_ref(name), IDENTITIES, items), &mut gathered).await?;
        }
        Ok(gathered.identity(name))
    }

    /// Asks how these mailboxes stand, and what they are, in one flight.
    async fn stand_of(&mut self, names: &[MailboxName], gathered: &mut Gathered) -> Result<(), Error> {
        let mut commands = each(names, STATUS, &self.status_items());
        commands.extend(self.items_apart().into_iter().flat_map(|items| each(names, IDENTITIES, items)));
        self.learn(&commands, gathered).await.map(drop)
    }

    /// Runs commands in one flight, and takes in what they tell of mailboxes.
    async fn learn(&mut self, commands: &[Command], gathered: &mut Gathered) -> Result<Vec<Outcome>, Error> {
        let mut take = |answered: usize, untagged| match commands[answered].verb {
            IDENTITIES => gathered.take_identity(untagged),
            _ => gathered.take(untagged),
        };
        self.connection.run(commands, &mut take).await
    }

    /// Lists in one flight, with what goes `before`, and with LSUB where `options` do not ask for subscriptions; tells
    /// whether LSUB was answered. Namespaces that are told only now take a second flight, if LIST has to name them.
    async fn ask(&mut self, before: Vec<Command>, options: &str, gathered: &mut Gathered) -> Result<bool, Error> {
        let identities = self.items_apart().filter(|_| options.contains("STATUS"));
        let list = |pattern: &String| {
            let apart = identities.map(|items| format!("LIST \"\" {pattern} RETURN (STATUS {items})"));
            let apart = apart.map(|text| Command::new(IDENTITIES, text));
            std::iter::once(Command::new(LIST, format!("LIST \"\" {pattern}{options}"))).chain(apart)
        };
        let asked = self.mailboxes.patterns();
        let enables = before.iter().any(|command| command.verb == ENABLE);
        let mut commands = before;
        commands.extend(asked.iter().flat_map(list));
        if !options.contains("SUBSCRIBED") {
            commands.push(Command::new(LSUB, "LSUB \"\" \"*\""));
        }
        let mut enabled = Vec::new();
        let mailboxes = &mut self.mailboxes;
        let mut take = |answered: usize, untagged| match untagged {
            untagged if commands[answered].verb == IDENTITIES => gathered.take_identity(untagged),
            Untagged::Enabled(names) => enabled.extend(names.iter().map(|name| name.to_ascii_uppercase())),
            Untagged::Namespace(spaces) => mailboxes.take_namespaces(spaces),
            untagged => gathered.take(untagged),
        };
        let mut outcomes = self.connection.run(&commands, &mut take).await?;
        if enables && !enabled.iter().any(|name| name == "QRESYNC") {
            self.capabilities.disable("QRESYNC");
        }
        let hidden: Vec<String> = self.mailboxes.patterns().into_iter().filter(|p| !asked.contains(p)).collect();
        let more: Vec<Command> = hidden.iter().flat_map(list).collect();
        outcomes.extend(self.learn(&more, gathered).await?);
        let mut subscriptions_known = false;
        for (command, outcome) in commands.iter().chain(&more).zip(outcomes) {
            match outcome {
                Ok(_) => subscriptions_known |= command.verb == LSUB,
                Err(Error::Refused { .. }) if command.verb != LIST => {}
                Err(error) => return Err(error),
            }
        }
        Ok(subscriptions_known)
    }

    async fn ask_statuses(&mut self, gathered: &mut Gathered) -> Result<(), Error> {
        let names: BTreeSet<MailboxName> = gathered
            .lines
            .iter()
            .filter(|line| is_selectable(line) && !self.mailboxes.is_foreign(&line.name))
            .filter_map(|line| judge(&line.name).ok())
            .collect();
        self.stand_of(&names.into_iter().collect::<Vec<_>>(), gathered).await
    }

    fn return_options(&self) -> Option<String> {
        let mut options = Vec::new();
        if self.capabilities.has("LIST-EXTENDED") {
            options.push("SUBSCRIBED".to_owned());
        }
        if self.capabilities.has("SPECIAL-USE") && self.capabilities.has("LIST-EXTENDED") {
            options.push("SPECIAL-USE".to_owned());
        }
        if self.capabilities.has("LIST-STATUS") {
            options.push(format!("STATUS {}", self.status_items()));
        }
        (!options.is_empty()).then(|| format!(" RETURN ({})", options.join(" ")))
    }

    fn status_items(&self) -> String {
        let mod_seq = match self.tier() {
            Tier::A | Tier::B => " HIGHESTMODSEQ",
            Tier::C => "",
        };
        let identity = if self.mailboxes.is_dovecot { " X-GUID" } else { "" };
        format!("(MESSAGES UIDNEXT UIDVALIDITY UNSEEN{mod_seq}{identity})")
    }

    /// The items that tell a mailbox from every other, whatever they are called, where they are not asked for with all else.
    fn items_apart(&self) -> Option<&'static str> {
        self.capabilities.has("OBJECTID").then_some("(UIDVALIDITY MAILBOXID)")
    }

    /// Of the open mailbox STATUS tells what this session has seen of it, however old that is (RFC 9051, section 6.3.11): how
    /// it stands is unknown.
    fn believable(&self, name: &MailboxName, status: Status) -> Status {
        match &self.open {
            Some(open) if open == name => Status { uid_validity: status.uid_validity, ..Status::default() },
            _ => status,
        }
    }

    fn compose(&mut self, gathered: Gathered, subscriptions_known: bool) -> Listing {
        let mut mailboxes: BTreeMap<MailboxName, Listed> = BTreeMap::new();
        let mut hostile = BTreeSet::new();
        for line in gathered.lines.iter().filter(|line| !self.mailboxes.is_foreign(&line.name)) {
            let name = match judge(&line.name) {
                Ok(name) => name,
                Err(reason) => {
                    let shown = if line.name.is_empty() { "\"\"".to_owned() } else { escape(&line.name) };
                    hostile.insert((shown, reason));
                    continue;
                }
            };
            let is_subscribed = line.has("\\Subscribed") || gathered.subscribed.contains(&name);
            let status = gathered.statuses.get(&name).copied().map(|status| self.believable(&name, status));
            let identity = gathered.identity(&name);
            let listed = mailboxes.entry(name.clone()).or_insert(Listed {
                name,
                delimiter: line.delimiter,
                roles: Vec::new(),
                subscribed: subscriptions_known.then_some(false),
                selectable: false,
                exists: false,
                status,
                identity,
            });
            // Some servers list `inbox` as the parent of `inbox/x` beside the INBOX itself: two lines, one name.
            listed.selectable |= is_selectable(line);
            listed.exists |= !line.has("\\NonExistent");
            if is_subscribed {
                listed.subscribed = Some(true);
            }
            for role in line.roles() {
                if !listed.roles.contains(&role) {
                    listed.roles.push(role);
                }
            }
        }
        let warnings = std::mem::take(&mut self.connection.warnings);
        Listing { mailboxes: mailboxes.into_values().collect(), hostile: hostile.into_iter().collect(), warnings }
    }
}

/// Asks for these items of each of the mailboxes.
fn each(names: &[MailboxName], verb: Verb, items: &str) -> Vec<Command> {
    names.iter().map(|name| Command::new(verb, format!("STATUS {} {items}", mailbox(name)))).collect()
}

/// Makes a name of what the server listed, or says why none can be made.
pub(super) fn judge(name: &[u8]) -> Result<MailboxName, &'static str> {
    if name.len() > MAX_NAME {
        return Err("the name is too long");
    }
    let text = std::str::from_utf8(name).map_err(|_| "the name is not UTF-8")?;
    MailboxName::new(text).ok_or("the name is empty, or has a line end or NUL in it")
}

fn is_selectable(line: &ListLine) -> bool {
    !line.has("\\Noselect") && !line.has("\\NonExistent")
}
