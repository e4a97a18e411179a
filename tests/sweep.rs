//! Every scenario against the test server, in three profiles: run, run again, and killed at every step.
//!
//! In the first profile it is killed before every step, in the others where something was changed since the step before;
//! `EVERY=1` kills before every one in all.
//!
//! `MINUTES=n` kills twice at random until they are over, and on Dovecot at every step; `SEED=n` repeats those.
//! `SCENARIO=words` sweeps those only whose names have the words, `PROFILE=name` in that profile only.

#![cfg(feature = "steps")]
// What was killed, and where, is meant to be read.
#![allow(clippy::print_stdout)]

mod scenarios;
mod support;

use scenarios::dovecot::{self, Performance};
use scenarios::sweep::{Count, Kills, Rehearsal};
use scenarios::{Scenario, scenarios as all_scenarios};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::server::Profile;

const THREADS: usize = 2;

fn profiles() -> [(&'static str, Profile); 3] {
    [("full", Profile::full()), ("no CONDSTORE", Profile::no_condstore()), ("plain", Profile::plain())]
}

/// A filter that nothing fits proves nothing, and is a slip of whoever typed it.
fn is_not_empty<T>(chosen: &[T]) {
    assert!(!chosen.is_empty(), "SCENARIO and PROFILE fit none of the scenarios");
}

fn is_chosen(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |words| name.contains(&words))
}

#[test]
fn every_scenario_survives_a_kill_at_every_step() {
    let scenarios = all_scenarios();
    let mut work: Vec<(&Scenario, (&str, Profile), Kills)> = Vec::new();
    let every = std::env::var_os("EVERY").is_some();
    for scenario in scenarios.iter().filter(|s| is_chosen("SCENARIO", s.name)) {
        let is_meant = |name: &str| scenario.profiles.is_none_or(|meant| meant.contains(&name));
        let told = profiles().into_iter().take(if scenario.one_profile { 1 } else { 3 });
        let more = scenario.changes_only.then(|| ("no QRESYNC", Profile::full().without(&["QRESYNC"])));
        let told = told.chain(more).filter(|p| is_chosen("PROFILE", p.0) && is_meant(p.0));
        // The profiles differ in what is asked, and hardly in what is changed.
        let all = |is_first| if is_first || every { Kills::All } else { Kills::AfterChanges };
        work.extend(told.enumerate().map(|(number, profile)| (scenario, profile, all(number == 0))));
    }
    is_not_empty(&work);
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Count::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((scenario, profile, kills)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let swept = catch_unwind(AssertUnwindSafe(|| {
                        let mut rehearsal = Rehearsal::prepare(scenario, profile.clone());
                        rehearsal.undisturbed();
                        rehearsal.sweep(*kills)
                    }));
                    let seconds = began.elapsed().as_secs_f32();
                    match swept {
                        Ok(count) => {
                            let sites: Vec<String> =
                                count.sites.iter().map(|(site, kills)| format!("{site} {kills}")).collect();
                            println!(
                                "{:60} {:12} {:4} kills in {seconds:5.1} s: {}",
                                scenario.name,
                                profile.0,
                                count.kills,
                                sites.join(", ")
                            );
                            total.lock().expect("no panic holds it").add(count);
                        }
                        Err(_) => {
                            failed
                                .lock()
                                .expect("no panic holds it")
                                .push(format!("{} ({})", scenario.name, profile.0));
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("no panic holds it");
    println!(
        "{} scenarios, {} sweeps, {} kills, {} runs, {} kinds of steps, in {:.0} s",
        scenarios.len(),
        work.len(),
        total.kills,
        total.runs,
        total.sites.len(),
        started.elapsed().as_secs_f32()
    );
    for (site, kills) in &total.sites {
        println!("  {site:30} {kills:6}");
    }
    let never: Vec<String> = known_sites().into_iter().filter(|site| !total.sites.contains_key(site)).collect();
    println!("kinds of steps that no scenario reaches: {never:?}");
    let failed = failed.into_inner().expect("no panic holds it");
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

/// Kills while it recovers from a kill; round about through the scenarios, with `MINUTES` until they are over.
#[test]
fn every_scenario_survives_two_kills_at_random() {
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("SEED={seed}");
    let scenarios = all_scenarios();
    let chosen: Vec<&Scenario> = scenarios.iter().filter(|s| is_chosen("SCENARIO", s.name)).collect();
    is_not_empty(&chosen);
    let deadline = number("MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let is_over = |turn: usize| turn >= chosen.len() && deadline.is_none_or(|deadline| Instant::now() > deadline);
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Count::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if is_over(turn) {
                        break;
                    }
                    let profile = profiles()[(turn / chosen.len() + turn) % 3].clone();
                    let mut dice = fastrand::Rng::with_seed(seed.wrapping_add(turn as u64));
                    let mut rehearsal = Rehearsal::prepare(chosen[turn % chosen.len()], profile);
                    rehearsal.undisturbed();
                    (0..4).for_each(|_| rehearsal.kill_twice(&mut dice));
                    total.lock().expect("no panic holds it").add(rehearsal.count());
                }
            });
        }
    });
    let total = total.into_inner().expect("no panic holds it");
    println!("{} times killed twice, {} runs", total.double_kills, total.runs);
}

#[test]
fn a_batch_that_was_being_begun_survives_a_second_kill_at_every_step() {
    // The root's marker is behind the state then; it must not look like a Maildir that was restored from a backup.
    let scenarios = all_scenarios();
    let scenario = scenarios.iter().find(|s| s.name == "new here").expect("it is in the table");
    let mut rehearsal = Rehearsal::prepare(scenario, ("full", Profile::full()));
    rehearsal.undisturbed();
    rehearsal.kill_twice_after("store.begin");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|n| n.parse().ok())
}

/// Every kind of step that the program has, from its sources.
fn known_sites() -> BTreeSet<String> {
    let mut sites = BTreeSet::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(&path).expect("the sources are there").flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let quoted = text.split('"').skip(1).step_by(2);
            let rooms = ["maildir.", "store."];
            sites.extend(quoted.filter(|word| rooms.iter().any(|room| is_site(word, room))).map(str::to_owned));
            if entry.path().ends_with("imap/command.rs") {
                // NAME: "VERB", "site";
                let verbs = text.lines().filter(|line| line.ends_with("\";"));
                sites.extend(verbs.filter_map(|line| Some(format!("imap.{}", line.rsplit('"').nth(1)?))));
            }
        }
    }
    sites
}

fn is_site(word: &str, room: &str) -> bool {
    let name = word.strip_prefix(room);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}

#[test]
fn the_same_scenarios_end_in_the_same_trees_on_dovecot_and_each_kind_of_step_survives_a_kill() {
    let dovecot = dovecot::start();
    let scenarios = all_scenarios();
    let mut killed: BTreeSet<String> = BTreeSet::new();
    let (mut users, mut played, mut failed) = (0, 0, Vec::new());
    let started = Instant::now();
    // With time to spare, at every step.
    let deadline = number("MINUTES").map(|minutes| started + Duration::from_secs(60 * minutes));
    let chosen: Vec<&Scenario> = scenarios.iter().filter(|s| is_chosen("SCENARIO", s.name)).collect();
    is_not_empty(&chosen);
    for scenario in chosen.into_iter().filter(|s| s.dovecot) {
        let mut play = |kill: Option<(usize, usize, &str)>| {
            users += 1;
            let user = format!("u{users}");
            catch_unwind(AssertUnwindSafe(|| Performance::prepare(scenario, &dovecot, &user).play(kill)))
        };
        played += 1;
        let Ok(steps) = play(None) else {
            failed.push(scenario.name.to_owned());
            continue;
        };
        for (number, steps) in steps.iter().enumerate() {
            for (at, site) in steps.iter().enumerate() {
                let more = deadline.is_some_and(|deadline| Instant::now() < deadline);
                if (killed.insert(site.clone()) || more) && play(Some((number, at, site))).is_err() {
                    failed.push(format!("{}, killed at {site}", scenario.name));
                }
            }
        }
    }
    println!(
        "Dovecot: {played} scenarios, {} kinds of steps killed at: {killed:?}, in {:.0} s",
        killed.len(),
        started.elapsed().as_secs_f32()
    );
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}
