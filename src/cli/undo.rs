//! `mailtwin undo`: what was deleted comes back.

use super::daemon::Daemon;
use super::job::{failure, job, wait};
use super::status::count;
use super::sync::watch;
use super::{Exit, Failure, Output, Selected, Selection, Style, ask};
use crate::config::{Account, Config};
use crate::supervisor::{Answer, Work};
use crate::sync::Deed;
use crate::worker::{SUBJECTS, Trouble, Undoable, Undone, undo, undoable};
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const AFTER_HELP: &str = "\
Examples:
  mailtwin undo work                    list what was removed, newest first, and ask
  mailtwin undo work --since 2h         only what was removed in the last two hours
  mailtwin undo work/Lists --since 1d   only from one mailbox
  mailtwin undo work 41 47-52           these numbers of the list
  mailtwin undo work 41 --yes           bring it back without a question

A message that was deleted here or on the server comes back on both sides, in its mailbox, with its flags and its date: out \
of the Trash of the server, or from what mailtwin keeps for `keep-deleted`. An undo is listed too, and can be undone by its \
number: then the message is deleted again. Nothing can be brought back once `keep-deleted` is over, nor what was expunged \
from the Trash or Junk.";

/// Bring back what was deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct UndoArguments {
    /// The account, or one of its mailboxes.
    #[arg(value_name = "ACCOUNT[/MAILBOX]")]
    pub(super) selection: Selection,
    /// Numbers of the list, such as 41 or 47-52; without any, everything that is listed but earlier undos.
    #[arg(value_name = "NUMBER")]
    pub(super) numbers: Vec<Numbers>,
    /// Only what was done within this time, such as 2h or 3days.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) since: Option<Duration>,
    /// Do it without asking.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Numbers as they are typed: one, or two with a dash between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers(u64, u64);

impl FromStr for Numbers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first, last)),
            _ => Err("write a number of the list, such as 41, or a range, such as 47-52"),
        }
    }
}

/// The form of `--json`. Fields may be added within a version.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    account: &'a str,
    /// What can be taken back, newest first.
    listed: Vec<Undoable>,
    /// The numbers of what was taken back.
    undone: BTreeSet<u64>,
    /// What was to be taken back and was not.
    left: Vec<Left>,
}

#[derive(Serialize)]
struct Left {
    number: u64,
    reason: String,
}

pub(super) fn run(arguments: &UndoArguments, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let Selected { account, mailboxes } = Selected::one(&arguments.selection, config)?;
    let (job, name) = (job(account, config), account.name.as_str());
    let daemon = Daemon::find(config, output)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let since = arguments.since.map_or(0, |since| now.saturating_sub(since.as_secs()));
    let wanted = |name: &str| mailboxes.is_empty() || mailboxes.contains(name);
    let listed = match &daemon {
        Some(daemon) => {
            let mailbox = arguments.selection.mailbox.clone();
            match daemon.work_now(name, Work::List { since, mailbox }) {
                Ok(Answer::Listed(listed)) => Ok(listed),
                Ok(_) => Err(Trouble::of_another_answer()),
                Err(trouble) => Err(trouble),
            }
        }
        None => undoable(&job, since, &wanted).map_err(Trouble::from),
    };
    let listed = listed.map_err(|trouble| failure(account, trouble))?;
    let chosen: Vec<&Undoable> = listed.iter().filter(|one| is_chosen(one, &arguments.numbers)).collect();
    if listed.is_empty() {
        return Ok(nothing(account, arguments, output));
    }
    let numbers: BTreeSet<u64> = match arguments.numbers.as_slice() {
        [] => chosen.iter().filter(|one| one.obstacle.is_none()).map(|one| one.number).collect(),
        _ => chosen.iter().map(|one| one.number).collect(),
    };
    if !output.is_json() && !arguments.yes {
        let shown = if arguments.numbers.is_empty() { listed.iter().collect() } else { chosen };
        lines(&shown, now, output).iter().for_each(|line| output.report(line));
    }
    if numbers.is_empty() {
        let none = "there is nothing to bring back; give the number of an undo to undo it";
        output.note(format!("{}: {none}", account.name));
        return Ok(if arguments.numbers.is_empty() { Exit::Done } else { Exit::Failed });
    }
    if !is_confirmed(arguments, account, &listed, &numbers, output)? {
        if output.is_json() {
            let (version, undone, left) = (1, BTreeSet::new(), Vec::new());
            output.json(&Report { version, account: account.name.as_str(), listed, undone, left });
        }
        return Ok(Exit::Done);
    }
    let done = wait(watch(account, output, async |events| match &daemon {
        Some(daemon) => match daemon.work(name, Work::Undo { numbers }, events).await? {
            Answer::Undone(report, undone) => Ok((report, undone)),
            _ => Err(Trouble::of_another_answer()),
        },
        None => undo(&job, &numbers, events).await.map_err(Trouble::from),
    }))?;
    let (report, undone) = done.map_err(|trouble| failure(account, trouble))?;
    let exit = summarise(account, &undone, output);
    if output.is_json() {
        let Undone { done, left } = undone;
        let left = left.into_iter().map(|(number, reason)| Left { number, reason }).collect();
        output.json(&Report { version: 1, account: account.name.as_str(), listed, undone: done, left });
    }
    let held = if report.held > 0 { Exit::Held } else { Exit::Done };
    Ok(Exit::gravest([exit, held]))
}

fn is_chosen(one: &Undoable, numbers: &[Numbers]) -> bool {
    match numbers {
        // A list that is undone as a whole would else turn back and forth.
        [] => one.deed != Deed::Restored,
        numbers => numbers.iter().any(|Numbers(first, last)| (*first..=*last).contains(&one.number)),
    }
}

fn nothing(account: &Account, arguments: &UndoArguments, output: &Output) -> Exit {
    if output.is_json() {
        let (listed, undone, left) = (Vec::new(), BTreeSet::new(), Vec::new());
        output.json(&Report { version: 1, account: account.name.as_str(), listed, undone, left });
    }
    let what = if account.keep_deleted.is_zero() {
        "nothing is kept, for `keep-deleted` is 0s; look into the Trash of the server".to_owned()
    } else {
        let kept =
            humantime::format_duration(arguments.since.unwrap_or(account.keep_deleted).min(account.keep_deleted));
        format!("nothing was removed there in the last {kept}")
    };
    output.note(format!("{}: {what}", account.name));
    Exit::Done
}

fn is_confirmed(
    arguments: &UndoArguments,
    account: &Account,
    listed: &[Undoable],
    numbers: &BTreeSet<u64>,
    output: &Output,
) -> Result<bool, Failure> {
    if arguments.yes {
        return Ok(true);
    }
    let again = listed.iter().filter(|one| one.deed == Deed::Restored && numbers.contains(&one.number)).count();
    let what = match (again, numbers.len() - again) {
        (0, back) => format!("Bring {} back?", count(back as u64, "message")),
        (again, 0) => format!("Delete {} again?", count(again as u64, "message")),
        (again, back) => {
            let (back, again) = (count(back as u64, "message"), count(again as u64, "message"));
            format!("Bring {back} back, and delete {again} again?")
        }
    };
    let made: BTreeSet<&str> = listed
        .iter()
        .filter(|one| one.remakes && numbers.contains(&one.number))
        .map(|one| one.mailbox.as_str())
        .collect();
    let made: Vec<&str> = made.into_iter().collect();
    let what = match made.as_slice() {
        [] => what,
        made => format!("{what} {} is made again for that, on both sides.", made.join(", ")),
    };
    if ask::is_possible(output) && !output.is_json() {
        return ask::confirm(output, &format!("{}: {what}", account.name));
    }
    made.iter().for_each(|name| output.note(format!("{}: {name} would be made again, on both sides", account.name)));
    let place = match &arguments.selection.mailbox {
        Some(mailbox) => format!("{}/{}", account.name, crate::mail::escape(mailbox)),
        None => account.name.to_string(),
    };
    let all = if arguments.numbers.is_empty() { " with their numbers, or for all of it" } else { "" };
    output.note(format!("Nothing was done as yet. To do it{all}: mailtwin undo {place} ... --yes"));
    Ok(false)
}

fn summarise(account: &Account, undone: &Undone, output: &Output) -> Exit {
    for (number, reason) in &undone.left {
        output.note(format!("  {}: {reason}", output.paint_error(Style::Attention, &number.to_string())));
    }
    let done = count(undone.done.len() as u64, "removal");
    output.note(format!("{}: {done} undone", account.name));
    if undone.left.is_empty() { Exit::Done } else { Exit::Failed }
}

/// The list: a line for each batch, and below it its messages.
fn lines(listed: &[&Undoable], now: u64, output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    let alike =
        |a: &&Undoable, b: &&Undoable| (a.at, &a.mailbox, a.deed, &a.place) == (b.at, &b.mailbox, b.deed, &b.place);
    for group in listed.chunk_by(alike) {
        let one = group[0];
        let ago = humantime::format_duration(Duration::from_secs(coarse(now.saturating_sub(one.at))));
        let what = match one.deed {
            Deed::RemovedThere => "deleted here, so removed from the server",
            Deed::RemovedHere => "deleted on the server, so removed here",
            Deed::Restored => "brought back by undo",
        };
        let on = day_and_time(one.at);
        let gone = if one.remakes { " (deleted since)" } else { "" };
        let head = format!(
            "{ago} ago ({on}), {}{gone}: {} {what}; {}",
            one.mailbox,
            count(group.len() as u64, "message"),
            one.obstacle.as_ref().map_or_else(|| one.place.clone(), |why| format!("{} ({why})", one.place)),
        );
        lines.push(output.paint(Style::Strong, &head));
        for one in group.iter().take(SUBJECTS) {
            let subject = one.subject.as_deref().unwrap_or("(no subject)");
            lines.push(format!("  {:>6}  {subject}", one.number));
        }
        if let [_, .., last] = group
            && group.len() > SUBJECTS
        {
            let first = group[SUBJECTS].number;
            lines.push(format!("  {:>6}  and {} more", format!("{}-{first}", last.number), group.len() - SUBJECTS));
        }
    }
    lines
}

/// A moment, to the minute.
fn day_and_time(at: u64) -> String {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at.min(LATEST))).to_string();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

/// The last second that has four digits for its year.
const LATEST: u64 = 253_402_300_799;

/// A time that is as exact as people need it, in seconds.
pub(super) fn coarse(secs: u64) -> u64 {
    match secs {
        0..120 => secs,
        120..7200 => secs / 60 * 60,
        7200..172_800 => secs / 3600 * 3600,
        _ => secs / 86_400 * 86_400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Manner;

    fn one(number: u64, deed: Deed) -> Undoable {
        Undoable {
            number,
            at: 1_000,
            mailbox: "INBOX".into(),
            deed,
            place: "kept here".into(),
            flags: String::new(),
            subject: Some(format!("letter {number}")),
            remakes: false,
            obstacle: None,
        }
    }

    #[test]
    fn numbers_are_single_or_ranges() {
        assert_eq!("41".parse(), Ok(Numbers(41, 41)));
        assert_eq!("47-52".parse(), Ok(Numbers(47, 52)));
        for text in ["", "-", "5-", "9-3", "x", "1-2-3"] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_undo_is_undone_by_its_number_only() {
        let (removed, restored) = (one(1, Deed::RemovedHere), one(2, Deed::Restored));
        assert!(is_chosen(&removed, &[]) && !is_chosen(&restored, &[]));
        assert!(!is_chosen(&removed, &[Numbers(2, 9)]) && is_chosen(&restored, &[Numbers(2, 9)]));
    }

    #[test]
    fn the_list_is_newest_first_and_counts_what_is_long() {
        let listed: Vec<Undoable> = (1..=12).rev().map(|number| one(number, Deed::RemovedThere)).collect();
        let shown = lines(&listed.iter().collect::<Vec<_>>(), 4_601, &Output::of_process(Manner::default()));
        assert_eq!(shown.len(), 12);
        assert_eq!(
            (shown[0].as_str(), shown[1].as_str(), shown[11].as_str()),
            (
                "1h ago (1970-01-01 00:16 UTC), INBOX: 12 messages deleted here, so removed from the server; kept here",
                "      12  letter 12",
                "     1-2  and 2 more"
            )
        );
    }
}
