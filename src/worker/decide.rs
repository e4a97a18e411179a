//! A person's word on deletions that are held: they go, or the messages come back.

use crate::store::{Settlement, Store};
use crate::sync::{Change, Hold, Known, Lone, MailboxRecord, Pair, Picture, Why, Word};
use crate::worker::{Error, Job};

/// What a person decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The next pass deletes.
    Approve,
    /// The next pass puts the messages back.
    Reject,
}

/// Decides the held deletions of an account: those in the mailboxes that `wanted` names (decoded, as on the server), and
/// of one set only if `set` is given. Returns how many messages it was, by mailbox and set. Blocking.
///
/// What comes to be held after this call is not decided by it.
pub fn decide(
    job: &Job,
    decision: Decision,
    wanted: &dyn Fn(&str) -> bool,
    set: Option<u32>,
) -> Result<Vec<(String, u32, u32)>, Error> {
    let (store, _) = Store::open(&job.state())?;
    let mut decided: Vec<(String, u32, u32)> = Vec::new();
    let (mut changes, mut mailboxes) = (Vec::new(), Vec::new());
    for record in store.mailboxes()? {
        let decoded = record.name.decoded().unwrap_or_else(|| record.name.as_wire().to_owned());
        if !wanted(&decoded) {
            continue;
        }
        let picture = store.picture(record.id)?;
        // No word lets the INBOX go.
        let may_go = decision == Decision::Reject || !record.name.is_inbox();
        if let Some(hold) = record.hold.filter(|hold| may_go && hold.word == Word::Waiting)
            && set.is_none_or(|set| set == hold.set)
        {
            let count = u32::try_from(picture.pairs().count()).unwrap_or(u32::MAX);
            decided.push((record.name.to_string(), hold.set, count.max(1)));
            mailboxes.push(MailboxRecord { hold: Some(Hold { word: word(decision), ..hold }), ..record.clone() });
        }
        let mut of_mailbox = Vec::new();
        for (hold, change) in held(&picture, decision) {
            if set.is_some_and(|set| set != hold.set) {
                continue;
            }
            match decided.iter_mut().find(|(name, set, _)| *name == record.name.to_string() && *set == hold.set) {
                Some((.., count)) => *count += 1,
                None => decided.push((record.name.to_string(), hold.set, 1)),
            }
            of_mailbox.push(change);
        }
        changes.push((record.id, of_mailbox));
    }
    store.settle(Settlement { changes, mailboxes, ..Settlement::default() })?;
    store.close()?;
    Ok(decided)
}

fn word(decision: Decision) -> Word {
    match decision {
        Decision::Approve => Word::Approved,
        Decision::Reject => Word::Rejected,
    }
}

/// Every held deletion, and what the decision makes of it. The pair is kept: what a person restores after rejecting is
/// recognised, and not put back a second time.
fn held(picture: &Picture, decision: Decision) -> Vec<(Hold, Change)> {
    let decided = |hold: Hold| Hold { word: word(decision), ..hold };
    let waits = |hold: &Hold| hold.word == Word::Waiting;
    let mut found = Vec::new();
    for (uid, known) in picture.uids() {
        match known {
            Known::Pair(pair) => {
                if let Some(hold) = pair.hold.filter(waits) {
                    let pair = Pair { hold: Some(decided(hold)), ..pair.clone() };
                    found.push((hold, Change::Uid(uid, Some(Known::Pair(pair)))));
                }
            }
            Known::Lone(Lone { flags, why: Why::Held(hold) }) if waits(hold) => {
                let lone = Lone { flags: flags.clone(), why: Why::Held(decided(*hold)) };
                found.push((*hold, Change::Uid(uid, Some(Known::Lone(lone)))));
            }
            Known::Lone(_) => {}
        }
    }
    for (name, lone) in picture.lone_local() {
        if let Why::Held(hold) = &lone.why
            && waits(hold)
        {
            let lone = Lone { flags: lone.flags.clone(), why: Why::Held(decided(*hold)) };
            found.push((*hold, Change::Local(name.clone(), Some(lone))));
        }
    }
    found
}
