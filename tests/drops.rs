//! Accounts of type POP3, through the whole program: nothing lost, nothing twice, and nothing removed too early.
//!
//! `EVERY=1` cuts a session after every byte; without it, after every few.

#![cfg(feature = "steps")]

mod support;

#[path = "drops/cuts.rs"]
mod cuts;
#[path = "drops/dovecot.rs"]
mod dovecot;
#[path = "drops/fetching.rs"]
mod fetching;
#[path = "drops/memory.rs"]
mod memory;
#[path = "drops/removing.rs"]
mod removing;
#[path = "drops/telling.rs"]
mod telling;
#[path = "drops/world.rs"]
mod world;
