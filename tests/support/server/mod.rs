//! An IMAP server for the tests: a model of accounts behind 127.0.0.1, replies as raw bytes, faults by rule.
//!
//! The test is the other client: it changes the model directly ([`Server::deliver`], [`Server::store`], ...), reads
//! what the program under test said ([`Server::commands`]) and what became of the mail ([`Server::snapshot`],
//! [`Server::history`]). All calls are synchronous. A session is a thread; each command takes effect under one lock,
//! so the effects are those of some order of whole commands, and each session's own are in its order.
//!
//! `model` is the mail (`mishaps` what befalls it), `parse` and `connection` the way in, `session` and `view` a client's state, `commands` the
//! verbs, `render` the way out, `profile` what kind of server, `faults` what goes wrong. `pop3` is another door to the same
//! mail.

mod commands;
mod connection;
pub mod faults;
mod mishaps;
pub mod model;
pub mod parse;
pub mod pop3;
pub mod profile;
mod render;
mod session;
mod view;

pub use faults::{Act, When};
pub use model::{Arrival, Author, Change, Event, Model, PASSWORD, StoreMode};
pub use profile::{BareLf, Profile};

use model::Mailbox;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the driver waits for sessions to end before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a mailbox holds: UID, flags sorted and joined with spaces, body.
pub type Contents = Vec<(u32, String, Vec<u8>)>;

/// Everything that the server knows, to be put back later; cheap, since bodies are shared.
#[derive(Clone)]
pub struct State(Model);

/// One command in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub session: u64,
    pub user: Option<String>,
    /// Without the tag, literals as `{length}`, secrets as `***`.
    pub text: String,
    pub mutating: bool,
}

struct Core {
    model: Model,
    rules: faults::Rules,
    log: Vec<Logged>,
    sessions: BTreeMap<u64, TcpStream>,
    next_session: u64,
    stopping: bool,
}

struct Shared {
    profile: Arc<Profile>,
    core: Mutex<Core>,
    /// A session ended, or the server stops.
    changed: Condvar,
}

impl Shared {
    /// A test that panics while it meddles does not take the others' sessions with it.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, session: &session::Session, command: &parse::Command) {
        const MUTATING: [&str; 9] =
            ["APPEND", "STORE", "EXPUNGE", "MOVE", "COPY", "CREATE", "DELETE", "RENAME", "CLOSE"];
        let verb = command.verb.strip_prefix("UID ").unwrap_or(&command.verb);
        let mutating = MUTATING.contains(&verb) || verb.ends_with("SUBSCRIBE");
        let logged = Logged { session: session.id, user: session.user.clone(), text: command.shown.clone(), mutating };
        self.lock().log.push(logged);
    }

    /// Sleeps, but not beyond the end of the server.
    fn pause(&self, duration: Duration) {
        let core = self.lock();
        let _ = self.changed.wait_timeout_while(core, duration, |core| !core.stopping);
    }

    fn wait_for_sessions_to_end(&self) -> bool {
        let core = self.lock();
        let waited = self.changed.wait_timeout_while(core, PATIENCE, |core| !core.sessions.is_empty());
        waited.map_or_else(|poisoned| !poisoned.into_inner().1.timed_out(), |(_, timeout)| !timeout.timed_out())
    }

    fn accept(self: &Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(handle) = stream.try_clone() else { return };
        let id = {
            let mut core = self.lock();
            core.next_session += 1;
            let id = core.next_session;
            core.sessions.insert(id, handle);
            id
        };
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let ended = Ended { shared, id };
            session::serve(&ended.shared, id, stream);
        });
    }
}

/// Signs the session off when its thread ends, by a panic too.
struct Ended {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(handle) = self.shared.lock().sessions.remove(&self.id) {
            let _ = handle.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }
}

/// A running server; it ends when dropped.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server without accounts on a free port of 127.0.0.1, without TLS.
    pub fn start(profile: Profile) -> Self {
        let model = Model::new(profile.first_uid_validity, profile.one_uid_validity);
        Self::start_from(profile, &State(model))
    }

    /// Starts a server that knows what another one knew.
    pub fn start_from(profile: Profile, state: &State) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let port = listener.local_addr().expect("the listener is bound").port();
        let core = Core {
            model: state.0.clone(),
            rules: faults::Rules::default(),
            log: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            stopping: false,
        };
        let shared = Arc::new(Shared { profile: Arc::new(profile), core: Mutex::new(core), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.lock().stopping {
                    break;
                }
                accepting.accept(stream);
            }
        });
        Self { shared, port, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an account with an empty, subscribed INBOX; its password is [`PASSWORD`].
    pub fn account(&self, user: &str) -> &Self {
        self.with(|model| model.add_account(user));
        self
    }

    /// Reads or changes the model as one step, for what has no verb of its own here.
    pub fn with<T>(&self, step: impl FnOnce(&mut Model) -> T) -> T {
        step(&mut self.shared.lock().model)
    }

    /// Puts a message into the mailbox as another client and returns its UID.
    pub fn deliver(&self, user: &str, mailbox: &str, body: impl AsRef<[u8]>, flags: &[&str]) -> u32 {
        let arrival = vec![Arrival::new(body, flags)];
        let uids = self.with(|model| model.append(Author::Other, user, mailbox, arrival));
        uids.expect("the test delivers to a mailbox that exists")[0]
    }

    /// Changes flags as another client; returns the UIDs that changed.
    pub fn store(&self, user: &str, mailbox: &str, uids: &[u32], mode: StoreMode, flags: &[&str]) -> Vec<u32> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.with(|model| model.store(Author::Other, user, mailbox, uids, mode, &flags))
    }

    /// Expunges the messages as another client, whatever their flags; returns those that were there.
    pub fn expunge(&self, user: &str, mailbox: &str, uids: &[u32]) -> Vec<u32> {
        self.with(|model| model.expunge(Author::Other, user, mailbox, uids))
    }

    /// Copies as another client; returns (UID, new UID) pairs.
    pub fn copy(&self, user: &str, from: &str, uids: &[u32], to: &str) -> Vec<(u32, u32)> {
        self.with(|model| model.copy(Author::Other, user, from, uids, to))
    }

    /// Moves as another client; returns (UID, new UID) pairs.
    pub fn move_messages(&self, user: &str, from: &str, uids: &[u32], to: &str) -> Vec<(u32, u32)> {
        self.with(|model| {
            let pairs = model.copy(Author::Other, user, from, uids, to);
            let moved: Vec<u32> = pairs.iter().map(|(uid, _)| *uid).collect();
            model.expunge(Author::Other, user, from, &moved);
            pairs
        })
    }

    /// Creates a mailbox as another client, subscribed; any wire name, hostile ones too.
    pub fn create(&self, user: &str, mailbox: &str) {
        let made = self.with(|model| {
            model.subscribe(Author::Other, user, mailbox, true);
            model.create(Author::Other, user, mailbox)
        });
        made.expect("the test creates a mailbox that is not there");
    }

    /// Creates a mailbox with a special use, for example `\Trash`.
    pub fn create_with_role(&self, user: &str, mailbox: &str, role: &str) {
        self.create(user, mailbox);
        self.change(user, mailbox, |mailbox| mailbox.role = Some(role.to_owned()));
    }

    /// Deletes a mailbox as another client.
    pub fn delete(&self, user: &str, mailbox: &str) {
        let deleted = self.with(|model| model.delete(Author::Other, user, mailbox));
        deleted.expect("the test deletes a mailbox that is there");
    }

    /// Renames a mailbox and those beneath it as another client.
    pub fn rename(&self, user: &str, from: &str, to: &str) {
        let delimiter = self.shared.profile.delimiter;
        let renamed = self.with(|model| model.rename(Author::Other, user, from, to, delimiter));
        renamed.expect("the test renames a mailbox that is there to a free name");
    }

    /// A new UIDVALIDITY, and new UIDs from 1 for the same messages.
    pub fn bump_uidvalidity(&self, user: &str, mailbox: &str) {
        self.with(|model| model.bump_uid_validity(user, mailbox));
    }

    /// HIGHESTMODSEQ falls, UIDVALIDITY stays, expunges are forgotten: Dovecot with its index files lost.
    pub fn lower_modseq(&self, user: &str, mailbox: &str, mod_seq: u64) {
        self.with(|model| model.lower_mod_seq(user, mailbox, mod_seq));
    }

    /// The expunges so far are forgotten: an older QRESYNC is answered with every absent UID.
    pub fn forget_vanished(&self, user: &str, mailbox: &str) {
        self.with(|model| model.forget_vanished(user, mailbox));
    }

    /// Another message under the same UID and UIDVALIDITY, which no server may do and some did.
    pub fn replace(&self, user: &str, mailbox: &str, uid: u32, body: impl AsRef<[u8]>) {
        self.with(|model| model.replace(user, mailbox, uid, body.as_ref()));
    }

    /// The mailbox's SELECT and STATUS fail with `[SERVERBUG]`, or no longer.
    pub fn set_unreadable(&self, user: &str, mailbox: &str, unreadable: bool) {
        self.change(user, mailbox, |mailbox| mailbox.unreadable = unreadable);
    }

    fn change(&self, user: &str, name: &str, change: impl FnOnce(&mut Mailbox)) {
        self.with(|model| change(model.mailbox_mut(user, name).expect("the test changes a mailbox that is there")));
    }

    /// From now on this goes wrong with these commands.
    pub fn rule(&self, when: When, act: Act) -> &Self {
        self.shared.lock().rules.add(when, act);
        self
    }

    pub fn clear_rules(&self) {
        self.shared.lock().rules.clear();
    }

    /// How many commands each rule fitted so far, in the order of the rules.
    pub fn rule_counts(&self) -> Vec<usize> {
        self.shared.lock().rules.counts()
    }

    /// The log of all sessions' commands, in the order in which they arrived.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.lock().log.clone()
    }

    /// The log's texts.
    pub fn commands(&self) -> Vec<String> {
        self.commands_since(0)
    }

    /// A place in the log, its end now.
    pub fn mark(&self) -> usize {
        self.shared.lock().log.len()
    }

    pub fn commands_since(&self, mark: usize) -> Vec<String> {
        self.log().into_iter().skip(mark).map(|logged| logged.text).collect()
    }

    /// Those that may change mail, mailboxes or subscriptions, whether or not they did.
    pub fn mutating_commands_since(&self, mark: usize) -> Vec<String> {
        self.log().into_iter().skip(mark).filter(|logged| logged.mutating).map(|logged| logged.text).collect()
    }

    /// Every change since the start, or in the state that was restored last.
    pub fn history(&self) -> Vec<Event> {
        self.with(|model| model.history.clone())
    }

    /// All mailboxes of the account with their messages.
    pub fn snapshot(&self, user: &str) -> BTreeMap<String, Contents> {
        let contents = |mailbox: &Mailbox| {
            let message = |(uid, message): (&u32, &model::Message)| {
                let flags: Vec<&str> = message.flags.iter().map(String::as_str).collect();
                (*uid, flags.join(" "), message.body.to_vec())
            };
            mailbox.messages.iter().map(message).collect()
        };
        let all = |account: &model::Account| {
            account.mailboxes.iter().map(|(name, mailbox)| (name.clone(), contents(mailbox))).collect()
        };
        self.with(|model| model.accounts.get(user).map(all).unwrap_or_default())
    }

    pub fn clone_state(&self) -> State {
        self.with(|model| State(model.clone()))
    }

    /// Ends all sessions, puts the state back, and forgets rules and log: as if just started from it, on the same port.
    pub fn restore_state(&self, state: &State) {
        self.disconnect_all();
        let core = &mut *self.shared.lock();
        core.model = state.0.clone();
        core.rules.clear();
        core.log.clear();
        core.next_session = 0;
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// Waits until every client is gone and all that it sent has taken effect. To be called between the death of one
    /// process and the start of the next, or for a look at the model after a client's end.
    pub fn wait_until_alone(&self) {
        assert!(self.shared.wait_for_sessions_to_end(), "a session is still open after {PATIENCE:?}");
    }

    /// Waits until the predicate holds for the model.
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Model) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.with(|model| holds(model)) {
            assert!(Instant::now() < deadline, "still waiting for: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Closes every connection at once and waits for the sessions to end.
    pub fn disconnect_all(&self) {
        self.sever_all();
        self.wait_until_alone();
    }

    /// Closes every connection at once. Of clients that come back at once there is always one.
    pub fn sever_all(&self) {
        for stream in self.shared.lock().sessions.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut core = self.shared.lock();
            core.stopping = true;
            for stream in core.sessions.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // The acceptor sees the flag when somebody knocks.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
