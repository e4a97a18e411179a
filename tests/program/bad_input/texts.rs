//! Text of others: greetings, refusals, names of mailboxes. The bench holds that no terminal would obey what is shown.

use crate::support::bench::{Bench, USER, files, message};
use crate::support::server::{Act, Profile, When};

/// Title, bell, clear, carriage return, right-to-left: what a server may send within one line.
const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\x08\x0b\u{9b}31m\u{202e}drowssap";

#[test]
fn the_words_of_a_server_are_escaped_wherever_they_are_shown() {
    for verb in ["AUTHENTICATE", "LIST", "SELECT", "UID FETCH", "APPEND", "CREATE"] {
        for act in [Act::No("", HOSTILE), Act::No("ALERT", HOSTILE), Act::Bye(HOSTILE)] {
            let bench = Bench::mirrored(Profile::full(), 2);
            bench.fill(1);
            std::fs::write(bench.maildir().join("INBOX/cur/1700000009.M1.here:2,S"), message(9)).expect("written");
            for part in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(bench.maildir().join("Local").join(part)).expect("made");
            }
            bench.server.rule(When::verb(verb), act);
            let ran = bench.sync();
            let status = bench.run(&["status"]);
            let shown = format!("{}{}", ran.err, status.out);
            assert!(shown.contains(r"\x1b]0;owned\x07\x1b[2J"), "{verb}: {shown}");
            bench.run(&["check"]);
            bench.run(&["folders", "work"]);
            bench.server.clear_rules();
        }
    }
}

#[test]
fn a_hostile_greeting_is_escaped() {
    use std::io::{Read as _, Write as _};
    for line in
        [format!("* BYE {HOSTILE}\r\n"), format!("{HOSTILE}\r\n"), format!("* OK {HOSTILE}\r\n* BYE {HOSTILE}\r\n")]
    {
        let bench = Bench::new(Profile::full());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        bench.configure_at(listener.local_addr().expect("bound").port(), "");
        let peer = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut client, _) = listener.accept().expect("a client");
                let _ = client.write_all(line.as_bytes());
                let _ = client.shutdown(std::net::Shutdown::Write);
                let _ = client.read_to_end(&mut Vec::new());
            }
        });
        bench.sync().is(75, "work: ");
        bench.run(&["check"]).is(75, "failed  connection:");
        peer.join().expect("it ended");
    }
}

/// Names that no server should have, each different, and all of them atoms or strings on the wire.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "..",
        "../../etc/passwd",
        ".",
        "./x",
        "/",
        "//",
        "/etc",
        "a//b",
        "a/",
        "/a",
        "a/../b",
        "a/./b",
        "cur",
        "new",
        "tmp",
        "INBOX/cur",
        "INBOX/new/x",
        "a/tmp",
        "mailtwin-root",
        "mailtwin-folder",
        "a/mailtwin-folder",
        "~",
        "~root",
        "-rf",
        "--help",
        "*",
        "%",
        "a*b",
        "a%b",
        "%2e%2e",
        "%00",
        "a\\b",
        "a\"b",
        "$(id)",
        "`id`",
        "a;b",
        "a|b",
        "a&-b",
        "&",
        "&&-",
        "&AA-",
        "&AAAA-",
        "&2D3-",
        "&3Wg-",
        "&ABs-[2J",
        "&AAo-",
        "&AA0ACg-",
        "&IC4-",
        "&AC8-",
        "&AC4ALg-/x",
        "&AC4-/x",
        "a &AC8- b",
        "INBOX/INBOX",
        "inbox/x",
        "iNbOx/x",
        "CON",
        "nul",
        "a.",
        "a ",
        " a",
        "a:2,S",
        ":2,S",
        ".hidden",
        "..hidden",
        ".Trash",
        "lost+found",
        "a/.b",
        "\u{1}",
        "\u{7f}",
        "a\tb",
        "\x1b[2J",
        "\x1b]0;x\x07",
    ]
    .map(str::to_owned)
    .into();
    names.extend(["a\nb", "a\r\n* BYE x\r\n", "\r", "Empf\u{e4}nger", "\u{202e}drowssap"].map(str::to_owned));
    names.push("x".repeat(255));
    names.push("x".repeat(300));
    names.push("x".repeat(3_000));
    names.push(vec!["d"; 70].join("/"));
    names.push(vec!["deep"; 60].join("/"));
    names.push(format!("{}y", "x".repeat(299)));
    for n in names.len()..200 {
        let part = ["..", "cur", "&AC8-", "a", " ", "%", ".", "&IK4-"];
        names.push(format!("{}/{}{n}/{}", part[n % 8], part[n / 8 % 8], part[n / 3 % 8]));
    }
    names
}

#[test]
fn two_hundred_hostile_names_stay_beneath_the_maildir_and_stop_nobody() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = Bench::new(profile);
        bench.fill(2);
        let names = hostile_names();
        assert!(names.len() >= 200);
        let mut made = 0;
        for name in &names {
            // The model refuses a name twice.
            let created = bench.server.with(|model| model.create(crate::support::server::Author::Other, USER, name));
            if created.is_ok() {
                made += 1;
                bench.server.deliver(USER, name, message(made), &[]);
            }
        }
        assert!(made > 180, "{made}");
        let outside = |bench: &Bench| {
            let inside = bench.maildir().to_string_lossy().into_owned();
            let state = bench.state().to_string_lossy().into_owned();
            let all = files(bench.home.path()).into_keys();
            all.filter(|path| !path.starts_with(&inside) && !path.starts_with(&state)).collect::<Vec<_>>()
        };
        let before = outside(&bench);
        let ran = bench.sync();
        assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.err);
        assert_eq!(outside(&bench), before);
        assert_eq!(bench.count("INBOX"), 2, "{}", ran.err);
        let here =
            files(&bench.maildir()).into_keys().filter(|path| path.contains("/new/1") || path.contains("/cur/1"));
        let here = here.count();
        let left_out = ran.err.lines().filter(|line| line.starts_with("  ")).count();
        assert!(here + left_out >= made + 2, "{here} here, {left_out} left out of {made}\n{}", ran.err);
        let mark = bench.server.mark();
        let again = bench.sync();
        assert_eq!(again.code, ran.code, "{}", again.err);
        assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new());
        for command in [&["status"][..], &["check"], &["folders", "work"], &["folders", "work", "--json"]] {
            assert!(matches!(bench.run(command).code, Some(0 | 1)), "{command:?}");
        }
        assert_eq!(bench.there("INBOX"), Some(2));
    }
}

#[test]
fn a_refused_upload_is_quarantined_with_the_reason_and_the_rest_goes_on() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = Bench::mirrored(profile, 2);
        for n in 10..15 {
            let path = bench.maildir().join(format!("INBOX/cur/17000000{n}.M1.here:2,S"));
            std::fs::write(path, message(n)).expect("written");
        }
        bench.server.rule(When::verb("APPEND").containing("number 12"), Act::No("LIMIT", "that one not\x1b[2J"));
        bench.sync().is(0, "4 uploaded, 1 failed");
        bench.run(&["status"]).is(0, r"the server refuses it: [LIMIT] that one not\x1b[2J");
        assert_eq!((bench.there("INBOX"), bench.count("INBOX")), (Some(6), 7));
        let mark = bench.server.mark();
        bench.sync().is(0, "");
        assert_eq!(bench.server.mutating_commands_since(mark), Vec::<String>::new(), "it is not tried at once again");
    }
}

#[test]
fn a_message_that_cannot_be_fetched_is_quarantined_and_the_rest_goes_on() {
    for profile in [Profile::full(), Profile::plain()] {
        let bench = Bench::new(profile);
        bench.fill(5);
        bench.server.rule(When::verb("UID FETCH").containing("BODY"), Act::RefuseUid(3));
        bench.sync().is(0, "4 fetched, 1 failed");
        bench.run(&["status"]).is(0, "UID 3 is not synchronised:");
        assert_eq!((bench.there("INBOX"), bench.count("INBOX")), (Some(5), 4));
    }
}

#[test]
fn a_message_that_no_server_takes_is_quarantined() {
    let bench = Bench::mirrored(Profile::full(), 2);
    std::fs::write(bench.maildir().join("INBOX/cur/1700000010.M1.here:2,S"), "").expect("written");
    std::fs::write(bench.maildir().join("INBOX/cur/1700000011.M1.here:2,S"), "Subject: nul\n\na\0b\n")
        .expect("written");
    std::fs::write(bench.maildir().join("INBOX/cur/1700000012.M1.here:2,S"), message(12)).expect("written");
    bench.sync().is(0, "1 uploaded, 2 failed");
    bench.run(&["status"]).is(0, "1700000010.M1.here").says("1700000011.M1.here");
    assert_eq!((bench.there("INBOX"), bench.count("INBOX")), (Some(3), 5));
}
