//! A server as a scenario needs it: seeded, changed by another client, looked at.

use super::tree::{Edit, Mail, Names, Tree, body, edits};
use crate::support::server::{self, Server, StoreMode};
use std::collections::BTreeMap;

/// A message as it lies on the server: UID, flags, bytes.
pub type There = (u32, Vec<String>, Vec<u8>);

/// The server's side of one account, as another client sees it.
pub trait Host {
    fn create(&mut self, mailbox: &str);
    fn delete(&mut self, mailbox: &str);
    fn rename(&mut self, from: &str, to: &str);
    fn deliver(&mut self, mailbox: &str, body: &[u8], flags: &[String]);
    fn mark(&mut self, mailbox: &str, uid: u32, flags: &[String]);
    fn expunge(&mut self, mailbox: &str, uid: u32);
    fn relocate(&mut self, mailbox: &str, uid: u32, to: &str);
    /// All mailboxes with their messages.
    fn list(&mut self) -> BTreeMap<String, Vec<There>>;

    fn tree(&mut self, names: &Names) -> Tree {
        let mail = |(_, flags, bytes): There| Mail::of_wire(&names.name(&bytes), flags.iter().map(String::as_str));
        let all = self.list().into_iter();
        let mut tree = Tree(all.map(|(name, found)| (name, found.into_iter().map(mail).collect())).collect());
        tree.sort();
        tree
    }

    /// Does what another client does to come from one state to the other.
    fn edit(&mut self, before: &Tree, after: &Tree, names: &Names) {
        let mut there = self.list();
        let mut take = |mailbox: &str, was: &Mail| -> u32 {
            let found = there.get_mut(mailbox).expect("the mailbox is there");
            let is =
                |(_, flags, bytes): &There| Mail::of_wire(&names.name(bytes), flags.iter().map(String::as_str)) == *was;
            let at = found.iter().position(is).unwrap_or_else(|| panic!("{was:?} is not in {mailbox}"));
            found.remove(at).0
        };
        for edit in edits(before, after) {
            match edit {
                // It is always there.
                Edit::MakeMailbox("INBOX") => {}
                Edit::MakeMailbox(mailbox) => self.create(mailbox),
                Edit::RemoveMailbox(mailbox) => self.delete(mailbox),
                Edit::Add { mailbox, mail } => self.deliver(mailbox, &crlf(&body(&mail.name)), &mail.wire()),
                Edit::Mark { mailbox, was, mail } => {
                    let uid = take(mailbox, was);
                    self.mark(mailbox, uid, &mail.wire());
                }
                Edit::Remove { mailbox, mail } => {
                    let uid = take(mailbox, mail);
                    self.expunge(mailbox, uid);
                }
                Edit::Move { from, was, to, mail } => {
                    let uid = take(from, was);
                    assert_eq!(was, mail, "a table moves a message, or marks it");
                    self.relocate(from, uid, to);
                }
            }
        }
    }
}

/// Lines ended as IMAP has them.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (i, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (i == 0 || bytes[i - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// The account `ann` of a test server.
pub struct Twinless<'s>(pub &'s Server);

pub const USER: &str = "ann";

impl Host for Twinless<'_> {
    fn create(&mut self, mailbox: &str) {
        self.0.create(USER, mailbox);
    }

    fn delete(&mut self, mailbox: &str) {
        self.0.delete(USER, mailbox);
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.0.rename(USER, from, to);
    }

    fn deliver(&mut self, mailbox: &str, body: &[u8], flags: &[String]) {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.0.deliver(USER, mailbox, body, &flags);
    }

    fn mark(&mut self, mailbox: &str, uid: u32, flags: &[String]) {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.0.store(USER, mailbox, &[uid], StoreMode::Replace, &flags);
    }

    fn expunge(&mut self, mailbox: &str, uid: u32) {
        self.0.expunge(USER, mailbox, &[uid]);
    }

    fn relocate(&mut self, mailbox: &str, uid: u32, to: &str) {
        self.0.move_messages(USER, mailbox, &[uid], to);
    }

    fn list(&mut self) -> BTreeMap<String, Vec<There>> {
        let message = |(uid, flags, body): (u32, String, Vec<u8>)| {
            (uid, flags.split_whitespace().map(str::to_owned).collect(), body)
        };
        let all = self.0.snapshot(USER).into_iter();
        all.map(|(name, found)| (name, found.into_iter().map(message).collect())).collect()
    }
}
