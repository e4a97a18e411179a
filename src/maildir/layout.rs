//! The names of mailboxes as paths beneath the root: injective, reversible, and confined whatever a server calls them.
//!
//! A component is decoded from modified UTF-7 and stands on the disk as UTF-8; what would be dangerous or ambiguous
//! there is percent-encoded. Because `%` itself always is, four forms cannot be confused with a name: `%` (an empty
//! component), `%XX` (one byte), `%=...` (wire text that is no modified UTF-7, kept raw) and `...%~<hash>` (too long a
//! name, cut; only the folder marker knows the whole).
//!
//! `INBOX` is one mailbox whatever its case. The first component of `Inbox/x` is left as it is: some servers hold
//! `INBOX/x` beside it, and two mailboxes must never share a directory.

use crate::mail::{MailboxName, escape, utf7};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How mailboxes are laid out beneath the root.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Layout {
    /// `A/B` is the directory `A/B`.
    #[default]
    #[serde(rename = "nested")]
    Nested,
    /// `A/B` is the directory `.A.B`, and the root itself is the INBOX.
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    /// `A/B` is the directory `A.B`.
    #[serde(rename = "flat")]
    Flat,
}

impl Layout {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::MaildirPlusPlus => "maildir++",
            Self::Flat => "flat",
        }
    }

    /// Tells whether a directory can have been made in this layout.
    pub fn fits(self, path: &LocalPath) -> bool {
        let (text, dotted) = (path.as_str(), path.as_str().starts_with('.'));
        match self {
            Self::Nested => !text.is_empty() && !dotted,
            Self::MaildirPlusPlus => text.is_empty() || dotted && !text.contains('/'),
            Self::Flat => !text.is_empty() && !dotted && !text.contains('/'),
        }
    }
}

/// The path of a folder beneath the root: names joined by `/`, none of them empty, `.` or `..`.
///
/// The empty path is the root itself. Its `Display` is escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPath(String);

impl LocalPath {
    /// Reads a path; `None` if it could lead out of the root or cannot exist.
    pub fn new(path: &str) -> Option<Self> {
        let safe = |c: &str| !c.is_empty() && c != "." && c != ".." && c.len() <= MAX_FILE_NAME && !c.contains('\0');
        (path.is_empty() || path.len() <= MAX_PATH && path.split('/').all(safe)).then(|| Self(path.into()))
    }

    /// The root itself.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// The text, not escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names on the way down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }

    /// The path of something in this directory; `None` as for [`LocalPath::new`].
    pub fn join(&self, name: &str) -> Option<Self> {
        if name.contains('/') {
            return None;
        }
        if self.0.is_empty() { Self::new(name) } else { Self::new(&format!("{}/{name}", self.0)) }
    }
}

impl TryFrom<String> for LocalPath {
    type Error = &'static str;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        Self::new(&path).ok_or("not a path beneath the Maildir")
    }
}

impl From<LocalPath> for String {
    fn from(path: LocalPath) -> Self {
        path.0
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { f.write_str(&escape(&self.0)) }
    }
}

impl fmt::Debug for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a mailbox cannot have a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostileName {
    /// More levels than any real hierarchy has.
    #[error("the name has more than {MAX_DEPTH} levels")]
    TooDeep,
    /// The whole path is longer than the system could open.
    #[error("the name is too long")]
    TooLong,
}

/// Why a directory is no mailbox's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRemoteName {
    /// The name was cut when the folder was made.
    #[error("the name was too long for the disk, and only the folder marker knows it whole")]
    Shortened,
    /// The server has one level only, or its delimiter occurs in a component.
    #[error("the server cannot have a name with these levels")]
    Delimiter,
    /// A mailbox that is called otherwise on the server has this name here.
    #[error("the mailbox of that name on the server is called otherwise here: see `rename`")]
    Renamed,
    /// Another name belongs to the mailbox that this would be.
    #[error(
        "the name is not as mailtwin writes it; a percent sign, a leading dot or a space at an end are written %XX"
    )]
    NotCanonical,
}

const MAX_FILE_NAME: usize = 255;
/// Below PATH_MAX, so that readers can open the messages by their whole path.
const MAX_PATH: usize = 3000;
const MAX_DEPTH: usize = 64;
/// A longer component is cut to [`KEPT`] bytes and a hash.
const MAX_COMPONENT: usize = 200;
const KEPT: usize = 160;

/// Names that mean something else on the disk.
const TAKEN: [&str; 5] = ["cur", "new", "tmp", "mailtwin-root", "mailtwin-folder"];

/// The directory of a mailbox. `delimiter` is the server's for this name (`None`: it has no levels).
pub fn to_local(name: &MailboxName, delimiter: Option<char>, layout: Layout) -> Result<LocalPath, HostileName> {
    if name.is_inbox() {
        let inbox = if layout == Layout::MaildirPlusPlus { "" } else { "INBOX" };
        return Ok(LocalPath(inbox.into()));
    }
    of_levels(split(name.as_wire(), delimiter), layout)
}

/// The directory of a mailbox with these levels, as they stand on the wire.
pub(super) fn of_levels<'n>(
    levels: impl Iterator<Item = &'n str> + Clone,
    layout: Layout,
) -> Result<LocalPath, HostileName> {
    if levels.clone().count() > MAX_DEPTH {
        return Err(HostileName::TooDeep);
    }
    let parts = levels.map(|part| encode(part, layout != Layout::Nested));
    let path = match layout {
        Layout::Nested => parts.map(shorten).collect::<Vec<_>>().join("/"),
        Layout::MaildirPlusPlus => shorten(format!(".{}", parts.collect::<Vec<_>>().join("."))),
        Layout::Flat => match parts.collect::<Vec<_>>().join(".") {
            name if TAKEN.contains(&name.as_str()) => percent(&name, false),
            name => shorten(name),
        },
    };
    LocalPath::new(&path).ok_or(HostileName::TooLong)
}

/// The mailbox whose directory this is: exactly the one that [`to_local`] maps here.
pub fn to_remote(path: &LocalPath, delimiter: Option<char>, layout: Layout) -> Result<MailboxName, NoRemoteName> {
    if path.as_str().is_empty() && layout == Layout::MaildirPlusPlus {
        return Ok(MailboxName::inbox());
    }
    let name = join(&levels(path, layout)?, delimiter)?;
    if to_local(&name, delimiter, layout).as_ref() == Ok(path) { Ok(name) } else { Err(NoRemoteName::NotCanonical) }
}

/// The levels of a directory's name, as they stand on the wire; more than what [`of_levels`] writes is accepted.
pub(super) fn levels(path: &LocalPath, layout: Layout) -> Result<Vec<String>, NoRemoteName> {
    if path.as_str().contains("%~") {
        return Err(NoRemoteName::Shortened);
    }
    if path.as_str().is_empty() {
        return Err(NoRemoteName::NotCanonical);
    }
    let parts: Vec<&str> = match layout {
        Layout::Nested => path.components().collect(),
        Layout::MaildirPlusPlus => {
            path.as_str().strip_prefix('.').ok_or(NoRemoteName::NotCanonical)?.split('.').collect()
        }
        Layout::Flat => path.as_str().split('.').collect(),
    };
    parts.iter().map(|part| decode(part)).collect::<Option<_>>().ok_or(NoRemoteName::NotCanonical)
}

/// The mailbox with these levels.
pub(super) fn join(levels: &[String], delimiter: Option<char>) -> Result<MailboxName, NoRemoteName> {
    let holds_delimiter = |level: &String| delimiter.is_some_and(|d| level.contains(d));
    if levels.len() > 1 && delimiter.is_none() || levels.iter().any(holds_delimiter) {
        return Err(NoRemoteName::Delimiter);
    }
    let name = MailboxName::new(&levels.join(&delimiter.map_or(String::new(), String::from)));
    name.ok_or(NoRemoteName::NotCanonical)
}

/// Tells whether two different paths are one on a file system that ignores case.
pub fn collides(a: &LocalPath, b: &LocalPath) -> bool {
    a != b && a.0.to_lowercase() == b.0.to_lowercase()
}

/// Any text as the name of one file: injective, and never leading elsewhere.
pub(super) fn file_name(text: &str) -> String {
    if text.is_empty() { "%".into() } else { shorten(percent(text, false)) }
}

/// The levels of a name on the wire.
pub(super) fn split(wire: &str, delimiter: Option<char>) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(wire);
    std::iter::from_fn(move || match rest?.split_once(|c| Some(c) == delimiter) {
        Some((level, after)) => {
            rest = Some(after);
            Some(level)
        }
        None => rest.take(),
    })
}

/// One component of a wire name as a file name, not yet shortened.
fn encode(wire: &str, dots: bool) -> String {
    if wire.is_empty() {
        return "%".into();
    }
    let Some(text) = utf7::decode(wire) else {
        return format!("%={}", percent(wire, dots));
    };
    percent(&text, dots)
}

fn percent(text: &str, dots: bool) -> String {
    // Between dots such a name is none of a file.
    let taken = !dots && TAKEN.contains(&text);
    let last = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let mut out = String::new();
    for (at, c) in text.char_indices() {
        let first = at == 0 && (taken || matches!(c, '.' | '~' | ' '));
        let last = at == last && matches!(c, '.' | ' ');
        if first || last || matches!(c, '/' | '%') || c.is_control() || dots && c == '.' {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out.push_str(&format!("%{b:02X}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Cuts what no directory can be called, never inside a character or a `%XX`.
fn shorten(name: String) -> String {
    if name.len() <= MAX_COMPONENT {
        return name;
    }
    let mut end = name.floor_char_boundary(KEPT);
    if let Some(percent) = name.as_bytes()[end - 2..end].iter().position(|b| *b == b'%') {
        end = end - 2 + percent;
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("{}%~{}", &name[..end], &hash[..32])
}

/// The wire form of a component; more than what [`encode`] writes is accepted, so the caller compares.
fn decode(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    match name.strip_prefix("%=") {
        Some(raw) => unpercent(raw),
        None => unpercent(name).map(|text| utf7::encode(&text)),
    }
}

fn unpercent(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.split('%');
    bytes.extend_from_slice(rest.next()?.as_bytes());
    for part in rest {
        let code = part.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
