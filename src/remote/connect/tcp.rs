//! A TCP connection to the first of a host's addresses that answers (a light form of Happy Eyeballs, RFC 8305).
//!
//! The next address is tried when the one before failed, or did not answer within [`HEAD_START`]; the first that
//! answers wins, the others are dropped.

use super::error::{Error, Phase, Policy, Unavailable};
use crate::mail::escape;
use socket2::{SockRef, TcpKeepalive};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long an address is tried alone (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Silence after which the kernel asks whether the other side is still there, and how often it asks then.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(120);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unacknowledged data breaks the connection after the account's `timeout`, but never sooner than this.
const MIN_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects within `limit`; with `loopback_only` other addresses are not even tried.
pub(super) async fn dial(
    host: &str,
    port: u16,
    loopback_only: bool,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Error> {
    let silent = |_| Unavailable::Silent { peer: format!("{}:{port}", escape(host)), phase: Phase::Connect, limit };
    let (socket, address) = timeout(limit, first_of(host, port, loopback_only)).await.map_err(silent)??;
    prepare(&socket, limit).map_err(|error| Unavailable::Broken {
        peer: format!("{}:{port}", escape(host)),
        phase: Phase::Connect,
        error,
    })?;
    Ok((socket, address))
}

/// An address of this machine, also in its IPv4-mapped form.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn first_of(host: &str, port: u16, loopback_only: bool) -> Result<(TcpStream, SocketAddr), Error> {
    let shown = || escape(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = lookup_host((bare, port)).await.map_err(|error| Unavailable::Lookup { host: shown(), error })?;
    let mut waiting: VecDeque<SocketAddr> = found.collect();
    if waiting.is_empty() {
        return Err(Unavailable::NoAddress { host: shown() }.into());
    }
    if loopback_only {
        waiting.retain(|address| is_loopback(address.ip()));
        if waiting.is_empty() {
            return Err(Policy::Plaintext { host: shown() }.into());
        }
    }
    race(waiting).await.map_err(|tried| Unavailable::Unreachable { host: shown(), port, tried }.into())
}

/// The first connection that comes about, or why each failed.
pub(super) async fn race(
    mut waiting: VecDeque<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), Vec<(SocketAddr, std::io::Error)>> {
    let mut attempts = JoinSet::new();
    let mut tried = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok((address, Ok(socket)))) => return Ok((socket, address)),
                Some(Ok((address, Err(error)))) => tried.push((address, error)),
                // An attempt cannot panic, and only this function's end aborts it.
                Some(Err(_)) => {}
                None => return Err(tried),
            },
            () = sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

fn prepare(socket: &TcpStream, limit: Duration) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let options = SockRef::from(socket);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    options.set_tcp_keepalive(&keepalive)?;
    options.set_tcp_user_timeout(Some(limit.max(MIN_USER_TIMEOUT)))
}
