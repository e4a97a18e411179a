//! What happens to mailboxes by no client's command: lost indexes, new numbering, broken promises.

use super::model::{Author, Change, Mailbox, Model};

impl Model {
    /// Gives the mailbox a new UIDVALIDITY and its messages new UIDs from 1, in order, as after a lost UID list.
    pub fn bump_uid_validity(&mut self, user: &str, name: &str) {
        let fresh = self.fresh();
        let Some(mailbox) = self.mailbox_mut(user, name) else { return };
        let messages = std::mem::take(&mut mailbox.messages);
        let (keywords, role) = (std::mem::take(&mut mailbox.keywords), mailbox.role.take());
        *mailbox = Mailbox { id: mailbox.id, keywords, role, ..fresh };
        for (uid, (_, mut message)) in (1..).zip(messages) {
            message.mod_seq = 1;
            mailbox.messages.insert(uid, message);
            mailbox.uid_next = uid + 1;
        }
        let uid_validity = mailbox.uid_validity;
        self.note(Author::Other, user, Change::Renumbered { mailbox: name.to_owned(), uid_validity });
    }

    /// Lets HIGHESTMODSEQ fall to `mod_seq` with the same UIDVALIDITY, expunges forgotten, as Dovecot does when its
    /// index files are lost.
    pub fn lower_mod_seq(&mut self, user: &str, name: &str, mod_seq: u64) {
        let Some(mailbox) = self.mailbox_mut(user, name) else { return };
        mailbox.highest_mod_seq = mod_seq;
        mailbox.forgotten = mod_seq;
        mailbox.vanished.clear();
        for message in mailbox.messages.values_mut() {
            message.mod_seq = message.mod_seq.min(mod_seq);
        }
        self.note(Author::Other, user, Change::LostIndex { mailbox: name.to_owned(), mod_seq });
    }

    /// Puts another message under an existing UID, which no server may do and some did.
    pub fn replace(&mut self, user: &str, name: &str, uid: u32, body: &[u8]) {
        let Some(mailbox) = self.mailbox_mut(user, name) else { return };
        let mod_seq = mailbox.next_mod_seq();
        if let Some(message) = mailbox.messages.get_mut(&uid) {
            message.body = body.into();
            message.mod_seq = mod_seq;
        }
        self.note(Author::Other, user, Change::Replaced { mailbox: name.to_owned(), uid });
    }

    /// Forgets the expunges so far: an older question is answered with every absent UID.
    pub fn forget_vanished(&mut self, user: &str, name: &str) {
        let Some(mailbox) = self.mailbox_mut(user, name) else { return };
        mailbox.vanished.clear();
        mailbox.forgotten = mailbox.highest_mod_seq;
    }
}
