use super::*;
use crate::mail::Storable;
use crate::sync::limits::Limits;
use crate::sync::matching::tests::{here, name, texts, there, uid};
use crate::sync::plan::{Action, Phase, Route};
use crate::sync::policy::{Policy, Rules};
use crate::sync::reconcile::{Reconciled, reconcile};
use proptest::prelude::*;

/// Both sides: `number text flags`, and what was remembered.
#[derive(Debug)]
struct World {
    server: BTreeMap<Uid, (String, Flags)>,
    maildir: BTreeMap<BaseName, (String, Flags)>,
    base: Picture,
}

impl World {
    fn new(server: &[(u32, &str, &str)], maildir: &[(&str, &str, &str)]) -> Self {
        let mail = |id: &str| format!("Message-ID: <{id}@x>\r\n\r\n{id}\r\n");
        Self {
            server: server.iter().map(|(n, id, f)| (uid(*n), (mail(id), Flags::parse(f)))).collect(),
            maildir: maildir.iter().map(|(n, id, f)| (name(n), (mail(id), Flags::parse(f)))).collect(),
            base: Picture::new(),
        }
    }

    /// What was agreed: `UID name text flags`.
    fn remembering(mut self, pairs: &[(u32, &str, &str, &str)]) -> Self {
        for (n, file, id, flags) in pairs {
            let print = crate::mail::fingerprint::of(format!("Message-ID: <{id}@x>\r\n\r\n{id}\r\n").as_bytes());
            let pair = Pair::agreed(name(file), Flags::parse(flags), Some(print));
            self.base.apply(Change::Uid(uid(*n), Some(Known::Pair(pair))));
        }
        self
    }

    fn views(&self) -> (RemoteView, LocalView) {
        let remote: BTreeMap<Uid, Flags> = self.server.iter().map(|(uid, (_, flags))| (*uid, flags.clone())).collect();
        let count = remote.len() as u32;
        let local = self.maildir.iter().map(|(name, (_, flags))| (name.clone(), flags.clone()));
        (RemoteView::listed(remote, count).expect("it adds up"), LocalView::of_new(local.collect()))
    }

    fn adopt(&self, cause: Cause) -> (Adoption, Picture) {
        let (remote, local) = self.views();
        let Scope { uids, names, gone } = scope(cause, &self.base, &remote, &local);
        let server = uids.iter().map(|uid| (*uid, there(&self.server[uid].0, 1, true))).collect();
        let mut maildir: BTreeMap<BaseName, LooksHere> =
            names.iter().map(|name| (name.clone(), here(&self.maildir[name].0, 1))).collect();
        maildir.extend(gone);
        let done = adopt(cause, &self.base, (&remote, &local), &server, &maildir, 7);
        let mut picture = if cause == Cause::NewEpoch { Picture::new() } else { self.base.clone() };
        done.changes.iter().for_each(|change| picture.apply(change.clone()));
        (done, picture)
    }

    fn plan(&self, picture: &Picture) -> Reconciled {
        let (remote, local) = self.views();
        let (all, mut n) = (Storable::everything(), 0);
        let rules = Rules {
            policy: Policy::TWO_WAY,
            remote_flags: all.clone(),
            local_flags: all,
            route: Route::Expunge,
            limits: Limits::default(),
            now: 0,
        };
        reconcile(picture, &remote, &local, &rules, &mut || {
            n += 1;
            name(&format!("fresh{n}"))
        })
    }

    /// What follows, as lines.
    fn then(&self, cause: Cause) -> String {
        let (_, picture) = self.adopt(cause);
        self.plan(&picture).actions.iter().map(|action| format!("{action}\n")).collect()
    }
}

#[test]
fn a_first_run_transfers_only_what_has_no_counterpart_and_flags_of_either_side_stay() {
    let world = World::new(
        &[(1, "a", "\\Seen"), (2, "b", "\\Flagged"), (3, "c", "")],
        &[("x", "b", "\\Seen"), ("y", "a", "\\Seen"), ("z", "d", "")],
    );
    let (done, picture) = world.adopt(Cause::Met);
    assert_eq!((done.paired, done.there, done.here, done.held), (2, 3, 3, 0));
    assert_eq!(picture.partner(&name("y")), Some(uid(1)));
    assert_eq!(
        world.then(Cause::Met),
        "fetch UID 3\nupload z\nflags of UID 2: on the server +\\Seen, here +\\Flagged\n"
    );
}

#[test]
fn deleted_is_never_spread_without_a_memory() {
    let world = World::new(&[(1, "a", "\\Deleted"), (2, "b", "")], &[("x", "a", ""), ("y", "b", "\\Deleted \\Seen")]);
    assert_eq!(
        world.then(Cause::Met),
        "flags of UID 1: on the server -\\Deleted\nflags of UID 2: on the server +\\Seen, here -\\Deleted\n"
    );
}

#[test]
fn pending_changes_come_along_into_a_new_epoch_and_a_pending_deletion_is_held() {
    let world = World::new(&[(1, "a", "\\Seen"), (2, "b", ""), (3, "n", "")], &[("x", "a", "\\Seen \\Flagged")])
        .remembering(&[(7, "x", "a", "\\Seen"), (8, "y", "b", "")]);
    let (done, picture) = world.adopt(Cause::NewEpoch);
    assert_eq!((done.paired, done.held, done.last_set), (1, 1, 8));
    let held = picture.pair(uid(2)).expect("a pair");
    assert_eq!((held.hold, &held.name), (Some(Hold { gone: Side::Local, set: 8, word: Word::Waiting }), &name("y")));
    assert_eq!(world.then(Cause::NewEpoch), "fetch UID 3\nflags of UID 1: on the server +\\Flagged\n");
}

#[test]
fn mail_that_the_new_epoch_lacks_is_kept_and_held_and_a_person_decides() {
    let world = World::new(&[(1, "a", "")], &[("x", "a", ""), ("y", "b", "\\Seen")])
        .remembering(&[(7, "x", "a", ""), (8, "y", "b", "")]);
    let (done, mut picture) = world.adopt(Cause::NewEpoch);
    assert_eq!((done.paired, done.held), (1, 1));
    assert_eq!(world.plan(&picture).actions, []);
    for (word, says) in [(Word::Approved, "remove y here"), (Word::Rejected, "upload y (\\Seen)")] {
        let why = Why::Missing(Hold { gone: Side::Remote, set: 8, word });
        picture.apply(Change::Local(name("y"), Some(Lone { flags: Flags::new(), why })));
        let actions = world.plan(&picture).actions;
        assert_eq!(actions.len(), 1);
        assert!(actions[0].to_string().starts_with(says), "{}", actions[0]);
    }
}

#[test]
fn what_the_server_lost_and_found_again_is_paired() {
    let mut world = World::new(&[(1, "a", "")], &[("x", "a", ""), ("y", "b", "\\Seen")])
        .remembering(&[(7, "x", "a", ""), (8, "y", "b", "")]);
    world.base = world.adopt(Cause::NewEpoch).1;
    let (remote, _) = world.views();
    assert!(!reappeared(&world.base, &remote));
    let (text, flags) = world.maildir[&name("y")].clone();
    world.server.insert(uid(2), (text, flags));
    let (remote, _) = world.views();
    assert!(reappeared(&world.base, &remote));
    assert_eq!(world.then(Cause::Reappeared), "");
    assert_eq!(world.adopt(Cause::Reappeared).1.partner(&name("y")), Some(uid(2)));
}

#[test]
fn a_memory_that_was_rolled_back_learns_what_both_sides_did_since() {
    // Since then b was fetched, c was moved away here, d was deleted on the server, e came here and is not yet there.
    let world = World::new(
        &[(1, "a", "\\Seen"), (2, "b", ""), (3, "c", "")],
        &[("x", "a", "\\Seen"), ("y", "b", ""), ("d", "d", ""), ("e", "e", "")],
    )
    .remembering(&[(1, "x", "a", ""), (3, "c", "c", ""), (4, "d", "d", "")]);
    let (done, picture) = world.adopt(Cause::RolledBack);
    assert_eq!((done.paired, done.recognised, done.held, done.last_set), (2, 1, 2, 9));
    assert_eq!(picture.partner(&name("y")), Some(uid(2)));
    assert_eq!(world.then(Cause::RolledBack), "upload e\n");
}

#[test]
fn the_flags_of_a_maildir_from_a_backup_take_nothing_off() {
    let world = World::new(&[(1, "a", "\\Seen"), (2, "b", "")], &[("x", "a", ""), ("y", "b", "\\Flagged")])
        .remembering(&[(1, "x", "a", "\\Seen"), (2, "y", "b", "\\Flagged")]);
    assert_eq!(world.then(Cause::Restored), "flags of UID 1: here +\\Seen\nflags of UID 2: on the server +\\Flagged\n");
    assert_eq!(
        world.then(Cause::RolledBack),
        "flags of UID 1: on the server -\\Seen\nflags of UID 2: here -\\Flagged\n"
    );
}

#[test]
fn a_stub_is_paired_with_nothing_and_stays() {
    let (stub, other) = ("s,mailtwin-stub=70000", "t,mailtwin-stub=80000");
    // Nothing is remembered, or what is remembered means nothing any more.
    for cause in [Cause::Met, Cause::NewEpoch] {
        let world = World::new(&[(1, "a", ""), (2, "b", "")], &[("x", "a", ""), (stub, "b", "\\Flagged")]);
        let world = match cause {
            Cause::NewEpoch => world.remembering(&[(7, "x", "a", ""), (8, stub, "b", "")]),
            _ => world,
        };
        let (done, picture) = world.adopt(cause);
        assert_eq!((done.paired, done.here, done.held), (1, 1, 0), "{cause:?}");
        assert_eq!(picture.partner(&name(stub)), None);
        assert_eq!(world.then(cause), "fetch UID 2\n", "{cause:?}");
    }
    // The whole message of one came since, and the other stub was deleted here.
    let world = World::new(&[(1, "a", ""), (2, "b", "")], &[("x", "a", ""), (stub, "a", "")])
        .remembering(&[(1, stub, "a", ""), (2, other, "b", "")]);
    let (done, picture) = world.adopt(Cause::RolledBack);
    assert_eq!((done.paired, done.held), (1, 0));
    assert_eq!(picture.partner(&name("x")), Some(uid(1)));
    assert_eq!(picture.local(&name(stub)).map(|lone| &lone.why), Some(&Why::Superseded));
    // The stub is what there is.
    let world = World::new(&[(1, "a", "")], &[(stub, "a", "")]).remembering(&[(1, stub, "a", "")]);
    let (done, picture) = world.adopt(Cause::RolledBack);
    assert_eq!((done.changes, picture.partner(&name(stub))), (vec![], Some(uid(1))));
}

#[test]
fn it_is_doubtful_if_under_half_of_the_smaller_side_pairs_up() {
    let adoption = |paired, there, here| Adoption { paired, there, here, ..Adoption::default() };
    for (paired, there, here, doubtful) in [
        (0, 0, 9, false),
        (0, 9, 0, false),
        (0, 1, 1, true),
        (1, 2, 9, false),
        (1, 3, 9, true),
        (4, 100, 9, true),
        (5, 100, 10, false),
    ] {
        assert_eq!(adoption(paired, there, here).is_doubtful(), doubtful, "{paired} of {there} and {here}");
    }
}

#[test]
fn a_guess_is_trashed_and_never_expunged() {
    let world = World::new(&[(1, "a", "")], &[]);
    let mut picture = Picture::new();
    let pair = Pair { guessed: true, ..Pair::agreed(name("x"), Flags::new(), None) };
    picture.apply(Change::Uid(uid(1), Some(Known::Pair(pair))));
    assert_eq!(world.plan(&picture).actions, []);
}

/// Messages with equal looks, and what was remembered of some of them, in this epoch or another.
fn worlds() -> impl Strategy<Value = World> {
    let flags = || prop::sample::select(vec!["", "\\Seen", "\\Deleted", "\\Seen \\Deleted"]);
    let side = || prop::collection::btree_map(1u32..9, (texts(), flags()), 0..7);
    let pairs = prop::collection::vec((1u32..9, 1u32..9, texts(), flags(), prop::option::of(any::<bool>())), 0..7);
    (side(), side(), pairs).prop_map(|(server, maildir, pairs)| {
        let mut base = Picture::new();
        for (n, file, text, flags, hold) in pairs {
            let print = Some(crate::mail::fingerprint::of(text.as_bytes()));
            let gone = |local| if local { Side::Local } else { Side::Remote };
            let hold = hold.map(|local| Hold { gone: gone(local), set: 3, word: Word::Waiting });
            let pair = Pair { hold, ..Pair::agreed(name(&format!("n{file}")), Flags::parse(flags), print) };
            base.apply(Change::Uid(uid(n), Some(Known::Pair(pair))));
        }
        World {
            server: server.into_iter().map(|(n, (text, f))| (uid(n), (text, Flags::parse(f)))).collect(),
            maildir: maildir
                .into_iter()
                .map(|(n, (text, f))| (name(&format!("n{n}")), (text, Flags::parse(f))))
                .collect(),
            base,
        }
    })
}

const CAUSES: [Cause; 4] = [Cause::Met, Cause::NewEpoch, Cause::RolledBack, Cause::Restored];

proptest! {
    #[test]
    fn no_deletion_follows_and_every_message_is_known_or_carried_over(world in worlds(), cause in prop::sample::select(CAUSES.to_vec())) {
        let world = if cause == Cause::Met { World { base: Picture::new(), ..world } } else { world };
        let (done, picture) = world.adopt(cause);
        let plan = world.plan(&picture);
        prop_assert!(plan.actions.iter().all(|action| action.phase() != Phase::Remove), "{:?}", plan.actions);
        let fetched = |uid: Uid| plan.actions.iter().any(|a| matches!(a, Action::Fetch { uid: u, .. } if *u == uid));
        let sent = |n: &BaseName| plan.actions.iter().any(|a| matches!(a, Action::Append { name, .. } if name == n));
        for uid in world.server.keys() {
            prop_assert!(picture.uid(*uid).is_some() != fetched(*uid), "{}", uid);
        }
        for name in world.maildir.keys() {
            let known = picture.partner(name).is_some() || picture.local(name).is_some();
            prop_assert!(known != sent(name), "{}", name);
        }
        prop_assert!(done.paired <= done.there.min(done.here));
    }

    #[test]
    fn what_was_adopted_is_adopted_again_without_a_change(world in worlds(), cause in prop::sample::select(CAUSES.to_vec())) {
        let world = if cause == Cause::Met { World { base: Picture::new(), ..world } } else { world };
        let again = World { base: world.adopt(cause).1, ..world };
        let (done, picture) = again.adopt(Cause::RolledBack);
        prop_assert_eq!(done.held, 0);
        prop_assert_eq!(picture.pairs().count(), again.base.pairs().count());
    }
}
