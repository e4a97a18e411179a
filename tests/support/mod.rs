//! What several test crates share.
// Each test crate includes all of this and uses a part of it.
#![allow(dead_code)]

pub mod dovecot;
