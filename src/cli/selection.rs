//! What a command is about: accounts, and mailboxes in them, as they are named on the command line.

use super::exit::Exit;
use super::failure::Failure;
use crate::config::{Account, Config};
use crate::mail::escape;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// `ACCOUNT` or `ACCOUNT/MAILBOX`, not yet looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The account.
    pub account: String,
    /// The mailbox, if one was named: decoded, with `/` between its levels.
    pub mailbox: Option<String>,
}

impl FromStr for Selection {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (account, mailbox) = match text.split_once('/') {
            Some((account, mailbox)) => (account, Some(mailbox)),
            None => (text, None),
        };
        if account.is_empty() || mailbox.is_some_and(str::is_empty) {
            return Err("write ACCOUNT or ACCOUNT/MAILBOX");
        }
        Ok(Self { account: account.to_owned(), mailbox: mailbox.map(str::to_owned) })
    }
}

/// An account of the configuration, and what of it is meant.
#[derive(Clone, Debug)]
pub struct Selected<'a> {
    /// The account.
    pub account: &'a Account,
    /// The mailboxes that were named; empty means all.
    pub mailboxes: BTreeSet<String>,
}

impl<'a> Selected<'a> {
    /// Looks up what was named; nothing named means every account, in the order of their names.
    ///
    /// # Errors
    /// An account that the configuration does not have.
    pub fn all(selections: &[Selection], config: &'a Config) -> Result<Vec<Self>, Failure> {
        if selections.is_empty() {
            return Ok(config.accounts.values().map(|account| Self { account, mailboxes: BTreeSet::new() }).collect());
        }
        let mut selected: BTreeMap<_, Option<BTreeSet<String>>> = BTreeMap::new();
        for selection in selections {
            let account = account(&selection.account, config)?;
            let mailboxes = selected.entry(&account.name).or_insert_with(|| Some(BTreeSet::new()));
            // The account as a whole includes each of its mailboxes.
            match (&selection.mailbox, mailboxes.as_mut()) {
                (Some(mailbox), Some(mailboxes)) => drop(mailboxes.insert(mailbox.clone())),
                (None, _) => *mailboxes = None,
                (Some(_), None) => {}
            }
        }
        let selected = selected.into_iter();
        Ok(selected
            .map(|(name, mailboxes)| Self { account: &config.accounts[name], mailboxes: mailboxes.unwrap_or_default() })
            .collect())
    }

    /// Looks up one.
    ///
    /// # Errors
    /// An account that the configuration does not have.
    pub fn one(selection: &Selection, config: &'a Config) -> Result<Self, Failure> {
        let account = account(&selection.account, config)?;
        Ok(Self { account, mailboxes: selection.mailbox.iter().cloned().collect() })
    }
}

fn account<'a>(name: &str, config: &'a Config) -> Result<&'a Account, Failure> {
    config.accounts.values().find(|account| account.name.as_str() == name).ok_or_else(|| {
        let failure = Failure::new(Exit::Usage, format!("there is no account `{}`", escape(name)));
        let names: Vec<&str> = config.accounts.keys().map(|name| name.as_str()).collect();
        failure.remedy(match config.nearest_account(name) {
            Some(nearest) => format!("Did you mean `{nearest}`?"),
            None => format!("The accounts are: {}.", names.join(", ")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Source};

    fn config() -> Config {
        let account = |name| format!("[account.{name}]\nhost='h'\nuser='u'\npassword.env='P'\nmaildir='/m/{name}'\n");
        let source = Source {
            path: "daemon.toml".into(),
            text: format!("state-dir = '/s'\n{}{}", account("work"), account("home")),
            readable_by_others: false,
        };
        Config::parse(&source, &Environment::default()).expect("a configuration")
    }

    fn select(names: &[&str]) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let selections: Vec<Selection> = names.iter().map(|name| name.parse().expect("a selection")).collect();
        let config = config();
        let selected = Selected::all(&selections, &config)?;
        Ok(selected.into_iter().map(|s| (s.account.name.to_string(), s.mailboxes.into_iter().collect())).collect())
    }

    #[test]
    fn nothing_named_means_every_account() {
        assert_eq!(select(&[]), Ok(vec![("home".into(), vec![]), ("work".into(), vec![])]));
    }

    #[test]
    fn mailboxes_gather_and_the_whole_account_includes_them() {
        let named = select(&["work/b", "work/a/c", "work/b"]);
        assert_eq!(named, Ok(vec![("work".into(), vec!["a/c".into(), "b".into()])]));
        for names in [["work", "work/a"], ["work/a", "work"]] {
            assert_eq!(select(&names), Ok(vec![("work".into(), vec![])]));
        }
    }

    #[test]
    fn an_unknown_account_is_a_usage_error_with_the_nearest_name() {
        let failure = select(&["wrok"]).expect_err("no such account");
        assert_eq!((failure.exit, failure.remedy.as_deref()), (Exit::Usage, Some("Did you mean `work`?")));
        let failure = select(&["\x1b[2J"]).expect_err("no such account");
        assert_eq!(failure.what, r"there is no account `\x1b[2J`");
        assert_eq!(failure.remedy.as_deref(), Some("The accounts are: home, work."));
    }

    #[test]
    fn a_selection_without_an_account_or_mailbox_is_none() {
        for text in ["", "/INBOX", "work/"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
    }
}
