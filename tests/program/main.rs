//! The whole program against servers: what it does with mail, with other devices and readers, and with trouble.

mod adopt;
mod bad_input;
mod changes;
mod devices;
mod drops;
mod far;
mod gmail;
mod keywords;
mod kill9;
mod layouts;
mod moves;
mod rest;
mod review;
#[path = "../scenarios/mod.rs"]
mod scenarios;
mod strace;
#[path = "../support/mod.rs"]
mod support;
