//! What kind of maildrop this is, as data. The ordinary value of each quirk is that of Dovecot 2.3.19 as it was observed.

use std::sync::Arc;
use std::time::Duration;

/// What UIDL tells.
#[derive(Clone)]
pub enum Names {
    /// UID and UIDVALIDITY, as Dovecot does: other ones when the mailbox is renumbered.
    Numbers,
    /// A digest of the bytes: two messages of the same bytes share it.
    Content,
    /// What this makes of UID and UIDVALIDITY; may be anything, nothing too.
    Made(Arc<dyn Fn(u32, u32) -> Vec<u8> + Send + Sync>),
    /// UIDL is refused.
    None,
}

impl Names {
    /// What the closure makes of UID and UIDVALIDITY.
    pub fn made(make: impl Fn(u32, u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Made(Arc::new(make))
    }
}

#[derive(Clone)]
pub struct Profile {
    /// What CAPA tells before the login; `None`: CAPA is refused, then and later.
    pub before_login: Option<Vec<&'static str>>,
    /// What CAPA tells after the login.
    pub capabilities: Vec<&'static str>,
    /// The timestamp of the greeting, with its brackets; APOP is taken with it.
    pub timestamp: Option<&'static str>,
    pub names: Names,
    /// A bare LF gets its CR, as Dovecot has it; otherwise bytes go as they are.
    pub mends_lf: bool,
    /// Lines that begin with a dot get another one; no server may leave that out, and a mail can do harm if it does.
    pub stuffs: bool,
    /// The first line of a message does too; at Dovecot and Courier it does not.
    pub stuffs_first: bool,
    /// The newest messages only are shown, so many.
    pub newest: Option<usize>,
    /// The oldest messages only are shown, so many, as Gmail does.
    pub oldest: Option<usize>,
    /// What was retrieved is shown to no later session, as Gmail does, unless the name begins with `recent:`.
    pub hides_retrieved: bool,
    /// A second session of a user is refused with `[IN-USE]`.
    pub locks: bool,
    /// A login sooner than this after the last one is refused with `[LOGIN-DELAY]`.
    pub login_delay: Option<Duration>,
    /// Every byte goes in a packet of its own.
    pub one_by_one: bool,
}

impl Profile {
    /// As Dovecot.
    pub fn full() -> Self {
        let capabilities = vec!["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"];
        let before_login = [&capabilities[..], &["USER", "SASL PLAIN"]].concat();
        Self {
            before_login: Some(before_login),
            capabilities,
            timestamp: None,
            names: Names::Numbers,
            mends_lf: true,
            stuffs: true,
            stuffs_first: false,
            newest: None,
            oldest: None,
            hides_retrieved: false,
            locks: false,
            login_delay: None,
            one_by_one: false,
        }
    }

    /// RFC 1939 and no more: no CAPA, no UIDL, no response codes.
    pub fn plain() -> Self {
        Self { before_login: None, capabilities: Vec::new(), names: Names::None, ..Self::full() }
    }

    /// As Gmail: the oldest 250 at a time, and what was retrieved is hidden.
    pub fn gmail() -> Self {
        Self { oldest: Some(250), hides_retrieved: true, ..Self::full() }
    }

    pub fn without(mut self, gone: &[&str]) -> Self {
        self.capabilities.retain(|name| !gone.contains(name));
        if let Some(before) = &mut self.before_login {
            before.retain(|name| !gone.contains(name));
        }
        self
    }

    /// Whether the capability is offered after the login, with its arguments.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }
}
