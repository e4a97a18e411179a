//! The guard: too many deletions inferred at once are held until a person has looked.

use crate::sync::picture::{MailboxId, Side};
use serde::{Deserialize, Serialize};

/// The deletions inferred in the last ten minutes; it is stored, so that runs of `sync` share it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardMemory {
    /// What was counted, oldest first.
    pub counted: Vec<Counted>,
    /// The number of the newest set of held deletions.
    pub last_set: u32,
}

/// Deletions counted in one pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// When, in seconds since 1970.
    pub at: u64,
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// The side from whose silence they were inferred.
    pub gone: Side,
    /// How many.
    pub count: u32,
    /// Of how many messages, before them.
    pub of: u32,
}
