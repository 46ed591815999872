"""SplitShard, MergeShards, UpdateShardCount, and how a closed shard ends."""

import pytest
from conftest import HALF, MAX_HASH, in_order, shard_id


def hash_range(low, high):
    return {"StartingHashKey": str(low), "EndingHashKey": str(high)}


def test_split(stream):
    stream.put(b"before")
    stream.split(0, HALF)
    assert stream.put(b"low", 0)["ShardId"] == shard_id(1)
    assert stream.put(b"high", HALF)["ShardId"] == shard_id(2)
    parent, low, high = stream.shards()
    assert low["ParentShardId"] == high["ParentShardId"] == shard_id(0)
    assert "AdjacentParentShardId" not in low
    assert low["HashKeyRange"] == hash_range(0, HALF - 1)
    assert high["HashKeyRange"] == hash_range(HALF, MAX_HASH)
    numbers = parent["SequenceNumberRange"]
    for child in (low, high):
        start = child["SequenceNumberRange"]["StartingSequenceNumber"]
        assert in_order([numbers["StartingSequenceNumber"], numbers["EndingSequenceNumber"], start])
        assert "EndingSequenceNumber" not in child["SequenceNumberRange"]
    assert stream.summary()["OpenShardCount"] == 2
    for shard, expected in ((0, [b"before"]), (1, [b"low"]), (2, [b"high"])):
        assert stream.data(stream.iterator(shard)) == expected


def test_a_split_shard_ends_with_two_children(stream):
    number = stream.put(b"last")["SequenceNumber"]
    stream.split(0, HALF)
    records, end = stream.read(stream.iterator())
    assert [record["SequenceNumber"] for record in records] == [number]
    assert "NextShardIterator" not in end
    assert end["ChildShards"] == [
        {"ShardId": shard_id(1), "ParentShards": [shard_id(0)], "HashKeyRange": hash_range(0, HALF - 1)},
        {"ShardId": shard_id(2), "ParentShards": [shard_id(0)], "HashKeyRange": hash_range(HALF, MAX_HASH)},
    ]


@pytest.mark.parametrize("kind", ["LATEST", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"])
def test_any_iterator_at_the_end_of_a_closed_shard_says_so(kinesis, stream, kind):
    number = stream.put(b"last")["SequenceNumber"]
    (record,), _ = stream.read(stream.iterator())
    stream.split(0, HALF)
    request = {
        "LATEST": {},
        "AFTER_SEQUENCE_NUMBER": {"StartingSequenceNumber": number},
        "AT_TIMESTAMP": {"Timestamp": record["ApproximateArrivalTimestamp"].timestamp() + 0.001},
    }[kind]
    page = kinesis.get_records(ShardIterator=stream.iterator(kind=kind, **request))
    assert page["Records"] == [] and "NextShardIterator" not in page
    assert len(page["ChildShards"]) == 2


def test_merge(streams):
    stream = streams(2)
    stream.put(b"low", 0)
    stream.put(b"high", MAX_HASH)
    stream.merge(0, 1)
    assert stream.put(b"after", MAX_HASH)["ShardId"] == shard_id(2)
    child = stream.shards()[2]
    assert child["ParentShardId"] == shard_id(0)
    assert child["AdjacentParentShardId"] == shard_id(1)
    assert child["HashKeyRange"] == hash_range(0, MAX_HASH)
    for shard, expected in ((0, [b"low"]), (1, [b"high"])):
        records, end = stream.read(stream.iterator(shard))
        assert [record["Data"] for record in records] == expected
        assert end["ChildShards"] == [
            {
                "ShardId": shard_id(2),
                "ParentShards": [shard_id(0), shard_id(1)],
                "HashKeyRange": hash_range(0, MAX_HASH),
            }
        ]
    assert stream.data(stream.iterator(2)) == [b"after"]


@pytest.mark.parametrize("before, after", [(1, 2), (2, 4), (4, 2), (4, 3), (3, 5)])
def test_update_shard_count(streams, before, after):
    stream = streams(before)
    reply = stream.scale(after)
    assert (reply["CurrentShardCount"], reply["TargetShardCount"]) == (before, after)
    shards = {shard["ShardId"]: shard for shard in stream.shards()}
    parents = {
        shard[member]
        for shard in shards.values()
        for member in ("ParentShardId", "AdjacentParentShardId")
        if member in shard
    }
    opened = [shard for shard in shards.values() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    assert len(opened) == after == stream.summary()["OpenShardCount"]
    assert parents == {shard["ShardId"] for shard in shards.values()} - {shard["ShardId"] for shard in opened}
    opened.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
    bounds = [int(shard["HashKeyRange"]["StartingHashKey"]) for shard in opened] + [MAX_HASH + 1]
    sizes = [high - low for low, high in zip(bounds, bounds[1:])]
    assert bounds[0] == 0 and max(sizes) - min(sizes) <= after


def test_split_refusals(kinesis, streams, refused):
    stream = streams(1)
    stream.split(0, HALF)
    before = stream.shards()

    def split(code, shard, at):
        request = {"StreamName": stream.name, "ShardToSplit": shard, "NewStartingHashKey": at}
        refused(code, kinesis.split_shard, **request)

    split("InvalidArgumentException", shard_id(0), "10")
    split("InvalidArgumentException", shard_id(1), "0")
    split("InvalidArgumentException", shard_id(1), str(HALF))
    split("InvalidArgumentException", shard_id(2), "10")
    split("ValidationException", shard_id(1), "ten")
    split("ResourceNotFoundException", shard_id(7), "10")
    assert stream.shards() == before


def test_merge_refusals(kinesis, streams, refused):
    stream = streams(3)
    before = stream.shards()

    def merge(code, left, right):
        request = {"StreamName": stream.name, "ShardToMerge": left, "AdjacentShardToMerge": right}
        refused(code, kinesis.merge_shards, **request)

    merge("InvalidArgumentException", shard_id(0), shard_id(2))
    merge("InvalidArgumentException", shard_id(0), shard_id(0))
    merge("ResourceNotFoundException", shard_id(2), shard_id(3))
    assert stream.shards() == before


def test_update_shard_count_refusals(kinesis, streams, refused):
    stream = streams(4)

    def scale(code, count, kind="UNIFORM_SCALING"):
        refused(code, kinesis.update_shard_count, StreamName=stream.name, TargetShardCount=count, ScalingType=kind)

    scale("InvalidArgumentException", 9)
    scale("InvalidArgumentException", 1)
    scale("ValidationException", 0)
    scale("ValidationException", 4, "OTHER")
    assert stream.summary()["OpenShardCount"] == 4


def test_on_demand_streams_are_not_resharded_by_hand(kinesis, streams, refused):
    stream = streams(None, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    refused(
        "ValidationException",
        kinesis.update_shard_count,
        StreamName=stream.name,
        TargetShardCount=8,
        ScalingType="UNIFORM_SCALING",
    )
    refused(
        "ValidationException",
        kinesis.split_shard,
        StreamName=stream.name,
        ShardToSplit=shard_id(0),
        NewStartingHashKey="10",
    )
