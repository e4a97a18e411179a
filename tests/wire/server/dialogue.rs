//! A dialogue over a plain socket, written as a transcript.
//!
//! `C:` is what the client says, without the tag; `S:` is each line of the answer, the tagged one without its tag.
//! `⏎` is CRLF within a line, `«x»` is `x` as a literal that is sent at once (LITERAL+), and a line that ends with `…`
//! has only to begin so.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub struct Dialogue {
    stream: TcpStream,
    pending: Vec<u8>,
    tags: usize,
}

impl Dialogue {
    /// Connects and takes the greeting.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        let mut dialogue = Self { stream, pending: Vec::new(), tags: 0 };
        dialogue.line();
        dialogue
    }

    /// Connects and logs in.
    pub fn login(port: u16, user: &str) -> Self {
        let mut dialogue = Self::connect(port);
        let answer = dialogue.ask(&format!("LOGIN {user} {}", crate::support::server::PASSWORD));
        assert!(answer.last().is_some_and(|line| line.starts_with("OK")), "login: {answer:?}");
        dialogue
    }

    /// Plays the transcript.
    pub fn plays(&mut self, transcript: &str) {
        let mut lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let said = line.strip_prefix("C: ").unwrap_or_else(|| panic!("not a client's line: {line}"));
            let mut expected = Vec::new();
            while let Some(answer) = lines.next_if(|line| line.starts_with("S: ")) {
                expected.push(answer[3..].to_owned());
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

    /// Says it with a new tag and takes the answer, up to and with the tagged line or "+".
    pub fn ask(&mut self, said: &str) -> Vec<String> {
        let tag = self.say(said);
        self.answer(&tag)
    }

    /// Says it with a new tag, which it returns.
    pub fn say(&mut self, said: &str) -> String {
        self.tags += 1;
        let tag = format!("a{}", self.tags);
        let mut parts = said.split(['«', '»']);
        let mut bytes = format!("{tag} {}", parts.next().unwrap_or_default());
        while let (Some(literal), Some(text)) = (parts.next(), parts.next()) {
            let literal = literal.replace('⏎', "\r\n");
            bytes += &format!("{{{}+}}\r\n{literal}{text}", literal.len());
        }
        self.send(&format!("{}\r\n", bytes.replace('⏎', "\r\n")));
        tag
    }

    pub fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).expect("the server reads");
    }

    /// The lines up to and with the one that has this tag or is "+"; up to the end where the server closes.
    pub fn answer(&mut self, tag: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            let tagged = line.strip_prefix(tag).and_then(|line| line.strip_prefix(' ')).map(str::to_owned);
            let last = tagged.is_some() || line.starts_with('+');
            lines.push(tagged.unwrap_or(line));
            if last {
                return lines;
            }
        }
        lines.push("closed".to_owned());
        lines
    }

    /// A line with its literals, `⏎` for CRLF within it; `None` at the end, in the middle of a line too.
    pub fn line(&mut self) -> Option<String> {
        let mut end = 0;
        loop {
            end = self.through_crlf(end)?;
            let Some(length) = literal_length(&self.pending[..end - 2]) else { break };
            end += length;
        }
        let rest = self.pending.split_off(end);
        let line = std::mem::replace(&mut self.pending, rest);
        Some(String::from_utf8_lossy(&line[..end - 2]).replace("\r\n", "⏎"))
    }

    /// What is left until the server closes.
    pub fn rest(&mut self) -> String {
        let _ = self.stream.read_to_end(&mut self.pending);
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).replace("\r\n", "⏎")
    }

    fn through_crlf(&mut self, from: usize) -> Option<usize> {
        loop {
            if let Some(at) = self.pending.get(from..).and_then(|rest| rest.windows(2).position(|two| two == b"\r\n")) {
                return Some(from + at + 2);
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("an answer in time");
            if count == 0 {
                return None;
            }
            self.pending.extend_from_slice(&chunk[..count]);
        }
    }
}

fn literal_length(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}
