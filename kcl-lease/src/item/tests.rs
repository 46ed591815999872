use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{HashRange, Position, SequenceNumber, ShardId, WorkerId};
use proptest::prelude::*;
use serde_json::Value;

use super::{Item, decode, encode, number, text};
use crate::{Lease, LeaseKey};

type Attributes = HashMap<String, AttributeValue>;

/// Reads one attribute of DynamoDB JSON, as far as the golden tables need it.
fn attribute(json: &Value) -> AttributeValue {
    let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
    let string = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(string()),
        "N" => AttributeValue::N(string()),
        "SS" => AttributeValue::Ss(serde_json::from_value(value.clone()).unwrap()),
        "B" => AttributeValue::B(Blob::new(match value.as_str().unwrap() {
            "cHJvYmUtc3RhdGU=" => "probe-state",
            other => panic!("binary of another golden table: {other}"),
        })),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(attributes(value)),
        other => panic!("attribute type of another golden table: {other}"),
    }
}

fn attributes(json: &Value) -> Attributes {
    let members = json.as_object().unwrap().iter();
    members.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn golden(version: &str) -> BTreeMap<String, Vec<Attributes>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
    let table = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let items: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let items = items.as_array().unwrap().iter().map(attributes).collect();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), items)
    };
    fs::read_dir(folder).unwrap().map(table).collect()
}

fn lease(item: &Attributes) -> Lease {
    match decode(item) {
        Item::Lease(lease) => *lease,
        other => panic!("not a lease: {other:?}"),
    }
}

#[test]
fn what_java_2_wrote_we_read_and_would_write_the_same() {
    let tables = golden("java-kcl-2.7.2");
    assert_eq!(tables.len(), 8);
    for (table, items) in &tables {
        for item in items {
            assert_eq!(encode(&lease(item)), *item, "{table}");
        }
    }
    assert_eq!(tables.values().map(Vec::len).sum::<usize>(), 36);
}

#[test]
fn leases_of_java_3_are_read_and_its_other_items_passed_over() {
    let mut foreign = 0;
    for (table, items) in golden("java-kcl-3.4.2").iter().chain(&golden("java-kcl-3.5.1")) {
        for item in items {
            let ours = match decode(item) {
                Item::Lease(lease) => encode(&lease),
                Item::Foreign => {
                    assert!(!item["leaseKey"].as_s().unwrap().starts_with("shardId-"), "{table}");
                    foreign += 1;
                    continue;
                }
                Item::Unreadable { key, reason } => panic!("{table}: {key}: {reason}"),
            };
            let mut known = item.clone();
            for later in ["entityType", "throughputKBps", "checkpointOwner"] {
                known.remove(later);
            }
            assert_eq!(ours, known, "{table}");
        }
    }
    assert_eq!(foreign, 34);
}

#[test]
fn a_new_child_lease_is_what_java_creates_but_for_its_first_counter() {
    let golden = &golden("java-kcl-2.7.2")["2-after-shard-end"];
    let child = golden.iter().find(|item| item["leaseKey"] == text("shardId-000000000006"));
    let new = Lease {
        parents: ["shardId-000000000001", "shardId-000000000002"].map(shard).into(),
        hash_range: HashRange::new(
            85_070_591_730_234_615_865_843_651_857_942_052_864,
            255_211_775_190_703_847_597_530_955_573_826_158_591,
        ),
        ..Lease::new(LeaseKey::single(shard("shardId-000000000006")), Position::TrimHorizon)
    };
    assert_eq!(Some(&encode(&new)), child);
    let mut written = encode(&new.numbered(&mut fastrand::Rng::with_seed(1)));
    let first = written.insert("leaseCounter".to_owned(), number(&0)).unwrap();
    assert_ne!(first, number(&0));
    assert_eq!(Some(&written), child);
}

#[test]
fn a_lease_of_an_application_at_latest_has_two_attributes_beside_javas() {
    let bare = Lease::new(LeaseKey::single(shard("shardId-0")), Position::Latest);
    let java = encode(&bare);
    let at = |ms| Some(UNIX_EPOCH + Duration::from_millis(ms));
    let mut known_to_java = encode(&Lease { started_at: at(7), application_start: at(5), ..bare });
    let start = known_to_java.remove("startTimestamp");
    let application_start = known_to_java.remove("applicationStartTimestamp");
    assert_eq!((start, application_start), (Some(number(&7)), Some(number(&5))));
    assert_eq!(known_to_java, java);
}

#[test]
fn the_prepared_state_and_the_place_in_an_aggregate_are_read() {
    let golden = golden("java-kcl-2.7.2");
    let pending = lease(&golden["6-pending-checkpoint"][0]).pending.unwrap();
    assert_eq!(pending.state.as_deref(), Some(b"probe-state".as_slice()));
    let aggregated = lease(&golden["7-aggregated-subsequence"][0]).position;
    assert!(matches!(aggregated, Position::Sequence { sub: 1, .. }));
}

fn shard(id: &str) -> ShardId {
    ShardId::new(id).unwrap()
}

fn sound() -> Attributes {
    encode(&Lease::new(LeaseKey::single(shard("shardId-000000000000")), Position::Latest))
}

#[test]
fn items_that_are_no_leases_are_foreign() {
    let without_counter = || {
        let mut item = sound();
        item.remove("leaseCounter");
        item
    };
    let kind = |value| {
        let mut item = sound();
        item.insert("entityType".into(), value);
        item
    };
    for item in [
        Attributes::new(),
        without_counter(),
        kind(text("LEADER")),
        kind(text("something new")),
        kind(number(&1)),
    ] {
        assert_eq!(decode(&item), Item::Foreign, "{item:?}");
    }
    assert!(matches!(decode(&kind(text("LEASE"))), Item::Lease(_)));
}

#[test]
fn damaged_leases_are_set_aside_with_a_short_reason() {
    let many = |n| AttributeValue::Ss((0..n).map(|i| format!("shardId-{i}")).collect());
    let damages = [
        ("leaseKey", text("a/b"), "leaseKey is not a lease key: a/b"),
        ("leaseKey", text(&"x".repeat(400_000)), "leaseKey is not"),
        ("leaseKey", number(&7), "leaseKey is not a string"),
        ("leaseOwner", text(""), "leaseOwner is not a worker id"),
        ("leaseOwner", text("a\n\u{1b}[2J"), r"leaseOwner is not a worker id: a\n\u{1b}[2J"),
        ("leaseOwner", AttributeValue::Null(true), "leaseOwner is not a string"),
        ("leaseCounter", number(&-1), "leaseCounter is not a whole number of 63 bits: -1"),
        ("leaseCounter", number(&"9".repeat(38)), "leaseCounter is not"),
        ("leaseCounter", number(&i64::MAX), "leaseCounter is not"),
        ("leaseCounter", number(&"1.5"), "leaseCounter is not"),
        ("leaseCounter", text(&1), "leaseCounter is not a number"),
        ("ownerSwitchesSinceCheckpoint", number(&-1), "ownerSwitchesSinceCheckpoint is not"),
        ("checkpoint", text(""), "checkpoint is not"),
        ("checkpoint", text("LATEST "), "checkpoint is not a sequence number or sentinel: LATEST "),
        ("checkpoint", text(&"9".repeat(130)), "checkpoint is not"),
        ("checkpoint", text(&"9".repeat(390_000)), "checkpoint is not"),
        ("checkpoint", number(&7), "checkpoint is not a string"),
        ("pendingCheckpoint", text("-1"), "pendingCheckpoint is not"),
        ("parentShardId", text("shardId-0"), "parentShardId is not a string set"),
        ("parentShardId", many(17), "parentShardId has too many members: 17"),
        ("childShardIds", AttributeValue::Ss(vec!["a b".into()]), "childShardIds is not shard ids"),
        ("startingHashKey", text("8"), "startingHashKey is not"),
        ("startTimestamp", number(&"1e99"), "startTimestamp is not"),
        ("startTimestamp", text("now"), "startTimestamp is not a number"),
        ("hasProgressed", text("true"), "hasProgressed is not a boolean"),
        ("streamIdentifier", text("orders"), "streamIdentifier is not a stream identifier"),
        ("applicationStartTimestamp", text("now"), "applicationStartTimestamp is not a number"),
    ];
    for (name, value, expected) in damages {
        let mut item = sound();
        item.extend([("startingHashKey".into(), text(&0)), ("endingHashKey".into(), text(&7))]);
        item.insert(name.into(), value);
        let Item::Unreadable { key, reason } = decode(&item) else { panic!("{name} was read") };
        assert!(reason.starts_with(expected), "{reason}");
        assert!(reason.len() <= 160 && key.len() <= 320, "{reason}");
        assert!(!reason.chars().chain(key.chars()).any(char::is_control), "{reason}");
    }
}

#[test]
fn a_lease_lends_its_checkpoint_only_to_the_stream_in_its_key() {
    let key = LeaseKey::parse("1:orders:1700000000:shardId-000000000000").unwrap();
    let mut item = encode(&Lease::new(key, Position::Latest));
    assert!(matches!(decode(&item), Item::Lease(_)));
    item.insert("streamName".into(), text("1:orders:1800000000"));
    assert!(matches!(decode(&item), Item::Unreadable { .. }));
}

prop_compose! {
    fn any_shard()(id in "[a-zA-Z0-9_.-]{1,128}") -> ShardId {
        shard(&id)
    }
}

fn any_position() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::AtTimestamp),
        Just(Position::TrimHorizon),
        Just(Position::Latest),
        Just(Position::ShardEnd),
        ("[1-9][0-9]{0,128}", 0..u64::MAX / 2).prop_map(|(digits, sub)| {
            Position::at(digits.parse::<SequenceNumber>().unwrap(), sub)
        }),
    ]
}

fn any_key() -> impl Strategy<Value = LeaseKey> {
    let stream = "[0-9]{1,12}:[a-zA-Z0-9_.-]{1,128}:[1-9][0-9]{0,12}";
    (proptest::option::of(stream), any_shard()).prop_map(|(stream, shard)| match stream {
        Some(stream) => LeaseKey::multi(stream.parse().unwrap(), shard),
        None => LeaseKey::single(shard),
    })
}

fn any_worker() -> impl Strategy<Value = Option<WorkerId>> {
    proptest::option::of("[^\\p{Cc}]{1,64}".prop_map(|id| WorkerId::new(id).unwrap()))
}

prop_compose! {
    fn any_pending()(position in any_position(), state: Option<Vec<u8>>) -> PendingCheckpoint {
        PendingCheckpoint { position, state: state.map(Bytes::from) }
    }
}

prop_compose! {
    fn any_lease()(
        (key, position) in (any_key(), any_position()),
        owner in any_worker(),
        (counter, owner_switches) in (0..u64::MAX / 2, 0..u64::MAX / 2),
        pending in proptest::option::of(any_pending()),
        parents in proptest::collection::btree_set(any_shard(), 0..3),
        children in proptest::collection::btree_set(any_shard(), 0..3),
        bounds: Option<(u128, u128)>,
        started_at in proptest::option::of(0..4_000_000_000_000_u64),
        application_start in proptest::option::of(0..4_000_000_000_000_u64),
        (has_progressed, epoch) in any::<(bool, Option<u32>)>(),
        (cooperator, handoff_to) in (any_worker(), any_worker()),
    ) -> Lease {
        Lease {
            key, position, counter, owner_switches, pending, parents, children, has_progressed,
            owner, cooperator, handoff_to,
            stream: epoch.map(|epoch| format!("123456789012:orders:{epoch}").parse().unwrap()),
            hash_range: bounds.and_then(|(a, b)| HashRange::new(a.min(b), a.max(b))),
            started_at: started_at.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            application_start: application_start.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
        }
    }
}

fn any_attribute() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any::<String>().prop_map(AttributeValue::S),
        "[-+]?[0-9]{0,140}([.][0-9]+)?".prop_map(AttributeValue::N),
        any::<Vec<u8>>().prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
        any::<Vec<String>>().prop_map(AttributeValue::Ss),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null(true)),
        Just(AttributeValue::L(Vec::new())),
    ]
}

proptest! {
    #[test]
    fn a_lease_survives_the_way_to_the_table_and_back(lease in any_lease()) {
        prop_assert_eq!(decode(&encode(&lease)), Item::Lease(Box::new(lease)));
    }

    #[test]
    fn no_damage_panics_or_floods_a_log(
        lease in any_lease(),
        victims in proptest::collection::vec((any::<prop::sample::Index>(), any_attribute()), 1..4),
    ) {
        let mut item = encode(&lease);
        let names = Vec::from_iter(item.clone().into_keys().collect::<BTreeSet<_>>());
        for (victim, value) in victims {
            item.insert(victim.get(&names).clone(), value);
        }
        match decode(&item) {
            Item::Lease(lease) => prop_assert!(lease.counter < u64::MAX / 2),
            Item::Unreadable { key, reason } => {
                prop_assert!(reason.chars().count() <= 160 && key.chars().count() <= 320);
                prop_assert!(!reason.chars().chain(key.chars()).any(char::is_control));
            }
            Item::Foreign => prop_assert!(false, "lease taken for another kind of item"),
        }
    }
}
