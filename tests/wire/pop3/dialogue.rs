//! A dialogue over a plain socket. `⏎` is CRLF within a line; the lines of a list or a message are one answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub struct Dialogue {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Dialogue {
    /// Connects and takes the greeting.
    pub fn connect(port: u16) -> Self {
        let mut dialogue = Self::knock(port);
        dialogue.line();
        dialogue
    }

    /// Connects and takes nothing.
    pub fn knock(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        Self { stream, pending: Vec::new() }
    }

    /// Connects and logs in.
    pub fn login(port: u16, user: &str) -> Self {
        let mut dialogue = Self::connect(port);
        dialogue.ask(&format!("USER {user}"));
        let answer = dialogue.ask(&format!("PASS {}", crate::support::server::PASSWORD));
        assert!(answer[0].starts_with("+OK"), "login: {answer:?}");
        dialogue
    }

    /// Plays the transcript: `C:` and `S:`, where a line that ends with `…` has only to begin so.
    pub fn plays(&mut self, transcript: &str) {
        let mut lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let said = line.strip_prefix("C: ").unwrap_or_else(|| panic!("not a client's line: {line}"));
            let mut expected = Vec::new();
            while let Some(answer) = lines.next_if(|line| line.starts_with("S:")) {
                expected.push(answer[2..].trim_start());
            }
            let answer = self.ask(said);
            let same = answer.len() == expected.len()
                && answer.iter().zip(&expected).all(|(line, expected)| match expected.strip_suffix('…') {
                    Some(start) => line.starts_with(start),
                    None => line == expected,
                });
            assert!(same, "C: {said}\nanswered {answer:#?}\nexpected {expected:#?}");
        }
    }

    /// Says it and takes the answer.
    pub fn ask(&mut self, said: &str) -> Vec<String> {
        self.send(&format!("{said}\r\n"));
        let (verb, argument) = said.split_once(' ').unwrap_or((said, ""));
        let first = self.line().unwrap_or_else(|| "closed".to_owned());
        let many = matches!(verb, "CAPA" | "RETR" | "TOP") || matches!(verb, "LIST" | "UIDL") && argument.is_empty();
        let mut answer = vec![first];
        while many && answer[0].starts_with("+OK") && answer.last().is_some_and(|line| line != ".") {
            answer.push(self.line().unwrap_or_else(|| ".".to_owned()));
        }
        answer
    }

    pub fn send(&mut self, bytes: &str) {
        // A server may close at any time.
        let _ = self.stream.write_all(bytes.as_bytes());
    }

    /// A line; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|two| two == b"\r\n") {
                let rest = self.pending.split_off(end + 2);
                let line = std::mem::replace(&mut self.pending, rest);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(count) if count > 0 => self.pending.extend_from_slice(&chunk[..count]),
                Ok(_) => return None,
                Err(error) => panic!("no answer in time: {error}"),
            }
        }
    }

    /// What is left until the server closes.
    pub fn rest(&mut self) -> String {
        let _ = self.stream.read_to_end(&mut self.pending);
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).replace("\r\n", "⏎")
    }
}
