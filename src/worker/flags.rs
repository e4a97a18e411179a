//! Flags, on both sides: one command for each distinct change, one rename for each file.

use crate::mail::{FlagChange, Flags, Keyword, Storable, Uid, UidSet};
use crate::maildir::{Changed, Error as MaildirError, Folder, Keywords, Letters, set_flags};
use crate::remote::error::{Error as ImapError, Refusal};
use crate::sync::{Action, MailboxId, Outcome};
use crate::worker::Error;
use crate::worker::execute::Numbered;
use crate::worker::observe::Observed;
use crate::worker::pass::{Pass, blocking};
use std::collections::BTreeMap;

/// What came of changes on the server.
#[derive(Default)]
struct Stored {
    /// The flags that messages were seen with afterwards.
    shown: BTreeMap<Uid, Flags>,
    /// Messages whose flags the server does not change, and why.
    refused: BTreeMap<Uid, String>,
}

/// What came of renames: the actions that were done, with the flags of the file, and those that cannot be.
type Renamed = (BTreeMap<usize, Flags>, BTreeMap<usize, String>);

impl Pass<'_> {
    pub(super) async fn set_flags(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        if actions.is_empty() {
            return Ok(());
        }
        let stored = self.store_flags(mailbox, actions).await?;
        let (here, stuck) = self.rename_files(mailbox, actions, seen).await?;
        for (number, action) in actions {
            let Action::SetFlags { uid, name, remote, local, .. } = action else { continue };
            let before = seen.scan.as_ref().and_then(|scan| scan.files.get(name)).map(|file| &file.flags);
            let shown = self.shown.entry(name.clone()).or_default();
            shown.there = stored.shown.get(uid).or_else(|| seen.remote.get(*uid)).cloned();
            shown.here = here.get(number).or(before).cloned();
            let there = remote.as_ref().is_none_or(|change| {
                // Of a keyword that the server does not take there is nothing to be seen; it is remembered as lacking.
                let nothing_sent = change.remove.is_empty() && change.add.system().next().is_none();
                let is_so = |flags: &Flags| {
                    let lacks_system = change.add.system().any(|flag| !flags.contains(flag));
                    !lacks_system && change.remove.intersection(flags).is_empty()
                };
                stored.shown.get(uid).map_or(nothing_sent && self.takes_none_of(mailbox, &change.add), is_so)
            });
            outcomes[*number] = match stored.refused.get(uid).or_else(|| stuck.get(number)) {
                Some(reason) => Outcome::Failed(reason.clone()),
                None => Outcome::FlagsSet { remote: there, local: local.is_none() || here.contains_key(number) },
            };
        }
        Ok(())
    }

    /// Which flags the Maildir stores.
    pub(super) fn storable_here(&self, seen: &Observed) -> Storable {
        let letters = seen.scan.as_ref().map(|scan| scan.letters.storable());
        letters.unwrap_or_else(|| Letters::new(self.job.keywords).storable())
    }

    /// Which flags are synchronised of those that the server stores.
    pub(super) fn storable_there(&self, permanent: Storable) -> Storable {
        match self.job.keywords {
            Keywords::Dovecot | Keywords::Database => permanent,
            Keywords::None => {
                let system = Storable { any_keyword: false, ..Storable::everything() };
                Storable { flags: system.part_of(&permanent.flags), ..system }
            }
        }
    }

    /// Tells whether the server refused each of these keywords.
    fn takes_none_of(&self, mailbox: MailboxId, flags: &Flags) -> bool {
        let refused = self.refused_keywords.get(&mailbox);
        flags.keywords().all(|keyword| refused.is_some_and(|refused| refused.contains_keyword(keyword)))
    }

    /// The flags without the keywords that the server refused in this mailbox.
    pub(super) fn taken_there(&self, mailbox: MailboxId, flags: &Flags) -> Flags {
        self.refused_keywords.get(&mailbox).map_or_else(|| flags.clone(), |refused| flags.difference(refused))
    }

    /// Remembers for this session that the server refuses a keyword in a mailbox.
    pub(super) fn refuse_keyword(&mut self, mailbox: MailboxId, keyword: Keyword, refusal: &Refusal) {
        let name = self.records.get(&mailbox).map(|record| record.name.to_string()).unwrap_or_default();
        tracing::info!(
            account = %self.job.account,
            mailbox = %name,
            "the server refuses the keyword {} ({refusal}), so it stays on this side.",
            crate::mail::escape(keyword.as_wire()),
        );
        self.refused_keywords.entry(mailbox).or_default().insert_keyword(keyword);
    }

    /// Changes flags on the server.
    async fn store_flags(&mut self, mailbox: MailboxId, actions: &[Numbered<'_>]) -> Result<Stored, Error> {
        let mut groups: Vec<(FlagChange, UidSet)> = Vec::new();
        for (_, action) in actions {
            let Action::SetFlags { uid, remote: Some(change), .. } = action else { continue };
            match groups.iter_mut().find(|(of, _)| of == change) {
                Some((_, uids)) => uids.insert(*uid),
                None => groups.push((change.clone(), UidSet::range(*uid, *uid))),
            }
        }
        let mut stored = Stored::default();
        while let Some((mut change, uids)) = groups.pop() {
            change.add = self.taken_there(mailbox, &change.add);
            if change == FlagChange::default() {
                continue;
            }
            match self.imap.store(&uids, &change).await {
                Ok(shown) => {
                    stored.shown.extend(shown.into_iter().filter_map(|shown| Some((shown.uid, shown.flags?))));
                }
                // A keyword that the server minds must not keep the other flags from the messages.
                Err(ImapError::Refused { refusal, .. }) if can_be_about_keyword(&refusal) && has_keyword(&change) => {
                    match only_keyword(&change) {
                        Some(keyword) => self.refuse_keyword(mailbox, keyword, &refusal),
                        None => groups.extend(apart(&change).into_iter().map(|part| (part, uids.clone()))),
                    }
                }
                // One message that the server minds must not keep the others from their flags.
                Err(ImapError::Refused { .. }) if uids.len() > 1 => {
                    let all: Vec<Uid> = uids.iter().collect();
                    let (first, second) = all.split_at(all.len() / 2);
                    groups.push((change.clone(), second.iter().copied().collect()));
                    groups.push((change, first.iter().copied().collect()));
                }
                Err(error @ ImapError::Refused { .. }) => {
                    stored.refused.extend(uids.iter().map(|uid| (uid, error.to_string())));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(stored)
    }

    /// Changes flags in the Maildir, durably.
    async fn rename_files(
        &mut self,
        mailbox: MailboxId,
        actions: &[Numbered<'_>],
        seen: &Observed,
    ) -> Result<Renamed, Error> {
        let (Some(folder), Some(scan)) = (seen.folder.clone(), &seen.scan) else { return Ok(Default::default()) };
        let mut renames = Vec::new();
        let mut added = Flags::new();
        for (number, action) in actions {
            let Action::SetFlags { name, local: Some((expected, change)), .. } = action else { continue };
            if let Some(known) = scan.files.get(name) {
                added = added.union(&change.add);
                renames.push((*number, name.clone(), known.clone(), expected.clone(), change.clone()));
            }
        }
        if renames.is_empty() {
            return Ok(Default::default());
        }
        self.learn(mailbox, &folder, added).await?;
        blocking(move || {
            let (mut done, mut stuck) = (BTreeMap::new(), BTreeMap::new());
            for (number, name, known, expected, change) in renames {
                // A reader that was faster has made another plan necessary: the next look merges again.
                match set_flags(&folder, &name, &known, &expected, &change) {
                    Ok(Changed::Done(file)) => drop(done.insert(number, file.flags)),
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

    /// Gives letters in a folder to keywords that have none; where that has to wait, a person is told, and the messages
    /// lack them as yet.
    pub(super) async fn learn(&mut self, mailbox: MailboxId, folder: &Folder, wanted: Flags) -> Result<(), Error> {
        if wanted.keywords().next().is_none() {
            return Ok(());
        }
        let folder = folder.clone();
        if let Some(reason) = blocking(move || Ok(folder.learn(&wanted)?)).await? {
            self.unlettered.insert(mailbox);
            let name = self.records.get(&mailbox).map(|record| record.name.to_string()).unwrap_or_default();
            self.leave_out(
                name,
                format!("new keywords are not written into its file names for now: {reason}; the next run tries again"),
                false,
            );
        }
        Ok(())
    }
}

/// Tells whether a refusal can be about a keyword, rather than about the moment or the whole mailbox.
pub(super) fn can_be_about_keyword(refusal: &Refusal) -> bool {
    let others = ["INUSE", "UNAVAILABLE", "SERVERBUG", "NOPERM", "READ-ONLY", "OVERQUOTA", "TRYCREATE", "NONEXISTENT"];
    !others.iter().any(|code| refusal.has_code(code))
}

fn has_keyword(change: &FlagChange) -> bool {
    change.add.keywords().next().is_some()
}

/// The keyword that the change adds, if it does nothing else.
fn only_keyword(change: &FlagChange) -> Option<Keyword> {
    let mut keywords = change.add.keywords();
    let first = keywords.next().filter(|_| change.remove.is_empty() && change.add.system().next().is_none())?;
    keywords.next().is_none().then(|| first.clone())
}

/// The change in parts: what has nothing to do with new keywords, and each of those.
fn apart(change: &FlagChange) -> Vec<FlagChange> {
    let mut rest = change.clone();
    let mut parts = Vec::new();
    for keyword in change.add.keywords() {
        rest.add.remove_keyword(keyword);
        let mut add = Flags::new();
        add.insert_keyword(keyword.clone());
        parts.push(FlagChange { add, remove: Flags::new() });
    }
    if rest != FlagChange::default() {
        parts.push(rest);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(add: &str, remove: &str) -> FlagChange {
        FlagChange { add: Flags::parse(add), remove: Flags::parse(remove) }
    }

    #[test]
    fn a_refused_change_is_taken_apart_until_a_keyword_is_alone() {
        let parts = apart(&change("\\Seen a b", "c"));
        assert_eq!(parts, [change("a", ""), change("b", ""), change("\\Seen", "c")]);
        assert_eq!(parts.iter().filter_map(only_keyword).count(), 2);
        assert_eq!(apart(&change("a b", "")).len(), 2);
        assert!(only_keyword(&change("a", "b")).is_none() && only_keyword(&change("a \\Seen", "")).is_none());
    }
}
