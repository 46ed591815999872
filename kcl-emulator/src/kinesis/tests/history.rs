//! Random histories of puts, splits, merges, scaling and the passing of time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Rig;

#[derive(Debug, Clone)]
enum Step {
    Put {
        hash: u128,
    },
    /// Splits the n-th open shard in its middle.
    Split {
        nth: usize,
    },
    /// Merges the n-th open shard with its right neighbour.
    Merge {
        nth: usize,
    },
    Scale {
        percent: usize,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u128>().prop_map(|hash| Step::Put { hash }),
        2 => (0..64_usize).prop_map(|nth| Step::Split { nth }),
        2 => (0..64_usize).prop_map(|nth| Step::Merge { nth }),
        1 => (50..=200_usize).prop_map(|percent| Step::Scale { percent }),
        3 => (0..3000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A shard as `ListShards` shows it.
#[derive(Debug)]
struct Listed {
    id: String,
    parents: Vec<String>,
    range: (u128, u128),
    starting: String,
    ending: Option<String>,
}

fn listed(rig: &mut Rig) -> Vec<Listed> {
    let list = rig.ok("ListShards", json!({"StreamName": "s"}));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let hash = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let listed = |shard: &Value| Listed {
        id: text(&shard["ShardId"]).unwrap(),
        parents: [&shard["ParentShardId"], &shard["AdjacentParentShardId"]]
            .into_iter()
            .filter_map(text)
            .collect(),
        range: (
            hash(&shard["HashKeyRange"]["StartingHashKey"]),
            hash(&shard["HashKeyRange"]["EndingHashKey"]),
        ),
        starting: text(&shard["SequenceNumberRange"]["StartingSequenceNumber"]).unwrap(),
        ending: text(&shard["SequenceNumberRange"]["EndingSequenceNumber"]),
    };
    list["Shards"].as_array().unwrap().iter().map(listed).collect()
}

fn open(rig: &mut Rig) -> Vec<Listed> {
    let mut open: Vec<_> = listed(rig).into_iter().filter(|shard| shard.ending.is_none()).collect();
    open.sort_by_key(|shard| shard.range);
    open
}

/// What was put, by shard: sequence number and data.
type Puts = BTreeMap<String, Vec<(String, String)>>;

fn run(rig: &mut Rig, steps: Vec<Step>) -> Puts {
    let mut puts = Puts::new();
    for (serial, step) in steps.into_iter().enumerate() {
        let shards = open(rig);
        match step {
            Step::Put { hash } => {
                let put = rig.put_at(hash, &serial.to_string());
                let id = put["ShardId"].as_str().unwrap();
                let shard = shards
                    .iter()
                    .find(|shard| shard.id == id)
                    .expect("a record goes to an open shard");
                assert!((shard.range.0..=shard.range.1).contains(&hash));
                let number = put["SequenceNumber"].as_str().unwrap().to_owned();
                puts.entry(id.to_owned()).or_default().push((number, serial.to_string()));
            }
            Step::Split { nth } => {
                let Listed { id, range: (low, high), .. } = &shards[nth % shards.len()];
                if high - low > 4 {
                    let middle = (low + (high - low) / 2).to_string();
                    rig.ok("SplitShard", json!({"StreamName": "s", "ShardToSplit": id, "NewStartingHashKey": middle}));
                }
            }
            Step::Merge { nth } => {
                if let [left, right] =
                    &shards[nth % shards.len()..][..2.min(shards.len() - nth % shards.len())]
                {
                    let request = json!({"StreamName": "s", "ShardToMerge": left.id, "AdjacentShardToMerge": right.id});
                    rig.ok("MergeShards", request);
                }
            }
            Step::Scale { percent } => {
                let count =
                    (shards.len() * percent).div_ceil(100).min(12).max(shards.len().div_ceil(2));
                let request = json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
                rig.ok("UpdateShardCount", request);
                assert_eq!(open(rig).len(), count);
            }
            Step::Wait { millis } => rig.pass(Duration::from_millis(millis)),
        }
    }
    puts
}

/// Reads one shard to its end, or to its tip, in pages of `limit`: what was read, and the children.
fn read(rig: &mut Rig, id: &str, limit: usize) -> (Vec<(String, String)>, Option<Vec<String>>) {
    let number: u32 = id[8..].parse().unwrap();
    let mut iterator = rig.iterator(number, "TRIM_HORIZON");
    let mut all = Vec::new();
    loop {
        let page = rig.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": limit}));
        let numbers = page["Records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["SequenceNumber"].as_str().unwrap().to_owned());
        let before = all.len();
        all.extend(numbers.zip(super::texts(&page)));
        match page["NextShardIterator"].as_str() {
            None => {
                let children = page["ChildShards"].as_array().unwrap();
                return (
                    all,
                    Some(
                        children
                            .iter()
                            .map(|child| child["ShardId"].as_str().unwrap().to_owned())
                            .collect(),
                    ),
                );
            }
            Some(_) if all.len() == before && page["MillisBehindLatest"] == 0 => {
                return (all, None);
            }
            Some(next) => iterator = next.to_owned(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_repeats_or_reorders(shards in 1..4_u32, limit in 1..5_usize, steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new(shards);
        let puts = run(&mut rig, steps);
        let shards = listed(&mut rig);
        let by_id: BTreeMap<_, _> = shards.iter().map(|shard| (shard.id.clone(), shard)).collect();
        for shard in &shards {
            let (read, children) = read(&mut rig, &shard.id, limit);
            let put = puts.get(&shard.id).cloned().unwrap_or_default();
            prop_assert_eq!(&read, &put, "shard {}", &shard.id);
            prop_assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!(read.iter().all(|(number, _)| *number > shard.starting && shard.ending.as_ref().is_none_or(|end| number < end)));
            prop_assert_eq!(children.is_some(), shard.ending.is_some());
            let expected: BTreeSet<_> = shards.iter().filter(|other| other.parents.contains(&shard.id)).map(|other| other.id.clone()).collect();
            prop_assert_eq!(children.unwrap_or_default().into_iter().collect::<BTreeSet<_>>(), expected);
            for parent in &shard.parents {
                let parent = by_id[parent];
                prop_assert!(parent.id < shard.id);
                prop_assert!(parent.ending.as_ref().is_some_and(|end| *end < shard.starting));
            }
        }
    }

    #[test]
    fn open_shards_always_tile_the_hash_space(shards in 1..4_u32, steps in prop::collection::vec(step(), 1..40)) {
        let mut rig = Rig::new(shards);
        for step in steps {
            run(&mut rig, vec![step]);
            let open = open(&mut rig);
            prop_assert_eq!((open[0].range.0, open[open.len() - 1].range.1), (0, u128::MAX));
            prop_assert!(open.windows(2).all(|pair| pair[0].range.1 + 1 == pair[1].range.0));
        }
    }

    #[test]
    fn filters_agree_with_lineage(shards in 1..4_u32, steps in prop::collection::vec(step(), 1..40)) {
        let mut rig = Rig::new(shards);
        run(&mut rig, steps);
        let all = listed(&mut rig);
        let at_latest = rig.shards(json!({"Type": "AT_LATEST"}));
        prop_assert_eq!(at_latest.len(), all.iter().filter(|shard| shard.ending.is_none()).count());
        prop_assert_eq!(rig.shards(json!({"Type": "AT_TRIM_HORIZON"})), (0..shards).collect::<Vec<_>>());
        prop_assert_eq!(rig.shards(json!({"Type": "FROM_TRIM_HORIZON"})).len(), all.len());
    }

    #[test]
    fn a_seed_replays(steps in prop::collection::vec(step(), 1..40)) {
        let trace = |steps: Vec<Step>| {
            let mut rig = Rig::new(2);
            let puts = run(&mut rig, steps);
            (puts, rig.ok("ListShards", json!({"StreamName": "s", "MaxResults": 1})))
        };
        prop_assert_eq!(trace(steps.clone()), trace(steps));
    }
}
