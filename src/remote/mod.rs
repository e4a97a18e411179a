//! A mailbox elsewhere: how to reach a server, prove who we are, and speak with it.

pub mod endpoint;

pub use endpoint::{Endpoint, Mechanism, Pin, Secret, Security, Target, TlsOptions, TlsVersion};
