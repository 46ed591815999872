//! The HTTP client of one process: each request gets its fate from the weather, and goes on from there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use kcl_emulator::{Delivery, InProcess, Reply, Service};
use tokio::sync::oneshot;

use super::course::{self, Course, Spoilt};
use super::events::Events;
use super::{Wire, kinesis};
use crate::sim::World;
use crate::sim::gauges::Gauges;
use crate::sim::history::{Life, What};
use crate::sim::lies::Lies;

/// The way of one process to AWS.
#[derive(Clone)]
pub(super) struct Line {
    wire: Arc<Wire>,
    pub(super) world: Arc<World>,
    pub(super) life: Life,
    gauges: Arc<Gauges>,
    /// What subscriptions of the process were told.
    pub(super) lies: Arc<Lies>,
    end: InProcess,
}

/// A request.
#[derive(Clone)]
struct Parcel {
    service: Service,
    /// `DynamoDB_20120810.UpdateItem`.
    target: String,
    body: Vec<u8>,
    issued: Duration,
}

impl Line {
    pub(super) fn new(wire: Arc<Wire>, world: Arc<World>, life: Life, gauges: Arc<Gauges>) -> Self {
        let end = wire.emulator.connector();
        Self { wire, world, life, gauges, lies: Arc::default(), end }
    }

    fn pack(&self, request: &HttpRequest) -> Option<Parcel> {
        let target = request.headers().get("x-amz-target")?;
        let (service, _) = Service::parse_target(target)?;
        let body = request.body().bytes()?.to_vec();
        Some(Parcel { service, target: target.to_owned(), body, issued: self.world.log.elapsed() })
    }

    async fn exchange(&self, parcel: Parcel) -> Result<HttpResponse, ConnectorError> {
        let World { log, weather, .. } = &*self.world;
        let Parcel { service, issued, .. } = parcel;
        let (there, back) = match service {
            Service::DynamoDb => ((1, 15), (1, 15)),
            Service::Kinesis => ((2, 40), (1, 20)),
        };
        let shard = kinesis::shard_to_read(parcel.operation(), &parcel.body);
        if let Some(shard) = &shard {
            log.on(shard, What::Reads(self.life));
        }
        if parcel.operation() == SUBSCRIBE {
            self.gauges.called(SUBSCRIBE, shard.as_ref());
        }
        let fate = weather.fate(self.life, parcel.operation(), issued);
        let (course, word) = course::draw(fate, service, parcel.operation(), &mut self.wire.rng());
        if let Some(word) = word {
            log.note(What::Fault(self.life, word));
        }
        let is_stream = parcel.operation() == SUBSCRIBE;
        let mut arrived = if let Course::Late(delay) = course {
            self.late(parcel, delay).await?
        } else {
            tokio::time::sleep(weather.millis(there.0, there.1)).await;
            let delivery = self.carry(course, &parcel).await;
            tokio::time::sleep(weather.millis(back.0, back.1)).await;
            self.end.hand_over(delivery)?
        };
        if !is_stream || !arrived.status().is_success() {
            return Ok(arrived);
        }
        let events = Events::new(arrived.take_body(), self.clone(), shard);
        *arrived.body_mut() = SdkBody::from_body_1_x(events);
        Ok(arrived)
    }

    async fn carry(&self, course: Course, parcel: &Parcel) -> Delivery {
        let service = parcel.service;
        match course {
            Course::Refused(status, name) => {
                Delivery::Whole(service.error(status, name, Some("simulated")))
            }
            Course::Gateway => Delivery::Whole(gateway()),
            Course::Broken => Delivery::Lost,
            Course::Silence { effect } => {
                if effect {
                    drop(self.effect(parcel));
                }
                std::future::pending().await
            }
            Course::Through | Course::Late(_) => self.effect(parcel),
            Course::Spoilt(spoilt) => spoil(spoilt, service, self.effect(parcel)),
        }
    }

    /// A request that arrives whatever becomes of its sender.
    async fn late(&self, parcel: Parcel, delay: Duration) -> Result<HttpResponse, ConnectorError> {
        let line = self.clone();
        let (answer, answered) = oneshot::channel();
        self.world.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            drop(answer.send(line.effect(&parcel))); // the sender may be gone
        });
        let delivery = answered.await.unwrap_or(Delivery::Lost);
        self.end.hand_over(delivery)
    }

    /// The request arrives. Nothing waits in here.
    fn effect(&self, parcel: &Parcel) -> Delivery {
        let Self { wire, world, life, .. } = self;
        let (operation, body) = (parcel.operation(), &parcel.body);
        let delivery = match parcel.service {
            Service::DynamoDb => {
                Delivery::Whole(wire.dynamodb(world, Some(*life), parcel.issued, operation, body))
            }
            Service::Kinesis => kinesis::answer(wire, world, *life, operation, body),
        };
        if let Delivery::Whole(reply) = &delivery
            && let Some(error) = reply.error.as_deref().filter(|error| MALFORMED.contains(error))
        {
            world.log.note(What::Malformed(*life, format!("{operation}: {error}")));
        }
        delivery
    }
}

impl Parcel {
    fn operation(&self) -> &str {
        Service::parse_target(&self.target).map_or("", |(_, operation)| operation)
    }
}

/// The one operation whose reply goes on.
pub(super) const SUBSCRIBE: &str = "SubscribeToShard";

/// What a service says of requests that no weather makes right.
const MALFORMED: [&str; 3] =
    ["SerializationException", "UnknownOperationException", "ValidationException"];

fn spoil(spoilt: Spoilt, service: Service, delivery: Delivery) -> Delivery {
    let mut reply = match (delivery, spoilt) {
        (_, Spoilt::Error(status, name)) => {
            return Delivery::Whole(service.error(status, name, None));
        }
        (Delivery::Whole(reply), _) => reply,
        // A subscription's events have spoilers of their own.
        (_, Spoilt::Nothing | Spoilt::Cut | Spoilt::Half) => return Delivery::Lost,
    };
    let half = reply.body.len() / 2;
    match spoilt {
        Spoilt::Error(..) | Spoilt::Nothing => Delivery::Lost,
        Spoilt::Cut => {
            reply.body.truncate(half);
            Delivery::Cut(reply)
        }
        Spoilt::Half => {
            reply.body.truncate(half);
            Delivery::Whole(reply)
        }
    }
}

fn gateway() -> Reply {
    let body = "<html><body>502 Bad Gateway</body></html>".into();
    Reply { status: 502, error: None, body, content_type: "text/html" }
}

impl HttpClient for Line {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(parcel) = self.pack(&request) else {
            let error = ConnectorError::user("not a request to Kinesis or DynamoDB".into());
            return HttpConnectorFuture::ready(Err(error));
        };
        let line = self.clone();
        HttpConnectorFuture::new(async move { line.exchange(parcel).await })
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.life)
    }
}
