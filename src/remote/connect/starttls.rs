//! The dialogue in front of TLS on the port for IMAP without TLS: greeting, CAPABILITY, STARTTLS (RFC 9051, 6.2.1); and
//! what that of POP3 has in common with it.
//!
//! Whoever sits on the way can write every byte that is read here. So the only thing believed is a plain "OK" to
//! STARTTLS with nothing behind it; everything else closes the connection before anything secret exists on it.

use super::error::{Error, Phase, Policy, Unavailable};
use crate::mail::escape;
use crate::remote::endpoint::Protocol;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest line, in bytes, and the most untagged lines in front of an answer.
const MAX_LINE: usize = 8192;
const MAX_UNTAGGED: usize = 64;

/// Asks for TLS and returns the socket at the first byte of the handshake.
pub(super) async fn imap(mut dialogue: Dialogue<'_>) -> Result<TcpStream, Error> {
    let greeting = dialogue.greeting().await?;
    let offered = match capabilities_in_code(&greeting) {
        Some(offered) => offered,
        None => dialogue.capabilities().await?,
    };
    if !offered.iter().any(|name| name.eq_ignore_ascii_case("STARTTLS")) {
        return Err(dialogue.not_offered());
    }
    let (answer, _) = dialogue.ask("STARTTLS", Phase::StartTls).await?;
    if !is_word(&answer, "OK") {
        return Err(dialogue.refused(answer));
    }
    dialogue.end()
}

/// Lines in both directions on the bare socket.
pub(super) struct Dialogue<'a> {
    socket: TcpStream,
    protocol: Protocol,
    /// Received, not yet read.
    buffer: Vec<u8>,
    peer: &'a str,
    limit: Duration,
}

impl Dialogue<'_> {
    async fn greeting(&mut self) -> Result<String, Error> {
        let line = self.line(Phase::Greeting).await?;
        let Some(rest) = line.strip_prefix("* ") else { return Err(self.foreign(&line)) };
        match () {
            () if is_word(rest, "OK") => Ok(line),
            () if is_word(rest, "PREAUTH") => Err(Policy::Preauth { peer: self.peer.to_owned() }.into()),
            () if is_word(rest, "BYE") => Err(self.bye(rest)),
            () => Err(self.foreign(&line)),
        }
    }

    async fn capabilities(&mut self) -> Result<Vec<String>, Error> {
        let (answer, untagged) = self.ask("CAPABILITY", Phase::Capability).await?;
        if !is_word(&answer, "OK") {
            return Err(self.foreign(&answer));
        }
        let lines = untagged.iter().filter(|line| is_word(line, "CAPABILITY"));
        Ok(lines.flat_map(|line| line.split(' ').skip(1)).map(str::to_owned).collect())
    }

    /// Sends a command; gives the tagged answer and the untagged ones, without tag and star.
    async fn ask(&mut self, command: &str, phase: Phase) -> Result<(String, Vec<String>), Error> {
        // Each command has another tag: the answer to one cannot be sent before the other is asked.
        let tag = if phase == Phase::Capability { "c1 " } else { "s1 " };
        self.say(&format!("{tag}{command}"), phase).await?;
        let mut untagged = Vec::new();
        while untagged.len() < MAX_UNTAGGED {
            let line = self.line(phase).await?;
            if let Some(answer) = line.strip_prefix(tag) {
                return Ok((answer.to_owned(), untagged));
            }
            match line.strip_prefix("* ") {
                Some(rest) if is_word(rest, "BYE") => return Err(self.bye(rest)),
                Some(rest) => untagged.push(rest.to_owned()),
                None => return Err(self.foreign(&line)),
            }
        }
        Err(self.foreign("too many lines"))
    }
}

impl<'a> Dialogue<'a> {
    /// Begins on a socket on which nothing was said; each answer may take as long as `limit`.
    pub(super) fn new(socket: TcpStream, protocol: Protocol, peer: &'a str, limit: Duration) -> Self {
        Self { socket, protocol, buffer: Vec::new(), peer, limit }
    }

    /// Sends a line, if everything that came was read.
    pub(super) async fn say(&mut self, line: &str, phase: Phase) -> Result<(), Error> {
        self.nothing_unasked()?;
        crate::step::reach(if phase == Phase::Capability { "remote.capability" } else { "remote.starttls" });
        let line = format!("{line}\r\n");
        let written = timeout(self.limit, self.socket.write_all(line.as_bytes())).await;
        written.map_err(|_| self.silent(phase))?.map_err(|error| self.broken(phase, error))
    }

    /// Gives the socket for the handshake.
    ///
    /// Bytes behind the OK in the same segment would be taken for the server's, said under TLS (CVE-2011-0411).
    pub(super) fn end(self) -> Result<TcpStream, Error> {
        self.nothing_unasked()?;
        Ok(self.socket)
    }

    /// The next line without its CRLF.
    pub(super) async fn line(&mut self, phase: Phase) -> Result<String, Error> {
        let silent = self.silent(phase);
        timeout(self.limit, self.read_line(phase)).await.map_err(|_| silent)?
    }

    async fn read_line(&mut self, phase: Phase) -> Result<String, Error> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = line.strip_suffix(b"\r\n").and_then(|text| std::str::from_utf8(text).ok());
                return match text {
                    Some(text) if !text.contains(['\0', '\r']) => Ok(text.to_owned()),
                    _ => Err(self.foreign(&line)),
                };
            }
            if self.buffer.len() >= MAX_LINE {
                return Err(self.foreign(&self.buffer));
            }
            let read = self.socket.read_buf(&mut self.buffer).await.map_err(|error| self.broken(phase, error))?;
            if read == 0 {
                return Err(Unavailable::Closed { peer: self.peer.to_owned(), phase }.into());
            }
        }
    }

    fn nothing_unasked(&self) -> Result<(), Error> {
        match self.buffer.len() {
            0 => Ok(()),
            bytes => Err(Policy::Injection { peer: self.peer.to_owned(), protocol: self.protocol, bytes }.into()),
        }
    }

    /// TLS is not offered.
    pub(super) fn not_offered(&self) -> Error {
        Policy::NoStartTls { peer: self.peer.to_owned(), protocol: self.protocol }.into()
    }

    /// TLS is refused.
    pub(super) fn refused(&self, text: impl AsRef<[u8]>) -> Error {
        Policy::StartTlsRefused { peer: self.peer.to_owned(), protocol: self.protocol, text: escape(text) }.into()
    }

    /// The server does not speak our language.
    pub(super) fn foreign(&self, text: impl AsRef<[u8]>) -> Error {
        Policy::OtherProtocol { peer: self.peer.to_owned(), protocol: self.protocol, text: escape(text) }.into()
    }

    /// The server does not want us now.
    pub(super) fn bye(&self, text: &str) -> Error {
        Unavailable::Bye { peer: self.peer.to_owned(), text: escape(text) }.into()
    }

    fn silent(&self, phase: Phase) -> Error {
        Unavailable::Silent { peer: self.peer.to_owned(), phase, limit: self.limit }.into()
    }

    fn broken(&self, phase: Phase, error: std::io::Error) -> Error {
        Unavailable::Broken { peer: self.peer.to_owned(), phase, error }.into()
    }
}

/// The first word of `text` is `word`, in any case.
fn is_word(text: &str, word: &str) -> bool {
    text.split(' ').next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// The capabilities of `* OK [CAPABILITY ...] text`.
fn capabilities_in_code(greeting: &str) -> Option<Vec<String>> {
    let (code, _) = greeting.get(5..)?.strip_prefix('[')?.split_once(']')?;
    is_word(code, "CAPABILITY").then(|| code.split(' ').skip(1).map(str::to_owned).collect())
}
