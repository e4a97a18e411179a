//! The table: what follows for one message from what is remembered, what the server shows and what the Maildir shows.
//!
//! `docs/sync-model.md` prints it for people; `tests/contracts/verdicts.rs` prints every cell and compares it with the golden text.

use crate::mail::{FlagChange, Flags, SystemFlag};
use crate::sync::lacks::{said_here, said_there};
use crate::sync::limits::{Admission, Measure};
use crate::sync::picture::{Hold, Lone, Pair, Removing, Side, Why, Word};
use crate::sync::plan::Route;
use crate::sync::policy::{Answer, Answers, Rules};

/// What is remembered of the message.
#[derive(Clone, Copy, Debug)]
pub enum Remembered<'a> {
    /// Nothing.
    Nothing,
    /// It is a pair.
    Pair(&'a Pair),
    /// It is on one side only, for a reason.
    Lone(Side, &'a Lone),
    /// It is a stub in the Maildir that belongs to no message.
    Orphan,
}

/// What is to be done with one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Rest,
    /// Store it in the Maildir.
    Fetch,
    /// Store it on the server.
    Append,
    /// Bring the flags together.
    Flags {
        /// What the server has to change.
        remote: Option<FlagChange>,
        /// What the Maildir has to change.
        local: Option<FlagChange>,
        /// What is agreed then.
        merged: Flags,
    },
    /// Take it away from the server; `inferred`: because it is missing in the Maildir and no person confirmed it.
    DeleteRemote {
        /// Whether the guard has a say.
        inferred: bool,
    },
    /// Take it away from the Maildir; `inferred`: because it is missing on the server and no person confirmed it.
    DeleteLocal {
        /// Whether the guard has a say.
        inferred: bool,
    },
    /// Forget it: both sides have lost it.
    Forget,
    /// Remember it as left on the server: its stub was deleted here, which says nothing of the message.
    Filter,
    /// Fetch the whole message in the place of its stub.
    Complete,
    /// Remember it as kept on the side on which it is.
    Keep(Side),
    /// Remember nothing of a partner: what is left is transferred as new.
    PutBack(Side),
    /// Two messages that nobody paired stand as one: adopt or recover has to make the pair first.
    CannotBe,
}

/// Judges one message. `remote` and `local` are the flags that the sides show, if it is there.
pub fn verdict(remembered: Remembered<'_>, remote: Option<&Flags>, local: Option<&Flags>, rules: &Rules) -> Verdict {
    match remembered {
        Remembered::Nothing => match (remote, local) {
            (Some(_), None) => new_remote(rules),
            (None, Some(_)) => new_local(rules),
            (Some(_), Some(_)) => Verdict::CannotBe,
            (None, None) => Verdict::Rest,
        },
        Remembered::Pair(pair) if pair.name.is_stub() => stub(pair, remote, local, rules),
        Remembered::Pair(pair) => match (remote, local) {
            (Some(f), Some(l)) => flags(pair, f, l, rules),
            (Some(f), None) => gone_here(pair, f, rules),
            (None, Some(_)) => gone_there(pair, rules),
            (None, None) => Verdict::Forget,
        },
        Remembered::Lone(Side::Remote, lone) => match (remote, local) {
            (Some(flags), None) => match &lone.why {
                Why::Filtered(measure) => match rules.limits.admit(flags, measure, rules.now) {
                    Admission::Whole => new_remote(rules),
                    Admission::Stub | Admission::Nothing => Verdict::Rest,
                },
                _ => lone_one(Side::Remote, lone, rules, new_remote),
            },
            (Some(_), Some(_)) => Verdict::CannotBe,
            (None, _) => Verdict::Forget,
        },
        Remembered::Lone(Side::Local, lone) => match (remote, local) {
            (None, Some(_)) => match lone.why {
                Why::Missing(hold) => missing(hold, rules),
                _ => lone_one(Side::Local, lone, rules, new_local),
            },
            (Some(_), Some(_)) => Verdict::CannotBe,
            (_, None) => Verdict::Forget,
        },
        // It is never uploaded, and whose message it was nobody knows.
        Remembered::Orphan => match (remote, local) {
            (Some(_), _) => Verdict::CannotBe,
            (None, Some(_)) => Verdict::Rest,
            (None, None) => Verdict::Forget,
        },
    }
}

fn new_remote(rules: &Rules) -> Verdict {
    match rules.policy.pull.new {
        Answer::Allow => Verdict::Fetch,
        Answer::Keep => Verdict::Keep(Side::Remote),
        Answer::Revert => Verdict::DeleteRemote { inferred: true },
    }
}

fn new_local(rules: &Rules) -> Verdict {
    match rules.policy.push.new {
        Answer::Allow => Verdict::Append,
        Answer::Keep => Verdict::Keep(Side::Local),
        Answer::Revert => Verdict::DeleteLocal { inferred: true },
    }
}

fn lone_one(side: Side, lone: &Lone, rules: &Rules, as_new: fn(&Rules) -> Verdict) -> Verdict {
    // What is remembered was not added just now against the policy: it is not taken away without a person's word.
    let transfer = || match as_new(rules) {
        Verdict::DeleteRemote { .. } | Verdict::DeleteLocal { .. } => Verdict::Keep(side),
        other => other,
    };
    match &lone.why {
        Why::Pending => transfer(),
        Why::Held(Hold { word: Word::Approved, .. }) => match as_new(rules) {
            Verdict::DeleteRemote { .. } => Verdict::DeleteRemote { inferred: false },
            Verdict::DeleteLocal { .. } => Verdict::DeleteLocal { inferred: false },
            other => other,
        },
        Why::Quarantined(quarantine) if quarantine.due <= rules.now => transfer(),
        Why::Held(Hold { gone, word: Word::Rejected, .. }) => match gone {
            Side::Local => Verdict::Keep(Side::Remote),
            Side::Remote => Verdict::Keep(Side::Local),
        },
        // No person has to confirm it: the message itself is here.
        Why::Superseded => Verdict::DeleteLocal { inferred: false },
        Why::Quarantined(_) | Why::Kept | Why::Filtered(_) | Why::Held(_) | Why::Missing(_) => Verdict::Rest,
    }
}

/// Agreed before, and lost by the server when it numbered its messages anew.
fn missing(hold: Hold, rules: &Rules) -> Verdict {
    match hold.word {
        Word::Waiting => Verdict::Rest,
        Word::Rejected if rules.policy.push.new == Answer::Allow => new_local(rules),
        Word::Rejected => Verdict::Keep(Side::Local),
        Word::Approved => match rules.policy.pull.gone {
            Answer::Allow => Verdict::DeleteLocal { inferred: false },
            Answer::Keep => Verdict::Keep(Side::Local),
            Answer::Revert => new_local(rules),
        },
    }
}

/// A pair whose Maildir side is a stub: flags go both ways, and nothing else reaches the server.
fn stub(pair: &Pair, remote: Option<&Flags>, local: Option<&Flags>, rules: &Rules) -> Verdict {
    match (remote, local) {
        (Some(there), Some(here)) => match flags(pair, there, here, rules) {
            // Flags first, so that the whole message begins with what both sides show.
            Verdict::Rest | Verdict::Flags { remote: None, local: None, .. }
                if !waits(pair, rules) && is_wanted(pair, there, here, rules) =>
            {
                Verdict::Complete
            }
            other => other,
        },
        (Some(_), None) => Verdict::Filter,
        (None, Some(_)) => match gone_there(pair, rules) {
            // The message is gone, and a stub cannot stand for it.
            Verdict::PutBack(_) => Verdict::Keep(Side::Local),
            other => other,
        },
        (None, None) => Verdict::Forget,
    }
}

/// Tells whether somebody flagged it, or the limit was raised above it.
fn is_wanted(pair: &Pair, there: &Flags, here: &Flags, rules: &Rules) -> bool {
    let measure = Measure { octets: pair.name.stub_octets(), date: None };
    let is_flagged = there.contains(SystemFlag::Flagged) || here.contains(SystemFlag::Flagged);
    is_flagged || rules.limits.admit(there, &measure, rules.now) == Admission::Whole
}

fn waits(pair: &Pair, rules: &Rules) -> bool {
    pair.trouble.as_ref().is_some_and(|t| t.due > rules.now)
}

/// A deletion was rejected, or the mark of one was taken off: what is left on this side goes to the other again, if new
/// messages of this side do at all.
fn put_back(side: Side, answers: Answers) -> Verdict {
    if answers.new == Answer::Allow { Verdict::PutBack(side) } else { Verdict::Keep(side) }
}

/// Missing in the Maildir. A deletion beats a change of flags made elsewhere.
fn gone_here(pair: &Pair, remote: &Flags, rules: &Rules) -> Verdict {
    if waits(pair, rules) {
        return Verdict::Rest;
    }
    let inferred = match pair.hold {
        Some(Hold { gone: Side::Local, word: Word::Waiting, .. }) => return Verdict::Rest,
        Some(Hold { gone: Side::Local, word: Word::Rejected, .. }) => return put_back(Side::Remote, rules.policy.pull),
        Some(Hold { gone: Side::Local, word: Word::Approved, .. }) => false,
        Some(Hold { gone: Side::Remote, .. }) | None => true,
    };
    match (pair.removing, rules.policy.push.gone) {
        // Somebody took our mark off: the message is wanted.
        (Some(Removing::Marked), _) if !remote.contains(SystemFlag::Deleted) => {
            put_back(Side::Remote, rules.policy.pull)
        }
        // Half done when the policy was another one: what is left there stays.
        (Some(_), Answer::Keep) if !rules.policy.writes_there() => Verdict::Keep(Side::Remote),
        (Some(_), Answer::Revert) if !rules.policy.writes_there() => put_back(Side::Remote, rules.policy.pull),
        (Some(_), _) => Verdict::DeleteRemote { inferred: false },
        // It may be another message than the one that was deleted here.
        (None, Answer::Allow) if pair.guessed && rules.route == Route::Expunge => Verdict::Keep(Side::Remote),
        (None, Answer::Allow) => Verdict::DeleteRemote { inferred },
        (None, Answer::Keep) => Verdict::Keep(Side::Remote),
        (None, Answer::Revert) => put_back(Side::Remote, rules.policy.pull),
    }
}

/// Missing on the server.
fn gone_there(pair: &Pair, rules: &Rules) -> Verdict {
    if waits(pair, rules) {
        return Verdict::Rest;
    }
    let inferred = match pair.hold {
        Some(Hold { gone: Side::Remote, word: Word::Waiting, .. }) => return Verdict::Rest,
        Some(Hold { gone: Side::Remote, word: Word::Rejected, .. }) => return put_back(Side::Local, rules.policy.push),
        Some(Hold { gone: Side::Remote, word: Word::Approved, .. }) => false,
        Some(Hold { gone: Side::Local, .. }) | None => true,
    };
    match rules.policy.pull.gone {
        Answer::Allow => Verdict::DeleteLocal { inferred },
        Answer::Keep => Verdict::Keep(Side::Local),
        Answer::Revert => put_back(Side::Local, rules.policy.push),
    }
}

/// On both sides: the flags are merged, each side's answer in view, and each side is asked for what it can store only.
fn flags(pair: &Pair, remote: &Flags, local: &Flags, rules: &Rules) -> Verdict {
    if waits(pair, rules) {
        return Verdict::Rest;
    }
    let base = &pair.agreed;
    let mut there = said_there(pair, remote, &rules.remote_flags);
    if pair.removing == Some(Removing::Marked) {
        // The mark is ours, not a user's: the file is back, so it is taken off again.
        there.remove(SystemFlag::Deleted);
    }
    let here = said_here(pair, local, &rules.local_flags);
    let heard = |answer: Answer, said: &Flags| if answer == Answer::Allow { said.clone() } else { base.clone() };
    let merged = Flags::merge(base, &heard(rules.policy.pull.flags, &there), &heard(rules.policy.push.flags, &here));
    // Where the other side's changes are kept, what this side has of its own stays beside what is agreed.
    let wanted = |answer: Answer, shown: &Flags| match answer {
        Answer::Allow | Answer::Revert => merged.clone(),
        Answer::Keep => Flags::merge(base, shown, &merged),
    };
    let change = |storable: &crate::mail::Storable, shown: &Flags, wanted: Flags| {
        FlagChange::between(&storable.part_of(shown), &storable.part_of(&wanted))
    };
    let mut wanted_there = wanted(rules.policy.pull.flags, &there);
    if let Some(lacking) = pair.lacking(Side::Remote) {
        // It was refused, or could not be sent: it is not tried again before somebody touches it.
        wanted_there = wanted_there.difference(&lacking.difference(remote));
    }
    let wanted_here = wanted(rules.policy.push.flags, &here);
    let to_remote = change(&rules.remote_flags, remote, wanted_there);
    let to_local = change(&rules.local_flags, local, wanted_here);
    // A hold dissolves and a removal is called off when the message is on both sides again.
    let settled = pair.hold.is_none() && pair.removing.is_none() && pair.trouble.is_none();
    if to_remote.is_none() && to_local.is_none() && merged == *base && settled {
        return Verdict::Rest;
    }
    Verdict::Flags { remote: to_remote, local: to_local, merged }
}
