"""Asks the server at KINESIS_ENDPOINT and moto the same questions, where moto is right.

Prints what differs and fails on it, unless the difference is known to be moto's (KNOWN says why).
"""

import os
import socket
import subprocess
import sys
import time
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

OURS = os.environ.get("KINESIS_ENDPOINT", "http://127.0.0.1:4567")
HALF, MAX = 2**127, 2**128 - 1

KNOWN = {
    "explicit_hash_keys": "moto answers 500 to the highest hash, 2^128-1",
    "records_after_a_split": "moto goes on putting into the closed parent",
    "totals_of_uneven_scaling": "moto halves every shard, so that they end up unequal; AWS scales uniformly",
    "errors/scale over double": "moto does not know this limit of UpdateShardCount",
}


SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def answer(ask, endpoint):
    try:
        return ask(Side(endpoint))
    except ClientError as error:
        return error.response["Error"]["Code"]


class Side:
    """One of the two services, with a stream of its own per scenario."""

    def __init__(self, endpoint):
        self.client = boto3.client(
            "kinesis",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(parameter_validation=False, retries={"total_max_attempts": 5, "mode": "standard"}),
        )

    def stream(self, shards):
        name = f"compare-{uuid.uuid4()}"
        self.client.create_stream(StreamName=name, ShardCount=shards)
        return name

    def error(self, operation, **request):
        try:
            getattr(self.client, operation)(**request)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None

    def iterator(self, name, shard=0, kind="TRIM_HORIZON", **request):
        return self.client.get_shard_iterator(
            StreamName=name, ShardId=shard_id(shard), ShardIteratorType=kind, **request
        )["ShardIterator"]

    def data(self, iterator, **request):
        records = self.client.get_records(ShardIterator=iterator, **request)["Records"]
        return [record["Data"] for record in records]

    def put(self, name, data, hash_key=0):
        return self.client.put_record(
            StreamName=name, Data=data, PartitionKey="k", ExplicitHashKey=str(hash_key)
        )

    def topology(self, name):
        """Every shard's parents, range, and whether it is open."""
        return [
            (
                shard["ShardId"],
                shard.get("ParentShardId"),
                shard.get("AdjacentParentShardId"),
                shard["HashKeyRange"],
                "EndingSequenceNumber" not in shard["SequenceNumberRange"],
            )
            for shard in self.client.list_shards(StreamName=name)["Shards"]
        ]


def shard_id(shard):
    return f"shardId-{shard:012}"


@scenario
def a_new_stream(side):
    summary = side.client.describe_stream_summary(StreamName=side.stream(3))["StreamDescriptionSummary"]
    members = ("StreamStatus", "RetentionPeriodHours", "OpenShardCount", "EncryptionType", "StreamModeDetails")
    return {member: summary.get(member) for member in members}


@scenario
def hash_ranges(side):
    return [side.topology(side.stream(count)) for count in (1, 2, 4)]


@scenario
def routing(side):
    name = side.stream(4)
    keys = ["a", "b", "orders-17", "ключ", "x" * 256]
    return [side.client.put_record(StreamName=name, Data=b"", PartitionKey=key)["ShardId"] for key in keys]


@scenario
def explicit_hash_keys(side):
    name = side.stream(4)
    return [side.put(name, b"", key)["ShardId"] for key in (0, HALF - 1, HALF, MAX)]


@scenario
def put_records(side):
    name = side.stream(2)
    records = [{"Data": b"x", "PartitionKey": "k", "ExplicitHashKey": key} for key in ("0", str(MAX - 1))]
    reply = side.client.put_records(StreamName=name, Records=records)
    return reply["FailedRecordCount"], [record["ShardId"] for record in reply["Records"]]


@scenario
def iterators(side):
    name = side.stream(1)
    numbers = [side.put(name, data)["SequenceNumber"] for data in (b"a", b"b", b"c")]
    at = {"StartingSequenceNumber": numbers[1]}
    return [
        side.data(side.iterator(name)),
        side.data(side.iterator(name, kind="LATEST")),
        side.data(side.iterator(name, kind="AT_SEQUENCE_NUMBER", **at)),
        side.data(side.iterator(name, kind="AFTER_SEQUENCE_NUMBER", **at)),
        side.data(side.iterator(name), Limit=2),
    ]


@scenario
def a_record(side):
    name = side.stream(1)
    side.put(name, b"payload")
    page = side.client.get_records(ShardIterator=side.iterator(name))
    (record,) = page["Records"]
    return record["Data"], record["PartitionKey"], page["MillisBehindLatest"], "NextShardIterator" in page


@scenario
def a_split(side):
    name = side.stream(1)
    side.client.split_shard(StreamName=name, ShardToSplit=shard_id(0), NewStartingHashKey=str(HALF))
    return side.topology(name)


@scenario
def records_after_a_split(side):
    name = side.stream(1)
    side.client.split_shard(StreamName=name, ShardToSplit=shard_id(0), NewStartingHashKey=str(HALF))
    return [side.put(name, b"after", key)["ShardId"] for key in (0, MAX - 1)]


@scenario
def a_split_keeps_records_in_the_parent(side):
    name = side.stream(1)
    side.put(name, b"before")
    side.client.split_shard(StreamName=name, ShardToSplit=shard_id(0), NewStartingHashKey=str(HALF))
    return side.data(side.iterator(name, 0)), side.data(side.iterator(name, 1))


@scenario
def a_merge(side):
    name = side.stream(2)
    side.client.merge_shards(StreamName=name, ShardToMerge=shard_id(0), AdjacentShardToMerge=shard_id(1))
    return side.topology(name)


@scenario
def scaling_up(side):
    name = side.stream(2)
    side.client.update_shard_count(StreamName=name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    return side.topology(name)


@scenario
def scaling_down(side):
    name = side.stream(4)
    side.client.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    return side.topology(name)


@scenario
def totals_of_uneven_scaling(side):
    totals = []
    for before, after in ((4, 5), (10, 13)):
        name = side.stream(before)
        side.client.update_shard_count(StreamName=name, TargetShardCount=after, ScalingType="UNIFORM_SCALING")
        totals.append(len(side.topology(name)))
    return totals


@scenario
def tags(side):
    name = side.stream(1)
    side.client.add_tags_to_stream(StreamName=name, Tags={"a": "1", "b": "2"})
    side.client.remove_tags_from_stream(StreamName=name, TagKeys=["a"])
    reply = side.client.list_tags_for_stream(StreamName=name)
    return reply["Tags"], reply["HasMoreTags"]


@scenario
def errors(side):
    name = side.stream(4)
    side.client.split_shard(StreamName=name, ShardToSplit=shard_id(0), NewStartingHashKey="100")
    split = {"StreamName": name, "NewStartingHashKey": "10"}
    merge = {"StreamName": name, "ShardToMerge": shard_id(1)}
    scale = {"StreamName": name, "ScalingType": "UNIFORM_SCALING"}
    iterator = {"StreamName": name, "ShardId": shard_id(1), "ShardIteratorType": "LATEST"}
    put = {"StreamName": name, "Data": b"", "PartitionKey": "k"}
    record = {"Data": b"", "PartitionKey": "k"}
    return {
        "unknown stream": side.error("describe_stream", StreamName="nobody"),
        "create twice": side.error("create_stream", StreamName=name, ShardCount=1),
        "split a closed shard": side.error("split_shard", ShardToSplit=shard_id(0), **split),
        "split outside": side.error("split_shard", ShardToSplit=shard_id(1), **split),
        "split nothing": side.error("split_shard", ShardToSplit=shard_id(99), **split),
        "merge no neighbours": side.error("merge_shards", AdjacentShardToMerge=shard_id(3), **merge),
        "merge nothing": side.error("merge_shards", AdjacentShardToMerge=shard_id(99), **merge),
        "scale over double": side.error("update_shard_count", TargetShardCount=99, **scale),
        "retention too long": side.error(
            "increase_stream_retention_period", StreamName=name, RetentionPeriodHours=9000
        ),
        "retention too short": side.error(
            "decrease_stream_retention_period", StreamName=name, RetentionPeriodHours=23
        ),
        "unknown shard": side.error("get_shard_iterator", **{**iterator, "ShardId": shard_id(99)}),
        "hash too large": side.error("put_record", ExplicitHashKey=str(2**128), **put),
        "501 records": side.error("put_records", StreamName=name, Records=[record] * 501),
        "delete nothing": side.error("delete_stream", StreamName="nobody"),
    }


def moto():
    """Starts moto's server; gives the process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    process.kill()
    raise TimeoutError("moto did not start")


def differences(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [d for key in ours | theirs for d in differences(ours.get(key), theirs.get(key), f"{path}/{key}")]
    return [] if ours == theirs else [(path, ours, theirs)]


def main():
    process, address = moto()
    try:
        found = []
        for ask in SCENARIOS:
            found += differences(answer(ask, OURS), answer(ask, address), ask.__name__)
    finally:
        process.kill()
        process.wait()
    for path, ours, theirs in found:
        print(f"{'known' if path in KNOWN else 'DIFFERS'}: {path} {KNOWN.get(path, '')}\n  ours {ours}\n  moto {theirs}")
    unknown = [path for path, _, _ in found if path not in KNOWN]
    print(f"{len(SCENARIOS)} scenarios compared with moto, {len(found)} differences, {len(unknown)} of them unknown")
    return 1 if unknown or set(KNOWN) - {path for path, _, _ in found} else 0


if __name__ == "__main__":
    sys.exit(main())
