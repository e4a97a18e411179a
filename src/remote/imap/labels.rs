//! Gmail's extension (X-GM-EXT-1): which message it is, and which labels it has.

use super::Imap;
use crate::mail::{Uid, UidSet};
use crate::remote::error::Error;
use crate::remote::quirks::Labels;
use std::collections::BTreeMap;

impl Imap {
    /// Asks for the numbers and labels of messages; needs X-GM-EXT-1.
    ///
    /// # Errors
    /// When the answer is not complete; what the server does not tell is none.
    pub async fn labels(&mut self, uids: &UidSet) -> Result<BTreeMap<Uid, Labels>, Error> {
        let messages = self.gather(uids, "(UID X-GM-MSGID X-GM-LABELS)").await?.messages;
        Ok(messages.into_iter().map(|(uid, message)| (uid, message.labels)).collect())
    }
}
