//! What the two processes say to one another: a packet each, and descriptors with it (unix(7), SCM_RIGHTS).

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest packet, in octets.
const LONGEST: usize = 64 * 1024;
/// The most descriptors with a packet.
const MOST: usize = 4;

/// What the daemon asks of its monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a program of the owner; with its standard input (if it gets one), output and error, and last where it is
    /// answered: [`Reply::Done`], then [`Reply::Ended`]. Closing that kills the program.
    Start { argv: Vec<String>, has_input: bool },
    /// Open a file for reading; with where it is answered.
    Open(OsString),
    /// Make the root of a Maildir and the directories that lead there; with where it is answered.
    Make(OsString),
    /// Tell the service manager.
    Tell(String),
    /// Start me anew when I have ended, with these accounts paused.
    Anew { paused: Vec<String> },
}

/// What the monitor answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is done; with the descriptor that was asked for.
    Done,
    /// It could not be done: the number of the error (errno(3)).
    Failed(i32),
    /// The program ended: its status (wait(2)).
    Ended(i32),
}

/// A connection of two ends, which keeps packets apart and tells an end when the other is closed.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a packet, without waiting.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`]: there is no room now; [`io::ErrorKind::BrokenPipe`] or
/// [`io::ErrorKind::ConnectionReset`]: nobody is there;
/// [`io::ErrorKind::InvalidInput`]: it is too long.
pub(super) fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if bytes.len() > LONGEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Receives a packet; none: the other end is closed. It waits if the socket does.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no such packet; those of the socket.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // It was closed before it had read all that was sent there.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let message = postcard::from_bytes(&bytes[..received.bytes])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    #[test]
    fn packets_stay_apart_and_bring_their_descriptors() {
        let (here, there) = pair().expect("made");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"text").expect("written");
        let first = Request::Open("/some/path".into());
        let second = Request::Start { argv: vec!["pass".into(), "mail".into()], has_input: false };
        send(&here, &first, &[file.as_fd()]).expect("sent");
        send(&here, &second, &[]).expect("sent");
        drop(here);
        let (request, descriptors) = receive::<Request>(&there).expect("well").expect("a packet");
        assert_eq!(request, first);
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).expect("one");
        let (mut same, mut text) = (File::from(descriptor), String::new());
        same.rewind().expect("to the start");
        same.read_to_string(&mut text).expect("read");
        assert_eq!(text, "text");
        let (request, descriptors) = receive::<Request>(&there).expect("well").expect("a packet");
        assert_eq!((request, descriptors.len()), (second, 0));
        assert!(receive::<Request>(&there).expect("well").is_none(), "the other end is closed");
    }

    #[test]
    fn what_is_too_long_is_refused_and_a_full_socket_is_not_waited_for() {
        let (here, there) = pair().expect("made");
        let error = send(&here, &Request::Tell("x".repeat(LONGEST)), &[]).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let full = (0..10_000).find_map(|_| send(&here, &Request::Tell("x".repeat(1000)), &[]).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(there);
        let error = send(&here, &Request::Tell(String::new()), &[]).expect_err("nobody is there");
        assert!([io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind()), "{error}");
    }
}
