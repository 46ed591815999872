//! `SplitShard`, `MergeShards`, `UpdateShardCount`: the requests. What they do to shards is in [`super::reshard`].

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::{Code, Error};
use super::hash_range;
use super::shard::{self, Shard};
use super::stream::{Change, Mode, Status, Stream};
use super::target::{Target, shard_number};
use super::time::Time;
use super::validate::Checks;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitShard {
    #[serde(flatten)]
    target: Target,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MergeShards {
    #[serde(flatten)]
    target: Target,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateShardCount {
    #[serde(flatten)]
    target: Target,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardCountUpdate {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: usize,
    target_shard_count: usize,
}

impl Kinesis {
    pub(super) fn split_shard(&mut self, now: Time, request: SplitShard) -> Result<(), Error> {
        let SplitShard { target, shard_to_split, new_starting_hash_key } = request;
        let mut checks = Checks::default();
        checks.present("shardToSplit", shard_to_split.as_ref());
        checks.name("shardToSplit", shard_to_split.as_deref());
        checks.present("newStartingHashKey", new_starting_hash_key.as_ref());
        checks.hash_key("newStartingHashKey", new_starting_hash_key.as_deref());
        checks.finish()?;
        let account = self.account.clone();
        let stream = self.reshardable(&target)?;
        let shard = open_shard(stream, now, &shard_to_split.unwrap_or_default(), &account)?;
        let (number, range) = (shard.number, shard.range);
        let hash_text = new_starting_hash_key.unwrap_or_default();
        let hash = hash_range::parse_explicit(&hash_text).ok();
        let inside = |hash: &u128| {
            range.start.checked_add(1).is_some_and(|low| *hash > low) && *hash < range.end
        };
        let name = stream.name.clone();
        let Some(hash) = hash.filter(inside) else {
            return Err(Error::invalid(format!(
                "NewStartingHashKey {hash_text} used in SplitShard() on shard {} in stream {name} under account \
                 {account} is not both greater than one plus the shard's StartingHashKey {} and less than the shard's \
                 EndingHashKey {}.",
                shard::id(number),
                range.start,
                range.end
            )));
        };
        self.allow_shards(1)?;
        self.begin(now, &name, |until| Status::Updating {
            until,
            change: Change::Split { shard: number, at: hash },
        });
        Ok(())
    }

    pub(super) fn merge_shards(&mut self, now: Time, request: MergeShards) -> Result<(), Error> {
        let MergeShards { target, shard_to_merge, adjacent_shard_to_merge } = request;
        let mut checks = Checks::default();
        checks.present("shardToMerge", shard_to_merge.as_ref());
        checks.name("shardToMerge", shard_to_merge.as_deref());
        checks.present("adjacentShardToMerge", adjacent_shard_to_merge.as_ref());
        checks.name("adjacentShardToMerge", adjacent_shard_to_merge.as_deref());
        checks.finish()?;
        let account = self.account.clone();
        let stream = self.reshardable(&target)?;
        let name = stream.name.clone();
        let mut open = |id: Option<String>| {
            let shard = open_shard(stream, now, &id.unwrap_or_default(), &account)?;
            Ok::<_, Error>((shard.number, shard.range))
        };
        let (left, lower) = open(shard_to_merge)?;
        let (right, upper) = open(adjacent_shard_to_merge)?;
        if lower.end.checked_add(1) != Some(upper.start) {
            return Err(Error::invalid(format!(
                "Shards {} and {} in stream {name} under account {account} are not an adjacent pair of shards eligible \
                 for merging",
                shard::id(left),
                shard::id(right)
            )));
        }
        self.begin(now, &name, |until| Status::Updating {
            until,
            change: Change::Merge { left, right },
        });
        Ok(())
    }

    pub(super) fn update_shard_count(
        &mut self,
        now: Time,
        request: &UpdateShardCount,
    ) -> Result<ShardCountUpdate, Error> {
        let UpdateShardCount { target, target_shard_count, scaling_type } = request;
        let mut checks = Checks::default();
        checks.present("targetShardCount", target_shard_count.as_ref());
        checks.between("targetShardCount", *target_shard_count, 1, 100_000);
        checks.present("scalingType", scaling_type.as_ref());
        checks.one_of("scalingType", scaling_type.as_deref(), &["UNIFORM_SCALING"]);
        checks.finish()?;
        let wanted =
            target_shard_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
        let stream = self.reshardable(target)?;
        let (name, arn, current) =
            (stream.name.clone(), stream.arn.clone(), stream.open_shards().len());
        let target_shard_count = wanted as usize;
        let refuse = |what| {
            Err(Error::invalid(format!(
                "UpdateShardCount cannot scale {what} your current open shard count. Current open shard count: \
                 {current} Target shard count: {wanted}"
            )))
        };
        if target_shard_count > current * 2 {
            return refuse("up over double");
        }
        if target_shard_count * 2 < current {
            return refuse("down below half");
        }
        self.allow_shards(target_shard_count.saturating_sub(current))?;
        self.begin(now, &name, |until| Status::Updating {
            until,
            change: Change::Scale { shards: wanted },
        });
        Ok(ShardCountUpdate {
            stream_name: name,
            stream_arn: arn,
            current_shard_count: current,
            target_shard_count,
        })
    }

    fn reshardable(&mut self, target: &Target) -> Result<&mut Stream, Error> {
        let stream = self.active(target)?;
        if stream.mode == Mode::OnDemand {
            let text = "This operation is not supported for streams in ON_DEMAND mode.";
            return Err(Error::new(Code::Validation, text));
        }
        Ok(stream)
    }
}

fn open_shard<'a>(
    stream: &'a mut Stream,
    now: Time,
    id: &str,
    account: &str,
) -> Result<&'a Shard, Error> {
    let name = stream.name.clone();
    let number = shard_number(id, &name, account)?;
    let Some(shard) = stream.shard(now, number) else {
        let text = format!(
            "Could not find shard {} in stream {name} under account {account}.",
            shard::id(number)
        );
        return Err(Error::new(Code::ResourceNotFound, text));
    };
    if shard.closed.is_some() {
        return Err(Error::invalid(format!(
            "Shard {} in stream {name} under account {account} has already been merged or split, and thus is not \
             eligible for merging or splitting.",
            shard::id(number)
        )));
    }
    Ok(shard)
}
