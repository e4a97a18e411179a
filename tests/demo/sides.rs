//! Both sides as they are, in a table: the server's from its model, the Maildir's read by the `maildir` crate, which
//! knows nothing of mailtwin.

use crate::letters::USER;
use crate::server::Server;
use crate::stage::{Ink, Stage};
use maildir::Maildir;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

/// What a message is on a side: how it is marked, or not there.
type Cell = Option<String>;

/// Every message: (mailbox, subject) to its two cells, server and Maildir.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sides(BTreeMap<(String, String), [Cell; 2]>);

impl Sides {
    /// Looks at both.
    pub fn look(server: &Server, root: &Path) -> Result<Self, Box<dyn Error>> {
        let mut sides = Self::default();
        for (mailbox, messages) in server.snapshot(USER) {
            for (_, flags, body) in messages {
                sides.put(&mailbox, 0, &body, flags.split(' ').filter_map(word_of_flag).collect())?;
            }
            let here = Maildir::from(root.join(&mailbox));
            for entry in here.list_new().chain(here.list_cur()) {
                let entry = entry?;
                let words = entry.flags().chars().filter_map(word_of_letter).collect();
                sides.put(&mailbox, 1, &std::fs::read(entry.path())?, words)?;
            }
        }
        Ok(sides)
    }

    fn put(&mut self, mailbox: &str, side: usize, body: &[u8], words: BTreeSet<&str>) -> Result<(), Box<dyn Error>> {
        let text = String::from_utf8_lossy(body);
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).ok_or("a letter has no subject")?;
        let unread = if words.contains("read") { None } else { Some("unread") };
        let shown: Vec<&str> = unread.into_iter().chain(words.into_iter().filter(|word| *word != "read")).collect();
        let shown = if shown.is_empty() { "read".to_owned() } else { shown.join(", ") };
        let cells = self.0.entry((mailbox.to_owned(), subject.to_owned())).or_default();
        match cells[side].replace(shown) {
            None => Ok(()),
            Some(_) => Err(format!("\"{subject}\" is twice in {mailbox}").into()),
        }
    }

    /// Whether both hold the same.
    pub fn agree(&self) -> bool {
        self.0.values().all(|[there, here]| there == here)
    }

    /// How many messages the server has.
    pub fn there(&self) -> usize {
        self.0.values().filter(|[there, _]| there.is_some()).count()
    }

    /// Shows what differs between the sides, or from what was shown before; all of it where nothing was.
    pub fn show(&self, before: &Self, stage: &Stage) {
        let is_news = |key: &(String, String), cells: &[Cell; 2]| {
            before.0.is_empty() || cells[0] != cells[1] || before.0.get(key) != Some(cells)
        };
        let gone = before.0.keys().filter(|key| !self.0.contains_key(*key)).map(|key| (key, &[None, None]));
        let rows: BTreeMap<_, _> = self.0.iter().filter(|(key, cells)| is_news(key, cells)).chain(gone).collect();
        let rest = self.0.len().saturating_sub(rows.keys().filter(|key| self.0.contains_key(**key)).count());

        println!();
        println!("    {}", stage.ink(Ink::Faint, &format!("{:<34}{:<20}{}", "", "on the server", "in the Maildir")));
        let mut last = "";
        for ((mailbox, subject), [there, here]) in rows {
            if mailbox != last {
                println!("    {}", stage.ink(Ink::Strong, mailbox));
                last = mailbox;
            }
            let (left, right) = (there.as_deref().unwrap_or("-"), here.as_deref().unwrap_or("-"));
            let row = format!("      {subject:<32}{left:<20}{right}");
            println!("{}", if there == here { row } else { stage.ink(Ink::Differs, &row) });
        }
        if rest > 0 {
            println!("    {}", stage.ink(Ink::Faint, &format!("and {rest} more, the same on both sides")));
        }
        println!();
    }
}

fn word_of_flag(flag: &str) -> Option<&str> {
    match flag {
        "\\Seen" => Some("read"),
        "\\Answered" => Some("answered"),
        "\\Flagged" => Some("flagged"),
        "\\Draft" => Some("draft"),
        "\\Deleted" => Some("deleted"),
        _ => None,
    }
}

fn word_of_letter(letter: char) -> Option<&'static str> {
    match letter {
        'S' => Some("read"),
        'R' => Some("answered"),
        'F' => Some("flagged"),
        'D' => Some("draft"),
        'T' => Some("deleted"),
        _ => None,
    }
}
