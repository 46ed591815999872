//! When to stop.

/// Completes with the first SIGTERM (ECS, systemd, Kubernetes) or ctrl-c.
///
/// Where signals cannot be listened to, it never completes, and that is logged.
pub async fn shutdown_signal() {
    let stopped = wait().await;
    if let Err(error) = stopped {
        tracing::warn!(%error, "cannot listen to signals; stop the worker by other means");
        std::future::pending::<()>().await;
    }
    tracing::info!("asked to stop");
}

#[cfg(unix)]
async fn wait() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

#[cfg(not(unix))]
async fn wait() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
