//! What a server says that it can do (RFC 2449, section 5), less what the owner disabled.
//!
//! Pure. Many servers know no CAPA; then nothing is offered, and the plain commands of RFC 1939 are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The lines that are read of an answer to CAPA.
pub(super) const MAX_CAPABILITIES: u64 = 200;
/// The longest LOGIN-DELAY that is believed.
const MAX_DELAY: u64 = 86_400;

/// How long a server keeps mail (RFC 2449, section 6.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expire {
    /// As long as it is not deleted.
    Never,
    /// So many days; with 0 a message may be removed once it was retrieved.
    Days(u64),
}

/// The capabilities of a connection, with their arguments.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    known: bool,
    offered: BTreeMap<String, Vec<String>>,
    disabled: BTreeSet<String>,
}

impl Capabilities {
    /// No capabilities yet; those in `disabled` are never there.
    pub(super) fn new(disabled: &[String]) -> Self {
        let disabled = disabled.iter().map(|name| name.to_ascii_uppercase()).collect();
        Self { known: false, offered: BTreeMap::new(), disabled }
    }

    /// Forgets what is offered, for a new answer.
    pub(super) fn clear(&mut self) {
        self.known = true;
        self.offered.clear();
    }

    /// Takes a line of the answer to CAPA.
    pub(super) fn add(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_ascii_whitespace().map(str::to_ascii_uppercase);
        if let Some(name) = words.next() {
            self.offered.entry(name).or_default().extend(words);
        }
    }

    /// Tells whether the server answered CAPA.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Tells whether a capability is offered and not disabled; `name` in capitals.
    pub fn has(&self, name: &str) -> bool {
        self.offered.contains_key(name) && !self.disabled.contains(name)
    }

    /// The SASL mechanisms, in capitals.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.arguments("SASL").map(String::as_str)
    }

    /// The least time between two logins.
    pub fn login_delay(&self) -> Option<Duration> {
        let seconds: u64 = self.arguments("LOGIN-DELAY").next()?.parse().ok()?;
        Some(Duration::from_secs(seconds.min(MAX_DELAY)))
    }

    /// How long mail is kept.
    pub fn expire(&self) -> Option<Expire> {
        match self.arguments("EXPIRE").next()?.as_str() {
            "NEVER" => Some(Expire::Never),
            days => days.parse().ok().map(Expire::Days),
        }
    }

    /// Everything that is offered, for people: names with their arguments.
    pub fn told(&self) -> impl Iterator<Item = String> + '_ {
        let line = |(name, arguments): (&String, &Vec<String>)| match arguments.is_empty() {
            true => name.clone(),
            false => format!("{name} {}", arguments.join(" ")),
        };
        self.offered.iter().filter(|(name, _)| !self.disabled.contains(*name)).map(line)
    }

    fn arguments(&self, name: &str) -> impl Iterator<Item = &String> {
        let offered = self.has(name).then(|| self.offered.get(name)).flatten();
        offered.into_iter().flatten()
    }
}
