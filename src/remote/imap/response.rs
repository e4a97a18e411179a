//! What a response says (RFC 9051, section 7).
//!
//! A response that could mean "this message is there" or "this message is gone" and that cannot be read is an error:
//! skipping it would turn it into a silence, and silence is read as absence.

use super::condition::{Condition, words};
use super::date;
use super::syntax::{Cursor, Value, number, set_of_ranges, uid, uid_set};
use crate::mail::{Flags, ModSeq, ObjectId, SpecialUse, Uid, UidSet, UidValidity};
use crate::remote::quirks::Labels;

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `+`: the server waits for more; with what stands behind it.
    Continue(Vec<u8>),
    /// The end of a command.
    Tagged(String, Condition),
    /// Everything else.
    Untagged(Untagged),
}

/// An untagged response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Untagged {
    Condition(Condition),
    Capability(Vec<String>),
    Enabled(Vec<String>),
    Exists(u32),
    Expunge,
    Fetch(Fetch),
    List(ListLine),
    Lsub(ListLine),
    Status(StatusLine),
    Namespace([Vec<Vec<u8>>; 3]),
    Search(UidSet),
    Esearch(Esearch),
    Vanished {
        earlier: bool,
        uids: UidSet,
    },
    Id(Vec<(String, String)>),
    /// Known and of no interest, or unknown.
    Other,
}

/// The items of a FETCH response that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) uid: Option<Uid>,
    /// `None`: the item was not there, or is no list.
    pub(super) flags: Option<Flags>,
    pub(super) size: Option<u64>,
    pub(super) internal_date: Option<i64>,
    pub(super) mod_seq: Option<ModSeq>,
    /// EMAILID (RFC 8474, section 5.1), X-GM-MSGID, or Dovecot's X-GUID.
    pub(super) object: Option<ObjectId>,
    /// X-GM-MSGID and X-GM-LABELS.
    pub(super) labels: Labels,
    /// `BODY[]` (RFC 9051, section 6.4.5).
    pub(super) body: Option<Section>,
    /// `BODY[HEADER]` and `BODY[HEADER.FIELDS (...)]`.
    pub(super) header: Option<Section>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// It stood in the response.
    Here(Vec<u8>),
    /// It passed by under this number.
    PassedBy(u64),
}

/// A mailbox in a LIST or LSUB response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListLine {
    /// Attributes such as `\Noselect`, as they came.
    pub(super) attributes: Vec<String>,
    pub(super) delimiter: Option<char>,
    /// The name, unquoted, not yet judged.
    pub(super) name: Vec<u8>,
}

impl ListLine {
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = SpecialUse> + '_ {
        self.attributes.iter().filter_map(|a| SpecialUse::parse(a))
    }
}

/// The longest identifier (RFC 8474, section 4.1, lets it have 255 octets).
const MAX_IDENTITY: usize = 255;

/// How a mailbox stands: the items of a STATUS response that are numbers, by name in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusLine {
    pub(super) name: Vec<u8>,
    pub(super) items: Vec<(String, u64)>,
    /// What the mailbox is, whatever its name: MAILBOXID (RFC 8474, section 4.3), or Dovecot's X-GUID.
    pub(super) identity: Option<String>,
}

/// The answer to a SEARCH with RETURN (RFC 4731).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Esearch {
    pub(super) tag: Option<String>,
    pub(super) uid: bool,
    pub(super) all: UidSet,
    pub(super) count: Option<u64>,
}

/// A response that cannot be read and must not be skipped: its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

impl Response {
    /// Reads a response, CRLF included.
    pub(super) fn read(raw: &[u8]) -> Result<Self, Unreadable> {
        let mut cursor = Cursor::new(raw);
        if cursor.eat(b'+') {
            cursor.eat(b' ');
            return Ok(Self::Continue(cursor.rest().to_vec()));
        }
        let tag = cursor.word();
        if tag == b"*" {
            return Untagged::read(cursor).map(Self::Untagged);
        }
        // Ours are letters and digits, and nothing else may reach imap-proto.
        let tag = std::str::from_utf8(tag).ok().filter(|tag| tag.bytes().all(|b| b.is_ascii_alphanumeric()));
        let (Some(tag), Some(condition)) = (tag.filter(|tag| !tag.is_empty()), Condition::read(cursor)) else {
            return Err(Unreadable("a tagged response"));
        };
        Ok(Self::Tagged(tag.to_owned(), condition))
    }
}

impl Untagged {
    fn read(mut cursor: Cursor<'_>) -> Result<Self, Unreadable> {
        let whole = cursor;
        let word = cursor.word();
        if let Some(count) = number(word) {
            let count = u32::try_from(count);
            return match cursor.word().to_ascii_uppercase().as_slice() {
                b"EXISTS" => count.map(Self::Exists).map_err(|_| Unreadable("EXISTS")),
                b"EXPUNGE" => Ok(Self::Expunge),
                b"FETCH" => Fetch::read(cursor).map(Self::Fetch).ok_or(Unreadable("FETCH")),
                _ => Ok(Self::Other),
            };
        }
        Ok(match word.to_ascii_uppercase().as_slice() {
            b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH" => Condition::read(whole).map_or(Self::Other, Self::Condition),
            b"CAPABILITY" => Self::Capability(words(cursor)),
            b"ENABLED" => Self::Enabled(words(cursor)),
            b"LIST" => Self::List(ListLine::read(cursor).ok_or(Unreadable("LIST"))?),
            b"LSUB" => Self::Lsub(ListLine::read(cursor).ok_or(Unreadable("LSUB"))?),
            b"STATUS" => read_status(cursor).map_or(Self::Other, Self::Status),
            b"NAMESPACE" => read_namespace(cursor).map_or(Self::Other, Self::Namespace),
            b"SEARCH" => Self::Search(read_search(cursor).ok_or(Unreadable("SEARCH"))?),
            b"ESEARCH" => Self::Esearch(Esearch::read(cursor).ok_or(Unreadable("ESEARCH"))?),
            b"VANISHED" => read_vanished(cursor).ok_or(Unreadable("VANISHED"))?,
            b"ID" => Self::Id(read_id(cursor)),
            _ => Self::Other,
        })
    }
}

impl Fetch {
    fn read(mut cursor: Cursor<'_>) -> Option<Self> {
        let mut fetch = Self::default();
        cursor.blanks();
        cursor.eat(b'(').then_some(())?;
        loop {
            cursor.blanks();
            if cursor.eat(b')') {
                return cursor.at_end().then_some(fetch);
            }
            let name = cursor.item_name().to_ascii_uppercase();
            if name.is_empty() {
                return None;
            }
            let value = cursor.value()?;
            match name.as_slice() {
                b"UID" => fetch.uid = Some(value.bytes().and_then(uid)?),
                b"FLAGS" => fetch.flags = value.list().map(flags),
                b"RFC822.SIZE" => fetch.size = value.number(),
                b"INTERNALDATE" => fetch.internal_date = value.text().and_then(date::parse),
                b"MODSEQ" => {
                    fetch.mod_seq = value.list().and_then(|l| l.first()).and_then(Value::number).and_then(ModSeq::new);
                }
                b"EMAILID" => {
                    fetch.object = value.list().and_then(|list| list.first()?.text()).and_then(ObjectId::new);
                }
                b"X-GUID" => fetch.object = value.text().and_then(ObjectId::new),
                b"X-GM-MSGID" => {
                    fetch.labels.message = value.number();
                    fetch.object = value.text().and_then(ObjectId::new);
                }
                b"X-GM-LABELS" => {
                    let labels = value.list().into_iter().flatten().filter_map(Value::text);
                    fetch.labels.labels = labels.map(str::to_owned).collect();
                }
                b"BODY[]" => fetch.body = section(value),
                name if name.starts_with(b"BODY[HEADER") => fetch.header = section(value),
                _ => {}
            }
        }
    }
}

fn section(value: Value) -> Option<Section> {
    match value {
        Value::Body(number) => Some(Section::PassedBy(number)),
        Value::String(octets) => Some(Section::Here(octets)),
        // NIL: the server has no such message; anything else is no string.
        Value::Atom(_) | Value::List(_) => None,
    }
}

/// The flags of a list; what no flag can be is left out.
fn flags(members: &[Value]) -> Flags {
    let mut flags = Flags::new();
    members.iter().filter_map(Value::text).for_each(|text| flags.insert_wire(text));
    flags
}

impl ListLine {
    fn read(mut cursor: Cursor<'_>) -> Option<Self> {
        let attributes = cursor.value()?.list()?.iter().filter_map(Value::text).map(str::to_owned).collect();
        let delimiter = cursor.value()?;
        let delimiter = delimiter.text().and_then(|text| text.chars().next());
        Some(Self { attributes, delimiter, name: mailbox(&mut cursor)? })
    }
}

/// A mailbox name. Unquoted it is an atom that may hold brackets and, from sloppy servers, `%` and `*`.
fn mailbox(cursor: &mut Cursor<'_>) -> Option<Vec<u8>> {
    match cursor.value()? {
        Value::Atom(name) | Value::String(name) => Some(name),
        Value::List(_) | Value::Body(_) => None,
    }
}

impl Esearch {
    fn read(mut cursor: Cursor<'_>) -> Option<Self> {
        let mut found = Self::default();
        let mut ranges = Vec::new();
        cursor.blanks();
        if cursor.rest().starts_with(b"(") {
            let correlator = cursor.value()?;
            let members = correlator.list()?;
            found.tag = members.get(1).and_then(Value::text).map(str::to_owned);
        }
        while !cursor.at_end() {
            match cursor.word().to_ascii_uppercase().as_slice() {
                b"UID" => found.uid = true,
                b"COUNT" => found.count = Some(number(cursor.word())?),
                b"ALL" => ranges.extend(uid_set(cursor.word())?.ranges()),
                b"" => return None,
                _ => drop(cursor.value()?),
            }
        }
        found.all = set_of_ranges(ranges);
        Some(found)
    }
}

fn read_search(mut cursor: Cursor<'_>) -> Option<UidSet> {
    let mut uids = Vec::new();
    while !cursor.at_end() {
        // `(MODSEQ 917162500)` ends the list (RFC 7162, section 3.1.5).
        if cursor.rest().starts_with(b"(") {
            cursor.value()?;
            continue;
        }
        let uid = uid(cursor.word())?;
        uids.push((uid, uid));
    }
    Some(set_of_ranges(uids))
}

fn read_vanished(mut cursor: Cursor<'_>) -> Option<Untagged> {
    cursor.blanks();
    let mut earlier = false;
    if cursor.rest().starts_with(b"(") {
        earlier = cursor.value()?.list()?.iter().any(|v| v.text().is_some_and(|t| t.eq_ignore_ascii_case("EARLIER")));
    }
    let uids = uid_set(cursor.word())?;
    cursor.at_end().then_some(Untagged::Vanished { earlier, uids })
}

fn read_status(mut cursor: Cursor<'_>) -> Option<StatusLine> {
    let name = mailbox(&mut cursor)?;
    let items = cursor.value()?;
    let (mut numbers, mut identity) = (Vec::new(), None);
    for pair in items.list()?.chunks(2) {
        let [item, value] = pair else { continue };
        let Some(item) = item.text().map(str::to_ascii_uppercase) else { continue };
        match item.as_str() {
            "MAILBOXID" => identity = value.list().and_then(|list| list.first()?.text()).map(str::to_owned),
            "X-GUID" => identity = value.text().map(str::to_owned),
            _ => numbers.extend(value.number().map(|number| (item, number))),
        }
    }
    // An objectid (RFC 8474, section 7), and so is Dovecot's.
    let is_of_it = |octet: u8| octet.is_ascii_alphanumeric() || b"_-".contains(&octet);
    let identity = identity.filter(|text| (1..=MAX_IDENTITY).contains(&text.len()) && text.bytes().all(is_of_it));
    Some(StatusLine { name, items: numbers, identity })
}

fn read_namespace(mut cursor: Cursor<'_>) -> Option<[Vec<Vec<u8>>; 3]> {
    let mut prefixes = || -> Option<Vec<Vec<u8>>> {
        let Value::List(spaces) = cursor.value()? else { return Some(Vec::new()) };
        Some(spaces.iter().filter_map(|s| s.list()?.first()?.bytes().map(<[u8]>::to_vec)).collect())
    };
    Some([prefixes()?, prefixes()?, prefixes()?])
}

fn read_id(mut cursor: Cursor<'_>) -> Vec<(String, String)> {
    let Some(Value::List(fields)) = cursor.value() else { return Vec::new() };
    let text = |value: &Value| value.bytes().map(|b| String::from_utf8_lossy(b).into_owned());
    fields.chunks(2).filter_map(|pair| Some((text(pair.first()?)?.to_ascii_lowercase(), text(pair.get(1)?)?))).collect()
}

/// Reads a UIDVALIDITY.
pub(super) fn uid_validity(number: u64) -> Option<UidValidity> {
    u32::try_from(number).ok().and_then(UidValidity::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Result<Response, Unreadable> {
        Response::read(format!("{line}\r\n").as_bytes())
    }

    fn untagged(line: &str) -> Untagged {
        match read(line) {
            Ok(Response::Untagged(untagged)) => untagged,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_namespace_is_read() {
        let line = r##"* NAMESPACE (("" "/")("#mh/" "/" "X-PARAM" ("a" "b"))) NIL (("Public/" "/"))"##;
        let bytes = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(untagged(line), Untagged::Namespace([bytes(&["", "#mh/"]), vec![], bytes(&["Public/"])]));
    }

    #[test]
    fn an_esearch_is_read_and_one_with_an_odd_item_too() {
        let Untagged::Esearch(found) = untagged("* ESEARCH (TAG \"A3\") UID COUNT 4 MODSEQ 77 ALL 9,3:1") else {
            panic!("not an ESEARCH")
        };
        assert_eq!((found.tag.as_deref(), found.uid, found.count), (Some("A3"), true, Some(4)));
        assert_eq!(found.all.to_string(), "1:3,9");
        assert_eq!(read("* ESEARCH UID ALL 1:*"), Err(Unreadable("ESEARCH")));
    }

    #[test]
    fn a_search_with_a_mod_sequence_is_read_and_one_with_junk_is_an_error() {
        assert_eq!(untagged("* SEARCH 5 3 (MODSEQ 9)"), Untagged::Search(UidSet::parse("3,5").expect("a set")));
        assert_eq!(untagged("* SEARCH"), Untagged::Search(UidSet::new()));
        for junk in ["* SEARCH 5 x", "* SEARCH 0", "* SEARCH 4294967296", "* SEARCH -1"] {
            assert_eq!(read(junk), Err(Unreadable("SEARCH")), "{junk}");
        }
    }

    #[test]
    fn a_status_with_items_that_nobody_knows_is_read() {
        let items = vec![("MESSAGES".into(), 3), ("SIZE".into(), 99)];
        let line = "* STATUS \"a\\\\b\" (MESSAGES 3 SIZE 99 MAILBOXID (F1) APPENDLIMIT NIL)";
        assert_eq!(
            untagged(line),
            Untagged::Status(StatusLine { name: b"a\\b".to_vec(), items, identity: Some("F1".into()) })
        );
    }

    #[test]
    fn a_fetch_without_flags_says_nothing_about_flags() {
        let Untagged::Fetch(fetch) = untagged("* 1 FETCH (UID 7 X-ODD (a (b)) MODSEQ (12) INTERNALDATE NIL)") else {
            panic!("not a FETCH")
        };
        assert_eq!((fetch.uid, fetch.flags, fetch.internal_date), (Uid::new(7), None, None));
        assert_eq!(fetch.mod_seq, ModSeq::new(12));
    }

    #[test]
    fn the_labels_of_gmail_are_read() {
        let line =
            r#"* 1 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS ("\\Inbox" Work "Muy importante" "a (b)") UID 7)"#;
        let Untagged::Fetch(fetch) = untagged(line) else { panic!("not a FETCH") };
        assert_eq!(fetch.labels.message, Some(1_278_455_344_230_334_865));
        assert_eq!(fetch.object, ObjectId::new("1278455344230334865"));
        assert_eq!(fetch.labels.labels, ["\\Inbox", "Work", "Muy importante", "a (b)"]);
    }

    #[test]
    fn what_a_server_calls_a_message_is_read() {
        let object = |line: &str| {
            let Untagged::Fetch(fetch) = untagged(line) else { panic!("not a FETCH") };
            fetch.object
        };
        assert_eq!(object("* 1 FETCH (UID 7 EMAILID (M6d99ac3275bb4e))"), ObjectId::new("M6d99ac3275bb4e"));
        assert_eq!(object("* 1 FETCH (UID 7 X-GUID 0c6bbd)"), ObjectId::new("0c6bbd"));
        for none in ["EMAILID ()", "EMAILID NIL", "X-GUID \"\"", "FLAGS ()"] {
            assert_eq!(object(&format!("* 1 FETCH (UID 7 {none})")), None, "{none}");
        }
    }

    #[test]
    fn a_fetch_that_cannot_be_read_is_an_error_and_not_a_silence() {
        for line in ["* 1 FETCH (UID 0)", "* 1 FETCH (UID 7", "* 1 FETCH", "* 1 FETCH (UID 7))", "* 1 FETCH (UID)"] {
            assert_eq!(read(line), Err(Unreadable("FETCH")), "{line}");
        }
    }

    #[test]
    fn a_header_is_told_from_a_body() {
        let line = "* 1 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID)] {3}\r\na\\b BODY[] \"q\\\"\" UID 3)";
        let Untagged::Fetch(fetch) = untagged(line) else { panic!("not a FETCH") };
        assert_eq!(fetch.header, Some(Section::Here(b"a\\b".to_vec())));
        assert_eq!(fetch.body, Some(Section::Here(b"q\"".to_vec())));
    }

    #[test]
    fn vanished_is_read_in_either_form() {
        let line = untagged("* VANISHED (EARLIER) 310:300");
        assert_eq!(line, Untagged::Vanished { earlier: true, uids: UidSet::parse("300:310").expect("a set") });
        assert_eq!(read("* VANISHED 1:*"), Err(Unreadable("VANISHED")));
    }

    proptest! {
        #[test]
        fn nothing_panics(start in prop::sample::select(vec!["* ", "", "+", "* 1 FETCH (", "* LIST ", "* OK ["]),
            bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut line = start.as_bytes().to_vec();
            line.extend(bytes);
            let _ = Response::read(&line);
        }
    }
}
