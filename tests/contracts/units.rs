//! The units of `systemd/`, held against systemd itself: it understands every line, and finds the system's ones tight.

use crate::support::program::need;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ANALYZE: &str = "/usr/bin/systemd-analyze";
/// The units of the system, and of a user.
const SYSTEM: &[&str] = &["mailtwin.service", "mailtwin@.service", "mailtwin.socket"];
const USER: &str = "user/mailtwin.service";

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn analyze(place: &Path, arguments: &[&str]) -> Output {
    need(ANALYZE, "systemd");
    let mut command = Command::new(ANALYZE);
    command.args(["--no-pager"]).args(arguments).current_dir(place).env("XDG_RUNTIME_DIR", place);
    command.output().expect("systemd-analyze runs")
}

/// The units as they would be installed, with this program in place of the installed one.
fn installed() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    fs::create_dir(place.path().join("user")).expect("made");
    for unit in SYSTEM.iter().chain(&[USER]) {
        let text = fs::read_to_string(units().join(unit)).expect("a unit");
        let text = text.replace("ExecStart=/usr/bin/mailtwin", concat!("ExecStart=", env!("CARGO_BIN_EXE_mailtwin")));
        fs::write(place.path().join(unit), text).expect("written");
    }
    // A template is looked at by an instance of it.
    fs::rename(place.path().join("mailtwin@.service"), place.path().join("mailtwin@root.service")).expect("renamed");
    place
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let place = installed();
    for (mode, unit) in [
        ("--system", "mailtwin.service"),
        ("--system", "mailtwin@root.service"),
        ("--system", "mailtwin.socket"),
        ("--user", "user/mailtwin.service"),
    ] {
        let path = place.path().join(unit);
        let output = analyze(place.path(), &["verify", mode, "--man=no", path.to_str().expect("UTF-8")]);
        let said = said(&output);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("mailtwin")).collect();
        assert!(output.status.success() && ours.is_empty(), "{unit}: {said}");
    }
}

#[test]
fn the_units_of_the_system_are_as_tight_as_a_daemon_on_the_network_can_be() {
    for unit in ["mailtwin.service", "mailtwin@.service"] {
        let arguments = ["security", "--offline=yes", "--threshold=12", unit];
        let output = analyze(&units(), &arguments);
        assert!(output.status.success(), "{unit} is above 1.2:\n{}", said(&output));
        // The threshold means something.
        let output = analyze(&units(), &["security", "--offline=yes", "--threshold=5", unit]);
        assert!(!output.status.success());
    }
}

#[test]
fn the_units_start_and_stop_the_program_as_it_wants_it() {
    for unit in ["mailtwin.service", "mailtwin@.service", USER] {
        let text = fs::read_to_string(units().join(unit)).expect("a unit");
        for line in [
            "Type=notify",
            "ExecStart=/usr/bin/mailtwin run",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 78",
            "Environment=MALLOC_MMAP_THRESHOLD_=131072",
            "UMask=0077",
            "NoNewPrivileges=yes",
        ] {
            assert!(text.lines().any(|found| found == line), "{unit} lacks {line}");
        }
        assert!(text.contains("WatchdogSec=") && text.contains("RuntimeDirectory=mailtwin"), "{unit}");
    }
}
