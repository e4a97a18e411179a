//! The real program as a daemon, against the test server and a Dovecot: it is started, signalled, spoken with and ended, and
//! no mail is lost by any of that.

mod confined;
mod ends;
mod hooks;
mod live;
mod process;
mod runs;
#[path = "../scenarios/mod.rs"]
mod scenarios;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod talks;
