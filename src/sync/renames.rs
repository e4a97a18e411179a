//! The order of actions on mailboxes: what leaves a name goes before what takes it, a mailbox before those beneath it.

use crate::mail::MailboxName;
use crate::sync::mailbox::MailboxRecord;
use crate::sync::mailbox_action::MailboxAction;
use crate::sync::picture::MailboxId;
use std::collections::{BTreeMap, BTreeSet};

/// Puts actions in order: renames here, renames on the server, what is made, what is deleted.
///
/// A directory moves as a whole if every mailbox beneath it moves along. Names that are exchanged on the server go through a
/// third one; directories can be exchanged in one step.
pub fn arrange(actions: Vec<MailboxAction>, records: &[MailboxRecord]) -> Vec<MailboxAction> {
    let (mut here, mut there, mut made, mut deleted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for action in actions {
        match action {
            MailboxAction::RenameLocal { .. } => here.push(action),
            MailboxAction::RenameRemote { .. } => there.push(action),
            MailboxAction::CreateLocal { .. } | MailboxAction::CreateRemote { .. } | MailboxAction::MarkCopy { .. } => {
                made.push(action);
            }
            MailboxAction::DeleteLocal { .. } | MailboxAction::DeleteRemote { .. } => deleted.push(action),
        }
    }
    let mut arranged = arrange_here(here, records);
    arranged.extend(arrange_there(there));
    arranged.extend(made);
    arranged.extend(deleted);
    arranged
}

fn arrange_here(mut actions: Vec<MailboxAction>, records: &[MailboxRecord]) -> Vec<MailboxAction> {
    let targets: BTreeMap<MailboxId, (String, String)> = actions
        .iter()
        .filter_map(|action| match action {
            MailboxAction::RenameLocal { mailbox, from, to, .. } => Some((*mailbox, (from.clone(), to.clone()))),
            _ => None,
        })
        .collect();
    for action in &mut actions {
        let MailboxAction::RenameLocal { mailbox, from, to, whole, .. } = action else { continue };
        let beneath = |path: &str| path.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/'));
        *whole = !from.is_empty()
            && records.iter().filter(|record| record.id != *mailbox).all(|record| match targets.get(&record.id) {
                Some((child, place)) if beneath(child) => *place == format!("{to}{}", &child[from.len()..]),
                Some(_) => true,
                None => !record.path.as_deref().is_some_and(beneath),
            });
    }
    let place = |action: &MailboxAction| match action {
        MailboxAction::RenameLocal { from, to, .. } => (from.clone(), to.clone()),
        _ => Default::default(),
    };
    in_order(actions, place, |path| path.matches('/').count(), |rest| rest.remove(0))
}

fn arrange_there(actions: Vec<MailboxAction>) -> Vec<MailboxAction> {
    let place = |action: &MailboxAction| match action {
        MailboxAction::RenameRemote { from, to, .. } => (from.as_wire().to_owned(), to.as_wire().to_owned()),
        _ => Default::default(),
    };
    let detour = |rest: &mut Vec<MailboxAction>| {
        let first = rest.remove(0);
        let MailboxAction::RenameRemote { mailbox, from, to, path } = &first else { return first };
        let Some(aside) = MailboxName::new(&format!("{}-mailtwin-{mailbox}", from.as_wire())) else { return first };
        let (mailbox, from, to, path) = (*mailbox, from.clone(), to.clone(), path.clone());
        rest.push(MailboxAction::RenameRemote { mailbox, from: aside.clone(), to, path: path.clone() });
        MailboxAction::RenameRemote { mailbox, from, to: aside, path }
    };
    in_order(actions, place, str::len, detour)
}

/// Each action after those that leave the place which it takes; where they wait for one another, `detour` says what to do.
fn in_order(
    mut rest: Vec<MailboxAction>,
    place: impl Fn(&MailboxAction) -> (String, String),
    depth: impl Fn(&str) -> usize,
    detour: impl Fn(&mut Vec<MailboxAction>) -> MailboxAction,
) -> Vec<MailboxAction> {
    rest.sort_by_key(|action| depth(&place(action).0));
    let mut arranged = Vec::new();
    while !rest.is_empty() {
        let leaving: BTreeSet<String> = rest.iter().map(|action| place(action).0).collect();
        let free = rest.iter().position(|action| {
            let (from, to) = place(action);
            from == to || !leaving.contains(&to)
        });
        let next = match free {
            Some(at) => rest.remove(at),
            None => detour(&mut rest),
        };
        arranged.push(next);
    }
    arranged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::encode(text).expect("a name")
    }

    fn here(id: u32, from: &str, to: &str) -> MailboxAction {
        MailboxAction::RenameLocal {
            mailbox: MailboxId(id),
            name: name(to),
            from: from.into(),
            to: to.into(),
            whole: false,
        }
    }

    fn there(id: u32, from: &str, to: &str) -> MailboxAction {
        MailboxAction::RenameRemote { mailbox: MailboxId(id), from: name(from), to: name(to), path: to.into() }
    }

    fn record(id: u32, path: &str) -> MailboxRecord {
        MailboxRecord::new(MailboxId(id), name(path), Some(path.into()))
    }

    fn told(actions: Vec<MailboxAction>, records: &[MailboxRecord]) -> Vec<String> {
        let arranged = arrange(actions, records);
        let shown = |action: &MailboxAction| match action {
            MailboxAction::RenameLocal { from, to, whole, .. } => {
                format!("{from} > {to}{}", if *whole { "" } else { " alone" })
            }
            MailboxAction::RenameRemote { from, to, .. } => format!("{from} > {to} there"),
            other => other.to_string(),
        };
        arranged.iter().map(shown).collect()
    }

    #[test]
    fn what_leaves_a_name_goes_first() {
        let records = [record(1, "A"), record(2, "B")];
        assert_eq!(told(vec![here(1, "A", "B"), here(2, "B", "C")], &records), ["B > C", "A > B"]);
        assert_eq!(told(vec![there(1, "A", "B"), there(2, "B", "C")], &records), ["B > C there", "A > B there"]);
    }

    #[test]
    fn names_that_are_exchanged_go_through_a_third_one() {
        let records = [record(1, "A"), record(2, "B")];
        assert_eq!(
            told(vec![there(1, "A", "B"), there(2, "B", "A")], &records),
            ["A > A-mailtwin-1 there", "B > A there", "A-mailtwin-1 > B there"]
        );
        assert_eq!(told(vec![here(1, "A", "B"), here(2, "B", "A")], &records), ["A > B", "B > A"]);
    }

    #[test]
    fn a_parent_goes_before_its_children_and_with_them() {
        let records = [record(1, "A"), record(2, "A/x"), record(3, "AB")];
        let both = || vec![here(2, "A/x", "B/x"), here(1, "A", "B")];
        assert_eq!(told(both(), &records), ["A > B", "A/x > B/x"]);
        // One that stays keeps its parent's directory where it is.
        assert_eq!(told(vec![here(1, "A", "B")], &records), ["A > B alone"]);
        let more = [&records[..], &[record(4, "A/y")]].concat();
        assert_eq!(told(both(), &more), ["A > B alone", "A/x > B/x"]);
    }

    #[test]
    fn renames_come_before_what_is_made_and_deletions_last() {
        let delete = MailboxAction::DeleteRemote { mailbox: MailboxId(9), name: name("Z"), approved: true };
        let make = MailboxAction::CreateLocal { mailbox: MailboxId(3), name: name("A"), path: "A".into() };
        let records = [record(1, "A")];
        let arranged = told(vec![delete, make, here(1, "A", "B")], &records);
        assert_eq!(arranged[..2], ["A > B".to_owned(), "make the Maildir of A".into()]);
    }
}
