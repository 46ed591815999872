//! Many shards over HTTP/2 with TLS, as on AWS, in real time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use futures_util::future::join_all;
use kcl_core::metrics::{READ_FAILURES, SUBSCRIPTIONS_BROKEN, SUBSCRIPTIONS_SILENT};
use kcl_core::retrieval::{ByteBudget, MAX_REPLY_BYTES};
use kcl_core::{StartingPosition, Tasks};
use kcl_emulator::{Fault, Limits, Server, ServerOptions};
use kcl_fanout::FanOut;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, CONSUMER, collect_until, fault, numbers, shard_id};

/// Streams that the server allows on a connection.
const STREAMS: u32 = 40;

/// Clients with a connection of their own each.
fn clients(
    bench: &Bench,
    server: &Server,
    address: SocketAddr,
) -> impl Fn() -> Client + Send + Sync + 'static {
    let certificate = server.certificate().unwrap_or_default().to_owned();
    let config = bench.emulator.sdk_config();
    move || {
        let trust = TrustStore::empty().with_pem_certificate(certificate.clone());
        let context = TlsContext::builder().with_trust_store(trust).build();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.expect("a context"))
            .build_https();
        let config = config.clone().into_builder().http_client(http);
        Client::new(&config.endpoint_url(format!("https://{address}")).build())
    }
}

fn client(bench: &Bench, server: &Server) -> Client {
    clients(bench, server, server.local_addr())()
}

/// D4: as many connections as it takes, and every shard delivers, within a budget for a handful of replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_shards_are_spread_over_connections() {
    let shards: usize =
        std::env::var("KCL_SHARDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut bench = Bench::new(i32::try_from(shards).unwrap_or(i32::MAX)).await;
    bench.budget = ByteBudget::new(MAX_REPLY_BYTES);
    let options = ServerOptions::default().tls().max_concurrent_streams(STREAMS);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = bench.emulator.serve_with(address, options).await.expect("a server");
    let connections = Arc::new(AtomicUsize::new(0));
    let (made, make) = (connections.clone(), clients(&bench, &server, server.local_addr()));
    let fan_out = FanOut::from_clients(move || {
        made.fetch_add(1, Ordering::Relaxed);
        make()
    });
    let source = fan_out.shards_per_connection(STREAMS as usize).consumer(CONSUMER);
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
    let others = 1; // the calls that are not subscriptions
    assert_eq!(connections.load(Ordering::Relaxed), shards.div_ceil(STREAMS as usize) + others);
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

/// D4: RST_STREAM ends a subscription and not its connection; after GOAWAY what is under way goes on, and new subscriptions
/// have a new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_streams_that_are_reset_and_connections_that_go_away_lose_nothing() {
    let bench = Bench::new(4).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = ServerOptions::default().tls().max_connection_age(Duration::from_secs(2));
    let server = bench.emulator.serve_with(address, options).await.expect("a server");
    let source = FanOut::from_client(client(&bench, &server)).consumer(CONSUMER);
    bench.fault(fault(Fault::CutStream { events: 8 }).first(2));
    let readers =
        (0..4).map(|shard| bench.open_by(&source, &shard_id(shard), StartingPosition::TrimHorizon));
    let mut readers: Vec<_> = readers.collect();
    let end = bench.clock.now() + Duration::from_secs(16);
    let put = async {
        for nth in 0..50 {
            bench.put(4 * nth..4 * (nth + 1), 10).await;
            bench.clock.sleep(Duration::from_millis(200)).await;
        }
    };
    let read = join_all(readers.iter_mut().map(|reader| collect_until(&bench, reader, end)));
    let mut read = tokio::join!(put, read).1.concat();
    read.sort_unstable();
    assert_eq!(read, Vec::from_iter(0..200));
    assert_eq!(bench.sum(SUBSCRIPTIONS_BROKEN), 2.0);
    assert_eq!(bench.requests("SubscribeToShard"), 6);
    drop(readers);
    server.stop().await;
}

/// B7: a connection on which nothing comes and nothing goes, and of which nobody tells: half open. The shards are read on over
/// another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_a_half_open_connection_is_left() {
    let bench = Bench::new(3).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = bench.emulator.serve_with(address, ServerOptions::default().tls()).await;
    let server = server.expect("a server");
    let proxy = Proxy::before(server.local_addr()).await;
    let client = clients(&bench, &server, proxy.address)();
    let source = FanOut::from_client(client).consumer(CONSUMER);
    bench.put(0..30, 10).await;
    let readers =
        (0..3).map(|shard| bench.open_by(&source, &shard_id(shard), StartingPosition::TrimHorizon));
    let mut readers: Vec<_> = readers.collect();
    let soon = bench.clock.now() + Duration::from_secs(3);
    let read = join_all(readers.iter_mut().map(|reader| collect_until(&bench, reader, soon)));
    assert_eq!(read.await.concat().len(), 30);
    proxy.freeze();
    bench.put(30..60, 10).await;
    // Ten seconds of silence at the most, and a pause between calls.
    let end = bench.clock.now() + Duration::from_secs(13);
    let read = join_all(readers.iter_mut().map(|reader| collect_until(&bench, reader, end)));
    assert_eq!(read.await.concat().len(), 30);
    assert_eq!(bench.sum(SUBSCRIPTIONS_SILENT), 3.0);
    // It would wait for the frozen connection.
    drop((readers, server));
}

/// Carries bytes, until it is told to hold on to those of every connection there is.
struct Proxy {
    address: SocketAddr,
    /// Of the connections that are made from now on.
    frozen: Arc<Mutex<CancellationToken>>,
}

impl Proxy {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let frozen = Arc::new(Mutex::new(CancellationToken::new()));
        let (tasks, newest) = (Tasks::new(), frozen.clone());
        let connections = tasks.clone();
        tasks.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let frozen = newest.lock().expect("no panic").clone();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(server).await.expect("the server");
                    tokio::select! {
                        biased;
                        () = frozen.cancelled() => std::future::pending().await,
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    }
                });
            }
        });
        Self { address, frozen }
    }

    fn freeze(&self) {
        let mut newest = self.frozen.lock().expect("no panic");
        std::mem::replace(&mut *newest, CancellationToken::new()).cancel();
    }
}
