//! LIST (plain, extended RFC 5258, with STATUS RFC 5819), LSUB, STATUS, NAMESPACE.

use super::super::model::{Account, Mailbox, Model};
use super::super::parse::{Arg, canonical};
use super::super::render;
use super::super::session::Session;
use super::Reply;
use std::collections::{BTreeMap, BTreeSet};

pub fn namespace(session: &Session) -> Reply {
    let profile = &session.profile;
    let line = format!("* NAMESPACE ((\"{}\" \"{}\")) NIL NIL", profile.prefix, profile.delimiter);
    Reply::ok("Namespace completed.").line(line)
}

/// What an extended LIST selects and returns.
#[derive(Default)]
struct Options {
    extended: bool,
    only_subscribed: bool,
    only_special: bool,
    subscribed: bool,
    children: bool,
    special_use: bool,
    status: Option<Vec<String>>,
}

impl Options {
    fn plain(session: &Session) -> Self {
        Self { children: true, special_use: session.profile.has("SPECIAL-USE"), ..Self::default() }
    }

    fn select(&mut self, options: &Arg) {
        let words = options.words();
        self.extended = true;
        self.only_subscribed = words.iter().any(|word| word == "SUBSCRIBED");
        self.only_special = words.iter().any(|word| word == "SPECIAL-USE");
        self.subscribed |= self.only_subscribed;
        self.special_use |= self.only_special;
    }

    fn returning(&mut self, session: &Session, options: &[Arg]) -> Option<()> {
        self.extended = true;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.word()?.as_str() {
                "SUBSCRIBED" => self.subscribed = true,
                "CHILDREN" => self.children = true,
                "SPECIAL-USE" => self.special_use = true,
                "STATUS" if session.profile.has("LIST-STATUS") => self.status = Some(options.next()?.words()),
                _ => return None,
            }
        }
        Some(())
    }
}

pub fn list(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let mut options = Options::plain(session);
    let mut args = args;
    let extended = session.profile.has("LIST-EXTENDED");
    if extended && (args.first()?.list().is_some() || args.len() > 2) {
        options = Options::default();
    }
    if let Some(selection) = args.first().filter(|arg| extended && arg.list().is_some()) {
        options.select(selection);
        args = &args[1..];
    }
    if let [_, _, word, returned] = args
        && extended
        && word.word()? == "RETURN"
    {
        options.returning(session, returned.list()?)?;
        args = &args[..2];
    }
    let [reference, patterns] = args else { return None };
    let reference = reference.text()?;
    let patterns: Vec<String> =
        patterns.items().iter().filter_map(Arg::text).map(|text| format!("{reference}{text}")).collect();
    let delimiter = session.profile.delimiter;
    let reply = Reply::ok("List completed.");
    if patterns == [""] {
        return Some(reply.line(format!("* LIST (\\Noselect) \"{delimiter}\" \"\"")));
    }
    let account = model.accounts.get(&session.user())?;
    Some(lines(session, account, &options, &patterns).into_iter().fold(reply, |reply, line| reply.line(line)))
}

fn lines(session: &Session, account: &Account, options: &Options, patterns: &[String]) -> Vec<String> {
    let delimiter = session.profile.delimiter;
    let mut names: BTreeMap<&str, Option<&Mailbox>> = BTreeMap::new();
    for (name, mailbox) in &account.mailboxes {
        names.insert(name, Some(mailbox));
        for (at, _) in name.match_indices(delimiter) {
            names.entry(&name[..at]).or_insert(account.mailboxes.get(&name[..at]));
        }
    }
    if options.only_subscribed {
        names = account.subscriptions.iter().map(|name| (name.as_str(), account.mailboxes.get(name))).collect();
    }
    let mut lines = Vec::new();
    for (name, mailbox) in names {
        let role = mailbox.and_then(|mailbox| mailbox.role.as_deref()).filter(|_| options.special_use);
        let matched = patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes(), delimiter as u8));
        if !matched || (options.only_special && role.is_none()) {
            continue;
        }
        let mut attributes = Vec::new();
        if mailbox.is_none() {
            attributes.push(if options.extended { "\\NonExistent" } else { "\\Noselect" });
        }
        if options.subscribed && account.subscriptions.contains(name) {
            attributes.push("\\Subscribed");
        }
        if options.children {
            let beneath = format!("{name}{delimiter}");
            let children = account.mailboxes.keys().any(|other| other.starts_with(&beneath));
            attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        attributes.extend(role);
        let shown = render::astring(name);
        lines.push(format!("* LIST ({}) \"{delimiter}\" {shown}", attributes.join(" ")));
        if let (Some(items), Some(mailbox)) = (&options.status, mailbox) {
            lines.push(match status_items(session, mailbox, items) {
                Some(status) if !mailbox.unreadable => format!("* STATUS {shown} ({status})"),
                _ => "* NO [SERVERBUG] Internal error occurred.".to_owned(),
            });
        }
    }
    lines
}

pub fn lsub(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let [reference, pattern] = args else { return None };
    let pattern = format!("{}{}", reference.text()?, pattern.text()?);
    let delimiter = session.profile.delimiter;
    let account = model.accounts.get(&session.user())?;
    let fits = |name: &str| matches(pattern.as_bytes(), name.as_bytes(), delimiter as u8);
    // With % a parent stands for the subscribed mailboxes beneath it (RFC 3501 6.3.9).
    let mut lines = BTreeSet::new();
    for name in &account.subscriptions {
        if fits(name) {
            lines.insert((name.as_str(), ""));
            continue;
        }
        for (at, _) in name.match_indices(delimiter).filter(|_| pattern.ends_with('%')) {
            if fits(&name[..at]) && !account.subscriptions.contains(&name[..at]) {
                lines.insert((&name[..at], "\\Noselect"));
            }
        }
    }
    let line =
        |(name, attribute): (&str, &str)| format!("* LSUB ({attribute}) \"{delimiter}\" {}", render::astring(name));
    Some(lines.into_iter().map(line).fold(Reply::ok("Lsub completed."), |reply, line| reply.line(line)))
}

pub fn status(session: &mut Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let [name, items] = args else { return None };
    let (name, words) = (canonical(&name.text()?), items.list()?.iter().filter_map(Arg::word).collect::<Vec<_>>());
    let Some(mailbox) = model.mailbox(&session.user(), &name) else {
        return Some(Reply::no(&format!("Mailbox doesn't exist: {name}")));
    };
    if mailbox.unreadable {
        return Some(Reply::no("[SERVERBUG] Internal error occurred."));
    }
    let items = status_items(session, mailbox, &words)?;
    session.condstore |= words.iter().any(|word| word == "HIGHESTMODSEQ");
    Some(Reply::ok("Status completed.").line(format!("* STATUS {} ({items})", render::astring(&name))))
}

fn status_items(session: &Session, mailbox: &Mailbox, words: &[String]) -> Option<String> {
    let profile = &session.profile;
    let messages = &mailbox.messages;
    let counts = words.iter().any(|word| !["MAILBOXID", "UIDVALIDITY"].contains(&word.as_str()));
    let item = |word: &String| {
        Some(match word.as_str() {
            "MESSAGES" => format!("MESSAGES {}", messages.len()),
            "RECENT" => format!("RECENT {}", messages.range(mailbox.recent_from..).count()),
            "UIDNEXT" => format!("UIDNEXT {}", mailbox.uid_next),
            "UIDVALIDITY" => format!("UIDVALIDITY {}", mailbox.uid_validity),
            "UNSEEN" => {
                let unseen = messages.values().filter(|message| !message.flags.contains("\\Seen")).count();
                format!("UNSEEN {unseen}")
            }
            "HIGHESTMODSEQ" if profile.has("CONDSTORE") => format!("HIGHESTMODSEQ {}", mailbox.highest_mod_seq),
            "MAILBOXID" if profile.freed_identities && counts => "MAILBOXID (\nZ\u{f}V)".to_owned(),
            "MAILBOXID" if profile.has("OBJECTID") => format!("MAILBOXID (F{})", mailbox.id),
            "SIZE" if profile.has("STATUS=SIZE") => {
                format!("SIZE {}", messages.values().map(|message| message.body.len()).sum::<usize>())
            }
            _ => return None,
        })
    };
    words.iter().map(item).collect::<Option<Vec<_>>>().map(|items| items.join(" "))
}

/// Whether a LIST pattern fits: `*` anything, `%` anything but the delimiter.
fn matches(pattern: &[u8], name: &[u8], delimiter: u8) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..], delimiter)),
        Some((b'%', rest)) => {
            let most = name.iter().position(|byte| *byte == delimiter).unwrap_or(name.len());
            (0..=most).any(|at| matches(rest, &name[at..], delimiter))
        }
        Some((byte, rest)) => name.first() == Some(byte) && matches(rest, &name[1..], delimiter),
    }
}
