//! From three trees to a plan, for one mailbox.
//!
//! Each message is judged by the table alone; nothing here looks at two messages at once. What the guard and the
//! pairing of moves have to say comes afterwards, over the plans of all mailboxes.

use crate::mail::{BaseName, Flags, Uid};
use crate::sync::lacks::{self, said_here, said_there};
use crate::sync::limits::Measure;
use crate::sync::picture::{Change, Known, Lone, Pair, Picture, Side, Why};
use crate::sync::plan::{Action, Note, NoteKind, Route};
use crate::sync::policy::Rules;
use crate::sync::verdict::{Remembered, Verdict, verdict};
use crate::sync::view::{LocalView, RemoteView};
use std::collections::BTreeSet;

/// What is to be done and remembered in one mailbox.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Reconciled {
    /// What changes a side, additions before removals.
    pub actions: Vec<Action>,
    /// What changes the memory only.
    pub notes: Vec<Note>,
}

/// Compares what is remembered with what both sides show. `fresh` supplies names for messages that are fetched.
pub fn reconcile(
    picture: &Picture,
    remote: &RemoteView,
    local: &LocalView,
    rules: &Rules,
    fresh: &mut dyn FnMut() -> BaseName,
) -> Reconciled {
    let mut plan = Draft { picture, rules, fresh, done: Reconciled::default() };
    let uids: BTreeSet<Uid> = picture.uids().map(|(uid, _)| uid).chain(remote.messages().keys().copied()).collect();
    for uid in uids {
        plan.message(uid, remote.get(uid), local);
    }
    let names = local.messages().keys().chain(picture.lone_local().map(|(name, _)| name));
    let unpaired: BTreeSet<&BaseName> = names.filter(|name| picture.partner(name).is_none()).collect();
    for name in unpaired {
        plan.lone_local(name, local.get(name));
    }
    let mut done = plan.done;
    done.actions.sort_by_key(Action::phase);
    done
}

struct Draft<'a> {
    picture: &'a Picture,
    rules: &'a Rules,
    fresh: &'a mut dyn FnMut() -> BaseName,
    done: Reconciled,
}

impl Draft<'_> {
    /// Judges what has a UID.
    fn message(&mut self, uid: Uid, there: Option<&Flags>, local: &LocalView) {
        match self.picture.uid(uid) {
            None => {
                let verdict = verdict(Remembered::Nothing, there, None, self.rules);
                self.one_sided(uid, there, verdict);
            }
            Some(Known::Lone(lone)) => {
                let verdict = verdict(Remembered::Lone(Side::Remote, lone), there, None, self.rules);
                if let (Verdict::Rest, Some(flags)) = (&verdict, there)
                    && *flags != lone.flags
                {
                    let seen = Lone { flags: flags.clone(), why: lone.why.clone() };
                    self.note(Change::Uid(uid, Some(Known::Lone(seen))), NoteKind::Seen);
                }
                self.one_sided(uid, there, verdict);
            }
            Some(Known::Pair(pair)) => {
                let here = local.get(&pair.name);
                let verdict = verdict(Remembered::Pair(pair), there, here, self.rules);
                self.pair(uid, pair, there, here, verdict);
            }
        }
    }

    fn one_sided(&mut self, uid: Uid, there: Option<&Flags>, verdict: Verdict) {
        let flags = there.cloned().unwrap_or_default();
        match verdict {
            Verdict::Fetch => self.fetch(uid, flags),
            Verdict::Keep(_) => self.keep_remote(uid, flags),
            Verdict::Forget => self.note(Change::Uid(uid, None), NoteKind::Forget),
            Verdict::DeleteRemote { inferred } => {
                let name = (self.fresh)();
                self.act(Action::DeleteRemote { uid, name, route: self.rules.route, inferred });
            }
            Verdict::Rest
            | Verdict::CannotBe
            | Verdict::Append
            | Verdict::Flags { .. }
            | Verdict::DeleteLocal { .. }
            | Verdict::Filter
            | Verdict::Complete
            | Verdict::PutBack(_) => {}
        }
    }

    fn pair(&mut self, uid: Uid, pair: &Pair, there: Option<&Flags>, here: Option<&Flags>, verdict: Verdict) {
        let seen = self.seen(pair, there, here);
        match verdict {
            Verdict::Rest => {
                if seen != *pair {
                    self.note(Change::Uid(uid, Some(Known::Pair(seen))), NoteKind::Seen);
                }
            }
            Verdict::Flags { remote: None, local: None, merged } => {
                // What a side cannot store it says nothing of, so what is agreed now stands for it.
                let lacks = lacks::seen(pair, &merged, there, here, self.rules);
                let (guessed, object) = (pair.guessed, pair.object);
                let agreed = Pair { lacks, guessed, object, ..Pair::agreed(pair.name.clone(), merged, pair.print) };
                let agreed = self.differing(agreed, there, here);
                self.note(Change::Uid(uid, Some(Known::Pair(agreed))), NoteKind::Agree);
            }
            Verdict::Flags { remote, local, merged } => {
                if seen != *pair {
                    self.note(Change::Uid(uid, Some(Known::Pair(seen))), NoteKind::Seen);
                }
                let local = local.map(|change| (here.cloned().unwrap_or_default(), change));
                self.act(Action::SetFlags { uid, name: pair.name.clone(), remote, local, merged });
            }
            Verdict::DeleteRemote { inferred } => {
                if seen != *pair {
                    self.note(Change::Uid(uid, Some(Known::Pair(seen))), NoteKind::Seen);
                }
                let route = if pair.removing.is_some() { Route::Expunge } else { self.rules.route };
                self.act(Action::DeleteRemote { uid, name: pair.name.clone(), route, inferred });
            }
            Verdict::DeleteLocal { inferred } => {
                self.act(Action::DeleteLocal { uid: Some(uid), name: pair.name.clone(), inferred });
            }
            Verdict::Forget => self.note(Change::Uid(uid, None), NoteKind::Forget),
            Verdict::Keep(Side::Remote) => self.keep_remote(uid, there.cloned().unwrap_or_default()),
            Verdict::Keep(Side::Local) => {
                self.note(Change::Uid(uid, None), NoteKind::Keep);
                self.keep_local(&pair.name, here.cloned().unwrap_or_default());
            }
            Verdict::PutBack(Side::Remote) => {
                let flags = there.cloned().unwrap_or_default();
                let pending = Lone { flags: flags.clone(), why: Why::Pending };
                self.note(Change::Uid(uid, Some(Known::Lone(pending))), NoteKind::PutBack);
                self.fetch(uid, flags);
            }
            Verdict::PutBack(Side::Local) => {
                let flags = here.cloned().unwrap_or_default();
                let pending = Lone { flags: flags.clone(), why: Why::Pending };
                self.note(Change::Uid(uid, None), NoteKind::PutBack);
                self.note(Change::Local(pair.name.clone(), Some(pending)), NoteKind::PutBack);
                self.act(Action::Append { name: pair.name.clone(), flags, print: None });
            }
            Verdict::Filter => {
                let measure = Measure { octets: pair.name.stub_octets(), date: None };
                let left = Lone { flags: there.cloned().unwrap_or_default(), why: Why::Filtered(measure) };
                self.note(Change::Uid(uid, Some(Known::Lone(left))), NoteKind::Filter);
            }
            Verdict::Complete => self.fetch(uid, there.cloned().unwrap_or_default()),
            Verdict::Fetch | Verdict::Append | Verdict::CannotBe => {}
        }
    }

    /// Judges a local message without partner.
    fn lone_local(&mut self, name: &BaseName, here: Option<&Flags>) {
        let remembered = match self.picture.local(name) {
            Some(lone) if !name.is_stub() || lone.why == Why::Superseded => Remembered::Lone(Side::Local, lone),
            _ if name.is_stub() => Remembered::Orphan,
            _ => Remembered::Nothing,
        };
        let mut flags = here.cloned().unwrap_or_default();
        if let Some(Lone { flags: known, why: Why::Pending }) = self.picture.local(name) {
            // It is uploaded with what the Maildir cannot show of it as well.
            flags = self.rules.local_flags.mask_listed(known, &flags);
        }
        match verdict(remembered, None, here, self.rules) {
            Verdict::Append => self.act(Action::Append { name: name.clone(), flags, print: None }),
            Verdict::Keep(_) => self.keep_local(name, flags),
            Verdict::Forget => self.note(Change::Local(name.clone(), None), NoteKind::Forget),
            Verdict::DeleteLocal { inferred } => {
                self.act(Action::DeleteLocal { uid: None, name: name.clone(), inferred });
            }
            Verdict::Rest
            | Verdict::CannotBe
            | Verdict::Fetch
            | Verdict::Flags { .. }
            | Verdict::DeleteRemote { .. }
            | Verdict::Filter
            | Verdict::Complete
            | Verdict::PutBack(_) => {}
        }
    }

    /// The pair with what the sides show now, so that no checkpoint passes a change that no plan has answered.
    fn seen(&self, pair: &Pair, there: Option<&Flags>, here: Option<&Flags>) -> Pair {
        let lacks = lacks::seen(pair, &pair.agreed, there, here, self.rules);
        self.differing(Pair { lacks, ..pair.clone() }, there, here)
    }

    /// The pair with what the sides say that is not agreed.
    fn differing(&self, pair: Pair, there: Option<&Flags>, here: Option<&Flags>) -> Pair {
        let differing = |said: Flags| (said != pair.agreed).then_some(said);
        let remote = match there {
            Some(flags) => differing(said_there(&pair, flags, &self.rules.remote_flags)),
            None => pair.remote.clone(),
        };
        let local = match here {
            Some(flags) => differing(said_here(&pair, flags, &self.rules.local_flags)),
            None => pair.local.clone(),
        };
        Pair { remote, local, ..pair }
    }

    fn fetch(&mut self, uid: Uid, flags: Flags) {
        let name = (self.fresh)();
        self.act(Action::Fetch { uid, name, flags });
    }

    fn keep_remote(&mut self, uid: Uid, flags: Flags) {
        let kept = Known::Lone(Lone { flags, why: Why::Kept });
        self.note(Change::Uid(uid, Some(kept)), NoteKind::Keep);
    }

    fn keep_local(&mut self, name: &BaseName, flags: Flags) {
        self.note(Change::Local(name.clone(), Some(Lone { flags, why: Why::Kept })), NoteKind::Keep);
    }

    fn act(&mut self, action: Action) {
        self.done.actions.push(action);
    }

    fn note(&mut self, change: Change, kind: NoteKind) {
        self.done.notes.push(Note { change, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Keyword, Storable};
    use crate::sync::limits::Limits;
    use crate::sync::policy::Policy;
    use std::collections::BTreeMap;

    #[test]
    fn what_was_agreed_by_one_look_needs_no_second() {
        let mut local_flags = Storable { any_keyword: false, ..Storable::everything() };
        local_flags.flags.insert_keyword(Keyword::forwarded());
        let (policy, remote_flags) = (Policy::TWO_WAY, Storable::everything());
        let rules =
            Rules { policy, remote_flags, local_flags, route: Route::Expunge, limits: Limits::default(), now: 0 };
        let (uid, name) = (Uid::MIN, BaseName::new(b"m").expect("a name"));
        let mut picture = Picture::new();
        picture.apply(Change::Uid(uid, Some(Known::Pair(Pair::agreed(name.clone(), Flags::new(), None)))));
        // Both are seen at once, the keyword here by nobody.
        let remote = BTreeMap::from([(uid, Flags::parse("\\Seen work"))]);
        let remote = RemoteView::listed(remote, 1).expect("it adds up");
        let local = LocalView::of_new(BTreeMap::from([(name, Flags::parse("\\Seen"))]));
        let mut fresh = || -> BaseName { unreachable!("nothing is fetched") };
        let first = reconcile(&picture, &remote, &local, &rules, &mut fresh);
        assert_eq!((first.actions.len(), first.notes.len()), (0, 1));
        first.notes.into_iter().for_each(|note| picture.apply(note.change));
        assert_eq!(reconcile(&picture, &remote, &local, &rules, &mut fresh), Reconciled::default());
    }
}
