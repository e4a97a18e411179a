//! What a pass stands on: the root of the Maildir, and a memory that fits it.

use crate::maildir::RootMarker;
use crate::store::Settlement;
use crate::sync::{Adopting, Cause};
use crate::worker::pass::Pass;
use crate::worker::{Error, History, ground};

impl Pass<'_> {
    /// Makes the root at the first pass, takes it over where that is due, and raises its marker where a crash came between
    /// a commit and that.
    pub(super) async fn found_root(&mut self) -> Result<(), Error> {
        let (owner, place, generation) = (self.owner.clone(), self.state_place.clone(), self.store.generation());
        if self.root.is_none() || self.marked != Some(generation) {
            let records = self.records.values().cloned().collect();
            let marker = RootMarker { owner, place, generation };
            self.root = Some(ground::found(self.job, self.root.take(), &self.history, records, marker).await?);
        }
        Ok(())
    }

    /// Notes for every mailbox that it has to be adopted, where memory and Maildir do not fit together. It is durable before
    /// the marker says that they do.
    pub(super) async fn face_history(&mut self) -> Result<(), Error> {
        let place = crate::mail::escape(self.job.maildir.as_os_str().as_encoded_bytes());
        let (cause, generation) = match &self.history {
            History::Fits => return Ok(()),
            History::Foreign(programs) => {
                for program in programs {
                    self.report.notices.push(format!(
                        "{place} was kept by {program}, which must not run on it any more: two programs would undo each \
                         other's work; its own files stay where they are"
                    ));
                }
                return Ok(());
            }
            History::StateLost(_) => {
                self.report.notices.push(format!(
                    "the state that kept {place} was lost, so both sides are compared anew; nothing is deleted on \
                     either side"
                ));
                return Ok(());
            }
            History::RolledBack(marked) => {
                self.report.notices.push(format!(
                    "the state is older than {place}, so both sides are compared anew; what looks deleted is held, see \
                     `mailtwin status {}`",
                    self.job.account
                ));
                (Cause::RolledBack, *marked)
            }
            History::Restored => {
                self.report.notices.push(format!(
                    "{place} is older than the state, perhaps restored from a backup, so both sides are compared anew; \
                     what it lacks is held, and `mailtwin reject {}` fetches it again",
                    self.job.account
                ));
                (Cause::Restored, 0)
            }
        };
        let mut mailboxes = Vec::new();
        for record in self.records.values_mut().filter(|record| record.uid_validity.is_some()) {
            // A question that is open already is asked again.
            record.adopting = Some(Adopting { cause, question: None });
            record.checkpoint = None;
            mailboxes.push(record.clone());
        }
        self.settle(Settlement { mailboxes, generation, ..Settlement::default() }).await
    }
}
