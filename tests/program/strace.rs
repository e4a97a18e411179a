//! No step was forgotten: the system calls of whole runs, held against the steps.
//!
//! With groups of one, at most one file outside the state directory is made, renamed, linked or removed between two
//! steps of a thread, and none before the first. `strace` is installed where it is missing (Debian).

#![cfg(feature = "steps")]
// What was killed, and where, is meant to be read.
#![allow(clippy::print_stdout)]

use crate::scenarios::host::{Host as _, Twinless, USER};
use crate::scenarios::tree::{Names, Tree};
use crate::scenarios::{Scenario, Stage, scenarios as all_scenarios};
use crate::support::server::{PASSWORD, Profile, Server};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const CALLS: &str = "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,\
                     open,openat,openat2,creat,truncate,ftruncate,utimensat,write";

/// What a thread did: it reached a step, or changed a file.
struct Seen {
    thread: String,
    is_step: bool,
    call: String,
}

/// Runs it under strace and reads the trace.
fn traced(stage: &Stage) -> Vec<Seen> {
    let plain = stage.command("sync");
    let trace = stage.maildir().with_file_name("trace");
    let steps = stage.maildir().with_file_name("steps");
    stage.backdate();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-s", "200", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace).arg("--");
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("MAILTWIN_GROUP", "1").stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let ran = stage.end(command.spawn().expect("strace starts"));
    assert!(ran.code == Some(0), "{ran:?}");
    let text = std::fs::read_to_string(&trace).expect("strace wrote a trace");
    let counted = std::fs::read_to_string(&steps).expect("the program wrote its steps").lines().count();
    let seen: Vec<Seen> = text.lines().filter_map(|line| read(line, &steps, stage)).collect();
    let found = seen.iter().filter(|seen| seen.is_step).count();
    assert_eq!(found, counted, "each step is a write in the trace");
    seen
}

/// What a line of the trace tells, if it matters. A call that another thread interrupts is taken where it began.
fn read(line: &str, steps: &Path, stage: &Stage) -> Option<Seen> {
    let (thread, call) = line.split_once(' ')?;
    let seen = |is_step, call: &str| Seen { thread: thread.to_owned(), is_step, call: call.to_owned() };
    let call = call.trim_start();
    let (name, arguments) = call.split_once('(')?;
    if call.starts_with("<...") {
        return None;
    }
    if name == "write" {
        let to_steps = arguments.contains(&format!("<{}>", steps.display()));
        // It may be written in pieces; the name of the site is the one with a dot.
        let written = arguments.split('"').nth(1).filter(|text| to_steps && text.contains('.'))?;
        return Some(seen(true, written));
    }
    if call.contains(" = -1 ") || !arguments.contains(&*stage.maildir().to_string_lossy()) {
        return None;
    }
    let makes = !name.starts_with("open") || arguments.contains("O_CREAT") || arguments.contains("O_TRUNC");
    // A file that is being written belongs to the step that made it, and so do its times.
    let durable = !["truncate", "ftruncate", "utimensat"].contains(&name);
    (makes && durable).then(|| seen(false, call))
}

fn at_most_one_between_two_steps(scenario: &Scenario, seen: &[Seen]) -> usize {
    // Messages come to several mailboxes at once: each thread announces what it does.
    let mut announced: BTreeSet<&str> = BTreeSet::new();
    let mut mutations = 0;
    for (n, Seen { thread, is_step, .. }) in seen.iter().enumerate() {
        if *is_step {
            announced.insert(thread);
            continue;
        }
        mutations += 1;
        let told = |seen: &Seen| format!("{} {}\n", seen.thread, seen.call);
        let before = || seen[n.saturating_sub(6)..=n].iter().map(told).collect::<String>();
        assert!(announced.remove(thread.as_str()), "{}: changed without a step:\n{}", scenario.name, before());
    }
    mutations
}

#[test]
fn at_most_one_file_changes_between_two_steps() {
    install();
    let mut mutations = 0;
    let chosen = ["a first sync", "new on both sides", "flags changed on both sides", "deleted", "a new mailbox here"];
    for scenario in all_scenarios().iter().filter(|s| chosen.iter().any(|words| s.name.starts_with(words))) {
        for profile in [Profile::full(), Profile::plain()] {
            let server = Server::start((scenario.profile)(profile));
            server.account(USER);
            let stage = Stage::new(server.port(), USER, PASSWORD, scenario.account);
            let names = Names::of(scenario.names());
            let mut host = Twinless(&server);
            if scenario.is_remembered() {
                let bare = host.tree(&names);
                host.edit(&bare, &scenario.remembered, &names);
                mutations += at_most_one_between_two_steps(scenario, &traced(&stage));
            }
            stage.edit(&stage.tree(&names), &scenario.maildir, &names);
            let found: Tree = host.tree(&names);
            host.edit(&found, &scenario.server, &names);
            mutations += at_most_one_between_two_steps(scenario, &traced(&stage));
        }
    }
    println!("{mutations} changes of files outside the state directory, each behind a step of its own");
    assert!(mutations > 500, "the trace shows too few changes: {mutations}");
}

/// Installs strace where it is missing.
fn install() {
    let there = || Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if there() {
        return;
    }
    let told = [&["update"][..], &["install", "-y", "--no-install-recommends", "strace"]]
        .map(crate::support::dovecot::apt_get);
    assert!(there(), "this test needs strace: run `apt-get install strace` as root, then try again\n{told:?}");
}
