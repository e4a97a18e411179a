//! What is fetched, once, from whatever drop.

use super::world::{World, deliver, text, texts};
use crate::support::server::pop3::{Act, Names, Profile, When};
use std::time::Duration;

#[test]
fn what_is_new_is_fetched_once() {
    let world = World::new(3, Profile::full(), "");
    assert!(world.sync().contains("3 fetched"));
    assert_eq!(world.here(), texts(1..=3));
    deliver(&world.server, 4);
    let mark = world.pop3.mark();
    assert!(world.sync().contains("1 fetched"));
    assert_eq!((world.commands(mark, "RETR"), world.here()), (1, texts(1..=4)));
    let ran = world.run(&["sync"], &[]);
    assert!(ran.said.contains("nothing to do"), "{}", ran.said);
    assert!(
        !ran.steps.iter().any(|step| step.starts_with("store.") || step.starts_with("maildir.")),
        "{:?}",
        ran.steps
    );
    assert_eq!(world.there(), texts(1..=4));
}

#[test]
fn what_is_deleted_read_or_filed_away_here_is_not_fetched_again() {
    let world = World::new(3, Profile::full(), "");
    world.sync();
    world.delete_here(&text(1));
    let archive = world.home.path().join("mail/Archive");
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(archive.join(part)).expect("made");
    }
    let file = world.files("INBOX").pop().expect("a message");
    let name = format!("{}:2,S", file.file_name().expect("a name").to_string_lossy());
    std::fs::rename(&file, archive.join("cur").join(name)).expect("moved");
    for _ in 0..2 {
        world.sync();
    }
    assert_eq!((world.here().len(), world.here_in("Archive").len(), world.there().len()), (1, 1, 3));
}

#[test]
fn unfriendly_drops_give_each_message_once() {
    let odd = Names::made(|uid, _| format!("../../{}\u{e9}/{}", "x".repeat(100), uid).into_bytes());
    let same = Names::made(|_, _| b"same".to_vec());
    for (what, profile) in [
        ("no unique-ids", Profile { names: Names::None, ..Profile::full().without(&["UIDL"]) }),
        ("RFC 1939 and TOP", Profile { capabilities: vec!["TOP"], ..Profile::plain() }),
        ("strange unique-ids", Profile { names: odd, ..Profile::full() }),
        ("one unique-id for all", Profile { names: same, ..Profile::full() }),
        ("unique-ids of the content", Profile { names: Names::Content, ..Profile::full() }),
        ("no pipelining", Profile::full().without(&["PIPELINING"])),
        ("byte by byte", Profile { one_by_one: true, ..Profile::full() }),
    ] {
        let world = World::new(4, profile, "");
        for _ in 0..3 {
            world.sync();
            assert_eq!(world.here(), texts(1..=4), "{what}");
        }
        deliver(&world.server, 5);
        world.sync();
        assert_eq!((world.here(), world.there()), (texts(1..=5), texts(1..=5)), "{what}");
        world.configure("leave-on-server = false");
        world.sync();
        let kept = if matches!(what, "no unique-ids" | "RFC 1939 and TOP" | "one unique-id for all") { 5 } else { 0 };
        assert_eq!((world.here(), world.there().len()), (texts(1..=5), kept), "{what}");
    }
}

#[test]
fn a_drop_without_ids_is_emptied_by_the_session_that_fetched() {
    let profile = Profile { names: Names::None, ..Profile::full().without(&["UIDL"]) };
    let world = World::new(3, profile, "leave-on-server = false");
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), vec![]));
    world.sync();
    assert_eq!(world.here(), texts(1..=3));
}

#[test]
fn messages_that_get_new_names_are_known_by_their_looks() {
    let world = World::new(30, Profile::full(), "remove = { after = \"1h\" }");
    world.sync();
    world.server.bump_uidvalidity("ann", "INBOX");
    deliver(&world.server, 31);
    let mark = world.pop3.mark();
    let ran = world.run(&["sync"], &[("MAILTWIN_CLOCK_AHEAD", "7200")]);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    let told =
        "30 messages are not removed from the server in this run: the server calls 30 known messages by new names";
    assert!(ran.said.contains(told), "{}", ran.said);
    assert!(world.run(&["status"], &[]).said.contains(told));
    assert_eq!((world.commands(mark, "RETR"), world.commands(mark, "DELE")), (1, 0));
    assert_eq!((world.here(), world.there().len()), (texts(1..=31), 31));
    world.sync_after(7201);
    assert_eq!((world.here(), world.there()), (texts(1..=31), texts(31..=31)));
}

#[test]
fn a_drop_that_is_empty_or_cut_short_for_a_day_means_nothing() {
    let world = World::new(30, Profile::full(), "");
    world.sync();
    let mark = world.pop3.mark();
    for newest in [Some(0), Some(4), None] {
        world.pop3.change(|profile| profile.newest = newest);
        world.sync();
        assert_eq!(world.here().len(), 30);
    }
    assert_eq!(world.commands(mark, "RETR"), 0);
}

#[test]
fn what_does_not_add_up_is_fetched_from_and_not_removed_from() {
    let world = World::new(3, Profile::full(), "leave-on-server = false");
    world.pop3.rule(When::verb("STAT"), Act::Replace(b"+OK 9 900\r\n".to_vec()));
    let ran = world.run(&["sync"], &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    assert!(ran.said.contains("STAT counts 9, LIST 3, UIDL 3; nothing is removed"), "{}", ran.said);
    assert_eq!((world.here(), world.there()), (texts(1..=3), texts(1..=3)));
    let status = world.run(&["status"], &[]).said;
    assert!(status.contains("STAT counts 9"), "{status}");
    world.pop3.clear_rules();
    world.sync();
    assert_eq!((world.here(), world.there()), (texts(1..=3), vec![]));
}

#[test]
fn a_server_that_forgets_how_to_tell_ids_is_left_alone() {
    let world = World::new(3, Profile::full(), "leave-on-server = false\nremove = { never-before = \"1h\" }");
    world.sync();
    world.pop3.rule(When::text("UIDL"), Act::Err("", "no"));
    let mark = world.pop3.mark();
    let ran = world.run(&["sync"], &[]);
    assert_eq!(ran.code, Some(75), "{}", ran.said);
    assert_eq!(world.commands(mark, "RETR") + world.commands(mark, "TOP") + world.commands(mark, "DELE"), 0);
}

#[test]
fn a_mail_that_breaks_the_protocol_is_set_aside_alone() {
    let world = World::new(20, Profile { stuffs: true, ..Profile::full() }, "leave-on-server = false");
    world.server.deliver("ann", "INBOX", ".\r\n+OK\r\nSubject: forged\r\n\r\nhi\r\n", &[]);
    (22..=60).for_each(|n| deliver(&world.server, n));
    let ran = world.run(&["sync"], &[]);
    assert_eq!(world.here(), texts((1..=20).chain(22..=60)), "{}", ran.said);
    assert!(ran.said.contains("1 failed"), "{}", ran.said);
    assert_eq!(world.there().len(), 1);
    let status = world.run(&["status"], &[]).said;
    assert!(status.contains("broke the protocol"), "{status}");
}

#[test]
fn a_refused_message_is_set_aside_and_tried_again() {
    let world = World::new(3, Profile::full(), "leave-on-server = false");
    world.pop3.rule(When::text("RETR 2"), Act::Err("SYS/TEMP", "not now"));
    assert!(world.sync().contains("2 fetched"));
    assert_eq!(world.there(), texts(2..=2));
    world.pop3.clear_rules();
    world.sync();
    assert_eq!(world.there(), texts(2..=2), "it is not time yet");
    world.sync_after(400);
    assert_eq!((world.here(), world.there()), (texts(1..=3), vec![]));
}

#[test]
fn what_was_there_before_is_fetched_as_the_owner_says() {
    for (initial, first) in [("\"none\"", 4), ("{ newest = 2 }", 2), ("\"all\"", 1)] {
        let world = World::new(3, Profile::full(), &format!("initial = {initial}\nleave-on-server = false"));
        world.sync();
        assert_eq!(world.here(), texts(first..=3), "{initial}");
        deliver(&world.server, 4);
        world.sync();
        assert_eq!((world.here(), world.there()), (texts(first..=4), texts(1..first)), "{initial}");
    }
}

#[test]
fn what_is_too_large_stays_until_the_limit_is_raised() {
    let world = World::new(2, Profile::full(), "max-size = \"1 KiB\"\nleave-on-server = false");
    world.server.deliver("ann", "INBOX", format!("Subject: large\r\n\r\n{}\r\n", "x".repeat(2000)), &[]);
    world.sync();
    assert_eq!((world.here().len(), world.there().len()), (2, 1));
    world.configure("leave-on-server = false");
    world.sync();
    assert_eq!((world.here().len(), world.there().len()), (3, 0));
}

#[test]
fn a_server_that_shows_a_part_is_asked_until_nothing_new_comes() {
    let gmail = Profile { oldest: Some(7), ..Profile::gmail() };
    let world = World::new(30, gmail, "quirks = { windowed = true }\nleave-on-server = false");
    for _ in 0..2 {
        world.sync();
        assert_eq!(world.here(), texts(1..=30));
    }
}

#[test]
fn logins_keep_the_distance_that_the_server_wants() {
    let capabilities = [&Profile::full().capabilities[..], &["LOGIN-DELAY 600"]].concat();
    let delay = Some(Duration::from_secs(600));
    let world = World::new(1, Profile { capabilities, login_delay: delay, ..Profile::full() }, "");
    world.sync();
    let mark = world.pop3.mark();
    let ran = world.run(&["sync"], &[]);
    assert_eq!((ran.code, world.pop3.mark()), (Some(75), mark), "{}", ran.said);
    assert!(ran.said.contains("LOGIN-DELAY"), "{}", ran.said);
    world.pop3.change(|profile| profile.login_delay = None);
    world.sync_after(605);
}

#[test]
fn at_first_only_what_was_written_lately_is_fetched_and_what_does_not_tell() {
    for has_top in [true, false] {
        let world = World::new(0, Profile::full(), "initial = { days = 30 }");
        if !has_top {
            for n in 1..=3 {
                world.pop3.rule(When::text(&format!("TOP {n} 0")), Act::Err("", "no"));
            }
        }
        let dates = ["Date: Thu, 01 Jan 2015 00:00:00 +0000", "Date: Sat, 01 Jan 2600 00:00:00 +0000", "X-Date: none"];
        for (n, date) in (1..).zip(dates) {
            world.server.deliver("ann", "INBOX", format!("Subject: {n}\r\n{date}\r\n\r\n{n}\r\n"), &[]);
        }
        world.sync();
        let here = world.here();
        assert_eq!(here.len(), if has_top { 2 } else { 3 }, "{here:?}");
        assert_eq!(here.iter().any(|text| text.contains("2015")), !has_top, "{here:?}");
        deliver(&world.server, 4);
        world.sync();
        assert_eq!(world.here().len(), here.len() + 1);
    }
}

#[test]
fn a_large_message_has_a_stub_until_it_is_flagged_and_is_never_removed_before() {
    let world = World::new(2, Profile::full(), "max-size = \"1 KiB\"\noversize = \"headers\"\nleave-on-server = false");
    let large = format!("Message-ID: <3@x>\r\nSubject: large\r\n\r\n{}", "a line\r\n".repeat(500));
    world.server.deliver("ann", "INBOX", large.clone(), &[]);
    world.sync();
    let stub = || world.files("INBOX").into_iter().find(|file| file.to_string_lossy().contains(",mailtwin-stub="));
    let file = stub().expect("a stub");
    let text = std::fs::read_to_string(&file).expect("read");
    assert!(
        text.contains("Subject: large") && text.contains("flag this message") && !text.contains("a line"),
        "{text}"
    );
    assert_eq!((world.files("INBOX").len(), world.there().len()), (3, 1));
    let mark = world.pop3.mark();
    world.sync();
    assert_eq!((world.files("INBOX").len(), world.there().len(), world.commands(mark, "TOP")), (3, 1, 0));
    let base = file.file_name().expect("a name").to_string_lossy().into_owned();
    let base = base.split(':').next().unwrap_or_default();
    std::fs::rename(&file, world.home.path().join(format!("mail/INBOX/cur/{base}:2,FS"))).expect("flagged");
    world.sync();
    let whole = world.files("INBOX").into_iter().find(|file| std::fs::read(file).expect("read").len() > 3000);
    let whole = whole.expect("the whole message");
    assert!(whole.to_string_lossy().ends_with(":2,FS"), "{}", whole.display());
    assert_eq!(std::fs::read_to_string(&whole).expect("read"), large.replace("\r\n", "\n"));
    assert_eq!((stub(), world.files("INBOX").len(), world.there().len()), (None, 3, 0));
}

#[test]
fn a_stub_that_was_deleted_deletes_nothing_and_does_not_come_back() {
    let rules = "max-size = \"1 KiB\"\noversize = \"headers\"\nremove = { deleted-here = true }";
    let world = World::new(1, Profile::full(), rules);
    world.server.deliver("ann", "INBOX", format!("Subject: large\r\n\r\n{}", "a line\r\n".repeat(500)), &[]);
    world.sync();
    let stub = world.files("INBOX").into_iter().find(|file| file.to_string_lossy().contains("-stub="));
    std::fs::remove_file(stub.expect("a stub")).expect("removed");
    world.sync();
    world.sync();
    assert_eq!((world.files("INBOX").len(), world.there().len()), (1, 2));
    world.configure("remove = { deleted-here = true }");
    world.sync();
    assert_eq!((world.files("INBOX").len(), world.there().len()), (2, 2));
}

#[test]
fn killed_at_every_step_a_stub_and_its_message_are_there_once() {
    let prepared = || {
        let world = World::new(1, Profile::full(), "max-size = \"1 KiB\"\noversize = \"headers\"");
        world.server.deliver("ann", "INBOX", format!("Subject: large\r\n\r\n{}", "a line\r\n".repeat(500)), &[]);
        world
    };
    let kinds = |world: &World| {
        let all = world.files("INBOX");
        let stubs = all.iter().filter(|file| file.to_string_lossy().contains(",mailtwin-stub=")).count();
        (stubs, all.len() - stubs)
    };
    let whole = |world: &World| world.configure("max-size = \"1 MiB\"\noversize = \"headers\"");
    let first = prepared();
    let stubbed = first.run(&["sync"], &[]).steps.len();
    whole(&first);
    let fetched = first.run(&["sync"], &[]).steps.len();
    assert!(stubbed > 3 && fetched > 5, "{stubbed} {fetched}");
    for step in 1..=stubbed {
        let world = prepared();
        world.run(&["sync"], &[("MAILTWIN_KILL_AT", &step.to_string())]);
        world.sync();
        assert_eq!(kinds(&world), (1, 1), "step {step} of the stub");
    }
    for step in 1..=fetched {
        let world = prepared();
        world.sync();
        whole(&world);
        world.run(&["sync"], &[("MAILTWIN_KILL_AT", &step.to_string())]);
        world.sync();
        world.sync();
        assert_eq!((kinds(&world), world.there().len()), ((0, 2), 2), "step {step} of the message");
    }
}
