//! Dialogues with a scripted server: `C:` is what the client must say, `S:` what the server answers.

mod changing;
mod flying;
mod framing;
mod idling;
mod lies;
mod listing;
mod login;
mod reading;
mod uploading;

use super::*;
use crate::mail::{MailboxName, Uid, UidSet, UidValidity};
use crate::remote::error::Error;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::task::JoinHandle;

/// The silence that the tests endure.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What a server of tier A can do.
const FULL: &str = "IMAP4rev1 LITERAL+ ENABLE CONDSTORE QRESYNC UIDPLUS MOVE ESEARCH MULTIAPPEND NAMESPACE \
                    LIST-EXTENDED LIST-STATUS SPECIAL-USE SASL-IR";
/// What a server of tier C can do.
const PLAIN: &str = "IMAP4rev1";

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not zero")
}

fn epoch(number: u32) -> UidValidity {
    UidValidity::new(number).expect("not zero")
}

fn uids(text: &str) -> UidSet {
    UidSet::parse(text).expect("a set")
}

fn name(wire: &str) -> MailboxName {
    MailboxName::new(wire).expect("a name")
}

/// A server that follows a script. After its last line it closes the connection, or holds it open after `HOLD`.
struct Server {
    task: JoinHandle<()>,
}

impl Server {
    /// Waits until the script is played; panics if the client said something else.
    async fn finish(self) {
        self.task.await.expect("the client follows the script");
    }
}

fn serve(stream: DuplexStream, script: Vec<String>) -> Server {
    let task = tokio::spawn(async move {
        let mut stream = BufReader::new(stream);
        for line in script {
            if line == "HOLD" {
                let mut rest = String::new();
                while stream.read_line(&mut rest).await.unwrap_or(0) > 0 {}
            } else if let Some(text) = line.strip_prefix("S: ") {
                // A client that gave up does not read any more.
                let _ = stream.write_all(format!("{text}\r\n").as_bytes()).await;
            } else {
                let expected = line.strip_prefix("C: ").expect("a line of a script");
                let mut said = String::new();
                let _ = stream.read_line(&mut said).await;
                assert_eq!(said.trim_end_matches("\r\n"), expected);
            }
        }
    });
    Server { task }
}

/// A session that has been greeted and told the capabilities; the first command has the tag A0002.
async fn session(capabilities: &str, script: &[&str]) -> (Imap, Server) {
    let (ours, theirs) = duplex(1 << 16);
    let mut lines = vec![format!("S: * OK [CAPABILITY {capabilities}] ready")];
    lines.extend(script.iter().map(|line| (*line).to_owned()));
    let server = serve(theirs, lines);
    let imap = Imap::greet(ours, false, TIMEOUT, &[]).await.expect("a greeting");
    (imap, server)
}

/// The error of what must fail.
fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> Error {
    result.expect_err("an error")
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}
