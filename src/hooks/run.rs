//! Running a hook: when it is quiet, one run after the other, and not for ever.

use super::News;
use super::batch::Batch;
use super::tell;
use crate::mail::escape;
use crate::monitor::{Input, Program, drain};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};

/// What happens within this time is told at once,
const QUIET: Duration = Duration::from_millis(300);
/// and after this time it is told even if more keeps happening.
const BURST: Duration = Duration::from_secs(5);
/// So long a hook may run.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// So much is kept of what it prints.
const KEPT: usize = 2000;

/// One hook of an account.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    account: String,
    key: &'static str,
    command: Vec<String>,
    limit: Duration,
}

/// Takes news and runs the hook, until nobody has any more.
pub(super) async fn serve(hook: Hook, mut inbox: UnboundedReceiver<News>) {
    let mut batch = Batch::default();
    loop {
        if batch.is_empty() {
            let Some(news) = inbox.recv().await else { return };
            batch.push(news);
        }
        let began = Instant::now();
        while let Ok(Some(news)) = timeout_at((Instant::now() + QUIET).min(began + BURST), inbox.recv()).await {
            batch.push(news);
        }
        let mut run = std::pin::pin!(hook.run(std::mem::take(&mut batch)));
        loop {
            tokio::select! {
                () = &mut run => break,
                // It is bounded there, and not in the queue.
                Some(news) = inbox.recv() => batch.push(news),
            }
        }
    }
}

impl Hook {
    pub fn new(account: &str, key: &'static str, command: &[String]) -> Self {
        Self { account: account.to_owned(), key, command: command.to_vec(), limit: LIMIT }
    }

    /// Runs it, and tells the log if it fails. Cancel safe: dropped, it kills what runs.
    pub async fn run(&self, batch: Batch) {
        let account = self.account.clone();
        // A message that its parser cannot bear is told of at the next run of a reader.
        let text =
            tokio::task::spawn_blocking(move || tell::text(&account, &batch)).await.unwrap_or_else(|_| "[]\n".into());
        let (account, key) = (&self.account, self.key);
        let program = escape(self.command.first().map_or("", String::as_str));
        let failed = match timeout(self.limit, self.attempt(text.into_bytes())).await {
            Ok(Ok(())) => {
                tracing::debug!(account = %account, "{account}: the hook {key} ({program}) ran.");
                return;
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!("it did not end within {}, and was stopped", humantime::format_duration(self.limit)),
        };
        tracing::warn!(account = %account, "{account}: the hook {key} ({program}) failed: {failed}. Mail is not concerned.");
    }

    async fn attempt(&self, text: Vec<u8>) -> Result<(), String> {
        let started = Program::start(&self.command, Input::Pipe).await.map_err(|error| {
            format!("it could not be started ({error}); give its full path, or check that it is installed")
        })?;
        let (mut program, stdout, stderr) = (started.program, started.stdout, started.stderr);
        let (mut printed, mut complained) = (Vec::new(), Vec::new());
        let told = async move {
            // One that does not want to know closes it.
            if let Some(mut stdin) = started.stdin {
                let _ = stdin.write_all(&text).await;
            }
        };
        let ((), out, err) =
            tokio::join!(told, drain(stdout, &mut printed, KEPT), drain(stderr, &mut complained, KEPT));
        let status = program.wait().await;
        let status = status.map_err(|error| format!("it could not be waited for: {error}"))?;
        let _ = (out, err);
        if status.success() {
            return Ok(());
        }
        let words = if complained.is_empty() { printed } else { complained };
        let words = escape(words.trim_ascii());
        Err(if words.is_empty() { status.to_string() } else { format!("{status}: {words}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    fn hook(script: &str) -> Hook {
        Hook::new("home", "on-error", &["sh".into(), "-c".into(), script.into()])
    }

    fn trouble(n: usize) -> News {
        News::Trouble(n.to_string())
    }

    /// How often the reason stands in each list that a hook was given.
    fn runs(path: &std::path::Path) -> Vec<usize> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line.matches("\"error\"").count()).collect()
    }

    #[tokio::test]
    async fn a_burst_is_one_run_and_runs_do_not_overlap() {
        let place = tempfile::tempdir().expect("a directory");
        let (log, lock) = (place.path().join("log"), place.path().join("lock"));
        let script = format!(
            "mkdir '{lock}' || echo overlap >> '{log}'; cat >> '{log}'; sleep 0.6; rmdir '{lock}'",
            lock = lock.display(),
            log = log.display()
        );
        let (sender, inbox) = unbounded_channel();
        let serving = tokio::spawn(serve(hook(&script), inbox));
        for n in 0..20 {
            sender.send(trouble(n)).expect("taken");
        }
        while runs(&log).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // While it runs: for the next one.
        for n in 0..3 {
            sender.send(trouble(n)).expect("taken");
        }
        drop(sender);
        serving.await.expect("no panic");
        assert_eq!(runs(&log), [20, 3]);
        assert!(!std::fs::read_to_string(&log).expect("there").contains("overlap"));
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_killed_with_its_children() {
        let place = tempfile::tempdir().expect("a directory");
        let pid = place.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{}'; wait", pid.display());
        let slow = Hook { limit: Duration::from_millis(500), ..hook(&script) };
        let error = timeout(slow.limit, slow.attempt(Vec::new())).await;
        assert!(error.is_err());
        let child: i32 = std::fs::read_to_string(&pid).expect("it ran").trim().parse().expect("a number");
        let child = rustix::process::Pid::from_raw(child).expect("a process");
        let until = Instant::now() + Duration::from_secs(20);
        // Killed, and buried by whoever adopts it; nobody may be there to do that, so a dead one is enough.
        let is_dead = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero())).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        while !is_dead() {
            assert!(Instant::now() < until, "it lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_in_a_clause() {
        let failed = async |script: &str| hook(script).attempt(b"[]".to_vec()).await.expect_err("it fails");
        assert_eq!(failed("echo no; exit 3").await, "exit status: 3: no");
        assert_eq!(failed("echo no; echo 'bad\\033[31m' >&2; exit 1").await, r"exit status: 1: bad\x1b[31m");
        assert_eq!(failed("exit 1").await, "exit status: 1");
        let missing = Hook::new("home", "on-new", &["/nowhere/at/all".into()]);
        assert!(missing.attempt(Vec::new()).await.expect_err("none").contains("could not be started"));
        // Much is written to one that reads nothing, and it prints more than is kept.
        hook("exec <&-; head -c 1000000 /dev/zero; exit 0").attempt(vec![b'x'; 1 << 20]).await.expect("it ends");
    }
}
