//! A pass over one account.

use crate::mail::{BaseName, Flags, MailboxName, ObjectId, Uid, UidValidity};
use crate::maildir::{Mapping, NameGenerator, Root, RootMarker};
use crate::remote::Quirks;
use crate::remote::error::Error as ImapError;
use crate::remote::imap::{Access, Imap, Listing, Status};
use crate::store::{Settlement, Store};
use crate::sync::{Action, Batch, Evidence, MailboxAction, MailboxId, MailboxRecord, Picture, Uploads, Work};
use crate::worker::labels::Fetched;
use crate::worker::mailboxes::Asked;
use crate::worker::moves::Waiting;
use crate::worker::rest::Rest;
use crate::worker::tell::{self, Told};
use crate::worker::undo::BroughtBack;
use crate::worker::{
    Error, Event, Ground, History, Job, LeftOut, Report, Touched, Undone, ground, history, kept, maildrop, queues,
    quiet,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;

/// Whether a pass does what it plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It does.
    Execute,
    /// It only tells the plan; neither side is changed, nor what is remembered.
    DryRun,
}

/// Makes one pass over an account. `only` names the mailboxes, decoded, with `/` between the levels; empty: all.
///
/// What was done before an error stays done, and is remembered; the status file tells of both. Not cancel-safe in the sense
/// of being finished: dropped at any point it is like a crash, which the next pass recovers from.
pub async fn run(job: &Job, only: &[String], mode: Mode, events: UnboundedSender<Event>) -> Result<Report, Error> {
    let mut told = Told::default();
    let done = match &job.maildrop {
        Some(wanted) => maildrop::attempt(job, wanted, only, mode, events, &mut told).await,
        None => attempt(job, Task::Mirror(only), mode, events, &mut told, &mut Undone::default()).await,
    };
    let done = as_asked(job, done);
    if mode == Mode::Execute {
        tell::tell(job, &done, told).await;
    }
    done
}

/// Takes back what has these numbers: removals and restorations, as [`undoable`](crate::worker::undoable) lists them.
///
/// Cancel-safe and recovered from as [`run`] is.
pub async fn undo(
    job: &Job,
    numbers: &BTreeSet<u64>,
    events: UnboundedSender<Event>,
) -> Result<(Report, Undone), Error> {
    if job.maildrop.is_some() {
        return Err(Error::Refused(
            "nothing is ever removed here because of a drop, so there is nothing to take back".into(),
        ));
    }
    let (mut told, mut undone) = (Told::default(), Undone::default());
    let done = attempt(job, Task::TakeBack(numbers), Mode::Execute, events, &mut told, &mut undone).await;
    let done = as_asked(job, done);
    tell::tell(job, &done, told).await;
    Ok((done?, undone))
}

/// What failed after it was to end anyway, failed for that reason.
fn as_asked(job: &Job, done: Result<Report, Error>) -> Result<Report, Error> {
    done.map_err(|error| if job.reins.is_finishing() { Error::Interrupted } else { error })
}

/// What a pass is for.
enum Task<'t> {
    /// To mirror these mailboxes, or all.
    Mirror(&'t [String]),
    /// To take back what has these numbers.
    TakeBack(&'t BTreeSet<u64>),
}

async fn attempt(
    job: &Job,
    task: Task<'_>,
    mode: Mode,
    events: UnboundedSender<Event>,
    told: &mut Told,
    undone: &mut Undone,
) -> Result<Report, Error> {
    let prepared = job.clone();
    let ground = blocking(move || ground::prepare(&prepared)).await?;
    let store = ground.store.clone();
    quiet::respect(&store, &events, &job.reins).await?;
    let only = match task {
        Task::Mirror(only) => only,
        Task::TakeBack(_) => &[],
    };
    let opened = quiet::heed(&store, kept::open(job, only).await).await?;
    told.tier = Some(opened.imap.tier());
    told.quirks = Some(opened.quirks);
    // Nobody may be listening, here and below.
    let peer = opened.peer;
    let _ = events.send(Event::LoggedIn { peer: peer.clone() });
    if opened.imap.capabilities().has("IDLE") {
        let _ = events.send(Event::CanListen);
    }
    let mut pass = Pass::new(job, mode, ground, (opened.imap, opened.listing), opened.quirks, events).await?;
    let done = match task {
        Task::Mirror(only) => pass.run(only).await,
        Task::TakeBack(numbers) => pass.take_back(numbers).await,
    };
    let Pass { mut imap, mut report, records, pictures, store, restored, not_restored, former, uploads, .. } = pass;
    let (rests, resting) = (pass.rests, pass.resting);
    report.notices.extend(imap.take_warnings().into_iter().map(|words| format!("the server says: {words}")));
    told.former = former;
    told.uploads = Some(uploads);
    *undone = Undone { done: restored, left: not_restored };
    let at_rest = |id: &MailboxId| Some((*id, rests.get(id)?.checkpoint.messages));
    told.mailboxes = tell::mailboxes(&records, &pictures, &resting.iter().filter_map(at_rest).collect());
    report.held = told.mailboxes.iter().flat_map(|m| &m.held).map(|set| set.deletions).sum();
    quiet::heed(&store, done).await?;
    if mode == Mode::Execute {
        let (queues, settled) = (job.queues.clone(), store.clone());
        blocking(move || queues::release(&queues, &settled)).await?;
        history::expire(job, store).await?;
    }
    kept::close(job, imap, peer).await;
    Ok(report)
}

/// Runs what blocks away from the threads that wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

/// The present, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) + clock_ahead()
}

/// An instant, in milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(not(feature = "steps"))]
fn clock_ahead() -> u64 {
    0
}

/// How far the clock of the crash tests is ahead, in seconds: they cannot wait for a retry.
#[cfg(feature = "steps")]
fn clock_ahead() -> u64 {
    std::env::var("MAILTWIN_CLOCK_AHEAD").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// All that a pass knows.
pub(super) struct Pass<'j> {
    pub job: &'j Job,
    pub mode: Mode,
    pub events: UnboundedSender<Event>,
    pub store: Arc<Store>,
    pub root: Option<Root>,
    /// The generation that the marker of the root told at the start, if it was ours as it should be.
    pub marked: Option<u64>,
    pub owner: crate::maildir::Owner,
    /// Where the state lies, for markers.
    pub state_place: String,
    pub history: History,
    pub imap: Imap,
    /// What the server listed when the session began, until it is judged, or is no longer all.
    pub listing: Option<Result<Listing, ImapError>>,
    /// What is odd about the server.
    pub quirks: Quirks,
    /// The job, without the mailboxes that only show what others do.
    pub mapped: Job,
    /// What this pass has fetched and other labels may show as well, by Gmail's number.
    pub fetched: BTreeMap<u64, Fetched>,
    pub records: BTreeMap<MailboxId, MailboxRecord>,
    pub pictures: BTreeMap<MailboxId, Picture>,
    pub batches: Vec<Batch>,
    pub statuses: BTreeMap<MailboxName, Status>,
    /// The mailbox that is open on the server, and its epoch.
    pub selected: Option<(MailboxId, UidValidity)>,
    pub trash: Option<MailboxId>,
    /// In a dry run: mailboxes that would be made on the server.
    pub pretended: BTreeSet<MailboxId>,
    /// Where new mailboxes belong on the server: its delimiter, and the prefix of its namespace.
    pub place: (Option<char>, String),
    /// Which mailbox is which directory.
    pub mapping: Mapping,
    /// What the server's mailboxes are, whatever their names.
    pub identities: BTreeMap<MailboxName, String>,
    /// Mailboxes that were deleted on the server, and are being emptied here.
    pub emptying: BTreeSet<MailboxId>,
    /// Names that no mailbox has any more, for the status.
    pub former: Vec<String>,
    /// Mailboxes that are to be made once something needs them.
    pub reserved: Vec<MailboxAction>,
    pub names: NameGenerator,
    /// Every mailbox is listed in full, whatever its checkpoint says.
    pub lists_all: bool,
    /// Whether uploads wait, as of now and as it is stored.
    pub uploads: Uploads,
    pub stored_uploads: Uploads,
    /// What is not uploaded for that reason.
    pub held_uploads: BTreeMap<MailboxId, Vec<BaseName>>,
    /// Octets of messages moved since the last batch was settled.
    pub octets: u64,
    /// What this pass found to be missing in the Maildirs.
    pub gone_here: BTreeMap<MailboxId, BTreeSet<BaseName>>,
    /// Where messages of the open batch went on the server.
    pub went: BTreeMap<Uid, Uid>,
    /// In an undo, what it brought back until now.
    pub brought_back: Option<BroughtBack>,
    /// The numbers of removals that were taken back.
    pub restored: BTreeSet<u64>,
    /// Those that could not be, with the reason.
    pub not_restored: BTreeMap<u64, String>,
    /// What was touched in the Maildir, and is told with the next commit.
    pub touched: Vec<Touched>,
    /// What was learnt by doing, in changes of the memory.
    pub learnt: u64,
    /// What was seen of messages while a batch was carried out, by their names here.
    pub shown: BTreeMap<BaseName, Shown>,
    /// Keywords that the server refused in this session.
    pub refused_keywords: BTreeMap<MailboxId, Flags>,
    /// Mailboxes in whose Maildir no keyword can get a letter in this pass.
    pub unlettered: BTreeSet<MailboxId>,
    /// What is known for finding moves; of it stays what was refused in this pass.
    pub evidence: Evidence,
    /// Copies of this round that may become moves yet.
    pub waiting: Option<Waiting>,
    /// They were waited for.
    pub looked_again: bool,
    /// What mailboxes looked like when nothing was left to do in them.
    pub rests: BTreeMap<MailboxId, Rest>,
    /// Those at which this pass does not look, since they look so still.
    pub resting: BTreeSet<MailboxId>,
    pub report: Report,
}

/// What was seen of a message while a batch was carried out: the flags on each side, and which one the server says it is.
#[derive(Clone, Default, Debug)]
pub(super) struct Shown {
    pub there: Option<Flags>,
    pub here: Option<Flags>,
    pub object: Option<ObjectId>,
}

impl<'j> Pass<'j> {
    pub(super) async fn new(
        job: &'j Job,
        mode: Mode,
        ground: Ground,
        (imap, listing): (Imap, Result<Listing, ImapError>),
        quirks: Quirks,
        events: UnboundedSender<Event>,
    ) -> Result<Self, Error> {
        let store = ground.store.clone();
        let known = move || Ok((store.mailboxes()?, store.batches()?, store.uploads()?));
        let (records, batches, uploads) = blocking(known).await?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let names =
            NameGenerator::new(since.as_secs(), since.subsec_micros(), std::process::id(), &host, fastrand::u64(..));
        Ok(Self {
            job,
            mode,
            events,
            store: ground.store,
            root: ground.root,
            marked: ground.marked,
            owner: ground.owner,
            state_place: ground.place,
            history: ground.history,
            imap,
            listing: Some(listing),
            quirks,
            mapped: job.clone(),
            fetched: BTreeMap::new(),
            records: records.into_iter().map(|record| (record.id, record)).collect(),
            pictures: BTreeMap::new(),
            batches,
            statuses: BTreeMap::new(),
            selected: None,
            trash: None,
            pretended: BTreeSet::new(),
            place: (None, String::new()),
            mapping: Mapping::new(job.layout),
            identities: BTreeMap::new(),
            emptying: BTreeSet::new(),
            former: Vec::new(),
            reserved: Vec::new(),
            names,
            lists_all: false,
            uploads: uploads.clone(),
            stored_uploads: uploads,
            held_uploads: BTreeMap::new(),
            octets: 0,
            gone_here: BTreeMap::new(),
            went: BTreeMap::new(),
            brought_back: None,
            restored: BTreeSet::new(),
            not_restored: BTreeMap::new(),
            touched: Vec::new(),
            learnt: 0,
            shown: BTreeMap::new(),
            refused_keywords: BTreeMap::new(),
            unlettered: BTreeSet::new(),
            evidence: Evidence::default(),
            waiting: None,
            looked_again: false,
            rests: BTreeMap::new(),
            resting: BTreeSet::new(),
            report: Report { notices: ground.notice.into_iter().collect(), ..Report::default() },
        })
    }

    async fn run(&mut self, only: &[String]) -> Result<(), Error> {
        self.face_history().await?;
        if self.mode == Mode::Execute {
            self.found_root().await?;
        }
        self.resume_mailboxes().await?;
        let mut dirty = self.judge_mailboxes(Asked::of(only)).await?;
        self.resting = self.resting(&dirty).await?;
        dirty.retain(|id| !self.resting.contains(id));
        self.rounds(dirty, !only.is_empty() || !self.resting.is_empty()).await?;
        self.keep_rests().await
    }

    /// Commits to the memory; a dry run forgets.
    pub(super) async fn settle(&mut self, mut settlement: Settlement) -> Result<(), Error> {
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        if self.uploads != self.stored_uploads {
            settlement.uploads = Some(self.uploads.clone());
            self.stored_uploads.clone_from(&self.uploads);
        }
        let store = self.store.clone();
        blocking(move || Ok(store.settle(settlement)?)).await?;
        if !self.touched.is_empty() {
            let _ = self.events.send(Event::Touched(std::mem::take(&mut self.touched)));
        }
        Ok(())
    }

    /// Begins batches: durable first, then the marker of the root is raised to their generation.
    pub(super) async fn begin(&mut self, works: Vec<Work>) -> Result<Vec<Batch>, Error> {
        self.go_on()?;
        let store = self.store.clone();
        let (root, owner, place) = (self.root.clone(), self.owner.clone(), self.state_place.clone());
        let begun = blocking(move || {
            let begun = store.begin(works)?;
            if let Some(root) = root {
                root.write_marker(&RootMarker { owner, place, generation: store.generation() })?;
            }
            Ok(begun)
        })
        .await?;
        self.batches.extend(begun.iter().cloned());
        Ok(begun)
    }

    /// Fails if the pass is to end: nothing new is begun then.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.job.reins.is_finishing() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Waits, unless the pass is to end meanwhile.
    pub(super) async fn pause(&self, time: std::time::Duration) -> Result<(), Error> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.job.reins.finishing() => Err(Error::Interrupted),
        }
    }

    /// How mailboxes of the server are opened: for looking only where nothing is ever changed there.
    pub(super) fn access(&self) -> Access {
        if self.job.policy.writes_there() { Access::ReadWrite } else { Access::ReadOnly }
    }

    /// Opens a mailbox of the server, unless it is open. False: it is not the one that is remembered.
    pub(super) async fn open(&mut self, id: MailboxId, epoch: UidValidity) -> Result<bool, Error> {
        if let Some((open, of)) = self.selected
            && open == id
        {
            return Ok(of == epoch);
        }
        let Some(record) = self.records.get(&id) else { return Ok(false) };
        let name = record.name.clone();
        self.selected = None;
        let selected = self.imap.select(&name, self.access(), None).await?;
        self.selected = Some((id, selected.uid_validity));
        Ok(selected.uid_validity == epoch)
    }

    /// Tells, in one flight, which of these mailboxes are not the ones that are remembered: of another epoch, or gone.
    pub(super) async fn renumbered(
        &mut self,
        epochs: &BTreeMap<MailboxId, UidValidity>,
    ) -> Result<BTreeSet<MailboxId>, Error> {
        let is_open = |(id, epoch): &(&MailboxId, &UidValidity)| self.selected == Some((**id, **epoch));
        let unsure = epochs.iter().filter(|known| !is_open(known));
        let names: BTreeMap<MailboxId, MailboxName> =
            unsure.filter_map(|(id, _)| Some((*id, self.records.get(id)?.name.clone()))).collect();
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let asked: Vec<MailboxName> = names.values().cloned().collect();
        let told = self.imap.status(&asked).await?;
        let epoch = |name: &MailboxName| told.get(name).and_then(|status| status.uid_validity);
        Ok(names.iter().filter(|(id, name)| epoch(name) != epochs.get(id).copied()).map(|(id, _)| *id).collect())
    }

    pub(super) fn leave_out(&mut self, mailbox: impl Into<String>, reason: impl Into<String>, failed: bool) {
        let left = LeftOut { mailbox: mailbox.into(), reason: reason.into(), failed };
        if !self.report.left_out.contains(&left) {
            self.report.left_out.push(left);
        }
    }
}

/// A mailbox whose last full listing is older is listed in full, in seconds: it is the audit of what deltas told.
pub(super) const AUDIT: u64 = 7 * 86_400;

/// Tells whether a mailbox was not listed in full for so long that it is time to.
pub(super) fn is_audit_due(record: &MailboxRecord, now: u64) -> bool {
    record.listed.is_none_or(|at| at.abs_diff(now) >= AUDIT)
}

pub(super) fn touches(batch: &Batch, id: MailboxId) -> bool {
    match &batch.work {
        Work::Messages { mailbox, actions, from, .. } => {
            let starts_there = |action: &Action| action.origin().is_some_and(|origin| origin.mailbox == id);
            *mailbox == id || from.contains_key(&id) || actions.iter().any(starts_there)
        }
        Work::Mailboxes(_) => false,
    }
}
