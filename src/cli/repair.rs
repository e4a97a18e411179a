//! The repair that `mailtwin verify --repair` offers: what differs is compared anew, and nothing is deleted.

use super::job::wait;
use super::status::count;
use super::sync::watch;
use super::{Failure, Output, ask};
use crate::config::Account;
use crate::sync::MailboxId;
use crate::sync::audit::{Audit, Difference};
use crate::worker::{Job, Mode, Report, Trouble, Verified, VerifiedMailbox, doubt, run as run_pass};
use std::collections::BTreeSet;

/// Tells what a repair would do, asks, and does it; how its run went. None: nothing was to be repaired, or nobody said that
/// it should be.
pub(super) fn repair(
    (configured, job): (&Account, &Job),
    verified: &Verified,
    yes: bool,
    output: &Output,
) -> Result<Option<Result<Report, Trouble>>, Failure> {
    let account = &job.account;
    let differing: Vec<&VerifiedMailbox> = verified.mailboxes.iter().filter(|m| !m.audit.is_ok()).collect();
    if differing.is_empty() {
        output.note(format!("{account}: there is nothing to repair"));
        return Ok(None);
    }
    if !output.is_json() {
        for mailbox in &differing {
            output.report(format!("{account}/{}: a repair would compare both sides anew:", mailbox.name));
            would(&mailbox.audit).iter().for_each(|line| output.report(format!("  {line}")));
        }
        output.report(format!("{account}: a repair deletes nothing, neither here nor on the server."));
    }
    let mailboxes = count(differing.len() as u64, "mailbox");
    if !ask::is_meant(yes, output, &format!("{account}: Repair {mailboxes}?"))? {
        output.note(format!("Nothing was done. To do it: mailtwin verify {account} --repair --yes"));
        return Ok(None);
    }
    let ids: BTreeSet<MailboxId> = differing.iter().map(|mailbox| mailbox.id).collect();
    let only: Vec<String> = differing.iter().map(|mailbox| mailbox.selector.clone()).collect();
    if let Err(error) = doubt(job, &ids) {
        return Ok(Some(Err(error.into())));
    }
    let pass = async |events| run_pass(job, &only, Mode::Execute, events).await.map_err(Trouble::from);
    wait(watch(configured, output, pass)).map(Some)
}

/// What becomes of the differences of a mailbox when both sides are compared anew, as sentences.
fn would(audit: &Audit) -> Vec<String> {
    let counted = |is: fn(&Difference) -> bool| audit.differences.iter().filter(|found| is(found)).count() as u64;
    let there = counted(|found| matches!(found, Difference::NewThere { .. }));
    let here = counted(|found| matches!(found, Difference::NewHere { .. }));
    let gone = counted(|found| matches!(found, Difference::GoneThere { .. } | Difference::GoneHere { .. }));
    let forgotten = counted(|found| matches!(found, Difference::GoneBoth { .. }));
    let flags = counted(|found| matches!(found, Difference::Flags { .. }));
    let waiting = counted(|found| matches!(found, Difference::OneSided { meant: false, .. }));
    let told = [
        (there, "that only the server is known to have: recognised among what is here, or fetched"),
        (here, "that only the Maildir is known to have: recognised among what is there, or uploaded"),
        (gone, "missing on one side: held, until `mailtwin approve` or `mailtwin reject`"),
        (forgotten, "remembered, and on neither side: forgotten"),
        (flags, "with other flags than were agreed: the changes of both sides are put together"),
        (waiting, "on one side for a reason: recognised on the other, or left as it is"),
    ];
    let told = told.into_iter().filter(|(number, _)| *number > 0);
    told.map(|(number, what)| format!("{} {what}", count(number, "message"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{BaseName, Uid};

    #[test]
    fn what_a_repair_would_do_is_told_by_kinds() {
        let (uid, name) = (Uid::MIN, BaseName::new(b"a").expect("a name"));
        let held = Difference::OneSided { uid: Some(uid), name: None, why: "held".into(), meant: false };
        let meant = Difference::OneSided { uid: Some(uid), name: None, why: "a limit".into(), meant: true };
        let differences = vec![
            Difference::NewThere { uid },
            Difference::NewThere { uid },
            Difference::GoneHere { uid, name: name.clone() },
            Difference::GoneThere { uid, name },
            held,
            meant,
        ];
        let told = would(&Audit { there: 4, here: 2, agreed: 0, differences });
        let beginnings: Vec<&str> = told.iter().map(|line| line.split(':').next().unwrap_or_default()).collect();
        assert_eq!(
            beginnings,
            [
                "2 messages that only the server is known to have",
                "2 messages missing on one side",
                "1 message on one side for a reason"
            ]
        );
    }
}
