//! Drops that are unfriendly, and rules of removal, as tables and as properties.

use super::*;
use crate::mail::{BaseName, Fingerprint, Flags, Uid, Uidl, fingerprint};
use crate::sync::picture::{Change, Known, Lone, Pair, Picture, Quarantine, Why};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const DAY: u64 = 86_400;
const WHOLE: Shown = Shown { adds_up: true, windowed: false };

fn uid(n: u32) -> Uid {
    Uid::new(n).expect("not zero")
}

fn unique(text: &str) -> Name {
    Name::Unique(Uidl::new(text).expect("a unique-id"))
}

fn listed(uidl: &str, octets: u64) -> Listed {
    Listed { uidl: Uidl::new(uidl), octets: Some(octets) }
}

fn message(n: u32) -> Vec<u8> {
    format!("Message-ID: <{n}@x>\r\nSubject: {n}\r\n\r\nbody {n}\r\n").into_bytes()
}

fn print(n: u32) -> Fingerprint {
    fingerprint::of(&message(n))
}

/// The looks that the header of a message has, at the size that it has.
fn looks(n: u32) -> Looks {
    let message = message(n);
    let end = message.windows(4).position(|w| w == b"\r\n\r\n").expect("a header") + 4;
    Looks::new(&message[..end], Some(message.len() as u64))
}

fn entry(name: Name, fetched: Option<u64>, n: u32) -> Entry {
    let octets = Some(message(n).len() as u64);
    Entry { fetched, print: fetched.map(|_| print(n)), ..Entry::new(name, octets) }
}

/// A ledger of so many fetched messages, with unique-ids `a1`, `a2` and so on.
fn ledger(count: u32) -> Ledger {
    let mut ledger = Ledger::default();
    (1..=count).for_each(|n| ledger.apply((uid(n), Some(entry(unique(&format!("a{n}")), Some(1000), n)))));
    ledger
}

fn picture(count: u32) -> Picture {
    let mut picture = Picture::new();
    for n in 1..=count {
        let name = BaseName::new(format!("m{n}").as_bytes()).expect("a name");
        picture.apply(Change::Uid(uid(n), Some(Known::Pair(Pair::agreed(name, Flags::new(), Some(print(n)))))));
    }
    picture
}

fn looks_at(ledger: &Ledger, drop: &[Listed], of: impl Fn(usize) -> Looks) -> Identified {
    let asked = questions(ledger, drop, false);
    identify(ledger, drop, &asked.into_iter().map(|place| (place, of(place))).collect(), &[])
}

#[test]
fn what_has_the_name_of_a_known_message_is_that_one_in_any_order() {
    let size = message(1).len() as u64;
    let drop = [listed("a3", size), listed("b", 9_999), listed("a1", size)];
    assert_eq!(questions(&ledger(3), &drop, false), Vec::<usize>::new(), "nothing known looks like the new one");
    let found = identify(&ledger(3), &drop, &BTreeMap::new(), &[]);
    assert_eq!(found.known, BTreeMap::from([(0, uid(3)), (2, uid(1))]));
    assert_eq!(found.new, BTreeMap::from([(1, unique("b"))]));
}

#[test]
fn a_name_that_was_given_once_more_is_that_of_another_message() {
    let size = message(1).len() as u64;
    let away = |octets| {
        let mut known = ledger(2);
        known.apply((uid(1), Some(Entry { vanished: Some(2000), ..entry(unique("a1"), Some(1000), 1) })));
        (known, [listed("a1", octets), listed("a2", size)])
    };
    for (what, (known, drop), of, is_new) in [
        ("was away, and came back", away(size), Some(1), false),
        ("was away, and came back at another size", away(size + 99), Some(1), false),
        ("was away, and another one came", away(size), Some(7), true),
        ("was away, and nobody shows the header", away(size), None, false),
        ("was away, and nobody shows the header of what has another size", away(size + 99), None, true),
        ("was never away, and has another size", (ledger(2), [listed("a1", 7), listed("a2", size)]), Some(1), false),
        ("another one at once", (ledger(2), [listed("a1", 7), listed("a2", size)]), Some(7), true),
        ("was never away, and nobody shows", (ledger(2), [listed("a1", 7), listed("a2", size)]), None, false),
    ] {
        assert_eq!(questions(&known, &drop, false), [0], "{what}");
        let found = identify(&known, &drop, &of.map(|n| (0, looks(n))).into_iter().collect(), &[]);
        assert_eq!((found.new.contains_key(&0), found.known.contains_key(&1)), (is_new, true), "{what}");
        assert!(found.renamed.is_empty(), "{what}");
    }
}

#[test]
fn a_drop_that_names_a_thousand_messages_anew_has_no_new_one() {
    let known = ledger(1000);
    let drop: Vec<Listed> = (1..=1000).map(|n| listed(&format!("b{n}"), message(n).len() as u64)).collect();
    let found = looks_at(&known, &drop, |place| looks(place as u32 + 1));
    assert_eq!((found.renamed.len(), found.new.len(), found.nameless.len()), (1000, 0, 0));
    assert!(found.renamed.iter().all(|(place, (of, _))| of.get() == *place as u32 + 1));
    assert_eq!(cautions(&known, &BTreeSet::new(), 1000, WHOLE).len(), 2);
}

#[test]
fn a_message_without_an_id_that_only_looks_like_one_that_went_is_new() {
    let anonymous = b"Subject: cron\r\n\r\n";
    let alike = Looks::new(anonymous, Some(40));
    let nameless = Listed { uidl: None, octets: Some(40) };
    let mut known = Ledger::default();
    let name = Name::Alike(alike, 0);
    known.apply((uid(1), Some(Entry { fetched: Some(1), ..Entry::new(name.clone(), Some(40)) })));
    let looks_of = |_| alike;
    assert_eq!(looks_at(&known, std::slice::from_ref(&nameless), looks_of).known, BTreeMap::from([(0, uid(1))]));
    let two = looks_at(&known, &[nameless.clone(), nameless.clone()], looks_of);
    assert_eq!((two.known.len(), two.new[&1].clone()), (1, Name::Alike(alike, 1)));
    known.apply((uid(1), Some(Entry { fetched: Some(1), vanished: Some(2), ..Entry::new(name, Some(40)) })));
    assert_eq!(looks_at(&known, std::slice::from_ref(&nameless), looks_of).new.len(), 1);
    // Without a header nobody can tell it from others.
    assert_eq!(identify(&known, &[nameless], &BTreeMap::new(), &[]).nameless, [0]);
}

#[test]
fn files_that_nobody_accounts_for_are_found_again_each_once() {
    let drop = [listed("x", message(1).len() as u64), listed("y", message(1).len() as u64), listed("z", 999)];
    assert_eq!(questions(&Ledger::default(), &drop, true), [0, 1, 2]);
    let all = BTreeMap::from([(0, looks(1)), (1, looks(1)), (2, looks(3))]);
    let found = identify(&Ledger::default(), &drop, &all, &[print(2), print(1)]);
    assert_eq!(found.here, BTreeMap::from([(0, Here { file: 1, certain: true })]));
    // One that is known and never came may have come after the memory was written.
    let mut old = Ledger::default();
    old.apply((uid(1), Some(Entry::new(unique("y"), None))));
    assert_eq!(questions(&old, &drop[1..2], true), [0]);
    assert_eq!(questions(&old, &drop[1..2], false), Vec::<usize>::new());
    let found = identify(&old, &drop[1..2], &BTreeMap::from([(0, looks(1))]), &[print(1)]);
    assert_eq!((found.known.len(), found.here.len()), (1, 1));
    // Where only the header speaks for it, that is known.
    let mut near = looks(1);
    near.size = near.size.map(|size| size + 9);
    let found = identify(&Ledger::default(), &drop[..1], &BTreeMap::from([(0, near)]), &[print(1)]);
    assert_eq!(found.here, BTreeMap::from([(0, Here { file: 0, certain: false })]));
}

#[test]
fn another_message_under_the_same_header_is_not_taken_for_a_missing_one() {
    let mut long = looks(1);
    long.size = Some(90_000);
    let found = identify(&ledger(1), &[listed("b", 90_000)], &BTreeMap::from([(0, long)]), &[]);
    assert_eq!((found.renamed.len(), found.new.len()), (0, 1));
}

#[test]
fn what_is_not_listed_ages_and_is_known_when_it_comes_back() {
    let (mut known, nobody) = (ledger(30), BTreeSet::new());
    let apply = |known: &mut Ledger, turns: Vec<_>| turns.into_iter().for_each(|turn| known.apply(turn));
    assert_eq!(sightings(&known, &nobody, Shown { adds_up: false, ..WHOLE }, 5000), []);
    assert_eq!(sightings(&known, &nobody, Shown { windowed: true, ..WHOLE }, 5000), []);
    let gone = sightings(&known, &nobody, WHOLE, 5000);
    apply(&mut known, gone);
    assert_eq!(sightings(&known, &nobody, WHOLE, 6000), [], "once is enough");
    assert_eq!(view(&known, &picture(30), &nobody, 5000 + 29 * DAY).messages().len(), 30);
    assert_eq!(view(&known, &picture(30), &nobody, 5000 + 31 * DAY).messages().len(), 0);
    assert_eq!(sightings(&known, &nobody, WHOLE, 5000 + 179 * DAY), []);
    assert!(sightings(&known, &nobody, WHOLE, 5001 + 180 * DAY).iter().all(|(_, entry)| entry.is_none()));
    let drop: Vec<Listed> = (1..=30).map(|n| listed(&format!("a{n}"), message(n).len() as u64)).collect();
    let back = looks_at(&known, &drop, |place| looks(place as u32 + 1));
    assert_eq!((back.known.len(), back.new.len()), (30, 0));
    let present: BTreeSet<Uid> = back.known.into_values().collect();
    let back = sightings(&known, &present, WHOLE, 7000);
    apply(&mut known, back);
    assert_eq!(known, ledger(30));
}

#[test]
fn nothing_is_removed_while_the_drop_is_in_doubt() {
    let present = |count: u32| (1..=count).map(uid).collect::<BTreeSet<_>>();
    let of = |known: u32, there: u32, shown| cautions(&ledger(known), &present(there), 0, shown);
    assert_eq!(of(30, 15, WHOLE), []);
    assert_eq!(of(30, 14, WHOLE), [Caution::Missing(16, 30)]);
    assert_eq!(of(19, 0, WHOLE), []);
    assert_eq!(of(30, 0, Shown { windowed: true, ..WHOLE }), []);
    assert_eq!(of(1, 1, Shown { adds_up: false, ..WHOLE }), [Caution::DoesNotAddUp]);
}

#[test]
fn a_number_is_not_given_twice() {
    assert_eq!(Ledger::default().next(None), Some(Uid::MIN));
    assert_eq!(ledger(3).next(None), Some(uid(4)));
    assert_eq!(ledger(3).next(Some(uid(9))), Some(uid(9)));
    assert_eq!(ledger(3).next(Some(uid(2))), Some(uid(4)));
    let mut full = Ledger::default();
    full.apply((Uid::MAX, Some(Entry::new(unique("a"), None))));
    assert_eq!(full.next(None), None);
}

#[test]
fn the_first_choice_leaves_the_oldest_alone() {
    let all = [uid(1), uid(2), uid(3)];
    let now = 100 * 86_400;
    let days_ago = |days: i64| now as i64 - days * 86_400;
    // The last one does not tell when it was written.
    let dates = BTreeMap::from([(all[0], days_ago(31)), (all[1], days_ago(30))]);
    let left = |initial| first_choice(&all, initial, &dates, now);
    assert_eq!(left(Initial::All), []);
    assert_eq!(left(Initial::None), all);
    assert_eq!(left(Initial::Newest(2)), all[..1]);
    assert_eq!(left(Initial::Newest(9)), []);
    assert_eq!(left(Initial::Days(30)), all[..1]);
    assert_eq!(left(Initial::Days(1)), all[..2]);
    assert_eq!(left(Initial::Days(u32::MAX)), []);
}

/// Every rule with every state of a message.
#[test]
fn every_rule_of_removal_is_as_written() {
    let now = 100 * DAY;
    let rules = [
        ("nothing", Remove::default()),
        ("everything", Remove { everything: true, ..Remove::default() }),
        ("everything, never before 1d", Remove { everything: true, never_before: DAY, ..Remove::default() }),
        ("after 14d", Remove { after: Some(14 * DAY), ..Remove::default() }),
        ("beyond the newest 2", Remove { beyond_newest: Some(2), ..Remove::default() }),
        ("beyond 250 octets", Remove { beyond_total: Some(250), ..Remove::default() }),
        (
            "beyond 250 octets, never before 1d",
            Remove { beyond_total: Some(250), never_before: DAY, ..Remove::default() },
        ),
        ("larger than 150", Remove { larger_than: Some(150), ..Remove::default() }),
        ("after 14d or larger than 150", Remove { after: Some(14 * DAY), larger_than: Some(150), ..Remove::default() }),
    ];
    let mut text = String::new();
    for (what, rules) in rules {
        let _ = writeln!(text, "{what}");
        for (state, uids) in removed(&rules, now) {
            let _ = writeln!(text, "    {state:<34} {uids}");
        }
    }
    insta::assert_snapshot!(text);
}

/// What a rule removes of a drop with a message in each state, and why.
fn removed(rules: &Remove, now: u64) -> Vec<(&'static str, String)> {
    let pair = |n: u32| picture(n).uid(uid(n)).cloned();
    let alone = |why: Why| Some(Known::Lone(Lone { flags: Flags::new(), why }));
    let trouble = |due| Quarantine { reason: "refused".into(), attempts: 1, due };
    let whole = |n: u32| match pair(n) {
        Some(Known::Pair(pair)) => pair,
        _ => unreachable!("pictures have pairs"),
    };
    let stub = Pair { name: whole(5).name.into_stub(900), ..whole(5) };
    let old = Some(now - 20 * DAY);
    let print_of = |size| Some(Fingerprint { size, ..print(1) });
    let entry = |name: &str, octets: u64, fetched: Option<u64>| Entry {
        fetched,
        print: fetched.and(print_of(octets)),
        ..Entry::new(unique(name), Some(octets))
    };
    let states = [
        ("fetched 20 days ago", entry("a", 100, old), pair(1)),
        ("the same, deleted here", entry("b", 100, old), alone(Why::Kept)),
        ("the same, in quarantine for a day", entry("c", 100, old), {
            Some(Known::Pair(Pair { trouble: Some(trouble(now + DAY)), ..whole(3) }))
        }),
        ("the same, its quarantine is over", entry("d", 100, old), {
            Some(Known::Pair(Pair { trouble: Some(trouble(now)), ..whole(4) }))
        }),
        ("a stub", entry("e", 900, None), Some(Known::Pair(stub))),
        ("found here by a guess", entry("f", 100, old), Some(Known::Pair(Pair { guessed: true, ..whole(6) }))),
        ("left alone at the first look", entry("g", 200, None), alone(Why::Kept)),
        ("failed to come", entry("h", 200, None), alone(Why::Quarantined(trouble(0)))),
        ("to be fetched again", entry("i", 100, old), alone(Why::Pending)),
        ("cut short", Entry { print: print_of(100), ..entry("j", 9000, old) }, pair(10)),
        ("without an id, fetched before", Entry { name: Name::Alike(looks(1), 0), ..entry("k", 100, old) }, pair(11)),
        (
            "without an id, fetched just now",
            Entry { name: Name::Alike(looks(2), 0), ..entry("l", 100, Some(now)) },
            pair(12),
        ),
        ("large, fetched 2 days ago", entry("m", 300, Some(now - 2 * DAY)), pair(13)),
        ("fetched an hour ago", entry("n", 100, Some(now - 3600)), pair(14)),
    ];
    let (mut ledger, mut picture) = (Ledger::default(), Picture::new());
    for ((_, entry, known), n) in states.iter().zip(1..) {
        ledger.apply((uid(n), Some(entry.clone())));
        picture.apply(Change::Uid(uid(n), known.clone()));
    }
    let present = (1..=14).map(uid).collect();
    let removed = removals(&ledger, &picture, &present, &BTreeSet::from([uid(12)]), rules, now);
    let states = states.into_iter().zip(1..);
    states.map(|((state, ..), n)| (state, removed.get(&uid(n)).map_or("stays".into(), |r| format!("{r:?}")))).collect()
}

fn drops() -> impl Strategy<Value = Vec<(Listed, u32)>> {
    let one = (prop::option::of(0u32..12), 0u32..8).prop_map(|(uidl, n)| {
        let uidl = uidl.and_then(|number| Uidl::new(format!("a{number}")));
        (Listed { uidl, octets: Some(message(n).len() as u64) }, n)
    });
    prop::collection::vec(one, 0..10).prop_map(|mut all| {
        let mut seen = BTreeSet::new();
        // A unique-id that two have is none.
        all.iter_mut().for_each(|(listed, _)| listed.uidl = listed.uidl.take().filter(|id| seen.insert(id.clone())));
        all
    })
}

proptest! {
    #[test]
    fn each_message_is_one_thing_and_no_number_is_two(known in 0u32..8, drop in drops(), silent: bool) {
        let ledger = ledger(known);
        let list: Vec<Listed> = drop.iter().map(|(listed, _)| listed.clone()).collect();
        let asked = questions(&ledger, &list, false);
        let told = asked.into_iter().filter(|_| !silent).map(|place| (place, looks(drop[place].1))).collect();
        let Identified { known, renamed, new, nameless, .. } = identify(&ledger, &list, &told, &[]);
        let mut places: Vec<usize> = known.keys().chain(renamed.keys()).chain(new.keys()).chain(&nameless).copied().collect();
        places.sort_unstable();
        prop_assert_eq!(places, (0..list.len()).collect::<Vec<_>>());
        let uids: Vec<Uid> = known.values().copied().chain(renamed.values().map(|(uid, _)| *uid)).collect();
        prop_assert_eq!(uids.iter().collect::<BTreeSet<_>>().len(), uids.len());
        let names: BTreeSet<&Name> = new.values().chain(renamed.values().map(|(_, name)| name)).collect();
        prop_assert_eq!(names.len(), new.len() + renamed.len());
    }

    #[test]
    fn a_look_at_the_same_drop_finds_nothing_new(drop in drops()) {
        let list: Vec<Listed> = drop.iter().map(|(listed, _)| listed.clone()).collect();
        let looks_of = |place: usize| looks(drop[place].1);
        let first = looks_at(&Ledger::default(), &list, looks_of);
        let mut known = Ledger::default();
        for ((place, name), number) in first.new.into_iter().zip(1..) {
            known.apply((uid(number), Some(entry(name, Some(1), drop[place].1))));
        }
        let second = looks_at(&known, &list, looks_of);
        prop_assert_eq!((second.new.len(), second.renamed.len()), (0, 0));
    }

    #[test]
    fn no_rule_removes_what_was_never_fetched_or_only_just(
        ages in prop::collection::vec(prop::option::of(0u64..100), 1..12),
        numbers in (any::<bool>(), prop::option::of(0u64..100), prop::option::of(0u32..9), prop::option::of(0u64..900)),
        larger_than in prop::option::of(0u64..100),
        never_before in 0u64..100,
    ) {
        let (everything, after, beyond_newest, beyond_total) = numbers;
        let rules = Remove { everything, after, beyond_newest, beyond_total, larger_than, never_before, ..Remove::default() };
        let mut known = Ledger::default();
        let now = 1000;
        for (n, age) in (1..).zip(&ages) {
            known.apply((uid(n), Some(entry(unique(&format!("a{n}")), age.map(|age| now - age), n))));
        }
        let present: BTreeSet<Uid> = known.entries().map(|(uid, _)| uid).collect();
        let all = picture(ages.len() as u32);
        for uid in removals(&known, &all, &present, &BTreeSet::new(), &rules, now).keys() {
            let age = ages[uid.get() as usize - 1];
            prop_assert!(age.is_some_and(|age| age >= never_before), "{uid} of age {age:?}");
        }
        prop_assert!(removals(&known, &Picture::new(), &present, &BTreeSet::new(), &rules, now).is_empty());
    }
}
