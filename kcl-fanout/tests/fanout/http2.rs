//! Many shards over HTTP/2 with TLS, as on AWS, in real time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use futures_util::future::join_all;
use kcl_core::StartingPosition;
use kcl_core::metrics::{READ_FAILURES, SUBSCRIPTIONS_BROKEN};
use kcl_core::retrieval::{ByteBudget, MAX_REPLY_BYTES};
use kcl_emulator::{Limits, Server, ServerOptions};
use kcl_fanout::FanOut;

use crate::bench::{Bench, CONSUMER, numbers, shard_id};

/// Streams that the server allows on a connection.
const STREAMS: u32 = 40;

/// A client with a connection of its own.
fn client(bench: &Bench, server: &Server) -> Client {
    let certificate = server.certificate().unwrap_or_default().to_owned();
    let trust = TrustStore::empty().with_pem_certificate(certificate);
    let context = TlsContext::builder().with_trust_store(trust).build();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context.expect("a context"))
        .build_https();
    let config = bench.emulator.sdk_config().into_builder().http_client(http);
    Client::new(&config.endpoint_url(format!("https://{}", server.local_addr())).build())
}

/// D4: as many connections as it takes, and every shard delivers, within a budget for a handful of replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_shards_are_spread_over_connections() {
    let shards: usize =
        std::env::var("KCL_SHARDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let connections = (shards + 1).div_ceil(STREAMS as usize - 5);
    let mut bench = Bench::new(i32::try_from(shards).unwrap_or(i32::MAX)).await;
    bench.budget = ByteBudget::new(MAX_REPLY_BYTES);
    let options = ServerOptions::default().tls().max_concurrent_streams(STREAMS);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = bench.emulator.serve_with(address, options).await.expect("a server");
    let clients: Vec<Client> = (0..connections).map(|_| client(&bench, &server)).collect();
    let source = FanOut::from_clients(clients).consumer(CONSUMER);
    let count = shards * 3;
    bench.put(0..count, 100).await;
    let mut readers: Vec<_> = (0..shards)
        .map(|shard| bench.open_by(&source, &shard_id(shard), StartingPosition::TrimHorizon))
        .collect();
    let begin = bench.clock.now();
    let read = join_all(readers.iter_mut().map(|reader| async {
        let mut read = Vec::new();
        let end = begin + Duration::from_secs(6 + shards as u64 / 50);
        loop {
            tokio::select! {
                biased;
                fetched = reader.next() => read.extend(numbers(fetched.expect("records"))),
                () = bench.clock.sleep_until(end) => return read,
            }
        }
    }));
    let mut read = read.await.concat();
    read.sort_unstable();
    assert_eq!(read, Vec::from_iter(0..count));
    assert_eq!(bench.live_subscriptions(), shards);
    assert_eq!(bench.sum(READ_FAILURES) + bench.sum(SUBSCRIPTIONS_BROKEN), 0.0);
    assert_eq!(bench.requests("SubscribeToShard"), shards as u64);
    drop(readers);
    assert_eq!(bench.budget.used(), 0);
    server.stop().await;
}

/// B9, D4: three shards whose processors stand still fill the window of the connection; ten seconds later the fourth reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b9_slow_processors_do_not_block_their_connection_for_long() {
    let bench = Bench::with(4, Limits::none()).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = ServerOptions::default().tls();
    let server = bench.emulator.serve_with(address, options).await.expect("a server");
    let source = FanOut::from_client(client(&bench, &server)).consumer(CONSUMER);
    let open = |shard| bench.open_by(&source, &shard_id(shard), StartingPosition::TrimHorizon);
    // Three times more than a connection's window, on every shard.
    bench.put(0..120, 500_000).await;
    let mut slow = [open(0), open(1), open(2)];
    let first = join_all(slow.iter_mut().map(|reader| reader.next())).await;
    assert!(first.iter().all(Result::is_ok));
    bench.pass(2).await;
    let begin = bench.clock.now();
    let mut fast = open(3);
    let mut read = 0;
    while read < 20 {
        let fetched = tokio::time::timeout(Duration::from_secs(40), fast.next()).await;
        read += numbers(fetched.expect("records").expect("records")).len();
    }
    let took = bench.clock.now() - begin;
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(bench.live_subscriptions(), 1, "took {took:?}");
    drop((slow, fast));
    server.stop().await;
}
