//! Changing an open mailbox and the tree of mailboxes (RFC 9051, sections 6.3 and 6.4; RFC 4315).
//!
//! An OK is no confirmation: Dovecot says OK to an EXPUNGE that removed nothing. The caller looks.

use super::Imap;
use super::command::{
    CREATE, Command, DELETE, EXPUNGE, RENAME, STORE, SUBSCRIBE, UID_EXPUNGE, UNSUBSCRIBE, Verb, flag_list, mailbox,
};
use super::fetch::{FetchedFlags, Gathering};
use super::response::Untagged;
use crate::mail::{FlagChange, MailboxName, UidSet};
use crate::remote::error::Error;

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
        self.listed = None;
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
        self.listed = None;
        let command = Command::new(verb, format!("{} {}", verb.name, mailbox(name)));
        self.connection.exec(command, &mut |_, _| {}).await.map(drop)
    }
}
