//! `deliver-to`: what a drop has is passed on to the mailbox of another account.

use super::account::{Account, AccountName};
use super::keys;
use super::problem::{Fault, Faults};
use super::raw::{Section, Value};
use crate::mail::{MailboxName, escape};
use crate::maildir::Destination;
use crate::sync::maildrop::Maildrop;
use crate::sync::{Answer, Limits, Oversize};
use std::collections::BTreeMap;
use std::path::Path;

const EXPECTED: &str = "the name of an account and a mailbox of its server, such as \"work/INBOX\"";
/// The directory of a queue, in the state of its account.
const QUEUE: &str = "queue";

/// Refuses what cannot go together with it.
pub(super) fn refuse_contradictions(
    section: &Section<'_>,
    limits: Option<&Limits>,
    maildrop: Option<&Maildrop>,
    faults: &mut Faults,
) {
    for (key, why) in [
        ("maildir", "the messages go into the Maildir of the other account"),
        ("layout", "the Maildir of the other account has a layout"),
        ("mailbox", "the mailbox is named in `deliver-to`"),
    ] {
        if let Some(value) = section.own(key) {
            faults.push(
                value.fault(format!("`{key}` and `deliver-to` exclude each other: {why}"), "take one of them out"),
            );
        }
    }
    let stubs = limits.is_some_and(|limits| limits.oversize == Oversize::Headers);
    if let Some(value) = section.get("oversize").filter(|_| stubs) {
        let what = "a stub is never uploaded, and `deliver-to` is for what is";
        faults.push(value.fault(what, "set oversize = \"skip\", or raise `max-size`"));
    }
    let deleted_here = maildrop.is_some_and(|maildrop| maildrop.remove.deleted_here);
    if let Some(value) = section.get("remove").filter(|_| deleted_here) {
        let what =
            "`deleted-here` in `remove` means nothing with `deliver-to`: what is deleted there is the other account's";
        faults.push(value.fault(what, "take it out, or use `after`"));
    }
}

/// Finds out where an account delivers to, gives it the place of its queue, and tells the other account of it. `known` are
/// all accounts of the file, sound or not.
pub(super) fn settle(
    accounts: &mut BTreeMap<AccountName, Account>,
    name: &AccountName,
    value: &Value<'_>,
    state_dir: Option<&Path>,
    known: &[&str],
) -> Result<(), Fault> {
    let (to, mailbox) = value.text(EXPECTED)?.split_once('/').ok_or_else(|| value.wrong(EXPECTED))?;
    let mailbox = MailboxName::encode(mailbox).ok_or_else(|| value.wrong(EXPECTED))?;
    let others: Vec<&str> = known.iter().copied().filter(|other| *other != name.as_str()).collect();
    if !others.contains(&to) {
        let hint = keys::nearest(to, &others).map_or_else(
            || "add it, or deliver to one that is there".to_owned(),
            |nearest| format!("did you mean \"{nearest}/{mailbox}\"?"),
        );
        return Err(value.fault(format!("there is no other account \"{}\" to deliver to", escape(to)), hint));
    }
    let Some(key) = AccountName::new(to).filter(|key| accounts.contains_key(key)) else {
        // What is wrong with it is told already.
        return Ok(());
    };
    let queue = state_dir.unwrap_or(Path::new("")).join(name.as_str()).join(QUEUE);
    let other = accounts.get_mut(&key).expect("it was found");
    let fault = |why: &str, remedy: &str| Err(value.fault(format!("the account \"{key}\" {why}"), remedy));
    if other.maildrop.is_some() {
        return fault("is of type POP3, which takes no mail", "deliver to an account of type IMAP");
    }
    if other.policy.push.new != Answer::Allow {
        return fault(
            "uploads no new mail, so nothing that is delivered to it would reach its server",
            "set its mode to two-way, or put \"new\" into its policy.push",
        );
    }
    if !other.mailboxes.include(mailbox.decoded().as_deref().unwrap_or_else(|| mailbox.as_wire())) {
        return fault("does not synchronise this mailbox", "add it to its `mailboxes`");
    }
    other.queues.push((name.to_string(), queue.clone()));
    let destination =
        Destination { account: to.to_owned(), mailbox, maildir: other.maildir.clone(), layout: other.layout };
    let account = accounts.get_mut(name).expect("it was read");
    (account.maildir, account.deliver_to) = (queue, Some(destination));
    Ok(())
}
