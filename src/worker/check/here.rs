//! What can be proven on this machine: the state directory, the Maildir, the limits.

use super::{Check, Finding, Proven};
use crate::mail::escape;
use crate::maildir::FileSystem;
use crate::worker::ground::{Look, look};
use crate::worker::{Error, History, Job};
use rustix::process::{Resource, getrlimit};
use std::os::unix::fs::MetadataExt as _;

/// Open files that a pass may need: a window of bodies, the database, the connection, and a margin.
const OPEN_FILES: u64 = 256;
/// Less room than this is worth a word.
const LITTLE_ROOM: u64 = 256 << 20;
/// Fewer new files than this are worth a word.
const FEW_FILES: u64 = 10_000;

/// Proves the state, the Maildir and the limits. Blocking.
pub(super) fn look_here(job: &Job) -> (Vec<Finding>, Vec<Finding>, Vec<Finding>) {
    let mut state = state_dir(job);
    let mut maildir = Vec::new();
    if state.iter().any(|finding| matches!(finding.proven, Proven::Failed(_))) {
        maildir.push(Finding::skipped(Check::Maildir, "whose it is cannot be told without the state directory"));
    } else {
        match look(job) {
            Ok(found) => maildir.push(whose(job, &found)),
            Err(error @ Error::Store(_)) => {
                state.clear();
                state.push(Finding::error(Check::State, error));
                maildir.push(Finding::skipped(Check::Maildir, "whose it is cannot be told without the state"));
            }
            Err(error) => maildir.push(Finding::error(Check::Maildir, error)),
        }
    }
    let (more, limits) = file_systems(job);
    maildir.extend(more);
    (state, maildir, limits)
}

fn state_dir(job: &Job) -> Vec<Finding> {
    let dir = escape(job.state_dir.as_os_str().as_encoded_bytes());
    let found = match FileSystem::of(&job.state_dir) {
        Ok(found) => found,
        Err(error) => return vec![Finding::error(Check::State, error)],
    };
    if !found.is_writable {
        let what = if found.exists {
            format!("{dir} is not a directory that this user may write to")
        } else {
            format!("{dir} is not there, and this user may not make it")
        };
        return vec![Finding::failed(
            Check::State,
            what,
            "Make it, owned by the user that mailtwin runs as, mode 0700.",
        )];
    }
    if !found.exists {
        return vec![Finding::ok(Check::State, format!("{dir} will be made by the first run"))];
    }
    let Ok(metadata) = std::fs::metadata(&job.state_dir) else {
        return vec![Finding::skipped(Check::State, "it vanished meanwhile")];
    };
    let mode = metadata.mode() & 0o7777;
    let what = format!("{dir} has mode {mode:04o}");
    let remedy = format!("Run: chmod 700 {dir}");
    vec![if mode & 0o022 != 0 {
        Finding::failed(Check::State, format!("{what}: others may write to it"), remedy)
    } else if mode & 0o055 != 0 {
        Finding::advice(Check::State, format!("{what}: others may look into it"), remedy)
    } else if job.state().join("db").exists() {
        Finding::ok(Check::State, format!("{dir} is ours alone, and nobody holds the account"))
    } else {
        Finding::ok(Check::State, format!("{dir} is ours alone, and knows nothing of the account yet"))
    }]
}

fn whose(job: &Job, found: &Look) -> Finding {
    let place = escape(job.maildir.as_os_str().as_encoded_bytes());
    Finding::ok(
        Check::Maildir,
        match &found.root {
            None => format!("{place} is empty or not there yet: the first run makes it"),
            Some(_) if matches!(found.history, History::Foreign(_) | History::StateLost(_)) => {
                let why = found.notice.as_ref().map(|notice| format!(" ({notice})")).unwrap_or_default();
                format!(
                    "{place} has mail that this state does not know{why}: it is taken over, and both sides are compared"
                )
            }
            Some(_) => match mirrored(found) {
                1 => format!("{place} is this account's, and mirrors 1 mailbox"),
                many => format!("{place} is this account's, and mirrors {many} mailboxes"),
            },
        },
    )
}

fn mirrored(found: &Look) -> usize {
    found.records.iter().filter(|record| record.path.is_some() && record.parked.is_none()).count()
}

/// The file systems of the Maildir and of the state, and the limits of the process.
fn file_systems(job: &Job) -> (Vec<Finding>, Vec<Finding>) {
    let (mut maildir, mut limits) = (Vec::new(), Vec::new());
    let (mail, state) = (FileSystem::of(&job.maildir), FileSystem::of(&job.state_dir));
    match &mail {
        Err(error) => maildir.push(Finding::error(Check::Maildir, error.clone())),
        Ok(mail) => {
            let remedy = "Give mailtwin's user the right to write there.";
            if !mail.exists && !mail.is_writable {
                maildir.push(Finding::failed(Check::Maildir, "this user may not make it", remedy));
            }
            if !mail.takes_colons {
                maildir.push(Finding::failed(
                    Check::Maildir,
                    "its file system has names without colons, and every message with flags has one",
                    "Put the Maildir on a file system of Linux, such as ext4 or btrfs.",
                ));
            }
            if mail.is_on_network {
                maildir.push(Finding::advice(
                    Check::Maildir,
                    "it lies on a network file system, where a look may miss a file that is being renamed",
                    "A deletion is believed more slowly there; a local disk is better.",
                ));
            }
        }
    }
    if let (Ok(mail), Ok(state)) = (&mail, &state)
        && mail.device != state.device
    {
        maildir.push(Finding::advice(
            Check::Maildir,
            "it is on another file system than the state directory: what is deleted is copied to be kept, not linked",
            "If many large messages are deleted, put `state-dir` on the file system of the Maildir.",
        ));
    }
    for (what, found) in [("the Maildir", &mail), ("the state directory", &state)] {
        if let Ok(found) = found
            && let Some(finding) = room(what, found)
        {
            limits.push(finding);
        }
    }
    let files = getrlimit(Resource::Nofile).current;
    if let Some(few) = files.filter(|files| *files < OPEN_FILES) {
        let what = format!("only {few} files may be open at once, and {OPEN_FILES} are needed");
        limits.push(Finding::failed(Check::Limits, what, "Raise it: `ulimit -n 1024`, or LimitNOFILE= in the unit."));
    }
    if limits.is_empty() {
        let free = mail.map_or(0, |mail| mail.free) >> 20;
        let open = files.map_or_else(|| "any number of".to_owned(), |files| files.to_string());
        limits.push(Finding::ok(Check::Limits, format!("{free} MiB are free, {open} files may be open at once")));
    }
    (maildir, limits)
}

fn room(what: &str, found: &FileSystem) -> Option<Finding> {
    let remedy = "Make room; a run that meets a full disk stops, and loses nothing.";
    if found.free == 0 || found.files_left == Some(0) {
        return Some(Finding::failed(Check::Limits, format!("the disk of {what} is full"), remedy));
    }
    if found.free < LITTLE_ROOM {
        let what = format!("only {} MiB are free on the disk of {what}", found.free >> 20);
        return Some(Finding::advice(Check::Limits, what, remedy));
    }
    let few = found.files_left.filter(|left| *left < FEW_FILES)?;
    Some(Finding::advice(Check::Limits, format!("only {few} more files fit on the disk of {what}"), remedy))
}
