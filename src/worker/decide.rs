//! A person's word on deletions that are held: they go, or the messages come back.

use crate::store::{Settlement, Store};
use crate::sync::{Change, Hold, Known, Lone, Pair, Picture, Side, Why};
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
    let mut changes = Vec::new();
    for record in store.mailboxes()? {
        let decoded = record.name.decoded().unwrap_or_else(|| record.name.as_wire().to_owned());
        if !wanted(&decoded) {
            continue;
        }
        let picture = store.picture(record.id)?;
        let mut of_mailbox = Vec::new();
        for (hold, change) in held(&picture, decision) {
            if set.is_some_and(|set| set != hold.set) {
                continue;
            }
            match decided.iter_mut().find(|(name, set, _)| *name == record.name.to_string() && *set == hold.set) {
                Some((.., count)) => *count += 1,
                None => decided.push((record.name.to_string(), hold.set, 1)),
            }
            of_mailbox.extend(change);
        }
        changes.push((record.id, of_mailbox));
    }
    store.settle(Settlement { changes, ..Settlement::default() })?;
    store.close()?;
    Ok(decided)
}

/// Every held deletion, and what the decision makes of it.
fn held(picture: &Picture, decision: Decision) -> Vec<(Hold, Vec<Change>)> {
    let mut found = Vec::new();
    for (uid, known) in picture.uids() {
        match known {
            Known::Pair(pair) => {
                if let Some(hold) = pair.hold.filter(|hold| !hold.released) {
                    found.push((hold, decide_pair(uid, pair, hold, decision)));
                }
            }
            Known::Lone(Lone { flags, why: Why::Held(hold) }) if !hold.released => {
                let lone = Lone { flags: flags.clone(), why: decide_lone(*hold, decision) };
                found.push((*hold, vec![Change::Uid(uid, Some(Known::Lone(lone)))]));
            }
            Known::Lone(_) => {}
        }
    }
    for (name, lone) in picture.lone_local() {
        if let Why::Held(hold) = &lone.why
            && !hold.released
        {
            let decided = Lone { flags: lone.flags.clone(), why: decide_lone(*hold, decision) };
            found.push((*hold, vec![Change::Local(name.clone(), Some(decided))]));
        }
    }
    found
}

fn decide_pair(uid: crate::mail::Uid, pair: &Pair, hold: Hold, decision: Decision) -> Vec<Change> {
    match (decision, hold.gone) {
        (Decision::Approve, _) => {
            let released = Pair { hold: Some(Hold { released: true, ..hold }), ..pair.clone() };
            vec![Change::Uid(uid, Some(Known::Pair(released)))]
        }
        (Decision::Reject, Side::Local) => {
            let flags = pair.remote.clone().unwrap_or_else(|| pair.agreed.clone());
            vec![Change::Uid(uid, Some(Known::Lone(Lone { flags, why: Why::Pending })))]
        }
        (Decision::Reject, Side::Remote) => {
            let flags = pair.local.clone().unwrap_or_else(|| pair.agreed.clone());
            let pending = Lone { flags, why: Why::Pending };
            vec![Change::Uid(uid, None), Change::Local(pair.name.clone(), Some(pending))]
        }
    }
}

fn decide_lone(hold: Hold, decision: Decision) -> Why {
    match decision {
        Decision::Approve => Why::Held(Hold { released: true, ..hold }),
        Decision::Reject => Why::Kept,
    }
}
