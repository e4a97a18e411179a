//! Stubs: of a message that is too large the header is fetched, and becomes a file with a few words below.

use super::fetch::{draft_names, finish};
use crate::mail::{SpecialUse, Uid, UidSet, stub};
use crate::maildir::{Arrival, Delivery, Folder, place};
use crate::remote::error::Error as ImapError;
use crate::remote::imap::FetchedHeader;
use crate::sync::{Action, MailboxId, Outcome};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::pass::{Pass, blocking};
use std::collections::BTreeMap;

/// Headers that are asked for at once; they are held in memory.
const WINDOW: usize = 50;

impl Pass<'_> {
    /// Carries out those fetches whose planned name is that of a stub.
    pub(super) async fn fetch_stubs(
        &mut self,
        mailbox: MailboxId,
        folder: &Folder,
        role: Option<SpecialUse>,
        actions: &[Numbered<'_>],
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        for window in actions.chunks(WINDOW) {
            match self.fetch_stubs_at_once(mailbox, folder, role, window, outcomes).await {
                Err(Error::Imap(ImapError::Refused { .. })) => {
                    // One message that the server cannot give must not stop the others.
                    for one in window {
                        match self.fetch_stubs_at_once(mailbox, folder, role, std::slice::from_ref(one), outcomes).await
                        {
                            Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                                outcomes[one.0] = Outcome::Failed(error.to_string());
                            }
                            done => done?,
                        }
                    }
                }
                done => done?,
            }
        }
        Ok(())
    }

    async fn fetch_stubs_at_once(
        &mut self,
        mailbox: MailboxId,
        folder: &Folder,
        role: Option<SpecialUse>,
        window: &[Numbered<'_>],
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let planned = window.iter().filter_map(|(number, action)| match action {
            Action::Fetch { uid, name, flags } => Some((*number, *uid, name, flags)),
            _ => None,
        });
        let planned: Vec<_> = planned.collect();
        let asked: UidSet = planned.iter().map(|(_, uid, ..)| *uid).collect();
        let headers = self.imap.fetch_headers(&asked).await?;
        let mut headers: BTreeMap<Uid, FetchedHeader> =
            headers.into_iter().map(|header| (header.uid, header)).collect();
        let (mut absent, mut names) = (UidSet::new(), draft_names());
        let (mut numbers, mut arrivals): (Vec<usize>, Vec<Arrival>) = (Vec::new(), Vec::new());
        for (number, uid, name, flags) in &planned {
            let fetched = headers.remove(uid).and_then(|seen| Some((seen.header?, seen.internal_date)));
            let Some((header, date)) = fetched else {
                absent.insert(*uid);
                continue;
            };
            let text = stub::text(&header, name.stub_octets().unwrap_or(u64::MAX));
            let (drafts_in, draft_name) = (folder.clone(), names.next());
            let draft = blocking(move || {
                let mut draft = Delivery::begin(&drafts_in, &draft_name)?;
                draft.write(&text)?;
                Ok(draft)
            });
            let staged = finish(draft.await?, date).await?;
            self.octets += staged.size;
            numbers.push(*number);
            let subdir = place(&folder.letters(), flags, role);
            arrivals.push(Arrival { staged, base: (*name).clone(), subdir, flags: (*flags).clone() });
        }
        self.show(mailbox, folder, numbers, arrivals, outcomes).await?;
        if !absent.is_empty() {
            let there = self.imap.search(&absent).await?;
            for (number, uid, ..) in planned.iter().filter(|(_, uid, ..)| absent.contains(*uid)) {
                outcomes[*number] = match there.contains(*uid) {
                    true => Outcome::Failed("the server does not send its header".into()),
                    false => Outcome::Removed,
                };
            }
        }
        Ok(())
    }
}
