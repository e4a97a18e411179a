//! The wire: the proof of the test server, and the clients with it and with a real Dovecot.

mod connect_dovecot;
mod logins;
mod pop3;
mod server;
#[path = "../support/mod.rs"]
mod support;
