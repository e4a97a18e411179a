//! What can be proven of the server: the secret, the connection, the login, what it can do, what it lists.

use super::{Check, Finding, Proven};
use crate::mail::{SpecialUse, escape};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Capabilities, Listing, Tier};
use crate::remote::session::{self, Opened};
use crate::remote::{Endpoint, Quirks, Secret, Target, secret};
use crate::sync::Standing;
use crate::worker::{Job, map};
use std::collections::BTreeMap;

/// Logs in once and looks around; no mailbox is opened. Cancel safe.
pub(super) async fn look_there(job: &Job) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut endpoint = job.endpoint.clone();
    let has_secret = match obtain(&mut endpoint).await {
        Ok(what) => {
            findings.push(Finding::ok(Check::Secret, what));
            true
        }
        Err(error) => {
            findings.push(Finding::error(Check::Secret, session::Error::from(error)));
            false
        }
    };
    let rest = [Check::Login, Check::Server, Check::Mailboxes];
    let skip = |from: usize, because: &'static str| {
        rest.into_iter().skip(from).map(move |check| Finding::skipped(check, because))
    };
    let reached = match session::reach(&endpoint).await {
        Ok(reached) => reached,
        Err(error) => {
            findings.push(Finding::error(Check::Connection, error));
            findings.extend(skip(0, "there is no connection"));
            return findings;
        }
    };
    findings.push(connected(&endpoint, &reached.peer, reached.protection.as_deref()));
    if !has_secret {
        findings.extend(skip(0, "there is no secret to log in with"));
        return findings;
    }
    let Opened { imap, listing, mechanism, quirks, .. } = match session::log_in(reached, &endpoint).await {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::error(Check::Login, error));
            findings.extend(skip(1, "there is no login"));
            return findings;
        }
    };
    let user = escape(&endpoint.user);
    findings.push(Finding::ok(
        Check::Login,
        mechanism.map_or_else(
            || "the server knew us already (PREAUTH)".to_owned(),
            |mechanism| format!("{user} is let in, with {mechanism}"),
        ),
    ));
    let mut able = able(imap.capabilities(), imap.tier(), &job.endpoint.disabled_extensions);
    able.notes.extend(quirks.told().into_iter().map(str::to_owned));
    findings.push(able);
    findings.push(mailboxes(job, &quirks, listing));
    let _ = imap.logout().await;
    findings
}

/// Fetches the secret, so that the login need not do it again; tells where it came from.
pub(super) async fn obtain(endpoint: &mut Endpoint) -> Result<&'static str, secret::SecretError> {
    if let Some(command) = &endpoint.token_command {
        // A token is printed anew at the login: its command is made for that.
        secret::token(command, "the access token").await?;
        return Ok("the command prints an access token");
    }
    let Some(password) = &endpoint.password else { return Ok("none is needed") };
    let what = match password {
        Secret::Command(_) => "the command prints a password",
        Secret::File(_) => "the file holds a password",
        Secret::Environment(_) => "the environment variable holds a password",
        Secret::Credential(_) => "the systemd credential holds a password",
        Secret::Literal(_) => "the password stands in the configuration",
    };
    let revealed = secret::reveal(password, "the password").await?;
    endpoint.password = Some(Secret::Literal(revealed));
    Ok(what)
}

pub(super) fn connected(endpoint: &Endpoint, peer: &str, protection: Option<&str>) -> Finding {
    Finding::ok(
        Check::Connection,
        match (protection, &endpoint.target, endpoint.tls.pin) {
            (Some(tls), _, Some(_)) => format!("{peer} shows the pinned certificate, {tls}"),
            (Some(tls), _, None) => format!("{peer} has a certificate that is trusted, {tls}"),
            (None, Target::Tunnel(_), _) => format!("{peer} answers"),
            (None, Target::Host { .. }, _) => format!("{peer} answers, without TLS"),
        },
    )
}

/// What the server can do, and what follows from what it cannot.
fn able(capabilities: &Capabilities, tier: Tier, disabled: &[String]) -> Finding {
    let tells = match tier {
        Tier::A => "tier A: it tells what changed and what is gone since the last look (QRESYNC)",
        Tier::B => "tier B: it tells what changed since the last look (CONDSTORE); what is gone is seen by looking",
        Tier::C => "tier C: it tells nothing about changes, so flags are seen by listing them all",
    };
    let lacking = [
        ("UIDPLUS", "a message is expunged only while nobody else has marked one, and uploads are found by looking"),
        ("MOVE", "a message goes to the Trash as a copy, and is expunged then"),
        ("LITERAL+", "each upload waits for the server's word, which is slower"),
        ("MULTIAPPEND", "messages are uploaded by one command each, which is slower"),
        ("LIST-STATUS", "each mailbox is asked about by itself, which is slower"),
        ("SPECIAL-USE", "the Trash and the like are known by their usual names only"),
    ];
    let has = |name: &str| capabilities.has(name) || name == "LITERAL+" && capabilities.has("LITERAL-");
    let lacking = lacking.iter().filter(|(name, _)| !has(name));
    let mut notes: Vec<String> = lacking.map(|(name, means)| format!("no {name}: {means}")).collect();
    if !disabled.is_empty() {
        notes.push(format!("unused by `disable-extensions`: {}", escape(disabled.join(", "))));
    }
    Finding { notes, ..Finding::ok(Check::Server, tells) }
}

fn mailboxes(job: &Job, quirks: &Quirks, listing: Result<Listing, ImapError>) -> Finding {
    let listing = match listing {
        Ok(listing) => listing,
        Err(error) => return Finding::error(Check::Mailboxes, error),
    };
    let job = &map::without(job, map::views(job, quirks, &listing));
    let mapping = match map::mapping(job, &listing, &[]) {
        Ok(mapping) => mapping,
        Err(error) => {
            return Finding::failed(Check::Mailboxes, error.to_string(), "Change `rename`, or rename on the server.");
        }
    };
    let listed = map::place(job, &listing, &mapping);
    if listed.is_empty() {
        return Finding::failed(
            Check::Mailboxes,
            "the server lists no mailbox at all, which is not believed",
            "Try again later; if it stays so, ask the server's operator.",
        );
    }
    let wanted: Vec<_> = listed.iter().filter(|l| l.standing == Standing::Wanted).collect();
    let mut roles: BTreeMap<SpecialUse, String> = BTreeMap::new();
    for mailbox in &listed {
        if let Some(role) = mailbox.role {
            roles.entry(role).or_insert_with(|| mailbox.name.to_string());
        }
    }
    let mut notes: Vec<String> =
        roles.iter().map(|(role, name)| format!("{}: {name}", format!("{role:?}").to_lowercase())).collect();
    if !roles.contains_key(&SpecialUse::Trash) {
        notes.push("no Trash: one is made when the first message goes there".to_owned());
    }
    let unusable = listing.hostile.iter().map(|(name, reason)| format!("{name} cannot be used: {reason}"));
    let misplaced =
        wanted.iter().filter_map(|l| Some(format!("{} cannot be used: {}", l.name, l.place.as_ref().err()?)));
    let bad: Vec<String> = unusable.chain(misplaced).collect();
    let what = format!("{} on the server, {} of them wanted", listed.len(), wanted.len());
    let proven = if wanted.is_empty() {
        Proven::Failed("Let `mailboxes` name at least one of them: `mailtwin folders` shows all.".to_owned())
    } else if bad.is_empty() {
        Proven::Ok
    } else {
        Proven::Advice("Rename those on the server; the others are synchronised.".to_owned())
    };
    notes.extend(bad);
    Finding { notes, ..Finding::new(Check::Mailboxes, proven, what) }
}
