//! The program: hands its command line to the voice, and its end to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailtwin::cli::run(std::env::args_os())
}
