"""ListShards."""

import datetime
import time

from conftest import HALF, shard_id


def test_pages(kinesis, streams):
    stream = streams(5)
    first = kinesis.list_shards(StreamName=stream.name, MaxResults=2)
    assert [shard["ShardId"] for shard in first["Shards"]] == [shard_id(0), shard_id(1)]
    second = kinesis.list_shards(NextToken=first["NextToken"], MaxResults=2)
    last = kinesis.list_shards(NextToken=second["NextToken"])
    assert [shard["ShardId"] for shard in second["Shards"] + last["Shards"]] == [shard_id(n) for n in (2, 3, 4)]
    assert "NextToken" not in last
    assert stream.ids(ExclusiveStartShardId=shard_id(2)) == [3, 4]


def test_paginator(kinesis, streams):
    stream = streams(5)
    pages = kinesis.get_paginator("list_shards").paginate(
        StreamARN=stream.arn, PaginationConfig={"PageSize": 2}
    )
    assert len(pages.build_full_result()["Shards"]) == 5


def test_what_a_token_forbids(kinesis, streams, refused):
    stream = streams(2)
    token = kinesis.list_shards(StreamName=stream.name, MaxResults=1)["NextToken"]
    invalid = "InvalidArgumentException"
    refused(invalid, kinesis.list_shards, NextToken=token, StreamName=stream.name)
    refused(invalid, kinesis.list_shards, NextToken=token, StreamCreationTimestamp=0)
    refused(invalid, kinesis.list_shards, NextToken=token, ExclusiveStartShardId=shard_id(0))
    refused(invalid, kinesis.list_shards, NextToken="garbage")
    refused(invalid, kinesis.list_shards)


def test_creation_timestamp_tells_streams_apart(kinesis, stream, refused):
    created = stream.summary()["StreamCreationTimestamp"]
    assert stream.ids(StreamCreationTimestamp=created) == [0]
    earlier = created - datetime.timedelta(days=1)
    refused(
        "ResourceNotFoundException", kinesis.list_shards, StreamName=stream.name, StreamCreationTimestamp=earlier
    )


def test_filters(streams):
    stream = streams(2)
    created = stream.summary()["StreamCreationTimestamp"]

    def pause():
        time.sleep(0.1)
        moment = datetime.datetime.now(datetime.timezone.utc)
        time.sleep(0.1)
        return moment

    stream.split(0, HALF // 2)  # 0 -> 2, 3
    between = pause()
    stream.merge(3, 1)  # 3, 1 -> 4
    after = pause()

    def of(kind, **more):
        return stream.ids(ShardFilter={"Type": kind, **more})

    assert of("FROM_TRIM_HORIZON") == [0, 1, 2, 3, 4]
    assert of("AT_TRIM_HORIZON") == [0, 1]
    assert of("AT_LATEST") == [2, 4]
    assert of("AFTER_SHARD_ID", ShardId=shard_id(1)) == [2, 3, 4]
    assert of("AT_TIMESTAMP", Timestamp=created - datetime.timedelta(hours=1)) == [0, 1]
    assert of("AT_TIMESTAMP", Timestamp=between) == [1, 2, 3]
    assert of("AT_TIMESTAMP", Timestamp=after) == [2, 4]
    assert of("FROM_TIMESTAMP", Timestamp=created - datetime.timedelta(hours=1)) == [0, 1, 2, 3, 4]
    assert of("FROM_TIMESTAMP", Timestamp=between) == [1, 2, 3, 4]
    assert of("FROM_TIMESTAMP", Timestamp=after) == [2, 4]
    assert stream.ids(MaxResults=1, ShardFilter={"Type": "AT_LATEST"}) == [2, 4]


def test_filter_refusals(kinesis, stream, refused):
    def list_with(code, **shard_filter):
        refused(code, kinesis.list_shards, StreamName=stream.name, ShardFilter=shard_filter)

    list_with("ValidationException")
    list_with("ValidationException", Type="NEWEST")
    list_with("InvalidArgumentException", Type="AFTER_SHARD_ID")
    list_with("InvalidArgumentException", Type="AT_TIMESTAMP")
    list_with("InvalidArgumentException", Type="FROM_TIMESTAMP")
