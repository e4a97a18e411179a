//! Watching Maildirs (inotify(7)): it says where something stirred, and never what is there.
//!
//! The kernel tells nothing of what was there before a watch, and now and then that it has lost count, so a watch is added
//! first, and then it is looked. One instance watches all Maildirs: a user may have few.

use crate::mail::escape;
use crate::maildir::{FileSystem, Layout};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::unix::AsyncFd;

/// Names that come, go, or are written to. Not that something was opened or read: a search program that reads all mail would
/// drown the rest.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// No hierarchy of mailboxes is deeper.
const MAX_DEPTH: usize = 64;
/// Octets that are taken from the kernel at once, and how often until others have their turn.
const BUFFER: usize = 16 << 10;
const TURNS: usize = 64;

/// Where something stirred.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stirred {
    /// Whose Maildir it is, as [`Watch::cover`] was told.
    pub whose: String,
    /// In which mailbox; none: in one that has no name yet, or nobody knows.
    pub mailbox: Option<String>,
}

/// Why a Maildir cannot be watched; a clause.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Blind {
    /// Nobody would tell what other machines do.
    #[error("it lies on a network file system, of which the kernel does not tell what other machines change")]
    Network,
    /// The limit of the system is reached.
    #[error("there are no inotify watches left (a larger fs.inotify.max_user_watches gives more)")]
    NoneLeft,
    /// Anything else.
    #[error("the system does not watch it: {0}")]
    System(String),
}

/// See the head of this file.
#[derive(Debug)]
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// By the number of the watch, and by who wants it.
    places: Mutex<BTreeMap<i32, BTreeMap<String, Place>>>,
}

/// A directory that is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// It holds directories, of which any may be a mailbox.
    Levels,
    /// It holds messages, of the mailbox with this name.
    Messages(Option<String>),
}

impl Watch {
    /// Makes one, on a runtime that drives IO.
    ///
    /// # Errors
    /// The user has as many as the system allows (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "it lets in what closes its descriptor behind its back, which an OwnedFd does not"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, places: Mutex::default() })
    }

    /// Watches a whole Maildir as it is now, and no more what is gone of it; a Maildir that is not there has nothing to be
    /// watched. `names` has the names of mailboxes by their escaped paths below the root. Blocking.
    ///
    /// Tells whether there is anything that was not watched before: what happened in it until now was not seen.
    ///
    /// # Errors
    /// Why it cannot be watched. Nothing of it is, then.
    pub fn cover(
        &self,
        whose: &str,
        root: &Path,
        layout: Layout,
        names: &BTreeMap<String, String>,
    ) -> Result<bool, Blind> {
        let mut round = Round { watch: self, whose, layout, names, seen: BTreeSet::new(), has_grown: false };
        let done = round.root(root);
        if done.is_err() {
            round.seen.clear();
        }
        self.forget(whose, &round.seen);
        done.map(|()| round.has_grown)
    }

    /// Watches nothing of a Maildir any more.
    pub fn uncover(&self, whose: &str) {
        self.forget(whose, &BTreeSet::new());
    }

    /// Waits until something stirs, and tells where. Cancel safe.
    ///
    /// # Errors
    /// The kernel tells nothing any more.
    pub async fn stirred(&self) -> io::Result<BTreeSet<Stirred>> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut stirred = BTreeSet::new();
            if self.read(&mut stirred)? {
                ready.clear_ready();
            }
            if !stirred.is_empty() {
                return Ok(stirred);
            }
        }
    }

    /// Takes what the kernel has to tell; whether that was all.
    fn read(&self, stirred: &mut BTreeSet<Stirred>) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut turns = 0;
        loop {
            if reader.is_buffer_empty() {
                turns += 1;
                if turns > TURNS {
                    return Ok(false);
                }
            }
            match reader.next() {
                Ok(event) => {
                    let is_hidden = event.file_name().is_some_and(|name| name.to_bytes().starts_with(b"."));
                    self.take(event.wd(), event.events(), is_hidden, stirred);
                }
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&self, number: i32, what: ReadFlags, is_hidden: bool, stirred: &mut BTreeSet<Stirred>) {
        let mut places = self.places();
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            let all = places.values().flat_map(BTreeMap::keys);
            stirred.extend(all.map(|whose| Stirred { whose: whose.clone(), mailbox: None }));
            return;
        }
        if what.contains(ReadFlags::IGNORED) {
            // The watch ended, and why was told before.
            places.remove(&number);
            return;
        }
        let Some(wanted) = places.get(&number) else { return };
        let is_gone = what.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT);
        let is_directory = what.contains(ReadFlags::ISDIR);
        for (whose, place) in wanted {
            let mailbox = match place {
                _ if is_gone => None,
                // A directory of the layout Maildir++ has such a name; a message never has.
                Place::Levels if is_directory => None,
                Place::Messages(mailbox) if !is_directory && !is_hidden => mailbox.clone(),
                Place::Levels | Place::Messages(_) => continue,
            };
            stirred.insert(Stirred { whose: whose.clone(), mailbox });
        }
    }

    /// Ends the watches of somebody, but for these.
    fn forget(&self, whose: &str, but: &BTreeSet<i32>) {
        self.places().retain(|number, wanted| {
            if !but.contains(number) && wanted.remove(whose).is_some() && wanted.is_empty() {
                // It may have ended by itself.
                let _ = inotify::remove_watch(self.inotify.get_ref(), *number);
            }
            !wanted.is_empty()
        });
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<i32, BTreeMap<String, Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One round through a Maildir.
struct Round<'r> {
    watch: &'r Watch,
    whose: &'r str,
    layout: Layout,
    names: &'r BTreeMap<String, String>,
    seen: BTreeSet<i32>,
    has_grown: bool,
}

impl Round<'_> {
    fn root(&mut self, root: &Path) -> Result<(), Blind> {
        // The root itself may be a link of the owner's.
        let Ok(root) = root.canonicalize() else { return Ok(()) };
        let system = FileSystem::of(&root).map_err(|error| Blind::System(error.to_string()))?;
        if system.is_on_network {
            return Err(Blind::Network);
        }
        self.level(&root, "", 0)
    }

    /// A directory that may be a mailbox, have some in it, or both.
    fn level(&mut self, path: &Path, below: &str, depth: usize) -> Result<(), Blind> {
        if !self.add(path, Place::Levels)? {
            return Ok(());
        }
        for part in ["new", "cur"] {
            let name = self.names.get(&escape(below)).cloned();
            self.add(&path.join(part), Place::Messages(name))?;
        }
        let deeper = if self.layout == Layout::Nested { MAX_DEPTH } else { 1 };
        // What cannot be read is told by the pass.
        let Ok(entries) = path.read_dir() else { return Ok(()) };
        for entry in entries.flatten().filter(|_| depth < deeper) {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !matches!(*name, "new" | "cur" | "tmp")) else { continue };
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && name.starts_with('.') == (self.layout == Layout::MaildirPlusPlus) {
                let below = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                self.level(&entry.path(), &below, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Watches a directory; false: there is none, or it is not ours to be seen.
    fn add(&mut self, path: &Path, place: Place) -> Result<bool, Blind> {
        // Under the lock, so that nothing is told of a watch that nobody knows yet.
        let mut places = self.watch.places();
        let number = match inotify::add_watch(self.watch.inotify.get_ref(), path, MASK | WatchFlags::DONT_FOLLOW) {
            Ok(number) => number,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(false),
            Err(Errno::NOSPC | Errno::NOMEM) => return Err(Blind::NoneLeft),
            Err(error) => return Err(Blind::System(error.to_string())),
        };
        self.has_grown |= places.entry(number).or_default().insert(self.whose.to_owned(), place).is_none();
        self.seen.insert(number);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
