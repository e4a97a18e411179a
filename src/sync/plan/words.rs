//! What an action does, in words: this is what a dry run prints.

use super::{Action, Origin, Route};
use crate::mail::{FlagChange, Flags, stub};
use crate::sync::restore::Source;
use std::fmt;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marked = |flags: &Flags| if flags.is_empty() { String::new() } else { format!(" ({flags})") };
        let change = |c: &FlagChange| {
            let signs = |sign: char, flags: &Flags| {
                let words = flags.to_string();
                words.split(' ').filter(|w| !w.is_empty()).map(|w| format!(" {sign}{w}")).collect::<String>()
            };
            signs('+', &c.add) + &signs('-', &c.remove)
        };
        match self {
            Self::Fetch { uid, name, flags } => match name.stub_octets() {
                Some(octets) => write!(f, "fetch the header of UID {uid} ({}){}", stub::shown(octets), marked(flags)),
                None => write!(f, "fetch UID {uid}{}", marked(flags)),
            },
            Self::Append { name, flags, .. } => write!(f, "upload {name}{}", marked(flags)),
            Self::SetFlags { uid, remote, local, .. } => {
                write!(f, "flags of UID {uid}:")?;
                if let Some(remote) = remote {
                    write!(f, " on the server{}", change(remote))?;
                }
                if let Some((_, local)) = local {
                    write!(f, "{} here{}", if remote.is_some() { "," } else { "" }, change(local))?;
                }
                Ok(())
            }
            Self::DeleteRemote { uid, route: Route::Trash(_), .. } => {
                write!(f, "move UID {uid} to the Trash of the server: it was deleted here")
            }
            Self::DeleteRemote { uid, route: Route::Expunge, .. } => {
                write!(f, "expunge UID {uid} on the server: it was deleted here")
            }
            Self::DeleteLocal { uid: None, name, .. } => {
                write!(f, "remove {name} here: it was added here, and the server decides what is in a mirror")
            }
            Self::DeleteLocal { uid: Some(_), name, .. } => {
                write!(f, "remove {name} here: it was deleted on the server")
            }
            Self::Restore { name, from: Source::Retention { .. }, .. } => {
                write!(f, "bring {name} back from what was kept")
            }
            Self::Restore { name, from: Source::Trash { uid, .. }, .. } => {
                write!(f, "bring {name} back: move UID {uid} out of the Trash of the server")
            }
            Self::Withdraw { name, .. } => write!(f, "remove {name} again, which was brought back"),
            Self::CopyRemote { origin, name, .. } => {
                let Origin { mailbox_name, uid, .. } = origin;
                write!(f, "copy UID {uid} of {mailbox_name} to here on the server: {name} is a copy of it")
            }
            Self::MoveRemote { origin, .. } => {
                let Origin { mailbox_name, uid, .. } = origin;
                write!(f, "move UID {uid} of {mailbox_name} to here on the server: it was moved here")
            }
            Self::MoveLocal { origin, was, .. } => {
                let Origin { mailbox_name, .. } = origin;
                write!(f, "move {was} from the Maildir of {mailbox_name} to here: it was moved on the server")
            }
        }
    }
}
