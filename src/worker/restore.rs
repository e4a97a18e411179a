//! Bringing back: a file from the retention area, a message out of the server's Trash; and taking it away again.

use crate::mail::{Flags, Uid, UidSet, UidValidity};
use crate::maildir::{Removed, Restored, Retention, restore};
use crate::remote::error::Error as ImapError;
use crate::sync::{Action, MailboxId, Outcome, Source};
use crate::worker::Error;
use crate::worker::execute::{Numbered, own_fault};
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::BTreeMap;

impl Pass<'_> {
    pub(super) async fn restore(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        from: Option<(UidValidity, Uid)>,
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let mut out_of: BTreeMap<(MailboxId, UidValidity), BTreeMap<Uid, usize>> = BTreeMap::new();
        let mut bodies = Vec::new();
        for (number, action) in actions {
            match action {
                Action::Restore { from: Source::Trash { mailbox, uid_validity, uid }, .. } => {
                    out_of.entry((*mailbox, *uid_validity)).or_default().insert(*uid, *number);
                }
                Action::Restore { from: Source::Retention { .. }, .. } => bodies.push((*number, *action)),
                _ => {}
            }
        }
        for ((trash, epoch), uids) in out_of {
            self.move_back(mailbox, (trash, epoch), &uids, from, outcomes).await?;
        }
        if !bodies.is_empty() {
            self.copy_back(mailbox, &bodies, seen, outcomes).await?;
        }
        Ok(())
    }

    /// Moves messages out of the Trash; copies them if the server cannot move. Then the ones in the Trash stay.
    async fn move_back(
        &mut self,
        mailbox: MailboxId,
        (trash, epoch): (MailboxId, UidValidity),
        uids: &BTreeMap<Uid, usize>,
        from: Option<(UidValidity, Uid)>,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Some(name) = self.records.get(&mailbox).map(|record| record.name.clone()) else { return Ok(()) };
        if !self.open(trash, epoch).await? {
            return Ok(());
        }
        let set: UidSet = uids.keys().copied().collect();
        let moves = self.imap.capabilities().has("MOVE");
        let done = if moves { self.imap.move_to(&set, &name).await } else { self.imap.copy_to(&set, &name).await };
        let told = match done {
            Ok(told) => told,
            Err(error @ ImapError::Refused { .. }) => {
                // Of a set a part may have been moved: what is gone from there is looked for.
                let left = self.imap.search(&set).await?;
                for (uid, number) in uids {
                    outcomes[*number] =
                        if left.contains(*uid) { Outcome::Failed(error.to_string()) } else { Outcome::Unknown };
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let left = if moves { self.imap.search(&set).await? } else { UidSet::new() };
        let fits = told.filter(|told| from.is_some_and(|(of, _)| of == told.uid_validity));
        let pairs = fits.and_then(|told| {
            let sources = told.source.expand(uids.len())?;
            Some(sources.into_iter().zip(told.target.expand(uids.len())?).collect::<BTreeMap<Uid, Uid>>())
        });
        let first = from.map_or(Uid::MIN, |(_, first)| first);
        for (uid, number) in uids {
            let new = pairs.as_ref().and_then(|pairs| pairs.get(uid)).filter(|new| **new >= first);
            outcomes[*number] = match new {
                _ if left.contains(*uid) => Outcome::Unknown,
                Some(new) => Outcome::Restored(Some(*new)),
                None => Outcome::Unknown,
            };
        }
        Ok(())
    }

    /// Copies bodies from the retention area into the Maildir.
    async fn copy_back(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let Some(folder) = seen.folder.clone() else { return Ok(()) };
        let role = self.records.get(&mailbox).and_then(|record| record.role);
        let (state_dir, account) = (self.job.state_dir.clone(), self.job.account.clone());
        let wanted: Vec<(usize, Action)> =
            actions.iter().map(|(number, action)| (*number, (*action).clone())).collect();
        let flags = wanted.iter().filter_map(|(_, action)| match action {
            Action::Restore { flags, .. } => Some(flags),
            _ => None,
        });
        let flags = flags.fold(Flags::new(), |all, flags| all.union(flags));
        self.learn(mailbox, &folder, flags).await?;
        let done = blocking(move || {
            let retention = Retention::open(&state_dir, &account)?;
            let kept = retention.list()?;
            let here = folder.scan()?.files;
            let mut done = Vec::new();
            for (number, action) in wanted {
                let Action::Restore { name, flags, print, from: Source::Retention { mailbox }, .. } = action else {
                    continue;
                };
                let body = kept.iter().rev().find(|kept| kept.is_of(mailbox.0, &name));
                let (Some(body), false) = (body, here.contains_key(&name)) else {
                    done.push((number, Outcome::Moot));
                    continue;
                };
                let restored = restore(&folder, (&retention, body), &name, &flags, role, print.as_ref());
                done.push((
                    number,
                    match own_fault(restored)? {
                        Ok(Restored::Done) => Outcome::Restored(None),
                        Ok(Restored::Another) => {
                            Outcome::Failed("what was kept under its name is another message".into())
                        }
                        Err(reason) => Outcome::Failed(reason),
                    },
                ));
            }
            folder.sync()?;
            Ok(done)
        });
        for (number, outcome) in done.await? {
            outcomes[number] = outcome;
        }
        Ok(())
    }

    /// Takes files away that were brought back; their bodies are kept, and the server's messages follow.
    pub(super) async fn withdraw(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        let wanted = actions.iter().filter_map(|(number, action)| match action {
            Action::Withdraw { name, .. } => Some((*number, name)),
            _ => None,
        });
        for (number, removed) in self.take_away(mailbox, wanted, seen).await? {
            outcomes[number] = match removed {
                Ok(Removed::Done | Removed::Gone) => Outcome::Removed,
                Err(error) => Outcome::Failed(error.to_string()),
            };
        }
        Ok(())
    }
}
