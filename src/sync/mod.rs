//! The judgement: what follows from what is remembered, what the server shows and what the Maildir shows.
//!
//! Pure: no input or output, no clock, no randomness. Hands are in `worker`.

pub mod adopt;
pub mod audit;
pub mod decided;
pub mod guard;
pub mod identity;
pub mod lacks;
pub mod limits;
pub mod mailbox;
pub mod mailbox_action;
pub mod mailbox_verdict;
pub mod matching;
pub mod moves;
pub mod order;
pub mod picture;
pub mod plan;
pub mod policy;
pub mod quiet;
pub mod reconcile;
pub mod recover;
pub mod removal;
pub mod renames;
pub mod restore;
pub mod settle;
pub mod table;
pub mod uploads;
pub mod verdict;
pub mod view;

pub use adopt::{Adopting, Adoption, Cause, Question, Scope, adopt, reappeared, scope};
pub use decided::decided;
pub use guard::{Guard, GuardMemory, Held, Watched, guard};
pub use identity::{There, fits, identify, is_proven, questions as identity_questions};
pub use lacks::{Lacks, settled};
pub use limits::{Admission, Limits, Measure, Oversize};
pub use mailbox::{Checkpoint, MailboxRecord, Parked};
pub use mailbox_action::MailboxAction;
pub use mailbox_verdict::MailboxVerdict;
pub use matching::{HeaderLook, LooksHere, LooksThere, Match, undecided};
pub use moves::{Arrived, Evidence, Scene, arrivals_to_ask_for, files_to_date, pair_up, renamed};
pub use order::{spare, waves};
pub use picture::{Change, Hold, Known, Lone, MailboxId, Pair, Picture, Quarantine, Removing, Side, Why, Word};
pub use plan::{Action, Batch, BatchId, MailboxPlan, Note, NoteKind, Origin, Phase, Route, Work};
pub use policy::{Answer, Answers, Deletion, Policy, Rules, Sides};
pub use quiet::Quiet;
pub use reconcile::{Reconciled, reconcile};
pub use recover::{Trace, questions, recover};
pub use removal::{Deed, Place, Removals, RemovedMessage};
pub use renames::arrange;
pub use restore::{CameBack, Source, find_print};
pub use settle::{Outcome, settle, settle_origin};
pub use table::{Directory, Listed, Mailboxes, Standing, judge};
pub use uploads::Uploads;
pub use verdict::{Remembered, Verdict, verdict};
pub use view::{Delta, Doubt, LocalView, Look, Numbers, RemoteView, Seen};
