//! `mailtwin run`: the daemon, in the foreground. The process that is started is the monitor; see [`confined`] for the other.

mod confined;

use super::{Exit, Failure, Output};
use crate::config::{Config, Environment};
use crate::control::{Listener, Variables, place};
use crate::mail::escape;
use crate::monitor::{Ended, Monitor, Notify, Permitted};
use crate::remote::{Secret, Target};
use crate::store::{self, Lock};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  mailtwin run                       in the foreground, until Ctrl-C
  systemctl --user start mailtwin    as a service: the units are in systemd/

Signals:
  SIGTERM, SIGINT   finish what is in hand and end, within three seconds
  SIGHUP            read the configuration again; a wrong one is refused, and the old one stays
  SIGUSR1           look at every account now

While it runs, `mailtwin status` shows what it does, and `sync`, `undo`, `approve` and `reject` go through it.";

/// The argument that makes the other process of this one.
const CONFINED: &str = "--confined";

/// What still blocks a thread at the end is not waited for longer.
const LAST_THREADS: Duration = Duration::from_millis(200);

/// Keep every account synchronised, until told to end.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RunArguments {
    /// For mailtwin itself: work for the monitor that is at the standard input.
    #[arg(long, hide = true)]
    confined: bool,
}

/// Where a configuration is found.
type Found = (Option<PathBuf>, Environment);

pub(super) fn run(arguments: &RunArguments, config: Config, found: Found, output: &Output) -> Result<Exit, Failure> {
    lock_down();
    if arguments.confined { confined::run(config, found) } else { keep(&config, found, output) }
}

/// Keeps the process that works.
fn keep(config: &Config, (named, environment): Found, output: &Output) -> Result<Exit, Failure> {
    let _lock = lock(config)?;
    let mut listener = listen(config)?;
    listener.link(&config.state_dir).map_err(|error| {
        let state = escape(config.state_dir.as_os_str().as_encoded_bytes());
        Failure::new(Exit::Failed, format!("the state directory {state} cannot be used: {error}"))
            .remedy("Look at its owner and permissions.")
    })?;
    let permitted = permitted(config, named.as_deref(), &environment);
    let read = Box::new(move || {
        let config = Config::load(named.as_deref(), &environment).ok()?;
        Some(self::permitted(&config, named.as_deref(), &environment))
    });
    let arguments: Vec<OsString> = std::env::args_os().chain([CONFINED.into()]).collect();
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("the daemon cannot be started: {error}"));
    let monitor = Monitor::new(arguments, listener.socket().map_err(failed)?, Notify::of_process(), permitted, read);
    // One thread, for there is little to do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    if output.is_lively() {
        output.note(format!("mailtwin runs in the foreground, as process {}; Ctrl-C ends it.", std::process::id()));
    }
    let ended = runtime.block_on(monitor.run()).map_err(failed)?;
    runtime.shutdown_timeout(LAST_THREADS);
    match ended {
        Ended::AsTold => Ok(Exit::Done),
        // It has said why.
        Ended::With(code) => Ok(Exit::of_code(code)),
        Ended::Of(signal) => {
            Err(Failure::new(Exit::Failed, format!("the process that works was ended by signal {signal}"))
                .meaning("No mail is lost by that: the next start goes on from what is on the disk.")
                .remedy("Start it again; if nobody ended it, please report what the log says."))
        }
    }
}

/// Takes from this process what it never needs, before it has threads; what it starts inherits that.
fn lock_down() {
    // Whatever is made from now on is for its owner alone.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // Its memory holds secrets: it is left in no file, and read by no other process of the same user.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    tell("to leave no core behind", setrlimit(Resource::Core, none));
    tell("to keep its memory to itself", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    tell("to give up new privileges", set_no_new_privs(true));
}

fn tell(what: &str, done: rustix::io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!("{what} is not possible here: {error}.");
    }
}

/// One daemon works in a state directory.
fn lock(config: &Config) -> Result<Lock, Failure> {
    Lock::of_daemon(&config.state_dir).map_err(|error| match error {
        store::Error::Locked { holder } => {
            let state = escape(config.state_dir.as_os_str().as_encoded_bytes());
            Failure::new(Exit::Temporary, format!("{holder} is the daemon of the state in {state} already"))
                .meaning("One daemon at a time works in a state directory; nothing was done.")
                .remedy("Use that one (`mailtwin status`), or stop it first.")
        }
        other => Failure::of(Exit::Failed, &other).remedy("Look at the owner and the permissions of `state-dir`."),
    })
}

fn listen(config: &Config) -> Result<Listener, Failure> {
    if let Some(listener) = Listener::inherited() {
        return Ok(listener);
    }
    let Some(place) = place(&Variables::of_process(), &config.state_dir) else {
        return Err(Failure::new(Exit::Failed, "there is no place for the control socket whose name is short enough")
            .remedy("Set RUNTIME_DIRECTORY to a directory with a short name that is for this user alone."));
    };
    Listener::bind(&place).map_err(|error| {
        let place = escape(place.as_os_str().as_encoded_bytes());
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return Failure::new(Exit::Temporary, format!("another daemon listens on {place}"))
                .remedy("Stop it; or, if it is to keep other accounts, give this one a RUNTIME_DIRECTORY of its own.");
        }
        Failure::new(Exit::Failed, format!("the control socket {place} cannot be made: {error}"))
            .remedy("Look at the owner and the permissions of its directory.")
    })
}

/// What the configuration names.
fn permitted(config: &Config, named: Option<&Path>, environment: &Environment) -> Permitted {
    let mut permitted = Permitted::default();
    permitted.files.insert(config.path.clone());
    match named {
        Some(path) => drop(permitted.files.insert(path.to_owned())),
        None => permitted.files.extend(environment.configuration_files()),
    }
    for account in config.accounts.values() {
        let endpoint = &account.endpoint;
        match &endpoint.password {
            Some(Secret::Command(command)) => drop(permitted.commands.insert(command.clone())),
            Some(Secret::File(path)) => drop(permitted.files.insert(path.clone())),
            Some(Secret::Credential(name)) => {
                let directory = environment.get("CREDENTIALS_DIRECTORY").map(Path::new);
                permitted.files.extend(directory.map(|directory| directory.join(name)));
            }
            Some(Secret::Environment(_) | Secret::Literal(_)) | None => {}
        }
        if let Target::Tunnel(command) = &endpoint.target {
            permitted.commands.insert(command.clone());
        }
        permitted.commands.extend(endpoint.token_command.clone());
        permitted.commands.extend(account.hooks.all().map(|(_, command)| command.to_vec()));
        permitted.files.extend(endpoint.tls.ca.clone());
        permitted
            .files
            .extend(endpoint.tls.client.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]));
        permitted.maildirs.insert(account.maildir.clone());
    }
    permitted
}
