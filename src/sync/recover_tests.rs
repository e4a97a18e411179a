//! Moves and deletions that a crash interrupted; uploads and fetches are in the model and in the scenarios.

use super::*;
use crate::mail::{Flags, MailboxName};
use crate::sync::plan::BatchId;

const FROM: MailboxId = MailboxId(1);
const TO: MailboxId = MailboxId(2);

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not zero")
}

fn name(text: &str) -> BaseName {
    BaseName::new(text.as_bytes()).expect("a name")
}

fn epoch() -> UidValidity {
    UidValidity::new(7).expect("not zero")
}

fn print() -> Fingerprint {
    Fingerprint { message_id: Some([1; 8]), size: 100, header: [2; 16], body: [3; 16] }
}

fn exact() -> Trace {
    Trace { message_id: Some([1; 8]), header: [2; 16], size: 100 }
}

fn pair(file: &str) -> Pair {
    Pair::agreed(name(file), Flags::parse("\\Seen"), Some(print()))
}

fn origin() -> Origin {
    Origin { mailbox: FROM, mailbox_name: MailboxName::inbox(), uid_validity: epoch(), uid: uid(5) }
}

fn moved_there() -> Action {
    let agreed = Flags::parse("\\Seen");
    Action::MoveRemote { origin: origin(), was: name("a"), name: name("b"), agreed, print: print(), guessed: false }
}

fn moved_here() -> Action {
    let agreed = Flags::parse("\\Seen");
    Action::MoveLocal {
        uid: uid(9),
        origin: origin(),
        was: name("a"),
        name: name("a"),
        agreed,
        print: print(),
        guessed: false,
    }
}

fn batch(id: u64, action: Action) -> Batch {
    let from = BTreeMap::from([(TO, (epoch(), uid(9)))]);
    let work = Work::Messages { mailbox: TO, uid_validity: epoch(), actions: vec![action], from };
    Batch { id: BatchId(id), generation: 1, work }
}

/// What the crash left: UIDs of both mailboxes, files of both, and what is new in the target.
struct Left {
    remote: [&'static [u32]; 2],
    local: [&'static [&'static str]; 2],
    traces: Vec<(u32, Trace)>,
}

impl Left {
    fn recover(&self, batches: &[Batch]) -> Vec<(MailboxId, Change)> {
        let mut from = Picture::new();
        from.apply(Change::Uid(uid(5), Some(Known::Pair(pair("a")))));
        let pictures = BTreeMap::from([(FROM, from), (TO, Picture::new())]);
        let view = |uids: &[u32]| {
            let all: BTreeMap<Uid, Flags> = uids.iter().map(|n| (uid(*n), Flags::new())).collect();
            RemoteView::listed(all, uids.len() as u32).expect("it adds up")
        };
        let files = |names: &[&str]| LocalView::of_new(names.iter().map(|n| (name(n), Flags::new())).collect());
        let remotes = BTreeMap::from([(FROM, view(self.remote[0])), (TO, view(self.remote[1]))]);
        let locals = BTreeMap::from([(FROM, files(self.local[0])), (TO, files(self.local[1]))]);
        let traces = self.traces.iter().map(|(number, trace)| (uid(*number), *trace)).collect();
        recover(batches, TO, &pictures, &remotes, &locals, &BTreeMap::from([(TO, traces)]))
    }
}

fn known(file: &str) -> Vec<(MailboxId, Change)> {
    vec![(TO, Change::Local(name(file), None)), (TO, Change::Uid(uid(9), Some(Known::Pair(pair(file)))))]
}

fn with(mut changes: Vec<(MailboxId, Change)>, change: Change) -> Vec<(MailboxId, Change)> {
    changes.push((FROM, change));
    changes
}

#[test]
fn a_move_that_came_to_pass_is_settled_in_both_mailboxes() {
    let left = Left { remote: [&[], &[9]], local: [&[], &["b"]], traces: vec![(9, exact())] };
    assert_eq!(left.recover(&[batch(1, moved_there())]), with(known("b"), Change::Uid(uid(5), None)));
}

#[test]
fn a_copy_without_its_removal_leaves_the_removal() {
    let left = Left { remote: [&[5], &[9]], local: [&[], &["b"]], traces: vec![(9, exact())] };
    let copied = Pair { removing: Some(Removing::Copied), ..pair("a") };
    let expected = with(known("b"), Change::Uid(uid(5), Some(Known::Pair(copied))));
    assert_eq!(left.recover(&[batch(1, moved_there())]), expected);
}

#[test]
fn what_has_only_the_message_id_of_the_copy_is_no_reason_to_expunge_the_original() {
    let alike = Trace { header: [8; 16], size: 90, ..exact() };
    let left = Left { remote: [&[5], &[9]], local: [&[], &["b"]], traces: vec![(9, alike)] };
    // It may be another message: the pair is a guess, and nothing is ever expunged because of it.
    let guessed = Pair { guessed: true, ..pair("b") };
    let expected =
        vec![(TO, Change::Local(name("b"), None)), (TO, Change::Uid(uid(9), Some(Known::Pair(guessed.clone()))))];
    assert_eq!(left.recover(&[batch(1, moved_there())]), expected);
    let upload = Action::Append { name: name("b"), flags: Flags::parse("\\Seen"), print: Some(print()) };
    assert_eq!(left.recover(&[batch(1, upload)]), expected);
}

#[test]
fn a_pair_that_was_guessed_is_recovered_as_a_guess() {
    let there = Left { remote: [&[], &[9]], local: [&[], &["b"]], traces: vec![(9, exact())] };
    let here = Left { remote: [&[], &[9]], local: [&[], &["a"]], traces: vec![] };
    for (left, action) in [(there, moved_there()), (here, moved_here())] {
        let action = match action {
            Action::MoveRemote { origin, was, name, agreed, print, .. } => {
                Action::MoveRemote { origin, was, name, agreed, print, guessed: true }
            }
            Action::MoveLocal { uid, origin, was, name, agreed, print, .. } => {
                Action::MoveLocal { uid, origin, was, name, agreed, print, guessed: true }
            }
            other => other,
        };
        let changes = left.recover(&[batch(1, action)]);
        let is_guess = |(_, change): &(MailboxId, Change)| matches!(change, Change::Uid(_, Some(Known::Pair(pair))) if pair.guessed);
        assert_eq!(changes.iter().filter(|change| is_guess(change)).count(), 1, "{changes:?}");
    }
}

#[test]
fn a_move_that_did_not_happen_is_planned_anew() {
    let left = Left { remote: [&[5], &[]], local: [&[], &["b"]], traces: vec![] };
    assert_eq!(left.recover(&[batch(1, moved_there())]), []);
}

#[test]
fn an_upload_and_a_copy_of_the_same_bytes_do_not_claim_one_another() {
    let upload = Action::Append { name: name("c"), flags: Flags::parse("\\Seen"), print: Some(print()) };
    let batches = [batch(1, upload), batch(2, moved_there())];
    let traces = vec![(9, exact()), (10, exact())];
    let left = Left { remote: [&[], &[9, 10]], local: [&[], &["b", "c"]], traces };
    let changes = left.recover(&batches);
    let uids: BTreeSet<Uid> = changes
        .iter()
        .filter_map(|(of, c)| matches!(c, Change::Uid(_, Some(_))).then_some((of, c)))
        .filter_map(|(_, c)| if let Change::Uid(uid, _) = c { Some(*uid) } else { None })
        .collect();
    assert_eq!(uids, BTreeSet::from([uid(9), uid(10)]));
}

#[test]
fn a_file_that_was_renamed_is_the_message_s_wherever_a_reader_moved_it_on() {
    let settled = vec![(TO, Change::Uid(uid(9), Some(Known::Pair(pair("a"))))), (FROM, Change::Uid(uid(5), None))];
    let left = Left { remote: [&[], &[9]], local: [&[], &["a"]], traces: vec![] };
    assert_eq!(left.recover(&[batch(1, moved_here())]), settled);
    // It was not renamed yet, or a reader took it back: then it is planned anew.
    let left = Left { remote: [&[], &[9]], local: [&["a"], &[]], traces: vec![] };
    assert_eq!(left.recover(&[batch(1, moved_here())]), []);
    // Gone from everywhere: the message lives, and is fetched.
    let left = Left { remote: [&[], &[9]], local: [&[], &[]], traces: vec![] };
    assert_eq!(left.recover(&[batch(1, moved_here())]), []);
}

const TRASH: MailboxId = MailboxId(3);

/// Deletions of one message each in two mailboxes, alike by their prints; which of them are still there, and what is new
/// in the Trash. Tells whose copies are taken to be there.
fn copied_to_trash(there: [bool; 2], traces: &[Trace]) -> Vec<MailboxId> {
    let deletion = |of: MailboxId| {
        let action = Action::DeleteRemote { uid: uid(5), name: name("a"), route: Route::Trash(TRASH), inferred: true };
        let from = BTreeMap::from([(TRASH, (epoch(), uid(20)))]);
        let work = Work::Messages { mailbox: of, uid_validity: epoch(), actions: vec![action], from };
        Batch { id: BatchId(u64::from(of.0)), generation: 1, work }
    };
    let mut picture = Picture::new();
    picture.apply(Change::Uid(uid(5), Some(Known::Pair(pair("a")))));
    let pictures = BTreeMap::from([(FROM, picture.clone()), (TO, picture)]);
    let view = |is_there: bool| {
        let all: BTreeMap<Uid, Flags> = is_there.then(|| (uid(5), Flags::new())).into_iter().collect();
        let count = u32::from(is_there);
        RemoteView::listed(all, count).expect("it adds up")
    };
    let remotes = BTreeMap::from([(FROM, view(there[0])), (TO, view(there[1]))]);
    let traces = (20..).zip(traces).map(|(number, trace)| (uid(number), *trace)).collect();
    let traces = BTreeMap::from([(TRASH, traces)]);
    let batches = [deletion(FROM), deletion(TO)];
    let found = [FROM, TO].map(|of| recover(&batches, of, &pictures, &remotes, &BTreeMap::new(), &traces));
    let copied = Known::Pair(Pair { removing: Some(Removing::Copied), ..pair("a") });
    let is_copied = |change: &Change| *change == Change::Uid(uid(5), Some(copied.clone()));
    found.into_iter().flatten().inspect(|(_, change)| assert!(is_copied(change))).map(|(of, _)| of).collect()
}

#[test]
fn a_copy_in_the_trash_leaves_the_removal() {
    assert_eq!(copied_to_trash([true, false], &[exact(), exact()]), [FROM]);
    assert_eq!(copied_to_trash([true, true], &[exact(), exact()]), [FROM, TO]);
    assert_eq!(copied_to_trash([true, true], &[]), []);
}

#[test]
fn a_copy_in_the_trash_is_of_one_message_only() {
    // The one that is gone went there; the other did not yet, and is not expunged as if it had.
    assert_eq!(copied_to_trash([true, false], &[exact()]), []);
    assert_eq!(copied_to_trash([false, true], &[exact()]), []);
    assert_eq!(copied_to_trash([true, true], &[exact()]), [FROM]);
}

#[test]
fn what_has_only_the_message_id_of_what_is_in_the_trash_is_not_expunged() {
    let alike = Trace { header: [8; 16], size: 90, ..exact() };
    assert_eq!(copied_to_trash([true, true], &[alike, alike]), []);
    assert_eq!(copied_to_trash([false, true], &[alike]), []);
}
