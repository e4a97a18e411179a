//! Maildirs that are missing, emptied, foreign, read-only or full: nothing is concluded from that, and nothing deleted.

use crate::support::bench::{Bench, Ran, USER, files};
use crate::support::server::Profile;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// `nobody`, as whom the program runs where being root would let it write everywhere.
const NOBODY: u32 = 65534;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs the program as a user whom permissions bind.
fn run_bound(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut command = bench.command(arguments);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    bench.finish(bench.spawn(command))
}

fn give(path: &Path, to: u32) {
    for file in files(path).into_keys() {
        chown(file, Some(to), Some(to)).expect("given");
    }
    let mut open = vec![path.to_path_buf()];
    while let Some(directory) = open.pop() {
        chown(&directory, Some(to), Some(to)).expect("given");
        let below = fs::read_dir(&directory).expect("listed").flatten();
        open.extend(below.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}

/// Mirrored by a user whom permissions bind.
fn bound(messages: usize) -> Bench {
    let bench = Bench::new(Profile::full());
    bench.fill(messages);
    if is_root() {
        give(bench.home.path(), NOBODY);
    }
    run_bound(&bench, &["sync"]).is(0, "");
    bench.settle();
    bench
}

#[test]
fn a_maildir_that_is_missing_emptied_or_no_directory_is_unavailable_and_nothing_is_deleted() {
    type Break = fn(&Path);
    let cases: [(&str, Break); 6] = [
        ("the Maildir is missing", |_| {}),
        ("the Maildir has lost its marker file", |path| fs::create_dir(path).expect("made")),
        ("the path of the Maildir is not a directory", |path| fs::write(path, "").expect("written")),
        ("the Maildir is missing", |path| std::os::unix::fs::symlink("/nowhere/at/all", path).expect("linked")),
        ("the Maildir has lost its marker file", |path| {
            fs::create_dir_all(path.join("INBOX/cur")).expect("made");
        }),
        ("cannot be understood", |path| {
            fs::create_dir(path).expect("made");
            fs::write(path.join("mailtwin-root"), "{\"format\":1").expect("written");
        }),
    ];
    for (words, spoil) in cases {
        let bench = Bench::mirrored(Profile::full(), 8);
        fs::rename(bench.maildir(), bench.path("kept")).expect("moved");
        spoil(&bench.maildir());
        bench.sync().is(1, words).says("nothing deleted anywhere");
        bench.run(&["check"]).is(1, words).says("failed  Maildir:");
        bench.run(&["status"]).is(0, "the Maildir is not available");
        assert_eq!((bench.there("INBOX"), bench.there("Trash")), (Some(8), None), "{words}");
        let _ = fs::remove_dir_all(bench.maildir());
        let _ = fs::remove_file(bench.maildir());
        fs::rename(bench.path("kept"), bench.maildir()).expect("moved back");
        bench.converged("INBOX", 8);
    }
}

#[test]
fn a_marker_that_was_removed_is_not_made_anew() {
    let bench = Bench::mirrored(Profile::full(), 8);
    fs::rename(bench.maildir().join("mailtwin-root"), bench.path("kept")).expect("moved");
    bench.empty("INBOX");
    for _ in 0..2 {
        bench.sync().is(1, "the Maildir has lost its marker file mailtwin-root");
        assert!(!bench.maildir().join("mailtwin-root").exists());
        assert_eq!(bench.there("INBOX"), Some(8));
    }
}

#[test]
fn a_read_only_maildir_is_told_and_nothing_is_lost() {
    let bench = bound(4);
    bench.fill(1);
    fs::set_permissions(bench.maildir(), PermissionsExt::from_mode(0o500)).expect("set");
    run_bound(&bench, &["sync"]).is(1, "the Maildir is read-only for this user");
    run_bound(&bench, &["check"]).is(1, "the Maildir is read-only for this user");
    fs::set_permissions(bench.maildir(), PermissionsExt::from_mode(0o700)).expect("set");
    // A folder alone: the message cannot be delivered, and is not taken for delivered.
    for part in ["tmp", "new"] {
        let directory = bench.maildir().join("INBOX").join(part);
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o500)).expect("set");
        let ran = run_bound(&bench, &["sync"]);
        assert_eq!(
            (ran.code, bench.there("INBOX"), bench.count("INBOX")),
            (Some(1), Some(5), 4),
            "{part}: {}",
            ran.err
        );
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).expect("set");
    }
    run_bound(&bench, &["sync"]).is(0, "1 fetched");
    run_bound(&bench, &["sync"]).is(0, "nothing to do");
    assert_eq!((bench.there("INBOX"), bench.count("INBOX")), (Some(5), 5));
}

#[test]
fn a_maildir_of_somebody_else_or_open_to_others_is_refused() {
    let bench = Bench::mirrored(Profile::full(), 2);
    fs::set_permissions(bench.maildir(), PermissionsExt::from_mode(0o777)).expect("set");
    bench.sync().is(1, "writable by others (mode 777); chmod go-w it");
    fs::set_permissions(bench.maildir(), PermissionsExt::from_mode(0o700)).expect("set");
    if is_root() {
        chown(bench.maildir(), Some(NOBODY), Some(NOBODY)).expect("given");
        bench.sync().is(1, "the Maildir belongs to user 65534");
        chown(bench.maildir(), Some(0), Some(0)).expect("taken");
    } else {
        // Only root can give files away; what root owns is somebody else's too.
        bench.configure(&format!("maildir = {:?}", Path::new("/usr")).replace("maildir", "# maildir"));
        let text = fs::read_to_string(bench.path("daemon.toml")).expect("read");
        let mail = format!("maildir = {:?}", bench.maildir());
        bench.write_configuration(&text.replace(&mail, "maildir = \"/usr\""));
        bench.sync().is(1, "the Maildir belongs to user 0");
        bench.configure("");
    }
    bench.converged("INBOX", 2);
}

/// Runs the program twice with a directory of its home on a disk that is full, then on one with room. Gives both runs.
///
/// Root mounts a small disk, seen by the program only, and carries what is on it back. Who is not root limits the size of
/// files instead.
pub fn on_a_full_disk(bench: &Bench, directory: &Path, size: &str) -> (Ran, Ran) {
    let program = env!("CARGO_BIN_EXE_mailtwin");
    let configuration = bench.path("daemon.toml");
    let run = format!("{program} -v --config {} sync", configuration.display());
    let (place, kept) = (directory.display(), bench.path("carried"));
    if !is_root() {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f 16; exec {run}"));
        let full = raw(bench, command);
        return (full, bench.sync());
    }
    let kept = kept.display();
    let first = format!(
        "mkdir -p {place} {kept}; cp -a {place}/. {kept}/; \
         mount -t tmpfs -o size={size},mode=0700 none {place} && cp -a {kept}/. {place}/; {run}; code=$?; \
         rm -rf {kept}; cp -a {place} {kept}; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &first]);
    let full = raw(bench, command);
    // What was on the small disk is what the next run finds.
    let _ = fs::remove_dir_all(directory);
    fs::rename(bench.path("carried"), directory).expect("carried back");
    (full, bench.sync())
}

fn raw(bench: &Bench, mut command: Command) -> Ran {
    command.env_clear().env("HOME", bench.home.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    bench.finish(bench.spawn(command))
}

#[test]
fn a_full_disk_stops_the_account_loses_nothing_and_the_next_run_goes_on() {
    let bench = Bench::new(Profile::full());
    let long = "0123456789abcdef\r\n".repeat(4_000);
    for n in 0..12 {
        bench.server.deliver(USER, "INBOX", format!("{}{long}", crate::support::bench::message(n)), &[]);
    }
    let maildir = bench.maildir();
    let (full, then) = on_a_full_disk(&bench, &maildir, "300k");
    assert_eq!(full.code, Some(1), "{}", full.err);
    if is_root() {
        full.says("the disk or the quota is full").says("Make room on the disk");
    }
    assert_eq!(bench.there("INBOX"), Some(12));
    then.is(0, "");
    bench.settle();
    bench.sync().is(0, "");
    bench.converged("INBOX", 12);
}

#[test]
fn a_full_disk_of_the_state_loses_nothing() {
    for size in ["40k", "300k"] {
        let bench = Bench::new(Profile::full());
        bench.fill(1_100);
        let state = bench.state();
        let (full, then) = on_a_full_disk(&bench, &state, size);
        assert!(matches!(full.code, Some(0 | 1)), "{size}: {:?} {}", full.code, full.err);
        assert!(!full.err.contains("panicked"), "{}", full.err);
        assert_eq!(bench.there("INBOX"), Some(1_100));
        if is_root() {
            full.is(1, "no storage space").says("Make room on the disk");
        }
        then.is(0, "");
        bench.settle();
        bench.sync().is(0, "");
        bench.converged("INBOX", 1_100);
    }
}
