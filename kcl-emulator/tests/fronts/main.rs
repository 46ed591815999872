//! Both fronts, driven by the real SDK and by bare HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod binary;
mod determinism;
mod fanout;
mod faults;
mod lease_table;
mod server;
mod stream;
mod table;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_types::SdkConfig;
use kcl_emulator::{Emulator, Server};

/// The emulator on a loopback port, and a configuration whose clients go there through real sockets.
async fn over_a_socket(emulator: &Emulator) -> (Server, SdkConfig) {
    let server = emulator.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let http: SharedHttpClient = aws_smithy_http_client::Builder::new().build_http();
    let config = emulator
        .sdk_config()
        .into_builder()
        .http_client(http)
        .endpoint_url(format!("http://{}", server.local_addr()))
        .build();
    (server, config)
}

#[tokio::test(start_paused = true)]
async fn a_lease_table_works_in_process() {
    let emulator = Emulator::builder().build();
    lease_table::all(&Client::new(&emulator.sdk_config())).await;
    assert!(emulator.counts()["dynamodb:UpdateItem"] >= 3);
}

#[tokio::test]
async fn a_lease_table_works_over_a_socket() {
    let emulator = Emulator::builder().build();
    let (server, config) = over_a_socket(&emulator).await;
    lease_table::all(&Client::new(&config)).await;
    server.stop().await;
}
