//! The nouns of mail: identifiers, flags, names, fingerprints.
//!
//! Pure: nothing here reads a file, a clock or a random number, and nothing imports another room.
//! The words are those of the RFCs (RFC 9051 for IMAP, RFC 7162 for mod-sequences, RFC 6154 for roles).

pub mod escape;
pub mod fingerprint;
pub mod flags;
pub mod head;
pub mod id;
pub mod mailbox;
pub mod name;
pub mod stub;
pub mod uidl;
pub mod utf7;

pub use escape::{escape, unescape};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use flags::{FlagChange, Flags, Keyword, Storable, SystemFlag};
pub use head::Head;
pub use id::{ModSeq, ObjectId, Uid, UidList, UidSet, UidValidity};
pub use mailbox::{MailboxName, SpecialUse};
pub use name::BaseName;
pub use uidl::Uidl;
