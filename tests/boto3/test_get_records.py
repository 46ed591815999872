"""GetRecords."""

import base64
import datetime
import time

import pytest
from conftest import in_order


def test_a_record_is_whole(kinesis, stream):
    before = datetime.datetime.now(datetime.timezone.utc)
    put = kinesis.put_record(StreamName=stream.name, Data=b"data", PartitionKey="key")
    page = kinesis.get_records(ShardIterator=stream.iterator())
    (record,) = page["Records"]
    assert record["Data"] == b"data" and record["PartitionKey"] == "key"
    assert record["SequenceNumber"] == put["SequenceNumber"]
    arrival = record["ApproximateArrivalTimestamp"]
    assert abs(arrival - before) < datetime.timedelta(seconds=5)
    assert page["MillisBehindLatest"] == 0
    assert page["NextShardIterator"] and "ChildShards" not in page


def test_limit_pages_without_gap_or_repeat(kinesis, stream):
    for n in range(7):
        stream.put(str(n).encode())
    iterator, seen, behind = stream.iterator(), [], []
    for expected in (3, 3, 1, 0):
        page = kinesis.get_records(ShardIterator=iterator, Limit=3)
        assert len(page["Records"]) == expected
        seen += page["Records"]
        behind.append(page["MillisBehindLatest"])
        iterator = page["NextShardIterator"]
    assert [record["Data"] for record in seen] == [str(n).encode() for n in range(7)]
    assert in_order(record["SequenceNumber"] for record in seen)
    assert behind[0] > 0 and behind[1] > 0 and behind[2:] == [0, 0]


def test_millis_behind_latest_grows_with_age(kinesis, stream):
    stream.put(b"old")
    stream.put(b"new")
    time.sleep(1)
    page = kinesis.get_records(ShardIterator=stream.iterator(), Limit=1)
    assert 1000 <= page["MillisBehindLatest"] < 10_000


def test_an_empty_shard_gives_an_empty_page(kinesis, stream):
    page = kinesis.get_records(ShardIterator=stream.iterator())
    assert page["Records"] == [] and page["MillisBehindLatest"] == 0 and page["NextShardIterator"]


def test_refusals(kinesis, stream, streams, refused):
    get, iterator = kinesis.get_records, stream.iterator()
    refused("InvalidArgumentException", get, ShardIterator="garbage")
    refused("InvalidArgumentException", get, ShardIterator=base64.b64encode(bytes(120)).decode())
    refused("InvalidArgumentException", get, ShardIterator=iterator[:-8] + "AAAAAAA=")
    refused("ValidationException", get, ShardIterator="")
    refused("ValidationException", get, ShardIterator="A" * 513)
    refused("ValidationException", get)
    refused("ValidationException", get, ShardIterator=iterator, Limit=0)
    # "If you specify a value that is greater than 10,000, GetRecords throws InvalidArgumentException."
    refused("InvalidArgumentException", get, ShardIterator=iterator, Limit=10_001)
    other = streams(1)
    refused("InvalidArgumentException", get, ShardIterator=iterator, StreamARN=other.arn)


def test_a_deleted_stream_has_no_records(kinesis, stream, refused):
    iterator = stream.iterator()
    kinesis.delete_stream(StreamName=stream.name)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=stream.name)
    refused("ResourceNotFoundException", kinesis.get_records, ShardIterator=iterator)


@pytest.mark.slow
def test_iterators_and_tokens_expire_after_five_minutes(kinesis, streams, refused):
    stream = streams(2)
    iterator = stream.iterator()
    token = kinesis.list_shards(StreamName=stream.name, MaxResults=1)["NextToken"]
    time.sleep(295)
    kinesis.get_records(ShardIterator=iterator)
    kinesis.list_shards(NextToken=token)
    time.sleep(6)
    refused("ExpiredIteratorException", kinesis.get_records, ShardIterator=iterator)
    refused("ExpiredNextTokenException", kinesis.list_shards, NextToken=token)
