//! Scenarios: what both sides held when they last agreed, what was done to them since, and what they hold afterwards.
//!
//! `tree` is the language of the tables, `table` the scenarios, `stage` the Maildir and the program under test, `host`
//! the servers, `sweep` the procedure: run, run again, kill at every step.

// Each test crate compiles this folder whole and uses its own part of it.
#![allow(dead_code, unused_imports)]

pub mod dovecot;
pub mod host;
mod mailboxes;
pub mod stage;
pub mod sweep;
pub mod table;
pub mod tree;

pub use host::Host;
pub use stage::Stage;
pub use table::{Scenario, scenarios};
pub use tree::{Mail, Tree};
