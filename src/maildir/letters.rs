//! What the letters of a folder's file names mean: the standard ones, and those that `dovecot-keywords` explains.
//!
//! Pure. A letter `a` to `z` has the meaning that the folder's table gives it, and none where it has no entry: such a
//! letter is never interpreted, never given to another keyword, and stays in the name. So does what this table did not
//! know when the name was read: a name is changed by taking letters out and putting letters in, never written anew.

use crate::mail::{BaseName, Flags, Keyword, Storable};
use crate::maildir::name::{FileName, print};
use std::collections::{BTreeMap, BTreeSet};

/// Where the keywords of messages live on this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keywords {
    /// In the letters `a` to `z` of file names, explained in each folder's `dovecot-keywords`, as Dovecot does it.
    #[default]
    Dovecot,
    /// In the state's database alone; `$Forwarded` is the letter `P`.
    Database,
    /// Nowhere: no keyword is synchronised.
    None,
}

/// The table of a folder: which letter is which keyword.
///
/// An entry that is no keyword, or one that Dovecot made up for a letter whose name was lost, takes its letter all the
/// same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Table(BTreeMap<u8, Option<Keyword>>);

/// What the letters in a folder mean now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letters {
    keywords: Keywords,
    table: Table,
    /// Letters that file names have, and that nobody explains.
    stray: BTreeSet<u8>,
    /// No entry can be added for now.
    closed: bool,
}

/// How many keywords can have a letter.
const LETTERS: u8 = 26;

impl Table {
    /// Reads a table: lines of a number, a blank and a name. What is none is passed by, as Dovecot does.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut table = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b' ').filter(|at| at + 1 < line.len()) else {
                continue;
            };
            let number = std::str::from_utf8(&line[..at]).ok().and_then(|digits| digits.parse::<u8>().ok());
            let Some(number) = number.filter(|number| *number < LETTERS) else { continue };
            let keyword = std::str::from_utf8(&line[at + 1..]).ok().and_then(Keyword::new);
            table.insert(b'a' + number, keyword.filter(|keyword| !is_made_up(keyword)));
        }
        Self(table)
    }

    /// The letters of a keyword.
    fn letters_of<'t>(&'t self, keyword: &'t Keyword) -> impl Iterator<Item = u8> + 't {
        self.0.iter().filter(move |(_, known)| known.as_ref() == Some(keyword)).map(|(letter, _)| *letter)
    }

    /// The lines to append, so that these keywords get the lowest letters that neither the table nor a file has; those
    /// for which none is left are passed over.
    pub(super) fn entries(&self, keywords: &[Keyword], stray: &BTreeSet<u8>) -> String {
        let mut free = (b'a'..b'a' + LETTERS).filter(|letter| !self.0.contains_key(letter) && !stray.contains(letter));
        let mut lines = String::new();
        let mut done: BTreeSet<&Keyword> = BTreeSet::new();
        for keyword in keywords {
            if is_made_up(keyword) || self.letters_of(keyword).next().is_some() || !done.insert(keyword) {
                continue;
            }
            let Some(letter) = free.next() else { break };
            lines += &format!("{} {}\n", letter - b'a', keyword.as_wire());
        }
        lines
    }
}

/// Tells whether Dovecot made the name up for a letter that it found without an entry.
fn is_made_up(keyword: &Keyword) -> bool {
    let number = keyword.as_wire().strip_prefix("unknown-").map(|rest| rest.trim_end_matches('?'));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Letters {
    /// Those of a folder that has no table.
    pub fn new(keywords: Keywords) -> Self {
        Self { keywords, table: Table::default(), stray: BTreeSet::new(), closed: false }
    }

    /// The same with what the table says now.
    pub(super) fn with_table(&self, table: Table) -> Self {
        let stray = self.stray.iter().filter(|letter| !table.0.contains_key(*letter)).copied().collect();
        Self { table, stray, ..self.clone() }
    }

    /// The same where these letters are in use.
    pub(super) fn with_letters_in_use(&self, used: &BTreeSet<u8>) -> Self {
        let stray = used.iter().filter(|letter| !self.table.0.contains_key(*letter)).copied().collect();
        Self { stray, ..self.clone() }
    }

    /// The same, when no entry can be added.
    pub(super) fn closed(&self) -> Self {
        Self { closed: true, ..self.clone() }
    }

    /// Where keywords live.
    pub(super) fn keywords(&self) -> Keywords {
        self.keywords
    }

    /// Tells whether file names with these letters may say another thing here than by the standard letters alone.
    pub(super) fn explains_more(&self, used: &BTreeSet<u8>) -> bool {
        match self.keywords {
            Keywords::Dovecot => used.iter().any(|letter| self.table.0.contains_key(letter)),
            Keywords::Database => false,
            Keywords::None => true,
        }
    }

    /// Letters that file names have, and that nobody explains.
    pub(super) fn stray(&self) -> &BTreeSet<u8> {
        &self.stray
    }

    /// The flags that a file name tells.
    pub fn flags(&self, name: &FileName) -> Flags {
        let mut flags = name.flags.clone();
        match self.keywords {
            Keywords::None => flags.remove_keyword(&Keyword::forwarded()),
            Keywords::Database => {}
            Keywords::Dovecot => {
                let known = name.letters().filter_map(|letter| self.table.0.get(&letter)?.clone());
                known.for_each(|keyword| flags.insert_keyword(keyword));
            }
        }
        flags
    }

    /// What the folder can store: `flags` has everything that it has a letter for, and of nothing else do its file names
    /// say anything; `any_keyword` tells whether there are letters left for others.
    pub fn storable(&self) -> Storable {
        let mut storable = Storable { any_keyword: false, ..Storable::everything() };
        if self.keywords != Keywords::None {
            storable.flags.insert_keyword(Keyword::forwarded());
        }
        if self.keywords == Keywords::Dovecot {
            self.table.0.values().flatten().for_each(|keyword| storable.flags.insert_keyword(keyword.clone()));
            let taken = self.table.0.len() + self.stray.len();
            storable.any_keyword = !self.closed && taken < usize::from(LETTERS);
        }
        storable
    }

    /// The keywords of `flags` that would get a letter if there are some left. `$Forwarded` is among them: Dovecot knows
    /// it by its letter only.
    pub(super) fn without_letter(&self, flags: &Flags) -> Vec<Keyword> {
        if !self.storable().any_keyword {
            return Vec::new();
        }
        let lacks = |keyword: &&Keyword| self.table.letters_of(keyword).next().is_none() && !is_made_up(keyword);
        flags.keywords().filter(lacks).cloned().collect()
    }

    /// The name of a new file with these flags, as far as they have letters.
    pub(super) fn name(&self, base: &BaseName, flags: &Flags) -> Vec<u8> {
        print(base, &Flags::new(), &self.letters_of(flags))
    }

    /// The name of a file whose flags change from `before` to `after`. Every other letter of it stays.
    pub(super) fn renamed(&self, base: &BaseName, name: &FileName, before: &Flags, after: &Flags) -> Vec<u8> {
        let removed = self.letters_of(&before.difference(after));
        let mut letters: Vec<u8> = print_letters(&name.flags);
        letters.extend(name.letters());
        letters.retain(|letter| !removed.contains(letter));
        letters.extend(self.letters_of(&after.difference(before)));
        letters.extend_from_slice(name.tail());
        print(base, &Flags::new(), &letters)
    }

    /// The letters that stand for these flags: every one that a reader may look at.
    fn letters_of(&self, flags: &Flags) -> Vec<u8> {
        let mut written = flags.clone();
        if self.keywords == Keywords::None {
            written.remove_keyword(&Keyword::forwarded());
        }
        let mut letters = print_letters(&written);
        if self.keywords == Keywords::Dovecot {
            flags.keywords().for_each(|keyword| letters.extend(self.table.letters_of(keyword)));
        }
        letters
    }
}

/// The standard letters of these flags.
fn print_letters(flags: &Flags) -> Vec<u8> {
    let base = BaseName::new(b"x").expect("a name");
    print(&base, flags, b"")["x:2,".len()..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters(table: &str) -> Letters {
        Letters::new(Keywords::Dovecot).with_table(Table::parse(table.as_bytes()))
    }

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).expect("a name")
    }

    fn keyword(text: &str) -> Keyword {
        Keyword::new(text).expect("a keyword")
    }

    fn renamed(letters: &Letters, from: &str, before: &str, after: &str) -> String {
        let name = name(from);
        let to = letters.renamed(&name.base, &name, &Flags::parse(before), &Flags::parse(after));
        String::from_utf8(to).expect("text")
    }

    #[test]
    fn a_letter_is_what_the_table_says_and_nothing_without_an_entry() {
        let letters = letters("0 work\n25 Later\n2 $Forwarded\n");
        assert_eq!(letters.flags(&name("1.a:2,Saz")), Flags::parse("\\Seen work Later"));
        assert_eq!(letters.flags(&name("1.a:2,bS")), Flags::parse("\\Seen"));
        assert_eq!(letters.flags(&name("1.a:2,c")), Flags::parse("$Forwarded"));
        assert_eq!(letters.flags(&name("1.a:2,P")), Flags::parse("$Forwarded"));
        assert_eq!(Letters::new(Keywords::Database).flags(&name("1.a:2,Pa")), Flags::parse("$Forwarded"));
        assert_eq!(Letters::new(Keywords::None).flags(&name("1.a:2,PSa")), Flags::parse("\\Seen"));
    }

    #[test]
    fn a_name_is_changed_and_not_written_anew() {
        let letters = letters("0 work\n2 $Forwarded\n3 b\n");
        assert_eq!(renamed(&letters, "1.a:2,Sx,t=1", "\\Seen", "work $Forwarded"), "1.a:2,Pacx,t=1");
        assert_eq!(renamed(&letters, "1.a:2,PSax", "\\Seen work $Forwarded", "\\Seen"), "1.a:2,Sx");
        assert_eq!(renamed(&letters, "1.a:2,cx", "$Forwarded", "\\Flagged"), "1.a:2,Fx");
        // The table explains `d` only since the name was read: whoever set it is heard in the next look.
        assert_eq!(renamed(&letters, "1.a:2,d", "", "\\Seen"), "1.a:2,Sd");
        assert_eq!(renamed(&Letters::new(Keywords::None), "1.a:2,P", "", "\\Seen"), "1.a:2,PS");
    }

    #[test]
    fn what_the_folder_says_and_what_it_could_store_are_two_things() {
        let mut letters = letters("0 work\n");
        assert!(letters.storable().any_keyword && letters.storable().flags.contains_keyword(&keyword("WORK")));
        assert_eq!(letters.without_letter(&Flags::parse("\\Seen Work x y")), [keyword("x"), keyword("y")]);
        letters = letters.with_letters_in_use(&(b'a'..=b'z').collect());
        assert!(!letters.storable().any_keyword, "letters in use are not given away");
        assert!(letters.without_letter(&Flags::parse("x")).is_empty());
        assert!(!Letters::new(Keywords::Dovecot).closed().storable().any_keyword);
        assert!(!Letters::new(Keywords::Database).storable().any_keyword);
    }

    #[test]
    fn a_name_that_dovecot_made_up_takes_its_letter_and_means_nothing() {
        let letters = letters("0 unknown-0\n1 unknown-1?\n2 b(c\n3 unknown-x\n");
        assert_eq!(letters.flags(&name("1.a:2,abcd")), Flags::parse("unknown-x"));
        let table = Table::parse(b"0 unknown-0\n2 b(c\n");
        assert_eq!(table.entries(&[keyword("x"), keyword("unknown-7")], &BTreeSet::from([b'b'])), "3 x\n");
    }

    proptest! {
        #[test]
        fn an_appended_table_keeps_what_it_said(
            text in prop::collection::vec(prop_oneof!["[0-9]{1,2} [A-Za-z$]{1,5}", "[ -~]{0,9}"], 0..30),
            added in prop::collection::vec("[A-Za-z$]{1,3}", 0..40),
            stray in prop::collection::btree_set(b'a'..=b'z', 0..5),
        ) {
            let mut text = text.join("\n");
            if !text.is_empty() { text.push('\n'); }
            let before = Table::parse(text.as_bytes());
            let added: Vec<Keyword> = added.iter().filter_map(|word| Keyword::new(word)).collect();
            let lines = before.entries(&added, &stray);
            let after = Table::parse(format!("{text}{lines}").as_bytes());
            for (letter, known) in &before.0 {
                prop_assert_eq!(after.0.get(letter), Some(known));
            }
            for letter in after.0.keys().filter(|letter| !before.0.contains_key(*letter)) {
                prop_assert!(!stray.contains(letter));
            }
            let room = 26 - before.0.len() - stray.iter().filter(|l| !before.0.contains_key(*l)).count();
            for keyword in &added {
                let has = after.letters_of(keyword).next().is_some();
                prop_assert!(has || lines.lines().count() == room, "{keyword:?} has no letter");
                prop_assert!(after.letters_of(keyword).count() <= before.letters_of(keyword).count().max(1));
            }
        }

        #[test]
        fn flags_that_are_written_are_read_again(
            before in prop::sample::subsequence(vec!["\\Seen", "\\Flagged", "$Forwarded", "work", "b", "other"], 0..=6),
            after in prop::sample::subsequence(vec!["\\Seen", "\\Flagged", "$Forwarded", "work", "b", "other"], 0..=6),
            foreign in "[xyz]{0,2}",
            forwarded in any::<bool>(),
        ) {
            let letters = letters(if forwarded { "0 work\n1 b\n2 $forwarded\n" } else { "0 work\n1 b\n" });
            let storable = Storable { any_keyword: false, ..letters.storable() };
            let [before, after] = [before, after].map(|words| storable.part_of(&Flags::parse(&words.join(" "))));
            let base = BaseName::new(b"1.a").expect("a name");
            let first = [letters.name(&base, &before), foreign.clone().into_bytes()].concat();
            let read = FileName::parse(&first).expect("a name");
            prop_assert_eq!(letters.flags(&read), before.clone());
            let second = FileName::parse(&letters.renamed(&base, &read, &before, &after)).expect("a name");
            prop_assert_eq!(letters.flags(&second), after);
            let strays = |name: &FileName| name.letters().filter(|l| *l >= b'x').collect::<BTreeSet<_>>();
            prop_assert_eq!(strays(&second), foreign.bytes().collect());
        }
    }
}
