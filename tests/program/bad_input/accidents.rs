//! Accidents that nobody meant: nothing is deleted on the other side, and one sentence says what to do. The whole list, and
//! where each is proven, is in docs/accidents.md.

use crate::support::bench::{Bench, Ran, USER, files, message};
use crate::support::server::{Act, Profile, When};

/// Removes so many files of the INBOX.
fn lose(bench: &Bench, count: usize) {
    let files = ["new", "cur"].map(|part| bench.maildir().join("INBOX").join(part));
    let entries = files.iter().flat_map(|part| std::fs::read_dir(part).expect("listed").flatten());
    entries.take(count).for_each(|entry| std::fs::remove_file(entry.path()).expect("removed"));
    bench.settle();
}

/// A run at so many seconds from now.
#[cfg(feature = "steps")]
fn sync_after(bench: &Bench, seconds: u64) -> Ran {
    let mut command = bench.command(&["sync"]);
    command.env("MAILTWIN_CLOCK_AHEAD", seconds.to_string());
    bench.finish(bench.spawn(command))
}

#[cfg(feature = "steps")]
#[test]
fn an_inbox_that_is_emptied_in_slices_is_held_once_they_add_up() {
    let bench = Bench::mirrored(Profile::full(), 120);
    for (seconds, code, left) in [(0, 0, 80), (250, 3, 80), (500, 3, 80)] {
        lose(&bench, 40);
        sync_after(&bench, seconds).is(code, "");
        assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(left), Some(40)), "after {seconds} s");
    }
    assert_eq!(bench.count("INBOX"), 0);
    let status = bench.run(&["status"]);
    status.is(0, "held set 1: 40 deletions on the server").says("held set 2: 40 deletions on the server");
    status.says("mailtwin reject work/INBOX --set 1");
    bench.run(&["reject", "work"]).is(0, "set 1, 40 deletions rejected").says("set 2, 40 deletions rejected");
    bench.sync().is(0, "80 fetched");
    bench.converged("INBOX", 80);
}

#[cfg(feature = "steps")]
#[test]
fn deletions_are_counted_in_the_pass_in_which_others_are_forgotten() {
    let bench = Bench::mirrored(Profile::full(), 200);
    for (seconds, code, left) in [(0, 0, 150), (601, 0, 100), (602, 3, 100)] {
        lose(&bench, 50);
        sync_after(&bench, seconds).is(code, "");
        assert_eq!(bench.there("INBOX"), Some(left), "after {seconds} s");
    }
}

#[test]
fn an_inbox_whose_directory_is_gone_is_never_emptied_on_the_server() {
    let bench = Bench::mirrored(Profile::full(), 8);
    std::fs::rename(bench.maildir().join("INBOX"), bench.path("kept")).expect("moved");
    for _ in 0..2 {
        bench
            .sync()
            .is(3, "is gone from the Maildir, and nothing is deleted on the server; restore it, or fetch its mail anew")
            .says("`mailtwin reject work/INBOX`");
        bench.run(&["approve", "work"]).is(0, "nothing is held there");
        assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(8), None));
    }
    bench.run(&["reject", "work/INBOX"]).is(0, "rejected");
    bench.sync().is(0, "8 fetched");
    bench.settle();
    bench.converged("INBOX", 8);
}

#[test]
fn a_mailbox_that_was_emptied_on_the_server_stays_here_until_somebody_decides() {
    for profile in [Profile::full(), Profile::no_condstore(), Profile::plain()] {
        let bench = Bench::mirrored(profile, 10);
        bench.server.expunge(USER, "INBOX", &(1..=10).collect::<Vec<u32>>());
        for _ in 0..2 {
            bench.sync().is(3, "10 deletions held");
            assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (10, Some(0)));
        }
        bench.run(&["status"]).is(0, "held set 1: 10 deletions").says("mailtwin reject work/INBOX --set 1");
        bench.run(&["reject", "work"]).is(0, "10 deletions rejected");
        bench.sync().is(0, "10 uploaded");
        bench.settle();
        bench.converged("INBOX", 10);
    }
}

#[test]
fn a_false_vanished_of_twenty_messages_deletes_none() {
    for verb in ["SELECT", "UID FETCH", "LIST"] {
        let bench = Bench::mirrored(Profile::full(), 24);
        bench.server.deliver(USER, "INBOX", message(30), &[]);
        bench.server.rule(When::verb(verb), Act::FalseVanished("1:20"));
        let ran = bench.sync();
        assert!(matches!(ran.code, Some(0 | 1 | 75)), "{verb}: {:?} {}", ran.code, ran.err);
        assert!(bench.count("INBOX") >= 24, "{verb}: {} are left here: {}", bench.count("INBOX"), ran.err);
        assert_eq!(bench.there("INBOX"), Some(25), "{verb}");
        bench.server.clear_rules();
        bench.sync().is(0, "");
        bench.converged("INBOX", 25);
    }
}

#[test]
fn a_mailbox_that_was_parked_and_comes_back_as_another_waits_for_a_person() {
    let bench = Bench::mirrored(Profile::full(), 3);
    bench.server.create(USER, "Old");
    for n in 10..14 {
        bench.server.deliver(USER, "Old", message(n), &["\\Seen"]);
    }
    bench.sync().is(0, "");
    let kept = bench.messages("Old");
    assert_eq!(kept.len(), 4);
    bench.server.delete(USER, "Old");
    bench.sync().is(0, "");
    assert_eq!(bench.messages("Old"), kept, "its Maildir was not kept");

    // Somebody makes one of that name: it need not be the same, so neither side gets the other's mail, or loses its own.
    bench.server.create(USER, "Old");
    bench.server.deliver(USER, "Old", message(20), &[]);
    let mark = bench.server.mark();
    bench.sync().is(1, "move that directory out of the Maildir, and this one is fetched");
    assert_eq!((bench.messages("Old"), bench.there("Old")), (kept.clone(), Some(1)));
    assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new());

    // What the sentence says to do is enough.
    let aside = bench.path("aside");
    std::fs::rename(bench.maildir().join("Old"), &aside).expect("moved");
    bench.sync().is(0, "");
    bench.converged("Old", 1);
    assert_eq!(files(&aside.join("cur")).len(), 4);
}
