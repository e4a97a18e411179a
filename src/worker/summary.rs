//! A pass in one line, for people.

use crate::sync::MailboxAction;
use crate::worker::Report;

impl Report {
    /// What a pass did, as clauses with commas between; `account` is what the commands that it names are given.
    pub fn summary(&self, account: &str) -> String {
        let held =
            (self.held > 0).then(|| format!("{} held, see `mailtwin status {account}`", count(self.held, "deletion")));
        let asked = (self.asked > 0).then(|| format!("{} to be asked about", count(self.asked, "mailbox")));
        let told: Vec<String> = self.deeds().into_iter().chain(held).chain(asked).collect();
        if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") }
    }

    /// What was done, as clauses.
    pub fn deeds(&self) -> Vec<String> {
        let parts = [
            (self.recognised, "recognised"),
            (self.fetched, "fetched"),
            (self.appended, "uploaded"),
            (self.flagged, "with other flags"),
            (self.moved_here, "moved here"),
            (self.moved_there, "moved on the server"),
            (self.copied, "copied on the server"),
            (self.removed_here, "removed here"),
            (self.removed_there, "removed on the server"),
            (self.quarantined, "failed, see `mailtwin status`"),
        ];
        let told = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        let mailboxes = ["made", "renamed", "deleted"].into_iter().filter_map(|deed| {
            let number = self.plan.mailboxes.iter().filter(|action| deed_of(action) == deed).count();
            (number > 0).then(|| format!("{} {deed}", count(number as u64, "mailbox")))
        });
        mailboxes.chain(told).collect()
    }
}

fn deed_of(action: &MailboxAction) -> &'static str {
    match action {
        MailboxAction::CreateLocal { .. } | MailboxAction::CreateRemote { .. } | MailboxAction::MarkCopy { .. } => {
            "made"
        }
        MailboxAction::RenameLocal { .. } | MailboxAction::RenameRemote { .. } => "renamed",
        MailboxAction::DeleteLocal { .. } | MailboxAction::DeleteRemote { .. } => "deleted",
    }
}

/// A number with its noun.
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    match (number, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "mailbox") => format!("{number} mailboxes"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::MailboxName;
    use crate::sync::MailboxId;
    use crate::worker::AccountPlan;

    #[test]
    fn a_pass_is_told_in_one_line() {
        let report = Report { fetched: 2, removed_here: 1, held: 3, ..Report::default() };
        let line = "2 fetched, 1 removed here, 3 deletions held, see `mailtwin status work`";
        assert_eq!(report.summary("work"), line);
        assert_eq!(Report::default().summary("work"), "nothing to do");
        assert_eq!(report.deeds(), ["2 fetched", "1 removed here"]);
    }

    #[test]
    fn what_became_of_mailboxes_is_told_by_its_name() {
        let mailbox = MailboxId(1);
        let [here, there] = ["old", "new"].map(|name| MailboxName::new(name).expect("a name"));
        let path = || "path".to_owned();
        let mailboxes = vec![
            MailboxAction::CreateLocal { mailbox, name: here.clone(), path: path() },
            MailboxAction::CreateLocal { mailbox, name: there.clone(), path: path() },
            MailboxAction::RenameRemote { mailbox, from: here.clone(), to: there, path: path() },
            MailboxAction::DeleteLocal { mailbox, name: here, path: path() },
        ];
        let report = Report { plan: AccountPlan { mailboxes, ..AccountPlan::default() }, ..Report::default() };
        assert_eq!(report.summary("work"), "2 mailboxes made, 1 mailbox renamed, 1 mailbox deleted");
    }
}
