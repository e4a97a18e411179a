//! The real program as a daemon, against the test server and a Dovecot: it is started, signalled, spoken with and ended, and
//! no mail is lost by any of that.

mod support;

#[path = "bad_input/bench.rs"]
#[allow(dead_code)]
mod bench;
#[path = "daemon/ends.rs"]
mod ends;
#[path = "daemon/live.rs"]
mod live;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/runs.rs"]
mod runs;
#[path = "daemon/talks.rs"]
mod talks;
