//! `mailtwin run`: the daemon, in the foreground.

use super::job::job;
use super::{Exit, Failure, Output};
use crate::config::{self, Config, Environment};
use crate::control::{Hello, Listener, Metrics, PROTOCOL, Variables, place};
use crate::mail::escape;
use crate::store::{self, Lock};
use crate::supervisor::{Account, Load, Notify, Supervisor};
use crate::worker::Job;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
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

/// What still blocks a thread at the end is not waited for longer.
const LAST_THREADS: Duration = Duration::from_millis(200);

/// Keep every account synchronised, until told to end.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RunArguments {}

pub(super) fn run(
    RunArguments {}: &RunArguments,
    config: Config,
    (named, environment): (Option<PathBuf>, Environment),
    output: &Output,
) -> Result<Exit, Failure> {
    lock_down();
    let _lock = lock(&config)?;
    let mut listener = listen(&config)?;
    let shown = |path: &Path| escape(path.as_os_str().as_encoded_bytes());
    listener.link(&config.state_dir).map_err(|error| {
        Failure::new(Exit::Failed, format!("the state directory {} cannot be used: {error}", shown(&config.state_dir)))
            .remedy("Look at its owner and permissions.")
    })?;
    let hello = Hello {
        mailtwin: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        pid: std::process::id(),
        state_dir: real(&config.state_dir).to_string_lossy().into_owned(),
        config: shown(&config.path),
    };
    let accounts = accounts(&config);
    let metrics = config.metrics;
    let load = load(named, environment, config.state_dir, metrics);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("threads could not be made: {error}")))?;
    if output.is_lively() {
        output.note(format!("mailtwin runs in the foreground, as process {}; Ctrl-C ends it.", std::process::id()));
    }
    let metrics = match metrics {
        Some(address) => Some(runtime.block_on(Metrics::bind(address)).map_err(|error| {
            Failure::new(Exit::Failed, format!("the metrics cannot be served at {address}: {error}"))
                .remedy("Choose another port for `metrics`, or see who has this one.")
        })?),
        None => None,
    };
    let ended = runtime.block_on(async {
        let (supervisor, handle) = Supervisor::new(accounts, load, Notify::of_process(), fastrand::u64(..));
        if let Some(metrics) = metrics {
            tokio::spawn(metrics.serve(handle.clone()));
        }
        // On its own: whatever the one does, the other answers.
        let served = tokio::spawn(async move { listener.serve(handle, hello).await });
        tokio::select! {
            ended = supervisor.run() => ended.map_err(|error| format!("signals cannot be had: {error}")),
            served = served => match served {
                Ok(Err(error)) => Err(format!("the control socket failed: {error}")),
                Ok(Ok(())) | Err(_) => Err("the control socket failed".to_owned()),
            },
        }
    });
    // The socket goes with the task that serves it.
    runtime.shutdown_timeout(LAST_THREADS);
    ended.map(|()| Exit::Done).map_err(|reason| Failure::new(Exit::Failed, reason))
}

/// Takes from this process what it never needs, before it has threads; what it starts inherits that.
fn lock_down() {
    // Whatever is made from now on is for its owner alone.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let tell = |what: &str, done: rustix::io::Result<()>| {
        if let Err(error) = done {
            tracing::debug!("{what} is not possible here: {error}.");
        }
    };
    // Its memory holds secrets: it is left in no file, and read by no other process of the same user.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    tell("to leave no core behind", setrlimit(Resource::Core, none));
    tell("to keep its memory to itself", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    tell("to give up new privileges", set_no_new_privs(true));
    let files = getrlimit(Resource::Nofile);
    tell("to open more files", setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }));
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

fn accounts(config: &Config) -> Vec<Account> {
    let account = |account: &config::Account| {
        let job = Job { flags_every: Some(account.flags_every), ..job(account, config) };
        Account {
            job,
            every: account.every,
            live: account.live,
            hooks: account.hooks.clone(),
            digest: account.digest(),
        }
    };
    config.accounts.values().map(account).collect()
}

/// How the configuration is read again: from the same place.
fn load(
    named: Option<PathBuf>,
    environment: Environment,
    state_dir: PathBuf,
    metrics: Option<std::net::SocketAddr>,
) -> Load {
    Box::new(move || {
        let config = Config::load(named.as_deref(), &environment).map_err(|error| {
            let failure = Failure::from(error);
            [&[failure.what][..], &failure.details].concat().join("\n  ")
        })?;
        if config.state_dir != state_dir {
            return Err("`state-dir` changed, which needs a restart of the daemon".to_owned());
        }
        if config.metrics != metrics {
            return Err("`metrics` changed, which needs a restart of the daemon".to_owned());
        }
        Ok(accounts(&config))
    })
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
