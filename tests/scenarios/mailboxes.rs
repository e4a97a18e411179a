//! The scenarios of whole mailboxes: renamed, deleted, copied, made anew.

use super::table::Scenario;
use crate::support::server::{Author, Profile};

/// Moves to the Trash, which a mailbox that is deleted on the server needs.
fn moves(profile: Profile) -> Profile {
    profile.with(&["MOVE"])
}

/// Tells mailboxes apart whatever their names.
fn identifies(profile: Profile) -> Profile {
    profile.with(&["OBJECTID"])
}

/// All of them. What mailboxes depend on is whether the server identifies them, so the two ends of what servers can do are
/// enough for renames, and one for the rest.
pub(super) fn scenarios() -> Vec<Scenario> {
    let renamed = |s: &Scenario| !(s.renamed_there.is_empty() && s.renamed_here.is_empty());
    let of_one = |s: Scenario| if renamed(&s) { s.only_in(&["full", "plain"]) } else { s.only_in(&["full"]) };
    rows().into_iter().map(of_one).collect()
}

#[rustfmt::skip]
fn rows() -> Vec<Scenario> {
    let s = Scenario::parse;
    vec![
        s("a mailbox was renamed on the server", "
            INBOX | a     | =     | = | a     | =
            Old   | b:S c | -     | = | -     | -
            New   | -     | b:S c | - | b:S c | =")
        .renamed_there(&[("Old", "New")])
        .transfers_nothing(),
        s("a mailbox was renamed on the server and got mail", "
            INBOX | a     | =       | =     | a         | =
            Old   | b:S c | -       | b c d | -         | -
            New   | -     | b:S c e | -     | b c d e   | =")
        .renamed_there(&[("Old", "New")]),
        s("a mailbox was renamed on the server with those beneath it", "
            INBOX | a | = | = | a | =
            A     | b | - | = | - | -
            A/x   | c | - | = | - | -
            A/x/y | d | - | = | - | -
            B     | - | b | - | b | =
            B/x   | - | c | - | c | =
            B/x/y | - | d | - | d | =")
        .renamed_there(&[("A", "B")])
        .transfers_nothing(),
        s("two mailboxes exchanged their names on the server", "
            INBOX | a | =   | = | a   | =
            A     | b | c d | = | c d | =
            B     | c d | b | = | b   | =")
        .renamed_there(&[("A", "Aside"), ("B", "A"), ("Aside", "B")])
        .transfers_nothing(),
        s("a directory was renamed", "
            INBOX | a     | = | =     | a     | =
            Old   | b:S c | = | -     | -     | -
            New   | -     | - | b:S c | b:S c | =")
        .renamed_here(&[("Old", "New")])
        .transfers_nothing(),
        s("a directory was renamed with those beneath it", "
            INBOX | a | = | = | a | =
            A     | b | = | - | - | -
            A/x   | c | = | - | - | -
            B     | - | - | b | b | =
            B/x   | - | - | c | c | =")
        .renamed_here(&[("A", "B")])
        .transfers_nothing(),
        s("two directories exchanged their names", "
            INBOX | a   | = | =   | a   | =
            A     | b   | = | c d | c d | =
            B     | c d | = | b   | b   | =")
        .renamed_here(&[("A", "Aside"), ("B", "A"), ("Aside", "B")])
        .transfers_nothing(),
        s("a mailbox was renamed on both sides", "
            INBOX | a | = | = | a | =
            Old   | b | - | - | - | -
            There | - | b | - | b | =
            Here  | - | - | b | - | -")
        .renamed_there(&[("Old", "There")])
        .renamed_here(&[("Old", "Here")])
        .transfers_nothing(),
        s("a directory was copied with its marker", "
            INBOX | a   | = | =   | a   | =
            Work  | b c | = | =   | b c | =
            Copy  | -   | - | b c | b c | =")
        .copied_here(&[("Work", "Copy")]),
        s("a mailbox that was deleted on the server stays here, and is not uploaded", "
            INBOX | a     | = | =   | a | =
            Old   | b:S c | - | b c d | - | b c d"),
        s("a mailbox that was deleted on the server is deleted here where that is wanted", "
            INBOX | a     | = | = | a | =
            Old   | b:S c | - | = | - | -
            New   | d     | = | = | d | =")
        .account("delete-mailboxes = \"local\""),
        s("a directory that holds others stays when its mailbox is deleted", "
            INBOX | a     | = | = | a | =
            Old   | b:S c | - | = | - | -
            Old/x | d     | = | = | d | =")
        .account("delete-mailboxes = \"local\"")
        .profile(identifies),
        s("what the server never had stays when its mailbox is deleted here", "
            INBOX | a     | = | =     | a | =
            Old   | b:S c | - | b c d | - | d")
        .account("delete-mailboxes = \"both\""),
        s("a large mailbox that was deleted on the server is held, and approved", "
            INBOX | x           | = | = | x | =
            Old   | a b c d e f | - | = | - | -")
        .account("delete-mailboxes = \"local\"")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)]),
        s("a large mailbox that was deleted on the server is held, and rejected", "
            INBOX | x           | = | = | x | =
            Old   | a b c d e f | - | = | - | a b c d e f")
        .account("delete-mailboxes = \"local\"")
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("a directory that is gone is asked about", "
            INBOX | a   | = | = | a   | =
            Work  | b c | = | - | b c | -")
        .exit(3),
        s("a directory that is gone is asked about whatever is wanted", "
            INBOX | a   | = | = | a   | =
            Work  | b c | = | - | b c | -")
        .account("delete-mailboxes = \"both\"")
        .exit(3),
        s("a directory that is gone is fetched anew", "
            INBOX | a     | = | = | a     | =
            Work  | b:S c | = | - | b:S c | =")
        .script(&[("sync", 3), ("reject work", 0), ("sync", 0)]),
        s("a mailbox whose directory is gone is deleted, and its mail lies in the Trash", "
            INBOX | a     | = | = | a       | =
            Trash | t     | = | = | t b:S c | =
            Work  | b:S c | = | - | -       | -")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 0)])
        .profile(moves)
        .also_on_dovecot(),
        s("an empty mailbox whose directory is gone is deleted where that is wanted", "
            INBOX | a | = | = | a | =
            Work  | . | = | - | - | -")
        .account("delete-mailboxes = \"remote\""),
        s("the directory of the INBOX is gone", "
            INBOX | a b | = | - | a b | -
            Work  | c   | = | = | c   | =")
        .account("delete-mailboxes = \"both\"")
        .script(&[("sync", 3), ("approve work", 0), ("sync", 3)]),
        s("a mailbox was deleted and made anew on the server", "
            INBOX | a   | = | = | a | =
            Work  | b c | d | = | d | b c")
        .remade_there(&["Work"])
        .profile(identifies)
        .exit(1),
        s("no mailbox is made where none is wanted", "
            INBOX | a | =  | = | a | =
            There | - | b  | - | b | -
            Here  | - | -  | c | - | c")
        .account("create-mailboxes = \"none\""),
        s("directories lie side by side", "
            INBOX   | -     | a     | - | a     | =
            Lists/a | -     | e:S   | - | e:S   | -
            Lists.a | -     | -     | - | -     | e:S")
        .account("layout = \"flat\""),
        s("mailboxes with a role lie under their usual names, unless others do", "
            INBOX      | - | a | - | a | =
            Gesendet   | - | b | - | b | -
            Sent       | - | - | - | - | b
            Papierkorb | - | c | - | c | =
            Trash      | - | d | - | d | =")
        .roles(|server| {
            server.create_with_role("ann", "Gesendet", "\\Sent");
            server.create_with_role("ann", "Papierkorb", "\\Trash");
        })
        .profile(|profile| profile.with(&["SPECIAL-USE", "LIST-EXTENDED"])),
        s("only what is subscribed to is mirrored, and what no longer is stays as it is", "
            INBOX | a | =   | =   | a   | =
            Quiet | q | q r | q:S | q r | q:S
            Never | - | n   | -   | n   | -")
        .account("subscribed-only = true")
        .rules(|server| {
            server.with(|model| {
                model.subscribe(Author::Other, "ann", "Quiet", false);
                model.subscribe(Author::Other, "ann", "Never", false);
            });
        }),
        s("mailboxes are called otherwise here", "
            INBOX        | -     | a     | - | a     | =
            Sent Items   | -     | b:S   | - | b:S   | -
            Sent Items/x | -     | c     | - | c     | -
            Sent         | -     | -     | - | -     | b:S
            Sent/x       | -     | -     | - | -     | c")
        .account("rename = { \"Sent Items\" = \"Sent\" }"),
    ]
}
