//! The progress of long work, as it suits where it is shown.

use super::output::Output;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far apart plain lines are, at least.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// How a bar looks. A test knows that it is right; if it were not, the default bar would do.
const TEMPLATE: &str = "{prefix:.bold} [{wide_bar}] {pos}/{len} messages, {msg}, {eta} left";

/// Shows how far a piece of work is. Dropping it takes a bar away.
pub struct Progress(Form);

enum Form {
    Bar(ProgressBar),
    Lines { output: Output, label: String, told: Mutex<Told> },
    Silent,
}

/// The last numbers, and when they were shown.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    untold: Option<String>,
}

impl Progress {
    pub(super) fn silent() -> Self {
        Self(Form::Silent)
    }

    pub(super) fn bar(bars: &MultiProgress, label: &str) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars.add(ProgressBar::new(0).with_style(style.progress_chars("=> ")));
        bar.set_prefix(label.to_owned());
        Self(Form::Bar(bar))
    }

    pub(super) fn lines(output: Output, label: &str) -> Self {
        Self(Form::Lines { output, label: label.to_owned(), told: Mutex::default() })
    }

    /// Tells how many messages of how many are done, and how many bytes that took.
    pub fn set(&self, done: u64, total: u64, bytes: u64) {
        match &self.0 {
            Form::Silent => {}
            Form::Bar(bar) => {
                let rate = bytes as f64 / bar.elapsed().as_secs_f64().max(0.001);
                bar.set_message(format!("{}, {}/s", HumanBytes(bytes), HumanBytes(rate as u64)));
                bar.set_length(total);
                bar.set_position(done);
            }
            Form::Lines { output, label, told } => {
                let line = format!("{label}: {done} of {total} messages, {}", HumanBytes(bytes));
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.at.is_some_and(|at| at.elapsed() < BETWEEN_LINES) {
                    told.untold = Some(line);
                } else {
                    *told = Told { at: Some(Instant::now()), untold: None };
                    output.note(line);
                }
            }
        }
    }

    /// Ends it: a bar goes away, and the last line is told if it was not.
    pub fn finish(self) {
        if let Form::Lines { output, told, .. } = &self.0 {
            let last = told.lock().unwrap_or_else(PoisonError::into_inner).untold.take();
            last.into_iter().for_each(|line| output.note(line));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_is_right() {
        ProgressStyle::with_template(TEMPLATE).expect("a template");
    }
}
