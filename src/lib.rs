//! mailtwin keeps a local Maildir the twin of a remote mailbox.
pub mod mail;
pub mod maildir;
pub mod remote;
pub mod step;
