//! One limit for the payload bytes that the whole process holds.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest payload that one reply of Kinesis carries: 10 MiB (GetRecords, API reference).
pub const MAX_REPLY_BYTES: usize = 10 * 1024 * 1024;

/// A process-wide budget of payload bytes. Clones share it.
///
/// A reader takes a permit for the largest possible reply *before* it fetches and gives back what the reply did not need,
/// so the sum of all payloads never exceeds the budget. Waiting readers are served in the order in which they asked.
#[derive(Clone)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from a [`ByteBudget`], given back when dropped.
pub struct BudgetPermit {
    permit: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of `total` bytes; at least [`MAX_REPLY_BYTES`], at most 4 GiB, and clamped to these.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(MAX_REPLY_BYTES, u32::MAX as usize);
        Self { semaphore: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits until `bytes` are free, and takes them. More than the whole budget counts as the whole budget.
    ///
    /// Dropping the future takes nothing.
    pub async fn take(&self, bytes: usize) -> BudgetPermit {
        let bytes = u32::try_from(bytes.min(self.total)).unwrap_or(u32::MAX);
        #[expect(clippy::expect_used, reason = "nothing closes the semaphore")]
        let permit =
            self.semaphore.clone().acquire_many_owned(bytes).await.expect("open semaphore");
        BudgetPermit { permit }
    }

    /// A permit for no bytes, which is there at once.
    #[must_use]
    pub fn nothing(&self) -> BudgetPermit {
        #[expect(clippy::expect_used, reason = "nothing closes the semaphore")]
        let permit = self.semaphore.clone().try_acquire_many_owned(0).expect("open semaphore");
        BudgetPermit { permit }
    }

    /// How many bytes are taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.total - self.semaphore.available_permits()
    }

    /// The size of the budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

impl BudgetPermit {
    /// Keeps `bytes` and gives back the rest at once. A permit does not grow.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(surplus));
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.num_permits()
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteBudget({} of {} bytes used)", self.used(), self.total)
    }
}

impl fmt::Debug for BudgetPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BudgetPermit({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_never_exceeds_the_budget() {
        let budget = ByteBudget::new(2 * MAX_REPLY_BYTES);
        let mut first = budget.take(MAX_REPLY_BYTES).await;
        let second = budget.take(MAX_REPLY_BYTES).await;
        assert_eq!(budget.used(), budget.total());
        assert_eq!(budget.nothing().bytes(), 0);
        let blocked = tokio::time::timeout(std::time::Duration::from_secs(9), budget.take(1)).await;
        assert!(blocked.is_err());
        first.shrink_to(100);
        drop(second);
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.take(usize::MAX).await.bytes(), budget.total());
    }
}
