//! What the control socket asks of the supervisor.

use super::Supervisor;
use crate::hooks::Runner;
use crate::mail::escape;
use crate::supervisor::handle::{Gone, Request};
use crate::supervisor::held::{Account, Held};
use crate::supervisor::in_one_line;
use crate::supervisor::live::favourites;
use crate::supervisor::schedule::{Event, Ticket};
use crate::supervisor::status::What;
use crate::supervisor::work::Update;
use crate::worker::{Kind, State, Trouble};
use tokio::sync::oneshot;

impl Supervisor {
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Work { account, work, updates } => {
                if let Some(refusal) = self.refusal(&account) {
                    let _ = updates.send(Update::Failed(refusal));
                    return;
                }
                if self.running.contains_key(&account) {
                    let _ = updates.send(Update::Queued);
                }
                self.last_ticket += 1;
                let ticket = Ticket { number: self.last_ticket, patient: work.is_patient() };
                self.tickets.insert(ticket.number, (work, updates));
                self.on(&account, Event::Asked(ticket));
            }
            Request::Pause { accounts, paused, answer } => {
                let _ = answer.send(self.pause(&accounts, paused));
            }
            Request::Reload { answer } => self.reload(Some(answer)),
        }
    }

    /// Why nothing is done in an account.
    fn refusal(&self, account: &str) -> Option<Trouble> {
        let (state, what) = if self.stopping.is_some() {
            (State::Temporary, Gone.to_string())
        } else if self.schedule.knows(account) {
            return None;
        } else {
            let what = format!(
                "the daemon knows no account {}: after a change of the configuration, run `mailtwin reload`",
                escape(account)
            );
            (State::Failed, what)
        };
        Some(Trouble { state, kind: Kind::Refused, what, hint: None })
    }

    fn pause(&mut self, accounts: &[String], paused: bool) -> Result<(), String> {
        if let Some(unknown) = accounts.iter().find(|account| !self.schedule.knows(account)) {
            return Err(format!("the daemon knows no account {}", escape(unknown)));
        }
        let all: Vec<String> = self.accounts.keys().cloned().collect();
        for account in if accounts.is_empty() { &all } else { accounts } {
            if let Some(held) = self.accounts.get_mut(account) {
                held.paused = paused;
                held.ear = held.ear.take().filter(|_| !paused);
                if paused {
                    held.kept.let_go();
                }
            }
            self.on(account, if paused { Event::Paused } else { Event::Resumed });
            let (what, text) = if paused { (What::Paused, "paused") } else { (What::Resumed, "resumed") };
            tracing::info!(account = %account, "{account}: {text}.");
            self.happen(Some(account.clone()), what, text);
        }
        Ok(())
    }

    /// Reads the configuration again; a wrong one changes nothing.
    pub(super) fn reload(&mut self, answer: Option<oneshot::Sender<Result<(), String>>>) {
        self.notify.reloading();
        let done = match (self.load)() {
            // The next one reads it, and says that all is ready; who asked hears of it when this one has ended.
            Ok(accounts) if self.begins_anew_for(&accounts) => return,
            loaded => loaded.map(|accounts| self.replace(accounts)),
        };
        match &done {
            Ok(changes) => {
                tracing::info!("the configuration was read again: {changes}.");
                self.happen(None, What::Reloaded, changes);
            }
            Err(reason) => {
                tracing::error!("the configuration cannot be used, and the old one stays in force: {reason}");
                self.happen(None, What::ReloadFailed, reason);
            }
        }
        self.publish();
        self.told = in_one_line(&self.views.borrow());
        self.notify.ready(&self.told);
        if let Some(answer) = answer {
            let _ = answer.send(done.map(drop));
        }
    }

    /// Puts other accounts in the place of those that there are; those that did not change notice nothing.
    fn replace(&mut self, accounts: Vec<Account>) -> String {
        let (mut added, mut changed, mut same) = (0, 0, 0);
        let gone: Vec<String> = self
            .accounts
            .keys()
            .filter(|name| !accounts.iter().any(|account| account.job.account == **name))
            .cloned()
            .collect();
        for account in accounts {
            let name = account.job.account.clone();
            let known = self.schedule.knows(&name);
            match self.accounts.get_mut(&name).filter(|_| known) {
                Some(held) if held.account.digest == account.digest => same += 1,
                Some(held) => {
                    changed += 1;
                    held.hooks = Runner::start(&name, &account.hooks);
                    held.favourites = favourites(&account);
                    held.account = account;
                    (held.reason, held.refused) = (None, None);
                    let setup = held.setup();
                    self.leave_alone(&name);
                    self.on(&name, Event::Changed(setup));
                }
                None => {
                    added += 1;
                    let held = Held::new(account);
                    let setup = held.setup();
                    self.accounts.insert(name.clone(), held);
                    self.on(&name, Event::Added(setup));
                }
            }
        }
        for name in &gone {
            self.leave_alone(name);
            self.on(name, Event::Removed);
            if !self.running.contains_key(name) {
                self.accounts.remove(name);
            }
        }
        format!("{added} added, {changed} changed, {} removed, {same} as before", gone.len())
    }
}
