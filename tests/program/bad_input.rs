//! What the program does when others misbehave: servers that lie, cut, flood and refuse, Maildirs and databases that are
//! not what they were, wrong passwords, hostile names. Every run is the real program, at `-vv`, and after each the
//! [`bench`] looks for the password and for bytes that a terminal would obey.

mod accidents;
mod connections;
mod deletions;
mod lies;
mod maildirs;
mod repair;
mod reports;
mod states;
mod storm;
mod texts;
mod undo;
