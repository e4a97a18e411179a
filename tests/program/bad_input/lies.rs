//! Answers that are malformed, oversized or untrue: the connection is dropped or the answer not believed, nothing is
//! deleted anywhere, memory is bounded, and the next clean run converges.

use crate::support::bench::{Bench, MEMORY, Ran, USER};
use crate::support::server::{Act, Profile, StoreMode, When};

/// Three messages that are mirrored, one that is new, one whose flags changed.
fn bench(profile: Profile) -> Bench {
    let bench = Bench::mirrored(profile, 3);
    let text = std::fs::read_to_string(bench.path("daemon.toml")).expect("read").replace("\"5s\"", "\"1s\"");
    bench.write_configuration(&text);
    bench.server.deliver(USER, "INBOX", crate::support::bench::message(7), &[]);
    bench.server.store(USER, "INBOX", &[1], StoreMode::Add, &["\\Flagged"]);
    bench
}

/// Holds what must be true after any lie.
#[track_caller]
fn unharmed(bench: &Bench, ran: &Ran, what: &str) {
    assert!(matches!(ran.code, Some(0 | 1 | 75)), "{what}: {:?}\n{}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{what}: {}", ran.err);
    assert!(ran.peak < MEMORY, "{what}: {} KiB", ran.peak);
    assert_eq!(bench.there("INBOX"), Some(4), "{what}: {}", ran.err);
    let (here, there) = (bench.texts_here("INBOX"), bench.texts_there("INBOX"));
    assert!(here.len() >= 3, "{what}: only {} are left here\n{}", here.len(), ran.err);
    assert!(here.iter().all(|text| there.contains(text)), "{what}: a text that the server does not have");
}

#[test]
fn a_malformed_list_harms_nothing() {
    malformed_answers_harm_nothing("LIST");
}

#[test]
fn a_malformed_select_harms_nothing() {
    malformed_answers_harm_nothing("SELECT");
}

#[test]
fn a_malformed_fetch_harms_nothing() {
    malformed_answers_harm_nothing("UID FETCH");
}

#[test]
fn a_malformed_search_harms_nothing() {
    malformed_answers_harm_nothing("UID SEARCH");
}

fn malformed_answers_harm_nothing(verb: &str) {
    let junk: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let flood = vec![b'x'; 64 << 20];
    let many = b"* 1 FETCH (FLAGS (a b c d e f g h))\r\n".repeat(200_000);
    let acts = [
        ("junk", Act::Garbage(junk)),
        ("an endless line", Act::Garbage(flood)),
        ("a flood of lines", Act::Garbage(many)),
        ("a literal of 2^64", Act::Garbage(b"* LIST () \"/\" {18446744073709551616}\r\n".to_vec())),
        ("a literal of 2^63", Act::Garbage(b"* 1 FETCH (BODY[] {9223372036854775807}\r\n".to_vec())),
        ("deep parentheses", Act::Garbage([&b"* 1 FETCH "[..], &b"(".repeat(100_000), b"\r\n"].concat())),
        ("another tag", Act::WrongTag),
        ("no tagged line", Act::OmitTagged),
        ("the tagged line twice", Act::DuplicateTagged),
        ("a cut literal", Act::TruncateLiteral),
        ("a literal too long", Act::LiteralLen("99999999999999999999".into())),
        ("a literal too long by far", Act::LiteralLen("4294967296".into())),
        ("a literal too short", Act::LiteralLen("7".into())),
        ("no body", Act::NilBody),
        ("a cut line", Act::CutAfterBytes(33)),
    ];
    for profile in [Profile::full(), Profile::plain()] {
        for (what, act) in &acts {
            let bench = bench(profile.clone());
            bench.server.rule(When::verb(verb).nth(1), act.clone());
            let ran = bench.sync();
            let what = format!("{what} in the answer to {verb}");
            unharmed(&bench, &ran, &what);
            bench.server.clear_rules();
            bench.sync().is(0, "");
            if ran.err.contains("1 failed, see") {
                // The server was asked, and did not give it: it is asked again later.
                bench.run(&["status"]).is(0, "UID 4 is not synchronised: the server ");
                continue;
            }
            bench.converged("INBOX", 4);
        }
    }
}

#[test]
fn a_false_vanished_deletes_nothing() {
    for set in ["1:2", "1:4294967295", "3", "4294967295"] {
        for verb in ["SELECT", "UID FETCH", "LIST"] {
            let bench = bench(Profile::full());
            bench.server.rule(When::verb(verb), Act::FalseVanished(set));
            let ran = bench.sync();
            unharmed(&bench, &ran, &format!("VANISHED {set} in {verb}"));
            bench.server.clear_rules();
            bench.sync().is(0, "");
            bench.converged("INBOX", 4);
        }
    }
}

#[test]
fn a_number_of_messages_that_is_not_true_deletes_nothing() {
    for profile in [Profile::full(), Profile::plain()] {
        for lie in ["* 0 EXISTS\r\n", "* 1 EXISTS\r\n", "* 4294967295 EXISTS\r\n", "* 1 EXPUNGE\r\n"] {
            for verb in ["SELECT", "UID FETCH"] {
                let bench = bench(profile.clone());
                bench.server.rule(When::verb(verb), Act::Garbage(lie.into()));
                let ran = bench.sync();
                unharmed(&bench, &ran, &format!("{lie} in {verb}"));
                bench.server.clear_rules();
                bench.sync().is(0, "");
                bench.converged("INBOX", 4);
            }
        }
    }
}

#[test]
fn a_listing_that_is_cut_short_with_ok_deletes_nothing() {
    let bench = bench(Profile::plain());
    bench.server.rule(When::verb("UID FETCH"), Act::OmitUid(2));
    bench.server.rule(When::verb("UID FETCH"), Act::OmitUid(3));
    let ran = bench.sync();
    unharmed(&bench, &ran, "two messages are not listed");
    ran.is(1, "nothing is concluded from that");
    bench.run(&["status"]).is(0, "nothing is concluded from that");
    bench.server.clear_rules();
    bench.sync().is(0, "");
    bench.converged("INBOX", 4);
}

#[test]
fn a_search_that_finds_nothing_deletes_nothing_that_is_listed() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = bench(profile);
        // Whatever is asked for, it is not there, says the server.
        for uid in 1..=4 {
            bench.server.rule(When::verb("UID SEARCH"), Act::OmitUid(uid));
        }
        let ran = bench.sync();
        unharmed(&bench, &ran, "an empty search");
        bench.server.clear_rules();
        bench.sync().is(0, "");
        bench.converged("INBOX", 4);
    }
}

#[test]
fn mod_sequences_that_go_back_lose_no_change() {
    let bench = bench(Profile::full());
    bench.sync().is(0, "");
    bench.server.store(USER, "INBOX", &[2], StoreMode::Add, &["\\Seen"]);
    bench.server.lower_modseq(USER, "INBOX", 2);
    bench.sync().is(0, "");
    bench.converged("INBOX", 4);
    let seen = std::fs::read_dir(bench.maildir().join("INBOX/cur")).expect("listed").flatten();
    assert_eq!(seen.filter(|f| f.file_name().to_string_lossy().ends_with(":2,S")).count(), 1);
}

#[test]
fn a_server_that_lists_nothing_is_not_believed() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = bench(profile);
        let whole = bench.server.clone_state();
        bench.server.with(|model| model.accounts.get_mut(USER).expect("there").mailboxes.clear());
        bench.sync().is(75, "lists no mailbox at all");
        bench.run(&["check"]).is(1, "lists no mailbox at all");
        assert_eq!(bench.count("INBOX"), 3);
        bench.server.restore_state(&whole);
        bench.sync().is(0, "");
        bench.converged("INBOX", 4);
    }
}

#[test]
fn a_mailbox_without_status_is_unknown_and_not_gone() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = bench(profile);
        bench.server.create(USER, "Work");
        bench.server.deliver(USER, "Work", crate::support::bench::message(20), &[]);
        bench.sync().is(0, "");
        bench.server.deliver(USER, "INBOX", crate::support::bench::message(21), &[]);
        bench.server.set_unreadable(USER, "Work", true);
        bench.sync().is(1, "Work: ");
        assert_eq!((bench.count("Work"), bench.count("INBOX")), (1, 5), "the others go on");
        bench.server.set_unreadable(USER, "Work", false);
        bench.sync().is(0, "");
        bench.converged("Work", 1);
    }
}

#[test]
fn a_message_without_body_is_quarantined_and_the_others_come() {
    let bench = Bench::new(Profile::full());
    bench.fill(3);
    bench.server.rule(When::verb("UID FETCH").containing("BODY"), Act::NilBody);
    let ran = bench.sync();
    assert!(matches!(ran.code, Some(0 | 1 | 75)), "{ran:?}");
    assert!(bench.texts_here("INBOX").iter().all(|text| !text.is_empty()), "an empty message was delivered");
    bench.server.clear_rules();
}
