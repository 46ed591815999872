//! Which requests a fault befalls, and how often.

use std::ops::Range;
use std::time::SystemTime;

use crate::{Fault, Protocol, Service};

/// A fault and the requests that it befalls. Without a condition that is every request, every time.
///
/// ```
/// use kcl_emulator::{Fault, Rule, Service};
///
/// // The third renewal of this lease takes effect, and the worker never hears of it.
/// let lost = Rule::new(Fault::LostAfter).operation("UpdateItem").body_contains("shardId-000000000001").nth(3);
/// // A fifth of all reads are throttled.
/// let slow = Rule::new(Fault::Throttle).service(Service::Kinesis).operation("GetRecords").chance(0.2);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Rule {
    pub(crate) fault: Fault,
    service: Option<Service>,
    operation: Option<String>,
    body: Option<String>,
    caller: Option<String>,
    window: Option<Range<SystemTime>>,
    trigger: Trigger,
}

impl Rule {
    /// `fault` at every request.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            service: None,
            operation: None,
            body: None,
            caller: None,
            window: None,
            trigger: Trigger::Always,
        }
    }

    /// Only requests to this service.
    pub fn service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Only this operation, such as `UpdateItem`.
    pub fn operation(mut self, operation: impl Into<String>) -> Self {
        self.operation = Some(operation.into());
        self
    }

    /// Only requests whose body contains this text, such as a lease key or a stream name.
    ///
    /// `GetRecords` names its shard by an opaque iterator: it fits if the iterator's stream name or shard id contains
    /// the text.
    pub fn body_contains(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// Only requests signed with this access key id; see
    /// [`Emulator::sdk_config_for`](crate::Emulator::sdk_config_for).
    pub fn caller(mut self, access_key_id: impl Into<String>) -> Self {
        self.caller = Some(access_key_id.into());
        self
    }

    /// Only from the window's start up to, not including, its end, by the emulator's clock.
    pub fn during(mut self, window: Range<SystemTime>) -> Self {
        self.window = Some(window);
        self
    }

    /// Only the `n`th request that fits, counted from 1.
    pub fn nth(mut self, n: u64) -> Self {
        self.trigger = Trigger::Nth(n);
        self
    }

    /// Only the first `k` requests that fit.
    pub fn first(mut self, k: u64) -> Self {
        self.trigger = Trigger::First(k);
        self
    }

    /// Each request that fits with this probability, 0 to 1, drawn from the emulator's seed.
    pub fn chance(mut self, probability: f64) -> Self {
        self.trigger = Trigger::Chance(probability);
        self
    }
}

/// When a rule that fits acts.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    Always,
    Nth(u64),
    First(u64),
    Chance(f64),
}

/// What rules are judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) service: Service,
    pub(crate) operation: &'a str,
    pub(crate) protocol: Protocol,
    pub(crate) caller: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// Stream and shard id behind the body's iterator, if that was asked for.
    pub(crate) source: Option<&'a (String, String)>,
}

/// A rule at work.
#[derive(Debug)]
pub(crate) struct ActiveRule {
    pub(crate) rule: Rule,
    /// Its own, so that one rule's draws do not depend on another's.
    rng: fastrand::Rng,
    /// Requests that fitted so far.
    fitted: u64,
}

impl ActiveRule {
    pub(crate) fn new(rule: Rule, rng: fastrand::Rng) -> Self {
        Self { rule, rng, fitted: 0 }
    }

    /// Whether it depends on what a request mentions.
    pub(crate) fn reads_bodies(&self) -> bool {
        self.rule.body.is_some()
    }

    /// Whether the fault befalls this request.
    pub(crate) fn acts(&mut self, now: SystemTime, call: &Call<'_>) -> bool {
        if !self.fits(now, call) {
            return false;
        }
        self.fitted += 1;
        match self.rule.trigger {
            Trigger::Always => true,
            Trigger::Nth(n) => self.fitted == n,
            Trigger::First(k) => self.fitted <= k,
            Trigger::Chance(probability) => self.rng.f64() < probability,
        }
    }

    fn fits(&self, now: SystemTime, call: &Call<'_>) -> bool {
        let Rule { fault, service, operation, body, caller, window, trigger: _ } = &self.rule;
        (call.operation == "SubscribeToShard" || !fault.needs_events())
            && service.is_none_or(|service| service == call.service)
            && operation.as_deref().is_none_or(|operation| operation == call.operation)
            && caller.as_deref().is_none_or(|caller| call.caller == Some(caller))
            && window.as_ref().is_none_or(|window| window.contains(&now))
            && body.as_deref().is_none_or(|text| call.mentions(text))
    }
}

impl Call<'_> {
    fn mentions(&self, text: &str) -> bool {
        let text_bytes = text.as_bytes();
        text.is_empty()
            || self.body.windows(text.len()).any(|window| window == text_bytes)
            || self
                .source
                .is_some_and(|(stream, shard)| stream.contains(text) || shard.contains(text))
    }
}
