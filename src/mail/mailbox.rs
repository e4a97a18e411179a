//! Names and roles of mailboxes.

use crate::mail::{escape, utf7};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a mailbox as the server writes it: modified UTF-7 (RFC 9051, section A.1) or UTF-8, hierarchy
/// delimiter included.
///
/// `INBOX` is the one name that is case-insensitive, and stands here in capitals. Never empty, and without CR, LF and NUL.
/// Two names are the same mailbox exactly if they are equal. Its `Display` is escaped, and decoded for a person.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxName(Box<str>);

impl MailboxName {
    /// Takes a name from the wire; `None` if no mailbox can have it.
    pub fn new(wire: &str) -> Option<Self> {
        if wire.is_empty() || wire.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return None;
        }
        Some(if wire.eq_ignore_ascii_case("INBOX") { Self::inbox() } else { Self(wire.into()) })
    }

    /// Makes the wire name of a name for people.
    pub fn encode(text: &str) -> Option<Self> {
        Self::new(&utf7::encode(text))
    }

    /// The one mailbox that every account has.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// Tells whether this is the INBOX.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// The name as it goes over the wire, not yet quoted.
    pub fn as_wire(&self) -> &str {
        &self.0
    }

    /// The name for people, if it is valid modified UTF-7; not escaped.
    pub fn decoded(&self) -> Option<String> {
        utf7::decode(&self.0)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.decoded().unwrap_or_else(|| self.0.to_string())))
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The role of a mailbox (RFC 6154; `\Important` is RFC 8457).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Important,
    Junk,
    Sent,
    Trash,
}

impl SpecialUse {
    /// Reads a LIST attribute such as `\Trash`, whatever its case.
    pub fn parse(attribute: &str) -> Option<Self> {
        Some(match attribute.strip_prefix('\\')?.to_ascii_lowercase().as_str() {
            "all" => Self::All,
            "archive" => Self::Archive,
            "drafts" => Self::Drafts,
            "flagged" => Self::Flagged,
            "important" => Self::Important,
            "junk" => Self::Junk,
            "sent" => Self::Sent,
            "trash" => Self::Trash,
            _ => return None,
        })
    }

    /// The role that a mailbox has by its usual name, for servers that tell no roles.
    ///
    /// `last` is the last component of the decoded name.
    pub fn by_usual_name(last: &str) -> Option<Self> {
        Some(match last.to_lowercase().as_str() {
            "trash" | "deleted items" | "deleted messages" | "deleted" | "bin" | "papierkorb" | "corbeille" => {
                Self::Trash
            }
            "junk" | "spam" | "junk e-mail" | "junk email" | "bulk mail" => Self::Junk,
            "sent" | "sent items" | "sent messages" | "sent mail" => Self::Sent,
            "drafts" | "draft" => Self::Drafts,
            "archive" | "archives" => Self::Archive,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_one_name_and_no_other_is_folded() {
        assert_eq!(MailboxName::new("inBox"), Some(MailboxName::inbox()));
        assert_ne!(MailboxName::new("Sent"), MailboxName::new("sent"));
        assert_eq!(MailboxName::new(""), None);
        assert_eq!(MailboxName::new("a\r\nb"), None);
    }

    #[test]
    fn a_name_is_shown_decoded_and_escaped() {
        let name = MailboxName::encode("Entwürfe\x1b[2J").expect("a name");
        assert_eq!(name.as_wire(), "Entw&APw-rfe&ABs-[2J");
        assert_eq!(name.to_string(), r"Entwürfe\x1b[2J");
    }
}
