//! Kinesis at the end of a line: the emulator, with pages as short and answers as strange as AWS's may be.

use bytes::Bytes;
use kcl_core::{SequenceNumber, ShardId};
use kcl_emulator::{Delivery, Service};
use serde_json::{Value, json};

use super::Wire;
use super::line::SUBSCRIBE;
use crate::sim::World;
use crate::sim::history::{FORGOTTEN, Life, What};

pub(super) fn answer(
    wire: &Wire,
    world: &World,
    life: Life,
    operation: &str,
    body: &[u8],
) -> Delivery {
    if operation == SUBSCRIBE {
        return subscription(wire, world, life, body);
    }
    let odd = |word| {
        let odd = world.weather.odd();
        if odd {
            world.log.note(What::Fault(life, word));
        }
        odd
    };
    let refused = |name| Service::Kinesis.error(400, name, Some("simulated"));
    let call = |body: &[u8]| wire.emulator.reply(&format!("Kinesis_20131202.{operation}"), body);
    Delivery::Whole(match operation {
        "GetShardIterator" if odd("Kinesis does not find the shard") => {
            refused("ResourceNotFoundException")
        }
        "GetRecords" if odd("Kinesis says the iterator has expired") => {
            refused("ExpiredIteratorException")
        }
        "GetRecords" => {
            let mut reply = call(body);
            if reply.status == 200 && odd("Kinesis leaves out the iterator or children") {
                reply.body = without_end(&reply.body);
            }
            reply
        }
        "ListShards" if is_continued(body) && odd("Kinesis says the token has expired") => {
            refused("ExpiredNextTokenException")
        }
        "ListShards" => call(&paged(body, wire.page)),
        _ => call(body),
    })
}

fn subscription(wire: &Wire, world: &World, life: Life, body: &[u8]) -> Delivery {
    let refused = |name, word| {
        world.log.note(What::Fault(life, word));
        Delivery::Whole(Service::Kinesis.error(400, name, Some("simulated")))
    };
    if position_to_read(body).is_some_and(|(shard, number)| world.is_forgotten(&shard, &number)) {
        return refused("InvalidArgumentException", FORGOTTEN);
    }
    if world.weather.odd() {
        return refused("ResourceNotFoundException", "Kinesis does not find the shard");
    }
    wire.emulator.subscribe(body)
}

/// The shard and the number after which a subscription is to begin.
fn position_to_read(body: &[u8]) -> Option<(ShardId, SequenceNumber)> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let number = request["StartingPosition"]["SequenceNumber"].as_str()?;
    Some((ShardId::new(request["ShardId"].as_str()?).ok()?, number.parse().ok()?))
}

/// The shard for which an iterator or a subscription is asked.
pub(super) fn shard_to_read(operation: &str, body: &[u8]) -> Option<ShardId> {
    if operation != "GetShardIterator" && operation != SUBSCRIBE {
        return None;
    }
    let request: Value = serde_json::from_slice(body).ok()?;
    ShardId::new(request["ShardId"].as_str()?).ok()
}

/// Also where records are left: a reply that lies about the end.
fn without_end(body: &[u8]) -> Bytes {
    let Ok(mut page) = serde_json::from_slice::<Value>(body) else {
        return Bytes::copy_from_slice(body);
    };
    page["NextShardIterator"] = Value::Null;
    if let Some(children) = page["ChildShards"].as_array_mut() {
        children.truncate(usize::from(children.len() > 1));
    }
    page.to_string().into()
}

fn is_continued(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|request| request["NextToken"].is_string())
}

/// A page may be shorter than what was asked for; AWS says so with a token.
fn paged(body: &[u8], most: usize) -> Vec<u8> {
    let Ok(mut request) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    request["MaxResults"] = json!(most);
    request.to_string().into_bytes()
}
