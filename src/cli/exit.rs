//! Exit codes: how a run ended, for scripts.

use std::process::ExitCode;

/// How a run ended. The order is that of gravity: of several accounts the gravest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// Everything was done but what waits for a person, such as deletions that are held.
    Held,
    /// An account failed.
    Failed,
    /// A failure that may pass: the network, or another instance that holds the lock.
    Temporary,
    /// A login was refused.
    LoginRefused,
    /// The configuration is wrong.
    Configuration,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// The code that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Held => 3,
            Self::Temporary => 75,
            Self::LoginRefused => 77,
            Self::Configuration => 78,
        }
    }

    /// What a code stands for; one that is none of ours is a failure.
    pub fn of_code(code: u8) -> Self {
        let ours = [Self::Done, Self::Usage, Self::Held, Self::Temporary, Self::LoginRefused, Self::Configuration];
        ours.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Failed)
    }

    /// The one that counts of several: the first that applies of 2, 78, 77, 75, 1, 3.
    pub fn gravest(ends: impl IntoIterator<Item = Self>) -> Self {
        ends.into_iter().max().unwrap_or(Self::Done)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_the_gravest_counts() {
        let mut ends = [
            Exit::Done,
            Exit::Held,
            Exit::Failed,
            Exit::Temporary,
            Exit::LoginRefused,
            Exit::Configuration,
            Exit::Usage,
        ];
        ends.sort_by_key(|end| std::cmp::Reverse(*end));
        assert_eq!(ends.map(Exit::code), [2, 78, 77, 75, 1, 3, 0]);
        assert_eq!(Exit::gravest([Exit::Held, Exit::Temporary, Exit::Failed]), Exit::Temporary);
        assert_eq!(Exit::gravest([]), Exit::Done);
    }
}
