//! Accounts of type POP3, through the whole program: nothing lost, nothing twice, and nothing removed too early.
//!
//! `EVERY=1` cuts a session after every byte; without it, after every few.

#![cfg(feature = "steps")]

mod cuts;
mod deleted;
mod delivering;
mod dovecot;
mod fetching;
mod memory;
mod removing;
mod resting;
mod telling;
mod world;
