//! What a server says that it can do (RFC 9051, section 6.1.1), less what the owner disabled.

use std::collections::BTreeSet;

/// Capabilities that IMAP4rev2 includes (RFC 9051, appendix E), for servers that do not list them.
const REV2: [&str; 12] = [
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "ENABLE",
    "IDLE",
    "SASL-IR",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "MOVE",
    "LITERAL-",
    "SPECIAL-USE",
];

/// How much a server tells about changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// QRESYNC: changes and disappearances since a mod-sequence (RFC 7162).
    A,
    /// CONDSTORE: changes since a mod-sequence (RFC 7162).
    B,
    /// Neither.
    C,
}

/// The capabilities of a connection.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    offered: BTreeSet<String>,
    disabled: BTreeSet<String>,
}

impl Capabilities {
    /// No capabilities yet; those in `disabled` are never there.
    pub(super) fn new(disabled: &[String]) -> Self {
        Self { offered: BTreeSet::new(), disabled: disabled.iter().map(|name| name.to_ascii_uppercase()).collect() }
    }

    /// Replaces what is offered.
    pub(super) fn set(&mut self, names: &[String]) {
        self.offered = names.iter().map(|name| name.to_ascii_uppercase()).collect();
        // A server that has both revisions speaks the older one until it is told otherwise.
        if self.offered.contains("IMAP4REV2") && !self.offered.contains("IMAP4REV1") {
            self.offered.extend(REV2.map(str::to_owned));
        }
        if self.offered.contains("QRESYNC") {
            self.offered.insert("CONDSTORE".into());
        }
    }

    /// Treats a capability as absent from now on.
    pub(super) fn disable(&mut self, name: &str) {
        self.disabled.insert(name.to_ascii_uppercase());
    }

    /// Tells whether anything is known.
    pub(super) fn is_known(&self) -> bool {
        !self.offered.is_empty()
    }

    /// Tells whether a capability, in capitals, is offered and not disabled.
    pub fn has(&self, name: &str) -> bool {
        self.offered.contains(name) && !self.disabled.contains(name)
    }

    /// Every capability that may be used, in capitals.
    pub fn iter(&self) -> impl Iterator<Item = &str> + '_ {
        self.offered.difference(&self.disabled).map(String::as_str)
    }

    /// The names of the SASL mechanisms that are offered.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> + '_ {
        self.iter().filter_map(|name| name.strip_prefix("AUTH="))
    }

    /// The largest message that may be uploaded, if the server tells it for all mailboxes (RFC 7889).
    pub fn append_limit(&self) -> Option<u64> {
        self.iter().find_map(|name| name.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }

    /// How much the server tells about changes.
    pub fn tier(&self) -> Tier {
        // Disabling CONDSTORE disables what is built on it.
        match (self.has("CONDSTORE"), self.has("QRESYNC") && self.has("ENABLE")) {
            (true, true) => Tier::A,
            (true, false) => Tier::B,
            (false, _) => Tier::C,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(line: &str, disabled: &[&str]) -> Capabilities {
        let disabled: Vec<String> = disabled.iter().map(|d| (*d).to_owned()).collect();
        let mut capabilities = Capabilities::new(&disabled);
        capabilities.set(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        capabilities
    }

    #[test]
    fn a_disabled_capability_is_absent() {
        let line = "IMAP4rev1 Enable QRESYNC AUTH=plain APPENDLIMIT=9";
        assert_eq!(capabilities(line, &[]).tier(), Tier::A);
        assert_eq!(capabilities(line, &["qresync"]).tier(), Tier::B);
        assert_eq!(capabilities(line, &["condstore"]).tier(), Tier::C);
        assert_eq!(capabilities(line, &[]).mechanisms().collect::<Vec<_>>(), ["PLAIN"]);
        assert_eq!(capabilities(line, &[]).append_limit(), Some(9));
    }

    #[test]
    fn a_server_of_the_second_revision_has_what_that_includes() {
        assert!(capabilities("IMAP4rev2", &[]).has("UIDPLUS"));
        assert!(!capabilities("IMAP4rev1 IMAP4rev2", &[]).has("UIDPLUS"));
        assert!(!capabilities("IMAP4rev2", &["UIDPLUS"]).has("UIDPLUS"));
    }
}
