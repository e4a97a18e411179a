//! The metrics for a scraper, over HTTP (RFC 9112) on a loopback port: one answer to each connection.

use crate::supervisor::{Handle, metrics};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// So many scrapers at once.
const CLIENTS: usize = 8;
/// How long one may take, to ask and to be answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest head of a request, in octets.
const LONGEST: usize = 8 << 10;

/// A port that is open for scrapers.
#[derive(Debug)]
pub struct Metrics(TcpListener);

impl Metrics {
    /// Opens it.
    ///
    /// # Errors
    /// Those of the system; and an address that other machines reach is refused.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no address of loopback"));
        }
        TcpListener::bind(address).await.map(Self)
    }

    /// Answers scrapers until the future is dropped.
    pub async fn serve(self, handle: Handle) {
        let room = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok((stream, _)) = self.0.accept().await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let Ok(permit) = room.clone().try_acquire_owned() else { continue };
            let handle = handle.clone();
            tokio::spawn(async move {
                // One that goes away, or is slow, has had its chance.
                let _ = timeout(PATIENCE, attend(stream, &handle)).await;
                drop(permit);
            });
        }
    }
}

/// What is to be told of how things are now.
pub(super) fn text(handle: &Handle) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let views = handle.views().borrow().clone();
    metrics::text(&views, now)
}

async fn attend(mut stream: TcpStream, handle: &Handle) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST {
        let mut part = [0; 1024];
        match stream.read(&mut part).await? {
            0 => break,
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let answer = respond(&head, || text(handle));
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(head: &[u8], text: impl FnOnce() -> String) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        (b"GET", b"/metrics") => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text()),
        (b"GET", _) => ("404 Not Found", "text/plain", "The metrics are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed\r\nAllow: GET", "text/plain", "Metrics can be got.\n".to_owned()),
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metrics_can_be_got() {
        let status = |head: &str| {
            let answer = respond(head.as_bytes(), || "m 1\n".into());
            answer.split_once("\r\n").map(|(line, rest)| (line.to_owned(), rest.to_owned())).expect("a line")
        };
        let (line, rest) = status("GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(line, "HTTP/1.1 200 OK");
        assert!(rest.contains("Content-Length: 4\r\n") && rest.ends_with("\r\n\r\nm 1\n"), "{rest}");
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n").0, "HTTP/1.1 404 Not Found");
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n").0, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(status("").0, "HTTP/1.1 405 Method Not Allowed");
    }

    #[tokio::test]
    async fn a_port_that_others_reach_is_not_opened() {
        let error = Metrics::bind("0.0.0.0:0".parse().expect("an address")).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Metrics::bind("[::1]:0".parse().expect("an address"))
            .await
            .map(drop)
            .or_else(|error| match error.kind() {
                // A machine without IPv6.
                io::ErrorKind::AddrNotAvailable => Ok(()),
                _ => Err(error),
            })
            .expect("opened");
    }
}
