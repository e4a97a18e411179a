//! What is promised in writing: the arrows of the house, the tables of the verdicts, the guard, the configuration, the command
//! line, the units, and the database under `kill -9`.

mod architecture;
mod bounds;
mod cli;
mod config;
mod guard;
mod mailbox_verdicts;
mod store_kill;
#[path = "../support/mod.rs"]
mod support;
mod units;
mod verdicts;
