//! APPEND and MULTIAPPEND (RFC 3502), with APPENDUID (RFC 4315): all messages or none.

use super::super::model::{Arrival, Model};
use super::super::parse::{Arg, canonical};
use super::super::profile::{BareLf, Profile};
use super::super::render;
use super::super::session::Session;
use super::Reply;

pub fn append(session: &Session, model: &mut Model, args: &[Arg]) -> Option<Reply> {
    let profile = &session.profile;
    let (name, mut rest) = args.split_first()?;
    let name = canonical(&name.text()?);
    let mut arrivals = Vec::new();
    while !rest.is_empty() {
        arrivals.push(arrival(&mut rest)?);
    }
    if arrivals.is_empty() || (arrivals.len() > 1 && !profile.has("MULTIAPPEND")) {
        return None;
    }
    let user = session.user();
    let Some(mailbox) = model.mailbox(&user, &name) else {
        return Some(Reply::no(&format!("[TRYCREATE] Mailbox doesn't exist: {name}")));
    };
    let uid_validity = mailbox.uid_validity;
    for arrival in &mut arrivals {
        if let Err(reply) = accept(profile, arrival) {
            return Some(reply);
        }
    }
    let uids = match model.append(session.author(), &user, &name, arrivals) {
        Ok(uids) => uids,
        Err(refusal) => return Some(Reply::refused(refusal, &name)),
    };
    Some(match profile.has("UIDPLUS") {
        true => Reply::ok(&format!("[APPENDUID {uid_validity} {}] Append completed.", render::uid_list(uids))),
        false => Reply::ok("Append completed."),
    })
}

/// Takes `[(flags)] ["date"] literal` off the arguments.
fn arrival(args: &mut &[Arg]) -> Option<Arrival> {
    let mut flags = Vec::new();
    if let Some((Arg::List(list), rest)) = args.split_first() {
        flags = list.iter().map(Arg::text).collect::<Option<_>>()?;
        *args = rest;
    }
    let mut internal_date = None;
    if let Some((Arg::Quoted(date), rest)) = args.split_first() {
        let date = String::from_utf8(date.clone()).ok().filter(|date| is_date_time(date))?;
        (internal_date, *args) = (Some(date), rest);
    }
    let Some((Arg::Literal(body), rest)) = args.split_first() else { return None };
    *args = rest;
    Some(Arrival { body: body.as_slice().into(), flags, internal_date })
}

/// `dd-Mon-yyyy hh:mm:ss +zzzz`, the day perhaps with a space in front (RFC 3501 9).
fn is_date_time(text: &str) -> bool {
    let shape = b"99-AAA-9999 99:99:99 +9999";
    text.len() == shape.len()
        && text.bytes().zip(shape).enumerate().all(|(at, (byte, shape))| match shape {
            b'9' => byte.is_ascii_digit() || (at == 0 && byte == b' '),
            b'A' => byte.is_ascii_alphabetic(),
            b'+' => matches!(byte, b'+' | b'-'),
            other => byte == *other,
        })
}

/// Refuses or changes the message as the server's kind does.
fn accept(profile: &Profile, arrival: &mut Arrival) -> Result<(), Reply> {
    let body = &arrival.body;
    if body.is_empty() && profile.refuses_empty {
        return Err(Reply::no("Can't save a zero byte message"));
    }
    if profile.refuses_nul && body.contains(&0) {
        return Err(Reply::no("Message contains NUL characters"));
    }
    if profile.append_limit.is_some_and(|limit| body.len() > limit) {
        return Err(Reply::no("[TOOBIG] Message is too large"));
    }
    if !profile.keywords && arrival.flags.iter().any(|flag| !flag.starts_with('\\')) {
        return Err(Reply::bad("Keywords are not supported"));
    }
    if has_bare_lf(body) {
        match profile.bare_lf {
            BareLf::Convert => arrival.body = with_crlf(body).into(),
            BareLf::Refuse => return Err(Reply::no("Message contains bare newlines")),
            BareLf::Keep => {}
        }
    }
    Ok(())
}

fn has_bare_lf(body: &[u8]) -> bool {
    body.first() == Some(&b'\n') || body.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

fn with_crlf(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 32);
    for byte in body {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}
