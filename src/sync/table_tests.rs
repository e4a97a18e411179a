use super::*;
use crate::sync::identity::identify;
use crate::sync::picture::{Hold, Side};

pub(in crate::sync) fn name(text: &str) -> MailboxName {
    MailboxName::encode(text).expect("a name")
}

pub(in crate::sync) fn listed(text: &str) -> Listed {
    Listed {
        name: name(text),
        role: None,
        place: Ok(text.to_owned()),
        identity: None,
        uid_validity: None,
        standing: Standing::Wanted,
    }
}

pub(in crate::sync) fn record(id: u32, text: &str) -> MailboxRecord {
    MailboxRecord { inode: Some(id.into()), ..MailboxRecord::new(MailboxId(id), name(text), Some(text.into())) }
}

/// A directory with the marker of that mailbox, and its inode.
fn directory(text: &str, marker: Option<u32>) -> (String, Directory) {
    let inode = marker.unwrap_or_default().into();
    (text.to_owned(), Directory { marker: marker.map(MailboxId), inode, name: Ok(name(text)), is_wanted: true })
}

fn copied(text: &str, marker: u32) -> (String, Directory) {
    let (path, directory) = directory(text, Some(marker));
    (path, Directory { inode: 999, ..directory })
}

struct Scene {
    records: Vec<MailboxRecord>,
    listed: Vec<Listed>,
    directories: BTreeMap<String, Directory>,
    broken: BTreeMap<String, String>,
    create: Sides,
    delete: Sides,
}

fn scene(records: &[MailboxRecord], listed: &[Listed], directories: &[(String, Directory)]) -> Scene {
    Scene {
        records: records.to_vec(),
        listed: listed.to_vec(),
        directories: directories.iter().cloned().collect(),
        broken: BTreeMap::new(),
        create: Sides::BOTH,
        delete: Sides::NONE,
    }
}

impl Scene {
    fn judged(&self) -> Vec<MailboxVerdict> {
        let there = identify(&self.records, &self.listed, &BTreeSet::new());
        judge(&Mailboxes {
            records: &self.records,
            listed: &self.listed,
            directories: &self.directories,
            broken: &self.broken,
            there: &there,
            wanted: &self.records.iter().map(|record| record.id).collect(),
            create: self.create,
            delete: self.delete,
        })
    }

    fn reasons(&self) -> Vec<String> {
        let reason = |verdict| match verdict {
            MailboxVerdict::LeftOut { what, reason, .. } => Some(format!("{what}: {reason}")),
            MailboxVerdict::Unavailable { reason, .. } => Some(reason),
            _ => None,
        };
        self.judged().into_iter().filter_map(reason).collect()
    }
}

fn with_identity(record: MailboxRecord, identity: &str) -> MailboxRecord {
    MailboxRecord { identity: Some(identity.into()), ..record }
}

fn told_as(text: &str, identity: &str) -> Listed {
    Listed { identity: Some(identity.into()), ..listed(text) }
}

const ONE: MailboxId = MailboxId(1);

#[test]
fn a_mailbox_on_one_side_is_made_on_the_other() {
    let scene = scene(&[], &[listed("There")], &[directory("Here", None)]);
    let here = MailboxVerdict::CreateRemote { name: name("Here"), path: "Here".into(), copy_of: None };
    let there = MailboxVerdict::CreateLocal { name: name("There"), role: None, path: "There".into() };
    assert_eq!(scene.judged(), [there.clone(), here.clone()]);
    let only = |create| Scene { create, ..scene_of(&scene) }.judged();
    assert_eq!(only(Sides::LOCAL)[0], there);
    assert!(matches!(only(Sides::LOCAL)[1], MailboxVerdict::LeftOut { failed: false, .. }));
    assert!(matches!(only(Sides::REMOTE)[0], MailboxVerdict::LeftOut { failed: false, .. }));
    assert_eq!(only(Sides::REMOTE)[1], here);
}

fn scene_of(other: &Scene) -> Scene {
    let directories: Vec<_> = other.directories.clone().into_iter().collect();
    scene(&other.records, &other.listed, &directories)
}

#[test]
fn the_inbox_is_made_here_whatever_the_owner_says() {
    let scene = Scene { create: Sides::NONE, ..scene(&[], &[listed("INBOX")], &[]) };
    assert!(matches!(scene.judged()[..], [MailboxVerdict::CreateLocal { .. }]));
}

#[test]
fn a_mailbox_that_is_gone_from_the_server_is_not_uploaded_again() {
    let here = [directory("Old", Some(1))];
    assert_eq!(scene(&[record(1, "Old")], &[], &here).judged(), [MailboxVerdict::Park(ONE)]);
    let parked = MailboxRecord { parked: Some(Parked::GoneFromServer), ..record(1, "Old") };
    assert_eq!(scene(std::slice::from_ref(&parked), &[], &here).judged(), [MailboxVerdict::Parked(ONE)]);
    let back = scene(std::slice::from_ref(&parked), &[listed("Old")], &here).judged();
    assert_eq!(back, [MailboxVerdict::BackOnServer(ONE, true)]);
    let deleted = Scene { delete: Sides::LOCAL, ..scene(&[record(1, "Old")], &[], &here) };
    assert_eq!(deleted.judged(), [MailboxVerdict::Empty(ONE)]);
    assert_eq!(scene(&[parked], &[], &[]).judged(), [MailboxVerdict::Forget(ONE)]);
}

#[test]
fn nobody_meant_the_mailbox_that_has_the_name_by_now() {
    let epoch = |number| UidValidity::new(number);
    let known = MailboxRecord { uid_validity: epoch(7), ..record(1, "A") };
    let anew = || [Listed { uid_validity: epoch(9), ..listed("A") }];
    // Its directory was renamed: the other mailbox is not.
    let moved = scene(std::slice::from_ref(&known), &anew(), &[directory("B", Some(1))]).judged();
    assert!(matches!(moved[..], [MailboxVerdict::LeftOut { failed: true, .. }]), "{moved:?}");
    // Its directory is gone: whatever was said, the other one is not deleted.
    let hold = Some(Hold { gone: Side::Local, set: 1, word: Word::Approved });
    let asked = MailboxVerdict::GoneHere { mailbox: ONE, name: name("A") };
    for delete in [Sides::NONE, Sides::BOTH] {
        let approved = MailboxRecord { hold, ..known.clone() };
        let scene = Scene { delete, ..scene(&[approved], &anew(), &[]) };
        assert_eq!(scene.judged(), std::slice::from_ref(&asked));
    }
}

#[test]
fn a_place_is_not_given_away_by_a_rename_that_is_refused() {
    // The first is called as the second was, whose directory stays where it is; a new one has the name of the first.
    let told = |text: &str, identity: &str| Listed { identity: Some(identity.into()), ..listed(text) };
    let known = |id, text, identity: &str| MailboxRecord { identity: Some(identity.into()), ..record(id, text) };
    let records = [known(1, "A", "F1"), known(2, "B", "F2")];
    let judged =
        scene(&records, &[told("A", "F9"), told("B", "F1")], &[directory("A", Some(1)), directory("B", Some(2))]);
    let judged = judged.judged();
    assert!(!judged.iter().any(|verdict| matches!(verdict, MailboxVerdict::CreateLocal { .. })), "{judged:?}");
    assert_eq!(judged.iter().filter(|v| matches!(v, MailboxVerdict::LeftOut { failed: true, .. })).count(), 2);
}

#[test]
fn a_directory_that_is_gone_is_asked_about() {
    let gone = |record| scene(&[record], &[listed("A")], &[]);
    let asked = MailboxVerdict::GoneHere { mailbox: ONE, name: name("A") };
    assert_eq!(gone(record(1, "A")).judged(), std::slice::from_ref(&asked));
    let said = |word| MailboxRecord { hold: Some(Hold { gone: Side::Local, set: 1, word }), ..record(1, "A") };
    assert_eq!(gone(said(Word::Waiting)).judged(), [asked]);
    let restored = |text: &str| MailboxVerdict::Restore { mailbox: ONE, name: name(text), path: text.into() };
    assert_eq!(gone(said(Word::Rejected)).judged(), [restored("A")]);
    // It comes back as what it is called by now.
    let known = MailboxRecord { identity: Some("F1".into()), ..said(Word::Rejected) };
    let renamed = [Listed { identity: Some("F1".into()), ..listed("B") }];
    assert_eq!(scene(&[known], &renamed, &[]).judged(), [restored("B")]);
    let delete = |approved| MailboxVerdict::DeleteRemote { mailbox: ONE, name: name("A"), approved };
    assert_eq!(gone(said(Word::Approved)).judged(), [delete(true)]);
    let wanted = |record| Scene { delete: Sides::REMOTE, ..gone(record) };
    assert_eq!(wanted(record(1, "A")).judged(), [delete(false)]);
    assert_eq!(wanted(said(Word::Waiting)).judged(), [delete(false)]);
}

#[test]
fn the_inbox_is_never_deleted_and_never_renamed() {
    let approved = Some(Hold { gone: Side::Local, set: 1, word: Word::Approved });
    let inbox = MailboxRecord { hold: approved, ..record(1, "INBOX") };
    let gone = Scene { delete: Sides::BOTH, ..scene(std::slice::from_ref(&inbox), &[listed("INBOX")], &[]) };
    assert_eq!(gone.judged(), [MailboxVerdict::GoneHere { mailbox: ONE, name: name("INBOX") }]);
    let moved = scene(&[inbox], &[listed("INBOX")], &[directory("Old", Some(1))]);
    assert_eq!(
        moved.reasons(),
        ["INBOX: its directory was moved to Old, and the INBOX is never renamed; move it back"]
    );
}

#[test]
fn what_is_no_maildir_any_more_is_not_gone() {
    let no_marker = scene(&[record(1, "A")], &[listed("A")], &[directory("A", None)]);
    assert_eq!(no_marker.reasons(), ["the directory has lost its marker file mailtwin-folder; restore it"]);
    let mut no_cur = Scene { delete: Sides::BOTH, ..scene(&[record(1, "A")], &[listed("A")], &[]) };
    no_cur.broken.insert("A".into(), "the folder has lost its directory cur".into());
    assert_eq!(no_cur.reasons(), ["the folder has lost its directory cur"]);
}

#[test]
fn a_rename_on_one_side_is_one_on_the_other() {
    let known = with_identity(record(1, "A"), "F1");
    let there = scene(std::slice::from_ref(&known), &[told_as("B", "F1")], &[directory("A", Some(1))]);
    let rename = |from: &str, overruled| MailboxVerdict::RenameLocal {
        mailbox: ONE,
        name: name("B"),
        from: from.into(),
        to: "B".into(),
        overruled,
    };
    assert_eq!(there.judged(), [rename("A", false)]);
    let here = scene(std::slice::from_ref(&known), &[told_as("A", "F1")], &[directory("C", Some(1))]);
    let back = MailboxVerdict::RenameRemote { mailbox: ONE, from: name("A"), to: name("C"), path: "C".into() };
    assert_eq!(here.judged(), [back]);
    let both = scene(std::slice::from_ref(&known), &[told_as("B", "F1")], &[directory("C", Some(1))]);
    assert_eq!(both.judged(), [rename("C", true)]);
    let alike = scene(&[known], &[told_as("B", "F1")], &[directory("B", Some(1))]);
    assert_eq!(alike.judged(), [rename("B", false)]);
}

#[test]
fn exchanged_names_are_exchanged_and_a_taken_one_is_left_alone() {
    let records = [with_identity(record(1, "A"), "F1"), with_identity(record(2, "B"), "F2")];
    let (a, b) = (directory("A", Some(1)), directory("B", Some(2)));
    let there = scene(&records, &[told_as("A", "F2"), told_as("B", "F1")], &[a.clone(), b.clone()]);
    assert!(matches!(there.judged()[..], [MailboxVerdict::RenameLocal { .. }, MailboxVerdict::RenameLocal { .. }]));
    let here =
        scene(&records, &[told_as("A", "F1"), told_as("B", "F2")], &[directory("B", Some(1)), directory("A", Some(2))]);
    assert!(matches!(here.judged()[..], [MailboxVerdict::RenameRemote { .. }, MailboxVerdict::RenameRemote { .. }]));
    let taken = scene(&records[..1], &[told_as("A", "F1"), told_as("C", "F3")], &[directory("C", Some(1))]);
    assert_eq!(taken.reasons()[0], "A: its directory was moved to C, and the server has a mailbox C already");
    let foreign = scene(&records[..1], &[told_as("C", "F1")], &[a, directory("C", None)]);
    assert_eq!(foreign.reasons()[0], "C: it was renamed on the server, and another directory is in its place C");
}

#[test]
fn a_mailbox_made_anew_is_not_the_old_one() {
    let known = with_identity(record(1, "A"), "F1");
    let anew = scene(std::slice::from_ref(&known), &[told_as("A", "F2")], &[directory("A", Some(1))]);
    assert!(matches!(anew.judged()[..], [MailboxVerdict::Park(ONE), MailboxVerdict::LeftOut { .. }]));
    assert!(anew.reasons()[0].starts_with("A: A in the Maildir holds the mail of a mailbox that was deleted"));
    // Once the directory is out of the way.
    let parked = MailboxRecord { parked: Some(Parked::GoneFromServer), ..known };
    let free = scene(&[parked], &[told_as("A", "F2")], &[]);
    assert!(matches!(free.judged()[..], [MailboxVerdict::Forget(ONE), MailboxVerdict::CreateLocal { .. }]));
    // One was renamed, and its old name was given to another.
    let renamed = scene(
        &[with_identity(record(1, "A"), "F1")],
        &[told_as("A", "F2"), told_as("B", "F1")],
        &[directory("A", Some(1))],
    );
    assert!(matches!(renamed.judged()[..], [MailboxVerdict::RenameLocal { .. }, MailboxVerdict::CreateLocal { .. }]));
}

#[test]
fn a_copied_directory_is_a_new_mailbox_and_the_original_stays_what_it_is() {
    let copy = |path: &str| MailboxVerdict::CreateRemote { name: name(path), path: path.into(), copy_of: Some(ONE) };
    let dirs = [directory("A", Some(1)), copied("Copy of A", 1)];
    assert_eq!(
        scene(&[record(1, "A")], &[listed("A")], &dirs).judged(),
        [MailboxVerdict::Mirror(ONE), copy("Copy of A")]
    );
    // The original was moved, and the copy put in its place.
    let dirs = [copied("A", 1), directory("B", Some(1))];
    let judged = scene(&[record(1, "A")], &[listed("A")], &dirs).judged();
    assert!(matches!(&judged[0], MailboxVerdict::RenameRemote { path, .. } if path == "B"), "{judged:?}");
    // A Maildir that was restored from a copy has other inodes throughout.
    let restored = scene(&[record(1, "A")], &[listed("A")], &[copied("A", 1)]);
    assert_eq!(restored.judged(), [MailboxVerdict::Mirror(ONE)]);
    let unknown = scene(&[], &[], &[directory("A", Some(7))]);
    assert!(unknown.reasons()[0].contains("not known any more"));
}

#[test]
fn what_is_not_subscribed_to_is_parked_and_comes_back() {
    let here = [directory("A", Some(1))];
    let not = Listed { standing: Standing::Unsubscribed, ..listed("A") };
    let judged = |record, listed| scene(&[record], &[listed], &here).judged();
    assert_eq!(judged(record(1, "A"), not.clone()), [MailboxVerdict::Unsubscribed(ONE)]);
    let parked = MailboxRecord { parked: Some(Parked::Unsubscribed), ..record(1, "A") };
    assert_eq!(judged(parked.clone(), not.clone()), [MailboxVerdict::Parked(ONE)]);
    assert_eq!(judged(parked, listed("A")), [MailboxVerdict::Unpark(ONE)]);
    assert_eq!(scene(&[], &[not], &[]).judged(), []);
}

#[test]
fn a_name_without_place_is_left_out() {
    let hostile = Listed { place: Err("its name leads out of the Maildir".into()), ..listed("..") };
    assert_eq!(scene(&[], &[hostile], &[]).reasons(), ["..: its name leads out of the Maildir"]);
}

#[test]
fn two_names_that_differ_in_case_get_one_maildir() {
    let seen = scene(&[], &[listed("Work"), listed("work")], &[]).judged();
    assert!(matches!(seen[..], [MailboxVerdict::CreateLocal { .. }, MailboxVerdict::LeftOut { .. }]));
}
