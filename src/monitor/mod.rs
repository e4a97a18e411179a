//! The daemon is two processes: one that works and may touch little, and its monitor, which does the rest for it.
//!
//! The process that was started is the *monitor*: it holds the lock and the control socket, and starts our own binary again
//! as the one that works. That one reads what strangers wrote, so it gives up everything but its Maildirs and its state
//! (Landlock, [`Bounds`]), programs and other files included, for as long as it lives. What it needs of those it asks of the
//! monitor, which speaks with no server, and gives only what the *configuration* names, which it reads by itself: the
//! commands in it, the files with secrets, and new Maildirs.
//!
//! What surprises: a process can never reach more than it could at its start. When the configuration names another Maildir,
//! or a disk is mounted anew, the one that works ends and the monitor starts it anew; the lock, the socket and whoever
//! supervises the monitor notice nothing.
//!
//! Without a monitor (every command but `run`) all of this is done in the process itself.

mod ask;
mod bounds;
mod message;
mod notify;
mod program;
mod serve;

pub use ask::{Beginning, Link};
pub use bounds::{Bounds, readable};
pub use notify::Notify;
pub use serve::{Ended, Monitor, Permitted};

pub(crate) use ask::{begin_anew, make_root, open};
pub(crate) use program::{Input, Program, drain};
