//! One seed, one history: through the real SDK with its retries, under faults by chance.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use kcl_emulator::{Emulator, EmulatorClock, Fault, Rule};
use tokio::task::JoinSet;

use crate::table::{TABLE, create, n, s};

/// When each call ended, and how.
fn history(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        fastrand::seed(seed);
        let clock = EmulatorClock::starting_at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let emulator = Emulator::builder().seed(seed).clock(clock).build();
        create(&Client::new(&emulator.sdk_config())).await;
        let faults = emulator.faults();
        faults.add(Rule::new(Fault::Throttle).chance(0.2));
        faults.add(Rule::new(Fault::LostAfter).chance(0.05));
        faults.add(Rule::new(Fault::Latency(Duration::from_millis(5))).chance(0.5));
        let mut workers = JoinSet::new();
        for worker in 0..3 {
            workers.spawn(renew_often(emulator.clone(), worker));
        }
        let mut history = workers.join_all().await.concat();
        history.push(format!("{:?} {:?}", emulator.counts(), emulator.faults().counts()));
        history
    })
}

async fn renew_often(emulator: Emulator, worker: usize) -> Vec<String> {
    let client = Client::new(&emulator.sdk_config());
    let mut history = Vec::new();
    for turn in 0..40_u64 {
        let renewal = client
            .update_item()
            .table_name(TABLE)
            .key("leaseKey", s(&format!("shard-{}", turn % 4)))
            .update_expression("ADD leaseCounter :one")
            .expression_attribute_values(":one", n(1))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        let outcome = match renewal.send().await {
            Ok(done) => format!("{:?}", done.attributes().map(|item| &item["leaseCounter"])),
            Err(error) => format!("{:?}", error.code()),
        };
        let now = emulator.clock().now().duration_since(UNIX_EPOCH).unwrap();
        history.push(format!("{worker} {turn} {} {outcome}", now.as_nanos()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    history
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = history(11);
    assert_eq!(first, history(11));
    assert_ne!(first, history(12));
}
