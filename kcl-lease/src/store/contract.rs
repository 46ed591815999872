//! What every [`LeaseStore`] must do. Run it against your own store:
//!
//! ```
//! use kcl_lease::store::{MemoryStore, contract};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! contract::all(|| async { MemoryStore::new() }).await;
//! # }
//! ```
//!
//! Each function wants an empty store that was prepared, and panics with what was violated.

#![allow(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test suite says what is wrong by panicking"
)]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use kcl_core::Position;
use kcl_core::leasing::PendingCheckpoint;

use self::steps::{
    applied, ask, conflict, create, created, delete, full, key, position_change, present,
    random_change, read, sequence, shard, take, update, worker,
};
use super::{Change, Consistency, LeaseStore, Outcome};
use crate::{Lease, LeaseKey};

mod steps;

/// Runs the whole suite. `empty` makes a new, empty store at every call.
pub async fn all<S, F>(mut empty: impl FnMut() -> F)
where
    S: LeaseStore,
    F: Future<Output = S>,
{
    macro_rules! run {
        ($($check:ident),+ $(,)?) => {$(
            let store = empty().await;
            store.prepare().await.expect("an empty store can be prepared");
            $check(&store).await;
        )+};
    }
    run!(
        preparing_again_changes_nothing,
        what_was_created_is_read_as_it_was,
        only_the_first_create_counts,
        an_update_applies_once,
        a_write_is_fenced_by_the_counter,
        a_write_is_fenced_by_the_owner,
        a_missing_lease_is_not_made_by_an_update,
        only_a_change_of_worker_is_counted_as_a_switch,
        a_checkpoint_ends_what_was_pending,
        children_are_kept,
        a_request_changes_nothing_else,
        a_request_is_fenced_by_what_was_seen,
        a_lease_is_handed_over_only_to_who_asks,
        a_change_of_owner_ends_a_request,
        a_delete_is_fenced,
        a_scan_shows_everything,
        of_concurrent_takers_one_wins,
        random_histories_follow_the_model,
    );
}

/// Preparing is safe at any time.
pub async fn preparing_again_changes_nothing(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    store.prepare().await.expect("prepare");
    assert_eq!(present(store, &lease.key).await, lease);
}

/// Every field survives, in both forms of the key; times to the millisecond.
pub async fn what_was_created_is_read_as_it_was(store: &dyn LeaseStore) {
    let bare = Lease::new(key("shardId-0"), Position::Latest);
    let multi = LeaseKey::parse("123456789012:orders:1700000000:shardId-0").expect("a key");
    let multi = Lease { key: multi, ..full("shardId-0") };
    for lease in [bare, multi, full("shardId-1")] {
        assert_eq!(read(store, &lease.key).await, None);
        assert!(create(store, &lease).await, "a new lease is created");
        assert_eq!(present(store, &lease.key).await, lease);
    }
    let time = Some(UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_999));
    let precise = Lease {
        started_at: time,
        application_start: time,
        ..Lease::new(key("shardId-2"), Position::AtTimestamp)
    };
    let whole = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    assert!(create(store, &precise).await);
    let there = present(store, &precise.key).await;
    assert_eq!((there.started_at, there.application_start), (Some(whole), Some(whole)));
}

/// A second create says no and changes nothing.
pub async fn only_the_first_create_counts(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    let rival = Lease::new(lease.key.clone(), Position::ShardEnd);
    assert!(!create(store, &rival).await, "a lease is created once");
    assert_eq!(present(store, &lease.key).await, lease);
}

/// The counter grows by one, and only what the change names is changed; repeating the write is a conflict.
pub async fn an_update_applies_once(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    let renewal = Change::default();
    assert_eq!(update(store, &lease, &renewal).await, Outcome::Applied);
    let renewed = Lease { counter: lease.counter + 1, ..lease.clone() };
    assert_eq!(present(store, &lease.key).await, renewed);
    assert_eq!(update(store, &lease, &renewal).await, conflict(&renewed));
    assert_eq!(present(store, &lease.key).await, renewed);
}

/// Whoever saw an older or a newer counter changes nothing and is told what is there.
pub async fn a_write_is_fenced_by_the_counter(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    for counter in [lease.counter - 1, lease.counter + 1] {
        let seen = Lease { counter, ..lease.clone() };
        assert_eq!(update(store, &seen, &take("z")).await, conflict(&lease));
        assert_eq!(delete(store, &seen).await, conflict(&lease));
        assert_eq!(present(store, &lease.key).await, lease);
    }
}

/// Whoever saw another owner at the same counter changes nothing and is told what is there.
pub async fn a_write_is_fenced_by_the_owner(store: &dyn LeaseStore) {
    let free = Lease::new(key("shardId-1"), Position::TrimHorizon);
    for lease in [full("shardId-0"), free] {
        let lease = created(store, lease).await;
        for owner in [None, Some(worker("a")), Some(worker("z"))] {
            if owner == lease.owner {
                continue;
            }
            let seen = Lease { owner, ..lease.clone() };
            let checkpoint = position_change(Position::ShardEnd);
            assert_eq!(update(store, &seen, &checkpoint).await, conflict(&lease));
            assert_eq!(delete(store, &seen).await, conflict(&lease));
            assert_eq!(present(store, &lease.key).await, lease);
        }
    }
}

/// Neither an update nor a delete makes a lease.
pub async fn a_missing_lease_is_not_made_by_an_update(store: &dyn LeaseStore) {
    for lease in [full("shardId-0"), Lease::new(key("shardId-0"), Position::Latest)] {
        assert_eq!(update(store, &lease, &take("a")).await, Outcome::Missing);
        assert_eq!(delete(store, &lease).await, Outcome::Missing);
        assert_eq!(read(store, &lease.key).await, None);
    }
}

/// Taking a lease from a worker counts; taking it when free, keeping it and freeing it do not; a checkpoint resets.
pub async fn only_a_change_of_worker_is_counted_as_a_switch(store: &dyn LeaseStore) {
    let mut lease = created(store, Lease::new(key("shardId-0"), Position::TrimHorizon)).await;
    let free = Change { owner: Some(None), ..Change::default() };
    let checkpoint_and_take = Change { position: Some(Position::Latest), ..take("d") };
    for (change, switches) in [
        (take("a"), 0),
        (take("a"), 0),
        (take("b"), 1),
        (free, 1),
        (take("c"), 1),
        (take("a"), 2),
        (position_change(sequence("7", 0)), 0),
        (take("b"), 1),
        (checkpoint_and_take, 0),
    ] {
        lease = applied(store, &lease, &change).await;
        assert_eq!(lease.owner_switches, switches, "after {change:?}");
    }
}

/// A checkpoint clears the pending one, unless the same change announces another; state does not outlive its position.
pub async fn a_checkpoint_ends_what_was_pending(store: &dyn LeaseStore) {
    let pending = |digits, state: Option<&'static [u8]>| PendingCheckpoint {
        position: sequence(digits, 3),
        state: state.map(Bytes::from_static),
    };
    let prepare = |pending| Change { pending: Some(pending), ..Change::default() };
    let mut lease = created(store, Lease::new(key("shardId-0"), Position::TrimHorizon)).await;
    let with_state = pending("8", Some(b"note"));
    lease = applied(store, &lease, &prepare(with_state.clone())).await;
    assert_eq!(lease.pending, Some(with_state.clone()));
    assert_eq!(lease.position, Position::TrimHorizon);
    lease = applied(store, &lease, &prepare(pending("9", None))).await;
    assert_eq!(lease.pending, Some(pending("9", None)));
    let commit_and_prepare =
        Change { position: Some(sequence("9", 3)), ..prepare(with_state.clone()) };
    lease = applied(store, &lease, &commit_and_prepare).await;
    assert_eq!(lease.pending, Some(with_state));
    lease = applied(store, &lease, &position_change(sequence("10", 0))).await;
    assert_eq!(lease.pending, None);
    assert_eq!(lease.position, sequence("10", 0));
}

/// Children are set, replaced and taken away; parents and hash keys stay.
pub async fn children_are_kept(store: &dyn LeaseStore) {
    let mut lease = created(store, full("shardId-0")).await;
    for ids in [vec!["shardId-8", "shardId-9"], vec!["shardId-7"], vec![]] {
        let children = ids.into_iter().map(shard).collect();
        let change = Change { children: Some(children), ..Change::default() };
        lease = applied(store, &lease, &change).await;
    }
    assert!(lease.children.is_empty());
}

/// The owner's next write applies to a lease that was asked for, and leaves the request.
pub async fn a_request_changes_nothing_else(store: &dyn LeaseStore) {
    let lease = created(store, Lease { handoff_to: None, ..full("shardId-0") }).await;
    assert_eq!(ask(store, &lease, Some("b")).await, Outcome::Applied);
    let asked = Lease { handoff_to: Some(worker("b")), ..lease.clone() };
    assert_eq!(present(store, &lease.key).await, asked);
    assert_eq!(update(store, &lease, &position_change(sequence("7", 0))).await, Outcome::Applied);
    let moved = present(store, &lease.key).await;
    assert_eq!(moved, position_change(sequence("7", 0)).apply_to(&asked));
    assert_eq!(ask(store, &moved, None).await, Outcome::Applied);
    assert_eq!(present(store, &lease.key).await, Lease { handoff_to: None, ..moved });
}

/// Who saw another counter, owner or request changes nothing, and is told what is there.
pub async fn a_request_is_fenced_by_what_was_seen(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    for seen in [
        Lease { counter: lease.counter + 1, ..lease.clone() },
        Lease { owner: Some(worker("z")), ..lease.clone() },
        Lease { owner: None, ..lease.clone() },
        Lease { handoff_to: None, ..lease.clone() },
        Lease { handoff_to: Some(worker("z")), ..lease.clone() },
    ] {
        for to in [None, Some("c")] {
            assert_eq!(ask(store, &seen, to).await, conflict(&lease));
            assert_eq!(present(store, &lease.key).await, lease);
        }
    }
    let absent = full("shardId-1");
    assert_eq!(ask(store, &absent, Some("c")).await, Outcome::Missing);
    assert_eq!(read(store, &absent.key).await, None);
}

/// The right fence is not enough for another worker, or when the request was taken back.
pub async fn a_lease_is_handed_over_only_to_who_asks(store: &dyn LeaseStore) {
    let lease = created(store, Lease { handoff_to: None, ..full("shardId-0") }).await;
    let hand_over = |to| Change { hands_over: true, cooperates: true, ..take(to) };
    assert_eq!(update(store, &lease, &hand_over("b")).await, conflict(&lease));
    assert_eq!(ask(store, &lease, Some("b")).await, Outcome::Applied);
    let asked = present(store, &lease.key).await;
    assert_eq!(update(store, &lease, &hand_over("c")).await, conflict(&asked));
    let checkpoint = Change { position: Some(sequence("7", 0)), ..hand_over("b") };
    let there = applied(store, &asked, &checkpoint).await;
    assert_eq!((there.owner, there.handoff_to), (Some(worker("b")), None));
    assert_eq!(there.cooperator, Some(worker("b")));
}

/// Whoever takes it or frees it; and who takes without a word of it leaves the cooperator standing.
pub async fn a_change_of_owner_ends_a_request(store: &dyn LeaseStore) {
    let mut lease = created(store, full("shardId-0")).await;
    let free = Change { owner: Some(None), ..Change::default() };
    let cooperating = Change { cooperates: true, ..take("c") };
    for (change, cooperator) in [(take("b"), "a"), (cooperating, "c"), (free, "c")] {
        if lease.handoff_to.is_none() {
            assert_eq!(ask(store, &lease, Some("z")).await, Outcome::Applied);
            lease = present(store, &lease.key).await;
        }
        lease = applied(store, &lease, &change).await;
        assert_eq!(lease.handoff_to, None, "after {change:?}");
        assert_eq!(lease.cooperator, Some(worker(cooperator)), "after {change:?}");
    }
}

/// A delete with the right fence deletes; a second one finds nothing.
pub async fn a_delete_is_fenced(store: &dyn LeaseStore) {
    let lease = created(store, full("shardId-0")).await;
    let bystander = created(store, full("shardId-1")).await;
    assert_eq!(delete(store, &lease).await, Outcome::Applied);
    assert_eq!(read(store, &lease.key).await, None);
    assert_eq!(delete(store, &lease).await, Outcome::Missing);
    assert_eq!(present(store, &bystander.key).await, bystander);
}

/// A scan shows each lease once, in the order of keys, also when there are several megabytes of them.
pub async fn a_scan_shows_everything(store: &dyn LeaseStore) {
    let empty = store.scan(Consistency::Eventual).await.expect("scan");
    assert!(empty.leases.is_empty() && empty.unreadable.is_empty() && empty.foreign == 0);
    let mut expected = BTreeMap::new();
    for number in (0..12).rev() {
        let state = Bytes::from(vec![number; 300 * 1024]);
        let pending = PendingCheckpoint { position: sequence("1", 0), state: Some(state) };
        let lease = Lease { pending: Some(pending), ..full(&format!("shardId-{number:012}")) };
        expected.insert(lease.key.clone(), created(store, lease).await);
    }
    let found = store.scan(Consistency::Eventual).await.expect("scan");
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
    let keys = |leases: &[Lease]| leases.iter().map(|l| l.key.clone()).collect::<Vec<_>>();
    let expected: Vec<Lease> = expected.into_values().collect();
    assert_eq!(keys(&found.leases), keys(&expected));
    assert!(found.leases == expected, "a scanned lease is as it was created");
}

/// Any number of workers that saw the same lease: one gets it, the others learn who.
pub async fn of_concurrent_takers_one_wins(store: &dyn LeaseStore) {
    let lease = created(store, Lease::new(key("shardId-0"), Position::TrimHorizon)).await;
    let changes: Vec<Change> = (0..16).map(|n| take(&format!("worker-{n}"))).collect();
    let outcomes = join_all(changes.iter().map(|change| update(store, &lease, change))).await;
    let winners = || changes.iter().zip(&outcomes).filter(|(_, o)| **o == Outcome::Applied);
    assert_eq!(winners().count(), 1, "{outcomes:?}");
    let taken = present(store, &lease.key).await;
    for (winner, _) in winners() {
        assert_eq!(taken, winner.apply_to(&lease));
    }
    let told = outcomes.iter().filter(|outcome| **outcome == conflict(&taken)).count();
    assert_eq!(told, 15, "{outcomes:?}");
}

/// Random changes with right and wrong fences leave what [`Change::apply_to`] says.
pub async fn random_histories_follow_the_model(store: &dyn LeaseStore) {
    let mut rng = fastrand::Rng::with_seed(1947);
    let mut model = created(store, full("shardId-0")).await;
    let mut seen = model.clone();
    for step in 0..300 {
        let change = random_change(&mut rng);
        let outcome = update(store, &seen, &change).await;
        if seen.fence() == model.fence() {
            assert_eq!(outcome, Outcome::Applied, "step {step}");
            model = change.apply_to(&model);
        } else {
            assert_eq!(outcome, conflict(&model), "step {step}");
        }
        assert_eq!(present(store, &model.key).await, model, "step {step} after {change:?}");
        if rng.u8(..4) > 0 {
            seen = model.clone();
        }
    }
}
