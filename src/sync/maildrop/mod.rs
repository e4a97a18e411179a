//! A remote that is a drop: messages can be listed, fetched and removed, and nothing else (POP3).
//!
//! Its messages have no UIDs. The [`Ledger`] gives each a number of ours, under which the rest of the judgement knows it,
//! and remembers by which name the server calls it and when it was fetched. What surprises: a message that is not listed
//! is not gone. Drops are listed in part, empty for a day, and named anew; so absence only ages an entry, and what comes
//! back is known again.

mod identify;
mod ledger;
mod removal;
mod standing;

pub use identify::{Here, Identified, Listed, Looks, identify, questions};
pub use ledger::{Entry, Ledger, Name, Turn};
pub use removal::{Reason, Remove, may_go_for_it, removals};
pub use standing::{Caution, Shown, cautions, first_choice, sightings, view};

use crate::mail::MailboxName;

/// What is wanted of a drop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maildrop {
    /// The mailbox that its messages go to.
    pub mailbox: MailboxName,
    /// Which messages are removed from it.
    pub remove: Remove,
    /// Which of those are fetched that are there at the first look.
    pub initial: Initial,
}

/// What is fetched of a drop that is looked at for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Initial {
    /// Everything.
    #[default]
    All,
    /// Nothing: what is there stays there.
    None,
    /// The newest messages, so many.
    Newest(u32),
    /// What was written in the last so many days, by its Date; and what does not tell.
    Days(u32),
}

#[cfg(test)]
mod tests;
