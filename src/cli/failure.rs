//! Failures in words: what happened, what it means, what to do.

use super::exit::Exit;
use crate::config::ConfigError;
use crate::mail::escape;
use std::error::Error;

/// The least configuration that works, as it is shown to somebody who has none.
pub const FIVE_LINES: &str = r#"[account.work]
host = "imap.example.org"
user = "me@example.org"
password.command = ["pass", "show", "mail/work"]
maildir = "~/Mail/work""#;

/// Why a command ended early, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened: a clause, without a full stop.
    pub what: String,
    /// Particulars, a line each.
    pub details: Vec<String>,
    /// What it means: a sentence.
    pub meaning: Option<String>,
    /// What to do: a sentence.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure that says what happened. Text from elsewhere in it is escaped by the caller.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), details: Vec::new(), meaning: None, remedy: None }
    }

    /// Tells the whole chain of an error in one clause.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut clauses = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            clauses.push_str(&format!(": {error}"));
            source = error.source();
        }
        Self::new(exit, clauses)
    }

    /// Adds what it means.
    pub fn meaning(self, meaning: impl Into<String>) -> Self {
        Self { meaning: Some(meaning.into()), ..self }
    }

    /// Adds what to do.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::of(Exit::Configuration, &error);
        match error {
            ConfigError::Missing { looked_for } => {
                let place = looked_for.first().map(|path| escape(path.as_os_str().as_encoded_bytes()));
                let place = place.unwrap_or_else(|| "a file, and name it with --config".to_owned());
                Self { details: FIVE_LINES.lines().map(str::to_owned).collect(), ..failure }
                    .meaning("The lines above are the least that a configuration needs.")
                    .remedy(format!("Write them, with your own values, to {place}, then run `mailtwin check`."))
            }
            ConfigError::Unreadable { .. } => {
                failure.remedy("Look at its name and permissions, or name another file with --config.")
            }
            ConfigError::Faulty { path, problems } => {
                let path = escape(path.as_os_str().as_encoded_bytes());
                let details = problems.iter().map(|problem| format!("{path}:{problem}")).collect();
                Self { details, ..failure }
                    .meaning("Nothing was done: every account needs a configuration that is right.")
            }
        }
    }
}
