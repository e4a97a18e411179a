//! The program as its users meet it: help, exit codes, error messages, completions, the manual, a closed pipe.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const COMMANDS: &[&str] = &[
    "sync",
    "check",
    "folders",
    "status",
    "approve",
    "reject",
    "undo",
    "explain",
    "verify",
    "forget",
    "relocate",
    "run",
    "pause",
    "resume",
    "reload",
    "wait-synced",
    "events",
    "completions",
    "man",
];

const LEAST: &str = r#"
[account.work]
host = "imap.example.org"
user = "me@example.org"
password.command = ["true"]
maildir = "~/Mail/work"
"#;

/// The program in a home of its own, without this process's environment.
fn mailtwin(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
    command.args(arguments).env_clear().env("HOME", home).stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    mailtwin(home, arguments).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A home with a configuration.
fn home(configuration: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join(".config/mailtwin");
    std::fs::create_dir_all(&directory).expect("mkdir");
    std::fs::write(directory.join("daemon.toml"), configuration).expect("write");
    home
}

#[test]
fn each_command_explains_itself_with_examples() {
    let home = tempfile::tempdir().expect("a directory");
    let top = out(&run(home.path(), &["--help"]));
    for command in COMMANDS {
        assert!(top.lines().any(|line| line.trim_start().starts_with(command)), "{command} in\n{top}");
        let output = run(home.path(), &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = out(&output);
        assert!(help.contains("Usage: mailtwin") && help.contains("Examples:"), "{help}");
        assert!(help.contains("--config") && help.contains("--json"), "{help}");
    }
    assert!(top.contains("Exit codes:") && top.contains("/etc/mailtwin/daemon.toml"), "{top}");
    assert!(out(&run(home.path(), &["--version"])).starts_with("mailtwin 0."));
}

#[test]
fn a_wrong_command_line_is_exit_2_and_says_what_is_right() {
    let home = home(LEAST);
    for (arguments, words) in [
        (&["snyc"][..], "a similar subcommand exists: 'sync'"),
        (&["sync", "--dry"], "--dry-run"),
        (&["sync", "/INBOX"], "write ACCOUNT or ACCOUNT/MAILBOX"),
        (&["approve"], "ACCOUNT[/MAILBOX]"),
        (&["-q", "-v", "status"], "cannot be used with"),
        (&["status", "--color", "sometimes"], "possible values"),
        (&["status", "wrok"], "Did you mean `work`?"),
        (&[], "Usage: mailtwin"),
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn without_a_configuration_the_five_lines_are_shown() {
    let home = tempfile::tempdir().expect("a directory");
    for command in
        [&["sync"][..], &["check"], &["folders", "work"], &["status"], &["approve", "work"], &["reject", "work"]]
    {
        let output = run(home.path(), command);
        assert_eq!(output.status.code(), Some(78), "{command:?}");
        let expected = format!(
            "error: there is no configuration: looked for {home}/.config/mailtwin/daemon.toml and /etc/mailtwin/daemon.toml\n\
             \x20   [account.work]\n\
             \x20   host = \"imap.example.org\"\n\
             \x20   user = \"me@example.org\"\n\
             \x20   password.command = [\"pass\", \"show\", \"mail/work\"]\n\
             \x20   maildir = \"~/Mail/work\"\n\
             \x20 The lines above are the least that a configuration needs.\n\
             \x20 Write them, with your own values, to {home}/.config/mailtwin/daemon.toml, then run `mailtwin check`.\n",
            home = home.path().display()
        );
        assert_eq!(err(&output), expected);
    }
}

#[test]
fn the_five_lines_that_are_shown_work() {
    let home = home(mailtwin::cli::FIVE_LINES);
    assert_eq!(run(home.path(), &["status"]).status.code(), Some(0));
}

#[test]
fn a_wrong_configuration_is_exit_78_with_places_and_remedies() {
    let home = home(&format!("{LEAST}hots = \"x\"\nlimit = []\n"));
    let output = run(home.path(), &["sync"]);
    assert_eq!(output.status.code(), Some(78));
    let path = home.path().join(".config/mailtwin/daemon.toml");
    let path = path.display();
    assert_eq!(
        err(&output),
        format!(
            "error: the configuration {path} cannot be used\n\
             \x20   {path}:7:1: unknown key `hots` in [account.work]; did you mean `host`?\n\
             \x20   {path}:8:1: not yet: this version does not do `limit`; take it out, or wait for a later version\n\
             \x20 Nothing was done: every account needs a configuration that is right.\n"
        )
    );
}

#[test]
fn a_named_configuration_that_cannot_be_read_is_exit_78() {
    let home = home(LEAST);
    let output = run(home.path(), &["status", "-c", "/nowhere/daemon.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).starts_with("error: the configuration /nowhere/daemon.toml cannot be read: No such file"));
}

#[test]
fn a_password_in_a_file_that_everybody_reads_is_exit_78() {
    let home = home(&LEAST.replace(".command = [\"true\"]", " = \"hunter2\""));
    let path = home.path().join(".config/mailtwin/daemon.toml");
    for (mode, code) in [(0o644, 78), (0o600, 0), (0o640, 0)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let output = run(home.path(), &["status"]);
        assert_eq!(output.status.code(), Some(code), "{mode:o}: {}", err(&output));
        assert!(!err(&output).contains("hunter2"));
    }
}

#[test]
fn the_status_is_told_to_people_and_to_programs() {
    let home = home(LEAST);
    assert_eq!(out(&run(home.path(), &["status"])), "work: never synchronised\n");
    let json: serde_json::Value = serde_json::from_str(&out(&run(home.path(), &["status", "--json"]))).expect("JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["accounts"][0]["account"], "work");
    assert_eq!(json["accounts"][0]["state"], "never-synced");

    let directory = home.path().join(".local/state/mailtwin/status");
    std::fs::create_dir_all(&directory).expect("mkdir");
    std::fs::write(directory.join("work.json"), "{").expect("write");
    let damaged = run(home.path(), &["status"]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(err(&damaged).starts_with("error: the status of work cannot be read: "), "{}", err(&damaged));
}

#[test]
fn colours_appear_on_demand_only() {
    let home = home(LEAST);
    assert!(!out(&run(home.path(), &["status"])).contains('\x1b'));
    assert!(out(&run(home.path(), &["status", "--color=always"])).contains("\x1b[1mwork\x1b[0m"));
    assert!(!out(&run(home.path(), &["--help"])).contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let home = home(LEAST);
    for arguments in [&["completions", "bash"][..], &["man"], &["--help"], &["status"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = mailtwin(home.path(), arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let home = home(LEAST);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = mailtwin(home.path(), &["status"]).stdout(full).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("the report could not be written: No space left"), "{}", err(&output));
}

/// Gives a text to a program that reads it from standard input; `None` if this machine does not have the program.
fn give(program: &str, arguments: &[&str], text: &[u8]) -> Option<Output> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "200")
        .spawn();
    let mut child = match started {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        started => started.expect("the program starts"),
    };
    let mut input = child.stdin.take().expect("its input");
    let text = text.to_vec();
    // Written beside the reading, so that neither waits for the other.
    let writer = std::thread::spawn(move || input.write_all(&text));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("all was read");
    Some(output)
}

#[test]
fn the_completions_are_scripts_that_the_shells_understand() {
    let home = tempfile::tempdir().expect("a directory");
    for (shell, words) in [("bash", "_mailtwin"), ("zsh", "#compdef mailtwin"), ("fish", "complete -c mailtwin")] {
        let output = run(home.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains(words) && COMMANDS.iter().all(|name| out(&output).contains(name)), "{shell}");
        let arguments: &[&str] = if shell == "fish" { &["--no-execute"] } else { &["-n"] };
        if let Some(parsed) = give(shell, arguments, &output.stdout) {
            assert!(parsed.status.success() && parsed.stderr.is_empty(), "{shell}: {}", err(&parsed));
        }
    }
}

#[test]
fn the_manual_renders_and_has_a_page_for_each_command() {
    let home = tempfile::tempdir().expect("a directory");
    let page = run(home.path(), &["man"]);
    assert!(out(&page).contains(".TH mailtwin 1"));
    if let Some(rendered) = give("man", &["--warnings=all", "-l", "-"], &page.stdout) {
        assert!(rendered.status.success(), "{}", err(&rendered));
        for words in ["SYNOPSIS", "Exit codes:", "mailtwin sync --dry-run"] {
            assert!(out(&rendered).contains(words), "{words} in\n{}", out(&rendered));
        }
    }
    let directory = home.path().join("share/man1");
    let output = run(home.path(), &["man", "--out", directory.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for name in COMMANDS.iter().map(|command| format!("mailtwin-{command}.1")).chain(["mailtwin.1".to_owned()]) {
        let mut text = String::new();
        let page = std::fs::File::open(directory.join(&name)).and_then(|mut file| file.read_to_string(&mut text));
        page.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(".SH NAME"), "{name}");
    }
}

#[test]
fn a_manual_that_cannot_be_written_says_where() {
    let home = tempfile::tempdir().expect("a directory");
    let output = run(home.path(), &["man", "--out", "/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("cannot be written to /proc/nowhere"), "{}", err(&output));
}
