//! The same mail by POP3: the INBOX of an account is its maildrop, with replies as raw bytes and faults by rule.
//!
//! A second door to a [`Server`]: what it deletes is expunged there, what is delivered there is in the next session. Each
//! session is a thread and counts among those of the server. What makes a maildrop unfriendly is in its [`Profile`] or
//! replaces a reply ([`Act::Replace`]).

mod faults;
mod profile;
mod session;

pub use faults::{Act, When};
pub use profile::{Names, Profile};

use super::{Ended, Server, Shared};
use faults::Rules;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What the door knows beyond the mail.
struct Desk {
    profile: Profile,
    rules: Rules,
    log: Vec<String>,
    stopping: bool,
    /// Users whose maildrop a session has.
    locked: BTreeSet<String>,
    logins: BTreeMap<String, Instant>,
    /// What a session has taken along and no other is shown: user and UID.
    hidden: BTreeSet<(String, u32)>,
}

struct Door {
    shared: Arc<Shared>,
    desk: Mutex<Desk>,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(handle) = stream.try_clone() else { return };
        let id = {
            let mut core = self.shared.lock();
            core.next_session += 1;
            let id = core.next_session;
            core.sessions.insert(id, handle);
            id
        };
        let door = Arc::clone(self);
        std::thread::spawn(move || {
            let _ended = Ended { shared: Arc::clone(&door.shared), id };
            session::serve(&door, id, stream);
        });
    }
}

/// The POP3 side of a server; no more sessions begin when it is dropped.
pub struct Pop3 {
    door: Arc<Door>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens a door for POP3 on a free port of 127.0.0.1, without TLS.
    pub fn pop3(&self, profile: Profile) -> Pop3 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let port = listener.local_addr().expect("the listener is bound").port();
        let desk = Desk {
            profile,
            rules: Rules::default(),
            log: Vec::new(),
            stopping: false,
            locked: BTreeSet::new(),
            logins: BTreeMap::new(),
            hidden: BTreeSet::new(),
        };
        let door = Arc::new(Door { shared: Arc::clone(&self.shared), desk: Mutex::new(desk) });
        let accepting = Arc::clone(&door);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.lock().stopping {
                    break;
                }
                accepting.accept(stream);
            }
        });
        Pop3 { door, port, acceptor: Some(acceptor) }
    }
}

impl Pop3 {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this goes wrong with these commands.
    pub fn rule(&self, when: When, act: Act) -> &Self {
        self.door.lock().rules.add(when, act);
        self
    }

    pub fn clear_rules(&self) {
        self.door.lock().rules.clear();
    }

    /// How many commands each rule fitted so far, in the order of the rules.
    pub fn rule_counts(&self) -> Vec<usize> {
        self.door.lock().rules.counts()
    }

    /// Makes it another kind of server for the sessions that follow.
    pub fn change(&self, change: impl FnOnce(&mut Profile)) {
        change(&mut self.door.lock().profile);
    }

    /// What all sessions said, in order, without secrets.
    pub fn commands(&self) -> Vec<String> {
        self.door.lock().log.clone()
    }

    /// A place in the log, its end now.
    pub fn mark(&self) -> usize {
        self.door.lock().log.len()
    }

    pub fn commands_since(&self, mark: usize) -> Vec<String> {
        self.door.lock().log.iter().skip(mark).cloned().collect()
    }
}

impl Drop for Pop3 {
    fn drop(&mut self) {
        self.door.lock().stopping = true;
        // The acceptor sees the flag when somebody knocks.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
