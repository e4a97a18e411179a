//! A pass over a drop (POP3): what is new is fetched, what the owner's rules say is removed, with the journal of every pass.
//!
//! The remote has few verbs here: list, fetch, delete, commit. What a message is called by the server is only in the
//! ledger; everything else (plans, batches, what is remembered of both sides) is as it is for mailboxes. What surprises: a
//! commit ends the session, so removing comes last, and a server that shows a part of its mail is visited again.

mod answers;
mod deleted;
mod fetch;
mod here;
mod meet;
mod plan;
mod recovery;
mod relay;
mod remove;
mod rest;
mod stubs;
mod visit;

pub(super) use answers::{explain, folders};
pub(super) use here::is_other_kind;

use crate::mail::{MailboxName, UidValidity, escape};
use crate::maildir::{LocalPath, NameGenerator, Owner, Root};
use crate::remote::Quirks;
use crate::store::{Settlement, Store};
use crate::sync::maildrop::{Ledger, Maildrop};
use crate::sync::{Adopting, Batch, Cause, MailboxRecord, Picture, Uploads, Work};
use crate::worker::pass::{Mode, blocking, now};
use crate::worker::tell::{self, Told};
use crate::worker::{Error, Event, Ground, History, Job, LeftOut, Report, ground, history, quiet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;
use visit::Session;

/// A server that shows a part of its mail is visited again at most so often in a pass.
const MAX_VISITS: usize = 100;
/// So often in a pass a session that broke while mail was fetched is begun anew.
const MAX_RETRIES: usize = 16;

/// The epoch of the numbers that a ledger gives: there is only one.
fn epoch() -> UidValidity {
    UidValidity::new(u32::MAX).expect("not zero")
}

/// Makes one pass; see [`run`](crate::worker::run).
pub(super) async fn attempt(
    job: &Job,
    wanted: &Maildrop,
    only: &[String],
    mode: Mode,
    events: UnboundedSender<Event>,
    told: &mut Told,
) -> Result<Report, Error> {
    let prepared = job.clone();
    let ground = blocking(move || ground::prepare(&prepared)).await?;
    let store = ground.store.clone();
    quiet::respect(&store, &events, &job.reins).await?;
    let mut pass = DropPass::new(job, wanted, mode, ground, events).await?;
    told.quirks = Some(pass.quirks);
    let done = pass.run(only).await;
    let DropPass { record, picture, mut report, rests, .. } = pass;
    if let Some(record) = record {
        let (id, count) = (record.id, record.checkpoint.map_or(0, |checkpoint| checkpoint.messages));
        let resting = rests.then_some((id, count)).into_iter().collect();
        told.mailboxes = tell::mailboxes(&BTreeMap::from([(id, record)]), &BTreeMap::from([(id, picture)]), &resting);
    }
    told.uploads = Some(Uploads::default());
    report.held = told.mailboxes.iter().flat_map(|m| &m.held).map(|set| set.deletions).sum();
    quiet::heed(&store, done).await?;
    if mode == Mode::Execute {
        history::expire(job, store).await?;
    }
    Ok(report)
}

/// All that a pass knows.
struct DropPass<'j> {
    job: &'j Job,
    wanted: &'j Maildrop,
    mode: Mode,
    events: UnboundedSender<Event>,
    store: Arc<Store>,
    root: Option<Root>,
    /// The generation that the marker of the root told at the start, if it was ours as it should be.
    marked: Option<u64>,
    owner: Owner,
    /// Where the state lies, for markers.
    state_place: String,
    history: History,
    quirks: Quirks,
    names: NameGenerator,
    /// The mailbox that messages go to; none before the first pass made it, and in a dry run before that.
    record: Option<MailboxRecord>,
    path: LocalPath,
    picture: Picture,
    ledger: Ledger,
    batches: Vec<Batch>,
    session: Option<Session>,
    /// Nothing has changed since nothing was left to do.
    rests: bool,
    /// How often a session that broke may be begun anew.
    retries: usize,
    report: Report,
}

impl<'j> DropPass<'j> {
    async fn new(
        job: &'j Job,
        wanted: &'j Maildrop,
        mode: Mode,
        ground: Ground,
        events: UnboundedSender<Event>,
    ) -> Result<Self, Error> {
        let store = ground.store.clone();
        let known = move || Ok((store.mailboxes()?.into_iter().next(), store.batches()?));
        let (record, batches) = blocking(known).await?;
        let path = here::place(job, &wanted.mailbox)?;
        if let Some(record) = record.as_ref().filter(|record| record.name != wanted.mailbox) {
            return Err(Error::Refused(format!(
                "the mail of this account is in the mailbox {} since its first run, and `mailbox` says {} now; nothing was \
                 changed; set it back, or give the account another name and an empty `maildir`",
                record.name, wanted.mailbox
            )));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let names =
            NameGenerator::new(since.as_secs(), since.subsec_micros(), std::process::id(), &host, fastrand::u64(..));
        let quirks = Quirks::recognise(&job.endpoint.target, job.endpoint.quirks, |_| false);
        Ok(Self {
            job,
            wanted,
            mode,
            events,
            store: ground.store,
            root: ground.root,
            marked: ground.marked,
            owner: ground.owner,
            state_place: ground.place,
            history: ground.history,
            quirks,
            names,
            record,
            path,
            picture: Picture::new(),
            ledger: Ledger::default(),
            batches,
            session: None,
            rests: false,
            retries: MAX_RETRIES,
            report: Report { notices: ground.notice.into_iter().collect(), ..Report::default() },
        })
    }

    async fn run(&mut self, only: &[String]) -> Result<(), Error> {
        let mailbox = self.shown();
        if !only.is_empty() && !only.contains(&mailbox) {
            for name in only {
                let reason = format!("this account has the mailbox {} and no other", escape(&mailbox));
                self.leave_out(escape(name), reason, true);
            }
            return Ok(());
        }
        self.face_history().await?;
        if self.mode == Mode::Execute {
            self.found_root().await?;
        }
        self.found_folder().await?;
        let mut listed = None;
        if let Some(rest) = self.at_rest().await? {
            self.go_on()?;
            let listing = self.open().await?;
            if rest.is_of(&listing) {
                self.rests = true;
                return self.leave().await;
            }
            listed = Some(listing);
        }
        self.remember_all().await?;
        for _ in 0..MAX_VISITS {
            self.go_on()?;
            // The Maildir first, since a second look at it may have to wait, and no server waits for long.
            let Some(here) = self.look_here().await? else { return Ok(()) };
            if !self.visit(here, listed.take()).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads everything that is known of the drop: of one at rest nobody needs it.
    async fn remember_all(&mut self) -> Result<(), Error> {
        let Some(id) = self.record.as_ref().map(|record| record.id) else { return Ok(()) };
        let store = self.store.clone();
        (self.picture, self.ledger) = blocking(move || Ok((store.picture(id)?, store.ledger(id)?))).await?;
        Ok(())
    }

    /// Notes that both sides have to be compared anew where memory and Maildir do not fit together. It is durable before
    /// the marker says that they do.
    async fn face_history(&mut self) -> Result<(), Error> {
        let place = escape(self.job.maildir.as_os_str().as_encoded_bytes());
        let (cause, generation, found) = match &self.history {
            History::Fits => return Ok(()),
            History::Foreign(programs) => {
                let notices = programs
                    .iter()
                    .map(|program| format!("{place} was kept by {program}; its own files stay where they are"));
                self.report.notices.extend(notices);
                return Ok(());
            }
            History::StateLost(_) => {
                self.report.notices.push(format!(
                    "the state that kept {place} was lost, so the mail on the server is compared with what is here"
                ));
                return Ok(());
            }
            History::RolledBack(marked) => (Cause::RolledBack, *marked, "the state is older than the Maildir"),
            History::Restored => {
                (Cause::Restored, 0, "the Maildir is older than the state, perhaps restored from a backup")
            }
        };
        self.report.notices.push(format!("{found}, so the mail on the server is compared with what is in {place}"));
        if let Some(record) = &mut self.record {
            record.adopting = Some(Adopting { cause, question: None });
            let mailboxes = vec![record.clone()];
            self.settle(Settlement { mailboxes, generation, ..Settlement::default() }).await?;
        }
        Ok(())
    }

    /// Commits to the memory; a dry run forgets.
    async fn settle(&mut self, settlement: Settlement) -> Result<(), Error> {
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        let store = self.store.clone();
        blocking(move || Ok(store.settle(settlement)?)).await
    }

    /// Begins work: durable first, then the marker of the root is raised to its generation.
    async fn begin(&mut self, works: Vec<Work>) -> Result<Vec<Batch>, Error> {
        let store = self.store.clone();
        let (root, owner, place) = (self.root.clone(), self.owner.clone(), self.state_place.clone());
        let begun = blocking(move || {
            let begun = store.begin(works)?;
            if let Some(root) = root {
                ground::raise(&root, owner, place, store.generation())?;
            }
            Ok(begun)
        })
        .await?;
        self.batches.extend(begun.iter().cloned());
        Ok(begun)
    }

    fn leave_out(&mut self, mailbox: String, reason: impl Into<String>, failed: bool) {
        let left = LeftOut { mailbox, reason: reason.into(), failed };
        if !self.report.left_out.contains(&left) {
            self.report.left_out.push(left);
        }
    }

    /// The name of the mailbox for people; not escaped.
    fn shown(&self) -> String {
        let name: &MailboxName = &self.wanted.mailbox;
        name.decoded().unwrap_or_else(|| name.as_wire().to_owned())
    }

    /// Before something new is begun: nothing is, once it was asked to end.
    fn go_on(&self) -> Result<(), Error> {
        if self.job.reins.is_finishing() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The instant for what is remembered, in seconds since 1970.
    fn now(&self) -> u64 {
        now()
    }
}
