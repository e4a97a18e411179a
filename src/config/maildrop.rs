//! The keys of a drop (POP3): what is fetched of it, where to, and what is removed from it.

use super::account::optional;
use super::keys;
use super::problem::{Fault, Faults};
use super::raw::{Section, Value};
use crate::mail::MailboxName;
use crate::maildir::{Layout, Mapping};
use crate::sync::maildrop::{Initial, Maildrop, Remove};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REMOVE: &str = "a table such as { after = \"14d\", never-before = \"1h\" }";
const INITIAL: &str = "\"all\", \"none\", { newest = 100 }, or { days = 30 }";

/// Reads what is wanted of a drop; `None` if something is wrong, which is then in `faults`.
pub(super) fn read(section: &Section<'_>, layout: Layout, faults: &mut Faults) -> Option<Maildrop> {
    let mailbox = optional(section, "mailbox", faults, |value| mailbox(value, layout));
    let leave = optional(section, "leave-on-server", faults, Value::truth);
    let remove = match section.get("remove") {
        Some(value) => remove(&value, faults),
        None => Some(Remove::default()),
    };
    let initial = match section.get("initial") {
        Some(value) => initial(&value, faults),
        None => Some(Initial::All),
    };
    let (mailbox, leave, remove) = (mailbox?.unwrap_or_else(MailboxName::inbox), leave?.unwrap_or(true), remove?);
    if let (false, Some(value)) = (leave, section.own("remove"))
        && remove != (Remove { never_before: remove.never_before, ..Remove::default() })
    {
        faults.push(value.fault(
            "`remove` chooses among the messages that are left on the server, and leave-on-server = false leaves none",
            "take one of them out; of `remove`, only never-before goes with it",
        ));
        return None;
    }
    let remove = if leave { remove } else { Remove { never_before: remove.never_before, ..Remove::EVERYTHING } };
    let remove = Remove { once_passed_on: section.own("deliver-to").is_some(), ..remove };
    Some(Maildrop { mailbox, remove, initial: initial? })
}

fn mailbox(value: &Value<'_>, layout: Layout) -> Result<MailboxName, Fault> {
    let expected = "the name of a mailbox, such as \"INBOX\" or \"Archive/old\"";
    let name = MailboxName::encode(value.text(expected)?).ok_or_else(|| value.wrong(expected))?;
    match Mapping::new(layout).to_local(&name, Some('/')) {
        Ok(_) => Ok(name),
        Err(reason) => {
            Err(value.fault(format!("`mailbox` cannot be a directory: {reason}"), format!("write {expected}")))
        }
    }
}

fn remove(value: &Value<'_>, faults: &mut Faults) -> Option<Remove> {
    let section = faults.sift(value.table(REMOVE))?;
    section.refuse_others(keys::REMOVE, &[], faults);
    let age = |value: &Value<'_>| value.duration(Duration::ZERO..=36_500 * DAY);
    let after = optional(&section, "after", faults, age);
    let beyond_newest = optional(&section, "beyond-newest", faults, |value| value.number(0..=u32::MAX));
    let beyond_total = optional(&section, "beyond-total", faults, Value::size);
    let larger_than = optional(&section, "larger-than", faults, Value::size);
    let deleted_here = optional(&section, "deleted-here", faults, Value::truth);
    let never_before = optional(&section, "never-before", faults, age);
    Some(Remove {
        everything: false,
        after: after?.map(|age| age.as_secs()),
        beyond_newest: beyond_newest?,
        beyond_total: beyond_total?,
        larger_than: larger_than?,
        deleted_here: deleted_here?.unwrap_or(false),
        never_before: never_before?.map_or(0, |age| age.as_secs()),
        once_passed_on: false,
    })
}

fn initial(value: &Value<'_>, faults: &mut Faults) -> Option<Initial> {
    match value.as_text() {
        Some("all") => return Some(Initial::All),
        Some("none") => return Some(Initial::None),
        _ => {}
    }
    let section = faults.sift(value.table(INITIAL))?;
    section.refuse_others(keys::INITIAL, &[], faults);
    let mut number = |key| optional(&section, key, faults, |value| value.number(1..=u32::MAX));
    match (number("newest")?, number("days")?) {
        (Some(newest), None) => Some(Initial::Newest(newest)),
        (None, Some(days)) => Some(Initial::Days(days)),
        // A key that is none was told of already.
        (None, None) if section.entries().next().is_some() => None,
        _ => {
            faults.push(value.wrong(INITIAL));
            None
        }
    }
}
