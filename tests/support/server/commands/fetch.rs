//! FETCH and UID FETCH: metadata, bodies and their parts, CHANGEDSINCE and VANISHED (RFC 7162).

use super::super::model::{Mailbox, Message};
use super::super::parse::{Arg, SequenceSet};
use super::super::render;
use super::{Reply, Scene};

enum Item {
    Uid,
    Flags,
    Size,
    InternalDate,
    ModSeq,
    EmailId,
    GmailMessage,
    GmailLabels,
    Body(Section),
}

impl Item {
    /// What an index knows is still told of a message that is gone.
    fn needs_the_message(&self) -> bool {
        !matches!(self, Self::Uid | Self::Flags | Self::ModSeq)
    }
}

/// `BODY[...]<...>`.
struct Section {
    /// As the reply names it.
    label: String,
    part: Part,
    /// First byte and most bytes.
    partial: Option<(usize, usize)>,
    peek: bool,
}

enum Part {
    Whole,
    Header,
    Fields { names: Vec<String>, except: bool },
    Text,
}

pub fn fetch(scene: &mut Scene<'_>, args: &[Arg]) -> Option<Reply> {
    let (set, wanted) = (args.first()?, args.get(1)?);
    let mut items = wanted.items().iter().map(|item| parse_item(scene, item)).collect::<Option<Vec<_>>>()?;
    if scene.uid && !items.iter().any(|item| matches!(item, Item::Uid)) {
        items.insert(0, Item::Uid);
    }
    let (since, vanished) = modifiers(scene, args.get(2))?;
    if since.is_some() && !items.iter().any(|item| matches!(item, Item::ModSeq)) {
        items.push(Item::ModSeq);
    }
    if vanished && !(scene.session.qresync && scene.uid) {
        return Some(Reply::bad("QRESYNC not enabled"));
    }
    let mut uids = scene.uids(set)?;
    uids.sort_unstable();

    let mut reply = Reply::ok("Fetch completed.");
    if items.iter().any(|item| matches!(item, Item::ModSeq)) {
        let highest = scene.use_condstore();
        reply.untagged.extend(highest.bytes());
    }
    if vanished {
        reply.untagged.extend(vanished_line(scene, set, since?)?.bytes());
    }
    let (mut refused, mut expunged, mut read) = (false, false, Vec::new());
    for uid in uids {
        if let Some(says_no) = scene.session.hidden(uid) {
            refused |= says_no;
            continue;
        }
        let mailbox = scene.mailbox();
        let Some(message) = mailbox.messages.get(&uid) else {
            expunged |= items.iter().any(Item::needs_the_message);
            reply.untagged.extend(remains(scene, uid, &items));
            continue;
        };
        if since.is_some_and(|since| message.mod_seq <= since) {
            continue;
        }
        let parts = items.iter().map(|item| value(scene, mailbox, message, uid, item));
        reply.untagged.extend(response(scene, uid, parts));
        if items.iter().any(|item| matches!(item, Item::Body(section) if !section.peek)) {
            read.push(uid);
        }
    }
    if !scene.view.read_only && !read.is_empty() {
        let seen = ["\\Seen".to_owned()];
        let (author, mode) = (scene.session.author(), super::super::model::StoreMode::Add);
        scene.model.store(author, &scene.user, &scene.name, &read, mode, &seen);
    }
    if refused {
        reply.tagged = "NO Some messages could not be fetched".to_owned();
    } else if expunged {
        reply.tagged = "OK [EXPUNGEISSUED] Some messages were already expunged.".to_owned();
    }
    Some(reply)
}

fn modifiers(scene: &Scene<'_>, list: Option<&Arg>) -> Option<(Option<u64>, bool)> {
    let (mut since, mut vanished) = (None, false);
    let mut words = list.map_or(&[][..], |list| list.items()).iter();
    while let Some(word) = words.next() {
        match word.word()?.as_str() {
            "CHANGEDSINCE" if scene.session.profile.has("CONDSTORE") => since = Some(words.next()?.number()?),
            "VANISHED" => vanished = true,
            _ => return None,
        }
    }
    Some((since, vanished))
}

fn vanished_line(scene: &Scene<'_>, set: &Arg, since: u64) -> Option<String> {
    let set = SequenceSet::parse(&set.text()?)?;
    let mailbox = scene.mailbox();
    let top = mailbox.messages.last_key_value().map_or(0, |(uid, _)| *uid);
    let star = if scene.session.profile.star_hides_vanished_top { top } else { mailbox.uid_next.saturating_sub(1) };
    let asked = set.at(star);
    let gone: Vec<u32> = mailbox.vanished_since(since).into_iter().filter(|uid| asked.hold(*uid)).collect();
    Some(if gone.is_empty() { String::new() } else { format!("* VANISHED (EARLIER) {}\r\n", render::uid_list(gone)) })
}

fn response(scene: &Scene<'_>, uid: u32, parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts.collect();
    let sequence = scene.view.sequence(uid).unwrap_or(0);
    [format!("* {sequence} FETCH (").as_bytes(), &parts.join(&b' '), b")\r\n"].concat()
}

/// What Dovecot still says of a message that another session expunged: its last flags, and NIL for its body.
fn remains(scene: &Scene<'_>, uid: u32, items: &[Item]) -> Vec<u8> {
    let mailbox = scene.mailbox();
    let gone = mailbox.vanished.iter().find(|gone| gone.uid == uid);
    let parts = items.iter().filter_map(|item| match item {
        Item::Uid => Some(format!("UID {uid}")),
        Item::Flags => gone
            .map(|gone| format!("FLAGS ({})", render::flags(mailbox, &gone.flags, scene.view.recent.contains(&uid)))),
        Item::Body(section) => Some(format!("{} NIL", section.label)),
        _ => None,
    });
    response(scene, uid, parts.map(String::into_bytes))
}

fn value(scene: &Scene<'_>, mailbox: &Mailbox, message: &Message, uid: u32, item: &Item) -> Vec<u8> {
    let text = match item {
        Item::Uid => format!("UID {uid}"),
        Item::Flags => {
            format!("FLAGS ({})", render::flags(mailbox, &message.flags, scene.view.recent.contains(&uid)))
        }
        Item::Size => format!("RFC822.SIZE {}", message.body.len()),
        Item::InternalDate => format!("INTERNALDATE \"{}\"", message.internal_date),
        Item::ModSeq => format!("MODSEQ ({})", message.mod_seq),
        Item::EmailId => format!("EMAILID ({})", message.email_id),
        Item::GmailMessage => format!("X-GM-MSGID {}", gmail_number(&message.body)),
        Item::GmailLabels => format!("X-GM-LABELS ({})", gmail_labels(scene, message).join(" ")),
        Item::Body(section) => {
            let bytes = section.read(&message.body);
            return [format!("{} {{{}}}\r\n", section.label, bytes.len()).as_bytes(), &bytes].concat();
        }
    };
    text.into_bytes()
}

/// The same for the same bytes (FNV-1a).
fn gmail_number(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)) >> 1
}

/// The other mailboxes that show the message, by Gmail's names for them.
fn gmail_labels(scene: &Scene<'_>, message: &Message) -> Vec<String> {
    let Some(account) = scene.model.accounts.get(&scene.user) else { return Vec::new() };
    let shows = |mailbox: &Mailbox| mailbox.messages.values().any(|other| other.body == message.body);
    let others = account.mailboxes.iter().filter(|(name, mailbox)| **name != scene.name && shows(mailbox));
    let label = |(name, mailbox): (&String, &Mailbox)| match mailbox.role.as_deref() {
        Some("\\All" | "\\Trash") => None,
        Some(role) => Some(format!("\"\\{role}\"")),
        None if name == "INBOX" => Some("\"\\\\Inbox\"".to_owned()),
        None => Some(render::astring(name)),
    };
    others.filter_map(label).collect()
}

fn parse_item(scene: &Scene<'_>, item: &Arg) -> Option<Item> {
    let profile = &scene.session.profile;
    let word = item.word()?;
    Some(match word.as_str() {
        "UID" => Item::Uid,
        "FLAGS" => Item::Flags,
        "RFC822.SIZE" => Item::Size,
        "INTERNALDATE" => Item::InternalDate,
        "MODSEQ" if profile.has("CONDSTORE") => Item::ModSeq,
        "EMAILID" if profile.has("OBJECTID") => Item::EmailId,
        "X-GM-MSGID" if profile.has("X-GM-EXT-1") => Item::GmailMessage,
        "X-GM-LABELS" if profile.has("X-GM-EXT-1") => Item::GmailLabels,
        body => Item::Body(Section::parse(body)?),
    })
}

impl Section {
    fn parse(word: &str) -> Option<Self> {
        let (peek, rest) = match word.strip_prefix("BODY.PEEK[") {
            Some(rest) => (true, rest),
            None => (false, word.strip_prefix("BODY[")?),
        };
        let (inner, after) = rest.rsplit_once(']')?;
        let part = match inner {
            "" => Part::Whole,
            "HEADER" => Part::Header,
            "TEXT" => Part::Text,
            fields => {
                let fields = fields.strip_prefix("HEADER.FIELDS")?;
                let (except, fields) = fields.strip_prefix(".NOT").map_or((false, fields), |rest| (true, rest));
                let names = fields.strip_prefix(" (")?.strip_suffix(')')?;
                Part::Fields { names: names.split(' ').map(|name| name.trim_matches('"').to_owned()).collect(), except }
            }
        };
        let mut label = format!("BODY[{inner}]");
        let mut partial = None;
        if !after.is_empty() {
            let (first, most) = after.strip_prefix('<')?.strip_suffix('>')?.split_once('.')?;
            partial = Some((first.parse().ok()?, most.parse().ok()?));
            label += &format!("<{first}>");
        }
        Some(Self { label, part, partial, peek })
    }

    /// The bytes asked for; NUL, which a literal must not have, becomes 0x80, as at Dovecot.
    fn read(&self, body: &[u8]) -> Vec<u8> {
        let (header, text) = body.split_at(header_length(body));
        let mut bytes = match &self.part {
            Part::Whole => body.to_vec(),
            Part::Header => header.to_vec(),
            Part::Text => text.to_vec(),
            Part::Fields { names, except } => fields(header, names, *except),
        };
        if let Some((first, most)) = self.partial {
            let first = first.min(bytes.len());
            bytes = bytes[first..(first + most).min(bytes.len())].to_vec();
        }
        bytes.iter().map(|byte| if *byte == 0 { 0x80 } else { *byte }).collect()
    }
}

/// The length of the header with its empty line.
fn header_length(body: &[u8]) -> usize {
    if body.starts_with(b"\r\n") {
        return 2;
    }
    body.windows(4).position(|four| four == b"\r\n\r\n").map_or(body.len(), |at| at + 4)
}

/// The fields with these names, folded lines included, and an empty line.
fn fields(header: &[u8], names: &[String], except: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut taken = false;
    for line in header.split_inclusive(|byte| *byte == b'\n').filter(|line| *line != b"\r\n") {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let named = names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(line[..end].trim_ascii_end()));
            taken = named != except;
        }
        if taken {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
