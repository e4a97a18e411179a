//! Flags, on both sides: one command for each distinct change, one rename for each file.

use crate::mail::{FlagChange, Flags, Uid, UidSet};
use crate::maildir::{Changed, Error as MaildirError, set_flags};
use crate::remote::error::Error as ImapError;
use crate::sync::{Action, Outcome};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::{BTreeMap, BTreeSet};

impl Pass<'_> {
    pub(super) async fn set_flags(
        &mut self,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        if actions.is_empty() {
            return Ok(());
        }
        let (there, refused) = self.store_flags(actions).await?;
        let (here, stuck) = self.rename_files(actions, seen).await?;
        for (number, action) in actions {
            let Action::SetFlags { uid, remote, local, .. } = action else { continue };
            outcomes[*number] = match refused.get(uid).or_else(|| stuck.get(number)) {
                Some(reason) => Outcome::Failed(reason.clone()),
                None => Outcome::FlagsSet {
                    remote: remote.is_none() || there.contains(uid),
                    local: local.is_none() || here.contains(number),
                },
            };
        }
        Ok(())
    }

    /// Changes flags on the server; tells which messages were seen with them, and which were refused.
    async fn store_flags(&mut self, actions: &[Numbered<'_>]) -> Result<(BTreeSet<Uid>, BTreeMap<Uid, String>), Error> {
        let mut groups: Vec<(&FlagChange, UidSet)> = Vec::new();
        for (_, action) in actions {
            let Action::SetFlags { uid, remote: Some(change), .. } = action else { continue };
            match groups.iter_mut().find(|(of, _)| *of == change) {
                Some((_, uids)) => uids.insert(*uid),
                None => groups.push((change, UidSet::range(*uid, *uid))),
            }
        }
        let (mut confirmed, mut refused) = (BTreeSet::new(), BTreeMap::new());
        while let Some((change, uids)) = groups.pop() {
            match self.imap.store(&uids, change).await {
                Ok(shown) => {
                    let has = |flags: &Flags| {
                        change.add.difference(flags).is_empty() && change.remove.intersection(flags).is_empty()
                    };
                    let fits = shown.into_iter().filter(|s| s.flags.as_ref().is_some_and(has));
                    confirmed.extend(fits.map(|s| s.uid));
                }
                // One message that the server minds must not keep the others from their flags.
                Err(ImapError::Refused { .. }) if uids.len() > 1 => {
                    let all: Vec<Uid> = uids.iter().collect();
                    let (first, second) = all.split_at(all.len() / 2);
                    groups.push((change, second.iter().copied().collect()));
                    groups.push((change, first.iter().copied().collect()));
                }
                Err(error @ ImapError::Refused { .. }) => {
                    refused.extend(uids.iter().map(|uid| (uid, error.to_string())));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((confirmed, refused))
    }

    /// Changes flags in the Maildir, durably; tells which actions were done, and which cannot be.
    async fn rename_files(
        &self,
        actions: &[Numbered<'_>],
        seen: &Observed,
    ) -> Result<(BTreeSet<usize>, BTreeMap<usize, String>), Error> {
        let (Some(folder), Some(scan)) = (seen.folder.clone(), &seen.scan) else { return Ok(Default::default()) };
        let mut renames = Vec::new();
        for (number, action) in actions {
            let Action::SetFlags { name, local: Some((expected, change)), .. } = action else { continue };
            if let Some(known) = scan.files.get(name) {
                renames.push((*number, name.clone(), known.clone(), expected.clone(), change.clone()));
            }
        }
        if renames.is_empty() {
            return Ok(Default::default());
        }
        blocking(move || {
            let (mut done, mut stuck) = (BTreeSet::new(), BTreeMap::new());
            for (number, name, known, expected, change) in renames {
                // A reader that was faster has made another plan necessary: the next look merges again.
                match set_flags(&folder, &name, &known, &expected, &change) {
                    Ok(Changed::Done(_)) => drop(done.insert(number)),
                    Ok(Changed::Moved(_) | Changed::Gone) => {}
                    // Two files of one name, for example: that one message must not stop the others.
                    Err(error @ (MaildirError::Exists { .. } | MaildirError::Hostile { .. })) => {
                        stuck.insert(number, error.to_string());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            folder.sync()?;
            Ok((done, stuck))
        })
        .await
    }
}
