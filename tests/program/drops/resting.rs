//! A drop that is listed as it was is left alone, and nothing that becomes due is missed for that.

use super::world::{World, deliver, text, texts};
use crate::support::server::pop3::Profile;

/// A drop at rest, with such rules.
fn resting(rules: &str) -> World {
    let world = World::new(3, Profile::full(), rules);
    world.sync();
    world.sync();
    assert!(world.state().join("rest").exists());
    world
}

#[test]
fn a_resting_drop_is_listed_and_nothing_else() {
    let world = resting("");
    let mark = world.pop3.mark();
    let ran = world.run(&["sync"], &[]);
    assert_eq!((ran.code, ran.steps.iter().filter(|step| step.starts_with("store.")).count()), (Some(0), 0));
    let said = world.pop3.commands_since(mark);
    let verbs: Vec<&str> = said.iter().map(|command| command.split(' ').next().unwrap_or_default()).collect();
    assert!(verbs.ends_with(&["STAT", "LIST", "UIDL", "QUIT"]), "{said:?}");
    let status = world.run(&["status", "old", "--json"], &[]).said;
    assert!(status.contains("\"messages\":3") || status.contains("\"messages\": 3"), "{status}");
}

#[test]
fn what_is_new_or_due_or_wanted_otherwise_ends_the_rest() {
    let world = resting("");
    deliver(&world.server, 4);
    world.sync();
    assert_eq!(world.here(), texts(1..=4));

    let world = resting("remove = { after = \"2h\" }");
    world.sync_after(3600);
    assert_eq!(world.there(), texts(1..=3));
    world.sync_after(2 * 3600 + 10);
    assert_eq!(world.there(), texts([]));

    let world = resting("remove = { deleted-here = true }");
    world.delete_here(&text(1));
    world.sync();
    assert_eq!(world.there(), texts(2..=3));

    let world = resting("");
    world.configure("leave-on-server = false");
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), texts([])));
}

#[test]
fn what_cannot_be_read_or_is_of_another_memory_is_no_rest() {
    let world = resting("");
    let file = world.state().join("rest");
    let kept = std::fs::read(&file).expect("read");
    for wrong in [&b""[..], b"{", &kept[..kept.len() / 2]] {
        std::fs::write(&file, wrong).expect("written");
        world.sync();
        assert!(std::fs::read(&file).expect("read").len() >= kept.len());
    }
    deliver(&world.server, 4);
    world.sync();
    std::fs::write(&file, &kept).expect("written");
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=4), texts(1..=4)));
}
