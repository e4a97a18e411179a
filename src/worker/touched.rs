//! Which messages of the Maildir a pass touched, for those who follow it.

use crate::mail::Flags;
use crate::sync::{Action, MailboxId, MailboxRecord, Outcome};
use crate::worker::pass::Pass;
use crate::worker::{Touch, Touched, map};
use std::path::Path;

/// What became of a message in the Maildir by an action; none where that left it as it was.
pub(super) fn touched(
    mailbox: String,
    maildir: &Path,
    record: &MailboxRecord,
    action: &Action,
    outcome: &Outcome,
) -> Option<Touched> {
    let (uid, flags, how) = match (action, outcome) {
        (Action::Fetch { uid, flags, .. }, Outcome::Fetched(_)) => (Some(*uid), flags.clone(), Touch::New),
        (Action::SetFlags { uid, merged, local: Some(_), .. }, Outcome::FlagsSet { local: true, .. }) => {
            (Some(*uid), merged.clone(), Touch::Changed)
        }
        (Action::MoveLocal { uid, agreed, .. }, Outcome::Moved(..)) => (Some(*uid), agreed.clone(), Touch::Changed),
        (Action::Restore { flags, .. }, Outcome::Restored(uid)) => (*uid, flags.clone(), Touch::New),
        (Action::DeleteLocal { uid, .. } | Action::Withdraw { uid, .. }, Outcome::Removed) => {
            (*uid, Flags::default(), Touch::Gone)
        }
        _ => return None,
    };
    let directory = maildir.join(record.path.as_deref()?);
    Some(Touched { mailbox, directory, name: action.name().clone(), uid, flags, how })
}

impl Pass<'_> {
    /// Notes which messages were touched, where that is wanted.
    pub(super) fn note_touched(&mut self, mailbox: MailboxId, actions: &[Action], outcomes: &[Outcome]) {
        let Some(record) = self.records.get(&mailbox).filter(|_| self.job.tells_touched) else { return };
        let name = map::slashed(&record.name, self.place.0);
        let done = actions.iter().zip(outcomes);
        let touched =
            done.filter_map(|(action, outcome)| touched(name.clone(), &self.job.maildir, record, action, outcome));
        self.touched.extend(touched);
    }
}
