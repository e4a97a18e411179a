//! Asking a person on the terminal before something is done.

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use std::io::{BufRead as _, IsTerminal as _};

/// Whether there is a person to ask.
pub(super) fn is_possible(output: &Output) -> bool {
    output.is_lively() && std::io::stdin().is_terminal()
}

/// Whether something is to be done: `--yes` said so, or a person on the terminal does. With `--json` nobody is asked.
pub(super) fn is_meant(yes: bool, output: &Output, question: &str) -> Result<bool, Failure> {
    Ok(yes || is_possible(output) && !output.is_json() && confirm(output, question)?)
}

/// Asks, and takes `y` or `yes` for a yes and everything else for a no.
pub(super) fn confirm(output: &Output, question: &str) -> Result<bool, Failure> {
    output.diagnostic(format!("{question} [y/N] ").as_bytes());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::new(Exit::Failed, format!("the answer could not be read: {error}")))?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("yesterday\n", false)] {
            assert_eq!(super::is_yes(answer), expected, "{answer:?}");
        }
    }
}
