"""What the suite shares: clients, streams, and small ways to put and read.

The suite is written from AWS's API reference and runs against any Kinesis at KINESIS_ENDPOINT.
"""

import itertools
import json
import os
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ.get("KINESIS_ENDPOINT", "http://127.0.0.1:4567")
MAX_HASH = 2**128 - 1
HALF = 2**127


def client(attempts=10):
    """A client that retries throttled calls, or with attempts=1 shows them. Values are checked by the service alone."""
    return boto3.client(
        "kinesis",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            parameter_validation=False,
        ),
    )


@pytest.fixture(scope="session")
def kinesis():
    return client()


@pytest.fixture(scope="session")
def impatient():
    return client(attempts=1)


class Stream:
    """A stream of its own for one test."""

    def __init__(self, kinesis, shards, **settings):
        self.kinesis = kinesis
        self.name = f"test-{uuid.uuid4()}"
        if shards:
            settings["ShardCount"] = shards
        kinesis.create_stream(StreamName=self.name, **settings)
        self.wait()
        self.arn = self.summary()["StreamARN"]

    def summary(self):
        return self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]

    def wait(self):
        for _ in range(600):
            if self.summary()["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} did not become active")

    def shards(self, **request):
        shards, page = [], self.kinesis.list_shards(StreamName=self.name, **request)
        while True:
            shards += page["Shards"]
            if "NextToken" not in page:
                return shards
            page = self.kinesis.list_shards(NextToken=page["NextToken"])

    def ids(self, **request):
        return [number(shard["ShardId"]) for shard in self.shards(**request)]

    def put(self, data, hash_key=0):
        return self.kinesis.put_record(
            StreamName=self.name, Data=data, PartitionKey="key", ExplicitHashKey=str(hash_key)
        )

    def iterator(self, shard=0, kind="TRIM_HORIZON", **request):
        return self.kinesis.get_shard_iterator(
            StreamName=self.name, ShardId=shard_id(shard), ShardIteratorType=kind, **request
        )["ShardIterator"]

    def split(self, shard, at):
        self.kinesis.split_shard(
            StreamName=self.name, ShardToSplit=shard_id(shard), NewStartingHashKey=str(at)
        )
        self.wait()

    def merge(self, left, right):
        self.kinesis.merge_shards(
            StreamName=self.name, ShardToMerge=shard_id(left), AdjacentShardToMerge=shard_id(right)
        )
        self.wait()

    def scale(self, count):
        reply = self.kinesis.update_shard_count(
            StreamName=self.name, TargetShardCount=count, ScalingType="UNIFORM_SCALING"
        )
        self.wait()
        return reply

    def read(self, iterator):
        """All that can be read now, page by page, and the last page."""
        records = []
        while True:
            page = self.kinesis.get_records(ShardIterator=iterator)
            records += page["Records"]
            iterator = page.get("NextShardIterator")
            if iterator is None or (not page["Records"] and page["MillisBehindLatest"] == 0):
                return records, page

    def data(self, iterator):
        return [record["Data"] for record in self.read(iterator)[0]]


@pytest.fixture
def streams(kinesis):
    made = []

    def make(shards=1, **settings):
        made.append(Stream(kinesis, shards, **settings))
        return made[-1]

    yield make
    for stream in made:
        try:
            kinesis.delete_stream(StreamName=stream.name, EnforceConsumerDeletion=True)
        except kinesis.exceptions.ResourceNotFoundException:
            pass


@pytest.fixture
def stream(streams):
    return streams(1)


@pytest.fixture
def refused():
    """Expects AWS's error of that name, with HTTP 400."""

    def check(code, call, **request):
        with pytest.raises(ClientError) as caught:
            call(**request)
        response = caught.value.response
        assert response["Error"]["Code"] == code, response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
        return response["Error"]["Message"]

    return check


@pytest.fixture
def raw():
    """Sends a body as it is: HTTP status, parsed reply, headers."""

    def send(operation, body, content_type="application/x-amz-json-1.1"):
        request = urllib.request.Request(
            ENDPOINT,
            data=body,
            headers={
                "X-Amz-Target": f"Kinesis_20131202.{operation}",
                "Content-Type": content_type,
                "Authorization": "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/kinesis/aws4_request, "
                "SignedHeaders=host, Signature=0",
                "X-Amz-Date": "20250101T000000Z",
            },
        )
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    return send


def shard_id(shard):
    return f"shardId-{shard:012}"


def number(shard):
    return int(shard.removeprefix("shardId-"))


def in_order(numbers):
    values = [int(value) for value in numbers]
    return all(before < after for before, after in itertools.pairwise(values))
