//! `mailtwin forget`: an account leaves, its mail stays.

use super::job::{failure, job};
use super::status::count;
use super::{Exit, Failure, Output, Selected, Selection, ask};
use crate::config::Config;
use crate::mail::escape;
use crate::worker::{Forgotten, forget, forgettable};
use serde::Serialize;

const AFTER_HELP: &str = "\
Examples:
  mailtwin forget work           tell what would be forgotten, and ask
  mailtwin forget work --yes     do it without a question

Takes away what mailtwin has put beside the mail: the marker files in the Maildir, and the state of the account. Every message \
stays where it is, here and on the server, and so do the bodies that are kept of deleted messages; from then on nobody removes \
those but you, and `mailtwin undo` knows nothing of them any more. Remove the account from the configuration afterwards, or the \
next `mailtwin sync` meets it as a new one.";

/// Take away the markers and the state of an account; keep all mail.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ForgetArguments {
    /// The account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) account: Selection,
    /// Do it without asking.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    account: &'a str,
    /// Whether it was done.
    done: bool,
    #[serde(flatten)]
    forgotten: &'a Forgotten,
}

pub(super) fn run(arguments: &ForgetArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let Selected { account, mailboxes } = Selected::one(&arguments.account, config)?;
    if !mailboxes.is_empty() {
        let failure = Failure::new(Exit::Usage, "an account is forgotten as a whole, not by its mailboxes");
        return Err(failure.remedy("To leave a mailbox out, exclude it with `mailboxes` in the configuration."));
    }
    let name = account.name.as_str();
    let job = job(account, config);
    let failed = |error| failure(account, &error);
    let found = forgettable(&job).map_err(failed)?;
    let area = escape(job.state_dir.join("retention").join(name).as_os_str().as_encoded_bytes());
    if !output.is_json() {
        tell(name, &found, &area, output);
    }
    let is_meant = found.known && ask::is_meant(arguments.yes, output, &format!("Forget {name}?"))?;
    if is_meant {
        forget(&job).map_err(failed)?;
        output.note(format!("{name}: forgotten; remove [account.{name}] from the configuration"));
    } else if found.known {
        output.note(format!("Nothing was done. To do it: mailtwin forget {name} --yes"));
    }
    if output.is_json() {
        output.json(&Report { version: 1, account: name, done: is_meant, forgotten: &found });
    }
    Ok(Exit::Done)
}

fn tell(name: &str, found: &Forgotten, area: &str, output: &Output) {
    if !found.known {
        output.note(format!("{name}: nothing is known of it, so there is nothing to forget"));
        return;
    }
    let Forgotten { markers, markers_stay, kept, held, .. } = found;
    match markers_stay {
        Some(reason) => output.report(format!("{name}: no marker is removed: {reason}")),
        None => output.report(format!("{name}: {} of the Maildir, and the state", count(*markers as u64, "marker"))),
    }
    if *held > 0 {
        output.report(format!("  {} that nobody decided about: the messages stay.", count(*held, "held deletion")));
    }
    if *kept > 0 {
        let bodies = count(*kept as u64, "deleted message");
        output.report(format!("  Kept in {area}: {bodies}; from then on, remove what is there yourself."));
    }
    output.report("  All mail stays, here and on the server.");
}
