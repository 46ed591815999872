//! DynamoDB by the real SDK over both fronts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod suite;
mod table;

use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::Builder;
use kcl_emulator::Emulator;

#[tokio::test(start_paused = true)]
async fn a_lease_table_works_in_process() {
    let emulator = Emulator::builder().build();
    suite::all(&Client::new(&emulator.sdk_config())).await;
    assert!(emulator.counts()["dynamodb:UpdateItem"] >= 3);
}

#[tokio::test]
async fn a_lease_table_works_over_a_socket() {
    let emulator = Emulator::builder().build();
    let server = emulator
        .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let config = emulator
        .sdk_config()
        .into_builder()
        .http_client(Builder::new().build_http())
        .endpoint_url(format!("http://{}", server.local_addr()))
        .build();
    suite::all(&Client::new(&config)).await;
    server.stop().await;
}
