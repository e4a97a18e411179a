//! From what a pass learnt to the status file of its account.

use crate::mail::escape;
use crate::remote::Quirks;
use crate::remote::imap::Tier;
use crate::sync::{self, Known, Lone, MailboxId, MailboxRecord, Picture, Uploads, Why};
use crate::worker::status::{
    AccountStatus, HeldSet, LeftOut, MailboxStatus, Quarantined, Question, Side, State, Waiting,
};
use crate::worker::{Error, Job, Report};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a pass learnt for the status, whether it failed or not.
#[derive(Default)]
pub(super) struct Told {
    pub tier: Option<Tier>,
    pub quirks: Option<Quirks>,
    /// None: it was not looked at.
    pub uploads: Option<Uploads>,
    pub mailboxes: Vec<MailboxStatus>,
    /// Names that no mailbox has any more.
    pub former: Vec<String>,
}

/// What is to be shown of the mailboxes; of those at `rest` it is known that both sides have so many messages.
pub(super) fn mailboxes(
    records: &BTreeMap<MailboxId, MailboxRecord>,
    pictures: &BTreeMap<MailboxId, Picture>,
    rest: &BTreeMap<MailboxId, u32>,
) -> Vec<MailboxStatus> {
    let mut shown = Vec::new();
    let looked_at = |record: &&MailboxRecord| {
        let is_seen = pictures.contains_key(&record.id) || rest.contains_key(&record.id);
        is_seen || record.parked.is_some() || record.hold.is_some()
    };
    for record in records.values().filter(|record| record.path.is_some()).filter(looked_at) {
        let nothing = Picture::new();
        let picture = pictures.get(&record.id).unwrap_or(&nothing);
        let mut sets: BTreeMap<(u32, sync::Side), u64> = BTreeMap::new();
        let mut quarantined = Vec::new();
        let mut failed = |what: String, quarantine: &sync::Quarantine| {
            quarantined.push(Quarantined {
                what,
                reason: quarantine.reason.clone(),
                attempts: quarantine.attempts,
                retry_at: Some(quarantine.due).filter(|due| *due != u64::MAX),
            });
        };
        let mut hold = |hold: &sync::Hold| {
            if hold.word == sync::Word::Waiting {
                *sets.entry((hold.set, hold.gone)).or_default() += 1;
            }
        };
        for (uid, known) in picture.uids() {
            match known {
                Known::Pair(pair) => {
                    pair.trouble.iter().for_each(|quarantine| failed(format!("UID {uid}"), quarantine));
                    pair.hold.iter().for_each(&mut hold);
                }
                Known::Lone(Lone { why: Why::Quarantined(quarantine), .. }) => failed(format!("UID {uid}"), quarantine),
                Known::Lone(Lone { why: Why::Held(held), .. }) => hold(held),
                Known::Lone(_) => {}
            }
        }
        for (name, lone) in picture.lone_local() {
            match &lone.why {
                Why::Quarantined(quarantine) => failed(name.to_string(), quarantine),
                Why::Held(held) | Why::Missing(held) => hold(held),
                Why::Pending | Why::Kept | Why::Filtered(_) | Why::Superseded => {}
            }
        }
        let whole = record.hold.filter(|hold| hold.word == sync::Word::Waiting);
        let whole = whole.map(|hold| HeldSet {
            number: hold.set.into(),
            deletions: picture.pairs().count().max(1) as u64,
            side: Side::Remote,
            whole: true,
        });
        let held = sets.into_iter().map(|((set, gone), deletions)| HeldSet {
            number: set.into(),
            deletions,
            whole: false,
            // Where they would be deleted is the other side of where they are missing.
            side: match gone {
                sync::Side::Local => Side::Remote,
                sync::Side::Remote => Side::Local,
            },
        });
        shown.push(MailboxStatus {
            name: record.name.to_string(),
            local: record.path.as_deref().map(escape),
            messages: rest.get(&record.id).map_or(picture.pairs().count() as u64, |messages| u64::from(*messages)),
            held: whole.into_iter().chain(held).collect(),
            filtered: picture.uids().filter(|(_, known)| is_filtered(known)).count() as u64,
            stubs: picture.pairs().filter(|(_, pair)| pair.name.is_stub()).count() as u64,
            quarantined,
            parked: record.parked.is_some(),
            question: record.adopting.and_then(|adopting| adopting.question).map(|question| Question {
                paired: question.paired,
                there: question.there,
                here: question.here,
                rejected: question.word == sync::Word::Rejected,
            }),
        });
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    shown
}

fn is_filtered(known: &Known) -> bool {
    matches!(known, Known::Lone(Lone { why: Why::Filtered(_), .. }))
}

/// Writes the status of an account after a pass. A status that cannot be written is logged and nothing else.
///
/// One that was interrupted says nothing: what was told before it holds.
pub(super) async fn tell(job: &Job, done: &Result<Report, Error>, told: Told) {
    if matches!(done, Err(Error::Interrupted)) {
        return;
    }
    let (state_dir, account) = (job.state_dir.clone(), job.account.clone());
    let state = match done {
        Ok(report) if report.left_out.iter().any(|left| left.failed) => State::Failed,
        Ok(report) if report.held > 0 || report.asked > 0 => State::Held,
        Ok(_) => State::Ok,
        Err(error) => error.state(),
    };
    let error = match done {
        Ok(report) => {
            report.left_out.iter().find(|left| left.failed).map(|left| format!("{}: {}", left.mailbox, left.reason))
        }
        Err(error) => Some(error.chain()),
    };
    let left_out = done.as_ref().map(|report| {
        let failed = report.left_out.iter().filter(|left| left.failed);
        failed.map(|left| LeftOut { name: left.mailbox.clone(), reason: left.reason.clone() }).collect()
    });
    let (success, left_out) = (done.is_ok(), left_out.ok());
    let written = tokio::task::spawn_blocking(move || {
        let mut status =
            AccountStatus::load(&state_dir, &account).unwrap_or_else(|_| AccountStatus::never_synced(&account));
        status.state = state;
        status.last_error = error;
        status.tier = told.tier.map(|tier| format!("{tier:?}")).or(status.tier);
        status.mailboxes.retain(|mailbox| !told.former.contains(&mailbox.name));
        status.left_out = left_out.unwrap_or_default();
        if let Some(quirks) = told.quirks {
            status.quirks = quirks.told().into_iter().map(str::to_owned).collect();
        }
        if let Some(uploads) = told.uploads {
            status.uploads = uploads.paused.map(|paused| Waiting {
                reason: paused.reason,
                attempts: paused.attempts,
                retry_at: paused.due,
            });
        }
        for mut mailbox in told.mailboxes {
            // A pass over some mailboxes says nothing of the others, and counts nothing in those that are parked.
            if let Some(known) = status.mailboxes.iter().position(|known| known.name == mailbox.name) {
                let known = status.mailboxes.swap_remove(known);
                if mailbox.parked {
                    mailbox.messages = known.messages;
                }
            }
            status.mailboxes.push(mailbox);
        }
        if state == State::Ok && status.mailboxes.iter().any(MailboxStatus::waits) {
            status.state = State::Held;
        }
        status.mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
        if success {
            status.last_success = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs());
        }
        status.save(&state_dir)
    });
    if let Ok(Err(error)) = written.await {
        tracing::warn!(account = %job.account, "the status file could not be written: {error}.");
    }
}
