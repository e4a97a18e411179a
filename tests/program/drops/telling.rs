//! What the commands say of a drop.

use super::world::{World, deliver, text};
use crate::support::server::pop3::{Act, Profile, When};

#[test]
fn check_proves_that_it_will_work_and_touches_nothing() {
    let capabilities = [&Profile::full().capabilities[..], &["EXPIRE 0", "LOGIN-DELAY 900"]].concat();
    let world = World::new(3, Profile { capabilities, ..Profile::full() }, "");
    let ran = world.run(&["check"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    for told in ["3 messages in the drop", "unique-ids (UIDL)", "EXPIRE 0", "LOGIN-DELAY: 15m", "ann is let in"] {
        assert!(ran.said.contains(told), "{told} is not in {}", ran.said);
    }
    assert_eq!((world.commands(0, "RETR"), world.files("INBOX").len()), (0, 0));
    world.pop3.rule(When::verb("AUTH"), Act::Err("AUTH", "no"));
    let ran = world.run(&["check"], &[]);
    assert_eq!(ran.code, Some(77), "{}", ran.said);
}

#[test]
fn a_refused_password_is_tried_once() {
    let world = World::new(1, Profile::full(), "");
    world.pop3.rule(When::verb("AUTH"), Act::Err("AUTH", "no"));
    let ran = world.run(&["sync"], &[]);
    assert_eq!((ran.code, world.commands(0, "AUTH")), (Some(77), 1), "{}", ran.said);
    assert!(world.run(&["status"], &[]).said.contains("login"));
}

#[test]
fn a_message_is_explained() {
    let world = World::new(2, Profile::full(), "remove = { after = \"1h\" }");
    world.sync();
    let explain = |what: &str, ahead: &str| world.run(&["explain", what], &[("MAILTWIN_CLOCK_AHEAD", ahead)]).said;
    let said = explain("old/INBOX:1", "0");
    for told in ["its unique-id is", "listed with", "the last run saw it", "it was here as a whole at"] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
    assert!(!said.contains("remove it"), "{said}");
    assert!(explain("old/INBOX:1", "4000").contains("remove it from the server: `after`"));
    let file = world.files("INBOX").pop().expect("a message");
    assert!(explain(&file.to_string_lossy(), "0").contains("its unique-id is"));
    world.delete_here(&text(1));
    assert!(explain("old/INBOX:1", "0").contains("is not there"));
}

#[test]
fn folders_status_verify_and_undo_have_something_to_say() {
    let world = World::new(2, Profile::full(), "mailbox = \"Archive/old\"");
    let folders = world.run(&["folders", "old"], &[]);
    assert!(folders.code == Some(0) && folders.said.contains("Archive/old"), "{}", folders.said);
    world.sync();
    assert_eq!(world.here_in("Archive/old").len(), 2);
    let status = world.run(&["status", "--json"], &[]).said;
    assert!(status.contains("\"messages\": 2") && status.contains("\"Archive/old\""), "{status}");
    let verify = world.run(&["verify", "old"], &[]);
    assert!(verify.said.contains("nothing to verify"), "{}", verify.said);
    let undo = world.run(&["undo", "old"], &[]);
    assert_eq!(undo.code, Some(0), "{}", undo.said);
    deliver(&world.server, 3);
    let other = world.run(&["sync", "old/INBOX"], &[]);
    assert!(other.code == Some(1) && other.said.contains("has the mailbox Archive/old and no other"), "{}", other.said);
    world.run(&["sync", "old/Archive/old"], &[]);
    assert_eq!(world.here_in("Archive/old").len(), 3);
    world.configure("");
    assert!(world.run(&["sync"], &[]).said.contains("`mailbox` says INBOX now"));
}
