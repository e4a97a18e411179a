//! The procedure: a scenario is run, run again, and killed at every step.

use super::host::{Host, Twinless, USER};
use super::stage::{Ran, Saved, Stage};
use super::table::{FILES_RETURN, MAILDIR_RETURNS, RULES_END, STATE_LOST, STATE_RETURNS, Scenario};
use super::tree::{Names, Tree};
use crate::support::server::{PASSWORD, Profile, Server, State};
use std::collections::BTreeMap;

/// The commands after which both sides and the memory are as before.
const LOOKS: [&str; 16] = [
    "authenticate",
    "capability",
    "compress",
    "enable",
    "fetch",
    "id",
    "idle",
    "list",
    "login",
    "lsub",
    "namespace",
    "noop",
    "notify",
    "search",
    "select",
    "status",
];

/// At which steps of a run it is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kills {
    /// At every one.
    All,
    /// At the first, and at every one that follows a change; at the others it would be killed where it was killed before.
    AfterChanges,
}

impl Kills {
    fn include(self, steps: &[String], at: usize) -> bool {
        let looks = |site: &String| site.strip_prefix("imap.").is_some_and(|verb| LOOKS.contains(&verb));
        self == Self::All || at.checked_sub(1).is_none_or(|before| !looks(&steps[before]))
    }
}

/// What a sweep counted.
#[derive(Default)]
pub struct Count {
    pub kills: usize,
    pub double_kills: usize,
    pub runs: usize,
    /// Each kind of step with the number of kills at it.
    pub sites: BTreeMap<String, usize>,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.double_kills += other.double_kills;
        self.runs += other.runs;
        for (site, kills) in other.sites {
            *self.sites.entry(site).or_default() += kills;
        }
    }
}

/// A scenario on a test server with one profile, ready to be run from the same start again and again.
pub struct Rehearsal<'s> {
    scenario: &'s Scenario,
    what: String,
    server: Server,
    stage: Stage,
    names: Names,
    count: Count,
    /// What both sides agreed on.
    agreed: Saved,
    /// Both sides before each command of the script.
    starts: Vec<(Saved, State)>,
    /// The steps of each command.
    steps: Vec<Vec<String>>,
}

impl<'s> Rehearsal<'s> {
    /// Makes what both sides agreed on, then what was done to them since.
    pub fn prepare(scenario: &'s Scenario, profile: (&str, Profile)) -> Self {
        let server = Server::start((scenario.profile)(profile.1));
        server.account(USER);
        let stage = Stage::new(server.port(), USER, PASSWORD, scenario.account);
        let names = Names::of(scenario.names());
        let agreed = stage.save("agreed");
        let what = format!("{} ({})", scenario.name, profile.0);
        let mut rehearsal = Self {
            scenario,
            what,
            server,
            stage,
            names,
            agreed,
            count: Count::default(),
            starts: Vec::new(),
            steps: Vec::new(),
        };
        rehearsal.first_sync();
        rehearsal
    }

    fn first_sync(&mut self) {
        let Scenario { remembered, server, maildir, .. } = self.scenario;
        let mut host = Twinless(&self.server);
        let bare = host.tree(&self.names);
        if self.scenario.is_remembered() {
            host.edit(&bare, remembered, &self.names);
        }
        (self.scenario.roles)(&self.server);
        if self.scenario.is_remembered() {
            let ran = self.run("sync", None);
            assert_eq!(ran.code, Some(0), "{}: the first sync failed: {}", self.what, ran.said);
            let agreed = self.trees();
            let expected = self.scenario.agreed();
            assert_eq!(agreed, expected, "{}: the first sync", self.what);
        }
        self.agreed = self.stage.save("agreed");
        self.scenario.move_directories(&self.stage);
        let found = self.stage.tree(&self.names);
        self.stage.edit(&found, maildir, &self.names);
        let mut host = Twinless(&self.server);
        self.scenario.move_mailboxes(&mut host);
        let found = host.tree(&self.names);
        host.edit(&found, server, &self.names);
    }

    fn run(&mut self, words: &str, kill_at: Option<usize>) -> Ran {
        match words {
            RULES_END => {
                self.server.clear_rules();
                return Ran::default();
            }
            FILES_RETURN => {
                self.stage.bring_back(&self.agreed);
                return Ran::default();
            }
            STATE_LOST | STATE_RETURNS | MAILDIR_RETURNS => {
                self.stage.mishap(words, &self.agreed);
                return Ran::default();
            }
            _ => self.count.runs += 1,
        }
        let ran = self.stage.run(words, kill_at);
        // What it said before its end still takes effect.
        self.server.wait_until_alone();
        ran
    }

    fn trees(&self) -> (Tree, Tree) {
        (Twinless(&self.server).tree(&self.names), self.stage.tree(&self.names))
    }

    fn is_at_the_end(&self, told: &str) {
        let (server, maildir) = self.trees();
        let end = &self.scenario.end;
        assert_eq!(server, end.0, "{}, {told}: the server", self.what);
        assert_eq!(maildir, end.1, "{}, {told}: the Maildir", self.what);
    }

    /// Runs once more: nothing may change.
    fn is_idle(&mut self, told: &str) {
        let code = self.scenario.script.last().expect("a script has a command").1;
        self.stage.backdate();
        let (touches, mark) = (self.stage.touches(), self.server.mark());
        let ran = self.run("sync", None);
        let what = format!("{}, {told}, and once more", self.what);
        assert_eq!(ran.code, Some(i32::from(code)), "{what}: {}", ran.said);
        let commands = self.server.mutating_commands_since(mark);
        assert!(commands.is_empty(), "{what}: {commands:?}");
        let commits: Vec<_> = ran.steps.iter().filter(|site| site.starts_with("store.")).collect();
        assert!(commits.is_empty(), "{what}: {commits:?}");
        // The times of directories were set back by the run's beginning.
        let mut now = self.stage.touches();
        now.retain(|path, _| !path.is_dir());
        let before: Vec<_> = touches.iter().filter(|(path, _)| !path.is_dir()).collect();
        assert_eq!(before, now.iter().collect::<Vec<_>>(), "{what}: a file of the Maildir was touched");
    }

    /// Runs the script and runs it again.
    pub fn undisturbed(&mut self) {
        for (number, (words, code)) in self.scenario.script.clone().into_iter().enumerate() {
            self.starts.push((self.stage.save(&format!("start{number}")), self.server.clone_state()));
            if number == 0 {
                (self.scenario.rules)(&self.server);
            }
            let mark = self.server.mark();
            let ran = self.run(words, None);
            assert_eq!(ran.code, Some(i32::from(code)), "{}: `{words}` said: {}", self.what, ran.said);
            if self.scenario.only_looks {
                let changing = self.server.mutating_commands_since(mark);
                let opened = self.server.log().into_iter().skip(mark).map(|logged| logged.text);
                let selected: Vec<String> = opened.filter(|text| text.starts_with("SELECT ")).collect();
                assert_eq!((changing, selected), (vec![], vec![]), "{}: `{words}` only looks", self.what);
            }
            if self.scenario.transfers_nothing {
                let commands = self.server.commands_since(mark);
                let transfers = commands.iter().filter(|c| c.contains("BODY") || c.starts_with("APPEND"));
                assert_eq!(transfers.collect::<Vec<_>>(), Vec::<&String>::new(), "{}", self.what);
            }
            self.steps.push(ran.steps);
        }
        self.is_at_the_end("undisturbed");
        let memory = self.stage.memory();
        assert_eq!(memory.batches, [], "{}: a batch is open", self.what);
        self.is_idle("undisturbed");
        assert_eq!(memory, self.stage.memory(), "{}: the memory changed", self.what);
    }

    /// Kills it at steps in turn, and resumes.
    pub fn sweep(mut self, kills: Kills) -> Count {
        for (number, steps) in self.steps.clone().into_iter().enumerate() {
            for (at, site) in steps.iter().enumerate().filter(|(at, _)| kills.include(&steps, *at)) {
                self.count.kills += 1;
                *self.count.sites.entry(site.clone()).or_default() += 1;
                let told = self.kill(number, at, site);
                self.resume(number, &told);
            }
        }
        self.count
    }

    /// Kills it at a step, and again at a step of what follows, both at random.
    pub fn kill_twice(&mut self, dice: &mut fastrand::Rng) {
        let number = dice.usize(..self.steps.len());
        if self.steps[number].is_empty() {
            return;
        }
        let at = dice.usize(..self.steps[number].len());
        let again = dice.usize(..self.steps[number].len() + 5);
        self.kill_again(number, at, again);
    }

    /// Kills it right after the first step of this kind, and then at every step of what follows.
    pub fn kill_twice_after(&mut self, site: &str) {
        let at = self.steps[0].iter().position(|other| other == site).expect("it has such a step") + 1;
        for again in 0..self.steps[0].len() + 5 {
            self.kill_again(0, at, again);
        }
    }

    fn kill_again(&mut self, number: usize, at: usize, again: usize) {
        let site = self.steps[number][at].clone();
        let told = self.kill(number, at, &site);
        let killed = self.run(self.scenario.script[number].0, Some(again + 1));
        let told = format!("{told}, and again before step {} of {:?}", again + 1, killed.steps);
        self.count.double_kills += 1;
        self.resume(number, &told);
    }

    /// What was counted.
    pub fn count(self) -> Count {
        self.count
    }

    /// From the start of that command, kills it before the step.
    fn kill(&mut self, number: usize, at: usize, site: &str) -> String {
        let (saved, state) = &self.starts[number];
        self.stage.restore(saved);
        self.server.restore_state(state);
        if number == 0 {
            (self.scenario.rules)(&self.server);
        }
        let words = self.scenario.script[number].0;
        let told = format!("killed before step {} ({site}) of `{words}`", at + 1);
        let killed = self.run(words, Some(at + 1));
        // Two tasks may take turns otherwise than before, so that it had a step less.
        assert!(killed.code.is_none() || at + 1 > killed.steps.len(), "{}, {told}: {}", self.what, killed.said);
        told
    }

    /// Goes on with the script from that command, to the same end, after which nothing is left to do.
    fn resume(&mut self, from: usize, told: &str) {
        let script = self.scenario.script.clone();
        let mut said = String::new();
        for (words, _) in &script[from..] {
            let ran = self.run(words, None);
            said = format!("{said}\n`{words}` ended with {:?} and said: {}", ran.code, ran.said);
        }
        self.is_at_the_end(&format!("{told}, then{said}\n"));
        self.is_idle(told);
    }
}
