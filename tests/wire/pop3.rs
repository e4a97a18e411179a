//! POP3: the proof of the test server's POP3 side, and the client with it and with a real Dovecot.

mod client;
mod cuts;
mod dialogue;
mod dovecot;
mod like_dovecot;
mod server;

use mailtwin::remote::error::{Error, Refusal};
use mailtwin::remote::pop3::{Landing, Message, Number, Transaction};
use mailtwin::remote::{BodyChunk, Endpoint, Mechanism, Secret, Security, Target, TlsOptions};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// How to reach a server without TLS on this machine.
fn endpoint(port: u16, mechanisms: &[Mechanism]) -> Endpoint {
    Endpoint {
        target: Target::Host { host: "127.0.0.1".into(), port },
        security: Security::Plaintext { allowed_anywhere: false },
        tls: TlsOptions::default(),
        user: "ann".into(),
        password: Some(Secret::Literal(crate::support::server::PASSWORD.into())),
        token_command: None,
        mechanisms: mechanisms.to_vec(),
        timeout: Duration::from_secs(20),
        disabled_extensions: Vec::new(),
        quirks: Default::default(),
    }
}

/// What came of fetching.
#[derive(Debug)]
struct Fetched {
    result: Result<BTreeMap<Number, Refusal>, Error>,
    /// The messages of which it was told that they arrived, by number.
    landed: BTreeMap<u32, Vec<u8>>,
}

/// Fetches messages into memory.
async fn fetch(transaction: &mut Transaction, messages: &[Message]) -> Fetched {
    let (sink, mut chunks) = mpsc::channel::<BodyChunk>(4);
    let (landings, mut told) = mpsc::unbounded_channel::<Landing>();
    let taking = tokio::spawn(async move {
        let mut bodies: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        while let Some(chunk) = chunks.recv().await {
            bodies.entry(chunk.literal).or_default().extend_from_slice(&chunk.bytes);
        }
        bodies
    });
    let result = transaction.fetch(messages, &sink, &landings).await;
    drop((sink, landings));
    let mut bodies = taking.await.expect("no panic");
    let mut landed = BTreeMap::new();
    while let Some(landing) = told.recv().await {
        let number = landing.number.get();
        let body = bodies.remove(&u64::from(number)).expect("what landed has its body");
        assert_eq!(body.len() as u64, landing.octets);
        landed.insert(number, body);
    }
    Fetched { result, landed }
}
