//! Uploads wait as a whole where the server is full: no message is at fault, and asking with each of them would be rude.

use crate::mail::BaseName;
use crate::sync::picture::Quarantine;
use crate::sync::plan::Action;
use serde::{Deserialize, Serialize};

/// Whether the uploads of an account wait; remembered, so that every run keeps the pause that an earlier one met.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uploads {
    /// Why, how often that was met in a row, and until when.
    pub paused: Option<Quarantine>,
}

impl Uploads {
    /// Tells whether nothing is to be uploaded now.
    pub fn wait(&self, now: u64) -> bool {
        self.paused.as_ref().is_some_and(|paused| paused.due > now)
    }

    /// What is remembered after the server said once more that it is full; `reason` is escaped.
    pub fn refused(&self, reason: &str, now: u64) -> Self {
        Self { paused: Some(Quarantine::after(self.paused.as_ref(), reason, now)) }
    }

    /// Takes the uploads out of a plan, and returns what was to be uploaded.
    pub fn hold_back(actions: &mut Vec<Action>) -> Vec<BaseName> {
        let mut waiting = Vec::new();
        actions.retain(|action| match action {
            Action::Append { name, .. } => {
                waiting.push(name.clone());
                false
            }
            Action::Fetch { .. }
            | Action::SetFlags { .. }
            | Action::DeleteRemote { .. }
            | Action::DeleteLocal { .. }
            | Action::CopyRemote { .. }
            | Action::MoveRemote { .. }
            | Action::MoveLocal { .. }
            | Action::Restore { .. }
            | Action::Withdraw { .. } => true,
        });
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Flags;

    #[test]
    fn the_pause_grows_while_the_server_stays_full_and_is_over_when_it_is_over() {
        let once = Uploads::default().refused("full", 1000);
        assert!(once.wait(1299) && !once.wait(1300));
        let twice = once.refused("full", 1300);
        assert!(twice.wait(1899) && !twice.wait(1900));
        assert_eq!(twice.paused.map(|paused| paused.attempts), Some(2));
        assert!(!Uploads::default().wait(0));
    }

    #[test]
    fn what_waits_is_what_was_to_be_uploaded_and_nothing_else() {
        let name = |text: &str| BaseName::new(text.as_bytes()).expect("a name");
        let append = Action::Append { name: name("a"), flags: Flags::new(), print: None };
        let delete = Action::DeleteLocal { uid: None, name: name("d"), inferred: true };
        let mut actions = vec![append, delete.clone()];
        assert_eq!(Uploads::hold_back(&mut actions), [name("a")]);
        assert_eq!(actions, [delete]);
    }
}
