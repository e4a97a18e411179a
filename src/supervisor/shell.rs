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
mod tasks;

use super::handle::{Handle, Request};
use super::held::{Account, Held};
use super::live::Told;
use super::schedule::{Command, Event, Limits, Now, Schedule};
use super::status::{AccountView, Happened, Progress, in_one_line};
use super::whereabouts::Whereabouts;
use super::work::{Finished, Updates, Work};
use super::world::{Received, Signals, uptime};
use crate::maildir::Watch;
use crate::monitor::{Bounds, Notify};
use crate::worker::{self, Reins};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Maildirs that it cannot reach and does not begin anew for, before the configuration can be used again.
    unreached: BTreeSet<PathBuf>,
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
            unreached: BTreeSet::new(),
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

    fn take(&mut self, message: Message) {
        match message {
            Message::Moved { account, event } => {
                if let Some(running) = self.running.get_mut(&account) {
                    running.progress.take(&event);
                }
                if let worker::Event::Touched(messages) = &event {
                    self.touched(&account, messages);
                }
                if event == worker::Event::CanListen {
                    let was_kept_out = self.accounts.get(&account).is_some_and(|held| held.reason.is_some());
                    let is_asked = self.running.get(&account).is_some_and(|running| running.is_asked);
                    // What came to an end for the one did so for the other.
                    if was_kept_out || is_asked {
                        self.wait_no_longer(&account);
                    }
                    self.listen(&account, Duration::ZERO);
                }
                self.on(&account, Event::Progressed);
            }
            Message::Live { account, told } => self.told(&account, told),
            Message::Beyond(path) => self.beyond(path),
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
                    self.wait_no_longer(&name);
                    self.on(&name, Event::Now);
                }
            }
        }
    }
}
