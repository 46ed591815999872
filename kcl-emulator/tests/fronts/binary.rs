//! The program: ready line, streams at start, stop by signal.

use std::process::Stdio;

use aws_sdk_kinesis::Client;
use kcl_emulator::Emulator;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Starts the program and waits for its first line on stdout.
async fn start(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kcl-emulator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let endpoint = line.strip_prefix("listening on ").unwrap().to_owned();
    (child, endpoint)
}

#[tokio::test]
async fn it_says_where_it_listens_has_its_streams_and_stops_on_sigterm() {
    let (mut child, endpoint) = start(&["--port", "0", "--stream", "orders:4"]).await;
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    let config = Emulator::builder()
        .build()
        .sdk_config()
        .into_builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint);
    let client = Client::new(&config.build());
    let shards = client.list_shards().stream_name("orders").send().await.unwrap();
    assert_eq!(shards.shards().len(), 4);

    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn it_refuses_what_it_does_not_understand() {
    for arguments in [["--stream", "orders"], ["--stream", "orders:many"], ["--port", "70000"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_kcl-emulator")).args(arguments).output();
        assert_eq!(output.await.unwrap().status.code(), Some(2), "{arguments:?}");
    }
}
