//! The ledger of a drop in pieces, beside the picture of its mailbox: one seal vouches for both.

use crate::mail::Uid;
use crate::store::database::Database;
use crate::store::draft::Draft;
use crate::store::error::Error;
use crate::store::keys::Key;
use crate::store::picture::{decode, piece};
use crate::sync::MailboxId;
use crate::sync::maildrop::{Entry, Ledger, Turn};
use std::collections::BTreeMap;

/// Reads a ledger.
pub(super) fn read(database: &Database, mailbox: MailboxId) -> Result<Ledger, Error> {
    let mut ledger = Ledger::default();
    for record in database.records(&Key::ledger(mailbox)) {
        let chunk = decode::<Uid, Entry>(&record?)?;
        chunk.into_iter().for_each(|(uid, entry)| ledger.apply((uid, Some(entry))));
    }
    Ok(ledger)
}

/// Writes changes of a ledger into a commit; `blank`: what is stored of it is dropped by the same commit.
pub(super) fn write(
    database: &Database,
    draft: &mut Draft<'_>,
    mailbox: MailboxId,
    turns: Vec<Turn>,
    blank: bool,
) -> Result<(), Error> {
    let mut chunks: BTreeMap<Key, BTreeMap<Uid, Entry>> = BTreeMap::new();
    for (uid, entry) in turns {
        let chunk = piece(database, &mut chunks, Key::of_entry(mailbox, uid), blank)?;
        match entry {
            Some(entry) => drop(chunk.insert(uid, entry)),
            None => drop(chunk.remove(&uid)),
        }
    }
    for (key, chunk) in &chunks {
        if chunk.is_empty() { draft.remove(*key)? } else { draft.put(*key, chunk)? }
    }
    Ok(())
}
