//! The voice: the only place that writes to standard output and standard error.
//!
//! Reports go to standard output, all else to standard error. A reader that goes away (`mailtwin status | head -1`)
//! ends the output quietly and nothing else: a synchronisation that is under way is not cut off by it.

use super::failure::Failure;
use super::progress::Progress;
use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Decides for one stream. `no_color` and `term` are the values of the variables NO_COLOR and TERM.
    pub fn colours(self, is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb"),
        }
    }
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A name or a heading.
    Strong,
    /// All is well.
    Good,
    /// Somebody should look.
    Attention,
    /// Something failed.
    Bad,
    /// Less important than the rest.
    Faint,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Good => "32",
            Self::Attention => "33",
            Self::Bad => "1;31",
            Self::Faint => "2",
        }
    }
}

/// Where a command speaks. Cheap to clone; all clones speak to the same two streams.
#[derive(Clone)]
pub struct Output(Arc<Streams>);

struct Streams {
    out: Stream,
    err: Stream,
    quiet: bool,
    json: bool,
    /// The progress bars below everything else that is written to standard error.
    bars: MultiProgress,
}

struct Stream {
    writer: Mutex<Writer>,
    colour: bool,
    is_terminal: bool,
}

struct Writer {
    to: Box<dyn Write + Send>,
    error: Option<io::Error>,
    /// Writing failed, so it was ended.
    deaf: bool,
}

/// How the output is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Colours or none.
    pub color: ColorChoice,
    /// Reports are JSON.
    pub json: bool,
    /// Nothing but reports and failures.
    pub quiet: bool,
}

impl Output {
    /// The streams of this process.
    pub fn of_process(manner: Manner) -> Self {
        let variable = |name| std::env::var(name).ok();
        let (no_color, term) = (variable("NO_COLOR"), variable("TERM"));
        let colours = |is_terminal| manner.color.colours(is_terminal, no_color.as_deref(), term.as_deref());
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self::new(Stream::new(io::stdout(), colours(out), out), Stream::new(io::stderr(), colours(err), err), manner)
    }

    fn new(out: Stream, err: Stream, manner: Manner) -> Self {
        let shows_bars = err.is_terminal && !manner.quiet;
        let target = if shows_bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        Self(Arc::new(Streams { out, err, quiet: manner.quiet, json: manner.json, bars }))
    }

    /// Whether reports are wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.0.json
    }

    /// Whether standard error is a terminal, and nothing asked for silence.
    pub fn is_lively(&self) -> bool {
        self.0.err.is_terminal && !self.0.quiet
    }

    /// Writes a line of a report to standard output.
    pub fn report(&self, line: impl AsRef<str>) {
        self.bytes(format!("{}\n", line.as_ref()).as_bytes());
    }

    /// Writes a report as JSON to standard output.
    pub fn json(&self, report: &impl Serialize) {
        match serde_json::to_string_pretty(report) {
            Ok(text) => self.report(text),
            Err(error) => self.0.out.lock().keep(io::Error::from(error)),
        }
    }

    /// Writes a report as JSON in one line, for a stream of them, at once.
    pub fn json_line(&self, report: &impl Serialize) {
        match serde_json::to_string(report) {
            Ok(text) => self.report(text),
            Err(error) => self.0.out.lock().keep(io::Error::from(error)),
        }
    }

    /// Whether nobody reads standard output any more: then a stream of reports ends.
    pub fn is_deaf(&self) -> bool {
        let mut out = self.0.out.lock();
        if let Err(error) = out.to.flush() {
            out.keep(error);
        }
        out.deaf
    }

    /// Writes bytes to standard output as they are: completions, manual pages.
    pub fn bytes(&self, bytes: &[u8]) {
        self.0.bars.suspend(|| self.0.out.lock().write(bytes));
    }

    /// Writes a remark to standard error, unless silence is wanted.
    pub fn note(&self, line: impl AsRef<str>) {
        if !self.0.quiet {
            self.diagnostic(format!("{}\n", line.as_ref()).as_bytes());
        }
    }

    /// Writes a failure to standard error: what happened, what it means, what to do.
    pub fn failure(&self, failure: &Failure) {
        let mut text = format!("{} {}\n", self.paint_error(Style::Bad, "error:"), failure.what);
        for detail in &failure.details {
            text.push_str(&format!("    {detail}\n"));
        }
        for sentence in failure.meaning.iter().chain(&failure.remedy) {
            text.push_str(&format!("  {sentence}\n"));
        }
        self.diagnostic(text.as_bytes());
    }

    /// Writes to standard error, above the progress bars.
    pub fn diagnostic(&self, bytes: &[u8]) {
        self.0.bars.suspend(|| self.0.err.lock().write(bytes));
    }

    /// Colours a text for standard output.
    pub fn paint(&self, style: Style, text: &str) -> String {
        paint(self.0.out.colour, style, text)
    }

    /// Colours a text for standard error.
    pub fn paint_error(&self, style: Style, text: &str) -> String {
        paint(self.0.err.colour, style, text)
    }

    /// Whether standard output shows colours.
    pub fn has_colour(&self) -> bool {
        self.0.out.colour
    }

    /// Whether standard error shows colours.
    pub fn error_has_colour(&self) -> bool {
        self.0.err.colour
    }

    /// Begins to show the progress of long work: a bar on a terminal, plain lines elsewhere, nothing if silence is
    /// wanted.
    pub fn progress(&self, label: &str) -> Progress {
        match (self.0.quiet, self.0.err.is_terminal) {
            (true, _) => Progress::silent(),
            (false, true) => Progress::bar(&self.0.bars, label),
            (false, false) => Progress::lines(self.clone(), label),
        }
    }

    /// Sees to it that all is written, and tells what could not be. A reader that went away is no error.
    ///
    /// # Errors
    /// The first failure to write a report, such as a full disk.
    pub fn finish(&self) -> io::Result<()> {
        let mut out = self.0.out.lock();
        let flushed = out.to.flush();
        if let Err(error) = flushed {
            out.keep(error);
        }
        out.error.take().map_or(Ok(()), Err)
    }
}

impl Stream {
    fn new(to: impl Write + Send + 'static, colour: bool, is_terminal: bool) -> Self {
        Self { writer: Mutex::new(Writer { to: Box::new(to), error: None, deaf: false }), colour, is_terminal }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.to.write_all(bytes) {
            self.keep(error);
        }
    }

    /// Stops writing. Only the first error is kept, and none for a reader that went away.
    fn keep(&mut self, error: io::Error) {
        self.to = Box::new(io::sink());
        self.deaf = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.error.get_or_insert(error);
        }
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    /// A stream that a test can read afterwards, and that may break.
    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Vec<u8>>>, Option<io::ErrorKind>);

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(kind) = self.1 {
                return Err(kind.into());
            }
            self.0.lock().expect("a tape").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tape {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("a tape").clone()).expect("text")
        }
    }

    fn output(out: &Tape, err: &Tape, colour: bool, quiet: bool) -> Output {
        let manner = Manner { quiet, ..Manner::default() };
        Output::new(Stream::new(out.clone(), colour, false), Stream::new(err.clone(), colour, false), manner)
    }

    #[test]
    fn a_failure_tells_what_happened_what_it_means_and_what_to_do() {
        let (out, err) = (Tape::default(), Tape::default());
        let failure = Failure::new(Exit::Failed, "it broke").meaning("Nothing was lost.").remedy("Run it again.");
        output(&out, &err, false, true).failure(&failure);
        assert_eq!(err.text(), "error: it broke\n  Nothing was lost.\n  Run it again.\n");
        assert_eq!(out.text(), "");
    }

    #[test]
    fn silence_spares_reports_and_failures_only() {
        let (out, err) = (Tape::default(), Tape::default());
        let output = output(&out, &err, true, true);
        output.note("a remark");
        output.progress("work").set(1, 2, 3);
        output.report(output.paint(Style::Good, "fine"));
        assert_eq!((out.text().as_str(), err.text().as_str()), ("\x1b[32mfine\x1b[0m\n", ""));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
        for (kind, is_error) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)] {
            let out = Tape(Arc::default(), Some(kind));
            let output = output(&out, &Tape::default(), false, false);
            output.report("one");
            output.report("two");
            assert_eq!(output.finish().is_err(), is_error, "{kind}");
        }
    }

    #[test]
    fn progress_is_a_plain_line_where_there_is_no_terminal() {
        let err = Tape::default();
        let output = output(&Tape::default(), &err, false, false);
        let progress = output.progress("work");
        progress.set(1, 200, 1024);
        progress.set(2, 200, 2048);
        progress.finish();
        assert_eq!(err.text(), "work: 1 of 200 messages, 1.00 KiB\nwork: 2 of 200 messages, 2.00 KiB\n");
    }

    #[test]
    fn colours_follow_the_terminal_unless_told() {
        for (choice, terminal, no_color, term, expected) in [
            (ColorChoice::Auto, true, None, Some("xterm"), true),
            (ColorChoice::Auto, false, None, Some("xterm"), false),
            (ColorChoice::Auto, true, Some("1"), Some("xterm"), false),
            (ColorChoice::Auto, true, Some(""), Some("xterm"), true),
            (ColorChoice::Auto, true, None, Some("dumb"), false),
            (ColorChoice::Always, false, Some("1"), None, true),
            (ColorChoice::Never, true, None, None, false),
        ] {
            assert_eq!(
                choice.colours(terminal, no_color, term),
                expected,
                "{choice:?} {terminal} {no_color:?} {term:?}"
            );
        }
    }
}
