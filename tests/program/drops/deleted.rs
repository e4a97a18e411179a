//! `deleted-here`: what the owner deleted leaves the drop, and nothing that only looks so.

use super::world::{Ran, World, deliver, text, texts};
use crate::support::server::pop3::Profile;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

const RULE: &str = "remove = { deleted-here = true }";
/// What `sync` ends with when something waits for a person.
const HELD: i32 = 3;

fn world(messages: usize, more: &str) -> World {
    let world = World::new(messages, Profile::full(), more);
    world.sync();
    world
}

fn held(ran: &Ran, count: &str) {
    assert_eq!(ran.code, Some(HELD), "{}", ran.said);
    assert!(ran.said.contains(&format!("{count} deletion")) && ran.said.contains("held"), "{}", ran.said);
}

/// Takes the file with this text away.
fn delete(world: &World, text: &str) {
    world.delete_here(text);
    long_ago(world);
}

/// As if the last change of the mailbox were long ago: what is missing is believed at once.
fn long_ago(world: &World) {
    for part in ["cur", "new"] {
        let directory = fs::File::open(world.home.path().join("mail/INBOX").join(part)).expect("opened");
        directory.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("set");
    }
}

/// Makes another folder of the Maildir, as a reader does, and moves the file with this text there.
fn archive(world: &World, text: &str, name: Option<&str>) {
    let folder = world.home.path().join("mail/Archive");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).expect("made");
    }
    let file = world.files("INBOX").into_iter().find(|file| fs::read_to_string(file).expect("read") == text);
    let file = file.expect("it is here");
    let name = name.map_or_else(|| file.file_name().expect("a name").to_owned(), Into::into);
    fs::rename(file, folder.join("cur").join(name)).expect("moved");
    long_ago(world);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

#[test]
fn what_was_deleted_here_leaves_the_drop_and_the_rest_stays() {
    let world = world(4, RULE);
    delete(&world, &text(2));
    let ran = world.run(&["sync", "--dry-run"], &[]);
    assert!(ran.said.contains("delete") || ran.said.contains("remove"), "{}", ran.said);
    assert_eq!(world.there(), texts(1..=4));
    world.sync();
    assert_eq!((world.here(), world.there()), (texts([1, 3, 4]), texts([1, 3, 4])));
    let mark = world.pop3.mark();
    world.sync();
    assert_eq!((world.commands(mark, "DELE"), world.commands(mark, "RETR")), (0, 0));
    assert_eq!(world.here(), texts([1, 3, 4]));
}

#[test]
fn never_before_holds_for_it_as_well() {
    let world = world(3, "remove = { deleted-here = true, never-before = \"2h\" }");
    delete(&world, &text(2));
    world.sync();
    assert_eq!(world.there(), texts(1..=3));
    let explained = |ahead| world.run(&["explain", "old/INBOX:2"], &[("MAILTWIN_CLOCK_AHEAD", ahead)]).said;
    assert!(!explained("0").contains("deleted-here") && explained("7210").contains("`deleted-here` in `remove`"));
    world.sync_after(2 * 3600 + 10);
    assert_eq!((world.here(), world.there()), (texts([1, 3]), texts([1, 3])));
}

#[test]
fn what_was_moved_to_another_folder_is_not_deleted_whatever_becomes_of_it_there() {
    for name in [None, Some("1700000000.M1P1.reader:2,S")] {
        let world = world(3, RULE);
        archive(&world, &text(2), name);
        world.sync();
        assert_eq!(world.there(), texts(1..=3), "{name:?}");
        fs::remove_dir_all(world.home.path().join("mail/Archive")).expect("removed");
        world.sync();
        assert_eq!((world.here(), world.there()), (texts([1, 3]), texts(1..=3)), "{name:?}");
    }
}

#[test]
fn what_a_reader_renamed_is_known_again_and_can_be_deleted_then() {
    let world = world(3, RULE);
    let old = world.files("INBOX").into_iter().find(|file| fs::read_to_string(file).expect("read") == text(2));
    let new = world.home.path().join("mail/INBOX/cur/1700000000.M1P1.reader:2,S");
    fs::rename(old.expect("it is here"), &new).expect("renamed");
    long_ago(&world);
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), texts(1..=3)));
    fs::remove_file(new).expect("removed");
    long_ago(&world);
    world.sync();
    assert_eq!((world.here(), world.there()), (texts([1, 3]), texts([1, 3])));
}

#[test]
fn an_emptied_maildir_empties_no_drop_until_a_person_says_so() {
    for messages in [1, 3] {
        let world = world(messages, RULE);
        (1..=messages).for_each(|n| delete(&world, &text(n)));
        held(&world.run(&["sync"], &[]), &format!("{messages}"));
        held(&world.run(&["sync"], &[]), &format!("{messages}"));
        assert_eq!(world.there(), texts(1..=messages));
        assert_eq!(world.run(&["approve", "old"], &[]).code, Some(0));
        deliver(&world.server, 9);
        world.sync();
        assert_eq!((world.here(), world.there()), (texts([9]), texts([9])));
    }
}

#[test]
fn an_emptied_maildir_is_held_although_no_rule_lets_all_of_it_go() {
    const LATER: u64 = 3 * 3600;
    let world = world(3, "remove = { deleted-here = true, never-before = \"2h\" }");
    deliver(&world.server, 4);
    world.sync_after(LATER);
    (1..=4).for_each(|n| delete(&world, &text(n)));
    held(&world.run(&["sync"], &[("MAILTWIN_CLOCK_AHEAD", &format!("{}", LATER + 60))]), "3");
    assert_eq!(world.there(), texts(1..=4));
}

#[test]
fn what_was_filed_away_and_is_lacking_in_a_backup_stays_in_the_drop() {
    let world = world(2, "remove = { after = \"2h\" }");
    let (mail, backup) = (world.home.path().join("mail"), world.home.path().join("backup"));
    copy(&mail, &backup);
    deliver(&world.server, 3);
    world.sync();
    archive(&world, &text(3), None);
    world.sync();
    fs::remove_dir_all(&mail).expect("removed");
    copy(&backup, &mail);
    world.sync();
    world.sync_after(3 * 3600);
    assert_eq!((world.here(), world.there()), (texts(1..=2), texts(3..=3)));
}

#[test]
fn a_rejected_set_is_fetched_again() {
    let world = world(3, RULE);
    (1..=3).for_each(|n| delete(&world, &text(n)));
    held(&world.run(&["sync"], &[]), "3");
    assert_eq!(world.run(&["reject", "old"], &[]).code, Some(0));
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), texts(1..=3)));
    delete(&world, &text(1));
    // The guard forgets after ten minutes what it counted.
    world.sync_after(700);
    assert_eq!((world.here(), world.there()), (texts(2..=3), texts(2..=3)));
}

#[test]
fn slices_count_together() {
    let guard = "guard = { deletions = 2, percent = 1 }";
    let world = world(9, &format!("{RULE}\n{guard}"));
    for n in 1..=2 {
        delete(&world, &text(n));
        world.sync();
    }
    delete(&world, &text(3));
    held(&world.run(&["sync"], &[]), "1");
    delete(&world, &text(4));
    held(&world.run(&["sync"], &[]), "2");
    assert_eq!(world.there(), texts(3..=9));
}

#[test]
fn a_maildir_that_is_missing_replaced_or_restored_removes_nothing() {
    let with_backup = || {
        let world = world(2, RULE);
        let (mail, backup) = (world.home.path().join("mail"), world.home.path().join("backup"));
        copy(&mail, &backup);
        (3..=6).for_each(|n| deliver(&world.server, n));
        world.sync();
        fs::remove_dir_all(&mail).expect("removed");
        (world, mail, backup)
    };
    let (world, ..) = with_backup();
    assert_ne!(world.run(&["sync"], &[]).code, Some(0));
    assert_eq!(world.there(), texts(1..=6));

    let (world, mail, _) = with_backup();
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(mail.join("INBOX").join(part)).expect("made");
    }
    assert_ne!(world.run(&["sync"], &[]).code, Some(0));
    assert_eq!(world.there(), texts(1..=6));

    let (world, mail, backup) = with_backup();
    copy(&backup, &mail);
    world.sync();
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=6), texts(1..=6)));
}

#[test]
fn a_drop_that_shows_few_of_its_messages_loses_none() {
    let world = world(40, RULE);
    delete(&world, &text(2));
    let part = world.server.pop3(Profile { oldest: Some(5), ..Profile::full() });
    world.configure_as("pop3", part.port(), RULE);
    world.run(&["sync"], &[]);
    assert_eq!(world.there(), texts(1..=40));
    world.configure(RULE);
    world.sync();
    assert_eq!(world.there(), texts((1..=40).filter(|n| *n != 2)));
}

#[test]
fn killed_at_every_step_it_removes_what_was_deleted_and_nothing_else() {
    let prepared = || {
        let world = world(3, RULE);
        delete(&world, &text(2));
        world
    };
    let steps = prepared().run(&["sync"], &[]).steps.len();
    assert!(steps > 3, "{steps}");
    for step in 1..=steps {
        let world = prepared();
        world.run(&["sync"], &[("MAILTWIN_KILL_AT", &step.to_string())]);
        assert!(texts([1, 3]).iter().all(|text| world.there().contains(text)), "step {step}");
        world.sync();
        world.sync();
        assert_eq!((world.here(), world.there()), (texts([1, 3]), texts([1, 3])), "step {step}");
    }
}
