//! Databases and Maildirs that are not what they were, and others at work: refused with a sentence, nothing lost.

use crate::support::bench::{Bench, USER, copy, files, message};
use crate::support::server::{Act, Profile, When};
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
fn a_damaged_database_is_set_aside_and_both_sides_are_compared_anew() {
    let bench = Bench::mirrored(Profile::full(), 4);
    let damaged: Vec<String> = files(&bench.state().join("work/db")).into_keys().collect();
    assert!(!damaged.is_empty());
    for file in damaged {
        fs::write(file, b"\x00\xffgarbage".repeat(10_000)).expect("written");
    }
    bench.run(&["check"]).is(0, "was damaged, and lies in").says("db.damaged-1").says("it is taken over");
    bench.sync().is(0, "was lost, so both sides are compared anew").says("4 recognised");
    assert!(bench.state().join("work/db.damaged-1").exists());
    nothing_lost(&bench, 4, 4);
    bench.converged("INBOX", 4);
}

#[test]
fn a_database_that_was_cut_short_is_set_aside_and_both_sides_are_compared_anew() {
    let bench = Bench::mirrored(Profile::full(), 4);
    for file in files(&bench.state().join("work/db")).into_keys() {
        fs::File::options().write(true).open(file).expect("open").set_len(0).expect("cut");
    }
    bench.server.deliver(USER, "INBOX", message(9), &[]);
    bench
        .sync()
        .is(0, "both sides are compared anew")
        .says("was damaged, and lies in")
        .says("db.damaged-1")
        .says("4 recognised, 1 fetched");
    bench.converged("INBOX", 5);
}

#[test]
fn a_lost_state_costs_a_comparison_and_an_emptied_maildir_deletes_nothing() {
    let bench = Bench::mirrored(Profile::full(), 4);
    let moved = bench.path("kept");
    fs::rename(bench.state(), &moved).expect("moved");
    bench.run(&["check"]).is(0, "");
    assert!(!bench.state().join("work").exists(), "check made a state");
    bench.run(&["sync", "--dry-run"]).is(0, "4 messages on both sides already would be recognised");
    bench.empty("INBOX");
    bench.sync().is(0, "was lost").says("nothing is deleted on either side");
    bench.settle();
    bench.converged("INBOX", 4);
}

#[test]
fn a_maildir_of_another_state_is_refused_and_both_are_named() {
    let bench = Bench::mirrored(Profile::full(), 4);
    let other = bench.path("other");
    let text = fs::read_to_string(bench.path("daemon.toml")).expect("read");
    bench.write_configuration(&text.replace(&format!("{:?}", bench.state()), &format!("{other:?}")));
    for _ in 0..2 {
        let names = [bench.state().join("work"), other.join("work")].map(|path| path.display().to_string());
        bench.sync().is(1, "mailtwin relocate work").says(&names[0]).says(&names[1]);
        nothing_lost(&bench, 4, 4);
    }
    bench.write_configuration(&text);
    bench.converged("INBOX", 4);
}

#[test]
fn a_maildir_is_given_to_another_state_when_a_person_says_so_and_nothing_is_transferred() {
    let bench = Bench::mirrored(Profile::full(), 4);
    let other = bench.path("other");
    let old = fs::read_to_string(bench.path("daemon.toml")).expect("read");
    bench.run(&["relocate", "work", "--yes"]).is(0, "nothing to do");
    bench.write_configuration(&old.replace(&format!("{:?}", bench.state()), &format!("{other:?}")));
    let names = [bench.state().join("work"), other.join("work")].map(|path| path.display().to_string());
    bench.run(&["relocate", "work"]).is(0, "mailtwin relocate work --yes").says(&names[0]).says(&names[1]);
    bench.sync().is(1, "mailtwin relocate work");
    bench.run(&["relocate", "work", "--yes"]).is(0, "compares both sides");
    bench.sync().is(0, "4 recognised");
    nothing_lost(&bench, 4, 4);
    bench.settle();
    bench.sync().is(0, "nothing to do");
    // The other one notices, and leaves it alone.
    bench.write_configuration(&old);
    bench.sync().is(1, "mailtwin relocate work").says(&names[1]);
    nothing_lost(&bench, 4, 4);
    // And back: what that state remembers is from another time.
    bench.run(&["relocate", "work", "--yes"]).is(0, "compares both sides");
    bench.sync().is(0, "");
    nothing_lost(&bench, 4, 4);
    bench.converged("INBOX", 4);
}

#[test]
fn a_database_that_was_rolled_back_learns_what_happened_since() {
    let bench = Bench::mirrored(Profile::full(), 4);
    copy(&bench.state(), &bench.path("old"));
    for n in [10, 11] {
        bench.server.deliver(USER, "INBOX", message(n), &[]);
    }
    bench.server.create(USER, "Work");
    bench.server.deliver(USER, "Work", message(20), &[]);
    bench.sync().is(0, "3 fetched");
    fs::remove_dir_all(bench.state()).expect("removed");
    copy(&bench.path("old"), &bench.state());
    bench.settle();
    bench.run(&["check"]).is(0, "");
    bench.sync().is(0, "the state is older than").says("3 recognised");
    nothing_lost(&bench, 6, 6);
    assert_eq!(bench.count("Work"), 1);
    bench.converged("INBOX", 6);
}

#[test]
fn a_maildir_that_was_restored_holds_what_it_lacks() {
    let bench = Bench::mirrored(Profile::full(), 4);
    copy(&bench.maildir(), &bench.path("old"));
    for n in [10, 11] {
        bench.server.deliver(USER, "INBOX", message(n), &[]);
    }
    bench.sync().is(0, "");
    fs::remove_dir_all(bench.maildir()).expect("removed");
    copy(&bench.path("old"), &bench.maildir());
    bench.settle();
    bench.sync().is(3, "perhaps restored from a backup").says("`mailtwin reject work` fetches it again");
    nothing_lost(&bench, 4, 6);
    bench.run(&["status"]).is(0, "held set 1: 2 deletions on the server");
    bench.sync().is(3, "");
    nothing_lost(&bench, 4, 6);
    bench.run(&["reject", "work"]).is(0, "");
    bench.sync().is(0, "2 fetched");
    bench.converged("INBOX", 6);
}

#[test]
fn a_new_uidvalidity_of_every_mailbox_transfers_and_deletes_nothing() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = Bench::mirrored(profile, 4);
        bench.server.create(USER, "Work");
        bench.server.deliver(USER, "Work", message(20), &[]);
        bench.sync().is(0, "");
        for mailbox in ["INBOX", "Work"] {
            bench.server.bump_uidvalidity(USER, mailbox);
        }
        bench.server.deliver(USER, "Work", message(21), &[]);
        let mark = bench.server.mark();
        bench.sync().is(0, "5 recognised, 1 fetched");
        let bodies = bench.server.commands_since(mark).into_iter().filter(|command| command.contains("BODY.PEEK[]"));
        assert_eq!(bodies.count(), 1);
        nothing_lost(&bench, 4, 4);
        assert_eq!(bench.count("Work"), 2);
        bench.converged("INBOX", 4);
    }
}

#[test]
fn a_first_run_over_a_maildir_with_mail_takes_it_over_and_a_home_is_refused() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(bench.maildir().join("INBOX").join(part)).expect("made");
    }
    fs::create_dir(bench.maildir().join("Documents")).expect("made");
    fs::write(bench.maildir().join("INBOX/cur/1.a,U=1:2,S"), message(1)).expect("written");
    fs::write(bench.maildir().join("INBOX/cur/2.b:2,"), message(9)).expect("written");
    fs::write(bench.maildir().join("INBOX/.mbsyncstate"), "").expect("written");
    for command in ["check", "sync"] {
        bench.run(&[command]).is(1, "holds \"Documents\", which is no Maildir and holds none");
        nothing_lost(&bench, 2, 2);
    }
    fs::remove_dir(bench.maildir().join("Documents")).expect("removed");
    bench.run(&["check"]).is(0, "is taken over");
    bench.run(&["folders", "work"]).is(0, "both sides will be compared");
    bench.run(&["sync", "--dry-run"]).is(0, "upload 2.b");
    bench
        .sync()
        .is(0, "was kept by mbsync, which must not run on it any more")
        .says("1 recognised, 1 fetched, 1 uploaded");
    assert!(bench.maildir().join("INBOX/cur/1.a,U=1:2,S").exists());
    assert!(bench.maildir().join("INBOX/.mbsyncstate").exists());
    bench.converged("INBOX", 3);
}

#[test]
fn accounts_that_were_swapped_on_the_server_are_asked_about() {
    let bench = Bench::mirrored(Profile::full(), 4);
    bench.server.account("you");
    for n in 30..36 {
        bench.server.deliver("you", "INBOX", message(n), &[]);
    }
    bench.server.bump_uidvalidity("you", "INBOX");
    let text = fs::read_to_string(bench.path("daemon.toml")).expect("read");
    bench.write_configuration(&text.replace("user = \"me\"", "user = \"you\""));
    for _ in 0..2 {
        bench
            .sync()
            .is(3, "of 6 messages on the server and 4 in the Maildir only 0 belong together")
            .says("correct `user`, `host` or `maildir`");
        nothing_lost(&bench, 4, 4);
        assert_eq!(bench.server.snapshot("you")["INBOX"].len(), 6);
    }
    bench.run(&["status"]).is(0, "mailtwin approve work/INBOX").says("something waits for you");
    // The right user again: the memory is still that of this account.
    bench.write_configuration(&text);
    bench.sync().is(0, "");
    bench.converged("INBOX", 4);
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

/// The first look broke off when the directory was made, and mail came into it before the next one.
#[test]
fn what_comes_into_a_directory_of_ours_is_no_question() {
    let bench = Bench::new(Profile::full());
    bench.configure("");
    bench.fill(6);
    bench.server.rule(When::verb("SELECT").nth(1), Act::Drop);
    bench.sync().is(75, "closed the connection");
    for n in 20..26 {
        let file = bench.maildir().join("INBOX/new").join(format!("1700000000.M{n}P9.here"));
        fs::write(file, message(n).replace("\r\n", "\n")).expect("the directory is there");
    }
    bench.settle();
    bench.sync().is(0, "6 fetched, 6 uploaded");
    bench.converged("INBOX", 12);
}
