//! Files that are missing: nothing is deleted on the server before it is certain, and much is not without a person.

use crate::support::bench::{Bench, USER, copy, message};
use crate::support::server::Profile;

#[test]
fn an_emptied_inbox_is_held_and_goes_to_the_trash_when_approved() {
    for profile in [Profile::full(), Profile::no_condstore(), Profile::plain()] {
        let bench = Bench::mirrored(profile, 10);
        bench.empty("INBOX");
        for _ in 0..2 {
            bench.sync().is(3, "10 deletions held");
            assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (0, Some(10)));
        }
        bench
            .run(&["status"])
            .is(0, "held set 1: 10 deletions on the server")
            .says("mailtwin approve work/INBOX --set 1");
        bench.run(&["approve", "work", "--set", "7"]).is(0, "nothing is held there");
        bench.sync().is(3, "");
        bench.run(&["approve", "work/INBOX", "--set", "1"]).is(0, "10 deletions approved");
        bench.sync().is(0, "");
        bench.settle();
        assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(0), Some(10)));
        bench.sync().is(0, "");
        bench.converged("Trash", 10);
        bench.converged("INBOX", 0);
    }
}

#[test]
fn what_is_rejected_comes_back() {
    let bench = Bench::mirrored(Profile::full(), 10);
    bench.empty("INBOX");
    bench.sync().is(3, "");
    bench.run(&["reject", "work"]).is(0, "10 deletions rejected");
    bench.sync().is(0, "10 fetched");
    bench.converged("INBOX", 10);
    bench.run(&["approve", "work"]).is(0, "nothing is held there");
}

#[test]
fn what_is_held_dissolves_when_the_files_return() {
    let bench = Bench::mirrored(Profile::full(), 10);
    copy(&bench.maildir().join("INBOX"), &bench.path("kept"));
    bench.empty("INBOX");
    bench.sync().is(3, "");
    copy(&bench.path("kept"), &bench.maildir().join("INBOX"));
    bench.settle();
    bench.sync().is(0, "");
    bench.converged("INBOX", 10);
    let status = bench.run(&["status"]);
    assert!(!status.out.contains("held"), "{}", status.out);
}

#[test]
fn a_folder_whose_directory_is_gone_loses_nothing_on_the_server() {
    let bench = Bench::mirrored(Profile::full(), 3);
    bench.server.create("me", "Work");
    bench.server.deliver("me", "Work", message(20), &[]);
    bench.sync().is(0, "");
    std::fs::rename(bench.maildir().join("Work"), bench.path("kept")).expect("moved");
    bench.fill(1);
    bench.sync().is(3, "stays on the server until you decide: restore the directory");
    assert_eq!((bench.there("Work"), bench.count("INBOX")), (Some(1), 4), "the others go on");
    assert!(bench.run(&["folders", "work"]).out.contains("held: its directory is gone"));
    let status = bench.run(&["status", "work"]).out;
    assert!(status.contains("Work: held set 1: its directory is gone"), "{status}");
    assert!(status.contains("fetch anew:  mailtwin reject work/Work --set 1"), "{status}");
    std::fs::rename(bench.path("kept"), bench.maildir().join("Work")).expect("moved back");
    bench.settle();
    bench.sync().is(0, "");
    bench.converged("Work", 1);
}

#[test]
fn a_folder_that_lost_its_marker_or_a_part_loses_nothing_on_the_server() {
    for part in ["mailtwin-folder", "cur", "new", "tmp"] {
        let bench = Bench::mirrored(Profile::full(), 3);
        std::fs::rename(bench.maildir().join("INBOX").join(part), bench.path("kept")).expect("moved");
        bench.settle();
        let ran = bench.sync();
        assert_eq!(ran.code, Some(1), "{part}: {}", ran.err);
        assert_eq!(bench.there("INBOX"), Some(3), "{part}");
        std::fs::rename(bench.path("kept"), bench.maildir().join("INBOX").join(part)).expect("moved back");
        bench.settle();
        bench.sync().is(0, "");
        bench.converged("INBOX", 3);
    }
}

#[test]
fn one_message_that_was_removed_is_moved_to_the_trash() {
    let bench = Bench::mirrored(Profile::full(), 10);
    let name = bench.messages("INBOX").into_keys().next().expect("a message");
    let path = bench.maildir().join("INBOX/new").join(&name);
    std::fs::remove_file(path).expect("removed");
    bench.settle();
    bench.sync().is(0, "");
    assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(9), Some(1)));
}

#[test]
fn a_mailbox_goes_although_another_has_moved_to_the_place_of_its_directory() {
    let bench = Bench::new(Profile::full());
    for (mailbox, number) in [("A", 1), ("B", 2)] {
        bench.server.create(USER, mailbox);
        bench.server.deliver(USER, mailbox, message(number), &[]);
    }
    bench.sync().is(0, "2 fetched");
    std::fs::remove_dir_all(bench.maildir().join("A")).expect("removed");
    std::fs::rename(bench.maildir().join("B"), bench.maildir().join("A")).expect("renamed");
    bench.settle();
    bench.sync().is(1, "mailtwin approve work/A");
    bench.run(&["approve", "work/A"]).is(0, "");
    bench.settle();
    bench.run(&["sync"]);
    assert_eq!((bench.there("A"), bench.there("Trash")), (None, Some(1)));
    bench.settle();
    bench.sync().is(0, "");
    assert_eq!((bench.there("A"), bench.there("B")), (Some(1), None));
    bench.converged("A", 1);
}
