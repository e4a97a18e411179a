//! What a worker of the daemon is given to do, and what it tells of it.

use super::metrics::Standing;
use super::schedule::{Ending, Health};
use crate::worker::{
    AccountStatus, Decided, Decision, Error, Event, Job, Kind, Mode, Report, State, Trouble, Undoable, Undone, decide,
    run, undo, undoable,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What a person asks for in one account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "kebab-case")]
pub enum Work {
    /// A pass.
    Sync {
        /// Over these mailboxes (decoded); empty: all.
        mailboxes: Vec<String>,
        /// Nothing is changed, only told.
        dry_run: bool,
    },
    /// What can be undone.
    List {
        /// Since then, in seconds since 1970.
        since: u64,
        /// In this mailbox only (decoded).
        mailbox: Option<String>,
    },
    /// Some of it is undone.
    Undo {
        /// By the numbers of the list.
        numbers: BTreeSet<u64>,
    },
    /// A decision about what is held.
    Decide {
        /// Which.
        decision: Decision,
        /// In this mailbox only (decoded).
        mailbox: Option<String>,
        /// About this set only.
        set: Option<u32>,
    },
    /// The account is lent to the process that asks, until it closes the connection.
    Lend,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// Of [`Work::Sync`].
    Synced(Report),
    /// Of [`Work::List`].
    Listed(Vec<Undoable>),
    /// Of [`Work::Undo`].
    Undone(Report, Undone),
    /// Of [`Work::Decide`].
    Decided(Decided),
    /// Of [`Work::Lend`]: it is lent from now on.
    Lent,
}

/// What is told to who asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "update", content = "value", rename_all = "kebab-case")]
pub enum Update {
    /// Something else has to end first.
    Queued,
    /// It moves on.
    Progress(Event),
    /// It is done. The last word, but for what is lent.
    Done(Answer),
    /// It failed. The last word.
    Failed(Trouble),
}

/// Where updates go.
pub type Updates = UnboundedSender<Update>;

/// How work ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub ending: Ending,
    /// What is wrong with the account since; a clause.
    pub reason: Option<String>,
    /// What was done, if anything was.
    pub told: Option<String>,
    /// How the account stands since; none where that did not change.
    pub standing: Option<Standing>,
    /// The server refused the login.
    pub refused: bool,
    /// What is told to who asked, when the rest has been taken in.
    pub last: Option<Update>,
}

impl Work {
    /// Whether who asked decides how long it takes.
    pub fn is_patient(&self) -> bool {
        matches!(self, Self::Lend)
    }
}

/// Does some work, and tells `events` and who asked.
pub(super) async fn carry_out(
    job: Job,
    work: Work,
    events: UnboundedSender<Event>,
    updates: Option<Updates>,
) -> Finished {
    let (sender, mut told) = unbounded_channel::<Event>();
    let asked = updates.clone();
    let forward = async move {
        while let Some(event) = told.recv().await {
            // What is for hooks is no progress to be watched.
            if let Some(asked) = asked.as_ref().filter(|_| !matches!(event, Event::Touched(_))) {
                // Who asked may have gone.
                let _ = asked.send(Update::Progress(event.clone()));
            }
            let _ = events.send(event);
        }
    };
    let ((answer, ending, told), ()) = tokio::join!(attempt(&job, work, sender), forward);
    let standing = match &answer {
        Ok(Answer::Listed(_) | Answer::Lent) => None,
        _ => standing(&job).await,
    };
    let (reason, refused) = match &answer {
        Err(trouble) if trouble.kind == Kind::Interrupted => (None, false),
        Err(trouble) => (Some(trouble.what.clone()), trouble.kind == Kind::Login),
        Ok(Answer::Synced(report) | Answer::Undone(report, _)) => {
            let left = report.left_out.iter().find(|left| left.failed);
            let left = left.map(|left| format!("{}: {}", left.mailbox, left.reason));
            let waits = matches!(ending, Ending::Passed { health: Health::Held, .. });
            let waits =
                waits.then(|| format!("something waits for your decision, see `mailtwin status {}`", job.account));
            (left.or(waits), false)
        }
        Ok(_) => (None, false),
    };
    let last = match answer {
        Ok(Answer::Lent) => {
            lend(&job, updates.as_ref()).await;
            None
        }
        Ok(answer) => Some(Update::Done(answer)),
        Err(trouble) => Some(Update::Failed(trouble)),
    };
    Finished { ending, reason, told, standing, refused, last }
}

/// How the account stands by its status file.
async fn standing(job: &Job) -> Option<Standing> {
    let (state_dir, account) = (job.state_dir.clone(), job.account.clone());
    let status = tokio::task::spawn_blocking(move || AccountStatus::load(&state_dir, &account));
    status.await.ok()?.ok().map(|status| Standing::of(&status))
}

/// Leaves the account to who asked, until that one is gone.
async fn lend(job: &Job, to: Option<&Updates>) {
    let Some(to) = to.filter(|to| to.send(Update::Done(Answer::Lent)).is_ok()) else { return };
    tokio::select! {
        () = to.closed() => {}
        () = job.reins.finishing() => {}
    }
}

async fn attempt(
    job: &Job,
    work: Work,
    events: UnboundedSender<Event>,
) -> (Result<Answer, Trouble>, Ending, Option<String>) {
    let aside = |look| Ending::Aside { look };
    match work {
        Work::Sync { mailboxes, dry_run } => {
            let mode = if dry_run { Mode::DryRun } else { Mode::Execute };
            let done = run(job, &mailboxes, mode, events).await;
            let ending = if dry_run { aside(false) } else { ending_of(job, done.as_ref()).await };
            let told = done.as_ref().ok().filter(|_| !dry_run).map(|report| report.deeds().join(", "));
            let told = told.filter(|told| !told.is_empty());
            (done.map(Answer::Synced).map_err(Trouble::from), ending, told)
        }
        Work::Undo { numbers } => {
            let done = undo(job, &numbers, events).await;
            let ending = ending_of(job, done.as_ref().map(|(report, _)| report)).await;
            let told = done.as_ref().ok().map(|(_, undone)| format!("{} undone", undone.done.len()));
            (done.map(|(report, undone)| Answer::Undone(report, undone)).map_err(Trouble::from), ending, told)
        }
        Work::List { since, mailbox } => {
            drop(events);
            let listed = blocking(job, move |job| undoable(job, since, &is_meant(mailbox))).await;
            (listed.map(Answer::Listed).map_err(Trouble::from), aside(false), None)
        }
        Work::Decide { decision, mailbox, set } => {
            drop(events);
            let decided = blocking(job, move |job| decide(job, decision, &is_meant(mailbox), set)).await;
            let look = decided.as_ref().is_ok_and(|decided| *decided != Decided::default());
            (decided.map(Answer::Decided).map_err(Trouble::from), aside(look), None)
        }
        Work::Lend => (Ok(Answer::Lent), aside(false), None),
    }
}

fn is_meant(mailbox: Option<String>) -> impl Fn(&str) -> bool {
    move |name| mailbox.as_deref().is_none_or(|mailbox| mailbox == name)
}

async fn blocking<T: Send + 'static>(
    job: &Job,
    work: impl FnOnce(&Job) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let job = job.clone();
    tokio::task::spawn_blocking(move || work(&job)).await?
}

/// How a pass ended, as the schedule sees it.
async fn ending_of(job: &Job, done: Result<&Report, &Error>) -> Ending {
    let report = match done {
        Ok(report) => report,
        Err(Error::Stopped) => return Ending::Broke,
        Err(error) => return ending(&Trouble::from(error)),
    };
    let health = if report.left_out.iter().any(|left| left.failed) {
        Health::Attention
    } else if report.held > 0 || report.asked > 0 || others_wait(job).await {
        Health::Held
    } else {
        Health::Good
    };
    Ending::Passed { health, whole: true, hint: None }
}

/// Whether something waits for a person in mailboxes that a pass did not look at.
async fn others_wait(job: &Job) -> bool {
    let (state_dir, account) = (job.state_dir.clone(), job.account.clone());
    let state =
        tokio::task::spawn_blocking(move || AccountStatus::load(&state_dir, &account).map(|status| status.state));
    matches!(state.await, Ok(Ok(State::Held)))
}

/// How trouble is seen by the schedule.
fn ending(trouble: &Trouble) -> Ending {
    let health = match (&trouble.kind, trouble.state) {
        (Kind::Interrupted, _) => return Ending::Interrupted,
        (Kind::Locked, _) => return Ending::Locked,
        (_, State::NeedsLogin) => Health::Login,
        (_, State::Temporary) => Health::Passing,
        (_, State::LocalUnavailable) => Health::LocalUnavailable,
        (_, State::DiskFull) => Health::DiskFull,
        (_, State::NeverSynced | State::Ok | State::Held | State::Failed) => Health::Attention,
    };
    Ending::Passed { health, whole: false, hint: trouble.hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{BaseName, Flags, MailboxName, Uid};
    use crate::sync::Action;
    use crate::worker::{AccountPlan, Planned};
    use std::time::Duration;

    fn trouble(state: State, kind: Kind) -> Trouble {
        Trouble { state, kind, what: "it broke".into(), hint: Some(Duration::from_secs(9)) }
    }

    #[test]
    fn each_trouble_is_seen_for_what_it_is() {
        let failed = |health| Ending::Passed { health, whole: false, hint: Some(Duration::from_secs(9)) };
        for (state, kind, expected) in [
            (State::Temporary, Kind::Interrupted, Ending::Interrupted),
            (State::Temporary, Kind::Locked, Ending::Locked),
            (State::Temporary, Kind::Network, failed(Health::Passing)),
            (State::NeedsLogin, Kind::Login, failed(Health::Login)),
            (State::DiskFull, Kind::DiskFull, failed(Health::DiskFull)),
            (State::LocalUnavailable, Kind::LocalUnavailable, failed(Health::LocalUnavailable)),
            (State::Failed, Kind::Refused, failed(Health::Attention)),
        ] {
            assert_eq!(ending(&trouble(state, kind)), expected);
        }
    }

    /// Names that are no text, and flags, which a report has in words.
    fn planned() -> Vec<Planned> {
        let name = BaseName::new(b"1.a\xff\x1b").expect("a name");
        let uid = Uid::new(7).expect("not zero");
        let actions = vec![
            Action::Fetch { uid, name: name.clone(), flags: Flags::parse("\\Seen $Forwarded") },
            Action::Append { name, flags: Flags::parse("\\Flagged"), print: None },
        ];
        vec![Planned { mailbox: MailboxName::inbox(), actions }]
    }

    #[test]
    fn what_goes_over_the_socket_comes_back_the_same() {
        let report = Report { fetched: 3, notices: vec!["a notice".into()], ..Report::default() };
        let plan = AccountPlan { messages: planned(), ..AccountPlan::default() };
        let undone = Undone { done: [1, 2].into(), left: [(3, "gone".to_owned())].into() };
        for update in [
            Update::Queued,
            Update::Progress(Event::Planned { fetch: 1, append: 2, other: 3 }),
            Update::Progress(Event::LookingAgain(Duration::from_millis(1500))),
            Update::Done(Answer::Synced(report.clone())),
            Update::Done(Answer::Synced(Report { plan, ..Report::default() })),
            Update::Done(Answer::Undone(report, undone)),
            Update::Done(Answer::Listed(vec![])),
            Update::Done(Answer::Lent),
            Update::Failed(trouble(State::Failed, Kind::Certificate { fingerprint: "sha256:00".into() })),
        ] {
            let text = serde_json::to_string(&update).expect("JSON");
            assert_eq!(serde_json::from_str::<Update>(&text).expect("JSON"), update, "{text}");
        }
        let work = Work::Decide { decision: Decision::Reject, mailbox: Some("Lists".into()), set: Some(3) };
        let text = serde_json::to_string(&work).expect("JSON");
        assert_eq!(text, r#"{"work":"decide","decision":"reject","mailbox":"Lists","set":3}"#);
        assert_eq!(serde_json::from_str::<Work>(&text).expect("JSON"), work);
    }
}
