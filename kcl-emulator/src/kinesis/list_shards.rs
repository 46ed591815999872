//! `ListShards`: pages of a stream's shards, filtered.

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::describe::ShardView;
use super::error::{Code, Error};
use super::shard::Shard;
use super::stream::Stream;
use super::target::{self, Target, shard_number};
use super::time::Time;
use super::token;
use super::validate::Checks;
use crate::wire::Timestamp;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListShards {
    #[serde(flatten)]
    target: Target,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardList {
    shards: Vec<ShardView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Which shards to list.
#[derive(Debug, Clone, Copy)]
enum Filter {
    All,
    AtTrimHorizon,
    AtLatest,
    /// Milliseconds since the epoch.
    AtTimestamp(u64),
    /// Milliseconds since the epoch.
    FromTimestamp(u64),
}

const TYPES: [&str; 6] = [
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
];

/// Where a listing goes on, and how it began.
struct Place {
    stream: String,
    generation: Option<u64>,
    /// The first shard number to list.
    from: u32,
    filter: Filter,
}

impl Kinesis {
    pub(super) fn list_shards(
        &mut self,
        now: Time,
        request: &ListShards,
    ) -> Result<ShardList, Error> {
        let mut checks = Checks::default();
        checks.between("maxResults", request.max_results, 1, 10_000);
        checks.name("exclusiveStartShardId", request.exclusive_start_shard_id.as_deref());
        checks.at_least("nextToken", request.next_token.as_ref().map_or(1, String::len), 1);
        if let Some(filter) = &request.shard_filter {
            checks.present("shardFilter.type", filter.r#type.as_ref());
            checks.one_of("shardFilter.type", filter.r#type.as_deref(), &TYPES);
            checks.name("shardFilter.shardId", filter.shard_id.as_deref());
        }
        checks.finish()?;
        let limit = request
            .max_results
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1000)
            .min(1000);

        let created_at = request.stream_creation_timestamp;
        let place = match &request.next_token {
            Some(token) => self.place_of_token(now, token, request)?,
            None => self.place_of_request(request)?,
        };
        let Self { streams, account, sealer, .. } = self;
        let stream = target::serving(streams, &place.stream, account)?;
        if place.generation.is_some_and(|generation| generation != stream.generation) {
            return Err(Error::invalid("Invalid NextToken."));
        }
        if created_at.is_some_and(|at| at.0 / 1000 != stream.created.secs()) {
            let text = format!("Stream {} under account {account} not found.", place.stream);
            return Err(Error::new(Code::ResourceNotFound, text));
        }
        stream.prune(now);
        let stream = &*stream;
        let mut rest = stream
            .shards()
            .range(place.from..)
            .filter(|(_, shard)| place.filter.takes(stream, shard, now));
        let page: Vec<&Shard> = rest.by_ref().take(limit).map(|(_, shard)| shard).collect();
        let next_token = rest.next().map(|(number, _)| {
            let (kind, millis) = place.filter.code();
            sealer.seal(
                token::LIST_SHARDS,
                [now.millis(), stream.generation, u64::from(*number), kind, millis],
                &stream.name,
            )
        });
        Ok(ShardList { shards: page.into_iter().map(ShardView::of).collect(), next_token })
    }

    fn place_of_token(&self, now: Time, token: &str, request: &ListShards) -> Result<Place, Error> {
        let forbidden = [
            ("StreamName", request.target.stream_name.is_some()),
            ("StreamCreationTimestamp", request.stream_creation_timestamp.is_some()),
            ("ExclusiveStartShardId", request.exclusive_start_shard_id.is_some()),
            ("ShardFilter", request.shard_filter.is_some()),
        ];
        if let Some((member, _)) = forbidden.iter().find(|(_, given)| *given) {
            return Err(Error::invalid(format!(
                "NextToken and {member} cannot be provided together."
            )));
        }
        let invalid = || Error::invalid("Invalid NextToken.");
        let ([made_at, generation, from, kind, millis], stream) =
            self.sealer.unseal(token::LIST_SHARDS, token).ok_or_else(invalid)?;
        if request.target.stream_arn.is_some() && self.named(&request.target)? != stream {
            return Err(invalid());
        }
        if now.millis().saturating_sub(made_at) > token::LIFE_MILLIS {
            return Err(Error::new(Code::ExpiredNextToken, "The NextToken has expired."));
        }
        Ok(Place {
            stream,
            generation: Some(generation),
            from: u32::try_from(from).map_err(|_| invalid())?,
            filter: Filter::of_code(kind, millis).ok_or_else(invalid)?,
        })
    }

    fn place_of_request(&self, request: &ListShards) -> Result<Place, Error> {
        if request.target.stream_name.is_none() && request.target.stream_arn.is_none() {
            return Err(Error::invalid("Either NextToken or StreamName should be provided."));
        }
        let stream = self.named(&request.target)?;
        let mut after = request.exclusive_start_shard_id.as_deref();
        let mut filter = Filter::All;
        if let Some(ShardFilter { r#type, shard_id, timestamp }) = &request.shard_filter {
            let r#type = r#type.as_deref().unwrap_or_default();
            if shard_id.is_some() != (r#type == "AFTER_SHARD_ID") {
                return Err(Error::invalid(
                    "ShardFilter has a ShardId if and only if its type is AFTER_SHARD_ID.",
                ));
            }
            if timestamp.is_some() != r#type.ends_with("_TIMESTAMP") {
                let text = "ShardFilter has a Timestamp if and only if its type is AT_TIMESTAMP or FROM_TIMESTAMP.";
                return Err(Error::invalid(text));
            }
            after = shard_id.as_deref().or(after);
            filter = match (r#type, timestamp) {
                ("AT_TRIM_HORIZON", _) => Filter::AtTrimHorizon,
                ("AT_LATEST", _) => Filter::AtLatest,
                ("AT_TIMESTAMP", Some(at)) => Filter::AtTimestamp(at.0),
                ("FROM_TIMESTAMP", Some(at)) => Filter::FromTimestamp(at.0),
                _ => Filter::All,
            };
        }
        let from = match after {
            Some(id) => shard_number(id, &stream, &self.account)? + 1,
            None => 0,
        };
        Ok(Place { stream, generation: None, from, filter })
    }
}

impl Filter {
    /// Whether `shard`, which is within retention, belongs to the list.
    fn takes(self, stream: &Stream, shard: &Shard, now: Time) -> bool {
        let open_at = |millis| {
            shard.opened_at <= millis && shard.closed.is_none_or(|closed| closed.at >= millis)
        };
        // Reading these to their ends, and then their children, reads all there is.
        let oldest = || shard.parents.iter().all(|parent| !stream.shards().contains_key(&parent));
        match self {
            Self::All => true,
            Self::AtTrimHorizon => oldest(),
            Self::AtLatest => shard.closed.is_none(),
            Self::AtTimestamp(millis)
                if millis < stream.horizon(now).max(stream.created.millis()) =>
            {
                oldest()
            }
            Self::AtTimestamp(millis) => open_at(millis),
            Self::FromTimestamp(millis) => shard.closed.is_none_or(|closed| closed.at >= millis),
        }
    }

    fn code(self) -> (u64, u64) {
        match self {
            Self::All => (0, 0),
            Self::AtTrimHorizon => (1, 0),
            Self::AtLatest => (2, 0),
            Self::AtTimestamp(millis) => (3, millis),
            Self::FromTimestamp(millis) => (4, millis),
        }
    }

    fn of_code(kind: u64, millis: u64) -> Option<Self> {
        Some(match kind {
            0 => Self::All,
            1 => Self::AtTrimHorizon,
            2 => Self::AtLatest,
            3 => Self::AtTimestamp(millis),
            4 => Self::FromTimestamp(millis),
            _ => return None,
        })
    }
}
