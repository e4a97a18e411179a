//! What changed on a server that keeps mod-sequences and tells nothing of what vanished (CONDSTORE without QRESYNC).
//!
//! The messages that changed are asked for (RFC 7162, section 3.1.4.1). Whether any vanished shows in the number of
//! messages alone: known and changed ones have to be as many as there are. Only if they are not, all UIDs are asked for.
//!
//! And what changed on a server that keeps none, between two listings: the flags of the newest messages are asked for.

use super::flags_of;
use crate::mail::{Uid, UidSet};
use crate::remote::imap::Selected;
use crate::sync::{Delta, Doubt, MailboxRecord, NEWEST, Numbers, Picture, RemoteView};
use crate::worker::Error;
use crate::worker::pass::Pass;

impl Pass<'_> {
    /// A complete view of the open mailbox and the number of its messages, from the changes since the checkpoint.
    /// `None`: they are not to be had or not believed, and all has to be listed.
    pub(super) async fn view_by_changes(
        &mut self,
        record: &MailboxRecord,
        picture: &Picture,
        selected: &Selected,
    ) -> Result<Option<(RemoteView, u32)>, Error> {
        let Some(checkpoint) = record.checkpoint else { return Ok(None) };
        let (Some(since), Some(highest)) = (checkpoint.highest_mod_seq, selected.highest_mod_seq) else {
            return Ok(None);
        };
        let mut delta = Delta::default();
        if highest > since {
            let fetched = self.imap.changed_since(since).await?;
            let Some(changed) = flags_of(&fetched) else { return Ok(None) };
            delta.changed = changed;
        }
        let mut numbers = Numbers {
            uid_validity: selected.uid_validity,
            exists: self.imap.take_news().exists.unwrap_or(selected.exists),
            highest_mod_seq: selected.highest_mod_seq,
        };
        let mut judged = RemoteView::after(picture, &checkpoint, &numbers, &delta);
        if let Err(Doubt::DoesNotAddUp { .. }) = judged {
            let found = self.imap.search_all().await?;
            numbers.exists = self.imap.take_news().exists.unwrap_or(numbers.exists);
            delta.vanished = picture.remote_side().map(|(uid, _)| uid).filter(|uid| !found.contains(*uid)).collect();
            judged = RemoteView::after(picture, &checkpoint, &numbers, &delta);
        }
        match judged {
            Ok(view) if self.confirm(picture, &view).await? => Ok(Some((view, numbers.exists))),
            Ok(_) => Ok(None),
            Err(doubt) => {
                self.tell_doubt(record, &doubt);
                Ok(None)
            }
        }
    }

    /// A complete view of the open mailbox, whose numbers are those of the checkpoint, and the number of its messages: what is
    /// remembered, with the flags that its newest messages have by now. `None`: all has to be listed.
    pub(super) async fn view_by_newest(
        &mut self,
        record: &MailboxRecord,
        picture: &Picture,
        selected: &Selected,
    ) -> Result<Option<(RemoteView, u32)>, Error> {
        let Some(checkpoint) = record.checkpoint else { return Ok(None) };
        let found = (selected.uid_validity, selected.uid_next, selected.exists);
        if selected.uid_next.is_none() || found != (checkpoint.uid_validity, checkpoint.uid_next, checkpoint.messages) {
            return Ok(None);
        }
        let known: Vec<Uid> = picture.remote_side().map(|(uid, _)| uid).collect();
        let newest: UidSet = known[known.len().saturating_sub(NEWEST)..].iter().copied().collect();
        let mut delta = Delta::default();
        if !newest.is_empty() {
            let fetched = self.imap.list_flags(&newest, false).await?;
            let Some(changed) = flags_of(&fetched) else { return Ok(None) };
            delta.changed = changed;
        }
        let exists = self.imap.take_news().exists.unwrap_or(selected.exists);
        let numbers = Numbers { uid_validity: selected.uid_validity, exists, highest_mod_seq: None };
        let complete = delta.changed.len() as u64 == newest.len();
        Ok(RemoteView::after(picture, &checkpoint, &numbers, &delta)
            .ok()
            .filter(|_| complete)
            .map(|view| (view, exists)))
    }

    /// Tells the log that changes are not believed.
    pub(super) fn tell_doubt(&self, record: &MailboxRecord, doubt: &Doubt) {
        tracing::info!(
            account = %self.job.account,
            mailbox = %record.name,
            "the changes that the server tells are not believed ({doubt}), so all is listed."
        );
    }
}
