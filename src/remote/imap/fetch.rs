//! Reading an open mailbox: flags, searches, headers, bodies (RFC 9051, sections 6.4.4 and 6.4.5).
//!
//! UIDs that were not asked for are left out: `n:*` returns the last message even if it is below `n`, and a server may
//! send what concerns other messages at any time. Bodies are read with BODY.PEEK, which leaves `\Seen` alone.

use super::Imap;
use super::command::{Command, FETCH, SEARCH};
use super::response::{Esearch, Fetch, Section, Untagged};
use crate::mail::{Flags, ModSeq, ObjectId, Uid, UidSet};
use crate::remote::body::BodyChunk;
use crate::remote::error::Error;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// The octets of headers that one call returns; what is beyond is left out of its entry.
const MAX_HEADERS: usize = 32 << 20;

/// The flags of a message, and what came with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFlags {
    /// The message.
    pub uid: Uid,
    /// Its flags; `None`: the server did not tell them, which is not the same as none.
    pub flags: Option<Flags>,
    /// Its size in octets (RFC822.SIZE).
    pub size: Option<u64>,
    /// The mod-sequence of its last change.
    pub mod_seq: Option<ModSeq>,
}

/// A message whose body went into the sink as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedBody {
    /// The message.
    pub uid: Uid,
    /// The number that its chunks carry.
    pub literal: u64,
    /// Its flags; `None`: the server did not tell them.
    pub flags: Option<Flags>,
    /// INTERNALDATE, in seconds since 1970.
    pub internal_date: Option<i64>,
    /// RFC822.SIZE, which may differ from what came.
    pub size: Option<u64>,
    /// Which message the server says that it is.
    pub object: Option<ObjectId>,
}

/// How large a message is, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchedMeasure {
    /// The message.
    pub uid: Uid,
    /// RFC822.SIZE, in octets.
    pub size: Option<u64>,
    /// INTERNALDATE, in seconds since 1970.
    pub internal_date: Option<i64>,
}

/// The header of a message, or the fields that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedHeader {
    /// The message.
    pub uid: Uid,
    /// The octets; `None`: the server did not send them, or they were too long.
    pub header: Option<Vec<u8>>,
    /// INTERNALDATE, in seconds since 1970.
    pub internal_date: Option<i64>,
    /// RFC822.SIZE, in octets.
    pub size: Option<u64>,
    /// Which message the server says that it is.
    pub object: Option<ObjectId>,
}

/// What FETCH responses tell of each message; a later one completes or corrects an earlier one.
#[derive(Default)]
pub(super) struct Gathering {
    pub(super) messages: BTreeMap<Uid, Fetch>,
    /// FETCH responses that did not say of which message they speak.
    pub(super) nameless: usize,
}

impl Gathering {
    pub(super) fn take(&mut self, fetch: Fetch) {
        let Some(uid) = fetch.uid else {
            self.nameless += 1;
            return;
        };
        let known = self.messages.entry(uid).or_default();
        known.flags = fetch.flags.or(known.flags.take());
        known.size = fetch.size.or(known.size);
        known.internal_date = fetch.internal_date.or(known.internal_date);
        known.mod_seq = fetch.mod_seq.or(known.mod_seq);
        known.object = fetch.object.or(known.object);
        known.labels.message = fetch.labels.message.or(known.labels.message);
        known.labels.labels.extend(fetch.labels.labels);
        // The first body stands: a second one is not what was asked for.
        known.body = known.body.take().or(fetch.body);
        known.header = known.header.take().or(fetch.header);
    }

    /// Takes a response if it speaks of a message in `asked`.
    fn take_asked(&mut self, asked: &UidSet, untagged: Untagged) {
        if let Untagged::Fetch(fetch) = untagged
            && fetch.uid.is_some_and(|uid| asked.contains(uid))
        {
            self.take(fetch);
        }
    }

    /// The flags of each message, of those in `asked` if that is given.
    pub(super) fn finish(self, asked: Option<&UidSet>) -> Vec<FetchedFlags> {
        let asked = |uid: &Uid| asked.is_none_or(|asked| asked.contains(*uid));
        let messages = self.messages.into_iter().filter(|(uid, _)| asked(uid));
        messages.map(|(uid, m)| FetchedFlags { uid, flags: m.flags, size: m.size, mod_seq: m.mod_seq }).collect()
    }
}

impl Imap {
    /// Lists the messages in `uids` with their flags, and with their sizes if wanted.
    ///
    /// # Errors
    /// When the list is not complete.
    pub async fn list_flags(&mut self, uids: &UidSet, sizes: bool) -> Result<Vec<FetchedFlags>, Error> {
        let items = if sizes { "(UID FLAGS RFC822.SIZE)" } else { "(UID FLAGS)" };
        Ok(self.gather(uids, items).await?.finish(None))
    }

    /// Asks how large messages are, and if wanted when they came.
    ///
    /// # Errors
    /// When the answer is not complete; what the server does not tell is none.
    pub async fn measure(&mut self, uids: &UidSet, dates: bool) -> Result<Vec<FetchedMeasure>, Error> {
        let items = if dates { "(UID RFC822.SIZE INTERNALDATE)" } else { "(UID RFC822.SIZE)" };
        let messages = self.gather(uids, items).await?.messages;
        let measure = |(uid, m): (Uid, Fetch)| FetchedMeasure { uid, size: m.size, internal_date: m.internal_date };
        Ok(messages.into_iter().map(measure).collect())
    }

    /// Lists the messages that changed after `mod_seq`; needs CONDSTORE (RFC 7162, section 3.1.4.1).
    ///
    /// # Errors
    /// When the list is not complete.
    pub async fn changed_since(&mut self, mod_seq: ModSeq) -> Result<Vec<FetchedFlags>, Error> {
        let all = UidSet::range(Uid::MIN, Uid::MAX);
        Ok(self.gather(&all, &format!("(UID FLAGS) (CHANGEDSINCE {mod_seq})")).await?.finish(None))
    }

    /// Finds every UID of the mailbox.
    ///
    /// # Errors
    /// When the server does not answer, or its count and its list differ.
    pub async fn search_all(&mut self) -> Result<UidSet, Error> {
        self.search_keys(Vec::new(), &["ALL".to_owned()]).await
    }

    /// Finds which of `uids` are there.
    ///
    /// # Errors
    /// As for [`search_all`](Self::search_all).
    pub async fn search(&mut self, uids: &UidSet) -> Result<UidSet, Error> {
        self.search_behind(Vec::new(), uids).await
    }

    /// As [`search`](Self::search), in one flight with what goes before; the refusal of that is an error too.
    pub(super) async fn search_behind(&mut self, before: Vec<Command>, uids: &UidSet) -> Result<UidSet, Error> {
        let keys: Vec<String> = uids.split(super::command::MAX_SET).iter().map(|part| format!("UID {part}")).collect();
        let found = self.search_keys(before, &keys).await?;
        Ok(intersection(uids, &found))
    }

    /// Finds the UIDs that have `\Deleted`.
    ///
    /// # Errors
    /// As for [`search_all`](Self::search_all).
    pub async fn search_deleted(&mut self) -> Result<UidSet, Error> {
        self.search_keys(Vec::new(), &["DELETED".to_owned()]).await
    }

    /// Fetches messages as a whole; their bodies go into `sink` while they arrive, the rest is the result.
    ///
    /// The sink may get bodies that the result does not name (a server may send what nobody asked for); forget them.
    /// While the sink is full nothing is read from the server. A message that is gone is not in the result.
    ///
    /// # Errors
    /// When the answer is not complete; bodies that came before may be cut off.
    pub async fn fetch_bodies(
        &mut self,
        uids: &UidSet,
        sink: mpsc::Sender<BodyChunk>,
    ) -> Result<Vec<FetchedBody>, Error> {
        let commands = Command::over(FETCH, uids, &self.whole_messages());
        let mut gathered = Gathering::default();
        self.connection.divert(sink.clone(), uids.len().saturating_mul(2).saturating_add(16));
        let run = self.connection.exec_all(&commands, &mut |_, untagged| gathered.take_asked(uids, untagged)).await;
        self.connection.undivert();
        run?;
        self.bodies_of(uids, &mut gathered, &sink).await
    }

    /// What is asked for of a message as a whole.
    pub(super) fn whole_messages(&self) -> String {
        format!("(UID FLAGS INTERNALDATE RFC822.SIZE{} BODY.PEEK[])", self.object_item())
    }

    /// The item that tells which message it is, whatever its mailbox and its UID there, with a space before it; nothing
    /// where the server has none.
    fn object_item(&self) -> &'static str {
        if self.capabilities.has("OBJECTID") {
            " EMAILID"
        } else if self.capabilities.has("X-GM-EXT-1") {
            " X-GM-MSGID"
        } else if self.mailboxes.is_dovecot {
            " X-GUID"
        } else {
            ""
        }
    }

    /// Fetches the Message-ID field of messages, to find an upload again; with `objects` also which message each is, whatever
    /// its mailbox and its UID there, where the server tells that.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub async fn fetch_fingerprint_headers(
        &mut self,
        uids: &UidSet,
        objects: bool,
    ) -> Result<Vec<FetchedHeader>, Error> {
        let object = if objects { self.object_item() } else { "" };
        let items = format!("(UID RFC822.SIZE INTERNALDATE{object} BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
        self.headers(uids, &items).await
    }

    /// Fetches the headers of messages; ask for few at once, for they are held in memory.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub async fn fetch_headers(&mut self, uids: &UidSet) -> Result<Vec<FetchedHeader>, Error> {
        self.headers(uids, "(UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])").await
    }

    async fn headers(&mut self, uids: &UidSet, items: &str) -> Result<Vec<FetchedHeader>, Error> {
        let messages = self.gather(uids, items).await?.messages;
        let header = |section| match section {
            Section::Here(octets) => Some(octets),
            Section::PassedBy(_) => None,
        };
        let entry = |(uid, m): (Uid, Fetch)| FetchedHeader {
            uid,
            header: m.header.and_then(header),
            internal_date: m.internal_date,
            size: m.size,
            object: m.object,
        };
        Ok(messages.into_iter().map(entry).collect())
    }

    pub(super) async fn gather(&mut self, uids: &UidSet, items: &str) -> Result<Gathering, Error> {
        let commands = Command::over(FETCH, uids, items);
        let mut gathered = Gathering::default();
        let mut octets = 0;
        let mut take = |_, mut untagged| {
            if let Untagged::Fetch(Fetch { header, body, .. }) = &mut untagged {
                *body = None;
                if let Some(Section::Here(text)) = header {
                    octets += text.len();
                    if octets > MAX_HEADERS {
                        *header = None;
                    }
                }
            }
            gathered.take_asked(uids, untagged);
        };
        self.connection.exec_all(&commands, &mut take).await?;
        Ok(gathered)
    }

    /// Takes what was gathered; a body that stood in its response goes into the sink now.
    async fn bodies_of(
        &mut self,
        uids: &UidSet,
        gathered: &mut Gathering,
        sink: &mpsc::Sender<BodyChunk>,
    ) -> Result<Vec<FetchedBody>, Error> {
        let mut bodies = Vec::new();
        let came: Vec<Uid> = uids
            .ranges()
            .flat_map(|(first, last)| gathered.messages.range(first..=last).map(|(uid, _)| *uid).collect::<Vec<_>>())
            .collect();
        for uid in came {
            let Some(message) = gathered.messages.remove(&uid) else { continue };
            let literal = match message.body {
                None => continue,
                Some(Section::PassedBy(literal)) => literal,
                Some(Section::Here(octets)) => {
                    let literal = self.connection.number_body();
                    let chunk = BodyChunk { literal, bytes: Bytes::from(octets), end: true };
                    sink.send(chunk).await.map_err(|_| Error::later("nobody takes the message bodies any more"))?;
                    literal
                }
            };
            let (flags, internal_date, size, object) =
                (message.flags, message.internal_date, message.size, message.object);
            bodies.push(FetchedBody { uid, literal, flags, internal_date, size, object });
        }
        Ok(bodies)
    }

    /// Runs a SEARCH for each key, behind what goes `before`, and unites what they find. Each must be answered by a
    /// response: silence is no answer.
    async fn search_keys(&mut self, before: Vec<Command>, keys: &[String]) -> Result<UidSet, Error> {
        let extended = self.capabilities.has("ESEARCH");
        let text = |key: &String| match extended {
            true => format!("UID SEARCH RETURN (ALL COUNT) {key}"),
            false => format!("UID SEARCH {key}"),
        };
        let mut commands = before;
        commands.extend(keys.iter().map(|key| Command::new(SEARCH, text(key))));
        let mut found = UidSet::new();
        let (mut answers, mut lie) = (0, false);
        let mut add = |uids: &UidSet| uids.ranges().for_each(|(first, last)| found.insert_range(first, last));
        let mut take = |_, untagged| match untagged {
            Untagged::Esearch(answer) if extended => {
                lie |= !is_sound(&answer);
                answers += 1;
                add(&answer.all);
            }
            Untagged::Search(uids) if !extended => {
                answers += 1;
                add(&uids);
            }
            _ => {}
        };
        self.connection.exec_all(&commands, &mut take).await?;
        if lie {
            return Err(self.connection.protocol("the count of a search and its list differ"));
        }
        if answers < keys.len() {
            return Err(self.connection.protocol("a search was answered without a result"));
        }
        Ok(found)
    }
}

fn is_sound(answer: &Esearch) -> bool {
    answer.uid && answer.count == Some(answer.all.len())
}

/// What is in both sets, range by range: a server may claim four billion UIDs.
fn intersection(a: &UidSet, b: &UidSet) -> UidSet {
    let (mut left, mut right) = (a.ranges().peekable(), b.ranges().peekable());
    let mut both = UidSet::new();
    while let (Some(&(a_first, a_last)), Some(&(b_first, b_last))) = (left.peek(), right.peek()) {
        if a_first <= b_last && b_first <= a_last {
            both.insert_range(a_first.max(b_first), a_last.min(b_last));
        }
        if a_last <= b_last {
            left.next()
        } else {
            right.next()
        };
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_intersection_holds_what_is_in_both(a in prop::collection::btree_set(1u32..40, 0..20),
            b in prop::collection::btree_set(1u32..40, 0..20)) {
            let set = |numbers: &std::collections::BTreeSet<u32>| numbers.iter().copied().filter_map(Uid::new).collect();
            let expected: UidSet = a.intersection(&b).copied().filter_map(Uid::new).collect();
            prop_assert_eq!(intersection(&set(&a), &set(&b)), expected);
        }
    }
}
