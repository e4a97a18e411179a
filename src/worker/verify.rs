//! The audit of an account: every mailbox is listed in full, on both sides, and nothing is changed. And its repair: what is
//! remembered of a mailbox is put in doubt, so that the next pass compares both sides anew.

use crate::remote::session;
use crate::store::{Settlement, Store};
use crate::sync::audit::{Audit, audit};
use crate::sync::{Adopting, Cause, MailboxAction, MailboxId};
use crate::worker::mailboxes::Asked;
use crate::worker::pass::{Mode, Pass, blocking};
use crate::worker::{Error, Job, LeftOut};
use crate::worker::{ground, map};
use std::collections::BTreeSet;
use tokio::sync::mpsc::unbounded_channel;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Each mailbox that is mirrored, by name.
    pub mailboxes: Vec<VerifiedMailbox>,
    /// Mailboxes that are on one side only: what the next run would do about it.
    pub one_sided: Vec<MailboxAction>,
    /// Mailboxes that could not be looked at, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Batches that a crash left open: the next run settles them.
    pub open_batches: usize,
}

/// What an audit found in one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMailbox {
    /// The mailbox.
    pub id: MailboxId,
    /// Its name on the server, escaped.
    pub name: String,
    /// Its name, decoded, with `/` between the levels: that by which it is selected.
    pub selector: String,
    /// What was counted, and every difference.
    pub audit: Audit,
}

/// Audits an account; `only` names the mailboxes, decoded, with `/` between the levels; empty: all. Cancel safe.
pub async fn verify(job: &Job, only: &[String]) -> Result<Verified, Error> {
    let prepared = job.clone();
    if !job.state().join("db").exists() {
        return Err(Error::Refused(
            "it was never synchronised, so there is nothing to verify: run `mailtwin sync`".into(),
        ));
    }
    if job.maildrop.is_some() {
        return Err(Error::Refused(
            "its mail is fetched from a drop and not mirrored, so there is nothing to verify: each run compares what the \
             server lists with what is known"
                .into(),
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
        let audit = audit(picture, &seen.remote, &seen.local, (&seen.remote_flags, &local_flags));
        let selector = map::slashed(&record.name, pass.place.0);
        mailboxes.push(VerifiedMailbox { id: *id, name: record.name.to_string(), selector, audit });
    }
    mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    let Pass { imap, report, batches, .. } = pass;
    let _ = imap.logout().await;
    Ok(Verified { mailboxes, one_sided: report.plan.mailboxes, left_out: report.left_out, open_batches: batches.len() })
}

/// Puts what is remembered of mailboxes in doubt: the next pass over them compares both sides by what the messages look
/// like, keeps what is on both, carries over what one lacks, and holds what looks deleted. Blocking.
///
/// It is durable when this returns, so that a crash before that pass changes nothing about it. A mailbox that is to be
/// compared anyway stays as it is.
pub fn doubt(job: &Job, mailboxes: &BTreeSet<MailboxId>) -> Result<(), Error> {
    let (store, _) = Store::open(&job.state())?;
    let mut doubted = Vec::new();
    for mut record in store.mailboxes()? {
        if mailboxes.contains(&record.id) && record.uid_validity.is_some() && record.adopting.is_none() {
            record.adopting = Some(Adopting { cause: Cause::Doubted, question: None });
            record.checkpoint = None;
            doubted.push(record);
        }
    }
    store.settle(Settlement { mailboxes: doubted, ..Settlement::default() })?;
    store.close()?;
    Ok(())
}
