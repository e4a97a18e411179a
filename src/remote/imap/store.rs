//! Changing an open mailbox and the tree of mailboxes (RFC 9051, sections 6.3 and 6.4; RFC 4315, RFC 6851).
//!
//! An OK is no confirmation: Dovecot says OK to an EXPUNGE that removed nothing. The caller looks.

use super::Imap;
use super::command::{
    COPY, CREATE, Command, DELETE, EXPUNGE, MOVE, RENAME, STORE, SUBSCRIBE, UID_EXPUNGE, UNSUBSCRIBE, Verb, flag_list,
    mailbox,
};
use super::condition::{Condition, Status};
use super::fetch::{FetchedFlags, Gathering};
use super::response::{Untagged, uid_validity};
use crate::mail::{FlagChange, MailboxName, UidList, UidSet, UidValidity};
use crate::remote::error::Error;

/// Where copied or moved messages went (RFC 4315, section 3): the n-th of `source` is the n-th of `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyUid {
    /// The epoch of the target mailbox.
    pub uid_validity: UidValidity,
    /// The UIDs in the source mailbox, in the server's order.
    pub source: UidList,
    /// The UIDs in the target mailbox.
    pub target: UidList,
}

impl Imap {
    /// Sets and clears flags, in one flight; returns the flags that the server shows afterwards, if it shows any.
    ///
    /// # Errors
    /// When a command is refused; others of them may have been obeyed.
    pub async fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<FetchedFlags>, Error> {
        let mut commands = Vec::new();
        for (sign, flags) in [("+", &change.add), ("-", &change.remove)] {
            if !flags.is_empty() {
                commands.extend(Command::over(STORE, uids, &format!("{sign}FLAGS {}", flag_list(flags))));
            }
        }
        let mut shown = Gathering::default();
        let mut take = |_, untagged| {
            if let Untagged::Fetch(fetch) = untagged {
                shown.take(fetch);
            }
        };
        self.connection.exec_all(&commands, &mut take).await?;
        Ok(shown.finish(Some(uids)))
    }

    /// Moves messages to another mailbox; needs MOVE. `None`: the server did not tell where they went, or some were
    /// not there.
    ///
    /// # Errors
    /// When a command is refused; of a long set a part may have been moved.
    pub async fn move_to(&mut self, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        self.transfer(MOVE, uids, target).await
    }

    /// Copies messages to another mailbox; the result is as for [`move_to`](Self::move_to).
    ///
    /// # Errors
    /// When a command is refused; of a long set a part may have been copied.
    pub async fn copy_to(&mut self, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        self.transfer(COPY, uids, target).await
    }

    /// Marks messages with `\Deleted`, expunges them, and looks which of them are there still, all in one flight; needs
    /// UIDPLUS. What seems to be there is looked for once more: Dovecot answers a SEARCH that came in one flight with the
    /// EXPUNGE from the state before it.
    ///
    /// # Errors
    /// When a command is refused; some may be gone all the same.
    pub async fn remove(&mut self, uids: &UidSet) -> Result<UidSet, Error> {
        let mut commands = Command::over(STORE, uids, "+FLAGS (\\Deleted)");
        commands.extend(Command::over(UID_EXPUNGE, uids, ""));
        let left = self.search_behind(commands, uids).await?;
        if left.is_empty() { Ok(left) } else { self.search(&left).await }
    }

    /// Removes every message that has `\Deleted`, whoever set it.
    ///
    /// # Errors
    /// When the command is refused.
    pub async fn expunge_all(&mut self) -> Result<(), Error> {
        self.connection.exec(Command::bare(EXPUNGE), &mut |_, _| {}).await.map(drop)
    }

    /// Creates a mailbox.
    ///
    /// # Errors
    /// When the server refuses, also if the mailbox is there already (`[ALREADYEXISTS]` where the server tells it).
    pub async fn create(&mut self, name: &MailboxName) -> Result<(), Error> {
        self.on_mailbox(CREATE, name).await
    }

    /// Subscribes to a mailbox.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn subscribe(&mut self, name: &MailboxName) -> Result<(), Error> {
        self.on_mailbox(SUBSCRIBE, name).await
    }

    /// Ends the subscription to a mailbox.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn unsubscribe(&mut self, name: &MailboxName) -> Result<(), Error> {
        self.on_mailbox(UNSUBSCRIBE, name).await
    }

    /// Gives a mailbox, and with it those beneath it, another name (RFC 9051, section 6.3.6). It keeps its messages, their
    /// UIDs and its UIDVALIDITY.
    ///
    /// # Errors
    /// When the server refuses, also if there is a mailbox of that name.
    pub async fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<(), Error> {
        let command = Command::new(RENAME, format!("RENAME {} {}", mailbox(from), mailbox(to)));
        self.connection.exec(command, &mut |_, _| {}).await.map(drop)
    }

    /// Removes a mailbox with all that is in it. Nobody asks back: see first that it is empty.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&mut self, name: &MailboxName) -> Result<(), Error> {
        self.on_mailbox(DELETE, name).await
    }

    async fn on_mailbox(&mut self, verb: Verb, name: &MailboxName) -> Result<(), Error> {
        let command = Command::new(verb, format!("{} {}", verb.name, mailbox(name)));
        self.connection.exec(command, &mut |_, _| {}).await.map(drop)
    }

    async fn transfer(&mut self, verb: Verb, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        let commands = Command::over(verb, uids, &mailbox(target));
        let mut codes = Vec::new();
        // MOVE tells it in an untagged OK, before the messages vanish (RFC 6851, section 4.3).
        let mut take = |_, untagged| {
            if let Untagged::Condition(condition) = untagged
                && condition.status == Status::Ok
            {
                codes.extend(condition.arguments_of("COPYUID"));
            }
        };
        let done = self.connection.exec_all(&commands, &mut take).await?;
        codes.extend(done.iter().filter_map(|done: &Condition| done.arguments_of("COPYUID")));
        Ok(copy_uid(&codes))
    }
}

/// Joins the COPYUIDs of the parts of one transfer; `None` if one of them cannot be relied on.
fn copy_uid(codes: &[Vec<String>]) -> Option<CopyUid> {
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    let mut epoch = None;
    for code in codes {
        let [number, source, target] = code.as_slice() else { return None };
        let number = number.parse().ok().and_then(uid_validity)?;
        if *epoch.get_or_insert(number) != number || UidList::parse(source)?.len() != UidList::parse(target)?.len() {
            return None;
        }
        sources.push(source.as_str());
        targets.push(target.as_str());
    }
    let (source, target) = (UidList::parse(&sources.join(","))?, UidList::parse(&targets.join(","))?);
    Some(CopyUid { uid_validity: epoch?, source, target })
}
