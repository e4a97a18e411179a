//! What the program does when others misbehave: servers that lie, cut, flood and refuse, Maildirs and databases that are
//! not what they were, wrong passwords, hostile names. Every run is the real program, at `-vv`, and after each the
//! [`bench`] looks for the password and for bytes that a terminal would obey.

mod support;

#[path = "bad_input/accidents.rs"]
mod accidents;
#[path = "bad_input/bench.rs"]
mod bench;
#[path = "bad_input/connections.rs"]
mod connections;
#[path = "bad_input/deletions.rs"]
mod deletions;
#[path = "bad_input/lies.rs"]
mod lies;
#[path = "bad_input/maildirs.rs"]
mod maildirs;
#[path = "bad_input/repair.rs"]
mod repair;
#[path = "bad_input/reports.rs"]
mod reports;
#[path = "bad_input/states.rs"]
mod states;
#[path = "bad_input/storm.rs"]
mod storm;
#[path = "bad_input/texts.rs"]
mod texts;
#[path = "bad_input/undo.rs"]
mod undo;
