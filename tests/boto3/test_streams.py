"""CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, UpdateStreamMode, DescribeLimits."""

import datetime
import uuid

from conftest import MAX_HASH


def test_create_and_describe(kinesis, streams):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
    stream = streams(2)
    summary = stream.summary()
    assert summary["StreamName"] == stream.name
    assert summary["StreamARN"].endswith(f":stream/{stream.name}")
    assert summary["StreamARN"].startswith("arn:aws:kinesis:us-east-1:")
    assert summary["StreamStatus"] == "ACTIVE"
    assert summary["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert summary["RetentionPeriodHours"] == 24
    assert summary["OpenShardCount"] == 2
    assert summary["ConsumerCount"] == 0
    assert summary["EncryptionType"] == "NONE"
    assert summary["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]
    created = summary["StreamCreationTimestamp"]
    assert before < created < before + datetime.timedelta(seconds=30)

    description = kinesis.describe_stream(StreamName=stream.name)["StreamDescription"]
    assert description["StreamARN"] == stream.arn
    assert description["HasMoreShards"] is False
    assert [shard["ShardId"] for shard in description["Shards"]] == [
        "shardId-000000000000",
        "shardId-000000000001",
    ]
    assert description["StreamCreationTimestamp"] == created


def test_shards_tile_the_hash_space(streams):
    for count in (1, 3, 8):
        shards = streams(count).shards()
        ranges = [shard["HashKeyRange"] for shard in shards]
        starts = [int(r["StartingHashKey"]) for r in ranges]
        ends = [int(r["EndingHashKey"]) for r in ranges]
        assert starts[0] == 0 and ends[-1] == MAX_HASH
        assert starts[1:] == [end + 1 for end in ends[:-1]]
        for shard in shards:
            assert "ParentShardId" not in shard
            assert len(shard["SequenceNumberRange"]["StartingSequenceNumber"]) == 56
            assert "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def test_on_demand_starts_with_four_shards(streams):
    stream = streams(None, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    assert stream.summary()["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert stream.summary()["OpenShardCount"] == 4


def test_mode_can_change(kinesis, stream):
    kinesis.update_stream_mode(StreamARN=stream.arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    stream.wait()
    assert stream.summary()["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}


def test_describe_stream_pages(kinesis, streams):
    stream = streams(5)
    first = kinesis.describe_stream(StreamName=stream.name, Limit=2)["StreamDescription"]
    assert first["HasMoreShards"] is True and len(first["Shards"]) == 2
    pages = kinesis.get_paginator("describe_stream").paginate(
        StreamName=stream.name, PaginationConfig={"PageSize": 2}
    )
    assert len(pages.build_full_result()["StreamDescription"]["Shards"]) == 5


def test_by_arn_everywhere(kinesis, stream):
    assert kinesis.describe_stream(StreamARN=stream.arn)["StreamDescription"]["StreamName"] == stream.name
    assert len(kinesis.list_shards(StreamARN=stream.arn)["Shards"]) == 1
    put = kinesis.put_record(StreamARN=stream.arn, Data=b"x", PartitionKey="k")
    iterator = kinesis.get_shard_iterator(
        StreamARN=stream.arn, ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(StreamARN=stream.arn, ShardIterator=iterator)["Records"]
    assert [record["SequenceNumber"] for record in records] == [put["SequenceNumber"]]


def test_list_streams(kinesis, streams):
    names = {streams(1).name for _ in range(3)}
    listed, summaries, request = [], [], {"Limit": 2}
    while True:
        page = kinesis.list_streams(**request)
        assert len(page["StreamNames"]) <= 2
        listed += page["StreamNames"]
        summaries += page["StreamSummaries"]
        if not page["HasMoreStreams"]:
            break
        request = {"Limit": 2, "NextToken": page["NextToken"]}
    assert names <= set(listed) and len(set(listed)) == len(listed)
    assert [summary["StreamName"] for summary in summaries] == listed
    after = kinesis.list_streams(ExclusiveStartStreamName=min(names))["StreamNames"]
    assert min(names) not in after and max(names) in after
    assert names <= set(kinesis.get_paginator("list_streams").paginate().build_full_result()["StreamNames"])


def test_waiters(kinesis):
    name = f"test-{uuid.uuid4()}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    kinesis.delete_stream(StreamName=name)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name)


def test_create_refusals(kinesis, impatient, stream, refused):
    # SDKs retry LimitExceededException.
    create = impatient.create_stream
    refused("ResourceInUseException", create, StreamName=stream.name, ShardCount=1)
    refused("ValidationException", create, StreamName="with space", ShardCount=1)
    refused("ValidationException", create, StreamName="x" * 129, ShardCount=1)
    refused("ValidationException", create, ShardCount=1)
    refused("InvalidArgumentException", create, StreamName="none")
    refused("LimitExceededException", create, StreamName="many", ShardCount=100_000)
    assert not {"none", "many"} & set(kinesis.list_streams()["StreamNames"])


def test_unknown_stream(kinesis, refused):
    missing = "ResourceNotFoundException"
    message = refused(missing, kinesis.describe_stream, StreamName="nobody")
    assert message.startswith("Stream nobody under account ") and message.endswith(" not found.")
    refused(missing, kinesis.describe_stream_summary, StreamName="nobody")
    refused(missing, kinesis.delete_stream, StreamName="nobody")
    refused(missing, kinesis.list_shards, StreamName="nobody")
    refused(missing, kinesis.put_record, StreamName="nobody", Data=b"", PartitionKey="k")
    refused(missing, kinesis.put_records, StreamName="nobody", Records=[{"Data": b"", "PartitionKey": "k"}])
    refused(
        missing,
        kinesis.get_shard_iterator,
        StreamName="nobody",
        ShardId="shardId-000000000000",
        ShardIteratorType="LATEST",
    )


def test_describe_limits(kinesis, streams):
    before = kinesis.describe_limits()
    streams(3)
    after = kinesis.describe_limits()
    assert after["OpenShardCount"] - before["OpenShardCount"] == 3
    assert after["OpenShardCount"] <= after["ShardLimit"]
