//! `deliver-to`: what a drop has goes into the Maildir of another account, and leaves the drop when that one's server has it.

use super::world::{World, deliver, text, texts};
use crate::support::server::pop3::Profile;
use crate::support::server::{PASSWORD, When};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// What `sync` ends with when something has to wait.
const LATER: i32 = 1;

/// The drop of ann, delivered to the INBOX of bob's account, which is of type IMAP.
fn world(messages: usize, more: &str) -> World {
    let world = World::new(messages, Profile::full(), "");
    world.server.account("bob");
    configure(&world, more, "");
    world
}

fn configure(world: &World, more: &str, of_other: &str) {
    let text = format!(
        "[account.old]\ntype = \"pop3\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"ann\"\n\
         password = \"{PASSWORD}\"\ndeliver-to = \"work/INBOX\"\n{more}\n\
         [account.work]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"bob\"\npassword = \"{PASSWORD}\"\n\
         maildir = \"{}\"\n{of_other}\n",
        world.pop3.port(),
        world.server.port(),
        world.home.path().join("mail").display(),
    );
    let file = world.home.path().join("daemon.toml");
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
}

fn sync(world: &World, account: &str) {
    let ran = world.run(&["sync", account], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
}

/// The messages of the other account on its server, by their texts.
fn uploaded(world: &World) -> Vec<String> {
    let all = world.server.snapshot("bob").remove("INBOX").unwrap_or_default();
    let mut texts: Vec<String> =
        all.into_iter().map(|(.., body)| String::from_utf8_lossy(&body).replace("\r\n", "\n")).collect();
    texts.sort();
    texts
}

fn queue(world: &World) -> usize {
    let queue: PathBuf = world.state().join("queue/INBOX");
    ["new", "cur"].iter().map(|part| fs::read_dir(queue.join(part)).map_or(0, Iterator::count)).sum()
}

#[test]
fn what_a_drop_has_is_uploaded_by_the_other_account_and_only_then_removed() {
    let world = world(3, "leave-on-server = false");
    sync(&world, "work");
    sync(&world, "old");
    assert_eq!((world.here(), world.there(), queue(&world)), (texts(1..=3), texts(1..=3), 3));
    sync(&world, "old");
    assert_eq!((world.here(), world.there(), uploaded(&world)), (texts(1..=3), texts(1..=3), vec![]));
    sync(&world, "work");
    assert_eq!((uploaded(&world), world.there()), (texts(1..=3), texts(1..=3)));
    sync(&world, "old");
    assert_eq!((world.here(), world.there(), queue(&world)), (texts(1..=3), vec![], 0));
    // A queue that was not needed for a while is one still.
    deliver(&world.server, 4);
    sync(&world, "old");
    let ran = world.run(&["sync"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    sync(&world, "old");
    assert_eq!((world.here(), uploaded(&world), world.there(), queue(&world)), (texts(1..=4), texts(1..=4), vec![], 0));
}

#[test]
fn it_waits_for_a_maildir_that_is_not_made_yet() {
    let world = world(2, "leave-on-server = false");
    let ran = world.run(&["sync", "old"], &[]);
    assert!(ran.code == Some(LATER) && ran.said.contains("once that account was synchronised"), "{}", ran.said);
    assert_eq!((world.there(), queue(&world)), (texts(1..=2), 2));
    sync(&world, "work");
    for account in ["old", "work", "old"] {
        sync(&world, account);
    }
    assert_eq!((world.here(), uploaded(&world), world.there()), (texts(1..=2), texts(1..=2), vec![]));
}

#[test]
fn what_waits_is_passed_on_although_the_drop_has_it_no_more_and_nobody_remembers_it() {
    for forgets in [false, true] {
        let world = world(2, "leave-on-server = false");
        assert_eq!(world.run(&["sync", "old"], &[]).code, Some(LATER));
        world.server.expunge("ann", "INBOX", &[1, 2]);
        if forgets {
            let state = fs::read_dir(world.state()).expect("read");
            let entries = state.map(|entry| entry.expect("an entry").path());
            for path in entries.filter(|path| !path.ends_with("queue")) {
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        } else {
            // It is known to be gone, and is so for longer than a drop is trusted to bring it back.
            for ahead in ["60", "2764800"] {
                let ran = world.run(&["sync", "old"], &[("MAILTWIN_CLOCK_AHEAD", ahead)]);
                assert_eq!(ran.code, Some(LATER), "{}", ran.said);
            }
        }
        for account in ["work", "old", "work"] {
            sync(&world, account);
        }
        assert_eq!((world.here(), uploaded(&world)), (texts(1..=2), texts(1..=2)), "{forgets}");
    }
}

#[test]
fn what_the_other_server_refuses_stays_in_the_drop() {
    let world = world(2, "leave-on-server = false");
    sync(&world, "work");
    sync(&world, "old");
    world.server.rule(When::verb("APPEND"), crate::support::server::Act::No("", "not today"));
    world.run(&["sync", "work"], &[]);
    sync(&world, "old");
    assert_eq!((world.here(), world.there(), queue(&world)), (texts(1..=2), texts(1..=2), 2));
}

#[test]
fn a_message_that_a_reader_moved_on_or_renamed_is_known_when_it_is_uploaded() {
    let world = world(2, "leave-on-server = false");
    sync(&world, "work");
    sync(&world, "old");
    let file = world.files("INBOX").into_iter().find(|file| fs::read_to_string(file).expect("read") == text(1));
    let renamed = world.home.path().join("mail/INBOX/cur/1700000000.M1P1.reader:2,S");
    fs::rename(file.expect("it is here"), renamed).expect("renamed");
    sync(&world, "work");
    sync(&world, "old");
    assert_eq!((world.here(), uploaded(&world), world.there()), (texts(1..=2), texts(1..=2), vec![]));
}

#[test]
fn what_was_deleted_before_it_was_uploaded_stays_in_the_drop_and_an_emptied_queue_says_nothing() {
    let world = world(2, "leave-on-server = false");
    sync(&world, "work");
    sync(&world, "old");
    world.delete_here(&text(1));
    for account in ["work", "old"] {
        sync(&world, account);
    }
    assert_eq!((uploaded(&world), world.there()), (texts([2]), texts([1])));
    for part in ["new", "cur"] {
        let directory = world.state().join("queue/INBOX").join(part);
        for entry in fs::read_dir(directory).expect("listed") {
            fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
    }
    sync(&world, "old");
    assert_eq!(world.there(), texts([1]));
}

#[test]
fn a_lost_state_fetches_nothing_twice() {
    let world = world(3, "");
    for account in ["work", "old", "work", "old"] {
        sync(&world, account);
    }
    fs::remove_dir_all(world.state()).expect("removed");
    for account in ["old", "work", "old"] {
        sync(&world, account);
    }
    assert_eq!((world.here(), uploaded(&world), world.there()), (texts(1..=3), texts(1..=3), texts(1..=3)));
}

#[test]
fn killed_at_every_step_nothing_is_lost_or_doubled() {
    const SMALL: (&str, &str) = ("MAILTWIN_GROUP", "2");
    let prepared = || {
        let world = world(3, "leave-on-server = false");
        sync(&world, "work");
        world
    };
    let rest = ["old", "work", "old"];
    for turn in 0..rest.len() {
        let before = |world: &World| rest[..turn].iter().for_each(|account| sync(world, account));
        let counted = prepared();
        before(&counted);
        let steps = counted.run(&["sync", rest[turn]], &[SMALL]).steps.len();
        assert!(steps > 5, "{steps}");
        for step in 1..=steps {
            let world = prepared();
            before(&world);
            world.run(&["sync", rest[turn]], &[SMALL, ("MAILTWIN_KILL_AT", &step.to_string())]);
            assert!(
                world.there() == texts(1..=3) || uploaded(&world) == texts(1..=3),
                "turn {turn}, step {step}: {:?} {:?}",
                world.there(),
                uploaded(&world)
            );
            for account in ["old", "work", "old", "work", "old"] {
                sync(&world, account);
            }
            let told = (world.here(), uploaded(&world), world.there(), queue(&world));
            assert_eq!(told, (texts(1..=3), texts(1..=3), vec![], 0), "turn {turn}, step {step}");
        }
    }
}
