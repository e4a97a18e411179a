//! How closely a mailbox is looked at whose server does not tell when flags change: it keeps no mod-sequences (RFC 7162), so
//! its numbers tell of messages that came or went, and of nothing else.

use crate::sync::mailbox::MailboxRecord;

/// What is listed of a mailbox whose numbers have not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glance {
    /// The flags of all messages.
    All,
    /// Those of the [`NEWEST`] messages.
    Newest,
    /// Nothing.
    Numbers,
}

/// So many messages of an active mailbox are looked at each time: those whose flags change.
pub const NEWEST: usize = 1000;
/// A mailbox that is not active is looked at in full so many times less often.
const SELDOM: u64 = 24;
/// So long after its numbers changed a mailbox is active, in seconds.
const ACTIVE: u64 = 86_400;

/// Judges a mailbox at a time, in seconds since 1970. `every` is how often the flags of active mailboxes are to be listed, in
/// seconds; none: each time, those of all.
pub fn glance(record: &MailboxRecord, every: Option<u64>, now: u64) -> Glance {
    let Some(every) = every else { return Glance::All };
    let is_active = record.name.is_inbox() || record.active.is_some_and(|at| at.abs_diff(now) < ACTIVE);
    let wait = if is_active { every } else { every.saturating_mul(SELDOM) };
    match record.listed {
        Some(at) if at.abs_diff(now) < wait && is_active => Glance::Newest,
        Some(at) if at.abs_diff(now) < wait => Glance::Numbers,
        Some(_) | None => Glance::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::MailboxName;
    use crate::sync::MailboxId;

    fn record(name: &str, listed: Option<u64>, active: Option<u64>) -> MailboxRecord {
        let name = MailboxName::new(name).expect("a name");
        MailboxRecord { listed, active, ..MailboxRecord::new(MailboxId(1), name, None) }
    }

    #[test]
    fn a_person_who_asks_sees_the_flags_of_everything() {
        assert_eq!(glance(&record("INBOX", Some(100), None), None, 100), Glance::All);
        assert_eq!(glance(&record("Lists", Some(100), None), None, 100), Glance::All);
    }

    #[test]
    fn the_inbox_and_what_is_active_is_listed_as_often_as_was_asked_and_its_newest_each_time() {
        let day = 86_400;
        for record in [record("INBOX", Some(0), None), record("Lists", Some(0), Some(0))] {
            assert_eq!(glance(&record, Some(900), 899), Glance::Newest);
            assert_eq!(glance(&record, Some(900), 900), Glance::All);
        }
        assert_eq!(
            glance(&record("Lists", Some(day), Some(0)), Some(900), day + 900),
            Glance::Numbers,
            "active no more"
        );
    }

    #[test]
    fn other_mailboxes_are_listed_each_24th_time() {
        let others = record("Lists", Some(0), None);
        assert_eq!(glance(&others, Some(900), 24 * 900 - 1), Glance::Numbers);
        assert_eq!(glance(&others, Some(900), 24 * 900), Glance::All);
        assert_eq!(glance(&record("Lists", None, None), Some(900), 0), Glance::All, "never seen");
    }

    #[test]
    fn a_clock_that_went_back_asks_sooner_and_never_later() {
        assert_eq!(glance(&record("INBOX", Some(5000), None), Some(900), 100), Glance::All);
    }
}
