//! The order of a plan: everything is added before anything is removed, over all mailboxes of the account.

use crate::mail::{Fingerprint, Uid, UidValidity};
use crate::sync::picture::{MailboxId, Picture};
use crate::sync::plan::{Action, MailboxPlan, Phase, Work};
use std::collections::{BTreeMap, BTreeSet};

/// Cuts plans into waves of batches. All batches of a wave are begun with one commit, executed in any order, and settled
/// with one commit, before the next wave begins. A batch has at most `group` actions; there is one wave per phase.
///
/// `next` tells, for each mailbox that can be added to, its epoch and UIDNEXT as the listing showed them.
pub fn waves(
    mut plans: Vec<MailboxPlan>,
    next: &BTreeMap<MailboxId, (UidValidity, Uid)>,
    group: usize,
) -> Vec<(Phase, Vec<Work>)> {
    let mut waves = Vec::new();
    for phase in [Phase::Add, Phase::Move, Phase::Flags, Phase::Remove] {
        let mut works = Vec::new();
        for plan in &mut plans {
            let (now, later): (Vec<Action>, Vec<Action>) =
                std::mem::take(&mut plan.actions).into_iter().partition(|action| action.phase() == phase);
            plan.actions = later;
            let mut now = now.into_iter();
            loop {
                let actions: Vec<Action> = now.by_ref().take(group.max(1)).collect();
                if actions.is_empty() {
                    break;
                }
                let added_to = actions.iter().filter_map(|a| a.adds_to(plan.mailbox));
                let from = added_to.filter_map(|id| Some((id, *next.get(&id)?))).collect();
                works.push(Work::Messages { mailbox: plan.mailbox, uid_validity: plan.uid_validity, actions, from });
            }
        }
        if !works.is_empty() {
            waves.push((phase, works));
        }
    }
    waves
}

/// Drops the removals from the server whose bytes were to be uploaded elsewhere in the same plan, and were not: a file
/// that was moved here must not be lost there because its new place was refused.
pub fn spare(actions: &mut Vec<Action>, picture: &Picture, failed: &BTreeSet<Fingerprint>) {
    actions.retain(|action| match action {
        Action::DeleteRemote { uid, .. } => {
            let print = picture.pair(*uid).and_then(|pair| pair.print);
            !print.is_some_and(|print| failed.contains(&print))
        }
        Action::Fetch { .. }
        | Action::Append { .. }
        | Action::SetFlags { .. }
        | Action::DeleteLocal { .. }
        | Action::CopyRemote { .. }
        | Action::MoveRemote { .. }
        | Action::MoveLocal { .. } => true,
        Action::Restore { .. } | Action::Withdraw { .. } => true,
    });
}
