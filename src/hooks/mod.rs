//! Hooks: programs of the owner that are told what came, what changed, and what is wrong.
//!
//! A hook is an exec list, never a line for a shell, and nothing that a server said is among its arguments: what there is to
//! tell is a JSON list on its standard input. It runs when things have been quiet for a moment, never twice at once, and for
//! a limited time. Whatever becomes of it, mail is not concerned.

mod batch;
mod run;
mod tell;

use crate::worker::{Touch, Touched};
use batch::Batch;
use run::{Hook, serve};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The hooks of an account: for each the program and its arguments.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Hooks {
    /// New mail came.
    pub on_new: Option<Vec<String>>,
    /// Something changed in the Maildir: mail came, went, or has other flags.
    pub on_change: Option<Vec<String>>,
    /// Something is wrong with the account.
    pub on_error: Option<Vec<String>>,
}

impl Hooks {
    /// Each with the name of its key.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let all = [("on-new", &self.on_new), ("on-change", &self.on_change), ("on-error", &self.on_error)];
        all.into_iter().filter_map(|(key, command)| Some((key, command.as_deref()?)))
    }

    /// Whether any of them wants to know which messages are touched.
    pub fn follow_messages(&self) -> bool {
        self.on_new.is_some() || self.on_change.is_some()
    }
}

/// Something that a hook is told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum News {
    Message(Touched),
    Trouble(String),
}

/// Runs the hooks of an account as long as it lives; dropping it kills what runs.
#[derive(Debug)]
pub struct Runner {
    hooks: Vec<(&'static str, UnboundedSender<News>)>,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Runner {
    /// Begins, in the runtime that this is called in.
    pub fn start(account: &str, hooks: &Hooks) -> Self {
        let (mut runner, account) = (Self { hooks: Vec::new(), tasks: Vec::new() }, account.to_owned());
        for (key, command) in hooks.all() {
            let (sender, inbox) = unbounded_channel();
            let hook = Hook::new(&account, key, command);
            runner.hooks.push((key, sender));
            runner.tasks.push(tokio::spawn(serve(hook, inbox)).abort_handle());
        }
        runner
    }

    /// Tells of messages that were touched.
    pub fn touched(&self, messages: &[Touched]) {
        for (key, hook) in &self.hooks {
            for message in messages.iter().filter(|message| is_for(key, message)) {
                // It takes them as long as this lives.
                let _ = hook.send(News::Message(message.clone()));
            }
        }
    }

    /// Tells what is wrong now; a clause.
    pub fn failed(&self, reason: &str) {
        for (_, hook) in self.hooks.iter().filter(|(key, _)| *key == "on-error") {
            let _ = hook.send(News::Trouble(reason.to_owned()));
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// The hooks of an account for a program that ends: they are run once, with all that was touched.
#[derive(Debug)]
pub struct Once(Vec<(Hook, &'static str, Batch)>);

impl Once {
    /// With nothing as yet.
    pub fn new(account: &str, hooks: &Hooks) -> Self {
        Self(hooks.all().map(|(key, command)| (Hook::new(account, key, command), key, Batch::default())).collect())
    }

    /// Takes messages that were touched.
    pub fn touched(&mut self, messages: &[Touched]) {
        for (_, key, batch) in &mut self.0 {
            messages.iter().filter(|m| is_for(key, m)).for_each(|m| batch.push(News::Message(m.clone())));
        }
    }

    /// Runs those that have something to hear, and waits for their end.
    pub async fn run(self) {
        for (hook, _, batch) in self.0 {
            if !batch.is_empty() {
                hook.run(batch).await;
            }
        }
    }
}

fn is_for(key: &str, message: &Touched) -> bool {
    match key {
        "on-new" => message.how == Touch::New,
        "on-change" => true,
        _ => false,
    }
}
