//! The proof of the test server.
mod support;
