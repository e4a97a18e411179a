//! `mode`, or the finer `policy`: what may be done with the changes of each side.

use super::keys;
use super::problem::{Fault, Faults};
use super::raw::{Section, Value};
use crate::sync::{Answer, Answers, Policy};

/// The three kinds of changes, as they are written.
const KINDS: [&str; 3] = ["new", "gone", "flags"];
const EXAMPLE: &str = "{ pull = [\"new\", \"gone\", \"flags\"], push = [\"flags\"] }";

/// Reads both keys, of which only one may be given in one table; `None` if something is wrong, which is then in `faults`.
///
/// An account's own `mode` stands against a `policy` of `[defaults]`, and the other way round.
pub(super) fn read(section: &Section<'_>, faults: &mut Faults) -> Option<Policy> {
    let (own_mode, own_policy) = (section.own("mode"), section.own("policy"));
    let chosen = match (own_mode, own_policy) {
        (Some(_), Some(policy)) => {
            faults.push(policy.fault(
                "`policy` and `mode` exclude each other: both say what may be done with changes",
                "take one of them out",
            ));
            return None;
        }
        (Some(mode), None) => Choice::Mode(mode),
        (None, Some(policy)) => Choice::Policy(policy),
        (None, None) => match (section.get("policy"), section.get("mode")) {
            (Some(policy), _) => Choice::Policy(policy),
            (None, Some(mode)) => Choice::Mode(mode),
            (None, None) => return Some(Policy::TWO_WAY),
        },
    };
    let policy = match chosen {
        Choice::Mode(value) => faults.sift(value.choice(&[
            ("two-way", Policy::TWO_WAY),
            ("mirror", Policy::MIRROR),
            ("archive", Policy::ARCHIVE),
        ]))?,
        Choice::Policy(value) => finer(&value, faults)?,
    };
    if let Some(delete) = section.own("delete")
        && delete.as_text().is_some_and(|word| word != "never")
        && policy.push.gone != Answer::Allow
    {
        faults.push(delete.fault(
            "`delete` says what becomes of the server's message when the local one was deleted, and here such deletions \
             never reach the server",
            "take `delete` out, or let deletions through: mode = \"two-way\", or \"gone\" in policy.push",
        ));
        return None;
    }
    Some(policy)
}

enum Choice<'a> {
    Mode(Value<'a>),
    Policy(Value<'a>),
}

/// Reads `policy`: what is not listed is kept as it is.
fn finer(value: &Value<'_>, faults: &mut Faults) -> Option<Policy> {
    let expected = format!("a table such as {EXAMPLE}");
    let section = faults.sift(value.table(&expected))?;
    section.refuse_others(keys::POLICY, &[], faults);
    let mut side = |key| match section.own(key) {
        None => Some(Answers { new: Answer::Keep, gone: Answer::Keep, flags: Answer::Keep }),
        Some(value) => faults.sift(answers(&value)),
    };
    let (pull, push) = (side("pull"), side("push"));
    if section.entries().any(|(key, ..)| !keys::POLICY.contains(&key)) {
        // That was told; what else the table lacks may be what was misspelt.
        return None;
    }
    let policy = Policy { pull: pull?, push: push? };
    let allows = |answers: Answers| [answers.new, answers.gone, answers.flags].contains(&Answer::Allow);
    if !allows(policy.pull) && !allows(policy.push) {
        faults.push(value.fault(
            "this `policy` allows nothing, so nothing would ever be synchronised",
            format!("list what may pass, as in policy = {EXAMPLE}"),
        ));
        return None;
    }
    let never_paired = policy.pull.new == Answer::Keep && policy.push.new == Answer::Keep;
    if never_paired {
        faults.push(value.fault(
            "this `policy` lets no new message pass on either side, so there would never be one to be kept the same",
            "add \"new\" to `pull` or to `push`",
        ));
        return None;
    }
    Some(policy)
}

fn answers(value: &Value<'_>) -> Result<Answers, Fault> {
    let expected = "[\"new\", \"gone\", \"flags\"], or fewer of them";
    let items = value.items(expected)?;
    if items.iter().any(|item| !KINDS.contains(&item.text)) {
        return Err(value.wrong(expected));
    }
    let answer = |kind: &str| if items.iter().any(|item| item.text == kind) { Answer::Allow } else { Answer::Keep };
    Ok(Answers { new: answer("new"), gone: answer("gone"), flags: answer("flags") })
}
