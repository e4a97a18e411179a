//! The language of the tables: `a:SF{work} b` is a message `a`, seen, flagged, with a keyword, beside a message `b`.
//!
//! `.` is a mailbox without messages, `-` no mailbox, `m1..m9` nine messages. The letters are those of Maildir, `P`
//! included, which is `$Forwarded` on a server. `a#` is a file with the header of `a` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A message, by its name in the table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mail {
    pub name: String,
    /// Letters, sorted.
    pub letters: String,
    pub keywords: BTreeSet<String>,
}

/// One side: every mailbox by its name, levels divided by `/`, with its messages in order of their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Vec<Mail>>);

const SYSTEM: [(char, &str); 5] =
    [('D', "\\Draft"), ('F', "\\Flagged"), ('R', "\\Answered"), ('S', "\\Seen"), ('T', "\\Deleted")];
const FORWARDED: &str = "$Forwarded";

impl Mail {
    pub fn new(name: &str, letters: &str) -> Self {
        let letters: BTreeSet<char> = letters.chars().collect();
        Self { name: name.to_owned(), letters: letters.into_iter().collect(), keywords: BTreeSet::new() }
    }

    pub fn of_wire<'a>(name: &str, flags: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mail = Self::new(name, "");
        let mut letters = BTreeSet::new();
        for flag in flags {
            match SYSTEM.iter().find(|(_, wire)| wire.eq_ignore_ascii_case(flag)) {
                Some((letter, _)) => drop(letters.insert(*letter)),
                None if flag.eq_ignore_ascii_case(FORWARDED) => drop(letters.insert('P')),
                None if flag.eq_ignore_ascii_case("\\Recent") => {}
                None => drop(mail.keywords.insert(flag.to_owned())),
            }
        }
        mail.letters = letters.into_iter().collect();
        mail
    }

    /// Reads the letters of a file name by the table of its folder: letter and keyword.
    pub fn of_letters(name: &str, letters: &str, table: &BTreeMap<char, String>) -> Self {
        let (known, standard): (Vec<char>, Vec<char>) = letters.chars().partition(|letter| table.contains_key(letter));
        let mut mail = Self::new(name, &standard.into_iter().collect::<String>());
        let words: Vec<&str> = known.iter().map(|letter| table[letter].as_str()).collect();
        let Self { letters, keywords, .. } = Self::of_wire(name, words);
        mail.keywords = keywords;
        let both: BTreeSet<char> = mail.letters.chars().chain(letters.chars()).collect();
        Self { letters: both.into_iter().collect(), ..mail }
    }

    pub fn wire(&self) -> Vec<String> {
        let letter = |letter: char| match SYSTEM.iter().find(|(of, _)| *of == letter) {
            Some((_, wire)) => (*wire).to_owned(),
            None => FORWARDED.to_owned(),
        };
        self.letters.chars().map(letter).chain(self.keywords.iter().cloned()).collect()
    }

    fn parse(word: &str) -> Vec<Self> {
        let (word, keywords) = match word.split_once('{') {
            Some((word, keywords)) => (word, keywords.trim_end_matches('}').split(',').map(str::to_owned).collect()),
            None => (word, BTreeSet::new()),
        };
        let (names, letters) = word.split_once(':').unwrap_or((word, ""));
        let one = |name: &str| Self { keywords: keywords.clone(), ..Self::new(name, letters) };
        let Some((first, last)) = names.split_once("..") else { return vec![one(names)] };
        let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = |name: &str| -> u32 { name[stem.len()..].parse().expect("a range has numbers") };
        (number(first)..=number(last)).map(|n| one(&format!("{stem}{n}"))).collect()
    }
}

impl Tree {
    /// Reads one cell of a row into the tree; `-` adds nothing.
    pub fn add(&mut self, mailbox: &str, cell: &str) {
        if cell == "-" {
            return;
        }
        let words = cell.split_whitespace().filter(|word| *word != ".");
        self.0.insert(mailbox.to_owned(), words.flat_map(Mail::parse).collect());
        self.sort();
    }

    pub fn sort(&mut self) {
        self.0.values_mut().for_each(|mails| mails.sort());
    }

    /// The same without what file names cannot say.
    pub fn without_keywords(mut self) -> Self {
        self.0.values_mut().flatten().for_each(|mail| mail.keywords.clear());
        self.sort();
        self
    }

    /// The names of all messages.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.values().flatten().map(|mail| mail.name.clone()).collect()
    }

    pub fn get(&self, mailbox: &str) -> Option<&Vec<Mail>> {
        self.0.get(mailbox)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mailbox, mails) in &self.0 {
            write!(f, "\n    {mailbox} |")?;
            for mail in mails.iter().take(40) {
                write!(f, " {}", mail.name)?;
                if !mail.letters.is_empty() {
                    write!(f, ":{}", mail.letters)?;
                }
                if !mail.keywords.is_empty() {
                    write!(f, "{:?}", mail.keywords)?;
                }
            }
            if mails.len() > 40 {
                write!(f, " ... {} in all", mails.len())?;
            }
        }
        Ok(())
    }
}

/// The difference between two states of a side, by messages: what became of each.
pub enum Edit<'a> {
    MakeMailbox(&'a str),
    RemoveMailbox(&'a str),
    Add {
        mailbox: &'a str,
        mail: &'a Mail,
    },
    Mark {
        mailbox: &'a str,
        was: &'a Mail,
        mail: &'a Mail,
    },
    Remove {
        mailbox: &'a str,
        mail: &'a Mail,
    },
    /// It left one mailbox and came to another.
    Move {
        from: &'a str,
        was: &'a Mail,
        to: &'a str,
        mail: &'a Mail,
    },
}

/// What a person did to come from one state to the other.
pub fn edits<'a>(before: &'a Tree, after: &'a Tree) -> Vec<Edit<'a>> {
    let mut edits = Vec::new();
    let mut gone: Vec<(&str, &Mail)> = Vec::new();
    let mut came: Vec<(&str, &Mail)> = Vec::new();
    for mailbox in after.0.keys().filter(|name| !before.0.contains_key(*name)) {
        edits.push(Edit::MakeMailbox(mailbox));
    }
    for (mailbox, old) in &before.0 {
        let Some(new) = after.0.get(mailbox) else { continue };
        let mut left: Vec<&Mail> = new.iter().collect();
        let mut rest = Vec::new();
        // Those that did not change, then those with other flags.
        for mail in old {
            match left.iter().position(|other| *other == mail) {
                Some(at) => drop(left.swap_remove(at)),
                None => rest.push(mail),
            }
        }
        for was in rest {
            match left.iter().position(|other| other.name == was.name) {
                Some(at) => edits.push(Edit::Mark { mailbox, was, mail: left.swap_remove(at) }),
                None => gone.push((mailbox, was)),
            }
        }
        left.sort();
        came.extend(left.into_iter().map(|mail| (mailbox.as_str(), mail)));
    }
    for mailbox in after.0.keys().filter(|name| !before.0.contains_key(*name)) {
        came.extend(after.0.get(mailbox).into_iter().flatten().map(|mail| (mailbox.as_str(), mail)));
    }
    for (from, was) in gone {
        match came.iter().position(|(_, mail)| mail.name == was.name) {
            Some(at) => {
                let (to, mail) = came.remove(at);
                edits.push(Edit::Move { from, was, to, mail });
            }
            None => edits.push(Edit::Remove { mailbox: from, mail: was }),
        }
    }
    edits.extend(came.into_iter().map(|(mailbox, mail)| Edit::Add { mailbox, mail }));
    let removed = before.0.keys().filter(|name| !after.0.contains_key(*name));
    edits.extend(removed.map(|mailbox| Edit::RemoveMailbox(mailbox)));
    edits
}

/// The bytes of the message with this name, lines ended as in a Maildir.
pub fn body(name: &str) -> Vec<u8> {
    let text = |text: &str| text.as_bytes().to_vec();
    let letter = |rest: &str| text(&format!("Message-ID: <{name}@example.org>\nSubject: {name}\n\n{rest}"));
    match name {
        "empty" => vec![],
        "headless" => text("no header at all,\nonly text\n"),
        "blank" => text("\n\nafter an empty header\n"),
        "nul" => letter("before\0after\n"),
        "eight" => [letter("gr"), vec![0xfc, 0xdf, b'e', b'\n']].concat(),
        "unended" => letter("the last line has no end"),
        "crlf" => text(&String::from_utf8_lossy(&letter("made on another system\n")).replace('\n', "\r\n")),
        "mixed" => letter("one\r\ntwo\nthree\r\n"),
        "cr" => letter("a bare\rreturn\n"),
        "long" => letter(&format!("{}\n", "long ".repeat(40_000))),
        "deep" => letter(&"line\n".repeat(50_000)),
        "volatile" => text("Message-ID: <v@example.org>\nStatus: RO\nContent-Length: 5\nX-TUID: abc\n\nbody\n"),
        _ => letter(&format!("the text of {name}\n")),
    }
}

/// The bytes as they are compared: CRLF and LF are one, a last line has its end, and a NUL, which IMAP cannot carry, is
/// what Dovecot makes of it.
pub fn normalised(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' if bytes.get(i + 1) == Some(&b'\n') => {}
            0 => out.push(0x80),
            byte => out.push(*byte),
        }
    }
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    out
}

/// Finds the names of messages by their bytes.
pub struct Names(BTreeMap<Vec<u8>, String>);

impl Names {
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| (normalised(&body(&name)), name)).collect())
    }

    /// The name of a message; that of a stub has a `#` behind it.
    pub fn name(&self, bytes: &[u8]) -> String {
        if bytes.starts_with(b"X-Mailtwin-Stub: ") {
            let text = String::from_utf8_lossy(bytes);
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
            return format!("{}#", subject.unwrap_or_default());
        }
        let known = self.0.get(&normalised(bytes)).cloned();
        known.unwrap_or_else(|| format!("?{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(120)])))
    }
}
