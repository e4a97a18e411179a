//! The Maildirs, looked at until they are settled.

use crate::mail::BaseName;
use crate::maildir::{Error as MaildirError, Folder, FolderMarker, LocalPath, Scan};
use crate::sync::{LocalView, Look, MailboxId, Seen};
use crate::worker::pass::{Pass, blocking, millis};
use crate::worker::{Error, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// The Maildir of a mailbox, complete.
pub(super) struct Here {
    pub folder: Option<Folder>,
    pub scan: Option<Scan>,
    pub local: LocalView,
}

/// So long is waited for files to stop vanishing.
const MAX_WAIT: Duration = Duration::from_secs(60);

impl Pass<'_> {
    /// Scans the Maildirs until each is settled: what is missing is looked for twice.
    pub(super) async fn look_here(&mut self, ids: &BTreeSet<MailboxId>) -> Result<BTreeMap<MailboxId, Here>, Error> {
        let mut settled = BTreeMap::new();
        let mut first: BTreeMap<MailboxId, Look> = BTreeMap::new();
        let mut open: BTreeSet<MailboxId> = ids.clone();
        let mut waited = Duration::ZERO;
        while !open.is_empty() {
            let mut wait = None;
            for id in open.clone() {
                let Some((folder, scan)) = self.scan(id).await? else {
                    open.remove(&id);
                    continue;
                };
                let Some((folder, scan)) = folder.zip(scan) else {
                    // A dry run, and the Maildir is not made yet.
                    let local = LocalView::of_new(BTreeMap::new());
                    settled.insert(id, Here { folder: None, scan: None, local });
                    open.remove(&id);
                    continue;
                };
                if let Some((twice, _)) = scan.duplicates.first() {
                    let name = self.records.get(&id).map(|r| r.name.to_string()).unwrap_or_default();
                    let reason = format!(
                        "two files have the name {twice} (and {} more do), and one of each is not synchronised: rename it",
                        scan.duplicates.len() - 1
                    );
                    self.leave_out(name, reason, false);
                }
                let look = Look {
                    messages: scan.files.iter().map(|(name, file)| (name.clone(), file.flags.clone())).collect(),
                    taken: millis(SystemTime::now()),
                    changed: millis(scan.newest_change),
                    atomic: scan.atomic,
                };
                let picture = self.pictures.entry(id).or_default();
                let gone = self.gone_here.entry(id).or_default();
                let judged = match first.get(&id) {
                    None => LocalView::judge(picture, gone, &look, None),
                    Some(before) => LocalView::judge(picture, gone, before, Some(&look)),
                };
                match judged {
                    Seen::Settled(local) => {
                        let is_gone = |name: &&BaseName| local.get(name).is_none();
                        *gone = picture.local_side().filter(is_gone).cloned().collect();
                        settled.insert(id, Here { folder: Some(folder), scan: Some(scan), local });
                        open.remove(&id);
                    }
                    Seen::LookAgain(after) => {
                        // Only a look that agrees with the one before keeps its age.
                        let agrees = first.get(&id).is_some_and(|before| before.agrees(&look, picture, gone));
                        if !agrees {
                            first.insert(id, look);
                        }
                        let after = Duration::from_millis(after);
                        wait = Some(wait.map_or(after, |w: Duration| w.min(after)));
                    }
                }
            }
            if let Some(wait) = wait.filter(|w| !w.is_zero()) {
                waited += wait;
                if waited > MAX_WAIT {
                    for id in std::mem::take(&mut open) {
                        let name = self.records.get(&id).map(|r| r.name.to_string()).unwrap_or_default();
                        self.leave_out(
                            name,
                            "files keep vanishing from its Maildir; it is left alone until that stops",
                            true,
                        );
                    }
                    break;
                }
                let _ = self.events.send(Event::LookingAgain(wait));
                self.pause(wait).await?;
            }
        }
        Ok(settled)
    }

    /// Scans one Maildir. `None`: it cannot be used, and that was told. Without a folder: it is not made yet.
    async fn scan(&mut self, id: MailboxId) -> Result<Option<(Option<Folder>, Option<Scan>)>, Error> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(None) };
        let (Some(root), Some(path)) = (self.root.clone(), record.path.as_deref().and_then(LocalPath::new)) else {
            return Ok(Some((None, None)));
        };
        let pretended = record.uid_validity.is_none() && self.mode == crate::worker::Mode::DryRun;
        let (keywords, may_learn) = (self.job.keywords, !self.unlettered.contains(&id));
        let marker = FolderMarker { id: id.0, name: record.name.clone(), state: self.owner.state };
        let scanned = blocking(move || {
            let open = || -> Result<(Folder, Scan), MaildirError> {
                let folder = Folder::open(&root, &path)?;
                if !pretended {
                    folder.check(&marker)?;
                }
                folder.keep_keywords(keywords, may_learn);
                let scan = folder.scan()?;
                Ok((folder, scan))
            };
            Ok(open())
        })
        .await?;
        match scanned {
            Ok((folder, scan)) => Ok(Some((Some(folder), Some(scan)))),
            Err(MaildirError::Unavailable(crate::maildir::Unavailable::FolderMissing)) if pretended => {
                Ok(Some((None, None)))
            }
            Err(reason @ (MaildirError::Unavailable(_) | MaildirError::Hostile { .. })) => {
                self.leave_out(record.name.to_string(), format!("{reason}; nothing is deleted on the server"), true);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
