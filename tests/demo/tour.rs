//! The demonstration from beginning to end; it reads as it is seen.

use crate::letters::{ARRIVAL, DRAFT, USER, deliver, serve, text};
use crate::server::{PASSWORD, Server, StoreMode};
use crate::sides::Sides;
use crate::stage::{Ink, Stage};
use maildir::{MailEntry, Maildir};
use std::error::Error;
use std::os::unix::fs::OpenOptionsExt as _;

type Done = Result<(), Box<dyn Error>>;

/// Shows it all. What it makes stays.
pub fn run(step: bool) -> Done {
    let server = serve();
    let mut stage = Stage::new(step)?;
    introduce(&server, &stage)?;
    ask(&mut stage)?;
    let all = first_run(&server, &mut stage)?;
    let after = both_ways(&server, &mut stage, &all)?;
    accident(&server, &mut stage, &after)?;
    farewell(&mut stage)
}

fn introduce(server: &Server, stage: &Stage) -> Done {
    let configuration = format!(
        "state-dir = \"{home}/state\"\n\n[account.demo]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
         user = \"{USER}\"\npassword = \"{PASSWORD}\"\nmaildir = \"{home}/Mail\"\n",
        home = stage.home().display(),
        port = server.port(),
    );
    let mut private = std::fs::OpenOptions::new();
    let mut file = private.write(true).create_new(true).mode(0o600).open(stage.configuration())?;
    std::io::Write::write_all(&mut file, configuration.as_bytes())?;

    println!("{}\n", stage.ink(Ink::Strong, "mailtwin: a Maildir and a remote mailbox, twins before your eyes"));
    println!("A private IMAP server now runs inside this program, with some mail of a certain");
    println!("Ada. No other machine is asked for anything. The configuration of this account,");
    println!("{}:\n", stage.configuration().display());
    for line in configuration.lines() {
        println!("{}", stage.ink(Ink::Faint, format!("    {line}").trim_end()));
    }
    println!("\n`mailtwin` below is run with --config and this file.");
    Ok(())
}

fn ask(stage: &mut Stage) -> Done {
    stage.chapter("Will it work, and what is there?")?;
    stage.mailtwin(&["check"], 0)?;
    println!();
    stage.mailtwin(&["folders", "demo"], 0)
}

fn first_run(server: &Server, stage: &mut Stage) -> Result<Sides, Box<dyn Error>> {
    stage.chapter("The first run fetches everything, the second finds nothing to do")?;
    stage.mailtwin(&["sync"], 0)?;
    stage.mailtwin(&["sync"], 0)?;
    let sides = Sides::look(server, &stage.maildir())?;
    sides.show(&Sides::default(), stage);
    twins(&sides)?;
    Ok(sides)
}

fn both_ways(server: &Server, stage: &mut Stage, before: &Sides) -> Result<Sides, Box<dyn Error>> {
    stage.chapter("Both sides change")?;
    println!("On the server a letter from Charles arrives, and Ada reads another on her phone.");
    println!("Here she flags a message, deletes one, and begins an answer: what a mail reader");
    println!("does, done by another program's library.");
    deliver(server, &ARRIVAL);
    let luigi = uid_of(server, "INBOX", "Notes on the engine")?;
    server.store(USER, "INBOX", &[luigi], StoreMode::Add, &["\\Seen"]);
    let inbox = Maildir::from(stage.maildir().join("INBOX"));
    inbox.add_flags(find(&inbox, "The mill runs")?.id(), "F")?;
    inbox.delete(find(&inbox, "Only today: punched cards")?.id())?;
    Maildir::from(stage.maildir().join("Drafts"))
        .store_cur_with_flags(text(&DRAFT).replace("\r\n", "\n").as_bytes(), "DS")?;
    let changed = Sides::look(server, &stage.maildir())?;
    changed.show(before, stage);

    println!("A file that is not seen may be on its way to another name; so a deletion counts");
    println!("only if a second look, five seconds later, agrees.\n");
    stage.mailtwin(&["sync", "--dry-run"], 0)?;
    println!();
    stage.mailtwin(&["sync"], 0)?;
    let sides = Sides::look(server, &stage.maildir())?;
    sides.show(&changed, stage);
    twins(&sides)?;
    println!("What was deleted here lies in the server's Trash.");
    Ok(sides)
}

fn accident(server: &Server, stage: &mut Stage, before: &Sides) -> Done {
    stage.chapter("An accident")?;
    let place = stage.maildir().join("Lists/looms");
    println!("All files of a mailbox are removed: a slip of the hand, a bad restore.\n");
    println!("{}", stage.ink(Ink::Command, "$ rm Mail/Lists/looms/{new,cur}/*"));
    let looms = Maildir::from(place);
    for entry in looms.list_new().chain(looms.list_cur()) {
        std::fs::remove_file(entry?.path())?;
    }
    stage.mailtwin(&["sync"], 3)?;
    let held = Sides::look(server, &stage.maildir())?;
    held.show(before, stage);
    if held.there() != before.there() {
        return Err("the server lost mail by the accident".into());
    }
    println!("The server keeps them all: so many at once is for a person to decide.\n");
    stage.mailtwin(&["status"], 0)?;
    println!();
    stage.mailtwin(&["reject", "demo"], 0)?;
    stage.mailtwin(&["sync"], 0)?;
    let sides = Sides::look(server, &stage.maildir())?;
    sides.show(&held, stage);
    twins(&sides)?;
    if sides.there() == before.there() { Ok(()) } else { Err("not everything is back".into()) }
}

fn farewell(stage: &mut Stage) -> Done {
    stage.chapter("Yours to look at")?;
    stage.mailtwin(&["status"], 0)?;
    let (home, mail) = (stage.home().display(), stage.maildir());
    let mail = mail.display();
    let settings = format!(
        "[database]\npath={mail}\n[user]\nname=Ada\nprimary_email=ada@example.org\n\
         [new]\nignore=mailtwin-root;mailtwin-folder;dovecot-keywords\n"
    );
    std::fs::write(stage.home().join("notmuch.conf"), settings)?;
    let settings = format!(
        "set folder = \"{mail}\"\nset mbox_type = Maildir\nset spoolfile = +INBOX\nset record = +Sent\n\
         set postponed = +Drafts\nmailboxes +INBOX +Drafts +Sent +Trash +Lists/looms\nset sidebar_visible\n"
    );
    std::fs::write(stage.home().join("muttrc"), settings)?;
    println!("\nThe Maildir stays. To open it with what you have:\n");
    println!("    neomutt -F {home}/muttrc");
    println!("    mutt -F {home}/muttrc");
    println!("    notmuch --config={home}/notmuch.conf new");
    println!("    notmuch --config={home}/notmuch.conf search '*'");
    println!("    find {mail} -type f");
    println!("\nThe server ends here, and a `sync` would say so. To remove everything:\n");
    println!("    rm -r {home}");
    println!("\nAn account of your own needs five lines: README.md.");
    Ok(())
}

/// The promise of it all.
fn twins(sides: &Sides) -> Done {
    if sides.agree() { Ok(()) } else { Err("the two sides differ where they should be twins".into()) }
}

fn find(maildir: &Maildir, subject: &str) -> Result<MailEntry, Box<dyn Error>> {
    for entry in maildir.list_new().chain(maildir.list_cur()) {
        let entry = entry?;
        if std::fs::read_to_string(entry.path())?.contains(&format!("Subject: {subject}\n")) {
            return Ok(entry);
        }
    }
    Err(format!("\"{subject}\" is not in the Maildir").into())
}

fn uid_of(server: &Server, mailbox: &str, subject: &str) -> Result<u32, Box<dyn Error>> {
    let wanted = format!("Subject: {subject}\r\n");
    let there = server.snapshot(USER).remove(mailbox).unwrap_or_default();
    let found = there.iter().find(|(_, _, body)| String::from_utf8_lossy(body).contains(&wanted));
    Ok(found.ok_or(format!("\"{subject}\" is not on the server"))?.0)
}
