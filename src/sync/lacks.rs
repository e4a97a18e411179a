//! Keywords that a side could not store, and of which it therefore says nothing.
//!
//! A Maildir has twenty-six letters for them, a server may take none, or refuse one. What was agreed all the same stays
//! agreed. It must be remembered who lacks it: the day that the side can store the keyword, and shows the message without
//! it, nobody has removed it.

use crate::mail::{Flags, Keyword, Storable};
use crate::sync::picture::{Pair, Side};
use crate::sync::policy::Rules;
use serde::{Deserialize, Serialize};

/// Keywords on which both sides agree, and which one of them does not have.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lacks {
    /// Those that the server does not have.
    pub remote: Flags,
    /// Those that no letter of the file stands for.
    pub local: Flags,
}

impl Lacks {
    /// What is remembered of a pair: nothing in the usual case.
    pub fn some(self) -> Option<Box<Self>> {
        (!self.remote.is_empty() || !self.local.is_empty()).then(|| Box::new(self))
    }
}

impl Pair {
    /// The keywords that a side lacks.
    pub fn lacking(&self, side: Side) -> Option<&Flags> {
        let lacks = self.lacks.as_ref()?;
        let flags = match side {
            Side::Remote => &lacks.remote,
            Side::Local => &lacks.local,
        };
        (!flags.is_empty()).then_some(flags)
    }
}

/// What the server is taken to say of a pair when it shows these flags.
pub fn said_there(pair: &Pair, shown: &Flags, remote_flags: &Storable) -> Flags {
    with_lacking(pair, Side::Remote, remote_flags.mask(&pair.agreed, shown))
}

/// What the Maildir is taken to say of a pair when it shows these flags: nothing of a keyword that no letter stands for,
/// although it could get one.
pub fn said_here(pair: &Pair, shown: &Flags, local_flags: &Storable) -> Flags {
    with_lacking(pair, Side::Local, local_flags.mask_listed(&pair.agreed, shown))
}

fn with_lacking(pair: &Pair, side: Side, said: Flags) -> Flags {
    match pair.lacking(side) {
        Some(lacking) => said.union(&pair.agreed.intersection(lacking)),
        None => said,
    }
}

/// What the sides of a pair lack when both are looked at and `agreed` is agreed on.
pub fn seen(
    pair: &Pair,
    agreed: &Flags,
    there: Option<&Flags>,
    here: Option<&Flags>,
    rules: &Rules,
) -> Option<Box<Lacks>> {
    let new = |keyword: &Keyword| !pair.agreed.contains_keyword(keyword);
    let remote = missing(pair, Side::Remote, agreed, there, |keyword| {
        new(keyword) || !(rules.remote_flags.any_keyword || rules.remote_flags.flags.contains_keyword(keyword))
    });
    let local = missing(pair, Side::Local, agreed, here, |keyword| {
        new(keyword) || !rules.local_flags.flags.contains_keyword(keyword)
    });
    Lacks { remote, local }.some()
}

/// What the sides of a pair lack after an action. `before`: the pair as it was, if it was one; `there` and `here`: the flags
/// that a side was seen with afterwards, if it was.
pub fn settled(before: Option<&Pair>, after: Pair, there: Option<&Flags>, here: Option<&Flags>) -> Pair {
    let new = |keyword: &Keyword| before.is_none_or(|pair| !pair.agreed.contains_keyword(keyword));
    let old = before.unwrap_or(&after);
    let remote = missing(old, Side::Remote, &after.agreed, there, new);
    let local = missing(old, Side::Local, &after.agreed, here, new);
    // What a side lacks is no difference that waits for an answer.
    let waits = |said: Option<Flags>, lacking: &Flags| said.filter(|said| said.union(lacking) != after.agreed);
    let (there, here) = (waits(after.remote.clone(), &remote), waits(after.local.clone(), &local));
    Pair { remote: there, local: here, lacks: Lacks { remote, local }.some(), ..after }
}

/// Those agreed keywords that a side does not show, and lacked before or `cannot` have removed.
fn missing(pair: &Pair, side: Side, agreed: &Flags, shown: Option<&Flags>, cannot: impl Fn(&Keyword) -> bool) -> Flags {
    let mut missing = Flags::new();
    let lacking = pair.lacking(side);
    let lacked = |keyword: &Keyword| lacking.is_some_and(|flags| flags.contains_keyword(keyword));
    for keyword in agreed.keywords() {
        let lacks = match shown {
            Some(shown) => !shown.contains_keyword(keyword) && (lacked(keyword) || cannot(keyword)),
            None => lacked(keyword),
        };
        if lacks {
            missing.insert_keyword(keyword.clone());
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{BaseName, FlagChange, Uid};
    use crate::sync::picture::{Change, Known, Picture};
    use crate::sync::plan::{Action, Route};
    use crate::sync::policy::Policy;
    use crate::sync::settle::{Outcome, settle};
    use crate::sync::view::{LocalView, RemoteView};
    use crate::sync::{Reconciled, reconcile};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A server that lists these keywords, and a Maildir that has letters for those.
    fn rules(there: Option<&str>, here: &str, room: bool) -> Rules {
        let listed = |words: &str, any| Storable { any_keyword: any, flags: Flags::parse(words).union(&system()) };
        let remote_flags = there.map_or_else(Storable::everything, |words| listed(words, false));
        let route = Route::Expunge;
        Rules {
            policy: Policy::TWO_WAY,
            remote_flags,
            local_flags: listed(here, room),
            route,
            limits: crate::sync::Limits::default(),
            now: 0,
        }
    }

    fn system() -> Flags {
        Flags::parse("\\Answered \\Deleted \\Draft \\Flagged \\Seen")
    }

    fn pair(agreed: &str, remote: &str, local: &str) -> Pair {
        let lacks = Lacks { remote: Flags::parse(remote), local: Flags::parse(local) }.some();
        Pair { lacks, ..Pair::agreed(BaseName::new(b"m").expect("a name"), Flags::parse(agreed), None) }
    }

    /// Looks at one pair, and remembers what follows from the look alone.
    fn look(pair: Pair, there: &str, here: &str, rules: &Rules) -> (Pair, Option<Action>) {
        let (uid, name) = (Uid::MIN, pair.name.clone());
        let mut picture = Picture::new();
        picture.apply(Change::Uid(uid, Some(Known::Pair(pair))));
        let remote = RemoteView::listed(BTreeMap::from([(uid, Flags::parse(there))]), 1).expect("it adds up");
        let local = LocalView::of_new(BTreeMap::from([(name, Flags::parse(here))]));
        let Reconciled { actions, notes } =
            reconcile(&picture, &remote, &local, rules, &mut || unreachable!("nothing is fetched"));
        notes.into_iter().for_each(|note| picture.apply(note.change));
        (picture.pair(uid).expect("a pair").clone(), actions.into_iter().next())
    }

    fn local_change(action: Option<Action>) -> Option<FlagChange> {
        match action {
            Some(Action::SetFlags { remote: None, local: Some((_, change)), .. }) => Some(change),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_keyword_that_gets_a_letter_later_is_written_and_was_never_removed() {
        // It lived in the database alone.
        let (kept, action) = look(pair("work", "", ""), "work", "", &rules(None, "", false));
        assert_eq!((kept.lacking(Side::Local), action), (Some(&Flags::parse("work")), None));
        // Now another message has given it a letter.
        let (_, action) = look(kept, "work", "", &rules(None, "work", true));
        assert_eq!(local_change(action), FlagChange::between(&Flags::new(), &Flags::parse("work")));
    }

    #[test]
    fn a_table_of_letters_that_is_lost_strips_nothing() {
        let (kept, action) = look(pair("work", "", ""), "work", "", &rules(None, "", true));
        // The letters are written anew, and until then it is remembered that they are lacking.
        assert_eq!(kept.lacking(Side::Local), Some(&Flags::parse("work")));
        assert!(local_change(action).is_some());
    }

    #[test]
    fn a_letter_that_a_reader_takes_away_is_a_keyword_removed() {
        let (_, action) = look(pair("work", "", ""), "work", "", &rules(None, "work", true));
        let Some(Action::SetFlags { remote: Some(change), local: None, .. }) = action else { panic!("{action:?}") };
        assert_eq!(change, FlagChange { add: Flags::new(), remove: Flags::parse("work") });
    }

    #[test]
    fn what_the_server_refused_is_not_tried_again_and_not_stripped_here() {
        let lacking = pair("work", "work", "");
        let (kept, action) = look(lacking.clone(), "", "work", &rules(None, "work", true));
        assert_eq!((kept, action), (lacking.clone(), None));
        // Taken off here it is forgotten; set again it is tried again.
        let (kept, action) = look(lacking, "", "", &rules(None, "work", true));
        assert_eq!((kept, action), (pair("", "", ""), None));
    }

    #[test]
    fn a_keyword_that_the_other_side_shows_at_last_is_lacking_no_more() {
        let (kept, action) = look(pair("a b", "a", "b"), "a b", "a b", &rules(None, "a b", true));
        assert_eq!((kept, action), (pair("a b", "", ""), None));
    }

    #[test]
    fn an_outcome_tells_what_was_not_stored() {
        let mut picture = Picture::new();
        let merged = Flags::parse("\\Seen work");
        let before = Pair { remote: Some(merged.clone()), ..pair("", "", "") };
        picture.apply(Change::Uid(Uid::MIN, Some(Known::Pair(before))));
        let local = FlagChange::between(&Flags::new(), &merged).map(|change| (Flags::new(), change));
        let name = BaseName::new(b"m").expect("a name");
        let action = Action::SetFlags { uid: Uid::MIN, name, remote: None, local, merged: merged.clone() };
        let done = settle(&picture, &action, &Outcome::FlagsSet { remote: true, local: true }, 0).remove(0);
        let Change::Uid(_, Some(Known::Pair(after))) = done else { panic!("{done:?}") };
        let after = settled(picture.pair(Uid::MIN), after, Some(&merged), Some(&Flags::parse("\\Seen")));
        assert_eq!(after, pair("\\Seen work", "", "work"));
    }

    proptest! {
        /// Whatever a side cannot store, and whenever it can again: as long as nobody touches a message, nothing agreed is
        /// lost, and looking again changes nothing.
        #[test]
        fn untouched_keywords_survive_every_change_of_what_can_be_stored(
            steps in prop::collection::vec((any::<bool>(), 0usize..4, 0usize..4, any::<bool>()), 1..12),
        ) {
            let tables = ["", "a", "b", "a b"];
            let agreed = Flags::parse("\\Seen a b");
            let (mut there, mut here) = (agreed.clone(), Flags::parse("\\Seen"));
            let mut known = pair("\\Seen a b", "", "a b");
            for (any, listed, table, room) in steps {
                let rules = rules((!any).then_some(tables[listed]), tables[table], room);
                // A side shows what it can tell of.
                let told = |flags: &Flags| flags.difference(&Flags::parse("a b").difference(&rules.local_flags.flags));
                let (kept, action) = look(known, &there.to_string(), &told(&here).to_string(), &rules);
                known = kept;
                if let Some(Action::SetFlags { remote, local, merged, .. }) = action {
                    prop_assert_eq!(&merged, &agreed);
                    prop_assert_eq!(remote, None);
                    if let Some((_, change)) = local {
                        here = change.apply(&here);
                        // Every keyword gets its letter.
                        let shown = change.apply(&told(&here));
                        known = settled(Some(&known.clone()), known, Some(&there), Some(&shown));
                    }
                }
                prop_assert_eq!(&known.agreed, &agreed);
                there = agreed.clone();
            }
        }
    }
}
