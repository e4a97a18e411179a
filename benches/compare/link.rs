//! A link with a round trip and a rate: a relay on loopback, which also counts how often the talk changes direction.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How good a link is; zero: as good as loopback is.
#[derive(Clone, Copy)]
pub struct Quality {
    pub round_trip_ms: u64,
    /// In each direction.
    pub bits_per_second: u64,
}

/// The relay. It ends with the program.
pub struct Link {
    pub port: u16,
    turns: Arc<AtomicU64>,
}

const PIECE: usize = 16 << 10;
/// Pieces on the way: 1 MiB, more than 80 ms at 50 Mbit/s hold.
const ON_THE_WAY: usize = 64;

impl Link {
    /// Opens a relay to a port of this machine.
    pub fn open(target: u16, quality: Quality) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let turns = Arc::new(AtomicU64::new(0));
        let counter = turns.clone();
        spawn(move || {
            for client in listener.incoming() {
                let counter = counter.clone();
                spawn(move || relay(client.expect("a connection"), target, quality, &counter));
            }
        });
        Self { port, turns }
    }

    /// The round trips since the last call: the connects, and each time that the client spoke after the server.
    pub fn turns(&self) -> u64 {
        self.turns.swap(0, Ordering::Relaxed)
    }
}

fn relay(client: TcpStream, target: u16, quality: Quality, turns: &Arc<AtomicU64>) {
    turns.fetch_add(1, Ordering::Relaxed);
    // The handshake of TCP, which loopback has answered already.
    sleep(Duration::from_millis(quality.round_trip_ms));
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).expect("the server listens");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an option of TCP");
    }
    let server_spoke = Arc::new(AtomicBool::new(true));
    let (up, down) = (turns.clone(), server_spoke.clone());
    let both = |stream: &TcpStream| stream.try_clone().expect("a handle");
    let (from_client, to_server) = (both(&client), both(&server));
    spawn(move || {
        carry(from_client, to_server, quality, move || {
            if server_spoke.swap(false, Ordering::Relaxed) {
                up.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    carry(server, client, quality, move || down.store(true, Ordering::Relaxed));
}

/// Carries one direction to its end.
fn carry(mut from: TcpStream, to: TcpStream, quality: Quality, spoke: impl Fn()) {
    let (sender, receiver) = sync_channel(ON_THE_WAY);
    let writer = spawn(move || deliver(to, &receiver));
    read(&mut from, quality, &sender, spoke);
    drop(sender);
    let _ = writer.join();
}

fn read(from: &mut TcpStream, quality: Quality, sender: &SyncSender<(Instant, Vec<u8>)>, spoke: impl Fn()) {
    let mut free_at = Instant::now();
    loop {
        let mut piece = vec![0; PIECE];
        let Ok(count) = from.read(&mut piece) else { return };
        if count == 0 {
            return;
        }
        spoke();
        piece.truncate(count);
        let takes = (count as u64 * 8_000_000_000).checked_div(quality.bits_per_second).unwrap_or(0);
        free_at = free_at.max(Instant::now()) + Duration::from_nanos(takes);
        let due = free_at + Duration::from_micros(quality.round_trip_ms * 500);
        if sender.send((due, piece)).is_err() {
            return;
        }
    }
}

fn deliver(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, piece)) = receiver.recv() {
        sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
