//! What stirs, on either side, and who listens for it.

use super::{Message, Supervisor};
use crate::maildir::{Blind, Stirred, Watch};
use crate::supervisor::backoff::{next, spread};
use crate::supervisor::held::{Held, sentence};
use crate::supervisor::live::{AT_ONCE, Cover, Ear, LISTENED, Told, ears, keep_listening};
use crate::supervisor::schedule::Event;
use crate::supervisor::whereabouts::Moved;
use crate::sync::Side;
use crate::worker::{Heard, Job, Kept, Reach, Reins, Touched};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Waits until something stirs in a Maildir; for ever without a watch. Cancel safe.
pub(super) async fn stirred(watch: Option<&Arc<Watch>>) -> io::Result<BTreeSet<Stirred>> {
    match watch {
        Some(watch) => watch.stirred().await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    /// Begins to watch Maildirs; without that they are looked at every so often.
    pub(super) fn open_eyes(&mut self) {
        match Watch::new() {
            Ok(watch) => self.watch = Some(Arc::new(watch)),
            Err(error) => tracing::warn!(
                "changes in Maildirs are not noticed at once, since the system gives no inotify instance: {error} (a larger \
                 fs.inotify.max_user_instances gives more)."
            ),
        }
    }

    /// How the Maildir of an account is watched, if it is to be.
    pub(super) fn cover(&self, held: &Held) -> Option<Cover> {
        self.watch.as_ref().filter(|_| held.account.live).map(|watch| Cover::of(watch, &held.account.job))
    }

    /// Why it is not noticed at once when something changes in an account, if it is to be; a clause.
    pub(super) fn not_live(&self, held: &Held) -> Option<String> {
        if !held.account.live || held.paused {
            return None;
        }
        let blind = match (&self.watch, &held.blind) {
            (None, _) => Some("the system gives no inotify instance".to_owned()),
            (Some(_), blind) => blind.as_ref().map(Blind::to_string),
        };
        let blind = blind.map(|why| format!("changes in its Maildir are not noticed at once: {why}"));
        let deaf = held.ear.as_ref().and_then(|ear| ear.reason.as_ref());
        blind.or_else(|| deaf.map(|why| format!("what is new on the server is not noticed at once: {why}")))
    }

    /// Takes in what stirred in Maildirs.
    pub(super) fn stirred(&mut self, stirred: io::Result<BTreeSet<Stirred>>) {
        match stirred {
            Ok(stirred) => {
                for Stirred { whose, mailbox } in stirred {
                    self.on(&whose, Event::Woken { side: Side::Local, mailbox });
                }
            }
            Err(error) => {
                tracing::warn!("changes in Maildirs are not noticed at once any more: {error}.");
                self.watch = None;
            }
        }
    }

    /// Makes every connection anew, for the machine is somewhere else; not all in one instant.
    pub(super) fn moved(&mut self, moved: Moved) {
        let why = match moved {
            Moved::Slept(for_long) => {
                format!(
                    "this machine slept for {}",
                    humantime::format_duration(Duration::from_secs(for_long.as_secs()))
                )
            }
            Moved::Network => "the way into the network is another one".to_owned(),
        };
        tracing::info!("{why}; every connection is made anew.");
        for name in self.accounts.keys().cloned().collect::<Vec<_>>() {
            if self.running.get(&name).is_some_and(|running| !running.is_asked) {
                self.pull(&name, Reins::cut);
            }
            let Some(held) = self.accounts.get_mut(&name) else { continue };
            held.kept.let_go();
            if held.ear.take().is_some() {
                let mut seed = fastrand::u64(..);
                self.listen(&name, spread(Duration::ZERO, AT_ONCE, next(&mut seed)));
            }
            self.on(&name, Event::Moved);
        }
    }

    /// Ends the wait of one that was to listen and could not, however often: another begins when a pass was let in.
    pub(super) fn wait_no_longer(&mut self, name: &str) {
        if let Some(held) = self.accounts.get_mut(name) {
            held.ear.take_if(|ear| !ear.is_listening);
        }
    }

    /// Has the server of an account listened to after a while, which let us in before and can tell.
    pub(super) fn listen(&mut self, name: &str, after: Duration) {
        let is_ending = self.stopping.is_some();
        let may_begin = |held: &&Held| !is_ending && held.ears() > 0 && held.ear.is_none();
        let Some(job) = self.accounts.get(name).filter(may_begin).map(|held| held.account.job.clone()) else {
            return;
        };
        let ear = self.ear(job, None, after);
        if let Some(held) = self.accounts.get_mut(name) {
            held.ear = Some(ear);
        }
    }

    /// Has the mailboxes listened to that are used most, each on a connection of its own, and no others.
    fn listen_further(&mut self, name: &str) {
        let Some(held) = self.accounts.get(name) else { return };
        let Some(ear) = held.ear.as_ref().filter(|ear| ear.needs_further) else { return };
        let (job, chosen) = (held.account.job.clone(), held.favourites.chosen().to_vec());
        let new: Vec<String> = chosen.iter().filter(|mailbox| !ear.further.contains_key(*mailbox)).cloned().collect();
        let new: Vec<_> = new
            .into_iter()
            .map(|mailbox| (mailbox.clone(), self.ear(job.clone(), Some(mailbox), Duration::ZERO)))
            .collect();
        if let Some(ear) = self.accounts.get_mut(name).and_then(|held| held.ear.as_mut()) {
            ear.further.retain(|mailbox, _| chosen.contains(mailbox));
            ear.further.extend(new);
        }
    }

    /// Begins to listen to a mailbox, or to all.
    fn ear(&mut self, job: Job, mailbox: Option<String>, after: Duration) -> Ear {
        self.last_ear += 1;
        let (number, account, messages) = (self.last_ear, job.account.clone(), self.messages.clone());
        let tell = move |told| {
            // It is over soon if nobody takes it.
            let _ = messages.send(Message::Live { account: account.clone(), told });
        };
        let job = Job { lock: None, reins: Reins::default(), kept: None, ..job };
        let task = tokio::spawn(keep_listening(job, mailbox, number, after, fastrand::u64(..), tell)).abort_handle();
        Ear { number, is_listening: false, reason: None, needs_further: false, further: BTreeMap::new(), task }
    }

    /// Takes in which messages a pass touched.
    pub(super) fn touched(&mut self, name: &str, messages: &[Touched]) {
        let now = self.now();
        let Some(held) = self.accounts.get_mut(name) else { return };
        held.hooks.touched(messages);
        // The first pass touches all there is.
        if held.counters.standing.last_success.is_none() {
            return;
        }
        let mailboxes: BTreeSet<&str> = messages.iter().map(|message| message.mailbox.as_str()).collect();
        let further = mailboxes.into_iter().filter(|mailbox| *mailbox != LISTENED);
        // Each is counted.
        let changes = further.filter(|mailbox| held.favourites.used(mailbox, now)).count();
        if changes > 0 {
            self.listen_further(name);
        }
    }

    /// Neither watches nor listens for an account any more.
    pub(super) fn leave_alone(&mut self, name: &str) {
        if let Some(held) = self.accounts.get_mut(name) {
            (held.ear, held.sees) = (None, false);
            // Another one, for what goes on leaves it where it was told to.
            held.kept = Kept::default();
        }
        if let Some(watch) = &self.watch {
            watch.uncover(name);
        }
    }

    /// Takes in what is told of an account that is to be live.
    pub(super) fn told(&mut self, name: &str, told: Told) {
        let Some(held) = self.accounts.get_mut(name) else { return };
        match told {
            Told::Covered { grown, blind } => {
                let (saw, sees) = (held.sees, blind.is_none());
                held.sees = sees;
                held.note_blindness(blind);
                let listens = held.listens();
                if saw && !sees && listens {
                    self.on(name, Event::LostLink);
                } else if !saw && sees && listens {
                    self.on(name, Event::Listening);
                }
                if grown {
                    self.on(name, Event::Woken { side: Side::Local, mailbox: None });
                }
            }
            Told::Heard { ear: number, heard } => {
                let sees = held.sees;
                let Some(ear) = held.ear.as_mut().and_then(|ear| ear.numbered(number)) else { return };
                (ear.is_listening, ear.reason) = (true, None);
                let mailbox = match heard {
                    // What came before it listened was not heard.
                    Heard::Listening(reach) => {
                        ear.needs_further = reach != Reach::All;
                        if sees {
                            self.on(name, Event::Listening);
                        }
                        self.listen_further(name);
                        (reach == Reach::Inbox).then(|| LISTENED.to_owned())
                    }
                    Heard::Stirred(mailbox) => mailbox,
                };
                self.on(name, Event::Woken { side: Side::Remote, mailbox });
            }
            Told::Deaf { ear: number, reason, is_over } => {
                let Some(ear) = held.ear.as_mut() else { return };
                if ear.number != number {
                    return ear.lost_one(number, &reason, is_over);
                }
                let listened = std::mem::take(&mut ear.is_listening);
                if listened {
                    tracing::debug!(account = %name, "{name}: the connection that listens ended: {}", sentence(&reason));
                } else if ear.reason.as_ref() != Some(&reason) {
                    tracing::warn!(
                        account = %name,
                        "{name}: what is new on the server is not noticed at once, since no connection could be made that \
                         listens: {}",
                        sentence(&reason)
                    );
                    ear.reason = Some(reason);
                }
                if is_over {
                    held.ear = None;
                }
                if listened {
                    // What ended one may have ended the other.
                    held.kept.let_go();
                    self.on(name, Event::LostLink);
                }
            }
        }
    }
}

impl Held {
    /// How many of its connections are for listening.
    pub(super) fn ears(&self) -> usize {
        if self.paused { 0 } else { ears(&self.account) }
    }

    fn listens(&self) -> bool {
        self.ear.as_ref().is_some_and(|ear| ear.is_listening)
    }

    /// Tells the log why the Maildir cannot be watched, if that is news.
    fn note_blindness(&mut self, blind: Option<Blind>) {
        if let Some(blind) = blind.as_ref().filter(|_| self.blind != blind) {
            let (account, every) = (&self.account.job.account, humantime::format_duration(self.account.every));
            tracing::warn!(
                account = %account,
                "{account}: changes in its Maildir are not noticed at once: {blind}; it is looked at every {every}."
            );
        }
        self.blind = blind;
    }
}
