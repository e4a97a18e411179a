//! The end of the monitor: it starts the daemon, does for it what the configuration allows, and hands on signals.

use super::ask::{Beginning, make_here, open_here};
use super::message::{Reply, Request, pair, receive, send};
use super::notify::Notify;
use super::program::{Group, waiting};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The program that this process runs, whatever became of its file meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// What a configuration names, and the monitor therefore gives.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Permitted {
    /// The commands that print secrets, are tunnels, or hooks.
    pub commands: BTreeSet<Vec<String>>,
    /// The files that are read: with secrets, certificates, and the configuration itself.
    pub files: BTreeSet<PathBuf>,
    /// The roots of Maildirs.
    pub maildirs: BTreeSet<PathBuf>,
}

/// How the daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with this exit code.
    With(u8),
    /// As it was told to, before it could hear that.
    AsTold,
    /// Of this signal.
    Of(i32),
}

/// The monitor of a daemon.
pub struct Monitor {
    arguments: Vec<OsString>,
    listener: UnixListener,
    notify: Notify,
    permitted: Permitted,
    read: Read,
}

/// Reads the configuration again; none if that cannot be used.
type Read = Box<dyn FnMut() -> Option<Permitted>>;

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

/// A signal that the daemon is to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told(Signal);

impl Told {
    /// Whoever does not listen yet would die of it, and is not meant to.
    fn is_for_one_that_listens(self) -> bool {
        self.0 == Signal::HUP || self.0 == Signal::USR1
    }
}

impl Monitor {
    /// `arguments` start the daemon, the name of the program first; it is handed the control socket.
    pub fn new(
        arguments: Vec<OsString>,
        listener: UnixListener,
        notify: Notify,
        permitted: Permitted,
        read: Read,
    ) -> Self {
        Self { arguments, listener, notify, permitted, read }
    }

    /// Keeps a daemon until it ends for good, in a runtime of one thread.
    ///
    /// # Errors
    /// It cannot be started, or signals cannot be had.
    pub async fn run(mut self) -> io::Result<Ended> {
        let mut signals = signals()?;
        let mut beginning = Beginning::default();
        loop {
            let (here, there) = pair()?;
            let mut child = self.spawn(there)?;
            send(&here, &beginning, &[self.listener.as_fd()])?;
            let requests = waiting(here)?;
            match self.attend(&mut child, &requests, &mut signals).await? {
                (_, Some(anew)) => beginning = anew,
                (ended, None) => return Ok(ended),
            }
        }
    }

    fn spawn(&self, link: OwnedFd) -> io::Result<Child> {
        let [name, arguments @ ..] = &self.arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(OURSELVES);
        command.arg0(name).args(arguments).stdin(Stdio::from(link)).kill_on_drop(true);
        // What it has to say, it says through us; and the socket it gets from us.
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"] {
            command.env_remove(variable);
        }
        match self.notify.patience() {
            Some(patience) => command.env("WATCHDOG_USEC", patience.as_micros().to_string()),
            None => command.env_remove("WATCHDOG_USEC"),
        };
        command.spawn()
    }

    /// Does what the daemon asks until it ends; says how, and whether it is to be started anew.
    async fn attend(
        &mut self,
        child: &mut Child,
        requests: &UnixDatagram,
        signals: &mut UnboundedReceiver<Told>,
    ) -> io::Result<(Ended, Option<Beginning>)> {
        let (mut anew, mut listens, mut is_told_to_end) = (None, false, false);
        let (mut waiting, mut hears) = (Vec::new(), true);
        loop {
            tokio::select! {
                biased;
                request = requests.async_io(Interest::READABLE, || receive::<Request>(requests)), if hears => match request {
                    Ok(Some((Request::Tell(text), _))) => {
                        if text.starts_with("READY=1") {
                            listens = true;
                            waiting.drain(..).for_each(|told| hand_on(child, told));
                        }
                        self.notify.hand_on(&text);
                    }
                    Ok(Some((Request::Anew { paused }, _))) => anew = Some(Beginning { paused }),
                    Ok(Some((request, descriptors))) => self.take(request, descriptors),
                    Ok(None) => hears = false,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Err(error) => return Err(error),
                },
                Some(told) = signals.recv() => {
                    is_told_to_end |= !told.is_for_one_that_listens();
                    if listens || !told.is_for_one_that_listens() {
                        hand_on(child, told);
                    } else {
                        waiting.push(told);
                    }
                }
                status = child.wait() => {
                    let ended = how(status?, is_told_to_end);
                    // Whoever was told to end ends, also in the middle of that.
                    let anew = anew.filter(|_| ended == Ended::With(0) && !is_told_to_end);
                    return Ok((ended, anew));
                }
            }
        }
    }

    fn take(&mut self, request: Request, mut descriptors: Vec<OwnedFd>) {
        let Some(answers) = descriptors.pop() else { return };
        if !self.permits(&request) {
            let _ = send(&answers, &Reply::Failed(rustix::io::Errno::PERM.raw_os_error()), &[]);
            return;
        }
        match request {
            Request::Start { argv, has_input } => {
                tokio::spawn(async move {
                    // Whoever asked has gone, or there are no descriptors left: it sees the end of this.
                    let _ = start(&argv, has_input, descriptors, answers).await;
                });
            }
            Request::Open(path) => drop(tokio::task::spawn_blocking(move || match open_here(Path::new(&path)) {
                Ok(file) => send(&answers, &Reply::Done, &[file.as_fd()]),
                Err(error) => send(&answers, &failed(&error), &[]),
            })),
            Request::Make(path) => drop(tokio::task::spawn_blocking(move || match make_here(Path::new(&path)) {
                Ok(()) => send(&answers, &Reply::Done, &[]),
                Err(error) => send(&answers, &failed(&error), &[]),
            })),
            Request::Tell(_) | Request::Anew { .. } => {}
        }
    }

    fn permits(&mut self, request: &Request) -> bool {
        if self.permitted.has(request) {
            return true;
        }
        // The configuration may have changed.
        if let Some(permitted) = (self.read)() {
            self.permitted = permitted;
        }
        self.permitted.has(request)
    }
}

impl Permitted {
    fn has(&self, request: &Request) -> bool {
        match request {
            Request::Start { argv, .. } => self.commands.contains(argv),
            Request::Open(path) => self.files.contains(Path::new(path)),
            Request::Make(path) => self.maildirs.contains(Path::new(path)),
            Request::Tell(_) | Request::Anew { .. } => true,
        }
    }
}

/// Starts a program, tells of its end, and kills it when that is not waited for any more.
async fn start(argv: &[String], has_input: bool, descriptors: Vec<OwnedFd>, answers: OwnedFd) -> io::Result<()> {
    let mut descriptors = descriptors.into_iter().map(Stdio::from);
    let stdin = if has_input { descriptors.next() } else { Some(Stdio::null()) };
    let (Some(stdin), Some(out), Some(err)) = (stdin, descriptors.next(), descriptors.next()) else { return Ok(()) };
    let answers = waiting(answers)?;
    let mut group = match Group::spawn(argv, stdin, out, err) {
        Ok(group) => group,
        Err(error) => return send(&answers, &failed(&error), &[]),
    };
    send(&answers, &Reply::Done, &[])?;
    tokio::select! {
        // Nothing is said to us here: it is the end.
        _ = answers.readable() => Ok(()),
        status = group.child.wait() => send(&answers, &Reply::Ended(status?.into_raw()), &[]),
    }
}

fn failed(error: &io::Error) -> Reply {
    Reply::Failed(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()))
}

fn how(status: ExitStatus, is_told_to_end: bool) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::With(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) if is_told_to_end && [Signal::TERM, Signal::INT].map(Signal::as_raw).contains(&signal) => {
            Ended::AsTold
        }
        (None, signal) => Ended::Of(signal.unwrap_or_default()),
    }
}

/// Hands a signal on; one that has ended needs none.
fn hand_on(child: &Child, told: Told) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _ = kill_process(pid, told.0);
    }
}

/// The signals that mean something to a daemon, taken over from their defaults.
fn signals() -> io::Result<UnboundedReceiver<Told>> {
    let (sender, signals) = unbounded_channel();
    for meant in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1] {
        let mut heard = signal(SignalKind::from_raw(meant.as_raw()))?;
        let sender = sender.clone();
        tokio::spawn(async move { while heard.recv().await.is_some() && sender.send(Told(meant)).is_ok() {} });
    }
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_configuration_names_is_given() {
        let permitted = Permitted {
            commands: [vec!["pass".to_owned(), "mail".to_owned()]].into(),
            files: ["/etc/mailtwin/secret".into()].into(),
            maildirs: ["/srv/mail/work".into()].into(),
        };
        let start = |argv: &[&str]| {
            let argv = argv.iter().map(|&word| word.to_owned()).collect();
            permitted.has(&Request::Start { argv, has_input: true })
        };
        assert!(start(&["pass", "mail"]));
        assert!(!start(&["pass", "bank"]) && !start(&["pass"]) && !start(&[]) && !start(&["pass", "mail", "x"]));
        assert!(permitted.has(&Request::Open("/etc/mailtwin/secret".into())));
        assert!(!permitted.has(&Request::Open("/etc/mailtwin/../shadow".into())));
        assert!(!permitted.has(&Request::Make("/etc/mailtwin/secret".into())));
        assert!(permitted.has(&Request::Make("/srv/mail/work".into())));
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_failure() {
        let of = |signal: Signal| ExitStatus::from_raw(signal.as_raw());
        assert_eq!(how(ExitStatus::from_raw(0), false), Ended::With(0));
        assert_eq!(how(ExitStatus::from_raw(78 << 8), false), Ended::With(78));
        assert_eq!(how(of(Signal::TERM), true), Ended::AsTold);
        assert_eq!(how(of(Signal::TERM), false), Ended::Of(15));
        assert_eq!(how(of(Signal::KILL), true), Ended::Of(9));
    }
}
