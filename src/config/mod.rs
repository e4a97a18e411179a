//! The configuration: a TOML file becomes a [`Config`], or a list of what is wrong with it.
//!
//! Parse, don't validate: what comes out can be used as it is. Nothing is ever ignored: an unknown key is refused with
//! the nearest known name, and a key that a later version will know with "not yet", since whoever wrote it relies on
//! it. This is the only room that knows TOML.

mod account;
mod delivery;
mod endpoint;
mod environment;
mod keys;
mod maildrop;
mod path;
mod patterns;
mod policy;
mod problem;
mod raw;
mod renames;

pub use account::{Account, AccountName};
pub use environment::Environment;
pub use patterns::Patterns;
pub use problem::{ConfigError, Problem};

use crate::mail::escape;
use crate::monitor;
use crate::remote::Secret;
use problem::{Fault, Faults};
use raw::{Section, Value};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The most of a configuration that is read; beyond it is some other file.
const MAX_SIZE: u64 = 1 << 20;

/// Everything that the configuration says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Where the databases, locks and status files are; absolute.
    pub state_dir: PathBuf,
    /// Where metrics are served; an address of loopback.
    pub metrics: Option<SocketAddr>,
    /// The accounts, at least one.
    pub accounts: BTreeMap<AccountName, Account>,
}

/// A configuration as it was found, not yet read.
#[derive(Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether users other than its owner and group may read it: then it may hold no password.
    pub readable_by_others: bool,
}

impl Config {
    /// Finds and reads the configuration: the file that was `named`, else the first of the usual places.
    ///
    /// # Errors
    /// No file, a file that cannot be read, or one that says what cannot be followed; then all that is wrong.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        Self::parse(&Source::find(named, environment)?, environment)
    }

    /// Reads a configuration that was found.
    ///
    /// # Errors
    /// [`ConfigError::Faulty`], with every problem.
    pub fn parse(source: &Source, environment: &Environment) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let config = read(source, environment, &mut faults);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(ConfigError::Faulty { path: source.path.clone(), problems: faults.into_problems(&source.text) }),
        }
    }

    /// The account whose name is most like one that does not exist.
    pub fn nearest_account(&self, name: &str) -> Option<&AccountName> {
        let names: Vec<&str> = self.accounts.keys().map(AccountName::as_str).collect();
        let nearest = keys::nearest(name, &names)?;
        self.accounts.keys().find(|account| account.as_str() == nearest)
    }
}

impl Source {
    /// Finds the file that was `named`, else the first of the usual places that exists, and takes its text.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] without a file at any place; [`ConfigError::Unreadable`] for one that is there, or was
    /// named, and cannot be read, is larger than a mebibyte, or is not UTF-8.
    pub fn find(named: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let places = match named {
            Some(path) => vec![path.to_owned()],
            None => environment.configuration_files(),
        };
        for path in &places {
            match Self::take(path) {
                Ok(source) => return Ok(source),
                Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ConfigError::Unreadable { path: path.clone(), source }),
            }
        }
        Err(ConfigError::Missing { looked_for: places })
    }

    fn take(path: &Path) -> io::Result<Self> {
        let file = monitor::open(path)?;
        let readable_by_others = file.metadata()?.permissions().mode() & 0o004 != 0;
        let mut text = String::new();
        file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a configuration can be"));
        }
        Ok(Self { path: path.to_owned(), text, readable_by_others })
    }
}

fn read(source: &Source, environment: &Environment, faults: &mut Faults) -> Option<Config> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        for error in errors {
            let what = format!("this is not TOML: {}", escape(error.message()));
            faults.push(Fault::new(
                error.span().unwrap_or_default(),
                what,
                "see https://toml.io for how it is written",
            ));
        }
        return None;
    }
    let top = Section::new("the file", 0..0, document.get_ref());
    top.refuse_others(keys::TOP, &[], faults);
    let defaults = match top.own("defaults") {
        Some(value) => faults.sift(value.table("a table: [defaults]")).map(|section| section.named("[defaults]", 0..0)),
        None => None,
    };
    if let Some(defaults) = &defaults {
        defaults.refuse_others(keys::ACCOUNT, keys::ACCOUNT_LATER, faults);
    }
    let state_dir = state_dir(&top, environment);
    let state_dir = faults.sift(state_dir);
    let accounts = accounts(&top, defaults.as_ref(), source, environment, faults);
    let metrics = top.own("metrics").map(|value| metrics(&value));
    let metrics = metrics.and_then(|metrics| faults.sift(metrics));
    let config = Config { path: source.path.clone(), state_dir: state_dir?, metrics, accounts };
    Some(config)
}

fn metrics(value: &Value<'_>) -> Result<SocketAddr, Fault> {
    let expected = "an address of this machine alone and a port, such as \"127.0.0.1:9723\"";
    let address: Option<SocketAddr> = value.text(expected)?.parse().ok();
    address.filter(|address| address.ip().is_loopback()).ok_or_else(|| value.wrong(expected))
}

fn state_dir(top: &Section<'_>, environment: &Environment) -> Result<PathBuf, Fault> {
    match top.own("state-dir") {
        Some(value) => path::read(&value, environment),
        None => environment.state_dir().ok_or_else(|| {
            top.lacks("state-dir", "HOME is not set, so there is no usual place: add state-dir = \"/var/lib/mailtwin\"")
        }),
    }
}

fn accounts(
    top: &Section<'_>,
    defaults: Option<&Section<'_>>,
    source: &Source,
    environment: &Environment,
    faults: &mut Faults,
) -> BTreeMap<AccountName, Account> {
    let expected = "a table for each account: [account.NAME]";
    let table = top.own("account").and_then(|value| faults.sift(value.table(expected)));
    let entries: Vec<_> = table.iter().flat_map(Section::entries).collect();
    if entries.is_empty() && faults.is_empty() {
        faults.push(top.lacks("account", "add an [account.NAME] table with host, user, password and maildir"));
    }
    let known: Vec<&str> = entries.iter().map(|(name, ..)| *name).collect();
    let state_dir = state_dir(top, environment).ok();
    let mut accounts = BTreeMap::new();
    let mut deliveries = Vec::new();
    for (name, span, value) in entries.clone() {
        let Some(name) = AccountName::new(name) else {
            let what = format!("`{}` cannot be the name of an account", escape(name));
            faults.push(Fault::new(span, what, "use lower-case letters, digits, `_` and `-`"));
            continue;
        };
        let Some(section) = faults.sift(value.table(expected)) else { continue };
        let section = section.named(format!("[account.{name}]"), span).or(defaults);
        let Some(account) = account::read(name, &section, environment, faults) else { continue };
        if source.readable_by_others {
            refuse_open_secret(&account, &section, faults);
        }
        match section.own("deliver-to").filter(|_| account.maildrop.is_some()) {
            Some(value) => deliveries.push((account.name.clone(), value)),
            None => refuse_overlap(&account, &section, &accounts, state_dir.as_deref(), faults),
        }
        accounts.insert(account.name.clone(), account);
    }
    for (name, value) in deliveries {
        if let Err(fault) = delivery::settle(&mut accounts, &name, &value, state_dir.as_deref(), &known) {
            faults.push(fault);
        }
    }
    accounts
}

/// Refuses a password in a file that everybody can read.
fn refuse_open_secret(account: &Account, section: &Section<'_>, faults: &mut Faults) {
    if let (Some(Secret::Literal(_)), Some(value)) = (&account.endpoint.password, section.get("password")) {
        faults.push(value.fault(
            "the file holds a password and everybody on this machine can read it",
            "run chmod 600 on it, or use password.command, .file, .credential or .env",
        ));
    }
}

/// Refuses a Maildir within another one, or one that shares its place with our state.
fn refuse_overlap(
    account: &Account,
    section: &Section<'_>,
    others: &BTreeMap<AccountName, Account>,
    state_dir: Option<&Path>,
    faults: &mut Faults,
) {
    let Some(value) = section.get("maildir") else { return };
    // The place of a queue is not given yet, and lies in the state directory.
    let others = others
        .values()
        .filter(|other| !other.maildir.as_os_str().is_empty())
        .map(|other| (format!("the one of [account.{}]", other.name), other.maildir.as_path()));
    let state = state_dir.into_iter().map(|path| ("the state directory".to_owned(), path));
    for (owner, other) in others.chain(state) {
        if path::overlap(&account.maildir, other) {
            let what = format!("the Maildir of [account.{}] overlaps {owner}", account.name);
            faults.push(value.fault(what, "give each a directory of its own, none within another"));
        }
    }
}
