//! The dialogue in front of TLS on the port for POP3 without TLS: greeting, CAPA, STLS (RFC 2595, section 4).
//!
//! As with IMAP: nothing is believed but a plain "+OK" to STLS with nothing behind it.

use super::error::{Error, Phase};
use super::starttls::Dialogue;
use tokio::net::TcpStream;

/// The most lines of an answer to CAPA.
const MAX_CAPABILITIES: usize = 200;

/// Asks for TLS and returns the socket at the first byte of the handshake.
pub(super) async fn pop3(mut dialogue: Dialogue<'_>) -> Result<TcpStream, Error> {
    let greeting = dialogue.line(Phase::Greeting).await?;
    match refusal(&greeting) {
        Some(text) => return Err(dialogue.bye(text)),
        None if is_ok(&greeting) => {}
        None => return Err(dialogue.foreign(&greeting)),
    }
    dialogue.say("CAPA", Phase::Capability).await?;
    // A server without CAPA may know STLS all the same.
    if !offers_stls(&mut dialogue).await?.unwrap_or(true) {
        return Err(dialogue.not_offered());
    }
    dialogue.say("STLS", Phase::StartTls).await?;
    let answer = dialogue.line(Phase::StartTls).await?;
    match refusal(&answer) {
        Some(text) => Err(dialogue.refused(text)),
        None if is_ok(&answer) => dialogue.end(),
        None => Err(dialogue.foreign(&answer)),
    }
}

/// Reads the answer to CAPA; `None` if the server knows none.
async fn offers_stls(dialogue: &mut Dialogue<'_>) -> Result<Option<bool>, Error> {
    let answer = dialogue.line(Phase::Capability).await?;
    if refusal(&answer).is_some() {
        return Ok(None);
    }
    if !is_ok(&answer) {
        return Err(dialogue.foreign(&answer));
    }
    let mut offers = false;
    for _ in 0..MAX_CAPABILITIES {
        let line = dialogue.line(Phase::Capability).await?;
        if line == "." {
            return Ok(Some(offers));
        }
        offers |= line.split(' ').next().is_some_and(|name| name.eq_ignore_ascii_case("STLS"));
    }
    Err(dialogue.foreign("too many lines"))
}

fn is_ok(line: &str) -> bool {
    line == "+OK" || line.starts_with("+OK ")
}

/// The text of a refusal.
fn refusal(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("-ERR")?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests;
