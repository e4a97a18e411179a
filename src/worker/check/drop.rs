//! What can be proven of a drop: that it is reached, lets us in, and which messages it lists.

use super::there::{connected, obtain};
use super::{Check, Finding, Proven};
use crate::mail::escape;
use crate::remote::pop3::{self, Capabilities, Expire, Listing};
use crate::remote::{Endpoint, Quirks, session};
use crate::sync::maildrop::Maildrop;
use crate::worker::Job;

/// Logs in once and lists; nothing is fetched or removed. Cancel safe.
pub(super) async fn look_there(job: &Job, wanted: &Maildrop) -> Vec<Finding> {
    let quirks = Quirks::recognise(&job.endpoint.target, job.endpoint.quirks, |_| false);
    let user = quirks.drop_user(&job.endpoint.user, wanted.remove.keeps());
    let mut endpoint = Endpoint { user, ..job.endpoint.clone() };
    let mut findings = Vec::new();
    let rest = [Check::Login, Check::Server, Check::Mailboxes];
    let skip = |from: usize, because: &'static str| {
        rest.into_iter().skip(from).map(move |check| Finding::skipped(check, because))
    };
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
    let reached = match pop3::reach(&endpoint).await {
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
    let opened = match pop3::log_in(reached, &endpoint).await {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::error(Check::Login, error));
            findings.extend(skip(1, "there is no login"));
            return findings;
        }
    };
    let let_in = format!("{} is let in, with {}", escape(&endpoint.user), opened.mechanism);
    findings.push(Finding::ok(Check::Login, let_in));
    let mut transaction = opened.transaction;
    match transaction.list().await {
        Ok(listing) => {
            let mut able = able(transaction.capabilities(), &listing, wanted);
            able.notes.extend(quirks.told().into_iter().map(str::to_owned));
            findings.push(able);
            findings.push(messages(&listing));
            // Nothing depends on the answer.
            let _ = transaction.quit().await;
        }
        Err(error) => {
            findings.push(Finding::error(Check::Server, error));
            findings.extend(skip(2, "it did not list"));
        }
    }
    findings
}

/// What the server can do, and what follows from what it cannot.
fn able(capabilities: &Capabilities, listing: &Listing, wanted: &Maildrop) -> Finding {
    let tells_ids = listing.messages.iter().all(|message| message.uidl.is_some());
    let what = match tells_ids {
        true => "a drop whose messages have unique-ids (UIDL)",
        false => "a drop that tells not all unique-ids: messages are known by their headers and sizes",
    };
    let mut notes = Vec::new();
    if !capabilities.has("PIPELINING") {
        notes.push("no PIPELINING: each message is waited for, which is slower".to_owned());
    }
    if let Some(delay) = capabilities.login_delay().filter(|delay| !delay.is_zero()) {
        notes.push(format!("LOGIN-DELAY: {} between two runs", humantime::format_duration(delay)));
    }
    match capabilities.expire().filter(|_| wanted.remove.keeps()) {
        Some(Expire::Days(0)) => notes.push("EXPIRE 0: it removes messages once they were fetched".to_owned()),
        Some(Expire::Days(days)) => notes.push(format!("EXPIRE {days}: it removes messages after so many days")),
        Some(Expire::Never) | None => {}
    }
    Finding { notes, ..Finding::ok(Check::Server, what) }
}

fn messages(listing: &Listing) -> Finding {
    let notes: Vec<String> = listing.doubts.iter().map(ToString::to_string).collect();
    let what = format!("{} messages in the drop", listing.messages.len());
    let proven = match listing.adds_up() {
        true => Proven::Ok,
        false => Proven::Advice("While this lasts, nothing is removed from the server.".to_owned()),
    };
    Finding { notes, ..Finding::new(Check::Mailboxes, proven, what) }
}
