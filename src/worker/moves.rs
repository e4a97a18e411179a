//! What the pairing of moves needs to know, and how long it waits for the other half of one.

use crate::mail::{BaseName, SpecialUse, Uid, UidSet, fingerprint};
use crate::remote::error::Error as ImapError;
use crate::sync::{
    Action, Arrived, Evidence, MailboxId, MailboxPlan, Picture, Scene, arrivals_to_ask_for, files_to_date, pair_up,
};
use crate::worker::Error;
use crate::worker::observe::Observed;
use crate::worker::pass::{Mode, Pass, blocking, now};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Some readers copy a message and delete the original later: a copy that appeared less than so many seconds ago is looked
/// at once more before it counts as one.
const GRACE: u64 = 10;

/// Copies that may become moves yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The mailboxes to look at again.
    pub mailboxes: BTreeSet<MailboxId>,
    /// After so long.
    pub after: Duration,
}

impl Pass<'_> {
    /// Puts moves and copies in the place of transfers and deletions, over the plans of all mailboxes.
    pub(super) async fn find_moves(
        &mut self,
        plans: &mut [MailboxPlan],
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<(), Error> {
        if plans.iter().all(|plan| plan.actions.is_empty()) {
            return Ok(());
        }
        let scenes = self.scenes(plans, observed);
        let asked = arrivals_to_ask_for(&scenes);
        let dated: Vec<(MailboxId, BaseName)> = match asked.is_empty() {
            true => vec![],
            false => scenes.iter().flat_map(|s| files_to_date(s).map(|n| (s.plan.mailbox, n.clone()))).collect(),
        };
        self.evidence.dates = dates(dated, observed).await?;
        let arrived = self.arrived(asked, observed).await?;
        self.evidence.arrived = arrived;
        let evidence = std::mem::take(&mut self.evidence);
        pair_up(&mut self.scenes(plans, observed), &evidence);
        self.evidence = Evidence { arrived: BTreeMap::new(), dates: BTreeMap::new(), ..evidence };
        if self.mode == Mode::Execute && !self.looked_again {
            self.waiting = young_copies(plans, observed).await?;
        }
        Ok(())
    }

    fn scenes<'a>(
        &'a self,
        plans: &'a mut [MailboxPlan],
        observed: &'a BTreeMap<MailboxId, Observed>,
    ) -> Vec<Scene<'a>> {
        static NOTHING: std::sync::LazyLock<Picture> = std::sync::LazyLock::new(Picture::new);
        let scene = |plan: &'a mut MailboxPlan| {
            let seen = observed.get(&plan.mailbox)?;
            let picture = self.pictures.get(&plan.mailbox).unwrap_or(&NOTHING);
            let has_the_role =
                self.records.get(&plan.mailbox).is_some_and(|record| record.role == Some(SpecialUse::Trash));
            let is_trash = has_the_role || self.trash == Some(plan.mailbox);
            Some(Scene { plan, picture, remote: &seen.remote, local: &seen.local, is_trash })
        };
        plans.iter_mut().filter_map(scene).collect()
    }

    /// Asks the server what those messages look like.
    async fn arrived(
        &mut self,
        asked: BTreeMap<MailboxId, Vec<Uid>>,
        observed: &BTreeMap<MailboxId, Observed>,
    ) -> Result<BTreeMap<(MailboxId, Uid), Arrived>, Error> {
        let mut arrived = BTreeMap::new();
        for (id, uids) in asked {
            let Some(seen) = observed.get(&id) else { continue };
            let uids: UidSet = uids.into_iter().collect();
            let headers = match self.open(id, seen.reached.uid_validity).await {
                Ok(true) => self.imap.fetch_fingerprint_headers(&uids, true).await.map_err(Error::from),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match headers {
                Ok(headers) => {
                    for header in headers {
                        let message_id = header.header.and_then(|octets| fingerprint::of(&octets).message_id);
                        let told = Arrived {
                            message_id,
                            size: header.size,
                            date: header.internal_date,
                            object: header.object,
                        };
                        arrived.insert((id, header.uid), told);
                    }
                }
                // Then they are fetched.
                Err(Error::Imap(ImapError::Refused { .. })) => self.selected = None,
                Err(error) => return Err(error),
            }
        }
        Ok(arrived)
    }
}

/// The times of files, in seconds since 1970.
async fn dates(
    files: Vec<(MailboxId, BaseName)>,
    observed: &BTreeMap<MailboxId, Observed>,
) -> Result<BTreeMap<(MailboxId, BaseName), i64>, Error> {
    let mut known = Vec::new();
    for (id, name) in files {
        let Some((folder, scan)) = observed.get(&id).and_then(|seen| seen.folder.clone().zip(seen.scan.as_ref()))
        else {
            continue;
        };
        if let Some(file) = scan.files.get(&name) {
            known.push(((id, name), folder, file.clone()));
        }
    }
    blocking(move || {
        let mut dates = BTreeMap::new();
        for (of, folder, file) in known {
            if let Some(times) = folder.file_times(&file)? {
                dates.insert(of, seconds(times.modified));
            }
        }
        Ok(dates)
    })
    .await
}

fn seconds(time: SystemTime) -> i64 {
    let secs = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -secs(before.duration()), secs)
}

/// Takes copies out of the plans whose files appeared a moment ago.
async fn young_copies(
    plans: &mut [MailboxPlan],
    observed: &BTreeMap<MailboxId, Observed>,
) -> Result<Option<Waiting>, Error> {
    let mut waiting: Option<Waiting> = None;
    for plan in plans {
        let mut kept = Vec::new();
        for action in std::mem::take(&mut plan.actions) {
            let Action::CopyRemote { origin, name, .. } = &action else {
                kept.push(action);
                continue;
            };
            let seen = observed.get(&plan.mailbox);
            let place = seen.and_then(|seen| seen.folder.clone().zip(seen.scan.as_ref()?.files.get(name).cloned()));
            let times = match place {
                Some((folder, file)) => blocking(move || Ok(folder.file_times(&file)?)).await?,
                None => None,
            };
            let appeared = times.map_or(0, |times| times.changed.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
            match (appeared + GRACE).checked_sub(now()).filter(|left| *left > 0) {
                None => kept.push(action),
                Some(left) => {
                    let after = Duration::from_secs(left.min(GRACE));
                    let waiting = waiting.get_or_insert(Waiting { mailboxes: BTreeSet::new(), after });
                    waiting.after = waiting.after.max(after);
                    waiting.mailboxes.extend([plan.mailbox, origin.mailbox]);
                }
            }
        }
        plan.actions = kept;
    }
    Ok(waiting)
}
