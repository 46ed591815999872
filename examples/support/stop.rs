//! When a program shall end.

use std::time::Duration;

use kcl_core::shutdown_signal;
use tokio_util::sync::CancellationToken;

/// Some senders signal twice, such as `timeout`, which signals the process and then its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Fires with the first ctrl-c or SIGTERM. Another one, a second later at the earliest, ends the process at once, with exit
/// code 1.
pub(crate) fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        shutdown_signal().await;
        first.cancel();
        tokio::time::sleep(SAME_SIGNAL).await;
        shutdown_signal().await;
        std::process::exit(1);
    });
    stop
}
