//! Databases and Maildirs that are not what they were, and others at work: refused with a sentence, nothing lost.

use super::bench::{Bench, USER, copy, files, message};
use super::support::server::{Act, Profile, When};
use std::fs;
use std::time::{Duration, Instant};

/// Both sides are as they were, so many messages each.
#[track_caller]
fn nothing_lost(bench: &Bench, here: usize, there: usize) {
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (here, Some(there)));
}

#[test]
fn a_second_instance_names_the_first_and_is_exit_75() {
    let bench = Bench::mirrored(Profile::full(), 2);
    bench.server.rule(When::verb("LIST").nth(1), Act::Delay(4_000));
    let mark = bench.server.mark();
    let first = bench.spawn(bench.command(&["sync"]));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.server.commands_since(mark).iter().any(|command| command.starts_with("LIST")) {
        assert!(Instant::now() < deadline, "the first does not list");
        std::thread::sleep(Duration::from_millis(5));
    }
    let holder = format!("process {} (", first.id());
    for command in [&["sync"][..], &["check"], &["approve", "work"], &["folders", "work"]] {
        bench.run(command).is(75, &holder).says("Wait for it to end");
    }
    bench.finish(first).is(0, "");
    bench.converged("INBOX", 2);
}

#[test]
fn a_damaged_database_is_set_aside_and_nothing_is_lost() {
    let bench = Bench::mirrored(Profile::full(), 4);
    let damaged: Vec<String> = files(&bench.state().join("work/db")).into_keys().collect();
    assert!(!damaged.is_empty());
    for file in damaged {
        fs::write(file, b"\x00\xffgarbage".repeat(10_000)).expect("written");
    }
    bench.empty("INBOX/../INBOX");
    bench.sync().is(1, "was damaged, and lies in").says("nothing was changed").says("db.damaged-1");
    // A second look does not forget why.
    bench.sync().is(1, "belongs to the account \"work\"");
    bench.run(&["check"]).is(1, "failed  Maildir:");
    nothing_lost(&bench, 0, 4);
    bench.run(&["status"]).is(0, "failed");
}

#[test]
fn a_lost_state_is_refused_and_nothing_is_lost() {
    let bench = Bench::mirrored(Profile::full(), 4);
    fs::rename(bench.state(), bench.path("kept")).expect("moved");
    bench.run(&["check"]).is(1, "there is none in").says("another state directory");
    assert!(!bench.state().join("work").exists(), "check made a state");
    bench.sync().is(1, "there is none in").says("point `state-dir` to the right one or restore it");
    nothing_lost(&bench, 4, 4);
    fs::remove_dir_all(bench.state()).expect("removed");
    fs::rename(bench.path("kept"), bench.state()).expect("moved back");
    bench.converged("INBOX", 4);
}

#[test]
fn a_database_that_was_rolled_back_is_refused() {
    let bench = Bench::mirrored(Profile::full(), 4);
    copy(&bench.state(), &bench.path("old"));
    bench.fill(2);
    bench.sync().is(0, "");
    fs::remove_dir_all(bench.state()).expect("removed");
    copy(&bench.path("old"), &bench.state());
    bench.sync().is(1, "it was rolled back or restored");
    nothing_lost(&bench, 6, 6);
}

#[test]
fn a_maildir_that_was_restored_is_refused() {
    let bench = Bench::mirrored(Profile::full(), 4);
    copy(&bench.maildir(), &bench.path("old"));
    bench.fill(2);
    bench.sync().is(0, "");
    fs::remove_dir_all(bench.maildir()).expect("removed");
    copy(&bench.path("old"), &bench.maildir());
    bench.settle();
    bench.sync().is(1, "it was restored from a backup");
    nothing_lost(&bench, 4, 6);
}

#[test]
fn a_new_uidvalidity_is_refused_for_that_mailbox_and_the_others_go_on() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = Bench::mirrored(profile, 4);
        bench.server.create(USER, "Work");
        bench.server.deliver(USER, "Work", message(20), &[]);
        bench.sync().is(0, "");
        bench.server.bump_uidvalidity(USER, "INBOX");
        bench.server.deliver(USER, "Work", message(21), &[]);
        bench.sync().is(1, "the server numbered its messages anew").says("nothing is changed on either side");
        nothing_lost(&bench, 4, 4);
        assert_eq!(bench.count("Work"), 2);
        bench.run(&["status"]).is(0, "numbered its messages anew");
    }
}

#[test]
fn a_first_run_over_a_maildir_with_mail_is_refused() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(bench.maildir().join("INBOX").join(part)).expect("made");
    }
    fs::write(bench.maildir().join("INBOX/cur/1.a:2,S"), message(9)).expect("written");
    bench.run(&["check"]).is(1, "holds mail or other files that mailtwin did not put there");
    bench.sync().is(1, "choose an empty directory as `maildir`");
    nothing_lost(&bench, 1, 2);
}

#[test]
fn swapped_accounts_are_refused() {
    let bench = Bench::new(Profile::full());
    bench.fill(3);
    let (one, two) = (bench.path("Mail"), bench.path("Mail2"));
    let port = bench.server.port();
    let configure = |a: &std::path::Path, b: &std::path::Path| {
        let text = format!("{}{}", bench.account("one", port, a), bench.account("two", port, b));
        bench.write_configuration(&format!("state-dir = {:?}\n{text}", bench.state()));
    };
    configure(&one, &two);
    bench.sync().is(0, "");
    configure(&two, &one);
    bench.sync().is(1, "belongs to the account \"two\"").says("give each account a `maildir` of its own");
    nothing_lost(&bench, 3, 3);
}

#[test]
fn a_state_of_a_newer_version_is_refused_and_not_touched() {
    let bench = Bench::mirrored(Profile::full(), 2);
    let witness = bench.state().join("work/format");
    let text = fs::read_to_string(&witness).expect("read");
    let newer = text.replacen('1', "9", 1);
    fs::write(&witness, &newer).expect("written");
    let ran = bench.sync();
    assert_eq!(ran.code, Some(1), "{text:?}: {}", ran.err);
    nothing_lost(&bench, 2, 2);
}
