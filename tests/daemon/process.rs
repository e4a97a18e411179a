//! A daemon of the test: what it tells the service manager is heard, and it ends with the test.

use crate::support::bench::{Bench, Ran};
use crate::support::processes::{gone, of_daemon};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon<'b> {
    pub bench: &'b Bench,
    pub child: Child,
    /// What the service manager hears.
    pub told: Receiver<String>,
}

impl<'b> Daemon<'b> {
    /// Starts one, and waits until it says that it is ready.
    pub fn start(bench: &'b Bench) -> Self {
        Self::start_with(bench, |_| {})
    }

    pub fn start_with(bench: &'b Bench, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut daemon = Self::begin(bench, prepare);
        daemon.hears("READY=1");
        daemon
    }

    /// Starts one, and waits for nothing.
    pub fn begin(bench: &'b Bench, prepare: impl FnOnce(&mut Command)) -> Self {
        let path = bench.path("notify");
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).expect("bound");
        let (heard, told) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length) = manager.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if text.is_empty() || heard.send(text).is_err() {
                    return;
                }
            }
        });
        let mut command = Self::command(bench, &["run"]);
        let log = File::options().create(true).append(true).open(bench.path("daemon.log")).expect("a log");
        command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(log);
        prepare(&mut command);
        Self { bench, child: command.spawn().expect("it starts"), told }
    }

    /// The program in the daemon's environment.
    pub fn command(bench: &Bench, arguments: &[&str]) -> Command {
        let mut command = bench.command(arguments);
        command.env("RUNTIME_DIRECTORY", bench.path("run"));
        command
    }

    /// Runs the program, not as `-vv`: its words are compared.
    pub fn run(bench: &Bench, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("--config").arg(bench.path("daemon.toml")).args(arguments);
        command.env_clear().env("HOME", bench.home.path()).env("RUNTIME_DIRECTORY", bench.path("run"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        bench.finish(command.spawn().expect("the program runs"))
    }

    pub fn ask(&self, arguments: &[&str]) -> Ran {
        Self::run(self.bench, arguments)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.bench.path("daemon.log")).unwrap_or_default()
    }

    /// Waits until the service manager has heard something that contains these words, and gives it.
    #[track_caller]
    pub fn hears(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while Instant::now() < until {
            if let Ok(told) = self.told.recv_timeout(Duration::from_millis(20)) {
                if told.contains(words) {
                    return told;
                }
                heard.push(told);
            } else if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("it ended with {status}:\n{}", self.log());
            }
        }
        panic!("never {words:?}, but {heard:?}\n{}", self.log());
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child of ours");
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "never {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to end, and gives how long that took and how it ended.
    pub fn end(mut self) -> (Duration, Option<i32>) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait();
        (began.elapsed(), status)
    }

    fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended already. What works for it ends with it, and is gone a moment later.
        let processes = of_daemon(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        processes.iter().for_each(|process| gone(*process));
        // The listener ends with an empty word.
        if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.send_to(b"", self.bench.path("notify"));
        }
    }
}
