//! The daemon, as a command meets it: found if it runs, asked to do what it alone may do, or asked to stand aside.

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use crate::config::{Account, Config};
use crate::control::{Client, Conversation, Error, Hello, Reply, Request, Variables, places};
use crate::mail::escape;
use crate::supervisor::{AccountView, Answer, Update, Work};
use crate::worker::{Event, Kind, State, Trouble};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A daemon that keeps the accounts of this configuration.
#[derive(Clone)]
pub(super) struct Daemon {
    client: Client,
    output: Output,
}

/// What a daemon tells for as long as it runs, beginnings included.
pub(super) struct Following {
    client: Client,
    request: Request,
    conversation: Conversation,
}

impl Following {
    /// The next reply; none: that was all.
    pub(super) fn reply(&mut self) -> Result<Option<Reply>, Error> {
        self.reply_within(None)
    }

    /// As [`reply`](Self::reply), but waits no longer than this; see [`Conversation::reply_within`].
    pub(super) fn reply_within(&mut self, limit: Option<Duration>) -> Result<Option<Reply>, Error> {
        loop {
            match self.conversation.reply_within(limit)? {
                Some(Reply::Anew) => self.conversation = self.client.ask(&self.request)?,
                reply => return Ok(reply),
            }
        }
    }
}

/// An account that the daemon leaves to this process, until this is dropped.
pub(super) struct Loan {
    _conversation: Conversation,
}

impl Daemon {
    /// Finds it, if it runs.
    pub(super) fn find(config: &Config, output: &Output) -> Result<Option<Self>, Failure> {
        let places = places(&Variables::of_process(), &config.state_dir);
        let client = Client::find(&places, &config.state_dir).map_err(|error| failure(&error))?;
        Ok(client.map(|client| Self { client, output: output.clone() }))
    }

    /// Finds it; a failure if it does not run.
    pub(super) fn need(config: &Config, output: &Output) -> Result<Self, Failure> {
        Self::find(config, output)?.ok_or_else(|| {
            let state = escape(config.state_dir.as_os_str().as_encoded_bytes());
            Failure::new(Exit::Failed, format!("no daemon runs for the state in {state}"))
                .remedy("Start it with `mailtwin run`, or as a service.")
        })
    }

    /// Asks for something.
    pub(super) fn ask(&self, request: &Request) -> Result<Conversation, Failure> {
        self.client.ask(request).map_err(|error| failure(&error))
    }

    /// Asks for something that has no end.
    pub(super) fn follow(&self, request: Request) -> Result<Following, Failure> {
        Ok(Following { client: self.client.clone(), conversation: self.ask(&request)?, request })
    }

    /// How it greets.
    pub(super) fn hello(&self) -> &Hello {
        &self.client.hello
    }

    /// How its accounts fare now.
    pub(super) fn views(&self) -> Result<Vec<AccountView>, Failure> {
        match self.ask(&Request::Status { watch: false })?.reply().map_err(|error| failure(&error))? {
            Some(Reply::Status(views)) => Ok(views),
            _ => Err(gone()),
        }
    }

    /// Asks for something that is answered with one line.
    pub(super) fn order(&self, request: &Request) -> Result<(), Failure> {
        match self.ask(request)?.reply().map_err(|error| failure(&error))? {
            Some(Reply::Done) => Ok(()),
            Some(Reply::Refused(reason)) => Err(Failure::new(Exit::Failed, reason)),
            _ => Err(gone()),
        }
    }

    /// Has something done in an account, and hands on what is told meanwhile.
    pub(super) async fn work(
        &self,
        account: &str,
        work: Work,
        events: UnboundedSender<Event>,
    ) -> Result<Answer, Trouble> {
        let (daemon, account) = (self.clone(), account.to_owned());
        let done = tokio::task::spawn_blocking(move || daemon.begin(&account, work, &events).map(|(answer, _)| answer));
        done.await.unwrap_or_else(|_| Err(lost()))
    }

    /// As [`work`](Self::work), where nothing is told meanwhile. Blocking.
    pub(super) fn work_now(&self, account: &str, work: Work) -> Result<Answer, Trouble> {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        self.begin(account, work, &events).map(|(answer, _)| answer)
    }

    fn begin(
        &self,
        account: &str,
        work: Work,
        events: &UnboundedSender<Event>,
    ) -> Result<(Answer, Conversation), Trouble> {
        let request = Request::Work { account: account.to_owned(), work };
        let mut conversation = self.client.ask(&request).map_err(|_| lost())?;
        loop {
            match conversation.reply().map_err(|_| lost())? {
                Some(Reply::Update(Update::Queued)) => {
                    self.output.note(format!("{account}: the daemon is at work on it; waiting until that is done"));
                }
                Some(Reply::Update(Update::Progress(event))) => drop(events.send(event)),
                Some(Reply::Update(Update::Done(answer))) => return Ok((answer, conversation)),
                Some(Reply::Update(Update::Failed(trouble))) => return Err(trouble),
                Some(Reply::Refused(what)) => {
                    return Err(Trouble { state: State::Failed, kind: Kind::Refused, what, hint: None });
                }
                Some(Reply::Status(_) | Reply::Event(_) | Reply::Metrics(_) | Reply::Done | Reply::Anew) | None => {
                    return Err(lost());
                }
            }
        }
    }

    /// Has the daemon leave an account to this process, if it runs.
    pub(super) fn lend(daemon: Option<&Self>, account: &Account) -> Result<Option<Loan>, Failure> {
        let Some(daemon) = daemon else { return Ok(None) };
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let lent = daemon.begin(account.name.as_str(), Work::Lend, &events);
        let (_, conversation) = lent.map_err(|trouble| super::job::failure(account, trouble))?;
        Ok(Some(Loan { _conversation: conversation }))
    }
}

/// The daemon went away in the middle.
fn lost() -> Trouble {
    let what = "the daemon ended before it had answered".to_owned();
    Trouble { state: State::Temporary, kind: Kind::Interrupted, what, hint: None }
}

pub(super) fn gone() -> Failure {
    Failure::new(Exit::Temporary, lost().what).remedy("Look at its log, and run it again.")
}

/// Tells why it could not be spoken with.
pub(super) fn failure(error: &Error) -> Failure {
    let failure = Failure::of(Exit::Temporary, error);
    match error {
        Error::Silent(_) => {
            failure.remedy("Look at its log; a daemon that hangs is ended with SIGKILL, and loses no mail by that.")
        }
        Error::Version { .. } => failure.remedy("Restart the daemon, so that both are of one version."),
    }
}
