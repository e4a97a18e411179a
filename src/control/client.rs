//! A client's end of the control socket. Blocking.

use super::protocol::{Hello, PROTOCOL, Reply, Request};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a daemon may take to greet: the service manager may have to start it first.
const GREETING: Duration = Duration::from_secs(30);
/// The longest line of a daemon, in octets.
const LONGEST_LINE: u64 = 256 << 20;

/// Why a daemon could not be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, or its answer cannot be read.
    #[error("the daemon does not answer as it should")]
    Silent(#[from] io::Error),
    /// It is of another version.
    #[error("the daemon is mailtwin {version}, which speaks another protocol")]
    Version {
        /// Its version, escaped.
        version: String,
    },
}

/// A daemon that was found. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    /// How it greets.
    pub hello: Hello,
}

/// A request that is being answered. Dropped, it tells the daemon that nobody listens any more.
#[derive(Debug)]
pub struct Conversation {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Finds the daemon that works in a state directory, at the first of these places where one answers.
    ///
    /// # Errors
    /// There is one, and it cannot be spoken with.
    pub fn find(places: &[PathBuf], state_dir: &Path) -> Result<Option<Self>, Error> {
        for path in places {
            // Nobody is there, or somebody who is none of ours.
            let Ok(stream) = UnixStream::connect(path) else { continue };
            let (_, hello) = match greet(stream) {
                Err(Error::Silent(error)) if is_end(&error) => continue,
                greeted => greeted?,
            };
            let is_it = Path::new(&hello.state_dir) == state_dir
                || state_dir.canonicalize().is_ok_and(|real| Path::new(&hello.state_dir) == real);
            if is_it {
                return Ok(Some(Self { path: path.clone(), hello }));
            }
        }
        Ok(None)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// The daemon has gone, or does not answer.
    pub fn ask(&self, request: &Request) -> Result<Conversation, Error> {
        let (mut reader, _) = greet(UnixStream::connect(&self.path)?)?;
        reader.get_mut().write_all(format!("{}\n", request.to_line()).as_bytes())?;
        // Work takes the time that it takes.
        reader.get_mut().set_read_timeout(None)?;
        Ok(Conversation { reader })
    }
}

/// Whether the other side ended, perhaps before it took what waits.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl Error {
    /// Whether it is that time was up.
    pub fn is_timeout(&self) -> bool {
        let kind = match self {
            Self::Silent(error) => error.kind(),
            Self::Version { .. } => return false,
        };
        matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    }
}

impl Conversation {
    /// As [`reply`](Self::reply), but waits no longer than this.
    ///
    /// # Errors
    /// Those of [`reply`](Self::reply); one that [`is_timeout`](Error::is_timeout), after which the conversation is over.
    pub fn reply_within(&mut self, limit: Option<Duration>) -> Result<Option<Reply>, Error> {
        // No time at all would be for ever.
        let limit = limit.map(|limit| limit.max(Duration::from_millis(1)));
        self.reader.get_mut().set_read_timeout(limit)?;
        self.reply()
    }

    /// The next reply; none: that was all.
    ///
    /// # Errors
    /// What came is no reply.
    pub fn reply(&mut self) -> Result<Option<Reply>, Error> {
        match line(&mut self.reader)? {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_slice(&line).map_err(io::Error::from)?)),
        }
    }
}

fn greet(stream: UnixStream) -> Result<(BufReader<UnixStream>, Hello), Error> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_write_timeout(Some(GREETING))?;
    let mut reader = BufReader::new(stream);
    let line = line(&mut reader)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let hello: Hello = serde_json::from_slice(&line).map_err(io::Error::from)?;
    if hello.protocol != PROTOCOL {
        return Err(Error::Version { version: crate::mail::escape(&hello.mailtwin) });
    }
    Ok((reader, hello))
}

fn line(reader: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
