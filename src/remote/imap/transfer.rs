//! Moving and copying messages between mailboxes (RFC 9051, section 6.4.7; RFC 6851).
//!
//! An OK is no confirmation: what moved is what VANISHED from the open mailbox, and where to is what COPYUID says. A caller
//! that has several mailboxes to move from opens the next one in the flight that moves from this one, once it knows this one
//! to be the right one: so each costs one round trip, and nothing is ever moved by the UIDs of another epoch.

use super::Imap;
use super::command::{COPY, Command, MOVE, Verb, mailbox};
use super::condition::{Condition, Status};
use super::connection::News;
use super::response::{Untagged, uid_validity};
use super::select::{Draft, SelectRequest, Selected};
use crate::mail::{MailboxName, UidList, UidSet, UidValidity};
use crate::remote::error::Error;

/// Where copied or moved messages went (RFC 4315, section 3): the n-th of `source` is the n-th of `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyUid {
    /// The epoch of the target mailbox.
    pub uid_validity: UidValidity,
    /// The UIDs in the source mailbox, in the server's order.
    pub source: UidList,
    /// The UIDs in the target mailbox.
    pub target: UidList,
}

/// What came of a move.
#[derive(Debug)]
pub struct Moved {
    /// Where the messages went; `None`: the server did not tell, or some were not there. An error when it was refused: of a
    /// long set a part may have been moved.
    pub told: Result<Option<CopyUid>, Error>,
    /// Which of them were seen to vanish from where they were; needs QRESYNC.
    pub vanished: UidSet,
    /// The mailbox that is open now, if another was asked for.
    pub opened: Option<Result<Selected, Error>>,
}

impl Imap {
    /// Moves messages to another mailbox, needs MOVE; then opens `next`, in the same flight.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn move_on(
        &mut self,
        uids: &UidSet,
        target: &MailboxName,
        next: Option<&SelectRequest>,
    ) -> Result<Moved, Error> {
        let mut commands = Command::over(MOVE, uids, &mailbox(target));
        let moves = commands.len();
        commands.extend(next.map(|next| self.select_command(next)));
        let (mut codes, mut vanished, mut draft) = (Vec::new(), UidSet::new(), Draft::default());
        let mut take = |answered, untagged| match untagged {
            untagged if answered >= moves => draft.take(untagged),
            Untagged::Vanished { earlier: false, uids: gone } => {
                gone.ranges().for_each(|(first, last)| vanished.insert_range(first, last));
            }
            untagged => codes.extend(copy_code(&untagged)),
        };
        let mut outcomes = self.connection.run(&commands, &mut take).await?;
        let last = if next.is_some() { outcomes.pop() } else { None };
        let done: Result<Vec<Condition>, Error> = outcomes.into_iter().collect();
        let told = done.map(|done| {
            codes.extend(done.iter().filter_map(|done| done.arguments_of("COPYUID")));
            copy_uid(&codes)
        });
        if !matches!(told, Ok(_) | Err(Error::Refused { .. })) {
            return Err(told.err().unwrap_or_else(|| Error::later("a move failed")));
        }
        let opened = match (next, last) {
            (Some(next), Some(Ok(condition))) => {
                self.connection.news = News { exists: draft.exists(), ..News::default() };
                Some(draft.finish(&condition, next.access, false))
            }
            (Some(_), Some(Err(error))) => Some(Err(error)),
            _ => None,
        };
        let vanished = uids.iter().filter(|uid| vanished.contains(*uid)).collect();
        Ok(Moved { told, vanished, opened })
    }

    /// Moves messages to another mailbox; needs MOVE. `None`: the server did not tell where they went, or some were
    /// not there.
    ///
    /// # Errors
    /// When a command is refused; of a long set a part may have been moved.
    pub async fn move_to(&mut self, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        self.transfer(MOVE, uids, target).await
    }

    /// Copies messages to another mailbox; the result is as for [`move_to`](Self::move_to).
    ///
    /// # Errors
    /// When a command is refused; of a long set a part may have been copied.
    pub async fn copy_to(&mut self, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        self.transfer(COPY, uids, target).await
    }

    async fn transfer(&mut self, verb: Verb, uids: &UidSet, target: &MailboxName) -> Result<Option<CopyUid>, Error> {
        let commands = Command::over(verb, uids, &mailbox(target));
        let mut codes = Vec::new();
        let mut take = |_, untagged| codes.extend(copy_code(&untagged));
        let done = self.connection.exec_all(&commands, &mut take).await?;
        codes.extend(done.iter().filter_map(|done| done.arguments_of("COPYUID")));
        Ok(copy_uid(&codes))
    }
}

/// The COPYUID of an untagged OK: MOVE tells it there, before the messages vanish (RFC 6851, section 4.3).
fn copy_code(untagged: &Untagged) -> Option<Vec<String>> {
    match untagged {
        Untagged::Condition(condition) if condition.status == Status::Ok => condition.arguments_of("COPYUID"),
        _ => None,
    }
}

/// Joins the COPYUIDs of the parts of one transfer; `None` if one of them cannot be relied on.
fn copy_uid(codes: &[Vec<String>]) -> Option<CopyUid> {
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    let mut epoch = None;
    for code in codes {
        let [number, source, target] = code.as_slice() else { return None };
        let number = number.parse().ok().and_then(uid_validity)?;
        if *epoch.get_or_insert(number) != number || UidList::parse(source)?.len() != UidList::parse(target)?.len() {
            return None;
        }
        sources.push(source.as_str());
        targets.push(target.as_str());
    }
    let (source, target) = (UidList::parse(&sources.join(","))?, UidList::parse(&targets.join(","))?);
    Some(CopyUid { uid_validity: epoch?, source, target })
}
