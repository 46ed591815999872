//! The time that the framework adds between an event's arrival and the processor's call, by enhanced fan-out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::{ShardId, StartFrom, Worker, WorkerEvent};
use kcl_emulator::{Emulator, Limits};
use kcl_fanout::FanOut;
use kcl_lease::DynamoLeases;
use tokio_util::sync::CancellationToken;

use crate::fleet::{STREAM, Telling, Told};
use crate::{Failure, fan_out};

/// Two consumers of one stream, in one process: a loop by hand, and the framework.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shards of the stream
    #[arg(long, default_value_t = 4)]
    shards: u16,
    /// Seconds to measure
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Milliseconds from one put to the next
    #[arg(long, default_value_t = 10)]
    every: u64,
}

/// When each record reached a consumer, since it was put.
#[derive(Clone, Default)]
struct Delays(Arc<Mutex<Vec<Duration>>>);

impl Delays {
    fn note(&self, zero: Instant, data: &[u8]) {
        let text = std::str::from_utf8(data).unwrap_or_default();
        let put = Duration::from_micros(text.parse().unwrap_or_default());
        let delay = zero.elapsed().saturating_sub(put);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }

    /// The median, the 99th percentile, and how many there are.
    fn figures(&self) -> Result<(Duration, Duration, usize), Failure> {
        let mut delays = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        delays.sort();
        let at = |share: usize| delays.get(delays.len() * share / 100).copied();
        let (median, most) = at(50).zip(at(99)).ok_or("nothing was read")?;
        Ok((median, most, delays.len()))
    }
}

pub(crate) async fn measure(arguments: Arguments) -> Result<(), Failure> {
    let emulator = Emulator::builder().seed(1).limits(Limits::aws()).build();
    let server = emulator.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let config = crate::client::config(&format!("http://{}", server.local_addr())).await;
    let client = Client::new(&config);
    let create = client.create_stream().stream_name(STREAM);
    create.shard_count(i32::from(arguments.shards)).send().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (zero, stop) = (Instant::now(), CancellationToken::new());
    let (by_hand, by_framework) = (Delays::default(), Delays::default());
    let consumer = fan_out::register(&client, STREAM, "by-hand").await?;
    let delays = by_hand.clone();
    let take: fan_out::Take = Arc::new(move |records| {
        for record in records {
            delays.note(zero, record.data().as_ref());
        }
    });
    let from = ShardIteratorType::Latest;
    let bare = fan_out::read(
        &client,
        STREAM,
        &consumer,
        from,
        take,
        fan_out::Handling::default(),
        stop.clone(),
    );

    let delays = by_framework.clone();
    let told: Told = Arc::new(move |_, batch| {
        for record in batch {
            delays.note(zero, record.data());
        }
    });
    let ready = CancellationToken::new();
    let is_ready = ready.clone();
    let worker = Worker::builder("orders-app")
        .stream(STREAM, StartFrom::Latest)
        .leases(DynamoLeases::new(&config))
        .source(FanOut::new(&config).consumer("by-framework"))
        .processor(move |_: &ShardId| Telling(told.clone()))
        .observer(move |event| {
            if matches!(event, WorkerEvent::Granted { .. }) {
                is_ready.cancel();
            }
        })
        .build()?;
    let puts = async {
        ready.cancelled().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let end = Instant::now() + Duration::from_secs(arguments.seconds);
        let mut number = 0_u64;
        while Instant::now() < end {
            let data = zero.elapsed().as_micros().to_string().into_bytes();
            let put = client.put_record().stream_name(STREAM).data(Blob::new(data));
            put.partition_key(number.to_string()).send().await?;
            number += 1;
            tokio::time::sleep(Duration::from_millis(arguments.every)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        Ok::<_, Failure>(number)
    };
    let (put, read, ran) = tokio::join!(puts, bare, worker.run(stop.clone().cancelled_owned()));
    read?;
    ran?;
    let (put, bare, ours) = (put?, by_hand.figures()?, by_framework.figures()?);
    println!("{put} records on {} shards, from the put to the consumer:", arguments.shards);
    for (who, (median, most, count)) in [("by hand", bare), ("framework", ours)] {
        println!("  {who:<10} p50 {median:>8.2?}  p99 {most:>8.2?}  of {count}");
    }
    let added = |ours: Duration, bare: Duration| (ours.as_secs_f64() - bare.as_secs_f64()) * 1000.0;
    println!("  added: p50 {:+.2} ms, p99 {:+.2} ms", added(ours.0, bare.0), added(ours.1, bare.1));
    Ok(())
}
