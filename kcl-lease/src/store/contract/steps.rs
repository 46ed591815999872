//! Leases, changes and checked calls that the suite is made of.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{HashRange, Position, SequenceNumber, ShardId, WorkerId};

use crate::store::{Change, LeaseStore, Outcome};
use crate::{Lease, LeaseKey};

pub(super) fn random_change(rng: &mut fastrand::Rng) -> Change {
    let mut change = Change { stride: [0, rng.u16(..)][rng.usize(..2)], ..Change::default() };
    if rng.u8(..3) == 0 {
        let owner = [None, Some("a"), Some("b")][rng.usize(..3)];
        change.owner = Some(owner.map(worker));
        change.cooperates = rng.bool();
    }
    if rng.u8(..3) == 0 {
        let positions = [Position::Latest, sequence("5", 0), sequence("6", 2), Position::ShardEnd];
        change.position = Some(positions[rng.usize(..4)].clone());
    }
    if rng.u8(..3) == 0 {
        let state = rng.bool().then(|| Bytes::from(vec![rng.u8(..); rng.usize(..9)]));
        change.pending = Some(PendingCheckpoint { position: sequence("7", rng.u64(..3)), state });
    }
    if rng.u8(..3) == 0 {
        let children = (0..rng.usize(..3)).map(|n| shard(&format!("shardId-{n}")));
        change.children = Some(children.collect());
    }
    change
}

/// A lease with something in every field.
pub(super) fn full(id: &str) -> Lease {
    Lease {
        owner: Some(worker("a")),
        counter: 41,
        owner_switches: 3,
        position: sequence("49680420120593917566849172869470797742961621396151599106", 5),
        pending: Some(PendingCheckpoint {
            position: sequence("49680420120593917566849172869470797742961621396151599107", 0),
            state: Some(Bytes::from_static(b"\0note")),
        }),
        parents: [shard("shardId-90"), shard("shardId-91")].into(),
        children: [shard("shardId-92")].into(),
        hash_range: HashRange::new(7, u128::MAX),
        started_at: Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        application_start: Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_100)),
        has_progressed: true,
        stream: "123456789012:orders:1700000000".parse().ok(),
        cooperator: Some(worker("a")),
        handoff_to: Some(worker("b")),
        ..Lease::new(key(id), Position::Latest)
    }
}

pub(super) fn take(by: &str) -> Change {
    Change { owner: Some(Some(worker(by))), ..Change::default() }
}

pub(super) fn position_change(position: Position) -> Change {
    Change { position: Some(position), ..Change::default() }
}

pub(super) fn conflict(now: &Lease) -> Outcome {
    Outcome::Conflict(Some(Box::new(now.clone())))
}

pub(super) fn key(id: &str) -> LeaseKey {
    LeaseKey::single(shard(id))
}

pub(super) fn shard(id: &str) -> ShardId {
    ShardId::new(id).expect("a shard id")
}

pub(super) fn worker(id: &str) -> WorkerId {
    WorkerId::new(id).expect("a worker id")
}

pub(super) fn sequence(digits: &'static str, sub: u64) -> Position {
    Position::at(SequenceNumber::new(digits).expect("a sequence number"), sub)
}

pub(super) async fn create(store: &dyn LeaseStore, lease: &Lease) -> bool {
    store.create(lease).await.expect("create")
}

pub(super) async fn created(store: &dyn LeaseStore, lease: Lease) -> Lease {
    assert!(create(store, &lease).await, "the store is not empty: {}", lease.key);
    lease
}

pub(super) async fn read(store: &dyn LeaseStore, key: &LeaseKey) -> Option<Lease> {
    store.read(key).await.expect("read")
}

pub(super) async fn present(store: &dyn LeaseStore, key: &LeaseKey) -> Lease {
    read(store, key).await.expect("the lease is there")
}

pub(super) async fn update(store: &dyn LeaseStore, seen: &Lease, change: &Change) -> Outcome {
    store.update(&seen.key, &seen.fence(), change).await.expect("update")
}

pub(super) async fn ask(store: &dyn LeaseStore, seen: &Lease, to: Option<&str>) -> Outcome {
    store.ask(seen, to.map(worker).as_ref()).await.expect("ask")
}

pub(super) async fn delete(store: &dyn LeaseStore, seen: &Lease) -> Outcome {
    store.delete(&seen.key, &seen.fence()).await.expect("delete")
}

pub(super) async fn applied(store: &dyn LeaseStore, lease: &Lease, change: &Change) -> Lease {
    assert_eq!(update(store, lease, change).await, Outcome::Applied, "{change:?}");
    let now = present(store, &lease.key).await;
    assert_eq!(now, change.apply_to(lease), "{change:?}");
    now
}
