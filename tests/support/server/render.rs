//! The server's words as raw bytes: names, flags, UID sets, dates.

use super::model::{Mailbox, SYSTEM_FLAGS};
use std::collections::BTreeSet;

/// A mailbox name or other astring: an atom where it can be one, else quoted, else a literal.
pub fn astring(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_&+,=@#$!:;'<>?[|~^`".contains(&byte);
    if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0) || byte >= 0x80) {
        format!("{{{}}}\r\n{text}", text.len())
    } else if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A message's flags as Dovecot orders them: system flags, `\Recent`, keywords in the mailbox's order.
pub fn flags(mailbox: &Mailbox, flags: &BTreeSet<String>, recent: bool) -> String {
    let system = SYSTEM_FLAGS.iter().filter(|flag| flags.contains(**flag)).map(|flag| (*flag).to_owned());
    let recent = recent.then(|| "\\Recent".to_owned());
    let keywords = mailbox.keywords.iter().filter(|keyword| flags.contains(*keyword)).cloned();
    system.chain(recent).chain(keywords).collect::<Vec<_>>().join(" ")
}

/// UIDs in the order given, runs that count upwards joined: `1:3,7`.
pub fn uid_list(uids: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == uid => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    let run = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}:{last}") };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// The model's time `seconds` after the beginning of 2026 as a date-time (RFC 3501 9), good for that January.
pub fn date_time(seconds: u64) -> String {
    let day = 1 + (seconds / 86_400) % 31;
    format!("{day:02}-Jan-2026 {:02}:{:02}:{:02} +0000", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
