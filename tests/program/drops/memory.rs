//! A memory that is lost, old, or another's.

use super::world::{World, deliver, texts};
use crate::support::server::pop3::Profile;

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _ = std::fs::remove_dir_all(to);
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success());
}

#[test]
fn without_its_memory_it_knows_its_mail_by_the_looks() {
    let world = World::new(5, Profile::full(), "leave-on-server = false\nremove = { never-before = \"1h\" }");
    world.sync();
    std::fs::remove_dir_all(world.home.path().join(".local")).expect("removed");
    deliver(&world.server, 6);
    let mark = world.pop3.mark();
    let said = world.sync();
    assert!(said.contains("5 recognised, 1 fetched"), "{said}");
    assert_eq!((world.commands(mark, "RETR"), world.here(), world.there().len()), (1, texts(1..=6), 6));
    world.sync_after(4000);
    assert_eq!((world.here(), world.there()), (texts(1..=6), vec![]));
}

#[test]
fn mail_that_another_program_fetched_is_not_fetched_again() {
    let world = World::new(4, Profile::full(), "");
    let folder = world.home.path().join("mail/INBOX");
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(folder.join(part)).expect("made");
    }
    for n in 1..=2 {
        std::fs::write(folder.join(format!("new/{n}.getmail.host")), super::world::text(n)).expect("written");
    }
    assert!(world.sync().contains("2 recognised, 2 fetched"));
    assert_eq!(world.here(), texts(1..=4));
}

#[test]
fn an_old_memory_fetches_nothing_twice() {
    let world = World::new(3, Profile::full(), "");
    world.sync();
    let saved = world.home.path().join("saved");
    copy(&world.state(), &saved);
    deliver(&world.server, 4);
    world.sync();
    copy(&saved, &world.state());
    let mark = world.pop3.mark();
    let said = world.sync();
    assert!(said.contains("the state is older than the Maildir"), "{said}");
    assert_eq!((world.commands(mark, "RETR"), world.here()), (0, texts(1..=4)));
    assert!(world.sync().contains("nothing to do"));
}

#[test]
fn what_an_old_maildir_lacks_comes_again() {
    let world = World::new(3, Profile::full(), "");
    world.sync();
    let (mail, saved) = (world.home.path().join("mail"), world.home.path().join("saved"));
    copy(&mail, &saved);
    for n in 4..=6 {
        deliver(&world.server, n);
        world.sync();
    }
    copy(&saved, &mail);
    let said = world.sync();
    assert!(said.contains("the Maildir is older than the state"), "{said}");
    assert_eq!(world.here(), texts(1..=6));
}

#[test]
fn an_account_does_not_change_its_kind() {
    let world = World::new(2, Profile::full(), "");
    world.sync();
    world.configure_as("imap", world.server.port(), "");
    let ran = world.run(&["sync"], &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    assert!(ran.said.contains("another `type`"), "{}", ran.said);
    world.begin_anew();
    world.sync();
    world.configure("");
    assert!(world.run(&["sync"], &[]).said.contains("another `type`"));
    assert_eq!(world.there(), texts(1..=2));
}

#[test]
fn an_emptied_or_missing_maildir_empties_no_drop() {
    let world = World::new(3, Profile::full(), "remove = { beyond-newest = 1, never-before = \"1h\" }");
    world.sync();
    std::fs::remove_dir_all(world.home.path().join("mail/INBOX")).expect("removed");
    let mark = world.pop3.mark();
    let ran = world.run(&["sync"], &[("MAILTWIN_CLOCK_AHEAD", "9000")]);
    assert_ne!(ran.code, Some(0), "{}", ran.said);
    assert_eq!((world.there(), world.commands(mark, "DELE")), (texts(1..=3), 0));
}
