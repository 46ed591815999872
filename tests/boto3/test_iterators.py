"""GetShardIterator."""

import datetime
import time

import pytest
from conftest import shard_id


@pytest.fixture
def abc(stream):
    """A stream with three records, put some milliseconds apart; their sequence numbers."""
    numbers = []
    for data in (b"a", b"b", b"c"):
        numbers.append(stream.put(data)["SequenceNumber"])
        time.sleep(0.02)
    return stream, numbers


def test_trim_horizon_and_latest(abc):
    stream, _ = abc
    latest = stream.iterator(kind="LATEST")
    assert stream.data(stream.iterator(kind="TRIM_HORIZON")) == [b"a", b"b", b"c"]
    assert stream.data(latest) == []
    stream.put(b"d")
    assert stream.data(latest) == [b"d"]


def test_at_and_after_a_sequence_number(abc):
    stream, numbers = abc
    at = stream.iterator(kind="AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1])
    assert stream.data(at) == [b"b", b"c"]
    after = stream.iterator(kind="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1])
    assert stream.data(after) == [b"c"]
    last = stream.iterator(kind="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[2])
    assert stream.data(last) == []


def test_at_the_start_of_the_shard(abc):
    stream, _ = abc
    start = stream.shards()[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        assert stream.data(stream.iterator(kind=kind, StartingSequenceNumber=start)) == [b"a", b"b", b"c"]


def test_at_a_timestamp(abc):
    stream, _ = abc
    records, _ = stream.read(stream.iterator())
    second = records[1]["ApproximateArrivalTimestamp"]
    millisecond = datetime.timedelta(milliseconds=1)
    for at, expected in (
        (second, [b"b", b"c"]),
        (second - millisecond, [b"b", b"c"]),
        (second + millisecond, [b"c"]),
        (datetime.datetime(2000, 1, 1), [b"a", b"b", b"c"]),
    ):
        assert stream.data(stream.iterator(kind="AT_TIMESTAMP", Timestamp=at)) == expected, at


def test_an_iterator_reads_the_same_twice(abc):
    stream, _ = abc
    iterator = stream.iterator()
    assert stream.data(iterator) == stream.data(iterator)


def test_what_a_kind_needs(kinesis, streams, refused):
    stream = streams(2)
    of_first = stream.put(b"x")["SequenceNumber"]

    def get(code, shard=0, **request):
        return refused(
            code, kinesis.get_shard_iterator, StreamName=stream.name, ShardId=shard_id(shard), **request
        )

    invalid = "InvalidArgumentException"
    get(invalid, ShardIteratorType="AT_SEQUENCE_NUMBER")
    get(invalid, ShardIteratorType="LATEST", StartingSequenceNumber=of_first)
    get(invalid, ShardIteratorType="AT_TIMESTAMP")
    future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    get(invalid, ShardIteratorType="AT_TIMESTAMP", Timestamp=future)
    get(invalid, ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="1234567890")
    message = get(invalid, shard=1, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=of_first)
    assert "It encodes shardId-000000000000" in message
    get("ValidationException", ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="TRIM_HORIZON")
    get("ValidationException", ShardIteratorType="OLDEST")
    get("ValidationException")
    get("ResourceNotFoundException", shard=2, ShardIteratorType="LATEST")
