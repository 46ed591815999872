//! The side of a held lease that its consumer sees.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use kcl_core::leasing::{CheckpointError, HeldLease, PendingCheckpoint, Release};
use kcl_core::{ChildShard, Position};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::words::{Freed, Request};
use super::{Order, Shared};
use crate::{Lease, LeaseKey};

/// See [`HeldLease`]. Dropping it frees the lease.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) key: LeaseKey,
    pub(super) token: u64,
    /// When the application began.
    pub(super) began: Option<SystemTime>,
    pub(super) orders: mpsc::Sender<Box<Order>>,
    pub(super) shared: Arc<Shared>,
    pub(super) _abandoned: DropGuard,
}

impl Handle {
    async fn ask(&self, request: Request) -> Result<(), CheckpointError> {
        let (waiter, answer) = oneshot::channel();
        let lost = |_| CheckpointError::LeaseLost;
        self.orders
            .send(Box::new(Order::Ask(request, waiter)))
            .await
            .map_err(|_| CheckpointError::LeaseLost)?;
        answer.await.map_err(lost)?
    }
}

#[async_trait]
impl HeldLease for Handle {
    fn fencing_token(&self) -> u64 {
        self.token
    }

    fn lost(&self) -> &CancellationToken {
        &self.shared.lost
    }

    fn wanted(&self) -> &CancellationToken {
        &self.shared.wanted
    }

    fn valid_until(&self) -> Instant {
        self.shared.with(|cell| cell.valid_until)
    }

    fn advance(&self, watermark: Position) {
        // Only `end` may write SHARD_END: the children's leases come first.
        if watermark != Position::ShardEnd {
            self.shared.with(|cell| {
                if cell.watermark < watermark {
                    cell.watermark = watermark;
                }
            });
        }
    }

    async fn checkpoint(&self, position: Position) -> Result<(), CheckpointError> {
        if position == Position::ShardEnd {
            let delivered = self.shared.with(|cell| cell.watermark.clone());
            return Err(CheckpointError::NotDelivered { delivered, wanted: position });
        }
        self.ask(Request::Checkpoint(position)).await
    }

    async fn prepare(&self, pending: PendingCheckpoint) -> Result<(), CheckpointError> {
        self.ask(Request::Prepare(pending)).await
    }

    async fn end(&self, children: Vec<ChildShard>) -> Result<(), CheckpointError> {
        let lease_of = |child: ChildShard| Lease {
            parents: child.parents.into_iter().collect(),
            hash_range: Some(child.hash_range),
            application_start: self.began,
            ..Lease::new(self.key.sibling(child.id), Position::TrimHorizon)
        };
        let children = children.into_iter().map(lease_of).collect();
        match self.ask(Request::End(children)).await {
            // By an earlier call.
            Err(CheckpointError::LeaseLost) if self.shared.with(|cell| cell.ended) => Ok(()),
            answer => answer,
        }
    }

    async fn release(&self, reason: Release) -> Result<(), CheckpointError> {
        self.ask(Request::Free(Freed::Released(reason))).await
    }
}
