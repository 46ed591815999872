"""Consumers and SubscribeToShard: events, takeover, the end of a shard, the end of a consumer."""

import time

import pytest
from botocore.exceptions import EventStreamError

from conftest import HALF, in_order, number, shard_id

TRIM_HORIZON = {"Type": "TRIM_HORIZON"}
LATEST = {"Type": "LATEST"}


class Consumer:
    def __init__(self, kinesis, stream, name="c"):
        self.kinesis, self.stream = kinesis, stream
        reply = kinesis.register_stream_consumer(StreamARN=stream.arn, ConsumerName=name)
        assert reply["Consumer"]["ConsumerStatus"] == "CREATING"
        self.arn = reply["Consumer"]["ConsumerARN"]
        while self.describe()["ConsumerStatus"] != "ACTIVE":
            time.sleep(0.1)

    def describe(self):
        return self.kinesis.describe_stream_consumer(ConsumerARN=self.arn)["ConsumerDescription"]

    def subscribe(self, position, shard=0):
        return self.kinesis.subscribe_to_shard(
            ConsumerARN=self.arn, ShardId=shard_id(shard), StartingPosition=position
        )["EventStream"]

    def deregister(self):
        self.kinesis.deregister_stream_consumer(ConsumerARN=self.arn)


@pytest.fixture
def consumer(impatient, stream):
    return Consumer(impatient, stream)


def event(events):
    """The next event that has records or ends the shard."""
    for event in events:
        event = event["SubscribeToShardEvent"]
        if event["Records"] or "ChildShards" in event:
            return event
    return None


def data(event):
    return [record["Data"] for record in event["Records"]]


def test_records_are_pushed(stream, consumer):
    numbers = [stream.put(b"a")["SequenceNumber"], stream.put(b"\x00\xff")["SequenceNumber"]]
    events = iter(consumer.subscribe(TRIM_HORIZON))
    first = event(events)
    assert data(first) == [b"a", b"\x00\xff"]
    assert [record["SequenceNumber"] for record in first["Records"]] == numbers
    assert first["ContinuationSequenceNumber"] == numbers[1] and first["MillisBehindLatest"] == 0
    assert abs(first["Records"][0]["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 60
    start = time.monotonic()
    stream.put(b"b")
    assert data(event(events)) == [b"b"]
    assert time.monotonic() - start < 2


def test_every_position(streams, impatient):
    stream = streams(1)
    numbers = []
    for payload in (b"a", b"b", b"c"):
        numbers.append(stream.put(payload)["SequenceNumber"])
        time.sleep(0.05)
    between = stream.kinesis.get_records(ShardIterator=stream.iterator())["Records"][1]
    for nth, (position, expected) in enumerate(
        [
            (TRIM_HORIZON, [b"a", b"b", b"c"]),
            ({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}, [b"b", b"c"]),
            ({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}, [b"c"]),
            ({"Type": "AT_TIMESTAMP", "Timestamp": between["ApproximateArrivalTimestamp"]}, [b"b", b"c"]),
        ]
    ):
        consumer = Consumer(impatient, stream, f"c{nth}")
        assert data(event(iter(consumer.subscribe(position)))) == expected, position


def test_an_idle_subscription_beats(consumer):
    start = time.monotonic()
    beats = [event["SubscribeToShardEvent"] for _, event in zip(range(2), consumer.subscribe(LATEST))]
    assert 8 < time.monotonic() - start < 12
    assert all(beat["Records"] == [] and beat["MillisBehindLatest"] == 0 for beat in beats)
    assert in_order(beat["ContinuationSequenceNumber"] for beat in beats)


def test_another_subscription_is_refused_and_later_takes_over(stream, consumer, refused):
    old = consumer.subscribe(LATEST)
    request = {
        "ConsumerARN": consumer.arn,
        "ShardId": shard_id(0),
        "StartingPosition": LATEST,
    }
    refused("ResourceInUseException", consumer.kinesis.subscribe_to_shard, **request)
    time.sleep(5.5)
    new = iter(consumer.subscribe(LATEST))
    stream.put(b"a")
    assert data(event(new)) == [b"a"]
    try:
        assert event(iter(old)) is None
    except EventStreamError as error:
        assert error.response["Error"]["Code"] == "ResourceInUseException"


def test_a_shard_ends_with_its_children(stream, consumer):
    stream.put(b"a")
    events = iter(consumer.subscribe(TRIM_HORIZON))
    assert data(event(events)) == [b"a"]
    stream.split(0, HALF)
    end = event(events)
    assert "ContinuationSequenceNumber" not in end
    assert [number(child["ShardId"]) for child in end["ChildShards"]] == [1, 2]
    assert all(child["ParentShards"] == [shard_id(0)] for child in end["ChildShards"])
    assert event(events) is None


def test_a_deregistered_consumer_loses_its_subscriptions(consumer, refused):
    events = consumer.subscribe(LATEST)
    consumer.deregister()
    with pytest.raises(EventStreamError) as caught:
        event(iter(events))
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    time.sleep(1)
    refused("ResourceNotFoundException", consumer.kinesis.describe_stream_consumer, ConsumerARN=consumer.arn)


def test_consumers_are_listed(kinesis, stream):
    for name in "abc":
        kinesis.register_stream_consumer(StreamARN=stream.arn, ConsumerName=name)
    pages = kinesis.get_paginator("list_stream_consumers").paginate(
        StreamARN=stream.arn, PaginationConfig={"PageSize": 2}
    )
    names = [[consumer["ConsumerName"] for consumer in page["Consumers"]] for page in pages]
    assert names == [["a", "b"], ["c"]]
    assert stream.summary()["ConsumerCount"] == 3


def test_a_stream_with_consumers_needs_enforcement_to_go(consumer, refused):
    stream = consumer.stream
    refused("ResourceInUseException", stream.kinesis.delete_stream, StreamName=stream.name)


def test_consumers_that_are_refused(consumer, refused):
    kinesis, stream = consumer.kinesis, consumer.stream
    register = {"StreamARN": stream.arn, "ConsumerName": "c"}
    refused("ResourceInUseException", kinesis.register_stream_consumer, **register)
    subscribe = {"ConsumerARN": consumer.arn, "ShardId": shard_id(7), "StartingPosition": LATEST}
    refused("ResourceNotFoundException", kinesis.subscribe_to_shard, **subscribe)
    unknown = {"ConsumerARN": f"{consumer.arn}0", "ShardId": shard_id(0), "StartingPosition": LATEST}
    refused("ResourceNotFoundException", kinesis.subscribe_to_shard, **unknown)


@pytest.mark.slow
def test_a_subscription_ends_after_five_minutes(consumer):
    start = time.monotonic()
    assert event(iter(consumer.subscribe(LATEST))) is None
    assert 295 < time.monotonic() - start < 305
