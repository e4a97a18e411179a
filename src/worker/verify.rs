//! The audit of an account: every mailbox is listed in full, on both sides, and nothing is changed.

use crate::remote::session;
use crate::sync::audit::{Audit, audit};
use crate::sync::{MailboxAction, MailboxId};
use crate::worker::ground;
use crate::worker::mailboxes::Asked;
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, Job, LeftOut};
use std::collections::BTreeSet;
use tokio::sync::mpsc::unbounded_channel;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Each mailbox that is mirrored, by name, escaped.
    pub mailboxes: Vec<(String, Audit)>,
    /// Mailboxes that are on one side only: what the next run would do about it.
    pub one_sided: Vec<MailboxAction>,
    /// Mailboxes that could not be looked at, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Batches that a crash left open: the next run settles them.
    pub open_batches: usize,
}

/// Audits an account; `only` names the mailboxes, decoded, with `/` between the levels; empty: all. Cancel safe.
pub async fn verify(job: &Job, only: &[String]) -> Result<Verified, Error> {
    let prepared = job.clone();
    if !job.state().join("db").exists() {
        return Err(Error::Refused(
            "it was never synchronised, so there is nothing to verify: run `mailtwin sync`".into(),
        ));
    }
    let ground = blocking(move || ground::prepare(&prepared)).await?;
    let opened = session::open(&job.endpoint).await?;
    let (events, _) = unbounded_channel();
    let mut pass = Pass::new(job, Mode::DryRun, ground, (opened.imap, opened.listing), opened.quirks, events).await?;
    pass.lists_all = true;
    let known: BTreeSet<MailboxId> = pass.records.keys().copied().collect();
    let mut mirrored = pass.judge_mailboxes(Asked::of(only)).await?;
    mirrored.retain(|id| known.contains(id));
    let observed = pass.observe(&mirrored).await?;
    let mut mailboxes = Vec::new();
    for (id, seen) in &observed {
        let Some(record) = pass.records.get(id) else { continue };
        if record.uid_validity.is_some_and(|was| was != seen.reached.uid_validity) {
            let reason = "the server numbered its messages anew; the next `mailtwin sync` compares both sides";
            let left = LeftOut { mailbox: record.name.to_string(), reason: reason.to_owned(), failed: true };
            pass.report.left_out.push(left);
            continue;
        }
        let local_flags = pass.storable_here(seen);
        let picture = pass.pictures.entry(*id).or_default();
        let found = audit(picture, &seen.remote, &seen.local, (&seen.remote_flags, &local_flags));
        mailboxes.push((record.name.to_string(), found));
    }
    mailboxes.sort_by(|a, b| a.0.cmp(&b.0));
    let Pass { imap, report, batches, .. } = pass;
    let _ = imap.logout().await;
    Ok(Verified { mailboxes, one_sided: report.plan.mailboxes, left_out: report.left_out, open_batches: batches.len() })
}
