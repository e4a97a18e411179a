//! Drops that deliver into the Maildir of this account wait for the word that its server has their messages.

use crate::mail::BaseName;
use crate::maildir::{ScannedFile, Stage, advance, passed_on, print_of};
use crate::store::Store;
use crate::worker::Error;
use crate::worker::execute::own_fault;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A queue of messages that are passed on to an account: whose it is, and where.
pub type Queue = (String, PathBuf);

/// Notes in the queues which of their messages the server of this account has: those that are one of a settled pair, by
/// name, or by their bytes if a reader renamed them. Blocking.
pub(super) fn release(queues: &[Queue], store: &Store) -> Result<(), Error> {
    for (account, queue) in queues {
        let waiting = match passed_on(queue, account) {
            Ok(waiting) => waiting,
            // The other account tells it.
            Err(error) => {
                tracing::warn!(account, "its queue cannot be read: {error}");
                continue;
            }
        };
        if waiting.iter().all(|(_, messages)| messages.is_empty()) {
            continue;
        }
        let (mut names, mut prints) = (BTreeSet::new(), BTreeSet::new());
        for record in store.mailboxes()? {
            let picture = store.picture(record.id)?;
            let certain = picture.pairs().map(|(_, pair)| pair).filter(|pair| !pair.guessed && !pair.name.is_stub());
            for pair in certain {
                names.insert(pair.name.clone());
                prints.extend(pair.print);
            }
        }
        for (folder, messages) in waiting {
            let is_there = |name: &BaseName, file: &ScannedFile| -> Result<bool, Error> {
                let print = || own_fault(print_of(&folder, name, file)).map(|print| print.ok().flatten());
                Ok(names.contains(name) || print()?.is_some_and(|print| prints.contains(&print)))
            };
            let mut uploaded = Vec::new();
            for (name, file) in messages {
                if is_there(&name, &file)? {
                    uploaded.push((name, file));
                }
            }
            advance(&folder, &uploaded, Stage::Uploaded)?;
        }
    }
    Ok(())
}
