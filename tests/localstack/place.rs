//! Where the tests run, and what they leave there: nothing.

use std::fmt;
use std::future::Future;
use std::panic;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use kcl_emulator::Server;

use crate::loopback::world::{World, emulator};

/// How long a silent worker keeps its leases.
pub(crate) const FAILOVER: Duration = Duration::from_secs(4);

/// What everything made on AWS is named by, so that what a killed run leaves can be found.
const PREFIX: &str = "kcl-test-";

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Emulator,
    LocalStack,
    Aws,
}

/// An endpoint, for one test.
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) aws: SdkConfig,
    endpoint: Option<String>,
    _server: Option<Server>,
    name: String,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    streams: Vec<String>,
    tables: Vec<String>,
}

impl Target {
    /// What the command line asks for.
    pub(crate) fn asked() -> Self {
        let wish = std::env::var("KCL_TEST_AWS").ok();
        match wish.as_deref() {
            Some("i-pay") => {
                assert!(
                    !cfg!(feature = "localstack") && std::env::var_os("AWS_ENDPOINT_URL").is_none(),
                    "KCL_TEST_AWS is for AWS itself: without --features localstack and AWS_ENDPOINT_URL"
                );
                Self::Aws
            }
            Some(_) => panic!(
                "these tests make about 30 streams with up to 4 shards, 20 fan-out consumers and 40 tables in your account, \
                 for some minutes each, and AWS bills them: about 1 USD. KCL_TEST_AWS=i-pay says that you do; \
                 --test-threads=2 keeps within the default quotas"
            ),
            None if cfg!(feature = "localstack") => Self::LocalStack,
            None => Self::Emulator,
        }
    }
}

/// Runs a test, and then removes what it made: after its end, its failure, and Ctrl-C.
pub(crate) async fn on_endpoint<F>(test: impl FnOnce(Arc<Place>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let place = Arc::new(Place::open().await);
    let mut task = tokio::spawn(test(place.clone()));
    let ended = tokio::select! {
        biased;
        ended = &mut task => Some(ended),
        _ = tokio::signal::ctrl_c() => {
            task.abort();
            None
        }
    };
    place.clean().await;
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => panic::resume_unwind(error.into_panic()),
        None => panic!("stopped by Ctrl-C, and cleaned"),
    }
}

impl Place {
    async fn open() -> Self {
        let target = Target::asked();
        let (aws, endpoint, server) = match target {
            Target::Emulator => {
                let (aws, endpoint, server) = emulator().await;
                (aws, Some(endpoint), Some(server))
            }
            Target::LocalStack => {
                let endpoint = std::env::var("AWS_ENDPOINT_URL").expect(
                    "AWS_ENDPOINT_URL says where LocalStack listens; `just localstack` starts one, and these tests on it",
                );
                let keys = aws_credential_types::Credentials::from_keys("test", "test", None);
                let aws = aws_config::defaults(BehaviorVersion::latest())
                    .region("us-east-1")
                    .endpoint_url(&endpoint)
                    .credentials_provider(keys);
                (aws.load().await, Some(endpoint), None)
            }
            Target::Aws => (aws_config::load_defaults(BehaviorVersion::latest()).await, None, None),
        };
        let name = format!("{PREFIX}{:012x}", fastrand::u64(..1 << 48));
        Self { target, aws, endpoint, _server: server, name, made: Mutex::default() }
    }

    /// A new stream.
    pub(crate) async fn stream(&self, shards: i32) -> World {
        let stream = {
            let made = &mut self.made.lock().unwrap().streams;
            made.push(format!("{}-stream-{}", self.name, made.len()));
            made.last().unwrap().clone()
        };
        let endpoint = self.endpoint.clone();
        World::at(self.aws.clone(), endpoint, &stream, shards, "4s").await
    }

    /// The name of a new application, or only of its table.
    pub(crate) fn application(&self) -> String {
        let made = &mut self.made.lock().unwrap().tables;
        made.push(format!("{}-app-{}", self.name, made.len()));
        made.last().unwrap().clone()
    }

    /// What is a matter of `span` on the emulator.
    pub(crate) fn patience(&self, span: Duration) -> Duration {
        span * match self.target {
            Target::Emulator => 2, // a busy machine
            Target::LocalStack => 4,
            Target::Aws => 10,
        }
    }

    async fn clean(&self) {
        let Made { streams, tables } = std::mem::take(&mut *self.made.lock().unwrap());
        if self.target == Target::Emulator {
            return; // it goes, and they with it
        }
        let kinesis = aws_sdk_kinesis::Client::new(&self.aws);
        for name in streams {
            let delete = kinesis.delete_stream().stream_name(&name).enforce_consumer_deletion(true);
            report(&name, delete.send().await);
        }
        let dynamo = aws_sdk_dynamodb::Client::new(&self.aws);
        for name in tables {
            report(&name, dynamo.delete_table().table_name(&name).send().await);
        }
    }
}

/// What could not be removed is said, unless it was never made.
fn report<T, E: fmt::Debug>(name: &str, deleted: Result<T, E>) {
    if let Err(error) = deleted {
        let error = format!("{error:?}");
        if !error.contains("ResourceNotFound") {
            println!("LEFT BEHIND {name}: {error}");
        }
    }
}

/// Removes what killed runs have left in an account: everything that begins with `kcl-test-`.
#[tokio::test]
#[ignore = "KCL_TEST_AWS=i-pay cargo test --test localstack sweep -- --ignored"]
async fn sweep() {
    let place = Place::open().await;
    let kinesis = aws_sdk_kinesis::Client::new(&place.aws);
    let mut pages = kinesis.list_streams().into_paginator().send();
    while let Some(page) = pages.next().await {
        let ours = page.unwrap().stream_names.into_iter().filter(|name| name.starts_with(PREFIX));
        place.made.lock().unwrap().streams.extend(ours);
    }
    let dynamo = aws_sdk_dynamodb::Client::new(&place.aws);
    let mut names = dynamo.list_tables().into_paginator().items().send();
    while let Some(name) = names.next().await {
        let name = name.unwrap();
        if name.starts_with(PREFIX) {
            place.made.lock().unwrap().tables.push(name);
        }
    }
    place.clean().await;
}
