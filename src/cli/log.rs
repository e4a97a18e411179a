//! Where the log goes: to the journal if systemd runs us, else to standard error.

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use clap::ValueEnum;
use std::io;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogChoice {
    /// To the journal if standard error is connected to it, else to standard error.
    #[default]
    Auto,
    /// To the journal.
    Journald,
    /// To standard error.
    Stderr,
}

/// The level that `-q`, `-v` and `-vv` choose.
pub fn level(quiet: bool, verbose: u8) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

/// Installs the log of this process; a second call changes nothing.
///
/// # Errors
/// The journal was asked for and there is none.
pub fn install(choice: LogChoice, level: LevelFilter, output: &Output) -> Result<(), Failure> {
    // Other crates are asked for warnings only: what they trace is not written with our secrets in mind.
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("mailtwin", level);
    let journal = match choice {
        LogChoice::Stderr => None,
        LogChoice::Auto if !stderr_is_the_journal() => None,
        LogChoice::Auto => tracing_journald::layer().ok(),
        LogChoice::Journald => Some(tracing_journald::layer().map_err(|error| {
            Failure::new(Exit::Failed, format!("the log was to go to the journal, which cannot be reached: {error}"))
                .remedy("Leave --log out, or write --log stderr.")
        })?),
    };
    let installed = match journal {
        Some(journal) => {
            let journal = journal.with_syslog_identifier("mailtwin".to_owned()).with_filter(filter);
            tracing_subscriber::registry().with(journal).try_init()
        }
        None => {
            let output = output.clone();
            let ansi = output.error_has_colour();
            let lines = tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(ansi)
                .with_writer(move || Line(output.clone()))
                .with_filter(filter);
            tracing_subscriber::registry().with(lines).try_init()
        }
    };
    // Only tests install twice, within one process; the first log stays.
    installed.or(Ok(()))
}

/// Compares standard error with the device and inode that systemd names in JOURNAL_STREAM.
fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Writes log lines through [`Output`], so that they do not tear progress bars.
struct Line(Output);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.diagnostic(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
