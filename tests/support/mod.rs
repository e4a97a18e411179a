//! What the tests stand on: servers to talk to.

// Each test crate compiles this folder whole and uses its own part of it.
#![allow(dead_code, unused_imports)]

pub mod bench;
pub mod dovecot;
pub mod processes;
pub mod program;
pub mod relay;
pub mod server;
