//! What is odd about a server, as far as it follows from what it offers and how it is called.
//!
//! All that mailtwin does for one provider in particular stands here, and is shown by `status` and `check`. Pure.

use crate::remote::endpoint::Target;

/// What an owner says of a server, whatever it is taken for; `None`: what follows from the server itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Overrides {
    /// Messages have labels.
    pub labels: Option<bool>,
    /// Keywords are kept.
    pub keywords: Option<bool>,
    /// A drop shows a part of its messages at a time.
    pub windowed: Option<bool>,
}

/// The oddities that are in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quirks {
    /// A message has labels, and each is a mailbox that shows it (X-GM-EXT-1: Gmail). Expunging takes a label off, moving
    /// to the Trash takes all of them.
    pub labels: bool,
    /// Keywords are kept.
    pub keywords: bool,
    /// A drop shows a part of its messages at a time, and those that were fetched once in no later session (Gmail's POP3);
    /// a name that begins with `recent:` is shown the last thirty days each time.
    pub windowed: bool,
    /// What of it the owner said.
    pub overrides: Overrides,
}

impl Quirks {
    /// A server that is as the standards have it.
    pub const NONE: Self = Self {
        labels: false,
        keywords: true,
        windowed: false,
        overrides: Overrides { labels: None, keywords: None, windowed: None },
    };

    /// The name under which a drop is opened. One from which what is fetched would vanish for other programs is opened so
    /// that it does not, if messages are to stay there.
    pub fn drop_user(&self, user: &str, stays: bool) -> String {
        let recent = self.windowed && stays && !user.starts_with("recent:");
        if recent { format!("recent:{user}") } else { user.to_owned() }
    }

    /// Recognises a server by its address and by what it offers; what the owner says of it counts more. Labels that a
    /// server does not tell nobody can say.
    pub fn recognise(target: &Target, overrides: Overrides, offers: impl Fn(&str) -> bool) -> Self {
        let host = match target {
            Target::Host { host, .. } => host.trim_end_matches('.').to_ascii_lowercase(),
            Target::Tunnel(_) => String::new(),
        };
        let exchange = ["office365.com", "outlook.com"];
        let gmail = ["pop.gmail.com", "pop.googlemail.com"];
        let is_below = |domain: &&str| host == **domain || host.ends_with(&format!(".{domain}"));
        Self {
            labels: offers("X-GM-EXT-1") && overrides.labels != Some(false),
            keywords: overrides.keywords.unwrap_or_else(|| !exchange.iter().any(is_below)),
            windowed: overrides.windowed.unwrap_or_else(|| gmail.contains(&host.as_str())),
            overrides,
        }
    }

    /// What is in force, a clause each.
    pub fn told(&self) -> Vec<&'static str> {
        let labels = "Gmail: each label is a mailbox; those that show all or important mail are left out unless \
                      `mailboxes` names them";
        let keywords = "Exchange: keywords are not kept there, so none are sent";
        let windowed = "Gmail: the drop shows a part of the mail at a time, so that nothing is concluded from what it does not \
                        show, and it is asked again until nothing new comes";
        let Overrides { labels: said, keywords: kept, windowed: parts } = self.overrides;
        let told = [
            (self.labels, labels),
            (said == Some(true) && !self.labels, "`quirks` says that messages have labels, but the server tells none"),
            (said == Some(false), "`quirks` says that labels are mailboxes like any other"),
            (!self.keywords && kept.is_none(), keywords),
            (kept == Some(false), "`quirks` says that keywords are not kept there, so none are sent"),
            (kept == Some(true), "`quirks` says that keywords are kept there, so they are sent"),
            (self.windowed && parts.is_none(), windowed),
            (parts == Some(true), "`quirks` says that the drop shows a part of the mail at a time"),
            (parts == Some(false), "`quirks` says that the drop shows all its mail"),
        ];
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
        let recognise = |target: &Target| Quirks::recognise(target, Overrides::default(), |_| false);
        assert_eq!(recognise(&host("imap.example.org")), Quirks::NONE);
        let gmail = Quirks::recognise(&host("localhost"), Overrides::default(), |name| name == "X-GM-EXT-1");
        assert!(gmail.labels && gmail.keywords);
        assert_eq!(gmail.told().len(), 1);
        assert!(!recognise(&host("Outlook.Office365.com.")).keywords);
        assert!(recognise(&host("notoutlook.com")).keywords);
        assert!(recognise(&Target::Tunnel(vec!["outlook.com".into()])).keywords);
    }

    #[test]
    fn what_the_owner_says_counts_more_and_is_told() {
        let say = |labels, keywords| Overrides { labels, keywords, windowed: None };
        let of = |name: &str, said| Quirks::recognise(&host(name), said, |name| name == "X-GM-EXT-1");
        let exchange = of("outlook.com", say(Some(false), Some(true)));
        assert!(!exchange.labels && exchange.keywords);
        assert_eq!(exchange.told().len(), 2);
        let other = Quirks::recognise(&host("localhost"), say(Some(true), Some(false)), |_| false);
        assert!(!other.labels && !other.keywords, "a server without labels tells none");
        assert!(other.told().iter().all(|clause| clause.starts_with("`quirks` says")));
        assert_eq!(other.told().len(), 2);
    }

    #[test]
    fn gmails_drop_is_opened_so_that_others_still_see_what_stays() {
        let of = |name: &str, windowed| {
            Quirks::recognise(&host(name), Overrides { windowed, ..Overrides::default() }, |_| false)
        };
        let gmail = of("pop.gmail.com", None);
        assert!(gmail.windowed && gmail.told().len() == 1);
        assert_eq!((gmail.drop_user("me", true), gmail.drop_user("me", false)), ("recent:me".into(), "me".into()));
        assert_eq!(gmail.drop_user("recent:me", true), "recent:me");
        assert_eq!(of("pop.gmail.com", Some(false)).drop_user("me", true), "me");
        assert!(of("localhost", Some(true)).windowed && !of("imap.gmail.com", None).windowed);
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
