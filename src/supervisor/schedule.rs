//! What is done when, for all accounts: events and the time go in, commands come out, and nothing else happens here.
//!
//! Time is an argument: how long ago the daemon began, by a clock that counts while the machine sleeps. After each event the
//! caller obeys the commands, asks for [`Schedule::next_deadline`], and calls [`Schedule::tick`] when that has come. Of an
//! account one thing at a time is done, and whoever was told to [`Command::Run`] tells of its end by [`Event::Ended`], always.
//!
//! Three things may make an account be looked at: a person asks, something woke it, its time has come. That is also the order
//! in which they get the places that there are; accounts that were never synchronised come last, since their first pass may
//! take hours.

mod account;
mod words;

pub use words::{Command, Ending, Event, Health, Limits, Setup, Task, Ticket};

use super::backoff::next;
use super::status::Condition;
use account::{AT_THE_END, Account, OTHERWISE, Patience, Rank};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long ago the daemon began.
pub type Now = Duration;

/// See the head of this file.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    seed: u64,
    accounts: BTreeMap<String, Account>,
    stopping: bool,
}

impl Schedule {
    /// A schedule of no accounts. The seed makes its waits unlike those of others.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self { limits, seed, accounts: BTreeMap::new(), stopping: false }
    }

    /// Takes in what happened to an account, and tells what is to be done.
    pub fn on(&mut self, account: &str, event: Event, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        // It happens often, and makes nothing due.
        let is_mere_progress = event == Event::Progressed;
        if let Event::Added(setup) = event {
            self.accounts.entry(account.to_owned()).or_insert_with(|| Account::new(setup, now)).setup = setup;
        }
        if let Some(known) = self.accounts.get_mut(account) {
            let is_outdated = matches!(event, Event::Changed(_) | Event::Removed);
            known.take(event, now, next(&mut self.seed));
            if known.removed && !known.is_running() {
                self.accounts.remove(account);
            } else if is_outdated {
                self.finish(account, now, OTHERWISE, &mut commands);
            }
        }
        if is_mere_progress {
            return commands;
        }
        commands.extend(self.turn(now));
        commands
    }

    /// Ends everything; nothing is begun any more.
    pub fn stop(&mut self, now: Now) -> Vec<Command> {
        self.stopping = true;
        let mut commands = Vec::new();
        for account in self.accounts.keys().cloned().collect::<Vec<_>>() {
            self.finish(&account, now, AT_THE_END, &mut commands);
        }
        commands
    }

    /// Does what the time has come for.
    pub fn tick(&mut self, now: Now) -> Vec<Command> {
        self.turn(now)
    }

    /// When [`tick`](Self::tick) is to be called, if nothing happens before.
    pub fn next_deadline(&self, now: Now) -> Option<Now> {
        // What is due already waits for a place, not for the time.
        self.accounts.values().flat_map(|account| account.deadlines(self.stopping)).filter(|at| *at > now).min()
    }

    /// Tells whether nothing goes on any more.
    pub fn is_idle(&self) -> bool {
        self.accounts.values().all(|account| !account.is_running())
    }

    /// Tells whether anything that goes on still moves: false if all of it had to be given up and does not even end then.
    pub fn is_alive(&self) -> bool {
        let mut running = self.accounts.values().filter(|account| account.is_running()).peekable();
        running.peek().is_none() || running.any(|account| !account.is_given_up())
    }

    /// Whether it knows an account.
    pub fn knows(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|account| !account.removed)
    }

    /// How each account fares, in how long it is looked at next of our own accord, and how often it has failed in a row.
    pub fn conditions(&self, now: Now) -> impl Iterator<Item = (&str, Condition, Option<Duration>, u32)> {
        let shown = self.accounts.iter().filter(|(_, account)| !account.removed);
        shown
            .map(move |(name, account)| (name.as_str(), account.condition(now), account.next_in(now), account.failures))
    }

    /// Tells an account's work to end, once.
    fn finish(&mut self, account: &str, now: Now, patience: Patience, commands: &mut Vec<Command>) {
        if self.accounts.get_mut(account).is_some_and(|account| account.finish(now, patience)) {
            commands.push(Command::Finish(account.to_owned()));
        }
    }

    /// Goes over all accounts: what must end, ends; what can begin, begins.
    fn turn(&mut self, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        for (name, account) in &mut self.accounts {
            commands.extend(account.press(name, now));
        }
        if self.stopping {
            return commands;
        }
        for (name, account) in &mut self.accounts {
            if account.is_to_compare(now) {
                commands.push(Command::CompareSecret(name.clone()));
            }
        }
        let ready = self.accounts.iter().filter_map(|(name, account)| Some((account.ready(now)?, name)));
        let mut ready: Vec<((Rank, Now), String)> = ready.map(|(rank, name)| (rank, name.clone())).collect();
        ready.sort();
        let mut running = self.accounts.values().filter(|account| account.is_running()).count();
        let is_first = |account: &&Account| account.is_running() && !account.setup.known;
        let mut first = self.accounts.values().filter(is_first).count();
        for ((rank, _), name) in ready {
            let room = match rank {
                Rank::Asked => running < self.limits.passes + self.limits.reserve,
                Rank::Woken | Rank::Timed => running < self.limits.passes,
                Rank::First => running < self.limits.passes && first < self.limits.first,
            };
            if let Some(account) = self.accounts.get_mut(&name).filter(|_| room) {
                running += 1;
                first += usize::from(!account.setup.known);
                commands.push(Command::Run { account: name, task: account.begin(rank, now) });
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests;
