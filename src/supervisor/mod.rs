//! All accounts, for years: who is synchronised when, what becomes of what fails, and what the world is told of it.
//!
//! The judgement is in `schedule` and is pure; the shell turns the world into its events and its commands into tasks. One
//! account's trouble is never another's: each has its own lock, its own state, its own task, and what a task does to itself
//! ends with it.

pub mod backoff;
mod favourites;
mod handle;
mod held;
mod live;
pub mod metrics;
pub mod schedule;
mod shell;
pub mod status;
mod whereabouts;
mod work;
mod world;

pub use handle::{Gone, Handle};
pub use held::Account;
pub use shell::{Load, Outside, Supervisor};
pub use status::{AccountView, Condition, Doing, Happened, Progress, What, in_one_line};
pub use work::{Answer, Update, Updates, Work};
