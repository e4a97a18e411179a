//! The scenarios.
//!
//! A row is a mailbox: what both sides held when they last agreed, what the server and the Maildir hold now, and what
//! they hold after the run. `=` is what the cell stands for by default: now as remembered, the Maildir as the server.

use super::host::Host;
use super::mailboxes;
use super::stage::Stage;
use super::tree::{Tree, body};
use crate::support::server::{Act, Arrival, Author, Profile, Server, StoreMode, When};
use std::collections::BTreeSet;

/// In the place of a command: the rules of the test server no longer hold.
pub const RULES_END: &str = "the rules end";
/// In the place of a command: the files that were removed from the Maildir are put back as they were.
pub const FILES_RETURN: &str = "the files return";
/// In the place of a command: the state is lost.
pub const STATE_LOST: &str = "the state is lost";
/// In the place of a command: the state is what it was when both sides last agreed.
pub const STATE_RETURNS: &str = "the state returns";
/// In the place of a command: the Maildir is what it was when both sides last agreed.
pub const MAILDIR_RETURNS: &str = "the Maildir returns";

/// A scenario, parsed.
pub struct Scenario {
    pub name: &'static str,
    /// What both sides held when they last agreed: the server's keywords included.
    pub remembered: Tree,
    pub server: Tree,
    pub maildir: Tree,
    /// The end, of the server and of the Maildir.
    pub end: (Tree, Tree),
    /// What is run, and the exit codes.
    pub script: Vec<(&'static str, u8)>,
    /// The profiles of the test server that it is swept in; none: all.
    pub profiles: Option<&'static [&'static str]>,
    /// Mailboxes that another client renamed on the server.
    pub renamed_there: Vec<(&'static str, &'static str)>,
    /// Mailboxes that another client deleted on the server and made anew.
    pub remade_there: Vec<&'static str>,
    /// Directories that somebody renamed.
    pub renamed_here: Vec<(&'static str, &'static str)>,
    /// Directories that somebody copied, markers included.
    pub copied_here: Vec<(&'static str, &'static str)>,
    /// No message may go over the wire.
    pub transfers_nothing: bool,
    /// More lines for the account's table.
    pub account: &'static str,
    pub profile: fn(Profile) -> Profile,
    pub roles: fn(&Server),
    pub rules: fn(&Server),
    /// Mailboxes that are on the server when it is first seen, and not mirrored.
    agreed: (Tree, Tree),
    /// It is played on a server without QRESYNC as well.
    pub changes_only: bool,
    /// It is about nothing that the kind of server has to do with: one profile tells as much as three.
    pub one_profile: bool,
    /// What it says of the server holds for a real Dovecot too.
    pub dovecot: bool,
    /// Mailboxes of the server are looked at only, and nothing is changed there.
    pub only_looks: bool,
}

impl Scenario {
    pub(super) fn parse(name: &'static str, rows: &str) -> Self {
        let mut trees: [Tree; 5] = Default::default();
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            // A hierarchy that no directory can hold.
            let deep = vec!["deep"; 120].join("/");
            let [mailbox, remembered, server, maildir, server_after, maildir_after] = cells[..] else {
                panic!("{name}: a row has six cells: {row}");
            };
            let mailbox = if mailbox == "DEEP" { &deep } else { mailbox };
            let or = |cell, default| if cell == "=" { default } else { cell };
            let cells = [
                remembered,
                or(server, remembered),
                or(maildir, remembered),
                server_after,
                or(maildir_after, server_after),
            ];
            for (tree, cell) in trees.iter_mut().zip(cells) {
                tree.add(mailbox, cell);
            }
        }
        let [remembered, server, maildir, server_after, maildir_after] = trees;
        let agreed = (remembered.clone(), remembered.clone());
        Self {
            name,
            remembered,
            server,
            maildir,
            end: (server_after, maildir_after),
            script: vec![("sync", 0)],
            profiles: None,
            renamed_there: vec![],
            remade_there: vec![],
            renamed_here: vec![],
            copied_here: vec![],
            transfers_nothing: false,
            account: "",
            profile: |profile| profile,
            roles: |_| {},
            rules: |_| {},
            agreed,
            changes_only: false,
            one_profile: false,
            dovecot: true,
            only_looks: false,
        }
    }

    /// Whether there was a sync before.
    pub fn is_remembered(&self) -> bool {
        !self.remembered.0.is_empty()
    }

    /// What both sides hold after the first sync.
    pub fn agreed(&self) -> (Tree, Tree) {
        self.agreed.clone()
    }

    /// All messages that occur.
    pub fn names(&self) -> BTreeSet<String> {
        let trees = [&self.remembered, &self.server, &self.maildir, &self.end.0, &self.end.1];
        trees.into_iter().flat_map(Tree::names).collect()
    }

    /// Keywords have no letters in the Maildir.
    fn without_letters(mut self) -> Self {
        for tree in [&mut self.maildir, &mut self.agreed.1, &mut self.end.1] {
            *tree = std::mem::take(tree).without_keywords();
        }
        self
    }

    /// A mode in which nothing is changed on the server.
    fn only_looks(mut self, lines: &'static str) -> Self {
        (self.account, self.only_looks) = (lines, true);
        self
    }

    pub(super) fn exit(mut self, code: u8) -> Self {
        self.script = vec![("sync", code)];
        self
    }

    pub(super) fn script(mut self, script: &[(&'static str, u8)]) -> Self {
        self.script = script.to_vec();
        self
    }

    pub(super) fn only_in(mut self, profiles: &'static [&'static str]) -> Self {
        self.profiles = Some(profiles);
        self
    }

    pub(super) fn renamed_there(mut self, renames: &[(&'static str, &'static str)]) -> Self {
        self.renamed_there = renames.to_vec();
        self
    }

    pub(super) fn remade_there(mut self, names: &[&'static str]) -> Self {
        self.remade_there = names.to_vec();
        self
    }

    /// Does with the mailboxes of the server what another client did.
    pub fn move_mailboxes(&self, host: &mut dyn Host) {
        self.renamed_there.iter().for_each(|(from, to)| host.rename(from, to));
        for name in &self.remade_there {
            host.delete(name);
            host.create(name);
        }
    }

    pub(super) fn renamed_here(mut self, renames: &[(&'static str, &'static str)]) -> Self {
        self.renamed_here = renames.to_vec();
        self
    }

    pub(super) fn copied_here(mut self, copies: &[(&'static str, &'static str)]) -> Self {
        self.copied_here = copies.to_vec();
        self
    }

    pub(super) fn transfers_nothing(mut self) -> Self {
        self.transfers_nothing = true;
        self
    }

    /// Does with the directories what somebody did.
    pub fn move_directories(&self, stage: &Stage) {
        self.renamed_here.iter().for_each(|(from, to)| stage.rename(from, to));
        self.copied_here.iter().for_each(|(from, to)| stage.duplicate(from, to));
    }

    pub(super) fn account(mut self, lines: &'static str) -> Self {
        self.account = lines;
        self
    }

    /// Such a server as no Dovecot is.
    pub(super) fn profile(mut self, profile: fn(Profile) -> Profile) -> Self {
        self.profile = profile;
        self.dovecot = false;
        self
    }

    /// Roles that the mailboxes have on the server.
    pub(super) fn roles(mut self, roles: fn(&Server)) -> Self {
        self.roles = roles;
        self.dovecot = false;
        self
    }

    pub(super) fn rules(mut self, rules: fn(&Server)) -> Self {
        self.rules = rules;
        self.dovecot = false;
        self
    }

    /// What it needs of a server, every Dovecot has, and ours is configured for the role.
    pub(super) fn also_on_dovecot(mut self) -> Self {
        self.dovecot = true;
        self
    }

    fn changes_only_too(mut self) -> Self {
        self.changes_only = true;
        self
    }

    fn one_profile(mut self) -> Self {
        self.one_profile = true;
        self
    }

    /// What the Maildir holds after the first sync, where that is not what the server holds.
    fn agreed_here(mut self, rows: &str) -> Self {
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (mailbox, cell) = row.split_once('|').expect("a mailbox and what it holds");
            self.agreed.1.0.remove(mailbox.trim());
            self.agreed.1.add(mailbox.trim(), cell.trim());
        }
        self
    }

    /// These mailboxes of the server are not mirrored.
    pub(super) fn not_mirrored(mut self, names: &[&str]) -> Self {
        for name in names {
            for tree in [&mut self.agreed.1, &mut self.maildir, &mut self.end.1] {
                tree.0.remove(*name);
            }
        }
        self
    }
}

fn with_move(profile: Profile) -> Profile {
    if profile.has("MOVE") { profile } else { profile.with(&["MOVE"]) }
}

/// The roles of Gmail's own mailboxes.
fn gmail_roles(server: &Server) {
    server.with(|model| {
        for (name, role) in [("All Mail", "\\All"), ("Important", "\\Important"), ("Trash", "\\Trash")] {
            model.mailbox_mut("ann", name).expect("it is there").role = Some(role.to_owned());
        }
    });
}

/// All of them.
#[rustfmt::skip]
pub fn scenarios() -> Vec<Scenario> {
    let s = Scenario::parse;
    let mut all = vec![
        s("a first sync of an account", "
            INBOX   | - | a b:S c:SRF{work} | - | a b:S c:SRF{work} | =
            Archive | - | d:S               | - | d:S               | =
            Lists/a | - | e                 | - | e                 | ="),
        s("nothing happened", "
            INBOX   | a b:S | = | = | a b:S | =
            Archive | .     | = | = | .     | ="),
        s("new on the server", "
            INBOX   | a | a b c:S | = | a b c:S | =
            Archive | . | d:R     | = | d:R     | ="),
        s("new here", "
            INBOX   | a | = | a b c:S | a b c:S | =
            Archive | . | = | d:FR    | d:FR    | ="),
        s("new on both sides", "
            INBOX   | a | a b | a c:S | a b c:S | =
            Archive | . | d   | e:P   | d e:P   | =")
        .changes_only_too(),
        s("the same bytes come on both sides", "
            INBOX   | a | a b | a b | a b b | ="),
        s("flags changed on the server", "
            INBOX   | a b:S c:F | a:S b c:FR | = | a:S b c:FR | ="),
        s("flags changed here", "
            INBOX   | a b:S c:F | = | a:S b c:FP | a:S b c:FP | ="),
        s("flags changed on both sides", "
            INBOX   | a b:S c:F  | a:S b:SF c | a:F b c:FS | a:FS b:F c:S | =")
        .changes_only_too(),
        s("the same flag was set and removed on both sides", "
            INBOX   | a b:S | a:S b | a:S b | a:S b | ="),
        s("keywords changed there", "
            INBOX   | a{work} b | a:S{work,later} b{x} c{work} | = | a:S{work,later} b{x} c{work} | =
            Archive | d{work}   | d                            | = | d                            | ="),
        s("keywords changed here", "
            INBOX   | a{work} b | = | a:S{work,later} b{x} c{work} | a:S{work,later} b{x} c{work} | =
            Archive | d{work}   | = | d                            | d                            | ="),
        s("keywords changed on both sides", "
            INBOX   | a{work} b | a{work,later} b:P{x} | a:S b:F{y} | a:S{later} b:PF{x,y} | ="),
        s("keywords differ in case only", "
            INBOX   | a{Work} b | a{Work} b{work} | a:S{Work} b{WORK} | a:S{Work} b{Work} | ="),
        s("keywords of the server stay in the database while flags change here", "
            INBOX   | a{work} b | a{work,later} b{x} | a:S{work} b:F | a:S{work,later} b:F{x} | =")
        .account("keywords = \"database\"")
        .without_letters(),
        s("no keyword is synchronised", "
            INBOX   | a{work} b | a{later} b{x} c{y} | a:S b:F | a:S{later} b:F{x} c{y} | a:S b:F c")
        .account("keywords = \"none\"")
        .without_letters(),
        s("a keyword that the server refuses stays here, and the messages go", "
            INBOX   | a{work} b | = | a:S{work,bad} b{bad} c:F{bad} | a:S{work} b c:F | a:S{work,bad} b{bad} c:F{bad}")
        .rules(|server| {
            server.rule(When::verb("UID STORE").containing("bad"), Act::No("", "no such keyword"));
            server.rule(When::verb("APPEND").containing("bad"), Act::No("", "no such keyword"));
        }),
        s("a server that keeps no keywords", "
            INBOX   | a b | = | a:SP b:PF{x} | a:S b:F | a:SP b:PF{x}")
        .profile(|profile| Profile { keywords: false, ..profile }),
        s("deleted is a flag like any other", "
            INBOX   | a b:T c d | a:T b:T c d | a b c:ST d | a:T b c:ST d | ="),
        s("deleted on the server", "
            INBOX   | a b:S c | a | = | a | =
            Trash   | .       | . | = | . | =")
        .changes_only_too(),
        s("deleted here", "
            INBOX   | a b:S c | = | a | a     | =
            Trash   | .       | = | = | b:S c | ="),
        s("deleted on both sides", "
            INBOX   | a b c | a | a | a | =
            Trash   | .     | = | = | . | ="),
        s("deleted on both sides, each another", "
            INBOX   | a b c | a b | b c | b | =
            Trash   | .     | =   | =   | a | ="),
        s("deleted here while its flags changed there", "
            INBOX   | a b | a:S b | b | b   | =
            Trash   | .   | =     | = | a:S | ="),
        s("deleted there while its flags changed here", "
            INBOX   | a b | b | a:SF b | b | =
            Trash   | .   | . | =      | . | ="),
        s("new mail and deletions at once", "
            INBOX   | a b c | a b d:S | a c e:F | a d:S e:F | =
            Trash   | .     | =       | =       | b         | =")
        .changes_only_too(),
        s("the Trash has a usual name", "
            INBOX         | a b | = | a | a | =
            Deleted Items | c   | = | = | b c | ="),
        s("the Trash has a role", "
            INBOX      | a b | = | a | a | =
            Papierkorb | c   | = | = | b c | =
            Trash      | d   | = | = | d   | =")
        .roles(|server| {
            server.with(|model| {
                let mailbox = model.mailbox_mut("ann", "Papierkorb").expect("it is there");
                mailbox.role = Some("\\Trash".to_owned());
            });
        })
        .profile(|profile| if profile.has("SPECIAL-USE") { profile } else { profile.with(&["SPECIAL-USE"]) })
        .also_on_dovecot(),
        s("there is no Trash: one is made", "
            INBOX   | a b | = | a | a | =
            Trash   | -   | - | - | b | ="),
        s("the Trash is not mirrored", "
            INBOX   | a b | = | a | a   | =
            Trash   | t   | = | = | b t | =")
        .account("mailboxes = [\"*\", \"!Trash\"]")
        .not_mirrored(&["Trash"]),
        s("deleted inside Trash and Junk", "
            INBOX   | a     | = | =   | a   | =
            Trash   | b c   | = | c   | c   | =
            Junk    | d e f | = | d f | d f | ="),
        s("deletions are expunged", "
            INBOX   | a b c | = | a | a | =
            Trash   | d     | = | = | d | =")
        .account("delete = \"expunge\""),
        s("deletions here never reach the server", "
            INBOX   | a b c | a b:S c | a | a b:S c | a
            Trash   | d     | =       | = | d       | =")
        .account("delete = \"never\""),
        s("deleted here, with extensions left unused", "
            INBOX   | a b:S c | = | a | a     | =
            Trash   | .       | = | = | b:S c | =")
        .account("disable-extensions = [\"MOVE\", \"UIDPLUS\", \"QRESYNC\", \"CONDSTORE\"]"),
        s("another client's mark is not expunged with ours", "
            INBOX   | a b c | a:T b c | a c | a:T c | =
            Trash   | d     | =       | =   | d     | =")
        .account("delete = \"expunge\"")
        .profile(|profile| if profile.has("UIDPLUS") { profile } else { profile.with(&["UIDPLUS"]) })
            .also_on_dovecot(),
        s("moved here", "
            INBOX   | a b:S | = | a   | a   | =
            Archive | c     | = | b:S c | b:S c | =
            Trash   | .     | = | =   | .   | ="),
        s("moved here, and flagged on the way", "
            INBOX   | a b | = | a     | a     | =
            Archive | c   | = | b:S c | b:S c | =
            Trash   | .   | = | =     | .     | ="),
        s("moved there", "
            INBOX   | a b:S | a     | = | a     | =
            Archive | c     | b:S c | = | b:S c | =")
        .changes_only_too(),
        s("moved there and back here", "
            INBOX   | a b | a   | a b c | a c | =
            Archive | c   | b c | .     | b   | =
            Trash   | .   | =   | =     | .   | ="),
        s("moved here, and the server cannot move", "
            INBOX   | a b:S d | = | a:F   | a:F   | =
            Archive | c       | = | b d c | b d c | =
            Trash   | .       | = | =     | .     | =")
        .account("disable-extensions = [\"MOVE\"]"),
        s("moved on one side, flagged on the other, deleted on the other", "
            INBOX   | a b:S d e:S | a b:SF{work} e:FS | a d e:S | a e:FS            | =
            Archive | c           | d c               | b c     | b:F{work} c d     | =
            Sent    | f g         | f                 | f       | f                 | =
            Drafts  | .           | .                 | g       | g                 | ="),
        s("all of a mailbox was moved, here and there", "
            INBOX   | a b c d e f g | =           | .               | .               | =
            Archive | x             | =           | a b c d e f g x | a b c d e f g x | =
            Old     | h i j k l m   | .           | =               | .               | =
            Older   | .             | h i j k l m | =               | h i j k l m     | ="),
        s("two were exchanged, here and there", "
            INBOX   | a x | =   | b x | b x | =
            Archive | b y | =   | a y | a y | =
            Old     | c   | d   | =   | d   | =
            Older   | d   | c   | =   | c   | ="),
        s("moved to new mailboxes, here and there", "
            INBOX   | a b c:S | a b | a c:S | a   | =
            News    | -       | -   | b     | b   | =
            Work    | -       | c:S | -     | c:S | =
            Trash   | .       | .   | .     | .   | ="),
        s("moved there to a mailbox that is not mirrored", "
            INBOX   | a b | a   | = | a   | =
            Secret  | s   | b s | = | b s | =")
        .account("mailboxes = [\"*\", \"!Secret\"]")
        .not_mirrored(&["Secret"]),
        s("moved to the Trash, here marked as some readers do", "
            INBOX   | a b c d | a b c | a d      | a         | =
            Trash   | t       | d t   | b:ST c t | b:S c d t | ="),
        s("copied, one moved and another left, and a draft that was edited", "
            INBOX   | a b:S{work} c e | = | a b:S c | a b:S{work} c         | =
            Archive | f               | = | b:F c e e f | b:F{work} c e e f | =
            Drafts  | d1              | = | d2      | d2                    | =
            Trash   | .               | = | =       | d1                    | =")
        .account("keywords = \"database\"").without_letters(),
        s("a move that the server refuses costs nothing", "
            INBOX   | a b | = | a   | a   | =
            Archive | c   | = | b c | b c | =
            Trash   | .   | = | =   | b   | =")
        .rules(|server| {
            server.rule(When::verb("UID MOVE").containing("Archive"), Act::No("", "not this one"));
            server.rule(When::verb("UID COPY").containing("Archive"), Act::No("", "not this one"));
        }),
        s("a full server takes no move, and nothing is deleted", "
            INBOX   | a b | = | a   | a   | =
            Archive | c   | = | b c | b c | =
            Trash   | .   | = | =   | .   | =")
        .rules(|server| {
            for verb in ["UID MOVE", "UID COPY", "APPEND"] {
                server.rule(When::verb(verb), Act::No("OVERQUOTA", "full"));
            }
        })
        .script(&[("sync", 1), (RULES_END, 0), ("sync", 0)]),
        s("a move whose answer is lost", "
            INBOX   | a b c | = | a     | a     | =
            Archive | d     | = | b c d | b c d | =
            Trash   | .     | = | =     | .     | =")
        .rules(|server| {
            server.rule(When::verb("UID MOVE").nth(1), Act::EffectThenDrop);
            server.rule(When::verb("UID COPY").nth(1), Act::EffectThenDrop);
        })
        .script(&[("sync", 75), ("sync", 0)]),
        s("a new mailbox there", "
            INBOX   | a | = | = | a   | =
            News    | - | b | - | b   | =
            Empty   | - | . | - | .   | ="),
        s("a new mailbox here", "
            INBOX   | a | = | = | a   | =
            News    | - | - | b c:S | b c:S | ="),
        s("new mailboxes below others", "
            INBOX     | a | = | = | a | =
            Work      | . | = | = | . | =
            Work/2026 | - | b | - | b | =
            Home      | - | - | . | . | =
            Home/bank | - | - | c | c | ="),
        s("new mailboxes on both sides", "
            INBOX   | a | = | = | a | =
            There   | - | b | - | b | =
            Here    | - | - | c | c | ="),
        s("the same new mailbox on both sides, empty here", "
            INBOX   | a | = | = | a | =
            Both    | - | b | . | b | ="),
        s("a mailbox was deleted on the server", "
            INBOX   | a   | a b | a | a b | =
            Old     | c d | -   | = | -   | c d"),
        s("a mailbox that is too deep is left out", "
            INBOX   | a | a b | = | a b | =
            DEEP    | - | c   | - | c   | -
            Good    | - | d   | - | d   | =")
        .exit(1)
        .profile(|profile| profile),
        s("a refused upload does not stop the others", "
            INBOX   | a | = | a b poison c | a b c | a b poison c")
        .rules(|server| {
            server.rule(When::verb("APPEND").containing("Subject: poison"), Act::No("", "bad message"));
        }),
        s("a message that cannot be fetched does not stop the others", "
            INBOX   | a | a b c d | = | a b c d | a b d")
        .rules(|server| {
            server.rule(When::verb("UID FETCH").containing("BODY"), Act::RefuseUid(3));
        }),
        s("a message that is left out of the answer", "
            INBOX   | a | a b c d | = | a b c d | a b d")
        .rules(|server| {
            server.rule(When::verb("UID FETCH").containing("BODY"), Act::OmitUid(3));
        }),
        s("odd bytes come from the server", "
            INBOX   | a | a empty headless blank nul eight cr | = | a empty headless blank nul eight cr | =
            Archive | . | unended long volatile | = | unended long volatile | ="),
        s("odd bytes go to the server", "
            INBOX   | a | = | a headless blank eight crlf mixed | a headless blank eight crlf mixed | =
            Archive | . | = | unended long volatile deep        | unended long volatile deep        | ="),
        s("an empty message cannot go to the server", "
            INBOX   | a | = | a b empty | a b | a b empty"),
        s("a message with a NUL is refused", "
            INBOX   | a | = | a b nul | a b | a b nul")
        .profile(|profile| Profile { refuses_nul: true, ..profile }),
        s("the same message three times", "
            INBOX   | x x  | x x x | x x | x x x | =
            Archive | .    | =     | x x x | x x x | ="),
        s("one of two that are alike is deleted here", "
            INBOX   | x x y | = | x y | x y | =
            Trash   | .     | = | =   | x   | ="),
        s("alike in two mailboxes: both are deleted here, and flags change in both", "
            INBOX   | x a | = | a:S | a:S | =
            Archive | x b | = | b:F | b:F | =
            Trash   | .   | = | =   | x x | ="),
        s("held by the guard", "
            INBOX   | a b c d e f | = | .  | a b c d e f | .
            Archive | g           | = | g h | g h        | =
            Trash   | .           | = | =   | .          | =")
        .exit(3),
        s("held deletions are approved", "
            INBOX   | a b c d e f | = | . | .           | =
            Trash   | .           | = | = | a b c d e f | =")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("held deletions are rejected", "
            INBOX   | a b c d e f | = | . | a b c d e f | =
            Trash   | .           | = | = | .           | =")
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("held deletions of the Maildir are approved", "
            INBOX   | a b c d e:S f | . | = | . | =
            Trash   | .             | = | = | . | =")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("held deletions of the Maildir are rejected", "
            INBOX   | a b c d e:S f | . | = | a b c d e:S f | =
            Trash   | .             | = | = | .             | =")
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("an upload whose answer is lost", "
            INBOX   | a | = | a b c | a b c | =")
        .rules(|server| {
            server.rule(When::verb("APPEND").nth(1), Act::EffectThenDrop);
        })
        .script(&[("sync", 75), ("sync", 0)]),
        s("a move to the Trash whose answer is lost", "
            INBOX   | a b | = | a | a | =
            Trash   | .   | = | = | b | =")
        .rules(|server| {
            server.rule(When::verb("UID MOVE").nth(1), Act::EffectThenDrop);
            server.rule(When::verb("UID COPY").nth(1), Act::EffectThenDrop);
        })
        .script(&[("sync", 75), ("sync", 0)]),
        s("flags whose answer is lost", "
            INBOX   | a b | = | a:S b:F | a:S b:F | =")
        .rules(|server| {
            server.rule(When::verb("UID STORE").nth(1), Act::EffectThenDrop);
        })
        .script(&[("sync", 75), ("sync", 0)]),
    ];
    all.extend([
        s("held deletions dissolve when the files return", "
            INBOX   | a b:S c d e f | = | . | a b:S c d e f | =
            Trash   | .             | = | = | .             | =")
        .script(&[("sync", 3), (FILES_RETURN, 0), ("sync", 0)]),
        s("a refused upload is tried again, and taken", "
            INBOX   | a | = | a b poison c | a b poison c | =")
        .rules(|server| {
            server.rule(When::verb("APPEND").containing("Subject: poison"), Act::No("", "bad message"));
        })
        .script(&[("sync", 0), (RULES_END, 0), ("MAILTWIN_CLOCK_AHEAD=500 sync", 0)]),
        s("a message that could not be fetched is tried again, and comes", "
            INBOX   | a | a b c d | = | a b c d | =")
        .rules(|server| {
            server.rule(When::verb("UID FETCH").containing("BODY"), Act::RefuseUid(3));
        })
        .script(&[("sync", 0), (RULES_END, 0), ("MAILTWIN_CLOCK_AHEAD=500 sync", 0)]),
        s("the server is full: uploads wait as a whole", "
            INBOX   | a b | a b e | a c d | a e   | a c d e
            Archive | f   | =     | b f:S | b f:S | =
            Trash   | .   | =     | =     | .     | =")
        .rules(|server| {
            server.rule(When::verb("APPEND"), Act::No("OVERQUOTA", "Quota exceeded"));
        })
        .exit(1),
        s("the server was full, and has room again", "
            INBOX   | a b | a b e | a c d | a c d e | =
            Archive | f   | =     | b f:S | b f:S   | =
            Trash   | .   | =     | =     | .       | =")
        .one_profile()
        .rules(|server| {
            server.rule(When::verb("APPEND"), Act::No("OVERQUOTA", "Quota exceeded"));
        })
        .script(&[("sync", 1), (RULES_END, 0), ("MAILTWIN_CLOCK_AHEAD=500 sync", 0)]),
        s("nothing is written to a read-only mailbox", "
            INBOX   | a     | a     | a e   | a e     | =
            Shared  | a b c | a b:S | a:F d | a b:S   | a:F d
            Trash   | .     | =     | =     | .       | =")
        .roles(|server| {
            server.with(|model| model.mailbox_mut("ann", "Shared").expect("it is there").read_only = true);
            server.rule(When::verb("APPEND").mailbox("Shared"), Act::No("NOPERM", "read-only"));
        }),
        s("the server lost its index", "
            INBOX   | a b:S c | a b c:F | a:R b:S c | a:R b c:F | =")
        .changes_only_too()
        .rules(|server| server.lower_modseq("ann", "INBOX", 1)),
        s("the server says that messages vanished which are there", "
            INBOX   | a b:S c | a b c:F | a:R b:S c | a:R b c:F | =")
        .rules(|server| {
            server.rule(When::verb("SELECT"), Act::FalseVanished("1:2"));
        }),
        s("somebody deletes what is about to be fetched", "
            INBOX   | a | a b c d | = | a b d | =")
        .rules(|server| {
            let meddle = Act::interleave(|model| drop(model.expunge(Author::Other, "ann", "INBOX", &[3])));
            server.rule(When::verb("UID FETCH").containing("BODY.PEEK").nth(1), meddle);
        }),
        s("somebody changes flags while we do", "
            INBOX   | a b | = | a:S b:F | a:SR b:F | =")
        .changes_only_too()
        .rules(|server| {
            let meddle = Act::interleave(|model| {
                model.store(Author::Other, "ann", "INBOX", &[1], StoreMode::Add, &["\\Answered".to_owned()]);
            });
            server.rule(When::verb("UID STORE").nth(1), meddle);
        }),
        s("mail arrives while we upload", "
            INBOX   | a | = | a b c | a b c d | =")
        .rules(|server| {
            let meddle = Act::interleave(|model| {
                let body = String::from_utf8_lossy(&body("d")).replace('\n', "\r\n");
                let _ = model.append(Author::Other, "ann", "INBOX", vec![Arrival::new(body, &[])]);
            });
            server.rule(When::verb("APPEND").nth(1), meddle);
        }),
    ]);
    // What a crash leaves of an undo, the next sync brings to its end.
    let takes_back = [("sync", 0), ("undo work --yes", 0), ("sync", 0)];
    all.extend([
        s("a repair carries over what is new, and deletes nothing", "
            INBOX   | a b c d:S e | b c d:S e x | a c d e y | b c d e x y | a c d e x y
            Trash   | .           | =           | =         | .           | =")
        .script(&[("verify work/INBOX --repair --yes", 3)])
        .one_profile(),
        s("undo: deleted here", "
            INBOX   | a b:S c{work} | = | a | a b:S c{work} | =
            Trash   | t             | = | = | t             | =")
        .script(&takes_back)
        .profile(with_move).also_on_dovecot(),
        s("undo: deleted here, and the server cannot move", "
            INBOX   | a b:S c | = | a | a b:S c | =
            Trash   | t       | = | = | t b:S c | =")
        .account("disable-extensions = [\"MOVE\"]")
        .script(&takes_back),
        s("undo: deleted here, and the Trash is not mirrored", "
            INBOX   | a b:S c c | = | a | a b:S c c | =
            Trash   | t         | = | = | t         | =")
        .account("mailboxes = [\"*\", \"!Trash\"]")
        .not_mirrored(&["Trash"])
        .script(&takes_back)
        .profile(with_move).also_on_dovecot(),
        s("undo: deleted on the server", "
            INBOX   | a b:SF{work} c | a | = | a b:SF{work} c | =
            Archive | x              | . | = | x              | =
            Trash   | t u            | t | = | t u            | =")
        .script(&takes_back),
        s("undo: expunged", "
            INBOX   | a b:SF{work} c | = | a | a b:SF{work} c | =
            Archive | x              | = | . | x              | =
            Trash   | .              | = | = | .              | =")
        .account("delete = \"expunge\"")
        .script(&takes_back),
        s("undo: undone again", "
            INBOX   | a b:S c | = | a | a c | =
            Trash   | .       | = | = | b:S | =")
        .script(&[("sync", 0), ("undo work --yes", 0), ("sync", 0), ("undo work 3 --yes", 0), ("sync", 0)])
        .profile(with_move).also_on_dovecot(),
    ]);
    let (mirror, archive) = ("mode = \"mirror\"", "mode = \"archive\"");
    all.extend([
        s("a mirror follows the server", "
            INBOX   | a b:S c{work} | a:S{x} c:F d | = | a:S{x} c:F d | =
            Archive | .             | e            | = | e            | =
            News    | -             | f            | - | f            | =")
        .only_looks(mirror),
        s("undo: in a mirror", "
            INBOX   | a b:S c d | a c d | a b:S d g | a c d | a b:S c d g")
        .only_looks(mirror)
        .script(&takes_back),
        s("what is done in a mirror is undone", "
            INBOX   | a b:S c{work} d | = | a:S b:F{x} c g:S | a b:S c{work} d | =
            Archive | e               | = | e:T h            | e               | =")
        .only_looks(mirror),
        s("a mailbox that is in the mirror only is left alone", "
            INBOX   | a | a b | =   | a b | =
            Here    | - | -   | c   | -   | c")
        .only_looks(mirror),
        s("much that was added to a mirror is held", "
            INBOX   | a | = | a m1..m6 | a | a m1..m6
            Archive | g | g h | =      | g h | =")
        .only_looks(mirror)
        .exit(3),
        s("what was added to a mirror leaves when that is approved", "
            INBOX   | a | = | a m1..m6 | a | =")
        .only_looks(mirror)
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("what was added to a mirror stays when its removal is rejected", "
            INBOX   | a | = | a m1..m6 | a | a m1..m6")
        .only_looks(mirror)
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("a deletion that a mirror held is rejected, and not uploaded", "
            INBOX   | a b c d e f | . | = | . | a b c d e f")
        .only_looks(mirror)
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("an archive collects what the server ever had", "
            INBOX   | a b:S c{work} | a:S{x} c:F d | = | a:S{x} c:F d | a:S{x} b:S c:F d
            Archive | .             | e            | = | e            | =")
        .only_looks(archive),
        s("what is done in an archive stays there", "
            INBOX   | a b:S c{work} d | a b:S c{work} d:F | a:S b c{work,x} g:S | a b:S c{work} d:F | a:S b c{work,x} g:S
            Archive | e               | =                 | e:T h               | e                 | e:T h")
        .only_looks(archive),
        s("an archive whose server is emptied", "
            INBOX   | a b c d e f g:S | . | = | . | a b c d e f g:S")
        .only_looks(archive),
        s("new messages and flags go to the server, and deletions do not", "
            INBOX   | a b c | a b:S c d | a:F c e | a:F b:S c e d | a:F c e d
            Trash   | .     | =         | =       | .             | =")
        .account("policy = { pull = [\"new\", \"flags\", \"gone\"], push = [\"new\", \"flags\"] }"),
        s("only deletions go to the server", "
            INBOX   | a b c | a b:S c d | a:F c e | a c d | a:F c e d
            Trash   | .     | =         | =       | b:S   | =")
        .account("policy = { pull = [\"new\", \"gone\"], push = [\"gone\"] }"),
        s("flags go to the server only", "
            INBOX   | a b c | a:S b d | a:F b c e | a:FS b d e | a:F b c d e")
        .account("policy = { pull = [\"new\"], push = [\"new\", \"flags\"] }"),
    ]);
    all.extend([
        s("too large: it stays there", "
            INBOX   | a long | a:S long:S b deep | a c | a:S long:S b c deep | a:S b c")
        .one_profile()
        .account("max-size = \"100 KiB\"")
        .agreed_here("INBOX | a"),
        s("too large: the header comes, and flags go both ways", "
            INBOX   | a long | a long:S b deep:R | a long#:R c | a long:RS b c deep:R | a long#:RS b c deep#:R")
        .one_profile()
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long#"),
        s("too old: it stays there, and so does its flag", "
            INBOX   | .  | a b:S | c | a b:S c | c
            Archive | a  | a:F   | . | a:F     | .")
        .one_profile()
        .account("max-age = \"30d\"")
        .agreed_here("Archive | .")
        .profile(|profile| profile),
        s("a stub is flagged here: the whole message comes", "
            INBOX   | a long:R deep | = | a long#:FR deep# | a long:FR deep | a long:FR deep#")
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long#:R deep#"),
        s("a stub is flagged there: the whole message comes", "
            INBOX   | a long deep | a long:F deep | a long#:S deep# | a long:FS deep | a long:FS deep#")
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long# deep#"),
        s("a stub is deleted or moved here: nothing happens there", "
            INBOX   | a long deep | = | a          | a long deep | a
            Archive | b           | = | b long#    | b           | b long#
            Trash   | .           | = | =          | .           | =")
        .one_profile()
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long# deep#"),
        s("the message of a stub is deleted there", "
            INBOX   | a long deep | a long | a long# deep# | a long | a long#")
        .one_profile()
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long# deep#"),
        s("the message of a flagged stub cannot be fetched, and later can", "
            INBOX   | a long | = | a long#:F | a long:F | =")
        .one_profile()
        .account("max-size = \"100 KiB\"\noversize = \"headers\"")
        .agreed_here("INBOX | a long#")
        .rules(|server| {
            server.rule(When::verb("UID FETCH").containing("BODY.PEEK[]"), Act::RefuseUid(2));
        })
        .script(&[("sync", 0), (RULES_END, 0), ("MAILTWIN_CLOCK_AHEAD=500 sync", 0)]),
    ]);
    all.extend([
        s("Gmail: each label is a mailbox, and what shows all mail is left out", "
            INBOX     | a   | a b:S   | = | a b:S   | =
            Work      | a c | a b:S c | = | a b:S c | =
            All Mail  | a c | a b:S c | = | a b:S c | =
            Important | a   | a b:S   | = | a b:S   | =
            Trash     | .   | =       | = | .       | =")
        .roles(gmail_roles)
        .not_mirrored(&["All Mail", "Important"])
        .one_profile()
        .profile(|_| Profile::gmail()),
        s("Gmail: deleted under one label it stays under the other, under the last it goes to the Trash", "
            INBOX     | a b d | = | a | a     | =
            Work      | b c d | = | b | b     | =
            All Mail  | a b c d | = | = | a b | =
            Important | a b   | = | = | a b   | =
            Trash     | .     | = | = | c d   | =")
        .roles(gmail_roles)
        .not_mirrored(&["All Mail", "Important"])
        .one_profile()
        .profile(|_| Profile::gmail()),
        s("Gmail: expunged is moved to the Trash, and gone from there", "
            INBOX     | a b   | =   | a   | a   | =
            All Mail  | a b   | =   | =   | a   | =
            Important | .     | =   | =   | .   | =
            Trash     | c d   | =   | d   | b d | =")
        .account("delete = \"expunge\"")
        .roles(gmail_roles)
        .not_mirrored(&["All Mail", "Important"])
        .one_profile()
        .profile(|_| Profile::gmail()),
    ]);
    all.extend([
        s("a first run over a full Maildir", "
            INBOX   | - | a b:S c d:F g:T | a:S b c:T e g | a:S b:S c d:F e g | =
            Archive | - | x x y volatile  | x x x unended volatile | x x x y unended volatile | ="),
        s("a mailbox with mail appears on both sides", "
            INBOX   | a | =     | =   | a       | =
            Both    | - | b c:S | b d | b c:S d | ="),
        s("the server numbered its messages anew, and changes were pending", "
            INBOX   | a b:S c d | a:F b:S c e | a b:RS d f | a:F b:RS c e f | a:F b:RS d e f
            Archive | x         | x y         | =          | x y            | =
            Trash   | .         | =           | =          | .              | =")
        .rules(|server| server.bump_uidvalidity("ann", "INBOX"))
        .exit(3),
        s("what was held in a new epoch is approved", "
            INBOX   | a b:S c d | a:F b:S c e | a b:RS d f | a:F b:RS e f | =
            Trash   | .         | =           | =          | c            | =")
        .rules(|server| server.bump_uidvalidity("ann", "INBOX"))
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("what was held in a new epoch is rejected", "
            INBOX   | a b:S c d | a:F b:S c e | a b:RS d f | a:F b:RS c d e f | =
            Trash   | .         | =           | =          | .                | =")
        .rules(|server| server.bump_uidvalidity("ann", "INBOX"))
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("the state is lost", "
            INBOX   | a b:S c d | a b:S c:F e | a:R b:S c f | a:R b:S c:F e f | =
            Archive | x x       | =           | x x y       | x x y           | =")
        .script(&[(STATE_LOST, 0), ("sync", 0)]),
        s("the state is rolled back", "
            INBOX   | a b | a b:S c x | a:F b d x | a:F b:S c d x x | =")
        .script(&[("sync", 0), (STATE_RETURNS, 0), ("sync", 0)]),
        s("a Maildir from a backup, and what it lacks is put back", "
            INBOX   | a b:S c | a b:S c e:F | a:R b:S c d | a:R b:S c d e:F | =
            Trash   | .       | =           | =           | .               | =")
        .script(&[("sync", 0), (MAILDIR_RETURNS, 0), ("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("two sides with nothing in common", "
            INBOX   | - | a b c | x y | a b c   | x y
            Archive | - | d e f | d e | d e f   | =")
        .exit(3),
        s("two sides with nothing in common belong together", "
            INBOX   | - | a b c | x y | a b c x y | =")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("two sides with nothing in common do not belong together", "
            INBOX   | - | a b c | x y | a b c | x y")
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
    ]);
    all.push(s("more than one window of fetches", "
            INBOX   | a | a m1..m140 | = | a m1..m140 | ="));
    all.push(s("more than one command of uploads", "
            INBOX   | a | = | a m1..m70 | a m1..m70 | ="));
    all.extend(mailboxes::scenarios());
    all
}
