//! The demonstration: an account on a private server, mirrored both ways before one's eyes.
//!
//!     cargo run --release --example demo
//!
//! It asks nothing of the machine: the server is that of the tests, in this process, on 127.0.0.1. The commands that it
//! shows are run as they are written, each as a process of its own: started with `mailtwin` as its first argument, this
//! program is mailtwin. Every end is checked, so that it fails where the demonstration would tell a lie; continuous
//! integration runs it.

// It speaks, that is its purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod letters;
#[path = "../support/server/mod.rs"]
#[allow(dead_code, unused_imports)]
mod server;
mod sides;
mod stage;
mod tour;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: demo [--step]

  --step    wait for Enter between the chapters";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "mailtwin") {
        return mailtwin::cli::run(arguments);
    }
    let arguments: Vec<_> = arguments.collect();
    let step = arguments == ["--step"];
    if !step && !arguments.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match tour::run(step) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demonstration stopped: {error}");
            ExitCode::FAILURE
        }
    }
}
