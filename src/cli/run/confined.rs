//! The process that works: it gives up what it does not need, and is the daemon from then on.

use super::{Found, LAST_THREADS, tell};
use crate::cli::job::job;
use crate::cli::{Exit, Failure};
use crate::config::{self, Config, Environment};
use crate::control::{Hello, Listener, Metrics, PROTOCOL};
use crate::mail::escape;
use crate::monitor::{Bounds, Link, Notify, readable};
use crate::supervisor::{Account, Load, Outside, Supervisor};
use crate::worker::Job;
use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

pub(super) fn run(config: Config, (named, environment): Found) -> Result<Exit, Failure> {
    let (link, beginning, socket) = Link::take().map_err(|error| {
        Failure::new(Exit::Usage, format!("there is no monitor at the standard input: {error}"))
            .remedy("Run `mailtwin run`; it starts this process by itself.")
    })?;
    // Threads that it starts are called so, too.
    tell("to have a name", rustix::thread::set_name(c"mailtwin"));
    let files = getrlimit(Resource::Nofile);
    tell("to open more files", setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }));
    found_maildirs(&config);
    let bounds = confine(&config, &environment);
    let notify = Notify::through(link);
    let listener = Listener::handed(socket);
    let hello = Hello {
        mailtwin: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        pid: getppid().map_or_else(std::process::id, |monitor| monitor.as_raw_nonzero().get().unsigned_abs()),
        state_dir: real(&config.state_dir).to_string_lossy().into_owned(),
        config: escape(config.path.as_os_str().as_encoded_bytes()),
    };
    let accounts = accounts(&config);
    let metrics = config.metrics;
    let load = load(named, environment, config.state_dir, metrics);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("threads could not be made: {error}")))?;
    let metrics = match metrics {
        Some(address) => Some(runtime.block_on(Metrics::bind(address)).map_err(|error| {
            Failure::new(Exit::Failed, format!("the metrics cannot be served at {address}: {error}"))
                .remedy("Choose another port for `metrics`, or see who has this one.")
        })?),
        None => None,
    };
    let ended = runtime.block_on(async {
        let outside = Outside { load, notify, bounds, paused: beginning.paused };
        let (supervisor, handle) = Supervisor::new(accounts, outside, fastrand::u64(..));
        if let Some(metrics) = metrics {
            tokio::spawn(metrics.serve(handle.clone()));
        }
        // On its own: whatever the one does, the other answers.
        let mut served = tokio::spawn(async move { listener.serve(handle, hello).await });
        let broken = async {
            match (&mut served).await {
                Ok(Err(error)) => format!("the control socket failed: {error}"),
                Err(_) => "the control socket failed".to_owned(),
                // It ends because the supervisor does.
                Ok(Ok(())) => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = supervisor.run() => ended.map_err(|error| format!("signals cannot be had: {error}")),
            reason = broken => Err(reason),
        };
        if !served.is_finished() {
            // A client that does not listen misses the last word.
            let _ = tokio::time::timeout(LAST_THREADS, served).await;
        }
        ended
    });
    // The socket goes with the task that serves it.
    runtime.shutdown_timeout(LAST_THREADS);
    ended.map(|()| Exit::Done).map_err(|reason| Failure::new(Exit::Failed, reason))
}

/// Makes the Maildirs of accounts of which nothing is known yet, as their first pass would: it could not reach them then.
fn found_maildirs(config: &Config) {
    for account in config.accounts.values().filter(|account| account.deliver_to.is_none()) {
        let is_missing =
            |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_missing(&config.state_dir.join(account.name.as_str())) && is_missing(&account.maildir) {
            // What stands against it, the pass finds out, and tells.
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(&account.maildir);
        }
    }
}

fn confine(config: &Config, environment: &Environment) -> Bounds {
    let maildirs = config.accounts.values().map(|account| account.maildir.as_path());
    let mut readable = readable(|name| environment.get(name).map(|value| value.as_os_str()));
    readable.extend(looked_at_by_tests());
    match Bounds::set(maildirs, &config.state_dir, &readable, config.metrics.map(|address| address.port())) {
        Ok(bounds) => bounds,
        Err(error) => {
            tracing::info!("this kernel cannot confine the daemon to its Maildirs and its state (Landlock): {error}.");
            Bounds::default()
        }
    }
}

#[cfg(not(feature = "steps"))]
fn looked_at_by_tests() -> Option<PathBuf> {
    None
}

/// The file that says where the machine is.
#[cfg(feature = "steps")]
fn looked_at_by_tests() -> Option<PathBuf> {
    std::env::var_os("MAILTWIN_NETWORK").and_then(|file| Some(Path::new(&file).parent()?.to_owned()))
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
