//! Every cell of the verdict table, as golden text: remembered x server x Maildir x mode.
//!
//! The golden file is for people to read: `base` is what was agreed, `+S` has `\Seen` besides, `+F` has `\Flagged`.

use mailtwin::mail::{BaseName, FlagChange, Flags, Keyword, Storable};
use mailtwin::sync::{
    Hold, Limits, Lone, Measure, Oversize, Pair, Policy, Quarantine, Remembered, Removing, Route, Rules, Side, Verdict,
    Why, Word, verdict,
};
use std::fmt::Write as _;

const NOW: u64 = 1000;
const LIMITS: Limits = Limits { max_size: Some(100), max_age: Some(500), oversize: Oversize::Headers };

fn rules(policy: Policy) -> Rules {
    // The Maildir says something of those keywords only that have a letter.
    let mut lettered = Storable::everything();
    lettered.flags.insert_keyword(Keyword::new("base").expect("a keyword"));
    Rules {
        policy,
        remote_flags: Storable::everything(),
        local_flags: lettered,
        route: Route::Expunge,
        limits: LIMITS,
        now: NOW,
    }
}

fn base() -> Flags {
    Flags::parse("base")
}

fn pair() -> Pair {
    Pair::agreed(BaseName::new(b"n").expect("a name"), base(), None)
}

fn stub(octets: u64) -> Pair {
    Pair { name: pair().name.into_stub(octets), ..pair() }
}

fn hold(gone: Side, word: Word) -> Hold {
    Hold { gone, set: 1, word }
}

fn failed(due: u64) -> Quarantine {
    Quarantine { reason: "refused".into(), attempts: 1, due }
}

fn pairs() -> Vec<(&'static str, Pair)> {
    let held = |gone, word| Pair { hold: Some(hold(gone, word)), ..pair() };
    vec![
        ("pair", pair()),
        ("pair, held, gone here", held(Side::Local, Word::Waiting)),
        ("pair, approved, gone here", held(Side::Local, Word::Approved)),
        ("pair, rejected, gone here", held(Side::Local, Word::Rejected)),
        ("pair, rejected, gone there", held(Side::Remote, Word::Rejected)),
        ("pair, held, gone there", held(Side::Remote, Word::Waiting)),
        ("pair, approved, gone there", held(Side::Remote, Word::Approved)),
        ("pair, copied to the Trash", Pair { removing: Some(Removing::Copied), ..pair() }),
        ("pair, marked by us", Pair { removing: Some(Removing::Marked), ..pair() }),
        ("pair, guessed", Pair { guessed: true, ..pair() }),
        ("pair, failed, not due", Pair { trouble: Some(failed(NOW + 1)), ..pair() }),
        ("stub", stub(101)),
        ("stub, limit raised", stub(100)),
        ("stub, held, gone there", Pair { hold: Some(hold(Side::Remote, Word::Waiting)), ..stub(101) }),
        ("stub, rejected, gone there", Pair { hold: Some(hold(Side::Remote, Word::Rejected)), ..stub(101) }),
        ("stub, failed, not due", Pair { trouble: Some(failed(NOW + 1)), ..stub(101) }),
        ("pair, failed, due", Pair { trouble: Some(failed(NOW)), ..pair() }),
    ]
}

fn lone(gone: Side) -> Vec<(&'static str, Lone)> {
    let lone = |why| Lone { flags: base(), why };
    vec![
        ("pending", lone(Why::Pending)),
        ("failed, not due", lone(Why::Quarantined(failed(NOW + 1)))),
        ("failed, due", lone(Why::Quarantined(failed(NOW)))),
        ("kept", lone(Why::Kept)),
        ("too large", lone(Why::Filtered(Measure { octets: Some(101), date: None }))),
        ("too old", lone(Why::Filtered(Measure { octets: Some(1), date: Some(499) }))),
        ("within limits now", lone(Why::Filtered(Measure { octets: Some(100), date: Some(500) }))),
        ("superseded", lone(Why::Superseded)),
        ("held", lone(Why::Held(hold(gone, Word::Waiting)))),
        ("approved", lone(Why::Held(hold(gone, Word::Approved)))),
        ("rejected", lone(Why::Held(hold(gone, Word::Rejected)))),
        ("missing, held", lone(Why::Missing(hold(gone, Word::Waiting)))),
        ("missing, approved", lone(Why::Missing(hold(gone, Word::Approved)))),
        ("missing, rejected", lone(Why::Missing(hold(gone, Word::Rejected)))),
    ]
}

fn change(change: &FlagChange) -> String {
    format!("{}{}{}{}", sign("+", &change.add), change.add, sign("-", &change.remove), change.remove)
}

fn sign(sign: &'static str, flags: &Flags) -> &'static str {
    if flags.is_empty() { "" } else { sign }
}

fn told(verdict: Verdict) -> String {
    let inferred = |inferred| if inferred { " (guarded)" } else { "" };
    match verdict {
        Verdict::Rest => "rest".into(),
        Verdict::Fetch => "fetch".into(),
        Verdict::Append => "append".into(),
        Verdict::Flags { remote, local, merged } => {
            let side =
                |name: &str, c: Option<FlagChange>| c.map_or(String::new(), |c| format!("{name} {}; ", change(&c)));
            format!("{}{}agree ({merged})", side("there", remote), side("here", local))
        }
        Verdict::DeleteRemote { inferred: i } => format!("delete there{}", inferred(i)),
        Verdict::DeleteLocal { inferred: i } => format!("delete here{}", inferred(i)),
        Verdict::Filter => "leave there".into(),
        Verdict::Complete => "fetch whole".into(),
        Verdict::Forget => "forget".into(),
        Verdict::Keep(Side::Remote) => "keep there".into(),
        Verdict::Keep(Side::Local) => "keep here".into(),
        Verdict::PutBack(Side::Remote) => "put back: fetch".into(),
        Verdict::PutBack(Side::Local) => "put back: append".into(),
        Verdict::CannotBe => "cannot be".into(),
    }
}

#[test]
fn every_cell_of_the_verdict_table_is_as_written() {
    let modes = [
        ("two-way", Policy::TWO_WAY),
        ("mirror", Policy::MIRROR),
        ("archive", Policy::ARCHIVE),
        ("fetch", Policy::FETCH),
    ];
    let shown = [
        ("-", None),
        ("base", Some(base())),
        ("+S", Some(Flags::parse("base \\Seen"))),
        ("+F", Some(Flags::parse("base \\Flagged"))),
        ("none", Some(Flags::new())),
        ("+T", Some(Flags::parse("base \\Deleted"))),
    ];
    let (pairs, there, here) = (pairs(), lone(Side::Local), lone(Side::Remote));
    let mut remembered: Vec<(String, Remembered<'_>)> = vec![("nothing".into(), Remembered::Nothing)];
    remembered.push(("a stub of nobody".into(), Remembered::Orphan));
    remembered.extend(pairs.iter().map(|(name, pair)| ((*name).to_owned(), Remembered::Pair(pair))));
    remembered.extend(there.iter().map(|(n, l)| (format!("there only, {n}"), Remembered::Lone(Side::Remote, l))));
    remembered.extend(here.iter().map(|(n, l)| (format!("here only, {n}"), Remembered::Lone(Side::Local, l))));
    let (mut table, mut cells) = (String::new(), 0);
    for (mode, policy) in modes {
        for (name, remembered) in &remembered {
            writeln!(table, "{mode}: {name}").expect("a string");
            for (server, f) in &shown {
                for (local, l) in &shown {
                    let verdict = verdict(*remembered, f.as_ref(), l.as_ref(), &rules(policy));
                    writeln!(table, "    server {server:4}  Maildir {local:4}  {}", told(verdict)).expect("a string");
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 4 * 47 * 36);
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_waiting_for_a_person_is_left_alone_in_every_mode() {
    for policy in [Policy::TWO_WAY, Policy::MIRROR, Policy::ARCHIVE, Policy::FETCH] {
        let here = Pair { hold: Some(hold(Side::Local, Word::Waiting)), ..pair() };
        let there = Pair { hold: Some(hold(Side::Remote, Word::Waiting)), ..pair() };
        assert_eq!(verdict(Remembered::Pair(&here), Some(&base()), None, &rules(policy)), Verdict::Rest);
        assert_eq!(verdict(Remembered::Pair(&there), None, Some(&base()), &rules(policy)), Verdict::Rest);
    }
}
