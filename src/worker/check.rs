//! Proves that an account will work, without touching mail: one finding after the other, each with its remedy.
//!
//! What surprises: a state that is there is opened, since only that tells whether it is whole and nobody holds it; one that
//! is not is not made. The password is fetched once, and tried once.

use crate::mail::{SpecialUse, escape};
use crate::maildir::FileSystem;
use crate::remote::imap::{Capabilities, Imap, Tier};
use crate::remote::session::{self, Opened, Reached};
use crate::remote::{Endpoint, Secret, Target, secret};
use crate::worker::ground::{Look, look};
use crate::worker::pass::blocking;
use crate::worker::{Error, Job, map};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

/// Open files that a pass may need: a window of bodies, the database, the connection, and a margin.
const OPEN_FILES: u64 = 256;
/// Less room than this is worth a word.
const LITTLE_ROOM: u64 = 256 << 20;
/// Fewer new files than this are worth a word.
const FEW_FILES: u64 = 10_000;

/// What is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The directory of the databases and locks.
    State,
    /// The password or token can be had.
    Secret,
    /// The server is reached, and is who it should be.
    Connection,
    /// It lets us in.
    Login,
    /// What it can do.
    Server,
    /// What it lists.
    Mailboxes,
    /// The Maildir can be used, and is ours.
    Maildir,
    /// There is room enough, and files may be open.
    Limits,
}

/// How a proof ended.
#[derive(Debug)]
pub enum Proven {
    /// It holds.
    Ok,
    /// It works, and could be better: what to do.
    Advice(String),
    /// It does not hold, by our own look: what to do.
    Failed(String),
    /// It does not hold, and a pass would end with this.
    Error(Box<Error>),
    /// An earlier failure makes it senseless.
    Skipped,
}

/// One line of a check.
#[derive(Debug)]
pub struct Finding {
    /// What was to be proven.
    pub check: Check,
    /// How that ended.
    pub proven: Proven,
    /// What was found, as a clause; escaped.
    pub what: String,
    /// Particulars, a clause each.
    pub notes: Vec<String>,
}

impl Finding {
    fn new(check: Check, proven: Proven, what: impl Into<String>) -> Self {
        Self { check, proven, what: what.into(), notes: Vec::new() }
    }

    fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Proven::Ok, what)
    }

    fn failed(check: Check, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Proven::Failed(remedy.into()), what)
    }

    fn advice(check: Check, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Proven::Advice(remedy.into()), what)
    }

    fn error(check: Check, error: impl Into<Error>) -> Self {
        let error = error.into();
        Self::new(check, Proven::Error(Box::new(error)), String::new()).said()
    }

    fn said(mut self) -> Self {
        if let Proven::Error(error) = &self.proven {
            self.what = error.chain();
        }
        self
    }

    fn skipped(check: Check, because: &str) -> Self {
        Self::new(check, Proven::Skipped, because)
    }
}

/// Proves everything about an account that can be proven without touching mail. Cancel safe.
pub async fn check(job: &Job) -> Vec<Finding> {
    let here = job.clone();
    let (state, maildir, limits) = blocking(move || Ok(look_here(&here))).await.unwrap_or_else(|error| {
        let stopped = Finding::error(Check::State, error);
        (vec![stopped], vec![], vec![])
    });
    let mut findings = state;
    findings.extend(look_there(job).await);
    findings.extend(maildir);
    findings.extend(limits);
    findings
}

fn look_here(job: &Job) -> (Vec<Finding>, Vec<Finding>, Vec<Finding>) {
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

async fn look_there(job: &Job) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut endpoint = job.endpoint.clone();
    let has_secret = match obtain(&mut endpoint).await {
        Ok(what) => {
            findings.push(Finding::ok(Check::Secret, what));
            true
        }
        Err(error) => {
            findings.push(Finding::error(Check::Secret, session::Error::from(error)));
            false
        }
    };
    let rest = [Check::Login, Check::Server, Check::Mailboxes];
    let skip = |from: usize, because: &'static str| {
        rest.into_iter().skip(from).map(move |check| Finding::skipped(check, because))
    };
    let reached = match session::reach(&endpoint).await {
        Ok(reached) => reached,
        Err(error) => {
            findings.push(Finding::error(Check::Connection, error));
            findings.extend(skip(0, "there is no connection"));
            return findings;
        }
    };
    findings.push(connected(&endpoint, &reached));
    if !has_secret {
        findings.extend(skip(0, "there is no secret to log in with"));
        return findings;
    }
    let Opened { mut imap, mechanism, .. } = match session::log_in(reached, &endpoint).await {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::error(Check::Login, error));
            findings.extend(skip(1, "there is no login"));
            return findings;
        }
    };
    let user = escape(&endpoint.user);
    findings.push(Finding::ok(
        Check::Login,
        mechanism.map_or_else(
            || "the server knew us already (PREAUTH)".to_owned(),
            |mechanism| format!("{user} is let in, with {mechanism}"),
        ),
    ));
    findings.push(able(imap.capabilities(), imap.tier(), &job.endpoint.disabled_extensions));
    findings.push(mailboxes(job, &mut imap).await);
    let _ = imap.logout().await;
    findings
}

/// Fetches the secret, so that the login need not do it again; tells where it came from.
async fn obtain(endpoint: &mut Endpoint) -> Result<&'static str, secret::SecretError> {
    if let Some(command) = &endpoint.token_command {
        // A token is printed anew at the login: its command is made for that.
        secret::token(command, "the access token").await?;
        return Ok("the command prints an access token");
    }
    let Some(password) = &endpoint.password else { return Ok("none is needed") };
    let what = match password {
        Secret::Command(_) => "the command prints a password",
        Secret::File(_) => "the file holds a password",
        Secret::Environment(_) => "the environment variable holds a password",
        Secret::Credential(_) => "the systemd credential holds a password",
        Secret::Literal(_) => "the password stands in the configuration",
    };
    let revealed = secret::reveal(password, "the password").await?;
    endpoint.password = Some(Secret::Literal(revealed));
    Ok(what)
}

fn connected(endpoint: &Endpoint, reached: &Reached) -> Finding {
    let peer = &reached.peer;
    Finding::ok(
        Check::Connection,
        match (&reached.protection, &endpoint.target, endpoint.tls.pin) {
            (Some(tls), _, Some(_)) => format!("{peer} shows the pinned certificate, {tls}"),
            (Some(tls), _, None) => format!("{peer} has a certificate that is trusted, {tls}"),
            (None, Target::Tunnel(_), _) => format!("{peer} answers"),
            (None, Target::Host { .. }, _) => format!("{peer} answers, without TLS"),
        },
    )
}

/// What the server can do, and what follows from what it cannot.
fn able(capabilities: &Capabilities, tier: Tier, disabled: &[String]) -> Finding {
    let tells = match tier {
        Tier::A => "tier A: it tells what changed and what is gone since the last look (QRESYNC)",
        Tier::B => "tier B: it tells what changed since the last look (CONDSTORE); what is gone is seen by looking",
        Tier::C => "tier C: it tells nothing about changes, so flags are seen by listing them all",
    };
    let lacking = [
        ("UIDPLUS", "a message is expunged only while nobody else has marked one, and uploads are found by looking"),
        ("MOVE", "a message goes to the Trash as a copy, and is expunged then"),
        ("LITERAL+", "each upload waits for the server's word, which is slower"),
        ("MULTIAPPEND", "messages are uploaded by one command each, which is slower"),
        ("LIST-STATUS", "each mailbox is asked about by itself, which is slower"),
        ("SPECIAL-USE", "the Trash and the like are known by their usual names only"),
    ];
    let has = |name: &str| capabilities.has(name) || name == "LITERAL+" && capabilities.has("LITERAL-");
    let lacking = lacking.iter().filter(|(name, _)| !has(name));
    let mut notes: Vec<String> = lacking.map(|(name, means)| format!("no {name}: {means}")).collect();
    if !disabled.is_empty() {
        notes.push(format!("unused by `disable-extensions`: {}", escape(disabled.join(", "))));
    }
    Finding { notes, ..Finding::ok(Check::Server, tells) }
}

async fn mailboxes(job: &Job, imap: &mut Imap) -> Finding {
    let listing = match imap.list().await {
        Ok(listing) => listing,
        Err(error) => return Finding::error(Check::Mailboxes, error),
    };
    let (listed, delimiter) = map::place(&listing);
    if listed.is_empty() {
        return Finding::failed(
            Check::Mailboxes,
            "the server lists no mailbox at all, which is not believed",
            "Try again later; if it stays so, ask the server's operator.",
        );
    }
    let wanted: Vec<_> = listed.iter().filter(|l| map::is_wanted(job, &l.name, delimiter)).collect();
    let mut roles: BTreeMap<SpecialUse, String> = BTreeMap::new();
    for mailbox in &listed {
        if let Some(role) = mailbox.role {
            roles.entry(role).or_insert_with(|| mailbox.name.to_string());
        }
    }
    let mut notes: Vec<String> =
        roles.iter().map(|(role, name)| format!("{}: {name}", format!("{role:?}").to_lowercase())).collect();
    if !roles.contains_key(&SpecialUse::Trash) {
        notes.push("no Trash: one is made when the first message goes there".to_owned());
    }
    let unusable = listing.hostile.iter().map(|(name, reason)| format!("{name} cannot be used: {reason}"));
    let misplaced =
        wanted.iter().filter_map(|l| Some(format!("{} cannot be used: {}", l.name, l.place.as_ref().err()?)));
    let bad: Vec<String> = unusable.chain(misplaced).collect();
    let what = format!("{} on the server, {} of them wanted", listed.len(), wanted.len());
    let proven = if wanted.is_empty() {
        Proven::Failed("Let `mailboxes` name at least one of them: `mailtwin folders` shows all.".to_owned())
    } else if bad.is_empty() {
        Proven::Ok
    } else {
        Proven::Advice("Rename those on the server; the others are synchronised.".to_owned())
    };
    notes.extend(bad);
    Finding { notes, ..Finding::new(Check::Mailboxes, proven, what) }
}
