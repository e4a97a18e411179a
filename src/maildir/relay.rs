//! A queue between two accounts: what one fetched, and another has to send on.
//!
//! The queue is a Maildir of its own that nobody else touches, and the letters of its files tell how far each is: none, it
//! was fetched; `P`, it was passed on to the Maildir of the other; `T`, the server of the other has it. Only the last lets
//! the message go, here and where it came from. That a file is missing says nothing.

use crate::mail::{BaseName, FlagChange, Flags, Keyword, MailboxName, SystemFlag};
use crate::maildir::scan::{ScannedFile, Subdir};
use crate::maildir::{
    Arrival, Delivery, Error, Expected, Folder, Layout, LocalPath, Owner, Root, RootState, StateId, discover,
    link_message, publish, set_flags,
};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Octets that are copied at once.
const PIECE: usize = 64 << 10;

/// The mailbox of another account, into whose Maildir messages are passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The account.
    pub account: String,
    /// Its mailbox.
    pub mailbox: MailboxName,
    /// The root of its Maildir.
    pub maildir: PathBuf,
    /// How the directories of its mailboxes are laid out.
    pub layout: Layout,
}

/// A message of a queue: its name, and its file as it was seen.
pub type Queued = (BaseName, ScannedFile);

/// How far a message of a queue is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// It was fetched.
    Fetched,
    /// It is in the Maildir that it is for.
    PassedOn,
    /// The server that it is for has it.
    Uploaded,
}

impl Stage {
    /// How far the message of a file is.
    pub fn of(file: &ScannedFile) -> Self {
        match (file.flags.contains(SystemFlag::Deleted), file.flags.contains_keyword(&Keyword::forwarded())) {
            (true, _) => Self::Uploaded,
            (false, true) => Self::PassedOn,
            (false, false) => Self::Fetched,
        }
    }

    fn letter(self) -> Flags {
        let mut letter = Flags::new();
        match self {
            Self::Fetched => {}
            Self::PassedOn => letter.insert_keyword(Keyword::forwarded()),
            Self::Uploaded => letter.insert(SystemFlag::Deleted),
        }
        letter
    }
}

impl Destination {
    /// Opens the root; `None` before its account made it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], for a root that was made and is not as it should be.
    pub fn root(&self) -> Result<Option<Root>, Error> {
        open(&self.maildir, &self.account)
    }

    /// The folder of the mailbox, by the marker that its account gave it; `None` before it is made.
    pub fn folder(&self, root: &Root) -> Result<Option<(LocalPath, Folder)>, Error> {
        for path in discover(root, self.layout)? {
            let folder = match Folder::open(root, &path) {
                Err(Error::Unavailable(_)) => continue,
                folder => folder?,
            };
            if folder.marker()?.is_some_and(|marker| is_same(&marker.name, &self.mailbox)) {
                return Ok(Some((path, folder)));
            }
        }
        Ok(None)
    }
}

/// The INBOX has one name, however it is written (RFC 9051, section 5.1).
fn is_same(a: &MailboxName, b: &MailboxName) -> bool {
    a == b || a.is_inbox() && b.is_inbox()
}

/// Opens a root that the account has; `None` if it never made one.
fn open(path: &Path, account: &str) -> Result<Option<Root>, Error> {
    let nobody = Owner { account: String::new(), state: StateId::new([0; 16]) };
    match Root::open(path, &nobody, Expected::Anything)? {
        RootState::Theirs(root, marker) if marker.owner.account == account => Ok(Some(root)),
        RootState::Unavailable(reason) => Err(reason.into()),
        RootState::Theirs(..) | RootState::Fresh | RootState::Foreign(_) | RootState::Ours(..) => Ok(None),
    }
}

/// Makes a message of a queue one of another folder, durably, under the same name: a second name of the same file, or a
/// copy where that cannot be. `false`: it is not in the queue any more.
///
/// # Errors
/// [`Error::Exists`]: it is there already.
pub fn pass_on(queue: &Folder, base: &BaseName, to: &Folder) -> Result<bool, Error> {
    if link_message(queue, base, to, base, &Flags::new(), Subdir::New)?.is_some() {
        return Ok(true);
    }
    let Some(mut body) = queue.open_message(base)? else { return Ok(false) };
    let reading = |e: std::io::Error| Error::io("reading a message", &e);
    let written = body.metadata().and_then(|metadata| metadata.modified()).map_err(reading)?;
    let mut draft = Delivery::begin(to, base)?;
    let mut piece = vec![0; PIECE];
    loop {
        match body.read(&mut piece).map_err(reading)? {
            0 => break,
            count => draft.write(&piece[..count])?,
        }
    }
    let staged = draft.finish(written)?;
    let arrival = Arrival { staged, base: base.clone(), subdir: Subdir::New, flags: Flags::new() };
    publish(to, vec![arrival]).into_iter().try_for_each(|published| published.map(drop)).map(|()| true)
}

/// Notes how far messages of a queue are, durably.
pub fn advance(queue: &Folder, messages: &[Queued], stage: Stage) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let change = FlagChange { add: stage.letter(), remove: Flags::new() };
    for (base, file) in messages {
        set_flags(queue, base, file, &file.flags, &change)?;
    }
    queue.sync()
}

/// Takes messages out of a queue that the server they are for has, durably.
pub fn discard(queue: &Folder, messages: &[Queued]) -> Result<(), Error> {
    for (_, file) in messages.iter().filter(|(_, file)| Stage::of(file) == Stage::Uploaded) {
        match queue.subdir(file.subdir).unlink("maildir.discard", &file.file_name) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
    }
    queue.sync()
}

/// The messages of the queue of `account` that were passed on, and of which is not known whether the server has them, by
/// the folder that they are in.
pub fn passed_on(queue: &Path, account: &str) -> Result<Vec<(Folder, Vec<Queued>)>, Error> {
    let Some(root) = open(queue, account)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for path in discover(&root, Layout::default())? {
        let folder = Folder::open(&root, &path)?;
        let files = folder.scan()?.files.into_iter().filter(|(_, file)| Stage::of(file) == Stage::PassedOn).collect();
        found.push((folder, files));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::deliver::tests::{base, deliver};
    use crate::maildir::folder::tests::inbox;

    #[test]
    fn a_message_is_passed_on_once_noted_and_discarded_only_at_the_end() {
        let ((from, _, queue), (to, _, folder)) = (inbox(), inbox());
        deliver(&queue, "1.a", "", "text\n");
        assert_eq!(pass_on(&queue, &base("1.a"), &folder), Ok(true));
        assert!(matches!(pass_on(&queue, &base("1.a"), &folder), Err(Error::Exists { .. })));
        assert_eq!(pass_on(&queue, &base("2.a"), &folder), Ok(false));
        assert_eq!(std::fs::read(to.path().join("INBOX/new/1.a")).expect("read"), b"text\n");
        let all = || queue.scan().expect("scanned").files.into_iter().collect::<Vec<_>>();
        for (stage, left) in [(Stage::PassedOn, 1), (Stage::Uploaded, 0)] {
            advance(&queue, &all(), stage).expect("noted");
            assert_eq!(Stage::of(&all()[0].1), stage);
            discard(&queue, &all()).expect("discarded");
            assert_eq!(all().len(), left);
        }
        assert_eq!(std::fs::read_dir(from.path().join("INBOX/cur")).expect("listed").count(), 0);
        assert_eq!(std::fs::read(to.path().join("INBOX/new/1.a")).expect("read"), b"text\n");
    }
}
