//! The voice: the command line, one file a command, and the only place that prints.
//!
//! A command is a function of its arguments and a configuration that is right already; it says how it ended, and
//! everything it has to say goes through [`Output`].

mod approve;
mod ask;
mod check;
mod completions;
mod control;
mod daemon;
mod exit;
mod explain;
mod failure;
mod folders;
mod forget;
mod job;
mod log;
mod man;
mod output;
mod progress;
mod relocate;
mod repair;
mod run;
mod screen;
mod selection;
mod status;
mod sync;
mod undo;
mod verify;
mod watch;

pub use exit::Exit;
pub use failure::{FIVE_LINES, Failure};
pub use output::{Output, Style};
pub use progress::Progress;
pub use selection::{Selected, Selection};

use crate::config::{Config, Environment};
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};
use output::{ColorChoice, Manner};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  mailtwin check             prove that the configuration will work
  mailtwin sync              synchronise every account, once
  mailtwin sync --dry-run    show what that would do, and change nothing
  mailtwin status            how the accounts fare
  mailtwin undo ACCOUNT      bring back what was deleted
  mailtwin run               keep every account synchronised, from now on

Configuration: the first of
  $XDG_CONFIG_HOME/mailtwin/daemon.toml    (usually ~/.config/mailtwin/daemon.toml)
  /etc/mailtwin/daemon.toml

Exit codes:
  0   done
  1   an account failed
  2   the command line is wrong
  3   done, but something waits for you: see `mailtwin status`
  75  a failure that may pass: the network, or another instance is at work
  77  a login was refused
  78  the configuration is wrong";

/// Keeps a local Maildir the twin of a remote mailbox.
#[derive(Debug, Parser)]
#[command(name = "mailtwin", version, after_help = AFTER_HELP, disable_help_subcommand = true, disable_help_flag = true)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options that every command has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Read this configuration instead of the usual one.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log more: what happens (-v), and how (-vv).
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print nothing but reports and failures.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Report as JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    /// Use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    /// Where the log goes.
    #[arg(long, global = true, value_name = "WHERE", default_value = "auto")]
    log: log::LogChoice,
    /// Print help.
    #[arg(short, long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Synchronise, once.
    Sync(sync::SyncArguments),
    /// Prove that the configuration will work.
    Check(check::CheckArguments),
    /// Show the mailboxes of an account and their directories.
    Folders(folders::FoldersArguments),
    /// Show how the accounts fare.
    Status(status::StatusArguments),
    /// Let held deletions go.
    Approve(approve::ApproveArguments),
    /// Put back what was about to be deleted.
    Reject(approve::RejectArguments),
    /// Bring back what was deleted.
    Undo(undo::UndoArguments),
    /// Tell what is known of one message, and why.
    Explain(explain::ExplainArguments),
    /// Hold the server, the Maildir and the memory against each other.
    Verify(verify::VerifyArguments),
    /// Take away the markers and the state of an account; keep all mail.
    Forget(forget::ForgetArguments),
    /// Give the Maildir of an account to the state of this configuration.
    Relocate(relocate::RelocateArguments),
    /// Keep every account synchronised, until told to end: the daemon.
    Run(run::RunArguments),
    /// Have the daemon leave accounts alone.
    Pause(control::PauseArguments),
    /// Have the daemon go on with accounts that were paused.
    Resume(control::ResumeArguments),
    /// Have the daemon read its configuration again.
    Reload(control::ReloadArguments),
    /// Wait until accounts are synchronised.
    WaitSynced(control::WaitArguments),
    /// Tell what happens in the daemon, as it happens.
    Events(control::EventsArguments),
    /// Print what the daemon has counted.
    Metrics(control::MetricsArguments),
    /// Print completions for a shell.
    Completions(completions::CompletionsArguments),
    /// Print the manual page.
    Man(man::ManArguments),
}

/// Runs the program with its command line, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let Global { color, json, quiet, verbose, log, .. } = arguments.global;
    let output = Output::of_process(Manner { color, json, quiet });
    // A daemon tells what happens without being asked for it.
    let verbose = verbose + u8::from(matches!(arguments.command, Command::Run(_)) && !quiet);
    let ended = log::install(log, log::level(quiet, verbose), &output).and_then(|()| dispatch(&arguments, &output));
    let exit = ended.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    finish(&output, exit)
}

fn dispatch(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let environment = Environment::of_process();
    let named = &arguments.global.config;
    let config = || Config::load(named.as_deref(), &environment).map_err(Failure::from);
    match &arguments.command {
        Command::Sync(arguments) => sync::run(arguments, &config()?, output),
        Command::Check(arguments) => check::run(arguments, &config()?, output),
        Command::Folders(arguments) => folders::run(arguments, &config()?, output),
        Command::Status(arguments) => status::run(arguments, &config()?, output),
        Command::Approve(arguments) => approve::approve(arguments, &config()?, output),
        Command::Reject(arguments) => approve::reject(arguments, &config()?, output),
        Command::Undo(arguments) => undo::run(arguments, &config()?, output),
        Command::Explain(arguments) => explain::run(arguments, &config()?, output),
        Command::Verify(arguments) => verify::run(arguments, &config()?, output),
        Command::Forget(arguments) => forget::run(arguments, &config()?, output),
        Command::Relocate(arguments) => relocate::run(arguments, &config()?, output),
        Command::Run(arguments) => run::run(arguments, config()?, (named.clone(), environment.clone()), output),
        Command::Pause(arguments) => control::pause(arguments, &config()?, output),
        Command::Resume(arguments) => control::resume(arguments, &config()?, output),
        Command::Reload(arguments) => control::reload(arguments, &config()?, output),
        Command::WaitSynced(arguments) => control::wait_synced(arguments, &config()?, output),
        Command::Events(arguments) => control::events(arguments, &config()?, output),
        Command::Metrics(arguments) => control::metrics(arguments, &config()?, output),
        Command::Completions(arguments) => completions::run(arguments, output),
        Command::Man(arguments) => man::run(arguments, output),
    }
}

/// Prints what clap has to say: help and version on standard output, a wrong command line on standard error.
fn explain(error: &clap::Error) -> ExitCode {
    let output = Output::of_process(Manner::default());
    let text = error.render();
    let shown = |colour: bool| if colour { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() {
        output.diagnostic(shown(output.error_has_colour()).as_bytes());
        return Exit::Usage.into();
    }
    output.bytes(shown(output.has_colour()).as_bytes());
    finish(&output, Exit::Done)
}

fn finish(output: &Output, exit: Exit) -> ExitCode {
    match output.finish() {
        Ok(()) => exit.into(),
        Err(error) => {
            output.failure(&Failure::new(Exit::Failed, format!("the report could not be written: {error}")));
            Exit::gravest([exit, Exit::Failed]).into()
        }
    }
}

/// The command line as data, for completions and manual pages.
fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_has_no_contradictions() {
        super::command().debug_assert();
    }
}
