//! The mail of the demonstration: a few letters of an invented Ada, as bytes.

use crate::server::{Arrival, Author, Profile, Server};

/// The user, and the name under which everybody writes to her.
pub const USER: &str = "ada";

/// A letter: mailbox, flags, sender, subject, day of November 2025, text.
type Letter = (&'static str, &'static [&'static str], &'static str, &'static str, u32, &'static str);

const SEEN: &[&str] = &["\\Seen"];

/// What lies on the server at the beginning.
const LETTERS: &[Letter] = &[
    ("INBOX", SEEN, "Charles <charles@example.net>", "The mill runs", 3, "It runs!\n\nCome and see it on Thursday."),
    ("INBOX", &["\\Seen", "\\Answered"], "Mary <mary@example.org>", "Lunch on Thursday?", 4, "At one, as ever?"),
    ("INBOX", &["\\Seen", "\\Flagged"], "The bank <bank@example.com>", "Your statement", 5, "You have enough."),
    ("INBOX", &[], "Luigi <luigi@example.it>", "Notes on the engine", 6, "May I translate your notes?"),
    ("INBOX", SEEN, "Offers <shop@example.com>", "Only today: punched cards", 7, "Half the price, twice the holes."),
    ("Sent", SEEN, "Ada <ada@example.org>", "Re: Lunch on Thursday?", 4, "With pleasure."),
    ("Drafts", &["\\Seen", "\\Draft"], "Ada <ada@example.org>", "Note G", 8, "We may say most aptly that"),
    ("Lists/looms", SEEN, "Joseph <joseph@example.fr>", "A hook that slips", 1, "Has anybody seen this?"),
    ("Lists/looms", SEEN, "Marie <marie@example.fr>", "Re: A hook that slips", 1, "Oil it."),
    ("Lists/looms", SEEN, "Joseph <joseph@example.fr>", "Re: Re: A hook that slips", 2, "It helped. Thank you."),
    ("Lists/looms", &["\\Seen", "Pattern"], "Basile <basile@example.fr>", "A pattern of roses", 2, "24,000 cards."),
    ("Lists/looms", SEEN, "Marie <marie@example.fr>", "Meeting in Lyon", 3, "On the first Sunday."),
    ("Lists/looms", &[], "Basile <basile@example.fr>", "Re: Meeting in Lyon", 8, "I shall be there."),
];

/// What arrives while the demonstration runs.
pub const ARRIVAL: Letter =
    ("INBOX", &[], "Charles <charles@example.net>", "Bring the drawings", 9, "And thank you for the notes.");

/// What is written in the Maildir while the demonstration runs.
pub const DRAFT: Letter =
    ("Drafts", &["\\Seen", "\\Draft"], "Ada <ada@example.org>", "Re: Bring the drawings", 9, "I have them here.");

/// A server with the account and its letters.
pub fn serve() -> Server {
    let server = Server::start(Profile::full());
    server.account(USER);
    for (mailbox, role) in [("Drafts", "\\Drafts"), ("Sent", "\\Sent"), ("Trash", "\\Trash")] {
        server.create_with_role(USER, mailbox, role);
    }
    server.create(USER, "Lists/looms");
    LETTERS.iter().for_each(|letter| deliver(&server, letter));
    server
}

/// Puts a letter on the server, as its sender's server would.
pub fn deliver(server: &Server, letter: &Letter) {
    let (mailbox, flags, _, _, day, _) = letter;
    let date = format!("{day:02}-Nov-2025 09:{day:02}:00 +0000");
    let arrival = Arrival { internal_date: Some(date), ..Arrival::new(text(letter), flags) };
    let uids = server.with(|model| model.append(Author::Other, USER, mailbox, vec![arrival]));
    uids.expect("the mailbox was made");
}

/// The letter with its header, as it is sent.
pub fn text((mailbox, _, from, subject, day, body): &Letter) -> String {
    let to = if mailbox.starts_with("Lists/") { "looms@lists.example.fr" } else { "Ada <ada@example.org>" };
    let id = subject.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let lines = [
        format!("From: {from}"),
        format!("To: {to}"),
        format!("Subject: {subject}"),
        format!("Date: {day} Nov 2025 09:{day:02}:00 +0000"),
        format!("Message-ID: <{id}.{day}@example.org>"),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        String::new(),
        body.replace('\n', "\r\n"),
        String::new(),
    ];
    lines.join("\r\n")
}
