//! The commands that are sent, and how their arguments are written (RFC 9051, sections 6 and 9).

use crate::mail::{Flags, MailboxName, UidSet};

/// A kind of command: its name for people, and the door that it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) site: &'static str,
}

macro_rules! verbs {
    ($($constant:ident: $name:literal, $site:literal;)*) => {
        $(pub(super) const $constant: Verb = Verb { name: $name, site: concat!("imap.", $site) };)*
    };
}
verbs! {
    APPEND: "APPEND", "append";
    AUTHENTICATE: "AUTHENTICATE", "authenticate";
    CAPABILITY: "CAPABILITY", "capability";
    COMPRESS: "COMPRESS", "compress";
    COPY: "UID COPY", "copy";
    CREATE: "CREATE", "create";
    DELETE: "DELETE", "delete";
    ENABLE: "ENABLE", "enable";
    EXPUNGE: "EXPUNGE", "expunge";
    FETCH: "UID FETCH", "fetch";
    ID: "ID", "id";
    IDENTITIES: "LIST", "identities";
    IDLE: "IDLE", "idle";
    LIST: "LIST", "list";
    LOGIN: "LOGIN", "login";
    LOGOUT: "LOGOUT", "logout";
    LSUB: "LSUB", "lsub";
    MOVE: "UID MOVE", "move";
    NAMESPACE: "NAMESPACE", "namespace";
    NOOP: "NOOP", "noop";
    NOTIFY: "NOTIFY", "notify";
    RENAME: "RENAME", "rename";
    SEARCH: "UID SEARCH", "search";
    SELECT: "SELECT", "select";
    STATUS: "STATUS", "status";
    STORE: "UID STORE", "store";
    SUBSCRIBE: "SUBSCRIBE", "subscribe";
    UNSUBSCRIBE: "UNSUBSCRIBE", "unsubscribe";
    UID_EXPUNGE: "UID EXPUNGE", "uid-expunge";
}

/// The longest set that one command carries, in octets: well below the line limit of any server.
pub(super) const MAX_SET: usize = 7000;

/// A command on one line, without tag and CRLF.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) text: String,
}

impl Command {
    pub(super) fn new(verb: Verb, text: impl Into<String>) -> Self {
        Self { verb, text: text.into() }
    }

    /// A command that is nothing but its name.
    pub(super) fn bare(verb: Verb) -> Self {
        Self::new(verb, verb.name)
    }

    /// One command for each part of `uids` that fits on a line: `UID FETCH <part> <rest>`.
    pub(super) fn over(verb: Verb, uids: &UidSet, rest: &str) -> Vec<Self> {
        let end = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        uids.split(MAX_SET).iter().map(|part| Self::new(verb, format!("{} {part}{end}", verb.name))).collect()
    }

    /// The text for the trace: what may hold a secret is left out.
    pub(super) fn redacted(&self) -> &str {
        if self.verb == LOGIN || self.verb == AUTHENTICATE { self.verb.name } else { &self.text }
    }
}

/// A string that can stand between quotes; `None` if it needs a literal.
pub(super) fn quoted(text: &str) -> Option<String> {
    // Long ones go as literals too: RFC 9051 lets a server limit its lines.
    if text.len() > 1000 || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return None;
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A mailbox name as an argument. A name never holds CR, LF or NUL, so quotes always do; a server that lists 8-bit
/// names is handed them back as they came.
pub(super) fn mailbox(name: &MailboxName) -> String {
    format!("\"{}\"", name.as_wire().replace('\\', "\\\\").replace('"', "\\\""))
}

/// A list of flags in parentheses.
pub(super) fn flag_list(flags: &Flags) -> String {
    format!("({flags})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_name_cannot_break_out_of_its_quotes() {
        let name = MailboxName::new(r#"a"b\c"#).expect("a name");
        assert_eq!(mailbox(&name), r#""a\"b\\c""#);
    }

    #[test]
    fn a_password_that_quotes_cannot_hold_becomes_a_literal() {
        assert_eq!(quoted(r#"p"w\"#).as_deref(), Some(r#""p\"w\\""#));
        assert_eq!((quoted("pä"), quoted("a\r\nb")), (None, None));
    }

    #[test]
    fn a_login_is_not_traced() {
        assert_eq!(Command::new(LOGIN, "LOGIN u secret").redacted(), "LOGIN");
        assert_eq!(Command::new(AUTHENTICATE, "AUTHENTICATE PLAIN c2VjcmV0").redacted(), "AUTHENTICATE");
    }

    #[test]
    fn a_long_set_is_cut_into_commands() {
        let uids: UidSet = (1..20_000).step_by(2).filter_map(crate::mail::Uid::new).collect();
        let commands = Command::over(STORE, &uids, "+FLAGS (x)");
        assert!(commands.len() > 5 && commands.iter().all(|c| c.text.len() < 7100 && c.text.ends_with(" +FLAGS (x)")));
        assert!(Command::over(FETCH, &UidSet::new(), "").is_empty());
    }
}
