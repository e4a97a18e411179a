//! What the service manager is told: sd_notify(3), in its own protocol, for it is a datagram with a few lines.
//!
//! Nobody listening is no error, here as there. And a manager that does not listen is not waited for: its queue takes but a
//! few datagrams, and a daemon that hangs because nobody hears that it is well is not well.

use super::ask::Link;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What is said (sd_notify(3)).
const SAID: &[&str] = &["READY=1", "STATUS=", "WATCHDOG=1", "RELOADING=1", "MONOTONIC_USEC=", "STOPPING=1"];

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    to: Way,
    watchdog: Option<Duration>,
}

#[derive(Debug, Default)]
enum Way {
    #[default]
    Nobody,
    Manager(UnixDatagram, SocketAddr),
    Monitor(Link),
}

impl Notify {
    /// The one that the environment names: `socket` is the value of `NOTIFY_SOCKET`, `watchdog_usec` and `watchdog_pid` are
    /// those of the variables of these names.
    pub fn new(socket: Option<&OsStr>, watchdog_usec: Option<&str>, watchdog_pid: Option<&str>) -> Self {
        let to = socket.and_then(|name| {
            let (socket, address) = (UnixDatagram::unbound().ok()?, address(name).ok()?);
            socket.set_nonblocking(true).ok()?;
            Some(Way::Manager(socket, address))
        });
        let ours = watchdog_pid.is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = watchdog_usec.filter(|_| ours).and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
        Self { to: to.unwrap_or_default(), watchdog: watchdog.filter(|time| !time.is_zero()) }
    }

    /// The one that the monitor tells; the watchdog's is this process, as its monitor is.
    pub fn through(link: Link) -> Self {
        let usec = std::env::var("WATCHDOG_USEC").ok();
        Self { to: Way::Monitor(link), ..Self::new(None, usec.as_deref(), None) }
    }

    /// The one of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok();
        let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        Self::new(std::env::var_os("NOTIFY_SOCKET").as_deref(), usec.as_deref(), pid.as_deref())
    }

    /// How often the watchdog is to hear that all is well: three times within its patience.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 3)
    }

    /// How long the watchdog waits for a word.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Hands on what the daemon said; it says it again if that matters. What no daemon says is not handed on: the manager
    /// would also believe that another process is the main one.
    pub(super) fn hand_on(&self, text: &str) {
        if !text.split(['\n', '\r']).all(|line| SAID.iter().any(|known| line.starts_with(known))) {
            tracing::warn!("the service manager was to be told what it is not told by a daemon.");
        } else if text.starts_with("STATUS=") || text.starts_with("WATCHDOG=") {
            self.send(text);
        } else {
            self.insist(text);
        }
    }

    /// Everything is there that does not depend on a server.
    pub fn ready(&self, status: &str) {
        self.insist(&format!("READY=1\nSTATUS={status}"));
    }

    /// How things are, in one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The configuration is being read again; [`ready`](Self::ready) tells the end of it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.insist(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.insist("STOPPING=1\nSTATUS=Finishing what is in hand.");
    }

    /// All is well.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Says what is said once, and tries it for a moment if the queue is full.
    fn insist(&self, text: &str) {
        for _ in 0..20 {
            if self.send(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says something; false: there is no room for it now.
    fn send(&self, text: &str) -> bool {
        match &self.to {
            Way::Nobody => true,
            // A manager that went away has no use for it.
            Way::Manager(socket, address) => socket
                .send_to_addr(text.as_bytes(), address)
                .err()
                .is_none_or(|error| error.kind() != io::ErrorKind::WouldBlock),
            Way::Monitor(link) => link.tell(text),
        }
    }
}

/// A path, or a name in the abstract namespace, which begins with `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service manager, the way to it, and the directory of its socket.
    fn manager() -> (UnixDatagram, Notify, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let notify = Notify::new(Some(path.as_os_str()), None, None);
        (socket, notify, dir)
    }

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    #[test]
    fn what_no_daemon_says_is_not_handed_on() {
        let (socket, notify, _dir) = manager();
        for text in [
            "MAINPID=1",
            "STATUS=well\nMAINPID=1",
            "STATUS=well\rMAINPID=1",
            "READY=1\nFDSTORE=1",
            "NOTIFYACCESS=all",
            "WATCHDOG=trigger",
        ] {
            notify.hand_on(text);
        }
        notify.hand_on("READY=1\nSTATUS=well");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=well");
    }

    #[test]
    fn the_manager_hears_in_its_own_words() {
        let (socket, notify, _dir) = manager();
        notify.ready("1 account");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=1 account");
        notify.reloading();
        let told = heard(&socket);
        let usec = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the two lines").parse::<u64>();
        assert!(usec.is_ok_and(|usec| usec > 0), "{told}");
        notify.stopping();
        assert!(heard(&socket).starts_with("STOPPING=1\n"));
        notify.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }

    #[test]
    fn a_name_in_the_abstract_namespace_is_one() {
        let name = format!("mailtwin-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        Notify::new(Some(OsStr::new(&format!("@{name}"))), None, None).status("well");
        assert_eq!(heard(&socket), "STATUS=well");
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let pid = std::process::id().to_string();
        assert_eq!(Notify::new(None, Some("3000000"), Some(&pid)).watchdog(), Some(Duration::from_secs(1)));
        assert_eq!(Notify::new(None, Some("3000000"), Some("1")).watchdog(), None);
        assert_eq!(Notify::new(None, Some("0"), None).watchdog(), None);
        assert_eq!(Notify::new(None, Some("nonsense"), None).watchdog(), None);
    }

    #[test]
    fn a_manager_that_does_not_listen_is_not_waited_for() {
        let (_socket, notify, _dir) = manager();
        (0..2000).for_each(|number| notify.status(&format!("{number}")));
        notify.stopping();
    }

    #[test]
    fn nobody_listening_is_no_error() {
        Notify::default().ready("alone");
        Notify::new(Some(OsStr::new("/nowhere/at/all")), None, None).ready("alone");
        Notify::new(Some(OsStr::new("relative")), None, None).ready("alone");
    }
}
