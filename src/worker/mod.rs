//! One account, from start to end: recover, observe, reconcile, execute, settle.
//!
//! The judgement is in `sync`, the hands are here. A pass goes in rounds: what was done is looked at again, and a
//! checkpoint is taken only from a look after which nothing was left to do.

mod adopt;
mod append;
mod check;
mod decide;
mod error;
mod execute;
mod explain;
mod fetch;
mod flags;
mod flight;
mod folders;
mod forget;
mod gone;
mod ground;
mod history;
mod identify;
mod job;
mod labels;
mod limits;
mod lines;
mod listen;
mod mailboxes;
mod maildrop;
mod make;
mod map;
mod moves;
mod observe;
mod pass;
mod planning;
mod quiet;
mod recovery;
mod reins;
mod remove;
mod rename;
mod rest;
mod restore;
pub mod status;
mod stubs;
mod summary;
mod tell;
mod transfer;
mod trouble;
mod undo;
mod undoable;
mod verify;
mod waves;

pub use check::{Check, Finding, Proven, check};
pub use decide::{Decided, Decision, decide};
pub use error::Error;
pub use explain::{Explained, Past, Question, explain};
pub use folders::{FolderState, MappedFolder, folders};
pub use forget::{Forgotten, forget, forgettable};
pub use ground::{Ground, History, Look, claimant, look, prepare, take_over};
pub use job::{AccountPlan, Event, HeldBack, Job, LeftOut, Planned, Report, Wanted};
pub use listen::{Heard, listen};
pub use pass::{Mode, run, undo};
pub use reins::Reins;
pub use status::{AccountStatus, State};
pub use summary::count;
pub use trouble::{Kind, Trouble};
pub use undo::Undone;
pub use undoable::{SUBJECTS, Undoable, undoable};
pub use verify::{Verified, VerifiedMailbox, doubt, verify};
