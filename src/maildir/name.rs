//! The grammar of file names: `<base>:2,<letters>`.
//!
//! Readers write whatever they like there, so everything is read and what is not ours is kept: letters that mean
//! nothing to us stay in the name through every flag change, and so does a tail after the letters (`:2,S,x=1`).

use crate::mail::{BaseName, Flags, Keyword, SystemFlag};

/// A file name of a message, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileName {
    /// The identity of the message.
    pub base: BaseName,
    /// What the letters say.
    pub flags: Flags,
    /// Letters without a meaning for us and what follows the letters, as they stood.
    pub unknown: Box<[u8]>,
    /// Whether the name has an info part at all.
    pub has_info: bool,
}

impl FileName {
    /// Reads a file name; `None` if no message can be called that.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let is_info = |&at: &usize| matches!(name.get(at + 1..at + 3), Some(b"1," | b"2,"));
        let Some(at) = memchr::memrchr_iter(b':', name).find(is_info) else {
            return Some(Self {
                base: BaseName::new(name)?,
                flags: Flags::new(),
                unknown: Box::default(),
                has_info: false,
            });
        };
        let base = BaseName::new(&name[..at])?;
        // An experimental info part (`:1,`) says nothing about flags.
        let info = if name[at + 1] == b'2' { &name[at + 3..] } else { &[] };
        let tail = info.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(info.len());
        let mut flags = Flags::new();
        let mut unknown = Vec::new();
        for &letter in &info[..tail] {
            match flag_of(letter) {
                Some(Letter::System(flag)) => flags.insert(flag),
                Some(Letter::Forwarded) => flags.insert_keyword(Keyword::forwarded()),
                None => unknown.push(letter),
            }
        }
        unknown.extend_from_slice(&info[tail..]);
        Some(Self { base, flags, unknown: unknown.into(), has_info: true })
    }

    /// The letters without a standard meaning.
    pub(super) fn letters(&self) -> impl Iterator<Item = u8> + '_ {
        self.unknown[..self.tail_at()].iter().copied()
    }

    /// What follows the letters.
    pub(super) fn tail(&self) -> &[u8] {
        &self.unknown[self.tail_at()..]
    }

    fn tail_at(&self) -> usize {
        self.unknown.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(self.unknown.len())
    }
}

/// Writes a file name with an info part: the letters sorted and each once, as notmuch insists.
///
/// Flags that have no letter are left out; `unknown` is what [`FileName::parse`] kept.
pub(super) fn print(base: &BaseName, flags: &Flags, unknown: &[u8]) -> Vec<u8> {
    let tail = unknown.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(unknown.len());
    let mut letters: Vec<u8> = unknown[..tail].to_vec();
    letters.extend(flags.system().map(letter_of));
    letters.extend(flags.contains_keyword(&Keyword::forwarded()).then_some(b'P'));
    letters.sort_unstable();
    letters.dedup();
    [base.as_bytes(), b":2,", &letters, &unknown[tail..]].concat()
}

enum Letter {
    System(SystemFlag),
    Forwarded,
}

fn flag_of(letter: u8) -> Option<Letter> {
    if letter == b'P' {
        return Some(Letter::Forwarded);
    }
    SystemFlag::ALL.into_iter().find(|f| letter_of(*f) == letter).map(Letter::System)
}

fn letter_of(flag: SystemFlag) -> u8 {
    match flag {
        SystemFlag::Answered => b'R',
        SystemFlag::Deleted => b'T',
        SystemFlag::Draft => b'D',
        SystemFlag::Flagged => b'F',
        SystemFlag::Seen => b'S',
    }
}

/// Makes base names that no other program, process or run makes: `<secs>.M<usec>P<pid>Q<seq>R<16 hex>.<host>`.
#[derive(Clone, Debug)]
pub struct NameGenerator {
    prefix: String,
    suffix: String,
    sequence: u64,
    random: u64,
}

/// The longest host part, in bytes.
const MAX_HOST: usize = 64;

impl NameGenerator {
    /// Begins a series of names. `seed` must be random: it alone tells two machines with one name apart.
    pub fn new(now_secs: u64, usec: u32, pid: u32, host: &str, seed: u64) -> Self {
        let prefix = format!("{now_secs}.M{usec}P{pid}Q");
        Self { prefix, suffix: format!(".{}", clean_host(host)), sequence: 0, random: seed }
    }

    /// The next name; there is always one.
    #[expect(clippy::should_implement_trait, reason = "an iterator could end")]
    pub fn next(&mut self) -> BaseName {
        self.sequence += 1;
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let name = format!("{}{}R{:016x}{}", self.prefix, self.sequence, scatter(self.random), self.suffix);
        BaseName::new(name.as_bytes()).expect("it begins with a digit and the host has no slash")
    }
}

/// Spreads a counter over all 64 bits, one to one (the finaliser of splitmix64).
fn scatter(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn clean_host(host: &str) -> String {
    let mut clean = String::new();
    for c in host.chars() {
        let mut single = [0; 4];
        let part: &str = match c {
            '/' => "\\057",
            ':' => "\\072",
            '!'..='~' => c.encode_utf8(&mut single),
            _ => "_",
        };
        if clean.len() + part.len() > MAX_HOST {
            break;
        }
        clean.push_str(part);
    }
    if clean.is_empty() { "localhost".into() } else { clean }
}

/// Tells whether [`NameGenerator`] made this name on the machine called `host`.
pub(super) fn is_ours(base: &BaseName, host: &str) -> bool {
    let numbers = |text: &str| -> Option<()> {
        let (secs, rest) = text.split_once(".M")?;
        let (usec, rest) = rest.split_once('P')?;
        let (pid, rest) = rest.split_once('Q')?;
        let (sequence, random) = rest.split_once('R')?;
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let hex = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
        ([secs, usec, pid, sequence].into_iter().all(number) && hex).then_some(())
    };
    std::str::from_utf8(base.as_bytes())
        .ok()
        .and_then(|text| text.strip_suffix(&format!(".{}", clean_host(host))))
        .and_then(numbers)
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Name, base, flags, unknown; an empty base means that it is no message.
    const NAMES: [(&str, &str, &str, &str); 60] = [
        ("1.a.h", "1.a.h", "", ""),
        ("1.a.h:2,", "1.a.h", "", ""),
        ("1.a.h:2,S", "1.a.h", "\\Seen", ""),
        ("1.a.h:2,R", "1.a.h", "\\Answered", ""),
        ("1.a.h:2,F", "1.a.h", "\\Flagged", ""),
        ("1.a.h:2,T", "1.a.h", "\\Deleted", ""),
        ("1.a.h:2,D", "1.a.h", "\\Draft", ""),
        ("1.a.h:2,P", "1.a.h", "$Forwarded", ""),
        ("1.a.h:2,DFPRST", "1.a.h", "\\Answered \\Deleted \\Draft \\Flagged \\Seen $Forwarded", ""),
        ("1.a.h:2,SF", "1.a.h", "\\Flagged \\Seen", ""),
        ("1.a.h:2,SS", "1.a.h", "\\Seen", ""),
        ("1.a.h:2,FSFS", "1.a.h", "\\Flagged \\Seen", ""),
        ("1.a.h:2,Sa", "1.a.h", "\\Seen", "a"),
        ("1.a.h:2,aS", "1.a.h", "\\Seen", "a"),
        ("1.a.h:2,zSba", "1.a.h", "\\Seen", "zba"),
        ("1.a.h:2,abcdefghijklmnopqrstuvwxyz", "1.a.h", "", "abcdefghijklmnopqrstuvwxyz"),
        ("1.a.h:2,X", "1.a.h", "", "X"),
        ("1.a.h:2,s", "1.a.h", "", "s"),
        ("1.a.h:2,S,U=5", "1.a.h", "\\Seen", ",U=5"),
        ("1.a.h:2,S,SF", "1.a.h", "\\Seen", ",SF"),
        ("1.a.h:2,Sa,x", "1.a.h", "\\Seen", "a,x"),
        ("1.a.h:2,S1F", "1.a.h", "\\Seen", "1F"),
        ("1.a.h:2, S", "1.a.h", "", " S"),
        ("1.a.h:2,é", "1.a.h", "", "é"),
        ("1.a.h:1,", "1.a.h", "", ""),
        ("1.a.h:1,S", "1.a.h", "", ""),
        ("1.a.h:3,S", "1.a.h:3,S", "", ""),
        ("1.a.h:", "1.a.h:", "", ""),
        ("1.a.h:2", "1.a.h:2", "", ""),
        ("1.a.h:2S", "1.a.h:2S", "", ""),
        ("1.a.h:S", "1.a.h:S", "", ""),
        ("1.a.h;2,S", "1.a.h;2,S", "", ""),
        ("1.a.h!2,S", "1.a.h!2,S", "", ""),
        ("1.a.h,2,S", "1.a.h,2,S", "", ""),
        ("1.a:2,S:2,F", "1.a:2,S", "\\Flagged", ""),
        ("1.a:b:2,F", "1.a:b", "\\Flagged", ""),
        ("1.a:2,F:b", "1.a", "\\Flagged", ":b"),
        ("1.a::2,F", "1.a:", "\\Flagged", ""),
        ("1.a:2,:2,", "1.a:2,", "", ""),
        ("1.a:1,x:2,S", "1.a:1,x", "\\Seen", ""),
        ("1.a:2,S:1,", "1.a:2,S", "", ""),
        ("1.a.h,U=7:2,S", "1.a.h,U=7", "\\Seen", ""),
        ("1.a.h,S=10,W=12:2,S", "1.a.h,S=10,W=12", "\\Seen", ""),
        ("1.a.h,S=10", "1.a.h,S=10", "", ""),
        (
            "1700000000.M1P2Q3R0123456789abcdef.host:2,FS",
            "1700000000.M1P2Q3R0123456789abcdef.host",
            "\\Flagged \\Seen",
            "",
        ),
        ("1700000000.R123.host", "1700000000.R123.host", "", ""),
        ("1700000000_0.12.host,FMD5=abc:2,", "1700000000_0.12.host,FMD5=abc", "", ""),
        ("1.a.ho\\072st:2,S", "1.a.ho\\072st", "\\Seen", ""),
        ("message.eml", "message.eml", "", ""),
        ("-rf:2,S", "-rf", "\\Seen", ""),
        ("a b:2,S", "a b", "\\Seen", ""),
        ("a\nb:2,S", "a\nb", "\\Seen", ""),
        ("x", "x", "", ""),
        ("2,S", "2,S", "", ""),
        (":2,S", "", "", ""),
        ("", "", "", ""),
        (".", "", "", ""),
        ("..", "", "", ""),
        (".hidden:2,S", "", "", ""),
        (".#mh:2,", "", "", ""),
    ];

    #[test]
    fn every_name_that_readers_write_is_understood() {
        for (name, base, flags, unknown) in NAMES {
            let parsed = FileName::parse(name.as_bytes());
            let expected = (!base.is_empty()).then(|| (base.as_bytes(), Flags::parse(flags), unknown.as_bytes()));
            let seen = parsed.as_ref().map(|p| (p.base.as_bytes(), p.flags.clone(), &*p.unknown));
            assert_eq!(seen, expected, "{name:?}");
        }
        assert_eq!(FileName::parse(b"1.\xff\xfe:2,S").map(|p| p.flags), Some(Flags::parse("\\Seen")));
    }

    #[test]
    fn what_is_written_is_sorted_and_has_each_letter_once() {
        let base = BaseName::new(b"1.a.h").expect("a name");
        let all = Flags::parse("\\Seen \\Answered \\Flagged \\Draft \\Deleted $forwarded work");
        assert_eq!(print(&base, &all, b"zSa,x=1"), b"1.a.h:2,DFPRSTaz,x=1");
        assert_eq!(print(&base, &Flags::new(), b""), b"1.a.h:2,");
    }

    #[test]
    fn names_have_the_published_form_and_never_repeat() {
        let mut names = NameGenerator::new(1_700_000_000, 12, 34, "ho/st:1", 7);
        let first = names.next();
        let text = String::from_utf8_lossy(first.as_bytes()).into_owned();
        assert!(text.starts_with("1700000000.M12P34Q1R") && text.ends_with(".ho\\057st\\0721"), "{text}");
        assert!(is_ours(&first, "ho/st:1") && !is_ours(&first, "other"));
        assert!(FileName::parse(first.as_bytes()).is_some_and(|n| !n.has_info && n.base == first));
        let many: BTreeSet<BaseName> = (0..10_000).map(|_| names.next()).collect();
        assert_eq!(many.len(), 10_000);
        let mut twin = NameGenerator::new(1_700_000_000, 12, 34, "ho/st:1", 8);
        assert!((0..10_000).all(|_| !many.contains(&twin.next())));
    }

    #[test]
    fn odd_hosts_make_legal_names() {
        for host in ["", "..", "a\0b", "ä", "\n", "a b", &"/".repeat(99), &"x".repeat(300), ":2,S"] {
            let name = NameGenerator::new(1, 2, 3, host, 4).next();
            let parsed = FileName::parse(name.as_bytes()).expect("a name");
            assert!(!parsed.has_info && name.as_bytes().len() < 130 && name.as_bytes().is_ascii(), "{name}");
            assert!(is_ours(&name, host));
        }
        assert!(NameGenerator::new(1, 2, 3, "", 4).next().as_bytes().ends_with(b".localhost"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in prop::collection::vec(any::<u8>(), 0..40), add in "[DFPRST]{0,6}") {
            if let Some(read) = FileName::parse(&name) {
                let flags = FileName::parse(format!("x:2,{add}").as_bytes()).expect("a name").flags;
                let again = FileName::parse(&print(&read.base, &flags, &read.unknown)).expect("a name");
                // A foreign base may itself end in what looks like an info part; the last one counts.
                prop_assert_eq!(&again.base, &read.base);
                prop_assert_eq!(&again.flags, &flags);
                prop_assert_eq!(print(&again.base, &again.flags, &again.unknown), print(&read.base, &flags, &read.unknown));
            }
        }
    }
}
