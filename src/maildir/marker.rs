//! Marker files: whose Maildir this is, and which mailbox a folder holds.
//!
//! A marker is one line of JSON, written by rename. It is read strictly: what mailtwin did not write whole is damaged,
//! and what is damaged is never taken for missing.

use crate::mail::MailboxName;
use crate::maildir::dir::Dir;
use crate::maildir::{Error, Unavailable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{Read as _, Write as _};

/// The file in the root.
pub(super) const ROOT_MARKER: &str = "mailtwin-root";
/// The file in every folder.
pub(super) const FOLDER_MARKER: &str = "mailtwin-folder";
/// The format that this program writes; it reads no later one.
const FORMAT: u32 = 1;
/// No marker is longer.
const MAX_MARKER: u64 = 16 * 1024;

/// The random number of a state directory, by which two of them are told apart. Printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StateId(u128);

impl StateId {
    /// Takes 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for StateId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not 32 hexadecimal digits")
    }
}

impl From<StateId> for String {
    fn from(id: StateId) -> Self {
        id.to_string()
    }
}

/// Who keeps a Maildir: one account of one state directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The name of the account.
    pub account: String,
    /// The state directory.
    pub state: StateId,
}

/// What the root marker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootMarker {
    /// Who keeps this Maildir.
    pub owner: Owner,
    /// Where the state lies, as text: where another one lies there now, the first was lost.
    pub place: String,
    /// The batch that was begun last.
    pub generation: u64,
}

/// What a folder marker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderMarker {
    /// The local id of the mailbox in the state's database.
    pub id: u32,
    /// The name of the mailbox on the server.
    pub name: MailboxName,
    /// The state directory.
    pub state: StateId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootLine {
    format: u32,
    account: String,
    state: StateId,
    place: String,
    generation: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderLine {
    format: u32,
    id: u32,
    name: String,
    state: StateId,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl RootMarker {
    /// Reads the marker of a root; `None` if there is none.
    pub(super) fn read(root: &Dir) -> Result<Option<Self>, Error> {
        let line: Option<RootLine> = read(root, ROOT_MARKER)?;
        Ok(line.map(|l| Self {
            owner: Owner { account: l.account, state: l.state },
            place: l.place,
            generation: l.generation,
        }))
    }

    /// Takes the marker of a root away, durably.
    pub(super) fn remove(root: &Dir) -> Result<(), Error> {
        remove(root, ROOT_MARKER)
    }

    pub(super) fn write(&self, root: &Dir) -> Result<(), Error> {
        let Owner { account, state } = self.owner.clone();
        let place = self.place.clone();
        write(root, ROOT_MARKER, &RootLine { format: FORMAT, account, state, place, generation: self.generation })
    }
}

impl FolderMarker {
    /// Reads the marker of a folder; `None` if there is none.
    pub(super) fn read(folder: &Dir) -> Result<Option<Self>, Error> {
        let Some(line) = read::<FolderLine>(folder, FOLDER_MARKER)? else { return Ok(None) };
        let name = MailboxName::new(&line.name).ok_or(Unavailable::MarkerDamaged(FOLDER_MARKER))?;
        Ok(Some(Self { id: line.id, name, state: line.state }))
    }

    /// Takes the marker of a folder away, durably.
    pub(super) fn remove(folder: &Dir) -> Result<(), Error> {
        remove(folder, FOLDER_MARKER)
    }

    pub(super) fn write(&self, folder: &Dir) -> Result<(), Error> {
        let name = self.name.as_wire().to_owned();
        write(folder, FOLDER_MARKER, &FolderLine { format: FORMAT, id: self.id, name, state: self.state })
    }
}

fn read<T: DeserializeOwned>(dir: &Dir, name: &'static str) -> Result<Option<T>, Error> {
    let file = match dir.open_file(name.as_bytes()) {
        Err(error) if error.is_missing() => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_MARKER + 1).read_to_end(&mut text).map_err(|e| Error::io("reading a marker", &e))?;
    match serde_json::from_slice(&text) {
        Ok(line) if format_of(&text) == Some(FORMAT) && text.len() as u64 <= MAX_MARKER => Ok(Some(line)),
        _ if format_of(&text).is_some_and(|f| f > FORMAT) => Err(Unavailable::MarkerNewer(name).into()),
        _ => Err(Unavailable::MarkerDamaged(name).into()),
    }
}

fn format_of(text: &[u8]) -> Option<u32> {
    serde_json::from_slice(text).ok().map(|FormatOnly { format }| format)
}

fn write<T: Serialize>(dir: &Dir, name: &'static str, line: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec(line).expect("strings and numbers");
    text.push(b'\n');
    let draft = format!(".{name}.tmp");
    if dir.stat(draft.as_bytes())?.is_some() {
        // A crash left it.
        dir.unlink("maildir.marker-sweep", draft.as_bytes())?;
    }
    let mut file = dir.create("maildir.marker-draft", draft.as_bytes())?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| Error::io("writing a marker", &e))?;
    dir.replace("maildir.marker", draft.as_bytes(), name.as_bytes())?;
    dir.sync()
}

fn remove(dir: &Dir, name: &str) -> Result<(), Error> {
    if dir.stat(name.as_bytes())?.is_some() {
        dir.unlink("maildir.unmark", name.as_bytes())?;
        dir.sync()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder_marker() -> FolderMarker {
        let name = MailboxName::new("Entw&APw-rfe/\"\\").expect("a name");
        FolderMarker { id: 7, name, state: StateId::new([0xab; 16]) }
    }

    #[test]
    fn a_marker_reads_as_it_was_written() {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_path(tmp.path()).expect("it opens");
        assert_eq!(RootMarker::read(&dir).expect("no marker"), None);
        let owner = Owner { account: "wörk \"\n".into(), state: StateId::new([1; 16]) };
        for generation in [0, 1, u64::MAX] {
            let marker = RootMarker { owner: owner.clone(), place: "/state\\xff".into(), generation };
            // What a crash left behind is in nobody's way.
            std::fs::write(tmp.path().join(".mailtwin-root.tmp"), "{").expect("written");
            marker.write(&dir).expect("written");
            assert_eq!(RootMarker::read(&dir).expect("read"), Some(marker));
        }
        folder_marker().write(&dir).expect("written");
        assert_eq!(FolderMarker::read(&dir).expect("read"), Some(folder_marker()));
        let text = std::fs::read_to_string(tmp.path().join(FOLDER_MARKER)).expect("text");
        let line = r#"{"format":1,"id":7,"name":"Entw&APw-rfe/\"\\","state":"abababababababababababababababab"}"#;
        assert_eq!(text, format!("{line}\n"));
    }

    #[test]
    fn a_marker_of_a_later_version_is_told_apart_from_a_damaged_one() {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_path(tmp.path()).expect("it opens");
        for (text, newer) in [
            (r#"{"format":2,"anything":[]}"#, true),
            ("", false),
            ("{}", false),
            (r#"{"format":1}"#, false),
            (r#"{"format":1,"id":7,"name":"","state":"abababababababababababababababab"}"#, false),
            (r#"{"format":1,"id":7,"name":"a","state":"xyz"}"#, false),
            (r#"{"format":1,"id":7,"name":"a","state":"abababababababababababababababab","more":1}"#, false),
            (r#"{"format":0,"id":7,"name":"a","state":"abababababababababababababababab"}"#, false),
        ] {
            std::fs::write(tmp.path().join(FOLDER_MARKER), text).expect("written");
            let unavailable =
                if newer { Unavailable::MarkerNewer(FOLDER_MARKER) } else { Unavailable::MarkerDamaged(FOLDER_MARKER) };
            match FolderMarker::read(&dir) {
                Err(Error::Unavailable(reason)) => assert_eq!(reason, unavailable, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_never_panics(at in 0usize..80, bit in 0u8..8) {
            let tmp = tempfile::tempdir().expect("a directory");
            let dir = Dir::open_path(tmp.path()).expect("it opens");
            let mut text = br#"{"format":1,"id":7,"name":"a","state":"abababababababababababababababab"}"#.to_vec();
            let at = at % text.len();
            text[at] ^= 1 << bit;
            std::fs::write(tmp.path().join(FOLDER_MARKER), &text).expect("written");
            let _ = FolderMarker::read(&dir);
        }
    }
}
