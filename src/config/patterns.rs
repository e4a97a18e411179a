//! Which mailboxes are synchronised: a list of patterns, of which the last that matches decides.

use std::fmt;

/// The patterns of `mailboxes`.
///
/// `*` stands for any characters, the hierarchy's `/` among them, `?` for one; a leading `!` excludes. Where the first
/// pattern excludes, everything else is included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    excludes: bool,
    glob: String,
}

impl Patterns {
    /// Makes patterns of their texts.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |text: &str| match text.strip_prefix('!') {
            Some(glob) => Pattern { excludes: true, glob: glob.to_owned() },
            None => Pattern { excludes: false, glob: text.to_owned() },
        };
        Self(texts.into_iter().map(pattern).collect())
    }

    /// Tells whether a mailbox is synchronised.
    ///
    /// `name` is the name for people: decoded, with `/` between its levels. INBOX is found whatever its case.
    pub fn include(&self, name: &str) -> bool {
        let decisive = self.0.iter().rev().find(|pattern| pattern.matches(name));
        match decisive {
            Some(pattern) => !pattern.excludes,
            None => self.0.first().is_some_and(|first| first.excludes),
        }
    }
}

impl Patterns {
    /// Tells whether a pattern without wildcards is what includes a mailbox, so that somebody means just this one.
    pub fn name(&self, name: &str) -> bool {
        let decisive = self.0.iter().rev().find(|pattern| pattern.matches(name));
        decisive.is_some_and(|pattern| !pattern.excludes && !pattern.glob.contains(['*', '?']))
    }
}

impl Default for Patterns {
    /// Every mailbox.
    fn default() -> Self {
        Self::new(["*"])
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        (name.eq_ignore_ascii_case("INBOX") && self.glob.eq_ignore_ascii_case("INBOX")) || glob(&self.glob, name)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Pattern { excludes, glob }) in self.0.iter().enumerate() {
            write!(
                f,
                "{}{}{}",
                if i > 0 { " " } else { "" },
                if *excludes { "!" } else { "" },
                crate::mail::escape(glob)
            )?;
        }
        Ok(())
    }
}

/// Matches with one point of return, the last star: no pattern takes more than quadratic time.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    (p, n) = (after, taken + 1);
                    star = Some((after, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = Patterns::new(["*", "!Lists/*", "Lists/rust"]);
        for (name, included) in [("INBOX", true), ("Lists/go", false), ("Lists/rust", true), ("Lists", true)] {
            assert_eq!(patterns.include(name), included, "{name}");
        }
    }

    #[test]
    fn excluding_alone_includes_the_rest() {
        let patterns = Patterns::new(["!Junk", "!Trash"]);
        assert!(patterns.include("INBOX") && patterns.include("Junkyard"));
        assert!(!patterns.include("Junk") && !patterns.include("Trash"));
    }

    #[test]
    fn a_mailbox_is_named_by_its_whole_name_only() {
        let patterns = Patterns::new(["*", "[Gmail]/All Mail", "a?", "b", "!b"]);
        assert!(patterns.name("[Gmail]/All Mail"));
        assert!(!patterns.name("[Gmail]/Important") && !patterns.name("ab") && !patterns.name("b"));
    }

    #[test]
    fn inbox_is_found_in_any_case_and_no_other_name_is() {
        assert!(Patterns::new(["inbox"]).include("INBOX"));
        assert!(!Patterns::new(["sent"]).include("Sent"));
        assert!(!Patterns::new(["INBOX"]).include("Sent"));
    }

    #[test]
    fn stars_and_question_marks_match_characters() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("?", "ü", true),
            ("??", "ü", false),
            ("*b", "aabab", true),
            ("20??/*", "2026/05", true),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
        assert!(!glob(&"*a".repeat(500), &"a".repeat(400)));
    }
}
