//! The control socket: how other processes of the same user speak with the daemon.
//!
//! One connection, one request: the daemon greets, the client asks, the daemon answers until it is done. Everything is lines
//! of JSON; `docs/daemon.md` tells them. Whoever may open the socket may do all that the configuration allows, so only the
//! user of the daemon may, and root.

mod client;
mod metrics;
mod place;
pub mod protocol;
mod server;

pub use client::{Client, Conversation, Error};
pub use metrics::Metrics;
pub use place::{LINK, Variables, place, places};
pub use protocol::{Hello, PROTOCOL, Reply, Request};
pub use server::Listener;
