//! DynamoDB by the real SDK over both fronts.

mod suite;
mod table;

use aws_sdk_dynamodb::Client;
use kcl_emulator::Emulator;

#[tokio::test(start_paused = true)]
async fn a_lease_table_works_in_process() {
    let emulator = Emulator::builder().build();
    suite::all(&Client::new(&emulator.sdk_config())).await;
    assert!(emulator.counts()["dynamodb:UpdateItem"] >= 3);
}
