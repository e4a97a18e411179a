//! Passwords and tokens, fetched at the moment of each login and kept nowhere.
//!
//! What surprises: of what a *command* prints only the first line counts (`pass show` prints notes below it), of a
//! *file* everything but the last line end. No error repeats the secret, nor the arguments of a command.

use super::endpoint::{Endpoint, Secret};
use crate::mail::escape;
use crate::monitor::{self, Input, Program, drain};
use secrecy::{ExposeSecret as _, SecretString};
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a command may take: long enough for a person to type a passphrase.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The longest secret, in bytes.
const MAX_SECRET: usize = 64 * 1024;

/// Fetches a secret; `what` names it in errors, such as `the password of account "work"`.
///
/// A command runs without a shell, with no standard input, and is killed with its process group after
/// [`COMMAND_LIMIT`]. A file that its group or others can read is refused. An empty secret is an error.
/// Cancel safe: dropping the future kills the command.
pub async fn reveal(secret: &Secret, what: &str) -> Result<SecretString, SecretError> {
    reveal_within(secret, what, COMMAND_LIMIT, |name| std::env::var_os(name)).await
}

/// Runs a command that prints an access token (OAuth2) in its first line. As [`reveal`] of a command.
pub async fn token(command: &[String], what: &str) -> Result<SecretString, SecretError> {
    run(command, COMMAND_LIMIT).await.map_err(|problem| SecretError { what: what.to_owned(), problem })
}

/// A secret could not be had: this says which, its source why and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what} could not be read")]
pub struct SecretError {
    what: String,
    /// What went wrong.
    #[source]
    pub problem: Problem,
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error(
        "the command \"{program}\" could not be started ({error}); give its full path, or check that it is installed"
    )]
    NotStarted { program: String, error: std::io::Error },
    #[error(
        "the command \"{program}\" did not end within {limit:?} and was stopped; \
         it may wait for a passphrase: unlock the agent that it asks, then try again"
    )]
    TimeLimit { program: String, limit: Duration },
    #[error("the command \"{program}\" failed ({status}){}; run it by hand to see why", said(.stderr))]
    Failed { program: String, status: ExitStatus, stderr: String },
    #[error("reading from the command \"{program}\" failed ({error})")]
    Pipe { program: String, error: std::io::Error },
    #[error("the file {path:?} cannot be read ({error}); create it, or correct its path or its owner")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{path:?} is not a plain file; name one that holds nothing but the secret")]
    NotAFile { path: PathBuf },
    #[error("the file {path:?} can be read by others (mode {mode:03o}); run: chmod 600 {path:?}")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the environment variable {name} is not set; set it where mailtwin is started")]
    NoVariable { name: String },
    #[error(
        "there is no directory of systemd credentials ($CREDENTIALS_DIRECTORY is not set); \
         start mailtwin as a service whose unit has LoadCredential={name}:/path/to/secret"
    )]
    NoCredentials { name: String },
    #[error("\"{name}\" is not the name of a systemd credential; give the name alone, without slashes")]
    CredentialName { name: String },
    #[error("{source_name} gives nothing; let it give the secret in its first line")]
    Empty { source_name: String },
    #[error("{source_name} gives more than 64 KiB; let it give the secret and nothing else")]
    TooLong { source_name: String },
    #[error("{source_name} gives bytes that are not UTF-8; store the secret as UTF-8 text")]
    NotText { source_name: String },
}

/// A digest of what a login would prove itself with now, under a key that the caller drew: it tells whether a secret is
/// still the one that was refused, without keeping that. Without any secret it is the same always.
///
/// Cancel safe, as [`reveal`].
pub async fn digest(endpoint: &Endpoint, key: &[u8; 32]) -> Result<[u8; 32], SecretError> {
    let secret = match (&endpoint.token_command, &endpoint.password) {
        (Some(command), _) => Some(token(command, "the access token").await?),
        (None, Some(password)) => Some(reveal(password, "the password").await?),
        (None, None) => None,
    };
    let secret = secret.as_ref().map_or("", |secret| secret.expose_secret());
    Ok(*blake3::keyed_hash(key, secret.as_bytes()).as_bytes())
}

async fn reveal_within(
    secret: &Secret,
    what: &str,
    limit: Duration,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<SecretString, SecretError> {
    let result = match secret {
        Secret::Command(command) => run(command, limit).await,
        Secret::File(path) => in_background(path.clone(), true).await,
        Secret::Environment(name) => match environment(name) {
            None => Err(Problem::NoVariable { name: escape(name) }),
            Some(value) => sealed(value.into_encoded_bytes().into(), &format!("the variable {}", escape(name))),
        },
        Secret::Credential(name) => match credential(name, environment("CREDENTIALS_DIRECTORY")) {
            Ok(path) => in_background(path, false).await,
            Err(problem) => Err(problem),
        },
        Secret::Literal(value) => Ok(value.clone()),
    };
    result.map_err(|problem| SecretError { what: what.to_owned(), problem })
}

async fn run(command: &[String], limit: Duration) -> Result<SecretString, Problem> {
    let program = escape(command.first().map_or("", String::as_str));
    let Ok(result) = tokio::time::timeout(limit, run_to_end(command, &program)).await else {
        return Err(Problem::TimeLimit { program, limit });
    };
    let (mut stdout, more) = result?;
    let source_name = format!("the command \"{program}\"");
    let end = memchr::memchr2(b'\n', b'\r', &stdout).unwrap_or(stdout.len());
    if more && end == stdout.len() {
        return Err(Problem::TooLong { source_name });
    }
    stdout.truncate(end);
    sealed(stdout, &source_name)
}

/// Standard output, and whether there was more than is kept.
async fn run_to_end(command: &[String], program: &str) -> Result<(Zeroizing<Vec<u8>>, bool), Problem> {
    let program = || program.to_owned();
    let started = Program::start(command, Input::None).await;
    let mut started = started.map_err(|error| Problem::NotStarted { program: program(), error })?;
    let (stdout, stderr) = (started.stdout, started.stderr);
    // Allocated once: growing would leave copies of the secret behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_SECRET));
    let mut complaint = Vec::new();
    let (more, _) = tokio::try_join!(drain(stdout, &mut secret, MAX_SECRET), drain(stderr, &mut complaint, 1024))
        .map_err(|error| Problem::Pipe { program: program(), error })?;
    let status = started.program.wait().await.map_err(|error| Problem::Pipe { program: program(), error })?;
    if !status.success() {
        return Err(Problem::Failed { program: program(), status, stderr: escape(complaint.trim_ascii()) });
    }
    Ok((secret, more))
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(" and said \"{stderr}\"") }
}

/// Where systemd put a credential (systemd.exec(5), LoadCredential=).
fn credential(name: &str, directory: Option<OsString>) -> Result<PathBuf, Problem> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(Problem::CredentialName { name: escape(name) });
    }
    let directory = directory.ok_or_else(|| Problem::NoCredentials { name: escape(name) })?;
    Ok(Path::new(&directory).join(name))
}

async fn in_background(path: PathBuf, private: bool) -> Result<SecretString, Problem> {
    let reading = path.clone();
    tokio::task::spawn_blocking(move || read_file(&reading, private))
        .await
        .unwrap_or_else(|error| Err(Problem::File { path, error: std::io::Error::other(error) }))
}

fn read_file(path: &Path, private: bool) -> Result<SecretString, Problem> {
    let failed = |error| Problem::File { path: path.to_owned(), error };
    let file = monitor::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Problem::NotAFile { path: path.to_owned() });
    }
    if private && metadata.mode() & 0o077 != 0 {
        return Err(Problem::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    file.take(MAX_SECRET as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let source_name = format!("the file {path:?}");
    if bytes.len() > MAX_SECRET {
        return Err(Problem::TooLong { source_name });
    }
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    sealed(bytes, &source_name)
}

fn sealed(bytes: Zeroizing<Vec<u8>>, source_name: &str) -> Result<SecretString, Problem> {
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::NotText { source_name: source_name.to_owned() })?;
    if text.is_empty() {
        return Err(Problem::Empty { source_name: source_name.to_owned() });
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests;
