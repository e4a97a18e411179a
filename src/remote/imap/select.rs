//! Opening mailboxes (RFC 9051, section 6.3.2), with what changed since a checkpoint (RFC 7162, section 3.2.5).
//!
//! A delta is no proof: Dovecot without its index answers an empty one although messages are gone, and servers answer
//! an empty one to a checkpoint that they do not know. The caller holds it against the numbers in [`Selected`].

use super::command::{Command, FETCH, SELECT, mailbox};
use super::condition::{Condition, Status};
use super::connection::News;
use super::fetch::{FetchedFlags, Gathering};
use super::response::{Untagged, uid_validity};
use super::{Imap, Tier};
use crate::mail::{Flags, MailboxName, ModSeq, Storable, Uid, UidSet, UidValidity};
use crate::remote::error::{Error, Refusal};

/// Whether a mailbox is opened for changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// SELECT.
    ReadWrite,
    /// EXAMINE: nothing can be changed by accident.
    ReadOnly,
}

/// A mailbox to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectRequest {
    /// Which.
    pub name: MailboxName,
    /// How.
    pub access: Access,
    /// The checkpoint since which changes are wanted; tier A answers that, and tier B without what vanished, if it is to
    /// list.
    pub since: Option<(UidValidity, ModSeq)>,
    /// Whether every message is to be listed with its flags, in the same flight; those that changed where tier B is asked
    /// for changes.
    pub list: bool,
}

/// An open mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The epoch of its UIDs.
    pub uid_validity: UidValidity,
    /// The UID that the next message will get, if the server tells it (Courier does not).
    pub uid_next: Option<Uid>,
    /// The number of its messages.
    pub exists: u32,
    /// Its last mod-sequence; `None`: it keeps none, or tier C.
    pub highest_mod_seq: Option<ModSeq>,
    /// What it can store: PERMANENTFLAGS, or everything where the server does not tell. Everything also after EXAMINE:
    /// Dovecot answers an empty list to it, which must not be read as "of no flag it says anything".
    pub permanent_flags: Storable,
    /// Whether it can only be read.
    pub read_only: bool,
    /// What changed since the checkpoint, of tier B without what vanished; `None`: not asked, or not answered.
    pub delta: Option<Delta>,
    /// Every message, if that was asked and answered; to be held against `exists`, for what came or went meanwhile.
    pub listed: Option<Vec<FetchedFlags>>,
}

/// What changed in a mailbox since a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Messages that are new or have other flags.
    pub changed: Vec<FetchedFlags>,
    /// UIDs that are gone; may hold UIDs that never were.
    pub vanished: UidSet,
}

impl Imap {
    /// Opens a mailbox.
    ///
    /// # Errors
    /// [`Error::Refused`] when it cannot be opened, or has no lasting UIDs; no mailbox is open then.
    pub async fn select(
        &mut self,
        name: &MailboxName,
        access: Access,
        since: Option<(UidValidity, ModSeq)>,
    ) -> Result<Selected, Error> {
        let request = SelectRequest { name: name.clone(), access, since, list: false };
        self.select_many(&[request]).await?.remove(0)
    }

    /// Opens mailboxes one after the other in one flight, and lists those of which that is wanted. The last one stays
    /// open, if it could be opened.
    ///
    /// # Errors
    /// When the connection is lost; a refusal stands in its place of the result.
    pub async fn select_many(&mut self, requests: &[SelectRequest]) -> Result<Vec<Result<Selected, Error>>, Error> {
        let tier = self.tier();
        let mut commands = Vec::new();
        for request in requests {
            commands.push(self.select_command(request));
            if let (true, Some((_, mod_seq))) = (request.list && tier == Tier::B, request.since) {
                let all = UidSet::range(Uid::MIN, Uid::MAX);
                let changed = format!("UID FETCH {all} (UID FLAGS) (CHANGEDSINCE {mod_seq})");
                commands.push(Command::new(FETCH, changed));
            } else if request.list {
                commands.push(Command::new(FETCH, "UID FETCH 1:* (UID FLAGS)"));
            }
        }
        let mut drafts: Vec<Draft> = commands.iter().map(|_| Draft::default()).collect();
        self.connection.news = News::default();
        // A SELECT is answered after all that goes before it and before all that follows, so each command's data stands
        // before its tag.
        let mut take = |answered: usize, untagged| {
            if let Some(draft) = drafts.get_mut(answered) {
                draft.take(untagged);
            }
        };
        let outcomes = self.connection.run(&commands, &mut take).await?;
        let mut answers = drafts.into_iter().zip(outcomes);
        let mut opened = Vec::with_capacity(requests.len());
        for request in requests {
            let Some((draft, done)) = answers.next() else { break };
            let listed = if request.list { answers.next() } else { None };
            let wants_delta = request.since.is_some() && tier == Tier::A;
            // Dovecot tells mod-sequences also to who has disabled them.
            let mod_seqs = tier != Tier::C;
            opened.push(match done {
                Ok(done) => {
                    self.connection.news.exists = draft.exists;
                    match draft.finish(&done, request.access, wants_delta) {
                        Ok(selected) => {
                            let highest_mod_seq = selected.highest_mod_seq.filter(|_| mod_seqs);
                            let listed = listed.and_then(|(draft, done)| Some((draft, done.ok()?)));
                            let listed = listed.map(|(draft, _)| draft.changed.finish(None));
                            let selected = Selected { highest_mod_seq, ..selected };
                            Ok(match (tier, request.since) {
                                (Tier::B, Some(_)) => {
                                    let delta = listed.map(|changed| Delta { changed, vanished: UidSet::new() });
                                    Selected { delta, ..selected }
                                }
                                _ => Selected { listed, ..selected },
                            })
                        }
                        Err(Error::Protocol(reason)) => return Err(self.connection.protocol(reason)),
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error),
            });
        }
        Ok(opened)
    }

    pub(super) fn select_command(&mut self, request: &SelectRequest) -> Command {
        self.open = Some(request.name.clone());
        let verb = match request.access {
            Access::ReadWrite => "SELECT",
            Access::ReadOnly => "EXAMINE",
        };
        let parameters = match (self.tier(), request.since) {
            (Tier::A, Some((epoch, mod_seq))) => format!(" (QRESYNC ({epoch} {mod_seq}))"),
            (Tier::A | Tier::B, _) => " (CONDSTORE)".to_owned(),
            (Tier::C, _) => String::new(),
        };
        Command::new(SELECT, format!("{verb} {}{parameters}", mailbox(&request.name)))
    }
}

/// A [`Selected`] in the making.
#[derive(Default)]
pub(super) struct Draft {
    uid_validity: Option<UidValidity>,
    uid_next: Option<Uid>,
    exists: Option<u32>,
    highest_mod_seq: Option<ModSeq>,
    permanent_flags: Option<Storable>,
    changed: Gathering,
    vanished: UidSet,
}

impl Draft {
    pub(super) fn take(&mut self, untagged: Untagged) {
        match untagged {
            Untagged::Exists(count) => self.exists = Some(count),
            Untagged::Expunge => self.exists = self.exists.map(|count| count.saturating_sub(1)),
            Untagged::Fetch(fetch) => self.changed.take(fetch),
            Untagged::Vanished { uids, .. } => {
                uids.ranges().for_each(|(first, last)| self.vanished.insert_range(first, last));
            }
            Untagged::Condition(condition) if condition.status == Status::Ok => self.take_code(&condition),
            _ => {}
        }
    }

    fn take_code(&mut self, condition: &Condition) {
        if condition.has_code("CLOSED") {
            // What came before concerned the mailbox that was open (RFC 7162, section 3.2.11).
            *self = Self::default();
        }
        if let Some(number) = condition.number("UIDVALIDITY") {
            self.uid_validity = uid_validity(number);
        }
        if let Some(number) = condition.number("UIDNEXT") {
            self.uid_next = u32::try_from(number).ok().and_then(Uid::new);
        }
        if let Some(number) = condition.number("HIGHESTMODSEQ") {
            self.highest_mod_seq = ModSeq::new(number);
        }
        if let Some(words) = condition.arguments_of("PERMANENTFLAGS") {
            let mut flags = Flags::new();
            words.iter().for_each(|word| flags.insert_wire(word));
            self.permanent_flags = Some(Storable { flags, any_keyword: words.iter().any(|word| word == "\\*") });
        }
    }

    /// How many messages there are by now.
    pub(super) fn exists(&self) -> Option<u32> {
        self.exists
    }

    pub(super) fn finish(mut self, done: &Condition, access: Access, wants_delta: bool) -> Result<Selected, Error> {
        self.take_code(done);
        let Some(exists) = self.exists else {
            return Err(Error::Protocol("a mailbox was opened and its EXISTS did not come".into()));
        };
        let Some(uid_validity) = self.uid_validity else {
            let text = "the mailbox has no lasting UIDs".to_owned();
            let refusal = Refusal { bad: false, code: Some("UIDNOTSTICKY".into()), text };
            return Err(Error::Refused { command: SELECT.name, refusal });
        };
        if wants_delta && self.changed.nameless > 0 {
            return Err(Error::Protocol("a change does not say which message it is about".into()));
        }
        let delta = wants_delta.then(|| Delta { changed: self.changed.finish(None), vanished: self.vanished });
        let permanent_flags = self.permanent_flags.filter(|_| access == Access::ReadWrite);
        Ok(Selected {
            uid_validity,
            uid_next: self.uid_next,
            exists,
            highest_mod_seq: self.highest_mod_seq,
            permanent_flags: permanent_flags.unwrap_or_else(Storable::everything),
            read_only: access == Access::ReadOnly || done.has_code("READ-ONLY"),
            delta,
            listed: None,
        })
    }
}
