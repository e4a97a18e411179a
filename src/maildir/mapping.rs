//! Which mailbox is which directory: the layout, and the mailboxes that are called otherwise here.
//!
//! A rule renames a mailbox and everything beneath it; of several the one for the longest name holds. The way back takes
//! the rule for the longest name here, and is checked by going forth again: so it never leads to a mailbox that lies
//! elsewhere, whatever the rules are. That no two mailboxes meet in one directory depends on which mailboxes there are, and is
//! for the caller to see ([`Mapping::clash`]).

use crate::mail::{MailboxName, utf7};
use crate::maildir::layout::{self, HostileName, Layout, LocalPath, NoRemoteName};
use std::collections::BTreeMap;

/// Which mailbox is which directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    layout: Layout,
    /// From the levels on the server to the levels here, as on the wire.
    rules: BTreeMap<Vec<String>, Vec<String>>,
}

impl Mapping {
    /// Every mailbox under its own name.
    pub fn new(layout: Layout) -> Self {
        Self { layout, rules: BTreeMap::new() }
    }

    /// How the directories are laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Calls a mailbox otherwise here, and those beneath it: both names decoded, with `/` between the levels.
    pub fn rename(&mut self, remote: &str, local: &str) {
        let wire = |text: &str| text.split('/').map(utf7::encode).collect();
        self.rules.insert(wire(remote), wire(local));
    }

    /// Keeps a mailbox where it lies, whatever the rules are, and puts new ones beneath it there as well.
    pub fn keep(&mut self, name: &MailboxName, delimiter: Option<char>, path: &LocalPath) {
        if name.is_inbox() || self.to_local(name, delimiter).as_ref() == Ok(path) {
            return;
        }
        if let Ok(local) = layout::levels(path, self.layout) {
            self.rules.insert(levels(name, delimiter), local);
        }
    }

    /// Whether a rule is about this mailbox, or about one above it.
    pub fn is_renamed(&self, name: &MailboxName, delimiter: Option<char>) -> bool {
        !name.is_inbox() && self.rule(&levels(name, delimiter)).is_some()
    }

    /// The directory of a mailbox. `delimiter` is the server's for this name.
    pub fn to_local(&self, name: &MailboxName, delimiter: Option<char>) -> Result<LocalPath, HostileName> {
        let remote = levels(name, delimiter);
        match self.rule(&remote).filter(|_| !name.is_inbox()) {
            None => layout::to_local(name, delimiter, self.layout),
            Some((from, to)) => {
                let local = to.iter().chain(&remote[from.len()..]).map(String::as_str);
                layout::of_levels(local, self.layout)
            }
        }
    }

    /// The mailbox whose directory this is: exactly the one that [`Mapping::to_local`] maps here.
    pub fn to_remote(&self, path: &LocalPath, delimiter: Option<char>) -> Result<MailboxName, NoRemoteName> {
        if self.rules.is_empty() || path.as_str().is_empty() {
            return layout::to_remote(path, delimiter, self.layout);
        }
        let local = layout::levels(path, self.layout)?;
        let beneath = self.rules.iter().filter(|(_, to)| local.starts_with(to));
        let name = match beneath.max_by_key(|(_, to)| to.len()) {
            Some((from, to)) => {
                let remote: Vec<String> = from.iter().chain(&local[to.len()..]).cloned().collect();
                layout::join(&remote, delimiter)?
            }
            None => layout::to_remote(path, delimiter, self.layout)?,
        };
        if self.to_local(&name, delimiter).as_ref() == Ok(path) { Ok(name) } else { Err(NoRemoteName::Renamed) }
    }

    /// Two of these mailboxes that would have one directory, of which a rule is about at least one.
    pub fn clash<'n>(
        &self,
        names: impl IntoIterator<Item = (&'n MailboxName, Option<char>)>,
    ) -> Option<(&'n MailboxName, &'n MailboxName)> {
        let mut taken: BTreeMap<String, (&MailboxName, bool)> = BTreeMap::new();
        for (name, delimiter) in names {
            let Ok(path) = self.to_local(name, delimiter) else { continue };
            let renamed = self.is_renamed(name, delimiter);
            match taken.insert(path.as_str().to_lowercase(), (name, renamed)) {
                Some((other, was)) if (renamed || was) && other != name => return Some((other, name)),
                _ => {}
            }
        }
        None
    }

    /// The rule for the longest name at or above these levels.
    fn rule(&self, remote: &[String]) -> Option<(&Vec<String>, &Vec<String>)> {
        (1..=remote.len()).rev().find_map(|length| self.rules.get_key_value(&remote[..length]))
    }
}

fn levels(name: &MailboxName, delimiter: Option<char>) -> Vec<String> {
    layout::split(name.as_wire(), delimiter).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::encode(text).expect("a name")
    }

    fn path(text: &str) -> LocalPath {
        LocalPath::new(text).expect("a path")
    }

    fn mapping(layout: Layout, rules: &[(&str, &str)]) -> Mapping {
        let mut mapping = Mapping::new(layout);
        rules.iter().for_each(|(remote, local)| mapping.rename(remote, local));
        mapping
    }

    #[test]
    fn a_renamed_mailbox_takes_those_beneath_it_along() {
        let rules = [("Gesendete Objekte", "Sent"), ("[Gmail]/Alle", "Archive/All")];
        for (layout, sent, year, all) in [
            (Layout::Nested, "Sent", "Sent/2026", "Archive/All"),
            (Layout::MaildirPlusPlus, ".Sent", ".Sent.2026", ".Archive.All"),
            (Layout::Flat, "Sent", "Sent.2026", "Archive.All"),
        ] {
            let mapping = mapping(layout, &rules);
            for (remote, local) in
                [("Gesendete Objekte", sent), ("Gesendete Objekte/2026", year), ("[Gmail]/Alle", all)]
            {
                assert_eq!(mapping.to_local(&name(remote), Some('/')), Ok(path(local)), "{remote}");
                assert_eq!(mapping.to_remote(&path(local), Some('/')), Ok(name(remote)), "{local}");
            }
            assert_eq!(
                mapping.to_local(&MailboxName::inbox(), Some('/')),
                Ok(Mapping::new(layout).to_local(&MailboxName::inbox(), None).expect("it has one"))
            );
        }
    }

    #[test]
    fn a_directory_under_a_name_that_was_renamed_away_has_no_mailbox() {
        let mapping = mapping(Layout::Nested, &[("Sent Items", "Sent")]);
        assert_eq!(mapping.to_remote(&path("Sent Items"), Some('/')), Err(NoRemoteName::Renamed));
        assert_eq!(mapping.to_remote(&path("Sent Items/x"), Some('/')), Err(NoRemoteName::Renamed));
        assert_eq!(mapping.to_remote(&path("Drafts"), Some('/')), Ok(name("Drafts")));
    }

    #[test]
    fn names_may_be_exchanged_and_two_in_one_place_are_a_clash() {
        let exchanged = mapping(Layout::Nested, &[("A", "B"), ("B", "A")]);
        let (a, b, c) = (name("A"), name("B"), name("c"));
        let delimited = |names: &[&'static str]| names.iter().map(|n| name(n)).collect::<Vec<_>>();
        assert_eq!(exchanged.clash([(&a, Some('/')), (&b, Some('/'))]), None);
        assert_eq!(exchanged.to_remote(&path("A/x"), Some('/')), Ok(name("B/x")));
        let lone = mapping(Layout::Nested, &[("Sent Items", "Sent")]);
        let names = delimited(&["Sent", "Sent Items", "Other"]);
        assert_eq!(lone.clash(names.iter().map(|n| (n, Some('/')))), Some((&names[0], &names[1])));
        // Two that only differ in case are nobody's rule.
        assert_eq!(lone.clash([(&c, None), (&name("C"), None)]), None);
    }

    #[test]
    fn what_has_its_place_keeps_it_with_all_beneath() {
        let mut mapping = mapping(Layout::Nested, &[("Sent Items", "Sent")]);
        mapping.keep(&name("Sent Items"), Some('/'), &path("Sent Items"));
        mapping.keep(&name("Old"), Some('/'), &path("Elsewhere/Old"));
        assert_eq!(mapping.to_local(&name("Sent Items/x"), Some('/')), Ok(path("Sent Items/x")));
        assert_eq!(mapping.to_local(&name("Old/x"), Some('/')), Ok(path("Elsewhere/Old/x")));
        assert_eq!(mapping.to_remote(&path("Elsewhere/Old/x"), Some('/')), Ok(name("Old/x")));
    }

    fn any_levels() -> impl Strategy<Value = String> {
        let level = prop_oneof![
            4 => prop::sample::select(vec!["A", "B", "Sent", "INBOX", "inbox", "x.y", "é"]).prop_map(str::to_owned),
            1 => "[a-c%. ~&]{1,4}",
        ];
        prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn whatever_the_rules_the_way_back_leads_where_one_came_from(
            rules in prop::collection::vec((any_levels(), any_levels()), 0..4),
            names in prop::collection::vec(any_levels(), 1..8),
            layout in prop::sample::select(vec![Layout::Nested, Layout::MaildirPlusPlus, Layout::Flat]),
        ) {
            let mut mapping = Mapping::new(layout);
            rules.iter().for_each(|(remote, local)| mapping.rename(remote, local));
            let names: Vec<MailboxName> = names.iter().filter_map(|n| MailboxName::encode(n)).collect();
            for name in &names {
                let Ok(path) = mapping.to_local(name, Some('/')) else { continue };
                // Another mailbox may have the better claim; this one is then never taken for it.
                if let Ok(back) = mapping.to_remote(&path, Some('/')) {
                    prop_assert_eq!(mapping.to_local(&back, Some('/')), Ok(path.clone()));
                }
                prop_assert!(layout.fits(&path));
            }
            // Without a clash every mailbox has a directory of its own.
            if mapping.clash(names.iter().map(|n| (n, Some('/')))).is_none() {
                for a in &names {
                    for b in names.iter().filter(|b| *b != a) {
                        let (x, y) = (mapping.to_local(a, Some('/')), mapping.to_local(b, Some('/')));
                        prop_assert!(x.is_err() || x != y);
                    }
                }
            }
        }

        #[test]
        fn no_rules_change_nothing(name in any_levels(), layout in prop::sample::select(vec![Layout::Nested, Layout::MaildirPlusPlus, Layout::Flat])) {
            if let Some(name) = MailboxName::encode(&name) {
                let plain = layout::to_local(&name, Some('/'), layout);
                let mapping = Mapping::new(layout);
                prop_assert_eq!(mapping.to_local(&name, Some('/')), plain.clone());
                if let Ok(path) = plain {
                    prop_assert_eq!(mapping.to_remote(&path, Some('/')), Ok(name));
                }
            }
        }
    }
}
