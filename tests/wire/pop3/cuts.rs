//! A session of five messages cut after every byte, in both directions: nothing lands that is not whole and the right one,
//! and nothing is gone of which the client was not told, unless the goodbye itself was lost.

use super::server::server_with;
use super::{endpoint, fetch};
use crate::support::server::Server;
use crate::support::server::pop3::{Act, Pop3, Profile, When};
use mailtwin::remote::pop3::{self, Message};
use std::collections::BTreeMap;

/// What a session came to.
#[derive(Debug, Default)]
struct End {
    landed: BTreeMap<u32, Vec<u8>>,
    gone: Vec<Message>,
    /// The session went through.
    done: bool,
}

/// Lists, fetches everything, deletes everything.
async fn session(pop3: &Pop3) -> End {
    let mut end = End::default();
    let Ok(opened) = pop3::open(&endpoint(pop3.port(), &[])).await else { return end };
    let mut transaction = opened.transaction;
    let Ok(listing) = transaction.list().await else { return end };
    assert!(listing.adds_up(), "a listing that was cut is an error, not a short one");
    let fetched = fetch(&mut transaction, &listing.messages).await;
    end.landed = fetched.landed;
    if fetched.result.is_err() {
        return end;
    }
    let Ok(marked) = transaction.delete(&listing.messages).await else { return end };
    if let Ok(gone) = marked.commit().await {
        (end.gone, end.done) = (gone, true);
    }
    end
}

fn bodies(server: &Server) -> Vec<Vec<u8>> {
    server.snapshot("ann").remove("INBOX").unwrap_or_default().into_iter().map(|(.., body)| body).collect()
}

async fn cut_everywhere(profile: Profile, cut: fn(usize) -> Act) {
    let server = server_with(4);
    server.deliver("ann", "INBOX", "Subject: 5\r\n\r\n.\r\n..\r\n\r\n.x\r\n", &[]);
    let (state, mail) = (server.clone_state(), bodies(&server));
    let pop3 = server.pop3(profile);
    let (mut after, mut dones) = (0, 0);
    while dones == 0 {
        server.restore_state(&state);
        pop3.clear_rules();
        pop3.rule(When::verb("GREETING"), cut(after));
        let mark = pop3.mark();
        let end = session(&pop3).await;
        server.wait_until_alone();
        for (number, body) in &end.landed {
            assert!(*body == mail[*number as usize - 1], "cut after {after}: message {number} is another one");
        }
        let left = bodies(&server);
        let said_goodbye = pop3.commands_since(mark).iter().any(|command| command == "QUIT");
        match (end.done, said_goodbye) {
            (true, true) => {
                assert!(left.is_empty() && end.gone.len() == 5 && end.landed.len() == 5, "cut after {after}");
            }
            (true, false) => panic!("cut after {after}: gone without a goodbye"),
            // Nobody knows whether it arrived; all had landed by then.
            (false, true) => assert!(left.is_empty() && end.landed.len() == 5, "cut after {after}"),
            (false, false) => assert!(left == mail, "cut after {after}: something is gone"),
        }
        dones += usize::from(end.done);
        after += 1;
    }
    assert!(after > 100, "the whole session was cut: {after}");
}

#[tokio::test]
async fn a_session_cut_after_any_byte_of_the_server() {
    cut_everywhere(Profile::full(), Act::CutSessionAfter).await;
    cut_everywhere(Profile::full().without(&["PIPELINING"]), Act::CutSessionAfter).await;
}

#[tokio::test]
async fn a_session_cut_after_any_byte_of_the_client() {
    cut_everywhere(Profile::full(), Act::CutInputAfter).await;
    cut_everywhere(Profile::full().without(&["PIPELINING"]), Act::CutInputAfter).await;
}
