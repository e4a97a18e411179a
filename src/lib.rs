//! mailtwin keeps a local Maildir the twin of a remote mailbox.
pub mod config;
pub mod mail;
pub mod remote;
pub mod step;
