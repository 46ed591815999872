//! The emulator: both services, their clock and their faults, behind one path that every front takes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::dynamodb::DynamoDb;
use crate::faults::{Call, Verdict, failed, throttled};
use crate::front;
use crate::kinesis::{EVENT_RECORDS, Step, SubscriptionId};
use crate::{
    Delivery, EmulatorClock, EventStream, Fault, Faults, InProcess, Kinesis, Limits, Protocol,
    Reply, Server, ServerOptions, Service,
};

pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const REGION: &str = "us-east-1";

/// Kinesis and DynamoDB of one account in one region. Clones share the same state.
#[derive(Debug, Clone)]
pub struct Emulator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: EmulatorClock,
    kinesis: Mutex<Kinesis>,
    /// Who reads which subscription. Taken only while [`Shared::kinesis`] is held.
    readers: Mutex<BTreeMap<SubscriptionId, Waker>>,
    dynamodb: Mutex<DynamoDb>,
    faults: Faults,
    counts: Mutex<BTreeMap<Service, BTreeMap<String, u64>>>,
    requests: AtomicU64,
}

impl Emulator {
    /// Starts to describe an emulator.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A configuration for any `aws-sdk-*` client whose calls end here, without a socket.
    ///
    /// Region us-east-1, fixed credentials, the emulator's clock, and retries as the SDK has them by default.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        self.sdk_config_for("emulator")
    }

    /// [`sdk_config`](Self::sdk_config) with `caller` as its access key id, so that a [`Rule`](crate::Rule) can tell
    /// one worker's requests from another's.
    #[must_use]
    pub fn sdk_config_for(&self, caller: &str) -> SdkConfig {
        let credentials = Credentials::from_keys(caller, "secret", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(self.connector())
            .sleep_impl(TokioSleep::new())
            .time_source(self.shared.clock)
            .build()
    }

    /// The HTTP client that [`sdk_config`](Self::sdk_config) contains.
    #[must_use]
    pub fn connector(&self) -> InProcess {
        InProcess::new(self.clone())
    }

    /// The clock that both services read.
    #[must_use]
    pub fn clock(&self) -> EmulatorClock {
        self.shared.clock
    }

    /// Runs `act` on the Kinesis state at the present time, past counts and faults.
    ///
    /// `act` holds the state alone: a call to the emulator from inside it never returns.
    pub fn with_kinesis<T>(&self, act: impl FnOnce(&mut Kinesis, SystemTime) -> T) -> T {
        let now = self.shared.clock.now();
        let mut kinesis = lock(&self.shared.kinesis);
        let result = act(&mut kinesis, now);
        let woken = self.woken(&mut kinesis);
        drop(kinesis);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// Answers one request at once, past counts and faults. `target` is the value of `X-Amz-Target`, and not that of
    /// `SubscribeToShard`, which needs more than a reply.
    ///
    /// For a caller that has faults of its own, or must see the state just before and just after one request.
    #[must_use]
    pub fn reply(&self, target: &str, body: &[u8]) -> Reply {
        let Some((service, operation)) = Service::parse_target(target) else {
            return front::unknown_operation(Protocol::Json, Service::Kinesis);
        };
        self.answer(Protocol::Json, service, operation, body)
    }

    /// Answers one `SubscribeToShard` at once, past counts and faults: its events, or a refusal.
    ///
    /// For a caller that has faults of its own, as [`reply`](Self::reply).
    #[must_use]
    pub fn subscribe(&self, body: &[u8]) -> Delivery {
        self.open_stream(Protocol::Json, body)
    }

    /// How many requests arrived for each operation, by IAM action name: `dynamodb:UpdateItem`.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = lock(&self.shared.counts);
        let named = |(service, operations): (&Service, &BTreeMap<String, u64>)| {
            let service = *service;
            operations
                .iter()
                .map(move |(operation, count)| (format!("{service}:{operation}"), *count))
                .collect::<Vec<_>>()
        };
        counts.iter().flat_map(named).collect()
    }

    /// The rules by which requests of both services go wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Answers over HTTP on `addr` until the server is stopped or dropped. Port 0 lets the system choose.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn serve(&self, addr: SocketAddr) -> io::Result<Server> {
        self.serve_with(addr, ServerOptions::default()).await
    }

    /// [`serve`](Self::serve) with options, such as TLS.
    ///
    /// # Errors
    /// If the address cannot be bound, or no certificate can be made.
    pub async fn serve_with(&self, addr: SocketAddr, options: ServerOptions) -> io::Result<Server> {
        Server::start(self.clone(), addr, options).await
    }

    /// Answers one request as both fronts do. `target` is the value of `X-Amz-Target`.
    pub async fn call(&self, target: &str, body: &[u8]) -> Delivery {
        self.call_as(Protocol::Json, None, target, body).await
    }

    pub(crate) async fn call_as(
        &self,
        protocol: Protocol,
        caller: Option<&str>,
        target: &str,
        body: &[u8],
    ) -> Delivery {
        let Some((service, operation)) = Service::parse_target(target) else {
            return Delivery::Whole(front::unknown_operation(protocol, Service::Kinesis));
        };
        self.count(service, operation);
        let mut call = Call { service, operation, protocol, caller, body, source: None };
        let source = self.source(&call);
        call.source = source.as_ref();
        let Verdict { latency, late_reply, late_events, fault } =
            self.shared.faults.judge(self.shared.clock.now(), &call);
        wait(latency).await;
        let delivery = match fault {
            None | Some(Fault::Latency(_) | Fault::LateReply(_) | Fault::LateEvents(_)) => {
                self.effect(&call)
            }
            Some(Fault::Throttle) => Delivery::Whole(throttled(service, protocol)),
            Some(Fault::ErrorBefore(status)) => Delivery::Whole(failed(service, protocol, status)),
            Some(Fault::ErrorAfter) => {
                self.effect(&call);
                Delivery::Whole(failed(service, protocol, 500))
            }
            Some(Fault::LostBefore) => Delivery::Lost,
            Some(Fault::LostAfter) => {
                self.effect(&call);
                Delivery::Lost
            }
            Some(Fault::Custom { status, error, message }) => {
                let message = Some(message.as_str());
                Delivery::Whole(front::error_in(protocol, service, status, &error, message))
            }
            Some(
                fault @ (Fault::CutBody { .. }
                | Fault::CutStream { .. }
                | Fault::Silence { .. }
                | Fault::StreamError { .. }),
            ) => self.effect(&call).troubled(fault),
        };
        wait(late_reply).await;
        match delivery {
            Delivery::Stream(events) => Delivery::Stream(events.with_delay(late_events)),
            Delivery::Whole(_) | Delivery::Cut(_) | Delivery::Lost => delivery,
        }
    }

    /// A request id in AWS's shape, the same in every run.
    pub(crate) fn request_id(&self) -> String {
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        format!("00000000-0000-4000-8000-{number:012x}")
    }

    /// What the subscription `id` does next. `reader` is woken when it need not wait any longer.
    pub(crate) fn next_event(&self, id: SubscriptionId, reader: &Waker) -> Step {
        self.with_kinesis(|kinesis, now| {
            let step = kinesis.next_event(now, id);
            let mut readers = lock(&self.shared.readers);
            match &step {
                Step::Wait(_) => readers.insert(id, reader.clone()),
                Step::Send(_) | Step::End => readers.remove(&id),
            };
            step
        })
    }

    pub(crate) fn unsubscribe(&self, id: SubscriptionId) {
        self.with_kinesis(|kinesis, _| kinesis.unsubscribe(id));
        lock(&self.shared.readers).remove(&id);
    }

    fn effect(&self, call: &Call<'_>) -> Delivery {
        let Call { service, operation, protocol, body, .. } = *call;
        if (service, operation) != (Service::Kinesis, "SubscribeToShard") {
            return Delivery::Whole(self.answer(protocol, service, operation, body));
        }
        self.open_stream(protocol, body)
    }

    fn open_stream(&self, protocol: Protocol, body: &[u8]) -> Delivery {
        match self.with_kinesis(|kinesis, now| kinesis.subscribe(protocol, now, body)) {
            Ok(id) => Delivery::Stream(EventStream::new(self.clone(), id, protocol)),
            Err(refusal) => Delivery::Whole(refusal),
        }
    }

    fn answer(&self, protocol: Protocol, service: Service, operation: &str, body: &[u8]) -> Reply {
        match service {
            Service::Kinesis => {
                self.with_kinesis(|kinesis, now| kinesis.call_in(protocol, now, operation, body))
            }
            Service::DynamoDb => {
                lock(&self.shared.dynamodb).call(self.shared.clock.now(), operation, body)
            }
        }
    }

    /// The readers of subscriptions that have something to do.
    fn woken(&self, kinesis: &mut Kinesis) -> Vec<Waker> {
        let woken = kinesis.take_woken();
        if woken.is_empty() {
            return Vec::new();
        }
        let mut readers = lock(&self.shared.readers);
        woken.iter().filter_map(|id| readers.remove(id)).collect()
    }

    /// The stream and the shard that a `GetRecords` reads, if a rule may ask for them.
    fn source(&self, call: &Call<'_>) -> Option<(String, String)> {
        let reads = (call.service, call.operation) == (Service::Kinesis, "GetRecords");
        if !reads || !self.faults().read_bodies() {
            return None;
        }
        lock(&self.shared.kinesis).source_of(call.protocol, call.body)
    }

    fn count(&self, service: Service, operation: &str) {
        let mut counts = lock(&self.shared.counts);
        let operations = counts.entry(service).or_default();
        match operations.get_mut(operation) {
            Some(count) => *count += 1,
            None => {
                operations.insert(operation.to_owned(), 1);
            }
        }
    }
}

/// Describes an [`Emulator`]; everything has a default.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    seed: u64,
    limits: Limits,
    clock: Option<EmulatorClock>,
    push_delay: Duration,
    event_records: usize,
}

impl Builder {
    /// Seeds every choice the emulator makes: identifiers and chances of faults. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Which of AWS's limits are enforced. Default: [`Limits::aws`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The clock of both services. Default: [`EmulatorClock::system`] at `build`.
    pub fn clock(mut self, clock: EmulatorClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How long a record is in its shard before a subscription sends it. Default: zero. AWS takes some 70 ms.
    pub fn push_delay(mut self, delay: Duration) -> Self {
        self.push_delay = delay;
        self
    }

    /// The most records of one event of a subscription; at least one. Default: 10,000.
    pub fn event_records(mut self, most: usize) -> Self {
        self.event_records = most;
        self
    }

    /// An emulator without streams and tables.
    #[must_use]
    pub fn build(self) -> Emulator {
        let Self { seed, limits, clock, push_delay, event_records } = self;
        let kinesis = Kinesis::new(ACCOUNT, REGION, limits, seed)
            .with_push_delay(push_delay)
            .with_event_records(event_records);
        let clock = clock.unwrap_or_default();
        let shared = Shared {
            clock,
            kinesis: Mutex::new(kinesis),
            readers: Mutex::default(),
            dynamodb: Mutex::new(DynamoDb::new(clock, seed)),
            faults: Faults::new(seed),
            counts: Mutex::default(),
            requests: AtomicU64::new(0),
        };
        Emulator { shared: Arc::new(shared) }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            seed: 0,
            limits: Limits::aws(),
            clock: None,
            push_delay: Duration::ZERO,
            event_records: EVENT_RECORDS,
        }
    }
}

/// A panic of an earlier holder must not fail requests that come after it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
