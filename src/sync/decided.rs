//! A person's word on deletions that are held.

use crate::sync::picture::{Change, Hold, Known, Lone, Pair, Picture, Why, Word};

/// Every deletion that waits for a person, of one set only if `set` is given, and what the word makes of it.
///
/// The pair is kept: what a person restores after rejecting is recognised, and not put back a second time. What comes to be
/// held later is not among it, nor what was decided before.
pub fn decided(picture: &Picture, word: Word, set: Option<u32>) -> Vec<(Hold, Change)> {
    let decided = |hold: Hold| Hold { word, ..hold };
    let waits = |hold: &Hold| hold.word == Word::Waiting && set.is_none_or(|set| set == hold.set);
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
        let (hold, why) = match lone.why {
            Why::Held(hold) => (hold, Why::Held(decided(hold))),
            Why::Missing(hold) => (hold, Why::Missing(decided(hold))),
            Why::Pending | Why::Quarantined(_) | Why::Kept | Why::Filtered(_) | Why::Superseded => continue,
        };
        if waits(&hold) {
            found.push((hold, Change::Local(name.clone(), Some(Lone { flags: lone.flags.clone(), why }))));
        }
    }
    found
}
