//! A relay on loopback between a client and a server without encryption: it remembers what passes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A relay; its threads end with the connections that they serve.
pub struct Relay {
    pub port: u16,
    passed: Arc<Passed>,
}

#[derive(Default)]
struct Passed {
    /// What was said on each connection.
    up: Mutex<Vec<Vec<u8>>>,
    /// What came back, on any.
    down: Mutex<Vec<u8>>,
}

impl Relay {
    /// Listens on a free port and passes everything on to another.
    pub fn to(port: u16) -> Self {
        Self::slow(port, Duration::ZERO)
    }

    /// The same, for a link on which all that is said takes so long to arrive.
    pub fn slow(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let relay = Self { port: listener.local_addr().expect("bound").port(), passed: Arc::default() };
        let passed = Arc::clone(&relay.passed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (up, down) = (Arc::clone(&passed), Arc::clone(&passed));
                let number = {
                    let mut all = passed.up.lock().expect("no panic");
                    all.push(Vec::new());
                    all.len() - 1
                };
                pass(&client, &server, delay, move |bytes| {
                    up.up.lock().expect("no panic")[number].extend_from_slice(bytes);
                });
                pass(&server, &client, delay, move |bytes| {
                    down.down.lock().expect("no panic").extend_from_slice(bytes);
                });
            }
        });
        relay
    }

    /// All that clients said, connection by connection.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.passed.up.lock().expect("no panic").concat()).into_owned()
    }

    /// On how many connections this was said.
    pub fn connections_saying(&self, words: &str) -> usize {
        let said = self.passed.up.lock().expect("no panic");
        said.iter().filter(|said| String::from_utf8_lossy(said).contains(words)).count()
    }

    /// Octets from the server.
    pub fn octets_down(&self) -> u64 {
        self.passed.down.lock().expect("no panic").len() as u64
    }

    /// What clients said, and what came back, since the last call; both are forgotten here.
    pub fn take(&self) -> (String, String) {
        let said: Vec<u8> = self.passed.up.lock().expect("no panic").iter_mut().flat_map(std::mem::take).collect();
        let told = std::mem::take(&mut *self.passed.down.lock().expect("no panic"));
        (String::from_utf8_lossy(&said).into_owned(), String::from_utf8_lossy(&told).into_owned())
    }
}

fn pass(from: &TcpStream, to: &TcpStream, delay: Duration, note: impl Fn(&[u8]) + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            note(&buffer[..count]);
            std::thread::sleep(delay);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
