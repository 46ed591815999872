use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

fn raw(data: impl Into<Bytes>) -> RawRecord {
    RawRecord {
        sequence_number: "49".parse().unwrap(),
        partition_key: Str::from("outer"),
        data: data.into(),
        approximate_arrival: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
    }
}

/// A message between its magic number and its digest.
fn seal(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)].concat()
}

/// Unpacks behind a record that is already there, which must stay.
fn unpack_one(data: Vec<u8>, caps: &Caps) -> (Unpacked, Vec<Record>) {
    let mut out = vec![whole(raw("earlier"), Aggregation::None)];
    let unpacked = unpack(raw(data), caps, &mut out);
    assert_eq!(out.remove(0), whole(raw("earlier"), Aggregation::None));
    (unpacked, out)
}

/// The bytes laid out by hand from the format's document, the digest by another implementation of MD5.
#[test]
fn the_documented_format_is_read() {
    let data = b"\xF3\x89\x9A\xC2\
        \x0A\x02k0\x0A\x03k-1\
        \x12\x017\
        \x1A\x07\x08\x01\x1A\x03one\
        \x1A\x04\x08\x00\x1A\x00\
        \x1A\x10\x08\x01\x10\x00\x1A\x0222\x22\x06\x0A\x01t\x12\x01v\
        \x59\xA5\x4D\x3A\x4E\x5A\xF8\x71\x84\xF7\x70\x32\x02\xAC\x00\x36";
    let (unpacked, records) = unpack_one(data.to_vec(), &Caps::default());
    assert_eq!(unpacked, Unpacked::Aggregate { count: 3 });
    let expected: [(u64, &str, Option<&str>, &[u8]); 3] =
        [(0, "k-1", None, b"one"), (1, "k0", None, b""), (2, "k-1", Some("7"), b"22")];
    let outer = raw("");
    for (record, (sub, key, hash_key, data)) in records.iter().zip(expected) {
        assert_eq!(record.aggregation(), Aggregation::Part { sub });
        assert_eq!(record.sub_sequence_number(), sub);
        assert_eq!(record.partition_key(), key);
        assert_eq!(record.explicit_hash_key(), hash_key);
        assert_eq!(record.data(), data);
        assert_eq!(record.sequence_number(), &outer.sequence_number);
        assert_eq!(record.approximate_arrival(), outer.approximate_arrival);
    }
}

#[test]
fn payload_and_keys_are_not_copied() {
    let mut aggregator = Aggregator::new(1000);
    assert!(aggregator.push("key", Some("12"), b"payload"));
    let data = aggregator.finish().unwrap().data;
    let within = |part: &[u8]| data.as_ptr_range().contains(&part.as_ptr());

    let mut out = Vec::new();
    let unpacked = unpack(raw(data.clone()), &Caps::default(), &mut out);
    assert_eq!(unpacked, Unpacked::Aggregate { count: 1 });
    assert!(within(out[0].data()));
    assert!(within(out[0].partition_key().as_bytes()));
    assert!(within(out[0].explicit_hash_key().unwrap().as_bytes()));
}

#[test]
fn what_is_no_aggregate_is_delivered_as_it_is() {
    let good = seal(b"\x0A\x01k\x1A\x04\x08\x00\x1A\x00");
    let flip = |index: usize| {
        let mut data = good.clone();
        data[index] ^= 1;
        data
    };
    let table = [
        ("empty", vec![]),
        ("three bytes of the magic number", MAGIC[..3].to_vec()),
        ("magic number alone", MAGIC.to_vec()),
        ("one byte short of a digest", seal(b"")[..19].to_vec()),
        ("magic number and a wrong digest", [&MAGIC[..], &[0; 16]].concat()),
        ("flipped magic number", flip(3)),
        ("flipped message", flip(6)),
        ("flipped digest", flip(good.len() - 1)),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("longer", [&good[..], b"\0"].concat()),
    ];
    for (name, data) in table {
        let (unpacked, records) = unpack_one(data.clone(), &Caps::default());
        assert_eq!(unpacked, Unpacked::Plain, "{name}");
        assert_eq!(records, [whole(raw(data), Aggregation::None)], "{name}");
    }
}

const SMALL: Caps = Caps { user_records: 3, keys: 2, key_bytes: 4 };

fn assert_damaged(name: &str, message: &[u8], damage: Damage) {
    let data = seal(message);
    let (unpacked, records) = unpack_one(data.clone(), &SMALL);
    assert_eq!(unpacked, Unpacked::Damaged(damage), "{name}");
    let expected = whole(raw(data), Aggregation::Damaged(damage));
    assert_eq!(records, [expected], "{name}");
}

#[test]
fn a4_damage_behind_a_good_user_record_takes_it_back() {
    let table: &[(&str, &[u8], Damage)] = &[
        ("tag without end", b"\x80", Damage::Truncated),
        ("number without end", b"\x20\x80\x80", Damage::Truncated),
        ("length without end", b"\x0A", Damage::Truncated),
        ("key past end", b"\x0A\x02k", Damage::Truncated),
        ("record past end", b"\x1A\x09\x08\x00", Damage::Truncated),
        ("4 bytes past end", b"\x25...", Damage::Truncated),
        ("8 bytes past end", b"\x21.......", Damage::Truncated),
        ("data past end", b"\x1A\x04\x08\x00\x1A\x01z", Damage::Truncated),
        ("length of 2^64 - 1", b"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", Damage::Truncated),
        ("number of 65 bits", b"\x20\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", Damage::Number),
        ("number of 11 bytes", b"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", Damage::Number),
        ("field 0", b"\x02\x00", Damage::FieldNumber),
        ("field 2^29", b"\x80\x80\x80\x80\x10\x00", Damage::FieldNumber),
        ("group", b"\x23\x24", Damage::WireType),
        ("end of a group", b"\x24", Damage::WireType),
        ("wire type 6", b"\x26", Damage::WireType),
        ("wire type 7", b"\x27", Damage::WireType),
        ("group inside", b"\x1A\x05\x08\x00\x1A\x00\x23", Damage::WireType),
        ("empty record", b"\x1A\x00", Damage::MissingPartitionKey),
        ("no key", b"\x1A\x02\x1A\x00", Damage::MissingPartitionKey),
        ("key index as bytes", b"\x1A\x04\x0A\x00\x1A\x00", Damage::MissingPartitionKey),
        ("no data", b"\x1A\x02\x08\x00", Damage::MissingData),
        ("data as number", b"\x1A\x04\x08\x00\x18\x00", Damage::MissingData),
        ("key index past the table", b"\x1A\x04\x08\x01\x1A\x00", Damage::PartitionKeyIndex),
        (
            "key index 2^64 - 1",
            b"\x1A\x0D\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x1A\x00",
            Damage::PartitionKeyIndex,
        ),
        (
            "hash key index without table",
            b"\x1A\x06\x08\x00\x10\x00\x1A\x00",
            Damage::ExplicitHashKeyIndex,
        ),
        ("key not utf-8", b"\x0A\x02\xC3\x28", Damage::KeyEncoding),
        ("hash key not utf-8", b"\x12\x01\xFF", Damage::KeyEncoding),
        ("key of 5 bytes", b"\x0A\x05abcde", Damage::KeyTooLong),
        ("hash key of 5 bytes", b"\x12\x0512345", Damage::KeyTooLong),
        ("3 keys", b"\x0A\x01k\x0A\x01k", Damage::TooManyKeys),
        ("3 hash keys", b"\x12\x011\x12\x011\x12\x011", Damage::TooManyKeys),
        (
            "4 user records",
            b"\x1A\x04\x08\x00\x1A\x00\x1A\x04\x08\x00\x1A\x00\x1A\x04\x08\x00\x1A\x00",
            Damage::TooManyUserRecords,
        ),
    ];
    let good = b"\x0A\x01k\x1A\x04\x08\x00\x1A\x00";
    for &(name, tail, damage) in table {
        assert_damaged(name, &[good, tail].concat(), damage);
    }
}

#[test]
fn an_aggregate_without_a_user_record_or_a_key_is_damaged() {
    assert_damaged("nothing", b"", Damage::Empty);
    assert_damaged("keys alone", b"\x0A\x01k\x12\x011", Damage::Empty);
    assert_damaged("records as number", b"\x0A\x01k\x18\x00", Damage::Empty);
    assert_damaged("no key", b"\x1A\x04\x08\x00\x1A\x00", Damage::PartitionKeyIndex);
}

#[test]
fn what_protobuf_allows_is_no_damage() {
    let table: &[(&str, &[u8], usize)] = &[
        (
            "as many as the caps allow",
            b"\x0A\x04abcd\x0A\x00\
              \x1A\x04\x08\x00\x1A\x00\x1A\x04\x08\x01\x1A\x00\x1A\x04\x08\x01\x1A\x00",
            3,
        ),
        ("table behind", b"\x1A\x04\x08\x00\x1A\x00\x0A\x01k", 1),
        ("data first", b"\x0A\x01k\x1A\x04\x1A\x00\x08\x00", 1),
        ("last value counts", b"\x0A\x01k\x1A\x09\x08\x09\x1A\x01x\x08\x00\x1A\x00", 1),
        ("long zero", b"\x0A\x01k\x1A\x06\x08\x80\x80\x00\x1A\x00", 1),
        (
            "unknown fields of each kind",
            b"\x20\x09\x29........\x32\x01.\x3D....\x0A\x01k\x1A\x04\x08\x00\x1A\x00",
            1,
        ),
        (
            "unknown fields of a record",
            b"\x0A\x01k\x1A\x16\x08\x00\x1A\x00\x28\x09\x31........\x3D....\x42\x00",
            1,
        ),
        ("bad tags", b"\x0A\x01k\x1A\x07\x08\x00\x1A\x00\x22\x01\xFF", 1),
    ];
    for &(name, message, count) in table {
        let (unpacked, records) = unpack_one(seal(message), &SMALL);
        assert_eq!(unpacked, Unpacked::Aggregate { count }, "{name}");
        assert_eq!(records.len(), count, "{name}");
        assert!(records.iter().all(|record| record.data().is_empty()), "{name}");
    }
}

/// 10 MiB of the shortest user records, and of the shortest keys.
#[test]
fn the_default_caps_stop_a_bomb_before_it_expands() {
    let bytes = 10 << 20;
    let records = [b"\x0A\x00".to_vec(), b"\x1A\x04\x08\x00\x1A\x00".repeat(bytes / 6)].concat();
    let keys = [b"\x0A\x00".repeat(bytes / 2), b"\x1A\x04\x08\x00\x1A\x00".to_vec()].concat();
    for (message, damage) in [(records, Damage::TooManyUserRecords), (keys, Damage::TooManyKeys)] {
        let mut out = Vec::new();
        let unpacked = unpack(raw(seal(&message)), &Caps::default(), &mut out);
        assert_eq!(unpacked, Unpacked::Damaged(damage));
        assert!(out.capacity() < 10, "room for {} records", out.capacity());
    }
}

#[test]
fn the_default_caps_take_the_fullest_kpl_aggregate() {
    let bytes: usize = 1 << 20;
    let users = (bytes - MAGIC.len() - DIGEST_BYTES - 2) / 6;
    let message = [b"\x0A\x00".to_vec(), b"\x1A\x04\x08\x00\x1A\x00".repeat(users)].concat();
    let (unpacked, records) = unpack_one(seal(&message), &Caps::default());
    assert_eq!(unpacked, Unpacked::Aggregate { count: users });
    assert_eq!(records.len(), users);
}

#[test]
fn an_aggregator_takes_no_more_than_it_may() {
    let mut aggregator = Aggregator::new(60);
    assert!(!aggregator.push("k", None, &[0; 60]), "too long for any");
    assert!(aggregator.is_empty() && aggregator.finish().is_none());

    // 4 + 16 for the frame, 3 for the key, 6 + 31 for the record.
    assert!(aggregator.push("k", None, &[0; 31]));
    assert!(!aggregator.push("k", None, b""), "would be 66 bytes");
    assert_eq!(aggregator.len(), 1);
    assert_eq!(aggregator.finish().unwrap().data.len(), 60);

    assert!(aggregator.push("k", Some("1"), b""));
    assert_eq!(aggregator.finish().unwrap().explicit_hash_key.unwrap(), "1");
}

#[test]
fn an_aggregator_refuses_what_the_default_caps_would() {
    let caps = Caps::default();
    let (longest, longer) = ("k".repeat(caps.key_bytes), "k".repeat(caps.key_bytes + 1));
    let mut aggregator = Aggregator::new(usize::MAX);
    assert!(!aggregator.push(&longer, None, b""));
    assert!(!aggregator.push("k", Some(&longer), b""));
    assert!(aggregator.push(&longest, Some(&longest), b""));
    while aggregator.push("k", None, b"") {}
    let count = caps.user_records;
    assert_eq!(aggregator.len(), count);
    let data = aggregator.finish().unwrap().data.to_vec();
    assert_eq!(unpack_one(data, &caps).0, Unpacked::Aggregate { count });
}

#[test]
fn debug_shows_no_payload_and_no_key() {
    let mut aggregator = Aggregator::new(1000);
    assert!(aggregator.push("canary-key", Some("canary-hash"), b"canary-data"));
    assert!(!format!("{aggregator:?}").contains("canary"));
    assert!(!format!("{:?}", aggregator.finish()).contains("canary"));
}

type User = (String, Option<String>, Vec<u8>);

/// User records that share a few keys; now and then a payload whose length takes more than one byte.
fn users() -> impl Strategy<Value = Vec<User>> {
    let key = prop_oneof!["[ab]", ".{0,20}"];
    let hash_key = prop::option::of(prop_oneof!["[12]", "[0-9]{1,39}"]);
    let data = prop_oneof![
        20 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 100..20_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec((key, hash_key, data), 1..10)
}

fn aggregate(users: &[User]) -> Aggregated {
    let mut aggregator = Aggregator::new(usize::MAX);
    for (key, hash_key, data) in users {
        assert!(aggregator.push(key, hash_key.as_deref(), data));
    }
    aggregator.finish().unwrap()
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Truncate(usize),
    Insert(usize, u8),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        any::<usize>().prop_map(Mutation::Truncate),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutate(message: &mut Vec<u8>, mutation: &Mutation) {
    let at = |index: usize| index % message.len().max(1);
    match *mutation {
        Mutation::Flip(index, mask) => {
            let index = at(index);
            if let Some(byte) = message.get_mut(index) {
                *byte ^= mask;
            }
        }
        Mutation::Truncate(index) => message.truncate(at(index)),
        Mutation::Insert(index, byte) => message.insert(at(index), byte),
        Mutation::Repeat(from, to) => {
            let (from, to) = (at(from.min(to)), at(from.max(to)));
            message.extend_from_within(from.min(to)..from.max(to));
        }
    }
}

/// Whatever the outcome: every byte of user data is a slice of what came in, and a whole record is the raw one.
fn check_count_in_is_count_out(data: &[u8], caps: &Caps) -> Result<Unpacked, TestCaseError> {
    let (unpacked, records) = unpack_one(data.to_vec(), caps);
    let whole_one = |aggregation| vec![whole(raw(data.to_vec()), aggregation)];
    match unpacked {
        Unpacked::Plain => prop_assert_eq!(records, whole_one(Aggregation::None)),
        Unpacked::Damaged(damage) => {
            prop_assert_eq!(records, whole_one(Aggregation::Damaged(damage)));
        }
        Unpacked::Aggregate { count } => {
            prop_assert_eq!(records.len(), count);
            prop_assert!((1..=caps.user_records).contains(&count));
            let subs = records.iter().map(Record::sub_sequence_number);
            prop_assert!(subs.eq(0..count as u64));
            let payload: usize = records.iter().map(|record| record.data().len()).sum();
            prop_assert!(payload < data.len());
        }
    }
    Ok(unpacked)
}

proptest! {
    #[test]
    fn what_was_aggregated_comes_out_again(users in users()) {
        let aggregated = aggregate(&users);
        prop_assert_eq!(&aggregated.partition_key, &users[0].0);
        prop_assert_eq!(&aggregated.explicit_hash_key, &users[0].1);
        prop_assert_eq!(aggregated.user_records, users.len());
        let (unpacked, records) = unpack_one(aggregated.data.to_vec(), &Caps::default());
        prop_assert_eq!(unpacked, Unpacked::Aggregate { count: users.len() });
        let out: Vec<User> = records
            .iter()
            .map(|r| (r.partition_key().into(), r.explicit_hash_key().map(Into::into), r.data().to_vec()))
            .collect();
        prop_assert_eq!(out, users);
    }

    #[test]
    fn an_aggregator_keeps_to_its_size_and_loses_nothing(users in users(), max_bytes in 0..2000usize) {
        let mut aggregator = Aggregator::new(max_bytes);
        let (mut full, mut refused) = (Vec::new(), 0);
        for (key, hash_key, data) in &users {
            if !aggregator.push(key, hash_key.as_deref(), data) {
                full.extend(aggregator.finish());
                refused += usize::from(!aggregator.push(key, hash_key.as_deref(), data));
            }
        }
        full.extend(aggregator.finish());
        prop_assert_eq!(full.iter().map(|one| one.user_records).sum::<usize>() + refused, users.len());
        for one in full {
            prop_assert!(one.data.len() <= max_bytes);
            let (unpacked, _) = unpack_one(one.data.to_vec(), &Caps::default());
            prop_assert_eq!(unpacked, Unpacked::Aggregate { count: one.user_records });
        }
    }

    #[test]
    fn a_mutated_message_is_an_aggregate_or_damaged(
        users in users(),
        mutations in prop::collection::vec(mutation(), 1..4),
        user_records in 1..30usize,
    ) {
        let aggregated = aggregate(&users).data;
        let mut message = aggregated[4..aggregated.len() - 16].to_vec();
        for mutation in &mutations {
            mutate(&mut message, mutation);
        }
        let caps = Caps { user_records, ..Caps::default() };
        prop_assert_ne!(check_count_in_is_count_out(&seal(&message), &caps)?, Unpacked::Plain);
    }

    #[test]
    fn a_mutation_that_the_digest_does_not_follow_is_plain(users in users(), mutation in mutation()) {
        let aggregated = aggregate(&users).data;
        let mut data = aggregated.to_vec();
        mutate(&mut data, &mutation);
        prop_assume!(data != aggregated);
        prop_assert_eq!(check_count_in_is_count_out(&data, &Caps::default())?, Unpacked::Plain);
    }

    #[test]
    fn any_sealed_bytes_are_delivered(message in prop::collection::vec(any::<u8>(), 0..100)) {
        check_count_in_is_count_out(&seal(&message), &Caps::default())?;
    }
}
