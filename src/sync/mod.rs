//! The judgement: what follows from what is remembered, what the server shows and what the Maildir shows.
//!
//! Pure: no input or output, no clock, no randomness. Hands are in `worker`.

pub mod guard;
pub mod mailbox;
pub mod picture;
pub mod plan;

pub use guard::GuardMemory;
pub use mailbox::{Checkpoint, MailboxRecord, Parked};
pub use picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Quarantine, Removing, Side, Why};
pub use plan::{Action, Batch, BatchId, MailboxAction, MailboxPlan, Note, NoteKind, Phase, Route, Work};
