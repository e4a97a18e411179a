//! Dialogues with a scripted server: `C:` is what the client must say, `S:` what the server answers.

mod babbling;
mod deleting;
mod framing;
mod listing;
mod login;
mod reading;
mod replies;

use super::*;
use crate::mail::Uidl;
use crate::remote::body::BodyChunk;
use crate::remote::error::{Error, Refusal};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The silence that the tests endure.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What a Dovecot says that it can do.
const FULL: &str = "TOP UIDL RESP-CODES PIPELINING AUTH-RESP-CODE USER";
/// The same without several commands at once.
const PLAIN: &str = "TOP UIDL RESP-CODES AUTH-RESP-CODE USER";

fn number(number: u32) -> Number {
    Number::new(number).expect("not zero")
}

fn uidl(text: &str) -> Uidl {
    Uidl::new(text).expect("usable")
}

/// A message as it is listed: the unique-id of message 1 is `a`, that of message 2 `b`.
fn message(n: u32) -> Message {
    let name = char::from_u32(u32::from(b'a') + n - 1).expect("a letter").to_string();
    Message { number: number(n), size: Some(10), uidl: Some(uidl(&name)), shared: false }
}

/// A server that follows a script. After its last line it closes the connection; `END` waits until the client closes,
/// having said nothing more; `RAW: ` is sent as it stands.
struct Server {
    task: JoinHandle<()>,
}

impl Server {
    /// Waits until the script is played; panics if the client said something else.
    async fn finish(self) {
        tokio::time::timeout(TIMEOUT, self.task).await.expect("in time").expect("the client follows the script");
    }
}

fn serve(stream: DuplexStream, script: Vec<Vec<u8>>) -> Server {
    let task = tokio::spawn(async move {
        let mut stream = BufReader::new(stream);
        for line in script {
            if line == b"END" {
                let mut rest = String::new();
                let _ = stream.read_to_string(&mut rest).await;
                assert_eq!(rest, "", "the client closes without a word");
            } else if let Some(text) = line.strip_prefix(b"S: ") {
                // A client that gave up does not read any more.
                let _ = stream.write_all(&[text, b"\r\n"].concat()).await;
            } else if let Some(octets) = line.strip_prefix(b"RAW: ") {
                let _ = stream.write_all(octets).await;
            } else {
                let expected = line.strip_prefix(b"C: ").expect("a line of a script");
                let mut said = String::new();
                let _ = stream.read_line(&mut said).await;
                assert_eq!(said.trim_end_matches("\r\n"), String::from_utf8_lossy(expected));
            }
        }
    });
    Server { task }
}

/// The lines up to a login with the capabilities.
fn login_script(capabilities: &str) -> Vec<Vec<u8>> {
    let told = capabilities.split(' ').map(|name| format!("S: {name}"));
    let before = ["S: +OK ready", "C: CAPA", "S: +OK"].map(str::to_owned);
    let after = ["S: .", "C: USER u", "S: +OK", "C: PASS p", "S: +OK in"].map(str::to_owned);
    before.into_iter().chain(told).chain(after).map(String::into_bytes).collect()
}

/// A session that is logged in, on a pipe that takes so many octets at once.
async fn session_on(size: usize, capabilities: &str, script: &[&[u8]]) -> (Transaction, Server) {
    let (ours, theirs) = duplex(size);
    let mut lines = login_script(capabilities);
    lines.extend(script.iter().map(|line| line.to_vec()));
    let server = serve(theirs, lines);
    let greeted = Authorization::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    (greeted.login("u", "p").await.expect("a login"), server)
}

/// A session that is logged in.
async fn session(capabilities: &str, script: &[&str]) -> (Transaction, Server) {
    let script: Vec<&[u8]> = script.iter().map(|line| line.as_bytes()).collect();
    session_on(1 << 16, capabilities, &script).await
}

/// What came of fetching.
struct Fetched {
    result: Result<BTreeMap<Number, Refusal>, Error>,
    /// What the sink got of each message, and whether it was whole.
    bodies: BTreeMap<u64, (Vec<u8>, bool)>,
    landed: Vec<(u32, u64)>,
}

async fn fetch(transaction: &mut Transaction, messages: &[Message]) -> Fetched {
    let (sink, mut chunks) = mpsc::channel::<BodyChunk>(4);
    let (landings, mut landed) = mpsc::unbounded_channel();
    let taking = tokio::spawn(async move {
        let mut bodies: BTreeMap<u64, (Vec<u8>, bool)> = BTreeMap::new();
        while let Some(chunk) = chunks.recv().await {
            let (body, whole) = bodies.entry(chunk.literal).or_default();
            body.extend_from_slice(&chunk.bytes);
            *whole = chunk.end;
        }
        bodies
    });
    let result = transaction.fetch(messages, &sink, &landings).await;
    drop((sink, landings));
    let bodies = taking.await.expect("no panic");
    let mut all = Vec::new();
    while let Some(landing) = landed.recv().await {
        all.push((landing.number.get(), landing.octets));
    }
    Fetched { result, bodies, landed: all }
}

/// The error of what must fail.
fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> Error {
    result.expect_err("an error")
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}
