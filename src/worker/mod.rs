//! One account, from start to end.

pub mod status;

pub use status::{AccountStatus, State};
