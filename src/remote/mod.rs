//! A mailbox elsewhere: how to reach a server, prove who we are, and speak with it.

pub mod auth;
mod body;
pub mod connect;
pub mod endpoint;
pub mod error;
pub mod imap;
mod lifeline;
pub mod pop3;
pub mod quirks;
pub mod sasl;
pub mod secret;
pub mod session;
pub mod tls;

pub use body::BodyChunk;
pub use endpoint::{Endpoint, Mechanism, Pin, Protocol, Secret, Security, Target, TlsOptions, TlsVersion};
pub use error::{Error, Refusal};
pub use lifeline::Lifeline;
pub use quirks::{Overrides, Quirks};
pub use sasl::Sasl;
