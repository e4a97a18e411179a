//! POP3 (RFC 1939, 2449, 5034), as servers really speak it.
//!
//! `framer` cuts what comes into lines and messages, `reply`, `capability` and `listing` judge it, `Connection` counts
//! commands and replies. The states of the RFC are types: [`Authorization`] becomes a [`Transaction`] by a login, that
//! becomes [`Marked`] by DELE, and what is deleted is known when [`Marked::commit`] gives it and not before. Dropping any
//! of them closes the connection without QUIT, so that nothing is deleted.
//!
//! What surprises: what a server says of the maildrop is never an error. [`Listing`] has it with its [`Doubt`]s. No method
//! is cancel-safe: drop the session instead.

mod capability;
mod command;
mod connection;
mod deletion;
mod framer;
mod listing;
mod login;
mod open;
mod reply;
mod transaction;
mod wire;

#[cfg(test)]
mod tests;

pub use capability::{Capabilities, Expire};
pub use deletion::{Marked, Spared};
pub use listing::{Doubt, Listing, Message, Number};
pub use login::Authorization;
pub use open::{Opened, Reached, log_in, open, open_on, reach};
pub use transaction::{Landing, Top, Transaction};
