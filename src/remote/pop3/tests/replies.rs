//! What a reply says, and what a refusal means for the next try.

use super::*;
use crate::remote::pop3::command::{RETR, Verb};
use crate::remote::pop3::reply::{Class, Status, command_refused, greeting_refused, login_refused};

fn refusal(line: &str) -> Refusal {
    match Status::read(line.as_bytes()) {
        Some(Status::Err(refusal)) => refusal,
        other => panic!("{line}: {other:?}"),
    }
}

fn able(lines: &[&str]) -> Capabilities {
    let mut capabilities = Capabilities::new(&["TOP".to_owned()]);
    capabilities.clear();
    lines.iter().for_each(|line| capabilities.add(line.as_bytes()));
    capabilities
}

/// The class of what an error tells the caller to do, and the pause in seconds.
fn told(error: &Error) -> (&'static str, Option<u64>) {
    match error {
        Error::Later { hint, .. } => ("later", hint.map(|hint| hint.as_secs())),
        Error::Login(_) => ("login", None),
        Error::Never(_) => ("never", None),
        Error::Refused { .. } => ("refused", None),
        other => panic!("{other}"),
    }
}

#[test]
fn a_reply_is_known_by_its_beginning() {
    let ok = |text: &str| Some(Status::Ok(text.to_owned()));
    assert_eq!(Status::read(b"+OK"), ok(""));
    assert_eq!(Status::read(b"+ok 3 300 "), ok("3 300"));
    assert_eq!(Status::read(b"+"), Some(Status::Continue(Vec::new())));
    assert_eq!(Status::read(b"+ "), Some(Status::Continue(Vec::new())));
    assert_eq!(Status::read(b"+ Y2g="), Some(Status::Continue(b"Y2g=".to_vec())));
    for line in ["", "OK", "* OK", "+O", "-", "-NO", "220 hi", ".", "+OOK", " +OK"] {
        assert_eq!(Status::read(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn a_response_code_is_taken_off_the_text() {
    let read = |line: &str| {
        let refusal = refusal(line);
        (refusal.code.unwrap_or_default(), refusal.text)
    };
    assert_eq!(read("-ERR [sys/temp] try later"), ("SYS/TEMP".into(), "try later".into()));
    assert_eq!(read("-ERR [IN-USE]"), ("IN-USE".into(), String::new()));
    assert_eq!(read("-ERR [LOGIN-DELAY 5] wait"), ("LOGIN-DELAY".into(), "wait".into()));
    for text in ["no", "[] no", "[AUTH no", "[\x1b] no", "x [AUTH] no"] {
        assert_eq!(read(&format!("-ERR {text}")), (String::new(), text.into()));
    }
    assert_eq!(Class::of(&refusal("-ERR [SYS/PERM] x")), Class::Permanent);
}

#[test]
fn each_refusal_of_a_login_has_its_own_answer() {
    let coded = able(&["AUTH-RESP-CODE", "RESP-CODES", "LOGIN-DELAY 900 USER"]);
    let plain = able(&[]);
    for (line, with, without) in [
        ("-ERR [AUTH] wrong", ("login", None), ("login", None)),
        ("-ERR [IN-USE] locked", ("later", None), ("later", None)),
        ("-ERR [LOGIN-DELAY] minimum time between logins", ("later", Some(990)), ("later", Some(66))),
        ("-ERR [SYS/TEMP] no disk", ("later", None), ("later", None)),
        ("-ERR [SYS/PERM] no mailbox", ("never", None), ("never", None)),
        ("-ERR [X-NEW] what", ("login", None), ("login", None)),
        ("-ERR Password supplied for \"me\" is incorrect.", ("login", None), ("login", None)),
        ("-ERR", ("login", None), ("login", None)),
        ("-ERR your account is locked", ("login", None), ("login", None)),
        // Words count only where there are no codes.
        ("-ERR maildrop already locked", ("login", None), ("later", None)),
        ("-ERR Mailbox is busy", ("login", None), ("later", None)),
        ("-ERR too many connections", ("login", None), ("later", None)),
    ] {
        assert_eq!(told(&login_refused(refusal(line), &coded)), with, "{line}");
        assert_eq!(told(&login_refused(refusal(line), &plain)), without, "{line}");
    }
}

#[test]
fn a_refused_greeting_is_about_now_and_not_about_the_password() {
    let none = able(&[]);
    assert_eq!(told(&greeting_refused(refusal("-ERR busy"), &none)), ("later", None));
    assert_eq!(told(&greeting_refused(refusal("-ERR [AUTH] what"), &none)), ("later", None));
    assert_eq!(told(&greeting_refused(refusal("-ERR [SYS/PERM] not for you"), &none)), ("never", None));
}

#[test]
fn a_refused_command_is_refused_unless_it_is_a_matter_of_time() {
    let none = able(&[]);
    let refused = |line: &str| told(&command_refused(RETR, refusal(line), &none)).0;
    assert_eq!(["-ERR no such message", "-ERR [SYS/PERM] x", "-ERR [AUTH] x"].map(refused), ["refused"; 3]);
    assert_eq!(["-ERR [SYS/TEMP] x", "-ERR [IN-USE] x", "-ERR [LOGIN-DELAY] x"].map(refused), ["later"; 3]);
    let error = command_refused(Verb { name: "RETR", site: "" }, refusal("-ERR \x1bno"), &none);
    assert_eq!(error.to_string(), r"the server refused RETR: \x1bno");
}

#[test]
fn what_a_server_can_do_is_read_with_its_arguments() {
    let capabilities =
        able(&["top", "UIDL", "SASL PLAIN scram-sha-256", "LOGIN-DELAY 60", "EXPIRE 30 USER", "", "X\x1b"]);
    assert!(capabilities.has("UIDL") && !capabilities.has("TOP") && capabilities.is_known());
    assert_eq!(capabilities.mechanisms().collect::<Vec<_>>(), ["PLAIN", "SCRAM-SHA-256"]);
    assert_eq!(capabilities.login_delay(), Some(Duration::from_secs(60)));
    assert_eq!(capabilities.expire(), Some(Expire::Days(30)));
    assert_eq!(able(&["EXPIRE NEVER"]).expire(), Some(Expire::Never));
    assert_eq!(able(&["EXPIRE"]).expire(), None);
    assert_eq!(able(&["EXPIRE -1", "LOGIN-DELAY x"]).login_delay(), None);
    assert_eq!(able(&["LOGIN-DELAY 99999999999"]).login_delay(), Some(Duration::from_secs(86_400)));
    assert!(capabilities.told().any(|line| line == "SASL PLAIN SCRAM-SHA-256"));
}
