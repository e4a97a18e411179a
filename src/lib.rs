//! mailtwin keeps a local Maildir the twin of a remote mailbox.
//!
//! The map, in the order in which the rooms may lean on one another; `docs/architecture.md` tells the rest, and a test
//! holds the order.
//!
//! [`mail`] has the nouns: UIDs and sets of them, flags and how they merge, mailbox names, fingerprints, and the one way
//! in which a stranger's text is shown. Pure.
//!
//! [`step`] is the counter in the doors that everything durable passes, so that tests can kill the program at each of
//! them. Empty in the released program.
//!
//! [`monitor`] is the process beside the daemon: the daemon may touch little, and it does the rest.
//!
//! [`sync`] is the judgement: complete views of both sides and the remembered picture become a plan, a guard looks at
//! its deletions, and a plan that a crash interrupted is compared with what came of it. Pure.
//!
//! [`remote`] is a mailbox elsewhere: connecting, TLS, logging in, and IMAP with every answer checked.
//!
//! [`maildir`] is the mailbox here: names, markers, scans, deliveries, flag changes, and what is kept of deleted mail.
//!
//! [`store`] is what was agreed and what was begun, durable; the only room that knows the database.
//!
//! [`worker`] is one pass over one account: it recovers, observes, has it judged, executes, and settles. Hands without
//! opinions.
//!
//! [`hooks`] runs programs of the owner, and tells them what came, what changed and what is wrong.
//!
//! [`supervisor`] is the daemon's mind: which account is looked at when, what becomes of what fails, and the tasks that do it.
//!
//! [`control`] is the socket through which other processes speak with the daemon.
//!
//! [`config`] turns a TOML file into values that need no more checking, or into everything that is wrong with it.
//!
//! [`cli`] is the voice: a file for each command, and the only room that prints.

pub mod cli;
pub mod config;
pub mod control;
pub mod hooks;
pub mod mail;
pub mod maildir;
pub mod monitor;
pub mod remote;
pub mod step;
pub mod store;
pub mod supervisor;
pub mod sync;
pub mod worker;
