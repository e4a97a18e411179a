//! What is removed from a drop, when, and never sooner.

use super::world::{World, deliver, text, texts};
use crate::support::server::pop3::{Act, Names, Profile, When};

const HOUR: u64 = 3600;

#[test]
fn every_rule_removes() {
    for (rule, left) in [
        ("", 1..=6),
        ("remove = { after = \"2h\" }", 5..=6),
        ("remove = { beyond-newest = 3 }", 4..=6),
        ("remove = { beyond-total = \"150 B\" }", 4..=6),
        ("remove = { larger-than = \"1 KiB\" }", 1..=6),
        ("remove = { beyond-newest = 3, never-before = \"2h\" }", 4..=6),
        ("leave-on-server = false\nremove = { never-before = \"2h\" }", 5..=6),
    ] {
        let world = World::new(4, Profile::full(), rule);
        world.sync();
        deliver(&world.server, 5);
        deliver(&world.server, 6);
        world.sync_after(2 * HOUR + 10);
        world.sync_after(2 * HOUR + 20);
        assert_eq!((world.here(), world.there()), (texts(1..=6), texts(left)), "{rule}");
    }
}

#[test]
fn a_new_message_under_the_name_of_one_that_was_removed_is_fetched_first() {
    // As servers do that count from 1, when they are set up anew.
    let names = Names::made(|uid, _| format!("{}", (uid - 1) % 2 + 1).into_bytes());
    let world = World::new(2, Profile { names, ..Profile::full() }, "leave-on-server = false");
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=2), vec![]));
    deliver(&world.server, 3);
    world.sync();
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), vec![]));
}

#[test]
fn what_was_deleted_here_is_removed_by_the_same_rules_and_no_other() {
    let world = World::new(2, Profile::full(), "remove = { after = \"2h\" }");
    world.sync();
    world.delete_here(&text(1));
    world.sync_after(HOUR);
    assert_eq!(world.there(), texts(1..=2));
    world.sync_after(3 * HOUR);
    assert_eq!((world.here(), world.there()), (texts(2..=2), vec![]));
}

#[test]
fn a_goodbye_that_is_refused_removes_nothing_and_is_said_again() {
    for act in [Act::Err("", "some deleted messages not removed"), Act::Drop, Act::EffectThenDrop] {
        let world = World::new(3, Profile::full(), "leave-on-server = false");
        world.pop3.rule(When::verb("QUIT"), act);
        let ran = world.run(&["sync"], &[]);
        assert_ne!(ran.code, Some(0), "{}", ran.said);
        assert_eq!(world.here(), texts(1..=3));
        world.pop3.clear_rules();
        let mark = world.pop3.mark();
        world.sync();
        assert_eq!((world.here(), world.there(), world.commands(mark, "RETR")), (texts(1..=3), vec![], 0));
    }
}

#[test]
fn a_refused_removal_is_tried_again_later() {
    let world = World::new(3, Profile::full(), "leave-on-server = false");
    world.pop3.rule(When::text("DELE 2"), Act::Err("", "no"));
    assert!(world.sync().contains("1 failed"));
    assert_eq!(world.there(), texts(2..=2));
    world.pop3.clear_rules();
    world.sync_after(400);
    assert_eq!((world.here(), world.there()), (texts(1..=3), vec![]));
}

#[test]
fn a_dry_run_tells_it_all_and_changes_nothing() {
    let world = World::new(2, Profile::full(), "leave-on-server = false");
    let ran = world.run(&["sync", "--dry-run"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(ran.said.matches("fetch").count(), 2, "{}", ran.said);
    assert!(ran.said.contains("delete") || ran.said.contains("remove"), "{}", ran.said);
    assert_eq!((world.files("INBOX").len(), world.there()), (0, texts(1..=2)));
    assert!(!world.home.path().join("mail").exists());
    world.sync();
    let ran = world.run(&["sync", "-n"], &[]);
    assert!(ran.said.contains("nothing to do"), "{}", ran.said);
}
