//! What was fetched for the Maildir of another account (`deliver-to`) is passed on to it.
//!
//! The Maildir of this account is a queue then ([`Stage`]). Only what the other server has for certain may leave the drop,
//! and the word on that comes from the other account's pass, which notes it in the queue.

use super::DropPass;
use super::here::Here;
use crate::mail::{BaseName, Flags, Uid, escape};
use crate::maildir::{Destination, Error as MaildirError, Folder, LocalPath, Queued, Stage, advance, discard, pass_on};
use crate::sync::{Action, Change, Known, Lone, Note, NoteKind, Why};
use crate::worker::pass::blocking;
use crate::worker::{Error, Event, Touch, Touched};
use std::collections::BTreeSet;

/// Messages that are passed on at once.
const WINDOW: usize = 128;

impl DropPass<'_> {
    /// Passes on what came, and takes out of the queue what the other server has: from then on the rules may remove it from
    /// the drop.
    pub(super) async fn relay(&mut self, here: &Here) -> Result<(), Error> {
        let (Some(to), Some(queue)) = (self.job.deliver_to.clone(), here.folder.clone()) else { return Ok(()) };
        let scanned = queue.clone();
        let files = blocking(move || Ok(scanned.scan()?.files)).await?;
        let of = |stage: Stage| -> Vec<Queued> {
            let at = files.iter().filter(|(_, file)| Stage::of(file) == stage);
            at.map(|(name, file)| (name.clone(), file.clone())).collect()
        };
        self.take_out(&queue, of(Stage::Uploaded)).await?;
        // What is not settled yet is the journal's. The rest is passed on, even where nothing is known of it any more.
        let actions = self.batches.iter().flat_map(|batch| batch.work.actions());
        let begun: BTreeSet<&BaseName> = actions
            .filter_map(|action| match action {
                Action::Fetch { name, .. } => Some(name),
                _ => None,
            })
            .collect();
        let mut fetched = of(Stage::Fetched);
        fetched.retain(|(name, _)| !begun.contains(name) && !name.is_stub());
        if !fetched.is_empty() {
            self.pass_all_on(&to, &queue, fetched).await?;
        }
        Ok(())
    }

    /// Remembers first that these messages were here, and then lets their files go.
    async fn take_out(&mut self, queue: &Folder, uploaded: Vec<Queued>) -> Result<(), Error> {
        if uploaded.is_empty() {
            return Ok(());
        }
        let partners: Vec<Uid> = uploaded.iter().filter_map(|(name, _)| self.picture.partner(name)).collect();
        let kept = |uid| {
            let kept = Known::Lone(Lone { flags: Flags::new(), why: Why::Kept });
            Note { change: Change::Uid(uid, Some(kept)), kind: NoteKind::Keep }
        };
        self.settle_notes(partners.into_iter().map(kept).collect(), None).await?;
        let queue = queue.clone();
        blocking(move || Ok(discard(&queue, &uploaded)?)).await
    }

    async fn pass_all_on(&mut self, to: &Destination, queue: &Folder, fetched: Vec<Queued>) -> Result<(), Error> {
        let (found, others) = (to.clone(), self.elsewhere().await?);
        let folder = blocking(move || Ok(found.root().and_then(|root| root.map_or(Ok(None), |r| found.folder(&r)))));
        let (path, folder) = match folder.await? {
            Ok(Some(found)) if others.is_whole => found,
            Ok(_) => {
                self.waits(to, fetched.len(), "it is not made yet, or changes this moment");
                return Ok(());
            }
            Err(reason @ (MaildirError::Unavailable(_) | MaildirError::Hostile { .. })) => {
                self.waits(to, fetched.len(), &reason.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // After a crash one may be there that is not noted as passed on, and a reader may have moved it since.
        let there: BTreeSet<BaseName> = others.messages.into_iter().map(|other| other.name).collect();
        for window in fetched.chunks(WINDOW) {
            self.go_on()?;
            let (window, queue, folder, there) = (window.to_vec(), queue.clone(), folder.clone(), there.clone());
            let passed = blocking(move || {
                let mut passed = Vec::new();
                for (name, file) in window {
                    let is_there = there.contains(&name)
                        || match pass_on(&queue, &name, &folder) {
                            Ok(is_passed_on) => is_passed_on,
                            Err(MaildirError::Exists { .. }) => true,
                            Err(error) => return Err(error.into()),
                        };
                    passed.extend(is_there.then_some((name, file)));
                }
                advance(&queue, &passed, Stage::PassedOn)?;
                Ok(passed)
            });
            self.tell_passed_on(to, &path, passed.await?);
        }
        Ok(())
    }

    fn waits(&mut self, to: &Destination, count: usize, why: &str) {
        let (account, mailbox) = (&to.account, escape(to.mailbox.to_string()));
        let reason = format!(
            "{count} messages wait here to be passed on to {mailbox} of the account \"{account}\": its Maildir cannot take \
             them: {why}; they are passed on once that account was synchronised"
        );
        self.leave_out(escape(self.shown()), reason, true);
    }

    fn tell_passed_on(&mut self, to: &Destination, path: &LocalPath, passed: Vec<Queued>) {
        if !self.job.tells_touched {
            return;
        }
        let mailbox = to.mailbox.decoded().unwrap_or_else(|| to.mailbox.as_wire().to_owned());
        let directory = to.maildir.join(path.as_str());
        let touched = |(name, _)| Touched {
            mailbox: mailbox.clone(),
            directory: directory.clone(),
            name,
            uid: None,
            flags: Flags::new(),
            how: Touch::New,
        };
        let _ = self.events.send(Event::Touched(passed.into_iter().map(touched).collect()));
    }
}
