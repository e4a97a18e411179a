//! One account in the schedule: what it waits for, what goes on in it, and how that is ended.

use super::words::{Ending, Event, Health, Setup, Task, Ticket};
use super::{Command, Now};
use crate::supervisor::backoff::{Backoff, LASTING, LOCKED, PASSING, spread};
use crate::supervisor::status::Condition;
use crate::sync::Side;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A burst of changes here is looked at after this time without a change,
pub(super) const QUIET: Duration = Duration::from_millis(150);
/// and after this time even if it goes on.
pub(super) const BURST: Duration = Duration::from_secs(2);
/// Accounts that lost their connection in one instant come back within this time, not in one instant.
pub(super) const RETURN: Duration = Duration::from_secs(2);
/// How often it is looked whether a secret that was refused has changed, at most.
const SECRET: Duration = Duration::from_secs(60);
/// What has not moved for so long is stuck: every wait has a limit of its own, which is far shorter.
pub(super) const STUCK: Duration = Duration::from_secs(10 * 60);

/// How long work may take to end, from when it is told to: then its connection is cut, then it is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    pub cut: Duration,
    pub give_up: Duration,
}

/// The daemon ends within three seconds.
pub(super) const AT_THE_END: Patience =
    Patience { cut: Duration::from_millis(1200), give_up: Duration::from_millis(2400) };
/// The account changes, or was stuck.
pub(super) const OTHERWISE: Patience = Patience { cut: Duration::from_secs(5), give_up: Duration::from_secs(60) };

#[derive(Debug)]
pub(super) struct Account {
    pub setup: Setup,
    paused: bool,
    pub removed: bool,
    listening: bool,
    health: Health,
    /// Failures in a row.
    pub failures: u32,
    /// When it is looked at of our own accord; never while a login is refused.
    due: Option<Now>,
    /// When the secret is compared with the one that was refused.
    compare: Option<Now>,
    woken: Option<Woken>,
    tickets: VecDeque<Ticket>,
    running: Option<Running>,
}

/// What woke an account, and when it is looked at for that.
#[derive(Clone, Debug)]
struct Woken {
    first: Now,
    due: Now,
    /// None: all.
    mailboxes: Option<BTreeSet<String>>,
}

#[derive(Debug)]
struct Running {
    what: What,
    moved: Now,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// A pass over everything.
    Whole,
    /// A pass over what woke us.
    Part,
    Ticket {
        patient: bool,
    },
}

/// How far it is with ending something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Going,
    Finishing(Now, Patience),
    Cut(Now, Patience),
    GivenUp,
}

/// Who goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    Asked,
    Woken,
    Timed,
    First,
}

impl Account {
    pub fn new(setup: Setup, now: Now) -> Self {
        Self {
            setup,
            paused: setup.paused,
            removed: false,
            listening: false,
            health: Health::Good,
            failures: 0,
            due: Some(now),
            compare: None,
            woken: None,
            tickets: VecDeque::new(),
            running: None,
        }
    }

    pub fn take(&mut self, event: Event, now: Now, seed: u64) {
        match event {
            Event::Added(_) => self.removed = false,
            Event::Changed(setup) => {
                let was = std::mem::replace(self, Self::new(setup, now));
                *self =
                    Self { paused: was.paused, tickets: was.tickets, running: was.running, ..Self::new(setup, now) };
            }
            Event::Removed => self.removed = true,
            Event::Woken { side, mailbox } => self.wake(side, mailbox, now),
            Event::Listening => self.listening = true,
            Event::LostLink => {
                self.listening = false;
                self.hurry(now + spread(Duration::ZERO, RETURN, seed));
            }
            Event::Moved => {
                self.listening = false;
                if self.health == Health::Passing {
                    self.failures = 0;
                }
                self.hurry(now + spread(Duration::ZERO, RETURN, seed));
            }
            Event::Now => self.hurry(now),
            Event::Asked(ticket) => self.tickets.push_back(ticket),
            Event::Paused => {
                self.paused = true;
                // Nobody listens meanwhile.
                self.listening = false;
            }
            Event::Resumed => {
                self.paused = false;
                self.hurry(now);
            }
            Event::Progressed => {
                if let Some(running) = self.running.as_mut().filter(|running| running.stage == Stage::Going) {
                    running.moved = now;
                }
            }
            Event::Ended(ending) => self.end(ending, now, seed),
            Event::Compared { changed: true } => {
                self.health = Health::Passing;
                self.due = Some(now);
            }
            Event::Compared { changed: false } if self.health == Health::Login => {
                self.compare = Some(now + self.patience_with_secret(seed));
            }
            Event::Compared { .. } => {}
        }
    }

    fn wake(&mut self, side: Side, mailbox: Option<String>, now: Now) {
        let woken = self.woken.get_or_insert_with(|| Woken { first: now, due: now, mailboxes: Some(BTreeSet::new()) });
        match side {
            Side::Remote => woken.due = now,
            // What came from the server already waits for nothing more.
            Side::Local if woken.due <= now && woken.first < now => {}
            Side::Local => woken.due = (now + QUIET).min(woken.first + BURST),
        }
        match (mailbox, &mut woken.mailboxes) {
            (Some(mailbox), Some(mailboxes)) => drop(mailboxes.insert(mailbox)),
            (None, mailboxes) => *mailboxes = None,
            (Some(_), None) => {}
        }
    }

    /// Has it looked at earlier; what a person has to mend first is not.
    fn hurry(&mut self, at: Now) {
        if self.health != Health::Login {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    fn end(&mut self, ending: Ending, now: Now, seed: u64) {
        let Some(running) = self.running.take() else { return };
        let every = spread(self.setup.every.mul_f64(0.95), self.setup.every.mul_f64(1.05), seed);
        let mut fail = |backoff: Backoff, hint| {
            self.failures = self.failures.saturating_add(1);
            self.due = Some(now + backoff.delay(self.failures, hint, seed));
        };
        match ending {
            Ending::Passed { health, whole: true, .. } => {
                self.health = health;
                self.failures = 0;
                self.setup.known = true;
                // A look at a part of it does not put off the look at the whole, unless that waited for things to mend.
                let planned = self.due.filter(|due| running.what != What::Whole && *due > now);
                self.due = Some(planned.map_or(now + every, |due| due.min(now + every)));
                self.compare = None;
            }
            Ending::Passed { health, whole: false, hint } => {
                match health {
                    Health::Login => {
                        self.failures = self.failures.saturating_add(1);
                        self.due = None;
                        self.compare = Some(now + self.patience_with_secret(seed));
                    }
                    Health::LocalUnavailable | Health::DiskFull => fail(Backoff { cap: every, ..PASSING }, hint),
                    Health::Attention => fail(LASTING, hint),
                    Health::Good | Health::Held | Health::Passing => fail(PASSING, hint),
                }
                self.health = health;
            }
            Ending::Interrupted => self.hurry(now),
            Ending::Broke => {
                fail(PASSING, None);
                self.health = Health::Passing;
            }
            Ending::Locked => {
                fail(LOCKED, None);
                self.health = Health::Passing;
            }
            Ending::Aside { look: true } => self.hurry(now),
            Ending::Aside { look: false } => {}
        }
    }

    /// Whether something goes on in it.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether what goes on in it was given up, and did not end for that.
    pub fn is_given_up(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.stage == Stage::GivenUp)
    }

    /// In how long it is looked at of our own accord.
    pub fn next_in(&self, now: Now) -> Option<Duration> {
        let due = self.due.filter(|_| self.running.is_none() && !self.paused);
        due.map(|due| due.saturating_sub(now))
    }

    /// Whether the secret is to be compared with the one that was refused; once.
    pub fn is_to_compare(&mut self, now: Now) -> bool {
        let is_due = !self.paused && self.compare.is_some_and(|at| at <= now);
        if is_due {
            self.compare = None;
        }
        is_due
    }

    /// Has what goes on end; whether that is news to it.
    pub fn finish(&mut self, now: Now, patience: Patience) -> bool {
        let Some(running) = &mut self.running else { return false };
        match running.stage {
            Stage::Going => {
                running.stage = Stage::Finishing(now, patience);
                return true;
            }
            // It is in a hurry now.
            Stage::Finishing(since, _) if patience == AT_THE_END => running.stage = Stage::Finishing(since, patience),
            Stage::Cut(since, _) if patience == AT_THE_END => running.stage = Stage::Cut(since, patience),
            Stage::Finishing(..) | Stage::Cut(..) | Stage::GivenUp => {}
        }
        false
    }

    /// How long it takes until the secret is looked at: longer each time that another one was refused, for the tokens of a
    /// command are others each time.
    fn patience_with_secret(&self, seed: u64) -> Duration {
        self.setup.every.max(LASTING.delay(self.failures, None, seed)).max(SECRET)
    }

    /// Tells what goes on to end, more and more firmly, where its time is over.
    pub fn press(&mut self, name: &str, now: Now) -> Option<Command> {
        let running = self.running.as_mut()?;
        let name = || name.to_owned();
        match running.stage {
            Stage::Going if !running.is_patient() && now >= running.moved + STUCK => {
                running.stage = Stage::Finishing(now, OTHERWISE);
                Some(Command::Finish(name()))
            }
            Stage::Finishing(since, patience) if now >= since + patience.cut => {
                running.stage = Stage::Cut(since, patience);
                Some(Command::Cut(name()))
            }
            Stage::Cut(since, patience) if now >= since + patience.give_up => {
                running.stage = Stage::GivenUp;
                Some(Command::GiveUp(name()))
            }
            _ => None,
        }
    }

    /// The rank that it would run with, and since when it waits.
    pub fn ready(&self, now: Now) -> Option<(Rank, Now)> {
        if self.running.is_some() || self.removed {
            return None;
        }
        if !self.tickets.is_empty() {
            return Some((Rank::Asked, Duration::ZERO));
        }
        if self.paused {
            return None;
        }
        let due = self.due.filter(|due| *due <= now);
        // While something is wrong, what happens here does not make it tried sooner.
        let woken = self.woken.as_ref().filter(|woken| self.failures == 0 && woken.due <= now);
        match (woken, due) {
            (Some(woken), _) if self.setup.known => Some((Rank::Woken, woken.due)),
            (None, Some(due)) if self.setup.known => Some((Rank::Timed, due)),
            (woken, due) => Some((Rank::First, due.or(woken.map(|woken| woken.due))?)),
        }
    }

    pub fn begin(&mut self, rank: Rank, now: Now) -> Task {
        let ticket = if rank == Rank::Asked { self.tickets.pop_front() } else { None };
        let (what, task) = match ticket {
            Some(Ticket { number, patient }) => (What::Ticket { patient }, Task::Ticket(number)),
            None => {
                let is_due = self.due.is_some_and(|due| due <= now);
                let mailboxes = self.woken.take().and_then(|woken| woken.mailboxes).filter(|_| !is_due);
                match mailboxes {
                    Some(mailboxes) => (What::Part, Task::Pass(mailboxes.into_iter().collect())),
                    None => (What::Whole, Task::Pass(Vec::new())),
                }
            }
        };
        self.running = Some(Running { what, moved: now, stage: Stage::Going });
        task
    }

    pub fn deadlines(&self, stopping: bool) -> impl Iterator<Item = Now> {
        let pressed = self.running.as_ref().and_then(|running| match running.stage {
            Stage::Going if running.is_patient() => None,
            Stage::Going => Some(running.moved + STUCK),
            Stage::Finishing(since, patience) => Some(since + patience.cut),
            Stage::Cut(since, patience) => Some(since + patience.give_up),
            Stage::GivenUp => None,
        });
        let begins = self.running.is_none() && !self.paused && !stopping;
        let woken = self.woken.as_ref().filter(|_| self.failures == 0).map(|woken| woken.due);
        let compare = self.compare.filter(|_| !self.paused && !stopping);
        pressed.into_iter().chain([self.due, woken].into_iter().flatten().filter(move |_| begins)).chain(compare)
    }

    pub fn condition(&self, now: Now) -> Condition {
        match (&self.running, self.health) {
            (Some(Running { stage: Stage::GivenUp, .. }), _) => Condition::Stuck,
            (Some(_), _) => Condition::Syncing,
            (None, Health::Login) => Condition::NeedsLogin,
            (None, _) if self.paused => Condition::Paused,
            (None, _) if self.ready(now).is_some() => Condition::Queued,
            (None, Health::Good) if self.listening => Condition::Live,
            (None, Health::Good) => Condition::Idle,
            (None, Health::Held) => Condition::Held,
            (None, Health::Passing) => Condition::Waiting,
            (None, Health::LocalUnavailable) => Condition::LocalUnavailable,
            (None, Health::DiskFull) => Condition::DiskFull,
            (None, Health::Attention) => Condition::NeedsAttention,
        }
    }
}

impl Running {
    fn is_patient(&self) -> bool {
        matches!(self.what, What::Ticket { patient: true })
    }
}
