//! Whether the machine is still where it was: awake, and with the same way into the network.
//!
//! What was said to a server before a sleep, or from another network, is heard by nobody, and nobody says so: a dead
//! connection looks like a quiet one. The system tells that something about its networks changed, often and for little
//! reason; what counts is whether the world would be reached from another address than before.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep_until};

/// A shorter sleep is none: connections outlast it.
const NAP: Duration = Duration::from_secs(2);
/// Networks change in several steps; so long after the first one it is looked.
const SETTLES: Duration = Duration::from_secs(1);
/// Addresses and routes, of both families (rtnetlink(7)).
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// The machine slept for so long.
    Slept(Duration),
    /// It reaches the world in another way.
    Network,
}

/// Where the machine was when it was last looked.
#[derive(Debug)]
pub(super) struct Whereabouts {
    asleep: Duration,
    way: Way,
    news: Option<Receiver<()>>,
    settles: Option<Instant>,
}

/// The addresses from which the world is reached.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Way {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Whereabouts {
    /// Where it is now.
    pub fn here() -> Self {
        let news = news().map_err(|error| tracing::debug!("the system does not tell of its networks: {error}."));
        Self { asleep: asleep(), way: way(), news: news.ok(), settles: None }
    }

    /// Waits until it may be somewhere else: for a change of networks, and that to settle. For ever where the system does not
    /// tell. Cancel safe.
    pub async fn stirred(&mut self) {
        if self.settles.is_none() {
            heard(self.news.as_mut()).await;
            self.settles = Some(Instant::now() + settles());
        }
        if let Some(at) = self.settles {
            sleep_until(at).await;
        }
        self.settles = None;
    }

    /// What has changed since it was last looked.
    pub fn look(&mut self) -> Option<Moved> {
        let (asleep, way) = (asleep(), way());
        let slept = asleep.saturating_sub(self.asleep);
        let is_elsewhere = way.is_another_than(self.way);
        (self.asleep, self.way) = (asleep, way);
        if slept >= NAP {
            return Some(Moved::Slept(slept));
        }
        is_elsewhere.then_some(Moved::Network)
    }
}

impl Way {
    /// Tells whether there is a way that there was not. One that is lost leads nowhere, and that is met soon enough.
    fn is_another_than(self, before: Self) -> bool {
        let is_new = |now: Option<IpAddr>, before| now.is_some() && now != before;
        is_new(self.v4, before.v4) || is_new(self.v6, before.v6)
    }
}

/// How long the machine has slept since it was started.
fn asleep() -> Duration {
    let read = |clock| {
        let time = rustix::time::clock_gettime(clock);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // The one that counts sleep is read last, so that what passes in between counts for nothing.
    let awake = read(rustix::time::ClockId::Monotonic);
    read(rustix::time::ClockId::Boottime).saturating_sub(awake)
}

/// Asks the system from where it would reach an address that is nobody's (RFC 5737, RFC 3849); nothing is sent.
fn real_way() -> Way {
    let from = |own: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    Way {
        v4: from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        v6: from(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    }
}

/// Has a thread of its own wait for what the system tells of its networks. What it says does not matter.
fn news() -> io::Result<Receiver<()>> {
    // The protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    let (told, news) = channel(1);
    std::thread::Builder::new().name("networks".to_owned()).spawn(move || {
        let mut text = [0; 4096];
        // No room: there was more than the system kept.
        while let Ok(_) | Err(Errno::INTR | Errno::NOBUFS) = recv(&socket, &mut text[..], RecvFlags::empty()) {
            if let Err(TrySendError::Closed(())) = told.try_send(()) {
                break;
            }
        }
    })?;
    Ok(news)
}

async fn real_heard(news: Option<&mut Receiver<()>>) {
    if let Some(news) = news
        && news.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(not(feature = "steps"))]
use {real_heard as heard, real_way as way};

#[cfg(not(feature = "steps"))]
fn settles() -> Duration {
    SETTLES
}

/// The tests cannot move the machine: a file says where it is.
#[cfg(feature = "steps")]
fn way() -> Way {
    let Some(file) = std::env::var_os("MAILTWIN_NETWORK") else { return real_way() };
    let told = std::fs::read_to_string(file).unwrap_or_default();
    Way { v4: told.trim().parse().ok(), v6: None }
}

#[cfg(feature = "steps")]
async fn heard(news: Option<&mut Receiver<()>>) {
    match std::env::var_os("MAILTWIN_NETWORK") {
        Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        None => real_heard(news).await,
    }
}

#[cfg(feature = "steps")]
fn settles() -> Duration {
    if std::env::var_os("MAILTWIN_NETWORK").is_some() { Duration::ZERO } else { SETTLES }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(v4: &str, v6: &str) -> Way {
        Way { v4: v4.parse().ok(), v6: v6.parse().ok() }
    }

    #[test]
    fn another_way_is_one_that_there_was_not() {
        let home = at("192.168.1.2", "");
        for (now, is_another) in
            [(home, false), (at("", ""), false), (at("10.0.0.2", ""), true), (at("192.168.1.2", "2001:db8::5"), true)]
        {
            assert_eq!(now.is_another_than(home), is_another, "{now:?}");
        }
        assert!(home.is_another_than(at("", "")));
    }

    #[tokio::test]
    async fn a_machine_that_stays_where_it_is_has_not_moved() {
        let mut whereabouts = Whereabouts::here();
        assert_eq!((whereabouts.look(), whereabouts.look()), (None, None));
        whereabouts.asleep = whereabouts.asleep.saturating_sub(Duration::from_secs(1));
        assert_eq!(whereabouts.look(), None);
    }
}
