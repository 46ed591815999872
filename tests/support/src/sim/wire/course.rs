//! What a fate looks like on a wire. Pure, but for the choice among looks.

use std::time::Duration;

use kcl_emulator::Service;

use crate::sim::weather::Fate;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// It arrives, takes effect, and is answered.
    Through,
    /// Answered with this status and error instead of an effect.
    Refused(u16, &'static str),
    /// Answered by something in between, which knows nothing of AWS's errors.
    Gateway,
    /// The connection breaks before it arrives.
    Broken,
    /// It takes effect, and the answer is spoilt.
    Spoilt(Spoilt),
    /// Never answered; takes effect or not.
    Silence {
        /// Whether it arrives.
        effect: bool,
    },
    /// On its way for so long; takes effect also when the sender has given up or died.
    Late(Duration),
}

/// What is left of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoilt {
    /// An error of this status and name.
    Error(u16, &'static str),
    /// The connection breaks.
    Nothing,
    /// The connection breaks in the middle of the body.
    Cut,
    /// The body has lost its second half, and nobody says so.
    Half,
}

/// How a fate of a request to `service` looks, and a word for the history if something goes wrong.
pub(super) fn draw(
    fate: Fate,
    service: Service,
    operation: &str,
    rng: &mut fastrand::Rng,
) -> (Course, Option<&'static str>) {
    let course = match fate {
        Fate::Clear => Course::Through,
        Fate::Throttled => Course::Refused(400, pick(throttles(service, operation), rng)),
        Fate::Expired => Course::Refused(400, "ExpiredTokenException"),
        Fate::Refused => Course::Refused(400, INVALID),
        Fate::Before => before(service, rng),
        Fate::After => Course::Spoilt(match rng.u32(0..5) {
            0 => Spoilt::Error(500, internal(service)),
            1 => Spoilt::Error(503, "ServiceUnavailable"),
            2 => Spoilt::Nothing,
            3 => Spoilt::Cut,
            _ => Spoilt::Half,
        }),
        Fate::HangBefore => Course::Silence { effect: false },
        Fate::HangAfter => Course::Silence { effect: true },
        Fate::Late(delay) => Course::Late(delay),
    };
    (course, word(course, service))
}

fn before(service: Service, rng: &mut fastrand::Rng) -> Course {
    match rng.u32(0..8) {
        0 | 1 => Course::Refused(500, internal(service)),
        2 => Course::Refused(503, "ServiceUnavailable"),
        3 => Course::Gateway,
        4 => Course::Refused(400, pick(DENIALS, rng)),
        _ => Course::Broken,
    }
}

const INVALID: &str = "ValidationException";

const DENIALS: &[&str] =
    &["AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException"];

/// AWS's names for "too fast", by what is called.
fn throttles(service: Service, operation: &str) -> &'static [&'static str] {
    match (service, operation) {
        (Service::DynamoDb, "PutItem" | "UpdateItem" | "DeleteItem" | "GetItem" | "Scan") => &[
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "ThrottlingException",
        ],
        (Service::Kinesis, "GetRecords" | "GetShardIterator") => {
            &["ProvisionedThroughputExceededException", "ThrottlingException"]
        }
        _ => &["LimitExceededException", "ThrottlingException"],
    }
}

fn internal(service: Service) -> &'static str {
    match service {
        Service::Kinesis => "InternalFailure",
        Service::DynamoDb => "InternalServerError",
    }
}

fn pick(names: &[&'static str], rng: &mut fastrand::Rng) -> &'static str {
    names[rng.usize(0..names.len())]
}

fn word(course: Course, service: Service) -> Option<&'static str> {
    let (of_store, of_kinesis) = match course {
        Course::Through => return None,
        Course::Refused(400, name) if DENIALS.contains(&name) => {
            ("store denies access", "Kinesis denies access")
        }
        Course::Refused(400, INVALID) => ("store calls it invalid", "Kinesis calls it invalid"),
        Course::Refused(400, _) => ("store throttles", "Kinesis throttles"),
        Course::Refused(..) => ("store fails before the effect", "Kinesis fails"),
        Course::Gateway => ("store is behind a gateway that fails", "a gateway fails"),
        Course::Broken => ("store is not reached", "Kinesis is not reached"),
        Course::Spoilt(Spoilt::Error(..)) => ("store fails after the effect", "Kinesis fails"),
        Course::Spoilt(Spoilt::Nothing) => ("store answer breaks off", "Kinesis breaks off"),
        Course::Spoilt(Spoilt::Cut) => ("store answer is cut", "Kinesis answer is cut"),
        Course::Spoilt(Spoilt::Half) => ("store answer is half", "Kinesis answer is half"),
        Course::Silence { effect: false } => ("store request lost", "Kinesis request lost"),
        Course::Silence { effect: true } => ("store answer lost", "Kinesis answer lost"),
        Course::Late(_) => ("store request under way for long", "Kinesis is slow"),
    };
    Some(match service {
        Service::DynamoDb => of_store,
        Service::Kinesis => of_kinesis,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What promises "no effect" must look like a refusal, and what had one must never look like a 400.
    #[test]
    fn every_look_keeps_the_promise_of_its_fate() {
        let mut rng = fastrand::Rng::with_seed(1);
        for service in [Service::DynamoDb, Service::Kinesis] {
            for _ in 0..200 {
                let mut look = |fate| draw(fate, service, "UpdateItem", &mut rng).0;
                assert!(matches!(look(Fate::Throttled), Course::Refused(400, _)));
                assert!(matches!(look(Fate::Refused), Course::Refused(400, INVALID)));
                assert!(matches!(
                    look(Fate::Before),
                    Course::Refused(..) | Course::Gateway | Course::Broken
                ));
                match look(Fate::After) {
                    Course::Spoilt(Spoilt::Error(status, _)) => assert!(status >= 500),
                    Course::Spoilt(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
