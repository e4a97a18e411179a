//! `check` and `folders`: what they prove and show, for people and for programs, and that they change nothing.

use crate::support::bench::{Bench, USER, files, message};
use crate::support::server::Profile;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn check_proves_everything_in_order_and_makes_nothing() {
    let bench = Bench::new(Profile::full());
    bench.fill(2);
    bench.server.create_with_role(USER, "Deleted", "\\Trash");
    let history = bench.server.history().len();
    let ran = bench.run(&["check"]);
    ran.is(0, "");
    let subjects: Vec<&str> = ran.out.lines().filter_map(|l| l.trim().strip_prefix("ok")?.split(':').next()).collect();
    let subjects: Vec<&str> = subjects.into_iter().map(str::trim).collect();
    let order = [
        "configuration",
        "state directory",
        "secret",
        "connection",
        "login",
        "server",
        "mailboxes",
        "Maildir",
        "limits",
    ];
    assert_eq!(subjects, order, "{}", ran.out);
    ran.says("tier A: it tells what changed")
        .says("me is let in, with PLAIN")
        .says("2 on the server, 2 of them wanted");
    ran.says("trash: Deleted").says("the file holds a password");
    assert!(!bench.maildir().exists() && !bench.state().exists(), "check made something");
    assert_eq!(bench.server.history().len(), history, "check changed the server");
    let checks = bench.server.commands();
    assert!(!checks.iter().any(|c| c.starts_with("SELECT") || c.starts_with("UID")), "{checks:?}");
}

#[test]
fn the_schema_of_check_is_stable() {
    let bench = Bench::new(Profile::plain());
    bench.configure("disable-extensions = [\"UIDPLUS\"]");
    let ran = bench.run(&["check", "--json"]);
    let report = parsed(&ran.out);
    let account = &report["accounts"][0];
    assert_eq!((&report["version"], &account["account"], &account["ok"]), (&json!(1), &json!("work"), &json!(true)));
    let checks = account["checks"].as_array().expect("a list");
    let names: Vec<&str> = checks.iter().filter_map(|c| c["check"].as_str()).collect();
    assert_eq!(names, ["state", "secret", "connection", "login", "server", "mailboxes", "maildir", "limits"]);
    for check in checks {
        let mut keys: Vec<&String> = check.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, ["check", "notes", "remedy", "result", "what"]);
        assert_eq!(check["result"], "ok", "{check}");
    }
    let notes = checks[4]["notes"].to_string();
    for lacking in ["no UIDPLUS: ", "no MOVE: ", "no LITERAL+: ", "no MULTIAPPEND: ", "`disable-extensions`: UIDPLUS"] {
        assert!(notes.contains(lacking), "{notes}");
    }
    assert!(checks[4]["what"].as_str().is_some_and(|what| what.starts_with("tier C: ")), "{checks:?}");
}

#[test]
fn check_after_a_run_says_whose_the_maildir_is_and_changes_nothing() {
    let bench = Bench::mirrored(Profile::full(), 2);
    let before = files(&bench.maildir());
    bench.run(&["check"]).is(0, "is this account's, and mirrors 1 mailbox").says("nobody holds the account");
    assert_eq!(files(&bench.maildir()), before);
    bench.converged("INBOX", 2);
}

#[test]
fn check_tells_what_is_wrong_with_the_state_directory() {
    let bench = Bench::mirrored(Profile::full(), 1);
    for (mode, code, words) in
        [(0o755, 0, "others may look into it"), (0o770, 1, "others may write to it"), (0o700, 0, "is ours alone")]
    {
        fs::set_permissions(bench.state(), PermissionsExt::from_mode(mode)).expect("set");
        let ran = bench.run(&["check"]);
        ran.is(code, words);
        assert_eq!(ran.out.contains("Run: chmod 700"), mode != 0o700, "{}", ran.out);
    }
    let bench = Bench::new(Profile::full());
    fs::write(bench.state(), "").expect("written");
    bench.run(&["check"]).is(1, "is not a directory that this user may write to").says("skipped Maildir:");
    bench.sync().is(1, "");
}

#[test]
fn check_tells_that_too_few_files_may_be_open() {
    let bench = Bench::new(Profile::full());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n 64; exec {} \"$@\"", env!("CARGO_BIN_EXE_mailtwin"))).arg("sh");
    bench.prepare(&mut command, &["check"]);
    bench.finish(bench.spawn(command)).is(1, "only 64 files may be open at once").says("ulimit -n 1024");
}

#[test]
fn folders_shows_both_sides_and_why_some_are_left_out() {
    let bench = Bench::new(Profile::full());
    bench.configure("mailboxes = [\"*\", \"!Junk\"]");
    bench.fill(3);
    for (name, role) in [("Junk", "\\Junk"), ("Sent", "\\Sent")] {
        bench.server.create_with_role(USER, name, role);
    }
    bench.server.create(USER, "Old");
    bench.server.create(USER, "&AOQ-rger/2026");
    let before = bench.run(&["folders", "work"]);
    before.is(0, "new: its directory will be made").says("not in `mailboxes`");
    assert!(!bench.maildir().exists() && !bench.state().exists(), "folders made something");
    bench.sync().is(0, "");
    bench.server.delete(USER, "Old");
    bench.server.create(USER, "Later");
    bench.server.deliver(USER, "Later", message(9), &[]);
    bench.sync().is(0, "");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(bench.maildir().join("Mine").join(part)).expect("made");
    }
    bench.server.deliver(USER, "Later", message(10), &[]);
    let ran = bench.run(&["folders", "work", "--json"]);
    let report = parsed(&ran.out);
    let told: Vec<Value> = report["folders"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| json!([f["mailbox"], f["path"], f["role"], f["messages_there"], f["messages_here"], f["state"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["INBOX", "INBOX", null, 3, 3, "mirrored"]),
            json!(["Junk", null, "junk", 0, null, "unwanted"]),
            json!(["Later", "Later", null, 2, 1, "mirrored"]),
            json!(["Mine", "Mine", null, null, 0, "new-here"]),
            json!(["Old", "Old", null, null, 0, "parked"]),
            json!(["Sent", "Sent", "sent", 0, 0, "mirrored"]),
            json!(["ärger/2026", "ärger/2026", null, 0, 0, "mirrored"]),
        ],
        "{}",
        ran.out
    );
    let table = bench.run(&["folders", "work"]).out;
    assert!(table.starts_with("MAILBOX     ROLE  THERE  HERE  DIRECTORY\n"), "{table}");
    assert!(table.contains("parked: it is gone from the server; its Maildir is kept"), "{table}");
    bench.run(&["folders", "wrok"]).is(2, "Did you mean `work`?");
}
