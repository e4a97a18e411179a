//! The audit of one mailbox: what the server shows, what the Maildir shows and what is remembered, held against each other.
//!
//! It judges nothing and plans nothing: it counts, and tells each difference.

use crate::mail::{BaseName, Flags, Storable, Uid};
use crate::sync::lacks::{said_here, said_there};
use crate::sync::picture::{Known, Lone, Pair, Picture, Why};
use crate::sync::view::{LocalView, RemoteView};
use serde::Serialize;
use std::fmt;

/// What was counted in a mailbox, and every difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Messages on the server.
    pub there: u64,
    /// Messages in the Maildir.
    pub here: u64,
    /// Messages that are remembered on both sides, are on both, and have the flags that were agreed.
    pub agreed: u64,
    /// Everything else.
    pub differences: Vec<Difference>,
}

/// Something in which the three differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Difference {
    /// It is on the server, and nothing is remembered of it.
    NewThere {
        /// The message.
        uid: Uid,
    },
    /// It is in the Maildir, and nothing is remembered of it.
    NewHere {
        /// The message.
        name: BaseName,
    },
    /// It was on both sides, and is no longer on the server.
    GoneThere {
        /// The message on the server.
        uid: Uid,
        /// The message in the Maildir.
        name: BaseName,
    },
    /// It was on both sides, and is no longer in the Maildir.
    GoneHere {
        /// The message on the server.
        uid: Uid,
        /// The message in the Maildir.
        name: BaseName,
    },
    /// It was remembered, and is on neither side.
    GoneBoth {
        /// The message on the server, if it was there.
        uid: Option<Uid>,
        /// The message in the Maildir, if it was there.
        name: Option<BaseName>,
    },
    /// It is on both sides with other flags than were agreed.
    Flags {
        /// The message on the server.
        uid: Uid,
        /// The message in the Maildir.
        name: BaseName,
        /// What the server shows, as far as both can store it.
        there: Flags,
        /// What the Maildir shows, as far as both can store it.
        here: Flags,
        /// What was agreed.
        agreed: Flags,
    },
    /// It is on one side only, and that is remembered.
    OneSided {
        /// The message, if it is on the server.
        uid: Option<Uid>,
        /// The message, if it is in the Maildir.
        name: Option<BaseName>,
        /// Why, as a clause.
        why: String,
        /// It is meant to be so.
        meant: bool,
    },
}

impl Audit {
    /// Tells whether nothing differs that is not meant to.
    pub fn is_ok(&self) -> bool {
        self.differences.iter().all(Difference::is_meant)
    }
}

impl Difference {
    /// Tells whether it is as it should be: a policy or a limit leaves the sides different.
    pub fn is_meant(&self) -> bool {
        matches!(self, Self::OneSided { meant: true, .. })
    }
}

/// Holds the three pictures of a mailbox against each other.
pub fn audit(
    picture: &Picture,
    remote: &RemoteView,
    local: &LocalView,
    (remote_flags, local_flags): (&Storable, &Storable),
) -> Audit {
    let mut audit =
        Audit { there: remote.messages().len() as u64, here: local.messages().len() as u64, ..Audit::default() };
    for (uid, known) in picture.uids() {
        let found = match known {
            Known::Pair(pair) => {
                of_pair((uid, pair), remote.get(uid), local.get(&pair.name), (remote_flags, local_flags))
            }
            Known::Lone(_) if remote.get(uid).is_none() => Some(Difference::GoneBoth { uid: Some(uid), name: None }),
            Known::Lone(lone) => Some(one_sided(Some(uid), None, lone)),
        };
        audit.agreed += u64::from(found.is_none());
        audit.differences.extend(found);
    }
    for (name, lone) in picture.lone_local() {
        audit.differences.push(match local.get(name) {
            Some(_) => one_sided(None, Some(name.clone()), lone),
            None => Difference::GoneBoth { uid: None, name: Some(name.clone()) },
        });
    }
    let new_there = remote.messages().keys().filter(|uid| picture.uid(**uid).is_none());
    audit.differences.extend(new_there.map(|uid| Difference::NewThere { uid: *uid }));
    let is_known = |name: &BaseName| picture.partner(name).is_some() || picture.local(name).is_some();
    let new_here = local.messages().keys().filter(|name| !is_known(name));
    audit.differences.extend(new_here.map(|name| Difference::NewHere { name: name.clone() }));
    audit
}

fn of_pair(
    (uid, pair): (Uid, &Pair),
    there: Option<&Flags>,
    here: Option<&Flags>,
    (remote_flags, local_flags): (&Storable, &Storable),
) -> Option<Difference> {
    let name = pair.name.clone();
    match (there, here) {
        (None, None) => Some(Difference::GoneBoth { uid: Some(uid), name: Some(name) }),
        (None, Some(_)) => Some(Difference::GoneThere { uid, name }),
        (Some(_), None) => Some(Difference::GoneHere { uid, name }),
        (Some(there), Some(here)) => {
            // What a side cannot store it says nothing of.
            let there = said_there(pair, there, remote_flags);
            let here = said_here(pair, here, local_flags);
            let agreed = pair.agreed.clone();
            (there != agreed || here != agreed).then_some(Difference::Flags { uid, name, there, here, agreed })
        }
    }
}

fn one_sided(uid: Option<Uid>, name: Option<BaseName>, lone: &Lone) -> Difference {
    let meant = matches!(lone.why, Why::Kept | Why::Filtered(_));
    Difference::OneSided { uid, name, why: because(&lone.why), meant }
}

/// Why a message is on one side only, as a clause.
pub fn because(why: &Why) -> String {
    match why {
        Why::Pending => "its transfer is due".to_owned(),
        Why::Quarantined(quarantine) => {
            format!("its transfer failed {} times, for {}", quarantine.attempts, quarantine.reason)
        }
        Why::Kept => "the configuration keeps it here and does not carry it over".to_owned(),
        Why::Filtered(_) => "a limit of size or age leaves it there".to_owned(),
        Why::Superseded => {
            "it is the header alone of a message that has come as a whole; the next run removes it".to_owned()
        }
        Why::Held(hold) => format!("its removal is held in set {}, until somebody decides", hold.set),
        Why::Missing(hold) => {
            format!("the server lost it, and its removal here is held in set {}, until somebody decides", hold.set)
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let either = |uid: &Option<Uid>, name: &Option<BaseName>| match (uid, name) {
            (Some(uid), _) => format!("UID {uid}"),
            (None, Some(name)) => name.to_string(),
            (None, None) => "a message".to_owned(),
        };
        let words = |flags: &Flags| if flags.is_empty() { "none".to_owned() } else { flags.to_string() };
        match self {
            Self::NewThere { uid } => write!(f, "UID {uid} is new on the server"),
            Self::NewHere { name } => write!(f, "{name} is new here"),
            Self::GoneThere { uid, name } => write!(f, "UID {uid} is gone from the server, and {name} is here"),
            Self::GoneHere { uid, name } => write!(f, "UID {uid} is on the server, and {name} is gone here"),
            Self::GoneBoth { uid, name } => write!(f, "{} is remembered, and gone", either(uid, name)),
            Self::Flags { uid, there, here, agreed, .. } => write!(
                f,
                "UID {uid} has other flags than were agreed: {} on the server, {} here, agreed {}",
                words(there),
                words(here),
                words(agreed)
            ),
            Self::OneSided { uid: Some(uid), why, .. } => write!(f, "UID {uid} is on the server only: {why}"),
            Self::OneSided { name, why, .. } => write!(f, "{} is here only: {why}", either(&None, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::picture::Change;
    use std::collections::BTreeMap;

    fn uid(number: u32) -> Uid {
        Uid::new(number).expect("not zero")
    }

    fn name(text: &str) -> BaseName {
        BaseName::new(text.as_bytes()).expect("a name")
    }

    #[test]
    fn every_difference_is_told_and_nothing_else() {
        let mut picture = Picture::new();
        for (number, text) in [(1, "same"), (2, "there"), (3, "here"), (4, "both"), (5, "flags")] {
            let pair = Pair::agreed(name(text), Flags::parse("\\Seen work"), None);
            picture.apply(Change::Uid(uid(number), Some(Known::Pair(pair))));
        }
        let kept = Lone { flags: Flags::new(), why: Why::Kept };
        picture.apply(Change::Uid(uid(6), Some(Known::Lone(kept))));
        let pending = Lone { flags: Flags::new(), why: Why::Pending };
        picture.apply(Change::Local(name("pending"), Some(pending.clone())));
        picture.apply(Change::Local(name("lost"), Some(pending)));
        let there = [(1, "\\Seen work"), (3, "\\Seen work"), (5, "work"), (6, ""), (7, "")];
        let there = there.map(|(number, flags)| (uid(number), Flags::parse(flags)));
        let remote = RemoteView::listed(BTreeMap::from(there), 5).expect("it adds up");
        let here = [("same", "\\Seen"), ("there", "\\Seen"), ("flags", "\\Seen"), ("pending", ""), ("new", "")];
        let local = LocalView::of_new(here.map(|(text, flags)| (name(text), Flags::parse(flags))).into());
        let letters = Storable { any_keyword: false, ..Storable::everything() };
        let found = audit(&picture, &remote, &local, (&Storable::everything(), &letters));
        assert_eq!((found.there, found.here, found.agreed), (5, 5, 1));
        assert_eq!(found.differences.iter().filter(|difference| difference.is_meant()).count(), 1);
        let told: Vec<String> = found.differences.iter().map(Difference::to_string).collect();
        assert_eq!(
            told,
            [
                "UID 2 is gone from the server, and there is here",
                "UID 3 is on the server, and here is gone here",
                "UID 4 is remembered, and gone",
                "UID 5 has other flags than were agreed: work on the server, \\Seen work here, agreed \\Seen work",
                "UID 6 is on the server only: the configuration keeps it here and does not carry it over",
                "lost is remembered, and gone",
                "pending is here only: its transfer is due",
                "UID 7 is new on the server",
                "new is new here",
            ]
        );
    }
}
