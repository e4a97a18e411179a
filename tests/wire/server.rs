//! The proof of the test server: dialogues with it, its faults, and the same dialogue with a real Dovecot.

mod agitated;
mod dialogue;
mod faults;
mod like_dovecot;
mod mail;
mod quirks;
mod sessions;

use crate::support::server::{Profile, Server};

/// A server with the account `ann`.
fn server(profile: Profile) -> Server {
    let server = Server::start(profile);
    server.account("ann");
    server
}

/// The same with this many messages in INBOX, `Subject: n`, all seen before by a session, so that none is recent.
fn server_with(messages: usize) -> Server {
    let server = server(Profile::full());
    for number in 1..=messages {
        server.deliver("ann", "INBOX", format!("Subject: {number}\r\n\r\nhi\r\n"), &[]);
    }
    server.with(|model| {
        let inbox = model.mailbox_mut("ann", "INBOX").expect("it was made above");
        inbox.recent_from = inbox.uid_next;
    });
    server
}
