//! Many clients at once, drawn by seed: what each was told adds up to what is there.
//!
//! Each client keeps its own picture only from what the server tells it (EXISTS, EXPUNGE, VANISHED, FETCH), as any mail
//! program does, and compares it with the server's at the end. The rules are those of imaptest: numbering never changes
//! unannounced, mod-sequences never fall, no change is lost, also across a QRESYNC.

use super::dialogue::Dialogue;
use crate::support::server::{Profile, Server};
use std::collections::BTreeMap;

/// A client's picture: UID (0 while unknown) and flags by sequence number less one.
struct Picture {
    client: Dialogue,
    messages: Vec<(u32, String)>,
    mod_seq: u64,
    qresync: bool,
}

#[test]
fn what_every_client_is_told_adds_up_to_what_is_there() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Server::start(Profile::full());
        server.account("ann").create("ann", "To");
        for number in 0..6 {
            server.deliver("ann", "INBOX", format!("{number}"), &[]);
        }
        let mut pictures: Vec<Picture> = [true, true, false].map(|qresync| Picture::new(&server, qresync)).into();
        for _ in 0..60 {
            let who = random.usize(..pictures.len());
            let said = draw(&mut random);
            pictures[who].does(&said);
        }
        let truth: Vec<(u32, String)> =
            server.snapshot("ann").remove("INBOX").into_iter().flatten().map(|(uid, flags, _)| (uid, flags)).collect();
        for picture in &mut pictures {
            picture.does("NOOP");
            picture.does("UID FETCH 1:* (UID FLAGS)");
            assert_eq!(picture.messages, truth, "SEED={seed} QRESYNC={}", picture.qresync);
        }
    }
}

#[test]
fn a_resync_from_any_earlier_moment_gives_what_is_there() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Server::start(Profile::full());
        server.account("ann").create("ann", "To");
        let mut writer = Picture::new(&server, true);
        let mut moments = Vec::new();
        for _ in 0..40 {
            writer.does(&draw(&mut random));
            let highest = server.with(|model| model.mailbox("ann", "INBOX").map_or(0, |inbox| inbox.highest_mod_seq));
            moments.push((highest, writer.by_uid()));
        }
        let (_, now) = moments.last().cloned().expect("there were 40");
        for (mod_seq, mut known) in moments {
            let mut client = Dialogue::login(server.port(), "ann");
            client.ask("ENABLE QRESYNC");
            for line in client.ask(&format!("SELECT INBOX (QRESYNC (1700000001 {mod_seq}))")) {
                if let Some(set) = line.strip_prefix("* VANISHED (EARLIER) ") {
                    known.retain(|uid, _| !holds(set, *uid));
                } else if line.contains(" FETCH ") {
                    known.insert(number_after(&line, "UID ").unwrap_or(0), flags_in(&line).unwrap_or_default());
                }
            }
            assert_eq!(known, now, "SEED={seed} from {mod_seq}");
        }
    }
}

/// A command that changes something, or looks.
pub fn draw(random: &mut fastrand::Rng) -> String {
    let set = format!("{}:{}", random.u32(1..12), random.u32(1..12));
    let first = random.u32(1..20);
    let near = format!("{},{first}", first + random.u32(0..3));
    let flag = ["\\Seen", "\\Flagged", "\\Deleted", "kw", "\\Answered"][random.usize(..5)];
    match random.u32(..12) {
        0 | 1 => "APPEND INBOX (\\Draft) «x» «y»".to_owned(),
        2..=4 => format!("UID STORE {set} +FLAGS ({flag})"),
        5 => format!("UID STORE {set} -FLAGS ({flag})"),
        6 => format!("UID MOVE {near} To"),
        7 => "EXPUNGE".to_owned(),
        8 => format!("UID EXPUNGE {set}"),
        9 => format!("UID COPY {near} INBOX"),
        10 => "UID FETCH 1:* (UID FLAGS)".to_owned(),
        _ => "NOOP".to_owned(),
    }
}

impl Picture {
    fn new(server: &Server, qresync: bool) -> Self {
        let mut client = Dialogue::login(server.port(), "ann");
        if qresync {
            client.ask("ENABLE QRESYNC");
        }
        let mut picture = Self { client, messages: Vec::new(), mod_seq: 0, qresync };
        picture.does("SELECT INBOX");
        picture.does("UID FETCH 1:* (UID FLAGS)");
        picture
    }

    fn does(&mut self, said: &str) {
        for line in self.client.ask(said) {
            self.hears(&line);
        }
    }

    fn hears(&mut self, line: &str) {
        if let Some(mod_seq) = number_after(line, "HIGHESTMODSEQ ") {
            assert!(u64::from(mod_seq) >= self.mod_seq, "{line} after {}", self.mod_seq);
            self.mod_seq = mod_seq.into();
        }
        if let Some(set) = line.strip_prefix("* VANISHED ") {
            for uid in (1..1000).filter(|uid| holds(set, *uid)) {
                // One that arrived and was never asked about has no UID here yet: it is behind all that have a lower one.
                let known = self.messages.iter().position(|(known, _)| *known == uid);
                let behind =
                    self.messages.iter().rposition(|(known, _)| (1..uid).contains(known)).map_or(0, |at| at + 1);
                let unknown = self.messages[behind..].iter().position(|(known, _)| *known == 0);
                let at = known.or_else(|| unknown.map(|at| behind + at));
                self.messages.remove(at.unwrap_or_else(|| panic!("{line} names {uid}, which was not there")));
            }
            return;
        }
        let Some((number, what)) = line.strip_prefix("* ").and_then(|line| line.split_once(' ')) else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        if what == "EXISTS" {
            assert!(number >= self.messages.len(), "{line} with {} messages", self.messages.len());
            self.messages.resize(number, (0, String::new()));
        } else if what == "EXPUNGE" {
            self.messages.remove(number - 1);
        } else if what.starts_with("FETCH") {
            let (uid, flags) = &mut self.messages[number - 1];
            let told = number_after(line, "(UID ").unwrap_or(*uid);
            assert!(*uid == 0 || *uid == told, "{line}, but {number} was {uid}");
            *uid = told;
            *flags = flags_in(line).unwrap_or_else(|| flags.clone());
        }
    }

    /// The picture by UID, with what has no UID yet asked for first.
    fn by_uid(&mut self) -> BTreeMap<u32, String> {
        self.does("UID FETCH 1:* (UID FLAGS)");
        self.messages.iter().cloned().collect()
    }
}

fn number_after(line: &str, word: &str) -> Option<u32> {
    line.split_once(word)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The flags of a FETCH as the snapshot writes them.
fn flags_in(line: &str) -> Option<String> {
    let list = line.split_once("FLAGS (")?.1.split(')').next()?;
    let mut flags: Vec<&str> = list.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent").collect();
    flags.sort_unstable();
    Some(flags.join(" "))
}

fn holds(set: &str, uid: u32) -> bool {
    set.split(',').any(|range| {
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        from.parse().is_ok_and(|from: u32| from <= uid) && to.parse().is_ok_and(|to: u32| uid <= to)
    })
}
