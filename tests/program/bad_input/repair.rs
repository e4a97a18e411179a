//! A memory that is not to be trusted: the repair compares both sides anew, and deletes nothing.

use crate::support::bench::{Bench, USER, files, message};
use crate::support::server::Profile;
use mailtwin::store::{Settlement, Store};
use mailtwin::sync::Change;
use std::fs;

/// Takes the first messages of the INBOX out of the memory, as if it had never known them.
fn forget_messages(bench: &Bench, messages: usize) {
    let (store, _) = Store::open(&bench.state().join("work")).expect("it can be opened");
    let inbox = store.mailboxes().expect("readable").into_iter().find(|m| m.name.is_inbox()).expect("an INBOX");
    let picture = store.picture(inbox.id).expect("readable");
    let forgotten = picture.pairs().take(messages).map(|(uid, _)| Change::Uid(uid, None)).collect();
    store.settle(Settlement { changes: vec![(inbox.id, forgotten)], ..Settlement::default() }).expect("settled");
    store.close().expect("closed");
}

#[test]
fn what_the_memory_lost_is_recognised_again_once_a_person_agrees() {
    let bench = Bench::mirrored(Profile::full(), 5);
    bench.run(&["verify", "--repair", "--yes"]).is(0, "work: there is nothing to repair");
    forget_messages(&bench, 3);
    let mark = bench.server.mark();
    let told = bench.run(&["verify", "work", "--repair"]);
    told.is(1, "work/INBOX: a repair would compare both sides anew").says("a repair deletes nothing");
    told.says("3 messages that only the server is known to have").says("Nothing was done. To do it: mailtwin verify");
    bench.run(&["verify", "work"]).is(1, "5 there, 5 here, 2 agreed: 6 differences");
    bench.run(&["verify", "work", "--yes"]).is(2, "--repair");
    bench.run(&["verify", "work/INBOX", "--repair", "--yes"]).is(0, "work: 3 recognised");
    let sent = bench.server.commands_since(mark);
    assert!(!sent.iter().any(|command| command.contains("BODY.PEEK[]") || command.starts_with("APPEND")), "{sent:?}");
    bench.run(&["verify", "work"]).is(0, "5 there, 5 here, 5 agreed: all the same");
    bench.converged("INBOX", 5);
}

#[test]
fn a_repair_carries_over_what_a_side_lacks_and_holds_what_looks_deleted() {
    let bench = Bench::mirrored(Profile::full(), 8);
    forget_messages(&bench, 2);
    bench.server.expunge(USER, "INBOX", &[8]);
    bench.server.deliver(USER, "INBOX", message(20), &[]);
    let here = files(&bench.maildir().join("INBOX/new"));
    let (path, _) = here
        .iter()
        .find(|(_, text)| {
            String::from_utf8_lossy(text).contains("number 6\r") || String::from_utf8_lossy(text).contains("number 6\n")
        })
        .expect("it is here");
    fs::remove_file(path).expect("removed");
    fs::write(bench.maildir().join("INBOX/new/1700000000.mine.here"), message(21)).expect("written");
    bench.settle();
    let json = bench.run(&["verify", "work", "--repair", "--yes", "--json"]);
    json.is(3, "");
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    let repaired = &report["accounts"][0]["repaired"];
    let counted = ["recognised", "fetched", "appended", "held", "removed_here", "removed_there"].map(|n| &repaired[n]);
    assert_eq!(counted, [2, 1, 1, 2, 0, 0]);
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (9, Some(9)));
    bench.run(&["reject", "work"]).is(0, "");
    bench.sync().is(0, "1 fetched, 1 uploaded");
    bench.converged("INBOX", 10);
}

#[test]
fn what_somebody_added_to_a_mirror_outlives_a_repair() {
    let bench = Bench::new(Profile::full());
    bench.configure("mode = \"mirror\"");
    bench.fill(4);
    bench.sync().is(0, "4 fetched");
    forget_messages(&bench, 1);
    fs::write(bench.maildir().join("INBOX/new/1700000000.mine.here"), message(21)).expect("written");
    bench.settle();
    bench.run(&["verify", "work", "--repair", "--yes"]).is(0, "work: 1 recognised");
    assert_eq!((bench.count("INBOX"), bench.there("INBOX")), (5, Some(4)));
    bench.sync().is(0, "nothing to do");
    assert_eq!(bench.count("INBOX"), 5);
}
