//! The names of the keys: which work, which this version does not do yet, and which one a misspelt name meant.

use super::problem::Fault;
use crate::mail::escape;
use std::ops::Range;

/// The keys outside every account.
pub(super) const TOP: &[&str] = &["state-dir", "metrics", "defaults", "account"];

/// The keys of an account that this version reads.
pub(super) const ACCOUNT: &[&str] = &[
    "type",
    "host",
    "port",
    "tls",
    "tls-ca",
    "tls-fingerprint",
    "tls-client-cert",
    "tls-client-key",
    "tls-min",
    "allow-plaintext",
    "user",
    "password",
    "auth",
    "oauth2",
    "tunnel",
    "timeout",
    "every",
    "live",
    "connections",
    "flags-every",
    "disable-extensions",
    "quirks",
    "maildir",
    "layout",
    "mailboxes",
    "rename",
    "subscribed-only",
    "create-mailboxes",
    "delete-mailboxes",
    "mode",
    "delete",
    "keep-deleted",
    "guard",
    "keywords",
    "policy",
    "max-size",
    "max-age",
    "oversize",
    "deliver-to",
    "mailbox",
    "leave-on-server",
    "remove",
    "initial",
    "on-new",
    "on-change",
    "on-error",
];

/// Those of them that mean something for a store of mailboxes (IMAP), and not for a drop.
pub(super) const IMAP_ONLY: &[&str] = &[
    "tunnel",
    "mailboxes",
    "rename",
    "subscribed-only",
    "create-mailboxes",
    "delete-mailboxes",
    "mode",
    "policy",
    "delete",
    "keywords",
    "max-age",
    "connections",
    "flags-every",
    "live",
];

/// Those that mean something for a drop (POP3), and not for a store of mailboxes.
pub(super) const POP3_ONLY: &[&str] = &["deliver-to", "mailbox", "leave-on-server", "remove", "initial"];

/// The keys of an account that a later version reads. They are refused, since an owner who wrote one relies on it.
pub(super) const ACCOUNT_LATER: &[&str] = &["limit"];

/// The keys of `remove` that work, and those that do not yet.
pub(super) const REMOVE: &[&str] =
    &["after", "beyond-newest", "beyond-total", "larger-than", "deleted-here", "never-before"];

/// The keys of `initial`.
pub(super) const INITIAL: &[&str] = &["newest", "days"];

/// The keys of `password`.
pub(super) const PASSWORD: &[&str] = &["command", "file", "credential", "env"];

/// The keys of `oauth2` that work, and those that do not yet.
pub(super) const OAUTH2: &[&str] = &["token-command"];
pub(super) const OAUTH2_LATER: &[&str] = &["provider", "client-id", "client-secret"];

/// The keys of `quirks`.
pub(super) const QUIRKS: &[&str] = &["labels", "keywords", "windowed"];

/// The keys of `policy`.
pub(super) const POLICY: &[&str] = &["pull", "push"];

/// The keys of `guard`.
pub(super) const GUARD: &[&str] = &["deletions", "percent", "emptied", "per-10-minutes"];

/// What other programs call our keys.
const ELSEWHERE: &[(&str, &str)] = &[
    ("server", "host"),
    ("hostname", "host"),
    ("login", "user"),
    ("pass", "password"),
    ("passwordeval", "password"),
    ("ssl", "tls"),
    ("starttls", "tls"),
    ("fingerprint", "tls-fingerprint"),
    ("cafile", "tls-ca"),
    ("folders", "mailboxes"),
    ("patterns", "mailboxes"),
    ("path", "maildir"),
    ("localfolders", "maildir"),
    ("accounts", "account"),
    ("expunge", "delete"),
];

/// The fault of a key that is not in `known`; `place` says where it stands, such as `[account.work]`.
pub(super) fn fault(key: &str, span: Range<usize>, place: &str, known: &[&str], later: &[&str]) -> Fault {
    if later.contains(&key) {
        return not_yet(span, &format!("`{key}`"));
    }
    let what = format!("unknown key `{}` in {place}", escape(key));
    let remedy = match nearest(key, known.iter().chain(later)) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known == TOP && (ACCOUNT.contains(&key) || ACCOUNT_LATER.contains(&key)) => {
            "it belongs in an [account.NAME] table, or in [defaults]".to_owned()
        }
        None => format!("the keys here are {}", known.join(", ")),
    };
    Fault::new(span, what, remedy)
}

/// The fault of a key or value that a later version does.
pub(super) fn not_yet(span: Range<usize>, what: &str) -> Fault {
    Fault::new(span, format!("not yet: this version does not do {what}"), "take it out, or wait for a later version")
}

/// The name in `known` that `name` was most likely meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase().replace('_', "-");
    let known: Vec<&str> = known.into_iter().copied().collect();
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, ours)| *theirs == folded && known.contains(ours)) {
        return Some(ours);
    }
    let close = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(&folded, candidate);
        let begins = folded.len() >= 3 && (candidate.starts_with(&folded) || folded.starts_with(candidate));
        (distance <= 1 + candidate.len() / 5 || begins).then_some(distance)
    };
    known.iter().filter_map(|name| close(name).map(|distance| (distance, *name))).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        for (misspelt, meant) in [
            ("hots", Some("host")),
            ("keep_deleted", Some("keep-deleted")),
            ("mail-dir", Some("maildir")),
            ("username", Some("user")),
            ("pasword", Some("password")),
            ("server", Some("host")),
            ("TLS", Some("tls")),
            ("colour", None),
        ] {
            assert_eq!(nearest(misspelt, ACCOUNT), meant, "{misspelt}");
        }
    }

    #[test]
    fn no_key_both_works_and_does_not() {
        assert!(ACCOUNT.iter().all(|key| !ACCOUNT_LATER.contains(key)));
    }
}
