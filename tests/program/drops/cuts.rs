//! Sessions of five messages that are cut, and runs that are killed.

use super::world::{World, text, texts};
use crate::support::server::pop3::{Act, Profile, When};

const DELETE: &str = "leave-on-server = false";

fn whole(world: &World, told: &str) {
    let (here, there) = (world.here(), world.there());
    assert!(here.iter().all(|text| texts(1..=5).contains(text)), "{told}: {here:?}");
    for n in 1..=5 {
        let copies = here.iter().filter(|here| **here == text(n)).count();
        assert!(copies <= 1, "{told}: message {n} is here {copies} times");
        assert!(copies == 1 || there.contains(&text(n)), "{told}: message {n} is lost");
    }
}

/// The run after a mishap ends as it would have without it, and the one after that has nothing to do.
fn ends_well(world: &World, told: &str, keeps: bool) {
    let ran = world.run(&["sync"], &[]);
    assert_eq!(ran.code, Some(0), "{told}: {}", ran.said);
    assert_eq!(world.here(), texts(1..=5), "{told}");
    assert_eq!(world.there(), if keeps { texts(1..=5) } else { vec![] }, "{told}");
    let (mark, ran) = (world.pop3.mark(), world.run(&["sync"], &[]));
    assert_eq!(ran.code, Some(0), "{told}: {}", ran.said);
    assert_eq!(world.commands(mark, "RETR") + world.commands(mark, "DELE"), 0, "{told}");
    let commits: Vec<_> = ran.steps.iter().filter(|step| step.starts_with("store.")).collect();
    // The number of messages in the drop is remembered.
    assert!(commits.len() <= 1, "{told}: {commits:?}");
}

fn cut_everywhere(keeps: bool, profile: Profile, cut: fn(usize) -> Act) {
    let world = World::new(5, profile, if keeps { "" } else { DELETE });
    let state = world.server.clone_state();
    let stride = if std::env::var_os("EVERY").is_some() { 1 } else { 23 };
    let (mut after, mut cuts) = (0, 0);
    loop {
        world.begin_anew();
        world.server.restore_state(&state);
        world.pop3.clear_rules();
        world.pop3.rule(When::verb("GREETING").nth(1), cut(after));
        let mark = world.pop3.mark();
        let ran = world.run(&["sync"], &[]);
        let told = format!("cut after {after} octets, {}", ran.said);
        whole(&world, &told);
        let sessions = world.pop3.commands_since(mark);
        if !sessions.iter().any(|command| command == "QUIT") {
            assert_eq!(world.there(), texts(1..=5), "{told}: something is gone without a goodbye");
        }
        world.pop3.clear_rules();
        ends_well(&world, &told, keeps);
        let one_session = sessions.iter().filter(|command| *command == "STAT").count() == 1;
        if ran.code == Some(0) && one_session && cuts > 3 && sessions.iter().any(|command| command == "QUIT") {
            break;
        }
        (after, cuts) = (after + stride, cuts + 1);
    }
    assert!(after > 100, "the whole session was cut: {after}");
}

#[test]
fn a_session_that_keeps_cut_by_the_server() {
    cut_everywhere(true, Profile::full(), Act::CutSessionAfter);
}

#[test]
fn a_session_that_deletes_cut_by_the_server() {
    cut_everywhere(false, Profile::full(), Act::CutSessionAfter);
}

#[test]
fn a_session_that_keeps_cut_by_the_client() {
    cut_everywhere(true, Profile::full(), Act::CutInputAfter);
}

#[test]
fn a_session_that_deletes_cut_by_the_client() {
    cut_everywhere(false, Profile::full().without(&["PIPELINING"]), Act::CutInputAfter);
}

#[test]
fn a_run_killed_before_every_step() {
    for (keeps, more) in [(true, ""), (false, DELETE)] {
        let world = World::new(5, Profile::full(), more);
        let state = world.server.clone_state();
        let small = ("MAILTWIN_GROUP", "2");
        let steps = world.run(&["sync"], &[small]).steps;
        assert!(steps.len() > 30, "{steps:?}");
        for at in 1..=steps.len() {
            world.begin_anew();
            world.server.restore_state(&state);
            let number = at.to_string();
            let ran = world.run(&["sync"], &[small, ("MAILTWIN_KILL_AT", &number)]);
            let told = format!("killed before step {at}, {}", steps[at - 1]);
            assert!(ran.code.is_none() || ran.steps.len() < at, "{told}: {}", ran.said);
            whole(&world, &told);
            ends_well(&world, &told, keeps);
        }
    }
}

#[test]
fn a_run_killed_twice() {
    let world = World::new(5, Profile::full(), DELETE);
    let state = world.server.clone_state();
    let small = ("MAILTWIN_GROUP", "2");
    let steps = world.run(&["sync"], &[small]).steps.len();
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..if std::env::var_os("EVERY").is_some() { 1000 } else { 40 } {
        world.begin_anew();
        world.server.restore_state(&state);
        let kills = [dice.usize(1..=steps), dice.usize(1..=steps)].map(|at| at.to_string());
        for at in &kills {
            world.run(&["sync"], &[small, ("MAILTWIN_KILL_AT", at)]);
            whole(&world, &format!("killed at {kills:?}"));
        }
        ends_well(&world, &format!("killed at {kills:?}"), false);
    }
}
