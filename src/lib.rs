//! mailtwin keeps a local Maildir the twin of a remote mailbox.
pub mod cli;
pub mod config;
pub mod mail;
pub mod maildir;
pub mod remote;
pub mod step;
pub mod store;
pub mod sync;
pub mod worker;
