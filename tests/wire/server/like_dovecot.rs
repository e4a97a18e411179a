//! The same dialogue with this server and with a real Dovecot gives the same answers.
//!
//! What may differ is taken out: human text, times, CAPABILITY, MAILBOXID; UIDVALIDITY becomes `V1`, `V2`, ... in order
//! of appearance and a mod-sequence becomes `m`. What is left has to agree line for line: flags, UIDs, sequence numbers,
//! VANISHED sets, COPYUID, response codes, and when each is told.

use super::agitated::draw;
use super::dialogue::Dialogue;
use crate::support::dovecot::{Dovecot, Settings};
use crate::support::server::{Author, Profile, Server};

/// How many dialogues are drawn.
const SEEDS: u64 = 30;

const ROLES: [(&str, &str); 2] = [("Drafts", "\\Drafts"), ("Trash", "\\Trash")];

/// Who says what. `$V` is the UIDVALIDITY and `$M` the HIGHESTMODSEQ that was told last before "remember".
const SCRIPT: &[(char, &str)] = &[
    ('A', "ENABLE QRESYNC"),
    ('A', "LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UNSEEN))"),
    ('A', "CREATE Box/Sub"),
    ('A', "CREATE INBOX"),
    ('A', "LIST \"\" \"Box*\""),
    ('A', "SELECT INBOX"),
    ('A', "APPEND INBOX (\\Seen foo) \"17-Jul-1996 02:44:25 -0700\" «Subject: 1⏎⏎one⏎⏎»"),
    ('A', "APPEND INBOX «Subject: 2⏎⏎two⏎⏎» (\\Flagged) «Subject: 3⏎⏎thr⏎⏎» «Subject: 4⏎⏎fou⏎⏎»"),
    ('A', "APPEND INBOX «none» «»"),
    ('A', "APPEND Nope «x»"),
    ('A', "APPEND Nope {1}"),
    ('B', "SELECT INBOX (CONDSTORE)"),
    ('A', "remember"),
    ('A', "UID STORE 1 +FLAGS (\\Seen)"),
    ('A', "UID STORE 1:3 +FLAGS (\\Answered)"),
    ('A', "UID STORE 1:2 +FLAGS.SILENT (BAR)"),
    ('A', "STORE 2 +FLAGS (FOO)"),
    ('B', "NOOP"),
    ('B', "UID STORE 4 (UNCHANGEDSINCE 1) +FLAGS (\\Deleted)"),
    ('B', "UID STORE 4 (UNCHANGEDSINCE 1000) +FLAGS (\\Deleted)"),
    ('A', "NOOP"),
    ('A', "UID EXPUNGE 4"),
    ('A', "UID EXPUNGE 4"),
    ('B', "UID FETCH 4 (FLAGS BODY.PEEK[])"),
    ('B', "FETCH 1:4 (FLAGS)"),
    ('B', "UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ)"),
    ('B', "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)"),
    ('A', "UID FETCH 1:2 (BODY.PEEK[HEADER.FIELDS (Subject To)] BODY.PEEK[HEADER] BODY.PEEK[TEXT])"),
    ('A', "UID FETCH 100:* (FLAGS)"),
    ('A', "UID FETCH 1:* (FLAGS) (CHANGEDSINCE $M VANISHED)"),
    ('A', "UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE $M VANISHED)"),
    ('A', "UID SEARCH ALL"),
    ('A', "UID SEARCH RETURN (ALL COUNT) NOT UID 2"),
    ('A', "UID SEARCH RETURN (ALL COUNT) DELETED"),
    ('A', "UID SEARCH MODSEQ 1 KEYWORD bar"),
    ('A', "UID COPY 3,1 Box/Sub"),
    ('A', "UID COPY 99 Box/Sub"),
    ('A', "UID COPY 1 Nope"),
    ('A', "SELECT INBOX (QRESYNC ($V $M))"),
    ('A', "SELECT INBOX (QRESYNC ($V $M 3:4))"),
    ('A', "SELECT INBOX (QRESYNC (1 $M))"),
    ('A', "SELECT INBOX (QRESYNC ($V 100000))"),
    ('A', "UID MOVE 2,1 Box/Sub"),
    ('A', "UID MOVE 99 Box/Sub"),
    ('B', "UID MOVE 3 Box/Sub"),
    ('A', "NOOP"),
    ('B', "APPEND INBOX «Subject: 5⏎⏎fiv⏎⏎»"),
    ('A', "NOOP"),
    ('A', "STATUS Box/Sub (MESSAGES RECENT UIDNEXT UNSEEN)"),
    ('A', "STATUS Nope (MESSAGES)"),
    ('A', "SELECT Box/Sub"),
    ('A', "UID FETCH 1:* (FLAGS RFC822.SIZE)"),
    ('A', "EXAMINE INBOX"),
    ('A', "UID STORE 5 +FLAGS (\\Seen)"),
    ('A', "SELECT Nope"),
    ('A', "UID FETCH 1 (FLAGS)"),
    ('B', "UID STORE 5 +FLAGS.SILENT (\\Deleted)"),
    ('B', "EXPUNGE"),
    ('B', "CLOSE"),
    ('B', "UNSELECT"),
    ('A', "RENAME Box/Sub Elsewhere"),
    ('A', "SELECT Elsewhere (QRESYNC ($V 1))"),
    ('A', "DELETE INBOX"),
    ('A', "DELETE Nope"),
    ('A', "RENAME Nope Other"),
    ('A', "NONSENSE"),
    ('A', "UID STORE x FLAGS ()"),
    ('A', "LOGOUT"),
];

#[test]
fn the_same_dialogue_gives_the_same_answers_as_dovecot() {
    let (ours, dovecot) = pair();
    ours.account("ann");
    for (name, role) in ROLES {
        ours.create_with_role("ann", name, role);
    }
    ours.with(|model| model.subscribe(Author::Other, "ann", "INBOX", false));
    let script: Vec<(char, String)> = SCRIPT.iter().map(|(who, said)| (*who, (*said).to_owned())).collect();
    compare("the script", &play(ours.port(), "ann", &script), &play(dovecot.imap_port, "ann", &script));
}

#[test]
fn drawn_dialogues_give_the_same_answers_as_dovecot() {
    let (ours, dovecot) = pair();
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let said = ["ENABLE QRESYNC", "CREATE To", "SELECT INBOX", "APPEND INBOX «1» «2» «3» «4» (\\Seen kw) «5»"];
        let mut script: Vec<(char, String)> = said.map(|said| ('A', said.to_owned())).into();
        script.push(('B', "SELECT INBOX".to_owned()));
        script.push(('A', "remember".to_owned()));
        for _ in 0..40 {
            script.push((['A', 'B'][random.usize(..2)], draw(&mut random)));
        }
        script.push(('A', "SELECT INBOX (QRESYNC ($V $M))".to_owned()));
        script.push(('B', "UID FETCH 1:* (FLAGS)".to_owned()));
        let user = format!("ann{seed}");
        ours.account(&user);
        let [mut here, mut there] = [ours.port(), dovecot.imap_port].map(|port| play(port, &user, &script));
        // Dovecot's rises also by a STORE to messages that another session has expunged: when it is told may differ.
        for (_, lines) in here.iter_mut().chain(&mut there) {
            lines.retain(|line| line != "* OK [HIGHESTMODSEQ m]");
            lines.iter_mut().for_each(|line| *line = line.replace("HIGHESTMODSEQ m", ""));
        }
        compare(&format!("SEED={seed}"), &here, &there);
    }
}

/// Our server and a Dovecot.
fn pair() -> (Server, Dovecot) {
    let special_use = ROLES.map(|(name, role)| (name.to_owned(), role.to_owned())).into();
    let settings = Settings { special_use, ..Settings::default() };
    (Server::start(Profile::full()), Dovecot::with(&settings))
}

/// Steps and their answers.
type Answers = Vec<(String, Vec<String>)>;

fn compare(what: &str, here: &Answers, there: &Answers) {
    for (step, ((said, here), (_, there))) in here.iter().zip(there).enumerate() {
        assert_eq!(here, there, "\n{what}, step {step}, {said}: our server on the left, Dovecot on the right");
    }
}

/// The steps and their answers without what may differ.
fn play(port: u16, user: &str, script: &[(char, String)]) -> Answers {
    let mut clients = ['A', 'B'].map(|name| (name, Dialogue::login(port, user)));
    let (mut uid_validity, mut mod_seq) = (String::new(), String::new());
    let mut remembered = (String::new(), String::new());
    let (mut validities, mut answers) = (Vec::new(), Vec::new());
    for (who, said) in script {
        if said == "remember" {
            remembered = (uid_validity.clone(), mod_seq.clone());
            continue;
        }
        let filled = said.replace("$V", &remembered.0).replace("$M", &remembered.1);
        let client = clients.iter_mut().find(|(name, _)| name == who).expect("there are A and B");
        let answer = client.1.ask(&filled);
        for line in &answer {
            uid_validity = number_after(line, "UIDVALIDITY ").unwrap_or(uid_validity);
            mod_seq = number_after(line, "HIGHESTMODSEQ ").unwrap_or(mod_seq);
        }
        let mut lines: Vec<String> = answer.iter().filter_map(|line| bare(line, &mut validities)).collect();
        if said.starts_with("LIST") {
            lines.sort();
        }
        answers.push((format!("{who}: {said}"), lines));
    }
    answers
}

fn number_after(line: &str, word: &str) -> Option<String> {
    let (_, rest) = line.split_once(word)?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(number).filter(|number| !number.is_empty())
}

/// The line without what may differ; `None` where nothing is left.
fn bare(line: &str, validities: &mut Vec<String>) -> Option<String> {
    if line.contains("MAILBOXID") && line.starts_with("* ") {
        return None;
    }
    let status = ["OK", "NO", "BAD", "* OK", "* NO", "* BYE"].into_iter().find(|status| line.starts_with(status));
    let mut bare = match status {
        Some(status) => {
            let code = line.split_once('[').filter(|(before, _)| before.trim() == status);
            let code = code.and_then(|(_, rest)| rest.split_once(']')).map_or("", |(code, _)| code);
            // A courtesy of one server or the other.
            let courtesy = code.starts_with("MAILBOXID") || code == "CLIENTBUG" || code == "CANNOT";
            format!("{status} [{}]", if courtesy { "" } else { code })
        }
        None => line.to_owned(),
    };
    for word in ["UIDVALIDITY ", "COPYUID ", "APPENDUID "] {
        if let Some(number) = number_after(&bare, word) {
            let at = validities.iter().position(|known| *known == number).unwrap_or_else(|| {
                validities.push(number.clone());
                validities.len() - 1
            });
            bare = bare.replace(&format!("{word}{number}"), &format!("{word}V{}", at + 1));
        }
    }
    for word in ["MODSEQ (", "MODSEQ "] {
        if let Some(number) = number_after(&bare, word) {
            bare = bare.replace(&format!("{word}{number}"), &format!("{word}m"));
        }
    }
    if let Some((before, after)) = bare.split_once("INTERNALDATE \"") {
        bare = format!("{before}INTERNALDATE{}", after.split_once('"').map_or("", |(_, rest)| rest));
    }
    Some(bare)
}
