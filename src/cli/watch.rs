//! `mailtwin status --watch`: what a daemon does, as it happens.
//!
//! On a terminal it is a screen that is drawn anew when something changed; elsewhere it is a line for each change.

use super::daemon::{self, Daemon};
use super::screen::{EVENTS, Scene};
use super::status::present;
use super::{Exit, Failure, Output, Style};
use crate::config::Config;
use crate::control::{Error, Reply, Request};
use crate::supervisor::{AccountView, Happened, What};
use crate::worker::AccountStatus;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old the numbers of mailboxes may be.
const STATUSES: Duration = Duration::from_secs(2);

/// What makes the view change.
enum News {
    Views(Vec<AccountView>),
    Happened(Happened),
    Key(u8),
    /// The daemon is no more.
    Gone(Option<Error>),
}

/// The accounts that are shown; none: all that the daemon keeps.
pub(super) struct Watched(pub Option<BTreeSet<String>>);

impl Watched {
    fn of(&self, views: Vec<AccountView>) -> Vec<AccountView> {
        let is_meant = |view: &AccountView| self.0.as_ref().is_none_or(|names| names.contains(&view.account));
        views.into_iter().filter(is_meant).collect()
    }
}

/// Shows accounts until somebody ends it, or the daemon ends.
pub(super) fn watch(accounts: &Watched, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let daemon = Daemon::need(config, output)?;
    let (news, inbox) = channel();
    follow(&daemon, Request::Status { watch: true }, news.clone())?;
    if output.is_json() || !io::stdout().is_terminal() {
        return plain(accounts, &inbox, output);
    }
    follow(&daemon, Request::Events, news.clone())?;
    // Its words go to the screen's place otherwise.
    let screen = Screen::enter(output);
    if screen.keys.is_some() {
        std::thread::spawn(move || {
            let mut key = [0];
            while io::stdin().read_exact(&mut key).is_ok() && news.send(News::Key(key[0])).is_ok() {}
        });
    }
    let title = format!("mailtwin {}, process {}", daemon.hello().mailtwin, daemon.hello().pid);
    let mut scene = Scene { title, ..Scene::default() };
    let mut read: Option<Instant> = None;
    loop {
        let key = match inbox.recv_timeout(Duration::from_secs(1)) {
            Ok(News::Key(key)) => Some(key),
            Ok(News::Gone(error)) => {
                drop(screen);
                return Err(error.map_or_else(daemon::gone, |error| daemon::failure(&error)));
            }
            Ok(News::Views(views)) => {
                scene.views = accounts.of(views);
                None
            }
            // That something began is seen above.
            Ok(News::Happened(Happened { what: What::Began, .. })) => None,
            Ok(News::Happened(happened)) => {
                scene.happened.push_back(happened);
                if scene.happened.len() > EVENTS {
                    scene.happened.pop_front();
                }
                None
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // `q`, Ctrl-C, Escape.
        if key.is_some_and(|key| matches!(key, b'q' | b'Q' | 3 | 27)) || output.is_deaf() {
            break;
        }
        if !scene.views.is_empty() && read.is_none_or(|at| at.elapsed() >= STATUSES) {
            let load = |name: &String| Some((name.clone(), AccountStatus::load(&config.state_dir, name).ok()?));
            scene.statuses = scene.views.iter().map(|view| &view.account).filter_map(load).collect();
            read = Some(Instant::now());
        }
        scene.now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        screen.show(&scene.draw(size(), output));
    }
    Ok(Exit::Done)
}

/// Hands on what the daemon answers.
fn follow(daemon: &Daemon, request: Request, news: Sender<News>) -> Result<(), Failure> {
    let mut conversation = daemon.follow(request)?;
    std::thread::spawn(move || {
        let last = loop {
            let told = match conversation.reply() {
                Ok(Some(Reply::Status(views))) => News::Views(views),
                Ok(Some(Reply::Event(happened))) => News::Happened(happened),
                Ok(Some(_)) => continue,
                Ok(None) => break News::Gone(None),
                Err(error) => break News::Gone(Some(error)),
            };
            if news.send(told).is_err() {
                return;
            }
        };
        let _ = news.send(last);
    });
    Ok(())
}

/// A line for each account that changed, or all of it as JSON.
fn plain(accounts: &Watched, inbox: &Receiver<News>, output: &Output) -> Result<Exit, Failure> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    while let Ok(news) = inbox.recv() {
        let views = match news {
            News::Views(views) => views,
            News::Gone(error) => return Err(error.map_or_else(daemon::gone, |error| daemon::failure(&error))),
            News::Happened(_) | News::Key(_) => continue,
        };
        let views = accounts.of(views);
        if output.is_json() {
            output.json_line(&views);
        }
        for view in views.iter().filter(|_| !output.is_json()) {
            let words = present(view).1;
            // When the next look is, is no news.
            let news = format!("{:?} {:?}", view.condition, view.progress.as_ref().map(|progress| progress.done));
            if known.insert(view.account.clone(), news.clone()).as_ref() != Some(&news) {
                output.report(format!("{}: {words}", output.paint(Style::Strong, &view.account)));
            }
        }
        if output.is_deaf() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn size() -> (usize, usize) {
    let size = tcgetwinsize(io::stdout()).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    size.ok().filter(|(width, height)| *width > 0 && *height > 0).unwrap_or((80, 24))
}

/// The other screen of the terminal; the first one is back when this is dropped.
struct Screen<'o> {
    output: &'o Output,
    /// How the keyboard was, if keys are read one by one.
    keys: Option<Termios>,
}

impl<'o> Screen<'o> {
    fn enter(output: &'o Output) -> Self {
        let keys = if io::stdin().is_terminal() { single_keys().ok() } else { None };
        // The other screen, no cursor, no wrapping.
        output.bytes(b"\x1b[?1049h\x1b[?25l\x1b[?7l");
        Self { output, keys }
    }

    fn show(&self, lines: &[String]) {
        let mut text = String::from("\x1b[H");
        for (number, line) in lines.iter().enumerate() {
            let end = if number + 1 < lines.len() { "\r\n" } else { "" };
            // Cleared before and not after: at the end of a full line that would take its last character.
            text.push_str(&format!("\x1b[K{line}{end}"));
        }
        text.push_str("\x1b[J");
        self.output.bytes(text.as_bytes());
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.output.bytes(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
        let _ = self.output.is_deaf();
        if let Some(keys) = &self.keys {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, keys);
        }
    }
}

/// Has keys come one by one, unseen, Ctrl-C among them; returns how it was.
fn single_keys() -> io::Result<Termios> {
    let before = tcgetattr(io::stdin())?;
    let mut keys = before.clone();
    keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
    tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
    Ok(before)
}
