//! What was removed comes back as it was, and nothing else is taken for it; what is known of messages is told.

use super::maildirs::{is_root, on_a_full_disk};
use crate::support::bench::{Bench, USER, files, message};
use crate::support::server::{Act, Profile, When};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// Every file of a folder by its whole name: its bytes and its time.
fn letters(bench: &Bench, folder: &str) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for part in ["new", "cur"] {
        for entry in fs::read_dir(bench.maildir().join(folder).join(part)).expect("listed").flatten() {
            let time = entry.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            let bytes = fs::read(entry.path()).expect("read");
            found.insert(entry.file_name().to_string_lossy().into_owned(), (bytes, time));
        }
    }
    found
}

fn file_of(bench: &Bench, number: usize) -> PathBuf {
    let words = format!("Subject: number {number}\n");
    let here = files(&bench.maildir().join("INBOX"));
    let (path, _) = here
        .into_iter()
        .find(|(_, bytes)| String::from_utf8_lossy(bytes).contains(&words))
        .unwrap_or_else(|| panic!("{number} is here"));
    path.into()
}

fn remove(bench: &Bench, numbers: &[usize]) {
    numbers.iter().for_each(|number| fs::remove_file(file_of(bench, *number)).expect("removed"));
    bench.settle();
}

/// The server's dates, by UID in the order of the texts.
fn dates(bench: &Bench, mailbox: &str) -> Vec<(Vec<u8>, String)> {
    let mut dates: Vec<(Vec<u8>, String)> = bench.server.with(|model| {
        let found = model.mailbox(USER, mailbox).expect("there").messages.values();
        found.map(|message| (message.body.to_vec(), message.internal_date.clone())).collect()
    });
    dates.sort();
    dates
}

#[test]
fn what_was_removed_on_either_side_comes_back_byte_by_byte_with_name_flags_and_date() {
    for delete in ["trash", "expunge"] {
        let bench = Bench::new(Profile::full());
        bench.configure(&format!("delete = \"{delete}\""));
        for n in 0..4 {
            bench.server.deliver(
                USER,
                "INBOX",
                message(n),
                if n == 1 { &["\\Seen", "\\Flagged", "work"] } else { &[] },
            );
        }
        bench.sync().is(0, "4 fetched");
        bench.settle();
        let (before, there) = (letters(&bench, "INBOX"), dates(&bench, "INBOX"));
        remove(&bench, &[1, 2]);
        bench.server.expunge(USER, "INBOX", &[4]);
        bench.sync().is(0, "1 removed here, 2 removed on the server");
        assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (1, Some(1)));

        let listed = bench.run(&["undo", "work"]);
        listed.is(0, "mailtwin undo work").says("number 3").says("Nothing was done as yet");
        listed.says("INBOX: 2 messages deleted here, so removed from the server");
        assert_eq!(bench.there("INBOX"), Some(1), "the list changes nothing");
        bench.run(&["undo", "work", "--since", "1h", "--yes"]).is(0, "3 removals undone");
        assert_eq!(letters(&bench, "INBOX"), before, "{delete}");
        assert_eq!(dates(&bench, "INBOX"), there, "{delete}");
        let keywords =
            bench.server.snapshot(USER)["INBOX"].iter().filter(|(_, flags, _)| flags.contains("work")).count();
        assert_eq!(keywords, 1, "{delete}");
        bench.settle();
        bench.converged("INBOX", 4);
        bench.run(&["undo", "work"]).is(0, "there is nothing to bring back");
    }
}

#[test]
fn an_undo_is_undone_by_its_number_and_that_too() {
    let bench = Bench::mirrored(Profile::full(), 3);
    remove(&bench, &[1]);
    bench.sync().is(0, "1 removed on the server");
    bench.run(&["undo", "work", "1", "--yes"]).is(0, "1 removal undone");
    bench.settle();
    bench.converged("INBOX", 3);
    bench.run(&["undo", "work", "2"]).is(0, "brought back by undo");
    bench.run(&["undo", "work", "2", "--yes"]).is(0, "1 removal undone");
    assert_eq!((bench.count("INBOX"), bench.there("INBOX"), bench.there("Trash")), (2, Some(2), Some(1)));
    bench.run(&["undo", "work", "--yes"]).is(0, "1 removal undone");
    bench.settle();
    bench.converged("INBOX", 3);
    bench.converged("Trash", 0);
}

#[test]
fn a_mailbox_that_was_emptied_and_approved_comes_back_whole() {
    for profile in [Profile::full(), Profile::no_condstore()] {
        let bench = Bench::mirrored(profile, 10);
        let before = letters(&bench, "INBOX");
        bench.empty("INBOX");
        bench.sync().is(3, "10 deletions held");
        bench.run(&["undo", "work"]).is(0, "nothing was removed there");
        bench.run(&["approve", "work"]).is(0, "10 deletions approved");
        bench.sync().is(0, "10 removed on the server");
        bench.settle();
        bench.run(&["undo", "work", "--yes"]).is(0, "10 removals undone");
        assert_eq!(letters(&bench, "INBOX"), before);
        bench.settle();
        bench.converged("INBOX", 10);
        bench.converged("Trash", 0);
    }
}

#[test]
fn another_message_in_the_trash_is_not_taken_for_the_one_that_was_removed() {
    let bench = Bench::mirrored(Profile::full(), 3);
    remove(&bench, &[1, 2]);
    bench.sync().is(0, "2 removed on the server");
    // Another device emptied the Trash and made it anew, with another message under the same UID.
    bench.server.delete(USER, "Trash");
    bench.server.create(USER, "Trash");
    bench.server.deliver(USER, "Trash", message(77), &[]);
    bench.run(&["undo", "work", "--yes"]).is(1, "it is not in the Trash of the server any more");
    assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(1), Some(1)));
}

#[test]
fn a_message_whose_bytes_are_others_under_its_uid_stays_in_the_trash() {
    let bench = Bench::mirrored(Profile::full(), 3);
    remove(&bench, &[1]);
    bench.sync().is(0, "1 removed on the server");
    let uid = bench.server.snapshot(USER)["Trash"][0].0;
    bench.server.replace(USER, "Trash", uid, message(77));
    bench.run(&["undo", "work", "--yes"]).is(1, "it is not in the Trash of the server any more");
    assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(2), Some(1)));
}

#[test]
fn a_message_whose_kept_body_was_changed_is_not_brought_back() {
    let bench = Bench::mirrored(Profile::full(), 3);
    bench.server.expunge(USER, "INBOX", &[2]);
    bench.sync().is(0, "1 removed here");
    let area = bench.state().join("retention/work");
    let kept: Vec<String> = files(&area).into_keys().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    fs::write(&kept[0], "Subject: something else\n\nelse\n").expect("written");
    bench.run(&["undo", "work", "--yes"]).is(1, "what was kept under its name is another message");
    fs::remove_file(&kept[0]).expect("removed");
    bench.run(&["undo", "work"]).is(0, "the body that was kept of it is not there any more");
    bench.run(&["undo", "work", "1", "--yes"]).is(1, "the body that was kept of it is not there any more");
    bench.converged("INBOX", 2);
}

#[test]
fn what_the_server_refuses_to_move_back_stays_in_the_trash_and_is_told() {
    let bench = Bench::mirrored(Profile::full(), 3);
    remove(&bench, &[1]);
    bench.sync().is(0, "1 removed on the server");
    bench.sync().is(0, "");
    bench.server.rule(When::verb("UID MOVE"), Act::No("NOPERM", "not from here"));
    bench.run(&["undo", "work", "--yes"]).is(1, "not from here");
    assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(2), Some(1)));
    bench.server.clear_rules();
    bench.run(&["undo", "work", "--yes"]).is(0, "1 removal undone");
    bench.settle();
    bench.converged("INBOX", 3);
}

#[test]
fn nothing_is_kept_with_keep_deleted_0s_and_undo_says_so() {
    let bench = Bench::mirrored(Profile::full(), 3);
    bench.configure("keep-deleted = \"0s\"");
    bench.server.expunge(USER, "INBOX", &[2]);
    bench.sync().is(0, "1 removed here");
    assert!(files(&bench.state().join("retention")).is_empty());
    bench.run(&["undo", "work", "--yes"]).is(0, "nothing is kept, for `keep-deleted` is 0s");
}

#[test]
fn what_cannot_be_kept_for_want_of_room_is_not_removed() {
    if !is_root() {
        // A small disk needs a mount; `a_full_disk_of_the_state_loses_nothing` runs without one.
        return;
    }
    let bench = Bench::new(Profile::full());
    let long = "0123456789abcdef\r\n".repeat(40_000);
    for n in 0..12 {
        bench.server.deliver(USER, "INBOX", format!("{}{long}", message(n)), &[]);
    }
    bench.sync().is(0, "12 fetched");
    bench.settle();
    bench.server.expunge(USER, "INBOX", &[1, 2, 3, 4]);
    // Linked they would fit; the state is on another disk, and four copies are more than it has room for.
    let (full, then) = on_a_full_disk(&bench, &bench.state(), "2500k");
    full.is(1, "").says("Make room on the disk");
    let left = bench.count("INBOX");
    let kept = files(&bench.state().join("retention/work")).len();
    assert!(left + kept >= 12, "{left} are left, {kept} are kept");
    then.is(0, "");
    assert_eq!((bench.count("INBOX"), files(&bench.state().join("retention/work")).len()), (8, 4));
    bench.run(&["undo", "work", "--yes"]).is(0, "4 removals undone");
    bench.settle();
    bench.converged("INBOX", 12);
}

#[test]
fn an_undo_does_nothing_else() {
    let bench = Bench::mirrored(Profile::full(), 6);
    bench.server.create(USER, "Work");
    bench.server.deliver(USER, "Work", message(30), &[]);
    bench.sync().is(0, "1 fetched");
    remove(&bench, &[1]);
    bench.server.expunge(USER, "INBOX", &[3]);
    bench.sync().is(0, "1 removed here, 1 removed on the server");
    // What waits on both sides goes on waiting: flags, mail, deletions, mailboxes.
    bench.server.store(USER, "INBOX", &[1], crate::support::server::StoreMode::Add, &["\\Flagged"]);
    bench.server.deliver(USER, "INBOX", message(20), &[]);
    bench.server.expunge(USER, "INBOX", &[5]);
    bench.server.create(USER, "New");
    fs::remove_file(file_of(&bench, 5)).expect("removed");
    fs::write(bench.maildir().join("INBOX/new/1700000000.mine.here"), message(21)).expect("written");
    bench.settle();
    let (there, mark) = (bench.there("INBOX"), bench.server.mark());
    bench.run(&["undo", "work", "--yes"]).is(0, "2 removals undone");
    let sent = bench.server.mutating_commands_since(mark);
    assert!(sent.iter().all(|c| c.starts_with("UID MOVE") || c.starts_with("APPEND")) && sent.len() == 2, "{sent:?}");
    assert_eq!((bench.there("INBOX"), there), (Some(6), Some(4)));
    assert_eq!(bench.count("INBOX"), 6, "two are back beside five, less one; the new ones wait");
    assert!(!bench.maildir().join("New").exists());
    bench.settle();
    // The one that is deleted comes to the Trash.
    bench
        .sync()
        .is(0, "1 mailbox made, 2 fetched, 1 uploaded, 1 with other flags, 1 removed here, 1 removed on the server");
    bench.settle();
    bench.converged("INBOX", 6);
}

#[test]
fn messages_of_a_mailbox_that_was_deleted_come_back_with_it() {
    for (more, side) in [("delete-mailboxes = \"local\"", "the server"), ("delete-mailboxes = \"remote\"", "here")] {
        let bench = Bench::new(Profile::full());
        bench.configure(more);
        bench.server.create(USER, "Lists");
        bench.server.create(USER, "Lists/old");
        for n in 0..3 {
            bench.server.deliver(USER, "Lists/old", message(n), &["\\Seen"]);
        }
        bench.server.deliver(USER, "INBOX", message(9), &[]);
        bench.sync().is(0, "4 fetched");
        bench.settle();
        let before = letters(&bench, "Lists/old");
        if side == "here" {
            fs::remove_dir_all(bench.maildir().join("Lists/old")).expect("removed");
            bench.sync().is(3, "mailtwin approve work/Lists/old");
            bench.run(&["approve", "work/Lists/old"]).is(0, "");
            bench.sync().is(0, "");
        } else {
            bench.server.delete(USER, "Lists/old");
            bench.sync().is(0, "3 removed here");
        }
        bench.settle();
        bench.sync().is(0, "");
        assert_eq!((bench.there("Lists/old"), bench.maildir().join("Lists/old").exists()), (None, false), "{side}");

        let listed = bench.run(&["undo", "work"]);
        listed.is(0, "Lists/old (deleted since): 3 messages").says("Lists/old would be made again, on both sides");
        assert_eq!(bench.there("Lists/old"), None, "the list makes nothing");
        bench.run(&["undo", "work/Lists/old", "--yes"]).is(0, "3 removals undone");
        bench.settle();
        bench.converged("Lists/old", 3);
        assert_eq!(letters(&bench, "Lists/old"), before, "{side}");
        bench.converged("Trash", 0);
        // That is undone as well, and the mailbox stays.
        bench.run(&["undo", "work", "4-6", "--yes"]).is(0, "3 removals undone");
        bench.settle();
        bench.sync().is(0, "3 fetched");
        bench.converged("Trash", 3);
        bench.converged("Lists/old", 0);
    }
}

#[test]
fn in_a_mirror_what_is_brought_back_stays_here_and_can_be_taken_away_again() {
    let bench = Bench::new(Profile::full());
    bench.configure("mode = \"mirror\"");
    bench.fill(4);
    bench.sync().is(0, "4 fetched");
    bench.settle();
    let before = letters(&bench, "INBOX");
    bench.server.expunge(USER, "INBOX", &[2]);
    fs::write(bench.maildir().join("INBOX/new/1700000000.mine.here"), message(21)).expect("written");
    bench.settle();
    bench.sync().is(0, "2 removed here");
    let mark = bench.server.mark();
    bench.run(&["undo", "work", "--yes"]).is(0, "2 removals undone");
    bench.settle();
    bench.sync().is(0, "nothing to do");
    assert_eq!((letters(&bench, "INBOX").len(), bench.there("INBOX")), (5, Some(3)));
    assert!(before.iter().all(|(name, letter)| letters(&bench, "INBOX").get(name) == Some(letter)));
    bench.run(&["undo", "work", "3", "--yes"]).is(0, "1 removal undone");
    bench.run(&["undo", "work", "3", "--yes"]).is(1, "there is nothing to bring back");
    bench.settle();
    bench.sync().is(0, "nothing to do");
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (4, Some(3)));
    assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new());
}

#[test]
fn what_lies_in_the_trash_of_the_server_stays_there_once_nothing_is_changed_there() {
    let bench = Bench::mirrored(Profile::full(), 3);
    remove(&bench, &[1]);
    bench.sync().is(0, "1 removed on the server");
    bench.configure("mode = \"mirror\"");
    let mark = bench.server.mark();
    bench.run(&["undo", "work"]).is(0, "nothing is changed there in this mode").says("there is nothing to bring back");
    bench.run(&["undo", "work", "1", "--yes"]).is(1, "move it back with another program");
    assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new());
}

#[test]
fn verify_tells_each_difference_and_changes_nothing() {
    let bench = Bench::mirrored(Profile::full(), 4);
    bench.run(&["verify"]).is(0, "work/INBOX: 4 there, 4 here, 4 agreed: all the same");
    bench.server.deliver(USER, "INBOX", message(9), &[]);
    bench.server.expunge(USER, "INBOX", &[4]);
    remove(&bench, &[1]);
    let mark = bench.server.mark();
    let verified = bench.run(&["verify", "work/INBOX"]);
    verified.is(1, "work/INBOX: 4 there, 3 here, 2 agreed: 3 differences").says("UID 5 is new on the server");
    verified.says("UID 4 is gone from the server").says("UID 2 is on the server, and");
    assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new());
    let json = bench.run(&["verify", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(report["accounts"][0]["mailboxes"][0]["differences"].as_array().map(Vec::len), Some(3));
    bench.sync().is(0, "");
    bench.run(&["verify"]).is(0, "work/INBOX: 3 there, 3 here, 3 agreed: all the same");
}

#[test]
fn explain_tells_of_a_file_a_uid_and_a_body_that_was_kept() {
    let bench = Bench::mirrored(Profile::full(), 3);
    let file = file_of(&bench, 1);
    let told = bench.run(&["explain", file.to_str().expect("text")]);
    told.is(0, "work/INBOX: UID 2").says("are one message; agreed flags: none").says("nothing: it is as it should be");
    bench.server.store(USER, "INBOX", &[2], crate::support::server::StoreMode::Add, &["\\Seen"]);
    bench.run(&["explain", "work/INBOX:2"]).is(0, "UID 2, flags: \\Seen").says("flags of UID 2: here +\\Seen\n");
    bench.server.expunge(USER, "INBOX", &[2]);
    bench.run(&["explain", "work/INBOX:2"]).is(0, "UID 2 is not there").says("it was deleted on the server");
    bench.sync().is(0, "1 removed here");
    let kept = files(&bench.state().join("retention/work")).into_keys().next().expect("one");
    let told = bench.run(&["explain", &kept]);
    told.is(0, "it was deleted on the server, so removed here").says("nothing is remembered of it").says("(number 1)");
    bench.run(&["undo", "work", "--yes"]).is(0, "1 removal undone");
    bench.run(&["explain", &kept]).is(0, "undo brought it back").says("taken back since");
    bench.run(&["explain", "/etc/passwd"]).is(2, "is in no Maildir of the configuration");
    bench.run(&["explain", "work/Nowhere:1"]).is(1, "no mailbox Nowhere is known");
}

#[test]
fn forget_takes_what_is_ours_and_leaves_every_message() {
    let bench = Bench::mirrored(Profile::full(), 3);
    bench.server.expunge(USER, "INBOX", &[1]);
    bench.sync().is(0, "1 removed here");
    let texts = (bench.texts_here("INBOX"), bench.texts_there("INBOX"));
    bench.run(&["forget", "work"]).is(0, "All mail stays").says("mailtwin forget work --yes");
    assert!(bench.maildir().join("mailtwin-root").exists());
    bench.run(&["forget", "work/INBOX", "--yes"]).is(2, "an account is forgotten as a whole");
    bench.run(&["forget", "work", "--yes"]).is(0, "1 deleted message; from then on").says("work: forgotten");
    let ours: Vec<String> = files(&bench.maildir()).into_keys().filter(|path| path.contains("mailtwin-")).collect();
    assert_eq!(ours, Vec::<String>::new());
    assert!(!bench.state().join("work/db").exists());
    assert_eq!(files(&bench.state().join("retention/work")).len(), 1);
    assert_eq!((bench.texts_here("INBOX"), bench.texts_there("INBOX")), texts);
    bench.run(&["status"]).is(0, "");
    bench.run(&["forget", "work", "--yes"]).is(0, "there is nothing to forget");
    bench.run(&["undo", "work"]).is(0, "nothing was removed there");
}

#[cfg(feature = "steps")]
#[test]
fn each_mailbox_is_listed_in_full_once_a_week() {
    let bench = Bench::mirrored(Profile::full(), 3);
    let listings = |seconds_later: &str| {
        let mark = bench.server.mark();
        let mut command = bench.command(&["sync"]);
        command.env("MAILTWIN_CLOCK_AHEAD", seconds_later);
        bench.finish(bench.spawn(command)).is(0, "nothing to do");
        let asked = bench.server.commands_since(mark);
        asked.iter().filter(|command| command.to_uppercase().contains("UID FETCH")).count()
    };
    assert_eq!(["0", "600000", "610000", "610001"].map(listings), [0, 0, 1, 0]);
}

#[cfg(feature = "steps")]
#[test]
fn forget_that_is_killed_anywhere_is_finished_by_the_next() {
    for at in 1.. {
        let bench = Bench::mirrored(Profile::full(), 2);
        let mut command = bench.command(&["forget", "work", "--yes"]);
        command.env("MAILTWIN_KILL_AT", at.to_string());
        let killed = bench.finish(bench.spawn(command)).code.is_none();
        bench.run(&["forget", "work", "--yes"]).is(0, "");
        let ours: Vec<String> = files(&bench.maildir()).into_keys().filter(|path| path.contains("mailtwin-")).collect();
        assert_eq!((ours, bench.state().join("work/db").exists()), (Vec::<String>::new(), false), "killed at {at}");
        assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (2, Some(2)));
        if !killed {
            assert!(at > 3, "it has at least two markers and a database to take away");
            return;
        }
    }
}
