//! From the configuration to what a worker is told, and from how it fared to a failure in words.

use super::exit::Exit;
use super::failure::Failure;
use crate::config::{Account, Config};
use crate::mail::escape;
use crate::worker::{Job, Kind, Reins, State, Trouble};
use std::future::Future;
use std::sync::Arc;

/// How many actions a batch has at most: two commits to the disk are spread over so many messages.
const GROUP: usize = 500;

/// What a worker is told of an account.
pub(super) fn job(account: &Account, config: &Config) -> Job {
    let (patterns, names) = (account.mailboxes.clone(), account.mailboxes.clone());
    Job {
        account: account.name.to_string(),
        endpoint: account.endpoint.clone(),
        maildir: account.maildir.clone(),
        state_dir: config.state_dir.clone(),
        wanted: Arc::new(move |name| patterns.include(name)),
        layout: account.layout,
        rename: account.rename.clone(),
        subscribed_only: account.subscribed_only,
        create_mailboxes: account.create_mailboxes,
        delete_mailboxes: account.delete_mailboxes,
        named: Arc::new(move |name| names.name(name)),
        deletion: account.delete,
        policy: account.policy,
        keywords: account.keywords,
        limits: account.limits,
        guard: account.guard,
        keep_deleted: account.keep_deleted,
        flags_every: None,
        connections: account.connections,
        group: group(),
        lock: None,
        reins: Reins::default(),
        kept: None,
        tells_touched: account.hooks.follow_messages(),
        maildrop: account.maildrop.clone(),
        deliver_to: account.deliver_to.clone(),
        queues: account.queues.clone(),
    }
}

#[cfg(not(feature = "steps"))]
fn group() -> usize {
    GROUP
}

/// The crash tests look at one action between two steps.
#[cfg(feature = "steps")]
fn group() -> usize {
    std::env::var("MAILTWIN_GROUP").ok().and_then(|n| n.parse().ok()).unwrap_or(GROUP)
}

/// Runs what waits, to its end.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    // One thread for all that waits: what works has threads of its own, and each of those that allocate keeps memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("threads could not be made: {error}")))?;
    let done = runtime.block_on(work);
    // A read of a file that hangs must not keep the program.
    runtime.shutdown_background();
    Ok(done)
}

/// The exit code for the state of an account.
pub(super) fn exit(state: State) -> Exit {
    match state {
        State::NeverSynced | State::Ok => Exit::Done,
        State::Held => Exit::Held,
        State::Failed | State::LocalUnavailable | State::DiskFull => Exit::Failed,
        State::NeedsLogin => Exit::LoginRefused,
        State::Temporary => Exit::Temporary,
    }
}

/// Tells why an account failed, what that means, and what to do.
pub(super) fn failure(account: &Account, trouble: impl Into<Trouble>) -> Failure {
    let Trouble { state, kind, what, .. } = trouble.into();
    let failure = Failure::new(exit(state), format!("{}: {what}", account.name));
    let kept = "What was done before stays done; nothing was lost.";
    match kind {
        Kind::Login => failure.meaning("It was tried once only, so that the account is not locked.").remedy(format!(
            "Correct `user` or the password of [account.{}], then run `mailtwin check`.",
            account.name
        )),
        Kind::Secret => failure
            .meaning("Nobody was asked to log in.")
            .remedy("Run the command, or look at the file, as the user that mailtwin runs as."),
        Kind::Certificate { fingerprint } => {
            failure.meaning("Nothing was sent: whoever answered could not prove to be the server.").remedy(format!(
                "If that is your own server, add its authority with `tls-ca`, or pin this certificate with \
                 tls-fingerprint = \"{fingerprint}\" after comparing it on the server."
            ))
        }
        Kind::Network => {
            failure.meaning(kept).remedy("Look at the network and at `host` and `port`; the next run tries again.")
        }
        Kind::Locked => {
            failure.meaning("One process at a time works on an account.").remedy("Wait for it to end, or stop it.")
        }
        Kind::DiskFull => {
            failure.meaning(kept).remedy("Make room on the disk; the next run goes on where this one stopped.")
        }
        Kind::LocalUnavailable => {
            let place = escape(account.maildir.as_os_str().as_encoded_bytes());
            failure.meaning(format!(
                "Nothing was concluded from what is missing in {place}, and nothing deleted anywhere."
            ))
        }
        Kind::Quiet => {
            failure.meaning("It was not asked for anything; nothing was lost.").remedy("Run it again after that time.")
        }
        Kind::Interrupted | Kind::Other => failure.meaning(kept),
        // It says all that itself.
        Kind::Refused => failure,
    }
}
