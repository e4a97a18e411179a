//! How a pass is ended before its time: asked first, then cut off.
//!
//! Asked, it begins nothing new, and ends when what it has begun is done. Cut off, it meets a broken connection, which it
//! knows how to survive: what was carried out is settled, the rest stays in the journal.

use crate::remote::Lifeline;
use std::future::Future;
use tokio_util::sync::CancellationToken;

/// The two ends of a pass: whoever holds a clone may end it. Reins of their own for each pass.
#[derive(Clone, Default, Debug)]
pub struct Reins {
    asked: CancellationToken,
    /// The connection.
    pub line: Lifeline,
}

impl Reins {
    /// Those of a pass that goes on with a connection which is held already.
    pub fn of(line: Lifeline) -> Self {
        Self { line, ..Self::default() }
    }

    /// Asks the pass to end where it is whole.
    pub fn finish(&self) {
        self.asked.cancel();
    }

    /// Cuts its connection off.
    pub fn cut(&self) {
        self.asked.cancel();
        self.line.sever();
    }

    /// Whether it was asked to end.
    pub fn is_finishing(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Waits until it is asked to end. Cancel safe.
    pub fn finishing(&self) -> impl Future<Output = ()> + '_ {
        self.asked.cancelled()
    }
}
