//! A real Dovecot as the host of scenarios: a fresh user for each, another client of the test's own.

use super::host::{Host, There};
use super::stage::{Ran, Saved, Stage};
use super::sweep::Count;
use super::table::{FILES_RETURN, MAILDIR_RETURNS, STATE_LOST, STATE_RETURNS, Scenario};
use super::tree::{Names, Tree};
use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than Dovecot takes to notice that a client is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// One for all scenarios: a new user has an INBOX and nothing else.
pub fn start() -> Dovecot {
    let role = "namespace inbox {\n  mailbox Papierkorb {\n    special_use = \\Trash\n  }\n}\n";
    Dovecot::with(&Settings { special_use: vec![], extra: role.to_owned(), ..Settings::default() })
}

/// Another client of a user.
pub struct Client<'d> {
    dovecot: &'d Dovecot,
    user: String,
    stream: BufReader<TcpStream>,
    tags: u32,
}

/// An untagged line with its literals.
type Answer = Vec<(String, Vec<Vec<u8>>)>;

impl<'d> Client<'d> {
    pub fn login(dovecot: &'d Dovecot, user: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dovecot.imap_port)).expect("Dovecot listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let stream = BufReader::new(stream);
        let mut client = Self { dovecot, user: user.to_owned(), stream, tags: 0 };
        client.line();
        client.ask(&format!("LOGIN {user} {PASSWORD}"));
        client
    }

    /// Says it; the answer has to be OK.
    pub fn ask(&mut self, command: &str) -> Answer {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        write!(self.stream.get_mut(), "{tag} {command}\r\n").expect("Dovecot reads");
        let mut answer = Vec::new();
        loop {
            let (text, literals) = self.line();
            if let Some(done) = text.strip_prefix(&format!("{tag} ")) {
                assert!(done.starts_with("OK"), "{command}: {done}");
                return answer;
            }
            answer.push((text, literals));
        }
    }

    fn line(&mut self) -> (String, Vec<Vec<u8>>) {
        let (mut text, mut literals) = (String::new(), Vec::new());
        loop {
            let mut part = Vec::new();
            self.stream.read_until(b'\n', &mut part).expect("an answer in time");
            assert!(!part.is_empty(), "Dovecot closed the connection: {}", self.dovecot.log());
            text += String::from_utf8_lossy(&part).trim_end();
            let length =
                text.strip_suffix('}').and_then(|text| text.rsplit_once('{')).map(|(_, digits)| digits.parse());
            let Some(Ok(length)) = length else { return (text, literals) };
            let mut literal = vec![0; length];
            self.stream.read_exact(&mut literal).expect("a literal");
            literals.push(literal);
        }
    }

    fn select(&mut self, mailbox: &str) {
        self.ask(&format!("SELECT \"{mailbox}\""));
    }
}

impl Host for Client<'_> {
    fn create(&mut self, mailbox: &str) {
        self.ask(&format!("CREATE \"{mailbox}\""));
    }

    fn delete(&mut self, mailbox: &str) {
        self.ask(&format!("DELETE \"{mailbox}\""));
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.ask(&format!("RENAME \"{from}\" \"{to}\""));
    }

    fn deliver(&mut self, mailbox: &str, body: &[u8], flags: &[String]) {
        self.dovecot.deliver(&self.user, mailbox, body);
        self.select(mailbox);
        if !flags.is_empty() {
            self.ask(&format!("UID STORE * FLAGS ({})", flags.join(" ")));
        }
    }

    fn mark(&mut self, mailbox: &str, uid: u32, flags: &[String]) {
        self.select(mailbox);
        self.ask(&format!("UID STORE {uid} FLAGS ({})", flags.join(" ")));
    }

    fn expunge(&mut self, mailbox: &str, uid: u32) {
        self.select(mailbox);
        self.ask(&format!("UID STORE {uid} +FLAGS (\\Deleted)"));
        self.ask(&format!("UID EXPUNGE {uid}"));
    }

    fn relocate(&mut self, mailbox: &str, uid: u32, to: &str) {
        self.select(mailbox);
        self.ask(&format!("UID MOVE {uid} \"{to}\""));
    }

    fn list(&mut self) -> BTreeMap<String, Vec<There>> {
        let listed = self.ask("LIST \"\" \"*\"");
        let name = |text: &str| text.split("\"/\" ").nth(1).map(|name| name.trim_matches('"').to_owned());
        let usable = listed.iter().filter(|(text, _)| !text.contains("\\Noselect"));
        let names: Vec<String> = usable.filter_map(|(text, _)| name(text)).collect();
        let mut all = BTreeMap::new();
        for name in names {
            self.select(&name);
            let found = self.ask("UID FETCH 1:* (UID FLAGS BODY.PEEK[])");
            let message = |(text, mut literals): (String, Vec<Vec<u8>>)| {
                let uid = text.split("UID ").nth(1)?.split([' ', ')']).next()?.parse().ok()?;
                let flags = text.split("FLAGS (").nth(1)?.split(')').next()?;
                let body = literals.pop().unwrap_or_default();
                Some((uid, flags.split_whitespace().map(str::to_owned).collect(), body))
            };
            all.insert(name, found.into_iter().filter_map(message).collect());
        }
        all
    }
}

/// Waits until every session of the user has ended, so that what a killed client said has taken effect.
pub fn wait_until_alone(dovecot: &Dovecot, user: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = dovecot.log();
        let logins = log.matches(&format!("Login: user=<{user}>")).count();
        let mine = log.lines().filter(|line| line.contains(&format!("imap({user})<")));
        let ends = mine
            .filter(|line| {
                line.contains("Disconnected") || line.contains("Logged out") || line.contains("Connection closed")
            })
            .count();
        if ends >= logins {
            return;
        }
        assert!(Instant::now() < deadline, "{user} is still logged in: {logins} logins, {ends} ends\n{log}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A scenario with a user of its own.
pub struct Performance<'a> {
    scenario: &'a Scenario,
    dovecot: &'a Dovecot,
    user: String,
    stage: Stage,
    names: Names,
    agreed: Saved,
}

impl<'a> Performance<'a> {
    /// Makes what both sides agreed on, then what was done to them since.
    pub fn prepare(scenario: &'a Scenario, dovecot: &'a Dovecot, user: &str) -> Self {
        let stage = Stage::new(dovecot.imap_port, user, PASSWORD, scenario.account);
        let names = Names::of(scenario.names());
        let agreed = stage.save("agreed");
        let mut performance = Self { scenario, dovecot, user: user.to_owned(), stage, names, agreed };
        let bare = performance.server();
        if scenario.is_remembered() {
            performance.client().edit(&bare, &scenario.remembered, &performance.names);
            let ran = performance.run("sync", None);
            assert_eq!(ran.code, Some(0), "{}: the first sync failed: {}", scenario.name, ran.said);
            let agreed = (performance.server(), performance.stage.tree(&performance.names));
            assert_eq!(agreed, scenario.agreed(), "{}: the first sync", scenario.name);
        }
        performance.agreed = performance.stage.save("agreed");
        scenario.move_directories(&performance.stage);
        performance.stage.edit(&performance.stage.tree(&performance.names), &scenario.maildir, &performance.names);
        scenario.move_mailboxes(&mut performance.client());
        performance.client().edit(&performance.server(), &scenario.server, &performance.names);
        performance
    }

    fn client(&self) -> Client<'a> {
        Client::login(self.dovecot, &self.user)
    }

    fn server(&self) -> Tree {
        self.client().tree(&self.names)
    }

    fn run(&self, words: &str, kill_at: Option<usize>) -> Ran {
        if words == FILES_RETURN {
            self.stage.bring_back(&self.agreed);
            return Ran::default();
        }
        if [STATE_LOST, STATE_RETURNS, MAILDIR_RETURNS].contains(&words) {
            self.stage.mishap(words, &self.agreed);
            return Ran::default();
        }
        let ran = self.stage.run(words, kill_at);
        wait_until_alone(self.dovecot, &self.user);
        ran
    }

    /// Runs the script, killed once before a step of a command if that is asked for, to the end that the table has;
    /// then once more. Returns the steps of each command.
    pub fn play(&self, kill: Option<(usize, usize, &str)>) -> Vec<Vec<String>> {
        let mut told = format!("{} (Dovecot)", self.scenario.name);
        let mut steps = Vec::new();
        for (number, (words, code)) in self.scenario.script.iter().enumerate() {
            if let Some((_, at, site)) = kill.filter(|(of, ..)| *of == number) {
                told += &format!(", killed before step {} ({site}) of `{words}`", at + 1);
                let killed = self.run(words, Some(at + 1));
                assert!(killed.code.is_none() || at + 1 > killed.steps.len(), "{told}: {}", killed.said);
            }
            let ran = self.run(words, None);
            assert!(kill.is_some() || ran.code == Some(i32::from(*code)), "{told}: {:?} {}", ran.code, ran.said);
            let transferred = ran.said.contains("fetched") || ran.said.contains("uploaded");
            assert!(!(self.scenario.transfers_nothing && transferred), "{told}: {}", ran.said);
            steps.push(ran.steps);
            told += &format!("\n`{words}` said: {}", ran.said);
        }
        assert_eq!(self.server(), self.scenario.end.0, "{told}: the server");
        assert_eq!(self.stage.tree(&self.names), self.scenario.end.1, "{told}: the Maildir");
        self.is_idle(&told);
        steps
    }

    /// Runs once more: nothing may change.
    fn is_idle(&self, told: &str) {
        self.stage.backdate();
        let mails = |stage: &Stage| stage.touches().into_iter().filter(|(path, _)| !path.is_dir()).collect::<Vec<_>>();
        let before = (mails(&self.stage), self.client().list());
        let ran = self.run("sync", None);
        let code = self.scenario.script.last().expect("a script has a command").1;
        assert_eq!(ran.code, Some(i32::from(code)), "{told}, and once more: {}", ran.said);
        let writes = [
            "store.",
            "imap.append",
            "imap.copy",
            "imap.move",
            "imap.store",
            "imap.expunge",
            "imap.uid-expunge",
            "imap.create",
            "imap.subscribe",
            "imap.rename",
            "imap.delete",
        ];
        let wrote: Vec<_> = ran.steps.iter().filter(|site| writes.iter().any(|w| site.starts_with(w))).collect();
        assert!(wrote.is_empty(), "{told}, and once more: {wrote:?}");
        assert_eq!(before, (mails(&self.stage), self.client().list()), "{told}, and once more");
    }
}
