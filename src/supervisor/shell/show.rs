//! What the supervisor shows: pictures of how the accounts fare, and what happens.

use super::{News, Supervisor};
use crate::supervisor::in_one_line;
use crate::supervisor::metrics::Counters;
use crate::supervisor::schedule::Event;
use crate::supervisor::status::{AccountView, Happened, What};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

impl Supervisor {
    pub(super) fn happen(&self, account: Option<String>, what: What, text: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Nobody may be listening.
        let _ = self.happened.send(Happened { at, account, what, text: text.to_owned() });
    }

    /// What was counted of an account, with the connections that are open.
    fn counters(&self, account: &str) -> Counters {
        let Some(held) = self.accounts.get(account) else { return Counters::default() };
        let ears = held.ear.iter().flat_map(|ear| std::iter::once(ear).chain(ear.further.values()));
        let listen = ears.filter(|ear| ear.is_listening).count() as u64;
        let works = self.running.contains_key(account) || held.kept.is_there();
        Counters { connections: listen + u64::from(works), ..held.counters.clone() }
    }

    /// Shows watchers how things are, and the schedule what moved.
    pub(super) fn publish(&mut self) {
        let now = self.now();
        let mut moved = Vec::new();
        for (name, running) in &mut self.running {
            let line = &running.reins.line;
            let before = running.progress.received + running.progress.sent;
            let (received, sent) = (line.received() - running.before.0, line.sent() - running.before.1);
            running.progress.measure(now.saturating_sub(running.began), received, sent);
            if running.progress.received + running.progress.sent > before {
                moved.push(name.clone());
            }
        }
        for name in moved {
            self.on(&name, Event::Progressed);
        }
        let conditions = self.schedule.conditions(now);
        let views: Vec<AccountView> = conditions
            .map(|(account, condition, next, failures)| AccountView {
                account: account.to_owned(),
                condition,
                reason: self.accounts.get(account).and_then(|held| held.reason.clone()),
                not_live: self.accounts.get(account).and_then(|held| self.not_live(held)),
                next: next.map(|next| next.as_secs()),
                failures,
                progress: self.running.get(account).map(|running| running.progress.clone()),
                counters: self.counters(account),
            })
            .collect();
        let told = in_one_line(&views);
        if told != self.told && !self.told.is_empty() && self.stopping.is_none() {
            self.notify.status(&told);
            self.told = told;
        }
        self.views.send_replace(Arc::new(views));
        self.shown = now;
        // What goes on moves on.
        self.news = if self.running.is_empty() { News::None } else { News::Some };
    }
}
