//! No call to a store may take for ever.

use std::future::Future;
use std::time::Instant;

use kcl_core::Clock;

use crate::store::{StoreError, StoreErrorKind};

/// Waits for `call` until an instant. A call that is given up may have had effects.
pub(crate) async fn bounded<T>(
    clock: &Clock,
    until: Instant,
    operation: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::select! {
        biased;
        result = call => result,
        () = clock.sleep_until(until) => {
            Err(StoreError::new(operation, StoreErrorKind::Unavailable, "no answer in time"))
        }
    }
}
