//! Limits of what is fetched: the measures are asked for, the judgement is elsewhere.

use crate::mail::UidValidity;
use crate::remote::error::Error as ImapError;
use crate::sync::limits::{limit, questions};
use crate::sync::{Action, MailboxId, Measure, Reconciled};
use crate::worker::Error;
use crate::worker::pass::{Pass, now};

impl Pass<'_> {
    /// Holds what is to be fetched against the limits. Without a limit nothing is asked.
    pub(super) async fn limit(
        &mut self,
        id: MailboxId,
        done: Reconciled,
        epoch: UidValidity,
    ) -> Result<Reconciled, Error> {
        let limits = self.job.limits;
        let asked = questions(&done, self.pictures.entry(id).or_default());
        if limits.are_none() || asked.is_empty() {
            return Ok(done);
        }
        let measured = match self.open(id, epoch).await {
            Ok(true) => self.imap.measure(&asked, limits.max_age.is_some()).await.map_err(Error::from),
            // Another mailbox lies under that name now: the next look tells.
            Ok(false) => return Ok(without_fetches(done)),
            Err(error) => Err(error),
        };
        let measured = match measured {
            Ok(measured) => measured,
            Err(Error::Imap(error @ ImapError::Refused { .. })) => {
                let name = self.records.get(&id).map(|record| record.name.to_string()).unwrap_or_default();
                self.leave_out(name, format!("nothing is fetched, for its sizes are not known: {error}"), true);
                return Ok(without_fetches(done));
            }
            Err(error) => return Err(error),
        };
        let measures =
            measured.into_iter().map(|m| (m.uid, Measure { octets: m.size, date: m.internal_date })).collect();
        Ok(limit(done, &measures, &limits, now()))
    }
}

fn without_fetches(mut done: Reconciled) -> Reconciled {
    done.actions.retain(|action| !matches!(action, Action::Fetch { .. }));
    done
}
