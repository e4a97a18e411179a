//! A person's word on deletions that are held: they go, or the messages come back.

use crate::store::Settlement;
use crate::sync::{Hold, Question, Word, decided as decided_of};
use crate::worker::{Error, Job};
use serde::{Deserialize, Serialize};

/// What a person decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The next pass deletes.
    Approve,
    /// The next pass puts the messages back.
    Reject,
}

impl Decision {
    fn word(self) -> Word {
        match self {
            Self::Approve => Word::Approved,
            Self::Reject => Word::Rejected,
        }
    }
}

/// What a decision was about.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// How many messages it was, by mailbox and set.
    pub deletions: Vec<(String, u32, u32)>,
    /// The mailboxes of which was asked whether their sides belong together.
    pub adoptions: Vec<String>,
}

/// Decides what waits for a person in those mailboxes of an account that `wanted` names (decoded, as on the server): held
/// deletions, of one set only if `set` is given, and otherwise whether two sides belong together. Blocking.
///
/// What comes to be held after this call is not decided by it.
pub fn decide(
    job: &Job,
    decision: Decision,
    wanted: &dyn Fn(&str) -> bool,
    set: Option<u32>,
) -> Result<Decided, Error> {
    let (store, _) = job.open()?;
    let mut decided = Decided::default();
    let (mut changes, mut mailboxes) = (Vec::new(), Vec::new());
    for mut record in store.mailboxes()? {
        let decoded = record.name.decoded().unwrap_or_else(|| record.name.as_wire().to_owned());
        if !wanted(&decoded) {
            continue;
        }
        let picture = store.picture(record.id)?;
        let mut is_decided = false;
        // No word lets the INBOX go.
        let may_go = decision == Decision::Reject || !record.name.is_inbox();
        if let Some(hold) = record.hold.filter(|hold| may_go && hold.word == Word::Waiting)
            && set.is_none_or(|set| set == hold.set)
        {
            let count = u32::try_from(picture.pairs().count()).unwrap_or(u32::MAX);
            decided.deletions.push((record.name.to_string(), hold.set, count.max(1)));
            record.hold = Some(Hold { word: decision.word(), ..hold });
            is_decided = true;
        }
        let mut of_mailbox = Vec::new();
        for (hold, change) in decided_of(&picture, decision.word(), set) {
            match decided
                .deletions
                .iter_mut()
                .find(|(name, set, _)| *name == record.name.to_string() && *set == hold.set)
            {
                Some((.., count)) => *count += 1,
                None => decided.deletions.push((record.name.to_string(), hold.set, 1)),
            }
            of_mailbox.push(change);
        }
        changes.push((record.id, of_mailbox));
        let asked = record.adopting.as_mut().and_then(|adopting| adopting.question.as_mut());
        // Who rejected may still find that it is right.
        let open = |question: &&mut Question| set.is_none() && question.word != decision.word();
        if let Some(question) = asked.filter(open) {
            question.word = decision.word();
            decided.adoptions.push(record.name.to_string());
            is_decided = true;
        }
        if is_decided {
            mailboxes.push(record);
        }
    }
    store.settle(Settlement { changes, mailboxes, ..Settlement::default() })?;
    store.close()?;
    Ok(decided)
}
