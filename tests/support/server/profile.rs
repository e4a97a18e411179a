//! What kind of server this is, as data: capabilities and quirks.
//!
//! A capability that is not listed is also not understood. Every quirk is a field, its ordinary value that of
//! Dovecot 2.3.19 as it was observed.

/// What happens to a message that has a LF without its CR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareLf {
    /// It gets its CR (Dovecot, Courier).
    Convert,
    /// The message is refused (Cyrus).
    Refuse,
    /// It is stored as it came.
    Keep,
}

#[derive(Clone, Debug)]
pub struct Profile {
    /// Capabilities before the login.
    pub before_login: Vec<&'static str>,
    /// Capabilities after the login.
    pub capabilities: Vec<&'static str>,
    /// What the server calls itself, in the greeting and in ID.
    pub name: &'static str,
    /// The greeting carries CAPABILITY.
    pub capability_in_greeting: bool,
    /// The OK of the login carries CAPABILITY (Dovecot, Cyrus; not Courier).
    pub capability_in_login: bool,
    pub delimiter: char,
    /// Prefix of the personal namespace: `INBOX.` at Courier. Other names cannot be created.
    pub prefix: &'static str,
    /// SELECT tells UIDNEXT (not at Courier).
    pub uid_next_in_select: bool,
    /// Clients may make keywords; without it a keyword is refused with BAD (GNU mailutils).
    pub keywords: bool,
    /// COPYUID lists the UIDs as they were asked for (Courier), not sorted (Dovecot, Cyrus).
    pub copy_uid_in_request_order: bool,
    /// EXPUNGE only takes messages whose `\Deleted` the session has seen, and says OK all the same. Dovecot does so
    /// when the flag was set a moment ago (9 of 9 times), later not.
    pub expunges_only_what_the_session_saw: bool,
    /// CREATE makes the parents too; without it they are listed as `\Noselect`.
    pub create_makes_parents: bool,
    /// `UID FETCH 1:* (... VANISHED)` forgets vanished UIDs above the highest message (Cyrus 3.6).
    pub star_hides_vanished_top: bool,
    /// Sessions that have the mailbox selected are closed when its UIDVALIDITY changes.
    pub bye_on_new_uid_validity: bool,
    pub bare_lf: BareLf,
    pub refuses_empty: bool,
    pub refuses_nul: bool,
    /// APPEND refuses longer messages with `[TOOBIG]`.
    pub append_limit: Option<usize>,
    /// More sessions at once are refused at the greeting.
    pub max_sessions: Option<usize>,
    /// MAILBOXID beside counters is memory that was freed: other octets each time, of any kind (Cyrus 3.6.1, in LIST as in
    /// STATUS; alone or with UIDVALIDITY it is right).
    pub freed_identities: bool,
    /// UIDVALIDITY of the first mailbox; above 2^31 at pymap.
    pub first_uid_validity: u32,
    /// All mailboxes have the same UIDVALIDITY, as those that Cyrus makes within a second.
    pub one_uid_validity: bool,
}

impl Profile {
    /// Every extension that the server knows.
    pub fn full() -> Self {
        Self {
            before_login: vec!["IMAP4rev1", "SASL-IR", "ID", "ENABLE", "IDLE", "LITERAL+", "AUTH=PLAIN"],
            capabilities: vec![
                "IMAP4rev1",
                "SASL-IR",
                "ID",
                "ENABLE",
                "IDLE",
                "MULTIAPPEND",
                "UNSELECT",
                "CHILDREN",
                "NAMESPACE",
                "UIDPLUS",
                "LIST-EXTENDED",
                "CONDSTORE",
                "QRESYNC",
                "ESEARCH",
                "LIST-STATUS",
                "MOVE",
                "STATUS=SIZE",
                "LITERAL+",
                "SPECIAL-USE",
                "OBJECTID",
            ],
            name: "Twinless",
            capability_in_greeting: true,
            capability_in_login: true,
            delimiter: '/',
            prefix: "",
            uid_next_in_select: true,
            keywords: true,
            copy_uid_in_request_order: false,
            expunges_only_what_the_session_saw: false,
            create_makes_parents: false,
            star_hides_vanished_top: false,
            bye_on_new_uid_validity: true,
            bare_lf: BareLf::Convert,
            refuses_empty: true,
            refuses_nul: false,
            append_limit: None,
            max_sessions: None,
            freed_identities: false,
            first_uid_validity: 1_700_000_001,
            one_uid_validity: false,
        }
    }

    /// Without mod-sequences: changes of flags are seen by looking only.
    pub fn no_condstore() -> Self {
        Self::full().without(&["CONDSTORE", "QRESYNC"])
    }

    /// IMAP4rev1 with little more than IDLE.
    pub fn plain() -> Self {
        Self::full().without(&[
            "CONDSTORE",
            "QRESYNC",
            "UIDPLUS",
            "MOVE",
            "MULTIAPPEND",
            "LITERAL+",
            "SPECIAL-USE",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "ESEARCH",
            "STATUS=SIZE",
            "OBJECTID",
        ])
    }

    /// As Courier 5: names beneath `INBOX.`, no capability in the login, UIDNEXT only in STATUS.
    pub fn courier() -> Self {
        Self {
            name: "Courier-IMAP",
            capability_in_login: false,
            delimiter: '.',
            prefix: "INBOX.",
            uid_next_in_select: false,
            copy_uid_in_request_order: true,
            refuses_empty: false,
            ..Self::plain().with(&["UIDPLUS"]).without(&["UNSELECT", "SASL-IR"])
        }
    }

    /// As Gmail: mod-sequences without QRESYNC, and labels. Messages of the same bytes are one message with several labels;
    /// expunging takes one off, moving to the Trash takes all.
    pub fn gmail() -> Self {
        Self { name: "Gimap", append_limit: Some(35_651_584), ..Self::full() }
            .without(&["QRESYNC", "MULTIAPPEND", "OBJECTID"])
            .with(&["X-GM-EXT-1", "APPENDLIMIT=35651584"])
    }

    pub fn without(mut self, gone: &[&str]) -> Self {
        self.capabilities.retain(|capability| !gone.contains(capability));
        self.before_login.retain(|capability| !gone.contains(capability));
        self
    }

    pub fn with(mut self, more: &[&'static str]) -> Self {
        self.capabilities.extend_from_slice(more);
        self
    }

    /// Whether the capability is offered, before or after the login.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability) || self.before_login.contains(&capability)
    }
}
