//! SEARCH and UID SEARCH, with ESEARCH (RFC 4731) and MODSEQ (RFC 7162).

use super::super::model::Message;
use super::super::parse::{Arg, SequenceSet};
use super::super::render;
use super::{Reply, Scene};
use std::collections::BTreeSet;

enum Key {
    All,
    Flag(&'static str),
    Keyword(String),
    Uids(BTreeSet<u32>),
    ModSeq(u64),
    Header(String, String),
    Larger(usize),
    Smaller(usize),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

pub fn search(scene: &mut Scene<'_>, tag: &str, args: &[Arg]) -> Option<Reply> {
    let mut args = args.iter();
    let mut returns = None;
    if args.as_slice().first()?.word().as_deref() == Some("RETURN") && scene.session.profile.has("ESEARCH") {
        args.next();
        let options = args.next()?.words();
        returns = Some(if options.is_empty() { vec!["ALL".to_owned()] } else { options });
    }
    if args.as_slice().first()?.word().as_deref() == Some("CHARSET") {
        args.nth(1)?;
    }
    let mut keys = Vec::new();
    while !args.as_slice().is_empty() {
        keys.push(parse_key(scene, &mut args)?);
    }
    let by_mod_seq = keys.iter().any(has_mod_seq);
    let key = Key::And(keys);
    let mailbox = scene.mailbox();
    let message = |uid: &u32| Some((*uid, mailbox.messages.get(uid)?));
    let found: Vec<(u32, &Message)> =
        scene.view.uids.iter().filter_map(message).filter(|(uid, message)| key.holds(*uid, message)).collect();
    let highest = found.iter().map(|(_, message)| message.mod_seq).max().filter(|_| by_mod_seq);
    let numbers: Vec<u32> = found.iter().map(|(uid, _)| scene.number(*uid)).collect();
    let line = match returns {
        Some(options) => extended(scene.uid, tag, &options, &numbers, highest),
        None => {
            let listed: String = numbers.iter().map(|number| format!(" {number}")).collect();
            format!("* SEARCH{listed}{}", highest.map(|mod_seq| format!(" (MODSEQ {mod_seq})")).unwrap_or_default())
        }
    };
    let condstore = if by_mod_seq { scene.use_condstore() } else { String::new() };
    let mut reply = Reply::ok("Search completed.");
    reply.untagged.extend(condstore.bytes());
    Some(reply.line(line))
}

fn extended(uid: bool, tag: &str, options: &[String], numbers: &[u32], highest: Option<u64>) -> String {
    let mut line = format!("* ESEARCH (TAG \"{tag}\")");
    if uid {
        line += " UID";
    }
    for option in options {
        match (option.as_str(), numbers.first(), numbers.last()) {
            ("MIN", Some(first), _) => line += &format!(" MIN {first}"),
            ("MAX", _, Some(last)) => line += &format!(" MAX {last}"),
            ("ALL", Some(_), _) => line += &format!(" ALL {}", render::uid_list(numbers.iter().copied())),
            ("COUNT", ..) => line += &format!(" COUNT {}", numbers.len()),
            _ => {}
        }
    }
    line + &highest.map(|mod_seq| format!(" MODSEQ {mod_seq}")).unwrap_or_default()
}

fn parse_key(scene: &Scene<'_>, args: &mut std::slice::Iter<'_, Arg>) -> Option<Key> {
    let arg = args.next()?;
    if let Some(list) = arg.list() {
        let mut inner = list.iter();
        let mut keys = Vec::new();
        while !inner.as_slice().is_empty() {
            keys.push(parse_key(scene, &mut inner)?);
        }
        return Some(Key::And(keys));
    }
    let word = arg.word()?;
    if let Some(flag) = word.strip_prefix("UN").and_then(system_flag) {
        return Some(Key::Not(Box::new(Key::Flag(flag))));
    }
    if let Some(flag) = system_flag(&word) {
        return Some(Key::Flag(flag));
    }
    Some(match word.as_str() {
        "ALL" => Key::All,
        "NOT" => Key::Not(Box::new(parse_key(scene, args)?)),
        "OR" => Key::Or(Box::new(parse_key(scene, args)?), Box::new(parse_key(scene, args)?)),
        "UID" => Key::Uids(SequenceSet::parse(&args.next()?.text()?)?.in_order(&scene.view.uids).into_iter().collect()),
        "KEYWORD" => Key::Keyword(args.next()?.text()?),
        "UNKEYWORD" => Key::Not(Box::new(Key::Keyword(args.next()?.text()?))),
        "MODSEQ" if scene.session.profile.has("CONDSTORE") => Key::ModSeq(args.next()?.number()?),
        "HEADER" => Key::Header(args.next()?.text()?, args.next()?.text()?),
        "LARGER" => Key::Larger(args.next()?.number()?),
        "SMALLER" => Key::Smaller(args.next()?.number()?),
        set => {
            let numbers: Vec<u32> = (1..).take(scene.view.uids.len()).collect();
            let numbers = SequenceSet::parse(set)?.in_order(&numbers);
            Key::Uids(numbers.iter().map(|number| scene.view.uids[*number as usize - 1]).collect())
        }
    })
}

fn system_flag(word: &str) -> Option<&'static str> {
    let flags = super::super::model::SYSTEM_FLAGS;
    flags.into_iter().find(|flag| flag[1..].eq_ignore_ascii_case(word))
}

fn has_mod_seq(key: &Key) -> bool {
    match key {
        Key::ModSeq(_) => true,
        Key::Not(key) => has_mod_seq(key),
        Key::Or(one, other) => has_mod_seq(one) || has_mod_seq(other),
        Key::And(keys) => keys.iter().any(has_mod_seq),
        _ => false,
    }
}

impl Key {
    fn holds(&self, uid: u32, message: &Message) -> bool {
        match self {
            Self::All => true,
            Self::Flag(flag) => message.flags.contains(*flag),
            Self::Keyword(keyword) => message.flags.iter().any(|flag| flag.eq_ignore_ascii_case(keyword)),
            Self::Uids(uids) => uids.contains(&uid),
            Self::ModSeq(mod_seq) => message.mod_seq >= *mod_seq,
            Self::Header(name, text) => header_has(&message.body, name, text),
            Self::Larger(size) => message.body.len() > *size,
            Self::Smaller(size) => message.body.len() < *size,
            Self::Not(key) => !key.holds(uid, message),
            Self::Or(one, other) => one.holds(uid, message) || other.holds(uid, message),
            Self::And(keys) => keys.iter().all(|key| key.holds(uid, message)),
        }
    }
}

fn header_has(body: &[u8], name: &str, text: &str) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    let (name, text) = (format!("{}:", name.to_ascii_lowercase()), text.to_ascii_lowercase());
    let header = body.split("\r\n\r\n").next().unwrap_or_default();
    header.lines().any(|line| line.strip_prefix(&name).is_some_and(|value| value.contains(&text)))
}
