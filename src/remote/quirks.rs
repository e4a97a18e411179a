//! What is odd about a server, as far as it follows from what it offers and how it is called.
//!
//! All that mailtwin does for one provider in particular stands here, and is shown by `status` and `check`. Pure.

use crate::remote::endpoint::Target;

/// The oddities that are in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quirks {
    /// A message has labels, and each is a mailbox that shows it (X-GM-EXT-1: Gmail). Expunging takes a label off, moving
    /// to the Trash takes all of them.
    pub labels: bool,
    /// Keywords are kept.
    pub keywords: bool,
}

impl Quirks {
    /// A server that is as the standards have it.
    pub const NONE: Self = Self { labels: false, keywords: true };

    /// Recognises a server by its address and by what it offers.
    pub fn recognise(target: &Target, offers: impl Fn(&str) -> bool) -> Self {
        let host = match target {
            Target::Host { host, .. } => host.trim_end_matches('.').to_ascii_lowercase(),
            Target::Tunnel(_) => String::new(),
        };
        let exchange = ["office365.com", "outlook.com"];
        let is_below = |domain: &&str| host == **domain || host.ends_with(&format!(".{domain}"));
        Self { labels: offers("X-GM-EXT-1"), keywords: !exchange.iter().any(is_below) }
    }

    /// What is in force, a clause each.
    pub fn told(&self) -> Vec<&'static str> {
        let labels = "Gmail: each label is a mailbox; those that show all or important mail are left out unless \
                      `mailboxes` names them";
        let keywords = "Exchange: keywords are not kept there, so none are sent";
        let told = [(self.labels, labels), (!self.keywords, keywords)];
        told.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
    }
}

/// What Gmail says of a message in the open mailbox.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Labels {
    /// X-GM-MSGID: the same in all mailboxes that show the message.
    pub message: Option<u64>,
    /// X-GM-LABELS, without that of the open mailbox, as a rule.
    pub labels: Vec<String>,
}

impl Labels {
    /// Tells whether the message is shown by another mailbox than the one with this name on the server, so that it lives
    /// on when it leaves this one. The labels that only mark (`\Important`, `\Starred`) do not count.
    pub fn live_on(&self, mailbox: &str) -> bool {
        let is_own = |label: &str| {
            let own = if mailbox.eq_ignore_ascii_case("INBOX") { "\\Inbox" } else { mailbox };
            label.eq_ignore_ascii_case(own)
        };
        let counts = |label: &&String| !label.starts_with('\\') || label.eq_ignore_ascii_case("\\Inbox");
        self.labels.iter().filter(counts).any(|label| !is_own(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Target {
        Target::Host { host: host.to_owned(), port: 993 }
    }

    #[test]
    fn a_server_is_recognised_by_what_it_offers_or_by_its_name() {
        assert_eq!(Quirks::recognise(&host("imap.example.org"), |_| false), Quirks::NONE);
        let gmail = Quirks::recognise(&host("localhost"), |name| name == "X-GM-EXT-1");
        assert!(gmail.labels && gmail.keywords);
        assert_eq!(gmail.told().len(), 1);
        assert!(!Quirks::recognise(&host("Outlook.Office365.com."), |_| false).keywords);
        assert!(Quirks::recognise(&host("notoutlook.com"), |_| false).keywords);
        assert!(Quirks::recognise(&Target::Tunnel(vec!["outlook.com".into()]), |_| false).keywords);
    }

    #[test]
    fn a_message_lives_on_while_another_label_shows_it() {
        let labels =
            |labels: &[&str]| Labels { message: None, labels: labels.iter().map(|l| (*l).to_owned()).collect() };
        assert!(!labels(&[]).live_on("INBOX"));
        assert!(!labels(&["\\Inbox", "\\Important", "\\Starred"]).live_on("INBOX"));
        assert!(labels(&["\\Inbox"]).live_on("Work"));
        assert!(labels(&["Work"]).live_on("INBOX"));
        assert!(!labels(&["Work"]).live_on("Work"));
        assert!(!labels(&["\\Sent", "\\Draft"]).live_on("Work"));
    }
}
