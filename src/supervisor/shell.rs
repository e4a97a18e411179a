//! The thin shell around the schedule: tasks, signals, the clock, the service manager.
//!
//! It decides nothing about when: it turns what happens into events, and obeys. A task that panics is an ending like
//! another. A task that is given up is dropped, which is to its account what a crash is; what it still writes on a thread of
//! its own holds the account's lock, so nobody begins before that has ended.

mod anew;
mod answers;
mod live;
mod ready;
mod show;

use super::handle::{Handle, Request};
use super::held::{Account, Held, sentence};
use super::live::Told;
use super::schedule::{Command, Ending, Event, Health, Limits, Now, Schedule, Task};
use super::status::{AccountView, Doing, Happened, Progress, What, in_one_line};
use super::whereabouts::Whereabouts;
use super::work::{Answer, Finished, Update, Updates, Work, carry_out};
use super::world::{Received, Signals, uptime};
use crate::maildir::Watch;
use crate::monitor::{Bounds, Notify};
use crate::remote::secret;
use crate::worker::{self, Job, Kind, Reins, State, Trouble};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

/// How far apart the pictures of all accounts are at least that watchers get.
const BETWEEN_VIEWS: Duration = Duration::from_millis(200);
/// So much is kept for whoever listens slowly to what happens.
const KEPT: usize = 1024;
/// After so long nothing is waited for: a machine that slept wakes within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);
/// The end is the end.
const LAST: Duration = Duration::from_millis(2700);

/// Reads the configuration again; an error is a clause that says what is wrong with it.
pub type Load = Box<dyn FnMut() -> Result<Vec<Account>, String> + Send>;

/// What a supervisor finds around it.
pub struct Outside {
    /// How the configuration is read again.
    pub load: Load,
    /// The way to the service manager.
    pub notify: Notify,
    /// What this process may touch.
    pub bounds: Bounds,
    /// The accounts that a person had paused before the daemon began anew.
    pub paused: Vec<String>,
}

/// See the head of this file.
pub struct Supervisor {
    schedule: Schedule,
    accounts: BTreeMap<String, Held>,
    running: BTreeMap<String, Running>,
    tickets: BTreeMap<u64, (Work, Updates)>,
    /// Another daemon begins when this one has ended.
    anew: Arc<AtomicBool>,
    last_ticket: u64,
    /// The one instance that watches all Maildirs.
    watch: Option<Arc<Watch>>,
    last_ear: u64,
    load: Load,
    notify: Notify,
    bounds: Bounds,
    whereabouts: Whereabouts,
    began: Now,
    /// A key for digests of secrets, which are kept in memory only.
    key: [u8; 32],
    messages: UnboundedSender<Message>,
    inbox: UnboundedReceiver<Message>,
    requests: UnboundedReceiver<Request>,
    views: watch::Sender<Arc<Vec<AccountView>>>,
    /// When watchers got the last picture,
    shown: Now,
    /// and whether there is another, which may wait or not.
    news: News,
    told: String,
    happened: broadcast::Sender<Happened>,
    stopping: Option<Now>,
}

/// Whether watchers are to get a new picture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    None,
    Some,
    Urgent,
}

struct Running {
    began: Now,
    /// What had passed on the connection then, in and out.
    before: (u64, u64),
    progress: Progress,
    reins: Reins,
    abort: AbortHandle,
    /// A person waits for it.
    is_asked: bool,
}

enum Message {
    Moved {
        account: String,
        event: worker::Event,
    },
    Ended {
        account: String,
        finished: Box<Finished>,
        updates: Option<Updates>,
    },
    /// The digest of a secret, as it was when it was refused, or is now. None: it cannot be had.
    Digest {
        account: String,
        digest: Option<[u8; 32]>,
        is_refused: bool,
    },
    Live {
        account: String,
        told: Told,
    },
    /// A Maildir that this process cannot reach.
    Beyond(PathBuf),
}

impl Supervisor {
    /// Takes the accounts' locks. Whose lock is taken by another process is waited for; that is no error.
    ///
    /// `seed` makes its waits unlike those of others.
    pub fn new(accounts: Vec<Account>, outside: Outside, seed: u64) -> (Self, Handle) {
        let Outside { load, notify, bounds, paused } = outside;
        let (messages, inbox) = unbounded_channel();
        let (asking, requests) = unbounded_channel();
        let (views, watched) = watch::channel(Arc::default());
        let (happened, _) = broadcast::channel(KEPT);
        let handle = Handle { requests: asking, views: watched, happened: happened.clone(), anew: Arc::default() };
        let mut key = [0; 32];
        key.chunks_mut(8).zip(1..).for_each(|(part, n): (_, u64)| {
            part.copy_from_slice(&(seed ^ fastrand::u64(..) ^ n).to_ne_bytes());
        });
        let mut supervisor = Self {
            schedule: Schedule::new(Limits::default(), seed),
            accounts: BTreeMap::new(),
            running: BTreeMap::new(),
            tickets: BTreeMap::new(),
            anew: handle.anew.clone(),
            last_ticket: 0,
            watch: None,
            last_ear: 0,
            load,
            notify,
            bounds,
            whereabouts: Whereabouts::here(),
            began: uptime(),
            key,
            messages,
            inbox,
            requests,
            views,
            shown: Duration::ZERO,
            news: News::Urgent,
            told: String::new(),
            happened,
            stopping: None,
        };
        for account in accounts {
            let name = account.job.account.clone();
            let paused = paused.contains(&name);
            supervisor.accounts.insert(name, Held { paused, ..Held::new(account) });
        }
        (supervisor, handle)
    }

    /// Works until a signal ends it: SIGTERM or SIGINT. SIGHUP reads the configuration again, SIGUSR1 looks at every
    /// account now. What the service manager hears, it hears from here.
    ///
    /// # Errors
    /// Signals cannot be had.
    pub async fn run(mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        self.probe_secrets().await;
        self.open_eyes();
        for name in self.accounts.keys().cloned().collect::<Vec<_>>() {
            let setup = self.accounts[&name].setup();
            self.on(&name, Event::Added(setup));
        }
        self.publish();
        self.told = in_one_line(&self.views.borrow());
        self.notify.ready(&self.told);
        tracing::info!("mailtwin {} runs: {}.", env!("CARGO_PKG_VERSION"), self.told);
        let mut pinged = Duration::ZERO;
        while !self.is_over() {
            let now = self.now();
            if let Some(every) = self.notify.watchdog().filter(|every| pinged.is_zero() || now >= pinged + *every)
                && self.schedule.is_alive()
            {
                self.notify.alive();
                pinged = now.max(every / 1000);
            }
            let wait = self.wait(now, pinged);
            let mut is_to_look = false;
            tokio::select! {
                biased;
                signal = signals.next() => self.obey_signal(signal),
                Some(message) = self.inbox.recv() => self.take(message),
                Some(request) = self.requests.recv() => self.answer(request),
                stirred = live::stirred(self.watch.as_ref()) => self.stirred(stirred),
                () = self.whereabouts.stirred() => is_to_look = true,
                () = tokio::time::sleep(wait) => {
                    // After a sleep of the machine this ends, or it would have ended soon.
                    is_to_look = true;
                    let commands = self.schedule.tick(self.now());
                    self.obey(commands);
                }
            }
            let moved = if is_to_look { self.whereabouts.look() } else { None };
            if let Some(moved) = moved.filter(|_| self.stopping.is_none()) {
                self.moved(moved);
            }
            let is_time = self.now() >= self.shown + BETWEEN_VIEWS;
            if self.news == News::Urgent || (self.news == News::Some && is_time) {
                self.publish();
            }
        }
        tracing::info!("mailtwin ends.");
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stopping.is_some_and(|since| self.schedule.is_idle() || self.now() >= since + LAST)
    }

    /// How long it may sleep.
    fn wait(&self, now: Now, pinged: Now) -> Duration {
        let deadline = self.schedule.next_deadline(now);
        let ping = self.notify.watchdog().map(|every| pinged + every);
        let view = (self.news == News::Some).then(|| self.shown + BETWEEN_VIEWS);
        let end = self.stopping.map(|since| since + LAST);
        let next = [deadline, ping, view, end].into_iter().flatten().min();
        next.map_or(LONGEST_SLEEP, |at| at.saturating_sub(now)).min(LONGEST_SLEEP)
    }

    fn now(&self) -> Now {
        uptime().saturating_sub(self.began)
    }

    fn on(&mut self, account: &str, event: Event) {
        // What happens often, and begins nothing, may wait.
        let is_often = matches!(event, Event::Progressed | Event::Woken { .. });
        self.news = self.news.max(if is_often { News::Some } else { News::Urgent });
        let commands = self.schedule.on(account, event, self.now());
        self.obey(commands);
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            self.news = News::Urgent;
            match command {
                Command::Run { account, task } => self.begin(account, task),
                Command::Finish(account) => self.pull(&account, Reins::finish),
                Command::Cut(account) => self.pull(&account, Reins::cut),
                Command::GiveUp(account) => {
                    tracing::warn!(account = %account, "what goes on does not end, and is given up; the next pass recovers.");
                    if let Some(running) = self.running.get(&account) {
                        running.abort.abort();
                    }
                }
                Command::CompareSecret(account) => self.digest(&account, false),
            }
        }
    }

    fn pull(&self, account: &str, how: impl FnOnce(&Reins)) {
        if let Some(running) = self.running.get(account) {
            how(&running.reins);
        }
    }

    /// Begins a task of an account.
    fn begin(&mut self, name: String, task: Task) {
        let (work, updates) = match task {
            Task::Pass(mailboxes) => (Work::Sync { mailboxes, dry_run: false }, None),
            Task::Ticket(number) => match self.tickets.remove(&number) {
                Some((work, updates)) => (work, Some(updates)),
                None => return self.end(&name, Ending::Aside { look: false }),
            },
        };
        if updates.as_ref().is_some_and(Updates::is_closed) {
            return self.end(&name, Ending::Aside { look: false });
        }
        let is_loan = work == Work::Lend;
        let Some(held) = self.accounts.get_mut(&name) else { return };
        let lock = match held.hold() {
            Ok(lock) => lock,
            Err(error) => {
                let trouble = Trouble::from(worker::Error::from(error));
                let ending = match trouble.kind {
                    Kind::Locked => Ending::Locked,
                    Kind::DiskFull => Ending::Passed { health: Health::DiskFull, whole: false, hint: None },
                    _ => Ending::Passed { health: Health::Attention, whole: false, hint: None },
                };
                let reason = Some(trouble.what.clone());
                let last = Some(Update::Failed(trouble));
                let (told, standing, refused) = (None, None, false);
                let finished = Box::new(Finished { ending, reason, told, standing, refused, last });
                // Through the queue, so that the stack does not grow.
                let _ = self.messages.send(Message::Ended { account: name, finished, updates });
                return;
            }
        };
        let lock = if is_loan {
            held.kept.let_go();
            held.lock = None;
            drop(lock);
            None
        } else {
            Some(lock)
        };
        // Who asks wants to see all.
        let flags_every = held.account.job.flags_every.filter(|_| updates.is_none());
        let reins = Reins::of(held.kept.line());
        let before = (reins.line.received(), reins.line.sent());
        let kept = Some(held.kept.clone());
        let mut job = Job { lock, reins: reins.clone(), kept, flags_every, ..held.account.job.clone() };
        job.connections -= usize::from(held.may_listen());
        let cover = self.accounts.get(&name).and_then(|held| self.cover(held));
        let is_asked = updates.is_some();
        let (events, mut moved) = unbounded_channel();
        let (messages, account) = (self.messages.clone(), name.clone());
        let (asked, tell) = (updates.clone(), messages.clone());
        let within = self.within(&name);
        let inner = tokio::spawn(async move {
            if !within.await {
                return anew::put_off();
            }
            let Some(cover) = cover else { return carry_out(job, work, events, asked).await };
            let covered = |account: &str, covered: Result<bool, _>, is_after: bool| {
                let grown = is_after && covered.as_ref().is_ok_and(|grown| *grown);
                let told = Told::Covered { grown, blind: covered.err() };
                let _ = tell.send(Message::Live { account: account.to_owned(), told });
            };
            // Watched first, and then looked at; what the pass makes is watched after it.
            covered(&cover.account, cover.spread().await, false);
            let finished = carry_out(job, work, events, asked).await;
            covered(&cover.account, cover.spread().await, true);
            finished
        });
        let abort = inner.abort_handle();
        tokio::spawn(async move {
            while let Some(event) = moved.recv().await {
                let _ = messages.send(Message::Moved { account: account.clone(), event });
            }
            // It ends when the task does, however that ends.
            let finished = Box::new(inner.await.unwrap_or_else(|error| broken(error.is_panic())));
            let _ = messages.send(Message::Ended { account, finished, updates });
        });
        let doing = if is_loan { Doing::Lent } else { Doing::Connecting };
        let (began, progress) = (self.now(), Progress { doing, ..Progress::default() });
        self.running.insert(name.clone(), Running { began, before, progress, reins, abort, is_asked });
        self.happen(Some(name), What::Began, if is_loan { "lent to another process" } else { "looked at" });
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Moved { account, event } => {
                if let Some(running) = self.running.get_mut(&account) {
                    running.progress.take(&event);
                }
                if let (worker::Event::Touched(messages), Some(held)) = (&event, self.accounts.get(&account)) {
                    held.hooks.touched(messages);
                }
                if event == worker::Event::CanListen {
                    self.listen(&account, Duration::ZERO);
                }
                self.on(&account, Event::Progressed);
            }
            Message::Live { account, told } => self.told(&account, told),
            Message::Beyond(path) => self.beyond(&path),
            Message::Ended { account, finished, updates } => self.ended(account, *finished, updates),
            Message::Digest { account, digest, is_refused: true } => {
                if let Some(held) = self.accounts.get_mut(&account) {
                    held.refused = digest;
                }
            }
            Message::Digest { account, digest, is_refused: false } => {
                // A secret that could not be had then and can be now is another one, too.
                let refused = self.accounts.get(&account).and_then(|held| held.refused);
                let changed = digest.is_some() && digest != refused;
                self.on(&account, Event::Compared { changed });
            }
        }
    }

    fn ended(&mut self, account: String, finished: Finished, updates: Option<Updates>) {
        let ran = self.running.remove(&account);
        let Finished { ending, reason, told, standing, refused, last } = finished;
        let failed = match ending {
            Ending::Passed { health, .. } => !matches!(health, Health::Good | Health::Held),
            Ending::Broke | Ending::Locked => true,
            Ending::Interrupted | Ending::Aside { .. } => false,
        };
        if let Some(held) = self.accounts.get_mut(&account) {
            // A loan that is over; who has not let go yet is waited for at the next pass.
            let _ = held.hold();
            if held.paused {
                held.kept.let_go();
            }
            let counters = &mut held.counters;
            counters.standing = standing.unwrap_or(counters.standing);
            match &last {
                Some(Update::Done(Answer::Synced(report) | Answer::Undone(report, _))) => counters.passed(report),
                Some(Update::Failed(trouble)) => counters.failed(trouble),
                _ => {}
            }
            if let Some(Running { before, reins, .. }) = &ran {
                counters.received += reins.line.received().saturating_sub(before.0);
                counters.sent += reins.line.sent().saturating_sub(before.1);
            }
            if !matches!(ending, Ending::Interrupted | Ending::Aside { .. }) {
                held.note(reason.clone());
            }
        }
        if let Some(told) = &told {
            tracing::info!(account = %account, "{account}: {}", sentence(told));
        }
        let text = told.as_deref().or(reason.as_deref()).unwrap_or("nothing to do");
        let (what, text) = match reason.as_deref() {
            Some(reason) if failed => (What::Failed, reason),
            _ => (What::Ended, text),
        };
        self.happen(Some(account.clone()), what, text);
        if refused {
            self.digest(&account, true);
            // Nor does it try the same secret by another way.
            if let Some(held) = self.accounts.get_mut(&account) {
                held.ear = None;
            }
        }
        self.end(&account, ending);
        if let (Some(updates), Some(last)) = (updates, last) {
            // Whoever asks next sees what came of it.
            self.publish();
            let _ = updates.send(last);
        }
        if failed {
            // It may be that it was made just now.
            tokio::spawn(self.within(&account));
        }
    }

    fn end(&mut self, account: &str, ending: Ending) {
        self.on(account, Event::Ended(ending));
        if !self.schedule.knows(account) {
            self.leave_alone(account);
            self.accounts.remove(account);
        }
    }

    /// Finds out what the secret of an account is, as a digest.
    fn digest(&self, account: &str, is_refused: bool) {
        let Some(held) = self.accounts.get(account) else { return };
        let (endpoint, key, messages) = (held.account.job.endpoint.clone(), self.key, self.messages.clone());
        let account = account.to_owned();
        tokio::spawn(async move {
            let digest = secret::digest(&endpoint, &key).await.ok();
            let _ = messages.send(Message::Digest { account, digest, is_refused });
        });
    }

    fn obey_signal(&mut self, signal: Received) {
        match signal {
            Received::End if self.stopping.is_none() => {
                self.notify.stopping();
                tracing::info!("told to end; what is in hand is finished.");
                self.stop("the daemon ends");
            }
            Received::End => {}
            Received::Reload if self.stopping.is_none() => self.reload(None),
            Received::Reload => {}
            Received::Now => {
                for name in self.accounts.keys().cloned().collect::<Vec<_>>() {
                    self.on(&name, Event::Now);
                }
            }
        }
    }
}

/// The end of a task that did not come to it.
fn broken(panicked: bool) -> Finished {
    let what = if panicked { BROKE } else { GIVEN_UP }.to_owned();
    let trouble = Trouble { state: State::Failed, kind: Kind::Other, what: what.clone(), hint: None };
    Finished {
        ending: Ending::Broke,
        reason: Some(what),
        told: None,
        standing: None,
        refused: false,
        last: Some(Update::Failed(trouble)),
    }
}

const BROKE: &str =
    "a part of mailtwin stopped unexpectedly, and is begun again; please report what the log says of it";
const GIVEN_UP: &str = "it did not move for long, and was given up; the next pass recovers";
