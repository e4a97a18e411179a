use super::*;
use crate::mail::fingerprint;
use proptest::prelude::*;

/// A message of the server with this text, whose header was fetched if `asked`.
pub(in crate::sync) fn there(text: &str, date: i64, asked: bool) -> LooksThere {
    let print = fingerprint::of(text.as_bytes());
    let octets = text.len() as u64;
    let header = text.split_inclusive("\r\n\r\n").next().unwrap_or_default();
    let volatile = header.len() as u64 - fingerprint::of(header.as_bytes()).size;
    LooksThere {
        flags: Flags::new(),
        size: Some(octets),
        date: Some(date),
        message_id: print.message_id,
        header: asked.then_some(HeaderLook { digest: print.header, volatile }),
    }
}

pub(in crate::sync) fn here(text: &str, date: i64) -> LooksHere {
    let unended = !text.ends_with('\n');
    LooksHere {
        flags: Flags::new(),
        print: fingerprint::of(text.as_bytes()),
        octets: Some(text.len() as u64 + if unended { 2 } else { 0 }),
        unended,
        date: Some(date),
        gone: false,
    }
}

pub(in crate::sync) fn uid(n: u32) -> Uid {
    Uid::new(n).expect("not zero")
}

pub(in crate::sync) fn name(text: &str) -> BaseName {
    BaseName::new(text.as_bytes()).expect("a name")
}

fn sets(
    server: &[(u32, &str, i64)],
    maildir: &[(&str, &str, i64)],
) -> (BTreeMap<Uid, LooksThere>, BTreeMap<BaseName, LooksHere>) {
    (
        server.iter().map(|(n, text, date)| (uid(*n), there(text, *date, false))).collect(),
        maildir.iter().map(|(n, text, date)| (name(n), here(text, *date))).collect(),
    )
}

/// Pairs up after the headers were asked for; tells which those were, and `UID=name`, with a `?` if it is a guess.
fn paired(server: &[(u32, &str, i64)], maildir: &[(&str, &str, i64)]) -> (Vec<u32>, String) {
    let (mut there_, here) = sets(server, maildir);
    let asked = undecided(&there_, &here);
    for (n, text, date) in server.iter().filter(|(n, ..)| asked.contains(&uid(*n))) {
        there_.insert(uid(*n), there(text, *date, true));
    }
    let mark = |m: &Match| format!("{}={}{}", m.uid, m.name, if m.guessed { "?" } else { "" });
    let pairs: Vec<String> = pair_up(&there_, &here).iter().map(mark).collect();
    (asked.into_iter().map(Uid::get).collect(), pairs.join(" "))
}

fn mail(id: &str, body: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("Message-ID: <{id}@x>\r\n") };
    format!("From: a@x\r\n{id}Subject: s\r\n\r\n{body}\r\n")
}

#[test]
fn a_message_id_and_a_size_are_enough_where_they_name_one_on_each_side() {
    let (a, b) = (mail("a", "text"), mail("b", "text"));
    let (asked, pairs) = paired(&[(1, &a, 5), (2, &b, 6)], &[("x", &b, 9), ("y", &a, 9)]);
    assert_eq!((asked, &*pairs), (vec![], "1=y 2=x"));
}

#[test]
fn fields_of_other_tools_change_a_size_and_nothing_else() {
    let plain = mail("a", "text");
    let tuid = plain.replace("Subject", "X-TUID: abcdefghijkl\r\nSubject");
    let length = plain.replace("Subject", "Content-Length: 6\r\nSubject");
    let lf = tuid.replace("\r\n", "\n").replace('\n', "\r\n");
    for (there, here, asks) in [
        (&plain, &tuid, false),
        (&tuid, &plain, false),
        (&tuid, &tuid, false),
        (&plain, &lf, false),
        (&plain, &length, false),
        (&length, &plain, true),
        (&length, &tuid, true),
    ] {
        let (asked, pairs) = paired(&[(1, there, 5)], &[("x", here, 9)]);
        assert_eq!((!asked.is_empty(), &*pairs), (asks, "1=x"), "{there:?} and {here:?}");
    }
}

#[test]
fn the_same_message_id_with_another_text_is_another_message() {
    let (old, new) = (mail("draft", "a draft"), mail("draft", "a draft, edited").replace("Subject: s", "Subject: t"));
    let (asked, pairs) = paired(&[(1, &old, 5)], &[("x", &new, 9)]);
    assert_eq!((asked, &*pairs), (vec![1], ""));
    // Both are on both sides.
    let (asked, pairs) = paired(&[(1, &old, 5), (2, &new, 6)], &[("x", &new, 9), ("y", &old, 9)]);
    assert_eq!((asked, &*pairs), (vec![], "1=y 2=x"));
}

#[test]
fn a_server_that_estimates_sizes_is_understood_and_not_trusted() {
    let text = mail("a", "text");
    let (mut there_, here) = sets(&[(1, &text, 5)], &[("x", &text, 9)]);
    let message = there_.get_mut(&uid(1)).expect("there");
    message.size = Some(4096);
    message.header = there(&text, 5, true).header;
    assert_eq!(undecided(&there_, &here), BTreeSet::from([uid(1)]));
    assert_eq!(pair_up(&there_, &here), [Match { uid: uid(1), name: name("x"), guessed: true }]);
}

#[test]
fn of_those_that_look_alike_the_date_decides_then_their_order() {
    let text = mail("a", "text");
    let (asked, pairs) = paired(&[(1, &text, 5), (2, &text, 6)], &[("x", &text, 6), ("y", &text, 5)]);
    assert_eq!((asked, &*pairs), (vec![1, 2], "1=y 2=x"));
    let (_, pairs) = paired(&[(1, &text, 5), (2, &text, 6)], &[("x", &text, 7), ("y", &text, 8)]);
    assert_eq!(pairs, "1=x? 2=y?");
    let (_, pairs) = paired(&[(1, &text, 5), (2, &text, 6), (3, &text, 7)], &[("x", &text, 6)]);
    assert_eq!(pairs, "2=x");
    let (_, pairs) = paired(&[(1, &text, 5)], &[("x", &text, 9), ("y", &text, 9)]);
    assert_eq!(pairs, "1=x?");
}

#[test]
fn flags_decide_before_order() {
    let text = mail("a", "text");
    let (mut there_, mut here) = sets(&[(1, &text, 5), (2, &text, 6)], &[("x", &text, 8), ("y", &text, 9)]);
    there_ =
        there_.into_iter().map(|(uid, m)| (uid, LooksThere { header: there(&text, 1, true).header, ..m })).collect();
    there_.get_mut(&uid(1)).expect("there").flags = Flags::parse("\\Flagged work");
    here.get_mut(&name("y")).expect("here").flags = Flags::parse("\\Flagged");
    let pairs = pair_up(&there_, &here);
    assert_eq!(
        pairs.iter().map(|m| (m.uid.get(), m.name.to_string())).collect::<Vec<_>>(),
        [(1, "y".to_owned()), (2, "x".to_owned())]
    );
}

#[test]
fn without_a_message_id_the_header_and_the_size_decide() {
    let (a, b) = (mail("", "text"), mail("", "another text"));
    let (asked, pairs) = paired(&[(1, &a, 5), (2, &b, 6)], &[("x", &b, 9)]);
    assert_eq!((asked, &*pairs), (vec![2], "2=x"));
    // The same header with a text of another length is another message.
    let (asked, pairs) = paired(&[(1, &a, 5)], &[("x", &b, 9)]);
    assert_eq!((asked, &*pairs), (vec![], ""));
    let unended = a.trim_end().to_owned();
    assert_eq!(paired(&[(1, &unended, 5)], &[("x", &unended, 9)]).1, "1=x");
    assert_eq!(paired(&[(1, &a, 5)], &[("x", &unended, 9)]).1, "1=x");
}

#[test]
fn what_is_there_comes_before_what_is_remembered() {
    let text = mail("a", "text");
    let (there_, mut here) = sets(&[(1, &text, 5)], &[("x", &text, 9), ("y", &text, 9)]);
    let there_: BTreeMap<Uid, LooksThere> =
        there_.into_iter().map(|(uid, m)| (uid, LooksThere { header: there(&text, 1, true).header, ..m })).collect();
    let gone = here.get_mut(&name("x")).expect("here");
    (gone.gone, gone.date) = (true, None);
    let pairs = pair_up(&there_, &here);
    assert_eq!(pairs.iter().map(|m| &m.name).collect::<Vec<_>>(), [&name("y")]);
}

/// Texts that are often equal in what counts: the ID, the size, the header, or all of it.
pub(in crate::sync) fn texts() -> impl Strategy<Value = String> {
    let id = prop::sample::select(vec!["", "a", "b"]);
    let body = prop::sample::select(vec!["one", "two", "three"]);
    let extra = prop::sample::select(vec!["", "", "X-TUID: abcdefghijkl\r\n", "Lines: 3\r\n"]);
    (id, body, extra).prop_map(|(id, body, extra)| mail(id, body).replace("Subject", &format!("{extra}Subject")))
}

fn looks(all: &[(String, i64)], asked: bool) -> BTreeMap<Uid, LooksThere> {
    all.iter().zip(1..).map(|((text, date), n)| (uid(n), there(text, *date, asked))).collect()
}

fn files(all: &[(String, i64)]) -> BTreeMap<BaseName, LooksHere> {
    all.iter().enumerate().map(|(n, (text, date))| (name(&format!("n{n:02}")), here(text, *date))).collect()
}

/// The texts of messages, and their dates.
type Dated = Vec<(String, i64)>;

/// Messages, and the same in another order.
fn shuffled() -> impl Strategy<Value = (Dated, Dated)> {
    let all = prop::collection::vec((texts(), 0i64..3), 0..8);
    all.prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
}

proptest! {
    #[test]
    fn whatever_the_order_the_same_number_is_paired_and_nothing_twice(
        (server, other_server) in shuffled(),
        (maildir, other_maildir) in shuffled(),
    ) {
        let (there_, here_) = (looks(&server, true), files(&maildir));
        let pairs = pair_up(&there_, &here_);
        let uids: BTreeSet<Uid> = pairs.iter().map(|m| m.uid).collect();
        let names: BTreeSet<&BaseName> = pairs.iter().map(|m| &m.name).collect();
        prop_assert_eq!((uids.len(), names.len()), (pairs.len(), pairs.len()));
        for m in &pairs {
            let text = &server[m.uid.get() as usize - 1].0;
            let (a, b) = (fingerprint::of(text.as_bytes()), here_[&m.name].print);
            prop_assert_eq!(a.message_id, b.message_id);
            prop_assert!(a.header == b.header);
        }
        prop_assert_eq!(pair_up(&looks(&other_server, true), &files(&other_maildir)).len(), pairs.len());
    }

    #[test]
    fn two_equal_sides_pair_up_as_a_whole((server, maildir) in shuffled()) {
        let (mut there_, here_) = (looks(&server, false), files(&maildir));
        let asked = undecided(&there_, &here_);
        there_.extend(looks(&server, true).into_iter().filter(|(uid, _)| asked.contains(uid)));
        prop_assert_eq!(pair_up(&there_, &here_).len(), server.len());
    }
}
