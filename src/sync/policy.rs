//! What may be done with a difference: carried over, left alone, or taken back.

use crate::mail::Storable;
use crate::sync::limits::Limits;
use crate::sync::plan::Route;
use serde::{Deserialize, Serialize};

/// What is done with one kind of change on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The other side follows.
    Allow,
    /// Nothing: the sides stay different.
    Keep,
    /// The change is undone where it was made.
    Revert,
}

/// The answers to the changes of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answers {
    /// New messages.
    pub new: Answer,
    /// Messages that are gone.
    pub gone: Answer,
    /// Changed flags.
    pub flags: Answer,
}

/// The answers to the changes of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// To what changes on the server.
    pub pull: Answers,
    /// To what changes in the Maildir.
    pub push: Answers,
}

impl Answers {
    const fn all(answer: Answer) -> Self {
        Self { new: answer, gone: answer, flags: answer }
    }
}

impl Policy {
    /// Both sides follow each other.
    pub const TWO_WAY: Self = Self { pull: Answers::all(Answer::Allow), push: Answers::all(Answer::Allow) };
    /// The Maildir follows the server, whatever is done to it.
    pub const MIRROR: Self = Self { pull: Answers::all(Answer::Allow), push: Answers::all(Answer::Revert) };
    /// The Maildir collects what the server ever held.
    pub const ARCHIVE: Self =
        Self { pull: Answers { gone: Answer::Keep, ..Answers::all(Answer::Allow) }, push: Answers::all(Answer::Keep) };
    /// New messages are fetched, and nothing else (POP3).
    pub const FETCH: Self =
        Self { pull: Answers { new: Answer::Allow, ..Answers::all(Answer::Keep) }, push: Answers::all(Answer::Keep) };

    /// Tells whether anything is ever changed on the server.
    pub fn writes_there(&self) -> bool {
        let allows = |answers: &Answers| [answers.new, answers.gone, answers.flags].contains(&Answer::Allow);
        let reverts = |answers: &Answers| [answers.new, answers.gone, answers.flags].contains(&Answer::Revert);
        allows(&self.push) || reverts(&self.pull)
    }

    /// Tells whether the flags of one side may stay different from those of the other.
    pub fn keeps_flags(&self) -> bool {
        self.pull.flags == Answer::Keep || self.push.flags == Answer::Keep
    }

    /// The policy for a mailbox in which both sides were never seen to agree: what is here stays here, whatever is done
    /// with what comes later. It may have been here before us.
    pub fn before_agreement(self) -> Self {
        let new = if self.push.new == Answer::Revert { Answer::Keep } else { self.push.new };
        Self { push: Answers { new, ..self.push }, ..self }
    }

    /// The policy for a mailbox to which nothing can be written: what is done here stays here.
    pub fn pull_only(self) -> Self {
        Self { push: Answers::all(Answer::Keep), ..self }
    }
}

/// What becomes of the server's message when the local one was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// It is moved to the server's Trash; inside Trash and Junk it is expunged.
    #[default]
    Trash,
    /// It is expunged.
    Expunge,
    /// It stays.
    Never,
}

/// On which of the two sides something is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sides {
    /// On the server.
    pub remote: bool,
    /// In the Maildir.
    pub local: bool,
}

impl Sides {
    /// On both.
    pub const BOTH: Self = Self { remote: true, local: true };
    /// On the server only.
    pub const REMOTE: Self = Self { remote: true, local: false };
    /// In the Maildir only.
    pub const LOCAL: Self = Self { remote: false, local: true };
    /// On neither.
    pub const NONE: Self = Self { remote: false, local: false };
}

/// What a verdict depends on besides the three trees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What may be done.
    pub policy: Policy,
    /// Which flags the server stores for good.
    pub remote_flags: Storable,
    /// Which flags the Maildir stores.
    pub local_flags: Storable,
    /// Where a message goes that was deleted here.
    pub route: Route,
    /// What is not fetched.
    pub limits: Limits,
    /// The time, in seconds since 1970.
    pub now: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_the_maildir_or_undoes_the_server_writes_there() {
        assert!(Policy::TWO_WAY.writes_there());
        for looks in [Policy::MIRROR, Policy::ARCHIVE, Policy::FETCH, Policy::TWO_WAY.pull_only()] {
            assert!(!looks.writes_there(), "{looks:?}");
        }
        let undoes = Answers { gone: Answer::Revert, ..Answers::all(Answer::Allow) };
        assert!(Policy { pull: undoes, ..Policy::MIRROR }.writes_there());
    }

    #[test]
    fn a_mirror_takes_nothing_away_that_was_there_before_it() {
        let first = Policy::MIRROR.before_agreement();
        assert_eq!((first.push.new, first.push.gone), (Answer::Keep, Answer::Revert));
        assert_eq!(Policy::TWO_WAY.before_agreement(), Policy::TWO_WAY);
    }
}
