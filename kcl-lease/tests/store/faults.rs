//! What the store says of each failure, and that it sends every request once.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use kcl_core::Clock;
use kcl_emulator::{Emulator, Fault, Rule};
use kcl_lease::Lease;
use kcl_lease::store::{Consistency, DynamoStore, LeaseStore, Outcome, StoreErrorKind};

use crate::{lease, prepared, take};

/// A store with one free lease.
async fn with_a_lease() -> (Emulator, DynamoStore, Client, Lease) {
    let emulator = Emulator::builder().seed(7).build();
    let (store, client) = prepared(&emulator).await;
    let lease = lease("shardId-0");
    assert!(store.create(&lease).await.unwrap());
    (emulator, store, client, lease)
}

fn answer(error: &str) -> Fault {
    Fault::Custom { status: 400, error: error.to_owned(), message: "refused".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_failed_take_says_whether_it_may_have_been_applied() {
    let late = Fault::LateReply(Duration::from_secs(60));
    for (fault, kind, applied) in [
        (Fault::LostAfter, StoreErrorKind::Unavailable, true),
        (Fault::ErrorAfter, StoreErrorKind::Unavailable, true),
        (Fault::CutBody { at: 1 }, StoreErrorKind::Unavailable, true),
        (late, StoreErrorKind::Unavailable, true),
        (Fault::LostBefore, StoreErrorKind::Unavailable, false),
        (Fault::ErrorBefore(503), StoreErrorKind::Unavailable, false),
        (Fault::Throttle, StoreErrorKind::Throttled, false),
        (answer("ThrottlingException"), StoreErrorKind::Throttled, false),
        (answer("ExpiredTokenException"), StoreErrorKind::AccessDenied, false),
        (answer("ResourceNotFoundException"), StoreErrorKind::TableMissing, false),
        (answer("ValidationException"), StoreErrorKind::Invalid, false),
    ] {
        let (emulator, store, _, lease) = with_a_lease().await;
        emulator.faults().add(Rule::new(fault.clone()).operation("UpdateItem"));
        let error = store.update(&lease.key, &lease.fence(), &take("a")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}");
        assert_eq!(error.has_no_side_effects(), kind != StoreErrorKind::Unavailable);
        assert_eq!(emulator.counts()["dynamodb:UpdateItem"], 1, "{fault:?}");
        let expected = if applied { take("a").apply_to(&lease) } else { lease.clone() };
        assert_eq!(store.read(&lease.key).await.unwrap(), Some(expected), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_to_creates_and_deletes_are_unavailable_too() {
    let (emulator, store, _, first) = with_a_lease().await;
    emulator.faults().add(Rule::new(Fault::LostAfter).operation("PutItem"));
    emulator.faults().add(Rule::new(Fault::LostAfter).operation("DeleteItem"));
    let second = lease("shardId-1");
    let error = store.create(&second).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.read(&second.key).await.unwrap(), Some(second));
    let error = store.delete(&first.key, &first.fence()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.read(&first.key).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn reads_are_not_repeated_either() {
    let (emulator, store, _, lease) = with_a_lease().await;
    emulator.faults().add(Rule::new(Fault::Throttle));
    assert_eq!(store.read(&lease.key).await.unwrap_err().kind(), StoreErrorKind::Throttled);
    assert_eq!(
        store.scan(Consistency::Eventual).await.unwrap_err().kind(),
        StoreErrorKind::Throttled
    );
    assert_eq!(emulator.counts()["dynamodb:GetItem"], 1);
    assert_eq!(emulator.counts()["dynamodb:Scan"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_ends_at_its_timeout() {
    let (emulator, store, _, lease) = with_a_lease().await;
    emulator.faults().add(Rule::new(Fault::Latency(Duration::from_secs(3600))));
    for (store, limit) in [
        (store.clone(), DynamoStore::DEFAULT_CALL_TIMEOUT),
        (store.call_timeout(Duration::from_millis(700)), Duration::from_millis(700)),
    ] {
        let clock = Clock::system();
        let started = clock.now();
        let error = store.update(&lease.key, &lease.fence(), &take("a")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(
            (clock.now() - started) < limit + Duration::from_millis(10),
            "{:?}",
            (clock.now() - started)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_table_is_told_apart_from_a_missing_lease() {
    let (_emulator, store, client, lease) = with_a_lease().await;
    client.delete_table().table_name(crate::TABLE).send().await.unwrap();
    let missing = StoreErrorKind::TableMissing;
    assert_eq!(store.scan(Consistency::Eventual).await.unwrap_err().kind(), missing);
    assert_eq!(store.read(&lease.key).await.unwrap_err().kind(), missing);
    assert_eq!(store.create(&lease).await.unwrap_err().kind(), missing);
    let renewed = store.update(&lease.key, &lease.fence(), &take("a")).await;
    assert_eq!(renewed.unwrap_err().kind(), missing);
    assert_eq!(store.delete(&lease.key, &lease.fence()).await.unwrap_err().kind(), missing);
}

#[tokio::test(start_paused = true)]
async fn throttled_at_random_each_write_applies_or_has_no_effect() {
    let (emulator, store, _, mut seen) = with_a_lease().await;
    let faults = emulator.faults();
    faults.add(Rule::new(Fault::Throttle).operation("UpdateItem").chance(0.6));
    faults.add(Rule::new(Fault::LostAfter).operation("UpdateItem").chance(0.2));
    let mut applied = 0;
    for _ in 0..200 {
        match store.update(&seen.key, &seen.fence(), &take("a")).await {
            Ok(Outcome::Applied) => applied += 1,
            Ok(other) => panic!("nobody else writes: {other:?}"),
            Err(error) if error.has_no_side_effects() => continue,
            Err(_) => {}
        }
        seen = take("a").apply_to(&seen);
        assert_eq!(store.read(&seen.key).await.unwrap().as_ref(), Some(&seen));
    }
    assert!(applied > 20 && seen.counter > applied, "{applied} of {}", seen.counter);
}
