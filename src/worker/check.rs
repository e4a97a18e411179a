//! Proves that an account will work, without touching mail: one finding after the other, each with its remedy.
//!
//! What surprises: a state that is there is opened, since only that tells whether it is whole and nobody holds it; one that
//! is not is not made. The password is fetched once, and tried once.

mod drop;
mod here;
mod there;

use crate::worker::pass::blocking;
use crate::worker::{Error, Job};
use serde::Serialize;

/// What is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The directory of the databases and locks.
    State,
    /// The password or token can be had.
    Secret,
    /// The server is reached, and is who it should be.
    Connection,
    /// It lets us in.
    Login,
    /// What it can do.
    Server,
    /// What it lists.
    Mailboxes,
    /// The Maildir can be used, and is ours.
    Maildir,
    /// There is room enough, and files may be open.
    Limits,
    /// The programs of the owner that are told of it can be started.
    Hooks,
}

/// How a proof ended.
#[derive(Debug)]
pub enum Proven {
    /// It holds.
    Ok,
    /// It works, and could be better: what to do.
    Advice(String),
    /// It does not hold, by our own look: what to do.
    Failed(String),
    /// It does not hold, and a pass would end with this.
    Error(Box<Error>),
    /// An earlier failure makes it senseless.
    Skipped,
}

/// One line of a check.
#[derive(Debug)]
pub struct Finding {
    /// What was to be proven.
    pub check: Check,
    /// How that ended.
    pub proven: Proven,
    /// What was found, as a clause; escaped.
    pub what: String,
    /// Particulars, a clause each.
    pub notes: Vec<String>,
}

impl Finding {
    fn new(check: Check, proven: Proven, what: impl Into<String>) -> Self {
        Self { check, proven, what: what.into(), notes: Vec::new() }
    }

    fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Proven::Ok, what)
    }

    fn failed(check: Check, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Proven::Failed(remedy.into()), what)
    }

    fn advice(check: Check, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Proven::Advice(remedy.into()), what)
    }

    fn error(check: Check, error: impl Into<Error>) -> Self {
        let error = error.into();
        Self::new(check, Proven::Error(Box::new(error)), String::new()).said()
    }

    fn said(mut self) -> Self {
        if let Proven::Error(error) = &self.proven {
            self.what = error.chain();
        }
        self
    }

    fn skipped(check: Check, because: &str) -> Self {
        Self::new(check, Proven::Skipped, because)
    }
}

/// Proves everything about an account that can be proven without touching mail. Cancel safe.
pub async fn check(job: &Job) -> Vec<Finding> {
    let prepared = job.clone();
    let (state, maildir, limits) = blocking(move || Ok(here::look_here(&prepared))).await.unwrap_or_else(|error| {
        let stopped = Finding::error(Check::State, error);
        (vec![stopped], vec![], vec![])
    });
    let mut findings = state;
    findings.extend(match &job.maildrop {
        Some(wanted) => drop::look_there(job, wanted).await,
        None => there::look_there(job).await,
    });
    findings.extend(maildir);
    findings.extend(limits);
    findings
}
