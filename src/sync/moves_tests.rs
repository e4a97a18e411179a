use super::*;
use crate::mail::{MailboxName, Storable, UidValidity};
use crate::sync::guard::{Guard, GuardMemory, Watched, guard};
use crate::sync::picture::Removing;
use crate::sync::plan::Route;
use crate::sync::policy::{Policy, Rules};
use crate::sync::reconcile::reconcile;
use crate::sync::settle::{Outcome, settle};
use proptest::prelude::*;

/// A mailbox in a few words: messages are numbers, and what a number stands for is one text everywhere.
#[derive(Clone, Default)]
struct Mailbox {
    picture: Picture,
    remote: BTreeMap<Uid, (u8, Flags)>,
    local: BTreeMap<BaseName, (u8, Flags)>,
}

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not zero")
}

fn name(text: &str) -> BaseName {
    BaseName::new(text.as_bytes()).expect("a name")
}

fn look(text: u8) -> Fingerprint {
    Fingerprint { message_id: Some([text; 8]), size: u64::from(text), header: [text; 16], body: [text; 16] }
}

impl Mailbox {
    /// A pair on both sides.
    fn both(mut self, number: u32, file: &str, text: u8) -> Self {
        self.picture.apply(Change::Uid(uid(number), Some(Known::Pair(pair(file, text)))));
        self.there(number, text).here(file, text)
    }

    /// A pair whose file is missing.
    fn file_gone(mut self, number: u32, file: &str, text: u8) -> Self {
        self = self.both(number, file, text);
        self.local.remove(&name(file));
        self
    }

    /// A pair whose message is missing on the server.
    fn message_gone(mut self, number: u32, file: &str, text: u8) -> Self {
        self = self.both(number, file, text);
        self.remote.remove(&uid(number));
        self
    }

    fn there(mut self, number: u32, text: u8) -> Self {
        self.remote.insert(uid(number), (text, Flags::new()));
        self
    }

    fn here(mut self, file: &str, text: u8) -> Self {
        self.local.insert(name(file), (text, Flags::new()));
        self
    }

    fn with_pair(mut self, number: u32, change: impl FnOnce(&mut Pair)) -> Self {
        let mut pair = self.picture.pair(uid(number)).expect("a pair").clone();
        change(&mut pair);
        self.picture.apply(Change::Uid(uid(number), Some(Known::Pair(pair))));
        self
    }
}

fn pair(file: &str, text: u8) -> Pair {
    Pair::agreed(name(file), Flags::new(), Some(look(text)))
}

/// Every message of the server and every file, with the date 0.
fn evidence(boxes: &[Mailbox]) -> Evidence {
    let mut evidence = Evidence::default();
    for (id, mailbox) in (0..).map(MailboxId).zip(boxes) {
        for (uid, (text, _)) in &mailbox.remote {
            let arrived =
                Arrived { message_id: Some([*text; 8]), size: Some(u64::from(*text)), date: Some(0), object: None };
            evidence.arrived.insert((id, *uid), arrived);
        }
        evidence.dates.extend(mailbox.local.keys().map(|name| ((id, name.clone()), 0)));
    }
    evidence
}

/// The plans of all, reconciled one by one.
fn plans(boxes: &[Mailbox]) -> Vec<(MailboxPlan, RemoteView, LocalView)> {
    let all = Storable::everything();
    let limits = crate::sync::Limits::default();
    let (policy, route) = (Policy::TWO_WAY, Route::Expunge);
    let rules = Rules { policy, remote_flags: all.clone(), local_flags: all, route, limits, now: 0 };
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        name(&format!("fresh{count}"))
    };
    let plan = |(id, mailbox): (MailboxId, &Mailbox)| {
        let flags: BTreeMap<Uid, Flags> = mailbox.remote.iter().map(|(uid, (_, f))| (*uid, f.clone())).collect();
        let exists = flags.len() as u32;
        let remote = RemoteView::listed(flags, exists).expect("it adds up");
        let local = LocalView::of_new(mailbox.local.iter().map(|(name, (_, f))| (name.clone(), f.clone())).collect());
        let mut done = reconcile(&mailbox.picture, &remote, &local, &rules, &mut fresh);
        for action in &mut done.actions {
            if let Action::Append { name, print, .. } = action {
                *print = mailbox.local.get(name).map(|(text, _)| look(*text));
            }
        }
        let uid_validity = UidValidity::new(7).expect("not zero");
        let (actions, notes) = (done.actions, done.notes);
        (MailboxPlan { mailbox: id, name: MailboxName::inbox(), uid_validity, actions, notes }, remote, local)
    };
    (0..).map(MailboxId).zip(boxes).map(plan).collect()
}

fn with_scenes<T>(
    boxes: &[Mailbox],
    plans: &mut [(MailboxPlan, RemoteView, LocalView)],
    trash: usize,
    with: impl FnOnce(&mut Vec<Scene<'_>>) -> T,
) -> T {
    let mut scenes: Vec<Scene<'_>> = Vec::new();
    for (number, ((plan, remote, local), mailbox)) in plans.iter_mut().zip(boxes).enumerate() {
        let is_trash = number == trash;
        scenes.push(Scene { plan, picture: &mailbox.picture, remote, local, is_trash });
    }
    with(&mut scenes)
}

/// What is done in each mailbox, with this evidence; the third mailbox is the Trash.
fn paired_with(boxes: &[Mailbox], evidence: &Evidence) -> Vec<MailboxPlan> {
    let mut plans = plans(boxes);
    with_scenes(boxes, &mut plans, 2, |scenes| pair_up(scenes, evidence));
    plans.into_iter().map(|(plan, ..)| plan).collect()
}

fn paired(boxes: &[Mailbox]) -> Vec<MailboxPlan> {
    paired_with(boxes, &evidence(boxes))
}

fn told(plans: &[MailboxPlan]) -> Vec<Vec<String>> {
    let tell = |action: &Action| match action {
        Action::Fetch { uid, .. } => format!("fetch {uid}"),
        Action::Append { name, .. } => format!("upload {name}"),
        Action::SetFlags { uid, .. } => format!("flags {uid}"),
        Action::DeleteRemote { uid, .. } => format!("delete there {uid}"),
        Action::DeleteLocal { name, .. } => format!("delete here {name}"),
        Action::Restore { name, .. } | Action::Withdraw { name, .. } => format!("undo {name}"),
        Action::CopyRemote { origin, name, .. } => format!("copy {}/{} for {name}", origin.mailbox, origin.uid),
        Action::MoveRemote { origin, was, name, .. } => {
            format!("move {}/{} {was} for {name}", origin.mailbox, origin.uid)
        }
        Action::MoveLocal { uid, origin, was, name, .. } => {
            format!("rename {}/{was} to {name} for {uid}", origin.mailbox)
        }
    };
    plans.iter().map(|plan| plan.actions.iter().map(tell).collect()).collect()
}

fn assert_told(boxes: &[Mailbox], expected: &[&[&str]]) {
    assert_eq!(told(&paired(boxes)), expected);
}

fn empty() -> Mailbox {
    Mailbox::default()
}

#[test]
fn a_file_that_moved_is_moved_there_under_either_name() {
    assert_told(&[empty().file_gone(1, "a", 1), empty().here("a", 1)], &[&[], &["move 0/1 a for a"]]);
    assert_told(&[empty().file_gone(1, "a", 1), empty().here("b", 1)], &[&[], &["move 0/1 a for b"]]);
}

#[test]
fn a_base_name_is_enough_where_nothing_is_known_of_the_bytes_and_not_if_they_are_others() {
    let unknown = empty().file_gone(1, "a", 1).with_pair(1, |pair| pair.print = None);
    assert_told(&[unknown.clone(), empty().here("a", 1)], &[&[], &["move 0/1 a for a"]]);
    assert_told(&[unknown, empty().here("b", 1)], &[&["delete there 1"], &["upload b"]]);
    let other = [empty().file_gone(1, "a", 1), empty().here("a", 2)];
    assert_told(&other, &[&["delete there 1"], &["upload a"]]);
}

#[test]
fn the_same_message_id_with_other_bytes_is_no_move() {
    let mut boxes = [empty().file_gone(1, "a", 1), empty().here("b", 2)];
    boxes[0] = boxes[0].clone().with_pair(1, |pair| {
        pair.print = Some(Fingerprint { message_id: Some([2; 8]), size: 2, header: [2; 16], body: [1; 16] });
    });
    assert_told(&boxes, &[&["delete there 1"], &["upload b"]]);
}

#[test]
fn a_name_counts_before_bytes_and_the_newest_before_older_ones() {
    // Two that are alike went; one kept its name.
    let gone = empty().file_gone(1, "a", 1).file_gone(2, "b", 1).file_gone(3, "c", 1);
    assert_told(&[gone.clone(), empty().here("a", 1)], &[&["delete there 2", "delete there 3"], &["move 0/1 a for a"]]);
    assert_told(&[gone.clone(), empty().here("x", 1)], &[&["delete there 1", "delete there 2"], &["move 0/3 c for x"]]);
    let all = [gone, empty().here("a", 1).here("x", 1)];
    assert_told(&all, &[&["delete there 2"], &["move 0/1 a for a", "move 0/3 c for x"]]);
}

#[test]
fn each_that_went_is_used_once_and_a_further_file_is_a_copy() {
    let boxes = [empty().file_gone(1, "a", 1), empty().here("a", 1), empty().here("b", 1)];
    assert_told(&boxes, &[&[], &["move 0/1 a for a"], &["copy 0/1 for b"]]);
    let plans = paired(&boxes);
    let phase = |mailbox: usize| plans[mailbox].actions[0].phase();
    assert!(phase(2) < phase(1), "what is moved away cannot be copied any more");
}

#[test]
fn a_file_whose_bytes_are_elsewhere_too_is_a_copy_be_it_a_hard_link_or_not() {
    let boxes = [empty().both(1, "a", 1), empty().here("a", 1), empty().here("b", 1)];
    assert_told(&boxes, &[&[], &["copy 0/1 for a"], &["copy 0/1 for b"]]);
    assert_told(&[empty().both(1, "a", 1).here("b", 1)], &[&["copy 0/1 for b"]]);
    // Two new ones that are alike: nothing is there that could be copied.
    assert_told(&[empty().here("a", 1), empty().here("a", 1)], &[&["upload a"], &["upload a"]]);
}

#[test]
fn nothing_is_copied_or_moved_from_what_is_being_removed() {
    for removing in [Removing::Copied, Removing::Marked] {
        let going = empty().file_gone(1, "a", 1).with_pair(1, |pair| pair.removing = Some(removing));
        let plans = told(&paired(&[going, empty().here("a", 1)]));
        assert_eq!(plans[1], ["upload a"], "{removing:?}");
    }
}

#[test]
fn chains_and_exchanges_are_moves() {
    let chain = [empty().file_gone(1, "a", 1), empty().file_gone(1, "b", 2).here("a", 1), empty().here("b", 2)];
    assert_told(&chain, &[&[], &["move 0/1 a for a"], &["move 1/1 b for b"]]);
    let exchange = [empty().file_gone(1, "a", 1).here("b", 2), empty().file_gone(1, "b", 2).here("a", 1)];
    assert_told(&exchange, &[&["move 1/1 b for b"], &["move 0/1 a for a"]]);
    let there = [empty().message_gone(1, "a", 1).there(2, 2), empty().message_gone(1, "b", 2).there(2, 1)];
    assert_told(&there, &[&["rename 1/b to b for 2"], &["rename 0/a to a for 2"]]);
}

#[test]
fn a_message_that_moved_there_is_renamed_here_if_all_three_agree() {
    let boxes = [empty().message_gone(1, "a", 1), empty().there(9, 1)];
    assert_told(&boxes, &[&[], &["rename 0/a to a for 9"]]);
    let transferred: &[Vec<String>] = &[vec!["delete here a".to_owned()], vec!["fetch 9".to_owned()]];
    let changes: [fn(&mut Arrived); 6] = [
        |arrived| arrived.message_id = None,
        |arrived| arrived.message_id = Some([2; 8]),
        |arrived| arrived.size = None,
        |arrived| arrived.size = Some(2),
        |arrived| arrived.date = None,
        |arrived| arrived.date = Some(1),
    ];
    for change in changes {
        let mut evidence = evidence(&boxes);
        evidence.arrived.values_mut().for_each(change);
        assert_eq!(told(&paired_with(&boxes, &evidence)), transferred);
    }
    let undated = Evidence { dates: BTreeMap::new(), ..evidence(&boxes) };
    assert_eq!(told(&paired_with(&boxes, &undated)), transferred);
}

#[test]
fn the_word_of_the_server_counts_before_what_messages_look_like() {
    let says = |pair: &mut Pair, told: &str| pair.object = ObjectId::new(told);
    let known = |number: u32, file: &str, told: &str| {
        empty().message_gone(number, file, 1).with_pair(number, |pair| says(pair, told))
    };
    let mut boxes = [known(1, "a", "x"), known(1, "b", "y"), empty().there(9, 1)];
    let with = |boxes: &[Mailbox], told: Option<&str>, dated: bool| {
        let mut evidence = evidence(boxes);
        evidence.arrived.values_mut().for_each(|arrived| {
            arrived.object = told.and_then(ObjectId::new);
            if !dated {
                (arrived.message_id, arrived.date) = (None, None);
            }
        });
        self::told(&paired_with(boxes, &evidence))
    };
    // Two look alike; it says which one it is, and if it says neither it is another.
    assert_eq!(with(&boxes, Some("y"), true), [vec!["delete here a"], vec![], vec!["rename 1/b to b for 9"]]);
    assert_eq!(with(&boxes, Some("y"), false), [vec!["delete here a"], vec![], vec!["rename 1/b to b for 9"]]);
    assert_eq!(with(&boxes, Some("z"), true), [vec!["delete here a"], vec!["delete here b"], vec!["fetch 9"]]);
    // Where it says nothing of one of them, the looks decide.
    assert_eq!(with(&boxes, None, true), [vec![], vec!["delete here b"], vec!["rename 0/a to a for 9"]]);
    boxes[0] = boxes[0].clone().with_pair(1, |pair| pair.object = None);
    assert_eq!(with(&boxes, Some("z"), true), [vec![], vec!["delete here b"], vec!["rename 0/a to a for 9"]]);
    // A message without a Message-ID moves as well, if the server knows it.
    boxes[0] = boxes[0].clone().with_pair(1, |pair| {
        says(pair, "x");
        pair.print = pair.print.map(|print| Fingerprint { message_id: None, ..print });
    });
    assert_eq!(with(&boxes, Some("x"), false), [vec![], vec!["delete here b"], vec!["rename 0/a to a for 9"]]);
}

#[test]
fn a_message_that_is_put_in_the_place_of_another_in_its_mailbox_is_fetched() {
    // An edited draft may have the Message-ID, the size and the second of the old one.
    assert_told(&[empty().message_gone(1, "a", 1).there(2, 1)], &[&["fetch 2", "delete here a"]]);
}

#[test]
fn a_rename_takes_a_new_name_only_where_the_old_one_is_taken() {
    let taken = [empty().message_gone(1, "a", 1), empty().both(1, "a", 2).there(9, 1)];
    assert_told(&taken, &[&[], &["rename 0/a to fresh1 for 9"]]);
    // Hard links in two mailboxes, both moved to a third.
    let boxes = [empty().message_gone(1, "a", 1), empty().message_gone(1, "a", 1), empty().there(8, 1).there(9, 1)];
    assert_told(&boxes, &[&[], &[], &["rename 0/a to a for 8", "rename 1/a to fresh2 for 9"]]);
}

#[test]
fn a_pair_that_was_guessed_stays_guessed_where_it_moves() {
    let guessed = |mailbox: Mailbox| mailbox.with_pair(1, |pair| pair.guessed = true);
    // Its deletion is held, or else it would not even count as one: there is no Trash to move it to.
    let hold = Some(Hold { gone: Side::Local, set: 1, word: Word::Waiting });
    let went = guessed(empty().file_gone(1, "a", 1)).with_pair(1, |pair| pair.hold = hold);
    let moves = [[went, empty().here("a", 1)], [guessed(empty().message_gone(1, "a", 1)), empty().there(9, 1)]];
    for boxes in moves {
        let plans = paired(&boxes);
        let [action] = &plans[1].actions[..] else { panic!("{plans:?}") };
        let changes = settle(&boxes[1].picture, action, &Outcome::Moved(uid(9), None), 0);
        let mut target = boxes[1].clone();
        changes.into_iter().for_each(|change| target.picture.apply(change));
        assert!(target.picture.pair(uid(9)).expect("a pair").guessed, "{action:?}");
        // Deleted there, where it could only be expunged, it is kept on the server.
        target.remote.insert(uid(9), (1, Flags::new()));
        target.local.clear();
        let (plan, ..) = &self::plans(&[target])[0];
        assert_eq!((plan.actions.len(), plan.notes.len()), (0, 1), "{plan:?}");
    }
}

#[test]
fn what_may_not_have_the_bytes_is_not_copied() {
    let guessed = empty().both(1, "a", 1).with_pair(1, |pair| pair.guessed = true);
    assert_told(&[guessed, empty().here("b", 1)], &[&[], &["upload b"]]);
}

#[test]
fn what_was_refused_once_is_transferred() {
    let boxes = [empty().file_gone(1, "a", 1).both(2, "b", 2), empty().here("a", 1).here("x", 2)];
    let mut known = evidence(&boxes);
    known.uploaded = ["a", "x"].map(|file| (MailboxId(1), name(file))).into();
    assert_eq!(told(&paired_with(&boxes, &known)), [vec!["delete there 1"], vec!["upload a", "upload x"]]);
    let boxes = [empty().message_gone(1, "a", 1), empty().there(9, 1)];
    let mut known = evidence(&boxes);
    known.fetched = BTreeSet::from([(MailboxId(1), uid(9))]);
    assert_eq!(told(&paired_with(&boxes, &known)), [vec!["delete here a"], vec!["fetch 9"]]);
}

#[test]
fn the_flags_last_agreed_go_along_so_that_changes_on_both_sides_are_merged() {
    let agreed = Flags::parse("\\Seen work");
    let mut boxes = [empty().file_gone(1, "a", 1), empty().here("a", 1)];
    boxes[0] = boxes[0].clone().with_pair(1, |pair| pair.agreed = agreed.clone());
    let plans = paired(&boxes);
    assert!(matches!(&plans[1].actions[..], [Action::MoveRemote { agreed: of, .. }] if *of == agreed));
}

#[test]
fn a_reader_s_mark_on_what_it_moves_to_the_trash_is_taken_off_there_only() {
    for (target, stripped) in [(1, false), (2, true)] {
        let mut boxes = [empty().file_gone(1, "a", 1), empty(), empty()];
        boxes[target].local.insert(name("a"), (1, Flags::parse("\\Deleted")));
        let plans = paired(&boxes);
        let [Action::MoveRemote { agreed, .. }] = &plans[target].actions[..] else { panic!("{plans:?}") };
        // As if it had been agreed, so that it counts as taken off on the server.
        assert_eq!(agreed.contains(SystemFlag::Deleted), stripped);
    }
}

#[test]
fn moves_are_not_counted_by_the_guard_and_held_deletions_that_turn_up_are_moves() {
    let (mut from, mut to) = (empty(), empty());
    for n in 1..=60 {
        from = from.file_gone(n, &format!("f{n}"), n as u8);
        to = to.here(&format!("f{n}"), n as u8);
    }
    let mut boxes = [from, to];
    for held in [false, true] {
        if held {
            let hold = Some(Hold { gone: Side::Local, set: 1, word: Word::Waiting });
            (1..=60).for_each(|n| boxes[0] = boxes[0].clone().with_pair(n, |pair| pair.hold = hold));
        }
        let mut plans = paired(&boxes);
        assert_eq!((plans[0].actions.len(), plans[1].actions.len()), (0, 60), "held: {held}");
        let watched = plans.iter_mut().zip(&boxes);
        let watched = watched.map(|(plan, of)| Watched { plan, picture: &of.picture, may_be_emptied: false });
        let mut memory = GuardMemory::default();
        assert_eq!(guard(&mut watched.collect::<Vec<_>>(), &mut memory, &Guard::default(), 0), []);
        assert_eq!(memory, GuardMemory::default());
    }
}

#[test]
fn the_server_is_asked_only_while_something_went_elsewhere() {
    let asked = |boxes: &[Mailbox]| with_scenes(boxes, &mut plans(boxes), 2, |scenes| arrivals_to_ask_for(scenes));
    assert_eq!(asked(&[empty().both(1, "a", 1), empty().there(9, 1)]), BTreeMap::new());
    assert_eq!(asked(&[empty().message_gone(1, "a", 1).there(9, 1)]), BTreeMap::new());
    let boxes = [empty().message_gone(1, "a", 1).there(2, 1), empty().there(9, 1)];
    assert_eq!(asked(&boxes), BTreeMap::from([(MailboxId(1), vec![uid(9)])]));
    // Of a mailbox that is fetched for the first time only the newest.
    let many = (1..=1000).fold(empty(), |all, n| all.there(n, 1));
    let newest: Vec<Uid> = (801..=1000).map(uid).collect();
    assert_eq!(asked(&[empty().message_gone(1, "a", 1), many]), BTreeMap::from([(MailboxId(1), newest)]));
}

#[test]
fn a_new_base_name_within_a_mailbox_is_a_matter_of_the_memory() {
    let boxes = [empty().file_gone(1, "a", 1).file_gone(2, "b", 1).here("x", 1).here("y", 2)];
    let mut plans = plans(&boxes);
    let (plan, remote, local) = &mut plans[0];
    let changes = renamed(&boxes[0].picture, remote, local, &plan.actions);
    assert_eq!(changes, [Change::Uid(uid(2), Some(Known::Pair(pair("x", 1))))]);
}

proptest! {
    /// Whatever moved and was copied, every message that is somewhere keeps a place, and each file gets one.
    #[test]
    fn nothing_is_used_twice_and_no_file_is_forgotten(
        places in prop::collection::vec((0usize..3, prop::option::of(0usize..3), 1u8..4, any::<bool>()), 0..12),
        copies in prop::collection::vec((0usize..3, 1u8..4), 0..4),
    ) {
        let mut boxes = vec![empty(), empty(), empty()];
        for (n, (from, to, text, keeps)) in places.iter().enumerate() {
            let (number, file) = (n as u32 + 1, format!("f{n}"));
            boxes[*from] = boxes[*from].clone().file_gone(number, &file, *text);
            if let Some(to) = to {
                let is = if *keeps { file } else { format!("g{n}") };
                boxes[*to] = boxes[*to].clone().here(&is, *text);
            }
        }
        for (n, (to, text)) in copies.iter().enumerate() {
            boxes[*to] = boxes[*to].clone().here(&format!("c{n}"), *text);
        }
        let before = plans(&boxes);
        let after = paired(&boxes);
        for ((before, ..), after) in before.iter().zip(&after) {
            let files = |plan: &MailboxPlan| -> Vec<BaseName> {
                let mut files: Vec<BaseName> = plan.actions.iter().filter_map(|action| match action {
                    Action::Append { name, .. } | Action::CopyRemote { name, .. } | Action::MoveRemote { name, .. } => {
                        Some(name.clone())
                    }
                    _ => None,
                }).collect();
                files.sort();
                files
            };
            prop_assert_eq!(files(before), files(after));
        }
        let mut gone = BTreeSet::new();
        for plan in &after {
            for action in &plan.actions {
                match action {
                    Action::MoveRemote { origin, name, .. } => {
                        prop_assert!(origin.mailbox != plan.mailbox);
                        prop_assert!(gone.insert((origin.mailbox, origin.uid)), "moved twice");
                        let text = boxes[plan.mailbox.0 as usize].local[name].0;
                        prop_assert_eq!(boxes[origin.mailbox.0 as usize].remote[&origin.uid].0, text);
                    }
                    Action::DeleteRemote { uid, .. } => prop_assert!(gone.insert((plan.mailbox, *uid)), "also deleted"),
                    Action::CopyRemote { origin, name, .. } => {
                        let text = boxes[plan.mailbox.0 as usize].local[name].0;
                        prop_assert_eq!(boxes[origin.mailbox.0 as usize].remote[&origin.uid].0, text);
                    }
                    _ => {}
                }
            }
        }
        let deleted_before = before.iter().flat_map(|(plan, ..)| &plan.actions).filter_map(deleted_there).count();
        prop_assert_eq!(gone.len(), deleted_before);
    }
}
