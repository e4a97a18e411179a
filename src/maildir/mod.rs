//! The mailbox here: a tree of Maildirs, read without trusting it and changed without surprising its readers.
//!
//! Everything blocks; the worker calls it where blocking is allowed. Everything beneath the root goes through directory
//! handles, one name at a time, and no symbolic link is followed. What a function changed is durable when it says so;
//! flag changes and removals are made durable together, by [`Folder::sync`].

mod change;
mod deliver;
mod dir;
mod error;
mod file_system;
mod folder;
mod foreign;
mod handover;
mod keywords;
mod layout;
mod letters;
mod lines;
mod mapping;
mod marker;
mod name;
mod relay;
mod relocate;
mod restore;
mod retention;
mod root;
mod scan;
mod upload;
mod watch;

pub use change::{Changed, Removal, Removed, remove, set_flags};
pub use deliver::{Arrival, Delivery, Staged, link_message, place, publish, sweep_tmp};
pub use error::{Error, Unavailable};
pub use file_system::FileSystem;
pub use folder::{Folder, Inode, discover};
pub use foreign::{Foreign, foreign, release};
pub use handover::{FileTimes, Handover, hand_over};
pub use layout::{HostileName, Layout, LocalPath, NoRemoteName, collides, to_local, to_remote};
pub use letters::{Keywords, Letters};
pub use mapping::Mapping;
pub use marker::{FolderMarker, Owner, RootMarker, StateId};
pub use name::{FileName, NameGenerator};
pub use relay::{Destination, Queued, Stage, advance, discard, pass_on, passed_on};
pub use relocate::{relocate, remove_folder};
pub use restore::{Restored, restore};
pub use retention::{Kept, Retention};
pub use root::{Expected, Root, RootState};
pub use scan::{FolderTimes, Scan, ScannedFile, Subdir};
pub use upload::{Looks, Outgoing, Unsendable, Upload, looks_of, open_for_upload, print_of};
pub use watch::{Blind, Stirred, Watch};
