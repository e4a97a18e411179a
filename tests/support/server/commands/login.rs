//! CAPABILITY, LOGIN, AUTHENTICATE PLAIN, ENABLE.

use super::super::model::{Model, PASSWORD};
use super::super::parse::Arg;
use super::super::session::Session;
use super::Reply;
use base64::Engine as _;

fn capabilities(session: &Session) -> String {
    let profile = &session.profile;
    let offered = if session.user.is_some() { &profile.capabilities } else { &profile.before_login };
    offered.join(" ")
}

pub fn capability(session: &Session) -> Reply {
    Reply::ok("Capability completed.").line(format!("* CAPABILITY {}", capabilities(session)))
}

pub fn login(session: &mut Session, model: &Model, args: &[Arg]) -> Option<Reply> {
    let [user, password] = args else { return None };
    if session.profile.before_login.contains(&"LOGINDISABLED") {
        return Some(Reply::no("[PRIVACYREQUIRED] Plaintext authentication disallowed"));
    }
    Some(check(session, model, &user.text()?, &password.text()?))
}

/// PLAIN (RFC 4616); the response came with the command or after "+".
pub fn authenticate(session: &mut Session, model: &Model, args: &[Arg]) -> Option<Reply> {
    let [mechanism, response] = args else { return None };
    let response = response.text()?;
    if response == "*" {
        return Some(Reply::bad("Authentication cancelled"));
    }
    if mechanism.word()? != "PLAIN" {
        return Some(Reply::no("[CANNOT] Unsupported authentication mechanism"));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(response).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let mut fields = decoded.splitn(3, '\0').skip(1);
    Some(check(session, model, fields.next()?, fields.next()?))
}

fn check(session: &mut Session, model: &Model, user: &str, password: &str) -> Reply {
    if session.user.is_some() {
        return Reply::bad("Already logged in");
    }
    if password != PASSWORD || !model.accounts.contains_key(user) {
        return Reply::no("[AUTHENTICATIONFAILED] Authentication failed.");
    }
    session.user = Some(user.to_owned());
    if session.profile.capability_in_login {
        Reply::ok(&format!("[CAPABILITY {}] Logged in", capabilities(session)))
    } else {
        Reply::ok("Logged in")
    }
}

pub fn enable(session: &mut Session, args: &[Arg]) -> Reply {
    let mut enabled = Vec::new();
    for capability in args.iter().filter_map(Arg::word) {
        match capability.as_str() {
            "CONDSTORE" if session.profile.has("CONDSTORE") => session.condstore = true,
            "QRESYNC" if session.profile.has("QRESYNC") => (session.condstore, session.qresync) = (true, true),
            _ => continue,
        }
        enabled.push(capability);
    }
    let names: String = enabled.iter().map(|name| format!(" {name}")).collect();
    Reply::ok("Enabled.").line(format!("* ENABLED{names}"))
}
