//! `rename`: mailboxes that are called otherwise here. What only the server's list can tell, whether two of its mailboxes
//! would meet in one directory, is seen at each run before anything is written.

use super::problem::Faults;
use super::raw::Value;
use crate::mail::escape;

const EXAMPLE: &str = "a table of names, on the server = here, such as { \"Sent Items\" = \"Sent\" }";

/// Reads the table; `None` if something in it is wrong, which is then in `faults`.
pub(super) fn read(value: &Value<'_>, faults: &mut Faults) -> Option<Vec<(String, String)>> {
    let section = faults.sift(value.table(EXAMPLE))?;
    let mut renames: Vec<(String, String)> = Vec::new();
    let mut sound = true;
    for (remote, span, local) in section.entries() {
        let Some(local) = faults.sift(local.text("a name")).map(str::to_owned) else {
            sound = false;
            continue;
        };
        let wrong = [remote, &local].into_iter().find_map(|name| Some((name, objection(name)?)));
        let fault = if let Some((name, reason)) = wrong {
            Some((format!("`rename` cannot do \"{}\": {reason}", escape(name)), "write names such as \"Lists/rust\""))
        } else {
            let other = renames.iter().find(|(_, other)| other.to_lowercase() == local.to_lowercase());
            other.map(|(other, _)| {
                let (other, remote, local) = (escape(other), escape(remote), escape(&local));
                let what = format!("`rename` gives \"{other}\" and \"{remote}\" one name here, \"{local}\"");
                (what, "give each mailbox a name of its own")
            })
        };
        if let Some((what, remedy)) = fault {
            faults.push(super::problem::Fault::new(span, what, remedy));
            sound = false;
        }
        renames.push((remote.to_owned(), local));
    }
    sound.then_some(renames)
}

/// Why a mailbox cannot be called so.
fn objection(name: &str) -> Option<&'static str> {
    if name.eq_ignore_ascii_case("INBOX") {
        Some("INBOX is called so on both sides")
    } else if name.split('/').any(str::is_empty) {
        Some("a level of it is empty")
    } else if name.chars().any(char::is_control) {
        Some("there are control characters in it")
    } else {
        None
    }
}
