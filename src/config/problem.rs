//! What is wrong with a configuration: every problem at once, each with its place and its remedy.
//!
//! The text of the file is never quoted, only keys, and values that are no secret: with a misspelt `password` key
//! the line that one would like to show holds the password.

use crate::mail::escape;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file at any of the usual places.
    #[error("there is no configuration: looked for {}", listed(.looked_for))]
    Missing {
        /// The places, in the order in which they were tried.
        looked_for: Vec<PathBuf>,
    },
    /// The file is there, or was named, and cannot be read.
    #[error("the configuration {} cannot be read", escape(.path.as_os_str().as_encoded_bytes()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be followed.
    #[error("the configuration {} cannot be used", escape(.path.as_os_str().as_encoded_bytes()))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// At least one, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong, a lower-case clause.
    pub what: String,
    /// What to do about it, a lower-case clause.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.line, self.column, self.what, self.remedy)
    }
}

/// A problem that knows its bytes in the text, but not yet its line.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { span, what: what.into(), remedy: remedy.into() }
    }
}

/// The faults found so far: reading goes on after the first, so that one run shows them all.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Keeps the fault, or hands on the value.
    pub(super) fn sift<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.push(fault)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Places each fault in the text; the same one, met for several accounts through `[defaults]`, is told once.
    pub(super) fn into_problems(self, text: &str) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.0.into_iter().map(|fault| place(fault, text)).collect();
        problems.sort();
        problems.dedup();
        problems
    }
}

fn place(fault: Fault, text: &str) -> Problem {
    let before = text.get(..fault.span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Problem {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        what: fault.what,
        remedy: fault.remedy,
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| escape(path.as_os_str().as_encoded_bytes())).collect();
    paths.join(" and ")
}
