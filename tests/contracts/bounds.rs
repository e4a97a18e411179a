//! A process that gave up everything but its Maildirs and its state: what it can still do, and what it cannot.

// What became of it is told to the parent.
#![allow(clippy::print_stdout)]
use mailtwin::monitor::Bounds;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The place in which the child works.
const CHILD: &str = "MAILTWIN_TEST_BOUNDS";

#[test]
fn a_daemon_reaches_its_maildirs_and_its_state_and_nothing_else() {
    let place = tempfile::tempdir().expect("a directory");
    for directory in ["mail/INBOX/new", "mail/INBOX/cur", "state", "certificates"] {
        fs::create_dir_all(place.path().join(directory)).expect("made");
    }
    for file in ["mail/INBOX/new/1.a", "state/lock", "certificates/ca.pem", "diary"] {
        fs::write(place.path().join(file), "text").expect("written");
    }
    let mut command = Command::new(std::env::current_exe().expect("has a name"));
    command.args(["--exact", "bounds::child", "--nocapture", "--test-threads=1"]).env(CHILD, place.path());
    let ran = command.stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("was confined") || said.contains("cannot be confined here"), "it did nothing: {said}");
    assert_eq!(fs::read_to_string(place.path().join("diary")).expect("there"), "text");
}

/// Not a test of its own: the child, which there is no way back for.
#[test]
fn child() {
    let Some(place) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let free = || TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let (metrics, other) = (free(), free());
    let mail = place.join("mail");
    let set = Bounds::set([mail.as_path()], &place.join("state"), &[place.join("certificates")], Some(metrics));
    let Ok(bounds) = set else {
        // Then nothing is given up.
        File::open(place.join("diary")).expect("it is opened");
        Command::new("true").status().expect("it runs");
        println!("it cannot be confined here");
        return;
    };
    everything_of_its_own(&place);
    TcpListener::bind(("127.0.0.1", metrics)).expect("the metrics are served");
    assert_eq!(TcpListener::bind(("127.0.0.1", other)).map(drop).map_err(|error| error.kind()), denied());
    for (what, tried) in nothing_of_others(&place) {
        assert_eq!(tried.map_err(|error| error.kind()), denied(), "{what}");
    }
    // Programs and threads that it starts are no way around it.
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(File::open(place.join("diary")).is_err()));
    });
    assert!(Command::new("true").status().is_err());
    // It knows that, for a file that it cannot open can be looked at.
    assert!(bounds.cover(&mail));
    fs::rename(place.join("mail/INBOX"), place.join("mail/Archive")).expect("renamed");
    assert!(bounds.cover(&mail), "what is in it may change");
    assert!(!bounds.cover(&place.join("certificates")));
    println!("it was confined");
}

fn denied() -> Result<(), io::ErrorKind> {
    Err(io::ErrorKind::PermissionDenied)
}

fn everything_of_its_own(place: &Path) {
    let mail = place.join("mail");
    fs::create_dir_all(mail.join("Archive/cur")).expect("made");
    fs::write(mail.join("Archive/cur/2.b"), "text").expect("written");
    // From one directory to another, which the first version of Landlock denies.
    fs::rename(mail.join("INBOX/new/1.a"), mail.join("INBOX/cur/1.a:2,S")).expect("moved");
    fs::hard_link(mail.join("INBOX/cur/1.a:2,S"), mail.join("Archive/cur/1.a:2,S")).expect("linked");
    // To the state too, where what is deleted is kept.
    fs::rename(mail.join("INBOX/cur/1.a:2,S"), place.join("state/1.a:2,S")).expect("kept");
    File::options().write(true).open(place.join("state/lock")).expect("open").set_len(0).expect("cut");
    fs::remove_dir_all(mail.join("Archive")).expect("removed");
    fs::read(place.join("certificates/ca.pem")).expect("read");
    fs::read("/etc/hosts").expect("read");
    File::open("/dev/urandom").expect("open");
}

fn nothing_of_others(place: &Path) -> Vec<(&'static str, io::Result<()>)> {
    let diary = place.join("diary");
    vec![
        ("reading", fs::read(&diary).map(drop)),
        ("writing", fs::write(&diary, "other")),
        ("cutting", File::options().write(true).open(&diary).map(drop)),
        ("removing", fs::remove_file(&diary)),
        ("making", fs::write(place.join("new"), "text")),
        ("making a directory", fs::create_dir(place.join("directory"))),
        ("taking it in", fs::rename(&diary, place.join("mail/diary"))),
        ("taking it out", fs::rename(place.join("mail/INBOX"), place.join("INBOX"))),
        ("linking to it", std::os::unix::fs::symlink(&diary, place.join("mail/diary"))),
        ("listing", fs::read_dir(place).map(drop)),
        ("writing where it may read", fs::write(place.join("certificates/ca.pem"), "other")),
        ("running", Command::new("/bin/true").status().map(drop)),
    ]
}
