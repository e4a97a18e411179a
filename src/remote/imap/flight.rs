//! The bodies of several mailboxes in one flight: a SELECT for each, and its windows behind it.
//!
//! A window is small, so that what is known of its messages stays small; that there are many of them in flight keeps the
//! link busy. What arrived is told message by message, for waiting until the end of a window would hold its files open.

use super::Imap;
use super::command::{Command, FETCH};
use super::fetch::FetchedBody;
use super::response::{Fetch, Section, Untagged, uid_validity};
use super::select::{Access, SelectRequest};
use crate::mail::{MailboxName, Uid, UidSet, UidValidity};
use crate::remote::body::BodyChunk;
use crate::remote::error::Error;
use bytes::Bytes;
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// What is wanted of one mailbox.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The mailbox.
    pub name: MailboxName,
    /// The epoch that the UIDs belong to: of another one nothing is told.
    pub uid_validity: UidValidity,
    /// How it is opened.
    pub access: Access,
    /// The messages, in the order in which they are wanted.
    pub windows: Vec<UidSet>,
}

/// A message that arrived as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The number of its errand.
    pub errand: usize,
    /// What came with it; the chunks of its body went into the sink before.
    pub body: FetchedBody,
}

/// What a command of the flight is for.
#[derive(Clone, Copy)]
enum Leg {
    Open(usize),
    Fetch(usize),
}

impl Imap {
    /// Runs all errands in one flight. Bodies go into `sink` while they arrive, and `landings` tells whose they were. The
    /// result is the epoch of each mailbox as it was found; `None`: it could not be opened. The last one stays open.
    ///
    /// What does not land may be gone, or refused, or have come in pieces: ask for it again, or whether it is there. The
    /// sink may get bodies that never land; forget them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn fetch_flight(
        &mut self,
        errands: &[Errand],
        sink: mpsc::Sender<BodyChunk>,
        landings: &mpsc::UnboundedSender<Landing>,
    ) -> Result<Vec<Option<UidValidity>>, Error> {
        let (mut commands, mut legs) = (Vec::new(), Vec::new());
        let mut wanted: Vec<UidSet> = Vec::new();
        for (number, errand) in errands.iter().enumerate() {
            let (name, access) = (errand.name.clone(), errand.access);
            commands.push(self.select_command(&SelectRequest { name, access, since: None, list: false }));
            legs.push(Leg::Open(number));
            let mut uids = UidSet::new();
            for window in &errand.windows {
                let parts = Command::over(FETCH, window, &self.whole_messages());
                legs.extend(parts.iter().map(|_| Leg::Fetch(number)));
                commands.extend(parts);
                window.ranges().for_each(|(first, last)| uids.insert_range(first, last));
            }
            wanted.push(uids);
        }
        let mut epochs: Vec<Option<UidValidity>> = vec![None; errands.len()];
        let mut landed: Vec<BTreeSet<Uid>> = vec![BTreeSet::new(); errands.len()];
        let mut inline: Vec<(usize, FetchedBody, Vec<u8>)> = Vec::new();
        // A SELECT waits for all that was before it, so the mailbox of the command that is answered next is the open one.
        let mut take = |answered: usize, untagged| match (legs.get(answered), untagged) {
            (Some(Leg::Open(errand)), Untagged::Condition(condition)) => {
                if let Some(number) = condition.number("UIDVALIDITY") {
                    epochs[*errand] = uid_validity(number);
                }
            }
            (Some(Leg::Fetch(errand)), Untagged::Fetch(fetch)) => {
                let errand = *errand;
                let is_wanted = fetch.uid.is_some_and(|uid| wanted[errand].contains(uid));
                if !is_wanted || epochs[errand] != Some(errands[errand].uid_validity) {
                    return;
                }
                let Some((body, section)) = whole(fetch) else { return };
                if !landed[errand].insert(body.uid) {
                    return;
                }
                match section {
                    // Nobody may be listening any more; the sink tells that.
                    Section::PassedBy(literal) => {
                        let _ = landings.send(Landing { errand, body: FetchedBody { literal, ..body } });
                    }
                    Section::Here(octets) => inline.push((errand, body, octets)),
                }
            }
            _ => {}
        };
        let most: u64 = errands.iter().flat_map(|errand| &errand.windows).map(UidSet::len).sum();
        self.connection.divert(sink.clone(), most.saturating_mul(2).saturating_add(16));
        let run = self.connection.run(&commands, &mut take).await;
        self.connection.undivert();
        let outcomes = run?;
        for (errand, body, octets) in inline {
            let literal = self.connection.number_body();
            let chunk = BodyChunk { literal, bytes: Bytes::from(octets), end: true };
            sink.send(chunk).await.map_err(|_| Error::later("nobody takes the message bodies any more"))?;
            let _ = landings.send(Landing { errand, body: FetchedBody { literal, ..body } });
        }
        for (leg, outcome) in legs.iter().zip(outcomes) {
            match (leg, outcome) {
                (_, Ok(_)) => {}
                (Leg::Open(errand), Err(Error::Refused { .. })) => epochs[*errand] = None,
                (Leg::Fetch(_), Err(Error::Refused { .. })) => {}
                (_, Err(error)) => return Err(error),
            }
        }
        Ok(epochs)
    }
}

/// A message and its body, if one response told all of it.
fn whole(fetch: Fetch) -> Option<(FetchedBody, Section)> {
    let Fetch { uid, flags, internal_date, size, object, body, .. } = fetch;
    let (uid, section) = (uid?, body?);
    internal_date?;
    Some((FetchedBody { uid, literal: 0, flags, internal_date, size, object }, section))
}
