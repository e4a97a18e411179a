//! The bytes of one connection. The only place that touches a socket: TLS would be put around `stream` here.

use super::parse::{Piece, literal_at_end};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A longer literal than any test sends ends the connection.
const LONGEST_LITERAL: usize = 256 << 20;

pub struct Connection {
    stream: TcpStream,
    /// Received and not yet read.
    pending: Vec<u8>,
    /// Bytes that may still go out; `None` for any number.
    pub output_left: Option<usize>,
    /// Bytes that may still come in.
    pub input_left: Option<usize>,
}

/// What the client sent next.
pub enum Received {
    Pieces(Vec<Piece>),
    /// A literal was refused before it was sent, with this tagged reply; its announcement stays in the text.
    Refused(Vec<Piece>, String),
    /// The client is gone, or sent part of a command only.
    Gone,
}

/// Whether a literal may come.
pub enum Permission {
    Granted,
    /// The tagged reply instead of "+".
    Denied(String),
    /// The client sent it without asking and the server cannot take it: the end.
    Fatal,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new(), output_left: None, input_left: None }
    }

    /// Sends what may be sent; false when the connection was cut on the way. A client that is gone is not an error:
    /// the commands that it sent are still to be carried out.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let count = self.output_left.map_or(bytes.len(), |left| left.min(bytes.len()));
        let _ = self.stream.write_all(&bytes[..count]);
        if let Some(left) = &mut self.output_left {
            *left -= count;
        }
        self.output_left != Some(0)
    }

    /// Reads a command with its literals, asking `permit(pieces so far, length, client waits)` before each literal.
    pub fn receive(&mut self, mut permit: impl FnMut(&[Piece], usize, bool) -> Permission) -> Received {
        let mut pieces = Vec::new();
        loop {
            let Some(mut line) = self.line() else { return Received::Gone };
            let Some((length, open, waits)) = literal_at_end(&line) else {
                pieces.push(Piece::Text(line));
                return Received::Pieces(pieces);
            };
            let asked = line.split_off(open);
            pieces.push(Piece::Text(line));
            if length > LONGEST_LITERAL {
                return Received::Gone;
            }
            match permit(&pieces, length, waits) {
                Permission::Granted if waits => {
                    self.send(b"+ OK\r\n");
                }
                Permission::Granted => {}
                Permission::Denied(reply) => {
                    if let Some(Piece::Text(line)) = pieces.last_mut() {
                        line.extend(asked);
                    }
                    return Received::Refused(pieces, reply);
                }
                Permission::Fatal => {
                    self.send(b"* BYE this literal was not asked for\r\n");
                    return Received::Gone;
                }
            }
            while self.pending.len() < length {
                if !self.fill() {
                    return Received::Gone;
                }
            }
            let rest = self.pending.split_off(length);
            pieces.push(Piece::Literal(std::mem::replace(&mut self.pending, rest)));
        }
    }

    /// Reads a line without its end; `None` when the client is gone.
    pub fn line(&mut self) -> Option<Vec<u8>> {
        let mut looked = 0;
        loop {
            if let Some(at) = self.pending[looked..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(looked + at + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Some(line);
            }
            looked = self.pending.len();
            if !self.fill() {
                return None;
            }
        }
    }

    /// Waits at most `patience` for bytes from the client; false when it is gone.
    pub fn wait(&mut self, patience: Duration) -> bool {
        if !self.pending.is_empty() {
            return true;
        }
        let _ = self.stream.set_read_timeout(Some(patience));
        let alive = self.fill();
        let _ = self.stream.set_read_timeout(None);
        alive
    }

    pub fn has_input(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads and forgets until the other end closes.
    pub fn swallow(&mut self) {
        while self.fill() {
            self.pending.clear();
        }
    }

    /// False at the end; a timeout is not the end.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 65536];
        let most = self.input_left.map_or(chunk.len(), |left| left.min(chunk.len()));
        if most == 0 {
            return false;
        }
        match self.stream.read(&mut chunk[..most]) {
            Ok(0) => false,
            Ok(count) => {
                self.pending.extend_from_slice(&chunk[..count]);
                if let Some(left) = &mut self.input_left {
                    *left -= count;
                }
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        }
    }
}
