//! The lines of the control socket, as values. Pure.

use crate::supervisor::{AccountView, Happened, Update, Work};
use serde::{Deserialize, Serialize};

/// The version of the protocol. Fields and kinds may be added within a version.
pub const PROTOCOL: u32 = 1;

/// The longest request, in octets.
pub const LONGEST_REQUEST: usize = 64 << 10;

/// How the daemon greets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Its version.
    pub mailtwin: String,
    /// The version of the protocol.
    pub protocol: u32,
    /// Its process.
    pub pid: u32,
    /// Where its state is.
    pub state_dir: String,
    /// The configuration that it reads.
    pub config: String,
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Something in one account. Answered with updates, to the last word.
    Work {
        /// The account.
        account: String,
        /// What.
        #[serde(flatten)]
        work: Work,
    },
    /// How the accounts fare. Answered once, or, watched, whenever that changes.
    Status {
        /// Again and again.
        #[serde(default)]
        watch: bool,
    },
    /// What happens from now on.
    Events,
    /// What is counted, as Prometheus reads it.
    Metrics,
    /// Accounts are to be left alone; none: all.
    Pause {
        /// Their names.
        #[serde(default)]
        accounts: Vec<String>,
    },
    /// They are not any more.
    Resume {
        /// Their names.
        #[serde(default)]
        accounts: Vec<String>,
    },
    /// The configuration is to be read again.
    Reload,
}

/// What the daemon answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "kebab-case")]
pub enum Reply {
    /// How work goes, and ends.
    Update(Update),
    /// How the accounts fare.
    Status(Vec<AccountView>),
    /// Something happened.
    Event(Happened),
    /// What is counted.
    Metrics(String),
    /// It is done.
    Done,
    /// The daemon begins anew, with the configuration as it is then; whoever wants to hear more asks again at once.
    Anew,
    /// It cannot be done: why, as a clause.
    Refused(String),
}

/// A request with its version.
#[derive(Serialize, Deserialize)]
struct Versioned {
    protocol: u32,
    #[serde(flatten)]
    request: Request,
}

impl Request {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let versioned = Versioned { protocol: PROTOCOL, request: self.clone() };
        serde_json::to_string(&versioned).expect("texts and numbers are JSON")
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// A clause that says why it cannot be read.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            protocol: u32,
        }
        let wrong = |error: serde_json::Error| {
            format!("the request cannot be read: {}", crate::mail::escape(error.to_string()))
        };
        let Version { protocol } = serde_json::from_slice(line).map_err(wrong)?;
        if protocol != PROTOCOL {
            return Err(format!("this daemon speaks protocol {PROTOCOL}, and not {protocol}"));
        }
        serde_json::from_slice::<Versioned>(line).map(|versioned| versioned.request).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Condition, What};
    use crate::worker::Decision;
    use proptest::prelude::*;

    fn requests() -> Vec<(Request, &'static str)> {
        let of = |work| Request::Work { account: "work".into(), work };
        vec![
            (
                of(Work::Sync { mailboxes: vec!["INBOX".into()], dry_run: false }),
                r#"{"protocol":1,"request":"work","account":"work","work":"sync","mailboxes":["INBOX"],"dry_run":false}"#,
            ),
            (
                of(Work::List { since: 0, mailbox: None }),
                r#"{"protocol":1,"request":"work","account":"work","work":"list","since":0,"mailbox":null}"#,
            ),
            (
                of(Work::Undo { numbers: [7, 9].into() }),
                r#"{"protocol":1,"request":"work","account":"work","work":"undo","numbers":[7,9]}"#,
            ),
            (
                of(Work::Decide { decision: Decision::Approve, mailbox: None, set: Some(2) }),
                r#"{"protocol":1,"request":"work","account":"work","work":"decide","decision":"approve","mailbox":null,"set":2}"#,
            ),
            (of(Work::Lend), r#"{"protocol":1,"request":"work","account":"work","work":"lend"}"#),
            (Request::Status { watch: true }, r#"{"protocol":1,"request":"status","watch":true}"#),
            (Request::Events, r#"{"protocol":1,"request":"events"}"#),
            (Request::Metrics, r#"{"protocol":1,"request":"metrics"}"#),
            (Request::Pause { accounts: vec![] }, r#"{"protocol":1,"request":"pause","accounts":[]}"#),
            (Request::Resume { accounts: vec![] }, r#"{"protocol":1,"request":"resume","accounts":[]}"#),
            (Request::Reload, r#"{"protocol":1,"request":"reload"}"#),
        ]
    }

    #[test]
    fn requests_are_the_lines_that_the_documentation_tells() {
        for (request, line) in requests() {
            assert_eq!(request.to_line(), line);
            assert_eq!(Request::read(line.as_bytes()), Ok(request));
        }
        // What may be left out may be left out.
        assert_eq!(Request::read(br#"{"protocol":1,"request":"status"}"#), Ok(Request::Status { watch: false }));
    }

    #[test]
    fn replies_come_back_the_same() {
        let view = AccountView {
            account: "work".into(),
            condition: Condition::NeedsLogin,
            reason: Some("refused".into()),
            not_live: None,
            next: None,
            failures: 1,
            progress: None,
            counters: Default::default(),
        };
        let happened = Happened { at: 1, account: None, what: What::Reloaded, text: "read again".into() };
        for reply in [
            Reply::Update(Update::Queued),
            Reply::Status(vec![view]),
            Reply::Event(happened),
            Reply::Metrics("a 1\n".into()),
            Reply::Done,
            Reply::Refused("no".into()),
        ] {
            let line = serde_json::to_string(&reply).expect("JSON");
            assert_eq!(serde_json::from_str::<Reply>(&line).expect("JSON"), reply, "{line}");
        }
    }

    #[test]
    fn another_protocol_is_refused_by_its_number_and_nonsense_without_being_repeated_raw() {
        let refused = Request::read(br#"{"protocol":2,"request":"dance"}"#).expect_err("refused");
        assert_eq!(refused, "this daemon speaks protocol 1, and not 2");
        let refused = Request::read(b"{\"protocol\":1,\"request\":\"\x1b[2J\"}").expect_err("refused");
        assert!(!refused.contains('\x1b'), "{refused}");
        assert!(Request::read(br#"{"protocol":1,"request":"work","account":"a","work":"burn"}"#).is_err());
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::read(&line);
        }
    }
}
