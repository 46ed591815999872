"""PutRecord and PutRecords."""

import hashlib

from conftest import HALF, MAX_HASH, in_order, shard_id


def test_put_record(stream):
    first, second = stream.put(b"one"), stream.put(b"two")
    assert first["ShardId"] == shard_id(0)
    assert in_order([first["SequenceNumber"], second["SequenceNumber"]])
    assert len(first["SequenceNumber"]) == 56


def test_keys_are_routed_by_md5(kinesis, streams):
    stream = streams(4)
    ranges = {shard["ShardId"]: shard["HashKeyRange"] for shard in stream.shards()}
    for key in ("a", "orders-17", "ключ", "x" * 256):
        put = kinesis.put_record(StreamName=stream.name, Data=b"", PartitionKey=key)
        digest = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
        taken = ranges[put["ShardId"]]
        assert int(taken["StartingHashKey"]) <= digest <= int(taken["EndingHashKey"])


def test_explicit_hash_key_wins(streams):
    stream = streams(2)
    for key, shard in ((0, 0), (HALF - 1, 0), (HALF, 1), (MAX_HASH, 1)):
        assert stream.put(b"", hash_key=key)["ShardId"] == shard_id(shard)


def test_put_records_answers_in_the_order_of_the_request(kinesis, streams):
    stream = streams(2)
    keys = [0, MAX_HASH, 0, MAX_HASH, 0]
    records = [
        {"Data": str(n).encode(), "PartitionKey": "k", "ExplicitHashKey": str(key)} for n, key in enumerate(keys)
    ]
    reply = kinesis.put_records(StreamName=stream.name, Records=records)
    assert reply["FailedRecordCount"] == 0
    assert [result["ShardId"] for result in reply["Records"]] == [shard_id(key and 1) for key in keys]
    for shard, expected in ((0, [b"0", b"2", b"4"]), (1, [b"1", b"3"])):
        records, _ = stream.read(stream.iterator(shard))
        assert [record["Data"] for record in records] == expected
        own = [result["SequenceNumber"] for result in reply["Records"] if result["ShardId"] == shard_id(shard)]
        assert [record["SequenceNumber"] for record in records] == own and in_order(own)


def test_any_bytes_come_back(stream):
    payloads = [b"", b"\0", bytes(range(256)), "ünïcode".encode(), b"x" * 100_001]
    for payload in payloads:
        stream.put(payload)
    assert stream.data(stream.iterator()) == payloads


def test_any_partition_key_comes_back(kinesis, stream):
    keys = ["k", 'quote"back\\slash', "новый\n", "😀" * 256]
    for key in keys:
        kinesis.put_record(StreamName=stream.name, Data=b"", PartitionKey=key)
    records, _ = stream.read(stream.iterator())
    assert [record["PartitionKey"] for record in records] == keys


def test_five_hundred_records_and_ten_mib(kinesis, stream, refused):
    def records(count, size=0):
        return [{"Data": b"x" * size, "PartitionKey": "k"} for _ in range(count)]

    put = kinesis.put_records
    assert put(StreamName=stream.name, Records=records(500))["FailedRecordCount"] == 0
    refused("ValidationException", put, StreamName=stream.name, Records=records(501))
    refused("ValidationException", put, StreamName=stream.name, Records=[])
    refused("InvalidArgumentException", put, StreamName=stream.name, Records=records(11, 2**20 - 1))
    assert len(stream.data(stream.iterator())) == 500


def test_a_mebibyte_with_its_key(kinesis, stream, refused):
    put, mib = kinesis.put_record, 2**20
    refused("ValidationException", put, StreamName=stream.name, Data=b"x" * mib, PartitionKey="k")
    put(StreamName=stream.name, Data=b"x" * (mib - 1), PartitionKey="k")
    oversized = [{"Data": b"", "PartitionKey": "k"}, {"Data": b"x" * mib, "PartitionKey": "k"}]
    refused("ValidationException", kinesis.put_records, StreamName=stream.name, Records=oversized)
    assert [len(data) for data in stream.data(stream.iterator())] == [mib - 1]


def test_large_records_are_a_setting(kinesis, stream):
    kinesis.update_max_record_size(StreamARN=stream.arn, MaxRecordSizeInKiB=2048)
    stream.wait()
    stream.put(b"x" * (2**21 - 3))
    assert [len(data) for data in stream.data(stream.iterator())] == [2**21 - 3]


def test_put_refusals(kinesis, stream, refused):
    def put(code, **record):
        refused(code, kinesis.put_record, StreamName=stream.name, **record)
        refused(code, kinesis.put_records, StreamName=stream.name, Records=[record])

    put("ValidationException", Data=b"x")
    put("ValidationException", PartitionKey="k")
    put("ValidationException", Data=b"x", PartitionKey="")
    put("ValidationException", Data=b"x", PartitionKey="k" * 257)
    put("ValidationException", Data=b"x", PartitionKey="k", ExplicitHashKey="-1")
    put("InvalidArgumentException", Data=b"x", PartitionKey="k", ExplicitHashKey=str(2**128))
    assert stream.data(stream.iterator()) == []


def test_sequence_number_for_ordering(kinesis, stream, refused):
    first = stream.put(b"1")["SequenceNumber"]
    second = kinesis.put_record(
        StreamName=stream.name, Data=b"2", PartitionKey="k", SequenceNumberForOrdering=first
    )["SequenceNumber"]
    assert in_order([first, second])
    refused(
        "InvalidArgumentException",
        kinesis.put_record,
        StreamName=stream.name,
        Data=b"",
        PartitionKey="k",
        SequenceNumberForOrdering="12345",
    )
