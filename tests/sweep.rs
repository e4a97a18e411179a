//! Every scenario against the test server, in three profiles: run, run again, and killed at every step.
//!
//! `SCENARIO=words` sweeps those only whose names have the words, `PROFILE=name` in that profile only.

#![cfg(feature = "steps")]

mod scenarios;
mod support;

use scenarios::dovecot::{self, Performance};
use scenarios::sweep::{Count, Rehearsal};
use scenarios::{Scenario, scenarios as all_scenarios};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::server::Profile;

const THREADS: usize = 2;

fn profiles() -> [(&'static str, Profile); 3] {
    [("full", Profile::full()), ("no CONDSTORE", Profile::no_condstore()), ("plain", Profile::plain())]
}

/// Of a hundred steps of a kind in one run a dozen are killed at, spread over all.
const OF_A_KIND: usize = 12;

fn is_swept(place: usize, of: usize) -> bool {
    place * OF_A_KIND / of != (place + 1) * OF_A_KIND / of || of <= OF_A_KIND
}

fn is_chosen(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |words| name.contains(&words))
}

#[test]
fn every_scenario_survives_a_kill_at_every_step() {
    let scenarios = all_scenarios();
    let mut work: Vec<(&Scenario, (&str, Profile))> = Vec::new();
    for scenario in scenarios.iter().filter(|s| is_chosen("SCENARIO", s.name)) {
        work.extend(profiles().into_iter().filter(|p| is_chosen("PROFILE", p.0)).map(|profile| (scenario, profile)));
    }
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Count::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((scenario, profile)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let swept = catch_unwind(AssertUnwindSafe(|| {
                        Rehearsal::prepare(scenario, profile.clone()).sweep(&is_swept)
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
    let failed = failed.into_inner().expect("no panic holds it");
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

#[test]
fn the_same_scenarios_end_in_the_same_trees_on_dovecot_and_each_kind_of_step_survives_a_kill() {
    let dovecot = dovecot::start();
    let scenarios = all_scenarios();
    let mut killed: BTreeSet<String> = BTreeSet::new();
    let (mut users, mut played, mut failed) = (0, 0, Vec::new());
    let started = Instant::now();
    for scenario in scenarios.iter().filter(|s| s.dovecot && is_chosen("SCENARIO", s.name)) {
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
                if killed.insert(site.clone()) && play(Some((number, at, site))).is_err() {
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
